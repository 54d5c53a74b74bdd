"""`make planted`: plant bugs in the documents, one at a time, and see that the simulation turns red.

    make planted                                        each bug, and the first world that breaks by it
    python -m tools.planted --bug "no fence"            the events of that world

A bug is text that stands once in a file of the library, and what takes its place in a copy of it. Some are planted for
the proof; the others are those that the simulation found while the library was written, put back.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from tools.mutants import ROOT

__all__ = ["BUGS", "Bug", "Change", "main"]

SEEDS: Final = 500
LONGEST_S: Final = 300


class Change(NamedTuple):
    """A text that stands once in a file of the library, and what takes its place."""

    file: str
    old: str
    new: str


class Bug(NamedTuple):
    """A bug: its name, what it does, and how it is planted. `found` says that the simulation found it."""

    name: str
    what: str
    changes: tuple[Change, ...]
    found: bool = False


BATCHER: Final = "kernel/batcher.py"
HOLDING: Final = "documents/holding.py"
KEEPER: Final = "kernel/keeper.py"
LEASE: Final = "kernel/lease.py"
TRANSACTING: Final = "documents/transacting.py"
WALL: Final = "clock.now() / 1_000"

BUGS: Final = (
    Bug(
        "no fence",
        "A save does not ask for the lease under which it is made.",
        (
            Change(
                HOLDING,
                "return self.lease.held, self.ledger.guard",
                "return (self.ledger.guard,)",
            ),
        ),
    ),
    Bug(
        "save without revision",
        "A save does not ask whether the document is still the one that it was made from.",
        (
            Change(
                HOLDING,
                "return self.lease.held, self.ledger.guard",
                "return (self.lease.held,)",
            ),
        ),
    ),
    Bug(
        "transaction in two commits",
        "A transaction over several documents saves one after the other.",
        (
            Change(
                TRANSACTING,
                "            outcome = await self._submitted(parts, _transaction(parts, savings, guards, writes))\n",
                "            for key in tuple(savings)[1:]:\n"
                "                await self._submitted(parts, _transaction(parts, {key: savings.pop(key)}, (), ()))\n"
                "            outcome = await self._submitted(parts, _transaction(parts, savings, guards, writes))\n",
            ),
        ),
    ),
    Bug(
        "release before save",
        "An unload gives the lease back, and then saves.",
        (
            Change(
                HOLDING,
                "                self.lease.is_ending = True\n",
                "                self.lease.is_ending = True\n"
                "                await self._kind.store.submit(self._commit_of(None))\n",
            ),
        ),
    ),
    Bug(
        "lease by local clock",
        "A holder goes by the wall clock of its host when it asks itself whether it still has the lease.",
        (
            Change(
                LEASE,
                "self._leases.store.clock.monotonic() < self.safe_until",
                f"self._leases.store.{WALL} < self.safe_until",
            ),
            Change(LEASE, "started = self._leases.store.clock.monotonic()", f"started = self._leases.store.{WALL}"),
            Change(LEASE, "started = self.store.clock.monotonic()", f"started = self.store.{WALL}"),
            Change(KEEPER, "lease.safe_until - clock.monotonic()", f"lease.safe_until - {WALL}"),
            Change(KEEPER, "if clock.monotonic() >= lease.safe_until", f"if {WALL} >= lease.safe_until"),
        ),
    ),
    Bug(
        "retry under a new id",
        "A commit whose answer was lost is sent again under another id.",
        (
            Change(
                BATCHER, "[waiting.transaction for waiting in batch]", "[_anew(each.transaction) for each in batch]"
            ),
            Change(
                BATCHER,
                "class _RefusedWhole(",
                "def _anew(sent):\n"
                "    import msgspec, os\n"
                "    return msgspec.structs.replace(sent, id=sent.id and os.urandom(16))\n"
                "class _RefusedWhole(",
            ),
        ),
    ),
    Bug(
        "lost unsaved value",
        "A holder that loses its lease is not handed what it had not saved.",
        (Change(HOLDING, "return None if self.is_saved else self.value", "return None"),),
    ),
    Bug(
        "autosave after unload",
        "A document is saved now and then although it was unloaded.",
        (
            Change("documents/keeping.py", "        entry.holding = None\n", ""),
            Change(
                HOLDING,
                "        if self.is_open and self.is_autosaving and not self.is_saved and not self._is_busy:\n"
                '            await self._try("saved", self.save)\n',
                "        await self._persist(self.ledger.saving(self.value, Cause.UPDATE), None)\n",
            ),
        ),
    ),
    Bug(
        "old value saved as new",
        "A save whose answer was lost is made again with the value of then, and counts as one of the value of now.",
        (
            Change(
                HOLDING,
                "saving = None if self.is_saved else self.ledger.saving(self.value,",
                "saving = None if self.is_saved else self.ledger.saving(saving.value if saving else self.value,",
            ),
        ),
        found=True,
    ),
    Bug(
        "update refused by a transaction",
        "An update that comes while a transaction is being committed is taken for one from within, and refused.",
        (
            Change(
                TRANSACTING,
                "                stack.callback(gate.end)\n",
                "                stack.callback(gate.end)\n                stack.enter_context(gate.changing())\n",
            ),
            Change(
                TRANSACTING,
                "            with _changing(parts):\n                new = make(values)\n",
                "            new = make(values)\n",
            ),
        ),
        found=True,
    ),
    Bug(
        "request outlives its lease",
        "A request for a document is left behind when its lease ends by itself, and the next holder hands it over.",
        (Change(LEASE, "(claim, answered, *self.writes)", "(claim, *self.writes)"),),
        found=True,
    ),
)


def main() -> int:
    """Plant every bug, or show one; 1 if the simulation did not see one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bug", choices=[bug.name for bug in BUGS], help="show what this one does")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        if asked.bug is not None:
            (bug,) = (bug for bug in BUGS if bug.name == asked.bug)
            return _show(Path(folder), bug)
        if red := _first_red(_copy(Path(folder), Bug("", "", ()))):
            print(f"without any bug seed {red[0]} breaks: {red[1]}")
            return 1
        # One after the other: each run of the simulation takes all cores.
        seen = [_seen(Path(folder), bug) for bug in BUGS]
    return 0 if all(seen) else 1


