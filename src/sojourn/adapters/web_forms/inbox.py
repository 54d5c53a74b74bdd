"""What waits for one person on the page of one dialog: notices until they were shown, a form until it was sent.

It is kept in the store, in one record per dialog and person. A browser that was impatient and has sent the same click
twice takes the second answer, and must find there what the first has led to; and so must one whose server died between
the commit and the answer.

| space      | partition   | item             | value              | lives         |
|------------|-------------|------------------|--------------------|---------------|
| `web.page` | dialog's id | hash of a person | notices and a form | `WEB_WAITING` |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from sojourn import limits
from sojourn.dialogs import Form, User
from sojourn.kernel import Attempt, Key, Reads, Record, Store
from sojourn.kernel.codec import codec

__all__ = ["Inbox", "Waiting"]


class Waiting(msgspec.Struct, frozen=True):
    """What waits: notices, each with the key of the effect that it is of, oldest first; and a form.

    `opened_by` is the delivery that opened the form.
    """

    notices: tuple[tuple[str, str], ...] = ()
    form: Form | None = None
    opened_by: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What the notices say."""
        return tuple(text for _, text in self.notices)

    def with_notice(self, effect: str, text: str) -> Waiting:
        """Return the same with one notice more, unless it is there; the oldest one may have to go for it."""
        if any(key == effect for key, _ in self.notices):
            return self
        added = (*self.notices, (effect, text[: limits.WEB_NOTICE_CHARS]))
        return msgspec.structs.replace(self, notices=added[-limits.WEB_NOTICES :])

    def without(self, shown: tuple[tuple[str, str], ...]) -> Waiting:
        """Return the same without notices that were shown."""
        return msgspec.structs.replace(self, notices=tuple(one for one in self.notices if one not in shown))

    def with_form(self, form: Form | None, opened_by: str | None = None) -> Waiting:
        """Return the same with this form in place of another."""
        return Waiting(self.notices, form, opened_by)


_NOTHING: Final = Waiting()
_CODEC: Final = codec(Waiting)


class Inbox:
    """Keeps what waits, for every person and dialog of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self, dialog_id: str, user: User) -> Waiting:
        """Return what waits.

        Raises:
            UnavailableError: the store could not be reached.
        """
        (found,) = (await self._store.read(Reads(keys=(_key(dialog_id, user),)))).records.keys
        return _waiting(found)

    async def change(self, dialog_id: str, user: User, change: Callable[[Waiting], Waiting]) -> None:
        """Keep what the function makes of what waits.

        Raises:
            LimitError: that is too large. UnavailableError, CommitUnknownError: as `Store.run`.
        """
        key = _key(dialog_id, user)

        async def keep(tx: Attempt) -> None:
            before = _waiting(await tx.get(key))
            after = change(before)
            if after == before:
                return
            if after == _NOTHING:
                tx.delete(key)
            else:
                tx.put(key, _CODEC.encode(after), ttl=limits.WEB_WAITING)

        await self._store.run(keep)


def _key(dialog_id: str, user: User) -> Key:
    person = hashlib.sha256(ascii((user.tenant, user.id)).encode()).hexdigest()
    return Key("web.page", dialog_id, person)


def _waiting(found: Record | None) -> Waiting:
    return _NOTHING if found is None else _CODEC.decode(found.value)
