"""How often a caller waits for the network: round trips of what the faces do, counted on the wire."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import sojourn
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.plain import VALUES
from benchmarks.player import PLAYER, Player, earn, player_named
from benchmarks.stores import SERVERS, store_on
from benchmarks.wire import HELD, Traffic, Wire
from sojourn import limits
from sojourn.documents import Documents
from sojourn.kernel import Key, Leases, Put, Reads, RevisionIs, Store, Transaction, ids
from sojourn.sessions import Sessions
from sojourn.visits import Visits

__all__ = ["measure"]

_WARMING: Final = 8
"""Rounds after which statements are prepared and scripts are known."""

_COMMIT: Final = "a commit (guard, put of 1 KB with rank, log, receipt)"

_PUT: Final = Put(Key("bench", "counted", "record"), VALUES[0], rank=1)
_LEASE: Final = Key("bench", "counted", "lease")
_READS: Final = Reads((_PUT.key,))
_VISITOR: Final = "visitor"
_PLAYER: Final = player_named(0)


async def measure(pace: Pace) -> Row:
    """Do each of them once a round, on each engine, with nothing else on the wire."""
    figures: list[Figure] = []
    for name, server in SERVERS.items():
        with store_on(server) as url:
            async with Wire(url) as wire, sojourn.open(wire.url) as store:
                calls = _Calls(store, wire)
                await calls.run(_WARMING)
                wire.held = HELD
                calls.counted.clear()
                await calls.run(pace.rounds)
        figures += _figures(name, calls.counted)
    return Row(
        name="round-trips",
        title="Round trips that a caller waits for, counted by a proxy between the engine and its server",
        figures=tuple(figures),
        remarks=("What an engine says after its answer, a word to other processes for example, is nobody's wait.",),
    )


def _figures(name: str, counted: dict[str, list[Traffic]]) -> Iterator[Figure]:
    for what, traffic in counted.items():
        yield count(f"{name}: {what}", tuple(one.trips for one in traffic), most=1)
    sent, received = (tuple(one[way] for one in counted[_COMMIT]) for way in (1, 2))
    yield Figure(what=f"{name}: sent for a commit", rounds=sent, unit="bytes", at_most=True)
    yield Figure(what=f"{name}: answered to a commit", rounds=received, unit="bytes", at_most=True)


class _Calls:
    """What callers do, each time counted from the call to its return."""

    def __init__(self, store: Store, wire: Wire) -> None:
        self.counted: defaultdict[str, list[Traffic]] = defaultdict(list)
        self._store = store
        self._wire = wire
        self._sessions = Sessions(store)
        # Each heartbeat writes: within a step of a minute it would not.
        self._visits = Visits(store, precision=limits.VISIT_PRECISION_MIN)
        self._documents = Documents(store, "players", schema=Player, template=PLAYER, autosave=None)
        self._leases = Leases(store)

    async def run(self, rounds: int) -> None:
        """Do everything so many times."""
        commit = self._store.commit
        token = (await self._sessions.issue()).token
        revision = (await commit(Transaction(ids.new(), writes=(_PUT,)))).revision or 0
        for _ in range(rounds):
            async with self._counting("resolving a session"):
                await self._sessions.resolve(token)
            async with self._counting("a heartbeat"):
                await self._visits.track_session(_VISITOR)
            async with self._counting("an action of a visitor"):
                await self._visits.track_user_action(_VISITOR, "click")
            async with self._counting(_COMMIT):
                guarded = Transaction(ids.new(), (RevisionIs(_PUT.key, revision),), (_PUT,), _READS)
                revision = (await commit(guarded)).revision or 0
            async with self._counting("loading a document (take its lease and read it)"):
                document = await self._documents.load(_PLAYER)
            await document.update(earn)
            async with self._counting("saving it under the lease"):
                await document.save()
            await document.update(earn)
            async with self._counting("saving it and giving the lease back"):
                await document.unload()
            lease = await self._leases.acquire(_LEASE, holder="bench")
            async with self._counting("renewing the lease"):
                await lease.renew()
            await lease.release()

    @asynccontextmanager
    async def _counting(self, what: str) -> AsyncGenerator[None]:
        await self._wire.quiet()
        before = self._wire.traffic
        yield
        self.counted[what].append(self._wire.traffic.since(before))
