"""Leases: one holder, fenced at the data, handed over at once, never stranded."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import ConflictError, InvalidError, LeaseHeldError, LeaseLostError, UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.engine import Changes, Position
from sojourn.kernel.keeper import request_key
from sojourn.kernel.keys import Key
from sojourn.kernel.lease import Lease, Leases, ending
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import (
    Absent,
    Committed,
    Conflict,
    Outcome,
    Put,
    Reads,
    Snapshot,
    Touch,
    Transaction,
    Write,
)
from sojourn.testing import FaultyEngine, ManualClock

LEASE = Key("t.lease", "player", "")
OTHER = Key("t.lease", "player", "other")
DATA = Key("t", "player", "value")
TTL = limits.LEASE_TTL


@pytest.fixture
def leases(store: Store) -> Leases:
    return Leases(store)


async def save(store: Store, lease: Lease, value: bytes) -> None:
    await store.commit(Transaction(ids.new(), (lease.held,), (Put(DATA, value),)))


async def settled(store: Store) -> None:
    """Let what runs in the background get as far as it comes: commits of its own stand behind those of that."""
    for _ in range(3):
        await store.commit(Transaction(writes=(Put(Key("t", "player", "settled"), b""),)))
        for _ in range(20):
            await asyncio.sleep(0)


async def pass_time(store: Store, clock: ManualClock, duration: timedelta) -> None:
    """Let time pass in steps that leave every lease its renewals, however long the engine takes for one."""
    step = TTL / 12
    for _ in range(duration // step):
        clock.advance(step)
        await settled(store)


async def watched(leases: Leases) -> Lease:
    """Hold another lease, and see to it that what happens in its space is heard."""
    lease = await leases.acquire(OTHER, holder="other")
    assert await leases.ask(OTHER, holder="somebody")
    await lease.requested.wait()
    return lease


@pytest.mark.row("D-LK1", "D-LK18")
async def test_taking_a_lease_reads_what_it_protects_in_the_same_commit(store: Store, leases: Leases) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(DATA, b"1"),)))
    lease = await leases.acquire(LEASE, holder="me", reads=Reads((DATA,)))
    (found,) = lease.granted.records.keys
    assert found is not None
    assert found.value == b"1"
    assert lease.is_held
    info = await leases.probe(LEASE)
    assert info is not None
    assert (info.holder, info.token, info.since) == ("me", lease.token, lease.granted.now)
    assert info.expires_at == lease.granted.now + 1_000 * TTL.total_seconds()


@pytest.mark.row("D-LK14")
async def test_a_second_caller_is_told_who_holds_it(leases: Leases) -> None:
    await leases.acquire(LEASE, holder="first")
    with pytest.raises(LeaseHeldError, match="first"):
        await leases.acquire(LEASE, holder="second")


@pytest.mark.row("D-LK4", "D-N1")
async def test_a_paused_holder_is_refused_by_the_data(store: Store, leases: Leases, clock: ManualClock) -> None:
    """Design 3.5: the fencing token is judged in the engine's transaction, not by the holder's clock."""
    old = await leases.acquire(LEASE, holder="paused")
    await old.stop_keeping()
    clock.advance(TTL)
    new = await leases.acquire(LEASE, holder="next")
    assert new.token > old.token
    with pytest.raises(ConflictError):
        await save(store, old, b"late")
    await save(store, new, b"next")
    assert not old.is_held


@pytest.mark.row("D-LK6")
async def test_renewal_keeps_the_token_and_the_lease(store: Store, leases: Leases, clock: ManualClock) -> None:
    lease = await leases.acquire(LEASE, holder="me")
    await lease.stop_keeping()
    for _ in range(20):
        clock.advance(TTL / limits.LEASE_RENEWALS)
        await lease.renew()
    await save(store, lease, b"still mine")
    assert lease.is_held


async def test_the_keeper_renews_by_itself(store: Store, leases: Leases, clock: ManualClock) -> None:
    lease = await leases.acquire(LEASE, holder="me")
    await pass_time(store, clock, 5 * TTL)
    info = await leases.probe(LEASE)
    assert info is not None
    assert info.token == lease.token
    assert lease.is_held


@pytest.mark.row("D-LK9")
async def test_a_release_is_taken_over_at_once_and_in_order(leases: Leases) -> None:
    """No clock moves here: whoever waits is woken by the release itself."""
    order: list[int] = []

    async def use(place: int) -> None:
        lease = await leases.acquire(LEASE, holder=str(place), wait=1)
        order.append(place)
        await lease.release()

    first = await leases.acquire(LEASE, holder="first")
    async with asyncio.TaskGroup() as group:
        for place in range(10):
            group.create_task(use(place))
            await asyncio.sleep(0)
        await first.release()
    assert order == list(range(10))


@pytest.mark.row("D-LK3")
async def test_a_dead_holder_is_followed_when_its_time_is_over(leases: Leases, clock: ManualClock) -> None:
    dead = await leases.acquire(LEASE, holder="dead")
    await dead.stop_keeping()
    waiting = asyncio.create_task(leases.acquire(LEASE, holder="next", wait=2 * TTL.total_seconds()))
    await clock.until_sleeping()
    clock.advance(TTL - timedelta(milliseconds=1))
    await clock.until_sleeping()
    assert not waiting.done()
    clock.advance(timedelta(milliseconds=1))
    assert (await waiting).is_held


@pytest.mark.row("D-LK2")
async def test_waiting_ends_at_its_time(leases: Leases, clock: ManualClock) -> None:
    await leases.acquire(LEASE, holder="keeper")
    in_turn = asyncio.create_task(leases.acquire(LEASE, holder="second", wait=5))
    behind = asyncio.create_task(leases.acquire(LEASE, holder="third", wait=5))
    await clock.until_sleeping(3)
    clock.advance(timedelta(seconds=5))
    for waiting in (in_turn, behind):
        with pytest.raises(LeaseHeldError):
            await waiting


async def test_a_hung_holder_is_fenced_by_a_thief_where_that_is_allowed(
    store: Store, leases: Leases, clock: ManualClock
) -> None:
    hung = await leases.acquire(LEASE, holder="hung")  # its keeper goes on renewing
    thief = asyncio.create_task(leases.acquire(LEASE, holder="thief", wait=60, steal_after=3))
    await clock.until_sleeping(2)
    clock.advance(timedelta(seconds=3))
    lease = await thief
    with pytest.raises(ConflictError):
        await save(store, hung, b"late")
    await hung.lost.wait()
    await save(store, lease, b"stolen")


async def test_a_holder_is_asked_to_hand_over(leases: Leases) -> None:
    holder = await leases.acquire(LEASE, holder="holder")
    asking = asyncio.create_task(leases.acquire(LEASE, holder="asks", wait=10, ask=True))
    await holder.requested.wait()
    await holder.release()
    assert not (await asking).requested.is_set()


@pytest.mark.row("D-LK13")
async def test_revoking_tells_the_holder(leases: Leases) -> None:
    lease = await leases.acquire(LEASE, holder="holder")
    revoked = await leases.revoke(LEASE)
    assert revoked is not None
    assert revoked.holder == "holder"
    await lease.lost.wait()
    assert not lease.is_held
    with pytest.raises(LeaseLostError):
        await lease.renew()
    await lease.release()
    assert await leases.revoke(LEASE) is None


@pytest.mark.parametrize("event", ["revoked", "asked for"])
async def test_what_happens_before_the_holder_can_watch_is_noticed(clock: ManualClock, event: str) -> None:
    """On a slow engine a lease is granted long before its keeper's watch is ready."""
    ready = asyncio.Event()

    class Slow(MemoryEngine):
        async def changes(self, since: Position | None, wait: float) -> Changes:
            if since is None:
                await ready.wait()
            return await super().changes(since, wait)

    async with Store(Slow(clock=clock), clock=clock) as store:
        leases = Leases(store)
        lease = await leases.acquire(LEASE, holder="holder")
        if event == "revoked":
            await leases.revoke(LEASE)
        else:
            request = LEASE._replace(item=LEASE.item + "\x01request")
            await store.commit(Transaction(writes=(Put(request, b'j{"holder":"other"}'),)))
        ready.set()
        await (lease.lost if event == "revoked" else lease.requested).wait()


