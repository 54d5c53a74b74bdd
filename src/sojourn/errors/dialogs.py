"""What goes wrong with dialogs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sojourn.errors.kinds import RefusedError, SojournError

__all__ = [
    "DialogExistsError",
    "DialogGoneError",
    "DialogStateError",
    "DialogUnansweredError",
    "MiddlewareFailedError",
    "UnsupportedError",
]


class DialogExistsError(RefusedError):
    """A dialog of this id was started before, and is open or remembered; it is untouched."""

    code: ClassVar[str] = "dialog_exists"


class DialogGoneError(RefusedError):
    """There is no such dialog: it was never started, its start came to nothing, or its end is forgotten by now."""

    code: ClassVar[str] = "dialog_gone"


class DialogStateError(RefusedError):
    """The dialog, or what is held of it, is not in a state that allows this; `dialog_id` and `state` say which."""

    code: ClassVar[str] = "dialog_state"

    def __init__(self, dialog_id: str, state: str, problem: str) -> None:
        super().__init__(f"dialog {dialog_id} is {state}: {problem}")
        self.dialog_id = dialog_id
        self.state = state


class UnsupportedError(RefusedError):
    """The platform of an interaction cannot do that: it has no forms, for example."""

    code: ClassVar[str] = "platform_unsupported"


class DialogUnansweredError(SojournError):
    """A dialog ended without the answer that `ask` waited for. `ended` says how; None: it was not even started."""

    code: ClassVar[str] = "dialog_unanswered"

    def __init__(self, message: str, ended: object = None) -> None:
        super().__init__(message)
        self.ended = ended


class MiddlewareFailedError(SojournError):
    """A middleware of dialogs raised, and what it stood before did not happen. The cause is what it raised.

    `middleware` is the one that raised, `dialog_id` the dialog it stood before, `interaction` what it was asked about,
    and `meta` what was handed along.
    """

    code: ClassVar[str] = "middleware_failed"

    def __init__(self, middleware: object, *, dialog_id: str, interaction: object, meta: Mapping[str, Any]) -> None:
        super().__init__(f"a middleware, or the filter, of dialog {dialog_id} failed")
        self.middleware = middleware
        self.dialog_id = dialog_id
        self.interaction = interaction
        self.meta = meta
