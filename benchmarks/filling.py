"""Stores as they are after a long time: a million records, written as fast as an engine takes them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from sojourn import limits
from sojourn.kernel import Append, Put, Reads, Store, Transaction, Write, ids
from sojourn.kernel.codec import codec
from sojourn.visits import Visits, layout
from sojourn.visits.visitor import Known

__all__ = ["fill", "fill_actions", "fill_visitors", "now_of", "visitor_named", "visitor_value"]

_TASKS: Final = 8
_GROUPS: Final = 150
_AGO_MS: Final = 600_000

_KNOWN: Final = codec(Known)


async def fill(store: Store, groups: Iterable[tuple[Write, ...]]) -> None:
    """Write all of it, 150 groups in a commit: those of one group have one revision."""
    waiting = iter(groups)

    async def task() -> None:
        while some := tuple(itertools.islice(waiting, _GROUPS)):
            await store.commit(Transaction(ids.new(), writes=tuple(itertools.chain.from_iterable(some))))

    async with asyncio.TaskGroup() as group:
        for _ in range(_TASKS):
            group.create_task(task())


async def fill_visitors(store: Store, count: int) -> None:
    """Let so many visitors be here, each in its first visit, all last active within ten minutes."""
    now = await now_of(store)
    value = visitor_value(now - _AGO_MS)

    def records(number: int) -> tuple[Write, ...]:
        name = visitor_named(number)
        active_at = now - _AGO_MS + number * _AGO_MS // count
        return (
            Put(layout.visitor(name), value, rank=active_at),
            Put(layout.active(name), b"", ttl=limits.VISIT_ACTIVE_FOR),
            Put(layout.idle(name), b"", ttl=limits.VISIT_IDLE),
        )

    await fill(store, map(records, range(count)))


async def fill_actions(store: Store, name: str, count: int) -> None:
    """Let a visitor have done so many things, all of them the same."""
    await Visits(store).track_user_action(name, "click", "buy", {"sku": "book", "price": 12})
    ((first, *_),) = (await store.read(Reads(spans=(layout.action_span(name),)))).records.spans
    action = Append(layout.ACTION, name, "", first.value, ttl=timedelta(days=14))
    await fill(store, itertools.repeat((action,), count - 1))


async def now_of(store: Store) -> int:
    """Return what the engine's clock shows, in milliseconds."""
    return (await store.read(Reads())).now


def visitor_named(number: int) -> str:
    """Return the id of a visitor, as long as that of one who came by a browser."""
    return f"{number:032x}"


def visitor_value(began: int) -> bytes:
    """Return what the record of a visitor says whose first visit began then, in a commit that wrote its mark too."""
    return _KNOWN.encode(Known(began, 1, began))
