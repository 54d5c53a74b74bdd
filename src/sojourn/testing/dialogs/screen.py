"""A platform without people: it shows what dialogs want shown, and notes how each interaction was answered."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final, cast

import msgspec

from sojourn.dialogs import (
    Budget,
    Edit,
    Effect,
    Form,
    Interaction,
    Notice,
    OpenForm,
    Place,
    Reply,
    Responder,
    TokenCodec,
    View,
)
from sojourn.errors import UnavailableError, UnsupportedError

__all__ = ["FIRST", "RecordedInteraction", "Screen"]

FIRST: Final = Place("test", message="1")
"""Where the first message stands that a screen shows in answer to a command of this kit."""


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
        return FIRST

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
