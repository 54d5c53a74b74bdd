"""A kit for tests of dialogs: what people do, without a platform, and a desk where they sit and look.

    def make(store: Store) -> Dialogs:
        dialogs = Dialogs(store)
        dialogs.register("approve")(Approve)
        return dialogs

    async with sojourn.open("memory:", clock=ManualClock()) as store, Desk(store, make) as desk:
        handle = await desk.start(Approve, data=Order("17"))
        assert desk.view.text == "Ship 17?"
        await desk.restart()
        await desk.click("Yes")
        assert (await desk.handle(handle.id).wait()).result is True

Without a desk, `command`, `button`, `select`, `modal`, `message` and `callback` make one interaction each, to be handed
to `Dialogs.start` or `Dialogs.dispatch`; how it was answered stands in it afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypedDict, TypeVar, Unpack, cast

import msgspec

from sojourn.dialogs import (
    Budget,
    Button,
    Dialog,
    Dialogs,
    Dispatched,
    Edit,
    Effect,
    Form,
    Handle,
    Interaction,
    Kind,
    Notice,
    OpenForm,
    Place,
    Reply,
    Responder,
    Select,
    Token,
    TokenCodec,
    Tokens,
    User,
    View,
)
from sojourn.errors import InvalidError, UnavailableError, UnsupportedError
from sojourn.kernel import Store, ids
from sojourn.testing.clock import ManualClock
from sojourn.testing.faults import FaultyEngine

__all__ = [
    "ANN",
    "Action",
    "Desk",
    "RecordedInteraction",
    "Screen",
    "Sender",
    "Shown",
    "button",
    "callback",
    "command",
    "message",
    "modal",
    "select",
]

R = TypeVar("R")
C = TypeVar("C", Button, Select)

Action: TypeAlias = str | Callable[..., object]
"""A named action of a dialog: its name, or the method itself, as in `Approve.yes`."""

ANN: Final = User("ann", name="Ann")
"""Who does everything for which a test names nobody else."""

_LOOKS: Final = 100  # for what the background of the same process has begun to end, and not ended yet
_CHAT: Final = Place("test")
_MESSAGE: Final = Place("test", message="1")  # where a screen's first reply stands


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
    """The revision of the dialog when it was shown, for a click on an older view."""
    token: str
    """A token as it was shown, or as somebody made it up, in place of one of this dialog and action."""


class RecordedInteraction(Interaction, kw_only=True, eq=False):
    """One interaction of a test, and how it was answered; it is its own responder."""

    responder: Responder = cast("Responder", None)  # it does not exist yet where its defaults are made
    acks: int = 0
    """How often it was acknowledged, and nothing said."""
    defers: int = 0
    """How often the person was told that it takes a while."""
    replies: list[View] = msgspec.field(default_factory=list[View])
    edits: list[View] = msgspec.field(default_factory=list[View])
    """What the dialog's first message was changed to: what a person sees, so a closed one has nothing to click."""
    notices: list[str] = msgspec.field(default_factory=list[str])
    forms: list[Form] = msgspec.field(default_factory=list[Form])

    def __post_init__(self) -> None:
        self.responder = self

    @property
    def is_answered(self) -> bool:
        """Whether the person got an answer: anything but that it takes a while."""
        return bool(self.acks or self.replies or self.edits or self.notices or self.forms)

    def again(self) -> RecordedInteraction:
        """Return the same delivery as the platform would bring it a second time, not yet answered."""
        return msgspec.structs.replace(self, acks=0, defers=0, replies=[], edits=[], notices=[], forms=[])

    async def ack(self) -> None:
        """Note that it has arrived."""
        self.acks += 1

    async def defer(self) -> None:
        """Note that the answer takes a while."""
        self.defers += 1

    async def reply(self, view: View) -> Place:
        """Show a dialog's first message, and return where it stands."""
        self.replies.append(view)
        if isinstance(self.platform, Screen):
            return self.platform.show(self.place, view)
        return _MESSAGE

    async def notify(self, text: str) -> None:
        """Note what was said to this person only."""
        self.notices.append(text)

    def note(self, effect: Effect) -> None:
        """Note what was done because of it."""
        match effect:
            case Reply(view=view):
                self.replies.append(view)
            case Edit(view=view):
                self.edits.append(view)
            case Notice(text=text):
                self.notices.append(text)
            case OpenForm(form=form):
                self.forms.append(form)


