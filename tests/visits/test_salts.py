"""Ids for visitors without cookies."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from sojourn.errors import UnavailableError
from sojourn.kernel import Committed, Put, Reads, Span, Store, Transaction
from sojourn.testing import ManualClock
from sojourn.visits import layout
from sojourn.visits.salt import Salts

from .conftest import Beside

DAY = timedelta(days=1)
ADDRESS, AGENT, SITE = "203.0.113.7", "Mozilla/5.0 Firefox/143.0", "shop.example"


@pytest.fixture
def salts(store: Store, midnight: None) -> Salts:
    return Salts(store)


@pytest.fixture
async def other(store: Store, midnight: None) -> AsyncIterator[Salts]:
    """The same in another process, whose own clock is a year off."""
    async with Store(Beside(store.engine, 0), clock=ManualClock(2_000_000_000_000)) as beside:
        yield Salts(beside)


@pytest.fixture
def midnight(clock: ManualClock) -> None:
    """Begin at the beginning of a day."""
    clock.advance(DAY - timedelta(milliseconds=clock.now()) % DAY)


async def salt_records(store: Store) -> list[bytes]:
    (page,) = (await store.read(Reads(spans=(Span("visit.salt", "salt"),)))).records.spans
    return [record.value for record in page]


async def goes_on(store: Store, visitor_id: str) -> None:
    """Keep the visit going for half an hour."""
    await store.commit(Transaction(writes=(Put(layout.idle(visitor_id), b"", ttl=timedelta(minutes=30)),)))


@pytest.mark.row("P-R20", "P-R21", "F-W8")
async def test_the_id_of_a_day_is_made_of_address_agent_and_site_alone(salts: Salts, other: Salts) -> None:
    made = await salts.visitor(ADDRESS, AGENT, SITE)
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert await salts.visitor(ADDRESS, AGENT, SITE) == made
    assert await other.visitor(ADDRESS, AGENT, SITE) == made, "whatever the other process's clock says"
    others = {
        await salts.visitor("203.0.113.8", AGENT, SITE),
        await salts.visitor(ADDRESS, "curl", SITE),
        await salts.visitor(ADDRESS, AGENT, "other.example"),
        await salts.visitor(ADDRESS + AGENT, "", SITE),
        await salts.visitor(AGENT, ADDRESS, SITE),
        await salts.visitor("\udcff", "\0", ""),
    }
    assert len(others - {made}) == 6


@pytest.mark.row("P-R20")
async def test_processes_that_start_a_day_at_once_agree_on_its_salt(store: Store, salts: Salts, other: Salts) -> None:
    ids = await asyncio.gather(*(which.visitor(ADDRESS, AGENT, SITE) for which in (salts, other) * 10))
    assert len(set(ids)) == 1
    assert len(await salt_records(store)) == 1


@pytest.mark.row("P-R20", "F-W8")
async def test_the_next_day_there_is_a_new_id_and_a_day_later_no_salt_that_links_the_two(
    store: Store, clock: ManualClock, salts: Salts
) -> None:
    first = await salts.visitor(ADDRESS, AGENT, SITE)
    (salt,) = await salt_records(store)
    clock.advance(DAY)
    second = await salts.visitor(ADDRESS, AGENT, SITE)
    assert second != first
    assert salt in await salt_records(store), "a visit may go on over midnight"
    clock.advance(DAY)
    assert salt not in await salt_records(store)
    assert await salts.visitor(ADDRESS, AGENT, SITE) not in {first, second}


@pytest.mark.row("P-R20")
@pytest.mark.parametrize("made_after", [timedelta(), timedelta(hours=9), DAY - timedelta(milliseconds=1)])
async def test_a_salt_ends_with_the_day_after_its_own_whenever_it_was_made(
    store: Store, clock: ManualClock, salts: Salts, made_after: timedelta
) -> None:
    clock.advance(made_after)
    await salts.visitor(ADDRESS, AGENT, SITE)
    clock.advance(2 * DAY - made_after - timedelta(milliseconds=1))
    assert len(await salt_records(store)) == 1
    clock.advance(timedelta(milliseconds=1))
    assert await salt_records(store) == []


@pytest.mark.row("P-R20")
async def test_a_salt_that_is_made_while_its_day_ends_lives_no_longer_than_any_other(
    store: Store, clock: ManualClock, salts: Salts, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.commit

    async def slow(transaction: Transaction) -> Committed:
        clock.advance(timedelta(milliseconds=2))
        return await commit(transaction)

    monkeypatch.setattr(store, "commit", slow)
    clock.advance(DAY - timedelta(milliseconds=1))
    await salts.visitor(ADDRESS, AGENT, SITE)
    assert len(await salt_records(store)) == 2, "that of the day which is over, and that of the new one"
    clock.advance(DAY - timedelta(milliseconds=5))
    assert len(await salt_records(store)) == 2
    clock.advance(timedelta(milliseconds=5))
    assert len(await salt_records(store)) == 1


@pytest.mark.row("P-R20", "F-W8")
async def test_a_visit_that_goes_on_over_midnight_keeps_its_id(
    store: Store, clock: ManualClock, salts: Salts, other: Salts
) -> None:
    clock.advance(DAY - timedelta(minutes=10))
    made, gone = await salts.visitor(ADDRESS, AGENT, SITE), await salts.visitor(ADDRESS, "gone", SITE)
    await goes_on(store, made)
    clock.advance(timedelta(minutes=20))
    assert await salts.visitor(ADDRESS, AGENT, SITE) == made
    assert await other.visitor(ADDRESS, AGENT, SITE) == made
    assert await salts.visitor(ADDRESS, "gone", SITE) != gone
    await goes_on(store, made)
    clock.advance(timedelta(minutes=20))
    assert await salts.visitor(ADDRESS, AGENT, SITE) == made
    clock.advance(timedelta(minutes=30))
    assert await salts.visitor(ADDRESS, AGENT, SITE) != made


@pytest.mark.row("P-R20", "F-W15")
async def test_nothing_of_address_or_agent_is_stored_or_logged(
    store: Store, salts: Salts, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        made = await salts.visitor(ADDRESS, AGENT, SITE)
    (salt,) = await salt_records(store)
    assert len(salt) == 32
    for secret in (ADDRESS, AGENT, salt.hex(), repr(salt)):
        assert secret not in caplog.text + made + repr(vars(salts))


@pytest.mark.row("P-R22")
async def test_a_flood_of_random_visitors_leaves_memory_and_store_as_they_were(store: Store, salts: Salts) -> None:
    await salts.visitor(ADDRESS, AGENT, SITE)
    memory, stored = dict(vars(salts)), await salt_records(store)
    assert len({await salts.visitor(str(number), AGENT, SITE) for number in range(1_000)}) == 1_000
    assert vars(salts) == memory
    assert await salt_records(store) == stored


async def test_a_store_that_is_away_is_said_to_be(store: Store, midnight: None) -> None:
    for faulty in (Beside(store.engine, 1, fail=1.0), Beside(store.engine, 1, lose=1.0)):
        async with Store(faulty) as beside:
            with pytest.raises(UnavailableError):
                await Salts(beside).visitor(ADDRESS, AGENT, SITE)
