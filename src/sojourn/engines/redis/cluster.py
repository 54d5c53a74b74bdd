"""Many servers that share the buckets: each call goes to the one that holds its bucket now.

Who holds what changes while we look: a replica takes over from its master, a slot moves to another server. A server
that is asked in vain says so, and where to go instead, before it has executed anything; so the call is sent on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import hiredis

from sojourn import limits
from sojourn.engines.redis import failures
from sojourn.engines.redis.connection import Command
from sojourn.engines.redis.ears import Ears
from sojourn.engines.redis.facts import look
from sojourn.engines.redis.failures import LostError
from sojourn.engines.redis.keyspace import Keyspace
from sojourn.engines.redis.location import Location
from sojourn.engines.redis.membership import Membership
from sojourn.engines.redis.nodes import Call, NodeFacts, Reply
from sojourn.engines.redis.server import Lane, RawReply, Server
from sojourn.engines.redis.slots import Address, redirected, slot_of
from sojourn.errors import InvalidError, SojournError, UnavailableError

__all__ = ["Cluster"]

_PAUSES_S: Final = (0.0, *(limits.REDIS_MOVE_PAUSE.total_seconds() * 2**time for time in range(limits.REDIS_MOVES)))

_DOUBTFUL: Final = frozenset({"CLUSTERDOWN", "MASTERDOWN", "READONLY"})
"""What a server says that may no longer hold what it held."""


class _Way(NamedTuple):
    """Where to send a call. `by_asking`: to a server that is only about to get the slot, this once."""

    address: Address | None
    by_asking: bool = False


class _SentOn(NamedTuple):
    """A call that a server did not execute and that is for another one, and what its caller is told if none does."""

    way: _Way
    refusal: SojournError


class Cluster:
    """The servers of a cluster. One that is down delays the others once, until that is noticed."""

    def __init__(self, location: Location) -> None:
        self._keyspace = Keyspace(location.prefix, limits.REDIS_BUCKETS)
        self._ears = Ears(self._keyspace)
        slots = [slot_of(keys[0]) for keys in self._keyspace.keys]
        self._members = Membership(location.addresses, location.access, slots, on_change=self._ears.keep)

    @property
    def buckets(self) -> int:
        """Return how many buckets there are."""
        return self._keyspace.buckets

    async def open(self) -> None:
        """Find the servers that hold the buckets, and connect to each of them.

        Raises:
            UnavailableError: no server of the URL answers, or one that holds buckets does not, or nobody holds some.
            InvalidError: a server refuses us, or belongs to no cluster; the message says what to change.
        """
        await self._members.open()

    async def close(self) -> None:
        """End every connection and task."""
        await self._members.close()
        self._ears.close()

    async def write(self, calls: Sequence[Call]) -> list[Reply | SojournError]:
        """Run the calls, on all servers at the same time and on each in one pipeline."""
        return await self._deliver(Lane.WRITE, calls)

    async def read(self, calls: Sequence[Call]) -> list[Reply | SojournError]:
        """Run the calls, on all servers at the same time and on each in one pipeline."""
        return await self._deliver(Lane.READ, calls)

    async def nudged(self, positions: Mapping[int, int], wait: float) -> Collection[int]:
        """Wait until a stream ends elsewhere than at its position; those of a server that is away do not count.

        Raises:
            UnavailableError: none of the servers can be asked.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait
        while True:
            woken = self._ears.woken  # before the look: what happens just after it must not be slept through
            await self._listen(positions)
            changed = self._ears.changed(positions)
            left = give_up - loop.time()
            if changed or left <= 0:
                return changed
            try:
                async with asyncio.timeout(min(left, limits.REDIS_PATROL.total_seconds())):
                    await woken.wait()
            except TimeoutError:
                self._ears.forget()  # a server of which nobody has heard yet may have taken over

    async def facts(self) -> Sequence[NodeFacts]:
        """Ask every master and every replica. A replica that does not answer stands there with nothing to say.

        Raises:
            UnavailableError: a master does not answer.
        """
        masters = [self._members.server(address) for address in self._members.masters]
        replicas = (self._look_at_replica(address) for address in self._members.replicas)
        return await asyncio.gather(*map(look, masters), *replicas)

    # -- The way of a call -----------------------------------------------------------------------------------------

    async def _deliver(self, lane: Lane, calls: Sequence[Call]) -> list[Reply | SojournError]:
        """Send each call to where it belongs, and on from there, until it is answered or was sent on too often."""
        answers: list[Reply | SojournError] = [None] * len(calls)
        ways = {place: _Way(self._members.owner(call.bucket)) for place, call in enumerate(calls)}
        for pause in _PAUSES_S:
            loads: dict[_Way, list[int]] = {}
            for place, way in ways.items():
                loads.setdefault(way, []).append(place)
            ways = {}
            sent = (self._send(lane, way, [calls[place] for place in places]) for way, places in loads.items())
            for places, replies in zip(loads.values(), await asyncio.gather(*sent), strict=True):
                for place, reply in zip(places, replies, strict=True):
                    if isinstance(reply, _SentOn):
                        ways[place] = reply.way
                        answers[place] = reply.refusal
                    else:
                        answers[place] = reply
            if not ways:
                break
            await asyncio.sleep(pause)
        return answers

    async def _send(self, lane: Lane, way: _Way, calls: Sequence[Call]) -> list[Reply | SojournError | _SentOn]:
        """Run the calls on one server, unless it is known to be away."""
        try:
            server = self._members.server(way.address)
        except UnavailableError as error:
            return [error] * len(calls)
        try:
            replies = await (_run_by_asking(server, lane, calls) if way.by_asking else server.run(lane, calls))
        except (UnavailableError, InvalidError) as error:
            replies = [UnavailableError(str(error))] * len(calls)
        if any(isinstance(reply, SojournError) for reply in replies):
            self._members.lost(server.address)
        return [
            self._judged(reply, server.address, lane, call.bucket) if isinstance(reply, hiredis.ReplyError) else reply
            for call, reply in zip(calls, replies, strict=True)
        ]

    def _judged(self, error: hiredis.ReplyError, address: Address, lane: Lane, bucket: int) -> SojournError | _SentOn:
        """Say what a refusal means, and where the call is to be sent on to, if anywhere."""
        refusal = failures.refusal(error, address, writing=lane is Lane.WRITE)
        kind = failures.code(error)
        if kind == "ASK":
            return _SentOn(_Way(redirected(str(error), address), by_asking=True), refusal)
        if kind == "MOVED":
            self._members.moved(bucket, redirected(str(error), address))
            refusal = UnavailableError(f"{address}: a part of the store has moved within the cluster ({error}); wait")
        if kind in {"MOVED", "TRYAGAIN"}:  # the latter: some of the bucket's keys are here, and some there
            return _SentOn(_Way(self._members.owner(bucket)), refusal)
        if kind in _DOUBTFUL:
            self._members.doubt()
        return refusal

    async def _listen(self, buckets: Collection[int]) -> None:
        """Look at the ends that are not known; a server that cannot be asked is left out unless none can."""
        unknown = self._ears.unknown(buckets)
        loads: dict[Address | None, list[int]] = {}
        for bucket in unknown:
            loads.setdefault(self._members.owner(bucket), []).append(bucket)
        failed = await asyncio.gather(*(self._look(*load) for load in loads.items()))
        failure = next((failure for failure in failed if failure is not None), None)
        if failure is not None and None not in failed and len(unknown) == len(buckets):
            raise failure

    async def _look(self, address: Address | None, buckets: Sequence[int]) -> SojournError | None:
        try:
            server = self._members.server(address)
        except UnavailableError as error:
            return error
        try:
            replies = await self._ears.look(server, buckets)
        except SojournError as error:
            self._members.lost(server.address)
            return error
        judged = [
            self._judged(reply, server.address, Lane.READ, bucket)
            for bucket, reply in zip(buckets, replies, strict=True)
            if isinstance(reply, hiredis.ReplyError)
        ]
        refusals = [each for each in judged if isinstance(each, SojournError)]
        return refusals[0] if len(refusals) == len(buckets) else None

    async def _look_at_replica(self, address: Address) -> NodeFacts:
        with self._members.visiting(address) as server:
            try:
                return await look(server)
            except UnavailableError:
                return NodeFacts(str(address), {}, None)


async def _run_by_asking(server: Server, lane: Lane, calls: Sequence[Call]) -> list[RawReply]:
    """Run calls on a server that is getting their slot. By text: it may never have seen the script, and it is rare."""
    commands: list[Command] = []
    for call in calls:
        run = (b"EVAL", call.script.text, b"%d" % len(call.keys), *call.keys, *call.arguments)
        commands += [(b"ASKING",), run]
    try:
        replies = await server.ask(lane, commands)
    except LostError as error:
        return [failures.lost(error, server.address, writing=lane is Lane.WRITE)] * len(calls)
    return replies[1::2]
