"""Refunds: a visitor asks in one window, a clerk answers in another, and every process may have died in between.

A request is a dialog, and between two clicks a dialog is a record and nothing else. So whichever server is up takes the
next click, and every page that shows the request follows. What is taken back lies in the cellar by the commit that ends
it.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import ClassVar, Literal

import msgspec

from examples.shop.model import PRODUCTS, Decision, Purchase, Rack
from sojourn import REFRESH, ApplicationError, Dialog, Dialogs, button
from sojourn.dialogs import (
    Answer,
    Budget,
    Completion,
    Component,
    Context,
    Effect,
    End,
    Ended,
    Field,
    Form,
    Interaction,
    Kind,
    Place,
    Platform,
    Responder,
    User,
    View,
    filtered,
    modal,
    owner,
    role,
    select,
)
from sojourn.documents import Documents
from sojourn.errors import DialogExistsError
from sojourn.kernel import Attempt

PATIENCE = timedelta(minutes=10)  # how long a request waits, from the last word on
REQUESTS = 50  # that the desk shows
WORDS = 20  # that are said about one request
WORD_CHARS = 200
TAKEN = {"kept", "refreshed", "ended", "duplicate"}  # of what a click can come to: it counts, now or since before
REASONS = ("It was used, and happily.", "It was eaten.", "It is no longer a thing one would want back.")

SILENCE = Decision(is_approved=False, word="Nobody answered in time.")

Side = Literal["visitor", "clerk"]


class Word(msgspec.Struct, frozen=True):
    """What one of the two has said."""

    by: Side
    text: str


class Request(msgspec.Struct):
    """What is asked to be taken back, and all that was said about it."""

    sku: str
    count: int
    said: list[Word] = []

    def say(self, by: Side, text: str) -> None:
        """Add a word.

        Raises:
            ApplicationError: it is none, or enough was said.
        """
        if not text.strip() or len(text) > WORD_CHARS:
            raise ApplicationError(f"Please say something, in at most {WORD_CHARS} letters.")
        if len(self.said) >= WORDS:
            raise ApplicationError("Enough was said about it by now.")
        self.said.append(Word(by, text.strip()))


class Sheet(msgspec.Struct, frozen=True):
    """What the pages show of a request besides its buttons: a form for the clerk, and one for whom the clerk asked."""

    request: Request
    clerk: Form
    visitor: Form | None


@filtered
def is_answer(ctx: Context) -> bool:
    """Say whether it is the clerk's question that is answered."""
    return ctx.action == "answer"


class RefundApproval(Dialog[Decision]):
    """One request. A clerk decides it, and may ask back; only the visitor who made it answers that."""

    data: Request
    ttl = PATIENCE
    result = SILENCE
    update_filter = (role("clerk") & ~is_answer) | (owner & is_answer)
    racks: ClassVar[Documents[Rack]]

    async def start(self, ctx: Context) -> None:
        """Lay the request on the desk."""
        await ctx.reply(self._view(ctx))

    @button
    async def approve(self, ctx: Context) -> End:
        """Take it back: it lies in the cellar and the request is closed by one commit, or neither is so."""
        request = self.data

        def stow(drafts: dict[str, Rack]) -> bool:
            drafts["cellar"].items[request.sku] += request.count
            return True

        await self.racks.transact(["cellar"], stow, tx=ctx.tx)
        return ctx.end(Decision(is_approved=True, word="It is back in the cellar, and nothing was charged for it."))

    @select
    async def decline(self, ctx: Context) -> End:
        """Leave it with the visitor, for a reason."""
        if ctx.values[0] not in REASONS:
            raise ApplicationError("That is no reason.")
        return ctx.end(Decision(is_approved=False, word=ctx.values[0]))

    @modal
    async def ask(self, ctx: Context) -> Answer:
        """Ask the visitor something first."""
        return await self._go_on(ctx, "clerk")

    @modal
    async def answer(self, ctx: Context) -> Answer:
        """Answer the clerk."""
        return await self._go_on(ctx, "visitor")

    async def end(self, ctx: Context, ended: Ended[Decision]) -> None:
        """Leave nothing to click."""
        await ctx.edit_origin((ended.result or SILENCE).word)

    async def _go_on(self, ctx: Context, by: Side) -> Answer:
        self.data.say(by, ctx.fields.get("text", ""))
        await ctx.edit_origin(self._view(ctx))
        return REFRESH

    def _view(self, ctx: Context) -> View:
        last = self.data.said[-1]
        approve = ctx.button("Take it back", self.approve, style="success")
        decline = ctx.select(self.decline, REASONS, placeholder="Decline, because …")
        ask = ctx.form("Ask back", self.ask, Field("text", "A question to the visitor", most=WORD_CHARS))
        answer = ctx.form("Answer", self.answer, Field("text", "Your answer to the desk", most=WORD_CHARS))
        sheet = Sheet(self.data, ask, answer if last.by == "clerk" else None)
        rows = ((approve,), (decline,))
        return View(f"{PRODUCTS[self.data.sku].name}: {last.text}", rows, extras=msgspec.to_builtins(sheet))