@pytest.mark.row("D-LK15")
@pytest.mark.promise(12)
async def test_a_cancelled_acquire_gives_its_lease_back(clock: ManualClock) -> None:
    """The commit that grants the lease is in flight when the caller is cancelled."""
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, delay=1.0)
    async with Store(engine, clock=clock) as store:
        leases = Leases(store)
        cancelled = asyncio.create_task(leases.acquire(LEASE, holder="cancelled"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled
        assert cancelled.cancelled()
        assert (await leases.acquire(LEASE, holder="next", wait=1)).is_held


async def test_a_guard_of_the_caller_that_fails_is_its_own_conflict(leases: Leases, store: Store) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(DATA, b"1"),)))
    with pytest.raises(ConflictError) as caught:
        await leases.acquire(LEASE, holder="me", wait=10, guards=(Absent(DATA),))
    assert caught.value.guard == Absent(DATA)
    assert await leases.probe(LEASE) is None


async def test_a_heartbeat_wakes_nobody(store: Store, leases: Leases) -> None:
    """Promise 4: renewing is a touch, which is no change."""
    lease = await leases.acquire(LEASE, holder="me")
    async with store.watch(LEASE, DATA) as changes:
        await lease.renew()
        await store.commit(Transaction(writes=(Touch(LEASE, ttl=TTL * 2),)))
        await save(store, lease, b"1")
        assert (await anext(changes)).keys == {DATA}  # type: ignore[union-attr]


