"""Documents as they are stored: found, listed, compared, rolled back, erased and exported without their schema."""

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from sojourn import limits
from sojourn.documents import stored
from sojourn.documents.archive import Archive, names
from sojourn.documents.layout import Place, Spaces, name
from sojourn.documents.model import Cause, Info, Version
from sojourn.documents.stored import Envelope, Facts
from sojourn.errors import ConflictError, CorruptError, DocumentUnknownError, InvalidError, LimitError
from sojourn.kernel import (
    Absent,
    Append,
    Attempt,
    Delete,
    DeleteSpan,
    Guard,
    Key,
    Lease,
    Leases,
    Put,
    Reads,
    Record,
    RevisionIs,
    Span,
    Store,
    Transaction,
    ids,
)
from sojourn.kernel.clock import moment
from sojourn.kernel.difference import Difference
from sojourn.testing import ManualClock
from tests.documents.conftest import insist

ADA = Place("players", "ada", "ada")
LARGE = "x" * (limits.DOCUMENT_INLINE_BYTES + 1)
"""Too large for an entry of the history, small enough for one record."""

HUGE = random.Random(1).randbytes(600_000).hex()  # noqa: S311  the same in each run, and no secret
"""Nothing makes it fit into one record."""

SECOND = timedelta(seconds=1)


@pytest.fixture
def archive(store: Store) -> Archive:
    return Archive(store, "players")


def at(key: str) -> Place:
    return Place("players", key, key)


async def save(  # noqa: PLR0913  each is a fact of the document
    store: Store,
    place: Place,
    value: object,
    *,
    history: int = limits.DOCUMENT_HISTORY,
    subjects: Sequence[str] = (),
    applied: tuple[str, ...] = (),
    guards: Sequence[Guard] = (),
) -> int:
    """Save a document as its holder does, and return its revision."""
    for subject in subjects:
        mark = Put(Spaces(place.name).subject(subject, place.key), place.partition.encode())
        await store.commit(Transaction(ids.new(), writes=(mark,)))
    snapshot = await store.read(stored.reads(place))
    (head,) = snapshot.records.keys
    found = stored.decode(snapshot.records)
    before = None if found is None or found.facts.erased else found.facts
    number, first = stored.numbered(before, history)
    facts = Facts(
        ids.new().hex(),
        before.created_at if before else snapshot.now,
        snapshot.now,
        "a holder",
        Cause.UPDATE,
        applied=applied,
        floor=applied,
        subjects=tuple(subjects) or (before.subjects if before else ()),
        number=number,
        first=first,
    )
    envelope = Envelope(facts, msgspec.Raw(msgspec.json.encode(value)))
    guard = Absent(place.document) if head is None else RevisionIs(place.document, head.revision)
    writes = stored.writes(place, envelope, replaces=head, before=before, history=history)
    committed = await store.commit(Transaction(ids.new(), (guard, *guards), writes))
    assert committed.revision is not None
    return committed.revision


async def hold(store: Store, place: Place, holder: str = "another") -> Lease:
    return await Leases(store).acquire(place.lease, holder=holder)


async def kept(store: Store, place: Place) -> list[Record]:
    """Every record that belongs to one document, but for the marks of its subjects."""
    spaces = ("", ".lease", ".past", ".body", ".inbox", ".sent")
    spans = [Span(f"document.{place.name}{space}", place.partition) for space in spaces]
    return [record for span in spans async for record in store.scan(span)]


async def value(archive: Archive, place: Place) -> Any:
    """The value that stands, or None."""
    found = await archive.find(place)
    return None if found is None else json.loads(found[1].text)


async def values(store: Store, archive: Archive, place: Place) -> list[Any]:
    """Every value that the history has, the latest first."""
    return [json.loads((await archive.entry(place, version.revision)).text) async for version in archive.history(place)]


async def keys(listing: Any) -> list[str]:
    return [info.key async for info in listing]


class Crash:
    """Ends a store's way to its engine in the middle of a job: after so many commits the process is gone."""

    def __init__(self, store: Store, commits: int) -> None:
        self.left = commits
        self.store = store
        self._submit = store.submit
        store.submit = self.submit  # type: ignore[method-assign]

    async def submit(self, transaction: Transaction) -> Any:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return await self._submit(transaction)

    def end(self) -> None:
        self.store.submit = self._submit  # type: ignore[method-assign]


