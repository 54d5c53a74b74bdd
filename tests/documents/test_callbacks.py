"""What an application is told of its documents: in order, apart, with the same objects that it reads itself."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from sojourn.documents import Cause, Document, EndReason
from sojourn.errors import InvalidError, TransformInvalidError
from sojourn.kernel import Attempt, Store
from tests.documents.conftest import HastyClock, Holders, Pet, Player, Players, players_over, settled, until
from tests.documents.trading import BOTH, Gate, earn, together, trade

Call = tuple[str, Player, Player | None, Cause]


@pytest.fixture
def told() -> list[Call]:
    """What `changed_callbacks` were told."""
    return []


# == Changes


@pytest.mark.row("D-SE11", "D-SE21", "D-SE22", "D-TI11")
async def test_each_kind_of_change_is_told_with_its_cause(players: Players, store: Store, told: list[Call]) -> None:
    here = players(
        partition=together,
        changed_callbacks=[lambda *call: told.append(call)],
        on_message=lambda draft, message: earn(message.body)(draft),
    )
    ada = await here.load("ada")
    await ada.update(earn(1))
    await ada.update_immutable(lambda value: Player(value.coins + 1))
    with ada.edit() as draft:
        draft.coins += 1
    await here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]))
    await store.run(lambda tx: here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]), tx=tx))
    await here.send("ada", 1)
    await until(lambda: ada.value.coins == 6)
    await ada.save()
    await ada.unload()
    assert [(old and old.coins, new.coins, cause) for _, new, old, cause in told] == [
        (None, 0, Cause.LOAD),
        (0, 1, Cause.UPDATE),
        (1, 2, Cause.UPDATE),
        (2, 3, Cause.UPDATE),
        (3, 4, Cause.TRANSACTION),
        (4, 5, Cause.TRANSACTION),
        (5, 6, Cause.MESSAGE),
    ]
    assert {key for key, *_ in told} == {"ada"}


@pytest.mark.row("D-SE24")
async def test_callbacks_get_the_very_objects_and_what_did_not_change_stays_the_same(
    players: Players, told: list[Call]
) -> None:
    here = players(partition=together, changed_callbacks=[lambda *call: told.append(call)])
    ada = await here.load("ada")

    def teach(drafts: dict[str, Player]) -> bool:
        drafts["ada"].pet.tricks.append("roll")
        return True

    def own(draft: Player) -> bool:
        draft.items.append("sword")
        return True

    await ada.update(own)
    await here.transact(["ada"], teach)
    values = [new for _, new, _, _ in told]
    assert values[-1] is ada.value
    assert [old for _, _, old, _ in told] == [None, *values[:-1]]
    assert all(old is new for (_, new, _, _), (_, _, old, _) in pairwise(told))
    assert values[2].items is values[1].items
    assert values[2].pet is not values[1].pet
    assert values[1].pet is values[0].pet
    assert values[2] == Player(items=["sword"], pet=Pet(tricks=["roll"]))


@pytest.mark.row("D-SE5", "D-ST3")
async def test_what_a_callback_writes_into_reaches_nobody(players: Players, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Player] = []

    def spoil(key: str, new: Player, old: Player | None, cause: Cause) -> None:
        seen.append(new)
        new.items.append("forged")

    ada = await players(changed_callbacks=[spoil]).load("ada")
    await ada.update(earn(1))
    assert len(seen) == 2
    assert ada.value == Player(coins=1)
    assert "read-only" in caplog.text


@pytest.mark.row("D-SE23")
async def test_what_one_callback_raises_keeps_no_other_from_being_told_and_is_logged(
    players: Players, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    def first(*call: object) -> None:
        order.append("first")
        raise ZeroDivisionError("on purpose")

    here = players(changed_callbacks=[first, lambda *_: order.append("second"), lambda *_: order.append("third")])
    ada = await here.load("ada")
    assert await ada.update(earn(1))
    await ada.save()
    assert order == ["first", "second", "third"] * 2
    assert caplog.text.count("a callback of documents failed") == 2
    assert ada.value.coins == 1


async def test_a_callback_may_change_the_document_again_and_others_hear_of_both(
    players: Players, told: list[Call]
) -> None:
    def round_up(key: str, new: Player, old: Player | None, cause: Cause) -> None:
        if new.coins % 10:
            with here.edit(key) as draft:
                draft.coins += 10 - new.coins % 10

    here = players(changed_callbacks=[lambda *call: told.append(call), round_up])
    ada = await here.load("ada")
    await ada.update(earn(7))
    assert ada.value.coins == 10
    assert [new.coins for _, new, _, _ in told] == [0, 7, 10]


async def test_what_a_callback_changes_is_told_to_all_after_what_it_was_told(players: Players) -> None:
    """Who keeps an index by old and new value counts each once."""
    told: list[tuple[int | None, int]] = []

    def double(key: str, new: Player, old: Player | None, cause: Cause) -> None:
        if new.coins in {1, 2}:
            with here.edit(key) as draft:
                draft.coins *= 2

    here = players(
        changed_callbacks=[double, lambda _key, new, old, _cause: told.append((old and old.coins, new.coins))]
    )
    ada = await here.load("ada")
    await ada.update(earn(1))
    assert ada.value.coins == 4
    assert told == [(None, 0), (0, 1), (1, 2), (2, 4)]


@pytest.mark.parametrize("name", ["changed_callbacks", "before_save", "after_save", "on_session_end"])
async def test_a_callback_that_raises_a_cancellation_cancels_nobody(
    players: Players, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """As the result of a cancelled task does: it is a failure like any other."""

    def give_up(*_: object) -> None:
        raise asyncio.CancelledError

    here = players(**{name: [give_up] if name == "changed_callbacks" else give_up})
    ada = await here.load("ada")
    await ada.update(earn(1))
    await ada.unload()
    assert ada.closed
    assert "a callback of documents failed" in caplog.text
    assert (await here.load("ada", wait=0)).value == Player(coins=1)


@pytest.mark.row("D-TI12", "D-TI27")
async def test_what_changes_nothing_or_is_not_committed_is_told_to_nobody(
    players: Players, store: Store, told: list[Call]
) -> None:
    here = players(partition=together, changed_callbacks=[lambda *call: told.append(call)])
    ada = await here.load("ada")
    told.clear()

    async def given_up(tx: Attempt) -> None:
        await here.transact(BOTH, trade, tx=tx)
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(given_up)
    await here.transact(["ada"], lambda _: True)
    await here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]) and False)
    with pytest.raises(ZeroDivisionError), ada.edit() as draft:
        draft.coins = 5 // 0
    assert told == []


async def test_what_is_leased_for_a_transaction_only_is_told_to_nobody(players: Players, told: list[Call]) -> None:
    here = players(partition=together, changed_callbacks=[lambda *call: told.append(call)])
    await here.transact(BOTH, trade)
    assert told == []


# == Saves


async def test_before_a_save_the_document_may_be_changed_and_that_is_stored_too(players: Players) -> None:
    order: list[str] = []

    def stamp(document: Document[Player]) -> None:
        order.append("before")
        with document.edit() as draft:
            draft.items.append("stamp")

    def after(document: Document[Player]) -> None:
        order.append("after")
        assert document.is_saved
        assert document.last_saved is document.value

    here = players(before_save=stamp, after_save=after)
    ada = await here.load("ada")
    await ada.update(earn(1))
    await ada.save()
    assert order == ["before", "after"]
    assert ada.is_saved
    assert await here.peek("ada") == Player(coins=1, items=["stamp"])
    await ada.save()
    assert order == ["before", "after"], "what is saved is not saved"


async def test_before_the_save_of_an_unload_it_may_be_changed_too(players: Players) -> None:
    def stamp(document: Document[Player]) -> None:
        with document.edit() as draft:
            draft.items.append("stamp")

    here = players(before_save=stamp)
    async with here.open("ada") as ada:
        await ada.update(earn(1))
    assert await here.peek("ada") == Player(coins=1, items=["stamp"])
    async with here.open("ada"):
        pass
    assert await here.peek("ada") == Player(coins=1, items=["stamp"]), "nothing was to be saved"


async def test_a_save_callback_that_raises_stops_no_save(players: Players, caplog: pytest.LogCaptureFixture) -> None:
    def fail(document: Document[Player]) -> None:
        raise ZeroDivisionError

    here = players(before_save=fail, after_save=fail)
    async with here.open("ada") as ada:
        await ada.update(earn(1))
        await ada.save()
    assert await here.peek("ada") == Player(coins=1)
    assert caplog.text.count("a callback of documents failed") == 2


async def test_after_save_is_told_of_every_commit_that_stored_the_value_and_last_saved_is_it(
    players: Players, store: Store
) -> None:
    saved: list[int] = []

    def after(document: Document[Player]) -> None:
        assert document.last_saved is not None
        saved.append(document.last_saved.coins)

    here = players(partition=together, after_save=after, on_message=lambda draft, message: earn(message.body)(draft))
    ada = await here.load("ada")
    assert ada.last_saved is None
    await ada.update(earn(1))
    assert ada.last_saved is None
    await ada.save()
    await ada.update(earn(1))
    assert ada.last_saved == Player(coins=1)
    await here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]))
    await store.run(lambda tx: here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]), tx=tx))
    await here.send("ada", 1)
    await until(lambda: ada.value.coins == 5)
    await ada.update(earn(1))
    await ada.unload()
    assert saved == [1, 3, 4, 5, 6]
    assert ada.last_saved == Player(coins=6)


async def test_what_is_changed_while_a_save_is_under_way_is_not_said_to_be_saved(
    players: Players, store: Store
) -> None:
    gate = Gate(store)
    saved: list[tuple[bool, int]] = []

    def after(document: Document[Player]) -> None:
        assert document.last_saved is not None
        saved.append((document.is_saved, document.last_saved.coins))

    ada = await players(after_save=after).load("ada")
    await ada.update(earn(1))
    gate.shut()
    saving = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    await ada.update(earn(1))
    gate.open()
    await saving
    assert saved == [(False, 1)]
    await ada.save()
    assert saved == [(False, 1), (True, 2)]


async def test_a_loaded_document_that_was_stored_knows_what_was_saved(players: Players) -> None:
    here = players()
    async with here.open("ada") as ada:
        await ada.update(earn(1))
    again = await here.load("ada")
    assert again.last_saved is again.value
    assert again.is_saved


# == Coroutines


async def test_the_end_of_a_session_may_take_its_time(players: Players, store: Store) -> None:
    goes_on = asyncio.Event()
    ended: list[tuple[str, EndReason]] = []

    async def end(key: str, reason: EndReason) -> None:
        await goes_on.wait()
        ended.append((key, reason))

    here = players(on_session_end=end)
    ada = await here.load("ada")
    await ada.unload()
    assert not (await here.load("ada")).closed, "nobody waits for it"
    goes_on.set()
    await until(lambda: ended)
    assert ended == [("ada", EndReason.UNLOADED)]


@pytest.mark.parametrize("ends", ["unloaded", "lost"])
async def test_a_coroutine_that_is_told_at_the_very_end_is_not_dropped_by_closing(
    holder: Holders, players: Players, ends: str
) -> None:
    """Documents are closed and then the store, as at the end of a program: what is unsaved is in its hands now."""
    told: list[tuple[Any, ...]] = []

    async def note(*facts: object) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        told.append(facts)

    first = await holder(on_session_end=note, on_lease_lost=note)
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    if ends == "lost":
        await players().revoke("ada")
        await until(lambda: ada.closed)
    await asyncio.gather(first.players.close(), return_exceptions=True)
    await first.store.close()
    if ends == "unloaded":
        assert told == [("ada", EndReason.UNLOADED)]
    else:
        assert told == [("ada", Player(coins=1)), ("ada", EndReason.LEASE_LOST)]


async def test_a_coroutine_that_raises_is_logged(players: Players, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(key: str, reason: EndReason) -> None:
        raise ZeroDivisionError

    async with players(on_session_end=fail).open("ada"):
        pass
    await until(lambda: "ZeroDivisionError" in caplog.text)


async def _wait(*facts: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("option", "callback"),
    [
        ("changed_callbacks", [print, _wait]),
        ("changed_callbacks", [print, None]),
        ("before_save", _wait),
        ("after_save", _wait),
        ("on_message", _wait),
        ("on_session_end", "text"),
        ("on_lease_lost", 1),
        ("on_hand_over", ()),
        ("before_save", 1),
    ],
)
async def test_a_callback_that_cannot_be_called_or_waits_where_nobody_can_is_refused_at_once(
    players: Players, option: str, callback: Any
) -> None:
    with pytest.raises((InvalidError, TransformInvalidError)):
        players(**{option: callback})


async def test_a_callback_that_calls_the_store_is_told_by_two_holders_of_their_own_documents(
    store: Store, clock: HastyClock
) -> None:
    """Two `Documents` over one store know nothing of each other's documents, and tell only of their own."""
    told: list[tuple[str, str]] = []
    here = players_over(store, changed_callbacks=[lambda key, *_: told.append(("here", key))])
    there = players_over(store, changed_callbacks=[lambda key, *_: told.append(("there", key))])
    await here.load("ada")
    await there.load("bo")
    await here.update("ada", earn(1))
    await settled(store)
    assert told == [("here", "ada"), ("there", "bo"), ("here", "ada")]
