"""The wire: messages and errors as structs, shared by server, clients and tests; see docs/reference/wire.md."""

from sojourn.wire.failures import Failure, FailureAnswer, failure_of, status_of
from sojourn.wire.messages import CallRequest, Health, RotateRequest, SessionAnswer, SessionView

__all__ = [
    "CallRequest",
    "Failure",
    "FailureAnswer",
    "Health",
    "RotateRequest",
    "SessionAnswer",
    "SessionView",
    "failure_of",
    "status_of",
]
