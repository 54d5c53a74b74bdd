"""From what was typed to an open store, and to an id."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

import sojourn
from sojourn.errors import InvalidError
from sojourn.kernel import Store
from sojourn.sessions import SessionId

__all__ = ["existing", "named", "session_id_of", "shown", "within"]

T = TypeVar("T")

_EXAMPLE: Final = "--store sqlite:///app.db"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}", re.ASCII)


def named(url: str | None) -> Store:
    """Return the store that a URL names, not opened yet.

    Raises:
        InvalidError: there is no URL, or no engine answers to it.
    """
    if not url:
        raise InvalidError("store", f"say which one, for example {_EXAMPLE}, or set SOJOURN_STORE")
    return sojourn.open(url)


def existing(url: str | None) -> Store:
    """Return the store that a URL names, not opened yet, if there is one: looking at a store must not create a file.

    Raises:
        InvalidError: there is no URL, no engine answers to it, or nothing is where it leads.
    """
    store = named(url)
    parts = urlsplit(url or "")
    if parts.scheme == "memory":
        raise InvalidError("store", "memory: begins empty in every process; there is nothing of another one to see")
    if parts.scheme == "sqlite":
        _check_file(Path(unquote(parts.path.removeprefix("/"))))
    return store


def within(url: str | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do some work on a store that is there, in a loop of its own, since questions are asked outside of any.

    Raises:
        InvalidError: as `existing`.
    """

    async def opened() -> T:
        async with existing(url) as store:
            return await work(store)

    return asyncio.run(opened())


def session_id_of(name: str, given: str) -> SessionId:
    """Return the public id that was given, or that of a token; the secret in a token goes no further.

    Raises:
        InvalidError: no session has an id of this form.
    """
    session_id = given.partition(".")[0]
    if _ID.fullmatch(session_id) is None:
        raise InvalidError(name, "no session has an id of this form: 22 letters, digits, hyphens and underscores")
    return SessionId(session_id)


def shown(url: str) -> str:
    """Return the URL without the passwords in it, wherever they stand."""
    scheme, separator, rest = url.partition("://")
    end = re.search(r"[/?#]|$", rest)
    assert end is not None
    userinfo, _, _ = rest[: end.start()].rpartition("@")
    if ":" in userinfo:
        rest = userinfo.partition(":")[0] + ":…" + rest[len(userinfo) :]
    return scheme + separator + re.sub(r"(?i)(?<=[?&])((?:ssl)?password)=[^&#]*", r"\1=…", rest)


def _check_file(path: Path) -> None:
    try:
        is_there = path.exists()
    except OSError as error:  # too long a name, a folder that may not be entered
        raise InvalidError("store", f"{error.strerror}: {path}") from error
    if not is_there:
        raise InvalidError("store", f"there is no file {path}; `sojourn serve` would create it, or name another")
