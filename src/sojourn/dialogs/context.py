"""What a handler, a filter and a middleware work with: one interaction with one dialog.

Nothing that a context is told happens at once, but for the first reply of a dialog's start: effects are gathered,
stored with the dialog in one commit, and then performed. A handler that fails, or runs again because its commit met a
rival, leaves none of them behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from sojourn import limits
from sojourn.dialogs.arguments import as_text, converted
from sojourn.dialogs.middleware import Phase
from sojourn.dialogs.model import (
    Button,
    Component,
    Edit,
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
    checked_name,
    checked_text,
    shown,
)
from sojourn.dialogs.platform import NOBODY, Interaction
from sojourn.dialogs.said import Said
from sojourn.dialogs.spills import Spills
from sojourn.dialogs.tokens import Token, TokenCodec
from sojourn.errors import DialogStateError, InvalidError, LimitError
from sojourn.kernel import Attempt

__all__ = ["Context", "KINDS", "Setting"]

KINDS: Final = "__dialog_kinds__"
"""The attribute by which a method says which kinds of interaction it handles as a named action."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a context is made of: the dialog as it was found, and what is done with it now."""

    dialog_id: str
    phase: Phase
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
    `said` is what was said so far, for who handles the interaction.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.said = Said(setting.view, setting.spills)
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
        return self.said.view

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
        return await handler(self, *converted(handler, self.args))

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
        token = Token(self.dialog_id, _action_name(action), tuple(map(as_text, args)), page, revision)
        try:
            return self._setting.codec.encode(token)
        except LimitError:
            if not args:
                raise
        spilled = msgspec.structs.replace(token, args=(), spill=self.said.spills.keep(token.args))
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
            self.said.add(Reply(self.origin or self.place, view))
        elif self.phase is Phase.START and self.origin is None and self.interaction is not None:
            self.said.show(shown(view))
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
        self.said.add(Edit(self.origin or self.place, view))
        self.said.show(view)

    async def notify(self, text: str) -> None:
        """Say something to whoever interacts, and to nobody else, after the commit.

        Raises:
            InvalidError: it is no text. LimitError: it is too long.
        """
        self._check_going_on()
        checked_text("text", text)
        self.said.add(Notice(self.place, msgspec.structs.replace(self.user, roles=frozenset()), text))

    async def open_form(self, form: Form) -> None:
        """Open a form for whoever interacts, after the commit. Where a platform has none, that is logged."""
        self._check_going_on()
        self.said.add(OpenForm(self.place, form))

    def focus(self) -> None:
        """Have what this person writes in this chat from now on handled by this dialog, until it ends.

        Raises:
            DialogStateError: nobody interacts.
        """
        self._check_going_on()
        if self.interaction is None:
            raise DialogStateError(self.dialog_id, "alone", "nobody interacts whose messages it could take")
        self.said.focus = True

    def unfocus(self) -> None:
        """Leave what this person writes in this chat to others again."""
        self._check_going_on()
        self.said.focus = False

    def end(self, result: object = msgspec.UNSET, *, code: str | int = EndCode.SELF_ENDED, reason: str = "") -> End:
        """Return the answer that ends the dialog. The first one of a handler counts, returned or not.

        Without a result the dialog ends with its attribute `result`.

        Raises:
            DialogStateError: it is ending already, or this interaction is over.
        """
        self._check_going_on()
        if self.said.ending is None:
            self.said.ending = made_end(result, code, reason)
        return self.said.ending

    def _check_going_on(self) -> None:
        if self.said.is_over:
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


def _check_marked(action: Callable[..., Any] | str | None, kind: Kind) -> None:
    """Refuse a method that would not be called by what leads to it."""
    if callable(action) and kind not in getattr(action, KINDS, ()):
        raise InvalidError("action", f"{getattr(action, '__name__', action)!s} is not marked with `@{kind.value}`")


def _action_name(action: Callable[..., Any] | str | None) -> str | None:
    if action is None:
        return None
    return checked_name("action", action if isinstance(action, str) else getattr(action, "__name__", None))
