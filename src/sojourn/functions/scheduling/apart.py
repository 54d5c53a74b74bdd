"""A scheduled mutation that writes elsewhere than where it was scheduled, on an engine that cannot commit both at once.

Where a mutation writes is known when it has run, and may be elsewhere when it runs again. So the place is noted with
the call first. Only then the writes are committed, and beside them a receipt; it was not there before, so they are
committed once. Whoever takes the call over finds the receipt at the noted place. If the mutation wants to write
elsewhere by then, or fails, an empty receipt takes its place first, and whoever was late finds that.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import ConflictError
from sojourn.functions import layout
from sojourn.functions.performing import FollowUp
from sojourn.functions.scheduling import stored
from sojourn.functions.scheduling.claim import call_of, function_of, standing
from sojourn.functions.scheduling.host import Host, Ran, in_time
from sojourn.functions.scheduling.model import ScheduledState
from sojourn.functions.scheduling.stored import Entry
from sojourn.kernel import Append, Attempt, DeleteSpan, Key
from sojourn.kernel.codec import codec
from sojourn.kernel.due import Claimed

__all__ = ["Apart"]


class _Receipt(msgspec.Struct, frozen=True):
    """That a call has written at this place, and what it returned; without a result, that it never will."""

    result: msgspec.Raw | UnsetType = UNSET


_RECEIPT: Final = codec(_Receipt)
_NEVER: Final = _RECEIPT.encode(_Receipt())


class _ElsewhereError(Exception):
    """The mutation is to write at this place, which was not noted so far; None: nowhere."""

    def __init__(self, place: str | None, ran: Ran) -> None:
        super().__init__(place)
        self.place = place
        self.ran = ran


class Apart:
    """Runs mutations in several commits, each exactly once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._store = host.store

    async def mutate(self, claimed: Claimed, seed: str) -> list[FollowUp]:
        """Run a mutation that is due; return what its layers do after that.

        Raises:
            Exception: what it raises. It may have been done: `settle` tells, and makes sure that it is not done later.
        """
        for _ in range(limits.RUN_ATTEMPTS):
            entry = await self._store.run(lambda tx: standing(tx, claimed, ScheduledState.PENDING))
            if entry is None:
                return []
            receipt = _receipt_key(claimed, entry)
            try:
                result, later = await self._store.run(partial(self._attempt, claimed, entry, receipt, seed))
            except _ElsewhereError as elsewhere:
                if await self.settle(claimed):
                    return []
                if elsewhere.place is not None:
                    await self._note(claimed, elsewhere.place)
                    continue
                result, later = elsewhere.ran
            await self._succeed(claimed, result)
            return later
        raise ConflictError("it wanted to write elsewhere each time; nothing was written")

    async def settle(self, claimed: Claimed) -> bool:
        """Say whether the call was done, and end it then as a success; else make sure that it never will be as noted.

        Raises:
            SojournError: as for any commit.
        """
        entry = await self._store.run(lambda tx: standing(tx, claimed, ScheduledState.PENDING))
        receipt = None if entry is None else _receipt_key(claimed, entry)
        if receipt is None:
            return False
        found = await self._store.run(partial(_kept, receipt))
        if found.result is UNSET:
            return False
        await self._succeed(claimed, bytes(found.result))
        return True

    async def _attempt(self, claimed: Claimed, entry: Entry, receipt: Key | None, seed: str, tx: Attempt) -> Ran:
        if receipt is not None:
            record = await tx.get(receipt)
            if record is not None:
                found = _RECEIPT.decode(record.value)
                if found.result is UNSET:  # of somebody who has died since, or who has taken the call over
                    raise _ElsewhereError(receipt.partition, (b"", []))
                return bytes(found.result), []
        function = function_of(self._host, entry, claimed)
        work = self._host.carry_out(function, entry, claimed.key.item, seed=seed, tx=tx)
        result, later = await in_time(self._store, work, limits.CALL_TIMEOUT)
        place = _place(tx)
        if receipt is None or place != receipt.partition:
            raise _ElsewhereError(place, (result, later))
        tx.put(receipt, _RECEIPT.encode(_Receipt(msgspec.Raw(result))), ttl=limits.SCHEDULED_KEEP)
        return result, later

    async def _note(self, claimed: Claimed, place: str) -> None:
        """Note where the mutation is about to write, under a number of its own."""

        async def note(tx: Attempt) -> None:
            entry = await standing(tx, claimed, ScheduledState.PENDING)
            if entry is not None:
                moved = msgspec.structs.replace(entry, place=place, moves=entry.moves + 1)
                tx.put(call_of(claimed), stored.encode(moved))

        await self._store.run(note)

    async def _succeed(self, claimed: Claimed, result: bytes) -> None:
        async def succeed(tx: Attempt) -> None:
            entry = await standing(tx, claimed, ScheduledState.PENDING)
            if entry is not None:
                now = await tx.now()
                tx.write(*stored.ended(call_of(claimed), entry, now, ScheduledState.SUCCESS, result=result))

        await self._store.run(succeed)


async def _kept(receipt: Key, tx: Attempt) -> _Receipt:
    """Return the receipt; without one, write that there never will be any."""
    record = await tx.get(receipt)
    if record is not None:
        return _RECEIPT.decode(record.value)
    tx.put(receipt, _NEVER, ttl=limits.SCHEDULED_KEEP)
    return _Receipt()


def _receipt_key(claimed: Claimed, entry: Entry) -> Key | None:
    return None if entry.place is None else layout.ran(entry.place, call_of(claimed), entry.moves)


def _place(tx: Attempt) -> str | None:
    """Return a partition that the attempt writes to: on such an engine all of them are together."""
    for write in tx.transaction(None).writes:
        if isinstance(write, DeleteSpan):
            return write.span.partition
        return write.partition if isinstance(write, Append) else write.key.partition
    return None
