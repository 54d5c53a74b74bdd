"""Handing a document over to whoever asks for it, taking it from a holder that hangs, and how a session ends."""

import asyncio
from datetime import timedelta

import pytest

from sojourn.documents import Document, EndReason
from sojourn.documents.layout import Place
from sojourn.errors import DocumentClosedError, LeaseHeldError, LeaseLostError, UnavailableError
from sojourn.kernel import Leases, Store
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

Ended = list[tuple[str, EndReason]]
Lost = list[tuple[str, Player | None]]


@pytest.fixture
def ended() -> Ended:
    """What `on_session_end` was told."""
    return []


@pytest.fixture
def lost() -> Lost:
    """What `on_lease_lost` was told."""
    return []


@pytest.fixture
async def first(holder: Holders, ended: Ended, lost: Lost) -> Holder:
    """A process that holds documents and tells how its sessions end."""
    return await holder(
        partition=together,
        on_session_end=lambda *told: ended.append(told),
        on_lease_lost=lambda *told: lost.append(told),
    )


@pytest.fixture
async def second(holder: Holders) -> Holder:
    return await holder(partition=together, holder="second")


# == Asked for


async def test_who_is_asked_saves_and_gives_the_document_to_who_asked(
    first: Holder, second: Holder, ended: Ended, lost: Lost
) -> None:
    """No clock moves here; saving and giving back are one commit."""
    ada = await first.players.load("ada")
    await ada.update(earn(100))
    first.wire.clear()
    assert (await second.players.load("ada", ask=True)).value == Player(coins=100)
    await until(lambda: ended)
    assert ended == [("ada", EndReason.HANDED_OVER)]
    assert lost == []
    assert len(first.wire.sent) == 1
    with pytest.raises(DocumentClosedError):
        await ada.update(earn(1))


async def test_who_is_not_asked_keeps_it(first: Holder, second: Holder, ended: Ended) -> None:
    ada = await first.players.load("ada")
    with pytest.raises(LeaseHeldError):
        await second.players.load("ada", wait=0)
    waiting = asyncio.create_task(second.players.load("ada"))
    await settled(second.store)
    assert not waiting.done()
    assert not ada.closed
    assert ended == []
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_asking_for_what_nobody_holds_is_a_load(first: Holder, second: Holder) -> None:
    ada = await second.players.load("ada", ask=True, wait=0)
    await settled(second.store)
    assert not ada.closed, "a request of its own is none to it"


async def test_a_document_goes_back_and_forth(first: Holder, second: Holder, ended: Ended) -> None:
    """What one has asked for is not taken from it by a request that it made itself, or that was met."""
    for turn in range(6):
        taker = (first, second)[turn % 2].players
        player = await taker.load("ada", ask=True)
        assert player.value.coins == turn
        await player.update(earn(1))
        await settled(first.store)
        assert not player.closed
    assert set(ended) == {("ada", EndReason.HANDED_OVER)}


async def test_of_several_that_ask_each_gets_it_in_the_end(players: Players, holder: Holders) -> None:
    """Nobody keeps it for longer than it takes to be asked."""
    await players().load("ada")
    others = [(await holder()).players for _ in range(3)]

    async def use(here: int) -> None:
        player = await others[here].load("ada", ask=True)
        await player.update(earn(1))
        await others[here].unload("ada")

    await asyncio.gather(*(use(here) for here in range(3)))
    assert await others[0].peek("ada") == Player(coins=3)


async def test_a_request_during_a_save_waits_for_it(
    players: Players, store: Store, second: Holder, ended: Ended
) -> None:
    gate = Gate(store)
    here = players(partition=together, on_session_end=lambda *told: ended.append(told))
    ada = await here.load("ada")
    await ada.update(earn(1))
    gate.shut()
    saving = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    asking = asyncio.create_task(second.players.load("ada", ask=True))
    await until(lambda: ada.closed)
    assert not asking.done()
    gate.open()
    await saving
    assert (await asking).value == Player(coins=1)
    assert ended == [("ada", EndReason.HANDED_OVER)]
    assert len(gate.saves) == 1


async def test_a_request_during_a_transaction_waits_for_it(
    players: Players, store: Store, second: Holder, ended: Ended
) -> None:
    gate = Gate(store)
    here = players(partition=together, on_session_end=lambda *told: ended.append(told))
    ada = await here.load("ada")
    gate.shut()
    trading = asyncio.create_task(here.transact(BOTH, trade))
    await gate.arrived.wait()
    asking = asyncio.create_task(second.players.load("ada", ask=True))
    await until(lambda: ada.closed)
    gate.open()
    assert await trading
    assert (await asking).value == Player(coins=-5)


