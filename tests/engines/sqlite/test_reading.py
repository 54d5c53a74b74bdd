"""Reads: where they run, how much they take at once, and what the log answers."""

import threading
from pathlib import Path

import apsw
import pytest

from sojourn import limits
from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel import ids
from sojourn.kernel.keys import Key, RankSpan, Span
from sojourn.kernel.transaction import Append, Committed, Put, Reads, Transaction
from sojourn.testing import ManualClock

KEY = Key("s", "p", "i")
SPAN = Span("s", "p", limit=limits.PAGE_MAX)


class WitnessClock(ManualClock):
    """Remembers which threads asked for the time: every read does, once."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def now(self) -> int:
        self.threads.append(threading.current_thread().name)
        return super().now()


@pytest.fixture
def clock() -> WitnessClock:
    return WitnessClock()


async def fill(engine: SqliteEngine, records: int, size: int) -> None:
    writes = tuple(Put(KEY._replace(item=f"{number:04}"), bytes(size), rank=number) for number in range(records))
    await engine.commit([Transaction(writes=writes)])


async def test_a_short_read_runs_on_the_loop_and_a_long_one_beside_it(
    engine: SqliteEngine, clock: WitnessClock
) -> None:
    await fill(engine, 300, 10)
    clock.threads.clear()
    (short,) = (await engine.read(Reads(spans=(Span("s", "p"),)))).records.spans
    await engine.rank(RankSpan("s"))
    assert set(clock.threads) == {threading.current_thread().name}
    clock.threads.clear()
    (long,) = (await engine.read(Reads(spans=(SPAN,)))).records.spans
    page = await engine.rank(RankSpan("s", limit=limits.PAGE_MAX))
    assert set(clock.threads) == {"sojourn-sqlite-reader_0"}
    assert long[: len(short)] == short
    assert page.records == long


async def test_a_heavy_read_leaves_the_loop_half_way(engine: SqliteEngine, clock: WitnessClock) -> None:
    await fill(engine, 30, 100_000)
    reads = Reads(tuple(KEY._replace(item=f"{number:04}") for number in range(30)), (Span("s", "p"),))
    clock.threads.clear()
    records = (await engine.read(reads)).records
    assert clock.threads == [threading.current_thread().name, "sojourn-sqlite-reader_0"]
    assert (records.keys, len(records.keys)) == (records.spans[0], 30)
    clock.threads.clear()
    assert (await engine.rank(RankSpan("s"))).records == records.spans[0]
    assert len(clock.threads) == 2
    await engine.commit([Transaction(writes=(Put(KEY, b"after"),))])
    (after,) = (await engine.read(Reads((KEY,)))).records.keys  # the half-read page holds no old snapshot
    assert after is not None


async def test_a_read_waits_for_no_commit(engine: SqliteEngine, path: Path) -> None:
    await engine.commit([Transaction(writes=(Put(KEY, b"old"),))])
    rival = apsw.Connection(str(path))
    rival.execute("BEGIN IMMEDIATE; UPDATE records SET value = x'6e6577'").fetchall()
    (record,) = (await engine.read(Reads((KEY,)))).records.keys
    assert record is not None
    assert record.value == b"old"
    rival.execute("COMMIT").fetchall()
    (record,) = (await engine.read(Reads((KEY,)))).records.keys
    assert record is not None
    assert record.value == b"new"
    rival.close()


async def test_many_changes_come_in_pieces(engine: SqliteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SQLITE_LOG_KEYS", 4)
    position = (await engine.changes(None, 0)).position
    for number in range(5):
        await engine.commit([Transaction(writes=(Put(KEY._replace(item=f"{number}{side}"), b""),)) for side in "ab"])
    pieces = []
    while (changes := await engine.changes(position, 0)).keys:
        assert not changes.gap
        pieces.append(sorted(key.item for key in changes.keys))
        position = changes.position
    assert pieces == [["0a", "0b", "1a", "1b"], ["2a", "2b", "3a", "3b"], ["4a", "4b"]]


async def test_a_position_of_another_log_is_a_gap(engine: SqliteEngine, tmp_path: Path) -> None:
    other = SqliteEngine(tmp_path / "other.db")
    await other.open()
    theirs = (await other.changes(None, 0)).position
    await other.close()
    mine = (await engine.changes(None, 0)).position
    name = mine.partition("-")[0]
    for strange in (theirs, "", "-", name, f"{name}-", f"{name}--1", f"{name}-1", f"{name}-{10**30}", f"{name}-x", "0"):
        answer = await engine.changes(strange, 3_600)
        assert (answer.gap, answer.position, answer.keys) == (True, mine, frozenset())
    assert not (await engine.changes(mine, 0)).gap


async def test_the_log_keeps_a_number_of_rows(
    engine: SqliteEngine, clock: WitnessClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHANGE_LOG_ROWS", 3)
    positions = [(await engine.changes(None, 0)).position]
    for _ in range(6):
        await engine.commit([Transaction(writes=(Put(KEY, b""),))])
        positions.append((await engine.changes(None, 0)).position)
    steps = [await engine.sweep(2), await engine.sweep(2)]
    assert [(step.log_rows, step.more) for step in steps] == [(2, True), (1, False)]
    assert [(await engine.changes(position, 0)).gap for position in positions] == [True] * 3 + [False] * 4


async def test_revisions_go_on_when_all_else_is_forgotten(engine: SqliteEngine, clock: WitnessClock) -> None:
    """The log's newest row holds the counter; it outlives the records, the receipts and its own keys."""
    appended = [Append("s", "p", "", b"", ttl=limits.LEASE_TTL) for _ in range(3)]
    *_, last = [(await engine.commit([Transaction(ids.new(), writes=(append,))]))[0] for append in appended]
    clock.advance(limits.RECEIPT_KEEP)
    swept = await engine.sweep(100)
    assert (swept.expired, swept.log_rows, swept.receipts, swept.more) == (3, 3, 3, False)
    clock.advance(limits.RECEIPT_KEEP)
    assert (await engine.sweep(100)).log_rows == 1
    await engine.close()
    await engine.open()
    (next_one,) = await engine.commit([Transaction(ids.new(), writes=(Append("s", "p", "", b""),))])
    assert isinstance(last, Committed)
    assert isinstance(next_one, Committed)
    assert last.revision is not None
    assert next_one.revision == last.revision + 1
