"""Promise 4: revisions only grow inside a partition, one for each transaction, and a touch draws none."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sojourn.kernel import ids
from sojourn.kernel.keys import Now
from sojourn.kernel.transaction import (
    Append,
    Committed,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Put,
    Record,
    RevisionIs,
    Touch,
    Transaction,
    Write,
)
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["Revisions", "Touches"]

_SECOND = timedelta(seconds=1)


class Revisions(Conformance):
    """Every record written anew is newer than anything its partition ever held."""

    @pytest.mark.promise(4)
    async def test_each_writing_transaction_draws_a_greater_one(self, trial: Trial) -> None:
        """Put, create, ensure and append each draw a revision greater than all before, and their records carry it."""
        last = 0
        writes: list[Put | Create | Ensure | Append] = [
            Put(at("a"), b""),
            Create(at("b"), b""),
            Ensure(at("c"), b""),
            Append(SPACE, HOME, "d/", b""),
            Put(at("a"), b""),
            Put(at("z"), b"", rank=1),
        ]
        for write in writes:
            done = await trial.write(write, id=ids.new())
            assert done.revision is not None
            assert done.revision > last
            last = done.revision
            newest = max(await trial.scan(over()), key=lambda record: record.revision)
            assert newest.revision == last
            assert isinstance(write, Append) or newest.key == write.key

    @pytest.mark.promise(4)
    async def test_one_for_the_whole_transaction(self, trial: Trial) -> None:
        """What one transaction writes anew carries the revision it answers with; what it touches keeps its own."""
        old = (await trial.write(Put(at("touched"), b""), Put(at("kept"), b""))).revision
        done = await trial.write(
            Put(at("a"), b""),
            Create(at("b"), b""),
            Ensure(at("c"), b""),
            Append(SPACE, HOME, "d", b""),
            Touch(at("touched"), rank=1),
            Create(at("kept"), b"other"),
            id=ids.new(),
        )
        revisions = {record.key.item[:7]: record.revision for record in await trial.scan(over())}
        anew = {item for item, revision in revisions.items() if revision == done.revision}
        assert len(anew) == 4
        assert (revisions["touched"], revisions["kept"]) == (old, old)

    @pytest.mark.promise(4)
    @pytest.mark.parametrize("end", ["delete", "delete_span", "expire", "sweep"])
    async def test_they_grow_past_what_is_gone(self, trial: Trial, end: str) -> None:
        """A record made anew at a key is newer than the one that was deleted, expired or swept there."""
        last = (await trial.write(Put(at(), b"", ttl=_SECOND))).revision or 0
        for _ in range(3):
            match end:
                case "delete":
                    await trial.write(Delete(at()))
                case "delete_span":
                    await trial.write(DeleteSpan(over()))
                case _:
                    trial.advance(1_000)
            if end == "sweep":
                await trial.sweep()
            assert await trial.scan(over()) == ()
            done = await trial.write(Create(at(), b"", ttl=_SECOND))
            assert done.revision is not None
            assert done.revision > last
            last = done.revision

    @pytest.mark.promise(4)
    async def test_the_whole_partition_grows(self, trial: Trial) -> None:
        """The order holds between different items and spaces of one partition, also when the newest is deleted."""
        last = 0
        for number in range(6):
            key = at(f"{9 - number}", space=f"space{number % 2}")
            done = await trial.write(Put(key, b""))
            assert done.revision is not None
            assert done.revision > last
            last = done.revision
            if number % 2:
                await trial.write(Delete(key))

    @pytest.mark.promise(4)
    async def test_no_write_no_revision(self, trial: Trial) -> None:
        """A transaction that writes no record anew answers None: deletions, touches, no-ops."""
        await trial.write(Put(at("a"), b""), Put(at("b"), b""), Put(at("c"), b""))
        silent: list[Write] = [
            Touch(at("a"), rank=1),
            Touch(at("none"), rank=1),
            Create(at("a"), b"other"),
            Ensure(at("a"), b"other", rank=2),
            Delete(at("none")),
            Delete(at("b")),
            DeleteSpan(over("x")),
            DeleteSpan(over("c", "d")),
        ]
        for write in silent:
            assert (await trial.write(write, id=ids.new())).revision is None, write
        assert (await trial.got(at("a"))).value == b""

    @pytest.mark.promise(4, 1)
    async def test_a_batch_draws_in_its_order(self, trial: Trial) -> None:
        """The transactions of one batch draw their revisions in the order given."""
        batch = [Transaction(ids.new(), writes=(Append(SPACE, HOME, "log/", b"%d" % number),)) for number in range(20)]
        outcomes = await trial.engine.commit(batch)
        drawn = [outcome.revision or 0 for outcome in outcomes if isinstance(outcome, Committed)]
        records = await trial.scan(over())
        assert [record.revision for record in records] == drawn
        assert [record.value for record in records] == [b"%d" % number for number in range(20)]
        assert drawn == sorted(drawn)

    @pytest.mark.promise(4)
    async def test_the_key_of_an_append_follows_from_the_outcome(self, trial: Trial) -> None:
        """It is the prefix, 16 hex digits of the revision and 4 of the place among all writes of the transaction."""
        done = await trial.write(
            Append(SPACE, HOME, "p", b"0"),
            Put(at("put"), b"1"),
            DeleteSpan(over("nothing", "nowhere")),
            Append(SPACE, HOME, "p", b"3", ttl=_SECOND),
            Touch(at("put")),
            Append(SPACE, HOME, "", b"5"),
            id=ids.new(),
        )
        drawn = done.revision
        assert drawn is not None
        expected = [
            Record(at(f"{drawn:016x}0005"), b"5", drawn),
            Record(at(f"p{drawn:016x}0000"), b"0", drawn),
            Record(at(f"p{drawn:016x}0003"), b"3", drawn, expires_at=done.now + 1_000),
            Record(at("put"), b"1", drawn),
        ]
        assert list(await trial.scan(over())) == expected

    @pytest.mark.promise(4)
    async def test_appends_stand_in_commit_order(self, trial: Trial) -> None:
        """A later append stands behind every earlier one with its prefix, whatever was deleted in between."""
        values = [b"%d" % number for number in range(12)]
        for number, value in enumerate(values):
            await trial.write(Append(SPACE, HOME, "log/", value), id=ids.new())
            if number == 5:
                newest = await trial.scan(over(reverse=True, limit=1))
                await trial.write(Delete(newest[0].key))
        found = [record.value for record in await trial.scan(over())]
        assert found == [value for value in values if value != b"5"]

    @pytest.mark.promise(4)
    async def test_ensure_tells_whether_it_created(self, trial: Trial) -> None:
        """The record carries the transaction's revision exactly when it was made by it."""
        first = await trial.write(Ensure(at(), b"1", rank=1))
        assert (await trial.got(at())).revision == first.revision
        second = await trial.write(Ensure(at(), b"2", rank=2))
        assert second.revision is None
        record = await trial.got(at())
        assert (record.revision, record.value, record.rank) == (first.revision, b"1", 2)

    @pytest.mark.promise(4, 7)
    async def test_they_grow_across_a_restart(self, trial: Trial) -> None:
        """An engine opened anew does not fall back, even if nothing is left of what had the greatest revision."""
        with trial.needs(Capability.DURABLE):
            last = 0
            for _ in range(3):
                done = await trial.write(Put(at(), b""))
                assert done.revision is not None
                assert done.revision > last
                last = done.revision
                await trial.write(Delete(at()))
                await trial.sweep()
                await trial.reopen()