async def test_the_names_of_documents_are_known(store: Store) -> None:
    assert await names(store) == ()
    await store.commit(Transaction(ids.new(), writes=tuple(Put(name(of), b"") for of in ("rooms", "players"))))
    assert await names(store) == ("players", "rooms")


async def test_what_was_saved_is_found_and_what_was_not_is_none(store: Store, archive: Archive) -> None:
    assert await archive.find(ADA) is None
    revision = await save(store, ADA, {"coins": 1})
    found = await archive.find(ADA)
    assert found is not None
    assert (found[0].revision, found[1].text, found[1].facts.holder) == (revision, b'{"coins":1}', "a holder")


async def test_documents_are_listed_by_their_last_save_in_pages(
    store: Store, archive: Archive, clock: ManualClock
) -> None:
    for key in ("c", "a", "b", "a"):
        await save(store, at(key), {"key": key})
        clock.advance(SECOND)
    page = await archive.list(limit=2)
    assert [info.key for info in page.items] == ["c", "b"]
    assert [info.key for info in (await archive.list(limit=2, after=page.next)).items] == ["a"]
    assert await keys(archive.list(limit=1)) == ["c", "b", "a"]


@pytest.mark.row("D-FI9")
async def test_a_listing_tells_the_facts_of_small_and_of_large_documents(
    store: Store, archive: Archive, clock: ManualClock
) -> None:
    began = clock.now()
    await save(store, at("large"), {"text": HUGE}, subjects=("u1",), applied=("one",))
    clock.advance(SECOND)
    revision = await save(store, at("small"), {}, subjects=("u1", "u2"))
    large, small = (await archive.list()).items
    assert small == Info("small", revision, moment(clock.now()), moment(clock.now()), (), ("u1", "u2"), 2, "small")
    assert (large.created_at, large.saved_at, large.migrations, large.subjects) == (
        *(moment(began), moment(began)),
        *(("one",), ("u1",)),
    )
    assert large.bytes > limits.VALUE_BYTES
    assert (await archive.list_for("u1")).items == (large, small)
    assert (await archive.list_for("u2")).items == (small,)


async def test_a_subjects_documents_are_listed_by_key_wherever_they_are_kept(store: Store, archive: Archive) -> None:
    for key in ("b", "a", "c"):
        await save(store, Place("players", key, "table"), {}, subjects=("u1",))
    page = await archive.list_for("u1", limit=2)
    assert [info.key for info in page.items] == ["a", "b"]
    assert {info.partition for info in page.items} == {"table"}
    assert await keys(archive.list_for("u1", limit=2, after=page.next)) == ["c"]
    assert await keys(archive.list_for("nobody")) == []


async def test_a_mark_that_the_document_does_not_confirm_counts_for_nothing(store: Store, archive: Archive) -> None:
    await save(store, at("a"), {}, subjects=("u1",))
    for key in ("a", "never-saved"):
        await store.commit(Transaction(writes=(Put(Spaces("players").subject("u2", key), key.encode()),)))
    assert await keys(archive.list_for("u2")) == []


async def test_the_history_has_what_was_saved_the_latest_first(
    store: Store, archive: Archive, clock: ManualClock
) -> None:
    revisions = []
    for coins in range(3):
        revisions.append(await save(store, ADA, {"coins": coins}))
        clock.advance(SECOND)
    await save(store, at("ada2"), {})
    page = await archive.history(ADA, limit=2)
    assert [version.revision for version in page.items] == revisions[:0:-1]
    assert [version.revision async for version in archive.history(ADA, limit=1)] == revisions[::-1]
    latest = page.items[0]
    assert (latest.holder, latest.cause, latest.bytes) == ("a holder", Cause.UPDATE, 11)
    assert latest.saved_at == moment(clock.now()) - SECOND
    assert await values(store, archive, ADA) == [{"coins": 2}, {"coins": 1}, {"coins": 0}]


