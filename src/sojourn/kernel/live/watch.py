"""A watch: several readings that advance together, for one who wants to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sojourn.kernel.live.reading import Reading, Transition
from sojourn.kernel.live.seat import Seat

if TYPE_CHECKING:
    from sojourn.kernel.live.live import Live

__all__ = ["Watch"]


class Watch:
    """Readings that advance together. Iterate it for transitions; leave it, close it or drop it to end it.

    After each transition, the newest answers of all its readings are those of one instant. Where the engine lacks
    `cross_partition` that is one instant for each bucket. Who is slow skips to the newest: of each reading at most one
    answer waits.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._seat = Seat()

    def change(self, add: Mapping[int, Reading] | None = None, remove: Iterable[int] = ()) -> None:
        """Watch these readings too, under numbers of your own, and those no more; at once, and in one transition.

        A number that is there is replaced; one that is removed is not heard of again. Unknown ones to remove are
        ignored.

        Raises:
            LimitError: there would be more than `limits.LIVE_READINGS`; nothing was changed.
            OverloadedError: this process has `limits.LIVE_WATCHES` watches; nothing was changed.
            ClosedError: the watch has been closed, or the store.
        """
        self._live.change(self._seat, add or {}, tuple(remove))

    def sync(self, number: int) -> None:
        """Ask that a transition show all that was committed before this call; its `synced` has the number.

        Raises:
            LimitError: `limits.LIVE_SYNCS` such questions wait already.
            ClosedError: the watch has been closed, or the store.
        """
        self._live.sync(self._seat, number)

    def close(self) -> None:
        """End it. Whoever waits for a transition is told by the end of the iteration."""
        self._live.leave(self._seat)

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._seat.is_closed

    def __aiter__(self) -> Self:
        """Iterate over the transitions, until it is closed."""
        return self

    async def __anext__(self) -> Transition:
        """Wait for the next transition. Cancelled, it loses none.

        Raises:
            ClosedError: the store has been closed.
            SojournError: what the engine says when its changes cannot be read any more.
        """
        seat = self._seat
        while True:
            await seat.woken.wait()
            if seat.failure is not None:
                raise seat.failure.with_traceback(None)  # all who watch are told by the same
            if seat.is_closed:
                raise StopAsyncIteration
            transition = seat.take()
            if transition is not None:
                return transition

    async def __aenter__(self) -> Self:
        """Do nothing: a watch begins with its first reading."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def __del__(self) -> None:
        """End it, when a loop over it was left and nobody has it any more."""
        self._live.forget(self._seat)