async def test_a_request_for_what_is_leased_for_a_transaction_only_waits_for_it(
    players: Players, store: Store, second: Holder, ended: Ended
) -> None:
    """Nobody can give it back before, and nobody has a session that would end."""
    gate = Gate(store)
    here = players(partition=together, on_session_end=lambda *told: ended.append(told))
    gate.shut()
    trading = asyncio.create_task(here.transact(BOTH, trade))
    await gate.arrived.wait()
    asking = asyncio.create_task(second.players.load("bo", ask=True))
    await settled(second.store)
    assert not asking.done()
    gate.open()
    assert await trading
    assert (await asking).value == Player(coins=5)
    assert await stored(here) == [-5, 5]
    assert ended == []


async def test_a_request_that_comes_before_the_load_has_ended_is_met(
    holder: Holders, second: Holder, ended: Ended
) -> None:
    """The holder still imports old data when it is asked."""
    imports, goes_on = asyncio.Event(), asyncio.Event()

    async def bring(key: str) -> dict[str, int]:
        imports.set()
        await goes_on.wait()
        return {"coins": 7}

    first = await holder(partition=together, import_legacy=bring, on_session_end=lambda *told: ended.append(told))
    loading = asyncio.create_task(first.players.load("ada"))
    await imports.wait()
    asking = asyncio.create_task(second.players.load("ada", ask=True))
    await settled(second.store)
    goes_on.set()
    await loading
    assert (await asking).value == Player(coins=7)
    await until(lambda: ended)
    assert ended == [("ada", EndReason.HANDED_OVER)]


async def test_an_unload_that_failed_meets_the_request_that_came_meanwhile(
    first: Holder, second: Holder, clock: HastyClock
) -> None:
    """The holder's commits fail until it gives up unloading, and it is asked in the meantime."""
    documents = players_over(first.store, partition=together, lease=timedelta(hours=1))
    ada = await documents.load("ada")
    await ada.update(earn(1))
    first.wire.refusals = 1_000
    unloading = asyncio.create_task(ada.unload())
    for _ in range(15):
        await settled(second.store)
        clock.advance(timedelta(seconds=1))
    asking = asyncio.create_task(second.players.load("ada", ask=True, wait=timedelta(minutes=10)))
    await settled(second.store)
    while not unloading.done():
        clock.advance(timedelta(seconds=1))
        await settled(second.store)
    with pytest.raises(UnavailableError):
        await unloading
    first.wire.refusals = 0
    with clock.hasty(5):
        clock.advance(timedelta(seconds=5))
        await until(asking.done)
    assert (await asking).value == Player(coins=1)


# == The application decides


async def test_the_application_is_told_once_who_asks_and_keeps_the_document_meanwhile(
    players: Players, second: Holder, ended: Ended
) -> None:
    asked: list[Document[Player]] = []
    here = players(partition=together, on_hand_over=asked.append, on_session_end=lambda *told: ended.append(told))
    ada = await here.load("ada")
    asking = asyncio.create_task(second.players.load("ada", ask=True))
    await until(lambda: asked)
    await settled(second.store)
    await ada.update(earn(1))
    await ada.save()
    assert asked == [ada]
    assert not asking.done()
    assert ended == []
    await ada.unload()
    assert (await asking).value == Player(coins=1)
    assert ended == [("ada", EndReason.UNLOADED)]


async def test_a_hand_over_may_take_its_time(players: Players, second: Holder) -> None:
    asked = asyncio.Event()
    farewell = asyncio.Event()

    async def hand_over(document: Document[Player]) -> None:
        asked.set()
        await farewell.wait()
        await document.update(earn(1))
        await document.unload()

    ada = await players(partition=together, on_hand_over=hand_over).load("ada")
    asking = asyncio.create_task(second.players.load("ada", ask=True))
    await asked.wait()
    assert not ada.closed
    farewell.set()
    assert (await asking).value == Player(coins=1)


