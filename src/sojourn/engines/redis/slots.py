"""Who serves what in a cluster: hash slots, the owners of the buckets as a node reports them, and redirections."""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

__all__ = ["Address", "View", "redirected", "slot_of"]

_SLOTS: Final = 16_384  # of every cluster: a part of its protocol
_NAMELESS: Final = b"?"


class Address(NamedTuple):
    """Where a server answers."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as it is written in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class View(NamedTuple):
    """A cluster as one of its nodes sees it. The greater the epoch, the newer the view."""

    is_well: bool
    epoch: int
    owners: tuple[Address | None, ...]
    """The master of each bucket; None where there is none."""
    replicas: frozenset[Address]

    @classmethod
    def read(cls, info: bytes, slots: Sequence[Any], buckets: Sequence[int], asked: Address) -> View:
        """Understand the answers to CLUSTER INFO and CLUSTER SLOTS; `buckets` are the slots of the buckets."""
        facts = dict(line.split(":", 1) for line in info.decode().split() if ":" in line)
        wanted = sorted((slot, bucket) for bucket, slot in enumerate(buckets))
        owners: list[Address | None] = [None] * len(buckets)
        replicas = set[Address]()
        for first, last, (host, port, *_), *copies in slots:
            for _, bucket in wanted[bisect_left(wanted, (first, 0)) : bisect_left(wanted, (last + 1, 0))]:
                owners[bucket] = _address(host, port, asked)
            found = (_address(host, port, asked) for host, port, *_ in copies)
            replicas.update(address for address in found if address is not None)
        is_well = facts["cluster_state"] == "ok"
        return cls(is_well, int(facts["cluster_current_epoch"]), tuple(owners), frozenset(replicas))


def slot_of(key: bytes) -> int:
    """Return the slot of a key: that of the text between its first braces, if there is any, so that tags share one."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % _SLOTS


def redirected(error: str, asked: Address) -> Address | None:
    """Return where a call belongs, by the answer `MOVED slot host:port`, or ASK; None when that place has no name."""
    host, _, port = error.rpartition(" ")[2].rpartition(":")
    return _address(host.encode(), int(port), asked)


def _address(host: bytes | None, port: int, asked: Address) -> Address | None:
    """Return where a node says it is: it names no host where clients know better, "?" where it should and cannot."""
    if host == _NAMELESS:
        return None
    return Address(host.decode() if host else asked.host, port)
