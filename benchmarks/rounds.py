"""Alternating what is compared, and taking ratios within a round."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

__all__ = ["Sample", "alternated", "by_tasks", "for_each", "in_turn", "processor_us", "rates", "ratios", "wait_ms"]

K = TypeVar("K")


class Sample(msgspec.Struct, frozen=True):
    """One variant in one round: how often it was done, in how many seconds, and how long each caller waited.

    `processor` is the time that this process had a processor meanwhile, in all its threads.
    """

    done: int
    seconds: float
    waits: tuple[float, ...] = ()
    processor: float = 0.0

    @property
    def rate(self) -> float:
        """How often a second."""
        return self.done / self.seconds


async def by_tasks(tasks: int, seconds: float, keys: Sequence[K], write: Callable[[K], Awaitable[object]]) -> Sample:
    """Write from so many tasks, each to keys of its own, so that no guard ever fails; note how long each one waited."""
    waits: list[float] = []
    clock = time.perf_counter
    worked = time.process_time()
    start = clock()

    async def task(own: Sequence[K]) -> None:
        before = clock()
        for key in itertools.cycle(own):
            await write(key)
            after = clock()
            waits.append(after - before)
            if after >= start + seconds:
                return
            before = after

    async with asyncio.TaskGroup() as group:
        for number in range(tasks):
            group.create_task(task(keys[number::tasks]))
    return Sample(len(waits), clock() - start, tuple(waits), time.process_time() - worked)


async def in_turn(things: Iterable[K], do: Callable[[K], Awaitable[object]]) -> Sample:
    """Do it once for each of them, one after another, and note how long each one took."""
    waits: list[float] = []
    clock = time.perf_counter
    worked = time.process_time()
    before = start = clock()
    for thing in things:
        await do(thing)
        after = clock()
        waits.append(after - before)
        before = after
    return Sample(len(waits), before - start, tuple(waits), time.process_time() - worked)


async def for_each(things: Iterable[K], do: Callable[[K], Awaitable[object]], tasks: int) -> None:
    """Do it once for each of them, from so many tasks that share the work."""
    waiting = iter(things)

    async def task() -> None:
        for thing in waiting:
            await do(thing)

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(task())


async def alternated(
    variants: Mapping[str, Callable[[], Awaitable[Sample]]], rounds: int
) -> dict[str, tuple[Sample, ...]]:
    """Run every variant once in each round, every other round backwards, and return the samples by name."""
    samples: dict[str, list[Sample]] = {name: [] for name in variants}
    for number in range(rounds):
        names = list(variants)[:: -1 if number % 2 else 1]
        for name in names:
            samples[name].append(await variants[name]())
    return {name: tuple(of_one) for name, of_one in samples.items()}


def ratios(samples: Sequence[Sample], baseline: Sequence[Sample]) -> tuple[float, ...]:
    """Return the ratio of the rates, round by round."""
    return tuple(ours.rate / plain.rate for ours, plain in zip(samples, baseline, strict=True))


def rates(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Return the rates, round by round."""
    return tuple(sample.rate for sample in samples)


def processor_us(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Return the microseconds of processor time that each one took, round by round."""
    return tuple(1_000_000 * sample.processor / sample.done for sample in samples)


def wait_ms(samples: Sequence[Sample], share: float) -> tuple[float, ...]:
    """Return, for each round, how many milliseconds that share of the callers waited at most."""
    return tuple(1_000 * _quantile(sample.waits, share) for sample in samples)


def _quantile(waits: Sequence[float], share: float) -> float:
    if share >= 1 or len(waits) == 1:
        return max(waits)
    return statistics.quantiles(waits, n=1_000, method="inclusive")[round(share * 1_000) - 1]
