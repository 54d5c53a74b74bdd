"""`sojourn serve`: find the application, and run it."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from functools import partial
from typing import Any

from sojourn.cli import output
from sojourn.cli.stores import named
from sojourn.cli.targets import imported
from sojourn.errors import InvalidError
from sojourn.server import App
from sojourn.server import serve as serve_on
from sojourn.visits import Visits

__all__ = ["serve"]


def serve(target: str | None, url: str | None, *, dev: bool, host: str, port: int) -> None:
    """Serve an application, or the sessions and visits of a store, until asked to stop; print the URL once it listens.

    Raises:
        InvalidError: there is no such application, it is none, the store cannot be used, or the port is taken.
        IncompatibleError: what is at the URL is not a store, or one of a newer release.
        UnavailableError: the store cannot be reached, or the application does not start.
    """
    if not host:
        raise InvalidError("host", "it is empty; 127.0.0.1 is this machine alone, 0.0.0.0 every network it is in")
    if target is None:
        app, what = _of_store(url or os.environ.get("SOJOURN_STORE"), dev=dev), "sessions and visits"
    elif url is not None or dev:
        option = "dev" if url is None else "store"
        raise InvalidError(option, "an application says this itself, as in App(store, dev=True); leave it out")
    else:
        app, what = _application(target), target
    serve_on(app, host=host, port=port, announce=partial(_announce, what))


def _of_store(url: str | None, *, dev: bool) -> App:
    if not url:
        raise InvalidError("APP", "name an application as module:name, or a store with --store sqlite:///app.db")
    asyncio.run(_try(url))
    store = named(url)
    return App(store, visits=Visits(store), dev=dev)


async def _try(url: str) -> None:
    """Open the store once, so that what is wrong with it is said before anything listens."""
    async with named(url):
        pass


def _announce(what: str, url: str) -> None:
    output.line(f"serving {what} at {url}")
    output.line("Ctrl-C stops")
    sys.stdout.flush()


def _application(target: str) -> Any:  # noqa: ANN401  any ASGI application
    found = imported(target)
    if not _is_application(found):
        kind = "a class; name an instance of it" if inspect.isclass(found) else f"of type {type(found).__name__}"
        raise InvalidError("APP", f"{target} is not an ASGI application but {kind}")
    return found


def _is_application(found: Any) -> bool:  # noqa: ANN401  whatever was imported
    if inspect.isclass(found) or not callable(found):
        return False
    try:
        inspect.signature(found).bind("scope", "receive", "send")
    except TypeError:
        return False
    except ValueError:
        pass  # it does not tell its parameters, so only a request could tell
    return True
