"""Autosaving: each changed document now and then, at a time of its own, and none that is no longer held."""

import asyncio
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.documents import Document, Documents
from sojourn.errors import InvalidError
from sojourn.kernel import Store
from tests.documents.conftest import HastyClock, Holder, Holders, Player, Players, players_over, settled, until
from tests.documents.trading import Gate, earn, together

AUTOSAVE = timedelta(minutes=5)
LONG = timedelta(days=1)
"""A lease that outlives every pause here, so that nothing but the autosaver wakes."""


@pytest.fixture
async def first(holder: Holders) -> Holder:
    return await holder(autosave=AUTOSAVE, lease=LONG, partition=together)


async def interval(store: Store, clock: HastyClock, parts: int = 10, *, times: float = 1) -> None:
    """Let the pause between two saves pass, in steps."""
    for _ in range(int(parts * times)):
        clock.advance(AUTOSAVE / parts)
        await settled(store)


@pytest.mark.row("D-SE17")
async def test_the_first_save_comes_within_one_interval_and_each_further_one_after_another(
    first: Holder, clock: HastyClock
) -> None:
    ada = await first.players.load("ada")
    for coins in range(1, 4):
        await ada.update(earn(1))
        await interval(first.store, clock)
        assert await first.players.peek("ada") == Player(coins=coins)
        assert len(first.wire.saves) == coins, "one for each interval"


async def test_what_does_not_change_is_not_saved(first: Holder, clock: HastyClock) -> None:
    await first.players.load("ada")
    await interval(first.store, clock, times=3)
    assert first.wire.saves == []


async def test_a_document_that_keeps_changing_is_saved_once_in_an_interval(first: Holder, clock: HastyClock) -> None:
    ada = await first.players.load("ada")
    await interval(first.store, clock)
    for _ in range(100):
        await ada.update(earn(1))
        clock.advance(AUTOSAVE / 50)
        await settled(first.store)
    assert 2 <= len(first.wire.saves) <= 3


@pytest.mark.row("D-SE18")
async def test_it_can_be_stopped_and_started_by_handle_and_by_key(first: Holder, clock: HastyClock) -> None:
    players = first.players
    ada = await players.load("ada")
    ada.stop_autosaving()
    await ada.update(earn(1))
    await interval(first.store, clock, times=2)
    assert first.wire.saves == []
    players.start_autosaving("ada")
    await interval(first.store, clock)
    assert len(first.wire.saves) == 1
    players.stop_autosaving("ada")
    await ada.update(earn(1))
    await interval(first.store, clock, times=2)
    assert len(first.wire.saves) == 1
    await ada.save()
    assert ada.is_saved, "one that is asked for is made all the same"


async def test_without_an_interval_nothing_is_saved_by_itself(
    players: Players, store: Store, clock: HastyClock
) -> None:
    here = players(autosave=None, lease=LONG)
    ada = await here.load("ada")
    await ada.update(earn(1))
    ada.start_autosaving()
    await interval(store, clock, times=3)
    assert await here.peek("ada") is None
    await ada.unload()
    assert await here.peek("ada") == Player(coins=1)


async def test_after_an_unload_nothing_wakes_for_it_any_more(first: Holder, store: Store, clock: HastyClock) -> None:
    for _ in range(3):
        async with first.players.open("ada") as ada:
            await ada.update(earn(1))
    first.wire.clear()
    await settled(store)
    assert clock.sleepers == 0
    await interval(store, clock, times=3)
    assert first.wire.sent == []


async def test_a_document_that_is_loaded_again_is_saved_as_often_as_before(first: Holder, clock: HastyClock) -> None:
    for _ in range(5):
        async with first.players.open("ada"):
            pass
    ada = await first.players.load("ada")
    await interval(first.store, clock)
    first.wire.clear()
    for _ in range(50):
        await ada.update(earn(1))
        clock.advance(AUTOSAVE / 10)
        await settled(first.store)
    assert 4 <= len(first.wire.saves) <= 6


