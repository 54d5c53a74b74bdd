"""What the applications on the servers do, drawn from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random
from typing import Final

from sojourn.testing.simulation.canon import Name
from sojourn.testing.simulation.server import How, Server

__all__ = ["HABITS", "Habits"]

HABITS: Final = {
    "load": 14,
    "contend": 2,
    "unload": 5,
    "update": 24,
    "abandon": 1,
    "edit": 4,
    "save": 8,
    "save within": 2,
    "trade": 12,
    "send": 6,
    "send again": 2,
    "peek": 3,
    "grow": 1,
}
"""What servers do, and how often."""

_ENOUGH = 10
_HOW: Final[tuple[How, ...]] = ("lease", "lease", "lease", "refuse", "within")


class Habits:
    """Draws who does what to which document. The accounts come first among the names."""

    def __init__(self, random: Random, accounts: Sequence[Name], notes: Sequence[Name], *, steals: bool) -> None:
        self._random = random
        self._accounts = accounts
        self._names = (*accounts, *notes)
        self._steals = steals
        self._messages: list[tuple[Name, str]] = []
        self._ids = count(1)

    def do(self, event: str, server: Server, servers: Sequence[Server]) -> None:
        """Have a server do one of the things that servers do; for the contended one, have them all."""
        if event == "contend":
            name = self._random.choice(self._names)
            for rival in servers:
                self._load(rival, name)
        elif _can(server):
            self._do(event, server)

    def _do(self, event: str, server: Server) -> None:
        match event:
            case "load":
                self._load(server, self._random.choice(self._names))
            case "trade":
                self._trade(server)
            case "send":
                message = (self._random.choice(self._accounts), f"m{next(self._ids)}")
                self._messages.append(message)
                self._send(server, *message)
            case "send again" if self._messages:
                self._send(server, *self._random.choice(self._messages))
            case "peek":
                name = self._random.choice(self._names)
                server.run(f"peek {name}", lambda: server.peek(name))
            case _ if server.handles:
                open_ones = [name for name, document in server.handles.items() if not document.closed]
                any_ones = tuple(server.handles)  # now and then one that was lost or given back
                chosen = open_ones if open_ones and self._random.random() < 0.9 else any_ones
                self._use(event, server, self._random.choice(chosen))
            case _:
                pass

    def _use(self, event: str, server: Server, name: Name) -> None:
        """Have a server use a document that it has loaded, and perhaps lost again."""
        what = f"{server.name}-{next(self._ids)}"
        crafts = name in self._accounts and self._random.random() < 0.3
        match event:
            case "unload":
                server.run(f"unload {name}", lambda: server.unload(name))
            case "save":
                server.run(f"save {name}", lambda: server.save(name))
            case "update":
                server.run(f"update {name} {what}", lambda: server.update(name, what, crafts=crafts))
            case "edit":
                server.run(f"edit {name} {what}", lambda: server.edit(name, what))
            case "save within":
                server.run(f"save {name} within", lambda: server.save_within(name))
            case "grow":
                size = self._random.choice((0, 0, 10_000, 300_000))
                server.run(f"grow {name} to {size}", lambda: server.grow(name, size))
            case "abandon":
                server.run(f"abandon {name}", lambda: server.abandon(name))
            case _:
                pass  # nothing has been sent that could be sent again

    def _load(self, server: Server, name: Name) -> None:
        draws = [self._random.random() for _ in range(5)]
        wait = None if draws[0] < 0.4 else 20 * draws[1]
        asks = draws[2] < 0.3
        steal_after = 3 + 10 * draws[4] if self._steals and draws[3] < 0.1 else None
        if _can(server):
            server.run(f"load {name}", lambda: server.load(name, wait=wait, ask=asks, steal_after=steal_after))

    def _trade(self, server: Server) -> None:
        fewest, most = (2, 3) if len(self._accounts) > 2 else (1, 2)
        names = tuple(self._random.sample(self._accounts, self._random.randint(fewest, most)))
        what, share = f"t{next(self._ids)}", self._random.random()
        how = self._random.choice(_HOW)
        gives_up = self._random.random() < 0.1
        server.run(
            f"trade {' '.join(name.key for name in names)} {what}",
            lambda: server.trade(names, what, share, how=how, gives_up=gives_up),
        )

    def _send(self, server: Server, name: Name, message: str) -> None:
        server.run(f"send {name} {message}", lambda: server.send(name, message))


def _can(server: Server) -> bool:
    return not server.host.is_paused and server.busy < _ENOUGH
