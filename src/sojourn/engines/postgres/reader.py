"""Reading records: what the server's functions are asked, and what they answer."""

from __future__ import annotations

from psycopg.pq.abc import PGresult

from sojourn.engines.postgres import wire
from sojourn.engines.postgres.answers import rows, snapshot_records
from sojourn.engines.postgres.program import number_and_step, span_most, span_texts
from sojourn.kernel.engine import RankPage
from sojourn.kernel.keys import Cursor, Key, RankSpan
from sojourn.kernel.transaction import Reads, Record, Snapshot

__all__ = ["page", "rank_parameters", "read_parameters", "snapshot"]


def read_parameters(reads: Reads) -> list[bytes]:
    """Return what `read` is given after the clock: the keys, the spans, and how much of each."""
    spaces, partitions, items = zip(*reads.keys, strict=True) if reads.keys else ((), (), ())
    spans = [text for span in reads.spans for text in span_texts(span)]
    most = [span_most(span) for span in reads.spans]
    return [wire.texts(spaces), wire.texts(partitions), wire.texts(items), wire.texts(spans), wire.bigints(most)]


def snapshot(reads: Reads, result: PGresult) -> Snapshot:
    """Read what `read` answered."""
    *told, end = rows(result)
    return Snapshot(snapshot_records(reads, told), end.revision or 0)


def rank_parameters(span: RankSpan) -> list[bytes | None]:
    """Return what `ranked` is given after the clock: the space, the bounds, the place to go on from, and how much."""
    after = span.after
    return [
        wire.text(span.space),
        *map(wire.bigint, number_and_step(span.low)),
        *map(wire.bigint, number_and_step(span.high)),
        None if after is None else wire.bigint(after.rank),
        None if after is None else wire.text(after.partition),
        None if after is None else wire.text(after.item),
        wire.bigint(-span.limit if span.reverse else span.limit),
    ]


def page(span: RankSpan, result: PGresult) -> RankPage:
    """Read what `ranked` answered: records, and the time in the last row."""
    last = result.ntuples - 1
    records = tuple(_ranked(span.space, result, row) for row in range(last))
    now = wire.whole(result.get_value(last, 2) or b"")
    cursor = None
    if len(records) == span.limit:
        place = records[-1]
        assert place.rank is not None  # only ranked records are listed
        cursor = Cursor(place.rank, place.key.partition, place.key.item)
    return RankPage(records, cursor, now)


def _ranked(space: str, result: PGresult, row: int) -> Record:
    partition, item, revision, rank, expires_at, value = [result.get_value(row, column) or b"" for column in range(6)]
    return Record(
        Key(space, partition.decode(), item.decode()),
        value,
        wire.whole(revision),
        wire.whole(rank),
        wire.whole(expires_at) if expires_at else None,
    )
