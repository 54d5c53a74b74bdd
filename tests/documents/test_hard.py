"""Hard times: pauses, crashes, lost answers, a store that is away, clocks that jump, and a thousand at once.

What the reference's own tests lack. Killing at each step of a transaction is in test_transactions, large documents are
in test_large, what is refused at once in test_bad_input.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from sojourn import limits
from sojourn.documents import Cause, Document, EndReason
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    LeaseHeldError,
    LeaseLostError,
    LoadCancelledError,
    UnavailableError,
)
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from tests.documents.conftest import (
    LEASE,
    HastyClock,
    Holder,
    Holders,
    Player,
    Players,
    pass_time,
    players_over,
    settled,
    until,
)
from tests.documents.trading import BOTH, Gate, earn, stored, together, trade

SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)

LONG = Random(1).randbytes(2 * limits.CHUNK_BYTES).hex()  # noqa: S311  it must be repeatable

Lost = list[tuple[str, Player | None]]


@pytest.fixture
def lost() -> Lost:
    """What was told of lost leases: key and unsaved value."""
    return []


@pytest.fixture
def tell(lost: Lost) -> Callable[[str, Player | None], None]:
    return lambda key, unsaved: lost.append((key, unsaved))


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)


async def with_coins(holder: Holder, key: str, coins: int) -> Document[Player]:
    """Load a document whose coins are saved."""
    player = await holder.players.load(key)
    await player.update(earn(coins))
    await player.save()
    return player


def poor(drafts: dict[str, Player]) -> bool:
    """Leave nobody any coins."""
    for draft in drafts.values():
        draft.coins = 0
    return True


async def spin(rounds: int = 20) -> None:
    """Let the loop run, where the store that is asked is away or in memory."""
    for _ in range(rounds):
        await asyncio.sleep(0)


# == Pauses and fencing


@pytest.mark.row("D-N1", "D-RT3")
@pytest.mark.parametrize("late", ["save", "unload"])
async def test_a_holder_paused_beyond_its_lease_is_refused_by_the_data_and_keeps_what_it_had(
    holder: Holders, clock: HastyClock, lost: Lost, tell: Callable[..., None], late: str
) -> None:
    paused, heir = await holder(on_lease_lost=tell), await holder()
    ada = await with_coins(paused, "ada", 1)
    await ada.update(earn(10))
    paused.wire.pause()
    writing = asyncio.create_task(ada.save() if late == "save" else ada.unload())
    await until(lambda: paused.wire.held)
    clock.advance(LEASE)
    async with heir.players.open("ada") as next_one:
        assert next_one.value == Player(coins=1)
        await next_one.update(earn(100))
    paused.wire.resume()
    with pytest.raises(LeaseLostError) as caught:
        await writing
    assert caught.value.unsaved == Player(coins=11)
    await until(lambda: lost)
    assert await heir.players.peek("ada") == Player(coins=101)
    assert len([version async for version in heir.players.history("ada")]) == 2
    assert ada.closed
    for again in (ada.save, ada.unload, lambda: ada.update(earn(1)), ada.get):
        with pytest.raises(LeaseLostError) as caught:
            await again()
        assert caught.value.unsaved == Player(coins=11)
    assert lost == [("ada", Player(coins=11))]


@pytest.mark.row("D-N1")
@pytest.mark.parametrize("late", ["save", "transact"])
async def test_a_late_write_is_refused_even_when_the_next_holder_has_written_nothing(
    holder: Holders, clock: HastyClock, late: str
) -> None:
    """The stored document is the one that the paused holder knows: only the lease is not its own any more."""
    paused, heir = await holder(partition=together), await holder(partition=together)
    ada = await with_coins(paused, "ada", 1)
    await ada.update(earn(10))
    paused.wire.pause()
    writing = asyncio.create_task(ada.save() if late == "save" else paused.players.transact(["ada"], poor))
    await until(lambda: paused.wire.held)
    clock.advance(LEASE)
    next_one = await heir.players.load("ada")
    paused.wire.resume()
    with pytest.raises(LeaseLostError):
        await writing
    assert await heir.players.peek("ada") == Player(coins=1)
    await next_one.update(earn(100))
    await next_one.unload()
    assert await heir.players.peek("ada") == Player(coins=101)


@pytest.mark.row("D-N4")
async def test_a_transaction_that_only_looked_at_a_document_is_refused_when_that_has_another_holder(
    holder: Holders, clock: HastyClock
) -> None:
    paused, heir = await holder(partition=together), await holder(partition=together)
    for key in BOTH:
        await with_coins(paused, key, 10)

    def copied(drafts: dict[str, Player]) -> bool:
        drafts["ada"].coins += drafts["bo"].coins
        return True

    paused.wire.pause()
    trading = asyncio.create_task(paused.players.transact(BOTH, copied))
    await until(lambda: paused.wire.held)
    await heir.players.revoke("bo")
    bo = await heir.players.load("bo")
    paused.wire.resume()
    with pytest.raises(LeaseLostError):
        await trading
    assert await stored(heir.players) == [10, 10]
    await bo.unload()


@pytest.mark.row("D-N1")
async def test_a_holder_that_never_noticed_its_pause_is_refused_by_the_data(holder: Holders, clock: HastyClock) -> None:
    """Its own clock stood still, as in a virtual machine that was suspended: the engine's decides."""
    suspended = await holder(host=ManualClock())
    ada = await suspended.players.load("ada")
    await ada.update(earn(10))
    clock.advance(LEASE)
    heir = await holder()
    async with heir.players.open("ada") as next_one:
        await next_one.update(earn(100))
    with pytest.raises(LeaseLostError) as caught:
        await ada.save()
    assert caught.value.unsaved == Player(coins=10)
    assert await heir.players.peek("ada") == Player(coins=100)


