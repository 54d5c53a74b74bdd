"""Bad input: each is one named error, at the earliest moment it can be known, and nothing is written."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sojourn import limits
from sojourn.documents import Document, Documents, MigrationStep
from sojourn.errors import (
    DocumentClosedError,
    DocumentInvalidError,
    ImportFailedError,
    IncompatibleError,
    InvalidError,
    LimitError,
    MigrationFailedError,
    RefusedError,
    TransformInvalidError,
)
from sojourn.kernel import Store
from tests.documents.conftest import Badge, Player, Players, is_player, records, settled
from tests.documents.trading import Gate


class Loose(msgspec.Struct):
    """What an older program kept as a player: anything."""

    coins: Any = 0


def loose(store: Store, **options: Any) -> Documents[Loose]:
    return Documents(store, "players", schema=Loose, template=Loose(), autosave=None, **options)


async def keep(documents: Documents[Loose], coins: Any) -> None:
    """Store a player as the older program would."""
    async with documents.open("ada") as player:
        with player.edit() as draft:
            draft.coins = coins


def fail(*_: object) -> Any:
    raise LookupError("no such bag")


def give_nothing(plain: Any) -> Any:
    return None


async def wait_for_it(*_: object) -> Any:
    return None


# == When the documents are made


@pytest.mark.parametrize(
    ("schema", "template", "problem"),
    [
        (Player, Player(coins="many"), "coins"),  # type: ignore[arg-type]
        (Badge, Badge(marks=(1,)), "marks"),  # type: ignore[arg-type]
        (is_player, {"coins": -1}, "coins is below 0"),
        (is_player, {}, "coins is no number"),
        (list[int], ["one"], "int"),
    ],
)
async def test_a_template_that_breaks_its_schema_is_refused_when_documents_are_made(
    store: Store, gate: Gate, schema: Any, template: Any, problem: str
) -> None:
    with pytest.raises(DocumentInvalidError, match=problem) as caught:
        Documents(store, "players", schema=schema, template=template)
    assert caught.value.source == "template"
    assert caught.value.key is None
    assert not gate.saves


@pytest.mark.parametrize("template", [float("nan"), b"bytes", {1: "one"}, (1, 2), {"deep": [float("inf")]}])
async def test_a_template_without_a_json_form_is_refused_when_documents_are_made(store: Store, template: Any) -> None:
    with pytest.raises((InvalidError, DocumentInvalidError)):
        Documents(store, "players", schema=lambda _: True, template=template)


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"name": ""}, InvalidError, "name"),
        ({"name": "Players"}, InvalidError, "name"),
        ({"name": "x" * (limits.DOCUMENT_NAME_CHARS + 1)}, LimitError, "name"),
        ({"lease": timedelta()}, InvalidError, "lease"),
        ({"lease": limits.TTL_MAX * 2}, InvalidError, "lease"),
        ({"autosave": timedelta()}, InvalidError, "autosave"),
        ({"history": -1}, InvalidError, "history"),
        ({"history": limits.DOCUMENT_HISTORY_MAX + 1}, LimitError, "history"),
        ({"holder": ""}, InvalidError, "holder"),
        ({"changed_callbacks": ["no function"]}, InvalidError, "changed_callbacks"),
        ({"on_lease_lost": "no function"}, InvalidError, "on_lease_lost"),
        ({"on_message": wait_for_it}, InvalidError, "on_message"),
        ({"on_message": 7}, InvalidError, "on_message"),
        ({"lease": 30}, InvalidError, "lease"),
        ({"lease": None}, InvalidError, "lease"),
        ({"autosave": 2.5}, InvalidError, "autosave"),
        ({"history": 2.5}, InvalidError, "history"),
        ({"history": None}, InvalidError, "history"),
        ({"holder": 7}, InvalidError, "holder"),
        ({"partition": "hall"}, InvalidError, "partition"),
        ({"partition": wait_for_it}, InvalidError, "partition"),
        ({"import_legacy": {}}, InvalidError, "import_legacy"),
        ({"repair": 3}, InvalidError, "repair"),
        ({"repair": wait_for_it}, InvalidError, "repair"),
        ({"changed_callbacks": fail}, InvalidError, "changed_callbacks"),
        ({"migrations": MigrationStep.add_fields("a", {})}, InvalidError, "migrations"),
        ({"migrations": [fail]}, InvalidError, "migrations"),
    ],
)
async def test_a_setting_out_of_form_is_refused_when_documents_are_made(
    store: Store, options: dict[str, Any], error: type[InvalidError] | type[LimitError], name: str
) -> None:
    settings = {"name": "players", "schema": Player, "template": Player(), **options}
    with pytest.raises(error, match=name):
        Documents(store, **settings)


@pytest.mark.row("D-N14")
@pytest.mark.parametrize(
    "steps",
    [
        [MigrationStep.add_fields("a", {}), MigrationStep.transform("a", dict)],
        [MigrationStep.add_fields("", {})],
        [MigrationStep.transform("a", wait_for_it)],
    ],
    ids=["a name twice", "no name", "a coroutine"],
)
async def test_migrations_out_of_form_are_refused_when_documents_are_made(
    players: Players, steps: list[MigrationStep]
) -> None:
    with pytest.raises(InvalidError, match="migration"):
        players(migrations=steps)


@pytest.mark.parametrize("key", ["", "a\x01b", "line\nbreak", 7])
async def test_a_key_out_of_form_is_refused(players: Players, key: Any) -> None:
    documents = players()
    for call in (documents.load, documents.get, documents.peek, documents.unload, documents.probe_lease):
        with pytest.raises(InvalidError, match="key"):
            await call(key)
    with pytest.raises(LimitError, match="key"):
        await documents.load("x" * (limits.DOCUMENT_KEY_CHARS + 1))


@pytest.mark.parametrize("subjects", ["ada", [""], ["a\nb"], [7]])
async def test_subjects_out_of_form_are_refused_and_nothing_is_leased(players: Players, subjects: Any) -> None:
    with pytest.raises(InvalidError, match="subjects"):
        await players().load("ada", subjects=subjects)
    with pytest.raises(LimitError, match="subjects"):
        await players().load("ada", subjects=[str(number) for number in range(limits.DOCUMENT_SUBJECTS + 1)])
    assert await players().probe_lease("ada") is None


@pytest.mark.parametrize("duration", [-1, float("nan"), "5", timedelta(seconds=-1), []])
async def test_a_duration_out_of_form_is_refused_though_nobody_would_have_to_wait(
    players: Players, duration: Any
) -> None:
    documents = players()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "wait": lambda: documents.load("ada", wait=duration),
        "steal_after": lambda: documents.load("ada", steal_after=duration),
        "patience": lambda: documents.close(patience=duration),
    }
    for name, call in calls.items():
        with pytest.raises(InvalidError, match=name):
            await call()
    with pytest.raises(InvalidError, match="wait"):
        await documents.transact(["ada"], lambda _: True, wait=duration)
    assert await documents.probe_lease("ada") is None
    await documents.load("ada")


@pytest.mark.parametrize("partition", [fail, give_nothing, lambda _: "", lambda _: 7], ids=["", "None", "empty", "7"])
async def test_a_partition_that_raises_or_is_no_text_is_one_error_of_every_verb(
    players: Players, partition: Any
) -> None:
    documents = players(partition=partition)
    for call in (documents.load, documents.peek, documents.probe_lease, documents.history, documents.export):
        with pytest.raises(InvalidError, match="partition"):
            await call("ada")
    with pytest.raises(InvalidError, match="partition"):
        await documents.transact(["ada"], lambda _: True)
    with pytest.raises(InvalidError, match="partition"):
        await documents.send("ada", "hello")


# == When a document is loaded


@pytest.mark.row("D-N13")
async def test_stored_data_that_breaks_the_schema_is_refused_and_stays_as_it_is(
    store: Store, players: Players, gate: Gate
) -> None:
    await keep(loose(store), "many")
    gate.saves.clear()
    before = await records(store, "ada")
    for look in (players().load, players().peek):
        with pytest.raises(DocumentInvalidError, match="coins") as caught:
            await look("ada")
        assert (caught.value.source, caught.value.key) == ("stored", "ada")
    assert await records(store, "ada") == before
    assert not gate.saves
    assert await players().probe_lease("ada") is None


@pytest.mark.row("D-N13")
async def test_stored_data_that_breaks_the_schema_can_be_repaired(store: Store, players: Players, gate: Gate) -> None:
    await keep(loose(store), "many")
    asked: list[tuple[str, object]] = []

    def repair(key: str, plain: Any, problem: str) -> object:
        assert "coins" in problem
        asked.append((key, plain["coins"]))
        return plain | {"coins": 1}

    async with players(repair=repair).open("ada") as player:
        assert player.value.coins == 1
        assert not player.is_saved
    assert asked == [("ada", "many")]
    assert await players().peek("ada") == Player(coins=1)


@pytest.mark.row("D-N13")
@pytest.mark.parametrize("repair", [give_nothing, lambda *_: {"coins": "still many"}])
async def test_a_repair_that_repairs_nothing_is_refused(
    store: Store, players: Players, gate: Gate, repair: Callable[..., object]
) -> None:
    await keep(loose(store), "many")
    gate.saves.clear()
    documents = players(repair=lambda key, plain, problem: repair(plain))  # noqa: ARG005  the form of a repair
    with pytest.raises(DocumentInvalidError):
        await documents.load("ada")
    assert not gate.saves
    assert await documents.probe_lease("ada") is None


@pytest.mark.row("D-N13")
async def test_a_repair_that_raises_leaves_the_error_that_it_was_asked_to_mend(store: Store, players: Players) -> None:
    await keep(loose(store), "many")
    documents = players(repair=fail)
    for look in (documents.load, documents.peek):
        with pytest.raises(DocumentInvalidError, match="coins") as caught:
            await look("ada")
        assert isinstance(caught.value.__cause__, LookupError)
    assert await documents.probe_lease("ada") is None


@pytest.mark.row("D-N14")
@pytest.mark.parametrize("change", [fail, give_nothing])
async def test_a_migration_that_raises_or_returns_nothing_fails_the_load_and_nothing_is_written(
    store: Store, players: Players, gate: Gate, change: Callable[[Any], Any]
) -> None:
    await keep(loose(store), 3)
    gate.saves.clear()
    before = await records(store, "ada")
    documents = players(
        migrations=[MigrationStep.add_fields("ok", {"items": []}), MigrationStep.transform("bad", change)]
    )
    for look in (documents.load, documents.peek):
        with pytest.raises(MigrationFailedError, match="bad") as caught:
            await look("ada")
        assert caught.value.step == "bad"
        assert isinstance(caught.value.__cause__, LookupError) == (change is fail)
    assert await records(store, "ada") == before
    assert not gate.saves
    assert await documents.probe_lease("ada") is None


@pytest.mark.row("D-N14")
async def test_a_migration_whose_result_breaks_the_schema_fails_the_load(store: Store, players: Players) -> None:
    await keep(loose(store), 3)
    documents = players(migrations=[MigrationStep.transform("bad", lambda plain: plain | {"coins": "many"})])
    with pytest.raises(DocumentInvalidError, match="coins") as caught:
        await documents.load("ada")
    assert caught.value.source == "migration"
    assert await documents.probe_lease("ada") is None


@pytest.mark.row("D-N14")
async def test_data_of_a_newer_release_is_refused_and_stays_as_it_is(
    store: Store, players: Players, gate: Gate
) -> None:
    await keep(loose(store, migrations=[MigrationStep.transform("of 2030", dict)]), 3)
    gate.saves.clear()
    before = await records(store, "ada")
    documents = players()
    for look in (documents.load, documents.peek, lambda key: documents.transact([key], bool)):
        with pytest.raises(IncompatibleError, match="of 2030"):
            await look("ada")
    assert await records(store, "ada") == before
    assert not gate.saves
    assert await documents.probe_lease("ada") is None


@pytest.mark.parametrize("importer", [fail, "a coroutine that raises"])
async def test_an_importer_that_raises_fails_the_load_and_is_asked_again_by_the_next(
    store: Store, players: Players, importer: Any
) -> None:
    asked: list[str] = []

    def raising(key: str) -> Any:
        asked.append(key)
        return fail()

    async def raising_later(key: str) -> Any:
        return raising(key)

    documents = players(import_legacy=raising if importer is fail else raising_later)
    for _ in range(2):
        with pytest.raises(ImportFailedError, match="ada") as caught:
            await documents.load("ada")
        assert isinstance(caught.value.__cause__, LookupError)
    assert asked == ["ada", "ada"]
    assert not await records(store, "ada")
    assert await documents.probe_lease("ada") is None


@pytest.mark.parametrize(("imported", "error"), [({"coins": "many"}, DocumentInvalidError), (b"x", RefusedError)])
async def test_imported_data_that_breaks_the_schema_fails_the_load(
    store: Store, players: Players, imported: object, error: type[Exception]
) -> None:
    documents = players(import_legacy=lambda _: imported)
    with pytest.raises(error):
        await documents.load("ada")
    assert not await records(store, "ada")
    assert await documents.probe_lease("ada") is None


# == When a document is changed


async def a_coroutine(draft: Player) -> bool:
    draft.coins = 7
    return True


async def an_async_generator(draft: Player) -> AsyncGenerator[bool]:
    draft.coins = 7
    yield True


def gives(result: object) -> Callable[[Player], Any]:
    def change(draft: Player) -> Any:
        draft.coins = 7
        return result

    return change


def stores(field: str, value: Any) -> Callable[[Player], bool]:
    def change(draft: Player) -> bool:
        setattr(draft, field, value)
        return True

    return change


@pytest.fixture
async def ada(players: Players) -> Document[Player]:
    return await players().load("ada")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (a_coroutine, TransformInvalidError),
        (an_async_generator, TransformInvalidError),
        (gives(1), TransformInvalidError),
        (gives(0), TransformInvalidError),
        (gives(None), TransformInvalidError),
        (gives("yes"), TransformInvalidError),
        (gives(Player(coins=7)), TransformInvalidError),
        ("no function", TransformInvalidError),
        (stores("coins", "many"), DocumentInvalidError),
        (stores("coins", float("nan")), RefusedError),
        (stores("items", [1]), DocumentInvalidError),
        (stores("bag", {"rope": float("inf")}), RefusedError),
        (stores("items", [object()]), RefusedError),
        (stores("items", ["x" * (limits.DOCUMENT_BYTES + 1)]), LimitError),
    ],
)
async def test_a_bad_change_is_refused_and_changes_nothing(
    ada: Document[Player], gate: Gate, change: Any, error: type[RefusedError]
) -> None:
    value = ada.value
    with pytest.raises(error):
        await ada.update(change)
    assert ada.value is value
    assert ada.is_saved
    await ada.unload()
    assert not gate.saves


class Reading(msgspec.Struct):
    """A measurement, which may not be a NaN."""

    celsius: float = 0.0


@pytest.mark.parametrize("celsius", [float("nan"), float("inf")])
async def test_a_number_that_is_none_is_refused_and_never_becomes_nothing(
    store: Store, gate: Gate, celsius: float
) -> None:
    readings = Documents(store, "readings", schema=Reading, template=Reading(), autosave=None)
    async with readings.open("roof") as reading:
        with pytest.raises(InvalidError):
            await reading.update_immutable(lambda _: Reading(celsius))
        assert reading.value == Reading()
    assert not gate.saves


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (wait_for_it, TransformInvalidError),
        (lambda _: None, TransformInvalidError),
        (lambda _: True, TransformInvalidError),
        (lambda _: Player(coins="many"), DocumentInvalidError),  # type: ignore[arg-type]
        (lambda _: Badge(), DocumentInvalidError),
    ],
)
async def test_a_bad_new_value_is_refused_and_changes_nothing(
    ada: Document[Player], gate: Gate, change: Any, error: type[RefusedError]
) -> None:
    with pytest.raises(error):
        await ada.update_immutable(change)
    assert ada.value == Player()
    await ada.unload()
    assert not gate.saves


async def test_a_coroutine_is_refused_before_it_is_called(ada: Document[Player]) -> None:
    """A coroutine that nobody awaits would be a warning, which is an error here."""
    with pytest.raises(TransformInvalidError):
        await ada.update(a_coroutine)  # type: ignore[arg-type]
    with pytest.raises(TransformInvalidError):
        await ada.update(lambda draft: a_coroutine(draft))  # type: ignore[arg-type, return-value]  # noqa: PLW0108
    assert ada.value == Player()


async def test_a_change_that_comes_back_to_its_own_document_is_refused(players: Players, gate: Gate) -> None:
    documents = players()
    ada = await documents.load("ada")

    def inner(draft: Player) -> bool:
        draft.coins += 1
        return True

    def by_handle(draft: Player) -> bool:
        return bool(ada.update(inner))

    def by_key(draft: Player) -> bool:
        return bool(documents.update("ada", inner))

    def by_value(draft: Player) -> bool:
        return bool(ada.update_immutable(lambda _: Player(coins=9)))

    def by_edit(draft: Player) -> bool:
        with ada.edit() as other:
            other.coins += 1
        return True

    for change in (by_handle, by_key, by_value, by_edit):
        with pytest.raises(TransformInvalidError):
            await ada.update(change)
        assert ada.value == Player()
    assert await ada.update(inner)
    assert ada.value.coins == 1
    assert not gate.saves


async def test_an_edit_that_breaks_the_schema_is_refused_at_the_end_of_its_block(ada: Document[Player]) -> None:
    with pytest.raises(DocumentInvalidError, match="coins") as caught, ada.edit() as draft:
        draft.coins = "many"  # type: ignore[assignment]
    assert (caught.value.source, caught.value.key) == ("change", "ada")
    assert ada.value == Player()
    assert ada.is_saved


# == Between save and unload


async def test_an_unload_during_a_save_waits_for_it_and_takes_no_change(
    players: Players, gate: Gate, store: Store
) -> None:
    documents = players()
    ada = await documents.load("ada")
    await ada.update(stores("coins", 1))
    gate.shut()
    saving = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    await ada.update(stores("coins", 2))
    unloading = asyncio.create_task(ada.unload())
    await settled(store)
    assert ada.closed
    with pytest.raises(DocumentClosedError):
        await ada.update(stores("coins", 3))
    with pytest.raises(DocumentClosedError):
        await documents.transact(["ada"], bool)
    assert not unloading.done()
    gate.open()
    await saving
    await unloading
    assert gate.most == 1
    assert len(gate.saves) == 2
    assert await documents.peek("ada") == Player(coins=2)
    assert await documents.probe_lease("ada") is None


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)
