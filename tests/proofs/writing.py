"""A process that writes the same number to two keys in each commit, and says each one that is committed.

It begins behind the number that it finds, and goes on until it is killed, or for so many commits.
"""

import asyncio
import sys

import sojourn
from sojourn.kernel import Attempt, Key, Put, Store, Transaction

ONE, OTHER = Key("live", "p", "one"), Key("live", "p", "other")


def say(*words: object) -> None:
    """Say it at once, whatever becomes of this process."""
    print(*words, flush=True)  # noqa: T201  this is what its parent reads


async def found(tx: Attempt, key: Key) -> int:
    """The number at a key."""
    record = await tx.get(key)
    return 0 if record is None else int(record.value)


async def write(store: Store, times: int) -> None:
    """Write one number after the other."""
    first = await store.run(lambda tx: found(tx, ONE)) + 1
    for number in range(first, first + times):
        value = b"%d" % number
        await store.commit(Transaction(writes=(Put(ONE, value), Put(OTHER, value))))
        say(number)


async def main(url: str, times: str) -> None:
    """Write as often as one is told."""
    async with sojourn.open(url) as store:
        await write(store, int(times))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
