"""The example's stock room: in this process, and traded in by two servers of which one is killed."""

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from examples.shop.model import FULL, PRODUCTS, Rack
from sojourn.documents import Documents
from sojourn.errors import ApplicationError, InvalidError, LeaseHeldError
from sojourn.functions import Bound
from sojourn.testing import ManualClock
from tests.capabilities import needs

from .conftest import Load, issue

ROOT = Path(__file__).parents[2]
CARRIERS, MOVES = 6, 30


@pytest.fixture
async def shop(load: Load) -> ModuleType:
    return await load("examples.shop", "SHOP_STORE")  # type: ignore[no-any-return]  # a module imported by name


@pytest.fixture
def bound(shop: ModuleType) -> Bound:
    return shop.functions.bind(shop.store)  # type: ignore[no-any-return]  # a module imported by name has no types


UP: dict[str, Any] = {"source": "cellar", "target": "loft"}
DOWN: dict[str, Any] = {"source": "loft", "target": "cellar"}


async def lying(shop: ModuleType, bound: Bound, sku: str) -> tuple[int, int]:
    """How many lie in the cellar and in the loft."""
    racks = (await bound.run(shop.stock)).racks
    return racks["cellar"].items[sku], racks["loft"].items[sku]


async def test_what_is_carried_from_one_rack_is_on_the_other(shop: ModuleType, bound: Bound) -> None:
    """Proves that a move changes both documents, and that the same request sent again carries nothing more."""
    carrier = await issue(shop)
    assert await lying(shop, bound, "mug") == (12, 12)
    with needs(shop.store, "cross_partition"):
        for _ in range(2):
            await bound.run(shop.move, session=carrier, request_id="once", sku="mug", **UP)
            assert await lying(shop, bound, "mug") == (11, 13)
        await bound.run(shop.move, session=carrier, sku="mug", **DOWN)
        assert await lying(shop, bound, "mug") == (12, 12)


async def test_what_is_not_there_cannot_be_carried(shop: ModuleType, bound: Bound) -> None:
    """Proves that a refused move changes neither rack."""
    carrier = await issue(shop)
    with needs(shop.store, "cross_partition"):
        for _ in range(12):
            await bound.run(shop.move, session=carrier, sku="map", **UP)
        for sku in ("map", "yacht"):
            with pytest.raises(ApplicationError, match="none of that left in the cellar"):
                await bound.run(shop.move, session=carrier, sku=sku, **UP)
        assert await lying(shop, bound, "map") == (0, 24)


async def test_a_rack_is_one_of_the_two_and_is_not_carried_to_itself(shop: ModuleType, bound: Bound) -> None:
    """Proves that the form of the arguments is checked before anything is touched."""
    carrier = await issue(shop)
    wrong: list[dict[str, Any]] = [{"source": "cellar", "target": "street"}, {"source": "loft", "target": "loft"}]
    for way in wrong:
        with pytest.raises(InvalidError):
            await bound.run(shop.move, session=carrier, sku="mug", **way)


async def test_twenty_carry_at_once_and_each_counts(shop: ModuleType, bound: Bound, clock: ManualClock) -> None:
    """Proves that moves of the same racks, side by side, are made one after the other."""
    carriers = [await issue(shop) for _ in range(20)]
    with needs(shop.store, "cross_partition"):
        async with clock.rushing():  # who meets a rival more than once pauses
            moves = (bound.run(shop.move, session=one, sku="pears", **DOWN) for one in carriers[:8])
            await asyncio.gather(*moves, *(bound.run(shop.move, session=one, sku="map", **UP) for one in carriers[8:]))
        assert await lying(shop, bound, "pears") == (20, 4)
        assert await lying(shop, bound, "map") == (0, 24)


async def test_a_rack_that_is_held_here_changes_in_the_hand(shop: ModuleType, bound: Bound) -> None:
    """Proves that who holds a rack in this process sees a move once it is made, and saves nothing of before over it."""
    async with shop.racks.open("loft") as loft:
        with needs(shop.store, "cross_partition"):
            await bound.run(shop.move, session=await issue(shop), sku="mug", **UP)
            assert loft.value.items["mug"] == 13
            with loft.edit() as draft:
                draft.items["mug"] += 1
    if shop.store.describe().cross_partition:
        assert await lying(shop, bound, "mug") == (11, 14)


