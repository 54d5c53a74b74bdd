"""Promise 2: guards are judged against the state the writes apply to, and a batch equals its transactions in order."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from sojourn import limits
from sojourn.kernel.keys import Now, Number, Span
from sojourn.kernel.transaction import (
    Absent,
    Committed,
    Conflict,
    Create,
    Delete,
    DeleteSpan,
    Present,
    Put,
    RankAtMost,
    RevisionIs,
    SpanIs,
    Touch,
    Transaction,
)
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import Conformance, Trial, at, over

__all__ = ["Guards"]


class Guards(Conformance):
    """Each guard holds exactly when it says so, on the state that the transaction's writes apply to."""

    @pytest.mark.promise(2)
    async def test_absent_and_present(self, trial: Trial) -> None:
        """They tell a record that stands from one that never stood, and from one that was deleted."""
        await trial.write(Put(at("there"), b""), Put(at("gone"), b""))
        await trial.write(Delete(at("gone")))
        await trial.write(guards=(Present(at("there")), Absent(at("never")), Absent(at("gone"))))
        assert (await trial.conflict(guards=(Absent(at("there")),))).found == await trial.got(at("there"))
        for missing in (at("never"), at("gone")):
            assert (await trial.conflict(guards=(Present(missing),))).found is None

    @pytest.mark.promise(2)
    async def test_revision_is(self, trial: Trial) -> None:
        """Only the very revision holds: not an older one, not a later one, not that of a deleted record."""
        first = (await trial.write(Put(at(), b"1"))).revision
        second = (await trial.write(Put(at(), b"2"))).revision
        assert first is not None
        assert second is not None
        await trial.write(guards=(RevisionIs(at(), second),))
        for wrong in (0, first, second + 1):
            outcome = await trial.conflict(guards=(RevisionIs(at(), wrong),))
            assert outcome.found == await trial.got(at())
        await trial.write(Delete(at()))
        assert (await trial.conflict(guards=(RevisionIs(at(), second),))).found is None

    @pytest.mark.promise(2)
    async def test_revision_is_after_delete_and_create(self, trial: Trial) -> None:
        """A record made anew with the same value is not the one that was seen."""
        seen = (await trial.write(Put(at(), b"same"))).revision
        assert seen is not None
        await trial.write(Delete(at()))
        await trial.write(Create(at(), b"same"))
        await trial.conflict(guards=(RevisionIs(at(), seen),))

    @pytest.mark.promise(2)
    @pytest.mark.parametrize(
        ("rank", "most", "holds"),
        [
            (5, 5, True),
            (5, 6, True),
            (5, 4, False),
            (-5, -5, True),
            (-5, -6, False),
            (None, limits.RANK_MAX, False),
            (limits.RANK_MAX, limits.RANK_MAX, True),
            (-limits.RANK_MAX, -limits.RANK_MAX, True),
        ],
    )
    async def test_rank_at_most(self, trial: Trial, rank: int | None, most: int, *, holds: bool) -> None:
        """It holds up to and with the bound, and never for a record without a rank."""
        await trial.write(Put(at(), b"", rank=rank))
        outcome = await trial.commit(guards=(RankAtMost(at(), most),))
        assert isinstance(outcome, Committed) == holds

    @pytest.mark.promise(2)
    async def test_rank_at_most_on_nothing(self, trial: Trial) -> None:
        """An absent record has no rank that could be low enough."""
        assert (await trial.conflict(guards=(RankAtMost(at(), limits.RANK_MAX),))).found is None

    @pytest.mark.promise(2, 6)
    async def test_rank_at_most_now(self, trial: Trial) -> None:
        """A bound given as `Now` is completed by the engine's clock, at each commit anew."""
        await trial.write(Put(at(), b"", rank=Now(10)))
        guard = RankAtMost(at(), Now())
        await trial.conflict(guards=(guard,))
        trial.advance(9)
        await trial.conflict(guards=(guard,))
        await trial.write(guards=(RankAtMost(at(), Now(1)),))
        trial.advance(1)
        await trial.write(guards=(guard,))

    @pytest.mark.promise(2)
    async def test_span_is_what_was_seen(self, trial: Trial) -> None:
        """It holds for the very records, and whatever the span's page size and direction are."""
        await trial.write(Put(at("b"), b""), Put(at("outside"), b""))
        newest = (await trial.write(Put(at("a"), b""))).revision
        assert newest is not None
        for span in (over("a", "c"), over("a", "c", limit=1), over("a", "c", reverse=True)):
            await trial.write(guards=(SpanIs(span, 2, newest),))
        outcome = await trial.conflict(guards=(SpanIs(over("a", "c"), 1, newest),))
        assert outcome.found is None
        await trial.conflict(guards=(SpanIs(over("a", "c"), 3, newest),))
        await trial.conflict(guards=(SpanIs(over("a", "c"), 2, newest - 1),))
        await trial.conflict(guards=(SpanIs(over("a", "c"), 2, newest + 1),))

    @pytest.mark.promise(2)
    async def test_span_is_empty(self, trial: Trial) -> None:
        """An empty span is guarded by a count of none and a newest revision of 0."""
        empty = SpanIs(over("a", "c"), 0, 0)
        await trial.write(guards=(empty,))
        await trial.write(Put(at("c"), b""), guards=(empty,))
        await trial.write(Put(at("a"), b""), guards=(empty,))
        await trial.conflict(guards=(empty,))

    @pytest.mark.promise(2, 4)
    @pytest.mark.parametrize("change", ["overwritten", "replaced", "joined", "removed", "expired", "swept"])
    async def test_span_is_sees_every_difference(self, trial: Trial, change: str) -> None:
        """Any record of the span written, exchanged for another, added, removed or expired makes it fail."""
        await trial.write(Put(at("a"), b"", ttl=timedelta(seconds=5)), Put(at("b"), b""))
        newest = (await trial.write(Put(at("c"), b""))).revision
        assert newest is not None
        guard = SpanIs(over(), 3, newest)
        await trial.write(guards=(guard,))
        match change:
            case "overwritten":
                await trial.write(Put(at("b"), b""))
            case "replaced":
                await trial.write(Delete(at("b")), Create(at("bb"), b""))
            case "joined":
                await trial.write(Put(at("d"), b""))
            case "removed":
                await trial.write(Delete(at("a")))
            case _:
                trial.advance(5_000)
        if change == "swept":
            await trial.sweep()
        await trial.conflict(guards=(guard,))

    @pytest.mark.promise(2, 4)
    async def test_span_is_ignores_touches_and_neighbours(self, trial: Trial) -> None:
        """A touch is no change of the record, and what lies outside the span does not matter."""
        newest = (await trial.write(Put(at("a"), b""), Put(at("b"), b""))).revision
        assert newest is not None
        await trial.write(Touch(at("a"), rank=1, ttl=timedelta(hours=1)))
        await trial.write(Put(at("c"), b""), Put(at("A"), b""))
        await trial.write(Put(at("a", space="other"), b""))
        await trial.write(guards=(SpanIs(over("a", "c"), 2, newest),))

    @pytest.mark.promise(2, 11)
    async def test_span_is_at_its_largest(self, trial: Trial) -> None:
        """A guard covers as many records as `limits` allows."""
        most = limits.SPAN_GUARD_RECORDS
        newest = (await trial.write(*(Put(at(f"{number:04}"), b"") for number in range(most)))).revision
        assert newest is not None
        await trial.write(guards=(SpanIs(over(), most, newest),))
        await trial.write(Put(at("one more"), b""))
        await trial.conflict(guards=(SpanIs(over(), most, newest),))

    @pytest.mark.promise(2)
    async def test_guards_do_not_see_the_own_writes(self, trial: Trial) -> None:
        """They are judged before the first write: creating what is absent and deleting what is present both hold."""
        done = await trial.write(Put(at(), b""), guards=(Absent(at()), SpanIs(over(), 0, 0)))
        assert done.revision is not None
        here = (Present(at()), RevisionIs(at(), done.revision), SpanIs(over(), 1, done.revision))
        await trial.write(DeleteSpan(over()), guards=here)
        assert await trial.get(at()) is None

    @pytest.mark.promise(2)
    async def test_guards_without_writes(self, trial: Trial) -> None:
        """A transaction of guards only commits or conflicts, draws no revision and changes nothing."""
        position = await trial.position()
        assert (await trial.write(guards=(Absent(at()),))).revision is None
        await trial.conflict(guards=(Present(at()),))
        assert await trial.changed(position) == frozenset()

    @pytest.mark.promise(2)
    async def test_guards_of_another_partition(self, trial: Trial) -> None:
        """A guard may look at another partition than the one written to."""
        with trial.needs(Capability.CROSS_PARTITION):
            await trial.write(Put(at("a", "north"), b""), guards=(Absent(at("a", "south")),))
            await trial.conflict(Put(at("a", "south"), b""), guards=(Absent(at("a", "north")),))
            assert await trial.get(at("a", "south")) is None


