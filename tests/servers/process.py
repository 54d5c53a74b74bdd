"""A server as a process, with whatever it forks: started, killed, frozen and started again."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

READY_S: Final = 60.0
"""How long a server may take to be ready: a second as a rule, more on a machine that does much else."""
ENDING_S: Final = 30.0
"""How long a server may take to end when asked to."""
_LOG_LINES: Final = 60
_LAUNCH: Final = Path(__file__).with_name("launch.py")
_PORTS: Final = range(15_000, 22_000)
"""Below those the system hands out for connections: a client may otherwise sit on the port of a server that is down, or
even connect to itself there. A cluster's second port is 10,000 higher, and still below."""

# Servers end with the thread that started them, so that thread lasts as long as this process.
_starting: Final = ThreadPoolExecutor(1, thread_name_prefix="servers")


class ServerError(Exception):
    """A server did not start or did not end; the message has the end of its log."""


class Process:
    """One server. Its log says when it is ready, and that its log ends says that the last of its processes is gone."""

    def __init__(self, command: Sequence[str], *, folder: Path, ready: str, user: int | None = None) -> None:
        self._command = [str(os.getpid()), "-" if user is None else str(user), *command]
        self._folder = folder
        self._ready = re.compile(ready)
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._running: subprocess.Popen[str] | None = None
        self._follower: threading.Thread | None = None
        self.environment: dict[str, str] = {}

    @property
    def pid(self) -> int:
        """Return the process id of the server that runs now."""
        assert self._running is not None, "the server is not running"
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """Say whether it was started, and neither stopped nor killed since."""
        return self._running is not None

    def start(self) -> None:
        """Start it, and return when it takes connections.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        assert self._running is None, "the server is running already"
        self._log.clear()
        settled = threading.Event()
        self._running = _starting.submit(self._launch).result()
        assert self._running.stdout is not None
        self._follower = threading.Thread(target=self._follow, args=(self._running.stdout, settled), daemon=True)
        self._follower.start()
        if not settled.wait(READY_S) or not self._is_ready():
            self.kill()
            raise ServerError(f"{self._command[2]} did not get ready; the end of its log:\n{self.log()}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and return when it has.

        Raises:
            ServerError: it has not ended in time; it is killed then.
        """
        os.kill(self.pid, how)
        self._gone()

    def kill(self) -> None:
        """Kill it and all it has forked, and return when none is left; nothing happens when it is not running."""
        if self._running is not None:
            self._signal(signal.SIGKILL)
            self._gone()

    def pause(self) -> None:
        """Freeze it and all it has forked, and return when they are: connections stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)
        _await_frozen(self.pid, alone=True)  # first, so that it forks no more
        self._signal(signal.SIGSTOP)
        _await_frozen(self.pid)

    def resume(self) -> None:
        """Let it go on where it was."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return the last lines that the server said."""
        return "\n".join(self._log)

    def _launch(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCH), *self._command],
            cwd=self._folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, who then stop it
            text=True,
            errors="replace",
        )

    def _follow(self, log: IO[str], settled: threading.Event) -> None:
        with log:
            for line in log:
                self._log.append(line.rstrip())
                if self._ready.search(line):
                    settled.set()
        settled.set()

    def _is_ready(self) -> bool:
        return any(self._ready.search(line) for line in tuple(self._log))

    def _signal(self, number: signal.Signals) -> None:
        for pid in family(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _gone(self) -> None:
        assert self._running is not None
        assert self._follower is not None
        running, self._running = self._running, None
        try:
            running.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            raise ServerError(f"{self._command[2]} did not end; the end of its log:\n{self.log()}") from None
        self._follower.join(ENDING_S)
        if self._follower.is_alive():
            raise ServerError(f"{self._command[2]} ended, and something that it started did not")


def free_port() -> int:
    """Return a port of this machine's own network on which nobody listens now."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


def family(pid: int) -> dict[int, str]:
    """Return the children of a process, and itself at the end, with what each does: T when it is frozen.

    It is the letter that `ps` has for it. Servers fork no grandchildren that matter.
    """
    every = dict(_processes())
    children = {child: state for child, (parent, state) in every.items() if parent == pid and state != "Z"}
    return {**children, pid: every[pid][1]}


def _await_frozen(pid: int, *, alone: bool = False) -> None:
    """Wait until a process, and unless it is to be `alone` its children too, does nothing more."""
    while any(state != "T" for one, state in family(pid).items() if one == pid or not alone):
        pass  # asking takes its time, and a signal hardly any


def _processes() -> Iterator[tuple[int, tuple[int, str]]]:
    """Yield every process of this machine with its parent and its state."""
    if Path("/proc/self/stat").exists():
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                state, parent, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
                yield int(stat.parent.name), (int(parent), state)
        return
    command = ["/bin/ps", "-A", "-o", "pid=,ppid=,state="]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        pid, parent, state = line.split()
        yield int(pid), (int(parent), state[0])
