"""`make mutants`: plant bugs, one at a time, and see that the tests of the promise each one breaks turn red.

A bug is a piece of text that stands exactly once in a file of the library, and what is put in its place in a copy of
it. Then the tests of that one promise run on one engine against the copy. A bug that they do not notice survives, and
the program fails; so it does when a text is no longer there, or when the copy without a bug is not green.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, NamedTuple

__all__ = ["BUGS", "Bug", "PROMISES", "ROOT", "main"]

ROOT: Final = Path(__file__).parents[1]
AT_ONCE: Final = 2
LONGEST_S: Final = 90

Engine = Literal["memory", "sqlite"]
ENGINES: Final[tuple[Engine, ...]] = ("memory", "sqlite")
PROMISES: Final = 13


class Bug(NamedTuple):
    """One planted bug: the promise it breaks, in words, and where."""

    promise: int
    what: str
    file: str
    old: str
    new: str
    engine: Engine = "memory"


class Verdict(NamedTuple):
    """How a run ended: green, by the first test that failed, or in some trouble that proves nothing."""

    killed_by: str = ""
    trouble: str = ""

    def __str__(self) -> str:
        """Say it in a few words."""
        return self.killed_by or f"NOT KILLED: {self.trouble or 'every test passed'}"


MEMORY: Final = "engines/memory.py"
BATCHER: Final = "kernel/batcher.py"
CHECKS: Final = "kernel/checks.py"
TRANSACTION: Final = "kernel/transaction.py"
SUBSCRIPTIONS: Final = "kernel/subscriptions.py"
STORE: Final = "kernel/store.py"
SQLITE: Final = "engines/sqlite"

BUGS: Final = (
    Bug(
        1,
        "a transaction of more than three writes loses the rest",
        MEMORY,
        "for place, write in enumerate(transaction.writes):",
        "for place, write in enumerate(transaction.writes[:3]):",
    ),
    Bug(
        1,
        "a deletion of a span takes the wrong end",
        MEMORY,
        "islice(self._scan(write.span, now), write.at_most + 1)",
        "islice(self._scan(write.span, now, reverse=write.span.reverse), write.at_most + 1)",
    ),
    Bug(
        1,
        "what was done before an error is kept",
        f"{SQLITE}/writer.py",
        "self._cursor.execute(_ROLL_BACK)",
        "self._cursor.execute(_COMMIT)",
        "sqlite",
    ),
    Bug(
        2,
        "a guard over a span only counts",
        MEMORY,
        "len(seen) == guard.count and max(seen, default=0) == guard.newest",
        "len(seen) == guard.count",
    ),
    Bug(
        2,
        "a rank that equals the bound is too high",
        MEMORY,
        "found.rank <= instant(rank, now)",
        "found.rank < instant(rank, now)",
    ),
    Bug(
        2,
        "an attempt reads a record without guarding it",
        "kernel/attempt.py",
        "self._guards[Absent(key) if record is None else RevisionIs(key, record.revision)] = None",
        "self._guards.update({Absent(key): None} if record is None else {})",
    ),
    Bug(
        2,
        "a guard over a span does not see what its batch has written",
        f"{SQLITE}/batch.py",
        "        self._write_back()\n        bindings",
        "        bindings",
        "sqlite",
    ),
    Bug(
        3,
        "the kernel shows its own writes with the wrong revision",
        STORE,
        "applied(own[key], None, outcome.now, outcome.revision or 0)",
        "applied(own[key], None, outcome.now, 0)",
    ),
    Bug(
        3,
        "a batch answers reads before its writes are in the file",
        f"{SQLITE}/batch.py",
        "            return _NO_RECORDS\n        self._write_back()\n",
        "            return _NO_RECORDS\n",
        "sqlite",
    ),
    Bug(
        4,
        "a touch draws a revision",
        TRANSACTION,
        "return msgspec.structs.replace(found, rank=new_rank, expires_at=new_expiry)",
        "return msgspec.structs.replace(found, rank=new_rank, expires_at=new_expiry, revision=revision)",
    ),
    Bug(
        4,
        "revisions fall back when the newest record goes",
        MEMORY,
        "revision = self._revision + 1",
        "revision = max((record.revision for record in self._records.values()), default=0) + 1",
    ),
    Bug(
        5,
        "a record lives one millisecond too long",
        MEMORY,
        "return record.expires_at is None or record.expires_at > now",
        "return record.expires_at is None or record.expires_at >= now",
    ),
    Bug(
        5,
        "the sweep is silent",
        MEMORY,
        "self._announce(frozenset(due), now)",
        "self._announce(frozenset(), now)",
    ),
    Bug(
        5,
        "the sweep goes by an expiry that was put off",
        MEMORY,
        "self._expiries.remove((old_expiry, key))",
        "pass",
    ),
    Bug(
        6,
        "now is not rounded up to its step",
        TRANSACTION,
        "-(-at // number.step) * number.step",
        "at // number.step * number.step",
    ),
    Bug(
        6,
        "commits go by the host's clock",
        MEMORY,
        '"""Apply the batch, in order, within one step of the loop."""\n        now = self._clock.now()',
        '"""Apply the batch, in order, within one step of the loop."""\n        now = SystemClock().now()',
    ),
    Bug(
        6,
        "time steps back with the host's clock",
        "kernel/clock.py",
        "seen = max(now, self._seen)",
        "seen = now",
    ),
    Bug(
        7,
        "receipts are kept in memory only",
        f"{SQLITE}/batch.py",
        "if self._new_receipts:",
        "if not self._new_receipts:",
        "sqlite",
    ),
    Bug(
        7,
        "a commit is rolled back and answered all the same",
        f"{SQLITE}/writer.py",
        '_COMMIT = query("commit")',
        '_COMMIT = query("roll back")',
        "sqlite",
    ),
    Bug(
        7,
        "an engine says that it is durable and is not",
        MEMORY,
        "durable=False",
        "durable=True",
    ),
    Bug(
        8,
        "a page begins with the last record of the one before",
        MEMORY,
        "inclusive=(not behind, False)",
        "inclusive=(True, False)",
    ),
    Bug(
        8,
        "items sort without regard to case",
        f"{SQLITE}/schema.sql",
        "    item TEXT NOT NULL,",
        "    item TEXT COLLATE NOCASE NOT NULL,",
        "sqlite",
    ),
    Bug(
        9,
        "deletions are not told",
        MEMORY,
        "if after is None or after.revision == revision:",
        "if after is not None and after.revision == revision:",
    ),
    Bug(
        9,
        "the first part of a long log passes for all of it",
        f"{SQLITE}/changes.py",
        "            more = True\n",
        "            more = False\n",
        "sqlite",
    ),
    Bug(
        9,
        "a log that was trimmed is silent about it",
        MEMORY,
        "if not self._floor <= start <= self._position:",
        "if not 0 <= start <= self._position:",
    ),
    Bug(
        9,
        "a subscriber who joins others is forgotten",
        SUBSCRIPTIONS,
        "            self._listeners(scope)[listener] = None\n",
        "            self._listeners(scope) or self._listeners(scope).setdefault(listener)\n",
    ),
    Bug(
        10,
        "a conflict does not say what it found",
        MEMORY,
        "found = None if isinstance(guard, SpanIs) else self._live(guard.key, now)",
        "found = None",
    ),
    Bug(
        10,
        "poison hurts its neighbours",
        BATCHER,
        "await self._deliver(refused[middle:], unknown=refusal.unknown)",
        "_settle(refused[middle:], [Refused(str(refusal.cause))] * len(refused[middle:]), unknown=False)",
    ),
    Bug(
        10,
        "a driver's error leaves the engine",
        f"{SQLITE}/failures.py",
        '    return BatchRefusedError(f"{type(error).__name__}: {error}")',
        "    raise error",
        "sqlite",
    ),
    Bug(
        11,
        "NUL is looked for as the whole name only",
        CHECKS,
        'if "\\0" in text:',
        'if text == "\\0":',
    ),
    Bug(
        11,
        "what is exactly at its limit is refused",
        CHECKS,
        "if found > most:",
        "if found >= most:",
    ),
    Bug(
        12,
        "a transaction whose caller has left is committed all the same",
        BATCHER,
        "if not waiting.outcome.done():  # done here means cancelled by its caller",
        "if waiting is not None:",
    ),
    Bug(
        12,
        "a caller who leaves the queue takes its turn along",
        "kernel/turns.py",
        "            self.give_back(taken)\n            raise\n",
        "            raise\n",
    ),
    Bug(
        12,
        "a closed engine leaves its writer running",
        f"{SQLITE}/engine.py",
        "        self.writer.stop()",
        "        self.patient_reader.close()",
        "sqlite",
    ),
    Bug(
        13,
        "only what draws a revision gets a receipt",
        MEMORY,
        "        if transaction.id is not None:\n            until",
        "        if transaction.id is not None and drawn:\n            until",
    ),
    Bug(
        13,
        "a repeat answers its own attempt",
        MEMORY,
        "repeated=True, attempt=receipt.attempt)",
        "repeated=True, attempt=transaction.attempt)",
    ),
    Bug(
        13,
        "a lost answer is taken for nothing written",
        BATCHER,
        "            except CommitUnknownError:\n                unknown = True\n",
        '            except CommitUnknownError:\n                raise UnavailableError("lost") from None\n',
    ),
)


def main() -> int:
    """Try every bug, print what killed it, and return 1 if one survived."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(AT_ONCE) as workers:
        for engine, sound in zip(ENGINES, workers.map(lambda engine: _run(Path(folder), engine), ENGINES), strict=True):
            if sound != Verdict():
                print(f"without any bug the tests of {engine} are not green: {sound.killed_by or sound.trouble}")
                return 1
        verdicts = list(workers.map(lambda bug: _run(Path(folder), bug.engine, bug), BUGS))
    what, file = max(len(bug.what) for bug in BUGS), max(len(bug.file) for bug in BUGS)
    print(f"{'promise':8}{'bug':{what}}  {'planted in':{file}}  killed by")
    for bug, verdict in zip(BUGS, verdicts, strict=True):
        print(f"{bug.promise:<8}{bug.what:{what}}  {bug.file:{file}}  {verdict}")
    killed = sum(bool(verdict.killed_by) for verdict in verdicts)
    unbroken = sorted(set(range(1, PROMISES + 1)) - {bug.promise for bug in BUGS})
    print(f"{killed} of {len(BUGS)} bugs were killed; promises without a bug: {unbroken or 'none'}")
    return 0 if killed == len(BUGS) and not unbroken else 1


