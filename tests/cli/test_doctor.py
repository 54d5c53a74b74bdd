"""`sojourn doctor`: each check is seen to be ok, and seen to say that something is not."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from sojourn.cli import doctor
from sojourn.cli.doctor import Check
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import UnavailableError
from sojourn.kernel import Conflict, Delete, Engine, Outcome, Put, Reads, Snapshot, Store, SystemClock, Transaction
from sojourn.kernel.engine import Description, Finding
from sojourn.testing import FaultyEngine, ManualClock

from .conftest import Run

NAMES = ["open", "engine", "durable", "across", "watch", "write", "commit", "clock", "dialogs", "journal"]


async def examined(engine: Engine) -> dict[str, Check]:
    """What the checks find on an engine."""
    return {check.name: check async for check in doctor.checks(Store(engine))}


def test_a_store_in_order_passes_every_check(url: str, run: Run) -> None:
    """Proves that each check is a line of a few words that fits the terminal, all ok, with exit code 0."""
    ran = run("doctor")
    lines = ran.out.splitlines()
    assert (ran.code, ran.err, [line.split()[:2] for line in lines]) == (0, "", [["ok", name] for name in NAMES])
    assert max(map(len, lines)) <= 80


def test_the_figures_are_there_for_programs(url: str, run: Run) -> None:
    """Proves that --json has what was measured as numbers: the commits and the clock."""
    diagnosis = json.loads(run("doctor", "--json").out)
    assert list(diagnosis) == ["healthy", "checks"]
    checks = {check["name"]: check for check in diagnosis["checks"]}
    assert (diagnosis["healthy"], list(checks)) == (True, NAMES)
    commit = checks["commit"]["figures"]
    assert 0 < commit["least_ms"] <= commit["median_ms"] <= commit["most_ms"]
    assert checks["engine"]["figures"]["engine"] == "sqlite"
    assert abs(checks["clock"]["figures"]["engine_ahead_ms"]) < 1_000


def test_a_store_that_cannot_be_opened_has_failed(folder: Path, run: Run) -> None:
    """Proves that this is a check like any other: named with its error's code, exit code 1, no further checks."""
    (folder / "notes.txt").write_text("not a database, and longer than a header " * 9, encoding="utf-8")
    ran = run("doctor", "--store", "sqlite:///notes.txt")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out.startswith(f"failed   open     incompatible: {folder}/notes.txt is not an SQLite database")
    assert len(ran.out.splitlines()) == 1
    diagnosis = json.loads(run("doctor", "--store", "sqlite:///notes.txt", "--json").out)
    assert (diagnosis["healthy"], [check["status"] for check in diagnosis["checks"]]) == (False, ["failed"])


async def test_what_the_engine_finds_is_told() -> None:
    """Proves that a finding with an advice is a warning, one without is ok, and one that fails is a failed check."""

    class Examined(MemoryEngine):
        async def examine(self) -> Sequence[Finding]:
            return (Finding("memory", "7 GB free"), Finding("policy", "it forgets", "set it to noeviction"))

    checks = await examined(Examined())
    assert checks["memory"] == Check("memory", "ok", "7 GB free")
    assert checks["policy"] == Check("policy", "warning", "it forgets", "set it to noeviction")

    class Unreached(MemoryEngine):
        async def examine(self) -> Sequence[Finding]:
            raise UnavailableError("it has gone")

    assert (await examined(Unreached()))["settings"] == Check("settings", "failed", "unavailable: it has gone")


async def test_it_leaves_nothing_behind() -> None:
    """Proves that the records it writes stand in its own space, would expire, and are deleted again."""
    puts, deletes = list[Put](), list[Delete]()

    class Watched(MemoryEngine):
        async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
            for write in (write for transaction in batch for write in transaction.writes):
                puts.extend([write] if isinstance(write, Put) else [])
                deletes.extend([write] if isinstance(write, Delete) else [])
            return await super().commit(batch)

    assert (await examined(Watched()))["write"].status == "ok"
    assert {write.key.space for write in puts} == {doctor.SPACE}
    assert all(write.ttl == timedelta(minutes=1) for write in puts)
    assert {write.key for write in puts} == {write.key for write in deletes}


