"""What a handler, a filter and a middleware work with: one interaction with one dialog.

Nothing that a context is told happens at once, but for the first reply of a dialog's start: effects are gathered,
stored with the dialog in one commit, and then performed. A handler that fails, or runs again because its commit met a
rival, leaves none of them behind.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, get_type_hints

import msgspec

from sojourn import limits
from sojourn.dialogs.middleware import Phase
from sojourn.dialogs.model import (
    Button,
    Component,
    Edit,
    Effect,
    End,
    EndCode,
    Field,
    Form,
    Kind,
    Notice,
    OpenForm,
    Option,
    Place,
    Reply,
    Select,
    Style,
    User,
    View,
    Words,
    checked_effect,
    checked_name,
    checked_text,
    shown,
)
from sojourn.dialogs.platform import NOBODY, Interaction
from sojourn.dialogs.spills import Spills
from sojourn.dialogs.tokens import Token, TokenCodec
from sojourn.errors import DialogStateError, InvalidError, LimitError
from sojourn.kernel import Attempt

__all__ = ["KINDS", "Context", "Setting"]

KINDS: Final = "__dialog_kinds__"
"""The attribute by which a method says which kinds of interaction it handles as a named action."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a context is made of: the dialog as it was found, and what is done with it now."""

    dialog_id: str
    phase: Phase | None
    interaction: Interaction | None
    token: Token | None
    owner: User
    origin: Place | None
    view: View | None
    renders: int
    spills: Spills
    codec: TokenCodec
    tokens_age: bool
    is_page: bool
    meta: dict[str, Any]
    tx: Attempt
    now: int
    remaining: timedelta | None
    words: Words


