"""The platform `web`: a dialog's page shows what is stored of it, so that hardly anything has to be done there."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sojourn.adapters.web_forms.inbox import Inbox
from sojourn.dialogs import (
    Budget,
    Effect,
    Interaction,
    Kind,
    Notice,
    OpenForm,
    Place,
    TokenCodec,
    User,
    View,
)
from sojourn.errors import LimitError, UnsupportedError

__all__ = ["Exchange", "WebPlatform"]


class Exchange:
    """How the person behind one request is answered: by the page that they get, under what was said meanwhile."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.said: list[str] = []
        self.has_form = False

    async def ack(self) -> None:
        """Do nothing: the page will say it."""

    async def defer(self) -> None:
        """Do nothing: a browser waits."""

    async def reply(self, view: View) -> Place:  # noqa: ARG002  the page shows what is stored of it
        """Return where the page of the dialog is."""
        return self._place

    async def notify(self, text: str) -> None:
        """Say it on the page that answers."""
        self.said.append(text)


class WebPlatform:
    """Pages at a path. The message of a place is the id of the dialog whose page it is."""

    name = "web"
    budget = Budget()
    signs = True
    is_page = True
    ack_within: timedelta | None = None
    codec: TokenCodec | None = None

    def __init__(self, path: str, inbox: Inbox) -> None:
        self.path: Final = path
        self._inbox = inbox

    def begun(self, user: User, dialog_id: str) -> tuple[Interaction, Exchange]:
        """Return what a person does with a dialog, to be filled in, and how they are answered."""
        place = Place(self.path, message=dialog_id)
        exchange = Exchange(place)
        return Interaction(platform=self, responder=exchange, kind=Kind.COMMAND, user=user, place=place), exchange

    async def perform(self, effect: Effect, key: str, interaction: Interaction | None) -> None:
        """Have a notice or a form wait for its person; what else a dialog shows is in its record.

        Raises:
            UnsupportedError: nobody is there to see it, or it is too large.
        """
        try:
            if isinstance(effect, Notice):
                await self._notify(effect, key)
            elif isinstance(effect, OpenForm):
                await self._open(effect, interaction)
        except LimitError as error:
            raise UnsupportedError(str(error)) from error

    async def _notify(self, notice: Notice, key: str) -> None:
        dialog_id, user = notice.place.message, notice.user
        if not dialog_id or not user.id:
            raise UnsupportedError("nobody is there to be notified")
        await self._inbox.change(dialog_id, user, lambda waiting: waiting.with_notice(key, notice.text))

    async def _open(self, opened: OpenForm, interaction: Interaction | None) -> None:
        dialog_id = opened.place.message
        if not dialog_id or interaction is None:
            raise UnsupportedError("nobody is there to fill in the form")
        by = interaction.delivery_id
        await self._inbox.change(dialog_id, interaction.user, lambda waiting: waiting.with_form(opened.form, by))
        if isinstance(interaction.responder, Exchange):
            interaction.responder.has_form = True