# == Lost answers


@pytest.mark.row("D-N2")
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("written", [False, True], ids=["lost on its way", "answer lost"])
@pytest.mark.parametrize("then", ["crash", "save again", "unload"])
async def test_after_a_lost_answer_the_old_value_or_the_new_one_is_there_and_once(
    holder: Holders, clock: HastyClock, *, large: bool, written: bool, then: str
) -> None:
    here, heir = await holder(lease=limits.TTL_MAX), await holder()
    ada = await with_coins(here, "ada", 1)
    new = Player(coins=2, items=[LONG] if large else [])
    await ada.update_immutable(lambda _: new)
    here.wire.losses, here.wire.drops = (1_000, 0) if written else (0, 1_000)
    with clock.hasty(), pytest.raises(CommitUnknownError):
        await ada.save()
    assert not ada.is_saved
    here.wire.losses = here.wire.drops = 0
    if then == "crash":
        async with clock.rushing():
            await here.crash()
        clock.advance(limits.TTL_MAX)
    elif then == "save again":
        await ada.save()
        assert ada.is_saved
        assert await heir.players.peek("ada") == new
        await ada.unload()
    else:
        await ada.unload()
    async with heir.players.open("ada") as found:
        assert found.value == (new if written or then != "crash" else Player(coins=1))
        expected = 2 if written or then != "crash" else 1
        assert len([version async for version in heir.players.history("ada")]) == expected


@pytest.mark.row("D-N2")
async def test_a_change_made_while_an_answer_was_lost_is_saved_by_the_next_save(
    holder: Holders, clock: HastyClock
) -> None:
    here = await holder(lease=limits.TTL_MAX)
    ada = await with_coins(here, "ada", 1)
    await ada.update(earn(1))
    here.wire.losses = 1_000
    with clock.hasty(), suppress(CommitUnknownError):
        await ada.save()
    await ada.update(earn(1))
    here.wire.losses = 0
    await ada.save()
    assert ada.is_saved
    assert await here.players.peek("ada") == Player(coins=3)
    assert [version.cause async for version in here.players.history("ada")] == [Cause.UPDATE] * 3