class Screen:
    """A platform, named `test` unless said otherwise, that shows what dialogs want shown, and remembers all of it.

    What it `lacks` it refuses by `UnsupportedError`. One screen may serve the dialogs of several processes.
    """

    def __init__(
        self,
        name: str = "test",
        *,
        budget: Budget = Budget(),  # noqa: B008  frozen
        signs: bool = False,
        is_page: bool = False,
        ack_within: timedelta | None = None,
        lacks: Collection[type[Effect]] = (),
    ) -> None:
        self.name = name
        self.budget = budget
        self.signs = signs
        self.is_page = is_page
        self.is_page = is_page
        self.ack_within = ack_within
        self.codec: TokenCodec | None = None
        self.performed: list[tuple[str, Effect]] = []
        """Every effect that was done, by its key; what was done again stands here again."""
        self.refusals = 0
        """How many of the next effects fail, as where a platform is away."""
        self.views: dict[Place, View] = {}
        """What every message shows now; the one that changed last stands last."""
        self.form: Form | None = None
        """The form that was opened last."""
        self._lacks = tuple(lacks)

    def show(self, place: Place, view: View) -> Place:
        """Show a new message there, and return where it stands."""
        at = msgspec.structs.replace(place, message=str(len(self.views) + 1))
        self.views[at] = view
        return at

    async def perform(self, effect: Effect, key: str, interaction: Interaction | None) -> None:
        """Show it, and note it here and in the interaction that led to it.

        Raises:
            UnavailableError: as `refusals` asks. UnsupportedError: this screen lacks that.
        """
        if isinstance(effect, self._lacks):
            raise UnsupportedError(f"this screen has no {type(effect).__name__.lower()}")
        if self.refusals:
            self.refusals -= 1
            raise UnavailableError("the screen refused an effect on purpose")
        self.performed.append((key, effect))
        match effect:
            case Reply(place=place, view=view):
                self.show(place, view)
            case Edit(place=place, view=view, closed=closed):
                before = self.views.pop(place, view)
                # Who closes a message of a dialog that is not there does not know what it says.
                view = before if closed and view == View() else view
                view = view.without_components() if closed else view
                self.views[place] = view
                effect = Edit(place, view, closed)
            case OpenForm(form=form):
                self.form = form
            case Notice():
                pass
        if isinstance(interaction, RecordedInteraction):
            interaction.note(effect)


# -- One interaction --------------------------------------------------------------------------------------------------


def command(
    name: str = "start", args: Mapping[str, Any] | None = None, **sender: Unpack[Sender]
) -> RecordedInteraction:
    """Return what comes when a person gives a command."""
    return _made(Kind.COMMAND, _CHAT, sender, command=name, args=dict(args or {}))


def message(text: str, **sender: Unpack[Sender]) -> RecordedInteraction:
    """Return what comes when a person writes something; a dialog gets it that has asked for it by `ctx.focus`."""
    return _made(Kind.MESSAGE, _CHAT, sender, text=text)


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
    return _made(kind, _MESSAGE, shown, token=token, **what)


def _made(kind: Kind, place: Place, sender: Sender, **what: Any) -> RecordedInteraction:
    user = sender.get("user", ANN)
    return RecordedInteraction(
        platform=sender.get("platform") or Screen(),
        kind=kind,
        user=User(user) if isinstance(user, str) else user,
        place=sender.get("place", place),
        delivery_id=sender.get("delivery_id") or ids.new().hex(),
        **what,
    )


# -- A desk -----------------------------------------------------------------------------------------------------------


