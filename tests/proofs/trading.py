"""A process that trades between documents that nobody holds, at random and without end, and says each trade."""

import asyncio
import random
import sys
import time
from collections.abc import Mapping
from datetime import timedelta

import sojourn
from sojourn.documents import Documents
from sojourn.kernel import Store

BOXES = ("a", "b", "c", "d")
EACH = 100
LEASE = timedelta(seconds=2)


def boxes(store: Store) -> Documents[int]:
    """Boxes that hold a number each; together, so that every engine can commit two of them at once."""
    return Documents(store, "boxes", schema=int, template=EACH, lease=LEASE, partition=lambda _: "table")


async def main(url: str, seed: str) -> None:
    """Move a number from one box to another, again and again; each is leased for as long as that takes."""
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    async with sojourn.open(url) as store:
        traded = boxes(store)
        while True:
            began, (giver, taker), count = time.monotonic(), chance.sample(BOXES, 2), chance.randint(1, 9)

            def move(
                held: Mapping[str, int], giver: str = giver, taker: str = taker, count: int = count
            ) -> dict[str, int]:
                return {giver: held[giver] - count, taker: held[taker] + count}

            assert await traded.transact_immutable([giver, taker], move)
            print(began, giver, taker, flush=True)  # noqa: T201  this is what its parent reads


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
