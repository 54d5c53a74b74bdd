"""A small shop: a basket for each session, shelves and a stock room for all, an assistant, a desk for refunds.

`make run` serves it. Each handler gets the id of the caller's session and works as if it were alone. Cookies, parallel
requests, lost answers and killed servers are sojourn's business. So is that what a page shows of a query stays right:
pages watch queries, and nothing here tells them of a change. What the browser gets is in `pages`.
"""

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

import msgspec

import sojourn
from examples.shop.assistant import Assistant, Conversation
from examples.shop.model import FULL, PRODUCTS, Basket, Decision, Place, Product, Purchase, Rack, Shelf
from examples.shop.refunds import Card, Click, RefundApproval, Refunds, Sale
from sojourn import ActionCtx, ApplicationError, Dialogs, Functions, MutationCtx, QueryCtx, SessionId, Sessions, Visits
from sojourn.dialogs import DialogInfo, Ended, User
from sojourn.documents import Documents
from sojourn.server import App
from sojourn.visits import visitor_of

store = sojourn.open(os.environ.get("SHOP_STORE", "sqlite:///.run/shop.db"))
sessions = Sessions(store, idle=timedelta(days=7))  # a page that is only looked at uses nothing, and its basket waits
functions = Functions(sessions)
visits = Visits(store)  # who is here, and what they did: the page has one tag for it, <script data-track>
baskets = functions.collection("baskets", Basket, by=SessionId)  # one for each session: it lives and ends with it
shelves = functions.collection("shelves", Shelf, by=str)  # one for each product, shared by all sessions
racks = Documents(store, "racks", schema=Rack, template=FULL)  # the stock room: each rack is a document
clerk = Assistant(store)  # a conversation with each session: each turn is a snapshot
dialogs = Dialogs(store)  # requests for refunds: each is a dialog between a visitor and the desk
books = functions.collection("books", list[Purchase], by=SessionId)  # what each session bought, the last first

PURCHASES = 24  # that a book has room for


@dialogs.register("refund")
class Refund(RefundApproval):
    """A request for a refund in this shop, whose racks take things back."""

    racks = racks


@dialogs.on_end
async def note(ended: Ended[Decision], info: DialogInfo) -> None:
    """Have the decision written into the visitor's book, by whichever server is up, until it is there."""
    session = await sessions.get(SessionId(info.owner.id))
    if session is None or ended.result is None:
        return  # the book went with the session
    writing = functions.bind(store).acting_as(session, request_id=f"refund-{ended.dialog_id}")
    await writing.run(note_decision, purchase=ended.dialog_id, decision=msgspec.convert(ended.result, Decision))


refunds = Refunds(dialogs, Refund, on_end=note)


class View(msgspec.Struct, frozen=True):
    """What the page shows."""

    session: SessionId
    name: str | None
    basket: Basket
    products: dict[str, Product]
    left: dict[str, int]


class Stock(msgspec.Struct, frozen=True):
    """What the page of the stock room shows."""

    products: dict[str, Product]
    racks: dict[str, Rack]


class Deed(msgspec.Struct, frozen=True):
    """One thing that a visitor did, for that visitor to see."""

    action: str
    sku: str | None
    at: datetime


async def left_of(ctx: QueryCtx | MutationCtx, sku: str) -> int:
    """Return how many are left on the shelf. Before the first delivery it is as full as after one."""
    return (await ctx.db(shelves).get(sku, default=Shelf(PRODUCTS[sku].delivered))).left


@functions.mutation.sessionless.internal
async def deliver(ctx: MutationCtx) -> None:
    """Fill the shelves."""
    for sku, product in PRODUCTS.items():
        await ctx.db(shelves).put(sku, Shelf(product.delivered))


functions.crons.cron("delivery", "0 * * * *", deliver)  # on the hour, by whichever server is up, or by the next that is


@functions.query
async def view(ctx: QueryCtx, session_id: SessionId) -> View:
    """Show everything as of one instant."""
    left = {sku: await left_of(ctx, sku) for sku in PRODUCTS}
    return View(session_id, ctx.session.subject, await ctx.db(baskets).get(session_id), PRODUCTS, left)