@pytest.mark.row("D-N16")
async def test_the_history_keeps_so_many_and_their_large_values_and_no_more(store: Store, archive: Archive) -> None:
    for number in range(5):
        await save(store, ADA, {"number": number, "text": LARGE}, history=2)
    assert [each["number"] for each in await values(store, archive, ADA)] == [4, 3]
    assert [record.key.item for record in await kept(store, ADA) if record.key.space.endswith(".body")] == [
        ADA.body(4).item,
        ADA.body(5).item,
    ]


async def test_a_revision_that_is_not_kept_is_an_error(store: Store, archive: Archive) -> None:
    first, *_, last = [await save(store, ADA, {"number": number}, history=2) for number in range(3)]
    for revision in (first, last + 1, 0, -1, -2, 2**64):
        with pytest.raises(DocumentUnknownError, match="no revision"):
            await archive.entry(ADA, revision)
        with pytest.raises(DocumentUnknownError):
            await archive.rollback(ADA, revision, holder="me")
    assert await value(archive, ADA) == {"number": 2}


async def test_two_revisions_are_compared_as_they_were_stored(store: Store, archive: Archive) -> None:
    old = await save(store, ADA, {"coins": 1, "items": ["sword"]})
    new = await save(store, ADA, {"coins": 2, "items": ["sword"]})
    assert await archive.diff(ADA, old, new) == (Difference("/coins", 1, 2),)
    assert await archive.diff(ADA, new, old) == (Difference("/coins", 2, 1),)
    assert await archive.diff(ADA, new, new) == ()
    with pytest.raises(DocumentUnknownError):
        await archive.diff(at("nobody"), old, new)


async def test_a_rollback_makes_a_revision_the_present_one_and_is_in_the_history(
    store: Store, archive: Archive, clock: ManualClock
) -> None:
    first = await save(store, ADA, {"coins": 1}, subjects=("u1",), applied=("one",))
    clock.advance(SECOND)
    await save(store, ADA, {"coins": 2}, subjects=("u1", "u2"), applied=("one", "two"))
    clock.advance(SECOND)
    revision = await archive.rollback(ADA, first, holder="an operator")
    found = await archive.find(ADA)
    assert found is not None
    head, envelope = found
    assert (head.revision, envelope.text) == (revision, b'{"coins":1}')
    assert (envelope.facts.applied, envelope.facts.floor) == (("one",), ("one",))
    assert envelope.facts.subjects == ("u1", "u2")
    assert envelope.facts.created_at == clock.now() - 2_000
    assert envelope.facts.saved_at == head.rank == clock.now()
    assert (await archive.history(ADA)).items[0] == Version(
        head.revision, moment(clock.now()), Cause.ROLLBACK, "an operator", 11
    )
    assert await values(store, archive, ADA) == [{"coins": 1}, {"coins": 2}, {"coins": 1}]


@pytest.mark.parametrize("text", ["small", LARGE, HUGE], ids=["small", "body", "pieces"])
async def test_a_rollback_restores_values_of_every_size_and_leaves_no_piece(
    store: Store, archive: Archive, text: str
) -> None:
    first = await save(store, ADA, {"text": text})
    await save(store, ADA, {"text": "other"})
    await archive.rollback(ADA, first, holder="me")
    assert await value(archive, ADA) == {"text": text}
    await archive.rollback(ADA, (await archive.history(ADA)).items[1].revision, holder="me")
    assert await value(archive, ADA) == {"text": "other"}
    assert [record.key for record in await kept(store, ADA) if record.key.space == "document.players"] == [ADA.document]


async def test_a_rollback_fences_out_who_holds_the_document(store: Store, archive: Archive) -> None:
    first = await save(store, ADA, {"coins": 1})
    lease = await hold(store, ADA)
    await save(store, ADA, {"coins": 2}, guards=(lease.held,))
    assert await Leases(store).ask(ADA.lease, holder="a third")
    await archive.rollback(ADA, first, holder="me")
    with pytest.raises(ConflictError) as caught:
        await save(store, ADA, {"coins": 3}, guards=(lease.held,))
    assert caught.value.guard == lease.held
    await lease.lost.wait()
    assert await Leases(store).probe(ADA.lease) is None
    assert [record for record in await kept(store, ADA) if record.key.space.endswith(".lease")] == []


