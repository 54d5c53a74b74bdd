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
from sojourn.kernel.keys import Key
from sojourn.kernel.lease import Lease, Leases
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Absent, Outcome, Put, Reads, Touch, Transaction
from sojourn.testing import FaultyEngine, ManualClock

LEASE = Key("t.lease", "player", "")
DATA = Key("t", "player", "value")
TTL = limits.LEASE_TTL


@pytest.fixture
def leases(store: Store) -> Leases:
    return Leases(store)


async def save(store: Store, lease: Lease, value: bytes) -> None:
    await store.commit(Transaction(ids.new(), (lease.held,), (Put(DATA, value),)))


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


async def test_the_keeper_renews_by_itself(leases: Leases, clock: ManualClock) -> None:
    lease = await leases.acquire(LEASE, holder="me")
    info = await leases.probe(LEASE)
    for _ in range(5):
        assert info is not None
        ended = info.expires_at
        while info is not None and info.expires_at == ended:
            clock.advance(TTL / 1_000)  # far less than the lease has left while a renewal is on its way
            await asyncio.sleep(0)
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


async def settled(store: Store) -> None:
    """Let whatever runs in the background get as far as it comes without time."""
    for _ in range(5):
        await store.read(Reads())
        for _ in range(20):
            await asyncio.sleep(0)


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
