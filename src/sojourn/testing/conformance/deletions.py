"""Promise 1, for the write whose extent is not known before: the deletion of a span."""

from __future__ import annotations

import pytest

from sojourn.kernel import ids
from sojourn.kernel.transaction import Append, Create, Delete, DeleteSpan, Ensure, Put, Touch
from sojourn.testing.conformance.trial import HOME, SPACE, Conformance, Trial, at, over

__all__ = ["SpanDeletions"]


class SpanDeletions(Conformance):
    """The first records of the span go, before any other write of the transaction applies."""

    @pytest.mark.promise(1)
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("limit", [1, 100])
    async def test_the_first_ones_go(self, trial: Trial, limit: int, *, reverse: bool) -> None:
        """As many as allowed, from the start of the span, whatever its own page size and direction are."""
        await trial.write(*(Put(at(item), b"", rank=1) for item in "abcdefg"))
        span = over("b", "g", limit=limit, reverse=reverse)
        assert (await trial.write(DeleteSpan(span, at_most=2))).remaining
        assert await trial.items(over()) == ["a", "d", "e", "f", "g"]
        assert not (await trial.write(DeleteSpan(span, at_most=3))).remaining
        assert await trial.items(over()) == ["a", "g"]
        assert await trial.ranked() == ["a", "g"]
        assert not (await trial.write(DeleteSpan(span))).remaining

    @pytest.mark.promise(1)
    async def test_other_writes_apply_after_it(self, trial: Trial) -> None:
        """Wherever it stands among the writes: what they create in the span stays, what they touch there is gone."""
        await trial.write(*(Put(at(item), b"old", rank=1) for item in "abcde"))
        done = await trial.write(
            Put(at("a"), b"new"),
            Create(at("b"), b"new"),
            Ensure(at("c"), b"new"),
            Touch(at("d"), rank=2),
            Delete(at("e")),
            DeleteSpan(over()),
            Append(SPACE, HOME, "f", b"new"),
            id=ids.new(),
        )
        assert not done.remaining
        found = [(record.key.item[0], record.value, record.rank) for record in await trial.scan(over())]
        assert found == [("a", b"new", None), ("b", b"new", None), ("c", b"new", None), ("f", b"new", None)]

    @pytest.mark.promise(1)
    async def test_several_in_one_transaction(self, trial: Trial) -> None:
        """Each deletes in its own span; `remaining` says that at least one was not enough."""
        await trial.write(*(Put(at(f"{half}{number}"), b"") for half in "ab" for number in range(3)))
        done = await trial.write(DeleteSpan(over("a", "b"), at_most=2), DeleteSpan(over("b", "c"), at_most=3))
        assert done.remaining
        assert await trial.items(over()) == ["a2"]
        done = await trial.write(DeleteSpan(over("a", "b"), at_most=1), DeleteSpan(over("b", "c"), at_most=1))
        assert not done.remaining
        assert await trial.items(over()) == []
