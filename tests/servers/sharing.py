"""One server of each kind for a whole run of the tests, however many processes share the work.

Whoever starts the run opens a socket and puts its path into the environment; a worker, or a child of one, that needs a
server asks there and gets a URL. A server is started when it is first asked for, and killed when the run ends.
"""

from __future__ import annotations

import os
import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

import msgspec

from tests.servers.postgres import Postgres
from tests.servers.process import ServerError
from tests.servers.redis import DURABLE, Redis

Name: TypeAlias = Literal["postgres16", "postgres18", "redis", "redis-cluster", "valkey"]

NAMES: Final[tuple[Name, ...]] = get_args(Name)
_SOCKET: Final = "SOJOURN_TEST_SERVERS"
_ASKING_S: Final = 120.0
"""How long an answer may take: several servers may have to be started first."""


class Started(NamedTuple):
    """A server that this run uses."""

    name: str
    version: str
    seconds: float


class _Server(Protocol):
    @property
    def version(self) -> str: ...

    def url(self) -> str: ...


class _Answer(msgspec.Struct):
    url: str = ""
    error: str = ""


def shared(name: Name) -> str:
    """Return the URL of the run's server of that name, without schema or prefix, starting the server if nobody has.

    Raises:
        ServerError: it could not be started, or this is no run of the tests.
    """
    path = os.environ.get(_SOCKET)
    if path is None:
        raise ServerError("there is nobody to start servers: run this by pytest, or within `sharing()`")
    with socket.socket(socket.AF_UNIX) as asking, asking.makefile("rb") as answers:
        asking.settimeout(_ASKING_S)
        asking.connect(path)
        asking.sendall(f"{name}\n".encode())
        answer = msgspec.json.decode(answers.readline(), type=_Answer)
    if answer.error:
        raise ServerError(answer.error)
    return answer.url


@contextmanager
def sharing() -> Iterator[list[Started]]:
    """Answer `shared` in this process and in all it starts, and kill the servers in the end.

    Within another run nothing happens: that run's servers are used. The list grows with each server.
    """
    if _SOCKET in os.environ:
        yield []
        return
    started: list[Started] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-"))
        path = str(Path(folder) / "servers")
        urls: dict[str, str] = {}

        class Asked(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                name = self.rfile.readline().decode().strip()
                with suppress(BrokenPipeError):
                    self.wfile.write(msgspec.json.encode(_answer(name, urls, started, stack)) + b"\n")

        # One question at a time, so that no server is started twice.
        with socketserver.UnixStreamServer(path, Asked) as server:
            answering = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            answering.start()
            os.environ[_SOCKET] = path
            try:
                yield started
            finally:
                del os.environ[_SOCKET]
                server.shutdown()
                answering.join()


def _answer(name: str, urls: dict[str, str], started: list[Started], stack: ExitStack) -> _Answer:
    if name not in urls:
        try:
            urls[name] = _given(name, started) or _started(name, started, stack)
        except Exception as error:  # noqa: BLE001  told to whoever asked, who raises it
            return _Answer(error=f"{name}: {type(error).__name__}: {error}")
    return _Answer(urls[name])


def _given(name: str, started: list[Started]) -> str | None:
    """Return the URL of a server that somebody else runs, if the environment has one."""
    variable = f"SOJOURN_TEST_{name.replace('-', '_').upper()}_URL"
    url = os.environ.get(variable)
    if url is not None:
        started.append(Started(name, f"given by {variable}", 0.0))
    return url


def _started(name: str, started: list[Started], stack: ExitStack) -> str:
    began = time.perf_counter()
    server = stack.enter_context(_KINDS[name]())
    started.append(Started(name, server.version, time.perf_counter() - began))
    return server.url()


def _cluster() -> AbstractContextManager[_Server]:
    from tests.servers.cluster import ClusterServers  # noqa: PLC0415  only for those who need it

    return ClusterServers()


_KINDS: Final[dict[str, Callable[[], AbstractContextManager[_Server]]]] = {
    "postgres16": lambda: Postgres(16),
    "postgres18": lambda: Postgres(18),
    "redis": lambda: Redis("redis", **DURABLE),
    "redis-cluster": _cluster,
    "valkey": lambda: Redis("valkey", **DURABLE),
}