async def test_a_rollback_keeps_as_many_entries_as_it_is_told(store: Store, archive: Archive) -> None:
    revisions = [await save(store, ADA, {"number": number}, history=3) for number in range(3)]
    await archive.rollback(ADA, revisions[1], holder="me")
    assert [each["number"] for each in await values(store, archive, ADA)] == [1, 2, 1, 0]
    await archive.rollback(ADA, revisions[2], holder="me", history=3)
    assert [each["number"] for each in await values(store, archive, ADA)] == [2, 1, 2]
    await save(store, ADA, {"number": 9}, history=3)
    assert [each["number"] for each in await values(store, archive, ADA)] == [9, 2, 1]


async def test_a_rollback_can_be_part_of_a_transaction(store: Store, archive: Archive) -> None:
    first = await save(store, ADA, {"coins": 1})
    await save(store, ADA, {"coins": 2})
    note = Key("note", ADA.partition, "")

    async def abandoned(tx: Attempt) -> None:
        assert await archive.rollback(ADA, first, holder="me", tx=tx) is None
        raise InvalidError("test", "changed its mind")

    async def both(tx: Attempt) -> None:
        await archive.rollback(ADA, first, holder="me", tx=tx)
        tx.put(note, b"done")

    with pytest.raises(InvalidError):
        await store.run(abandoned)
    assert await value(archive, ADA) == {"coins": 2}
    await store.run(both)
    assert await value(archive, ADA) == {"coins": 1}
    assert (await store.read(Reads((note,)))).records.keys[0] is not None


async def test_a_rollback_that_meets_a_save_is_done_over_it(store: Store, archive: Archive) -> None:
    first = await save(store, ADA, {"coins": 1})
    inner, rivals = store.read, [{"coins": 2}]

    async def read(reads: Reads) -> Any:
        snapshot = await inner(reads)
        if ADA.document in reads.keys and rivals:
            store.read = inner  # type: ignore[method-assign]
            await save(store, ADA, rivals.pop())
            store.read = read  # type: ignore[method-assign]
        return snapshot

    store.read = read  # type: ignore[method-assign]
    await archive.rollback(ADA, first, holder="me")
    assert await values(store, archive, ADA) == [{"coins": 1}, {"coins": 2}, {"coins": 1}]


async def test_a_rollback_mends_a_document_whose_pieces_are_damaged(store: Store, archive: Archive) -> None:
    first = await save(store, ADA, {"coins": 1})
    await save(store, ADA, {"text": HUGE})
    await store.commit(Transaction(writes=(Delete(Key("document.players", "ada", "ada\x0100000000")),)))
    with pytest.raises(CorruptError):
        await archive.find(ADA)
    await archive.rollback(ADA, first, holder="me")
    assert await value(archive, ADA) == {"coins": 1}
    assert len((await archive.history(ADA)).items) == 3


async def test_what_is_erased_leaves_a_tombstone_and_nothing_else(store: Store, archive: Archive) -> None:
    for number in range(3):
        await save(store, ADA, {"number": number, "text": HUGE}, subjects=("u1", "u2"))
    await save(store, at("ada2"), {"coins": 1}, subjects=("u1",))
    message = Append(ADA.spaces.inbox, ADA.partition, ADA.prefix, b"null")
    await store.commit(Transaction(ids.new(), writes=(message, Put(ADA.sent("1"), b""))))
    lease = await hold(store, ADA)
    others = await kept(store, at("ada2"))
    assert await archive.erase(ADA)
    (tombstone,) = await kept(store, ADA)
    assert tombstone.key == ADA.document
    assert msgspec.json.decode(tombstone.value[1:])["facts"].items() >= {"erased": True, "number": 3}.items()
    assert b"u1" not in tombstone.value
    assert await archive.find(ADA) is None
    assert await keys(archive.list()) == await keys(archive.list_for("u1")) == ["ada2"]
    assert [record async for record in store.scan(Span("document.players.subject", "u2"))] == []
    assert await kept(store, at("ada2")) == others
    with pytest.raises(ConflictError):
        await save(store, ADA, {"number": 4}, guards=(lease.held,))
    with pytest.raises(DocumentUnknownError):
        await archive.rollback(ADA, 1, holder="me")
    assert await archive.export(ADA) == {}


