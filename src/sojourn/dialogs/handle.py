"""A dialog in the hands of an application: its id, and what can be done with it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import UNSET

from sojourn.dialogs.model import DialogInfo, EndCode, Ended
from sojourn.dialogs.starting import Outcome
from sojourn.kernel import Attempt

if TYPE_CHECKING:
    from sojourn.dialogs.dialogs import Dialogs

__all__ = ["Handle"]

R = TypeVar("R")


class Handle(Generic[R]):
    """One dialog, by its id. A handle is made again from the id alone, in any process: `Dialogs.handle`.

    `outcome` says what became of the start that gave this handle; None, where the handle was made from an id.
    """

    def __init__(self, dialogs: Dialogs, dialog_id: str, outcome: Outcome | None) -> None:
        self._dialogs = dialogs
        self.id = dialog_id
        self.outcome: Outcome | None = outcome

    async def wait(self, timeout: timedelta | float | None = None) -> Ended[R]:  # noqa: ASYNC109  by the store's clock
        """Wait for the end, as `Dialogs.wait` does.

        Raises:
            DialogGoneError: it was never started, or its end is forgotten. TimeoutError: it goes on.
            InvalidError: the timeout is out of form. ClosedError: the store was closed.
        """
        return await self._dialogs.wait(self.id, timeout)

    async def end(
        self,
        *,
        code: str | int = EndCode.CANCELLED,
        reason: str = "",
        result: object = UNSET,
        tx: Attempt | None = None,
    ) -> Ended[R]:
        """End it, as `Dialogs.end` does.

        Raises:
            DialogGoneError: there is no such dialog. DialogStateError: it is still starting.
            InvalidError: something is out of form. LimitError: beyond a limit.
            LeaseHeldError: others had it all the time; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; ending it again tells.
        """
        return await self._dialogs.end(self.id, code=code, reason=reason, result=result, tx=tx)

    async def info(self) -> DialogInfo | None:
        """Return what is known of it, None: nothing.

        Raises:
            CorruptError: its record is damaged. UnavailableError: the store could not be reached.
        """
        return await self._dialogs.get(self.id)