async def test_one_whose_save_is_slow_or_fails_holds_up_no_other(
    players: Players, store: Store, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(store)
    here = players(autosave=AUTOSAVE, lease=LONG, partition=together)
    gate.shut()
    everyone = [await here.load(str(number)) for number in range(10)]
    for each in everyone:
        await each.update(earn(1))
    await interval(store, clock)
    assert gate.saves == []
    gate.open()
    await until(lambda: all(each.is_saved for each in everyone))
    assert gate.most == len(everyone), "each began at its time"
    assert len(gate.saves) == len(everyone)

    def spoil(document: Document[Player]) -> None:
        raise ZeroDivisionError

    spoiled = players_over(store, autosave=AUTOSAVE, lease=LONG, before_save=spoil)
    bo = await spoiled.load("bo")
    await bo.update(earn(1))
    await interval(store, clock)
    await until(lambda: bo.is_saved)


async def test_an_autosave_while_a_save_is_under_way_saves_nothing_twice(
    players: Players, store: Store, clock: HastyClock
) -> None:
    gate = Gate(store)
    here = players(autosave=AUTOSAVE, lease=LONG)
    ada = await here.load("ada")
    await ada.update(earn(1))
    gate.shut()
    saving = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    await interval(store, clock)
    gate.open()
    await saving
    await settled(store)
    assert len(gate.saves) == 1
    assert gate.most == 1


async def test_autosaves_do_not_queue_up_behind_a_save_that_the_store_does_not_answer(
    first: Holder, store: Store, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each would try for a few seconds once the store is known to be away, before an unload that waits."""
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    first.wire.hold()
    await interval(store, clock, times=10)
    await ada.update(earn(1))
    first.wire.cut()
    with clock.hasty():
        await until(lambda: "was not saved" in caplog.text)
        for _ in range(10):
            await settled(store)
    assert len(first.wire.saves) == limits.SAVE_ATTEMPTS
    assert caplog.text.count("was not saved") == 1
    first.wire.resume()
    await ada.unload()
    assert await first.players.peek("ada") == Player(coins=2)


async def test_an_autosave_during_a_transaction_waits_for_it(players: Players, store: Store, clock: HastyClock) -> None:
    gate = Gate(store)
    here = players(autosave=AUTOSAVE, lease=LONG, partition=together)
    ada = await here.load("ada")
    await ada.update(earn(1))
    gate.shut()
    trading = asyncio.create_task(here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"])))
    await gate.arrived.wait()
    await interval(store, clock)
    assert gate.most == 1
    gate.open()
    assert await trading
    await settled(store)
    assert len(gate.saves) == 1, "the transaction stored all of it"
    assert await here.peek("ada") == Player(coins=2)


async def test_autosaves_of_a_store_that_is_away_are_logged_and_the_next_one_succeeds(
    first: Holder, store: Store, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    first.wire.refusals = limits.SAVE_ATTEMPTS
    with clock.hasty(2):
        await interval(store, clock)
        await until(lambda: first.wire.refusals == 0)
    await settled(store)
    assert "was not saved" in caplog.text
    assert not ada.is_saved
    await interval(first.store, clock, times=1.5)
    assert ada.is_saved


async def test_a_lost_document_is_not_saved_any_more(first: Holder, players: Players, clock: HastyClock) -> None:
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    await players(partition=together).revoke("ada")
    await until(lambda: ada.closed)
    first.wire.clear()
    await interval(first.store, clock, times=3)
    assert first.wire.saves == []
    assert await first.players.peek("ada") is None


@pytest.mark.row("D-N21")
async def test_documents_loaded_together_are_spread_over_the_interval_and_stay_so(
    store: Store, clock: HastyClock
) -> None:
    gate = Gate(store)
    here = Documents(
        store, "players", schema=Player, template=Player(), autosave=AUTOSAVE, lease=LONG, partition=together
    )
    everyone = [await here.load(str(number)) for number in range(100)]
    for _ in range(3):
        for each in everyone:
            await each.update(earn(1))
        for _ in range(20):
            before = len(gate.saves)
            clock.advance(AUTOSAVE / 20)
            await settled(store)
            assert len(gate.saves) - before <= 30, "of a hundred, with room for chance"
        clock.advance(AUTOSAVE / 10)
        await settled(store)  # or what is saved here would count as saved in the step that follows
    await until(lambda: len(gate.saves) >= 200)


@pytest.mark.parametrize("autosave", [timedelta(0), timedelta(seconds=-1), limits.DOCUMENT_AUTOSAVE_MIN / 2])
async def test_an_interval_shorter_than_the_least_is_refused(players: Players, autosave: timedelta) -> None:
    with pytest.raises(InvalidError, match="autosave"):
        players(autosave=autosave)
