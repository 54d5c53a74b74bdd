"""Changing several documents in one commit, each under its own lease.

The documents are taken in the order of their keys: those loaded here by their turn, the others by their lease, which is
given back in the same commit. So two transactions over the same keys come one after the other, and none waits for one
that waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.documents.holding import Holding
from sojourn.documents.kind import Kind
from sojourn.documents.loading import Loader, Wanted
from sojourn.documents.model import Cause, not_loaded
from sojourn.documents.saving import Saving, pauses
from sojourn.errors import (
    CapabilityError,
    CommitUnknownError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import Committed, Conflict, Guard, Transaction, Write, ids
from sojourn.kernel.store import conflict_error
from sojourn.kernel.waiting import seen

__all__ = ["Transactor", "check_reach"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


def check_reach(kind: Kind[T], keys: Sequence[str]) -> None:
    """Refuse, before anything is done, what the engine cannot commit.

    Raises:
        CapabilityError: the documents are kept in several partitions, and the engine commits in one at a time.
    """
    if not kind.store.describe().cross_partition and not kind.terms.is_one_place(keys):
        problem = "these documents are kept apart; a `partition` of `Documents` keeps together what changes so"
        raise CapabilityError("cross_partition", problem)


class _Part(msgspec.Struct, Generic[T], frozen=True):
    """A document of a transaction. `is_lent`: it is leased for this transaction only."""

    holding: Holding[T]
    is_lent: bool


class _Run:
    """A transaction on its way. Until it has taken its documents it can be given up; after that it is finished."""

    def __init__(self) -> None:
        self.task: asyncio.Task[bool] | None = None
        self.is_taking = True

    def give_up(self) -> None:
        """Stop waiting for documents, if it still does."""
        if self.is_taking and self.task is not None:
            self.is_taking = False
            self.task.cancel()


class Transactor(Generic[T]):
    """Runs the transactions over documents of one name. `find` gives the one that is loaded here, if any."""

    def __init__(self, kind: Kind[T], loader: Loader[T], find: Callable[[str], Awaitable[Holding[T] | None]]) -> None:
        self._kind = kind
        self._loader = loader
        self._find = find
        self._runs: dict[_Run, None] = {}
        self._is_closed = False

    async def transact(
        self, keys: Sequence[str], make: Callable[[Mapping[str, T]], Mapping[str, T] | None], wanted: Wanted | None
    ) -> bool:
        """Change the documents as `make` says; without `wanted` all of them must be loaded here."""
        check_reach(self._kind, keys)
        run = _Run()
        task = self._kind.store.spawn(self._run(run, keys, make, wanted), finish=True)
        run.task = task
        self._runs[run] = None
        task.add_done_callback(lambda _: self._runs.pop(run, None))
        task.add_done_callback(seen)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            run.give_up()
            if self._is_closed and task.cancelled():
                raise self._kind.terms.closed_error() from None
            raise

    async def close(self) -> None:
        """Give up what waits for documents, and wait for what is being committed."""
        self._is_closed = True
        runs = [run.task for run in self._runs if run.task is not None]
        for run in tuple(self._runs):
            run.give_up()
        if runs:
            await asyncio.wait(runs)

    async def _run(
        self,
        run: _Run,
        keys: Sequence[str],
        make: Callable[[Mapping[str, T]], Mapping[str, T] | None],
        wanted: Wanted | None,
    ) -> bool:
        parts: list[_Part[T]] = []
        try:
            for key in keys:
                parts.append(await self._taken(key, wanted))  # noqa: PERF401  what was taken is given back
            run.is_taking = False
            return await self._change(parts, make)
        finally:
            await self._give_back(parts)

    async def change(
        self,
        holding: Holding[T],
        make: Callable[[T], T | None],
        guards: tuple[Guard, ...],
        writes: tuple[Write, ...],
    ) -> bool:
        """Change one document that is loaded here, by a message, in one commit with further guards and writes.

        False: `make` gave nothing, and nothing was written.

        Raises:
            ConflictError: one of the guards no longer holds; nothing was written.
        """
        await self._kind.turns.take((holding.key,))
        parts = [_Part(holding, is_lent=False)]

        async def commit() -> bool:
            with self._entered(parts):
                with _changing(parts):
                    new = make(holding.value)
                if new is not None:
                    await self._persist(parts, {holding.key: new}, Cause.MESSAGE, guards, writes)
                return new is not None

        return await self._finished(parts, commit)

    async def _taken(self, key: str, wanted: Wanted | None) -> _Part[T]:
        holding = await self._find(key)
        if holding is None:
            if wanted is None:
                raise not_loaded(key)
            return _Part(await self._lent(key, wanted), is_lent=True)
        holding.gate.check_free()
        await self._kind.turns.take((key,))
        try:
            holding.checked_open()  # before the others are waited for: who is to be told of a loss waits for this turn
        except BaseException:
            self._kind.turns.give_back((key,))
            raise
        return _Part(holding, is_lent=False)

    async def _lent(self, key: str, wanted: Wanted) -> Holding[T]:
        try:
            return await self._loader.load(key, wanted)
        except CommitUnknownError as error:
            raise UnavailableError(f"the document {key!r} could not be leased; nothing was sent") from error

    async def _change(
        self, parts: Sequence[_Part[T]], make: Callable[[Mapping[str, T]], Mapping[str, T] | None]
    ) -> bool:
        with self._entered(parts):
            values = {part.holding.key: part.holding.value for part in parts}
            with _changing(parts):
                new = make(values)
            if new is None:
                return False
            changed = {key: value for key, value in new.items() if value is not values[key]}
            for part in parts if changed else ():
                if part.is_lent and not part.holding.is_saved:  # imported or migrated for this transaction
                    changed.setdefault(part.holding.key, part.holding.value)
            if changed:
                await self._persist(parts, changed, Cause.TRANSACTION)
            return True

    def _entered(self, parts: Sequence[_Part[T]]) -> ExitStack:
        """Let updates of the documents wait until the block ends."""
        stack = ExitStack()
        with stack:
            for part in parts:
                gate = part.holding.checked_open().gate
                gate.begin()
                stack.callback(gate.end)
            return stack.pop_all()

    async def _persist(
        self,
        parts: Sequence[_Part[T]],
        values: Mapping[str, T],
        cause: Cause,
        guards: tuple[Guard, ...] = (),
        writes: tuple[Write, ...] = (),
    ) -> None:
        """Commit until it is known to hold, or not to."""
        while True:
            savings = {
                part.holding.key: part.holding.ledger.saving(values[part.holding.key], cause, releases=part.is_lent)
                for part in parts
                if part.holding.key in values
            }
            for part in parts:
                part.holding.lease.is_ending = part.is_lent
            outcome = await self._submitted(parts, _transaction(parts, savings, guards, writes))
            if isinstance(outcome, Committed):
                for part in parts:
                    saving = savings.get(part.holding.key)
                    if saving is not None:
                        part.holding.become(saving, outcome, cause)
                    if part.is_lent:
                        part.holding.released()
                return
            for part in parts:
                if outcome.guard in part.holding.guards:
                    await part.holding.explain(outcome)  # lost, unless an earlier save in doubt explains it
                    break
            else:
                raise conflict_error(outcome)

    async def _submitted(self, parts: Sequence[_Part[T]], transaction: Transaction) -> Committed | Conflict:
        """Send the very same transaction until its outcome is known, or its leases or our patience have ended."""
        store = self._kind.store
        growing, attempts, is_in_doubt = pauses(), 0, False
        until = store.clock.monotonic() + limits.UNLOAD_PATIENCE.total_seconds()
        failure: UnavailableError | CommitUnknownError
        while True:
            try:
                return await store.submit(transaction)
            except CommitUnknownError as error:
                is_in_doubt, failure = True, error
            except UnavailableError as error:
                attempts, failure = attempts + 1, error
            is_over = store.clock.monotonic() >= until
            if is_in_doubt and (is_over or not all(part.holding.lease.is_held for part in parts)):
                for part in parts:
                    part.holding.give_up()
                raise CommitUnknownError(
                    "it was not known in time what became of it; the documents are given up"
                ) from failure
            if attempts == limits.SAVE_ATTEMPTS and not is_in_doubt:
                raise failure
            await store.clock.sleep(next(growing))

    async def _finished(self, parts: Sequence[_Part[T]], work: Callable[[], Awaitable[bool]]) -> bool:
        """Do the work as a task of the store, which nobody cancels, and give back what was taken for it."""

        async def finish() -> bool:
            try:
                return await work()
            finally:
                await self._give_back(parts)

        task = self._kind.store.spawn(finish(), finish=True)
        task.add_done_callback(seen)
        return await asyncio.shield(task)

    async def _give_back(self, parts: Sequence[_Part[T]]) -> None:
        self._kind.turns.give_back(part.holding.key for part in parts if not part.is_lent)
        lent = [part.holding for part in parts if part.is_lent and not part.holding.is_ended]
        for holding, end in zip(lent, await asyncio.gather(*map(_unloaded, lent)), strict=True):
            if end is not None:
                _log.warning("the lease of %s ends by itself, for it could not be given back: %s", holding.key, end)
                await holding.lease.stop_keeping()


async def _unloaded(holding: Holding[T]) -> SojournError | None:
    try:
        await holding.unload()
    except SojournError as error:
        return error
    return None


def _changing(parts: Sequence[_Part[T]]) -> ExitStack:
    """Refuse that a change calls back to the documents, until the block ends."""
    stack = ExitStack()
    for part in parts:
        stack.enter_context(part.holding.gate.changing())
    return stack


def _transaction(
    parts: Sequence[_Part[T]],
    savings: Mapping[str, Saving[T]],
    guards: tuple[Guard, ...],
    writes: tuple[Write, ...],
) -> Transaction:
    held = tuple(guard for part in parts for guard in part.holding.guards)
    saved = tuple(write for saving in savings.values() for write in saving.writes)
    ending = tuple(write for part in parts if part.is_lent for write in part.holding.lease.ending)
    return Transaction(ids.new(), (*held, *guards), (*saved, *ending, *writes))