async def test_a_time_to_live_below_the_least_is_refused(leases: Leases) -> None:
    with pytest.raises(InvalidError, match="ttl"):
        await leases.acquire(LEASE, holder="me", ttl=timedelta(milliseconds=1))


@pytest.mark.promise(12)
@pytest.mark.parametrize("steps", range(16))
async def test_a_waiter_cancelled_at_any_step_strands_no_lease(store: Store, leases: Leases, steps: int) -> None:
    first = await leases.acquire(LEASE, holder="first")
    waiting = asyncio.create_task(leases.acquire(LEASE, holder="waits", wait=10))
    for _ in range(20):
        await asyncio.sleep(0)
    await first.release()
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
    if isinstance(outcome, Lease):
        await outcome.release()
    assert (await leases.acquire(LEASE, holder="next", wait=1)).is_held


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_release_that_is_cancelled_goes_on(store: Store, leases: Leases, steps: int) -> None:
    lease = await leases.acquire(LEASE, holder="me")
    releasing = asyncio.create_task(lease.release())
    for _ in range(steps):
        await asyncio.sleep(0)
    releasing.cancel()
    await asyncio.gather(releasing, return_exceptions=True)
    assert (await leases.acquire(LEASE, holder="next", wait=1)).is_held


async def test_a_store_closes_while_a_lease_is_being_taken(clock: ManualClock) -> None:
    engine = FaultyEngine(MemoryEngine(clock=clock), 1, delay=1.0)
    store = await Store(engine, clock=clock)
    taking = asyncio.create_task(Leases(store).acquire(LEASE, holder="me"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(taking, return_exceptions=True)


async def test_callers_who_gave_up_wait_no_more(leases: Leases, clock: ManualClock) -> None:
    await leases.acquire(LEASE, holder="keeper")
    patient = asyncio.create_task(leases.acquire(LEASE, holder="patient", wait=60))
    await clock.until_sleeping(2)
    for _ in range(limits.LEASE_WAITERS + 10):
        with pytest.raises(LeaseHeldError):
            await leases.acquire(LEASE, holder="hasty")
    patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)


# == What a holder is told, and asks


class Refusing(MemoryEngine):
    """Turns commits away while a test wants it to."""

    refuses = False

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        if self.refuses:
            raise UnavailableError("refused on purpose")
        return await super().commit(batch)


async def test_a_failed_renewal_is_told_and_forgotten_once_one_succeeds(clock: ManualClock) -> None:
    told: list[tuple[bool, bool]] = []
    engine = Refusing(clock=clock)
    async with Store(engine, clock=clock) as store:
        lease = await Leases(store).acquire(LEASE, holder="me")
        lease.tell = lambda: told.append((lease.endangered.is_set(), lease.lost.is_set()))
        await settled(store)
        engine.refuses = True
        clock.advance(TTL / limits.LEASE_RENEWALS)
        await lease.endangered.wait()
        assert told == [(True, False)], "the time to save"
        assert lease.is_held
        engine.refuses = False
        await settled(store)
        clock.advance(TTL / limits.LEASE_RENEWALS / 4)
        await settled(store)
        assert not lease.endangered.is_set()
        clock.advance(TTL * 2 / 3)
        await settled(store)
        assert lease.is_held, "it was renewed"


async def test_whoever_has_no_task_that_waits_is_told_of_each_thing_once(store: Store, leases: Leases) -> None:
    lease = await leases.acquire(LEASE, holder="me")
    told: list[str] = []

    def tell() -> None:
        told.append("lost" if lease.lost.is_set() else "requested")

    lease.tell = tell
    assert await leases.ask(LEASE, holder="other")
    await lease.requested.wait()
    await settled(store)
    assert told == ["requested"], "also when the first look and the watch both find it"
    await leases.revoke(LEASE)
    await lease.lost.wait()
    await settled(store)
    assert told == ["requested", "lost"]


async def test_asking_is_heard_where_somebody_holds_it_and_only_there(store: Store, leases: Leases) -> None:
    assert not await leases.ask(LEASE, holder="other"), "nobody holds it"
    lease = await leases.acquire(LEASE, holder="me")
    assert await leases.ask(LEASE, holder="other")
    await lease.requested.wait()
    await lease.release()
    assert not await leases.ask(LEASE, holder="other")
    again = await leases.acquire(LEASE, holder="me")
    await settled(store)
    assert not again.requested.is_set(), "what was asked of the last holder is not asked of the next"


@pytest.mark.parametrize("end", ["ended", "stolen", "revoked"])
async def test_a_request_dies_with_the_lease_that_it_was_for(
    store: Store, leases: Leases, clock: ManualClock, end: str
) -> None:
    lease = await leases.acquire(LEASE, holder="first")
    assert await leases.ask(LEASE, holder="other")
    await lease.requested.wait()
    if end == "ended":
        await lease.stop_keeping()
        clock.advance(TTL - timedelta(seconds=1))
        assert await leases.ask(LEASE, holder="other"), "a request is kept for a while"
        clock.advance(timedelta(seconds=1))
    elif end == "revoked":
        await leases.revoke(LEASE)
    again = await leases.acquire(LEASE, holder="other", steal_after=0)
    await settled(store)
    assert not again.requested.is_set()
    assert again.is_held


async def test_a_holder_that_has_not_handed_over_is_asked_again(
    store: Store, leases: Leases, clock: ManualClock
) -> None:
    """A request ends with its time, and whoever made it may still wait."""
    lease = await leases.acquire(LEASE, holder="first")
    asking = asyncio.create_task(Leases(store).acquire(LEASE, holder="asks", wait=600, ask=True))
    for _ in range(2):
        while not lease.requested.is_set():
            clock.advance(TTL / 1_000)  # far less than the lease has left while a renewal is on its way
            await leases.probe(LEASE)
            await asyncio.sleep(0)
        assert lease.is_held
        lease.requested.clear()
    await lease.release()
    assert (await asking).is_held


async def test_a_holder_that_ends_its_lease_itself_is_told_of_no_loss(store: Store, leases: Leases) -> None:
    lease = await leases.acquire(LEASE, holder="me")
    told: list[bool] = []
    lease.tell = lambda: told.append(lease.lost.is_set())
    await settled(store)
    lease.is_ending = True
    await store.commit(Transaction(ids.new(), (lease.held,), (Put(DATA, b"last"), *lease.ending)))
    await settled(store)
    assert told == []
    assert not lease.lost.is_set()
    assert await leases.probe(LEASE) is None
    await lease.stop_keeping()


@pytest.mark.parametrize("event", ["revoked", "asked for"])
async def test_what_happened_while_an_ending_failed_is_noticed_afterwards(
    store: Store, leases: Leases, event: str
) -> None:
    lease = await leases.acquire(LEASE, holder="me")
    told: list[str] = []
    lease.tell = lambda: told.append("lost" if lease.lost.is_set() else "requested")
    lease.is_ending = True
    if event == "revoked":
        await leases.revoke(LEASE)
    else:
        await leases.ask(LEASE, holder="other")
    await settled(store)
    assert told == []
    lease.keep_on()
    await (lease.lost if event == "revoked" else lease.requested).wait()
    await settled(store)
    assert told == ["lost" if event == "revoked" else "requested"]


# == One keeper for all


async def test_leases_that_are_granted_together_are_looked_at_in_one_read_and_then_no_more(clock: ManualClock) -> None:
    """The log does not say whether their own grants are all that happened."""
    async with Store(MemoryEngine(clock=clock), clock=clock) as store:
        leases = Leases(store)
        other = await watched(leases)
        await settled(store)
        before = store.statistics().reads
        keys = [Key("t.lease", f"player {number}", "") for number in range(100)]
        held = await asyncio.gather(*(leases.acquire(key, holder="me") for key in keys))
        await settled(store)
        assert store.statistics().reads == before + 1
        await pass_time(store, clock, TTL)
        await asyncio.gather(*(lease.release() for lease in held))
        await settled(store)
        assert other.is_held
        assert store.statistics().reads == before + 1


async def test_a_lease_that_ended_before_its_grant_was_heard_of_is_not_looked_at(clock: ManualClock) -> None:
    heard = asyncio.Event()
    heard.set()

    class Late(MemoryEngine):
        async def changes(self, since: Position | None, wait: float) -> Changes:
            changes = await super().changes(since, wait)
            await heard.wait()
            return changes

    async with Store(Late(clock=clock), clock=clock) as store:
        leases = Leases(store)
        await watched(leases)
        await settled(store)
        heard.clear()
        before = store.statistics().reads
        for _ in range(5):
            await (await leases.acquire(LEASE, holder="me")).release()
        heard.set()
        await settled(store)
        assert store.statistics().reads == before


@pytest.mark.parametrize("rounds", [0, 50])
@pytest.mark.parametrize(
    "event",
    [
        pytest.param((Put(request_key(LEASE), b'j{"holder":"other"}'),), id="asked for"),
        pytest.param(ending(LEASE), id="revoked"),
        pytest.param((Put(LEASE, b'j{"holder":"thief"}'),), id="stolen"),
    ],
)
async def test_what_happens_before_the_grant_is_answered_is_noticed(
    clock: ManualClock, event: tuple[Write, ...], rounds: int
) -> None:
    """Whether it is heard of before the answer is here, or after."""

    class Slow(MemoryEngine):
        async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
            answers = await super().commit(batch)
            if any(write.key == LEASE for each in batch for write in each.writes if isinstance(write, Put)):
                await super().commit([Transaction(writes=event)])
                for _ in range(rounds):
                    await asyncio.sleep(0)
            return answers

    async with Store(Slow(clock=clock), clock=clock) as store:
        leases = Leases(store)
        await watched(leases)
        lease = await leases.acquire(LEASE, holder="holder")
        await (lease.requested if isinstance(event[0], Put) and event[0].key != LEASE else lease.lost).wait()


async def test_a_thousand_leases_are_kept_by_as_many_tasks_as_one(clock: ManualClock) -> None:
    async with Store(MemoryEngine(clock=clock), clock=clock) as store:
        leases = Leases(store)
        held = [await watched(leases)]
        await settled(store)
        tasks, sleepers = len(asyncio.all_tasks()), clock.sleepers
        keys = [Key("t.lease", f"player {number}", "") for number in range(999)]
        held += await asyncio.gather(*(leases.acquire(key, holder="me") for key in keys))
        await settled(store)
        assert (len(asyncio.all_tasks()), clock.sleepers) == (tasks, sleepers) == (tasks, 1)
        await pass_time(store, clock, 2 * TTL)
        assert all(lease.is_held for lease in held)
        assert (len(asyncio.all_tasks()), clock.sleepers) == (tasks, sleepers)
        await asyncio.gather(*(lease.release() for lease in held))
        await settled(store)
        assert clock.sleepers == 0


async def test_a_renewal_that_hangs_delays_no_other_and_does_not_hide_its_own_loss(clock: ManualClock) -> None:
    class Hanging(Store):
        async def submit(self, transaction: Transaction) -> Committed | Conflict:
            if any(isinstance(write, Touch) and write.key == LEASE for write in transaction.writes):
                await asyncio.Event().wait()
            return await super().submit(transaction)

    async with Hanging(MemoryEngine(clock=clock), clock=clock) as store:
        leases = Leases(store)
        hanging, other = await leases.acquire(LEASE, holder="me"), await leases.acquire(OTHER, holder="me")
        await pass_time(store, clock, TTL - TTL / 12)
        clock.advance(TTL / 12 - timedelta(milliseconds=1))
        await settled(store)
        assert not hanging.lost.is_set()
        clock.advance(timedelta(milliseconds=1))
        await settled(store)
        assert hanging.lost.is_set()
        await pass_time(store, clock, TTL)
        assert other.is_held
        await hanging.release()


async def test_while_nobody_tells_of_changes_leases_are_renewed_and_then_looked_at(clock: ManualClock) -> None:
    class Deaf(MemoryEngine):
        is_deaf = True

        async def changes(self, since: Position | None, wait: float) -> Changes:
            if self.is_deaf:
                raise UnavailableError("it is deaf")
            return await super().changes(since, wait)

    engine = Deaf(clock=clock)
    async with Store(engine, clock=clock) as store:
        leases = Leases(store)
        lease, other = await leases.acquire(LEASE, holder="me"), await leases.acquire(OTHER, holder="me")
        await pass_time(store, clock, 2 * TTL)
        assert lease.is_held
        await leases.ask(OTHER, holder="somebody")
        await leases.revoke(LEASE)
        engine.is_deaf = False
        clock.advance(limits.REPEAT_BACKOFF_MAX)
        await lease.lost.wait()
        await other.requested.wait()


async def test_what_cannot_be_looked_at_is_looked_at_again(clock: ManualClock) -> None:
    class Blind(MemoryEngine):
        is_blind = False

        async def read(self, reads: Reads) -> Snapshot:
            if self.is_blind:
                raise UnavailableError("it is blind")
            return await super().read(reads)

    engine = Blind(clock=clock)
    async with Store(engine, clock=clock) as store:
        leases = Leases(store)
        lease = await watched(leases)
        await settled(store)
        lease.requested.clear()
        engine.is_blind = True
        await leases.ask(OTHER, holder="somebody else")
        await settled(store)
        assert not lease.requested.is_set()
        engine.is_blind = False
        clock.advance(TTL / 12)
        await lease.requested.wait()


async def test_leases_that_were_leave_nothing_behind(store: Store, leases: Leases) -> None:
    await watched(leases)
    for _ in range(300):
        await (await leases.acquire(LEASE, holder="me")).release()
    await settled(store)
    keeper = leases.keeper
    assert len(keeper._due) < 150
    assert (len(keeper._kept), keeper._expected, keeper._renewals, keeper._unseen) == (1, {}, {}, {})


async def test_a_lease_granted_anew_in_the_same_process_is_lost_to_who_was_ending_it(leases: Leases) -> None:
    """Not before he says that his commit failed: that commit may be what ended it."""
    lease = await leases.acquire(LEASE, holder="first")
    lease.is_ending = True
    await leases.revoke(LEASE)
    again = await leases.acquire(LEASE, holder="second")
    assert not lease.lost.is_set()
    lease.keep_on()
    assert lease.lost.is_set()
    assert again.is_held


async def test_what_was_read_with_a_grant_can_be_let_go(store: Store, leases: Leases) -> None:
    await store.commit(Transaction(ids.new(), writes=(Put(DATA, b"1"),)))
    lease = await leases.acquire(LEASE, holder="me", reads=Reads((DATA,)))
    lease.forget_records()
    assert lease.granted.records.keys == ()
    assert lease.granted.revision == lease.token
    await save(store, lease, b"2")
