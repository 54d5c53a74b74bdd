"""Opening: what is refused, in words that say what to do, and what is left alone."""

# ruff: noqa: ASYNC240  a test that looks at the file holds up nobody

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from sojourn.engines.sqlite import SqliteEngine
from sojourn.engines.sqlite.database import APPLICATION_ID, SCHEMA_VERSION
from sojourn.errors import IncompatibleError, InvalidError
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import Put, Reads, Transaction

NOBODY = 65_534


def database(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's right to write everywhere for a while; whoever runs the tests as somebody else has none."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody may look into: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


async def test_making_an_engine_does_no_io(tmp_path: Path) -> None:
    SqliteEngine(tmp_path / "missing" / "store.db").describe()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="is a folder; name a file in it"):
        await SqliteEngine(tmp_path).open()


async def test_a_missing_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="does not exist; create it"):
        await SqliteEngine(tmp_path / "missing" / "store.db").open()
    assert list(tmp_path.iterdir()) == []


async def test_a_read_only_file_is_refused(public_folder: Path) -> None:
    path = public_folder / "store.db"
    engine = SqliteEngine(path)
    await engine.open()
    await engine.close()
    path.chmod(0o444)
    with unprivileged(), pytest.raises(InvalidError, match="is read-only for this process; make it writable"):
        await engine.open()


async def test_a_read_only_folder_is_refused(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    with unprivileged(), pytest.raises(InvalidError, match="read-only for this process; SQLite keeps files beside"):
        await SqliteEngine(public_folder / "store.db").open()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("dear diary\n" * 1_000)
    with pytest.raises(IncompatibleError, match="is not an SQLite database"):
        await SqliteEngine(path).open()
    assert path.read_text() == "dear diary\n" * 1_000


@pytest.mark.parametrize("mark", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 3"])
async def test_the_database_of_another_program_is_refused_and_left_alone(path: Path, mark: str) -> None:
    database(path, mark)
    before = path.read_bytes()
    with pytest.raises(IncompatibleError, match="database of another program; name another file"):
        await SqliteEngine(path).open()
    assert path.read_bytes() == before


async def test_a_store_of_a_newer_release_is_refused(engine: SqliteEngine, path: Path) -> None:
    await engine.close()
    database(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(IncompatibleError, match=r"newer release.*upgrade sojourn"):
        await engine.open()


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    engine = SqliteEngine(path)
    await engine.open()
    await engine.close()
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    marks = [connection.pragma(name) for name in ("application_id", "user_version", "journal_mode")]
    connection.close()
    assert marks == [APPLICATION_ID, SCHEMA_VERSION, "wal"]


async def test_a_name_that_means_something_to_sqlite_is_a_plain_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:x.db?mode=memory"):
        engine = SqliteEngine(name)
        await engine.open()
        assert (tmp_path / name).is_file()
        await engine.close()


async def test_open_and_close_may_be_called_again_and_again(engine: SqliteEngine) -> None:
    key = Key("s", "p", "i")
    await asyncio.gather(engine.open(), engine.open())
    await engine.commit([Transaction(writes=(Put(key, b"kept"),))])
    for _ in range(3):
        await asyncio.gather(engine.close(), engine.close())
        await engine.open()
    (record,) = (await engine.read(Reads((key,)))).records.keys
    assert record is not None
    assert record.value == b"kept"


async def test_one_of_many_processes_makes_the_store(
    path: Path, spawn: Callable[..., subprocess.Popen[str]], engine: SqliteEngine
) -> None:
    """Six processes open a file that none of them has seen, at once; each then finds what the others wrote."""
    fresh = path.with_name("fresh.db")
    children = [
        spawn(
            """
            import asyncio, sys
            from sojourn.engines.sqlite import SqliteEngine
            from sojourn.kernel.keys import Key
            from sojourn.kernel.transaction import Put, Transaction

            async def main():
                engine = SqliteEngine(sys.argv[2])
                print("ready", flush=True)
                sys.stdin.readline()
                await engine.open()
                position = (await engine.changes(None, 0)).position
                await engine.commit([Transaction(writes=(Put(Key("s", "p", sys.argv[3]), b""),))])
                print(position.partition("-")[0], flush=True)
                sys.stdin.readline()
                await engine.close()

            asyncio.run(main())
            """,
            str(fresh),
            str(number),
        )
        for number in range(6)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    identities = {child.stdout.readline() for child in children if child.stdout is not None}
    assert len(identities) == 1
    assert identities != {""}
    for child in children:
        child.communicate("end\n")
        assert child.returncode == 0
    connection = apsw.Connection(str(fresh))
    rows = connection.execute("SELECT count(*) FROM store UNION ALL SELECT count(*) FROM records").fetchall()
    connection.close()
    assert rows == [(1,), (6,)]
