"""`sojourn drain` and those it asks: what is handed over, what is waited for, and what is left alone."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import msgspec

import sojourn
from sojourn.cli.draining import hand_over, held
from sojourn.documents import Documents, EndReason
from sojourn.documents.layout import Place, name
from sojourn.kernel import Create, Lease, Leases, Store, Transaction
from sojourn.testing import ManualClock

from .conftest import Run


class Player(msgspec.Struct):
    """What the other process keeps."""

    coins: int = 0


LONG = timedelta(days=1)
PATIENCE = 60.0


async def take(
    store: Store, key: str, *, of: str = "players", holder: str = "server 7", ttl: timedelta = LONG
) -> Lease:
    await store.commit(Transaction(writes=(Create(name(of), b""),)))
    return await Leases(store).acquire(Place(of, key, key).lease, holder=holder, ttl=ttl)


async def give_back(lease: Lease) -> None:
    """Do what a holder does who is asked."""
    await lease.requested.wait()
    await lease.release()


async def test_what_is_held_is_found_by_name_and_by_holder(store: Store) -> None:
    for key, of, holder in (
        ("ada", "players", "game-7:12"),
        ("bob", "players", "game-8:3"),
        ("hall", "rooms", "game-7:9"),
    ):
        await take(store, key, of=of, holder=holder)

    async def keys(name: str | None, holder: str | None) -> set[str]:
        return {each.place.key for each in await held(store, name, holder)}

    assert await keys(None, None) == {"ada", "bob", "hall"}
    assert await keys("players", None) == {"ada", "bob"}
    assert await keys(None, "game-7:") == {"ada", "hall"}
    assert await keys("players", "game-7:") == {"ada"}


async def test_every_holder_is_asked_and_who_does_not_answer_is_told_of(store: Store, clock: ManualClock) -> None:
    ada, bob, eve = [await take(store, key) for key in ("ada", "bob", "eve")]
    asked = tuple(each for each in await held(store, None, None) if each.place.key != "eve")
    draining = asyncio.create_task(hand_over(store, asked, PATIENCE))
    await give_back(ada)
    await bob.requested.wait()
    await clock.until_sleeping(3)  # the drain, and those who keep the other two
    clock.advance(timedelta(seconds=PATIENCE))
    assert [each.place.key for each in await draining] == ["bob"]
    assert not eve.requested.is_set()
    assert bob.is_held


async def test_it_is_over_when_the_last_is_given_back(store: Store) -> None:
    leases = [await take(store, f"player_{number}") for number in range(5)]
    asked = await held(store, None, None)
    remaining, *_ = await asyncio.gather(hand_over(store, asked, PATIENCE), *map(give_back, leases))
    assert remaining == (), "and the clock stood still"
    assert await held(store, None, None) == ()


async def test_who_gets_a_document_then_is_not_asked(store: Store) -> None:
    ada, bob = await take(store, "ada"), await take(store, "bob")
    draining = asyncio.create_task(hand_over(store, await held(store, None, None), PATIENCE))
    await give_back(ada)
    again = await take(store, "ada", holder="server 8")
    await give_back(bob)
    assert await draining == ()
    assert not again.requested.is_set()
    assert [each.lease.holder for each in await held(store, None, None)] == ["server 8"]


async def test_a_holder_that_is_gone_is_waited_for_until_its_lease_ends(store: Store, clock: ManualClock) -> None:
    ada = await take(store, "ada", ttl=timedelta(seconds=30))
    await ada.stop_keeping()
    draining = asyncio.create_task(hand_over(store, await held(store, None, None), PATIENCE))
    await clock.until_sleeping(1)
    clock.advance(timedelta(seconds=29))
    await clock.until_sleeping(1)
    assert not draining.done()
    clock.advance(timedelta(seconds=1))
    assert await draining == ()


async def test_nothing_asked_for_is_nothing_waited_for(store: Store) -> None:
    assert await hand_over(store, (), PATIENCE) == ()


def test_a_drain_has_documents_of_another_process_saved_and_handed_over(url: str, run: Run) -> None:
    """Proves by the command itself that it asks, waits, says what was given back, and ends well."""
    with server(url, "ada", "bob"):
        drained = run("drain", "players", "--yes", "--json")
    assert (drained.code, drained.err) == (0, "")
    answer = json.loads(drained.out)
    assert ({each["key"] for each in answer["handed_over"]}, answer["remaining"]) == ({"ada", "bob"}, [])
    assert json.loads(run("documents", "show", "players", "bob", "--json").out)["value"] == {"coins": 1}
    with server(url, "ada"):
        assert run("drain", "--yes") == (0, "1 document handed over\n", "")


@contextmanager
def server(url: str, *keys: str) -> Iterator[None]:
    """Hold documents elsewhere, changed and not saved, until they are asked for."""
    taken = threading.Event()

    async def hold() -> None:
        left, done = set(keys), asyncio.Event()

        def ended(key: str, reason: EndReason) -> None:
            assert reason is EndReason.HANDED_OVER
            left.discard(key)
            if not left:
                done.set()

        async with sojourn.open(url) as store:
            players = Documents(store, "players", schema=Player, template=Player(), on_session_end=ended)
            for key in keys:
                with (await players.load(key)).edit() as draft:
                    draft.coins += 1
            taken.set()
            await done.wait()
            await players.close()

    holder = threading.Thread(target=asyncio.run, args=(hold(),))
    holder.start()
    try:
        assert taken.wait(30)
        yield
    finally:
        holder.join(30)
