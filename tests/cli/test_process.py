"""The command as a process of its own: start, signals, pipes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .conftest import begin

SOJOURN = [sys.executable, "-W", "error", "-m", "sojourn"]


def sojourn(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([*SOJOURN, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_installed_command_is_this_one() -> None:
    """Proves that the console script is there, and tells its version."""
    script = Path(sys.executable).parent / "sojourn"
    ran = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "0.1.0\n", "")


def test_without_the_extra_it_says_what_to_install() -> None:
    """Proves that a missing dependency is one line and exit code 1, whichever command is asked for."""
    code = "import sys; sys.modules['cyclopts'] = None; from sojourn.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (["--version"], ["sessions", "list", "--store", "sqlite:///app.db"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        said = "cyclopts is not installed; install it with: pip install 'sojourn[server]'"
        assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"sojourn: extra_missing: {said}\n")


@pytest.mark.parametrize(
    ("arguments", "later"),
    [
        ("--help", {"apsw", "msgspec", "sojourn.kernel", "starlette", "uvicorn", "rich.progress"}),
        ("sessions list --json", {"rich", "starlette", "uvicorn", "sojourn.server", "sojourn.functions"}),
        ("doctor --json", {"rich", "starlette", "uvicorn", "sojourn.server", "sojourn.functions"}),
    ],
)
def test_a_command_imports_what_it_needs_and_no_more(url: str, arguments: str, later: set[str]) -> None:
    """Proves that help waits for no driver and no server, and JSON for no drawing of tables."""
    code = "import sys; from sojourn.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()], capture_output=True, text=True, timeout=60, check=True
    )
    assert later & set(ran.stderr.split()) == set()


@pytest.mark.parametrize("arguments", ["sessions list", "sessions list --json", "doctor", "--help"])
def test_a_reader_that_has_gone_is_no_news(url: str, arguments: str) -> None:
    """Proves that `sojourn ... | head` ends without a word when head has seen enough."""
    begin(url, "ada")
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [*SOJOURN, *arguments.split()], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, b"")


@contextmanager
def server(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve on a free port, and give the process and its URL once it says that it listens."""
    with subprocess.Popen(
        [*SOJOURN, "serve", *arguments, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().rpartition(" ")[2].strip()
            assert process.stdout.readline() == "Ctrl-C stops\n"
            yield process, url
        finally:
            process.kill()


def test_sessions_are_served_until_ctrl_c(folder: Path) -> None:
    """Proves that --store serves over HTTP from the URL that is printed, and that Ctrl-C ends it without a word."""
    with server("--store", "sqlite:///app.db", "--dev") as (process, url):
        answer = httpx.post(f"{url}/session", json={}, headers={"Origin": url})
        assert answer.status_code == 200
        assert httpx.get(f"{url}/health").json() == {"status": "ok", "engine": "sqlite"}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert answer.json()["session"]["id"] in sojourn("sessions", "list", "--store", "sqlite:///app.db").stdout


def test_an_application_is_served_from_the_current_folder(folder: Path) -> None:
    """Proves that module:name is imported and served, beside which the store can be looked after."""
    (folder / "shop.py").write_text(
        "import sojourn\nfrom sojourn.server import App\napp = App(sojourn.open('sqlite:///app.db'))\n",
        encoding="utf-8",
    )
    with server("shop:app") as (_, url):
        assert httpx.get(f"{url}/health").status_code == 200
        ran = sojourn("doctor", "--store", "sqlite:///app.db")
        assert (ran.returncode, ran.stderr) == (0, "")


def test_a_port_that_is_taken_is_said(folder: Path) -> None:
    """Proves that a second server on the same port is one line and exit code 2, and the first goes on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = sojourn("serve", "--store", "sqlite:///app.db", "--port", port)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"sojourn: invalid: port: 127.0.0.1:{port} cannot be had")
    assert len(ran.stderr.splitlines()) == 1
