"""What a live connection says, and how long it has been silent."""

from __future__ import annotations

from sojourn import limits
from sojourn.kernel.clock import Clock
from sojourn.kernel.waiting import first_of
from sojourn.server.exchange import DisconnectedError, Send

__all__ = ["Message", "Voice"]

Message = dict[str, object]
"""A message of ASGI."""


class Voice:
    """What one connection says, and how long it has been silent."""

    def __init__(self, clock: Clock, send: Send) -> None:
        self._clock = clock
        self._send = send
        self._said_at = clock.monotonic()

    async def say(self, message: Message) -> None:
        """Send a message, as soon as the connection takes one.

        Raises:
            DisconnectedError: there is nobody any more.
        """
        try:
            await self._send(message)
        except OSError as error:
            raise DisconnectedError from error
        self._said_at = self._clock.monotonic()

    async def say_last(self, *messages: Message) -> None:
        """Send these if they are taken within `limits.LIVE_STALL`; who is gone is not told."""
        try:
            await self._in_time(*messages)
        except DisconnectedError:
            return

    async def beat(self, message: Message) -> None:
        """Break every silence of `limits.LIVE_BEAT` with this message, for ever.

        Raises:
            DisconnectedError: there is nobody any more, or what was sent is not taken for `limits.LIVE_STALL`.
        """
        beat = limits.LIVE_BEAT.total_seconds()
        while True:
            silent = self._clock.monotonic() - self._said_at
            if silent < beat:
                await self._clock.sleep(beat - silent)
            else:
                await self._in_time(message)

    async def _in_time(self, *messages: Message) -> None:
        if not await first_of(self._all(*messages), self._clock.sleep(limits.LIVE_STALL.total_seconds())):
            raise DisconnectedError

    async def _all(self, *messages: Message) -> bool:
        for message in messages:
            await self.say(message)
        return True