@pytest.mark.row("D-N3")
@pytest.mark.parametrize("loaded", [False, True], ids=["not loaded", "loaded"])
@pytest.mark.parametrize("away", [False, True], ids=["reads pass", "then cut"])
async def test_a_transaction_whose_answer_was_lost_is_on_one_side_for_all(
    holder: Holders, clock: HastyClock, *, loaded: bool, away: bool
) -> None:
    here, heir = await holder(partition=together), await holder(partition=together)
    for key in BOTH:
        await (await with_coins(here, key, 10)).unload()
    if loaded:
        for key in BOTH:
            await here.players.load(key)
    if away:
        here.wire.break_after(0 if loaded else 2, arrives=True)
    else:
        here.wire.losses = 1_000
    trading = asyncio.create_task(here.players.transact(BOTH, trade))
    with clock.hasty(5):
        (outcome,) = await asyncio.gather(trading, return_exceptions=True)
    assert outcome is True or isinstance(outcome, CommitUnknownError | LeaseLostError | UnavailableError)
    here.wire.losses = 0
    async with clock.rushing():
        await here.crash()
    clock.advance(LEASE)
    after = [(await heir.players.load(key)).value.coins for key in BOTH]
    assert after in ([10, 10], [5, 15])
    if outcome is True:
        assert after == [5, 15]
    if isinstance(outcome, UnavailableError):
        assert after == [10, 10]


# == A transaction that is paused


@pytest.mark.row("D-N4", "D-N6")
async def test_a_transaction_paused_before_its_commit_while_another_takes_one_document_changes_neither(
    holder: Holders, clock: HastyClock, lost: Lost, tell: Callable[..., None]
) -> None:
    paused, heir = await holder(partition=together, on_lease_lost=tell), await holder(partition=together)
    players = [await with_coins(paused, key, 10) for key in BOTH]
    paused.wire.pause()
    trading = asyncio.create_task(paused.players.transact(BOTH, trade))
    await until(lambda: paused.wire.held)
    clock.advance(LEASE)
    async with heir.players.open("ada") as ada:
        assert ada.value.coins == 10
        await ada.update(earn(1))
    paused.wire.resume()
    with pytest.raises(LeaseLostError):
        await trading
    assert await stored(heir.players) == [11, 10]
    assert [player.value.coins for player in players] == [10, 10]
    await until(lambda: len(lost) == 2)
    assert sorted(key for key, _ in lost) == list(BOTH)
    async with heir.players.open("bo") as bo:
        assert bo.value.coins == 10


@pytest.mark.row("D-N4", "D-N6")
async def test_a_paused_transaction_over_documents_leased_for_it_changes_neither(
    holder: Holders, clock: HastyClock
) -> None:
    paused, heir = await holder(partition=together), await holder(partition=together)
    for key in BOTH:
        await (await with_coins(heir, key, 10)).unload()

    def pausing(drafts: dict[str, Player]) -> bool:
        paused.wire.pause()
        return trade(drafts)

    trading = asyncio.create_task(paused.players.transact(BOTH, pausing))
    await until(lambda: paused.wire.held)
    clock.advance(LEASE)
    async with heir.players.open("ada") as ada:
        await ada.update(earn(1))
    paused.wire.resume()
    with pytest.raises(LeaseLostError):
        await trading
    assert await stored(heir.players) == [11, 10]


# == Crashes


