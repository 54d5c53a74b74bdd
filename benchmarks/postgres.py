"""Durable commits through the kernel on PostgreSQL, against a program that sends each write by itself."""

from __future__ import annotations

from functools import partial

from benchmarks.commits import MANY, WARM_SECONDS
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.kernel import writes_on
from benchmarks.plain_postgres import plain_postgres
from benchmarks.rounds import Sample, alternated, processor_us, rates, ratios, wait_ms
from tests.servers import Postgres

__all__ = ["measure"]


async def measure(pace: Pace) -> Row:
    """Alternate the two with 128 tasks and with one, on a server of their own that forces each commit to the disk."""
    with Postgres() as server:
        async with plain_postgres(server.url()) as plain, writes_on(server.url()) as writes:
            for runs in (plain.run, writes.run):
                await runs(MANY, min(pace.seconds, WARM_SECONDS))
            samples = await alternated(
                {
                    "plain": partial(plain.run, MANY, pace.seconds),
                    "many": partial(writes.run, MANY, pace.seconds),
                    "plain one": partial(plain.run, 1, pace.seconds),
                    "one": partial(writes.run, 1, pace.seconds),
                },
                pace.rounds,
            )
            lost = await writes.lost()
    return _row(server.version, samples, lost)


def _row(version: str, samples: dict[str, tuple[Sample, ...]], lost: int) -> Row:
    many, plain, one, plain_one = (samples[name] for name in ("many", "plain", "one", "plain one"))
    return Row(
        name="postgres",
        title=f"Durable commits on PostgreSQL {version}, as in `commits`, against a program that sends each guarded "
        "upsert by itself through the same driver",
        figures=(
            Figure(what="128 tasks", rounds=ratios(many, plain), promise=2, aim=3),
            Figure(what="1 task", rounds=ratios(one, plain_one), promise=0.55, aim=0.8),
            Figure(
                what="128 tasks: longest wait", rounds=wait_ms(many, 1), unit="ms", promise=50, aim=20, at_most=True
            ),
            count("acknowledged writes not found", (lost,)),
            Figure(
                what="128 tasks: longest wait, the plain program", rounds=wait_ms(plain, 1), unit="ms", at_most=True
            ),
            Figure(what="128 tasks: wait of 99 of 100", rounds=wait_ms(many, 0.99), unit="ms"),
            Figure(what="128 tasks: wait of 99 of 100, the plain program", rounds=wait_ms(plain, 0.99), unit="ms"),
            Figure(what="128 tasks: our processor time of one", rounds=processor_us(many), unit="us"),
            Figure(what="128 tasks: that of the plain program", rounds=processor_us(plain), unit="us"),
            Figure(what="128 tasks", rounds=rates(many), unit="/s"),
            Figure(what="128 tasks, the plain program", rounds=rates(plain), unit="/s"),
            Figure(what="1 task", rounds=rates(one), unit="/s"),
            Figure(what="1 task, the plain program", rounds=rates(plain_one), unit="/s"),
        ),
        remarks=(
            "The plain program has 16 connections for 128 tasks, and one statement a write, prepared, in autocommit.",
            "Its table has no index by rank, no log of changes and no receipts.",
            "The server shares the cores with both programs. A group saves its work and the disk's, not only our own.",
            "Of one task's time most is the server's, which starts a function of many statements for a single write.",
            "Fewer statements and expressions in it, and nudges that wait for no disk, saved a fifth of that.",
        ),
    )
