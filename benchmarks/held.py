"""Documents that are only held: what each of them takes in memory, and when those that change are saved."""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.player import PLAYER, Player, earn, player_named
from benchmarks.rounds import for_each
from sojourn.documents import Document, Documents
from sojourn.engines.memory import MemoryEngine
from sojourn.engines.sqlite import SqliteEngine
from sojourn.kernel import Store
from sojourn.testing import ManualClock

__all__ = ["measure"]

_FEW: Final = 0.1
"""How many documents the smaller of the two programs holds, for each of the pace's sessions."""

_SAVED: Final = 1_000
_INTERVAL: Final = timedelta(minutes=1)
_STEP: Final = timedelta(seconds=0.25)
_A_WHILE: Final = 32
"""Steps of the loop within which every save that is due has begun, and those begun before are over."""

_TASKS: Final = 64


class _Held(msgspec.Struct, frozen=True):
    """Bytes that Python took for so many documents, and for their values alone."""

    documents: int
    whole: int
    values: int


async def measure(pace: Pace) -> Row:
    """Trace the memory in processes of their own, and let the time of the saves pass under a clock that is moved."""
    figures: list[Figure] = []
    for documents in (max(1, round(_FEW * pace.sessions)), pace.sessions):
        held = await _in_a_process(documents)
        of = f"{documents:,} loaded: memory of each"
        beside = (held.whole - held.values) / documents
        figures.append(Figure(what=f"{of}, without its value", rounds=(beside,), unit="bytes"))
        figures.append(Figure(what=f"{of}, its value alone", rounds=(held.values / documents,), unit="bytes"))
    shares, unsaved = await _autosaves(pace.rounds)
    return Row(
        name="held",
        title=f"Documents of 1 KB that are held: their memory, and when {_SAVED:,} that were loaded together, and that "
        f"all change at once, are autosaved within {_INTERVAL.total_seconds():.0f} s",
        figures=(
            Figure(what="largest share of the saves in one second", rounds=shares, unit="%", promise=5, at_most=True),
            count("documents not saved after that time", unsaved),
            *figures,
        ),
        remarks=(
            "Memory is what Python's allocators gave out and still have: lease, its keeper, a heap's entry, the facts.",
            "The seconds of the saves are those of a clock that the benchmark moves.",
        ),
    )


async def _in_a_process(documents: int) -> _Held:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.held", str(documents)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    return msgspec.json.decode(said, type=_Held)


async def _autosaves(rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return, for each interval, the percentage of its busiest second, and how many documents were not saved in it."""
    clock = ManualClock()
    begun: Counter[int] = Counter()

    def note(_: Document[Player]) -> None:
        begun[int(clock.monotonic())] += 1

    shares: list[float] = []
    unsaved: list[float] = []
    async with Store(MemoryEngine(clock=clock), clock=clock) as store:
        players = _players(store, note)
        documents = [await players.load(player_named(number)) for number in range(_SAVED)]
        for _ in range(rounds):
            for document in documents:
                await document.update(earn)
            begun.clear()
            # Who was looked at just before is so again an interval later, and not more than two steps after that.
            for _ in range(_INTERVAL // _STEP + 2):
                await _let_pass(clock)
            shares.append(100 * max(begun.values(), default=0) / max(begun.total(), 1))
            unsaved.append(sum(not document.is_saved for document in documents))
    return tuple(shares), tuple(unsaved)


async def _let_pass(clock: ManualClock) -> None:
    clock.advance(_STEP)
    for _ in range(_A_WHILE):
        await asyncio.sleep(0)


async def _measure_here(documents: int) -> _Held:
    with tempfile.TemporaryDirectory() as name:
        async with Store(SqliteEngine(Path(name) / "held.db")) as store:
            players = _players(store)
            keys = tuple(map(player_named, range(documents)))
            await for_each(keys, partial(_change, players), _TASKS)
            tracemalloc.start()
            empty = _traced()
            values = [await players.peek(key) for key in keys]
            of_values = _traced() - empty
            del values
            empty = _traced()
            await for_each(keys, players.load, _TASKS)
            whole = _traced() - empty
            tracemalloc.stop()
    return _Held(documents, whole, of_values)


async def _change(players: Documents[Player], key: str) -> None:
    async with players.open(key) as player:
        await player.update(earn)


def _players(store: Store, before_save: Callable[[Document[Player]], None] | None = None) -> Documents[Player]:
    # The lease is so long that none is renewed meanwhile.
    return Documents(
        store,
        "players",
        schema=Player,
        template=PLAYER,
        autosave=_INTERVAL,
        lease=timedelta(days=1),
        before_save=before_save,
    )


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_measure_here(int(sys.argv[1])))))