@pytest.mark.row("D-N9")
@pytest.mark.parametrize("age", [0, 1, 30, 61, 89.999])
async def test_after_a_crash_the_next_loader_has_the_document_when_the_lease_ends(
    holder: Holders, clock: HastyClock, age: float
) -> None:
    lease = timedelta(seconds=90)
    dead, heir = await holder(lease=lease), await holder(lease=lease)
    ada = await with_coins(dead, "ada", 7)
    await ada.update(earn(1))
    await dead.crash()
    clock.advance(timedelta(seconds=age))
    loading = asyncio.create_task(heir.players.load("ada"))
    left = lease - timedelta(seconds=age)
    await clock.until_sleeping()
    clock.advance(left - MILLISECOND)
    await settled(heir.store)
    assert not loading.done()
    clock.advance(MILLISECOND)
    assert (await loading).value == Player(coins=7)


@pytest.mark.row("D-N9")
async def test_a_transaction_waits_for_the_lease_of_a_crashed_holder(holder: Holders, clock: HastyClock) -> None:
    dead, heir = await holder(partition=together), await holder(partition=together)
    await with_coins(dead, "bo", 7)
    await dead.crash()
    trading = asyncio.create_task(heir.players.transact(BOTH, trade))
    await clock.until_sleeping(2)  # for bo's lease, and for the renewal of ada's
    await pass_time(heir.store, clock, LEASE)
    assert await trading
    assert await stored(heir.players) == [-5, 12]


# == The store is away


@pytest.mark.row("D-N10")
@pytest.mark.parametrize("seconds", [10, 60, 120])
@pytest.mark.parametrize("saving", [False, True], ids=["idle", "saving"])
async def test_what_is_unsaved_while_the_store_is_away_is_saved_later_or_handed_over(
    holder: Holders, clock: HastyClock, lost: Lost, tell: Callable[..., None], *, seconds: int, saving: bool
) -> None:
    here, heir = await holder(on_lease_lost=tell), await holder()
    ada = await with_coins(here, "ada", 1)
    await ada.update(earn(4))
    here.wire.cut()
    trying = [asyncio.create_task(ada.save())] if saving else []
    for _ in range(seconds):
        clock.advance(SECOND)
        await spin()
    here.wire.resume()
    outcomes = await asyncio.gather(*trying, return_exceptions=True)
    assert all(isinstance(outcome, UnavailableError | LeaseLostError) for outcome in outcomes)
    if seconds < LEASE.total_seconds():
        assert not ada.closed
        saved = asyncio.create_task(ada.save())
        await pass_time(heir.store, clock, 6 * SECOND)
        await saved
        assert await heir.players.peek("ada") == Player(coins=5)
        assert not lost
        return
    await until(lambda: lost)
    with pytest.raises(LeaseLostError) as caught:
        await ada.save()
    assert caught.value.unsaved == Player(coins=5)
    assert lost == [("ada", Player(coins=5))]
    async with heir.players.open("ada") as next_one:
        assert next_one.value == Player(coins=1)


@pytest.mark.row("D-N10")
async def test_a_store_that_comes_back_before_the_lease_ends_gets_the_value_without_being_asked(
    holder: Holders, clock: HastyClock, lost: Lost, tell: Callable[..., None]
) -> None:
    """In danger a holder saves at once, while it still can."""
    here, heir = await holder(on_lease_lost=tell), await holder()
    ada = await with_coins(here, "ada", 1)
    await ada.update(earn(4))
    await clock.until_sleeping()
    await settled(heir.store)  # so that it watches over its lease
    here.wire.cut()
    await pass_time(heir.store, clock, 2 * LEASE / 3)
    here.wire.resume()
    await pass_time(heir.store, clock, LEASE / 4)
    await until(lambda: ada.is_saved)
    assert await heir.players.peek("ada") == Player(coins=5)
    assert not ada.closed
    assert not lost


@pytest.mark.row("D-N12")
async def test_an_unload_that_outlasts_its_lease_hands_the_value_over(
    holder: Holders, clock: HastyClock, lost: Lost, tell: Callable[..., None]
) -> None:
    here = await holder(lease=timedelta(seconds=10), on_lease_lost=tell)
    ada = await with_coins(here, "ada", 1)
    await ada.update(earn(4))
    here.wire.cut()
    unloading = asyncio.create_task(ada.unload())
    for _ in range(40):
        await spin()
        clock.advance(SECOND)
    with pytest.raises(LeaseLostError) as caught:
        await unloading
    assert caught.value.unsaved == Player(coins=5)
    await until(lambda: lost)
    assert lost == [("ada", Player(coins=5))]


