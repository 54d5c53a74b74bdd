"""The servers of a cluster: who holds which bucket, who answers, and how both are found out anew.

    _____________  a server does not answer   ________________
    |  it is up  | -------------------------> |  it is down  |  calls to it fail at once;
    |____________| <------------------------- |______________|  one task tries it again by and by
                           it answers

While a server is down, or a bucket has no owner, or a server said that something has moved, one more task asks the
servers that are up how they see the cluster, and takes over the newest view.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import hiredis

from sojourn import limits
from sojourn.engines.redis import failures
from sojourn.engines.redis.connection import Command
from sojourn.engines.redis.failures import LostError
from sojourn.engines.redis.location import Access
from sojourn.engines.redis.server import Lane, Server
from sojourn.engines.redis.slots import Address, View
from sojourn.errors import ClosedError, InvalidError, SojournError, UnavailableError

__all__ = ["Membership"]

_PING: Final[Command] = (b"PING",)
_LOOK: Final[tuple[Command, ...]] = ((b"CLUSTER", b"INFO"), (b"CLUSTER", b"SLOTS"))
_PROBE_S: Final = limits.REDIS_PROBE.total_seconds()


class Membership:
    """Who is who. `on_change` is told the masters whenever buckets have changed hands or a server is back."""

    def __init__(
        self,
        seeds: Sequence[Address],
        access: Access,
        slots: Sequence[int],
        on_change: Callable[[Collection[Address]], None],
    ) -> None:
        self._on_change = on_change
        self._seeds = seeds
        self._access = access
        self._slots = slots
        self._owners: list[Address | None] = [None] * len(slots)
        self._replicas = frozenset[Address]()
        self._servers: dict[Address, Server] = {}
        self._probes: dict[Address, asyncio.Task[None]] = {}  # of the servers that are down
        self._mending: asyncio.Task[None] | None = None
        self._is_in_doubt = False
        self._is_closed = False

    # -- Who is who ------------------------------------------------------------------------------------------------

    @property
    def masters(self) -> frozenset[Address]:
        """The servers that hold a bucket."""
        return frozenset(owner for owner in self._owners if owner is not None)

    @property
    def replicas(self) -> frozenset[Address]:
        """The servers that keep copies of a master."""
        return self._replicas

    def owner(self, bucket: int) -> Address | None:
        """Return the server that holds the bucket, as far as is known."""
        return self._owners[bucket]

    def server(self, address: Address | None) -> Server:
        """Return the lanes to a server.

        Raises:
            UnavailableError: it is down, and nothing was tried; or it is nobody.
            ClosedError: the store was closed.
        """
        if self._is_closed:
            raise ClosedError("the store is closed; open it again to use it")
        if address is None:
            self.doubt()
            raise UnavailableError("nobody in the cluster holds this part of the store; see CLUSTER SLOTS, and wait")
        if address in self._probes:
            raise UnavailableError(f"{address} does not answer; it is tried again by and by, so wait and repeat")
        if address not in self._servers:
            self._servers[address] = Server(address, self._access)
        return self._servers[address]

    @contextmanager
    def visiting(self, address: Address) -> Generator[Server]:
        """Give the lanes to any server; those to one that is not in use, or is down, are closed again."""
        if address in self._servers and address not in self._probes:
            yield self._servers[address]
            return
        server = Server(address, self._access)
        try:
            yield server
        finally:
            server.close()

    # -- What others have found out --------------------------------------------------------------------------------

    def moved(self, bucket: int, address: Address | None) -> None:
        """Note that a server named another one as the owner of a bucket; more may have changed with it."""
        self._owners[bucket] = address
        self._on_change(self.masters)
        self.doubt()

    def lost(self, address: Address) -> None:
        """Note that a server could not be reached, or did not answer: nobody calls it until it does."""
        if not self._is_closed and address in self._servers and address not in self._probes:
            self._probes[address] = asyncio.create_task(self._probe(address))
            self.doubt()

    def doubt(self) -> None:
        """Have the cluster looked at anew, in the background."""
        self._is_in_doubt = True
        if not self._is_closed and self._mending is None:
            self._mending = asyncio.create_task(self._mend())

    # -- From beginning to end -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Learn from the first server that answers who holds what, and connect to all that hold something.

        Raises:
            UnavailableError: no server of the URL answers, or one that holds buckets does not, or nobody holds some.
            InvalidError: a server refuses us, or belongs to no cluster; the message says what to change.
        """
        self._adopt(await self._first_view())
        if None in self._owners:
            raise UnavailableError(
                f"nobody holds {self._owners.count(None)} of {len(self._owners)} buckets; see CLUSTER SLOTS, and wait"
            )
        opening = (self.server(address).open() for address in self.masters)
        for failure in await asyncio.gather(*opening, return_exceptions=True):
            if failure is not None:
                raise failure

    async def close(self) -> None:
        """End every connection and task."""
        self._is_closed = True
        tasks = [*self._probes.values(), *([] if self._mending is None else [self._mending])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers.values():
            server.close()

    # -- How it is found out ---------------------------------------------------------------------------------------

    async def _first_view(self) -> View:
        failure: UnavailableError | None = None
        for seed in self._seeds:
            try:
                return await self._view(seed)
            except UnavailableError as error:
                failure = error
        assert failure is not None, "a URL names at least one server"
        raise failure

    async def _view(self, address: Address) -> View:
        """Ask one server how it sees the cluster.

        Raises:
            UnavailableError: it cannot be asked, or has not begun to work yet.
            InvalidError: it refuses us, or belongs to no cluster.
        """
        with self.visiting(address) as server:
            try:
                info, slots = await server.ask(Lane.READ, _LOOK)
            except LostError as error:
                raise failures.lost(error, address, writing=False) from error
        for reply in (info, slots):
            if isinstance(reply, hiredis.ReplyError):
                if "cluster support disabled" in str(reply):
                    raise InvalidError("url", f"{address} belongs to no cluster; write redis://")
                raise failures.while_opening(reply, address)
        return View.read(info, slots, self._slots, address)

    def _adopt(self, view: View) -> None:
        has_changed = self._owners != list(view.owners)
        self._owners = list(view.owners)
        self._replicas = view.replicas
        for address in self._servers.keys() - view.replicas - self.masters - self._probes.keys():
            self._servers.pop(address).close()
        if has_changed:
            self._on_change(self.masters)

    async def _mend(self) -> None:
        """Look for a newer view for as long as there is a reason, a pause after each."""
        while self._is_in_doubt:
            self._is_in_doubt = False
            up = [address for address in self._servers if address not in self._probes]
            known = up or [*{*self._seeds, *self._replicas, *self.masters}]
            asked = random.sample(known, min(len(known), limits.REDIS_VIEWS))
            views = [view for view in await asyncio.gather(*map(self._view_if_any, asked)) if view is not None]
            if views:
                self._adopt(max(views, key=lambda view: (view.is_well, view.epoch)))
            await asyncio.sleep(_PROBE_S)
            if None in self._owners or not self.masters.isdisjoint(self._probes):
                self._is_in_doubt = True
        self._mending = None

    async def _view_if_any(self, address: Address) -> View | None:
        """Ask one server, unless it lets us wait; others may know, and somebody needs to."""
        try:
            async with asyncio.timeout(limits.REDIS_PATROL.total_seconds()):
                return await self._view(address)
        except (SojournError, TimeoutError):
            return None

    async def _probe(self, address: Address) -> None:
        """Try a server again until it answers, or until nobody needs it any more."""
        try:
            while True:
                try:
                    await _ping(self._servers[address])
                    break
                except SojournError:
                    await asyncio.sleep(_PROBE_S)
                if address not in self.masters:
                    self._servers.pop(address).close()
                    break
        finally:
            del self._probes[address]
            self._on_change(self.masters)


async def _ping(server: Server) -> None:
    """See whether a server answers; a connection that is still open does not prove it.

    Raises:
        UnavailableError: it does not.
        InvalidError: it refuses us.
    """
    await server.open()
    try:
        await server.ask(Lane.WRITE, (_PING,))
    except LostError as error:
        raise failures.lost(error, server.address, writing=False) from error
