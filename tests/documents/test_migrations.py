"""Stored data of another time: brought up to date step by step, kept where it is unknown, and shown as it would be."""

from typing import Any

import msgspec
import pytest

from sojourn import limits
from sojourn.documents import Documents, MigrationStep
from sojourn.errors import IncompatibleError, InvalidError
from sojourn.kernel import Store
from tests.documents.conftest import Player, Players
from tests.documents.trading import Gate, earn


class Shielded(msgspec.Struct):
    """A player of a newer release."""

    coins: int = 0
    shield: int = 0
    bag: dict[str, int] = {}


class Animal(msgspec.Struct):
    """What the older release knows of one."""

    age: int = 0


class MoodyAnimal(Animal):
    """What the newer one knows."""

    mood: int = 0


SHIELD = MigrationStep.add_fields("shield", {"shield": 5})
DOUBLE = MigrationStep.transform("double", lambda plain: plain | {"coins": plain["coins"] * 2})
PLUS_ONE = MigrationStep.transform("plus one", lambda plain: plain | {"coins": plain["coins"] + 1})


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)


def shielded(store: Store, *migrations: MigrationStep) -> Documents[Shielded]:
    return Documents(store, "players", schema=Shielded, template=Shielded(), migrations=migrations, autosave=None)


async def keep(documents: Documents[Player], coins: int) -> None:
    """Store a player with so many coins."""
    async with documents.open("ada") as player:
        await player.update(earn(coins))


def noting(ran: list[str], name: str) -> MigrationStep:
    def apply(plain: Any) -> Any:
        ran.append(name)
        return plain

    return MigrationStep.transform(name, apply)


@pytest.mark.row("D-N14")
async def test_pending_steps_run_in_order_and_once(players: Players) -> None:
    await keep(players(), 3)
    documents = players(migrations=[DOUBLE, PLUS_ONE])
    for migrated in (True, False):
        async with documents.open("ada") as player:
            assert player.value.coins == 7
            assert player.is_saved is not migrated
    assert [info.migrations async for info in documents.list()] == [("double", "plus one")]


@pytest.mark.row("D-N14")
async def test_a_step_that_came_later_runs_alone(players: Players) -> None:
    ran: list[str] = []
    await keep(players(migrations=[noting(ran, "first")]), 3)
    await keep(players(migrations=[noting(ran, "new"), noting(ran, "first"), noting(ran, "last")]), 3)
    assert ran == ["new", "last"]


@pytest.mark.row("D-N14")
async def test_a_load_that_migrated_is_written_by_the_next_save_and_not_before(players: Players, gate: Gate) -> None:
    await keep(players(), 3)
    gate.saves.clear()
    documents = players(migrations=[DOUBLE])
    player = await documents.load("ada")
    assert not player.is_saved
    assert player.last_saved is None or player.last_saved.coins == 3
    assert not gate.saves
    await player.unload()
    assert len(gate.saves) == 1
    await (await documents.load("ada")).unload()
    assert len(gate.saves) == 1


@pytest.mark.row("D-N14")
async def test_a_new_document_is_born_up_to_date(players: Players) -> None:
    ran: list[str] = []
    documents = players(migrations=[noting(ran, "first"), noting(ran, "second")])
    for _ in range(2):
        await keep(documents, 1)
    assert not ran
    async with documents.open("ada") as player:
        assert player.info.migrations == ("first", "second")


@pytest.mark.row("D-N14")
async def test_old_data_from_elsewhere_goes_through_every_step(players: Players) -> None:
    documents = players(migrations=[DOUBLE, PLUS_ONE], import_legacy=lambda _: {"coins": 10})
    for saved in (False, True):
        async with documents.open("ada") as player:
            assert player.value.coins == 21
            assert player.is_saved == saved


@pytest.mark.row("D-N14")
async def test_a_step_cannot_spoil_what_it_was_given(players: Players) -> None:
    """Each gets a copy of its own, so one that fails after writing into it has changed nothing."""
    kept: list[Any] = []

    def hoarding(plain: Any) -> Any:
        kept.append(plain)
        return plain

    await keep(players(), 3)
    documents = players(migrations=[MigrationStep.transform("hoarding", hoarding)])
    player = await documents.load("ada")
    kept[0]["coins"] = 1_000_000
    kept[0]["items"].append("forged")
    assert player.value == Player(coins=3)


@pytest.mark.row("D-N14")
async def test_an_older_program_keeps_what_a_newer_one_added(store: Store, players: Players) -> None:
    newer = shielded(store, SHIELD)
    async with newer.open("ada") as player:
        with player.edit() as draft:
            draft.coins, draft.shield = 1, 9
    await keep(players(), 4)
    async with players().open("ada") as old:
        assert old.value.coins == 5
        assert old.info.migrations == ("shield",)
    async with newer.open("ada") as player:
        assert player.value == Shielded(coins=5, shield=9)
        assert player.is_saved


@pytest.mark.row("D-N14")
async def test_what_an_older_program_removed_and_saved_takes_what_it_did_not_know_along(store: Store) -> None:
    """Something sold does not come back with the next thing of its name."""

    def zoo(animal: type[Any], *migrations: MigrationStep) -> Documents[dict[str, Any]]:
        schema: Any = dict.__class_getitem__((str, animal))
        return Documents(store, "zoos", schema=schema, template={}, migrations=migrations, autosave=None)

    newer, older = zoo(MoodyAnimal, MigrationStep.add_fields("moods", {})), zoo(Animal)
    async with newer.open("ada") as stored:
        await stored.update_immutable(lambda _: {"rex": MoodyAnimal(3, 9), "tom": MoodyAnimal(4, 8)})
    async with older.open("ada") as held:
        await held.update(lambda draft: bool(draft.pop("rex")))
        await held.save()
        with held.edit() as draft:
            draft["rex"] = Animal(1)
    assert await newer.peek("ada") == {"rex": MoodyAnimal(1), "tom": MoodyAnimal(4, 8)}


