"""A number that changes while 1,000 watch it, over as many WebSockets, against a bare broadcast to all of them."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.live_app import MODULE, State
from benchmarks.live_sockets import state_of
from benchmarks.live_viewers import Asked, Seen, Viewers, viewers
from benchmarks.rounds import Sample, alternated, ratios, wait_ms
from benchmarks.servers import BARE, SOJOURN, serving

__all__ = ["measure"]

_OF_SESSIONS: Final = 10
"""For so many of the pace's sessions one watches."""
_CHANGES_A_SECOND: Final = 20
_WARMING: Final = 2


class _Side:
    """One server with those who watch it, and what it says of each round."""

    def __init__(self, port: int, audience: Viewers, changes: int) -> None:
        self.seen: list[Seen] = []
        self.spent: list[tuple[State, State]] = []
        self._port, self._audience, self._changes = port, audience, changes

    async def sample(self) -> Sample:
        """Let one round pass."""
        before = await state_of(self._port)
        seen = await self._audience.see(self._changes)
        self.spent.append((before, await state_of(self._port)))
        self.seen.append(seen)
        return seen.sample

    def evaluations(self) -> tuple[float, ...]:
        """How often a query was evaluated for a change, round by round."""
        return tuple((after.evaluations - before.evaluations) / self._changes for before, after in self.spent)

    def pushes(self) -> tuple[float, ...]:
        """How many were told of a change."""
        return tuple(seen.pushes / self._changes for seen in self.seen)

    def push_us(self) -> tuple[float, ...]:
        """The microseconds of the server's processor for each push."""
        return tuple(
            1_000_000 * (after.processor - before.processor) / seen.pushes
            for (before, after), seen in zip(self.spent, self.seen, strict=True)
        )

    def push_bytes(self) -> tuple[float, ...]:
        """The bytes of each push."""
        return tuple(seen.received / seen.pushes for seen in self.seen)

    def answered_ms(self) -> tuple[float, ...]:
        """How long half of the calls waited for their answers at most."""
        return wait_ms([Sample(len(seen.answered), 1.0, seen.answered) for seen in self.seen], 0.5)


async def measure(pace: Pace) -> Row:
    """Change numbers one after another, each when all who watch have seen the last one, on each server in turn."""
    many = max(2, pace.sessions // _OF_SESSIONS)
    changes = max(2, round(pace.seconds * _CHANGES_A_SECOND))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sides: dict[str, _Side] = {}
        memory: dict[str, float] = {}
        for name, which, each in (("bare", BARE, False), ("same", SOJOURN, False), ("each", SOJOURN, True)):
            port = await stack.enter_async_context(serving(which, f"sqlite:///{folder}/{name}.db", module=MODULE))
            before = await state_of(port)
            asked = Asked(port, port, many, each=each, bare=which == BARE)
            audience = await stack.enter_async_context(viewers(asked))
            memory[name] = ((await state_of(port)).resident - before.resident) / many / 1_000
            await audience.see(_WARMING)
            sides[name] = _Side(port, audience, changes)
        samples = await alternated({name: side.sample for name, side in sides.items()}, pace.rounds)
    return _row(many, sides, samples, memory)


def _row(many: int, sides: dict[str, _Side], samples: dict[str, tuple[Sample, ...]], memory: dict[str, float]) -> Row:
    same, each, bare = sides["same"], sides["each"], sides["bare"]
    half = wait_ms(samples["same"], 0.5)
    return Row(
        name="live",
        title=f"A commit on SQLite, and its arrival at {many:,} who watch, over as many WebSockets in another process, "
        "against a server that sends the same bytes to all of them and keeps nothing; the same uvicorn",
        figures=(
            count(f"{many:,} watch one query: evaluations for a change", same.evaluations(), most=1),
            count(f"{many:,} watch one query: those not told", tuple(many - told for told in same.pushes())),
            count(f"{many:,} watch {many:,} queries: evaluations for a change of one", each.evaluations(), most=1),
            count(f"{many:,} watch {many:,} queries: those told of a change of one", each.pushes(), most=1),
            Figure(
                what="from the call of the mutation until half have it",
                rounds=half,
                unit="ms",
                promise=25,
                aim=10,
                at_most=True,
            ),
            Figure(what="until all have it, as a rate", rounds=ratios(samples["same"], samples["bare"])),
            Figure(what="until the last has it, the longest", rounds=wait_ms(samples["same"], 1), unit="ms"),
            Figure(what="until the call is answered, half of them", rounds=same.answered_ms(), unit="ms"),
            Figure(what="one of the queries: until it is there, half", rounds=wait_ms(samples["each"], 0.5), unit="ms"),
            Figure(what="one of the queries: the longest", rounds=wait_ms(samples["each"], 1), unit="ms"),
            Figure(what="the bare server: until half have it", rounds=wait_ms(samples["bare"], 0.5), unit="ms"),
            Figure(what="the bare server: the longest", rounds=wait_ms(samples["bare"], 1), unit="ms"),
            Figure(what="processor time of a push", rounds=same.push_us(), unit="us"),
            Figure(what="the bare server: processor time of a push", rounds=bare.push_us(), unit="us"),
            Figure(what="bytes of a push", rounds=same.push_bytes(), unit="bytes"),
            Figure(what="the bare server: bytes of a push", rounds=bare.push_bytes(), unit="bytes"),
            Figure(what="the server's memory for one who watches", rounds=(memory["same"],), unit="KB"),
            Figure(what="the bare server: the same", rounds=(memory["bare"],), unit="KB"),
        ),
        remarks=(
            "The time of the call and its commit is included, and that of one client, which takes everything in.",
            "The bare server answers its call when everybody has been sent to; ours answers when it has committed.",
        ),
    )