@functions.mutation
async def add(ctx: MutationCtx, session_id: SessionId, *, sku: str, count: int = 1) -> Basket:
    """Put a product into the basket or, with a negative count, take it out."""
    if sku not in PRODUCTS or abs(count) > 99:  # noqa: PLR2004  more than anybody carries
        raise ApplicationError("There is no such thing in this shop.")
    return await ctx.db(baskets).update(session_id, lambda basket: basket.plus(sku, count))


@functions.mutation
async def check_out(ctx: MutationCtx, session_id: SessionId) -> Basket:
    """Buy what is in the basket, all of it or nothing. Of two who want the last one, one gets it."""
    basket = await ctx.db(baskets).get(session_id)
    if not basket.items:
        raise ApplicationError("Your basket is empty.")
    for sku, count in basket.items.items():
        left = await left_of(ctx, sku)
        if left < count:
            few = f"only {left}" if left else "nothing"
            raise ApplicationError(f"{PRODUCTS[sku].name}: {few} left until the next delivery.", {"sku": sku})
        await ctx.db(shelves).put(sku, Shelf(left - count))
    bought = [Purchase(ctx.uuid().hex, sku, count) for sku, count in basket.items.items()]
    await ctx.db(books).update(session_id, lambda book: [*bought, *book][:PURCHASES])
    return await ctx.db(baskets).update(session_id, Basket.emptied)


@functions.mutation
async def mark(ctx: MutationCtx, session_id: SessionId) -> Basket:
    """Write, and change nothing else: the page sends a row of these and kills the server in their midst."""
    return await ctx.db(baskets).update(session_id, Basket.marked)


@functions.action
async def sign_in(ctx: ActionCtx, _: SessionId, *, name: str) -> None:
    """Give the session a name and a new secret; id and basket stay. There are no passwords in this example."""
    if not name.strip() or len(name) > 40 or not name.isprintable():  # noqa: PLR2004  more than anybody is called
        raise ApplicationError("Please give a name of at most 40 letters.")
    await ctx.rotate(name.strip())


@functions.query
async def signed_in(ctx: QueryCtx, _: SessionId) -> dict[SessionId, datetime | None]:
    """Tell which sessions go by the caller's name, and since when."""
    name = ctx.session.subject
    return {} if name is None else {one.id: one.signed_in_at async for one in sessions.list_for(name)}


@functions.action
async def sign_out_everywhere(ctx: ActionCtx, _: SessionId) -> int:
    """End every session that goes by the caller's name, this one too, and tell how many those were."""
    if ctx.session.subject is None:
        raise ApplicationError("You are not signed in.")
    return await sessions.revoke_all(ctx.session.subject)


@functions.query.sessionless
async def here(_: QueryCtx) -> int:
    """Tell how many are here now, and nothing of who they are. However many look, it is counted once."""
    return await visits.count_active()


@functions.query.sessionless
async def log(_: QueryCtx, *, visitor: str, limit: int = 6) -> list[Deed]:
    """Tell a visitor what was noted of it, the last first. Only its browser knows this id; what is kept is a hash."""
    deeds = await visits.actions(visitor_of(visitor), limit=limit, newest_first=True)
    return [Deed(deed.action, deed.resource_id, deed.occurred_at) for deed in deeds.items]


@functions.action
async def forget(_: ActionCtx, __: SessionId, *, visitor: str) -> int:
    """Erase all that was noted of a visitor, and tell how many records that were."""
    return await visits.erase(visitor_of(visitor))


@functions.query.sessionless
async def stock(ctx: QueryCtx) -> Stock:
    """Show what lies on each rack, as of one instant. What nobody has moved yet is as it was delivered."""
    return Stock(PRODUCTS, {place: await racks.peek(place, tx=ctx.tx) or FULL for place in get_args(Place)})


