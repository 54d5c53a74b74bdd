"""What this very process erases, rolls back or revokes: it knows at once that it no longer holds it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sojourn.documents import Document, Documents
from sojourn.documents.layout import Spaces
from sojourn.errors import DocumentNotLoadedError, LeaseLostError
from sojourn.kernel import Delete, Store, Write
from tests.documents.conftest import LEASE, HastyClock, Player, Players, until
from tests.documents.trading import Gate, earn

Take = Callable[[Documents[Player]], Awaitable[object]]
Lost = list[tuple[str, Player | None]]


@pytest.fixture
def lost() -> Lost:
    """What `on_lease_lost` was told."""
    return []


@pytest.fixture
def here(players: Players, lost: Lost) -> Documents[Player]:
    return players(on_lease_lost=lambda key, unsaved: lost.append((key, unsaved)))


@pytest.fixture
async def ada(here: Documents[Player]) -> Document[Player]:
    """Ada, who was stored with 5 coins and then 6, and has 7 that are not saved."""
    ada = await here.load("ada")
    for coins in (5, 1):
        await ada.update(earn(coins))
        await ada.save()
    await ada.update(earn(1))
    return ada


async def erase(here: Documents[Player]) -> object:
    return await here.erase("ada")


async def roll_back(here: Documents[Player]) -> object:
    _, old = (await here.history("ada")).items
    return await here.rollback("ada", revision=old.revision)


async def revoke(here: Documents[Player]) -> object:
    return await here.revoke("ada")


TAKERS = pytest.mark.parametrize(("take", "coins"), [(erase, 0), (roll_back, 5), (revoke, 6)])


@TAKERS
async def test_a_load_right_afterwards_is_of_what_is_stored(
    here: Documents[Player], ada: Document[Player], lost: Lost, take: Take, coins: int
) -> None:
    await take(here)
    again = await here.load("ada", wait=0)
    assert again is not ada
    assert again.value == Player(coins=coins)
    assert ada.closed
    assert lost == [("ada", Player(coins=7))]
    await again.update(earn(1))
    await again.unload()
    assert await here.peek("ada") == Player(coins=coins + 1)


@TAKERS
async def test_the_old_value_is_not_given_out_any_more_nor_changed(
    here: Documents[Player], ada: Document[Player], take: Take, coins: int
) -> None:
    await take(here)
    for verb in (lambda: here.get("ada"), lambda: here.update("ada", earn(1)), lambda: here.save("ada"), ada.get):
        with pytest.raises((LeaseLostError, DocumentNotLoadedError)):
            await verb()
    assert ada.closed
    assert await here.peek("ada") == (Player(coins=coins) if coins else None)


async def test_a_load_when_the_lease_is_over_and_nobody_has_said_so_is_a_new_one(
    here: Documents[Player], ada: Document[Player], clock: HastyClock
) -> None:
    clock.advance(LEASE)
    again = await here.load("ada", wait=0)
    assert ada.closed
    assert not again.closed
    assert again.value == Player(coins=6)


async def test_a_document_that_is_begun_while_it_is_erased_ends_with_that_and_is_free(
    here: Documents[Player], players: Players, store: Store, lost: Lost
) -> None:
    """An erasure writes a second tombstone over which a holder of the first could not save, for as long as it lives."""
    async with here.open("ada", subjects=["family"]) as ada:
        await ada.update(earn(5))
    gate = Gate(store, lambda transaction: any(_unmarks(write) for write in transaction.writes))
    gate.shut()
    erasing = asyncio.create_task(players().erase("ada"))
    await gate.arrived.wait()
    begun = await here.load("ada")
    await begun.update(earn(7))
    gate.open()
    assert await erasing
    with pytest.raises(LeaseLostError):
        await begun.save()
    await until(lambda: lost)
    assert lost == [("ada", Player(coins=7))]
    again = await players().load("ada", wait=0)
    await again.update(earn(1))
    await again.unload()
    assert await here.peek("ada") == Player(coins=1)


async def test_what_is_loaded_after_an_erasure_was_never_saved(here: Documents[Player], ada: Document[Player]) -> None:
    await here.erase("ada")
    again = await here.load("ada")
    assert again.info.revision is None
    assert again.info.saved_at is None
    await again.update(earn(1))
    await again.save()
    assert again.info.revision == (await here.history("ada")).items[0].revision
    assert again.info.saved_at is not None


def _unmarks(write: Write) -> bool:
    return isinstance(write, Delete) and write.key == Spaces("players").subject("family", "ada")
