"""What a child process of the conformance suite does: open the store by the harness, then one small job.

    python -m sojourn.testing.child MODULE CLASS FILE ADDRESS JOB [COUNT]

It says "ready" once the store is open, and starts when it is told to by a line on its input. It stands outside the
suite's package so that a child need not import all of it.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from functools import reduce
from typing import Any, Final, Protocol

from sojourn.kernel import ids
from sojourn.kernel.attempt import Attempt
from sojourn.kernel.clock import Clock, SystemClock
from sojourn.kernel.engine import Engine
from sojourn.kernel.keys import Key
from sojourn.kernel.store import Store
from sojourn.kernel.transaction import Append, Put, Transaction, TransactionId

__all__ = ["COUNTER", "increment", "pair"]

COUNTER: Final = Key("conformance", "home", "counter")
_WORKERS = 8


class _Recipe(Protocol):
    """The part of a harness that a child needs."""

    def engine(self, address: str, clock: Clock) -> Engine: ...


def pair(name: str, transaction_id: TransactionId) -> Transaction:
    """Return the transaction that a child acknowledges by name and id: two records and a line of a log, or none."""
    key = Key("conformance", "home", name)
    return Transaction(
        transaction_id,
        writes=(
            Put(key._replace(item=f"left/{name}"), name.encode()),
            Put(key._replace(item=f"right/{name}"), name.encode()),
            Append(key.space, key.partition, "log/", name.encode()),
        ),
    )


async def increment(tx: Attempt) -> int:
    """Add one to the counter, and return what it then is."""
    record = await tx.get(COUNTER)
    number = 1 if record is None else int(record.value) + 1
    tx.put(COUNTER, b"%d" % number)
    return number


async def _acknowledge(store: Store, worker: int) -> None:
    number = 0
    while True:
        name, transaction_id = f"{worker}-{number:06}", ids.new()
        await store.commit(pair(name, transaction_id))
        _say(f"{name} {transaction_id.hex()}")
        number += 1


async def _work(store: Store, job: str, count: int) -> None:
    if job == "increment":
        for _ in range(count):
            _say(str(await store.run(increment)))
    elif job == "pair":
        await store.commit(pair(str(count), ids.new()))
    else:
        await asyncio.gather(*(_acknowledge(store, worker) for worker in range(_WORKERS)))


async def _main(module: str, name: str, file: str, address: str, job: str, count: str = "0") -> None:
    recipe = _recipe(module, name, file)
    async with Store(recipe.engine(address, SystemClock())) as store:
        _say("ready")
        if await asyncio.to_thread(sys.stdin.readline):
            await _work(store, job, int(count))


def _recipe(module: str, name: str, file: str) -> _Recipe:
    """Make the harness of the parent: its class by name, from a module that may be a test file outside any package."""
    try:
        home: Any = importlib.import_module(module)
    except ImportError:
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None
        assert spec.loader is not None
        home = sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(home)
    recipe: _Recipe = reduce(getattr, name.split("."), home)()
    return recipe


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