async def test_erasing_says_whether_anything_was_kept(store: Store, archive: Archive) -> None:
    assert not await archive.erase(ADA)
    assert len(await kept(store, ADA)) == 1, "old data is not to be imported into what was erased before it was saved"
    await save(store, ADA, {})
    assert await archive.erase(ADA)
    assert not await archive.erase(ADA)
    await hold(store, ADA)
    assert await archive.erase(ADA), "who holds it has something of it"
    assert not await archive.erase(ADA)


async def test_what_is_saved_after_an_erasure_begins_anew(store: Store, archive: Archive) -> None:
    await save(store, ADA, {"coins": 1}, subjects=("u1",))
    await archive.erase(ADA)
    await save(store, ADA, {"coins": 2}, subjects=("u2",))
    assert await values(store, archive, ADA) == [{"coins": 2}]
    assert await keys(archive.list_for("u1")) == []
    assert await keys(archive.list_for("u2")) == ["ada"]


async def test_an_erasure_goes_in_bounded_steps(
    store: Store, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await save(store, ADA, {"number": number, "text": LARGE})
    some = [Put(ADA.sent(str(number)), b"") for number in range(limits.DELETE_SPAN_RECORDS + 1)]
    await store.commit(Transaction(ids.new(), writes=tuple(some)))
    assert await archive.erase(ADA)
    assert len(await kept(store, ADA)) == 1


@pytest.mark.row("D-N16")
@pytest.mark.parametrize("commits", range(5))
async def test_an_erasure_that_was_cut_short_goes_on_when_it_is_called_again(
    store: Store, archive: Archive, commits: int
) -> None:
    await save(store, ADA, {"coins": 1, "text": LARGE}, subjects=("u1", "u2"))
    crash = Crash(store, commits)
    with pytest.raises(KeyboardInterrupt):
        await archive.erase(ADA)
    crash.end()
    assert await value(archive, ADA) == (None if commits else {"coins": 1, "text": LARGE})
    assert await keys(archive.list_for("u1")) == ([] if commits else ["ada"])
    await archive.erase(ADA)
    (tombstone,) = await kept(store, ADA)
    assert b"u1" not in tombstone.value
    for subject in ("u1", "u2"):
        assert [record async for record in store.scan(Span("document.players.subject", subject))] == []


async def test_who_saves_a_document_anew_before_its_erasure_has_ended_is_erased_too(
    store: Store, archive: Archive
) -> None:
    await save(store, ADA, {"coins": 1}, subjects=("u1",))
    inner = store.submit

    async def submit(transaction: Transaction) -> Any:
        if all(isinstance(write, DeleteSpan) for write in transaction.writes):
            store.submit = inner  # type: ignore[method-assign]
            await save(store, ADA, {"coins": 2}, subjects=("u2",))
        return await inner(transaction)

    store.submit = submit  # type: ignore[method-assign]
    assert await archive.erase(ADA)
    assert len(await kept(store, ADA)) == 1
    assert [record async for record in store.scan(Span("document.players.subject", "u2"))] == []


async def test_a_mark_that_is_set_while_a_document_is_erased_stays(store: Store, archive: Archive) -> None:
    await save(store, ADA, {"coins": 1}, subjects=("u1",))
    inner = store.submit
    mark = Spaces("players").subject("u1", "ada")

    async def submit(transaction: Transaction) -> Any:
        if mark in [write.key for write in transaction.writes if isinstance(write, Delete)]:
            store.submit = inner  # type: ignore[method-assign]
            await save(store, ADA, {"coins": 2}, subjects=("u1",))
        return await inner(transaction)

    store.submit = submit  # type: ignore[method-assign]
    assert await archive.erase(ADA)
    assert await value(archive, ADA) == {"coins": 2}
    assert await keys(archive.list_for("u1")) == ["ada"]


async def test_what_is_damaged_can_be_erased(store: Store, archive: Archive) -> None:
    await save(store, ADA, {"text": HUGE})
    await store.commit(Transaction(writes=(Delete(Key("document.players", "ada", "ada\x0100000000")),)))
    assert await archive.erase(ADA)
    assert len(await kept(store, ADA)) == 1


async def test_an_export_has_all_that_is_kept(store: Store, archive: Archive, clock: ManualClock) -> None:
    assert await archive.export(ADA) == {}
    await save(store, ADA, {"coins": 1, "text": LARGE}, subjects=("u1",))
    await save(store, ADA, {"coins": 2}, subjects=("u1",))
    await save(store, at("ada2"), {"coins": 3})
    posted = stored.Posted("1", clock.now(), 1, msgspec.Raw(b'{"gift":5}'))
    message = Append(ADA.spaces.inbox, ADA.partition, ADA.prefix, stored.POSTED.encode(posted))
    await store.commit(Transaction(ids.new(), writes=(message,)))
    lease = await hold(store, ADA, "server 7")
    exported = json.loads(json.dumps(await archive.export(ADA)))
    assert list(exported) == ["info", "value", "history", "messages", "lease"]
    assert exported["info"]["subjects"] == ["u1"]
    assert exported["value"] == {"coins": 2}
    assert [version["value"]["coins"] for version in exported["history"]] == [1, 2]
    assert [version["bytes"] for version in exported["history"]] == [len(LARGE) + 21, 11]
    sent_at = moment(clock.now()).isoformat().replace("+00:00", "Z")
    assert exported["messages"] == [{"id": "1", "body": {"gift": 5}, "sent_at": sent_at}]
    assert exported["lease"]["holder"] == "server 7"
    await lease.release()
    assert (await archive.export(ADA))["lease"] is None


async def test_leases_are_listed_by_when_they_were_granted(store: Store, archive: Archive, clock: ManualClock) -> None:
    for key in ("c", "a", "b"):
        await hold(store, Place("players", key, "table"), f"holder of {key}")
        clock.advance(SECOND)
    assert await Leases(store).ask(Place("players", "a", "table").lease, holder="me")
    page = await archive.leases(limit=2)
    assert [(key, partition, lease.holder) for key, partition, lease in page.items] == [
        ("c", "table", "holder of c"),
        ("a", "table", "holder of a"),
    ]
    assert [lease.since async for _, _, lease in archive.leases()] == [clock.now() - 1_000 * s for s in (3, 2, 1)]
    assert [key async for key, _, _ in archive.leases(after=page.next)] == ["b"]


async def test_lost_answers_double_no_rollback_and_leave_nothing_of_what_is_erased(faulty_store: Store) -> None:
    archive = Archive(faulty_store, "players")
    for number in range(10):
        saved = await insist(partial(save, faulty_store, ADA, {"number": number, "text": LARGE}, subjects=("u1",)))
        await insist(partial(save, faulty_store, ADA, {"number": -1}))
        revision = await insist(partial(archive.rollback, ADA, saved, holder="me", history=20))
        found = await insist(partial(archive.find, ADA))
        assert found is not None
        assert (found[0].revision, json.loads(found[1].text)["number"]) == (revision, number)
    page = await insist(lambda: archive.history(ADA))
    causes = [version.cause for version in page.items]
    assert causes == [Cause.ROLLBACK, Cause.UPDATE, Cause.UPDATE] * 6 + [Cause.ROLLBACK, Cause.UPDATE]
    await insist(partial(archive.erase, ADA))
    assert len(await insist(partial(kept, faulty_store, ADA))) == 1
    assert await insist(partial(keys, archive.list_for("u1"))) == []


async def test_limits_and_cursors_are_judged_at_once(archive: Archive) -> None:
    def listings(limit: int, after: str | None = None) -> list[Any]:
        return [
            lambda: archive.list(limit, after),
            lambda: archive.list_for("u1", limit, after),
            lambda: archive.history(ADA, limit, after),
            lambda: archive.leases(limit, after),
        ]

    for bad, expected in (((0,), InvalidError), ((limits.PAGE_MAX + 1,), LimitError), ((1, "x"), InvalidError)):
        for listing in listings(*bad):
            with pytest.raises(expected):
                listing()
