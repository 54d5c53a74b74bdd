"""Which records the adapter for aiogram owns, beside the dialogs.

| space           | partition                                 | item    | value          | rank    | lives         |
|-----------------|-------------------------------------------|---------|----------------|---------|---------------|
| `aiogram`       | tenant, bot, chat, user, thread, business | destiny | state and data | none    | as `ttl` says |
| `aiogram.lease` | the same                                  | destiny | who holds it   | granted | while held    |

A key of aiogram's is a partition and an item of it, so a lease protects what stands beside it: whoever writes a
record under a lease names that lease in the same commit. Where neither a state nor data is left, there is no record.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aiogram.fsm.storage.base import StorageKey

from sojourn.errors import InvalidError
from sojourn.kernel import Key

__all__ = ["Layout"]

_KEPT: Final = "aiogram"
_LEASE: Final = "aiogram.lease"

_UNDER: Final = "\x01"


class Layout(NamedTuple):
    """Where a tenant's records stand."""

    tenant: str

    def kept(self, key: StorageKey) -> Key:
        """Where state and data of a key stand."""
        return Key(_KEPT, self.partition(key), _checked("destiny", key.destiny))

    def lease(self, key: StorageKey) -> Key:
        """Where the lease of a key stands."""
        return Key(_LEASE, self.partition(key), _checked("destiny", key.destiny))

    def partition(self, key: StorageKey) -> str:
        """Return what all destinies of a key have in common."""
        thread = "" if key.thread_id is None else str(key.thread_id)
        business = _checked("business_connection_id", key.business_connection_id or "")
        return _UNDER.join((self.tenant, str(key.bot_id), str(key.chat_id), str(key.user_id), thread, business))


def _checked(name: str, text: str) -> str:
    if _UNDER in text or "\0" in text:
        raise InvalidError(name, "it holds one of the characters U+0000 and U+0001")
    return text
