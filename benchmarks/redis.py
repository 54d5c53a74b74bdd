"""Commits through the kernel on Redis, in memory and with `appendfsync always`, against one script call a write."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from benchmarks.commits import MANY, WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.kernel import writes_on
from benchmarks.plain_redis import pinned_redis, pooled_redis
from benchmarks.rounds import Sample, alternated, processor_us, rates, ratios, wait_ms
from tests.servers import DURABLE, Redis

__all__ = ["measure"]


async def measure(pace: Pace) -> Row:
    """Alternate all of them, on two servers of their own, of which only one writes to the disk."""
    async with AsyncExitStack() as stack:
        memory = stack.enter_context(Redis())
        disk = stack.enter_context(Redis("valkey", **DURABLE))
        writes = await stack.enter_async_context(writes_on(memory.url()))
        plain = await stack.enter_async_context(pooled_redis(memory.url()))
        pinned = await stack.enter_async_context(pinned_redis(memory.url()))
        durable = await stack.enter_async_context(writes_on(disk.url()))
        durable_plain = await stack.enter_async_context(pooled_redis(disk.url()))
        for runs in (writes.run, plain.run, pinned.run, durable.run, durable_plain.run):
            await runs(MANY, min(pace.seconds, WARM_SECONDS))
        samples = await alternated(
            {
                "plain": partial(plain.run, MANY, pace.seconds),
                "many": partial(writes.run, MANY, pace.seconds),
                "pinned": partial(pinned.run, MANY, pace.seconds),
                "durable": partial(durable.run, MANY, pace.seconds),
                "durable plain": partial(durable_plain.run, MANY, pace.seconds),
                "one": partial(writes.run, 1, pace.seconds),
                "plain one": partial(plain.run, 1, pace.seconds),
            },
            pace.rounds,
        )
        lost = (await writes.lost(), await durable.lost())
    return _row(memory.version, samples, lost)


def _row(version: str, samples: dict[str, tuple[Sample, ...]], lost: tuple[int, ...]) -> Row:
    many, plain, pinned = samples["many"], samples["plain"], samples["pinned"]
    durable, durable_plain = samples["durable"], samples["durable plain"]
    one, plain_one = samples["one"], samples["plain one"]
    return Row(
        name="redis",
        title=f"Commits on Valkey {version}, as in `commits`, against a program that sends each guarded upsert by "
        "itself: one `EVALSHA`, by redis-py and hiredis over its pool of 32 connections",
        figures=(
            Figure(what="128 tasks, in memory", rounds=ratios(many, plain), promise=1.3, aim=3),
            Figure(what="128 tasks, `appendfsync always`", rounds=ratios(durable, durable_plain), promise=1.1, aim=2.5),
            Figure(what="1 task, in memory", rounds=ratios(one, plain_one), promise=0.6, aim=0.8),
            Figure(
                what="128 tasks, in memory: longest wait",
                rounds=wait_ms(many, 1),
                unit="ms",
                promise=50,
                aim=20,
                at_most=True,
            ),
            Figure(
                what="128 tasks, `appendfsync always`: longest wait",
                rounds=wait_ms(durable, 1),
                unit="ms",
                promise=50,
                aim=20,
                at_most=True,
            ),
            count("acknowledged writes not found", lost),
            Figure(what="128 tasks, in memory, against 32 connections without a pool", rounds=ratios(many, pinned)),
            Figure(what="longest wait, the plain program", rounds=wait_ms(plain, 1), unit="ms", at_most=True),
            Figure(what="longest wait, without its pool", rounds=wait_ms(pinned, 1), unit="ms", at_most=True),
            Figure(what="128 tasks: our processor time of one", rounds=processor_us(many), unit="us"),
            Figure(what="128 tasks: that of the plain program", rounds=processor_us(plain), unit="us"),
            Figure(what="128 tasks, in memory", rounds=rates(many), unit="/s"),
            Figure(what="128 tasks, in memory, the plain program", rounds=rates(plain), unit="/s"),
            Figure(what="128 tasks, `appendfsync always`", rounds=rates(durable), unit="/s"),
            Figure(what="128 tasks, `appendfsync always`, the plain program", rounds=rates(durable_plain), unit="/s"),
            Figure(what="1 task, in memory", rounds=rates(one), unit="/s"),
            Figure(what="1 task, in memory, the plain program", rounds=rates(plain_one), unit="/s"),
        ),
        remarks=(
            "The plain program's script writes a hash and a sorted set; it keeps no log of changes and no receipts.",
            "The server shares the cores with both programs.",
        ),
    )
