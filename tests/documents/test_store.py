"""Documents of one name: loaded and unloaded, read and changed by key, closed, and there after a crash."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from sojourn.documents import Documents, MigrationStep
from sojourn.errors import (
    ClosedError,
    DocumentInvalidError,
    DocumentNotLoadedError,
    ImportFailedError,
    LeaseHeldError,
    LoadCancelledError,
    LoadInProgressError,
    TransformInvalidError,
    UnavailableError,
)
from sojourn.kernel import Store
from tests.documents.conftest import LEASE, HastyClock, Holders, Player, Players, pass_time, records, settled, until

TEN = [f"player {number}" for number in range(10)]


def pay(draft: Player) -> bool:
    draft.coins += 100
    return True


def overdraw(draft: Player) -> bool:
    draft.coins = "many"  # type: ignore[assignment]
    return True


def collect(item: str) -> Callable[[Player], bool]:
    def change(draft: Player) -> bool:
        draft.items.append(item)
        return True

    return change


@pytest.mark.row("D-ST1")
async def test_documents_go_by_what_they_are_created_with(store: Store, clock: HastyClock) -> None:
    step = MigrationStep.add_fields("2026-01 gems", {"bag": {"gem": 1}})
    players = Documents(
        store,
        "players",
        schema=Player,
        template=Player(coins=7),
        migrations=[step],
        holder="this one",
        lease=timedelta(minutes=3),
    )
    player = await players.load("ada")
    assert player.value == Player(coins=7), "a new document has been through every migration already"
    info = await players.probe_lease("ada")
    assert info is not None
    assert (info.holder, info.expires_at - clock.now()) == ("this one", 180_000)
    await player.update(pay)
    await player.save()
    assert (player.info.key, player.info.partition, player.info.migrations) == ("ada", "ada", ("2026-01 gems",))
    assert [each.key for each in (await players.list()).items] == ["ada"]
    assert (await Documents(store, "others", schema=Player, template=Player()).list()).items == ()


@pytest.mark.row("D-ST2")
async def test_a_template_that_breaks_the_schema_is_refused_at_once(store: Store) -> None:
    with pytest.raises(DocumentInvalidError, match="coins") as caught:
        Documents(store, "players", schema=Player, template=Player(coins="many"))  # type: ignore[arg-type]
    assert (caught.value.key, caught.value.source) == (None, "template")


@pytest.mark.row("D-ST3")
async def test_a_draft_that_is_kept_reaches_nobody(players: Players) -> None:
    kept: list[Player] = []

    def keep(draft: Player) -> bool:
        kept.append(draft)
        return collect("sword")(draft)

    documents = players()
    player = await documents.load("ada")
    await player.update(keep)
    with player.edit() as draft:
        collect("shield")(draft)
    for late in (*kept, draft):
        late.items.append("late")
        late.pet.name = "late"
    assert player.value == Player(items=["sword", "shield"])
    await player.save()
    assert await documents.peek("ada") == Player(items=["sword", "shield"])


@pytest.mark.row("D-ST3")
async def test_a_returned_value_that_is_kept_reaches_nobody(players: Players) -> None:
    kept = Player(items=["sword"])
    player = await players().load("ada")
    await player.update_immutable(lambda _: kept)
    kept.items.append("late")
    assert player.value == Player(items=["sword"])


@pytest.mark.row("D-ST4")
async def test_what_was_loaded_for_the_first_time_is_the_template(players: Players) -> None:
    documents = players(template=Player(coins=3))
    await documents.load("ada")
    assert await documents.get("ada") == Player(coins=3)


@pytest.mark.row("D-ST5")
async def test_loading_what_is_loaded_returns_it_at_once(holder: Holders) -> None:
    first = await holder()
    player = await first.players.load("ada")
    first.wire.clear()
    assert await first.players.load("ada") is player
    assert first.players.loaded("ada") is player
    assert (first.wire.sent, first.wire.asked) == ([], [])


@pytest.mark.row("D-ST6")
async def test_load_unload_and_load_in_one_go(players: Players) -> None:
    documents = players()
    first, gone, second = await asyncio.gather(
        documents.load("ada"), documents.unload("ada"), documents.load("ada"), return_exceptions=True
    )
    assert isinstance(first, LoadCancelledError)
    assert gone is None
    assert second is documents.loaded("ada")
    assert await documents.get("ada") == Player()


@pytest.mark.row("D-ST7", "D-ST18", "D-ST22", "D-ST31", "D-ST38", "D-ST43", "D-TI4", "D-TI21")
async def test_after_close_every_verb_is_refused(players: Players, store: Store) -> None:
    documents = players()
    player = await documents.load("ada")
    await documents.close()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: documents.load("ada"),
        lambda: documents.load("bob"),
        lambda: documents.unload("ada"),
        lambda: documents.get("ada"),
        lambda: documents.update("ada", pay),
        lambda: documents.update_immutable("ada", lambda _: Player(coins=7)),
        lambda: documents.save("ada"),
        lambda: documents.transact(["ada"], lambda drafts: pay(drafts["ada"])),
        lambda: documents.transact_immutable(["ada"], lambda _: {"ada": Player(coins=7)}),
        lambda: documents.send("ada", {"coins": 7}),
        lambda: documents.revoke("ada"),
        lambda: documents.erase("ada"),
        player.get,
        player.save,
        lambda: player.update(pay),
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            await call()
    with pytest.raises(ClosedError), documents.edit("ada"):
        pass
    for refused in (documents.loaded, documents.start_autosaving, documents.stop_autosaving):
        with pytest.raises(ClosedError):
            refused("ada")
    await documents.close()
    assert await records(store, "ada") == []


@pytest.mark.row("D-ST8")
async def test_of_two_loads_of_one_key_the_second_is_told(players: Players) -> None:
    documents = players()
    first, second = await asyncio.gather(documents.load("ada"), documents.load("ada"), return_exceptions=True)
    assert first is documents.loaded("ada")
    assert isinstance(second, LoadInProgressError)


@pytest.mark.row("D-ST9")
async def test_old_data_is_asked_for_once_and_becomes_the_value(players: Players) -> None:
    asked: list[str] = []

    async def import_legacy(key: str) -> object:
        asked.append(key)
        await asyncio.sleep(0)
        return {"coins": 7, "items": ["sword"]}

    documents = players(import_legacy=import_legacy)
    player = await documents.load("ada")
    assert player.value == Player(coins=7, items=["sword"])
    assert not player.is_saved, "what was imported is still to be saved"
    await player.unload()
    assert (await documents.load("ada")).value == Player(coins=7, items=["sword"])
    assert asked == ["ada"]


@pytest.mark.row("D-ST10")
async def test_an_import_that_raises_fails_the_load_and_leaves_nothing(players: Players, store: Store) -> None:
    asked: list[str] = []

    def import_legacy(key: str) -> object:
        asked.append(key)
        raise OSError("the old database is away")

    documents = players(import_legacy=import_legacy)
    with pytest.raises(ImportFailedError, match="the old database is away") as caught:
        await documents.load("ada")
    assert isinstance(caught.value.__cause__, OSError)
    assert asked == ["ada"]
    assert await records(store, "ada") == []
    assert await documents.probe_lease("ada") is None
    assert (await players().load("ada", wait=0)).value == Player()


@pytest.mark.row("D-ST11")
async def test_without_old_data_the_template_is_the_beginning(players: Players) -> None:
    async def import_legacy(key: str) -> None: ...

    for nothing in (import_legacy, lambda _: None):
        documents = players(import_legacy=nothing, template=Player(coins=3))
        player = await documents.load("ada")
        assert player.value == Player(coins=3)
        await player.unload()


@pytest.mark.row("D-ST12")
async def test_a_document_that_is_left_alone_stays_held(
    players: Players, holder: Holders, store: Store, clock: HastyClock
) -> None:
    player = await players().load("ada")
    await pass_time(store, clock, timedelta(seconds=240))
    second = await holder()
    with pytest.raises(LeaseHeldError):
        await second.players.load("ada", wait=0)
    assert not player.closed
    await player.unload()
    assert (await second.players.load("ada", wait=0)).value == Player()


@pytest.mark.row("D-ST13", "D-TX-R3")
async def test_a_load_that_finds_the_store_away_holds_nothing(
    players: Players, holder: Holders, clock: HastyClock
) -> None:
    first = await holder()
    first.wire.cut()
    with clock.hasty():
        with pytest.raises(UnavailableError):
            await first.players.load("ada")
        with pytest.raises(UnavailableError):
            await first.players.peek("ada")
    first.wire.resume()
    assert await players().probe_lease("ada") is None
    assert (await first.players.load("ada", wait=0)).value == Player()


@pytest.mark.row("D-ST14")
async def test_ten_documents_are_loaded_at_once(players: Players) -> None:
    documents = players()
    loaded = await asyncio.gather(*map(documents.load, TEN))
    assert [player.key for player in loaded] == TEN
    assert [documents.loaded(key) for key in TEN] == loaded


@pytest.mark.row("D-ST15", "D-TX-R1")
async def test_what_was_changed_and_saved_is_there_at_the_next_load(players: Players, holder: Holders) -> None:
    documents = players()
    player = await documents.load("ada")
    await player.update(collect("sword"))
    await player.save()
    await player.update(collect("shield"))
    await player.unload()
    for again in (documents, (await holder()).players):
        player = await again.load("ada", wait=0)
        assert player.value == Player(items=["sword", "shield"])
        assert player.is_saved
        assert player.last_saved == player.value
        await player.unload()


@pytest.mark.row("D-ST16")
async def test_unloading_what_was_never_loaded_does_nothing(holder: Holders) -> None:
    first = await holder()
    await first.players.unload("ada")
    assert first.wire.sent == []


@pytest.mark.row("D-ST17")
async def test_an_unload_during_a_load_cancels_it(store: Store, players: Players, holder: Holders) -> None:
    first = await holder()
    first.wire.hold()
    loading = asyncio.create_task(first.players.load("ada"))
    await until(lambda: first.wire.held)
    unloading = asyncio.create_task(first.players.unload("ada"))
    await settled(store)
    first.wire.resume()
    await unloading
    assert await players().probe_lease("ada") is None
    with pytest.raises(LoadCancelledError):
        await loading
    with pytest.raises(DocumentNotLoadedError):
        first.players.loaded("ada")


@pytest.mark.row("D-ST17")
async def test_an_unload_cancels_a_load_that_waits_for_another_holder(
    store: Store, players: Players, holder: Holders
) -> None:
    """No clock moves here."""
    held = await players().load("ada")
    second = await holder()
    loading = asyncio.create_task(second.players.load("ada"))
    await settled(store)
    await second.players.unload("ada")
    with pytest.raises(LoadCancelledError):
        await loading
    assert not held.closed
    await held.unload()
    assert await second.players.probe_lease("ada") is None


@pytest.mark.row("D-ST19", "D-ST45")
async def test_nobody_holds_what_was_unloaded_or_never_was(players: Players) -> None:
    documents = players()
    await documents.load("ada")
    await documents.unload("ada")
    assert await documents.probe_lease("ada") is None
    assert await documents.probe_lease("nobody's") is None


@pytest.mark.row("D-ST20")
async def test_keyed_verbs_wait_for_a_load_that_was_begun(store: Store, holder: Holders) -> None:
    first = await holder()
    first.wire.hold()
    documents = first.players
    loading = asyncio.create_task(documents.load("ada"))
    await until(lambda: first.wire.held)
    verbs = [
        asyncio.ensure_future(call)
        for call in (documents.get("ada"), documents.update("ada", pay), documents.save("ada"))
    ]
    await settled(store)
    assert not any(verb.done() for verb in verbs)
    first.wire.resume()
    assert await asyncio.gather(*verbs) == [Player(), True, None]
    assert (await loading).last_saved == Player(coins=100)


@pytest.mark.row("D-ST20")
async def test_keyed_verbs_end_with_the_load_that_they_wait_for(holder: Holders) -> None:
    first = await holder()
    first.wire.hold()
    loading = asyncio.create_task(first.players.load("ada"))
    await until(lambda: first.wire.held)
    getting = asyncio.create_task(first.players.get("ada"))
    await asyncio.sleep(0)
    unloading = asyncio.create_task(first.players.unload("ada"))
    await asyncio.sleep(0)
    first.wire.resume()
    found = await asyncio.gather(loading, getting, return_exceptions=True)
    await unloading
    assert [type(each) for each in found] == [LoadCancelledError, LoadCancelledError]


@pytest.mark.row("D-ST21", "D-ST32", "D-ST39")
async def test_what_is_not_loaded_is_named(players: Players) -> None:
    documents = players()
    await documents.load("bob")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: documents.get("ada"),
        lambda: documents.update("ada", pay),
        lambda: documents.update_immutable("ada", lambda _: Player()),
        lambda: documents.save("ada"),
    ]
    for call in calls:
        with pytest.raises(DocumentNotLoadedError, match="ada"):
            await call()
    with pytest.raises(DocumentNotLoadedError, match="ada"), documents.edit("ada"):
        pass
    for refused in (documents.loaded, documents.start_autosaving, documents.stop_autosaving):
        with pytest.raises(DocumentNotLoadedError, match="ada"):
            refused("ada")


@pytest.mark.row("D-ST23")
async def test_writing_into_what_a_keyed_get_returned_raises(players: Players) -> None:
    documents = players()
    await documents.load("ada")
    value = await documents.get("ada")
    with pytest.raises((AttributeError, TypeError)):
        value.coins = 5
    with pytest.raises(TypeError, match="read-only"):
        value.items.append("sword")
    assert await documents.get("ada") == Player()


@pytest.mark.row("D-ST24", "D-ST26")
async def test_an_accepted_update_is_true_and_what_get_returns(players: Players) -> None:
    documents = players()
    await documents.load("ada")
    assert await documents.update("ada", pay) is True
    assert await documents.update_immutable("ada", lambda value: Player(coins=value.coins + 1)) is True
    with documents.edit("ada") as draft:
        draft.coins += 1
    assert (await documents.get("ada")).coins == 102


@pytest.mark.row("D-ST25", "D-ST27")
async def test_an_abandoned_update_is_false_and_not_there(players: Players) -> None:
    documents = players()
    await documents.load("ada")
    assert await documents.update("ada", lambda draft: pay(draft) and False) is False
    assert await documents.update_immutable("ada", lambda _: False) is False
    assert await documents.get("ada") == Player()


@pytest.mark.row("D-ST28")
async def test_what_a_keyed_updates_function_raises_comes_back_as_it_is(players: Players) -> None:
    problem = ZeroDivisionError("no coins to share")

    def fail(draft: Player) -> bool:
        pay(draft)
        raise problem

    documents = players()
    await documents.load("ada")
    with pytest.raises(ZeroDivisionError) as caught:
        await documents.update("ada", fail)
    assert caught.value is problem
    assert await documents.get("ada") == Player()


@pytest.mark.row("D-ST29")
@pytest.mark.parametrize("answer", [1, 0, None, "yes"])
async def test_a_function_that_says_neither_true_nor_false_is_refused(players: Players, answer: Any) -> None:
    documents = players()
    await documents.load("ada")
    with pytest.raises(TransformInvalidError):
        await documents.update("ada", lambda draft: pay(draft) and answer)
    assert await documents.get("ada") == Player()


@pytest.mark.row("D-ST30")
async def test_a_keyed_update_that_breaks_the_schema_is_refused(players: Players) -> None:
    documents = players()
    await documents.load("ada")
    with pytest.raises(DocumentInvalidError, match="coins"):
        await documents.update("ada", overdraw)
    assert await documents.get("ada") == Player()


@pytest.mark.row("D-ST33")
async def test_two_documents_are_changed_at_once(players: Players) -> None:
    documents = players()
    await asyncio.gather(documents.load("ada"), documents.load("bob"))
    assert all(await asyncio.gather(documents.update("ada", pay), documents.update("bob", pay)))
    assert [(await documents.get(key)).coins for key in ("ada", "bob")] == [100, 100]


@pytest.mark.row("D-ST34")
async def test_a_hundred_updates_are_made_in_order(players: Players) -> None:
    documents = players()
    await documents.load("ada")
    order = [str(number) for number in range(100)]
    assert await asyncio.gather(*(documents.update("ada", collect(each)) for each in order)) == [True] * 100
    assert (await documents.get("ada")).items == order
    await documents.save("ada")
    assert await documents.peek("ada") == Player(items=order)


@pytest.mark.row("D-ST35")
async def test_a_function_that_waits_is_refused(players: Players) -> None:
    began: list[Player] = []

    async def wait(draft: Player) -> bool:
        began.append(draft)
        return pay(draft)

    documents = players()
    player = await documents.load("ada")
    with pytest.raises(TransformInvalidError):
        await documents.update("ada", wait)  # type: ignore[arg-type]
    with pytest.raises(TransformInvalidError):
        await documents.update_immutable("ada", wait)  # type: ignore[arg-type]
    with pytest.raises(TransformInvalidError):  # it does not look like one that waits
        await documents.update("ada", lambda draft: pay(draft) and wait(draft))  # type: ignore[arg-type,return-value]
    assert began == []
    assert player.value == Player()
    assert player.is_saved


@pytest.mark.row("D-ST36")
async def test_what_was_saved_survives_a_crash(players: Players, holder: Holders, clock: HastyClock) -> None:
    first = await holder()
    player = await first.players.load("ada")
    await player.update(collect("sword"))
    await player.save()
    await player.update(collect("lost"))
    await first.crash()
    clock.advance(LEASE)
    assert (await players().load("ada")).value == Player(items=["sword"])


@pytest.mark.row("D-ST37")
async def test_saving_what_is_saved_writes_nothing(holder: Holders) -> None:
    first = await holder()
    player = await first.players.load("ada")
    first.wire.clear()
    await player.save()
    await player.update(pay)
    await player.save()
    await player.save()
    assert len(first.wire.sent) == 1


@pytest.mark.row("D-ST40")
async def test_closing_gives_every_document_back(players: Players, holder: Holders) -> None:
    documents = players()
    await asyncio.gather(documents.load("ada"), documents.load("bob"))
    await documents.update("ada", pay)
    await documents.close()
    second = await holder()
    assert (await second.players.load("ada", wait=0)).value == Player(coins=100)
    assert (await second.players.load("bob", wait=0)).value == Player()


@pytest.mark.row("D-ST41")
async def test_closing_cancels_loads(store: Store, players: Players, holder: Holders) -> None:
    first = await holder()
    first.wire.hold()
    loads = [asyncio.create_task(first.players.load(key)) for key in ("ada", "bob")]
    await until(lambda: first.wire.held)
    closing = asyncio.create_task(first.players.close())
    await settled(store)
    first.wire.resume()
    await closing
    other = players()
    assert [await other.probe_lease(key) for key in ("ada", "bob")] == [None, None]
    found = await asyncio.gather(*loads, return_exceptions=True)
    assert [type(each) for each in found] == [LoadCancelledError, LoadCancelledError]


@pytest.mark.row("D-ST42")
async def test_what_was_saved_by_closing_survives_a_crash_at_once(players: Players, holder: Holders) -> None:
    first = await holder()
    await first.players.load("ada")
    await first.players.update("ada", collect("sword"))
    await first.players.save("ada")
    await first.players.update("ada", collect("shield"))
    await first.players.close()
    await first.crash()
    assert (await players().load("ada", wait=0)).value == Player(items=["sword", "shield"])


@pytest.mark.row("D-ST44", "D-LK18")
async def test_it_is_said_who_holds_a_loaded_document(players: Players, holder: Holders, clock: HastyClock) -> None:
    await players(holder="first").load("ada")
    second = await holder()
    info = await second.players.probe_lease("ada")
    assert info is not None
    assert (info.holder, info.since) == ("first", clock.now())


@pytest.mark.row("D-ST46")
async def test_after_close_it_can_be_looked_at(players: Players) -> None:
    documents = players()
    player = await documents.load("ada")
    await player.update(pay)
    await documents.close()
    assert await documents.probe_lease("ada") is None
    assert await documents.peek("ada") == Player(coins=100)
    assert len((await documents.history("ada")).items) == 1
    assert [each.key for each in (await documents.list()).items] == ["ada"]


@pytest.mark.row("D-ST47", "D-TX-R2")
async def test_a_peek_is_what_was_saved_whoever_holds_it(players: Players, holder: Holders) -> None:
    documents, second = players(), await holder()
    await documents.load("ada")
    assert await second.players.peek("ada") is None
    await documents.update("ada", pay)
    assert await second.players.peek("ada") is None
    await documents.save("ada")
    await documents.update("ada", pay)
    assert await second.players.peek("ada") == Player(coins=100)
    await documents.unload("ada")
    assert await second.players.peek("ada") == Player(coins=200)
    assert await second.players.probe_lease("ada") is None, "a peek takes no lease"


async def test_open_loads_and_unloads_also_when_the_block_raises(players: Players) -> None:
    documents = players()
    with pytest.raises(ZeroDivisionError):
        await _pay_and_fail(documents)
    assert await documents.probe_lease("ada") is None
    assert await documents.peek("ada") == Player(coins=100)


async def _pay_and_fail(documents: Documents[Player]) -> None:
    async with documents.open("ada") as player:
        await player.update(pay)
        raise ZeroDivisionError


async def test_a_load_during_an_unload_waits_for_it(store: Store, holder: Holders) -> None:
    first = await holder()
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.hold()
    unloading = asyncio.create_task(player.unload())
    await until(lambda: first.wire.held)
    loading = asyncio.create_task(first.players.load("ada"))
    await settled(store)
    assert not loading.done()
    first.wire.resume()
    again = await loading
    assert unloading.done()
    assert again is not player
    assert again.value == Player(coins=100)