def _seen(folder: Path, bug: Bug) -> bool:
    """Say whether the simulation sees a bug, and print how."""
    red = _first_red(_copy(folder, bug))
    print(f"{bug.name:32}" + (f"seed {red[0]}: {red[1]}" if red else f"NOT SEEN in {SEEDS} worlds"), flush=True)
    return red is not None


def _show(folder: Path, bug: Bug) -> int:
    """Print the events of the first world that breaks by a bug."""
    source = _copy(folder, bug)
    red = _first_red(source)
    if red is None:
        print(f"{bug.name}: not seen in {SEEDS} worlds")
        return 1
    print(_simulate(source, "--seed", red[0]), end="")
    return 0


def _first_red(source: Path) -> tuple[str, str] | None:
    """Return the seed of a world that broke, and what it broke."""
    said = _simulate(source, "--seeds", str(SEEDS), "--stop")
    found = re.search(r"^make simulate SEED=(\d+) +# (.*)$", said, re.MULTILINE)
    return (found[1], found[2]) if found else None


def _simulate(source: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "tools.simulate", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    if run.returncode not in {0, 1} or "Traceback" in run.stderr:
        raise RuntimeError(f"the simulation ended with {run.returncode}: {run.stderr[-2000:]}")
    return run.stdout


def _copy(folder: Path, bug: Bug) -> Path:
    """Copy the library, with the bug in it.

    Raises:
        ValueError: a text to be replaced does not stand there once.
    """
    source = Path(tempfile.mkdtemp(dir=folder)) / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    for change in bug.changes:
        file = source / "sojourn" / change.file
        text = file.read_text(encoding="utf-8")
        if (times := text.count(change.old)) != 1:
            raise ValueError(
                f"{bug.name}: the text to be replaced stands {times} times in {change.file}: {change.old!r}"
            )
        file.write_text(text.replace(change.old, change.new), encoding="utf-8")
    return source


if __name__ == "__main__":
    sys.exit(main())
