"""A process that handles clicks on dialogs, does what it is asked line by line, and says what becomes of it.

A line is a number, a verb and its words; the answer is that number and what came of it, in any order. What happens
without being asked begins with a star: what was performed, committed and told. Asked to `stop` somewhere, the process
says so when it comes there, and stops itself, with everything as it is at that instant.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import sojourn
from sojourn.dialogs import (
    KEEP,
    Answer,
    Context,
    Dialog,
    DialogEvent,
    DialogInfo,
    Dialogs,
    Edit,
    Effect,
    End,
    Ended,
    Interaction,
    Kind,
    Notice,
    Phase,
    Place,
    Token,
    Tokens,
    User,
    View,
    button,
)
from sojourn.kernel import Committed, Key, Store
from sojourn.testing.dialogs import Screen
from tests.proofs.passing import SharedClock

LIFE = timedelta(minutes=10)
"""How long a counter lives."""
PATIENT = timedelta(minutes=10)
"""How long a click waits for those before it, so that no machine is too slow."""
LEDGER = "ledger"
"""The space where a counter notes, for each click, how often it was handled: with the commit of the click."""

_stops = set[str]()


def say(*words: object) -> None:
    """Say it at once, whatever becomes of this process."""
    print(*words, flush=True)  # noqa: T201  this is what its parent reads


def reach(point: str) -> None:
    """Stop this process if it was asked to stop here, for the first time that it comes here."""
    if point in _stops:
        _stops.discard(point)
        say("*", "at", point)
        os.kill(os.getpid(), signal.SIGSTOP)


def reach_when_committed(ctx: Context, point: str) -> None:
    """Say that what this handler did was committed, and stop there if that was asked for: before all that follows."""

    def settled(became: object) -> None:
        if isinstance(became, Committed):
            say("*", point)
            reach(point)

    ctx.tx.when_settled(settled)


class Counter(Dialog[int]):
    """Counts clicks, and notes each beside it. A number that is shown may be left out for a newer one, a notice not."""

    data: int
    ttl = LIFE

    async def start(self, ctx: Context) -> None:
        reach("start")
        reach_when_committed(ctx, "running")
        await ctx.reply("0", ctx.button("More", self.more), ctx.button("Done", self.done))

    @button
    async def more(self, ctx: Context) -> Answer:
        assert ctx.interaction is not None
        noted = Key(LEDGER, ctx.dialog_id, str(ctx.interaction.delivery_id))
        before = await ctx.tx.get(noted)
        ctx.tx.put(noted, b"%d" % (1 + int(before.value if before else 0)))
        self.data += 1
        await ctx.edit_origin(str(self.data))
        await ctx.notify(str(self.data))
        reach_when_committed(ctx, "committed")
        reach("handler")
        return KEEP

    @button
    async def done(self, ctx: Context) -> End:
        return ctx.end(self.data)

    async def end(self, ctx: Context, ended: Ended[int]) -> None:
        await ctx.edit_origin(ended.code)
        reach_when_committed(ctx, "closed")
        reach("hook")


class Outside(Screen):
    """The platform: what is done there is said."""

    async def perform(self, effect: Effect, key: str, interaction: Interaction | None) -> None:
        """Say what it shows, under its key."""
        assert isinstance(effect, Edit | Notice)
        reach("effect")
        await super().perform(effect, key, interaction)
        if isinstance(effect, Edit):
            say("*", "edited", effect.view.text, key)
        else:
            say("*", "noticed", effect.text, key)
        reach("performed")


class Answers:
    """How one interaction was answered."""

    def __init__(self) -> None:
        self.said = "silence"

    async def ack(self) -> None:
        """Note that it was answered."""
        reach("answer")
        self.said = "acked"

    async def defer(self) -> None:
        """Note nothing: more follows."""

    async def reply(self, view: View) -> Place:
        """Show the first message."""
        reach("reply")
        say("*", "replied", view.text)
        return Place("chat", message="1")

    async def notify(self, text: str) -> None:
        """Note what was said."""
        self.said = f"told: {text}"


class Clicking:
    """The verbs of this process. Who is `deaf` has no completion registered, so others are told of ends."""

    def __init__(self, store: Store, *, is_deaf: bool) -> None:
        self.dialogs = dialogs = Dialogs(store, wait=PATIENT)
        dialogs.register("counter")(Counter)
        self._platform = Outside("outside")
        dialogs.add_platform(self._platform)
        dialogs.use(self._judge, at=Phase.UPDATE)
        dialogs.subscribe(self._hear)
        if not is_deaf:
            dialogs.on_end(name="complete")(_complete)

    async def start(self, dialog_id: str) -> str:
        """Start a counter of this id, whose end is told to whoever has the completion."""
        command = self._interaction(Kind.COMMAND)
        return str((await self.dialogs.start(Counter, command, id=dialog_id, on_end="complete")).outcome)

    async def click(self, dialog_id: str, action: str, delivery_id: str) -> str:
        """Handle a click that the platform delivers under this id."""
        click = self._interaction(Kind.BUTTON, Tokens().encode(Token(dialog_id, action)), delivery_id)
        result = (await self.dialogs.dispatch(click)).result
        assert isinstance(click.responder, Answers)
        return f"{result} {click.responder.said}"

    async def wait(self, dialog_id: str) -> str:
        """Wait for the end of a dialog."""
        say("*", "waiting")
        ended = await self.dialogs.wait(dialog_id)
        return f"{ended.code} {ended.result}"

    async def stop(self, point: str) -> str:
        """Stop there."""
        _stops.add(point)
        return "will"

    async def forget(self) -> str:
        """Stop nowhere any more."""
        _stops.clear()
        return "will"

    async def hear(self) -> str:
        """Answer: whoever hears this has heard all that was said before."""
        return "yes"

    def _interaction(self, kind: Kind, token: str | None = None, delivery_id: str | None = None) -> Interaction:
        return Interaction(
            platform=self._platform,
            responder=Answers(),
            kind=kind,
            user=User("ann"),
            place=Place("chat"),
            token=token,
            delivery_id=delivery_id,
        )

    async def _judge(self, _: Context) -> None:
        reach("judge")

    async def _hear(self, event: DialogEvent) -> None:
        say("*", "event", event.name)
        reach("told")


async def _complete(ended: Ended[Any], info: DialogInfo) -> None:
    say("*", "completed", info.dialog_id, ended.code, ended.result)
    reach("completion")


async def main(url: str, clock: str, *options: str) -> None:
    """Do what is asked until nobody asks any more."""
    async with sojourn.open(url, clock=SharedClock(Path(clock))) as store:
        here = Clicking(store, is_deaf="deaf" in options)
        async with here.dialogs, asyncio.TaskGroup() as tasks:

            async def answer(number: str, verb: Callable[..., Awaitable[str]], words: list[str]) -> None:
                say(number, await verb(*words))

            say("*", "ready")
            while line := await asyncio.to_thread(sys.stdin.readline):
                number, verb, *words = line.split()
                tasks.create_task(answer(number, getattr(here, verb), words))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
