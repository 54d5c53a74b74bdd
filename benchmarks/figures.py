"""What a benchmark says: rows of figures, each with its rounds, and whether a promise is kept."""

from __future__ import annotations

import statistics

import msgspec

__all__ = ["Figure", "Pace", "Row", "count"]


class Pace(msgspec.Struct, frozen=True):
    """How long to measure: seconds of one round, rounds, and sessions where those are counted instead.

    `fetches` says whether what nothing else needs is fetched for the moment, such as what others have made.
    """

    seconds: float
    rounds: int
    sessions: int
    fetches: bool = True


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: its value in each round, and what is promised and aimed at, if anything.

    `at_most` says that less is better, and then the worst round counts; else it is the median. `exact` says that it is
    a count, which holds on any machine at any speed.
    """

    what: str
    rounds: tuple[float, ...]
    unit: str = "x"
    promise: float | None = None
    aim: float | None = None
    at_most: bool = False
    exact: bool = False

    @property
    def value(self) -> float:
        """The one number that stands for the rounds."""
        return max(self.rounds) if self.at_most else statistics.median(self.rounds)

    def keeps(self, bound: float) -> bool:
        """Say whether the value is on the right side of a bound."""
        return self.value <= bound if self.at_most else self.value >= bound

    def verdict(self) -> str:
        """Say whether promise and aim are met, and by how much they are missed."""
        if self.promise is None:
            if self.aim is None:
                return ""
            return "the aim is met" if self.keeps(self.aim) else f"the aim missed by {self._distance(self.aim)}"
        if not self.keeps(self.promise):
            return f"**missed by {self._distance(self.promise)}**"
        if self.aim is None or self.keeps(self.aim):
            return "met" if self.aim is None else "met, and the aim"
        return f"met; the aim missed by {self._distance(self.aim)}"

    def _distance(self, bound: float) -> str:
        if not bound:
            return shown(self.value, self.unit)
        return f"{abs(self.value - bound) / bound:.0%}"

    def shown_value(self) -> str:
        """The value with its unit."""
        return shown(self.value, self.unit)

    def shown_spread(self) -> str:
        """The least and the greatest of the rounds."""
        return f"{shown(min(self.rounds), '')} to {shown(max(self.rounds), '')}" if len(self.rounds) > 1 else ""

    def shown_bound(self, bound: float | None) -> str:
        """A promise or an aim, with the side of it that is right."""
        if bound is None:
            return ""
        if self.exact and not bound:
            return "0"
        return f"{'≤' if self.at_most else '≥'} {shown(bound, self.unit)}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one module measured. `absent` says why there are no figures; remarks say what they cannot."""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    remarks: tuple[str, ...] = ()
    absent: str = ""


def count(what: str, rounds: tuple[float, ...], *, most: int = 0) -> Figure:
    """Return a figure that says how often something happened, which is promised to be at most so often."""
    return Figure(what=what, rounds=rounds, unit="", promise=most, at_most=True, exact=True)


_THOUSAND = 1_000
_TEN = 10


def shown(value: float, unit: str) -> str:
    """A number with as many digits as mean something."""
    if value == int(value) or abs(value) >= _THOUSAND:
        text = f"{value:,.0f}"
    elif abs(value) >= _TEN:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text}{unit}" if unit in {"", "x", "%"} else f"{text} {unit}"
