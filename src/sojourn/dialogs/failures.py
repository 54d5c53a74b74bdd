"""What happens to errors: who is told of which, by their class. Nothing that the told one does can make it worse.

    async def say_so(error: PaymentRefused, ctx: Context) -> None:
        if ctx.interaction is not None:
            await ctx.interaction.responder.notify("The payment was refused.")

    dialogs.errors.update.set(PaymentRefused, say_so)

What fails when a dialog starts, is used, or ends goes to `errors.start`, `errors.update` and `errors.end`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sojourn.errors import InvalidError

if TYPE_CHECKING:
    from sojourn.dialogs.context import Context

__all__ = ["Consumer", "ErrorHandlers", "Errors", "as_error", "contained", "is_cancelled"]

E = TypeVar("E", bound=Exception)

Consumer: TypeAlias = Callable[[E, "Context"], Awaitable[object] | object]
"""Is told of an error, and of the interaction that it came of. What it returns is ignored."""

_log = logging.getLogger(__name__)


class ErrorHandlers:
    """Who is told of the errors of one phase: by the error's own class, else by the nearest class above it."""

    def __init__(self, phase: str) -> None:
        self._phase = phase
        self._consumers: dict[type[Exception], Consumer[Any]] = {}
        self._fallback: Consumer[Any] = self._logged

    def set(self, kind: type[E], consumer: Consumer[E]) -> None:
        """Tell this consumer of errors of this class, and of those below it that have none. It replaces another.

        Raises:
            InvalidError: the class is none of exceptions, or the consumer cannot be called.
        """
        if Exception not in getattr(kind, "__mro__", ()):
            raise InvalidError("kind", "it is a class derived from Exception")
        self._consumers[kind] = _checked(consumer)

    def remove(self, kind: type[Exception]) -> bool:
        """Tell nobody of this very class any more; False: nobody was."""
        return self._consumers.pop(kind, None) is not None

    def clear(self) -> None:
        """Forget every consumer, and the fallback."""
        self._consumers.clear()
        self._fallback = self._logged

    def get(self, error: type[BaseException] | BaseException) -> Consumer[Any] | None:
        """Return who is told of an error, or of the errors of a class; None: the fallback."""
        kind = error if isinstance(error, type) else type(error)
        return next((self._consumers[one] for one in kind.__mro__ if one in self._consumers), None)

    def has(self, error: type[BaseException] | BaseException) -> bool:
        """Say whether a consumer is told of an error, or of the errors of a class."""
        return self.get(error) is not None

    def set_fallback(self, consumer: Consumer[Exception] | None) -> None:
        """Tell this one of what has no consumer; None: it is logged.

        Raises:
            InvalidError: it cannot be called.
        """
        self._fallback = self._logged if consumer is None else _checked(consumer)

    async def tell(self, error: BaseException, ctx: Context) -> bool:
        """Tell who is to be told, once, and wait for that; return whether a consumer has dealt with it.

        What it raises is logged, and then nobody has dealt with it; nor has the fallback. Cancelled, it stops waiting,
        and that goes on to the caller.
        """
        consumer = self.get(error)
        try:
            told = (consumer or self._fallback)(error, ctx)
            if inspect.isawaitable(told):
                await told
        except (Exception, asyncio.CancelledError) as raised:
            if is_cancelled(raised):
                raise
            _log.exception(
                "who handles errors of the %s of dialogs has failed at that of %s", self._phase, ctx.dialog_id
            )
            return False
        return consumer is not None

    def _logged(self, error: BaseException, ctx: Context) -> None:
        _log.error("the %s of dialog %s has failed", self._phase, ctx.dialog_id, exc_info=error)


class Errors:
    """Who is told of the errors of dialogs: when they start, when they are used, and when they end."""

    def __init__(self) -> None:
        self.start = ErrorHandlers("start")
        self.update = ErrorHandlers("update")
        self.end = ErrorHandlers("end")


def is_cancelled(error: BaseException) -> bool:
    """Say whether an error means that this task was cancelled, and not one that somebody waited for in it."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def contained(work: Callable[[], Awaitable[object]], what: str) -> bool:
    """Do something on a platform, and wait for it; that it fails there is logged, and is nobody's else.

    Return whether it said so, for what says so.
    """
    try:
        return bool(await work())
    except (Exception, asyncio.CancelledError) as error:
        if is_cancelled(error):
            raise
        _log.exception("%s failed", what)
        return False


def as_error(error: BaseException) -> Exception:
    """Return it as an error: that something which was waited for was cancelled is one like others."""
    return error if isinstance(error, Exception) else RuntimeError(f"what it waited for was cancelled: {error!r}")


def _checked(consumer: Consumer[E]) -> Consumer[E]:
    given: object = consumer
    if not callable(given):
        raise InvalidError("consumer", "it can be called with the error and the context")
    return consumer
