"""Closing: everything handed over is done, everything opened is given back."""

# ruff: noqa: ASYNC240  a test that looks at the file holds up nobody

import asyncio
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sojourn.engines.sqlite import SqliteEngine
from sojourn.errors import ClosedError
from sojourn.kernel.keys import Key, RankSpan
from sojourn.kernel.transaction import Committed, Put, Reads, Transaction

KEY = Key("s", "p", "i")
PUT = Transaction(writes=(Put(KEY, b"v"),))


def held() -> tuple[set[str], int]:
    """The threads of this process by name, and the number of files that it has open."""
    return {thread.name for thread in threading.enumerate()}, len(list(Path("/dev/fd").iterdir()))


async def test_no_thread_and_no_file_stays(path: Path) -> None:
    engine = SqliteEngine(path)
    await engine.open()
    await engine.close()
    before = held()
    for _ in range(5):
        await engine.open()
        await engine.commit([PUT])
        await engine.read(Reads((KEY,) * 500))
        assert held() != before
        await engine.close()
        assert held() == before


async def test_a_failed_opening_leaves_nothing(tmp_path: Path, path: Path) -> None:
    path.write_text("not a database, however long one looks at it")
    before = held()
    for wrong in (tmp_path, tmp_path / "missing" / "store.db", path):
        with pytest.raises(Exception, match=str(tmp_path)):
            await SqliteEngine(wrong).open()
    assert held() == before


async def test_a_cancelled_opening_leaves_nothing(path: Path) -> None:
    before = held()
    engine = SqliteEngine(path)
    opening = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert held() == before
    with pytest.raises(ClosedError):
        await engine.commit([PUT])


async def test_a_closed_engine_refuses_everything(engine: SqliteEngine) -> None:
    await engine.close()
    for call in (
        engine.commit([PUT]),
        engine.read(Reads((KEY,))),
        engine.rank(RankSpan("s")),
        engine.changes(None, 0),
        engine.sweep(1),
    ):
        with pytest.raises(ClosedError, match="is not open"):
            await call


async def test_closing_finishes_what_was_handed_over(engine: SqliteEngine) -> None:
    commits = [asyncio.create_task(engine.commit([PUT])) for _ in range(20)]
    await asyncio.sleep(0)
    await engine.close()
    outcomes = [outcome for commit in commits for outcome in await commit]
    assert [outcome.revision for outcome in outcomes if isinstance(outcome, Committed)] == list(range(1, 21))


async def test_closing_ends_a_wait_for_changes(engine: SqliteEngine) -> None:
    position = (await engine.changes(None, 0)).position
    waiting = asyncio.create_task(engine.changes(position, 3_600))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(ClosedError):
        await waiting


async def test_a_cancelled_close_goes_on_closing(path: Path) -> None:
    before = held()
    engine = SqliteEngine(path)
    await engine.open()
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await engine.open()  # a new writer, on the file that the old one lets go of
    await engine.commit([PUT])
    await engine.close()
    while held() != before:  # noqa: ASYNC110  the old one may still be at it, and nobody is told when it is done
        await asyncio.sleep(0)


async def test_a_cancelled_commit_is_applied_and_holds_up_nobody(engine: SqliteEngine) -> None:
    commit = asyncio.create_task(engine.commit([PUT]))
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    (after,) = await engine.commit([Transaction(reads=Reads((KEY,)))])
    assert isinstance(after, Committed)
    assert after.records.keys[0] is not None


async def test_the_last_to_close_leaves_one_file_of_data(engine: SqliteEngine, path: Path) -> None:
    await engine.commit([PUT])
    assert path.with_name("store.db-wal").stat().st_size > 0
    await engine.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["store.db", "store.db-next", "store.db-turn"]


async def test_a_program_that_forgets_to_close_still_ends(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    child = spawn(
        """
        import asyncio, sys
        from sojourn.engines.sqlite import SqliteEngine

        asyncio.run(SqliteEngine(sys.argv[1]).open())
        """
    )
    child.communicate()
    assert child.returncode == 0
