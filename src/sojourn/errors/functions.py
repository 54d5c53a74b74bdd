"""What goes wrong when a function is called."""

from __future__ import annotations

from typing import ClassVar

from sojourn.errors.kinds import CommitUnknownError, RefusedError, SojournError

__all__ = [
    "ApplicationError",
    "CallTimeoutError",
    "FunctionUnknownError",
    "RequestReusedError",
    "ResultInvalidError",
]


class CallTimeoutError(CommitUnknownError):
    """A call took longer than `limits.CALL_TIMEOUT` and was stopped; perhaps written. Repeat the same request id."""

    code: ClassVar[str] = "call_timeout"


class FunctionUnknownError(RefusedError):
    """No function of this name and kind may be called by this caller; an internal one is no different from none."""

    code: ClassVar[str] = "function_unknown"


class RequestReusedError(RefusedError):
    """A request id came again with another function or other arguments than the first time; nothing was written."""

    code: ClassVar[str] = "request_reused"


class ApplicationError(SojournError):
    """Raised by a function of the application to say no. `data` goes to the client as it is; nothing was written."""

    code: ClassVar[str] = "application"

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.data = data


class ResultInvalidError(SojournError):
    """A function returned what its annotation does not allow; nothing was written. The function is at fault."""

    code: ClassVar[str] = "result_invalid"
