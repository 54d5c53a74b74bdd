"""What people do: one interaction each, of which a test says what matters to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypedDict, Unpack

import msgspec

from sojourn.dialogs import Kind, Place, Token, Tokens, User
from sojourn.kernel import ids
from sojourn.testing.dialogs.screen import FIRST, RecordedInteraction, Screen

__all__ = [
    "ANN",
    "Action",
    "CHAT",
    "Sender",
    "Shown",
    "button",
    "callback",
    "command",
    "leads_to",
    "message",
    "modal",
    "select",
]

Action: TypeAlias = str | Callable[..., object]
"""A named action of a dialog: its name, or the method itself, as in `Approve.yes`."""

ANN: Final = User("ann", name="Ann")
"""Who does everything for which a test names nobody else."""

CHAT: Final = Place("test")
"""Where everything is done for which a test names no other place."""


class Sender(TypedDict, total=False):
    """Who does something, and where. What is not said is: `ANN`, in one chat, on a screen and a delivery of its own."""

    user: User | str
    """Who does it; a text is an id."""
    place: Place
    delivery_id: str
    """The same for what the platform delivers twice."""
    platform: Screen


class Shown(Sender, total=False):
    """The same for what is done with something that a dialog has shown, and what its token says beside its action."""

    page: int
    revision: int
    """Which of the dialog's views it was shown in, from 1 on, for a dialog to which that matters."""
    token: str
    """A token as it was shown, or as somebody made it up, in place of one of this dialog and action."""


def command(
    name: str = "start", args: Mapping[str, Any] | None = None, **sender: Unpack[Sender]
) -> RecordedInteraction:
    """Return what comes when a person gives a command."""
    return _made(Kind.COMMAND, CHAT, sender, command=name, args=dict(args or {}))


def message(text: str, **sender: Unpack[Sender]) -> RecordedInteraction:
    """Return what comes when a person writes something; a dialog gets it that has asked for it by `ctx.focus`."""
    return _made(Kind.MESSAGE, CHAT, sender, text=text)


def button(dialog_id: str, action: Action | None = None, *args: object, **shown: Unpack[Shown]) -> RecordedInteraction:
    """Return what comes when a person clicks a button of this dialog, action and arguments.

    Raises:
        InvalidError: no token can hold this. LimitError: it is too long for the platform.
    """
    return _done(Kind.BUTTON, (dialog_id, action, args), shown)


def select(
    dialog_id: str,
    action: Action | None,
    values: Sequence[str],
    *,
    args: Sequence[object] = (),
    **shown: Unpack[Shown],
) -> RecordedInteraction:
    """Return what comes when a person chooses these values.

    Raises:
        InvalidError: no token can hold this. LimitError: it is too long for the platform.
    """
    return _done(Kind.SELECT, (dialog_id, action, args), shown, values=tuple(values))


def modal(
    dialog_id: str,
    action: Action | None,
    fields: Mapping[str, str],
    *,
    args: Sequence[object] = (),
    **shown: Unpack[Shown],
) -> RecordedInteraction:
    """Return what comes when a person sends a form with these fields.

    Raises:
        InvalidError: no token can hold this. LimitError: it is too long for the platform.
    """
    return _done(Kind.MODAL, (dialog_id, action, args), shown, fields=dict(fields))


def callback(
    dialog_id: str, action: Action | None = None, *args: object, **shown: Unpack[Shown]
) -> RecordedInteraction:
    """Return what comes when a platform brings something of its own kind for this dialog, action and arguments.

    Raises:
        InvalidError: no token can hold this. LimitError: it is too long for the platform.
    """
    return _done(Kind.CALLBACK, (dialog_id, action, args), shown)


def _done(
    kind: Kind, named: tuple[str, Action | None, Sequence[object]], shown: Shown, **what: Any
) -> RecordedInteraction:
    screen = shown.setdefault("platform", Screen())
    token = shown.get("token")
    if token is None:
        dialog_id, action, args = named
        name = action if action is None or isinstance(action, str) else action.__name__
        meant = Token(dialog_id, name, tuple(map(_text, args)), shown.get("page"), shown.get("revision"))
        token = (screen.codec or Tokens(screen.budget)).encode(meant)
    return _made(kind, FIRST, shown, token=token, **what)


def _made(kind: Kind, place: Place, sender: Sender, **what: Any) -> RecordedInteraction:
    if unknown := sender.keys() - (Shown if "token" in what else Sender).__optional_keys__:
        raise TypeError(f"{min(unknown)!r} says nothing of a {kind}")
    user = sender.get("user", ANN)
    return RecordedInteraction(
        platform=sender.get("platform") or Screen(),
        kind=kind,
        user=User(user) if isinstance(user, str) else user,
        place=sender.get("place", place),
        delivery_id=sender.get("delivery_id") or ids.new().hex(),
        **what,
    )


def leads_to(token: str, action: Callable[..., object], args: Sequence[object]) -> bool:
    """Tell whether a token names this action, and these arguments where there are any; no MAC is looked at."""
    found = Tokens().decode(token.partition("~")[0])
    return found is not None and found.action == action.__name__ and (not args or found.args == tuple(map(_text, args)))


def _text(argument: object) -> str:
    return argument if isinstance(argument, str) else msgspec.json.encode(argument).decode().strip('"')