class Desk:
    """Where somebody sits before a screen, and uses dialogs as people do: by what is shown there.

    `make` returns the dialogs of one process: those of a store, with their types registered. It is called anew for each
    restart, so that nothing is carried over but what is stored. As a context manager the desk closes its dialogs.

    What the desk does returns as the face's own verb does; `last` is the interaction, with its answers.
    """

    def __init__(
        self, store: Store, make: Callable[[Store], Dialogs], *, user: User = ANN, screen: Screen | None = None
    ) -> None:
        self.store = store
        self.user = user
        self.screen = Screen() if screen is None else screen
        self.last: RecordedInteraction = command(platform=self.screen)
        self._make = make
        self.dialogs = self._fresh()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self.dialogs.close()

    @property
    def view(self) -> View:
        """What the message shows that changed last; an empty view where there is none."""
        return next(reversed(self.screen.views.values()), View())

    def handle(self, dialog_id: str) -> Handle[Any]:
        """Return a handle of that dialog in this process."""
        return self.dialogs.handle(dialog_id)

    async def start(self, kind: type[Dialog[R]], **options: Any) -> Handle[R]:
        """Start a dialog by a command; the options are those of `Dialogs.start`."""
        self.last = command(user=self.user, platform=self.screen)
        return await self.dialogs.start(kind, self.last, **options)

    async def dispatch(self, interaction: RecordedInteraction) -> Dispatched:
        """Hand in whatever somebody does, as something done at this desk's screen."""
        interaction.platform = self.screen
        self.last = interaction
        return await self.dialogs.dispatch(interaction)

    async def click(self, what: str | Callable[..., object], *args: object) -> Dispatched:
        """Click the button with this label, or of this method and these arguments, where it was shown last.

        Raises:
            InvalidError: nothing shown can be clicked that is it.
        """

        def fits(one: Button) -> bool:
            return one.label == what if isinstance(what, str) else _leads_to(one.token, what, args)

        place, found = self._find(Button, fits)
        return await self.dispatch(button("", token=found.token, **self._sender(place)))

    async def select(self, *labels: str) -> Dispatched:
        """Choose the options with these labels, or values, where the newest message has a choice of them.

        Raises:
            InvalidError: nothing shown has all of them.
        """

        def values(one: Select) -> list[str]:
            offered = {text: option.value for option in one.options for text in (option.value, option.label)}
            return [offered[label] for label in labels if label in offered]

        place, found = self._find(Select, lambda one: len(values(one)) == len(labels))
        return await self.dispatch(select("", None, values(found), token=found.token, **self._sender(place)))

    async def submit(self, **fields: str) -> Dispatched:
        """Fill in the form that was opened last, and send it; what is not named goes as the form has it.

        Raises:
            InvalidError: no form was opened, it has no field of a name, or it requires one that is empty.
        """
        form = self.screen.form
        if form is None:
            raise InvalidError("fields", "no form was opened")
        filled = {field.name: field.value for field in form.fields} | fields
        if unknown := filled.keys() - {field.name for field in form.fields}:
            raise InvalidError("fields", f"the form has no field {min(unknown)}")
        if empty := [field.name for field in form.fields if field.required and not filled[field.name]]:
            raise InvalidError("fields", f"the form requires {empty[0]}")
        self.screen.form = None
        return await self.dispatch(modal("", None, filled, token=form.token, **self._sender(_CHAT)))

    async def write(self, text: str) -> Dispatched:
        """Write a message."""
        return await self.dispatch(message(text, **self._sender(_CHAT)))

    async def advance(self, duration: timedelta) -> None:
        """Let time pass; the dialogs whose deadline has passed by then have ended, but for those that are being used.

        Raises:
            InvalidError: the store's clock is no `ManualClock`.
        """
        clock = self.store.clock
        if not isinstance(clock, ManualClock):
            raise InvalidError("clock", "time is moved by hand where the store was opened with a ManualClock")
        clock.advance(duration)
        for _ in range(_LOOKS):
            await self.dialogs.expire()
            if not any(info.is_overdue for info in (await self.dialogs.list(limit=1)).items):
                break

    async def restart(self) -> None:
        """Close the dialogs of this process, and go on with those of a new one."""
        await self.dialogs.close()
        self.dialogs = self._fresh()

    @asynccontextmanager
    async def elsewhere(self) -> AsyncGenerator[Desk]:
        """Sit down at the same screen, served by another process: a store of its own over the same engine."""
        async with (
            Store(_Beside(self.store.engine, seed=0), clock=self.store.clock) as store,
            Desk(store, self._make, user=self.user, screen=self.screen) as desk,
        ):
            yield desk

    def _fresh(self) -> Dialogs:
        dialogs = self._make(self.store)
        dialogs.add_platform(self.screen)
        return dialogs

    def _sender(self, place: Place) -> Sender:
        return {"user": self.user, "place": place, "platform": self.screen}

    def _find(self, kind: type[C], fits: Callable[[C], bool]) -> tuple[Place, C]:
        for place, view in reversed(self.screen.views.items()):
            for one in _components(view, kind):
                if fits(one) and not one.disabled:
                    return place, one
        shown = [one for view in self.screen.views.values() for one in _components(view, kind)]
        raise InvalidError(kind.__name__.lower(), f"none that is shown is meant and can be used; there are: {shown}")


class _Beside(FaultyEngine):
    """The engine of another process: it is open already, and stays so."""

    async def open(self) -> None:
        """Do nothing: the engine is open."""

    async def close(self) -> None:
        """Do nothing: others still use it."""


def _components(view: View, kind: type[C]) -> Iterator[C]:
    return (one for row in view.rows for one in row if isinstance(one, kind))


def _text(argument: object) -> str:
    return argument if isinstance(argument, str) else msgspec.json.encode(argument).decode().strip('"')


def _leads_to(token: str, action: Callable[..., object], args: tuple[object, ...]) -> bool:
    """Tell whether a token names this action, and these arguments where there are any; no MAC is looked at."""
    found = Tokens().decode(token.partition("~")[0])
    return found is not None and found.action == action.__name__ and (not args or found.args == tuple(map(_text, args)))