@pytest.mark.row("D-N12")
async def test_an_unload_goes_through_when_the_store_is_back_in_time(holder: Holders, clock: HastyClock) -> None:
    here, heir = await holder(lease=limits.TTL_MAX), await holder()
    ada = await with_coins(here, "ada", 1)
    await ada.update(earn(4))
    here.wire.cut()
    unloading = asyncio.create_task(ada.unload())
    for _ in range(5):
        await spin()
        clock.advance(SECOND)
    assert not unloading.done()
    here.wire.resume()
    for _ in range(6):
        clock.advance(SECOND)
        await settled(heir.store)
    await unloading
    async with heir.players.open("ada") as next_one:
        assert next_one.value == Player(coins=5)


# == Losing a lease


async def revoke(heir: Holder, clock: HastyClock) -> None:
    assert await heir.players.revoke("ada") is not None


async def steal(heir: Holder, clock: HastyClock) -> None:
    stealing = asyncio.create_task(heir.players.load("ada", wait=60, steal_after=1))
    await clock.until_sleeping(2)
    clock.advance(SECOND)
    assert (await stealing).value == Player(coins=1)


async def roll_back(heir: Holder, clock: HastyClock) -> None:
    (version,) = (await heir.players.history("ada")).items
    assert await heir.players.rollback("ada", revision=version.revision) is not None


async def erase(heir: Holder, clock: HastyClock) -> None:
    assert await heir.players.erase("ada")


@pytest.mark.row("D-N11")
@pytest.mark.parametrize("unsaved", [None, Player(coins=5)], ids=["all saved", "unsaved"])
@pytest.mark.parametrize("taken", [revoke, steal, roll_back, erase])
async def test_a_lease_that_was_taken_is_told_once_with_what_was_not_saved(
    holder: Holders,
    clock: HastyClock,
    lost: Lost,
    tell: Callable[..., None],
    taken: Callable[[Holder, HastyClock], Any],
    unsaved: Player | None,
) -> None:
    ended: list[tuple[str, EndReason]] = []
    here = await holder(on_lease_lost=tell, on_session_end=lambda key, reason: ended.append((key, reason)))
    heir = await holder()
    ada = await with_coins(here, "ada", 1)
    if unsaved:
        await ada.update(earn(4))
    await taken(heir, clock)
    await until(lambda: ended and lost)
    assert ada.closed
    calls: list[Callable[[], Awaitable[object]]] = [ada.save, ada.get, lambda: ada.update(earn(1))]
    for again in [*calls, ada.unload] if unsaved else calls:
        with pytest.raises(LeaseLostError) as caught:
            await again()
        assert caught.value.unsaved == unsaved
    clock.advance(LEASE)
    await settled(heir.store)
    assert lost == [("ada", unsaved)]
    assert ended == [("ada", EndReason.LEASE_LOST)]


@pytest.mark.row("D-N11")
async def test_a_save_that_finds_the_lease_gone_and_the_watch_tell_once_between_them(
    holder: Holders, clock: HastyClock, lost: Lost, tell: Callable[..., None]
) -> None:
    here, heir = await holder(on_lease_lost=tell), await holder()
    ada = await with_coins(here, "ada", 1)
    await ada.update(earn(4))
    await asyncio.gather(heir.players.revoke("ada"), ada.save(), ada.save(), return_exceptions=True)
    with suppress(LeaseLostError):
        await ada.save()
    await until(lambda: lost)
    await settled(heir.store)
    found = await heir.players.peek("ada")
    assert lost == [("ada", None if found == Player(coins=5) else Player(coins=5))]


