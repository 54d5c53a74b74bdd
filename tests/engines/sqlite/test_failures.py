"""What goes wrong on a disk, and between programs: each has its own error, and the engine goes on afterwards."""

# ruff: noqa: ASYNC240  a test that looks at the file holds up nobody

import asyncio
import inspect
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from sojourn import limits
from sojourn.engines.sqlite import SqliteEngine, failures
from sojourn.engines.sqlite.batch import Batch
from sojourn.errors import (
    CommitUnknownError,
    CorruptError,
    IncompatibleError,
    InvalidError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import ids
from sojourn.kernel.engine import BatchRefusedError
from sojourn.kernel.keys import Key, RankSpan, Span
from sojourn.kernel.transaction import Committed, Put, Reads, Transaction

KEY = Key("s", "p", "i")
DRIVER_ERRORS = [kind for _, kind in inspect.getmembers(apsw, inspect.isclass) if issubclass(kind, apsw.Error)]


def put(item: str, value: bytes = b"v") -> Transaction:
    return Transaction(ids.new(), writes=(Put(KEY._replace(item=item), value),))


async def items(engine: SqliteEngine) -> list[str]:
    (page,) = (await engine.read(Reads(spans=(Span("s", "p", limit=1_000),)))).records.spans
    return [record.key.item for record in page]


async def tune(engine: SqliteEngine, statement: str) -> None:
    """Run a statement on the writer's own connection."""

    def work(batch: Batch) -> None:
        batch._execute(statement).fetchall()

    assert engine._opened is not None
    await engine._opened.writer.submit(work)


@pytest.fixture
def rival(engine: SqliteEngine, path: Path) -> Iterator[apsw.Connection]:
    """A program of somebody else's that uses the same file."""
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


@pytest.mark.parametrize("kind", DRIVER_ERRORS)
def test_no_error_of_the_driver_is_left_unexplained(kind: type[apsw.Error], path: Path) -> None:
    error = kind("the driver's own words")
    assert isinstance(failures.while_opening(error, path), IncompatibleError | InvalidError | UnavailableError)
    assert isinstance(failures.while_reading(error, path), CorruptError | UnavailableError)
    before = failures.before_commit(error, path)
    assert isinstance(before, SojournError | BatchRefusedError)
    assert not isinstance(before, CommitUnknownError)
    assert isinstance(failures.at_commit(error, path), CommitUnknownError | UnavailableError)
    assert "the driver's own words" in str(before)


async def test_a_full_disk_writes_nothing_and_says_so(engine: SqliteEngine) -> None:
    await engine.commit([put("before")])
    await tune(engine, "PRAGMA max_page_count = 40")
    with pytest.raises(UnavailableError, match="is full; make room"):
        await engine.commit([put("small"), put("large", bytes(1_000_000))])
    assert await items(engine) == ["before"]
    await tune(engine, "PRAGMA max_page_count = 4000")
    await engine.commit([put("large", bytes(1_000_000))])
    assert await items(engine) == ["before", "large"]


async def test_a_program_that_keeps_the_file_locked_is_named(
    engine: SqliteEngine, rival: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SQLITE_BUSY", timedelta(milliseconds=1))
    rival.execute("BEGIN IMMEDIATE; DELETE FROM records").fetchall()
    with pytest.raises(UnavailableError, match="another process has kept the file locked"):
        await engine.commit([put("a")])
    with pytest.raises(UnavailableError, match="locked"):
        await engine.sweep(1)
    assert await items(engine) == []  # readers wait for nobody
    rival.execute("ROLLBACK").fetchall()
    await engine.commit([put("a")])
    assert await items(engine) == ["a"]


async def test_a_poisonous_transaction_takes_the_batch_back(engine: SqliteEngine) -> None:
    """The kernel refuses such a rank; whatever slips through is refused whole, and the kernel halves the batch."""
    poison = Transaction(ids.new(), writes=(Put(KEY, b"v", rank=2**80),))
    with pytest.raises(BatchRefusedError, match="OverflowError"):
        await engine.commit([put("a"), poison, put("b")])
    assert await items(engine) == []
    first, second = await engine.commit([put("a"), put("b")])
    assert isinstance(first, Committed)
    assert isinstance(second, Committed)
    assert (first.revision, second.revision, second.repeated) == (1, 2, False)


async def test_a_damaged_file_is_told_from_a_busy_one(engine: SqliteEngine, path: Path) -> None:
    await engine.commit([put(f"{number:03}", bytes(500)) for number in range(200)])
    await engine.close()
    connection = apsw.Connection(str(path))
    (root,) = (connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'records'").get,)
    size = connection.pragma("page_size")
    connection.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : root * size] = b"\xaa" * size
    path.write_bytes(data)
    await engine.open()
    for call in (
        engine.read(Reads((KEY._replace(item="007"),))),
        engine.read(Reads(spans=(Span("s", "p", limit=1_000),))),
        engine.commit([put("007")]),
    ):
        with pytest.raises(CorruptError, match=r"is damaged .* restore a copy"):
            await call
    assert (await engine.rank(RankSpan("s"))).records == ()


async def test_a_disk_that_does_not_confirm_leaves_the_outcome_unknown(
    engine: SqliteEngine, path: Path, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    """A child may not write beyond a size; its commit fails half-way through, is repeated, and is done once."""
    child = spawn(
        """
        import asyncio, resource, sys
        from sojourn.engines.sqlite import SqliteEngine
        from sojourn.errors import CommitUnknownError, UnavailableError
        from sojourn.kernel import ids
        from sojourn.kernel.transaction import Append, Transaction

        async def main():
            engine = SqliteEngine(sys.argv[1])
            await engine.open()
            most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most))
            unknown = 0
            for number in range(100):
                once = Transaction(ids.new(), writes=(Append("s", "p", "", bytes(9_000)),))
                while True:
                    try:
                        await engine.commit([once])
                        break
                    except CommitUnknownError:
                        unknown += 1
                        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            print(unknown, flush=True)
            await engine.close()

        asyncio.run(main())
        """
    )
    told, _ = child.communicate()
    assert (told, child.returncode) == ("1\n", 0)
    assert len(await items(engine)) == 100


async def test_a_connection_that_is_lost_is_made_again(engine: SqliteEngine) -> None:
    await engine.commit([put("a")])
    assert engine._opened is not None
    engine._opened.writer._disconnect()
    await engine.commit([put("b")])
    assert await items(engine) == ["a", "b"]


async def test_a_reader_that_meets_a_lock_goes_on_beside_the_loop(
    engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash the first to come repairs the log, and keeps the others out while it does."""
    await engine.commit([put("a")])
    assert engine._opened is not None

    def busy(_: object) -> None:
        raise apsw.BusyError("database is locked")

    monkeypatch.setattr(engine._opened.reader, "snapshot", busy)
    assert await items(engine) == ["a"]
    monkeypatch.setattr(engine._opened.patient_reader, "snapshot", busy)
    with pytest.raises(UnavailableError, match="another process has kept the file locked"):
        await items(engine)


async def test_an_answer_for_a_loop_that_is_gone_hurts_nobody(path: Path) -> None:
    def forsaken() -> SqliteEngine:
        engine = SqliteEngine(path)

        async def begin() -> None:
            await engine.open()
            asyncio.ensure_future(engine.commit([put("a")]))  # noqa: RUF006
            await asyncio.sleep(0)

        asyncio.run(begin())
        return engine

    engine = await asyncio.to_thread(forsaken)
    await engine.commit([put("b")])
    assert await items(engine) == ["a", "b"]
    await engine.close()
