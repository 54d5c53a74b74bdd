"""The server behind the board of notes: its functions, and the page that was built for the run.

    python -m tests.browser.react.server --port 8000 --store memory: --pages FOLDER [--minted]

The page is in web/react/test/app.
"""

import argparse
import sys
from pathlib import Path

import sojourn
from sojourn import ActionCtx, ApplicationError, Functions, MutationCtx, QueryCtx, SessionId, Sessions, Visits
from sojourn.kernel import Store
from sojourn.server import App, serve
from sojourn.sessions import Mode


def board(store: Store, pages: Path, mode: Mode) -> App:
    """Return the application: notes of each session, a query that can be broken, and a way to sign in."""
    functions = Functions(Sessions(store, mode=mode))
    written = functions.collection("notes", list[str], by=SessionId)
    broken = functions.collection("broken", bool, by=SessionId)

    @functions.query
    async def notes(ctx: QueryCtx, session_id: SessionId) -> list[str]:
        return await ctx.db(written).get(session_id, default=[])

    @functions.query
    async def counted(ctx: QueryCtx, session_id: SessionId) -> int:
        return len(await ctx.run_query(notes))

    @functions.query
    async def owner(ctx: QueryCtx, session_id: SessionId) -> str | None:
        return ctx.session.subject

    @functions.query
    async def fragile(ctx: QueryCtx, session_id: SessionId) -> str:
        if await ctx.db(broken).get(session_id, default=False):
            raise ApplicationError("it was broken")
        return "whole"

    @functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId, *, text: str) -> None:
        if text == "a rude word":
            raise ApplicationError("mind your language", "rude")
        await ctx.db(written).update(session_id, lambda notes: [*notes, text], default=[])

    @functions.mutation
    async def breaks(ctx: MutationCtx, session_id: SessionId, *, broken_now: bool) -> None:
        await ctx.db(broken).put(session_id, broken_now)

    @functions.action
    async def sign_in(ctx: ActionCtx, session_id: SessionId, *, name: str) -> None:
        await ctx.rotate(name)

    return App(store, functions=functions, visits=Visits(store), dev=True, browser_storage=True, pages=pages)


def main() -> None:
    """Serve until asked to stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.react.server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--pages", type=Path, required=True)
    parser.add_argument("--minted", action="store_true", help="browsers make the ids")
    asked = parser.parse_args()
    app = board(sojourn.open(asked.store), asked.pages, Mode.MINTED if asked.minted else Mode.ISSUED)

    def announce(url: str) -> None:
        sys.stdout.write(f"open at {url}\n")
        sys.stdout.flush()

    serve(app, host="127.0.0.1", port=asked.port, announce=announce)


if __name__ == "__main__":
    main()
