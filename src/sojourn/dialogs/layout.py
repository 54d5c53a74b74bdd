"""Which records the dialogs face owns.

| space                   | partition       | item          | value          | rank     | lives            |
|-------------------------|-----------------|---------------|----------------|----------|------------------|
| `dialog`                | dialog's        | id            | the dialog     | deadline | until it ends    |
| `dialog`                | dialog's        | id            | its end        | none     | as `retain` says |
| `dialog.lease`          | dialog's        | id            | who handles it | granted  | `DIALOG_LEASE`   |
| `dialog.delivery`       | dialog's        | id, delivery  | nothing        | none     | `DELIVERY_KEEP`  |
| `dialog.out.<platform>` | dialog's        | id of its own | an effect      | when due | until performed  |
| `dialog.done.<name>`    | dialog's        | id of its own | its end        | when due | until performed  |
| `dialog.focus`          | a person's hash | empty         | dialog's id    | none     | until it ends    |
| `dialog.key`            | `keys`          | `0`           | random bytes   | none     | for ever         |

All that one dialog owns stands in one partition, its id's, unless the application co-locates what belongs together: so
a step is two commits. A dialog that does not end by itself has the greatest rank, so that every open one is listed;
one that has ended has none, so that one guard tells an open dialog from any other. `dialog.focus` says which dialog
takes what a person writes in one chat: it is written behind the commit where an engine cannot do both at once, and
verified when it is used.
"""

from __future__ import annotations

import hashlib
from typing import Final

from sojourn import limits
from sojourn.dialogs.model import Place, User
from sojourn.kernel import Key

__all__ = ["Address", "DIALOGS", "KEYRING", "completions", "effects", "focus", "person"]

DIALOGS: Final = "dialog"
KEYRING: Final = Key("dialog.key", "keys", "0")

_UNDER: Final = "\x01"


class Address:
    """Where all that one dialog owns is kept: `dialog` is itself, or how it ended, `lease` who handles it now."""

    __slots__ = ("dialog", "dialog_id", "lease", "partition")

    def __init__(self, dialog_id: str, partition: str) -> None:
        self.dialog_id = dialog_id
        self.partition = partition
        self.dialog = Key(DIALOGS, partition, dialog_id)
        self.lease = Key("dialog.lease", partition, dialog_id)

    def delivery(self, delivery_id: str) -> Key:
        """That this delivery was handled. An id that is no short, plain text is kept as its hash."""
        plain = delivery_id.isascii() and delivery_id.isprintable() and not delivery_id.startswith("#")
        if not plain or len(delivery_id) > limits.DIALOG_DELIVERY_CHARS:
            delivery_id = f"#{_digest(delivery_id)}"
        return Key("dialog.delivery", self.partition, f"{self.dialog_id}{_UNDER}{delivery_id}")


def effects(platform: str) -> str:
    """The space of what has to be done on a platform: a process that does not know it leaves it alone."""
    return f"dialog.out.{platform}" if len(platform) <= _NAME_CHARS else f"dialog.out.#{_digest(platform)[:32]}"


def completions(name: str) -> str:
    """The space of what a completion of this name has to be told."""
    plain = name.isascii() and len(name) <= _NAME_CHARS
    return f"dialog.done.{name}" if plain else f"dialog.done.#{_digest(name)[:32]}"


_NAME_CHARS: Final = limits.SPACE_BYTES - len("dialog.done.")


def person(platform: str, place: Place, user: User) -> str:
    """Who writes in which chat, as text that says neither."""
    return _digest(repr((platform, user.tenant, place.chat, place.thread, user.id)))


def focus(who: str) -> Key:
    """Which dialog takes what this person writes in this chat."""
    return Key("dialog.focus", who, "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
