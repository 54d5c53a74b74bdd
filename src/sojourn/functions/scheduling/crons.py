"""Crons: functions that the clock calls.

functions.crons.interval("sweep carts", sweep_carts, minutes=5)
functions.crons.daily("report", report, hour=2, minute=30)
functions.crons.cron("remind", "0 9 * * MON-FRI", remind, arguments={"limit": 100})
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.functions.model import Function, Kind
from sojourn.functions.scheduling.rhythm import Fields, Interval, Rhythm

__all__ = ["Cron", "Crons"]

_MS: Final = timedelta(milliseconds=1)
_HOURS: Final = range(24)
_MINUTES: Final = range(60)


class Cron(msgspec.Struct, frozen=True):
    """What a cron calls, and when. Two processes that define it alike have equal ones."""

    function: str
    kind: Kind
    arguments: bytes
    rhythm: Rhythm


class Crons:
    """The crons of an application. All instants are in UTC, and the database's clock decides.

    A cron calls a mutation or an action that takes no session, in one of the processes that serve. One run at a time
    over all of them: a tick that comes while the last run goes on is skipped, and logged. Ticks that were missed while
    nobody was there are made up for by one run. A cron that no process defines any more stops.

    A name is of printable ASCII and belongs to one cron. `arguments` are those of the function, the same each time.
    """

    def __init__(self) -> None:
        self._crons: dict[str, Cron] = {}

    def __iter__(self) -> Iterator[tuple[str, Cron]]:
        """Go through the crons, by name."""
        return iter(tuple(self._crons.items()))

    def __contains__(self, name: str) -> bool:
        """Say whether there is one of this name."""
        return name in self._crons

    def interval(
        self,
        name: str,
        function: Function[..., Any],
        *,
        seconds: int | None = None,
        minutes: int | None = None,
        hours: int | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Call the function every so many seconds, minutes or hours, for the first time when it is deployed.

        However long a run takes, the next instants stay multiples of the interval from the first one on.

        Raises:
            InvalidError: not exactly one unit is given, it is no whole number from 1 on, the name is out of form or
                taken, the function is no sessionless mutation or action, or does not take the arguments.
            LimitError: there are more than `limits.CRONS`, or the interval is beyond `limits.SCHEDULE_RANGE`.
        """
        units = {"seconds": 1, "minutes": 60, "hours": 3_600}
        given = {"seconds": seconds, "minutes": minutes, "hours": hours}
        (unit, number), *more = [one for one in given.items() if one[1] is not None] or [("seconds", None)]
        if number is None or more:
            raise InvalidError("interval", "give exactly one of seconds, minutes and hours")
        if not _is_whole(number) or number < 1:
            raise InvalidError(unit, "it is a whole number, from 1 on")
        most = int(limits.SCHEDULE_RANGE.total_seconds()) // units[unit]
        if number > most:
            raise LimitError(unit, limit=most, found=number, unit=unit)
        self._add(name, function, Interval(number * units[unit] * 1_000), arguments)

    def daily(
        self,
        name: str,
        function: Function[..., Any],
        *,
        hour: int,
        minute: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Call the function once a day, at this time in UTC.

        Raises:
            InvalidError: the hour is none of 0 to 23, the minute none of 0 to 59, or as for `interval`.
            LimitError: there are more than `limits.CRONS`.
        """
        for unit, number, allowed in (("hour", hour, _HOURS), ("minute", minute, _MINUTES)):
            if not _is_whole(number) or number not in allowed:
                raise InvalidError(unit, f"it is a whole number from {allowed.start} to {allowed.stop - 1}")
        self._add(name, function, Fields(f"{minute} {hour} * * *"), arguments)

    def cron(
        self,
        name: str,
        expression: str,
        function: Function[..., Any],
        *,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Call the function in each minute that the expression names: minute, hour, day, month and day of the week.

        Fields are those of cron: `*`, numbers, names, ranges, lists and steps.

        Raises:
            InvalidError: the expression does not have five fields, or one is out of range, or together they name no
                day that ever comes; or as for `interval`.
            LimitError: there are more than `limits.CRONS`.
        """
        self._add(name, function, Fields(expression), arguments)

    def _add(
        self, name: str, function: Function[..., Any], rhythm: Rhythm, arguments: Mapping[str, Any] | None
    ) -> None:
        if not 1 <= len(name) <= limits.CRON_NAME_CHARS or not name.isascii() or not name.isprintable():
            raise InvalidError("name", f"it has 1 to {limits.CRON_NAME_CHARS} characters of printable ASCII")
        if name in self._crons:
            raise InvalidError("name", f"there is a cron {name!r} already")
        if len(self._crons) >= limits.CRONS:
            raise LimitError("crons", limit=limits.CRONS, found=len(self._crons) + 1, unit="crons")
        if function.kind is Kind.QUERY or function.takes_session:
            raise InvalidError(name, f"it calls a sessionless mutation or action, and {function!r} is none")
        rhythm.following(0, 0)  # fields out of form are found here, and not when they are due
        text = function.signature.encode(arguments or {})
        function.signature.check(text)
        self._crons[name] = Cron(function.name, function.kind, text, rhythm)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
