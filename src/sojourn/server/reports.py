"""What a client is told of an error, and where the rest of the story goes."""

from __future__ import annotations

import logging
import secrets
from typing import Final

import msgspec
from msgspec import UNSET

from sojourn.wire import Failure, failure_of

__all__ = ["failure_told"]

_log = logging.getLogger(__name__)

_NOTED: Final = "_sojourn_report"


def failure_told(error: Exception) -> Failure:
    """Return what a client may know of an error, in a form that JSON has.

    A fault of the server is logged with its report, once, however many clients are told of the same.
    """
    noted: str | None = vars(error).get(_NOTED)
    story: Exception = error
    failure = failure_of(error, noted or secrets.token_hex(8))
    try:
        msgspec.json.encode(failure)
    except Exception as unspeakable:  # noqa: BLE001  data without a JSON form is the application's mistake
        story = unspeakable
        failure = failure_of(unspeakable, noted or secrets.token_hex(8))
    if noted is None and failure.report is not UNSET:
        vars(error)[_NOTED] = failure.report
        _log.error("report %s: a request failed", failure.report, exc_info=story)
    return failure
