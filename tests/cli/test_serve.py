"""`sojourn serve`: which application it finds, and what it says when there is none."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sojourn.cli import serving
from sojourn.server import App

from .conftest import Run

SHOP = """
import sojourn
from sojourn.server import App

app = App(sojourn.open("memory:"))

class Rooms:
    inner = app

async def plain(scope, receive, send): ...
def two(scope, receive): ...
class Endpoint:
    def __init__(self, scope, receive, send): ...
nothing = None
"""


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Forget what a test has imported from its folder."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in {"shop", "broken", "rooms"}:
            del sys.modules[name]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str, int]]:
    """What would be served, instead of serving it; it is announced all the same."""
    calls = list[tuple[Any, str, int]]()

    def serve(app: Any, *, host: str, port: int, announce: Callable[[str], None]) -> None:
        calls.append((app, host, port))
        announce(f"http://{host}:{port}")

    monkeypatch.setattr(serving, "serve_on", serve)
    return calls


def test_an_application_is_found_by_module_and_name(folder: Path, run: Run, served: list[Any]) -> None:
    """Proves that it is imported from the current folder, with dots on both sides, and that its URL is printed."""
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    (folder / "rooms").mkdir()
    (folder / "rooms" / "bar.py").write_text("from shop import Rooms, plain", encoding="utf-8")
    said = "serving shop:app at http://127.0.0.1:8000\nCtrl-C stops\n"
    assert run("serve", "shop:app") == (0, said, "")
    assert run("serve", "rooms.bar:Rooms.inner", "--host", "::1", "--port", "0").code == 0
    assert run("serve", "shop:plain").code == 0
    shop = sys.modules["shop"]
    assert served == [(shop.app, "127.0.0.1", 8000), (shop.app, "::1", 0), (shop.plain, "127.0.0.1", 8000)]


def test_a_store_alone_serves_its_sessions_and_visits(folder: Path, run: Run, served: list[Any]) -> None:
    """Proves that --store, or the environment, is enough; and that the file is made."""
    ran = run("serve", "--store", "sqlite:///new.db", "--dev")
    assert ran == (0, "serving sessions and visits at http://127.0.0.1:8000\nCtrl-C stops\n", "")
    assert isinstance(served[0][0], App)
    assert (folder / "new.db").exists()


def test_the_environment_names_a_store_for_want_of_an_application(
    folder: Path, url: str, run: Run, served: list[Any]
) -> None:
    """Proves that SOJOURN_STORE is used without an application, and does not get in the way of one."""
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    assert run("serve").code == 0
    assert run("serve", "shop:app").code == 0
    assert [app is sys.modules["shop"].app for app, *_ in served] == [False, True]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "APP: '' is not of the form module:name"),
        ("shop", "APP: 'shop' is not of the form module:name"),
        ("shop:", "APP: 'shop:' is not of the form module:name"),
        (":app", "APP: ':app' is not of the form module:name"),
        ("../shop.py:app", "APP: '../shop.py:app' is not of the form module:name"),
        ("x" * 10_000, "APP: 'xxx"),
        ("shop:apple", "APP: shop has no 'apple'; its file is {folder}/shop.py"),
        ("shop:app.inner", "APP: shop has no 'app.inner'; its file is {folder}/shop.py"),
        ("shop:nothing", "APP: shop:nothing is not an ASGI application but of type NoneType"),
        ("shop:Rooms", "APP: shop:Rooms is not an ASGI application but a class; name an instance of it"),
        ("shop:Endpoint", "APP: shop:Endpoint is not an ASGI application but a class; name an instance of it"),
        ("shop:two", "APP: shop:two is not an ASGI application but of type function"),
        ("shopp:app", "APP: there is no module 'shopp'; looked for shopp.py in {folder} and among what is installed"),
        ("shop.bar:app", "APP: there is no module 'shop.bar'; looked for shop/bar.py in {folder} and"),
        (
            "broken:app",
            "APP: broken cannot be imported: No module named 'absent_package' (line 2 of {folder}/broken.py)",
        ),
    ],
)
def test_what_is_no_application_is_said_in_one_line(
    folder: Path, run: Run, served: list[Any], target: str, said: str
) -> None:
    """Proves that the line says what was looked for and where, and that nothing is served."""
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    (folder / "broken.py").write_text("import sys\nimport absent_package\n", encoding="utf-8")
    ran = run("serve", target)
    assert (ran.code, ran.out, served) == (2, "", [])
    assert ran.err.startswith(f"sojourn: invalid: {said.format(folder=folder)}")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "APP: name an application as module:name, or a store"),
        ("shop:app --store sqlite:///app.db", "store: an application says this itself"),
        ("shop:app --dev", "dev: an application says this itself"),
        ("--store mysql://host", "url: no engine answers to the scheme 'mysql'"),
        ("--store sqlite:///absent/app.db", "path: the folder {folder}/absent does not exist"),
        ("--store memory: --host ", "host: it is empty"),
        ("--store memory: --port http", "port: 'http' is not a whole number"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    folder: Path, run: Run, served: list[Any], options: str, said: str
) -> None:
    """Proves that each is one named error before anything listens."""
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    ran = run("serve", *options.split(" ")) if options else run("serve")
    assert (ran.code, ran.out, served) == (2, "", [])
    assert ran.err.startswith(f"sojourn: invalid: {said.format(folder=folder)}")


def test_the_fault_of_an_application_keeps_its_traceback(folder: Path, run: Run, served: list[Any]) -> None:
    """Proves that whoever wrote the module is shown where it broke."""
    (folder / "broken.py").write_text("app = 1 / 0", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        run("serve", "broken:app")


def test_an_interrupted_server_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the interrupt which ends a server comes through as the exit code, and as nothing else."""

    def serve(app: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "serve_on", serve)
    assert run("serve", "--store", "memory:") == (130, "", "")


@pytest.mark.parametrize("port", ["-1", "65536", "1000000000"])
def test_a_port_that_is_none_is_refused(run: Run, port: str) -> None:
    """Proves that the number is checked, by the server itself."""
    ran = run("serve", "--store", "memory:", "--port", port)
    assert ran == (2, "", "sojourn: invalid: port: it lies between 0 and 65535\n")
