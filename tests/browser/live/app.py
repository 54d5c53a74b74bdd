"""What the tests of live queries call: a list for each session, of which nothing may be missed or be there twice.

Served by `sojourn serve tests.browser.live.app:app`, with LIVE_STORE as its store.
"""

import os
from pathlib import Path

import sojourn
from sojourn import ActionCtx, Functions, MutationCtx, QueryCtx, SessionId, Sessions
from sojourn.server import App

store = sojourn.open(os.environ.get("LIVE_STORE", "memory:"))
functions = Functions(Sessions(store))
lists = functions.collection("lists", list[str], by=SessionId)


@functions.query
async def items(ctx: QueryCtx, session_id: SessionId) -> list[str]:
    """Show the list."""
    return await ctx.db(lists).get(session_id, default=[])


@functions.query
async def who(ctx: QueryCtx, _: SessionId) -> str:
    """Show whose session it is."""
    return ctx.session.subject or "nobody"


@functions.mutation
async def add(ctx: MutationCtx, session_id: SessionId, *, item: str) -> int:
    """Put something at the end of the list. Done twice it would be there twice."""
    return len(await ctx.db(lists).update(session_id, lambda found: [*found, item], default=[]))


@functions.action
async def sign_in(ctx: ActionCtx, _: SessionId, *, name: str) -> None:
    """Give the session a name, and with it a new secret."""
    await ctx.rotate(subject=name)


app = App(store, functions=functions, dev=True, browser_storage=True, pages=Path(__file__).parent / "pages")