async def test_an_engine_that_forgets_is_a_warning() -> None:
    """Proves that less than durable is said with what to do about it, and is no failure."""
    check = (await examined(MemoryEngine()))["durable"]
    assert check.status == "warning"
    assert check.advice


async def test_what_an_engine_cannot_do_is_said() -> None:
    """Proves that a missing capability changes what is said: it is declared, so it is no fault."""

    class Narrow(MemoryEngine):
        def describe(self) -> Description:
            return msgspec.structs.replace(super().describe(), cross_partition=False, cross_process_watch=False)

    checks = await examined(Narrow())
    assert checks["across"].found.startswith("one commit writes to one partition")
    assert "this process only" in checks["watch"].found
    assert checks["across"].status == checks["watch"].status == "ok"


@pytest.mark.parametrize(
    ("fault", "failed"), [("refuse", {"write", "commit"}), ("fail", {"write", "clock", "dialogs"})]
)
async def test_an_engine_that_turns_callers_away_has_failed(fault: str, failed: set[str]) -> None:
    """Proves that each check fails by itself, with the code of its error, and the others are still made."""
    rates = {"refuse": 0.0, "fail": 0.0, fault: 1.0}
    checks = await examined(FaultyEngine(MemoryEngine(), 1, refuse=rates["refuse"], fail=rates["fail"]))
    assert {name for name, check in checks.items() if check.status == "failed"} == failed
    assert all(checks[name].found.startswith("unavailable: ") for name in failed)
    assert list(checks) == NAMES[:-1]


class Unguarded(MemoryEngine):
    """Lets everything pass."""

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        return await super().commit([msgspec.structs.replace(each, guards=()) for each in batch])


class Undeleting(MemoryEngine):
    """Keeps what is to be deleted."""

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        kept = [tuple(write for write in each.writes if not isinstance(write, Delete)) for each in batch]
        pairs = zip(batch, kept, strict=True)
        return await super().commit([msgspec.structs.replace(each, writes=writes) for each, writes in pairs])


class Blind(MemoryEngine):
    """Reads nothing."""

    async def read(self, reads: Reads) -> Snapshot:
        return await super().read(Reads(tuple(key._replace(item="elsewhere") for key in reads.keys)))


class Balking(MemoryEngine):
    """Is away when it should refuse."""

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        outcomes = await super().commit(batch)
        if any(isinstance(outcome, Conflict) for outcome in outcomes):
            raise UnavailableError("away")
        return outcomes


async def test_an_engine_that_is_away_has_not_refused() -> None:
    """Proves that only a conflict counts as a guard's refusal."""
    check = (await examined(Balking()))["write"]
    assert (check.status, check.found) == ("failed", "unavailable: away")


@pytest.mark.parametrize(
    ("engine", "found"),
    [
        (Unguarded, "a guard let pass what it has to refuse"),
        (Undeleting, "what was deleted is still there"),
        (Blind, "what was written was not read back"),
    ],
)
async def test_an_engine_that_breaks_a_promise_has_failed(engine: type[MemoryEngine], found: str) -> None:
    """Proves that guards, reading back and deleting are really tried, and advises against the engine."""
    check = (await examined(engine()))["write"]
    assert (check.status, check.found) == ("failed", found)
    assert check.advice is not None
    assert "sojourn.testing.conformance" in check.advice


@pytest.mark.parametrize(("ahead", "words"), [(timedelta(hours=-1), "behind"), (timedelta(hours=1), "ahead of")])
async def test_a_clock_that_is_off_is_a_warning(ahead: timedelta, words: str) -> None:
    """Proves that an engine's clock an hour away from the host's is seen, with its direction, and explained."""
    now = SystemClock().now() + ahead // timedelta(milliseconds=1)
    check = (await examined(MemoryEngine(clock=ManualClock(now))))["clock"]
    assert check.status == "warning"
    assert f" s {words} this host's" in check.found
    assert "3,600." in check.found or "3,599." in check.found
    assert check.advice
