"""What the example's pages watch, in this process: whoever changes it, it is told."""

from types import ModuleType

import pytest

from sojourn.functions import Bound
from sojourn.visits import visitor_of
from tests.capabilities import needs

from .conftest import Load, issue, seen

ADA = "a" * 22


@pytest.fixture
async def shop(load: Load) -> ModuleType:
    return await load("examples.shop", "SHOP_STORE")  # type: ignore[no-any-return]  # a module imported by name


@pytest.fixture
def bound(shop: ModuleType) -> Bound:
    return shop.functions.bind(shop.store)  # type: ignore[no-any-return]  # a module imported by name has no types


@pytest.mark.row("P-R14")
async def test_visitors_and_sessions_are_watched_like_baskets(shop: ModuleType, bound: Bound) -> None:
    """Proves that a query follows what it reads by the verbs of any face, with nothing done for it."""
    session = await issue(shop, "ada")
    basket = bound.watch(shop.view, session=session)
    here, log = bound.watch(shop.here), bound.watch(shop.log, visitor=ADA)
    places = bound.watch(shop.signed_in, session=session)
    assert (await anext(here), await anext(log), set(await anext(places))) == (0, [], {session.id})
    await bound.run(shop.add, session=session, sku="mug")
    await seen(basket, lambda view: view.basket.items == {"mug": 1})
    await shop.visits.track_user_action(visitor_of(ADA), "add", "mug")
    await seen(log, lambda deeds: [deed.sku for deed in deeds] == ["mug"])
    await seen(here, lambda count: count == 1)
    other = await issue(shop, "ada")
    await seen(places, lambda found: set(found) == {session.id, other.id})
    await shop.sessions.revoke(other.id)
    await seen(places, lambda found: set(found) == {session.id})
    await shop.visits.leave(visitor_of(ADA))
    await seen(here, lambda count: count == 0)


async def test_what_two_documents_hold_is_one_result(shop: ModuleType, bound: Bound) -> None:
    """Proves that who watches the stock room never sees a thing on the stairs."""
    carrier = await issue(shop)
    with needs(shop.store, "cross_partition"):
        async for stock in bound.watch(shop.stock):
            assert sum(rack.items["mug"] for rack in stock.racks.values()) == 24
            if stock.racks["cellar"].items["mug"] < 8:
                break
            await bound.run(shop.move, session=carrier, sku="mug", source="cellar", target="loft")


async def test_who_only_looks_shares_one_evaluation(shop: ModuleType, bound: Bound) -> None:
    """Proves that ten who look at the stock room cost one run for a change."""
    carrier = await issue(shop)
    watching = [bound.watch(shop.stock) for _ in range(10)]
    for each in watching:
        await anext(each)
    before = shop.store.live.evaluations
    with needs(shop.store, "cross_partition"):
        await bound.run(shop.move, session=carrier, sku="mug", source="cellar", target="loft")
        for each in watching:
            await seen(each, lambda stock: stock.racks["cellar"].items["mug"] == 11)
        assert shop.store.live.evaluations == before + 1