class Context:
    """One interaction with one dialog, for as long as it is handled.

    `interaction` is None where nothing of a platform led to it: the dialog ended by its deadline, or from outside.
    `user` and `place` say who and where, `owner` who started the dialog, `origin` where its first message stands.
    `action`, `args` and `page` are what the component said, `values`, `fields` and `text` what the person did. `meta`
    is handed along by whoever called `start` or `dispatch`, and by filters and middleware. `tx` is the transaction of
    this step: what is written through it is committed with the dialog. `attempt` counts how often the handler has run
    for it. `now` is engine time in milliseconds, `remaining` what is left to live (None: it does not end by itself).
    `token_page` is the page that an action's token names where none is given; stages know by it whose a click is.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._effects: list[Effect] = []
        self._view = setting.view
        self._shown = False
        self.is_over = False
        self._focus: bool | None = None
        self.ending: End | None = None
        token = setting.token
        self.dialog_id = setting.dialog_id
        self.phase = setting.phase
        self.interaction = setting.interaction
        self.owner = setting.owner
        self.origin = setting.origin
        self.meta = setting.meta
        self.tx = setting.tx
        self.attempt = setting.tx.number
        self.now = setting.now
        self.remaining = setting.remaining
        self.action: str | None = None if token is None else token.action
        self.args: tuple[str, ...] = () if token is None else token.args
        self.page: int | None = None if token is None else token.page
        self.token_page: int | None = None

    # -- What came ----------------------------------------------------------------------------------------------------

    @property
    def user(self) -> User:
        """Who interacts; nobody where nothing of a platform led to it."""
        return NOBODY if self.interaction is None else self.interaction.user

    @property
    def place(self) -> Place:
        """Where this interaction came from, or where the dialog's first message stands."""
        return (self.origin or Place()) if self.interaction is None else self.interaction.place

    @property
    def values(self) -> tuple[str, ...]:
        """What was selected."""
        return () if self.interaction is None else self.interaction.values

    @property
    def fields(self) -> Mapping[str, str]:
        """What was filled in, by the fields' names."""
        return {} if self.interaction is None else self.interaction.fields

    @property
    def text(self) -> str:
        """What was written."""
        return "" if self.interaction is None else self.interaction.text

    @property
    def view(self) -> View | None:
        """What the dialog shows, with what this step has changed of it."""
        return self._view

    @property
    def words(self) -> Words:
        """What people are told where a dialog says nothing of its own."""
        return self._setting.words

    def read_token(self, text: str) -> Token | None:
        """Return the token that a text is, if it is one of this dialog; for values and fields that carry one."""
        token = self._setting.codec.decode(text)
        return token if token is not None and token.dialog_id == self.dialog_id else None

    async def call(self, handler: Callable[..., Awaitable[Any]]) -> Any:  # noqa: ANN401  what the handler returns
        """Call a handler with this context, and with the arguments of the component as its annotations want them.

        Raises:
            InvalidError: the arguments do not fit; they may be those of an older version.
        """
        return await handler(self, *_converted(handler, self.args))

    # -- Components ---------------------------------------------------------------------------------------------------

    def token(self, action: Callable[..., Any] | str | None, *args: object, page: int | None = None) -> str:
        """Return what a component carries that leads to this action, with these arguments and to this page.

        Arguments too long for the platform are kept with the dialog, and the token says where.

        Raises:
            InvalidError: the action is none, or an argument has no text form. LimitError: the platform has no room.
        """
        self._check_going_on()
        revision = self._setting.renders + 1 if self._setting.tokens_age else None
        if page is None and action is not None:
            page = self.token_page
        token = Token(self.dialog_id, _action_name(action), tuple(map(_as_text, args)), page, revision)
        try:
            return self._setting.codec.encode(token)
        except LimitError:
            if not args:
                raise
        spilled = msgspec.structs.replace(token, args=(), spill=self._setting.spills.keep(token.args))
        return self._setting.codec.encode(spilled)

    def button(
        self,
        label: str,
        action: Callable[..., Any] | str | None,
        *args: object,
        style: Style = "secondary",
        page: int | None = None,
        disabled: bool = False,
    ) -> Button:
        """Return a button that leads to a method marked with `@button`, and gives it these arguments.

        Raises:
            InvalidError: the action is none, or an argument has no text form. LimitError: the platform has no room.
        """
        _check_marked(action, Kind.BUTTON)
        return Button(label, self.token(action, *args, page=page), style, disabled)

    def select(
        self,
        action: Callable[..., Any] | str | None,
        options: Sequence[Option | str],
        *args: object,
        placeholder: str = "",
        at_least: int = 1,
        at_most: int = 1,
        disabled: bool = False,
    ) -> Select:
        """Return a choice that leads to a method marked with `@select`; `ctx.values` says there what was chosen.

        Raises:
            InvalidError: the action is none, or an argument has no text form. LimitError: the platform has no room.
        """
        _check_marked(action, Kind.SELECT)
        made = tuple(Option(one, one) if isinstance(one, str) else one for one in options)
        return Select(self.token(action, *args), made, placeholder, at_least, at_most, disabled)

    def form(
        self, title: str, action: Callable[..., Any] | str | None, *fields: Field, args: Sequence[object] = ()
    ) -> Form:
        """Return a form that leads to a method marked with `@modal`; `ctx.fields` says there what was filled in.

        Raises:
            InvalidError: the action is none, or an argument has no text form. LimitError: the platform has no room.
        """
        _check_marked(action, Kind.MODAL)
        return Form(title, self.token(action, *args), fields)

    # -- Effects ------------------------------------------------------------------------------------------------------

    async def reply(self, text: str | View, *components: Component | Sequence[Component]) -> None:
        """Send a message: in `start` the first, which the dialog shows from then on, else one more.

        The first is sent at once, since only the platform can say where it then stands; each other after the commit.

        Raises:
            InvalidError: it is no view.
        """
        self._check_going_on()
        view = View.of(text, components)
        if self.phase is not Phase.START and not self._setting.is_page:
            self._add(Reply(self.origin or self.place, view))
        elif self.phase is Phase.START and self.origin is None and self.interaction is not None:
            self._show(shown(view))
            self.origin = await self.interaction.responder.reply(view)
        else:  # a first message is out already: from before, or from an attempt whose commit met a rival
            await self.edit_origin(view)

    async def edit_origin(self, text: str | View, *components: Component | Sequence[Component]) -> None:
        """Show this in place of the dialog's first message, after the commit; the last one of a step counts.

        Raises:
            InvalidError: it is no view.
        """
        self._check_going_on()
        view = View.of(text, components)
        edit = Edit(self.origin or self.place, shown(view))
        self._show(view)
        self._effects = [effect for effect in self._effects if not isinstance(effect, Edit)]
        self._effects.append(edit)

    async def notify(self, text: str) -> None:
        """Say something to whoever interacts, and to nobody else, after the commit.

        Raises:
            InvalidError: it is no text. LimitError: it is too long.
        """
        self._check_going_on()
        checked_text("text", text)
        self._add(Notice(self.place, msgspec.structs.replace(self.user, roles=frozenset()), text))

    async def open_form(self, form: Form) -> None:
        """Open a form for whoever interacts, after the commit. Where a platform has none, that is logged."""
        self._check_going_on()
        self._add(OpenForm(self.place, form))

    def focus(self) -> None:
        """Have what this person writes in this chat from now on handled by this dialog, until it ends.

        Raises:
            DialogStateError: nobody interacts.
        """
        self._check_going_on()
        if self.interaction is None:
            raise DialogStateError(self.dialog_id, "alone", "nobody interacts whose messages it could take")
        self._focus = True

    def unfocus(self) -> None:
        """Leave what this person writes in this chat to others again."""
        self._check_going_on()
        self._focus = False

    def end(self, result: object = msgspec.UNSET, *, code: str | int = EndCode.SELF_ENDED, reason: str = "") -> End:
        """Return the answer that ends the dialog. The first one of a handler counts, returned or not.

        Without a result the dialog ends with its attribute `result`.

        Raises:
            DialogStateError: it is ending already, or this interaction is over.
        """
        self._check_going_on()
        if self.ending is None:
            self.ending = made_end(result, code, reason)
        return self.ending

    # -- For who handles the interaction ------------------------------------------------------------------------------

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What is to be done after the commit, in order."""
        return tuple(self._effects)

    @property
    def has_shown(self) -> bool:
        """Say whether this step has changed what the dialog shows."""
        return self._shown

    @property
    def wants_focus(self) -> bool | None:
        """Say whether the dialog is to take what the person writes; None: as before."""
        return self._focus

    @property
    def known_at(self) -> str | None:
        """Who interacts in which chat, as the focus of dialogs is kept by; None where nobody does."""
        return None if self.interaction is None else self.interaction.known_at

    @property
    def spilled(self) -> dict[str, tuple[str, ...]]:
        """Arguments that no token had room for."""
        return self._setting.spills.all()

    def turn_to_end(self, end: End) -> None:
        """Go on to the end of the dialog: what was said so far stands, and no other end counts."""
        self.phase = None
        self.ending = end

    def forget(self, effects: int, view: View | None) -> None:
        """Take back what was said since there were this many effects, and this view."""
        del self._effects[effects:]
        self._view = view

    def close(self) -> None:
        """Refuse everything from now on: the interaction is over."""
        self.is_over = True

    def _add(self, effect: Effect) -> None:
        self._effects.append(checked_effect(effect))

    def _show(self, view: View) -> None:
        self._view = view
        self._shown = True

    def _check_going_on(self) -> None:
        if self.is_over:
            raise DialogStateError(
                self.dialog_id, "left", "this interaction is over; a context is for its handler only"
            )


def made_end(result: object, code: object, reason: object) -> End:
    """Return the end that was asked for.

    Raises:
        InvalidError: the code is no text and no number, or the reason no text.
    """
    if isinstance(code, bool) or not isinstance(code, str | int) or code in {"", EndCode.SUSPENDED}:
        raise InvalidError("code", "it is a text or a whole number, and not the one that says nothing has ended")
    if not isinstance(reason, str):
        raise InvalidError("reason", "it is a text")
    for name, text, most in (
        ("code", str(code), limits.DIALOG_NAME_CHARS),
        ("reason", reason, limits.DIALOG_REASON_CHARS),
    ):
        if len(text) > most:
            raise LimitError(name, limit=most, found=len(text), unit="characters")
    has_result = result is not msgspec.UNSET
    return End(result if has_result else None, str(code), reason or str(code), has_result)


# -- Arguments as text ------------------------------------------------------------------------------------------------

_STRUCTURED: Final = (list, dict, tuple, set, frozenset)


def _check_marked(action: Callable[..., Any] | str | None, kind: Kind) -> None:
    """Refuse a method that would not be called by what leads to it."""
    if callable(action) and kind not in getattr(action, KINDS, ()):
        raise InvalidError("action", f"{getattr(action, '__name__', action)!s} is not marked with `@{kind.value}`")


def _action_name(action: Callable[..., Any] | str | None) -> str | None:
    if action is None:
        return None
    return checked_name("action", action if isinstance(action, str) else getattr(action, "__name__", None))


def _as_text(value: object) -> str:
    """Return an argument as text; `_converted` makes the value of it again."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    try:
        plain: object = msgspec.to_builtins(value)
        return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError("args", f"an argument has no text form: {error}") from error


