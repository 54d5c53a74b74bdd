"""The example's functions, in this process."""

import asyncio
import signal
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from sojourn.errors import ApplicationError, InvalidError, SessionRevokedError
from sojourn.functions import Bound
from sojourn.testing import ManualClock
from sojourn.visits import visitor_of
from tests.capabilities import needs

from .conftest import Load, issue, seen


@pytest.fixture
async def shop(load: Load) -> ModuleType:
    return await load("examples.shop", "SHOP_STORE")  # type: ignore[no-any-return]  # a module imported by name


@pytest.fixture
def bound(shop: ModuleType) -> Bound:
    return shop.functions.bind(shop.store)  # type: ignore[no-any-return]  # a module imported by name has no types


async def test_of_two_buyers_one_gets_the_last_one(shop: ModuleType, bound: Bound) -> None:
    """Proves that two who check out at once cannot both have it, and that the loser keeps the basket."""
    buyers = [await issue(shop), await issue(shop)]
    for buyer in buyers:
        for sku in ("lantern", "mug"):
            await bound.run(shop.add, session=buyer, sku=sku)
    buying = [asyncio.ensure_future(bound.run(shop.check_out, session=buyer)) for buyer in buyers]
    await asyncio.wait(buying)
    with needs(shop.store, "cross_partition"):
        with pytest.raises(ApplicationError, match="Storm lantern: nothing left"):
            await asyncio.gather(*buying)
        held = [(await bound.run(shop.view, session=buyer)).basket.items for buyer in buyers]
        assert sorted(held, key=len) == [{}, {"lantern": 1, "mug": 1}]


async def test_an_order_that_cannot_be_filled_takes_nothing(shop: ModuleType, bound: Bound) -> None:
    """Proves that a checkout is one transaction: what it had taken before it was refused stands on the shelf again."""
    buyer = await issue(shop)
    await bound.run(shop.add, session=buyer, sku="pears", count=3)
    await bound.run(shop.add, session=buyer, sku="lantern", count=2)
    with pytest.raises(ApplicationError, match="only 1 left"):
        await bound.run(shop.check_out, session=buyer)
    seen = await bound.run(shop.view, session=buyer)
    assert (seen.left["pears"], seen.left["lantern"]) == (60, 1)


async def test_each_hour_the_shelves_are_full_again(shop: ModuleType, bound: Bound, clock: ManualClock) -> None:
    """Proves that the example never runs dry: the delivery comes on the hour, and whoever watches sees it."""
    buyer = await issue(shop)
    watching = bound.watch(shop.view, session=buyer)
    await bound.schedules.step()  # from now on it is due
    await bound.run(shop.add, session=buyer, sku="lantern")
    with needs(shop.store, "cross_partition"):
        await bound.run(shop.check_out, session=buyer)
        await seen(watching, lambda view: view.left["lantern"] == 0)
        clock.advance(timedelta(hours=1))
        for _ in range(2):
            await bound.schedules.step()  # the clock strikes, and the delivery comes
        await seen(watching, lambda view: view.left["lantern"] == 1)


async def test_parallel_changes_of_one_basket_all_count(shop: ModuleType, bound: Bound, clock: ManualClock) -> None:
    """Proves that no click is lost to another, and that the basket tells how many writes there were."""
    buyer = await issue(shop)
    async with clock.rushing():  # who meets a rival more than once pauses
        await asyncio.gather(*(bound.run(shop.add, session=buyer, sku="mug") for _ in range(30)))
        await asyncio.gather(*(bound.run(shop.mark, session=buyer) for _ in range(10)))
    basket = await bound.run(shop.add, session=buyer, sku="mug", count=-40)
    assert (basket.items, basket.writes) == ({}, 41)


async def test_a_repeated_request_counts_once(shop: ModuleType, bound: Bound) -> None:
    """Proves what the page's kill button relies on."""
    buyer = await issue(shop)
    first = await bound.run(shop.add, session=buyer, request_id="again", sku="map")
    assert await bound.run(shop.add, session=buyer, request_id="again", sku="map") == first
    assert (await bound.run(shop.view, session=buyer)).basket == first


async def test_signing_out_everywhere_ends_the_sessions_of_one_name(shop: ModuleType, bound: Bound) -> None:
    """Proves that the caller's session goes too, and that of another name stays."""
    here, there, other = await issue(shop, "ada"), await issue(shop, "ada"), await issue(shop, "grace")
    assert set(await bound.run(shop.signed_in, session=here)) == {here.id, there.id}
    assert await bound.run(shop.sign_out_everywhere, session=here) == 2
    for gone in (here, there):
        with pytest.raises(SessionRevokedError):
            await bound.run(shop.mark, session=gone)
    await bound.run(shop.mark, session=other)


@pytest.mark.parametrize(
    ("function", "arguments", "sentence"),
    [
        ("add", {"sku": "yacht"}, "There is no such thing in this shop."),
        ("add", {"sku": "mug", "count": 100}, "There is no such thing in this shop."),
        ("check_out", {}, "Your basket is empty."),
        ("sign_in", {"name": "  "}, "Please give a name of at most 40 letters."),
        ("sign_in", {"name": "x" * 41}, "Please give a name of at most 40 letters."),
        ("sign_in", {"name": "a\x07b"}, "Please give a name of at most 40 letters."),
        ("sign_out_everywhere", {}, "You are not signed in."),
    ],
)
async def test_a_refusal_is_a_sentence(
    shop: ModuleType, bound: Bound, function: str, arguments: dict[str, Any], sentence: str
) -> None:
    """Proves that what the page shows of a refusal can be read."""
    visitor = await issue(shop)
    with pytest.raises(ApplicationError) as refused:
        await bound.run(getattr(shop, function), session=visitor, **arguments)
    assert str(refused.value) == sentence


async def test_a_number_must_be_a_number(shop: ModuleType, bound: Bound) -> None:
    """Proves that arguments are checked against the annotations, before anything is written."""
    with pytest.raises(InvalidError, match="count"):
        await bound.run(shop.add, session=await issue(shop), sku="mug", count="2")


async def test_kill_server_kills_this_very_process(
    shop: ModuleType, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the signal is the one that no process can catch."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(shop.os, "kill", lambda process, how: sent.append((process, how)))
    await bound.run(shop.kill_server, session=await issue(shop))
    assert sent == [(shop.os.getpid(), signal.SIGKILL)]


async def test_a_visitor_sees_what_was_noted_and_has_it_forgotten(shop: ModuleType, bound: Bound) -> None:
    """Proves that the log is found by the browser's own id only, and that nothing is left of who is forgotten."""
    ada, bob = "a" * 22, "b" * 22
    session = await issue(shop)
    for secret, sku in ((ada, "mug"), (ada, "map"), (bob, "pears")):
        await shop.visits.track_user_action(visitor_of(secret), "add", sku)
    log = await bound.run(shop.log, visitor=ada)
    assert [(deed.action, deed.sku) for deed in log] == [("add", "map"), ("add", "mug")]
    assert await bound.run(shop.log, visitor=visitor_of(ada)) == [], "what is listed opens nothing"
    assert await bound.run(shop.here) == 2
    assert await bound.run(shop.forget, session=session, visitor=ada) > 0
    assert await bound.run(shop.log, visitor=ada) == []
    assert await bound.run(shop.here) == 1
    with pytest.raises(InvalidError, match="visitor"):
        await bound.run(shop.log, visitor="somebody")