class Touches(Conformance):
    """A touch changes rank and expiry, keeps what is omitted, removes what is None, and makes no noise."""

    @pytest.mark.promise(4)
    @pytest.mark.parametrize("kind", [Touch, Ensure])
    async def test_omitted_stays_and_none_removes(self, trial: Trial, kind: type[Touch | Ensure]) -> None:
        """Rank and ttl are each kept when omitted, removed when None, replaced when given."""
        key = at()

        def touch(**what: object) -> Write:
            return Touch(key, **what) if kind is Touch else Ensure(key, b"other", **what)  # type: ignore[arg-type]

        done = await trial.write(Put(key, b"v", rank=5, ttl=_SECOND))
        end = done.now + 1_000
        steps: list[tuple[dict[str, object], int | None, int | None]] = [
            ({}, 5, end),
            ({"rank": 6}, 6, end),
            ({"ttl": 2 * _SECOND}, 6, end + 1_000),
            ({"ttl": None}, 6, None),
            ({"rank": None}, None, None),
            ({"rank": Now(), "ttl": Now(5_000)}, done.now, done.now + 5_000),
            ({"rank": None, "ttl": None}, None, None),
            ({"rank": 0, "ttl": _SECOND}, 0, end),
        ]
        for what, rank, expires_at in steps:
            assert (await trial.write(touch(**what))).revision is None
            record = await trial.got(key)
            assert record == Record(key, b"v", done.revision or 0, rank, expires_at), what

    @pytest.mark.promise(4)
    async def test_ensure_creates_without_what_is_omitted(self, trial: Trial) -> None:
        """Where nothing stands, an omitted rank or ttl is none at all."""
        done = await trial.write(
            Ensure(at("a"), b"v"),
            Ensure(at("b"), b"v", rank=None, ttl=None),
            Ensure(at("c"), b"v", rank=1, ttl=_SECOND),
        )
        drawn = done.revision or 0
        assert await trial.scan(over()) == (
            Record(at("a"), b"v", drawn),
            Record(at("b"), b"v", drawn),
            Record(at("c"), b"v", drawn, rank=1, expires_at=done.now + 1_000),
        )

    @pytest.mark.promise(4)
    async def test_absent_records_stay_absent(self, trial: Trial) -> None:
        """A touch of nothing makes nothing, and leaves nothing for a later create to find."""
        await trial.write(Touch(at(), rank=1, ttl=_SECOND))
        assert await trial.get(at()) is None
        assert await trial.ranked() == []
        await trial.write(Create(at(), b""))
        assert (await trial.got(at())).rank is None

    @pytest.mark.promise(4)
    async def test_a_heartbeat_keeps_the_fencing_token(self, trial: Trial) -> None:
        """However often a lease is renewed, whoever holds its revision may still write under its guard."""
        token = (await trial.write(Put(at("lease"), b"", ttl=_SECOND))).revision
        assert token is not None
        for _ in range(5):
            trial.advance(900)
            await trial.write(Touch(at("lease"), ttl=_SECOND), guards=(RevisionIs(at("lease"), token),))
        await trial.write(Put(at("data"), b""), guards=(RevisionIs(at("lease"), token),))

    @pytest.mark.promise(4, 9)
    async def test_touches_wake_nobody(self, trial: Trial) -> None:
        """Neither a touch nor an ensure of what stands is a change, also beside a real one in the same transaction."""
        await trial.write(Put(at("a"), b""), Put(at("b"), b""))
        position = await trial.position()
        await trial.write(Touch(at("a"), rank=1, ttl=_SECOND), Ensure(at("b"), b"other", rank=1))
        await trial.write(Touch(at("a"), rank=1, ttl=_SECOND))
        assert await trial.changed(position) == frozenset()
        await trial.write(Touch(at("a"), rank=2), Put(at("c"), b""))
        assert await trial.changed(position) == {at("c")}
