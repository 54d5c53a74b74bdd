"""Keep the shop's server running: when it is killed it is started again. `make run` comes here."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from examples.shop import app
from sojourn import SojournError, server


def main() -> int:
    """Keep a server until asked to stop, or with --once be that server; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.shop", description="Serve the example.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--once", action="store_true", help="do not start a killed server again")
    asked = parser.parse_args()
    if asked.once:
        return serve(asked.port)
    Path(".run").mkdir(exist_ok=True)
    return Keeper([sys.executable, "-m", "examples.shop", "--once", "--port", str(asked.port)]).run()


class Keeper:
    """Runs a command, again whenever it is killed, and passes on what asks it to stop."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """Return the exit code, when the command ends in any other way than by SIGKILL."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        while True:
            self._child = subprocess.Popen(self._command)  # noqa: S603  this very program
            if self._stopping:  # it was asked to while the child was being made
                self._child.terminate()
            code = self._child.wait()
            if self._stopping or code != -signal.SIGKILL:
                return 0 if self._stopping else code

    def stop(self, *_: object) -> None:
        """Ask the command to stop."""
        self._stopping = True
        if self._child is not None:
            self._child.terminate()


def serve(port: int) -> int:
    """Serve until asked to stop, and return the exit code."""

    def announce(url: str) -> None:
        sys.stdout.write(f"The shop is open at {url} (process {os.getpid()}; Ctrl-C closes it)\n")
        sys.stdout.flush()

    try:
        server.serve(app, host="127.0.0.1", port=port, announce=announce)
    except SojournError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
