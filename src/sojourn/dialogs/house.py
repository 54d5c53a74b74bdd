"""What all parts of one `Dialogs` share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import msgspec

from sojourn import limits
from sojourn.dialogs.context import Context, Setting
from sojourn.dialogs.events import Bus, DialogEvent
from sojourn.dialogs.failures import ErrorHandlers, Errors, contained
from sojourn.dialogs.keyring import Keyring
from sojourn.dialogs.layout import Address
from sojourn.dialogs.middleware import MiddlewareList, Phase
from sojourn.dialogs.model import Words
from sojourn.dialogs.performing import Performer
from sojourn.dialogs.platform import Interaction
from sojourn.dialogs.presence import apart
from sojourn.dialogs.registry import Registry
from sojourn.dialogs.seats import Seats
from sojourn.dialogs.spills import Spills
from sojourn.dialogs.stored import Row
from sojourn.dialogs.tokens import Budget, Token, TokenCodec, Tokens
from sojourn.dialogs.watchdog import Watchdog
from sojourn.kernel import Attempt, Store

__all__ = ["House", "Moment"]


class Moment(msgspec.Struct, frozen=True):
    """A dialog's row within one attempt: as it was read, at which engine time, and when the dialog's time is over."""

    address: Address
    row: Row
    now: int
    deadline: int

    @property
    def is_overdue(self) -> bool:
        """Say whether the dialog's time is over."""
        return self.deadline <= self.now

    @property
    def remaining(self) -> timedelta | None:
        """What is left of it; None where it does not end by itself."""
        if self.deadline >= limits.RANK_MAX:
            return None
        return timedelta(milliseconds=max(self.deadline - self.now, 0))


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What all parts of one `Dialogs` share."""

    store: Store
    seats: Seats
    keyring: Keyring
    performer: Performer
    watchdog: Watchdog
    words: Words
    retain: timedelta
    wait: float
    partition: Callable[[str], str] | None
    registry: Registry
    middleware: dict[Phase, MiddlewareList]
    errors: Errors
    bus: Bus

    def address(self, dialog_id: str) -> Address:
        """Return where a dialog's records are kept."""
        return Address(dialog_id, dialog_id if self.partition is None else self.partition(dialog_id))

    def codec(self, platform: str) -> TokenCodec:
        """Return how tokens of a platform are written; of one that is not known here, without bounds or MAC."""
        known = self.performer.platform(platform)
        if known is None:
            return Tokens(Budget())
        return known.codec or self.keyring.tokens(known)

    async def context(  # noqa: PLR0913  what a context is made of
        self,
        tx: Attempt,
        moment: Moment,
        phase: Phase,
        interaction: Interaction | None,
        token: Token | None,
        meta: dict[str, Any],
        *,
        tokens_age: bool,
    ) -> Context:
        """Return the context of an interaction with a dialog as it was found.

        Raises:
            UnavailableError: the store could not be reached for the keys that tokens are signed with.
        """
        row = moment.row
        platform = self.performer.platform(row.platform)
        if platform is not None:
            await self.keyring.prepare(platform)
        return Context(
            Setting(
                dialog_id=moment.address.dialog_id,
                phase=phase,
                interaction=interaction,
                token=token,
                owner=row.owner,
                origin=row.origin,
                view=row.view,
                renders=row.renders,
                spills=Spills(row.spill),
                codec=self.codec(row.platform),
                tokens_age=tokens_age,
                is_page=platform is not None and platform.is_page,
                meta=meta,
                tx=tx,
                now=moment.now,
                remaining=moment.remaining,
                words=self.words,
            )
        )

    def limited(self, limit: timedelta) -> AbstractAsyncContextManager[None]:
        """Cut off what takes longer, by the store's clock, with a `TimeoutError`."""
        return self.watchdog.limited(limit)

    async def report(self, handlers: ErrorHandlers, error: Exception, ctx: Context) -> bool:
        """Tell who handles such errors, and return whether somebody has dealt with it.

        They have as long as a handler has; what fails there is logged.
        """
        return await self.contained(lambda: handlers.tell(error, ctx), f"handling an error of dialog {ctx.dialog_id}")

    async def contained(self, work: Callable[[], Awaitable[object]], what: str) -> bool:
        """Do what answers a person; that it fails there, or hangs, is logged and goes no further."""

        async def in_time() -> object:
            async with self.limited(limits.DIALOG_HANDLER):
                return await work()

        return await contained(in_time, what)

    def tell(self, *events: DialogEvent) -> None:
        """Have the subscribers told, in this order, without waiting for them."""
        if any(self.bus.wants(event.name) for event in events):
            apart(self.store, self._tell(events), finish=True)

    async def _tell(self, events: tuple[DialogEvent, ...]) -> None:
        for event in events:
            await self.bus.emit(event)
