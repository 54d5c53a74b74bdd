"""Loads, unloads, transactions and closing that meet, and callers that go away in the middle."""

import asyncio
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.documents import Cause, Document
from sojourn.documents.archive import Archive
from sojourn.errors import ClosedError, LoadCancelledError, UnloadFailedError
from sojourn.kernel import Store
from tests.documents.conftest import HastyClock, Holders, Player, Players, players_over, settled, until
from tests.documents.trading import BOTH, Gate, earn, stored, together, trade


class Import:
    """Old data that takes as long as the test wants."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.keys: list[str] = []

    async def __call__(self, key: str) -> dict[str, int]:
        self.keys.append(key)
        self.begun.set()
        await self.goes_on.wait()
        return {"coins": 7}


@pytest.fixture
def slow() -> Import:
    return Import()


# == Callers that go away


async def test_who_waits_for_a_load_whose_caller_went_away_is_told_and_not_cancelled(
    players: Players, slow: Import
) -> None:
    here = players(import_legacy=slow)
    loading = asyncio.create_task(here.load("ada"))
    await slow.begun.wait()
    reading = asyncio.create_task(here.get("ada"))
    await asyncio.sleep(0)
    loading.cancel()
    outcomes = await asyncio.gather(loading, reading, return_exceptions=True)
    assert loading.cancelled()
    assert isinstance(outcomes[1], LoadCancelledError)
    slow.goes_on.set()
    assert (await here.load("ada", wait=0)).value == Player(coins=7)


async def test_a_load_right_after_one_that_was_cancelled_waits_for_its_end(players: Players, slow: Import) -> None:
    here = players(import_legacy=slow)
    loading = asyncio.create_task(here.load("ada"))
    await slow.begun.wait()
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    slow.goes_on.set()
    assert (await here.load("ada")).value == Player(coins=7)


@pytest.mark.parametrize("steps", range(0, 30, 2))
async def test_an_unload_at_any_step_of_a_load_leaves_nothing_held(players: Players, store: Store, steps: int) -> None:
    here = players()
    loading = asyncio.create_task(here.load("ada"))
    for _ in range(steps):
        await asyncio.sleep(0)
    await here.unload("ada")
    (outcome,) = await asyncio.gather(loading, return_exceptions=True)
    assert isinstance(outcome, LoadCancelledError) or (isinstance(outcome, Document) and outcome.closed) or not steps
    if not steps:
        await here.unload("ada")
    assert await here.probe_lease("ada") is None
    assert not (await here.load("ada", wait=0)).closed


@pytest.mark.parametrize("steps", range(0, 40, 2))
async def test_a_transaction_cancelled_at_any_step_leaves_no_lease_and_no_turn(
    players: Players, store: Store, steps: int
) -> None:
    here = players(partition=together)
    ada = await here.load("ada")
    trading = asyncio.create_task(here.transact(BOTH, trade))
    for _ in range(steps):
        await asyncio.sleep(0)
    trading.cancel()
    await asyncio.gather(trading, return_exceptions=True)
    await here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]))
    async with here.open("bo"):
        pass
    coins = await stored(here)
    assert coins in ([1, -1], [-4, 5])
    assert ada.value.coins == coins[0]
    await here.close()
    assert [await here.probe_lease(key) for key in BOTH] == [None, None]


async def test_a_transaction_cancelled_twice_leaves_no_lease(players: Players, store: Store, holder: Holders) -> None:
    """The second cancellation comes while what was taken is given back."""
    here = players(partition=together)
    elsewhere = await holder(partition=together)
    await elsewhere.players.load("bo")
    trading = asyncio.create_task(here.transact(BOTH, trade))
    while await here.probe_lease("ada") is None:
        await settled(store)
    trading.cancel()
    await asyncio.sleep(0)
    trading.cancel()
    await asyncio.gather(trading, return_exceptions=True)
    async with asyncio.timeout(30):  # what gives it back goes on behind the two cancellations
        while await here.probe_lease("ada") is not None:
            await settled(store)


# == Closing


async def test_a_load_that_waits_for_the_end_of_another_is_refused_by_closing(players: Players, slow: Import) -> None:
    here = players(import_legacy=slow)
    loads = [asyncio.create_task(here.load("ada"))]
    await slow.begun.wait()
    unloading = asyncio.create_task(here.unload("ada"))
    await asyncio.sleep(0)
    loads.append(asyncio.create_task(here.load("ada")))
    await asyncio.sleep(0)
    await here.close()
    slow.goes_on.set()
    outcomes = await asyncio.gather(unloading, *loads, return_exceptions=True)
    assert isinstance(outcomes[1], LoadCancelledError)
    assert isinstance(outcomes[2], (LoadCancelledError, ClosedError))
    assert await here.probe_lease("ada") is None


@pytest.mark.row("D-N17")
async def test_closing_waits_for_transactions_that_are_committed_and_gives_up_those_that_wait(
    players: Players, store: Store, holder: Holders
) -> None:
    gate = Gate(store)
    here = players(partition=together)
    elsewhere = await holder(partition=together)
    await elsewhere.players.load("cy")
    waiting = asyncio.create_task(here.transact(["ann", "cy"], lambda _: True))
    gate.shut()
    trading = asyncio.create_task(here.transact(BOTH, trade))
    await gate.arrived.wait()
    await settled(elsewhere.store)
    closing = asyncio.create_task(here.close())
    await settled(elsewhere.store)
    assert not closing.done()
    gate.open()
    await closing
    assert await trading
    assert await stored(here) == [-5, 5]
    with pytest.raises(ClosedError):
        await waiting
    assert [await here.probe_lease(key) for key in (*BOTH, "ann")] == [None] * 3


async def test_closing_waits_no_longer_than_it_was_told_for_a_transaction(
    players: Players, store: Store, clock: HastyClock
) -> None:
    gate = Gate(store)
    here = players(partition=together)
    await here.load("ada")
    gate.shut()
    trading = asyncio.create_task(here.transact(BOTH, trade))
    await gate.arrived.wait()
    closing = asyncio.create_task(here.close(patience=1))
    await settled(store)
    assert not closing.done()
    clock.advance(timedelta(seconds=1))
    await until(closing.done)
    with pytest.raises(UnloadFailedError) as caught:
        await closing
    assert list(caught.value.failed) == ["ada"]
    gate.open()
    assert await trading
    await here.close()
    assert await stored(here) == [-5, 5]
    assert [await here.probe_lease(key) for key in BOTH] == [None] * 2


async def test_closing_waits_no_longer_than_it_was_told_for_an_import_that_does_not_end(
    players: Players, store: Store, clock: HastyClock
) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def clean_up(key: str) -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await goes_on.wait()

    here = players(import_legacy=clean_up)
    loading = asyncio.create_task(here.load("ada"))
    await begun.wait()
    closing = asyncio.create_task(here.close(patience=1))
    await settled(store)
    was_closed = closing.done()
    clock.advance(timedelta(seconds=1))
    await settled(store)
    is_closed = closing.done()
    goes_on.set()
    with pytest.raises(LoadCancelledError):
        await loading
    assert (was_closed, is_closed) == (False, True)


async def test_the_store_that_closes_during_a_load_says_so(holder: Holders, slow: Import) -> None:
    """Its documents were not closed before, which is the caller's fault, and no reason to cancel the caller."""
    first = await holder(import_legacy=slow)
    loading = asyncio.create_task(first.players.load("ada"))
    await slow.begun.wait()
    await first.store.close()
    (outcome,) = await asyncio.gather(loading, return_exceptions=True)
    assert isinstance(outcome, (LoadCancelledError, ClosedError))


