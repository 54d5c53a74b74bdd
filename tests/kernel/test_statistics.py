"""What a store counts, and what observers are told of its batches."""

import asyncio
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import sojourn
from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import CommitUnknownError, ConflictError, MissingExtraError, OverloadedError, UnavailableError
from sojourn.kernel import Absent, Answer, Committed, Key, Observer, Put, Reads, Store, Transaction, Trip, ids
from sojourn.telemetry import Tracing
from sojourn.testing import FaultyEngine, ManualClock

KEY = Key("test", "here", "")
PUT = Transaction(writes=(Put(KEY, b"x"),))


class Heard:
    """An observer that notes each trip as it ended."""

    def __init__(self) -> None:
        self.trips: list[tuple[Trip, BaseException | None]] = []

    @contextmanager
    def trip(self, trip: Trip) -> Generator[None]:
        assert trip.outcomes == {}, "nothing has come back yet"
        try:
            yield
        except BaseException as error:
            self.trips.append((trip, error))
            raise
        self.trips.append((trip, None))


class Broken:
    """An observer that fails before or after each trip."""

    def __init__(self, when: str) -> None:
        self._when = when

    @contextmanager
    def trip(self, _: Trip) -> Generator[None]:
        if self._when == "before":
            raise LookupError("no before")
        yield
        raise LookupError("no after")


async def test_what_becomes_of_transactions_is_counted(store: Store) -> None:
    assert store.statistics().commits == 0
    await store.commit(PUT)
    with pytest.raises(ConflictError):
        await store.commit(Transaction(guards=(Absent(KEY),)))
    repeated = msgspec.structs.replace(PUT, id=ids.new())
    await store.commit(repeated)
    await store.commit(repeated)
    await store.read(Reads((KEY,)))
    counted = store.statistics()
    assert (counted.commits, counted.repeated, counted.conflicts) == (3, 1, 1)
    assert (counted.refused, counted.unavailable, counted.unknown, counted.failed) == (0, 0, 0, 0)
    assert (counted.batches, counted.largest_batch, counted.reads) == (4, 1, 1)
    assert (counted.waiting_transactions, counted.waiting_bytes) == (0, 0)


async def test_a_batch_is_counted_once_and_by_its_size() -> None:
    async with sojourn.open("memory:") as store:
        await asyncio.gather(*(store.commit(Transaction(writes=(Put(Key("t", str(n), ""), b""),))) for n in range(9)))
        assert (store.statistics().commits, store.statistics().batches, store.statistics().largest_batch) == (9, 1, 9)


