"""What the servers of the tests have in common: a port, data in a temporary folder, and what can happen to them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.process import Process, free_port

HOST = "127.0.0.1"


class Server:
    """A server that keeps its port and its data over restarts; within `with` it runs, and after it nothing is left."""

    version: str
    store_connections: int
    """How many connections a store has to it at most."""
    _process: Process

    def __init__(self, kind: str) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix=f"sojourn-{kind}-"))

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the server and remove its data."""
        self.close()

    @property
    def pid(self) -> int:
        """Return the process id of the server that runs now."""
        return self._process.pid

    def url(self, store: str | None = None) -> str:
        """Return the URL of a store on it, as `sojourn.open` takes it: of the default one, or of one by its name."""
        raise NotImplementedError

    def connections(self) -> int:
        """Return how many clients are connected to it, this question's own not counted."""
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that the server gets besides its usual ones: to be changed before it is started."""
        return self._process.environment

    def start(self) -> None:
        """Start it on the same port and data as before, and return when it takes connections.

        Raises:
            ServerError: it did not.
        """
        self._process.start()

    def stop(self) -> None:
        """Shut it down in order; who is connected is disconnected."""
        self._process.stop()

    def kill(self) -> None:
        """Kill it and all it has forked at once; nothing happens when it is not running."""
        self._process.kill()

    def pause(self) -> None:
        """Freeze it and all it has forked: connections stay open, new ones are taken, and nobody answers."""
        self._process.pause()

    def resume(self) -> None:
        """Let it go on where it was."""
        self._process.resume()

    def close(self) -> None:
        """End it and remove its data; closing twice is harmless."""
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
