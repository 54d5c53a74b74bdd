"""Pages by rank over many buckets: the same as over one, with few questions."""

import random
from collections.abc import Mapping

import msgspec
import pytest

from sojourn.engines.redis.keyspace import Keyspace
from sojourn.engines.redis.parting import joined, part_batch, part_reads, shared_out
from sojourn.engines.redis.ranking import merged_page
from sojourn.errors import CapabilityError
from sojourn.kernel.keys import Cursor, Key, RankSpan, Span
from sojourn.kernel.transaction import (
    Append,
    Delete,
    DeleteSpan,
    Present,
    Put,
    Reads,
    Record,
    Records,
    SpanIs,
    Transaction,
)

NOW = 7


class Buckets:
    """Records in buckets, and how often they were asked for."""

    def __init__(self, buckets: int, records: int, seed: int, *, skewed: bool = False) -> None:
        chance = random.Random(seed)  # noqa: S311
        self.by_bucket: list[list[Record]] = [[] for _ in range(buckets)]
        for number in range(records):
            rank = chance.randrange(-20, 20)
            record = Record(Key("s", f"p{number % 7}", f"{number}"), b"", 1, rank)
            self.by_bucket[rank % buckets if skewed else chance.randrange(buckets)].append(record)
        self.questions = 0
        self.records_sent = 0

    async def ask(self, spans: Mapping[int, RankSpan]) -> tuple[int, Mapping[int, tuple[Record, ...]]]:
        self.questions += 1
        pages = {bucket: page_of(self.by_bucket[bucket], span) for bucket, span in spans.items()}
        self.records_sent += sum(map(len, pages.values()))
        return NOW, pages


def page_of(records: list[Record], span: RankSpan) -> tuple[Record, ...]:
    """Return what one bucket, or one database, answers."""
    listed = sorted(records, key=place, reverse=span.reverse)
    if span.after is not None:
        after = span.after
        listed = [record for record in listed if (place(record) < after if span.reverse else place(record) > after)]
    return tuple(listed[: span.limit])


def place(record: Record) -> Cursor:
    assert record.rank is not None
    return Cursor(record.rank, record.key.partition, record.key.item)


@pytest.mark.promise(8)
@pytest.mark.parametrize("seed", range(20))
async def test_pages_of_many_buckets_are_those_of_one(seed: int) -> None:
    """In both directions, page by page to the end, whatever the numbers."""
    chance = random.Random(seed)  # noqa: S311
    buckets, records = chance.choice([1, 2, 16, 128]), chance.choice([0, 5, 300, 900])
    world = Buckets(buckets, records, seed, skewed=seed % 2 == 1)
    everything = [record for bucket in world.by_bucket for record in bucket]
    span = RankSpan("s", limit=chance.choice([1, 3, 100, 1_000]), reverse=chance.random() < 0.5)
    while True:
        page = await merged_page(world.ask, span, len(world.by_bucket))
        assert page.records == page_of(everything, span)
        assert page.now == NOW
        if page.cursor is None:
            break
        assert page.cursor == place(page.records[-1])
        span = msgspec.structs.replace(span, after=page.cursor)


@pytest.mark.promise(8)
async def test_a_page_asks_for_little_more_than_it_shows() -> None:
    """Over 128 buckets with plenty in each, a page of 100 takes a few questions and not 12,800 records."""
    world = Buckets(128, 12_800, seed=1)
    page = await merged_page(world.ask, RankSpan("s"), 128)
    assert len(page.records) == 100
    assert world.questions <= 4
    assert world.records_sent <= 1_500


@pytest.mark.promise(8)
async def test_one_bucket_is_asked_once() -> None:
    world = Buckets(1, 1_000, seed=1)
    await merged_page(world.ask, RankSpan("s"), 1)
    assert world.questions == 1


# -- Dividing among buckets --------------------------------------------------------------------------------------------

MANY = Keyspace("x", 128)
A, B = "a", next(name for name in "bcdef" if MANY.bucket(name) != MANY.bucket("a"))


@pytest.mark.parametrize(
    "transaction",
    [
        Transaction(writes=(Put(Key("s", A, ""), b""), Delete(Key("s", B, "")))),
        Transaction(guards=(Present(Key("s", A, "")),), writes=(Put(Key("s", B, ""), b""),)),
        Transaction(guards=(SpanIs(Span("s", A), 0, 0),), reads=Reads(keys=(Key("s", B, ""),))),
        Transaction(b"x" * 16, writes=(Append("s", A, "", b""), DeleteSpan(Span("s", B)))),
        Transaction(writes=(Put(Key("s", A, ""), b""),), reads=Reads(spans=(Span("s", B),))),
    ],
    ids=["writes", "guard", "read", "append and span", "span read"],
)
def test_a_transaction_over_two_buckets_is_refused(transaction: Transaction) -> None:
    """By the name of what is missing, before anything of the batch is sent; one bucket takes it."""
    good = Transaction(writes=(Put(Key("s", A, ""), b""),))
    with pytest.raises(CapabilityError, match="one bucket only") as caught:
        part_batch([good, transaction], MANY)
    assert caught.value.capability == "cross_partition"
    assert part_batch([good, transaction], Keyspace("x", 1)) == {0: (range(2), [good, transaction])}


def test_a_batch_keeps_its_order_in_each_bucket() -> None:
    batch = [Transaction(writes=(Put(Key("s", name, str(place)), b""),)) for place, name in enumerate((A, B, A, B, A))]
    parts = part_batch([*batch, Transaction()], MANY)
    assert parts[MANY.bucket(A)][0] == [0, 2, 4]
    assert parts[MANY.bucket(B)] == ([1, 3], [batch[1], batch[3]])
    assert {place for places, _ in parts.values() for place in places} == set(range(6))


def test_reads_come_back_in_the_order_asked() -> None:
    keys = tuple(Key("s", name, str(place)) for place, name in enumerate((A, B, A, B, B)))
    spans = (Span("s", B), Span("s", A), Span("s", B, "x"))
    reads = Reads(keys, spans)
    parts = part_reads(reads, MANY)
    assert len(parts) == 2
    found = {
        bucket: Records(
            tuple(Record(key, b"", 1) for key in part.keys),
            tuple((Record(Key("s", span.partition, span.start), b"", 1),) for span in part.spans),
        )
        for bucket, part in parts.items()
    }
    whole = joined(reads, MANY, found)
    assert [record and record.key for record in whole.keys] == list(keys)
    assert [span[0].key for span in whole.spans] == [Key("s", span.partition, span.start) for span in spans]
    assert part_reads(Reads(), MANY) == {0: Reads()}


def test_a_partition_stays_in_its_bucket_for_ever() -> None:
    """The numbers are kept in every store: they may never change."""
    assert [MANY.bucket(name) for name in ("", "a", "b", "home", "é")] == [0, 67, 121, 80, 62]


def test_what_is_shared_out_is_no_more_than_there_is() -> None:
    assert shared_out(10, [0, 25, 3]) == [0, 10, 0]
    assert shared_out(30, [0, 25, 3]) == [0, 25, 3]
    assert shared_out(26, [0, 25, 3]) == [0, 25, 1]