async def test_what_waits_is_told_and_what_does_not_fit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_TRANSACTIONS", 2)
    async with sojourn.open("memory:") as store:
        waiting = [asyncio.create_task(store.commit(PUT)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await store.commit(PUT)
        assert store.statistics().waiting_transactions == 2
        assert store.statistics().waiting_bytes > 0
        await asyncio.gather(*waiting)
        assert store.statistics().waiting_transactions == store.statistics().waiting_bytes == 0
        assert (store.statistics().commits, store.statistics().unavailable) == (2, 1)


async def test_lost_answers_are_counted_when_they_are_given_up() -> None:
    clock = ManualClock()
    async with Store(FaultyEngine(MemoryEngine(clock=clock), seed=1, lose=1), clock=clock) as store, clock.rushing():
        with pytest.raises(CommitUnknownError):
            await store.commit(PUT)
        counted = store.statistics()
        assert (counted.commits, counted.unknown, counted.batches) == (0, 1, 1)
        assert counted.busy_seconds > 0, "the pauses between the repeats count"


async def test_poison_is_counted_apart_from_its_neighbours() -> None:
    poison = Transaction(writes=(Put(Key("test", "poison", ""), b""),))
    async with Store(FaultyEngine(MemoryEngine(), seed=1, poisoned=lambda asked: asked is poison)) as store:
        await asyncio.gather(*(store.commit(each) for each in (PUT, poison, PUT)), return_exceptions=True)
        assert (store.statistics().commits, store.statistics().refused, store.statistics().batches) == (2, 1, 1)


class HalfEngine(FaultyEngine):
    """Reaches the first of two transactions; its answer for the other is lost for ever."""

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        answers: list[Answer] = list(await super().commit(batch))
        return [answers[0], CommitUnknownError("lost")] if len(answers) > 1 else [CommitUnknownError("lost")]


async def test_of_a_batch_that_is_answered_in_part_each_is_counted_once() -> None:
    clock = ManualClock()
    async with Store(HalfEngine(MemoryEngine(clock=clock), seed=1), clock=clock) as store, clock.rushing():
        await asyncio.gather(store.commit(PUT), store.commit(PUT), return_exceptions=True)
        assert (store.statistics().commits, store.statistics().unknown) == (1, 1)


async def test_a_store_that_is_not_open_has_statistics_too() -> None:
    store = sojourn.open("memory:")
    assert store.statistics().commits == 0
    async with store:
        await store.commit(PUT)
    assert store.statistics().commits == 1


async def test_an_observer_is_told_of_each_trip(url: str, clock: ManualClock) -> None:
    heard = Heard()
    async with sojourn.open(url, clock=clock, observers=[heard]) as store:
        await store.commit(PUT)
        with pytest.raises(ConflictError):
            await store.commit(Transaction(guards=(Absent(KEY),)))
    (first, _), (second, _) = heard.trips
    assert (first.transactions, first.outcomes) == (1, {"committed": 1})
    assert first.size > len(b"x")
    assert second.outcomes == {"conflict": 1}


async def test_an_observer_is_told_of_a_trip_that_fails_and_of_its_repeats() -> None:
    heard = Heard()
    store = Store(FaultyEngine(MemoryEngine(), seed=1, refuse=1), observers=[heard])
    async with store:
        with pytest.raises(UnavailableError):
            await store.commit(PUT)
    ((trip, error),) = heard.trips
    assert isinstance(error, UnavailableError)
    assert trip.outcomes == {}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_observer_that_fails_harms_nobody(when: str, caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    observers: list[Observer] = [Broken(when), heard]
    async with sojourn.open("memory:", observers=observers) as store:
        assert isinstance(await store.commit(PUT), Committed)
    assert len(heard.trips) == 1
    assert f"no {when}" in caplog.text


async def test_an_observer_hides_no_error_of_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(FaultyEngine(MemoryEngine(), seed=1, refuse=1), observers=[Heard(), Broken("after")])
    async with store:
        with pytest.raises(UnavailableError, match="turned the batch away"):
            await store.commit(PUT)
    assert not caplog.records, "what the observer hands on is not its own"


def tracing() -> tuple[Tracing, InMemorySpanExporter, TracerProvider]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider), exporter, provider


async def test_a_batch_is_one_span_of_a_trace_of_its_own() -> None:
    observer, exporter, provider = tracing()
    async with sojourn.open("memory:", observers=[observer]) as store:
        with provider.get_tracer("app").start_as_current_span("a caller among many"):
            await asyncio.gather(store.commit(PUT), store.commit(PUT))
    span = next(span for span in exporter.get_finished_spans() if span.name == "sojourn.commit")
    assert span.parent is None
    assert span.attributes is not None
    assert (span.attributes["sojourn.transactions"], span.attributes["sojourn.committed"]) == (2, 2)
    assert "here" not in str(span.to_json()), "no key and no value is in it"


async def test_a_batch_that_failed_is_a_span_with_an_error() -> None:
    observer, exporter, _ = tracing()
    store = Store(FaultyEngine(MemoryEngine(), seed=1, refuse=1), observers=[observer])
    async with store:
        with pytest.raises(UnavailableError):
            await store.commit(PUT)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def test_without_open_telemetry_tracing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sojourn.telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(MissingExtraError, match=r"opentelemetry-api is not installed.*sojourn\[otel\]"):
        __import__("sojourn.telemetry")
