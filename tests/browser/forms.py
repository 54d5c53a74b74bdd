"""A process that serves one dialog as pages, for the tests with a real browser: one of everything, on a store.

python -m tests.browser.forms PORT STORE
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

import sojourn
from sojourn.adapters.web_forms import WebForms
from sojourn.dialogs import Context, Dialog, Dialogs, End, Ended, Field, Option, User, button, modal, select

REASONS = (
    Option("It is broken", "broken", "The glass, the wick or the handle; please say which"),
    Option("It came too late", "late"),
    Option("It is not what was shown", "other", "Another colour, another size"),
)


class Claim(msgspec.Struct):
    """What a refund is asked for."""

    item: str = "Storm lantern"
    reasons: list[str] = []
    story: str = ""


class Refund(Dialog[str]):
    """Asks for the reasons and for the story, and then for a decision."""

    data: Claim
    ttl = timedelta(hours=1)
    stale = "reject"

    async def start(self, ctx: Context) -> None:
        """Ask for the reasons."""
        await self.show(ctx)

    async def show(self, ctx: Context) -> None:
        """Show where it stands."""
        told = [f"Reasons: {', '.join(self.data.reasons) or 'none yet'}", f"Story: {self.data.story or 'none yet'}"]
        await ctx.reply(
            f"Send the {self.data.item.lower()} back?\nWe pay for the parcel.\n\n" + "\n".join(told),
            ctx.select(self.because, REASONS, placeholder="What is wrong with it?", at_most=2),
            ctx.button("Tell the story", self.ask),
            ctx.button("Keep it", self.decide, "kept", style="danger"),
            ctx.button("Send it back", self.decide, "sent back", style="primary", disabled=not self.data.reasons),
        )

    @select
    async def because(self, ctx: Context) -> None:
        """Take the reasons."""
        self.data.reasons = list(ctx.values)
        await self.show(ctx)
        await ctx.notify("Thank you. Is there more to say?")

    @button
    async def ask(self, ctx: Context) -> None:
        """Ask for the story."""
        fields = Field("story", "The story", multiline=True, most=200), Field("when", "Since when?", required=False)
        await ctx.open_form(ctx.form("What happened?", self.tell, *fields))

    @modal
    async def tell(self, ctx: Context) -> None:
        """Take the story."""
        self.data.story = ctx.fields["story"]
        await self.show(ctx)

    @button
    async def decide(self, ctx: Context, decision: str) -> End:
        """End it."""
        return ctx.end(decision)

    async def end(self, ctx: Context, ended: Ended[str]) -> None:
        """Say how it ended."""
        await ctx.edit_origin(f"The {self.data.item.lower()} is {ended.result}.\nBecause: {self.data.story}")


async def who(request: Request) -> User:
    """Whoever they say they are."""
    return User(request.cookies.get("person", "ann"))


def make(url: str) -> Starlette:
    """Return the application on the store at the URL."""
    store = sojourn.open(url)
    dialogs = Dialogs(store)
    dialogs.register("refund")(Refund)
    web = WebForms(dialogs, user=who, title="Wayside", dev=True)

    async def begin(request: Request) -> Response:
        if request.method == "POST":
            return await web.start(Refund, request)
        return HTMLResponse("<title>Begin</title><form method=post><button>Ask for a refund</button></form>")

    @asynccontextmanager
    async def live(_: Starlette) -> AsyncGenerator[None]:
        async with store, dialogs:
            yield

    routes = [Route("/", begin, methods=["GET", "POST"]), Mount("/dialogs", app=web)]
    return Starlette(routes=routes, lifespan=live)


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[2]), port=int(sys.argv[1]), log_level="warning")
