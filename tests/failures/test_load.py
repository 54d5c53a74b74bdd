"""The comparison that ends each scenario sees every broken promise: here each is broken on purpose."""

import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import sojourn
from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel import Store, ids
from sojourn.kernel.keys import Span
from sojourn.kernel.transaction import Append, Delete, DeleteSpan, Put, Transaction, Write
from sojourn.testing import FaultyEngine
from tests.failures.load import COUNTER, PARTITION, SPACE, Load, Told, ViolationError, key_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "load.db"


@pytest.fixture
async def load(path: Path) -> Load:
    """What callers were told by an engine that loses answers, and turns some callers away."""
    engine = FaultyEngine(SqliteEngine(path), 3, lose=0.6, drop=0.1, refuse=0.1, fail=0.1)
    async with Store(engine) as store:
        load = Load(store, store, random.Random(3))  # noqa: S311  repeatable
        await load.start()
        await load.reaches(40)
        await load.until(lambda: bool(load.not_written))
        await load.stop()
    return load


@pytest.fixture
async def store(load: Load, path: Path) -> AsyncIterator[Store]:
    """The same records, by an engine that fails no more."""
    async with sojourn.open(f"sqlite:///{path}") as opened:
        yield opened


async def test_lost_answers_alone_break_nothing(load: Load, store: Store) -> None:
    """Proves that an engine which only loses answers and turns callers away passes."""
    sums = await load.judge(store)
    assert sums.acknowledged >= 40
    assert sums.not_written
    assert sums.lost == 0


def put(name: str) -> tuple[Write, ...]:
    return Put(key_of(name), b""), Append(SPACE, PARTITION, "log/", name.encode())


WRITTEN: dict[str, Callable[[str, str], tuple[Write, ...]]] = {
    "acknowledged, and gone": lambda told, _: (Delete(key_of(told)),),
    "said not to have been written, and there": lambda _, refused: put(refused),
    "there, and never sent": lambda *_: put("a stranger"),
    "applied twice": lambda told, _: (Append(SPACE, PARTITION, "log/", told.encode()),),
    "there by half": lambda *_: (DeleteSpan(Span(SPACE, PARTITION, "log/"), at_most=1),),
    "more perhaps: 0": lambda *_: (Delete(COUNTER),),
}


@pytest.mark.parametrize("broken", WRITTEN)
async def test_what_is_wrong_in_the_store_is_found(broken: str, load: Load, store: Store) -> None:
    """Proves that records lost, doubled, halved or made up are told apart, and told."""
    told, refused = next(iter(load.acknowledged)), next(iter(load.not_written))
    for write in WRITTEN[broken](told, refused):
        await store.commit(Transaction(ids.new(), writes=(write,)))
    with pytest.raises(ViolationError, match=broken):
        await load.judge(store)


def unseen(load: Load) -> None:
    load.seen.discard(key_of(next(iter(load.lasting()))))  # not any: what did not last need not be seen


def counted_twice(load: Load) -> None:
    load.counted.append(load.counted[0])


def another_id(load: Load) -> None:
    for name, told in load.acknowledged.items():
        load.acknowledged[name] = Told(Transaction(ids.new(), writes=told.transaction.writes), told.revision)


def stale(load: Load) -> None:
    load.wrong.append("a read")


def fallen_back(load: Load) -> None:
    name, told = max(load.acknowledged.items())
    load.acknowledged[name] = told._replace(revision=1)


TOLD: dict[str, Callable[[Load], None]] = {
    "changes that the watcher missed": unseen,
    "counted twice": counted_twice,
    "not recognised": another_id,
    "no greater than that of the writer's one before": fallen_back,
    "reads that did not show what was there": stale,
}


@pytest.mark.parametrize("broken", TOLD)
async def test_what_callers_were_told_wrong_is_found(broken: str, load: Load, store: Store) -> None:
    """Proves that a missed change, a number given twice, a forgotten id and a stale read are found."""
    TOLD[broken](load)
    with pytest.raises(ViolationError, match=broken):
        await load.judge(store)
