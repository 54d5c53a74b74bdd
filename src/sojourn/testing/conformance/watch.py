"""Promise 9: from a position on, each later change is delivered at least once, or a gap is admitted."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.errors import UnavailableError
from sojourn.kernel import ids
from sojourn.kernel.engine import Changes, Engine, Position
from sojourn.kernel.keys import Key, Space
from sojourn.kernel.subscriptions import Changed, Subscription
from sojourn.kernel.transaction import (
    Append,
    Create,
    Delete,
    DeleteSpan,
    Ensure,
    Present,
    Put,
    Touch,
    Transaction,
    Write,
)
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.trial import HOME, PATIENCE_S, SPACE, Conformance, Trial, at, over

__all__ = ["Watch"]


def _shown(text: str) -> str:
    return ascii(text[:30])


class Watch(Conformance):
    """Who asks from a position learns of everything that changed since."""

    @pytest.mark.promise(9)
    async def test_every_kind_of_change_is_told(self, trial: Trial) -> None:
        """Put, create, ensure, append, delete and span deletion name their keys; what did nothing names none."""
        await trial.write(Put(at("a"), b""), Put(at("s/1"), b""), Put(at("s/2"), b""), Put(at("t"), b""))
        steps: list[tuple[Write, set[Key]]] = [
            (Put(at("a"), b"again"), {at("a")}),
            (Create(at("b"), b""), {at("b")}),
            (Create(at("b"), b"again"), set()),
            (Ensure(at("c"), b""), {at("c")}),
            (Ensure(at("c"), b"again", rank=1), set()),
            (Touch(at("c"), rank=2), set()),
            (Delete(at("a")), {at("a")}),
            (Delete(at("a")), set()),
            (DeleteSpan(over("s/", "s0"), at_most=1), {at("s/1")}),
            (DeleteSpan(over("s/", "s0")), {at("s/2")}),
            (DeleteSpan(over("s/", "s0")), set()),
        ]
        for write, keys in steps:
            position = await trial.position()
            await trial.write(write)
            assert await trial.changed(position) == keys, write
        position = await trial.position()
        done = await trial.write(Append(SPACE, HOME, "log/", b""), id=ids.new())
        assert await trial.changed(position) == {at(f"log/{done.revision:016x}0000")}

    @pytest.mark.promise(9)
    async def test_changes_since_are_merged(self, trial: Trial) -> None:
        """One answer covers many commits and batches, and may be asked for again from the same position."""
        position = await trial.position()
        for number in range(20):
            await trial.engine.commit(
                [Transaction(writes=(Put(at(f"{number}-{place}", f"p{number}"), b""),)) for place in range(3)]
            )
        await trial.conflict(Put(at("never"), b""), guards=(Present(at("none")),))
        expected = {at(f"{number}-{place}", f"p{number}") for number in range(20) for place in range(3)}
        assert await trial.changed(position) == expected
        assert await trial.changed(position) == expected

    @pytest.mark.promise(9)
    async def test_positions_join_without_a_seam(self, trial: Trial) -> None:
        """Asked from each answer's position on, the answers together hold every change; then comes silence."""
        position, seen = await trial.position(), set[Key]()
        for number in range(30):
            await trial.write(Put(at(str(number)), b""))
            if number % 3 == 0:
                answer = await trial.changes(position)
                position = answer.position
                seen |= answer.keys
        answer = await trial.changes(position)
        assert seen | answer.keys == {at(str(number)) for number in range(30)}
        assert await trial.changed(answer.position) == frozenset()

    @pytest.mark.promise(9)
    async def test_who_asks_until_there_is_no_more_has_it_all(self, trial: Trial) -> None:
        """However long the log is: many commits of few keys, and then a few of very many."""
        position, written = await trial.position(), set[Key]()
        for number in range(150):
            await trial.write(Put(at(f"few{number}"), b""))
            written.add(at(f"few{number}"))
        assert (await _caught_up(trial.engine, position)).keys == written
        for number in range(6):
            many = [at(f"many{number}-{place}") for place in range(limits.TRANSACTION_WRITES)]
            await trial.write(*(Put(key, b"") for key in many))
            written.update(many)
        answer = await _caught_up(trial.engine, position)
        assert answer.gap or answer.keys == written

    @pytest.mark.promise(9)
    async def test_who_asks_after_an_answer_has_what_was_committed_whoever_else_commits(self, trial: Trial) -> None:
        """Several write at a time, and after each commit another engine is asked, without waiting."""
        with trial.needs(Capability.CROSS_PROCESS, Capability.CROSS_PROCESS_WATCH):
            async with trial.beside() as other:

                async def write(name: str) -> None:
                    position = (await other.changes(None, 0)).position
                    for number in range(15):
                        key = at(f"{name}{number}", f"of {name if number % 2 else 'all'}")
                        await trial.engine.commit([Transaction(writes=(Put(key, b""),))])
                        answer = await _caught_up(other, position)
                        assert key in answer.keys
                        position = answer.position

                await asyncio.gather(*(write(name) for name in "abcd"))

    @pytest.mark.promise(9)
    async def test_a_waiting_question_is_answered_by_the_change(self, trial: Trial) -> None:
        """It waits while nothing happens, touches included, and ends with the first change, for everybody who waits."""
        await trial.write(Put(at("touched"), b""))
        position = await trial.position()
        waiting = [asyncio.create_task(trial.engine.changes(position, PATIENCE_S)) for _ in range(3)]
        await trial.write(Touch(at("touched"), rank=1))
        await trial.conflict(Put(at("never"), b""), guards=(Present(at("none")),))
        await trial.write(Put(at("new"), b""))
        for answer in await asyncio.gather(*waiting):
            assert answer.keys == {at("new")}
            assert not answer.gap

    @pytest.mark.promise(9, 12)
    async def test_a_waiting_question_may_be_cancelled(self, trial: Trial) -> None:
        """Whoever stops waiting loses nothing: asked again from the same position, the change is told."""
        position = await trial.position()
        for number in range(10):
            waiting = asyncio.create_task(trial.engine.changes(position, PATIENCE_S))
            await trial.write(Put(at(f"before{number}"), b"")) if number == 5 else await trial.get(at())
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await trial.write(Put(at("after"), b""))
        assert await trial.changed(position) == {at("before5"), at("after")}

    @pytest.mark.promise(9)
    @pytest.mark.parametrize(
        "foreign", ["", "x", "-1", "1.5", "9" * 30, "9" * 5_000, "٣", "0 or 1", "\0", "é:1"], ids=_shown
    )
    @pytest.mark.parametrize("joint", [None, "", "x"], ids=["alone", "behind ours", "behind ours and x"])
    async def test_a_position_of_no_log(self, trial: Trial, foreign: str, joint: str | None) -> None:
        """Text that is no position of this log is answered with a gap and a position that works."""
        await trial.write(Put(at("before"), b""))
        # What begins as a position of ours is none either, when it goes on.
        ours = "" if joint is None else await trial.position() + joint
        answer = await trial.changes(ours + (foreign or "x"))
        assert answer.gap
        await trial.write(Put(at("after"), b""))
        assert await trial.changed(answer.position) == {at("after")}

    @pytest.mark.promise(9)
    async def test_a_position_of_another_log(self, trial: Trial) -> None:
        """A position of another store of the same kind is answered with a gap, ahead of this log or not."""
        other = await trial.fresh()
        await other.open()
        try:
            for number in range(5):
                await trial.write(Put(at(str(number)), b""))
            for number in range(8):
                position = (await other.changes(None, 0)).position
                assert (await trial.changes(position)).gap, number
                await other.commit([Transaction(writes=(Put(at(str(number)), b""),))])
        finally:
            await other.close()

    @pytest.mark.promise(9)
    async def test_the_log_is_kept_long_enough(self, trial: Trial) -> None:
        """A change is told until it is `limits.CHANGE_LOG_KEEP` old, however often is swept."""
        position = await trial.position()
        await trial.write(Put(at(), b""))
        trial.clock.advance(limits.CHANGE_LOG_KEEP - timedelta(milliseconds=1))
        await trial.sweep()
        assert await trial.changed(position) == {at()}

    @pytest.mark.promise(9)
    async def test_a_trimmed_log_admits_the_gap(self, trial: Trial) -> None:
        """When the log no longer reaches back to a position, the answer says so instead of being silent."""
        old = await trial.position()
        await trial.write(Put(at("old"), b""))
        later = await trial.position()
        trial.clock.advance(limits.CHANGE_LOG_KEEP + timedelta(seconds=1))
        await trial.write(Put(at("new"), b""))
        await trial.sweep()
        answer = await trial.changes(old)
        assert answer.gap or at("old") in answer.keys
        answer = await trial.changes(later)
        assert answer.gap or answer.keys == {at("new")}
        await trial.write(Put(at("newest"), b""))
        assert await trial.changed(answer.position) == {at("newest")}

    @pytest.mark.promise(9)
    async def test_a_log_trimmed_under_a_waiting_question(self, trial: Trial) -> None:
        """If the change it waited for is forgotten by the time it is answered, the answer does not pass over it."""
        position = await trial.position()
        waiting = asyncio.create_task(trial.engine.changes(position, PATIENCE_S))
        await asyncio.sleep(0)
        await trial.write(Put(at(), b""))
        trial.clock.advance(limits.CHANGE_LOG_KEEP * 2)
        await trial.sweep()
        answer = await waiting
        assert answer.gap or answer.keys == {at()}

    @pytest.mark.promise(9, 13)
    async def test_a_repeat_is_no_change(self, trial: Trial) -> None:
        """A transaction delivered once more changes nothing, and so wakes nobody."""
        once = Transaction(ids.new(), writes=(Put(at(), b""),))
        await trial.engine.commit([once])
        position = await trial.position()
        await trial.engine.commit([once, once])
        assert await trial.changed(position) == frozenset()

    @pytest.mark.promise(9)
    async def test_another_engine_is_told(self, trial: Trial) -> None:
        """What one engine commits, the other's waiting question is answered with."""
        with trial.needs(Capability.CROSS_PROCESS, Capability.CROSS_PROCESS_WATCH):
            async with trial.beside() as other:
                position = await trial.position()
                for number in range(5):
                    waiting = asyncio.create_task(trial.engine.changes(position, PATIENCE_S))
                    await other.commit([Transaction(writes=(Put(at(str(number)), b""),))])
                    answer = await waiting
                    assert answer.keys == {at(str(number))}
                    position = answer.position

    @pytest.mark.promise(9)
    async def test_subscribers_are_told_what_they_asked_for(self, trial: Trial) -> None:
        """Above the engine each subscriber hears of its key, its span or its space, and of nothing else."""
        async with (
            trial.store() as store,
            store.watch(at("a")) as one,
            store.watch(over("a", "c")) as some,
            store.watch(Space(SPACE)) as every,
        ):
            for item in ("c", "b", "a"):
                await store.commit(Transaction(writes=(Put(at(item), b""),)))
            assert await _until(every, at("a")) == {at("a"), at("b"), at("c")}
            assert await _until(some, at("a")) == {at("a"), at("b")}
            assert await _until(one, at("a")) == {at("a")}

    @pytest.mark.promise(9)
    async def test_a_subscriber_is_ready_once_entered(self, trial: Trial) -> None:
        """The very first commit after entering is delivered, also to one who joins while others watch."""
        async with trial.store() as store, store.watch(at("x")):
            for number in range(20):
                async with store.watch(at(str(number))) as changes:
                    await store.commit(Transaction(writes=(Put(at(str(number)), b""),)))
                    assert await _until(changes, at(str(number))) == {at(str(number))}

    @pytest.mark.promise(9, 10)
    async def test_a_subscriber_survives_failing_reads(self, trial: Trial) -> None:
        """While the engine cannot be asked nothing is lost: the change is told once it can."""
        faulty = await trial.faulty(seed=5, fail=0.6)
        engine: Engine = faulty
        async with trial.store(engine) as store:
            changes = await _entered(store.watch(over()))
            try:
                for number in range(20):
                    await store.commit(Transaction(writes=(Put(at(str(number)), b""),)))
                    assert at(str(number)) in await _until(changes, at(str(number)))
            finally:
                await changes.__aexit__(None, None, None)
        assert faulty.faults.failed


async def _caught_up(engine: Engine, position: Position) -> Changes:
    """Return what has changed since, all of it."""
    told, gap = set[Key](), False
    while True:
        answer = await engine.changes(position, 0)
        told |= answer.keys
        gap = gap or answer.gap
        position = answer.position
        if not answer.more:
            return Changes(position, frozenset(told), gap)


async def _until(changes: Subscription, key: Key) -> set[Key]:
    """Return what was told up to and with the given key."""
    seen = set[Key]()
    async for change in changes:
        assert isinstance(change, Changed)
        seen |= change.keys
        if key in seen:
            break
    return seen


async def _entered(changes: Subscription) -> Subscription:
    """Enter a subscription although the engine fails now and then: as long as nothing happens, ask again."""
    for _ in range(100):
        with contextlib.suppress(UnavailableError):
            return await changes.__aenter__()
    pytest.fail("the engine was never reached")
