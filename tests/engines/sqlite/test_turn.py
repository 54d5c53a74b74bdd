"""Several processes on one file: each gets its share, and none can hold the others up for ever."""

import contextlib
import fcntl
import itertools
import subprocess
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sojourn import limits
from sojourn.engines.sqlite import SqliteEngine
from sojourn.engines.sqlite.turn import Turn
from sojourn.kernel.keys import Key, Span
from sojourn.kernel.transaction import Put, Reads, Transaction

COMMITS = 2_000

# Appends to a partition of its own until both children together have made so many commits. Sixteen calls wait at any
# time, each a commit of its own, so that the child stands in the queue for the file whenever it does not have it.
HAMMER = """
    import asyncio, sys
    from sojourn.engines.sqlite import SqliteEngine
    from sojourn.kernel import ids
    from sojourn.kernel.transaction import Append, Transaction

    async def main(path, name, commits):
        engine = SqliteEngine(path)
        await engine.open()
        print("ready", flush=True)
        sys.stdin.readline()

        async def hammer():
            revision = 0
            while revision < commits:
                append = Append("fair", name, "", b"")
                ((outcome),) = await engine.commit([Transaction(ids.new(), writes=(append,))])
                revision = outcome.revision

        await asyncio.gather(*(hammer() for _ in range(16)))
        await engine.close()

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_whoever_waits_is_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who has the turn and at once asks for another does not get it before the one who waits."""
    monkeypatch.setattr(limits, "SQLITE_TURN", timedelta(hours=1))
    path.touch()
    mine, theirs = Turn(path), Turn(path)
    mine.wait()  # makes the files
    mine.leave()
    for _ in range(20):
        order: list[str] = []

        def wait_and_take(order: list[str] = order) -> None:
            theirs.wait()
            order.append("theirs")
            theirs.leave()

        mine.wait()
        rival = threading.Thread(target=wait_and_take)
        rival.start()
        wait_until_taken(path.with_name("store.db-next"))
        mine.leave()
        mine.wait()
        order.append("mine")
        mine.leave()
        rival.join()
        assert order == ["theirs", "mine"]
    mine.close()
    theirs.close()


def wait_until_taken(path: Path) -> None:
    with path.open() as file, contextlib.suppress(BlockingIOError):
        while True:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)


async def test_two_processes_share_the_file_fairly(
    engine: SqliteEngine, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    """Counted in commits, from the first of the later one to the last of the earlier one to end."""
    children = [spawn(HAMMER, name, str(COMMITS)) for name in "ab"]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.wait()
        assert child.returncode == 0
    commits = sorted([*await revisions(engine, "a"), *await revisions(engine, "b")])
    order = "".join(name for _, name in commits)
    both = order[max(map(order.index, "ab")) : min(map(order.rindex, "ab")) + 1]
    assert len(both) > COMMITS / 2
    assert min(both.count(name) for name in "ab") >= 0.3 * len(both)
    # Nearly always they alternate; a longer run is one that the scheduler made.
    assert max(len(list(run)) for _, run in itertools.groupby(both)) <= len(both) / 10


async def revisions(engine: SqliteEngine, name: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    start = ""
    while True:
        span = Span("fair", name, start=start, limit=limits.PAGE_MAX)
        (page,) = (await engine.read(Reads(spans=(span,)))).records.spans
        found += [(record.revision, name) for record in page]
        if len(page) < limits.PAGE_MAX:
            return found
        start = page[-1].key.item + "\x01"


@pytest.mark.parametrize("lock", ["next", "turn"])
async def test_a_process_stopped_in_its_turn_is_passed_by(engine: SqliteEngine, path: Path, lock: str) -> None:
    put = Transaction(writes=(Put(Key("s", "p", "i"), b""),))
    await engine.commit([put])
    with path.with_name(f"store.db-{lock}").open() as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        await engine.commit([put])
        await engine.commit([put])
    await engine.commit([put])


async def test_without_the_files_there_is_no_courtesy_and_no_failure(path: Path) -> None:
    for suffix in ("next", "turn"):
        path.with_name(f"store.db-{suffix}").mkdir()
        engine = SqliteEngine(path)
        await engine.open()
        await engine.commit([Transaction(writes=(Put(Key("s", "p", "i"), b""),))])
        await engine.close()
