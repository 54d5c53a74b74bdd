"""What dialogs are made of: frozen data and the rules about it, no I/O.

A dialog is one interactive session. It is *starting* until its first message is out, then *running*, and *ended* for
good; its end is remembered for a while. An interaction is what a platform brings (a click, a form, a message), a view
is what a person sees, an effect is what has to be done on the platform after the commit.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError, LimitError
from sojourn.kernel.codec import Codec, codec

__all__ = [
    "Button",
    "Cause",
    "Component",
    "Concurrency",
    "DialogInfo",
    "Dispatched",
    "Edit",
    "Effect",
    "End",
    "EndCode",
    "Ended",
    "Field",
    "Form",
    "Handled",
    "KEEP",
    "Keep",
    "Kind",
    "Notice",
    "OpenForm",
    "Option",
    "Place",
    "REFRESH",
    "Reply",
    "Select",
    "Stale",
    "State",
    "Style",
    "User",
    "View",
    "Words",
    "checked_effect",
    "checked_id",
    "checked_name",
    "checked_text",
    "checked_ttl",
    "effect_of",
    "effect_text",
    "mint",
    "shown",
]

R = TypeVar("R")


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What people are told, in their language, when nothing else answers them."""

    denied: str = "This is not for you."
    busy: str = "Something else is still being handled here. Please try again in a moment."
    stale: str = "This has changed meanwhile. Please look again."
    failed: str = "That did not work, and nothing was changed. Please try again."
    unavailable: str = "The service cannot be reached at the moment. Please try again in a moment."
    unknown: str = "This is not open any more."
    expired: str = "The time for this is over."
    ended: str = "This has been dealt with already."
    unreadable: str = "This cannot be opened at the moment. Please try again later."
    no_page: str = "There is no such page."


class Kind(StrEnum):
    """What kind of interaction it is."""

    COMMAND = "command"
    BUTTON = "button"
    SELECT = "select"
    MODAL = "modal"
    MESSAGE = "message"
    CALLBACK = "callback"


class State(StrEnum):
    """Where a dialog stands."""

    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class EndCode(StrEnum):
    """Why a dialog ended. A handler may give any other text; those below have these meanings."""

    SELF_ENDED = "self_ended"
    """A handler ended it, as `ctx.end` does."""
    EXPIRED = "expired"
    """Its deadline passed."""
    CANCELLED = "cancelled"
    """It was ended from outside."""
    STOPPED = "stopped"
    """The process that stopped was told to end its dialogs."""
    SUSPENDED = "suspended"
    """Nothing ended: this process stops, and whoever waited here is told so. The dialog goes on elsewhere."""


class Cause(StrEnum):
    """Why there is no dialog to take an interaction."""

    UNKNOWN = "unknown"
    """It was never started, its start came to nothing, or its end is forgotten."""
    EXPIRED = "expired"
    ENDED = "ended"
    VERSION = "version"
    """It was stored by a version of its type that this process cannot read."""
    UNREGISTERED = "unregistered"
    """Its type is not registered in this process; the dialog is untouched."""


Concurrency: TypeAlias = Literal["serial", "drop", "parallel"]
"""What happens to interactions that come at once: one after another, all but one dropped, or side by side."""

Stale: TypeAlias = Literal["accept", "reject", "render"]
"""What happens to a click on an older view: handled, refused with a word, or answered by showing the present view."""


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who interacts, as the platform names people. `roles` is what the adapter knows of them; it is not stored."""

    id: str
    tenant: str = ""
    name: str = ""
    roles: frozenset[str] = frozenset()


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where on a platform something stands: a chat or channel, a thread in it, a message in that."""

    chat: str = ""
    thread: str = ""
    message: str = ""


# -- What people see --------------------------------------------------------------------------------------------------


Style: TypeAlias = Literal["primary", "secondary", "success", "danger"]
"""What a button looks like; a platform without styles ignores it."""


class Button(msgspec.Struct, frozen=True, omit_defaults=True, tag="button"):
    """A button. `style` is one of primary, secondary, success, danger; a platform without styles ignores it."""

    label: str
    token: str
    style: Style = "secondary"
    disabled: bool = False


