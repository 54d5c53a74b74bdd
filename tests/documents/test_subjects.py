"""Whom documents belong to: said at a load, kept with the document, listed by subject, verified when listed."""

import asyncio
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.documents import Document, Documents
from sojourn.documents.layout import Spaces
from sojourn.errors import InvalidError, LeaseHeldError, LimitError
from sojourn.kernel import Put, Reads, Store, Transaction, Write
from tests.documents.conftest import HastyClock, Holders, Player, Players, insist, players_over, until
from tests.documents.trading import Gate, earn, together


async def of(documents: Documents[Player], subject: str) -> list[str]:
    """The keys of a subject's documents."""
    return [info.key async for info in documents.list_for(subject)]


def _is_mark(write: Write) -> bool:
    return isinstance(write, Put) and write.key.space == Spaces("players").subject("guild", "ada").space


@pytest.mark.row("D-FI9")
async def test_a_document_is_listed_for_its_subjects_once_it_is_stored(players: Players) -> None:
    here = players()
    ada = await here.load("ada", subjects=["family", "guild", "guild"])
    assert not ada.is_saved, "to whom it belongs is to be stored too"
    assert await of(here, "family") == [], "it is not stored yet"
    await ada.save()
    assert ada.info.subjects == ("family", "guild")
    assert await of(here, "family") == await of(here, "guild") == ["ada"]
    assert await of(here, "nobody") == []


async def test_they_stay_when_it_is_loaded_without_them_and_more_are_added(players: Players) -> None:
    here = players()
    async with here.open("ada", subjects=["family"]):
        pass
    async with here.open("ada") as ada:
        assert ada.info.subjects == ("family",)
        assert ada.is_saved
        await ada.update(earn(1))
    async with here.open("ada", subjects=["guild", "family"]) as ada:
        assert not ada.is_saved
    (info,) = (await here.list_for("guild")).items
    assert info.subjects == ("family", "guild")
    assert await of(here, "family") == ["ada"]


async def test_naming_those_it_has_already_changes_nothing(players: Players, holder: Holders) -> None:
    async with players().open("ada", subjects=["family"]):
        pass
    first = await holder()
    async with first.players.open("ada", subjects=["family"]) as ada:
        assert ada.is_saved
    assert first.wire.saves == []


async def test_what_is_loaded_already_gets_them_too(players: Players) -> None:
    here = players()
    ada = await here.load("ada", subjects=["family"])
    await ada.save()
    assert await here.load("ada", subjects=["guild"]) is ada
    await ada.save()
    assert await of(here, "guild") == ["ada"]
    assert ada.info.subjects == ("family", "guild")


async def test_one_said_while_a_transaction_is_committed_is_stored_by_the_next_save(
    players: Players, store: Store
) -> None:
    gate = Gate(store)
    here = players()
    ada = await here.load("ada")
    gate.shut()
    trading = asyncio.create_task(here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"])))
    await gate.arrived.wait()
    assert await here.load("ada", subjects=["guild"]) is ada
    gate.open()
    assert await trading
    assert not ada.is_saved
    await ada.unload()
    assert await of(here, "guild") == ["ada"]


async def test_what_is_unloaded_while_one_is_said_of_it_is_loaded_anew(players: Players, store: Store) -> None:
    gate = Gate(store, lambda transaction: any(_is_mark(write) for write in transaction.writes))
    here = players()
    ada = await here.load("ada")
    await ada.update(earn(1))
    gate.shut()
    loading = asyncio.create_task(here.load("ada", subjects=["guild"]))
    await gate.arrived.wait()
    await ada.unload()
    gate.open()
    again = await loading
    assert not again.closed
    assert again.value == Player(coins=1)
    await again.unload()
    assert await of(here, "guild") == ["ada"]


async def test_transactions_messages_and_rollbacks_keep_them(players: Players, store: Store) -> None:
    here = players(partition=together, on_message=lambda draft, message: earn(message.body)(draft))
    async with here.open("ada", subjects=["family"]) as ada:
        await ada.save()
        revision = ada.info.revision
        assert revision is not None
        await here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]))
        await store.run(lambda tx: here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]), tx=tx))
        await here.send("ada", 1)
        await until(lambda: ada.value.coins == 3)
    await here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]))
    await store.run(lambda tx: here.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]), tx=tx))
    assert await of(here, "family") == ["ada"]
    await here.rollback("ada", revision=revision)
    assert await of(here, "family") == ["ada"]
    async with here.open("ada") as ada:
        assert ada.info.subjects == ("family",)
        assert ada.value.coins == 0


