"""What documents are made of: frozen values and the rules for what may be in them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from types import UnionType
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.documents.layout import Place
from sojourn.errors import ClosedError, DocumentNotLoadedError, InvalidError, LimitError

__all__ = [
    "Cause",
    "EndReason",
    "Info",
    "Message",
    "Terms",
    "Version",
    "checked_key",
    "checked_keys",
    "checked_name",
    "checked_subjects",
    "checked_text",
    "not_loaded",
    "seconds",
]

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


class Cause(StrEnum):
    """Why a document's value changed."""

    LOAD = "load"
    """It was loaded; there is no old value."""
    UPDATE = "update"
    """One of its own updates, or an edit."""
    TRANSACTION = "transaction"
    """A transaction over several documents, or over one."""
    MESSAGE = "message"
    """A message was handled."""
    ROLLBACK = "rollback"
    """An earlier revision was made the present one. In the history only: a holder loses its lease instead."""


class EndReason(StrEnum):
    """Why this process no longer holds a document."""

    UNLOADED = "unloaded"
    """It was saved and given back."""
    HANDED_OVER = "handed_over"
    """Likewise, because somebody else asked for it."""
    LEASE_LOST = "lease_lost"
    """The lease ended or was taken; what was not saved was handed to `on_lease_lost`."""


class Info(msgspec.Struct, frozen=True):
    """What is known of a document besides its value, as of its last save.

    `revision` and `saved_at` are None before the first. `migrations` names the steps that its value has been through.
    `bytes` is the size of its JSON text. `partition` differs from `key` only where documents are co-located.
    """

    key: str
    revision: int | None
    created_at: datetime
    saved_at: datetime | None
    migrations: tuple[str, ...]
    subjects: tuple[str, ...]
    bytes: int
    partition: str


class Version(msgspec.Struct, frozen=True):
    """One entry of a document's history: what was saved when, why and by whom. `bytes` is the size of its JSON text.

    `saved_at` is the holder's estimate of the engine's time, exact to the time a commit takes.
    """

    revision: int
    saved_at: datetime
    cause: Cause
    holder: str
    bytes: int


