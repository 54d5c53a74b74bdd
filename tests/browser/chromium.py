"""A Chromium for the tests: the machine's own, or one that is installed now.

    python -m tests.browser.chromium

The tests come here by themselves; before them it spares a test the wait.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
)


def chromium() -> str | None:
    """Return where Chromium is; None means the one that playwright keeps.

    Raises:
        RuntimeError: there is none, and it could not be installed; the message has the command that does it.
    """
    with (Path(tempfile.gettempdir()) / f"sojourn-chromium-{os.getuid()}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # several workers may miss it at once
        if found() is None:
            if os.geteuid() == 0 and shutil.which("apt-get"):
                run("apt-get", "update", "-qq")
                run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium")
            else:
                run(sys.executable, "-m", "playwright", "install", "chromium")
        return found()


def found() -> str | None:
    """Return the first Chromium on the path."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def run(*command: str) -> None:
    """Run a command that installs; it does nothing when that was done before.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode:
        message = f"the browser tests need Chromium; install it with: {' '.join(command)}\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)


if __name__ == "__main__":
    sys.stdout.write(f"{chromium() or 'the Chromium that playwright keeps'}\n")