@functions.mutation
async def move(ctx: MutationCtx, _: SessionId, *, sku: str, source: Place, target: Place) -> None:
    """Carry one thing from one rack to the other: both documents change with this request, or neither does."""

    def carry(drafts: dict[str, Rack]) -> bool:
        if not drafts[source].items.get(sku):
            raise ApplicationError(f"There is none of that left in the {source}.")
        drafts[source].items[sku] -= 1
        drafts[target].items[sku] += 1
        return True

    await racks.transact([source, target], carry, tx=ctx.tx)


@functions.query
async def book(ctx: QueryCtx, session_id: SessionId) -> list[Sale]:
    """Show what the session bought, and how it stands with giving it back."""
    return [await refunds.sale(purchase, ctx.tx) for purchase in await ctx.db(books).get(session_id)]


@functions.query.internal
async def purchase_of(ctx: QueryCtx, session_id: SessionId, *, purchase: str) -> Purchase:
    """Return what the session bought under this id."""
    for bought in await ctx.db(books).get(session_id):
        if bought.id == purchase:
            return bought
    raise ApplicationError("There is no such purchase in your book.")


@functions.action
async def ask_refund(ctx: ActionCtx, session_id: SessionId, *, purchase: str, why: str) -> None:
    """Ask for something bought to be taken back."""
    await refunds.request(session_id, await ctx.run_query(purchase_of, purchase=purchase), why)


@functions.action
async def answer_desk(_: ActionCtx, session_id: SessionId, *, click: Click) -> None:
    """Answer what the desk has asked back."""
    await refunds.click(User(session_id), click)


@functions.query.sessionless
async def desk(_: QueryCtx) -> list[Card]:
    """Show what there is to decide. Who finds the way behind the counter is a clerk here."""
    return await refunds.desk()


@functions.action
async def decide(_: ActionCtx, session_id: SessionId, *, click: Click) -> None:
    """Do what was clicked on the desk."""
    await refunds.click(User(session_id, roles=frozenset({"clerk"})), click)


@functions.mutation.internal
async def note_decision(ctx: MutationCtx, session_id: SessionId, *, purchase: str, decision: Decision) -> None:
    """Write into the session's book what became of giving something back."""

    def noted(bought: Purchase) -> Purchase:
        return msgspec.structs.replace(bought, decision=decision) if bought.id == purchase else bought

    await ctx.db(books).update(session_id, lambda book: [noted(bought) for bought in book])


@functions.query
async def conversation(_: QueryCtx, session_id: SessionId, *, at: str | None = None) -> Conversation:
    """Show the conversation up to a turn, or to the newest."""
    return await clerk.show(session_id, at)


@functions.action
async def ask(
    ctx: ActionCtx, session_id: SessionId, *, question: str, after: str | None = None, beside: bool = False
) -> str:
    """Ask the assistant, and return the id of the turn: the answer is made in the background."""
    basket = (await ctx.run_query(view)).basket
    return await clerk.ask(session_id, question, basket, after=after, beside=beside)


@functions.action
async def ask_again(ctx: ActionCtx, session_id: SessionId, *, turn: str) -> str:
    """Have the question of a turn answered once more, beside it; the first answer stays."""
    return await clerk.ask_again(session_id, turn, (await ctx.run_query(view)).basket)


@functions.action
async def stop(_: ActionCtx, session_id: SessionId, *, turn: str) -> None:
    """Stop an answer, whichever server it is made by and whichever window asked for it."""
    await clerk.stop(session_id, turn)


@functions.action
async def forget_conversation(_: ActionCtx, session_id: SessionId) -> None:
    """Erase the conversation with all its branches."""
    await clerk.snapshots.delete_session(session_id)


@functions.action
async def kill_server(_: ActionCtx, __: SessionId) -> None:
    """End this process as a power cut would: no answer, no clean-up. Only pages on this very machine can ask for it."""
    os.kill(os.getpid(), signal.SIGKILL)


# Without `origins` the server answers to this machine only; `dev` lets the cookie travel over plain HTTP.
app = App(store, functions=functions, visits=visits, dialogs=dialogs, dev=True, pages=Path(__file__).parent / "pages")