async def test_a_store_that_closes_before_its_documents_refuses_every_verb_and_hangs_nowhere(holder: Holders) -> None:
    first = await holder(on_message=lambda *_: True, autosave=timedelta(minutes=1))
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    await first.store.close()
    for verb in (ada.save, ada.unload, lambda: first.players.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]))):
        with pytest.raises(ClosedError):
            await asyncio.wait_for(verb(), 20)
    assert ada.value == Player(coins=1)


@pytest.mark.parametrize("is_saved", [False, True])
async def test_the_store_that_closes_under_unsaved_documents_says_so_and_they_take_no_change(
    holder: Holders, caplog: pytest.LogCaptureFixture, *, is_saved: bool
) -> None:
    told: list[Cause] = []
    first = await holder(changed_callbacks=[lambda *call: told.append(call[3])])
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    if is_saved:
        await ada.save()
    await first.store.close()
    assert ("the store is closed with 1 unsaved documents of players" in caplog.text) is not is_saved
    with pytest.raises(ClosedError):
        await ada.update(earn(1))
    with pytest.raises(ClosedError), ada.edit() as draft:
        draft.coins += 1
    assert ada.value == Player(coins=1)
    assert told == [Cause.LOAD, Cause.UPDATE]


async def test_documents_that_were_closed_before_their_store_are_no_reason_to_warn(
    holder: Holders, caplog: pytest.LogCaptureFixture
) -> None:
    first = await holder()
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    await first.players.close()
    await first.store.close()
    assert caplog.text == ""


