"""A Redis cluster of its own: three masters and three replicas on loopback, and what can happen to it.

    with ClusterServers() as cluster:
        engine = RedisEngine(cluster.url())
        cluster.fail_over(cluster.owner(7))

The verbs block until what they say has come about; a test whose loop carries traffic calls them in a thread.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import redis

from tests.servers.binaries import version_of
from tests.servers.process import Process, free_port
from tests.servers.redis import Flavour, program

__all__ = ["ClusterServers", "Node", "until"]

_SLOTS: Final = 16_384
_BUS: Final = 10_000
_PATIENCE_S: Final = 30.0

_SETTINGS: Final = {
    "save": "",
    "cluster_enabled": "yes",
    "cluster_node_timeout": "1000",  # a dead master is replaced in a second and a half
    "cluster_replica_validity_factor": "0",  # a replica may always take over, however old its data
    "cluster_migration_barrier": "9",  # or a replica would leave its master for one that has none
    "repl_diskless_sync_delay": "0",
}


def until(holds: Callable[[], bool], what: str) -> None:
    """Block until the condition holds; one that cannot be asked for, because a server is away, does not hold.

    Raises:
        TimeoutError: it did not come about.
    """
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        with suppress(redis.RedisError):
            if holds():
                return
        if time.monotonic() > give_up:
            raise TimeoutError(f"in {_PATIENCE_S:g} s it did not come about that {what}")


class Node:
    """One server of the cluster, which keeps its port and its data over restarts."""

    def __init__(self, binary: Path, folder: Path, port: int, settings: Mapping[str, str]) -> None:
        self.port = port
        self.id = ""
        self.is_running = self._is_frozen = False
        folder.mkdir()
        options = {"bind": "127.0.0.1", "port": str(port), "dir": str(folder), **settings}
        words = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        self._process = Process([str(binary), *words], folder=folder, ready="Ready to accept connections")

    def __repr__(self) -> str:
        """Name it by its port."""
        return f"<node {self.port}>"

    @property
    def pid(self) -> int:
        """Return the process id of the server that runs now."""
        return self._process.pid

    @property
    def is_master(self) -> bool:
        """Say whether it takes itself for a master."""
        return bool(self.ask("ROLE")[0] == "master")

    def start(self) -> None:
        """Start the server, again on the same data, and return when it takes connections."""
        self._process.start()
        self.is_running = True
        self.id = self.ask("CLUSTER", "MYID")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.is_running = self._is_frozen = False
        self._process.kill()

    def pause(self) -> None:
        """Freeze it: its connections stay, and nobody answers on them."""
        self.is_running, self._is_frozen = False, True
        self._process.pause()

    def resume(self) -> None:
        """Let it go on where it was frozen."""
        self._process.resume()
        self.is_running, self._is_frozen = True, False

    def revive(self) -> None:
        """Bring it back, whatever was done to it."""
        if self._is_frozen:
            self.resume()
        elif not self.is_running:
            self.start()

    def ask(self, *words: str | bytes | int) -> Any:
        """Send one command and return the answer."""
        with redis.Redis(port=self.port, decode_responses=True, socket_timeout=_PATIENCE_S) as client:
            return client.execute_command(*words)

    def await_info(self, name: str, value: str) -> None:
        """Block until a line of INFO, or of CLUSTER INFO, has this value."""
        until(lambda: self._info(name) == value, f"{self} says {name}:{value}")

    def await_replicas(self) -> None:
        """Block until everything that this master has written has reached its replica."""
        until(lambda: bool(self.ask("WAIT", 1, 1_000)), f"the replica of {self} has what it has")

    def _info(self, name: str) -> str:
        if name.startswith("cluster_"):
            lines = dict(line.split(":", 1) for line in self.ask("CLUSTER", "INFO").splitlines())
            return str(lines[name])
        return str(self.ask("INFO").get(name))


class ClusterServers:
    """Masters with a replica each, on free ports. `settings` are those of redis.conf, with underscores."""

    def __init__(self, flavour: Flavour = "valkey", masters: int = 3, **settings: str) -> None:
        self._binary = program(flavour)
        self.version = version_of(self._binary)
        self._folder = Path(tempfile.mkdtemp(prefix="sojourn-cluster-"))
        self._firsts = [self._node(settings) for _ in range(masters)]
        self.nodes = [*self._firsts, *(self._node(settings) for _ in range(masters))]

    def __enter__(self) -> Self:
        """Start the cluster."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the servers and remove their data."""
        self.close()

    def start(self) -> None:
        """Start the servers and make them one cluster; it serves, and every replica follows, when this returns."""
        for node in self.nodes:
            node.start()
        self._join()

    def close(self) -> None:
        """Kill every server and remove the data; closing twice is harmless."""
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, prefix: str | None = None, *, seeds: int = 2) -> str:
        """Return the address of the cluster by some of its nodes, as `sojourn.open` takes it."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:seeds])
        return f"redis+cluster://{hosts}/" + ("" if prefix is None else f"?prefix={prefix}")

    def connections(self) -> int:
        """Return how many connections stores have to the servers; those between servers do not count."""
        clients = (client for node in self._running() for client in node.ask("CLIENT", "LIST").splitlines())
        return sum("name=sojourn" in client for client in clients)

    # -- Who is who ------------------------------------------------------------------------------------------------

    def masters(self) -> list[Node]:
        """Return the masters that run."""
        return [node for node in self._running() if node.is_master]

    def owner(self, slot: int) -> Node:
        """Return the master that serves the slot, as far as the others know.

        Raises:
            LookupError: nobody serves it.
        """
        for first, last, (_, _, name, *_), *_ in self._running()[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._named(name)
        raise LookupError(f"nobody serves slot {slot}")

    def replica(self, master: Node) -> Node:
        """Return the replica of a master."""
        first, *_ = self._running()[0].ask("CLUSTER", "REPLICAS", master.id)
        return self._named(first.split()[0])

    # -- What can happen -------------------------------------------------------------------------------------------

    def await_health(self) -> None:
        """Block until each server that runs says that the cluster serves, and each replica follows its master."""
        for node in self._running():
            node.await_info("cluster_state", "ok")
        for node in self._running():
            if not node.is_master:
                node.await_info("master_link_status", "up")
        until(lambda: len(set(map(_described, self._running()))) == 1, "all servers see the cluster alike")

    def restore(self) -> None:
        """Bring back every server, remove every key, and give up every move that was not ended."""
        for node in self.nodes:
            node.revive()
        self.await_health()
        for master in self.masters():
            master.ask("FLUSHALL")
            master.ask("SCRIPT", "FLUSH")
            (itself,) = (line for line in master.ask("CLUSTER", "NODES").splitlines() if "myself" in line)
            for slot in re.findall(r"\[(\d+)-[<>]-", itself):
                master.ask("CLUSTER", "SETSLOT", slot, "STABLE")

    def fail_over(self, master: Node) -> Node:
        """Hand a master's slots to its replica, orderly: nothing acknowledged is lost. Return the new master."""
        heir = self.replica(master)
        heir.ask("CLUSTER", "FAILOVER")
        self.await_heir(heir)
        self.await_health()
        return heir

    def lose(self, master: Node) -> Node:
        """Kill a master, and return its replica when that has taken over; what had not reached it is lost."""
        heir = self.replica(master)
        master.kill()
        self.await_heir(heir)
        return heir

    def await_heir(self, heir: Node) -> None:
        """Block until a replica is a master, and the cluster serves."""
        until(lambda: heir.is_master, f"{heir} becomes a master")
        for node in self._running():
            node.await_info("cluster_state", "ok")

    def moving(self, slot: int, to: Node, *, keys: int = 1) -> Iterator[int]:
        """Move a slot, so many keys in a step: each step says how many keys have moved, and the last ends the move."""
        source = self.owner(slot)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)
        moved = 0
        yield moved
        while names := source.ask("CLUSTER", "GETKEYSINSLOT", slot, keys):
            source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, int(_PATIENCE_S * 1_000), "KEYS", *names)
            moved += len(names)
            yield moved
        for node in dict.fromkeys((to, source, *self.masters())):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)

    def move_slot(self, slot: int, to: Node) -> int:
        """Move a slot with its keys, and return how many there were."""
        return max(self.moving(slot, to, keys=100))

    # -- How it comes about ----------------------------------------------------------------------------------------

    def _node(self, settings: Mapping[str, str]) -> Node:
        port = next(port for port in iter(free_port, None) if _is_free(port + _BUS))
        return Node(self._binary, self._folder / str(port), port, {**_SETTINGS, **settings})

    def _join(self) -> None:
        masters = self._firsts
        replicas = self.nodes[len(masters) :]
        for number, master in enumerate(masters):
            first, behind = (_SLOTS * edge // len(masters) for edge in (number, number + 1))
            master.ask("CLUSTER", "ADDSLOTS", *range(first, behind))
        for epoch, node in enumerate(self.nodes, start=1):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", masters[0].port)
        self._await_all_know("NODES", *(node.id for node in self.nodes))
        for master, replica in zip(masters, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", master.id)
        self.await_health()
        for master, replica in zip(masters, replicas, strict=True):  # a replica unknown to the others cannot take over
            self._await_all_know("REPLICAS", replica.id, of=(master.id,))

    def _await_all_know(self, what: str, *names: str, of: tuple[str, ...] = ()) -> None:
        def known() -> bool:
            answers = [str(node.ask("CLUSTER", what, *of)) for node in self.nodes]
            return all(name in answer for answer in answers for name in names)

        until(known, "the servers know each other")

    def _running(self) -> list[Node]:
        return [node for node in self.nodes if node.is_running]

    def _named(self, name: str) -> Node:
        return next(node for node in self.nodes if node.id == name)


def _described(node: Node) -> frozenset[tuple[int, int, str, frozenset[str]]]:
    """Return who serves which slots, and who are the replicas of that, as a server sees it."""
    slots = node.ask("CLUSTER", "SLOTS")
    return frozenset(
        (first, last, master[2], frozenset(replica[2] for replica in replicas))
        for first, last, master, *replicas in slots
    )


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