async def test_a_hand_over_that_fails_is_reported_and_the_document_kept(
    players: Players, second: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(document: Document[Player]) -> None:
        raise ZeroDivisionError

    ada = await players(partition=together, on_hand_over=fail).load("ada")
    asking = asyncio.create_task(second.players.load("ada", ask=True))
    await until(lambda: "a callback of documents failed" in caplog.text)
    await settled(second.store)
    assert not ada.closed
    await ada.unload()
    await asking


async def test_who_asks_again_is_heard_again(players: Players, second: Holder) -> None:
    asked: list[Document[Player]] = []
    ada = await players(partition=together, on_hand_over=asked.append).load("ada")
    for times in (1, 2):
        asking = asyncio.create_task(second.players.load("ada", ask=True))
        await until(lambda: len(asked) == times)  # noqa: B023  it is over before the next
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert asked == [ada, ada]


# == Draining, as the command line does


async def test_whoever_asks_for_nobody_has_it_handed_over_all_the_same(
    first: Holder, store: Store, ended: Ended
) -> None:
    """`sojourn drain` asks and takes nothing; a later load has it again."""
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    leases = Leases(store)
    key = Place("players", "ada", together("ada")).lease
    assert await leases.ask(key, holder="sojourn drain")
    await until(lambda: ended)
    assert ended == [("ada", EndReason.HANDED_OVER)]
    assert await first.players.probe_lease("ada") is None
    assert not await leases.ask(key, holder="sojourn drain"), "nobody holds it"
    again = await first.players.load("ada")
    await settled(store)
    assert again.value == Player(coins=1)
    assert not again.closed, "the request was met, and is none for the next holder"


# == A holder that hangs


async def test_a_hung_holder_is_fenced_out_when_its_time_is_over(
    holder: Holders, second: Holder, ended: Ended, lost: Lost, clock: HastyClock
) -> None:
    """It renews, and does nothing else."""
    hung = await holder(
        partition=together,
        on_hand_over=lambda _: None,
        on_session_end=lambda *told: ended.append(told),
        on_lease_lost=lambda *told: lost.append(told),
    )
    ada = await hung.players.load("ada")
    await ada.update(earn(100))
    stealing = asyncio.create_task(second.players.load("ada", wait=60, ask=True, steal_after=3))
    await settled(second.store)
    clock.advance(timedelta(seconds=2.9))
    await settled(second.store)
    assert not stealing.done(), "not before its time"
    while not stealing.done():  # it counts from when its watch was ready, which takes a database a moment
        clock.advance(timedelta(seconds=0.1))
        await settled(second.store)
    stolen = await stealing
    await until(lambda: lost and ended)
    assert lost == [("ada", Player(coins=100))]
    assert ended == [("ada", EndReason.LEASE_LOST)]
    with pytest.raises(LeaseLostError) as caught:
        await ada.save()
    assert caught.value.unsaved == Player(coins=100)
    await settled(second.store)
    assert not stolen.closed
    await stolen.update(earn(1))
    await stolen.save()
    assert await second.players.peek("ada") == Player(coins=1)
    assert lost == [("ada", Player(coins=100))], "told once"


async def test_who_hands_over_in_time_is_not_stolen_from(
    first: Holder, second: Holder, ended: Ended, lost: Lost
) -> None:
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    taken = await second.players.load("ada", ask=True, steal_after=3)
    assert taken.value == Player(coins=1)
    await until(lambda: ended)
    assert ended == [("ada", EndReason.HANDED_OVER)]
    assert lost == []


async def test_without_leave_to_steal_a_hung_holder_keeps_it(
    holder: Holders, second: Holder, clock: HastyClock
) -> None:
    hung = await holder(partition=together, on_hand_over=lambda _: None)
    ada = await hung.players.load("ada")
    waiting = asyncio.create_task(second.players.load("ada", wait=3 * LEASE, ask=True))
    await settled(second.store)
    await pass_time(second.store, clock, 3 * LEASE)
    with pytest.raises(LeaseHeldError):
        await waiting
    assert not ada.closed


# == How a session ends


async def test_each_session_ends_once_with_its_reason(
    first: Holder, second: Holder, ended: Ended, lost: Lost, clock: HastyClock
) -> None:
    for key in ("unloaded", "closed", "asked", "revoked"):
        await first.players.load(key)
    await first.players.unload("unloaded")
    await first.players.unload("unloaded")
    await second.players.load("asked", ask=True)
    await until(lambda: len(ended) == 2)
    await second.players.revoke("revoked")
    await until(lambda: len(ended) == 3)
    await first.players.close()
    await first.players.close()
    clock.advance(3 * LEASE)
    await settled(first.store)
    assert ended == [
        ("unloaded", EndReason.UNLOADED),
        ("asked", EndReason.HANDED_OVER),
        ("revoked", EndReason.LEASE_LOST),
        ("closed", EndReason.UNLOADED),
    ]
    assert lost == [("revoked", None)]


async def test_a_session_whose_unload_failed_has_not_ended(first: Holder, ended: Ended, clock: HastyClock) -> None:
    documents = players_over(
        first.store, partition=together, lease=timedelta(hours=1), on_session_end=lambda *told: ended.append(told)
    )
    ada = await documents.load("ada")
    await ada.update(earn(1))
    first.wire.refusals = 1_000
    with clock.hasty(5):
        (outcome,) = await asyncio.gather(ada.unload(), return_exceptions=True)
    assert isinstance(outcome, Exception)
    assert ended == []
    assert not ada.closed
    first.wire.refusals = 0
    await ada.unload()
    assert ended == [("ada", EndReason.UNLOADED)]


async def test_a_document_leased_for_a_transaction_has_no_session(first: Holder, ended: Ended, lost: Lost) -> None:
    await first.players.transact(BOTH, trade)
    await first.players.transact(BOTH, lambda _: False)
    assert (ended, lost) == ([], [])
