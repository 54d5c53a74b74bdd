"""Whether what a watch shows may be: readings that a test can answer too, and who checks each transition by them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from sojourn.kernel import Attempt, Span
from sojourn.kernel.live import Reading, Watch

from .following import at

State = Mapping[str, bytes]
"""What all keys hold."""


class Asked(NamedTuple):
    """A reading, by what it gives of a state and by how it reads that."""

    of: Callable[[State], bytes]
    read: Callable[[Attempt], Awaitable[bytes]]


async def _value(tx: Attempt, item: str) -> bytes:
    record = await tx.get(at(item))
    return b"-" if record is None else record.value


def value(item: str) -> Asked:
    """What stands at a key."""
    return Asked(lambda state: state.get(item, b"-"), lambda tx: _value(tx, item))


def pointed(item: str) -> Asked:
    """What stands at the key that is named at a key."""

    async def read(tx: Attempt) -> bytes:
        return await _value(tx, (await _value(tx, item)).decode())

    return Asked(lambda state: state.get(state.get(item, b"-").decode(), b"-"), read)


def both(one: str, two: str) -> Asked:
    """What stands at two keys, read one after the other."""

    async def read(tx: Attempt) -> bytes:
        return await _value(tx, one) + await _value(tx, two)

    return Asked(lambda state: state.get(one, b"-") + state.get(two, b"-"), read)


def page(limit: int, start: str = "", *, reverse: bool = False) -> Asked:
    """The first records, or the last."""
    span = Span("t", "p", start, limit=limit, reverse=reverse)

    async def read(tx: Attempt) -> bytes:
        return b" ".join(record.key.item.encode() + b"=" + record.value for record in await tx.scan(span))

    def of(state: State) -> bytes:
        items = sorted((item for item in state if item >= start), reverse=reverse)
        return b" ".join(item.encode() + b"=" + state[item] for item in items[:limit])

    return Asked(of, read)


class Look:
    """What is shown of one watch, and whether that may be."""

    def __init__(self, watch: Watch, states: list[State]) -> None:
        self._watch = watch
        self._states = states
        self._asked: dict[int, Asked] = {}
        self._shown: dict[int, bytes | None] = {}
        self._at = 0
        self._syncs: list[int] = []
        self._synced = set[int]()
        self.task = asyncio.create_task(self._look())

    def change(self, readings: Mapping[int, Reading], asked: Mapping[int, Asked], remove: Sequence[int]) -> None:
        for number in (*remove, *asked):
            self._asked.pop(number, None)
            self._shown.pop(number, None)
        self._asked |= asked
        self._watch.change(readings, remove)

    def sync(self) -> None:
        self._syncs.append(len(self._states) - 1)
        self._watch.sync(len(self._syncs) - 1)

    async def close(self) -> None:
        self._watch.close()
        await self.task

    def check_end(self) -> None:
        if self.task.done():
            self.task.result()
        final = {number: asked.of(self._states[-1]) for number, asked in self._asked.items()}
        assert self._shown == final, "a change was missed"
        assert self._synced == set(range(len(self._syncs))), "a sync was not answered"

    async def _look(self) -> None:
        async for transition in self._watch:
            for update in transition.updates:
                assert update.id in self._asked, "it was removed before"
                assert self._shown.get(update.id) != update.result, "nothing is different"
                self._shown[update.id] = update.result
            self._synced |= set(transition.synced)
            least = max([self._at, *(self._syncs[number] for number in transition.synced)])
            self._at = next((at for at in range(least, len(self._states)) if self._is(self._states[at])), -1)
            assert self._at >= 0, f"{self._shown} was never so, from state {least} on"

    def _is(self, state: State) -> bool:
        return all(self._asked[number].of(state) == shown for number, shown in self._shown.items())