class Option(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing to choose. `value` is what the handler gets in `ctx.values`."""

    label: str
    value: str
    description: str = ""


class Select(msgspec.Struct, frozen=True, omit_defaults=True, tag="select"):
    """A choice of some options, at least `at_least` and at most `at_most` of them."""

    token: str
    options: tuple[Option, ...]
    placeholder: str = ""
    at_least: int = 1
    at_most: int = 1
    disabled: bool = False


Component: TypeAlias = Button | Select
"""What stands under a message."""


class View(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person sees of a dialog: text, and rows of components. `extras` goes to the platform as it is."""

    text: str = ""
    rows: tuple[tuple[Component, ...], ...] = ()
    extras: Mapping[str, Any] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """What stands on the buttons that can be clicked, row by row."""
        return tuple(one.label for row in self.rows for one in row if isinstance(one, Button) and not one.disabled)

    def without_components(self) -> View:
        """Return the same view with every component disabled."""
        rows = tuple(tuple(msgspec.structs.replace(one, disabled=True) for one in row) for row in self.rows)
        return msgspec.structs.replace(self, rows=rows)

    @classmethod
    def of(cls, text: str | View, components: Sequence[Component | Sequence[Component]]) -> View:
        """Return the view of a text and what stands under it: a sequence is a row, what stands alone shares one."""
        if isinstance(text, View):
            if components:
                raise InvalidError("components", "a whole view was given, which has its own")
            return text
        rows: list[tuple[Component, ...]] = []
        loose: list[Component] = []
        for one in components:
            if isinstance(one, Button):
                loose.append(one)
                continue
            if loose:
                rows.append(tuple(loose))
                loose = []
            row = (one,) if isinstance(one, Select) else tuple(one)
            if row:
                rows.append(row)
        if loose:
            rows.append(tuple(loose))
        return cls(checked_text("text", text), tuple(rows))


class Field(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field of a form. `name` is what the handler finds it by in `ctx.fields`."""

    name: str
    label: str
    value: str = ""
    required: bool = True
    multiline: bool = False
    most: int | None = None


class Form(msgspec.Struct, frozen=True, omit_defaults=True):
    """A form to fill in, which comes back as an interaction of kind modal."""

    title: str
    token: str
    fields: tuple[Field, ...]


# -- What is to be done after the commit ------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, tag="reply"):
    """Send one more message to that place."""

    place: Place
    view: View


class Edit(msgspec.Struct, frozen=True, omit_defaults=True, tag="edit"):
    """Show this view in the place of the dialog's first message. With `closed` nothing can be clicked any more.

    An empty view with `closed` leaves what stands there, and disables its components: nobody knows what it showed.
    """

    place: Place
    view: View
    closed: bool = False


class Notice(msgspec.Struct, frozen=True, omit_defaults=True, tag="notice"):
    """Say something to one person only."""

    place: Place
    user: User
    text: str


class OpenForm(msgspec.Struct, frozen=True, omit_defaults=True, tag="form"):
    """Open a form for whoever interacts. Where the interaction is over, the platform shows a way to it, or drops it."""

    place: Place
    form: Form


Effect: TypeAlias = Reply | Edit | Notice | OpenForm
"""What a platform has to do after a commit: at least once, each time under the same idempotency key."""


# -- What handlers answer ---------------------------------------------------------------------------------------------


class Keep(StrEnum):
    """A handler's answer that lets the dialog go on."""

    KEEP = "keep"
    """The deadline stays."""
    REFRESH = "refresh"
    """The dialog has its full time to live again."""


KEEP: Final = Keep.KEEP
REFRESH: Final = Keep.REFRESH


class End(msgspec.Struct, frozen=True):
    """A handler's answer that ends the dialog; `ctx.end` makes it."""

    result: Any
    code: str
    reason: str
    has_result: bool = True


# -- What is known of a dialog ----------------------------------------------------------------------------------------


class Ended(msgspec.Struct, Generic[R], frozen=True):
    """How a dialog ended. `result` is None where none was given."""

    dialog_id: str
    code: str
    reason: str
    result: R | None
    at: datetime


Handled: TypeAlias = Literal[
    "foreign",
    "missing",
    "duplicate",
    "denied",
    "stale",
    "busy",
    "dropped",
    "failed",
    "kept",
    "refreshed",
    "ended",
    "unavailable",
]
"""What became of an interaction. Only `kept`, `refreshed` and `ended` have changed the dialog."""


class Dispatched(msgspec.Struct, frozen=True):
    """What became of an interaction. `cause` says why there was no dialog for it, `error` what went wrong."""

    result: Handled
    dialog_id: str | None = None
    cause: Cause | None = None
    error: Exception | None = None
    ended: Ended[Any] | None = None

    @property
    def is_handled(self) -> bool:
        """Say whether it was for a dialog at all; if not, it is for somebody else."""
        return self.result != "foreign"


class DialogInfo(msgspec.Struct, frozen=True):
    """What is known of a dialog. `deadline` is None where it does not end by itself; `revision` grows with each change.

    `is_overdue` says that its deadline has passed and nobody has ended it yet; `completion` is who is told of its end.
    """

    dialog_id: str
    partition: str
    type: str
    version: int
    state: State
    platform: str
    owner: User
    origin: Place | None
    created: datetime
    deadline: datetime | None
    remaining: timedelta | None
    is_overdue: bool
    page: int
    stage: str | None
    revision: int
    view: View | None
    completion: str | None
    ended: Ended[Any] | None


_VIEW: Final = codec(View)
_EFFECT: Final[Codec[Effect]] = codec(cast("Any", Effect))


def shown(view: View) -> View:
    """Let a view through that can be stored: what is committed must be readable again.

    Raises:
        InvalidError: something in it is not of the type that it should be, or no JSON data.
    """
    _check("view", _VIEW, view)
    return view


def checked_effect(effect: Effect) -> Effect:
    """Let an effect through that can be stored.

    Raises:
        InvalidError: something in it is not of the type that it should be, or no JSON data.
    """
    _check(type(effect).__name__.lower(), _EFFECT, effect)
    return effect


def effect_text(effect: Effect) -> bytes:
    """Return an effect as JSON text."""
    return _EFFECT.dump(effect)


def effect_of(text: bytes) -> Effect:
    """Return the effect of such a text.

    Raises:
        CorruptError: it is damaged.
    """
    return _EFFECT.load(text)


def _check(name: str, form: Codec[Any], value: object) -> None:
    try:
        form.load(form.dump(value))
    except InvalidError as error:
        raise InvalidError(name, error.problem) from error.__cause__
    except CorruptError as error:
        raise InvalidError(name, f"a part of it is of another type than it should be: {error}") from error.__cause__


# -- Rules ------------------------------------------------------------------------------------------------------------

_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MINTED: Final = 12


def mint() -> str:
    """Return an id that no other dialog has: twelve letters and digits, some 71 random bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_MINTED))


def checked_id(dialog_id: object) -> str:
    """Let an id through that can stand in a token.

    Raises:
        InvalidError: it holds something else than letters, digits, `_` and `-`. LimitError: it is too long.
    """
    problem = "it consists of ASCII letters, digits, `_` and `-`, and has at least one"
    return _matching("dialog_id", dialog_id, _ID, limits.DIALOG_ID_CHARS, problem)


def checked_name(name: str, value: object) -> str:
    """Let the name of a type, an action, a platform through.

    Raises:
        InvalidError: it is no identifier of ASCII letters, digits, `_` and `-`. LimitError: it is too long.
    """
    problem = "it begins with an ASCII letter or `_`, and goes on with letters, digits, `_` and `-`"
    return _matching(name, value, _NAME, limits.DIALOG_NAME_CHARS, problem)


def _matching(name: str, value: object, form: re.Pattern[str], most: int, problem: str) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise InvalidError(name, problem)
    if len(value) > most:
        raise LimitError(name, limit=most, found=len(value), unit="characters")
    return value


def checked_text(name: str, text: object) -> str:
    """Let a text through.

    Raises:
        InvalidError: it is none. LimitError: it is longer than `limits.DIALOG_TEXT_CHARS`.
    """
    if not isinstance(text, str):
        raise InvalidError(name, "it is no text")
    if len(text) > limits.DIALOG_TEXT_CHARS:
        raise LimitError(name, limit=limits.DIALOG_TEXT_CHARS, found=len(text), unit="characters")
    return text


def checked_ttl(ttl: object) -> timedelta | None:
    """Let a time to live through; None says that the dialog does not end by itself.

    Raises:
        InvalidError: it is no timedelta, or not above zero. LimitError: it is longer than `limits.DIALOG_TTL_MAX`.
    """
    if ttl is None:
        return None
    if not isinstance(ttl, timedelta) or ttl < timedelta(milliseconds=1):
        raise InvalidError(
            "ttl", "it is a timedelta of at least a millisecond, or None for a dialog without a deadline"
        )
    if ttl > limits.DIALOG_TTL_MAX:
        raise LimitError("ttl", limit=limits.DIALOG_TTL_MAX.days, found=ttl.days, unit="days")
    return ttl
