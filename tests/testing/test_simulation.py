"""The simulation: worlds in which no promise is broken, that repeat themselves, and a canon that sees what is wrong."""

import asyncio
import gc
import hashlib
import logging
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Coroutine

import pytest

from sojourn.documents import Cause, EndReason
from sojourn.documents.stored import Facts
from sojourn.testing import simulation
from sojourn.testing.simulation.canon import Account, Canon, Name, Standing
from sojourn.testing.simulation.loop import Host, VirtualLoop, outside, pause
from sojourn.testing.simulation.report import Telling
from tools.mutants import ROOT
from tools.planted import BUGS, Bug

A, B = Name("account", "a"), Name("account", "b")
SHARE = 25

HAPPENS = {
    "crash",
    "cut",
    "drop",
    "erase",
    "fail",
    "hand-overs of unsaved values",
    "jump",
    "late",
    "loads",
    "lose",
    "losses",
    "messages handled",
    "pause",
    "refuse",
    "repeat",
    "rollback",
    "slow",
    "trades",
}


def run(work: Coroutine[object, object, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@pytest.mark.row("D-N22")
@pytest.mark.parametrize("first", range(0, 200, SHARE))
def test_no_promise_is_broken_in_any_world(first: int) -> None:
    """Proves items conserved, nothing acknowledged missing, one writer a token, no split trade, in 200 worlds."""
    sums = Counter[str]()
    for seed in range(first, first + SHARE):
        report = simulation.run(seed)
        assert report.is_sound, f"make simulate SEED={seed}: {report.violations}"
        sums.update(report.sums)
    assert set(sums) >= HAPPENS, "a simulation in which nothing happens proves nothing"


def digest(seed: int) -> str:
    return hashlib.sha256("\n".join(simulation.run(seed).trace).encode()).hexdigest()


def test_a_seed_gives_the_same_world_in_every_process() -> None:
    seeds = range(8)
    program = (
        "import hashlib; from sojourn.testing import simulation\n"
        f"for seed in {list(seeds)}: "
        "print(hashlib.sha256('\\n'.join(simulation.run(seed).trace).encode()).hexdigest())"
    )
    elsewhere = [
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    here = [digest(seed) for seed in seeds]
    assert elsewhere == [here, here]
    assert len(set(here)) == len(seeds)


def test_a_run_leaves_no_trace_in_its_process() -> None:
    random.seed(5)
    state, level, collects = random.getstate(), logging.getLogger("sojourn").level, gc.isenabled()
    simulation.run(1, steps=5)
    assert (random.getstate(), logging.getLogger("sojourn").level, gc.isenabled()) == (state, level, collects)


# -- The loop


def test_time_leaps_and_nobody_waits() -> None:
    async def work() -> None:
        await pause(3_600)
        assert asyncio.get_running_loop().time() == pytest.approx(3_600)

    run(work())


def test_a_paused_host_takes_no_step_and_then_all_of_them() -> None:
    async def work() -> None:
        host, told = Host("s1"), list[float]()

        async def tick() -> None:
            for _ in range(3):
                await pause(1)
                told.append(asyncio.get_running_loop().time())

        ticking = host.start(tick())
        await pause(1.5)
        host.pause()
        await pause(10)
        assert told == [1.0]
        host.resume()
        await ticking
        assert told == [1.0, 11.5, 12.5]

    run(work())


def test_what_was_sent_arrives_though_the_sender_is_paused() -> None:
    async def work() -> None:
        host, arrived, answered = Host("s1"), list[float](), list[float]()

        async def carry() -> None:
            await pause(1)
            arrived.append(asyncio.get_running_loop().time())

        async def send() -> None:
            await outside(carry())
            answered.append(asyncio.get_running_loop().time())

        sending = host.start(send())
        await pause(0.5)
        host.pause()
        await pause(5)
        assert (arrived, answered) == ([1.0], [])
        host.resume()
        await sending
        assert answered == [5.5]

    run(work())


def test_a_timer_that_is_cancelled_while_its_host_is_paused_does_not_ring() -> None:
    async def work() -> None:
        host, rung = Host("s1"), list[str]()

        async def start() -> asyncio.TimerHandle:
            return asyncio.get_running_loop().call_later(1, rung.append, "late")

        timer = await host.start(start())
        host.pause()
        await pause(2)
        timer.cancel()
        host.resume()
        await pause(1)
        assert rung == []

    run(work())


def test_a_killed_host_ends_with_all_that_it_started() -> None:
    async def work() -> None:
        host = Host("s1")

        async def child() -> None:
            await pause(1_000)

        async def parent() -> None:
            await asyncio.gather(child(), child())

        task = host.start(parent())
        await pause(1)
        host.pause()
        await host.kill()
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(work())


# -- The canon


def facts(number: int, cause: Cause = Cause.UPDATE, *, erased: bool = False) -> Facts:
    return Facts("", 0, 0, "", cause, number=number, erased=erased)


def stored(number: int, done: str = "", items: str = "", trades: str = "", **more: object) -> Standing:
    return Standing(facts(number, **more), Account(items.split(), done.split(), trades.split()))  # type: ignore[arg-type]


class Court:
    """A canon, and what it has said since it was last asked."""

    def __init__(self) -> None:
        self.telling = Telling()
        self.canon = Canon(self.telling)

    def said(self) -> str:
        said = "; ".join(self.telling.violations)
        self.telling.violations.clear()
        return said


async def test_items_are_conserved() -> None:
    court = Court()
    court.canon.commits({A: (None, stored(1, items="x y")), B: (None, stored(1))})
    court.canon.commits({A: (stored(1, items="x y"), stored(2, items="y")), B: (stored(1), stored(2, items="x"))})
    assert not court.said()
    court.canon.commits({A: (stored(2, items="y"), stored(3, items="y x"))})
    assert "x is doubled" in court.said()
    court.canon.commits({A: (stored(3, items="y"), stored(4))})
    assert "y is lost" in court.said()


async def test_what_is_acknowledged_stays() -> None:
    court = Court()
    court.canon.acknowledges(A, ["1"])
    assert "acknowledged, and never stored" in court.said()
    court.canon.commits({B: (None, stored(1, done="1 2"))})
    court.canon.acknowledges(B, ["1"])
    court.canon.commits({B: (stored(1, done="1 2"), stored(2, done="1"))})
    assert not court.said()
    court.canon.commits({B: (stored(2, done="1"), stored(3))})
    assert "acknowledged, and no longer in" in court.said()


async def test_a_load_has_what_was_acknowledged_when_its_lease_was_granted() -> None:
    court = Court()
    court.canon.commits({A: (None, stored(1, done="1"))})
    court.canon.acknowledges(A, ["1"])
    court.canon.grants(A, 7)
    court.canon.commits({A: (stored(1, done="1"), stored(2, done="1 2"))})
    court.canon.acknowledges(A, ["2"])
    court.canon.begins("s1", A, 7, Account(done=["1"]))  # an answer that was long on its way
    assert not court.said()
    court.canon.begins("s2", A, 7, Account())
    assert "loaded account/a without 1" in court.said()


async def test_a_document_is_handed_over_only_to_who_asked() -> None:
    court = Court()
    court.canon.begins("s1", A, 7, Account())
    court.canon.ends("s1", A, EndReason.HANDED_OVER, asked=False)
    assert "for which nobody has asked" in court.said()


async def test_a_rollback_takes_back_what_was_acknowledged() -> None:
    court = Court()
    court.canon.commits({A: (None, stored(1, done="1"))})
    court.canon.acknowledges(A, ["1"])
    court.canon.commits({A: (stored(1, done="1"), stored(2, cause=Cause.ROLLBACK))})
    court.canon.acknowledges(A, ["1"])  # an answer that was long on its way
    court.canon.commits({A: (stored(2), stored(3))})
    assert not court.said()


async def test_a_save_follows_the_one_before() -> None:
    court = Court()
    court.canon.commits({A: (stored(4), stored(4))})
    assert "save 4 of account/a took the place of save 4" in court.said()
    court.canon.commits({A: (stored(4, done="1"), stored(5, done="1 1"))})
    assert "has twice" in court.said()


async def test_tokens_of_writers_grow() -> None:
    court = Court()
    court.canon.writes(A, 5)
    court.canon.writes(A, 5)
    assert not court.said()
    court.canon.writes(A, 4)
    assert "token 4 after token 5" in court.said()


async def test_trades_are_whole_and_once_and_not_after_they_failed() -> None:
    court = Court()
    court.canon.trade("t1", [A, B])
    court.canon.commits({A: (None, stored(1, trades="t1"))})
    assert "t1 is split" in court.said()
    court.canon.commits({A: (None, stored(1, trades="t1")), B: (None, stored(1, trades="t1"))})
    assert "t1 was made twice" in court.said()
    court.canon.fails("t1")
    assert "t1 was said to have failed" in court.said()


async def test_a_loss_is_told_once_with_what_was_not_saved() -> None:
    court = Court()
    court.canon.begins("s1", A, 7, Account())
    court.canon.changes("s1", A, Account(), Account(done=["1"]))
    court.canon.loses("s1", A, None, endangered=True)
    assert "was not handed 1" in court.said()
    court.canon.loses("s1", A, Account(done=["1"]), endangered=True)
    assert "told twice" in court.said()
    court.canon.ends("s1", A, EndReason.LEASE_LOST, asked=False)
    court.canon.begins("s1", B, 8, Account())
    court.canon.loses("s1", B, None, endangered=False)
    assert "nothing had endangered" in court.said()
    court.canon.ends("s1", B, EndReason.UNLOADED, asked=False)
    court.canon.loses("s1", B, None, endangered=True)
    assert "did not hold" in court.said()


async def test_nobody_is_left_without_an_end() -> None:
    court = Court()
    court.canon.begins("s1", A, 7, Account())
    court.canon.begins("s2", B, 8, Account())
    court.canon.sends("m1")
    court.canon.dies("s2")
    court.canon.closes()
    assert "s1 was never told" in (said := court.said())
    assert "m1 was taken, and never took effect" in said
    assert "s2" not in said


async def test_saving_and_giving_back_go_together() -> None:
    court = Court()
    court.canon.begins("s1", A, 7, Account())
    court.canon.changes("s1", A, Account(), Account(done=["1"]))
    court.canon.releases("s1", A, 7, Account(done=["1"]))
    assert not court.said()
    court.canon.releases("s1", A, 7, None)
    assert "before it has saved 1" in court.said()
    court.canon.ends("s1", A, EndReason.UNLOADED, asked=False)
    assert "never stored" in court.said()
    court.canon.saves("s1", A, 7)
    assert "after it has given it back" in court.said()


async def test_readers_are_shown_what_was_acknowledged() -> None:
    court = Court()
    court.canon.shows(A, Account(done=["1"]), frozenset({"1"}))
    assert not court.said()
    court.canon.shows(A, None, frozenset({"1"}))
    assert "was not shown 1" in court.said()


# -- The planted bugs


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_text_to_be_replaced_stands_there_once(bug: Bug) -> None:
    for change in bug.changes:
        text = (ROOT / "src" / "sojourn" / change.file).read_text(encoding="utf-8")
        assert text.count(change.old) == 1
        assert change.old != change.new