@pytest.mark.row("D-N11")
async def test_a_document_whose_lease_was_lost_can_be_loaded_again(
    holder: Holders, clock: HastyClock, lost: Lost, tell: Callable[..., None]
) -> None:
    here, heir = await holder(on_lease_lost=tell), await holder()
    old = await with_coins(here, "ada", 1)
    await old.update(earn(4))
    await heir.players.revoke("ada")
    await until(lambda: lost)
    new = await here.players.load("ada")
    assert new is not old
    assert new.value == Player(coins=1)
    assert old.closed
    await new.update(earn(1))
    await new.unload()
    assert await heir.players.peek("ada") == Player(coins=2)


# == Closing


@pytest.mark.row("D-N17")
async def test_a_close_during_loads_and_slow_saves_leaves_no_lease(
    players: Players, holder: Holders, store: Store, gate: Gate, clock: HastyClock
) -> None:
    importing = asyncio.Event()

    async def slow(key: str) -> object:
        if key == "slow":
            importing.set()
            await asyncio.Event().wait()
        return None

    rival = await holder()
    theirs = await rival.players.load("theirs")
    here = players(import_legacy=slow)
    for key in ("saving", "unsaved", "saved"):
        player = await here.load(key)
        if key != "saved":
            await player.update(earn(1))
    gate.shut()
    saving = asyncio.create_task(here.save("saving"))
    loads = [asyncio.create_task(here.load(key)) for key in ("slow", "theirs")]
    await importing.wait()
    await gate.arrived.wait()
    closing = asyncio.create_task(here.close())
    await settled(store)
    assert not closing.done()
    gate.open()
    await closing
    await saving
    for outcome in await asyncio.gather(*loads, return_exceptions=True):
        assert isinstance(outcome, LoadCancelledError)
    for key in ("saving", "unsaved", "saved", "slow"):
        assert await rival.players.probe_lease(key) is None
    for key in ("saving", "unsaved"):
        assert await rival.players.peek(key) == Player(coins=1)
    assert not theirs.closed
    await theirs.save()


@pytest.mark.row("D-N17")
@pytest.mark.parametrize("steps", range(12))
async def test_a_close_at_any_moment_of_a_load_leaves_no_lease(players: Players, steps: int) -> None:
    here = players()
    loading = asyncio.create_task(here.load("ada"))
    await spin(steps)
    await here.close()
    (outcome,) = await asyncio.gather(loading, return_exceptions=True)
    assert isinstance(outcome, Document | LoadCancelledError | ClosedError)
    assert await here.probe_lease("ada") is None


# == Cancelling


@pytest.mark.row("D-N18")
async def test_a_save_that_is_cancelled_is_finished_once_and_nothing_runs_beside_it(
    players: Players, store: Store, gate: Gate
) -> None:
    here = players()
    ada = await here.load("ada")
    await ada.update(earn(1))
    gate.shut()
    cancelled = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert cancelled.cancelled()
    await ada.update(earn(1))
    rest = [asyncio.create_task(ada.save()) for _ in range(3)]
    await settled(store)
    gate.open()
    await asyncio.gather(*rest)
    assert gate.most == 1
    assert len(gate.saves) == 2
    assert ada.is_saved
    assert await here.peek("ada") == Player(coins=2)
    await ada.unload()


@pytest.mark.row("D-N18")
@pytest.mark.parametrize("steps", range(10))
async def test_a_save_cancelled_at_any_moment_loses_nothing(players: Players, gate: Gate, steps: int) -> None:
    here = players()
    ada = await here.load("ada")
    await ada.update(earn(1))
    saving = asyncio.create_task(ada.save())
    await spin(steps)
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)
    await ada.update(earn(1))
    await ada.unload()
    assert gate.most == 1
    assert len(gate.saves) <= 2
    assert await here.peek("ada") == Player(coins=2)
    assert await here.probe_lease("ada") is None


