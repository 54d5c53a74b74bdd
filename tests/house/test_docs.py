"""The pages tell the truth: their programs run, print what they say they print, and their links lead somewhere."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changelog.d").glob("*.md")])
SHOP = "docs/tutorial/first-shop.md"
ARGUMENTS = {"add": {"sku": "tea"}, "sign_in": {"name": "ada"}}

BLOCK = re.compile(
    r"(?:^Save this as `(?P<name>[\w./-]+)`[^\n]*:\n\n)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$"
    r"(?:\n\nIt prints `(?P<printed>[^`]+)`)?",
    re.DOTALL | re.MULTILINE,
)


class Program(NamedTuple):
    """A Python block, the files that its page has had the reader save by then, and what it is said to print."""

    text: str
    name: str | None
    files: dict[str, str]
    printed: str | None


def programs(page: Path) -> Iterator[Program]:
    """The Python blocks of a page, in order."""
    files = dict[str, str]()
    for name, language, text, printed in BLOCK.findall(page.read_text(encoding="utf-8")):
        if name:
            files[name] = text
        if language == "python":
            yield Program(text, name or None, dict(files), printed or None)


def save(files: dict[str, str], folder: Path) -> None:
    """Do what the page asks of its reader."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


PROGRAMS = {
    f"{page.relative_to(ROOT)} {number}": program for page in PAGES for number, program in enumerate(programs(page))
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_programs_run(program: Program, tmp_path: Path) -> None:
    """Proves that each Python block is a whole program that ends well, with warnings as errors, and prints as said.

    One that is saved as a file of tests is run by pytest.
    """
    save(program.files, tmp_path)
    if program.name is not None and program.name.startswith("test_"):
        settings = ["-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
        arguments = ["-m", "pytest", "-q", *settings, program.name]
    else:
        arguments = ["-c", program.text]
    run = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    if program.printed is not None:
        assert run.stdout.strip() == program.printed


@contextmanager
def serving(folder: Path) -> Iterator[httpx.Client]:
    """Run `sojourn serve shop:app` in the folder, and ask it as a page of its own would."""
    command = "import sys; from sojourn.cli import main; sys.exit(main(['serve', 'shop:app', '--port', '0']))"
    with subprocess.Popen([sys.executable, "-c", command], cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[-1]
            with httpx.Client(base_url=url, headers={"origin": url}) as client:
                yield client
        finally:
            server.send_signal(signal.SIGTERM)


def test_the_shop_of_the_tutorial_is_served(tmp_path: Path) -> None:
    """Proves that its page and the client are handed out, and that each function the page calls is there."""
    *_, last = programs(ROOT / SHOP)
    save(last.files, tmp_path)
    page = last.files["pages/index.html"]
    called = re.findall(r'client\.(subscribe|mutation|action)\("(\w+)"', page)
    assert {kind for kind, _ in called} == {"subscribe", "mutation", "action"}
    with serving(tmp_path) as client:
        assert client.get("/").text == page
        assert "SojournClient" in client.get("/sojourn.js").text
        assert client.post("/session", json={}).status_code == 200
        for how, name in called:
            kind = "query" if how == "subscribe" else how
            body = {"kind": kind, "function": name, "arguments": ARGUMENTS.get(name, {})}
            assert client.post("/call", json=body).status_code == 200, name
        assert client.post("/call", json={"kind": "query", "function": "basket"}).json() == {"result": ["tea"]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Proves that every relative link names a file that is there."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_can_be_found() -> None:
    """Proves that the contents in docs/README.md, and the pages behind them, lead to every page of docs."""
    found, new = set[Path](), {ROOT / "docs" / "README.md"}
    while new:
        found |= new
        new = {
            Path(os.path.normpath(page.parent / link))
            for page in new
            for link in re.findall(r"\]\((?!https?:)([^)#]+\.md)", page.read_text(encoding="utf-8"))
        } - found
    assert [
        str(page.relative_to(ROOT)) for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in found
    ] == []


def test_the_lock_file_names_no_private_index() -> None:
    """Proves that what is installed here can be installed anywhere."""
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text(encoding="utf-8")))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
