"""What all parts of one `Dialogs` share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from sojourn import limits
from sojourn.dialogs.context import Context, Setting
from sojourn.dialogs.events import Bus, DialogEvent
from sojourn.dialogs.failures import Errors
from sojourn.dialogs.keyring import Keyring
from sojourn.dialogs.layout import Address, person
from sojourn.dialogs.middleware import MiddlewareList, Phase
from sojourn.dialogs.model import Words
from sojourn.dialogs.performing import Performer
from sojourn.dialogs.platform import Interaction
from sojourn.dialogs.registry import Registry
from sojourn.dialogs.seats import Seats
from sojourn.dialogs.spills import Spills
from sojourn.dialogs.stored import Row
from sojourn.dialogs.tokens import Budget, Token, TokenCodec, Tokens
from sojourn.dialogs.watchdog import Watchdog
from sojourn.kernel import Attempt, Store

__all__ = ["House", "Moment", "known_at", "present", "within"]

T = TypeVar("T")

_present: ContextVar[tuple[Context, ...]] = ContextVar("_present", default=())


async def within(ctx: Context, work: Awaitable[T]) -> T:
    """Wait for a handler, which can be told by `present` from whatever it calls."""
    inside = _present.set((*_present.get(), ctx))
    try:
        return await work
    finally:
        _present.reset(inside)


def present(dialog_id: str) -> Context | None:
    """Return the context of the handler of this dialog that the caller runs within, None where there is none."""
    return next((ctx for ctx in _present.get() if ctx.dialog_id == dialog_id and not ctx.is_over), None)


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

    def context(  # noqa: PLR0913  what a context is made of
        self,
        tx: Attempt,
        moment: Moment,
        phase: Phase | None,
        interaction: Interaction | None,
        token: Token | None,
        meta: dict[str, Any],
        *,
        tokens_age: bool,
    ) -> Context:
        """Return the context of an interaction with a dialog as it was found."""
        row = moment.row
        platform = self.performer.platform(row.platform)
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
                known_at=None if interaction is None else known_at(interaction),
            )
        )

    @asynccontextmanager
    async def limited(self, limit: timedelta) -> AsyncGenerator[None, None]:
        """Cut off what takes longer, by the store's clock.

        Raises:
            TimeoutError: it took longer.
        """
        loop = asyncio.get_running_loop()
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                alarm = self.watchdog.set(limit.total_seconds(), lambda: timeout.reschedule(loop.time()))
                try:
                    yield
                finally:
                    self.watchdog.clear(alarm)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            raise TimeoutError(f"it took longer than {limit}; longer work belongs elsewhere") from error

    def tell(self, *events: DialogEvent) -> None:
        """Have the subscribers told, in this order, without waiting for them."""
        if any(self.bus.wants(event.name) for event in events):
            self.store.spawn(self._tell(events), finish=True)

    async def _tell(self, events: tuple[DialogEvent, ...]) -> None:
        for event in events:
            await self.bus.emit(event)


def known_at(interaction: Interaction) -> str:
    """Return who interacts in which chat, as the focus of dialogs is kept by."""
    return person(interaction.platform.name, interaction.place, interaction.user)
