"""The row about what dialogs leave behind: nothing, neither in the store nor in the process."""

import gc
import sys

import pytest

import sojourn
from sojourn import limits
from sojourn.kernel import Store
from sojourn.testing.dialogs import Desk, button
from tests.dialogs.conftest import Kind, Make, records
from tests.documents.conftest import HastyClock


async def live(desk: Desk, counter: Kind, dialogs: int) -> list[str]:
    """Start so many dialogs, click each, and end them in every way there is; return their ids."""
    made = list[str]()
    for number in range(dialogs):
        handle = await desk.start(counter, ttl=None if number % 2 else limits.DIALOG_TTL)
        made.append(handle.id)
        assert (await desk.dialogs.dispatch(button(handle.id, counter.more))).result == "kept"
        if number % 4 == 0:
            assert (await desk.dialogs.dispatch(button(handle.id, counter.done))).result == "ended"
        elif number % 2:
            await handle.end(result=1)
        desk.screen.views.clear()
        desk.screen.performed.clear()
    await desk.advance(limits.DIALOG_TTL)
    for dialog_id in made:
        await desk.handle(dialog_id).wait()
    counter.diary.clear()
    return made


async def forget(desk: Desk) -> None:
    """Let the time pass that ends and deliveries are remembered, and sweep."""
    await desk.advance(max(limits.DIALOG_RETAIN, limits.DIALOG_DELIVERY_KEEP))
    while (await desk.store.sweep()).more:
        pass


@pytest.mark.row("I-C82")
async def test_dialogs_leave_no_records(desk: Desk, counter: Kind, store: Store) -> None:
    made = await live(desk, counter, 40)
    assert all([await records(store, one) for one in made])
    await forget(desk)
    assert [record for one in made for record in await records(store, one)] == []
    assert [one async for one in desk.dialogs.list()] == []


TEN_THOUSAND = 10_000
WARM = 500


@pytest.mark.row("I-C82")
async def test_ten_thousand_dialogs_leave_nothing_in_the_process(make: Make, counter: Kind, clock: HastyClock) -> None:
    """Proves on memory, where store and process are one, that not one thing in ten dialogs stays allocated."""
    async with sojourn.open("memory:", clock=clock) as store, Desk(store, make) as desk:

        async def used(dialogs: int) -> tuple[int, int]:
            for _ in range(0, dialogs, WARM):
                await live(desk, counter, WARM)
                await forget(desk)
            gc.collect()
            return len(gc.get_objects()), sys.getallocatedblocks()

        await used(WARM)
        baseline = await used(WARM)
        after = await used(TEN_THOUSAND)
        growth = [found - before for found, before in zip(after, baseline, strict=True)]
        assert max(growth) < TEN_THOUSAND / 10
