"""What a crowd of clients calls: marks, which each of them sets and all of them see.

Served by `sojourn serve tests.browser.crowd:app`, with CROWD_STORE as its store.
"""

import os
from pathlib import Path

import sojourn
from sojourn import Functions, MutationCtx, QueryCtx, SessionId, Sessions
from sojourn.server import App

MANY = 1_000_000

store = sojourn.open(os.environ.get("CROWD_STORE", "memory:"))
sessions = Sessions(store)
functions = Functions(sessions)
marks = functions.collection("marks", list[int], by=SessionId)
total = functions.collection("total", int, by=str)


@functions.query
async def own(ctx: QueryCtx, session_id: SessionId) -> list[int]:
    """Show the marks of one client."""
    return await ctx.db(marks).get(session_id, default=[])


@functions.query.sessionless
async def count(ctx: QueryCtx) -> int:
    """Show how many marks there are of all."""
    return await ctx.db(total).get("all", default=0)


@functions.mutation
async def mark(ctx: MutationCtx, session_id: SessionId, *, number: int) -> int:
    """Set a mark. Done twice it would be there twice."""
    await ctx.db(marks).update(session_id, lambda own: [*own, number], default=[])
    return await ctx.db(total).update("all", lambda count: count + 1, default=0)


app = App(
    store,
    functions=functions,
    dev=True,
    browser_storage=True,
    pages=Path(__file__).parent / "crowd",
    calls_per_minute=MANY,
    sessions_per_minute=MANY,
)
