"""Watching one query in this process."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sojourn.kernel.live import Reading, Watch

__all__ = ["Watching"]

R = TypeVar("R")


class Watching(Generic[R]):
    """The results of a query, from the present one on. Iterate it; leave it, close it or drop it to end it.

    What the query raises ends a loop, not the watching: a new loop goes on with the next result. A session that has
    ended stays so, and who goes on then waits for ever.
    """

    def __init__(self, watch: Watch, reading: Reading, load: Callable[[bytes], Any]) -> None:
        self._watch = watch
        self._reading: Reading | None = reading
        self._load = load

    def __aiter__(self) -> Self:
        """Iterate over the results, until it is closed."""
        return self

    async def __anext__(self) -> R:
        """Wait for the next result. Cancelled, it loses none.

        Raises:
            SessionInvalidError: the session has ended.
            ClosedError: the store has been closed.
            Exception: what the query raises.
        """
        if self._reading is not None and not self._watch.is_closed:
            self._watch.change({0: self._reading})
            self._reading = None
        async for transition in self._watch:
            for update in transition.updates:
                if update.error is not None:
                    raise update.error.with_traceback(None)  # all who watch are told by the same
                assert update.result is not None
                result: R = self._load(update.result)
                return result
        raise StopAsyncIteration

    def close(self) -> None:
        """End it, and the loop over it."""
        self._watch.close()

    async def __aenter__(self) -> Self:
        """Do nothing: it begins with the first iteration."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it."""
        self.close()
