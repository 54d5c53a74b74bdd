"""PostgreSQL and Redis on a disk that takes longer to say that something is safe, as network volumes do."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import msgspec

from benchmarks.commits import MANY, WARM_SECONDS
from benchmarks.disk import SLOW, NoSlowDiskError, slow_disk
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.kernel import writes_on
from benchmarks.plain_postgres import plain_postgres
from benchmarks.plain_redis import pooled_redis
from benchmarks.rounds import alternated, rates, ratios, wait_ms
from tests.servers import DURABLE, Postgres, Redis

__all__ = ["measure"]

_ROW: Final = Row(
    name="slow-servers",
    title="128 tasks as in `postgres` and `redis`, where the disk takes 2 ms longer for each fsync and fdatasync; "
    "Redis with `appendfsync always`",
    remarks=(
        "The plain programs commit in groups as well: what waits for the disk together is forced to it together.",
    ),
)


async def measure(pace: Pace) -> Row:
    """Alternate both engines and both plain programs, each engine on a server of its own with such a disk."""
    try:
        async with AsyncExitStack() as stack:
            slower = (await stack.enter_async_context(slow_disk()))(SLOW)
            servers = {"PostgreSQL": Postgres(), "Redis": Redis("valkey", **DURABLE)}
            for server in servers.values():
                server.environment.update(slower)
                stack.enter_context(server)
            urls = {name: server.url() for name, server in servers.items()}
            ours = {name: await stack.enter_async_context(writes_on(url)) for name, url in urls.items()}
            plain_on_postgres = await stack.enter_async_context(plain_postgres(urls["PostgreSQL"]))
            plain_on_redis = await stack.enter_async_context(pooled_redis(urls["Redis"]))
            runs = {_plain("PostgreSQL"): plain_on_postgres.run, _plain("Redis"): plain_on_redis.run}
            runs |= {name: one.run for name, one in ours.items()}
            for run in runs.values():
                await run(MANY, min(pace.seconds, WARM_SECONDS))
            samples = await alternated(
                {name: partial(run, MANY, pace.seconds) for name, run in runs.items()}, pace.rounds
            )
            lost = [await one.lost() for one in ours.values()]
    except NoSlowDiskError as error:
        return msgspec.structs.replace(_ROW, absent=f"{error}.")
    if min(wait for rounds in samples.values() for one in rounds for wait in one.waits) < SLOW / 1_000_000:
        return msgspec.structs.replace(_ROW, absent="the library has no effect on a server here.")
    return msgspec.structs.replace(
        _ROW,
        figures=(
            *(Figure(what=name, rounds=ratios(samples[name], samples[_plain(name)])) for name in servers),
            count("acknowledged writes not found", tuple(lost)),
            *(Figure(what=name, rounds=rates(of), unit="/s") for name, of in samples.items()),
            *(
                Figure(what=f"{name}: longest wait", rounds=wait_ms(of, 1), unit="ms", at_most=True)
                for name, of in samples.items()
            ),
        ),
    )


def _plain(name: str) -> str:
    return f"{name}, the plain program"