class Batches(Conformance):
    """The outcomes of a batch are those of its transactions applied one by one in the order given."""

    @pytest.mark.promise(2)
    async def test_the_first_of_two_rivals_wins(self, trial: Trial) -> None:
        """Of two creators in one batch the second conflicts, and is told of the record that the first has made."""
        rivals = [Transaction(guards=(Absent(at()),), writes=(Put(at(), value),)) for value in (b"1", b"2")]
        first, second = await trial.engine.commit(rivals)
        assert isinstance(first, Committed)
        assert isinstance(second, Conflict)
        assert second.found is not None
        assert second.found == await trial.got(at())
        assert second.found.revision == first.revision
        assert second.found.value == b"1"

    @pytest.mark.promise(2, 3)
    async def test_later_transactions_stand_on_earlier_ones(self, trial: Trial) -> None:
        """Guards, no-ops, span deletions and reads of each transaction see what the batch did before it."""
        reads = msgspec.structs.replace(Transaction().reads, spans=(over(),))
        batch = [
            Transaction(writes=(Create(at("a"), b"1"),), reads=reads),
            Transaction(guards=(Present(at("a")),), writes=(Create(at("a"), b"2"), Put(at("b"), b"2")), reads=reads),
            Transaction(writes=(DeleteSpan(over("a", "b")),), reads=reads),
            Transaction(guards=(Absent(at("a")),), writes=(Create(at("a"), b"4"),), reads=reads),
            Transaction(guards=(Absent(at("b")),), writes=(Put(at("c"), b"5"),), reads=reads),
            Transaction(writes=(Touch(at("a"), rank=7),), reads=reads),
        ]
        outcomes = await trial.engine.commit(batch)
        seen = [
            [(record.key.item, record.value) for record in outcome.records.spans[0]]
            if isinstance(outcome, Committed)
            else None
            for outcome in outcomes
        ]
        assert seen == [
            [("a", b"1")],
            [("a", b"1"), ("b", b"2")],
            [("b", b"2")],
            [("a", b"4"), ("b", b"2")],
            None,
            [("a", b"4"), ("b", b"2")],
        ]
        assert await trial.ranked() == ["a"]

    @pytest.mark.promise(2, 4)
    async def test_a_large_batch_on_one_record(self, trial: Trial) -> None:
        """As many transactions as a batch takes may all write one record, and each sees the one before."""
        most = trial.engine.describe().batch_transactions
        batch = [Transaction(writes=(Put(at(), b"%d" % number),)) for number in range(most)]
        batch[0] = msgspec.structs.replace(batch[0], guards=(Absent(at()),))
        batch[-1] = msgspec.structs.replace(batch[-1], guards=(Present(at()),))
        outcomes = await trial.engine.commit(batch)
        revisions = [outcome.revision for outcome in outcomes if isinstance(outcome, Committed)]
        assert len(revisions) == most
        assert revisions == sorted(set(revisions), key=lambda revision: revision or 0)
        assert (await trial.got(at())).value == b"%d" % (most - 1)

    @pytest.mark.promise(2)
    async def test_an_empty_batch(self, trial: Trial) -> None:
        """Nothing asked, nothing answered; and an empty transaction simply holds."""
        assert list(await trial.engine.commit([])) == []
        assert (await trial.write()).revision is None

    @pytest.mark.promise(2)
    @pytest.mark.parametrize("low", [Now(-5), -5], ids=["now", "plain"])
    async def test_a_chain_of_conditions_on_ranks(self, trial: Trial, low: Number) -> None:
        """A touch earlier in the batch decides a guard on the rank later in it."""
        batch = [
            Transaction(writes=(Put(at(), b"", rank=low),)),
            Transaction(guards=(RankAtMost(at(), low),), writes=(Touch(at(), rank=Now(100)),)),
            Transaction(guards=(RankAtMost(at(), low),), writes=(Delete(at()),)),
        ]
        kinds = [type(outcome) for outcome in await trial.engine.commit(batch)]
        assert kinds == [Committed, Committed, Conflict]
        assert await trial.get(at()) is not None

    @pytest.mark.promise(2)
    async def test_spans_of_other_partitions_are_not_meant(self, trial: Trial) -> None:
        """A span guard in one partition does not see writes of the batch to another with a longer name."""
        whole = Span("conformance", "home")
        batch = [
            Transaction(writes=(Put(at("a", "homer"), b""),)),
            Transaction(guards=(SpanIs(whole, 0, 0),), writes=(Put(at("a"), b""),)),
            Transaction(guards=(SpanIs(whole, 0, 0),), writes=(Put(at("b"), b""),)),
        ]
        kinds = [type(outcome) for outcome in await trial.engine.commit(batch)]
        assert kinds == [Committed, Committed, Conflict]
