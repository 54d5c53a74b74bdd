"""Readings that are kept right: whatever they read changes, they are read again, and who watches them is told.

    watch = store.live.watch()
    watch.change({1: Reading("total", total), 2: Reading("names", names)})
    async for transition in watch:
        ...                                  # what is different, as of one instant

Work goes in rounds, one after the other. A round (1) takes what has become doubtful; (2) reads together, as one
snapshot, what that has read the last time; (3) has the log catch up, so that everything committed before the snapshot
is known; (4) evaluates from the snapshot. What is not doubtful after (3) stands at the instant of the snapshot too. So
all answers of a watch are of one instant, without a lock and without asking the database for more than two things.

An evaluation that reads something else than the last time asks for it, and is of no known instant; if the log, in the
next round, knows of no change in what it read, it is of that round's. A slow evaluation holds up only its own watches.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from sojourn import limits
from sojourn.errors import (
    CallTimeoutError,
    ClosedError,
    LimitError,
    OverloadedError,
    UnavailableError,
)
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.keys import Key
from sojourn.kernel.live.alarms import Alarms
from sojourn.kernel.live.followed import Answer, Followed
from sojourn.kernel.live.interest import Interest
from sojourn.kernel.live.reading import Reading
from sojourn.kernel.live.recording import Known, Recording, recording
from sojourn.kernel.live.seat import Seat
from sojourn.kernel.live.watch import Watch
from sojourn.kernel.subscriptions import Subscriptions
from sojourn.kernel.transaction import Reads
from sojourn.kernel.waiting import first_of

if TYPE_CHECKING:
    from sojourn.kernel.store import Store

__all__ = ["Live"]

_log = logging.getLogger(__name__)

_SOON: Final = 0.1
"""Seconds until a reading is tried again that met a store which is away; each later pause is twice as long."""
_TICK: Final = 0.01
"""Seconds that an alarm is waited for at least, so that an engine whose clock is behind is not asked all the time."""


class Live:
    """All that is watched in one store by this process. It works while there is a watch, as a task of the store."""

    def __init__(self, store: Store, subscriptions: Subscriptions) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._interest: Interest[Followed] = Interest()
        self._followed: dict[Hashable, Followed] = {}
        self._seats: dict[Seat, None] = {}
        self._unsettled: dict[Followed, None] = {}
        self._waiting: dict[Seat, None] = {}
        self._running: dict[Followed, None] = {}
        self._alarms = Alarms(store.clock)
        self._places = asyncio.Semaphore(limits.LIVE_PARALLEL)
        self._woken = asyncio.Event()
        self._has_work = False
        self._wants_flush = False
        self._flush_at: float | None = None
        self._is_listening = False
        self._round = 0
        self._version = 0
        self._evaluations = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def evaluations(self) -> int:
        """How often a reading has been evaluated since the store was made."""
        return self._evaluations

    @property
    def watches(self) -> int:
        """How many watches there are now."""
        return len(self._seats)

    def watch(self) -> Watch:
        """Return a watch without readings yet; no I/O happens before it has some."""
        return Watch(self)

    def change(self, seat: Seat, add: Mapping[int, Reading], remove: Sequence[int]) -> None:
        """Do what `Watch.change` says."""
        self._check_open(seat)
        kept = seat.readings.keys() - set(remove)
        if (wanted := len(kept | add.keys())) > limits.LIVE_READINGS:
            raise LimitError("readings", limit=limits.LIVE_READINGS, found=wanted, unit="readings")
        if seat not in self._seats and len(self._seats) >= limits.LIVE_WATCHES:
            raise OverloadedError(f"this process has {limits.LIVE_WATCHES} watches; ask another, or later")
        self._seats[seat] = None
        dropped = [seat.remove(number) for number in (*remove, *add) if number in seat.readings]
        for number, reading in add.items():
            followed = self._followed.get(reading.key)
            if followed is None:
                followed = self._followed[reading.key] = Followed(reading, self._interest)
                self._unsettled[followed] = None
            followed.seats[seat] = None
            seat.add(number, followed)
        for followed in dropped:
            self._leave(followed, seat)
        seat.abandon()
        seat.wants_flush = self._wants_flush = True
        self._wake(seat)

    def sync(self, seat: Seat, number: int) -> None:
        """Do what `Watch.sync` says."""
        self._check_open(seat)
        if seat.syncs >= limits.LIVE_SYNCS:
            raise LimitError("sync", limit=limits.LIVE_SYNCS, found=seat.syncs + 1, unit="questions")
        self._seats[seat] = None
        seat.ask(number, self._round)
        self._wants_flush = True
        self._wake(seat)

    def leave(self, seat: Seat) -> None:
        """Do what `Watch.close` says."""
        if seat.is_closed:
            return
        seat.is_closed = True
        seat.abandon()
        self._seats.pop(seat, None)
        self._waiting.pop(seat, None)
        for followed in tuple(seat.ids):
            self._leave(followed, seat, whole=True)
        seat.woken.set()
        if not self._seats:
            self._work()

    def forget(self, seat: Seat) -> None:
        """Leave, as soon as the loop gets to it: garbage is collected in any thread, and in the midst of anything."""
        if seat in self._seats and self._task is not None:
            loop = self._task.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.leave, seat)

    def offer(self, key: Key) -> None:
        """Take note of a changed key."""
        for followed in self._interest.of(key):
            if followed.touch(key):
                self._doubt(followed)

    def miss(self) -> None:
        """Take note that changes may be missing: everything is doubtful."""
        for followed in self._followed.values():
            if followed.miss():
                self._doubt(followed)

    def fail(self, error: Exception) -> None:
        """End every watch with this error: nobody tells of changes any more."""
        self._is_listening = False
        for seat in tuple(self._seats):
            seat.fail(error)
            self.leave(seat)

    # -- Rounds --------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._seats:
                if not self._is_listening:
                    await self._listen()
                await self._something()
                await self._go_round()
        except asyncio.CancelledError:
            self.fail(ClosedError("the store has been closed"))
            raise
        except Exception as error:  # noqa: BLE001  reported to all who watch
            _log.exception("nothing can be watched any more")
            self.fail(error)
        finally:
            self._task = None
            self._is_listening = False  # whoever watches next begins anew
            await self._subscriptions.remove(self, None)

    async def _listen(self) -> None:
        """Begin to be told of changes. Meanwhile whoever watches is told why there is nothing to see."""
        while self._seats:
            try:
                await self._subscriptions.add(self, None)
            except UnavailableError as error:
                for followed in tuple(self._unsettled):
                    self._give(followed, error)
                self._assemble_all(self._seats, is_caught_up=False)
                await self._store.clock.sleep(_SOON)
            else:
                self._is_listening = True
                self.miss()  # of what came before nothing was heard
                return

    async def _something(self) -> None:
        """Wait until there is something to do."""
        while True:
            now = self._store.clock.monotonic()
            self._ring(now)
            if self._has_work or not self._seats:
                break
            self._woken.clear()
            left = self._quiet_for(now)
            if left is None:
                await self._woken.wait()
            else:
                await first_of(self._woken.wait(), self._until(now + max(left, _TICK)))
        self._has_work = False

    async def _until(self, at: float) -> None:
        """Wait until the monotonic clock shows this, also if it has gone on before the waiting began."""
        await self._store.clock.sleep(at - self._store.clock.monotonic())

    def _quiet_for(self, now: float) -> float | None:
        """Return the seconds until something is due."""
        dues = [self._alarms.left, None if self._flush_at is None else self._flush_at - now]
        dues += [followed.overdue_at - now for followed in islice(self._running, 1)]
        return min((due for due in dues if due is not None), default=None)

    def _ring(self, now: float) -> None:
        """Do what is due at this time."""
        for followed in tuple(self._running):
            if followed.overdue_at > now:
                break  # those behind it began later
            del self._running[followed]
            if followed.task is not None:
                followed.is_overdue = True
                followed.task.cancel()
        if self._flush_at is not None and self._flush_at <= now:
            self._flush_at = None
            self._work()
        for followed in self._alarms.due():
            if followed.miss():
                self._doubt(followed)

    async def _go_round(self) -> None:
        self._round += 1
        number = self._round
        doubtful = self._doubtful()
        for followed in doubtful:
            followed.begin(number)
        confirming = [followed for followed in self._unsettled if not followed.is_running and not followed.is_dirty]
        seats, self._waiting = self._waiting, {}
        for followed in doubtful:
            seats |= followed.seats
        wants_flush = self._wants_flush and self._flush_at is None
        self._wants_flush = self._wants_flush and not wants_flush  # who asks from now on asks for the next round
        try:
            known = await self._known(doubtful, wants_now=wants_flush or bool(confirming))
            is_caught_up = known is not None or wants_flush or bool(confirming)
            if is_caught_up:
                await self._catch_up()
        except UnavailableError as error:
            self._put_off(seats, [*doubtful, *confirming], error)
            return
        for followed in confirming:
            if not followed.is_dirty:
                followed.is_confirmed = True
                followed.tries = 0
                self._unsettled.pop(followed, None)
        self._assemble_all(seats, is_caught_up=is_caught_up)
        for followed in doubtful:
            if followed.seats:
                own = None if known is None else known.only(followed.reads)
                followed.task = self._store.spawn(self._evaluate(followed, own))

    def _put_off(self, seats: Iterable[Seat], doubtful: Iterable[Followed], error: UnavailableError) -> None:
        """Have those who watch know that the store cannot be read, and try again by and by."""
        self._wants_flush = True
        self._flush_at = self._store.clock.monotonic() + _SOON
        for followed in doubtful:
            self._give(followed, error)
        self._assemble_all(seats, is_caught_up=False)

    async def _catch_up(self) -> None:
        """Hear of all that was committed before now.

        Raises:
            UnavailableError: nobody reads the log any more; who watched then has been told.
        """
        try:
            await self._subscriptions.catch_up()
        except ClosedError as error:
            self._is_listening = False
            raise UnavailableError("changes cannot be read") from error

    def _doubtful(self) -> list[Followed]:
        """Return what is to be evaluated, with what stands beside it in a seat that cannot get on otherwise.

        What only waits to be confirmed is left: evaluated again it would wait once more.
        """
        doubtful = {followed: None for followed in self._unsettled if followed.is_dirty and not followed.is_running}
        for seat in self._waiting:
            if seat.is_hurried:
                doubtful |= {followed: None for followed in seat.ids if followed.is_settled}
        self._unsettled |= doubtful
        return list(doubtful)

    async def _known(self, doubtful: Iterable[Followed], *, wants_now: bool) -> Known | None:
        """Read what these have read the last time, as one snapshot.

        What has expired at its instant is doubtful from then on, as if its end had been told.
        """
        keys = dict.fromkeys(key for followed in doubtful for key in followed.reads.keys)
        spans = dict.fromkeys(span for followed in doubtful for span in followed.reads.spans)
        if not keys and not spans and not wants_now:
            return None
        most = limits.TRANSACTION_READS
        kept = tuple(islice(keys, most))
        reads = Reads(kept, tuple(islice(spans, most - len(kept))))
        snapshot = await self._store.read(reads)
        self._alarms.see(snapshot.now)
        self._ring(self._store.clock.monotonic())
        return Known(reads, snapshot) if keys or spans else None

    def _assemble_all(self, seats: Iterable[Seat], *, is_caught_up: bool) -> None:
        """Have seats go to the instant of this round, or wait for the next."""
        self._version = max(self._version + 1, self._alarms.now * 1_000)
        for seat in tuple(seats):
            if seat.is_closed:
                continue
            if is_caught_up:
                seat.catch_up(self._round)
            few, many = sorted((self._unsettled.keys(), seat.ids.keys()), key=len)
            unsettled = [followed for followed in few if followed in many]  # in the same order in each run of a program
            # One that waits for a slow answer goes on when it is there.
            if seat.assembling or not seat.assemble(self._round, self._version, unsettled):
                self._waiting[seat] = None
            elif not seat.awaited:
                seat.advance()
                if seat.wants_more:
                    self._waiting[seat] = None

    async def _evaluate(self, followed: Followed, known: Known | None) -> None:
        """Evaluate a reading, and tell those who wait for its answer."""
        notes = Recording(self._store, followed.register, known)
        inside = recording.set(notes)
        try:
            async with self._places:
                followed.overdue_at = self._store.clock.monotonic() + limits.LIVE_EVALUATION.total_seconds()
                self._running[followed] = None
                self._woken.set()  # somebody has to see to it that it ends
                self._evaluations += 1
                answer = Answer(await followed.reading.work(Attempt(1, self._store.read, _enter)))
        except asyncio.CancelledError:
            limit = limits.LIVE_EVALUATION.total_seconds()
            if followed.is_overdue:
                answer = Answer(None, CallTimeoutError(f"it took longer than {limit:.0f} seconds"))
            elif _is_cancelled():
                raise
            else:
                answer = Answer(None, UnavailableError("what it waited for was cancelled"))
        except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
            answer = Answer(None, error)
        finally:
            self._running.pop(followed, None)
            notes.is_open = False
            recording.reset(inside)
        self._settle(followed, notes, answer)

    def _settle(self, followed: Followed, notes: Recording, answer: Answer) -> None:
        if not followed.seats:
            return
        self._alarms.see(notes.now)
        if not notes.is_whole and followed.tries >= limits.LIVE_ROUNDS:
            if not notes.is_listed:
                answer = Answer(None, UnavailableError("what it reads changes faster than it can be read"))
            notes.is_whole = True
        if followed.end(notes, answer):
            for seat in followed.seats:
                seat.changed[followed] = None
        if isinstance(answer.error, UnavailableError):
            self._try_later(followed)
        else:
            followed.failures = 0
            self._alarms.set(followed, notes.expires_at)
            self._woken.set()  # it may be the first that is due now
        if followed.is_settled:
            self._unsettled.pop(followed, None)
        else:
            self._work()
        self._tell(followed)

    def _tell(self, followed: Followed) -> None:
        """Have those who wait for this answer go on."""
        assert followed.answer is not None
        for seat in tuple(followed.seats):
            if seat.assembling == followed.round and followed in seat.awaited:
                if not followed.is_confirmed:
                    seat.abandon()
                    self._wake(seat)
                elif seat.receive(followed, followed.answer):
                    seat.advance()
                    if seat.wants_more:
                        self._wake(seat)
            elif seat.wants_more:
                self._wake(seat)

    def _give(self, followed: Followed, error: UnavailableError) -> None:
        """Give an error in place of an answer: the store cannot be read."""
        notes = Recording(self._store, followed.register, None)
        notes.keys, notes.spans = dict.fromkeys(followed.reads.keys), {span: span for span in followed.reads.spans}
        notes.is_whole = True
        self._settle(followed, notes, Answer(None, error))

    # -- What is noted in between --------------------------------------------------------------------------------------

    def _check_open(self, seat: Seat) -> None:
        if seat.failure is not None:
            raise seat.failure
        if seat.is_closed:
            raise ClosedError("the watch has been closed")
        if not self._store.is_open:
            raise ClosedError("the store is not open")

    def _wake(self, seat: Seat) -> None:
        self._waiting[seat] = None
        self._work()
        if self._task is None:
            # Whoever watches first is not the one in whose name everything is read from then on.
            self._task = contextvars.Context().run(self._store.spawn, self._run())

    def _work(self) -> None:
        self._has_work = True
        self._woken.set()

    def _doubt(self, followed: Followed) -> None:
        self._unsettled[followed] = None
        self._work()

    def _leave(self, followed: Followed | None, seat: Seat, *, whole: bool = False) -> None:
        """A seat has a reading no more; nobody evaluates what nobody watches."""
        if followed is None or (followed in seat.ids and not whole):
            return
        followed.seats.pop(seat, None)
        if not followed.seats:
            self._followed.pop(followed.reading.key, None)
            self._unsettled.pop(followed, None)
            followed.drop()

    def _try_later(self, followed: Followed) -> None:
        pause = min(_SOON * 2**followed.failures, limits.REPEAT_BACKOFF_MAX.total_seconds())
        followed.failures = min(followed.failures + 1, 16)
        self._alarms.set_in(followed, pause)
        self._woken.set()  # it may be the first that is due now


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _enter(_: str, __: bool) -> None:  # noqa: FBT001  as an attempt calls it
    """Let a reading in at once: it commits nothing that others would have to wait for."""
