"""A document that is held: what changes it, what it tells of, and what a save and an unload do."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.documents import Cause, Document, Documents, EndReason
from sojourn.errors import (
    ConflictError,
    DocumentClosedError,
    DocumentInvalidError,
    LeaseLostError,
    UnavailableError,
)
from sojourn.kernel import Store
from tests.documents.conftest import LEASE, Badge, HastyClock, Holders, Pet, Player, Players, is_player, settled, until

AUTOSAVE = timedelta(minutes=5)
LONG = timedelta(hours=1)
"""A lease that outlives the pauses between saves, so that a test can let one of them pass at once."""


@pytest.fixture
async def player(players: Players) -> Document[Player]:
    return await players().load("ada")


def pay(draft: Player) -> bool:
    draft.coins += 100
    return True


def nothing(draft: Player) -> bool:
    return True


def fail(draft: Player) -> bool:
    draft.items.append("shield")
    raise ZeroDivisionError


def overdraw(draft: Player) -> bool:
    draft.coins = "many"  # type: ignore[assignment]
    return True


@pytest.mark.row("D-SE1")
async def test_what_nobody_stored_begins_as_the_template(player: Document[Player]) -> None:
    assert player.value == Player()
    assert await player.get() == Player()
    assert player.last_saved is None
    assert player.info.revision is None


@pytest.mark.row("D-SE2")
async def test_a_change_makes_it_unsaved_and_a_save_makes_it_saved(player: Document[Player]) -> None:
    assert player.is_saved, "a plain load is nothing to save"
    await player.update(pay)
    assert not player.is_saved
    await player.save()
    assert player.is_saved
    assert player.last_saved is player.value
    assert player.info.revision is not None


@pytest.mark.row("D-SE2")
async def test_a_plain_load_and_its_unload_write_no_document(holder: Holders) -> None:
    first = await holder()
    await (await first.players.load("ada")).unload()
    assert first.wire.saves == []
    assert await first.players.peek("ada") is None


@pytest.mark.row("D-SE3", "D-SE16")
async def test_an_unloaded_document_takes_no_change(player: Document[Player]) -> None:
    await player.update(pay)
    await player.unload()
    assert player.closed
    with pytest.raises(DocumentClosedError):
        await player.update(pay)
    with pytest.raises(DocumentClosedError):
        await player.update_immutable(lambda _: Player())
    with pytest.raises(DocumentClosedError), player.edit():
        pass
    with pytest.raises(DocumentClosedError):
        await player.get()
    with pytest.raises(DocumentClosedError):
        await player.save()
    assert player.value.coins == 100, "the last value known stays"


async def test_unloading_twice_is_once(player: Document[Player]) -> None:
    await asyncio.gather(player.unload(), player.unload())
    await player.unload()
    assert player.closed


@pytest.mark.row("D-SE4", "D-SE14")
async def test_a_value_that_breaks_the_schema_is_refused_and_the_old_one_stays(player: Document[Player]) -> None:
    with pytest.raises(DocumentInvalidError, match="coins") as caught:
        await player.update(overdraw)
    assert (caught.value.key, caught.value.source) == ("ada", "change")
    with pytest.raises(DocumentInvalidError, match="coins"):
        await player.update_immutable(lambda _: Player(coins="many"))  # type: ignore[arg-type]
    with pytest.raises(DocumentInvalidError, match="coins"), player.edit() as draft:
        overdraw(draft)
    assert player.value == Player()
    assert player.is_saved


@pytest.mark.row("D-SE4")
async def test_a_schema_that_is_a_function_says_why(store: Store) -> None:
    boards = Documents(store, "boards", schema=is_player, template={"coins": 1})
    board = await boards.load("ada")

    def overdraw(draft: dict[str, Any]) -> bool:
        draft["coins"] -= 2
        return True

    with pytest.raises(DocumentInvalidError, match="coins is below 0"):
        await board.update(overdraw)
    assert board.value == {"coins": 1}


@pytest.mark.row("D-SE5")
async def test_writing_into_what_get_returned_raises(player: Document[Player]) -> None:
    await player.update_immutable(lambda _: Player(items=["sword"], bag={"gem": 1}))
    value = await player.get()
    with pytest.raises((AttributeError, TypeError)):
        value.coins = 5
    with pytest.raises((AttributeError, TypeError)):
        value.pet.name = "Max"
    with pytest.raises(TypeError, match="read-only"):
        value.items.append("shield")
    with pytest.raises(TypeError, match="read-only"):
        value.bag["gem"] = 2
    assert player.value == Player(items=["sword"], bag={"gem": 1})


@pytest.mark.row("D-SE6")
async def test_a_change_that_says_true_is_seen_at_once(player: Document[Player]) -> None:
    assert await player.update(pay) is True
    assert player.value.coins == 100
    assert not player.is_saved


async def test_an_edit_is_seen_at_its_end_and_abandoned_by_raising(player: Document[Player]) -> None:
    with player.edit() as draft:
        draft.items.append("sword")
        assert player.value.items == []
    assert player.value.items == ["sword"]
    with pytest.raises(ZeroDivisionError), player.edit() as draft:
        fail(draft)
    assert player.value.items == ["sword"]


async def test_an_edit_over_which_somebody_else_changed_the_document_is_a_conflict(player: Document[Player]) -> None:
    async def edit_slowly() -> None:
        with player.edit() as draft:
            draft.coins += 1
            await player.update(pay)

    with pytest.raises(ConflictError):
        await edit_slowly()
    assert player.value.coins == 100


@pytest.mark.row("D-SE7", "D-SE12")
async def test_a_change_that_changes_nothing_is_true_and_calls_nobody(players: Players) -> None:
    seen: list[object] = []
    player = await players(changed_callbacks=[lambda *call: seen.append(call)]).load("ada")
    before = player.value
    seen.clear()
    assert await player.update(nothing) is True
    assert await player.update_immutable(lambda _: Player()) is True
    with player.edit():
        pass
    assert player.is_saved
    assert player.value is before
    assert seen == []


@pytest.mark.row("D-SE8", "D-SE13")
async def test_a_change_that_says_false_changes_nothing(player: Document[Player]) -> None:
    def abandon(draft: Player) -> bool:
        draft.coins = 7
        draft.items.append("sword")
        return False

    assert await player.update(abandon) is False
    assert await player.update_immutable(lambda _: False) is False
    assert player.value == Player()
    assert player.is_saved


@pytest.mark.row("D-SE9", "D-SE15")
async def test_what_a_change_raises_comes_back_as_it_is(player: Document[Player]) -> None:
    problem = ZeroDivisionError("no coins to share")

    def fail(value: Player) -> bool:
        raise problem

    for call in (player.update(fail), player.update_immutable(fail)):  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError) as caught:
            await call
        assert caught.value is problem
    assert player.value == Player()
    assert player.is_saved


@pytest.mark.row("D-SE10")
async def test_a_returned_value_takes_the_old_ones_place(store: Store, player: Document[Player]) -> None:
    assert await player.update_immutable(lambda value: Player(coins=value.coins + 7, items=["sword"])) is True
    assert player.value == Player(coins=7, items=["sword"])
    assert not player.is_saved
    badges = Documents(store, "badges", schema=Badge, template=Badge(level=1, marks=("new",)))
    badge = await badges.load("ada")
    assert await badge.update_immutable(lambda value: Badge(value.level + 1, value.marks)) is True
    assert badge.value == Badge(2, ("new",))


@pytest.mark.row("D-SE10")
async def test_fields_that_a_function_schema_does_not_name_are_kept(store: Store) -> None:
    boards = Documents(store, "boards", schema=is_player, template={"coins": 1})
    board = await boards.load("ada")
    assert await board.update_immutable(lambda value: {**value, "note": "unlisted"})  # type: ignore[dict-item]
    await board.unload()
    assert (await boards.load("ada")).value == {"coins": 1, "note": "unlisted"}


@pytest.mark.row("D-SE11", "D-SE21", "D-SE22")
async def test_callbacks_get_the_key_the_new_value_and_the_old_one(players: Players) -> None:
    seen: list[tuple[str, Player, Player | None, Cause]] = []
    player = await players(changed_callbacks=[lambda *call: seen.append(call)]).load("ada")
    assert seen == [("ada", Player(), None, Cause.LOAD)]
    await player.update(pay)
    await player.update_immutable(lambda _: Player(coins=7))
    await player.update(pay)
    assert seen[1:] == [
        ("ada", Player(coins=100), Player(), Cause.UPDATE),
        ("ada", Player(coins=7), Player(coins=100), Cause.UPDATE),
        ("ada", Player(coins=107), Player(coins=7), Cause.UPDATE),
    ]
    assert seen[-1][1] is player.value
    assert seen[-1][2] is seen[-2][1]


@pytest.mark.row("D-SE17")
async def test_a_changed_document_is_saved_by_itself(players: Players, clock: HastyClock) -> None:
    saved = asyncio.Event()
    documents = players(autosave=AUTOSAVE, lease=LONG, after_save=lambda _: saved.set())
    player = await documents.load("ada")
    for coins in (100, 200):
        await player.update(pay)
        await clock.until_sleeping(2)  # the keeper of the lease, and the autosave
        clock.advance(AUTOSAVE)
        await saved.wait()
        saved.clear()
        assert player.is_saved
        assert await documents.peek("ada") == Player(coins=coins)


@pytest.mark.row("D-SE18")
async def test_with_its_autosave_stopped_it_stays_unsaved(players: Players, store: Store, clock: HastyClock) -> None:
    documents = players(autosave=AUTOSAVE, lease=LONG)
    player = await documents.load("ada")
    player.stop_autosaving()
    await player.update(pay)
    await clock.until_sleeping()
    clock.advance(AUTOSAVE * 3)
    await settled(store)
    assert not player.is_saved
    assert await documents.peek("ada") is None
    player.start_autosaving()
    await clock.until_sleeping(2)
    clock.advance(AUTOSAVE)
    await until(lambda: player.is_saved)
    player.stop_autosaving()
    await player.update(pay)
    await player.unload()
    assert await documents.peek("ada") == Player(coins=200)


@pytest.mark.row("D-SE17")
async def test_an_autosave_that_fails_is_tried_again_by_the_next(holder: Holders, clock: HastyClock) -> None:
    first = await holder(autosave=AUTOSAVE, lease=LONG)
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.refusals = limits.SAVE_ATTEMPTS
    await clock.until_sleeping(2)
    with clock.hasty():
        clock.advance(AUTOSAVE)
        await until(lambda: first.wire.refusals == 0)
    assert not player.is_saved
    await clock.until_sleeping(2)
    clock.advance(AUTOSAVE)
    await until(lambda: player.is_saved)
    assert await first.players.peek("ada") == Player(coins=100)


@pytest.mark.row("D-SE19")
async def test_an_unloaded_document_is_loaded_by_somebody_else_at_once(players: Players, holder: Holders) -> None:
    """No clock moves here."""
    player = await players().load("ada")
    await player.update(pay)
    await player.unload()
    second = await holder()
    assert (await second.players.load("ada", wait=0)).value.coins == 100


@pytest.mark.row("D-SE20")
async def test_a_holder_whose_renewals_hang_beyond_the_lease_is_closed(
    store: Store, holder: Holders, clock: HastyClock
) -> None:
    lost: list[tuple[str, Player | None]] = []
    first = await holder(on_lease_lost=lambda key, unsaved: lost.append((key, unsaved)))
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.hold()
    for _ in range(2 * limits.LEASE_RENEWALS):
        clock.advance(LEASE / limits.LEASE_RENEWALS)
        await settled(store)
    await until(lambda: player.closed and lost)
    with pytest.raises(LeaseLostError) as caught:
        await player.update(pay)
    assert caught.value.unsaved == Player(coins=100)
    first.wire.resume()
    await settled(store)
    assert lost == [("ada", Player(coins=100))]


@pytest.mark.row("D-SE23")
async def test_callbacks_are_called_in_order_and_apart(players: Players) -> None:
    seen: list[str] = []

    def fails(*call: object) -> None:
        seen.append("first")
        raise ZeroDivisionError

    player = await players(changed_callbacks=[fails, lambda *_: seen.append("second")]).load("ada")
    await player.update(pay)
    assert seen == ["first", "second"] * 2
    assert player.value.coins == 100


@pytest.mark.row("D-SE24")
async def test_what_did_not_change_stays_the_same_object(player: Document[Player]) -> None:
    def own(draft: Player) -> bool:
        draft.items.append("sword")
        draft.bag["gem"] = 1
        return True

    def teach(draft: Player) -> bool:
        draft.pet.tricks.append("roll")
        return True

    await player.update(own)
    first = player.value
    await player.update(teach)
    second = player.value
    assert second.items is first.items
    assert second.bag is first.bag
    assert second.pet is not first.pet
    assert first == Player(items=["sword"], bag={"gem": 1})
    assert second == Player(items=["sword"], bag={"gem": 1}, pet=Pet(tricks=["roll"]))


@pytest.mark.row("D-SE25", "D-RT2")
async def test_a_save_that_finds_the_store_away_for_good_says_so(holder: Holders, clock: HastyClock) -> None:
    first = await holder()
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.clear()
    first.wire.refusals = limits.SAVE_ATTEMPTS
    with clock.hasty(), pytest.raises(UnavailableError):
        await player.save()
    assert len(first.wire.saves) == limits.SAVE_ATTEMPTS
    assert not player.is_saved
    assert await first.players.peek("ada") is None
    await player.save()
    assert await first.players.peek("ada") == Player(coins=100)


@pytest.mark.row("D-SE26", "D-RT1")
async def test_a_save_that_finds_the_store_away_twice_succeeds(holder: Holders, clock: HastyClock) -> None:
    first = await holder()
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.clear()
    first.wire.refusals = 2
    with clock.hasty():
        await player.save()
    assert len(first.wire.saves) == 3
    assert player.is_saved
    assert len((await first.players.history("ada")).items) == 1


@pytest.mark.row("D-RT3")
async def test_a_save_under_a_lost_lease_is_not_tried_again(players: Players, holder: Holders) -> None:
    """No clock moves here, so a second attempt would wait for ever."""
    first = await holder()
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.clear()
    assert await players().revoke("ada") is not None
    with pytest.raises(LeaseLostError) as caught:
        await player.save()
    assert caught.value.unsaved == Player(coins=100)
    assert len(first.wire.saves) <= 1
    assert await players().peek("ada") is None


async def test_what_is_changed_during_a_save_stays_to_be_saved(holder: Holders) -> None:
    first = await holder()
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.hold()
    saving = asyncio.create_task(player.save())
    await until(lambda: first.wire.held)
    await player.update(pay)
    first.wire.resume()
    await saving
    assert not player.is_saved
    assert player.last_saved == Player(coins=100)
    assert await first.players.peek("ada") == Player(coins=100)
    await player.save()
    assert player.is_saved
    assert await first.players.peek("ada") == Player(coins=200)


async def test_a_save_and_an_unload_with_changes_are_one_commit_each(holder: Holders) -> None:
    first = await holder()
    await first.players.load("bob")  # the first of its name, which is noted once
    first.wire.clear()
    player = await first.players.load("ada")
    assert len(first.wire.sent) == 1
    await player.update(pay)
    first.wire.clear()
    await player.save()
    assert len(first.wire.sent) == 1
    await player.update(pay)
    first.wire.clear()
    await player.unload()
    assert len(first.wire.sent) == 1
    assert await first.players.probe_lease("ada") is None


async def test_before_and_after_a_save_and_at_the_end_the_application_is_told(players: Players) -> None:
    told: list[object] = []
    documents = players(
        before_save=lambda document: told.append(("before", document.is_saved)),
        after_save=lambda document: told.append(("after", document.is_saved)),
        on_session_end=lambda key, reason: told.append((key, reason)),
    )
    player = await documents.load("ada")
    await player.save()
    assert told == [], "there is nothing to save"
    await player.update(pay)
    await player.save()
    assert told == [("before", False), ("after", True)]
    await player.unload()
    await until(lambda: told[2:])
    assert told[2:] == [("ada", EndReason.UNLOADED)]


async def test_a_change_made_before_a_save_is_in_it(players: Players) -> None:
    """Where an application stamps a document before each save."""

    def stamp(document: Document[Player]) -> None:
        with document.edit() as draft:
            draft.items.append("stamp")

    documents = players(before_save=stamp)
    player = await documents.load("ada")
    await player.update(pay)
    await player.save()
    assert await documents.peek("ada") == Player(coins=100, items=["stamp"])


async def test_documents_name_themselves_and_keep_what_they_hold_to_themselves(players: Players) -> None:
    documents = players()
    player = await documents.load("ada")
    assert repr(documents) == "<Documents 'players'>"
    assert repr(player) == "<Document 'ada': held, saved>"
    with player.edit() as draft:
        draft.items.append("secret")
    assert repr(player) == "<Document 'ada': held, not saved>"
    await player.unload()
    assert repr(player) == "<Document 'ada': closed, saved>"
