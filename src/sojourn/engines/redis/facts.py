"""What a server says of itself, and what follows from it: is it fit to keep a store, and does it keep what it took?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import hiredis

from sojourn.engines.redis.failures import LostError, lost
from sojourn.engines.redis.nodes import NodeFacts
from sojourn.engines.redis.server import Lane, Server
from sojourn.errors import InvalidError
from sojourn.kernel.engine import Finding

__all__ = ["check_fit", "findings", "is_durable", "look", "version"]

_FLOOR: Final = (6, 2)
_SETTINGS: Final = ("appendfsync", "appendonly", "maxmemory-policy", "no-appendfsync-on-rewrite")


async def look(server: Server) -> NodeFacts:
    """Ask a server for INFO, and for the settings that matter.

    Raises:
        UnavailableError: it cannot be reached.
        InvalidError: it refuses us from the beginning.
    """
    questions = [(b"INFO",), *((b"CONFIG", b"GET", name.encode()) for name in _SETTINGS)]
    try:
        info, *settings = await server.ask(Lane.READ, questions)
    except LostError as error:
        raise lost(error, server.address, writing=False) from error
    return NodeFacts(
        str(server.address),
        {} if isinstance(info, hiredis.ReplyError) else _read_info(info.decode(errors="replace")),
        None if any(isinstance(reply, hiredis.ReplyError) for reply in settings) else _read_settings(settings),
    )


def version(facts: NodeFacts) -> str:
    """Return the version of what the server is: that of Valkey, where it is one."""
    return facts.info.get("valkey_version") or facts.info.get("redis_version") or "unknown"


def check_fit(facts: NodeFacts) -> None:
    """Refuse a server that would lose records, or cannot run the scripts.

    Raises:
        InvalidError: it is too old, or evicts; the message says what to change.
    """
    numbers = tuple(int(part) for part in facts.info.get("redis_version", "").split(".") if part.isdecimal())
    if numbers and numbers < _FLOOR:
        raise InvalidError("server", f"{facts.name} is Redis {version(facts)}; sojourn needs 6.2 or newer, or Valkey")
    policy = _policy(facts)
    if policy not in {None, "noeviction"}:
        problem = f"{facts.name} throws records away when its memory is full (maxmemory-policy {policy})"
        raise InvalidError("server", f"{problem}; set maxmemory-policy noeviction, or use another server")


def is_durable(facts: Iterable[NodeFacts]) -> bool:
    """Say whether it is proved that no acknowledged commit can be lost.

    A replica is told of a commit after its caller is, so where one may take over, a commit may be lost.
    """
    return all(
        node.settings is not None
        and _persistence(node.settings).advice is None
        and _policy(node) == "noeviction"
        and _replicas(node) == 0
        for node in facts
    )


def findings(facts: Sequence[NodeFacts]) -> list[Finding]:
    """Return what an operator should know of each server, with its name where there are several."""
    return [
        Finding(found.name, found.found if len(facts) == 1 else f"{node.name}: {found.found}", found.advice)
        for node in facts
        for found in _findings(node)
    ]


def _findings(node: NodeFacts) -> Iterable[Finding]:
    product = "Valkey" if "valkey_version" in node.info else "Redis"
    yield Finding("version", f"{product} {version(node)}")
    if node.settings is None:
        advice = "allow the user CONFIG GET, so that durability can be told; until then it is taken as not given"
        yield Finding("settings", "the server does not tell them", advice)
    else:
        yield _persistence(node.settings)
    policy = _policy(node)
    if policy is None:
        yield Finding("maxmemory-policy", "unknown", "see to it that it is noeviction: nothing may be thrown away")
    else:
        yield Finding("maxmemory-policy", policy, None if policy == "noeviction" else "set it to noeviction")
    yield _replication(node)
    yield _memory(node.info)


def _persistence(settings: Mapping[str, str]) -> Finding:
    if settings.get("appendonly") != "yes":
        found, advice = "appendonly no", "set appendonly yes and appendfsync always: a restart loses the newest commits"
    elif settings.get("appendfsync") != "always":
        found = f"appendonly yes, appendfsync {settings.get('appendfsync')}"
        advice = "set appendfsync always: a crash of the host loses the newest commits, about a second of them"
    elif settings.get("no-appendfsync-on-rewrite") == "yes":
        found = "appendonly yes, appendfsync always, no-appendfsync-on-rewrite yes"
        advice = "set no-appendfsync-on-rewrite no: while the file is rewritten a crash of the host loses commits"
    else:
        return Finding("persistence", "appendonly yes, appendfsync always")
    return Finding("persistence", found, advice)


def _replication(node: NodeFacts) -> Finding:
    replicas = _replicas(node)
    if not replicas:
        return Finding("replicas", "none")
    advice = "a failover loses the commits that no replica had yet; leases and revisions hold all the same"
    return Finding("replicas", str(replicas), advice)


def _memory(info: Mapping[str, str]) -> Finding:
    used, most = int(info.get("used_memory", "0")), int(info.get("maxmemory", "0"))
    if most == 0:
        return Finding("memory", f"{used} bytes used, no limit")
    advice = "raise maxmemory soon: a full server refuses commits" if used > most * _NEARLY_FULL else None
    return Finding("memory", f"{used} of {most} bytes used", advice)


_NEARLY_FULL: Final = 0.8


def _policy(node: NodeFacts) -> str | None:
    return (node.settings or {}).get("maxmemory-policy") or node.info.get("maxmemory_policy")


def _replicas(node: NodeFacts) -> int:
    return int(node.info.get("connected_slaves", "0")) if node.info else 1


def _read_info(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, colon, value in lines if colon}


def _read_settings(replies: Iterable[Mapping[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for reply in replies for name, value in reply.items()}