@pytest.mark.parametrize("fails", [False, True])
async def test_a_block_of_documents_closes_them_also_when_it_fails(players: Players, *, fails: bool) -> None:
    here = players()

    async def block() -> None:
        async with here as documents:
            assert documents is here
            await (await here.load("ada")).update(earn(1))
            if fails:
                raise LookupError

    (outcome,) = await asyncio.gather(block(), return_exceptions=True)
    assert isinstance(outcome, LookupError) is fails
    assert await here.peek("ada") == Player(coins=1)
    assert await here.probe_lease("ada") is None
    with pytest.raises(ClosedError):
        await here.load("ada")


# == Documents leased for a transaction only


async def test_a_lost_answer_to_a_transaction_is_found_out_also_where_its_leases_end_with_it(
    holder: Holders, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The watch shows that the leases are gone before the answer is asked for again."""
    first = await holder(partition=together)

    def lose(drafts: dict[str, Player]) -> bool:
        first.wire.losses = 2 * limits.REPEAT_ATTEMPTS
        return trade(drafts)

    with clock.hasty():
        assert await first.players.transact(BOTH, lose)
    assert await stored(first.players) == [-5, 5]
    assert "is lost" not in caplog.text


async def test_what_could_not_be_given_back_ends_with_its_lease(holder: Holders, clock: HastyClock) -> None:
    """Nobody has a handle by which to give it back later."""
    first = await holder()
    documents = players_over(first.store, partition=together, lease=timedelta(minutes=10))

    def fail(drafts: dict[str, Player]) -> bool:
        first.wire.refusals = 1_000_000
        raise LookupError

    with clock.hasty(5):
        (outcome,) = await asyncio.gather(documents.transact(BOTH, fail), return_exceptions=True)
    assert isinstance(outcome, LookupError)
    first.wire.refusals = 0
    await settled(first.store)
    for _ in range(20):
        clock.advance(timedelta(minutes=1))
        await settled(first.store)
    assert [await documents.probe_lease(key) for key in BOTH] == [None, None]


async def test_old_data_that_a_transaction_brought_in_is_stored_with_it(players: Players) -> None:
    asked: list[str] = []

    def bring(key: str) -> dict[str, int]:
        asked.append(key)
        return {"coins": 7}

    here = players(partition=together, import_legacy=bring)
    assert await here.transact(BOTH, lambda drafts: earn(1)(drafts["ada"]))
    assert await stored(here) == [8, 7]
    async with here.open("bo"):
        pass
    assert asked == ["ada", "bo"], "each once"


# == Losses


@pytest.mark.parametrize("verb", ["transact", "send", "joined"])
async def test_a_document_lost_during_a_change_is_neither_changed_nor_blocked(
    players: Players, store: Store, holder: Holders, verb: str
) -> None:
    gate = Gate(store)
    here = players(partition=together, on_message=lambda draft, message: earn(message.body)(draft))
    ada = await here.load("ada")
    await ada.update(earn(1))
    thief = await holder(partition=together)
    gate.shut()
    if verb == "transact":
        changing = asyncio.create_task(here.transact(["ada"], lambda drafts: earn(10)(drafts["ada"])))
    elif verb == "joined":
        changing = asyncio.create_task(
            store.run(lambda tx: here.transact(["ada"], lambda drafts: earn(10)(drafts["ada"]), tx=tx))
        )
    else:
        changing = asyncio.create_task(here.send("ada", 10))
    await gate.arrived.wait()
    await thief.players.revoke("ada")
    gate.open()
    await asyncio.gather(changing, return_exceptions=True)
    await until(lambda: ada.closed)
    await settled(store)
    assert ada.value == Player(coins=1)
    await asyncio.gather(here.unload("ada"), return_exceptions=True)
    again = await here.load("ada", wait=0)
    if verb == "send":
        await until(lambda: again.value.coins == 10)
    await again.update(earn(100))
    await again.save()
    assert await stored(here, "ada") == [110 if verb == "send" else 100]


async def test_many_loads_and_unloads_leave_nothing_behind(players: Players, store: Store, clock: HastyClock) -> None:
    here = players(
        partition=together,
        autosave=timedelta(minutes=1),
        on_message=lambda *_: True,
        changed_callbacks=[lambda *_: None],
    )
    for number in range(30):
        async with here.open(f"player {number}") as player:
            await player.update(earn(1))
        await here.transact(["a", "b"], lambda _: True)
    await here.close()
    await settled(store)
    assert clock.sleepers == 0, "nothing waits for anything"
    assert [key async for key, *_ in Archive(store, "players").leases(limits.PAGE)] == []
