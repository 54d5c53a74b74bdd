"""Where dialogs meet the world: a platform, and one interaction that it brought.

An adapter makes a `Platform`, turns what its framework brings into an `Interaction`, and hands that to
`Dialogs.start` or `Dialogs.dispatch`. What a dialog wants done comes back as effects, after the commit: to the process
that handled the interaction at once, or to whichever process of the platform finds it left behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

import msgspec

from sojourn.dialogs.layout import person
from sojourn.dialogs.model import Effect, Kind, Place, User, View
from sojourn.dialogs.tokens import Budget, TokenCodec

__all__ = ["Interaction", "NOBODY", "Platform", "Responder"]

NOBODY: Final = User("")
"""Who interacts where a platform does not say."""


class Platform(Protocol):
    """One kind of place where people meet dialogs. Its name is stored with each dialog, so it must not change.

    `budget` is what a token may take there, `signs` says that people could forge one there, so that each carries a MAC.
    `is_page` says that a dialog shows one view at a time there, so that each message takes the place of the last.
    `ack_within` is when an interaction must have been answered: a little before, the dialog says to wait.
    """

    name: str
    budget: Budget
    signs: bool
    is_page: bool
    ack_within: timedelta | None
    codec: TokenCodec | None
    """Another way to write tokens; None for sojourn's own."""

    async def perform(self, effect: Effect, key: str, interaction: Interaction | None) -> None:
        """Do what a dialog wants done. `key` is the same when it is done again; what raises is tried again later.

        `interaction` is the one that led to it, where that is still at hand.

        Raises:
            UnsupportedError: this cannot be done here; it is dropped, and logged.
        """
        ...


class Responder(Protocol):
    """How to answer one interaction while its platform waits for that. Each method may be called more than once."""

    async def ack(self) -> None:
        """Say that it has arrived, and nothing more."""
        ...

    async def defer(self) -> None:
        """Say that the answer takes a while."""
        ...

    async def reply(self, view: View) -> Place:
        """Send the dialog's first message, and return where it stands."""
        ...

    async def notify(self, text: str) -> None:
        """Say something to whoever interacted, and to nobody else."""
        ...


class Interaction(msgspec.Struct, kw_only=True):
    """What a platform brought, as dialogs see it.

    `delivery_id` is the same when the platform delivers the same thing again. `token` is what a component carried, None
    for a command or a message. `values` were selected, `fields` filled in, `text` written; `args` are those of a
    `command`. `raw` is the framework's own object, for handlers that know it.
    """

    platform: Platform
    responder: Responder
    kind: Kind
    user: User = NOBODY
    place: Place = Place()
    delivery_id: str | None = None
    token: str | None = None
    values: tuple[str, ...] = ()
    fields: Mapping[str, str] = {}
    text: str = ""
    command: str = ""
    args: Mapping[str, Any] = {}
    raw: Any = None

    @property
    def known_at(self) -> str:
        """Who interacts in which chat, as text that says neither: what they write there may be for one dialog."""
        return person(self.platform.name, self.place, self.user)
