"""The world of one seed: its servers, its weather, what happens to them, and the calm at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from random import Random
from typing import Any, Final

import msgspec

from sojourn.testing.simulation.canon import Canon, Name
from sojourn.testing.simulation.habits import HABITS, Habits
from sojourn.testing.simulation.loop import Host, VirtualLoop, pause
from sojourn.testing.simulation.network import Line, Weather
from sojourn.testing.simulation.report import Telling
from sojourn.testing.simulation.server import LEASE, HostClock, Server
from sojourn.testing.simulation.witness import Witness

__all__ = ["World"]

_TROUBLES: Final = {
    "crash": 2,
    "pause": 3,
    "cut": 3,
    "jump": 2,
    "close": 1,
    "revoke": 1,
    "rollback": 2,
    "erase": 1,
}
"""What happens to servers and documents. Each seed has some of these only, so that none hides another."""

_HARMLESS: Final = {"close": 2, "jump": 2}
"""What happens in a calm world, where nobody is ever told that the store cannot be reached, or that a lease is lost."""

_WEATHER: Final = Weather(refuse=0.02, drop=0.02, lose=0.03, late=0.015, repeat=0.02, fail=0.01, slow=0.01)

_HOUR_MS = 3_600_000
_PATIENCE_S = 600
_SETTLING_S = 30


class World:
    """Everything that there is under one seed."""

    def __init__(self, seed: int, telling: Telling, loop: VirtualLoop) -> None:
        self._random = random = Random(seed)  # noqa: S311  it must be repeatable, not secret
        self._telling = telling
        self._loop = loop
        self._canon = Canon(telling)
        self._witness = Witness(HostClock(), self._canon, telling)
        self._accounts = tuple(Name("account", f"k{number}") for number in range(random.randint(2, 4)))
        self._notes = (Name("note", "n0"), Name("note", "n1"))
        self._is_calm = random.random() < 0.15
        self._habits = Habits(random, self._accounts, self._notes, steals=not self._is_calm)
        troubles = {name: weight * (random.random() < 0.6) for name, weight in _TROUBLES.items()}
        self._events = HABITS | (_HARMLESS if self._is_calm else troubles)
        self._events["grow"] *= random.random() < 0.2
        self._weather = Weather() if self._is_calm else _drawn(random)
        self._pause_s = random.choice((0.05, 0.3, 1.0, 2.0))
        self._numbers = count(1)
        self._servers: list[Server] = []
        self._everyone: list[Server] = []
        self._later: dict[asyncio.Task[None], None] = {}

    async def live(self, steps: int) -> None:
        """Let so many things happen, then let all come to rest, and look at what is left."""
        self._operator = await self._start("op")
        for _ in range(self._random.randint(2, 4)):
            self._servers.append(await self._start())
        for _ in range(steps):
            (event,) = self._random.choices(tuple(self._events), tuple(self._events.values()))
            await self._happen(event, self._random.choice(self._servers))
            await pause(self._random.choice((0.0, self._random.expovariate(1 / self._pause_s))))
            if self._is_broken:
                return
        await self._rest()

    async def end(self) -> None:
        """Stop everything that still runs."""
        for server in self._everyone:
            await server.host.kill()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # -- What happens

    async def _happen(self, event: str, server: Server) -> None:
        match event:
            case "crash":
                await self._crash(server)
            case "pause" if not server.host.is_paused:
                seconds = self._random.choice((1, 8, 15, 40)) * self._random.random()
                self._strike(server, event, f"is paused for {seconds:.3f} s")
                server.host.pause()
                self._after(seconds, lambda: self._resume(server))
            case "cut" if not server.line.is_cut:
                seconds = self._random.choice((2, 8, 30)) * self._random.random()
                self._strike(server, event, f"is cut off for {seconds:.3f} s")
                server.line.is_cut = True
                self._after(seconds, lambda: self._mend(server))
            case "jump":
                milliseconds = self._random.choice((-_HOUR_MS, _HOUR_MS))
                self._telling.sums[event] += 1
                self._telling.say(server.name, f"has its clock set by {milliseconds} ms")
                server.clock.jump(milliseconds)
            case "close":
                await self._replace(server)
                self._close(server)
            case "revoke":
                name = self._random.choice((*self._accounts, *self._notes))
                self._operator.run(f"revoke {name}", lambda: self._operator.revoke(name))
            case "rollback":
                name, share = self._random.choice(self._notes), self._random.random()
                self._operator.run(f"rollback {name}", lambda: self._operator.rollback(name, share))
            case "erase":
                name = self._random.choice(self._notes)
                self._operator.run(f"erase {name}", lambda: self._operator.erase(name))
            case _:
                self._habits.do(event, server, self._servers)

    async def _crash(self, server: Server) -> None:
        self._strike(server, "crash", "crashes")
        self._canon.dies(server.name)
        await server.host.kill()
        await self._replace(server)

    async def _replace(self, server: Server) -> None:
        self._servers[self._servers.index(server)] = await self._start()

    async def _start(self, name: str = "") -> Server:
        host = Host(name or f"s{next(self._numbers)}")
        line = Line(host, self._witness, self._random, self._weather, self._telling)
        server = Server(host, line, self._canon, self._telling, is_calm=self._is_calm)
        self._everyone.append(server)
        self._telling.say(host.name, "starts")
        await host.start(server.store.open())
        return server

    def _close(self, server: Server) -> None:
        self._keep(server.run("close", server.close))

    def _resume(self, server: Server) -> None:
        if server.host.is_paused:
            self._strike(server, "resume", "goes on")
            server.host.resume()

    def _mend(self, server: Server) -> None:
        self._telling.say(server.name, "is no longer cut off")
        server.line.is_cut = False

    def _strike(self, server: Server, event: str, what: str) -> None:
        self._telling.sums[event] += 1
        self._telling.say(server.name, what)
        server.disturbed_at = self._loop.time()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await pause(seconds)
            act()

        self._keep(asyncio.create_task(wait()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._later[task] = None
        task.add_done_callback(self._later.pop)

    # -- How it ends

    async def _rest(self) -> None:
        """Mend everything, let what is under way end, give everything back, and see that nothing is missing."""
        self._telling.say("", "everything is mended")
        for fault in self._weather.__struct_fields__:
            setattr(self._weather, fault, 0.0)
        for server in self._everyone:
            self._mend(server)
            self._resume(server)
        if not await self._quiet("after everything was mended"):
            return
        for server in self._servers:
            self._close(server)
        if not await self._quiet("after every server was closed"):
            return
        await pause(2 * LEASE.total_seconds())
        auditor = await self._start("audit")
        for name in (*self._accounts, *self._notes):
            await self._surely(auditor, f"load {name}", auditor.load(name, wait=0, ask=False, steal_after=None))
        await pause(_SETTLING_S)
        await self._surely(auditor, "close", auditor.close())
        if not self._is_broken:
            self._canon.closes()

    async def _surely(self, server: Server, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Do what must succeed, because nothing is in its way."""
        try:
            await asyncio.wait_for(server.host.start(work), _PATIENCE_S)
        except Exception as error:  # noqa: BLE001  whatever it is
            self._telling.accuse(f"in all calm, {what} failed: {error!r}")

    async def _quiet(self, when: str) -> bool:
        """Wait until nothing is under way; say whether all is well."""
        for _ in range(_PATIENCE_S):
            await pause(1.0)
            if self._is_broken:
                return False
            if not (self._later or self._witness.under_way or any(server.under_way for server in self._living())):
                return True
        hanging = [f"{server.name} {what}" for server in self._living() for what in server.under_way]
        self._telling.accuse(f"{when}, this did not end in {_PATIENCE_S} s: {', '.join(hanging)}")
        return False

    def _living(self) -> list[Server]:
        return [server for server in self._everyone if not server.host.is_dead]

    @property
    def _is_broken(self) -> bool:
        for stray in self._loop.strays:
            self._telling.accuse(stray)
        self._loop.strays.clear()
        return bool(self._telling.violations)


def _drawn(random: Random) -> Weather:
    """Draw how bad the weather is, and which kinds there are."""
    strength = random.choice((0.0, 0.3, 1.0, 3.0))
    rates = msgspec.structs.asdict(_WEATHER)
    return Weather(**{name: rate * strength * random.choice((0, 1, 1)) for name, rate in rates.items()})