async def test_a_rack_that_is_held_elsewhere_is_left_alone(shop: ModuleType, bound: Bound) -> None:
    """Proves that a mutation does not wait for a holder, and changes neither rack."""
    elsewhere = Documents(shop.store, "racks", schema=Rack, template=FULL)
    async with elsewhere.open("loft"):
        with needs(shop.store, "cross_partition"), pytest.raises(LeaseHeldError):
            await bound.run(shop.move, session=await issue(shop), sku="mug", **UP)
    assert await lying(shop, bound, "mug") == (12, 12)


# -- Two servers ------------------------------------------------------------------------------------------------------


class Carrier:
    """A visitor who carries things at random; when the server is gone, by the other one, with the same request."""

    def __init__(self, name: int, client: httpx.AsyncClient, urls: list[str]) -> None:
        self.acknowledged = 0
        self.repeated = 0
        self.into_cellar: Counter[str] = Counter()
        self._name = name
        self._client = client
        self._urls = urls
        self._chance = random.Random(name)  # noqa: S311  repeatable by its seed

    async def enter(self) -> None:
        """Begin a session."""
        (await self._post("/session", {})).raise_for_status()

    async def carry(self) -> None:
        """Carry one thing, and note it when that is acknowledged."""
        sku, way = self._chance.choice([*PRODUCTS]), self._chance.choice([UP, DOWN])
        body = {
            "kind": "mutation",
            "function": "move",
            "request_id": f"{self._name}-{self.acknowledged}",
            "arguments": {"sku": sku, **way},
        }
        answer = (await self._post("/call", body)).json()
        if "result" in answer:
            self.into_cellar[sku] += 1 if way is DOWN else -1
        else:
            assert answer["error"]["code"] == "application", answer
        self.acknowledged += 1

    async def look(self) -> dict[str, Any]:
        """Return what lies on the racks."""
        answer = await self._post("/call", {"kind": "query", "function": "stock"})
        racks: dict[str, Any] = answer.json()["result"]["racks"]
        return racks

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        while True:
            url = self._urls[0]
            try:
                return await self._client.post(url + path, json=body, headers={"origin": url})
            except httpx.TransportError:
                self._urls.reverse()
                self.repeated += 1
                assert self.repeated <= MOVES, "there is no server"


@asynccontextmanager
async def server(url: str, folder: Path) -> AsyncIterator[tuple[Process, str]]:
    """The shop as a process of its own over this store, and where it is."""
    command = [sys.executable, "-m", "examples.shop", "--once", "--port", "0"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "SHOP_STORE": url}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=variables, stdout=PIPE)
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode().split()[5]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.mark.row("D-TI1", "D-N8")
@pytest.mark.parametrize("shared_url", ["sqlite", "postgres18", "valkey"], indirect=True)
async def test_one_of_two_servers_is_killed_and_everything_is_still_in_the_stock_room(
    shared_url: str, tmp_path: Path
) -> None:
    """Proves that each move that was acknowledged is there once, and nothing else; the other server goes on."""
    chance = random.Random(7)  # noqa: S311  repeatable by its seed
    async with AsyncExitStack() as stack:
        killed, first = await stack.enter_async_context(server(shared_url, tmp_path))
        going, second = await stack.enter_async_context(server(shared_url, tmp_path))
        carriers: list[Carrier] = []
        for name in range(CARRIERS):
            client = await stack.enter_async_context(httpx.AsyncClient())
            carriers.append(Carrier(name, client, [first, second] if name % 2 else [second, first]))
            await carriers[-1].enter()
        fatal = chance.randint(CARRIERS * MOVES // 4, CARRIERS * MOVES // 2)

        async def work(carrier: Carrier) -> None:
            for _ in range(MOVES):
                await carrier.carry()
                if sum(each.acknowledged for each in carriers) == fatal:
                    killed.kill()

        async with asyncio.TaskGroup() as group:
            for carrier in carriers:
                group.create_task(work(carrier))
        assert await killed.wait() == -signal.SIGKILL
        assert going.returncode is None
        assert sum(carrier.repeated for carrier in carriers) > 0
        racks = await carriers[0].look()
    for sku, count in FULL.items.items():
        moved = sum(carrier.into_cellar[sku] for carrier in carriers)
        assert (racks["cellar"]["items"][sku], racks["loft"]["items"][sku]) == (count + moved, count - moved)
