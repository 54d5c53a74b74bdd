"""Alternating what is compared, and taking ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

__all__ = ["Sample", "alternated", "processor_us", "rates", "ratios", "wait_ms"]


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