class Message(msgspec.Struct, frozen=True):
    """A message to a document: its id, its JSON value, and the engine's time at which it was taken, to a second."""

    id: str
    body: Any
    sent_at: datetime


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What one `Documents` goes by, apart from schema, migrations and callbacks.

    Raises:
        InvalidError: a duration or the name is out of form, or the history is negative.
        LimitError: the name is too long, or the history longer than `limits.DOCUMENT_HISTORY_MAX`.
    """

    name: str
    holder: str
    lease: timedelta
    autosave: timedelta | None
    history: int
    partition: Callable[[str], str] | None

    def __post_init__(self) -> None:
        checked_name(self.name)
        checked_text("holder", self.holder, limits.HOLDER_CHARS)
        _check_type("lease", self.lease, timedelta, "it is a timedelta")
        _check_type("autosave", self.autosave, timedelta | None, "it is a timedelta, or None")
        _check_type("history", self.history, int, "it is a number of revisions; 0 keeps none")
        if not limits.LEASE_TTL_MIN <= self.lease <= limits.TTL_MAX:
            raise InvalidError("lease", f"it lasts from {limits.LEASE_TTL_MIN} to {limits.TTL_MAX}")
        if self.autosave is not None and not limits.DOCUMENT_AUTOSAVE_MIN <= self.autosave <= limits.TTL_MAX:
            raise InvalidError("autosave", f"it lies from {limits.DOCUMENT_AUTOSAVE_MIN} to {limits.TTL_MAX}")
        if self.history < 0:
            raise InvalidError("history", "it is a number of revisions; 0 keeps none")
        if self.history > limits.DOCUMENT_HISTORY_MAX:
            raise LimitError("history", limit=limits.DOCUMENT_HISTORY_MAX, found=self.history, unit="revisions")

    def place(self, key: str) -> Place:
        """Return where the document of this key is kept.

        Raises:
            InvalidError: the key, or the partition that the application gives it, is out of form.
            LimitError: the key is longer than `limits.DOCUMENT_KEY_CHARS`.
        """
        checked_key(key)
        return Place(self.name, key, key if self.partition is None else self._partition_of(key))

    def _partition_of(self, key: str) -> str:
        assert self.partition is not None
        try:
            found = self.partition(key)
        except Exception as error:
            raise InvalidError("partition", f"the function failed for {key!r}: {error!r}") from error
        return checked_text("partition", found)

    def closed_error(self) -> ClosedError:
        """Return the error for whatever is asked after closing."""
        return ClosedError(f"the documents {self.name!r} are closed")

    def is_one_place(self, keys: Iterable[str]) -> bool:
        """Say whether documents of these keys share a partition."""
        return len({self.place(key).partition for key in keys}) == 1


def checked_name(name: str) -> str:
    """Return the name of documents of one kind, if it is one.

    Raises:
        InvalidError: it is not of the form `[a-z][a-z0-9_]*`.
        LimitError: it is longer than `limits.DOCUMENT_NAME_CHARS`.
    """
    if len(name) > limits.DOCUMENT_NAME_CHARS:
        raise LimitError("name", limit=limits.DOCUMENT_NAME_CHARS, found=len(name), unit="characters")
    if _NAME.fullmatch(name) is None:
        raise InvalidError("name", "it begins with a small letter and has small letters, digits and _ only")
    return name


def checked_key(key: str) -> str:
    """Return the key, if it is one.

    Raises:
        InvalidError: it is empty, not text, or holds what cannot be printed.
        LimitError: it is longer than `limits.DOCUMENT_KEY_CHARS`.
    """
    return checked_text("key", key, limits.DOCUMENT_KEY_CHARS)


def checked_keys(keys: Collection[str]) -> tuple[str, ...]:
    """Return the keys of a transaction, sorted: the order in which they are taken.

    Raises:
        InvalidError: there are none, one comes twice, or one is out of form.
        LimitError: there are more than `limits.DOCUMENT_TRANSACTION`.
    """
    if isinstance(keys, str) or not keys:
        raise InvalidError("keys", "a transaction is over at least one key, given as a list")
    if len(keys) > limits.DOCUMENT_TRANSACTION:
        raise LimitError("keys", limit=limits.DOCUMENT_TRANSACTION, found=len(keys), unit="documents")
    if len(set(keys)) < len(keys):
        raise InvalidError("keys", "a key comes twice; a transaction has one value for each key")
    return tuple(sorted(map(checked_key, keys)))


def checked_subjects(subjects: Sequence[str]) -> tuple[str, ...]:
    """Return the subjects of a document, sorted and each once.

    Raises:
        InvalidError: one is empty or cannot be printed.
        LimitError: there are more than `limits.DOCUMENT_SUBJECTS`, or one is too long.
    """
    if isinstance(subjects, str):
        raise InvalidError("subjects", "it is one text; give a list")
    found = tuple(sorted({checked_text("subjects", subject, limits.SUBJECT_CHARS) for subject in subjects}))
    if len(found) > limits.DOCUMENT_SUBJECTS:
        raise LimitError("subjects", limit=limits.DOCUMENT_SUBJECTS, found=len(found), unit="subjects of a document")
    return found


def not_loaded(key: str) -> DocumentNotLoadedError:
    """Return the error for a document that is not loaded here; its text is that of the reference."""
    return DocumentNotLoadedError(f"Key not loaded: {key}")


def seconds(name: str, duration: timedelta | float) -> float:
    """Return a duration in seconds, in which waits are given too.

    Raises:
        InvalidError: it is neither, or below 0.
    """
    problem = "it is a timedelta or a number of seconds, and not below 0"
    _check_type(name, duration, timedelta | float | int, problem)
    found = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not found >= 0:
        raise InvalidError(name, problem)
    return found


def _check_type(name: str, value: object, kind: type | UnionType, problem: str) -> None:
    if not isinstance(value, kind):
        raise InvalidError(name, problem)


def checked_text(name: str, value: object, most: int = limits.PARTITION_BYTES) -> str:
    """Return a text of at least one character, all of which can be printed.

    Raises:
        InvalidError: it is none.
        LimitError: it has more characters than `most`.
    """
    if not isinstance(value, str) or not value:
        raise InvalidError(name, "it is a text of at least one character")
    if len(value) > most:
        raise LimitError(name, limit=most, found=len(value), unit="characters")
    if not value.isprintable():
        raise InvalidError(name, "it holds what cannot be printed")
    return value
