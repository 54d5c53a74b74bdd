"""Turns of short and of long sessions: what one takes, what reading past states takes, and what a branch adds."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import apsw

from benchmarks.conversation import Keeper
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.plain_snapshots import plain_turns_on_postgres, plain_turns_on_sqlite
from benchmarks.rounds import Sample, alternated, in_turn, processor_us, rates, ratios, wait_ms
from benchmarks.talks import Talks, talks_on
from tests.servers import DURABLE, Postgres, Redis

__all__ = ["measure"]

_LENGTHS: Final = (10, 400, 2_000, 10_000)
_TURNS: Final = 40
"""How many turns of a session are taken in a round: few enough not to change how long it is by much."""

_SESSIONS: Final = 16
"""How many sessions have a turn at the same time, for what a group of commits saves."""

_DRAWN: Final = 4
"""How many past states are drawn by lot in a round."""

_PLAIN: Final = "plain"
_COUNTING: Final = "SELECT count(*), sum(length(space) + length(partition) + length(item) + length(value)) FROM records"

_Samples: TypeAlias = Mapping[str, Sequence[Sample]]


async def measure(pace: Pace) -> Row:
    """Measure on SQLite, then on servers of their own, which force each commit to the disk."""
    lengths = tuple(dict.fromkeys(min(length, pace.sessions) for length in _LENGTHS))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "snapshots.db"
        async with plain_turns_on_sqlite(path.parent) as plain, talks_on(f"sqlite:///{path}", lengths) as talks:
            figures += await _measured("SQLite", pace, talks, plain)
            figures += await _branch(path, talks)
    with Postgres() as server:
        url = server.url()
        async with plain_turns_on_postgres(url) as plain, talks_on(url, lengths) as talks:
            figures += await _measured("PostgreSQL", pace, talks, plain)
    with Redis("valkey", **DURABLE) as server:
        async with talks_on(server.url(), lengths) as talks:
            figures += await _measured("Redis", pace, talks)
    return Row(
        name="snapshots",
        title="Turns of 1 KB, a question and an answer, in sessions that have had so many turns before; Redis with "
        "`appendfsync always`",
        figures=tuple(figures),
        remarks=(
            "A turn is two commits: one takes the lease and says that it is pending, the other adds what was recorded.",
            "The plain program commits one row for each turn, one after another, and can read no past state.",
            "Cold is a program that has just been started, and has everything to read; again is the second time.",
            f"Reading includes decoding the state. Of past ones {_DRAWN} are drawn each round, and the slowest counts.",
            "`past` alone is the first time in a program that has seen the newest one and goes on.",
        ),
    )


async def _measured(engine: str, pace: Pace, talks: Talks, plain: Keeper | None = None) -> Iterator[Figure]:
    turns = min(_TURNS, max(1, pace.sessions // 20))
    some, longest = talks.lengths[min(1, len(talks.lengths) - 1)], talks.lengths[-1]
    variants: dict[str, Callable[[], Awaitable[Sample]]] = {
        _turn(length): partial(talks.take, length, turns) for length in talks.lengths
    }
    if plain is not None:
        variants[_PLAIN] = lambda: in_turn(talks.turns(turns), plain.save)
    samples = await alternated(
        variants
        | {
            "at once": partial(talks.take_at_once, _SESSIONS, turns),
            "cold": partial(talks.take_cold, longest),
            "by session": partial(talks.newest, some, turns),
            "by id": partial(talks.newest, some, turns, by_id=True),
            "newest, cold": partial(talks.newest_cold, longest),
            "past, cold": partial(talks.past_cold, longest, _DRAWN),
            "newest, again": partial(talks.newest, longest, 1),
            "past, again": partial(talks.past_again, longest, _DRAWN),
            "past": partial(talks.past, longest, _DRAWN),
        },
        pace.rounds,
    )
    lost = await talks.lost()
    return _figures(engine, talks.lengths, samples, lost)


def _figures(engine: str, lengths: Sequence[int], samples: _Samples, lost: int) -> Iterator[Figure]:
    first, last, some = lengths[0], lengths[-1], lengths[min(1, len(lengths) - 1)]
    longer = _times(samples[_turn(last)], samples[_turn(first)])
    what = f"{engine}: {_turn(last)} against {_turn(first)}, time"
    yield Figure(what=what, rounds=longer, promise=1.3, aim=1.1, at_most=True)
    for how in ("cold", "again"):
        against = _slowest_times(samples[f"past, {how}"], samples[f"newest, {how}"])
        what = f"{engine}: a past state of {last:,} turns against the newest, time, {how}"
        yield Figure(what=what, rounds=against, promise=2, at_most=True)
    yield count(f"{engine}: turns not in the history", (lost,))
    if _PLAIN in samples:
        against = ratios(samples[_turn(some)], samples[_PLAIN])
        yield Figure(what=f"{engine}: {_turn(some)} against a row for each turn", rounds=against, aim=0.5)
        at_once = ratios(samples["at once"], samples[_PLAIN])
        yield Figure(what=f"{engine}: {_SESSIONS} sessions at once against a row for each turn", rounds=at_once)
        yield Figure(what=f"{engine}: a row for each turn", rounds=wait_ms(samples[_PLAIN], 0.5), unit="ms")
    yield Figure(what=f"{engine}: {_SESSIONS} sessions at once", rounds=rates(samples["at once"]), unit="/s")
    for length in lengths:
        yield Figure(what=f"{engine}: {_turn(length)}", rounds=wait_ms(samples[_turn(length)], 0.5), unit="ms")
    for name in (_turn(first), _turn(last)):
        yield Figure(what=f"{engine}: {name}: processor time", rounds=processor_us(samples[name]), unit="us")
    yield Figure(what=f"{engine}: {_turn(last)}, cold", rounds=wait_ms(samples["cold"], 0.5), unit="ms")
    by_session, by_id = samples["by session"], samples["by id"]
    newest = f"{engine}: the newest state of {some:,} turns"
    yield Figure(what=f"{newest}, by session", rounds=wait_ms(by_session, 0.5), unit="ms", aim=1, at_most=True)
    yield Figure(what=f"{newest}, by session against by id, time", rounds=_times(by_session, by_id))
    for which in ("newest, cold", "newest, again", "past"):
        what = f"{engine}: a state of {last:,} turns: {which}"
        yield Figure(what=what, rounds=wait_ms(samples[which], 0.5), unit="ms")


def _slowest_times(samples: Sequence[Sample], baseline: Sequence[Sample]) -> tuple[float, ...]:
    """Return how many times as long the slowest took, round by round."""
    return tuple(max(ours.waits) / max(base.waits) for ours, base in zip(samples, baseline, strict=True))


def _times(samples: Sequence[Sample], baseline: Sequence[Sample]) -> tuple[float, ...]:
    """Return how many times as long half of them took at most, round by round."""
    return tuple(
        statistics.median(ours.waits) / statistics.median(base.waits)
        for ours, base in zip(samples, baseline, strict=True)
    )


class _Kept(NamedTuple):
    """The records of a file, and the bytes of their keys and values."""

    records: int
    size: int

    def since(self, earlier: _Kept) -> _Kept:
        """Return what has come to it since."""
        return _Kept(self.records - earlier.records, self.size - earlier.size)


async def _branch(path: Path, talks: Talks) -> Iterator[Figure]:
    """Count what a turn at the end of the longest session adds to the file, and what one that begins a branch adds."""
    longest = talks.lengths[-1]
    before = _kept(path)
    await talks.take(longest, 1)
    after = _kept(path)
    turn = after.since(before)
    await talks.branch(longest)
    branch = _kept(path).since(after)
    what = f"SQLite: a branch from the middle of {longest:,} turns"
    return iter(
        (
            Figure(what=f"{what}, bytes against a turn", rounds=(branch.size / turn.size,), promise=1.25, at_most=True),
            Figure(what=f"{what}, records added", rounds=(branch.records,), unit=""),
            Figure(what=f"{what}, bytes added", rounds=(branch.size,), unit="bytes"),
            Figure(what="SQLite: a turn at its end, records added", rounds=(turn.records,), unit=""),
            Figure(what="SQLite: a turn at its end, bytes added", rounds=(turn.size,), unit="bytes"),
        )
    )


def _kept(path: Path) -> _Kept:
    # The engine's own driver: two builds of SQLite in one process would drop each other's locks.
    connection = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)
    records, size = connection.execute(_COUNTING).get
    connection.close()
    return _Kept(records, size)


def _turn(length: int) -> str:
    return f"turn {length:,}"
