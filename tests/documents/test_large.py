"""Large documents: in pieces of one commit, whole or an error, and nothing left behind."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from random import Random
from typing import Annotated, Any

import msgspec
import pytest

from sojourn import limits
from sojourn.documents import Documents, MigrationStep
from sojourn.documents.layout import Place
from sojourn.errors import CorruptError, LimitError, RefusedError, UnavailableError, UnloadFailedError
from sojourn.kernel import Delete, Key, Put, Reads, Record, Store, Transaction, Write, chunks, ids
from sojourn.kernel.codec import CHUNKED
from tests.documents.conftest import HastyClock, Holders, Player, Players, pass_time, records
from tests.documents.trading import Gate

TEN_MB = 10_000_000
CHUNKED_SIZE = 3 * limits.CHUNK_BYTES


class Book(msgspec.Struct):
    """One long text."""

    text: str = ""


class Long(msgspec.Struct):
    """A text that is not a short one."""

    text: Annotated[str, msgspec.Meta(min_length=10)]


@pytest.fixture
def books(store: Store) -> Documents[Book]:
    return books_of(store)


def books_of(store: Store, history: int = 2) -> Documents[Book]:
    return Documents(store, "books", schema=Book, template=Book(), autosave=None, history=history)


def text(size: int, seed: int = 1) -> str:
    """Text that no compression makes much smaller."""
    return Random(seed).randbytes(size // 2 + 1).hex()[:size]  # noqa: S311  it must be repeatable


async def write(books: Documents[Book], key: str, text: str) -> None:
    async with books.open(key) as book:
        with book.edit() as draft:
            draft.text = text


async def pieces(store: Store, key: str) -> tuple[Record, ...]:
    """The pieces of the document itself."""
    (found,) = (await store.read(Reads(spans=(Place("books", key, key).pieces,)))).records.spans
    return found


async def head(store: Store, key: str) -> Record:
    (found,) = (await store.read(Reads((Place("books", key, key).document,)))).records.keys
    assert found is not None
    return found


async def while_time_passes(clock: HastyClock, store: Store, work: Coroutine[Any, Any, None]) -> None:
    """Do work that may have to wait for a pause in the background to be over."""
    working = asyncio.create_task(work)
    while not working.done():
        await pass_time(store, clock, timedelta(seconds=2))
    await working


@pytest.mark.row("D-FI4", "D-FI10")
async def test_a_small_document_is_one_record(store: Store, books: Documents[Book]) -> None:
    await write(books, "short", "once upon a time")
    assert [record.key.space for record in await records(store, "short", "books")] == [
        "document.books",
        "document.books.past",
    ]
    assert b"once upon a time" in (await head(store, "short")).value
    assert (await books.load("short")).value == Book("once upon a time")


@pytest.mark.row("D-FI6")
async def test_an_empty_document_is_one_record_and_comes_back_empty(store: Store) -> None:
    notes = Documents[dict[str, str]](store, "books", schema=lambda _: True, template={}, history=0)
    async with notes.open("empty") as note:
        await note.update_immutable(lambda _: {"word": "x"})
        await note.save()
        await note.update_immutable(lambda _: {})
    assert len(await records(store, "empty", "books")) == 1
    async with notes.open("empty") as note:
        assert note.value == {}


@pytest.mark.row("D-FI5")
async def test_a_document_of_exactly_the_size_of_a_piece_is_one_record(store: Store, books: Documents[Book]) -> None:
    """Compression hits no size exactly, so what is stored is looked at around it, and the very edge by itself."""
    key = Key("document.books", "edge", "edge")
    for size, expected in ((limits.CHUNK_BYTES, 0), (limits.CHUNK_BYTES + 1, 2)):
        writes = chunks.put(key, b"j" + b"x" * (size - 1), replaces=None)
        assert len(writes) == 1 + expected
    sizes = set[bool]()
    # From well below the edge: how well this is compressed differs between builds of Zstandard by a percent or two.
    for size in range(2 * limits.CHUNK_BYTES - 60_000, 2 * limits.CHUNK_BYTES + 5_000, 13_000):
        await write(books, "edge", text(size, seed=size))
        stored, parts = await head(store, "edge"), await pieces(store, "edge")
        assert len(stored.value) <= limits.CHUNK_BYTES
        assert bool(parts) == (stored.value[:1] == CHUNKED)
        assert not parts or sum(len(part.value) for part in parts) > limits.CHUNK_BYTES
        sizes.add(bool(parts))
        assert await books.peek("edge") == Book(text(size, seed=size))
    assert sizes == {False, True}


@pytest.mark.row("D-FI7", "D-FI11")
async def test_a_large_document_is_kept_in_pieces_that_are_together_what_was_saved(
    store: Store, books: Documents[Book]
) -> None:
    await write(books, "long", text(TEN_MB))
    found = await pieces(store, "long")
    assert len(found) > TEN_MB // 2 // limits.CHUNK_BYTES
    assert chunks.join(await head(store, "long"), found)
    assert await books.peek("long") == Book(text(TEN_MB))
    other = books_of(store)
    async with other.open("long") as book:
        assert book.value.text == text(TEN_MB)
        with book.edit() as draft:
            draft.text += "!"
    async with books.open("long") as book:
        assert book.value.text == text(TEN_MB) + "!"
        assert book.info.bytes > TEN_MB


@pytest.mark.row("D-FI9")
async def test_a_large_document_is_listed_with_its_subjects(store: Store, books: Documents[Book]) -> None:
    async with books.open("long") as book:
        with book.edit() as draft:
            draft.text = text(CHUNKED_SIZE)
    book = await books.load("long", subjects=["ada"])
    await book.unload()
    assert [(info.key, info.bytes > CHUNKED_SIZE) async for info in books.list_for("ada")] == [("long", True)]
    assert [info.subjects async for info in books.list()] == [("ada",)]


@pytest.mark.row("D-FI14")
async def test_text_of_many_languages_survives_cuts_between_its_bytes(store: Store, books: Documents[Book]) -> None:
    alphabet = "aéßก한中🜚𐍈"
    random = Random(4)  # noqa: S311  it must be repeatable
    long = "".join(random.choices(alphabet, k=1_200_000))
    await write(books, "babel", long)
    assert len(await pieces(store, "babel")) > 1
    assert await books.peek("babel") == Book(long)


@pytest.mark.row("D-FC4", "D-N16")
async def test_what_a_document_was_before_leaves_no_piece_behind(store: Store) -> None:
    books = books_of(store, history=0)
    for size in (5 * limits.CHUNK_BYTES, 9 * limits.CHUNK_BYTES, 3 * limits.CHUNK_BYTES, 10, CHUNKED_SIZE, 0):
        await write(books, "long", text(size, seed=size))
        found = await pieces(store, "long")
        assert len(await records(store, "long", "books")) == 1 + len(found)
        assert await books.peek("long") == Book(text(size, seed=size))
        assert bool(found) == (size > 2 * limits.CHUNK_BYTES)
    assert not await pieces(store, "long")


@pytest.mark.row("D-FC4", "D-N16")
async def test_what_its_history_forgets_leaves_no_piece_behind(store: Store) -> None:
    books = books_of(store, history=2)
    for number in range(4):
        await write(books, "long", text(CHUNKED_SIZE, seed=number))
    kept = [version async for version in books.history("long")]
    assert len(kept) == 2
    for number, version in zip((3, 2), kept, strict=True):
        assert await books.read("long", revision=version.revision) == Book(text(CHUNKED_SIZE, seed=number))
    large = len(await records(store, "long", "books"))
    for _ in range(2):
        await write(books, "long", text(CHUNKED_SIZE, seed=9 + _))
    assert len(await records(store, "long", "books")) == large
    for number in range(3):
        await write(books, "long", str(number))
    assert len(await records(store, "long", "books")) == 3


@pytest.mark.row("D-N16")
async def test_erasing_a_large_document_leaves_a_tombstone_and_nothing_else(
    store: Store, books: Documents[Book]
) -> None:
    await write(books, "longer", "a neighbour")
    for number in range(3):
        await write(books, "long", text(CHUNKED_SIZE, seed=number))
    neighbour = await records(store, "longer", "books")
    assert await books.erase("long")
    (tombstone,) = await records(store, "long", "books")
    assert b"0123" not in tombstone.value
    assert len(tombstone.value) < 1_000
    assert await books.peek("long") is None
    assert await records(store, "longer", "books") == neighbour


@pytest.mark.row("D-N16")
@pytest.mark.parametrize("arrives", [False, True], ids=["lost on its way", "answer lost"])
async def test_a_holder_killed_while_it_saves_a_large_document_leaves_the_old_or_the_new_whole(
    store: Store, holder: Holders, clock: HastyClock, *, arrives: bool
) -> None:
    old, new = Player(items=[text(CHUNKED_SIZE)]), Player(items=[text(2 * CHUNKED_SIZE, seed=2)])
    killed = await holder(history=0)
    player = await killed.players.load("ada")
    await player.update_immutable(lambda _: old)
    await player.save()
    before = len(await records(store, "ada"))
    await player.update_immutable(lambda _: new)
    killed.wire.break_after(0, arrives=arrives)
    saving = asyncio.create_task(player.save())
    await killed.wire.broken.wait()
    saving.cancel()
    async with clock.rushing():
        await killed.crash()
    clock.advance(limits.DOCUMENT_LEASE)
    heir = await holder(history=0)
    async with heir.players.open("ada") as player:
        assert player.value == (new if arrives else old)
        left = len(await records(store, "ada"))
        assert left > before if arrives else left == before
        await player.update_immutable(lambda _: Player())
    assert len(await records(store, "ada")) == 1


@pytest.mark.row("D-FI13")
@pytest.mark.parametrize("damage", ["missing", "cut short", "changed", "no header", "no envelope"])
async def test_a_damaged_document_is_an_error_and_never_a_shorter_value(
    store: Store, books: Documents[Book], damage: str
) -> None:
    await write(books, "long", text(4 * limits.CHUNK_BYTES))
    document, parts = await head(store, "long"), await pieces(store, "long")
    wrong: dict[str, Write] = {
        "missing": Delete(parts[0].key),
        "cut short": Put(parts[-1].key, parts[-1].value[:-1]),
        "changed": Put(parts[0].key, b"?" + parts[0].value[1:]),
        "no header": Put(document.key, CHUNKED + b"{"),
        "no envelope": Put(document.key, b'j{"facts":{}}'),
    }
    await store.commit(Transaction(ids.new(), writes=(wrong[damage],)))
    for look in (books.load, books.peek, books_of(store).load):
        with pytest.raises(CorruptError):
            await look("long")
    assert await books.probe_lease("long") is None
    after = [record for record in await records(store, "long", "books") if record.key.space == "document.books"]
    assert len(after) == 1 + len(parts) - (damage == "missing")


@pytest.mark.row("D-FI12", "D-TX-R3")
async def test_a_reader_is_told_when_the_store_is_away(store: Store, holder: Holders, clock: HastyClock) -> None:
    here = await holder()
    async with here.players.open("ada") as player:
        await player.update_immutable(lambda _: Player(items=[text(CHUNKED_SIZE)]))
    here.wire.cut()
    with clock.hasty():
        for look in (here.players.load, here.players.peek):
            with pytest.raises(UnavailableError):
                await look("ada")
    here.wire.resume()
    assert await here.players.probe_lease("ada") is None
    async with here.players.open("ada") as player:
        assert player.value.items == [text(CHUNKED_SIZE)]


@pytest.mark.row("D-FI8", "D-FC1")
async def test_a_save_that_fails_while_unloading_leaves_no_piece_and_the_document_loaded(
    store: Store, holder: Holders, clock: HastyClock
) -> None:
    here = await holder(lease=limits.TTL_MAX)
    player = await here.players.load("ada")
    await player.update_immutable(lambda _: Player(coins=7))
    await player.save()
    before = await records(store, "ada")
    await player.update_immutable(lambda _: Player(items=[text(CHUNKED_SIZE)]))
    here.wire.cut()
    with clock.hasty(60), pytest.raises(UnavailableError):
        await player.unload()
    assert await records(store, "ada") == before
    assert not player.closed
    assert not player.is_saved
    assert player.value.items
    here.wire.resume()
    await while_time_passes(clock, store, player.unload())
    assert (await here.players.load("ada")).value.items == [text(CHUNKED_SIZE)]


@pytest.mark.row("D-FC2")
async def test_three_saves_that_fail_at_once_are_three_errors_and_no_pieces(
    store: Store, holder: Holders, clock: HastyClock
) -> None:
    here = await holder(lease=limits.TTL_MAX)
    keys = ("ada", "bo", "eve")
    for key in keys:
        player = await here.players.load(key)
        await player.update_immutable(lambda _: Player(items=[text(CHUNKED_SIZE)]))
    here.wire.cut()
    with clock.hasty(60), pytest.raises(UnloadFailedError) as caught:
        await here.players.close()
    assert sorted(caught.value.failed) == list(keys)
    assert all(isinstance(error, UnavailableError) for error in caught.value.failed.values())
    for key in keys:
        assert not await records(store, key)
    here.wire.resume()
    await while_time_passes(clock, store, here.players.close())
    for key in keys:
        assert await records(store, key)
        assert await here.players.probe_lease(key) is None


@pytest.mark.row("D-RT1")
async def test_a_store_that_is_away_twice_is_asked_three_times_and_has_the_value_once(
    store: Store, holder: Holders, clock: HastyClock
) -> None:
    here = await holder(lease=limits.TTL_MAX)
    player = await here.players.load("ada")
    await player.update_immutable(lambda _: Player(coins=7))
    here.wire.refusals = 2
    here.wire.clear()
    with clock.hasty():
        await player.save()
    assert len(here.wire.sent) == 3
    assert player.is_saved
    assert await here.players.peek("ada") == Player(coins=7)
    assert len([version async for version in here.players.history("ada")]) == 1


@pytest.mark.row("D-RT2")
async def test_a_store_that_stays_away_ends_a_save_after_a_number_of_attempts(
    store: Store, holder: Holders, clock: HastyClock
) -> None:
    here = await holder(lease=limits.TTL_MAX)
    player = await here.players.load("ada")
    await player.update_immutable(lambda _: Player(coins=7))
    here.wire.cut()
    here.wire.clear()
    with clock.hasty(), pytest.raises(UnavailableError):
        await player.save()
    assert len(here.wire.sent) == limits.SAVE_ATTEMPTS
    assert not player.is_saved
    assert not player.closed
    here.wire.resume()
    await player.save()
    assert await here.players.peek("ada") == Player(coins=7)


@pytest.mark.row("D-RT3")
async def test_a_save_that_was_refused_is_not_repeated(store: Store, players: Players, clock: HastyClock) -> None:
    """The store says that it can never be applied."""
    player = await players(lease=limits.TTL_MAX).load("ada")
    await player.update_immutable(lambda _: Player(coins=7))
    asked = 0

    async def refuse(transaction: Transaction) -> None:
        nonlocal asked
        asked += 1
        raise RefusedError("the engine refused the transaction: no room")

    submit, store.submit = store.submit, refuse  # type: ignore[assignment, method-assign]
    with pytest.raises(RefusedError, match="no room"):
        await player.save()
    store.submit = submit  # type: ignore[method-assign]
    assert asked == 1
    assert not player.is_saved
    await player.save()


async def test_a_value_beyond_the_limit_is_refused_before_it_is_in_memory(
    store: Store, books: Documents[Book], gate: Gate
) -> None:
    book = await books.load("long")

    def grow(draft: Book) -> bool:
        draft.text = "x" * (limits.DOCUMENT_BYTES + 1)
        return True

    with pytest.raises(LimitError):
        await book.update(grow)
    assert book.value == Book()
    assert book.is_saved
    await book.unload()
    assert not gate.saves


@pytest.mark.parametrize("way", ["import", "migration", "repair"])
async def test_a_load_that_would_make_it_larger_than_the_limit_is_refused_and_holds_nothing(
    store: Store, books: Documents[Book], way: str
) -> None:
    """It could never be saved, nor unloaded."""
    await write(books, "long", "short")
    too_long = {"text": "x" * limits.DOCUMENT_BYTES}
    ways: dict[str, dict[str, Any]] = {
        "import": {"import_legacy": lambda _: too_long},
        "migration": {"migrations": [MigrationStep.transform("longer", lambda _: too_long)]},
        "repair": {"schema": Long, "template": Long("y" * 10), "repair": lambda *_: too_long},
    }
    key = "new" if way == "import" else "long"
    before = await records(store, key, "books")
    documents = Documents(store, "books", **{"schema": Book, "template": Book(), **ways[way]})
    with pytest.raises(LimitError, match="document"):
        await documents.load(key)
    assert await documents.probe_lease(key) is None
    assert await records(store, key, "books") == before
    await documents.close()


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)