@pytest.mark.row("D-N14")
async def test_an_older_program_does_not_open_the_door_for_a_still_older_one(store: Store, players: Players) -> None:
    """The floor is the highest that was ever stored, not that of the last program that saved."""
    async with shielded(store, DOUBLE, SHIELD).open("ada") as player:
        await player.update_immutable(lambda _: Shielded(coins=1))
    await keep(players(migrations=[DOUBLE]), 1)
    with pytest.raises(IncompatibleError, match="double"):
        await players().load("ada")


@pytest.mark.row("D-N15")
async def test_peeking_at_an_old_form_shows_it_migrated_and_writes_nothing(players: Players, gate: Gate) -> None:
    await keep(players(), 3)
    gate.saves.clear()
    documents = players(migrations=[DOUBLE, PLUS_ONE])
    assert await documents.peek("ada") == Player(coins=7)
    (version,) = (await documents.history("ada")).items
    assert await documents.read("ada", revision=version.revision) == Player(coins=7)
    assert await documents.peek("nobody") is None
    assert not gate.saves
    assert await players().peek("ada") == Player(coins=3)


@pytest.mark.row("D-N15")
async def test_a_revision_of_an_old_form_is_migrated_when_it_is_the_present_one_again(players: Players) -> None:
    await keep(players(), 3)
    documents = players(migrations=[DOUBLE])
    await keep(documents, 1)
    versions = (await documents.history("ada")).items
    assert [(await documents.read("ada", revision=version.revision)).coins for version in versions] == [7, 6]
    await documents.rollback("ada", revision=versions[-1].revision)
    async with documents.open("ada") as player:
        assert player.value.coins == 6
    async with documents.open("ada") as player:
        assert player.value.coins == 6


@pytest.mark.row("D-N15")
async def test_what_a_stored_value_lacks_of_the_template_is_added_where_that_was_asked_for(
    store: Store, players: Players
) -> None:
    await keep(players(), 3)
    plain = Documents[dict[str, Any]](
        store, "players", schema=lambda _: True, template={"coins": 0, "pet": {"age": 1}}, fill=True, autosave=None
    )
    async with plain.open("ada") as player:
        assert player.value["coins"] == 3
        assert player.value["pet"] == {"age": 1, "name": "Rex", "tricks": []}


Plain = dict[str, Any]


def plain_documents(store: Store) -> Documents[Plain]:
    return Documents[Plain](store, "plain", schema=lambda _: True, template={}, autosave=None)


@pytest.mark.row("D-N19")
@pytest.mark.parametrize(
    "value",
    [
        {"-": 1, "1": 2, "": 3, "~0": 4, "a/b": 5, "ключ 🜚": "значение"},
        {"list": [], "dict": {}, "text": "", "none": None},
        {"great": 2**53 + 1, "greater": 2**63 - 1, "least": -(2**63), "beyond": 2**64, "below": -(2**64)},
        {"1": {"1": [{"1": []}]}},
        {"text": "\x00\x01\u2028\U0010ffff"},
        {"true": True, "one": 1, "float": 1.0, "tiny": 5e-324},
    ],
)
async def test_plain_data_comes_back_as_it_was(store: Store, value: Plain) -> None:
    async with plain_documents(store).open("odd") as document:
        await document.update_immutable(lambda _: value)
    found = await plain_documents(store).peek("odd")
    assert found == value
    assert repr(found) == repr(value)


@pytest.mark.row("D-N19")
@pytest.mark.parametrize(
    ("old", "new"), [([], {}), ({}, []), (1, True), (1, 1.0), (0.0, False), ("", None), ({}, None)]
)
async def test_a_change_between_values_that_are_nearly_the_same_is_a_change(
    store: Store, old: object, new: object
) -> None:
    documents = plain_documents(store)
    for value in (old, new):
        async with documents.open("odd") as document:
            await document.update_immutable(lambda _, value=value: {"at": value})  # type: ignore[misc]
    found = await plain_documents(store).peek("odd")
    assert repr(found) == repr({"at": new})


@pytest.mark.row("D-N19")
@pytest.mark.parametrize(
    "value",
    [b"bytes", bytearray(b"x"), float("nan"), float("-inf"), {1: "one"}, (1, 2), {1, 2}, 1j, "\ud800"],
    ids=repr,
)
async def test_what_has_no_form_of_its_own_in_json_is_refused_and_never_quietly_changed(
    store: Store, gate: Gate, value: object
) -> None:
    documents = plain_documents(store)
    async with documents.open("odd") as document:
        with pytest.raises(InvalidError):
            await document.update_immutable(lambda _: {"deep": [value]})

        def write(draft: Plain) -> bool:
            draft["at"] = value
            return True

        with pytest.raises(InvalidError):
            await document.update(write)
        assert document.value == {}
    assert not gate.saves


@pytest.mark.row("D-N19")
async def test_data_nested_without_end_is_refused(store: Store) -> None:
    def nested(levels: int) -> Plain:
        value: Plain = {}
        for _ in range(levels):
            value = {"in": value}
        return value

    async with plain_documents(store).open("odd") as document:
        with pytest.raises(InvalidError):
            await document.update_immutable(lambda _: nested(100_000))
        assert await document.update_immutable(lambda _: nested(limits.JSON_DEPTH // 2))