# -- What the pages see -----------------------------------------------------------------------------------------------


class Sale(msgspec.Struct, frozen=True):
    """What a visitor bought, and what was said about giving it back: the clerk may be asking, until a decision is due.

    Nothing is `said` while a request was never made, or is just being decided.
    """

    purchase: Purchase
    is_asked: bool = False
    said: list[Word] = []
    form: Form | None = None
    due: datetime | None = None


class Card(msgspec.Struct, frozen=True):
    """An open request as it lies on the desk: what to click, and a form to ask back."""

    id: str
    request: Request
    rows: tuple[tuple[Component, ...], ...]
    form: Form
    due: datetime | None


class Click(msgspec.Struct, frozen=True):
    """What was done with a component of a request. Sent again under the same id, it counts once."""

    delivery: str
    token: str
    values: tuple[str, ...] = ()
    fields: dict[str, str] = {}

    @property
    def kind(self) -> Kind:
        """What kind of component that is."""
        return Kind.MODAL if self.fields else Kind.SELECT if self.values else Kind.BUTTON


# -- The pages as a platform ------------------------------------------------------------------------------------------


class Pages(Platform):
    """The shop's own pages, as dialogs see them. They watch what there is to see, so nothing is sent to them."""

    name = "pages"
    budget = Budget()
    signs = True  # what a browser is given, it can change
    is_page = True
    ack_within = None
    codec = None

    async def perform(self, effect: Effect, key: str, interaction: Interaction | None) -> None:
        """Do nothing: the record has what there is to see."""


class Reply(Responder):
    """The reply to one call of a page, with room for what a dialog has to say to whoever called."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def ack(self) -> None:
        """Do nothing: the call is answered anyhow."""

    async def defer(self) -> None:
        """Do nothing: the page waits."""

    async def reply(self, view: View) -> Place:  # noqa: ARG002  it is seen on the desk
        """Return where every request lies."""
        return Place("desk")

    async def notify(self, text: str) -> None:
        """Say it with the answer."""
        self.said.append(text)


class Refunds:
    """Takes requests, and what is done with them.

    `kind` is the dialog over the racks of a shop, and `on_end` is told of each end, both registered with the dialogs.
    """

    def __init__(self, dialogs: Dialogs, kind: type[RefundApproval], on_end: Completion) -> None:
        self._dialogs = dialogs
        self._kind = kind
        self._on_end = on_end
        self._pages = Pages()
        dialogs.add_platform(self._pages)

    async def request(self, visitor: str, purchase: Purchase, why: str) -> None:
        """Ask for a purchase to be taken back. Who asks twice has asked once.

        Raises:
            ApplicationError: no reason is given, or it was decided already.
        """
        if purchase.decision is not None:
            raise ApplicationError("That was decided already.")
        request = Request(purchase.sku, purchase.count)
        request.say("visitor", why)
        call = Interaction(platform=self._pages, responder=Reply(), kind=Kind.COMMAND, user=User(visitor))
        with suppress(DialogExistsError):
            await self._dialogs.start(self._kind, call, data=request, id=purchase.id, on_end=self._on_end)

    async def click(self, user: User, click: Click) -> None:
        """Do what was clicked, chosen or written.

        Raises:
            ApplicationError: it is too late, or not for this user to do.
            SojournError: what the request made of it; then it is as it was.
        """
        reply = Reply()
        call = Interaction(
            platform=self._pages,
            responder=reply,
            kind=click.kind,
            user=user,
            delivery_id=click.delivery,
            token=click.token,
            values=click.values,
            fields=click.fields,
        )
        done = await self._dialogs.dispatch(call)
        if done.error is not None:
            raise done.error
        if done.result not in TAKEN:
            raise ApplicationError(" ".join(reply.said) or "There is no such request.")

    async def sale(self, purchase: Purchase, tx: Attempt) -> Sale:
        """Return how it stands with a purchase, as this transaction sees it."""
        info = None if purchase.decision else await self._dialogs.get(purchase.id, tx=tx)
        if info is None or info.view is None or info.ended is not None:
            return Sale(purchase, is_asked=info is not None)
        sheet = sheet_of(info.view)
        return Sale(purchase, is_asked=True, said=sheet.request.said, form=sheet.visitor, due=info.deadline)

    async def desk(self) -> list[Card]:
        """Return what there is to decide, the most urgent first."""
        found = await self._dialogs.list(type="refund", limit=REQUESTS)
        return [card_of(info.dialog_id, info.view, info.deadline) for info in found.items if info.view is not None]


def sheet_of(view: View) -> Sheet:
    """Return what a request shows besides its buttons."""
    return msgspec.convert(view.extras, Sheet)


def card_of(request: str, view: View, due: datetime | None) -> Card:
    """Return a request as it lies on the desk."""
    sheet = sheet_of(view)
    return Card(request, sheet.request, view.rows, sheet.clerk, due)
