"""A desk: somebody before a screen, who uses dialogs as people do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sojourn.dialogs import Button, Dialog, Dialogs, Dispatched, Handle, Place, Select, User, View
from sojourn.errors import InvalidError
from sojourn.kernel import Store
from sojourn.testing.clock import ManualClock
from sojourn.testing.dialogs.acting import ANN, CHAT, Sender, button, command, leads_to, message, modal, select
from sojourn.testing.dialogs.screen import RecordedInteraction, Screen
from sojourn.testing.faults import FaultyEngine

__all__ = ["Desk"]

R = TypeVar("R")
C = TypeVar("C", Button, Select)

_LOOKS: Final = 100  # for what the background of the same process has begun to end, and not ended yet


class _Process:
    """What serves one desk or more, until it is restarted."""

    def __init__(self, dialogs: Dialogs) -> None:
        self.dialogs = dialogs


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
        self._process = _Process(self._fresh())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        clock = self.store.clock
        async with AsyncExitStack() as stack:
            if error is not None and isinstance(clock, ManualClock):  # a test that failed waits for no handler
                await stack.enter_async_context(clock.rushing())
            await self.dialogs.close()

    @property
    def dialogs(self) -> Dialogs:
        """The dialogs of the process that serves this desk."""
        return self._process.dialogs

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
            return one.label == what if isinstance(what, str) else leads_to(one.token, what, args)

        place, found = self._find(Button, fits)
        return await self.dispatch(button("", token=found.token, **self._sender(place)))

    async def select(self, *labels: str) -> Dispatched:
        """Choose the options with these labels, or values, where they were shown last.

        Raises:
            InvalidError: nothing shown lets somebody choose just these.
        """

        def values(one: Select) -> list[str]:
            offered = {text: option.value for option in one.options for text in (option.value, option.label)}
            return [offered[label] for label in labels if label in offered]

        def fits(one: Select) -> bool:
            return len(values(one)) == len(labels) and one.at_least <= len(labels) <= one.at_most

        place, found = self._find(Select, fits)
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
        return await self.dispatch(modal("", None, filled, token=form.token, **self._sender(CHAT)))

    async def write(self, text: str) -> Dispatched:
        """Write a message."""
        return await self.dispatch(message(text, **self._sender(CHAT)))

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
        """Close the dialogs of this process, and go on with those of a new one, also for who sits beside."""
        await self.dialogs.close()
        self._process.dialogs = self._fresh()

    def beside(self, user: User | str) -> Desk:
        """Return the desk of somebody else at the same screen, served by the same process; it need not be closed."""
        desk = copy(self)
        desk.user = User(user) if isinstance(user, str) else user
        return desk

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
        shown = [_said(one) for view in self.screen.views.values() for one in _components(view, kind)]
        raise InvalidError(
            kind.__name__.lower(),
            f"none that is shown is meant and can be used; there are: {', '.join(shown) or 'none at all'}",
        )


class _Beside(FaultyEngine):
    """The engine of another process: it is open already, and stays so."""

    async def open(self) -> None:
        """Do nothing: the engine is open."""

    async def close(self) -> None:
        """Do nothing: others still use it."""


def _said(one: Button | Select) -> str:
    text = one.label if isinstance(one, Button) else " | ".join(option.label for option in one.options)
    return f"{text} (disabled)" if one.disabled else text


def _components(view: View, kind: type[C]) -> Iterator[C]:
    return (one for row in view.rows for one in row if isinstance(one, kind))
