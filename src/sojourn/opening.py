"""From a URL to a store: the only library module that names engines.

An engine and its driver are imported when a URL asks for them, so `import sojourn` loads neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import unquote, urlsplit

from sojourn.errors import InvalidError
from sojourn.kernel.clock import Clock
from sojourn.kernel.engine import Engine
from sojourn.kernel.statistics import Observer
from sojourn.kernel.store import Store

__all__ = ["open"]

_ENTRY_POINTS = "sojourn.engines"


def open(url: str, *, clock: Clock | None = None, observers: Iterable[Observer] = ()) -> Store:
    """Return a store over the database that the URL names; no I/O happens until it is opened.

    `memory:` keeps records in this process, `sqlite:///relative.db` and `sqlite:////absolute.db` in a file.
    `postgresql://user@host/database`, `redis://host` and `redis+cluster://host` (any node of a cluster) keep them in a
    database that many processes share; `rediss:` and `rediss+cluster:` are the same by TLS. Further schemes come from
    packages that declare an entry point in the group `sojourn.engines`: a callable that takes the URL and the clock
    and returns an engine. `clock` replaces the engine's time, for tests. `observers` are told of each batch, as
    `sojourn.telemetry.Tracing`, which makes a span of it.

    Raises:
        InvalidError: the URL has no scheme that any engine answers to, or lacks what its engine needs.
        MissingExtraError: the engine's driver is not installed.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # whose text, and traceback, may show a password
        raise InvalidError("url", "this is not a URL; percent-encode what is special in a name or password") from None
    make = _ENGINES.get(scheme) or _third_party(scheme)
    return Store(make(url, clock), clock=clock, observers=observers)


def _memory(url: str, clock: Clock | None) -> Engine:  # noqa: ARG001  the form of every factory
    from sojourn.engines.memory import MemoryEngine  # noqa: PLC0415

    return MemoryEngine(clock=clock)


def _sqlite(url: str, clock: Clock | None) -> Engine:
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise InvalidError("url", "a SQLite URL is sqlite:///relative.db or sqlite:////absolute.db")
    from sojourn.engines.sqlite import SqliteEngine  # noqa: PLC0415

    return SqliteEngine(path, clock=clock)


def _postgres(url: str, clock: Clock | None) -> Engine:
    from sojourn.engines.postgres import PostgresEngine  # noqa: PLC0415

    return PostgresEngine(url, clock=clock)


def _redis(url: str, clock: Clock | None) -> Engine:
    from sojourn.engines.redis import RedisEngine  # noqa: PLC0415

    return RedisEngine(url, clock=clock)


def _third_party(scheme: str) -> Callable[[str, Clock | None], Engine]:
    from importlib.metadata import entry_points  # noqa: PLC0415  slow to import, and rarely needed

    for entry_point in entry_points(group=_ENTRY_POINTS, name=scheme):
        factory: Callable[[str, Clock | None], Engine] = entry_point.load()
        return factory
    known = ", ".join(sorted(_ENGINES))
    raise InvalidError("url", f"no engine answers to the scheme {scheme[:32]!r}; known here: {known}")


_ENGINES: dict[str, Callable[[str, Clock | None], Engine]] = {
    "memory": _memory,
    "postgres": _postgres,
    "postgresql": _postgres,
    "redis": _redis,
    "redis+cluster": _redis,
    "rediss": _redis,
    "rediss+cluster": _redis,
    "sqlite": _sqlite,
}