async def test_they_are_listed_by_key_in_pages_wherever_they_are_kept(players: Players) -> None:
    here = players(partition=lambda key: f"room {int(key) % 3}")
    for number in range(7):
        async with here.open(str(number), subjects=["guild"]) as player:
            await player.update(earn(number))
    page = await here.list_for("guild", limit=3)
    assert [info.key for info in page.items] == ["0", "1", "2"]
    assert page.next is not None
    rest = [info.key async for info in here.list_for("guild", limit=3, after=page.next)]
    assert rest == ["3", "4", "5", "6"]
    assert {info.partition for info in page.items} == {"room 0", "room 1", "room 2"}


async def test_a_mark_without_its_document_counts_for_nothing(players: Players, store: Store) -> None:
    """A holder that crashed between the mark and its first save leaves one behind."""
    here = players()
    async with here.open("bo", subjects=["family"]):
        pass
    spaces = Spaces("players")
    marks = (Put(spaces.subject("guild", "ghost"), b"ghost"), Put(spaces.subject("guild", "bo"), b"bo"))
    for mark in marks:
        await store.commit(Transaction(writes=(mark,)))
    assert await of(here, "guild") == []
    assert await of(here, "family") == ["bo"]


async def test_a_crash_before_the_first_save_leaves_it_unlisted_and_the_next_load_says_so_again(
    players: Players, holder: Holders, clock: HastyClock
) -> None:
    first = await holder(lease=timedelta(seconds=2))
    await first.players.load("ada", subjects=["family"])
    await first.crash()
    clock.advance(timedelta(seconds=2))
    here = players()
    assert await of(here, "family") == []
    async with here.open("ada", subjects=["family"]):
        pass
    assert await of(here, "family") == ["ada"]


async def test_an_erased_document_belongs_to_nobody_and_leaves_no_mark(players: Players, store: Store) -> None:
    here = players()
    async with here.open("ada", subjects=["family", "guild"]):
        pass
    assert await here.erase("ada")
    assert await of(here, "family") == []
    spaces = Spaces("players")
    keys = tuple(spaces.subject(subject, "ada") for subject in ("family", "guild"))
    assert (await store.read(Reads(keys))).records.keys == (None, None)
    async with here.open("ada", subjects=["guild"]) as ada:
        assert ada.info.subjects in {(), ("guild",)}
    assert await of(here, "family") == []
    assert await of(here, "guild") == ["ada"]


async def test_two_names_of_documents_have_subjects_of_their_own(players: Players, store: Store) -> None:
    here = players()
    boards = Documents(store, "boards", schema=Player, template=Player())
    async with here.open("ada", subjects=["family"]), boards.open("kitchen", subjects=["family"]):
        pass
    assert await of(here, "family") == ["ada"]
    assert await of(boards, "family") == ["kitchen"]


async def test_they_are_there_and_once_under_lost_answers(faulty_store: Store, clock: HastyClock) -> None:
    documents = players_over(faulty_store)
    keys = [f"player {number:02}" for number in range(15)]
    for key in keys:
        player = await load(documents, key, clock)
        await player.update(earn(1))
        await insist(player.unload)

    async def family() -> list[str]:
        return await of(documents, "family")

    assert await insist(family) == keys


async def load(documents: Documents[Player], key: str, clock: HastyClock) -> Document[Player]:
    """Load, also after a load whose lease was granted and whose answer was lost: that lease ends."""
    while True:
        try:
            return await insist(lambda: documents.load(key, subjects=["family", key], wait=0))
        except LeaseHeldError:
            clock.advance(timedelta(seconds=10))


@pytest.mark.parametrize(
    "subjects",
    ["family", [""], ["line\nbreak"], ["\x01"], [7], [None]],
    ids=["text", "empty", "break", "u1", "7", "None"],
)
async def test_subjects_out_of_form_are_refused_and_the_document_is_not_held(
    players: Players, subjects: list[str]
) -> None:
    here = players()
    with pytest.raises(InvalidError, match="subjects"):
        await here.load("ada", subjects=subjects)
    assert await here.probe_lease("ada") is None


async def test_too_many_or_too_long_ones_are_refused_also_over_several_loads(players: Players) -> None:
    here = players()
    with pytest.raises(LimitError, match="subjects"):
        await here.load("ada", subjects=["x" * (limits.SUBJECT_CHARS + 1)])
    many = [f"subject {number}" for number in range(limits.DOCUMENT_SUBJECTS + 1)]
    with pytest.raises(LimitError, match="subjects"):
        await here.load("ada", subjects=many)
    assert await here.probe_lease("ada") is None
    async with here.open("ada", subjects=many[:60]):
        pass
    with pytest.raises(LimitError, match="subjects"):
        await here.load("ada", subjects=many[60:])
    assert await here.probe_lease("ada") is None
    async with here.open("ada", subjects=many[60:-1]) as ada:
        await ada.save()
        assert len(ada.info.subjects) == limits.DOCUMENT_SUBJECTS
