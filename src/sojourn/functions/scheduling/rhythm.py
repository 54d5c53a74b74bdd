"""When a cron is due: every so often, or when the five fields of an expression say so, in UTC."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from sojourn.errors import InvalidError
from sojourn.kernel.clock import moment

__all__ = ["Fields", "Interval", "Rhythm"]

_FIELDS: Final = 5


class Interval(msgspec.Struct, frozen=True, tag="interval"):
    """Due at once, and then at multiples of `every_ms` from that first instant on, however late a run was."""

    every_ms: int

    def first(self, now: int) -> int:
        """Return the first instant at which it is due."""
        return now

    def following(self, first: int, now: int) -> int:
        """Return the next instant after `now`."""
        return first + ((now - first) // self.every_ms + 1) * self.every_ms


class Fields(msgspec.Struct, frozen=True, tag="fields"):
    """Due in each minute that the five fields name."""

    text: str

    def first(self, now: int) -> int:
        """Return the first instant at which it is due."""
        return self.following(now, now)

    def following(self, first: int, now: int) -> int:  # noqa: ARG002  the clock's minutes do not begin with a deploy
        """Return the next instant after `now`.

        Raises:
            InvalidError: the fields are out of form, or name no instant.
        """
        # Loading it takes as long as the rest of the functions, so only a program that has such a cron does.
        from cronsim import CronSim, CronSimError  # noqa: PLC0415

        text = self.text
        # Its parser would take a sixth field as seconds.
        if not text.isascii() or len(text.split()) != _FIELDS:
            raise InvalidError("expression", f"{text[:80]!r} does not have the five fields of a cron")
        try:
            return int(next(CronSim(text, moment(now))).timestamp()) * 1_000
        except CronSimError as error:
            raise InvalidError("expression", f"{text[:80]!r}: {error}") from error
        except StopIteration:
            raise InvalidError("expression", f"{text[:80]!r} names a day that never comes") from None


Rhythm: TypeAlias = Interval | Fields