def _run(folder: Path, engine: str, bug: Bug | None = None) -> Verdict:
    """Run the tests of one engine against a copy of the library, with the bug and for its promise only."""
    copy = Path(tempfile.mkdtemp(dir=folder))
    source = copy / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    only = list[str]()
    if bug is not None:
        if trouble := _plant(bug, source):
            return Verdict(trouble=trouble)
        only = ["--promise", str(bug.promise)]
    command = [sys.executable, "-m", "pytest", "-p", "sojourn.testing.plugin", "-p", "no:cacheprovider", *only]
    command += ["-x", "-q", "--tb=line", "--basetemp", str(copy / "tmp"), f"tests/engines/test_conformance_{engine}.py"]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Verdict(trouble=f"the tests did not end within {LONGEST_S} s")
    if run.returncode == 0:
        return Verdict()
    failed = re.search(r"^FAILED \S+?::(.+?)( - .*)?$", run.stdout, re.MULTILINE)
    if run.returncode == 1 and failed:
        return Verdict(killed_by=failed[1])
    return Verdict(trouble=f"pytest ended with {run.returncode}: {(run.stdout + run.stderr)[-500:]}")


def _plant(bug: Bug, source: Path) -> str:
    """Put the bug into the copy; return what is in the way."""
    file = source / "sojourn" / bug.file
    text = file.read_text(encoding="utf-8")
    if (times := text.count(bug.old)) != 1:
        return f"the text to be replaced stands there {times} times: {bug.old!r}"
    file.write_text(text.replace(bug.old, bug.new), encoding="utf-8")
    return ""


if __name__ == "__main__":
    sys.exit(main())
