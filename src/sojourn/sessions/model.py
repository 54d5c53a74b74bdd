"""What a session is: frozen data and rules, no I/O."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final, NewType

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError, SessionUnknownError

__all__ = [
    "Credential",
    "Ending",
    "Facts",
    "Keyring",
    "Lifetimes",
    "Mode",
    "SessionId",
    "Terms",
    "new_token",
    "read_token",
]

SessionId = NewType("SessionId", str)
"""The public id of a session: what handlers, logs and other records carry. It opens nothing."""

_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})", re.ASCII)
_MINTED: Final = re.compile(r"[A-Za-z0-9_.-]{22,128}", re.ASCII)
_KEY_BYTES: Final = range(16, 65)


class Mode(StrEnum):
    """Who makes the ids."""

    ISSUED = "issued"
    """The server. An id that it did not issue opens nothing."""
    MINTED = "client-minted"
    """The browser, as the reference helpers do. The first use of an id of the right form begins its session."""


class Ending(StrEnum):
    """How a session ended."""

    EXPIRED = "expired"
    REVOKED = "revoked"


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored of a session, besides its state."""

    subject: str | None = None
    label: str | None = None
    signed_in_at: int | None = None


class Lifetimes(msgspec.Struct, frozen=True):
    """The two limits of a session: ended after `idle` without use, and after `absolute` however active."""

    idle: timedelta
    absolute: timedelta

    def __post_init__(self) -> None:
        """Check the two.

        Raises:
            InvalidError: a limit is too short or too long, or idle is longer than absolute.
        """
        if not limits.SESSION_IDLE_MIN <= self.idle <= self.absolute:
            raise InvalidError("idle", f"it lies between {limits.SESSION_IDLE_MIN} and the absolute limit")
        if self.absolute > limits.SESSION_ABSOLUTE_MAX:
            raise InvalidError("absolute", f"it is at most {limits.SESSION_ABSOLUTE_MAX.days} days")

    @property
    def touch_every(self) -> timedelta:
        """How coarsely activity is noted: a twentieth of the idle limit, a minute at most."""
        return min(self.idle / 20, limits.SESSION_TOUCH_MAX)


class Terms(msgspec.Struct, frozen=True):
    """What holds for every session: who makes the ids, the limits, and the spaces in which sessions own records."""

    mode: Mode
    lifetimes: Lifetimes
    owned: list[str]


class Credential(msgspec.Struct, frozen=True):
    """A token taken apart: where the session is, and the hashes under which its secret may be stored.

    A client-minted id that came by a rotation leads to the session of an older one; `is_moved` says that it did.
    """

    session_id: SessionId
    digests: tuple[str, ...]
    is_moved: bool = False


class Keyring:
    """The keys that turn secrets into what is stored, newest first: stored hashes are useless without them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) not in _KEY_BYTES for key in keys):
            raise InvalidError("keys", f"give at least one key of {_KEY_BYTES.start} to {_KEY_BYTES.stop - 1} bytes")
        self._keys = tuple(keys)

    def digests(self, purpose: str, text: str) -> tuple[str, ...]:
        """Return the keyed hash of the text under each key, newest first."""
        return tuple(
            _text(hashlib.blake2b(text.encode(), key=key, person=purpose.encode(), digest_size=24).digest())
            for key in self._keys
        )


def new_token() -> tuple[SessionId, str]:
    """Make a new public id and a token for it: 128 and 256 random bits."""
    session_id = SessionId(secrets.token_urlsafe(16))
    return session_id, f"{session_id}.{secrets.token_urlsafe(32)}"


def new_secret(session_id: SessionId) -> str:
    """Make a further token for a session."""
    return f"{session_id}.{secrets.token_urlsafe(32)}"


def read_token(token: str, keyring: Keyring) -> Credential:
    """Take an issued token apart, without any I/O.

    Raises:
        SessionUnknownError: no token has this form.
    """
    match = _TOKEN.fullmatch(token) if len(token) <= limits.TOKEN_CHARS else None
    if match is None:
        raise SessionUnknownError("no session has a token of this form")
    return Credential(SessionId(match[1]), keyring.digests("secret", token))


def read_minted(minted: str, keyring: Keyring) -> Credential:
    """Take a client-minted id apart: the id is the secret, and the public id is a hash of it.

    Raises:
        SessionUnknownError: the id is too short to be hard to guess, too long, or not plain ASCII.
    """
    if len(minted) > limits.TOKEN_CHARS or _MINTED.fullmatch(minted) is None:
        raise SessionUnknownError("no session has an id of this form; use at least 22 random letters and digits")
    # The public id must not change with the keys, or a rotation of keys would lose every session.
    session_id = _text(hashlib.blake2b(minted.encode(), person=b"public", digest_size=16).digest())
    return Credential(SessionId(session_id), keyring.digests("minted", minted))


def checked(name: str, value: str | None, most: int) -> str | None:
    """Return the text if it may be stored as a subject or label.

    Raises:
        InvalidError: it is empty or holds control characters.
        LimitError: it is too long.
    """
    if value is None:
        return None
    if len(value) > most:
        raise LimitError(name, limit=most, found=len(value), unit="characters")
    if not value or not value.isprintable():
        raise InvalidError(name, "it is empty, or holds characters that cannot be shown")
    return value


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