@pytest.mark.row("D-N18")
@pytest.mark.parametrize("steps", range(10))
async def test_an_unload_cancelled_at_any_moment_is_finished_in_the_background(players: Players, steps: int) -> None:
    here = players()
    ada = await here.load("ada")
    await ada.update(earn(1))
    unloading = asyncio.create_task(ada.unload())
    await spin(steps)
    unloading.cancel()
    await asyncio.gather(unloading, return_exceptions=True)
    await here.unload("ada")
    assert await here.peek("ada") == Player(coins=1)
    assert await here.probe_lease("ada") is None


# == Clocks


class Jumping(ManualClock):
    """A host's clock that shows another time of day; its seconds are as long as everybody's."""

    def __init__(self, true: ManualClock) -> None:
        super().__init__()
        self.off = timedelta()
        self._true = true
        self.monotonic = true.monotonic  # type: ignore[method-assign]
        self.sleep = true.sleep  # type: ignore[method-assign]

    def now(self) -> int:
        """Return the time that this host shows."""
        return self._true.now() + self.off // MILLISECOND


@pytest.mark.row("D-N20")
@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "back"])
async def test_a_jump_of_one_hosts_clock_decides_nothing_about_a_lease(
    holder: Holders, clock: HastyClock, store: Store, jump: timedelta
) -> None:
    host = Jumping(clock)
    rival, odd = await holder(), await holder(host=host)
    ada = await with_coins(odd, "ada", 1)
    bo = await with_coins(rival, "bo", 1)
    await ada.update(earn(1))
    host.off = jump
    with pytest.raises(LeaseHeldError):
        await odd.players.load("bo", wait=0)
    await pass_time(rival.store, clock, 2 * LEASE)
    with pytest.raises(LeaseHeldError):
        await rival.players.load("ada", wait=0)
    assert not ada.closed
    assert not bo.closed
    await ada.save()
    for version in (await rival.players.history("ada")).items:
        assert abs(version.saved_at.timestamp() * 1_000 - clock.now()) < 120_000
    await bo.unload()
    assert (await odd.players.load("bo")).value == Player(coins=1)


@pytest.mark.row("D-N20")
async def test_an_engine_whose_host_is_set_back_keeps_its_leases(holder: Holders, clock: HastyClock) -> None:
    here, heir = await holder(), await holder()
    ada = await with_coins(here, "ada", 1)
    clock.step_back(timedelta(hours=1))
    await pass_time(heir.store, clock, 2 * LEASE)
    with pytest.raises(LeaseHeldError):
        await heir.players.load("ada", wait=0)
    await ada.update(earn(1))
    await ada.unload()
    assert (await heir.players.load("ada")).value == Player(coins=2)


# == Many at once


@pytest.mark.row("D-N21")
async def test_a_thousand_documents_loaded_together_are_not_saved_together() -> None:
    """No second has more than one in twenty of the saves of an interval, and none waits longer than the interval."""
    documents, interval = 1_000, timedelta(minutes=5)
    clock = ManualClock()
    async with Store(MemoryEngine(clock=clock), clock=clock) as store:
        saved = Counter[str]()
        players = players_over(
            store, autosave=interval, lease=limits.TTL_MAX, after_save=lambda player: saved.update([player.key])
        )
        loaded = await asyncio.gather(*(players.load(f"player {number}") for number in range(documents)))
        for player in loaded:
            await player.update(earn(1))
        in_a_second = list[int]()
        for _ in range(2 * interval // SECOND):
            before = saved.total()
            clock.advance(SECOND)
            await spin(50)
            in_a_second.append(saved.total() - before)
            for player in loaded:
                if player.is_saved:
                    await player.update(earn(1))
        half = len(in_a_second) // 2
        for part in (in_a_second[:half], in_a_second[half:]):
            assert sum(part) >= documents
            assert max(part) <= documents // 20
        assert len(saved) == documents
        assert min(saved.values()) >= 2