def _converted(handler: Callable[..., Any], args: tuple[str, ...]) -> tuple[Any, ...]:
    kinds, least = _parameters(getattr(handler, "__func__", handler))
    if not least <= len(args) <= len(kinds):
        raise InvalidError("args", f"{len(args)} came, and the handler takes {least} to {len(kinds)}")
    return tuple(_of_text(text, kind) for text, kind in zip(args, kinds, strict=False))


def _of_text(text: str, kind: Any) -> Any:  # noqa: ANN401  whatever was annotated
    if kind is str or kind is Any:
        return text
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        try:
            return msgspec.json.decode(text, type=kind, strict=False)
        except (ValueError, RecursionError) as error:
            raise InvalidError("args", f"what a component carried does not fit its handler: {error}") from error


@lru_cache(maxsize=4_096)
def _parameters(function: Callable[..., Any]) -> tuple[tuple[Any, ...], int]:
    """Return the types of what a handler takes behind `self` and the context, and how many of them it needs."""
    parameters = [
        one
        for one in list(inspect.signature(function).parameters.values())[2:]
        if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
    ]
    try:
        hints = get_type_hints(function)
    except NameError:  # a class within a function, whose other annotations name what only that function knows
        hints = {}
        scope: dict[str, Any] = function.__globals__
        for one in parameters:
            named = one.annotation
            hints[one.name] = _BUILTINS.get(named, scope.get(named, Any)) if isinstance(named, str) else named
    kinds = tuple(hints.get(one.name, Any) for one in parameters)
    return kinds, sum(one.default is one.empty for one in parameters)


_BUILTINS: Final[dict[str, Any]] = {kind.__name__: kind for kind in (str, int, float, bool)}
