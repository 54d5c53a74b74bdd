"""Who holds a document: one holder at a time, followed when it crashes, asked when it lives, told when it lost."""

import asyncio
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.documents import Document, EndReason
from sojourn.errors import InvalidError, LeaseHeldError, LeaseLostError, UnavailableError
from sojourn.kernel import Key, Leases, Store
from sojourn.testing import ManualClock
from tests.documents.conftest import LEASE, RENEWAL, Holders, Player, Players, in_time, pass_time, settled, until

ADA = Key("t.lease", "ada", "")


def pay(draft: Player) -> bool:
    draft.coins += 100
    return True


@pytest.mark.row("D-LK1")
async def test_a_free_document_is_held_by_who_loads_it(players: Players) -> None:
    documents = players(holder="first")
    player = await documents.load("ada", wait=0)
    assert not player.closed
    info = await documents.probe_lease("ada")
    assert info is not None
    assert info.holder == "first"


@pytest.mark.row("D-LK2")
async def test_a_second_loader_is_refused_when_its_wait_is_over(
    store: Store, players: Players, holder: Holders, clock: ManualClock
) -> None:
    """35 seconds are longer than a lease: the holder lives, and renews."""
    player = await players(holder="first").load("ada")
    second = await holder()
    loading = asyncio.create_task(second.players.load("ada", wait=timedelta(seconds=35)))
    await settled(store)
    await pass_time(store, clock, LEASE)
    assert not loading.done()
    with pytest.raises(LeaseHeldError, match="first"):
        await in_time(store, clock, loading)
    assert not player.closed


@pytest.mark.row("D-LK3")
async def test_a_loader_waits_no_longer_than_a_crashed_holders_lease(
    players: Players, holder: Holders, clock: ManualClock
) -> None:
    first = await holder(lease=timedelta(seconds=2))
    await first.players.load("ada")
    await first.crash()
    loading = asyncio.create_task(players().load("ada"))
    await clock.until_sleeping()
    clock.advance(timedelta(milliseconds=1_999))
    await clock.until_sleeping()
    assert not loading.done()
    clock.advance(timedelta(milliseconds=1))
    assert not (await loading).closed


@pytest.mark.row("D-LK4")
async def test_each_load_has_a_token_of_its_own(players: Players) -> None:
    documents, tokens = players(), []
    for _ in range(3):
        async with documents.open("ada"):
            info = await documents.probe_lease("ada")
            assert info is not None
            tokens.append(info.token)
    assert tokens == sorted(set(tokens))


@pytest.mark.row("D-LK5")
async def test_it_is_held_at_every_moment_between_two_renewals(
    players: Players, store: Store, clock: ManualClock
) -> None:
    documents = players(lease=timedelta(seconds=10))
    player = await documents.load("ada")
    for _ in range(40):
        clock.advance(timedelta(milliseconds=100))
        await settled(store)
        assert not player.closed
        assert await documents.probe_lease("ada") is not None


@pytest.mark.row("D-LK6")
async def test_it_is_held_past_many_renewals(players: Players, store: Store, clock: ManualClock) -> None:
    documents = players()
    player = await documents.load("ada")
    before = await documents.probe_lease("ada")
    await pass_time(store, clock, 5 * LEASE)
    after = await documents.probe_lease("ada")
    assert before is not None
    assert after is not None
    assert (after.token, after.since) == (before.token, before.since)
    assert after.expires_at > before.expires_at
    assert not player.closed


@pytest.mark.row("D-LK7", "D-LK10")
async def test_giving_back_is_one_commit_and_nothing_after_it(
    store: Store, holder: Holders, clock: ManualClock
) -> None:
    first = await holder()
    player = await first.players.load("ada")
    first.wire.clear()
    await player.unload()
    await player.unload()
    await first.players.unload("ada")
    clock.advance(3 * LEASE)
    await settled(store)
    assert len(first.wire.sent) == 1
    assert clock.sleepers == 0


@pytest.mark.row("D-LK8", "D-LK10")
async def test_a_lease_that_was_given_back_is_not_held(store: Store) -> None:
    leases = Leases(store)
    lease = await leases.acquire(ADA, holder="first")
    await lease.release()
    await lease.release()
    assert not lease.is_held
    assert await leases.probe(ADA) is None


@pytest.mark.row("D-LK9")
async def test_who_waits_gets_it_when_it_is_given_back(store: Store, players: Players, holder: Holders) -> None:
    """No clock moves here: the loader is woken by the unload."""
    player = await players().load("ada")
    second = await holder()
    loading = asyncio.create_task(second.players.load("ada"))
    await settled(store)
    await player.update(pay)
    await player.unload()
    assert (await loading).value == Player(coins=100)


@pytest.mark.row("D-LK11", "D-LK12")
async def test_a_lease_that_ends_unrenewed_is_told_once(store: Store, holder: Holders, clock: ManualClock) -> None:
    lost: list[tuple[str, Player | None]] = []
    ended: list[tuple[str, EndReason]] = []
    first = await holder(
        on_lease_lost=lambda key, unsaved: lost.append((key, unsaved)),
        on_session_end=lambda key, reason: ended.append((key, reason)),
    )
    player = await first.players.load("ada")
    await player.update(pay)
    first.wire.cut()
    await pass_time(store, clock, LEASE)
    await until(lambda: lost and ended)
    assert player.closed
    first.wire.resume()
    first.wire.clear()
    clock.advance(3 * LEASE)
    await settled(store)
    assert lost == [("ada", Player(coins=100))]
    assert ended == [("ada", EndReason.LEASE_LOST)]
    assert first.wire.sent == [], "it is renewed no more"
    with pytest.raises(LeaseLostError) as caught:
        await player.save()
    assert caught.value.unsaved == Player(coins=100)


@pytest.mark.row("D-LK13")
async def test_a_lease_that_was_taken_is_told_once(
    store: Store, players: Players, holder: Holders, clock: ManualClock
) -> None:
    lost: list[tuple[str, Player | None]] = []
    first = await holder(on_lease_lost=lambda key, unsaved: lost.append((key, unsaved)))
    player = await first.players.load("ada")
    thief = players()
    assert await thief.revoke("ada") is not None
    await thief.load("ada")
    await until(lambda: lost)
    assert player.closed
    first.wire.clear()
    await pass_time(store, clock, RENEWAL)
    assert lost == [("ada", None)], "all was saved"
    assert first.wire.sent == []
    with pytest.raises(LeaseLostError):
        await player.update(pay)
    await first.players.unload("ada")


@pytest.mark.row("D-LK14")
async def test_a_short_wait_for_a_held_document_is_a_refusal(
    store: Store, players: Players, holder: Holders, clock: ManualClock
) -> None:
    await players(holder="first").load("ada")
    second = await holder()
    with pytest.raises(LeaseHeldError, match="first"):
        await second.players.load("ada", wait=0)
    loading = asyncio.create_task(second.players.load("ada", wait=2))
    await settled(store)
    assert not loading.done()
    with pytest.raises(LeaseHeldError, match="first"):
        await in_time(store, clock, loading)


@pytest.mark.row("D-LK15")
@pytest.mark.parametrize("steps", range(0, 24, 2))
async def test_a_load_that_is_cancelled_at_any_step_leaves_it_free(
    players: Players, holder: Holders, steps: int
) -> None:
    first = players()
    loading = asyncio.create_task(first.load("ada"))
    for _ in range(steps):
        await asyncio.sleep(0)
    loading.cancel()
    (outcome,) = await asyncio.gather(loading, return_exceptions=True)
    if isinstance(outcome, Document):
        await outcome.unload()
    second = await holder()
    assert not (await second.players.load("ada")).closed
    await second.players.unload("ada")
    assert not (await first.load("ada", wait=0)).closed


@pytest.mark.row("D-LK16", "D-LK17")
async def test_everybody_who_waits_for_a_loss_is_told_and_who_went_away_is_not(store: Store) -> None:
    leases = Leases(store)
    lease = await leases.acquire(ADA, holder="first")
    told: list[int] = []

    async def wait(number: int) -> None:
        await lease.lost.wait()
        told.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await leases.revoke(ADA)
    await asyncio.gather(*waiting, return_exceptions=True)
    await settled(store)
    assert told == [0, 2, 3]


@pytest.mark.row("D-LK19", "D-LK20")
async def test_nobody_holds_what_has_ended_or_never_was(players: Players, holder: Holders, clock: ManualClock) -> None:
    first = await holder()
    await first.players.load("ada")
    await first.crash()
    documents = players()
    assert await documents.probe_lease("ada") is not None
    clock.advance(LEASE)
    assert await documents.probe_lease("ada") is None
    assert await documents.probe_lease("nobody's") is None


@pytest.mark.row("D-LK21")
async def test_a_store_that_is_away_never_says_that_nobody_holds_it(holder: Holders) -> None:
    first = await holder()
    await first.players.load("ada")
    first.wire.cut()
    with pytest.raises(UnavailableError):
        await first.players.probe_lease("ada")


@pytest.mark.row("D-LK22")
async def test_of_five_loaders_one_wins(players: Players, holder: Holders) -> None:
    processes = [await holder() for _ in range(3)]
    rivals = [each.players for each in processes] + [players(), players()]
    found = await asyncio.gather(*(each.load("ada", wait=0) for each in rivals), return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Document"] + 4 * ["LeaseHeldError"]


async def test_a_holder_that_is_asked_saves_and_hands_over(players: Players, holder: Holders) -> None:
    """No clock moves here."""
    ended: list[tuple[str, EndReason]] = []
    player = await players(on_session_end=lambda key, reason: ended.append((key, reason))).load("ada")
    await player.update(pay)
    second = await holder()
    assert (await second.players.load("ada", ask=True)).value == Player(coins=100)
    await until(lambda: ended)
    assert ended == [("ada", EndReason.HANDED_OVER)]
    assert player.closed


async def test_the_application_decides_what_becomes_of_a_request(
    store: Store, players: Players, holder: Holders
) -> None:
    asked: list[Document[Player]] = []
    player = await players(on_hand_over=asked.append).load("ada")
    second = await holder()
    loading = asyncio.create_task(second.players.load("ada", ask=True))
    await until(lambda: asked)
    await settled(store)
    assert asked == [player]
    assert not player.closed
    assert not loading.done()
    await player.unload()
    assert not (await loading).closed


async def test_a_holder_that_hangs_is_fenced_by_who_may_steal(
    store: Store, players: Players, holder: Holders, clock: ManualClock
) -> None:
    """It renews its lease, and answers no request."""
    lost: list[tuple[str, Player | None]] = []
    player = await players(
        on_hand_over=lambda _: None, on_lease_lost=lambda key, unsaved: lost.append((key, unsaved))
    ).load("ada")
    await player.update(pay)
    second = await holder()
    loading = asyncio.create_task(second.players.load("ada", wait=60, ask=True, steal_after=3))
    await settled(store)
    assert not loading.done()
    stolen = await in_time(store, clock, loading)
    assert stolen.value == Player()
    await until(lambda: lost)
    with pytest.raises(LeaseLostError) as caught:
        await player.save()
    assert caught.value.unsaved == Player(coins=100)
    assert lost == [("ada", Player(coins=100))]
    await stolen.update(pay)
    await stolen.save()
    assert await second.players.peek("ada") == Player(coins=100)


async def test_the_default_wait_is_longer_than_the_lease_of_a_holder_that_crashed_just_now(
    store: Store, players: Players, holder: Holders, clock: ManualClock
) -> None:
    """The reference fails about half of these loads."""
    first = await holder()
    await first.players.load("ada")
    await pass_time(store, clock, LEASE)
    await first.crash()
    loading = asyncio.create_task(players().load("ada"))
    assert not (await in_time(store, clock, loading)).closed


async def test_a_lease_shorter_than_the_least_is_refused(players: Players) -> None:
    with pytest.raises(InvalidError, match="lease"):
        players(lease=limits.LEASE_TTL_MIN / 2)


async def test_a_holder_that_cannot_reach_the_store_does_not_hammer_it(
    store: Store, players: Players, holder: Holders
) -> None:
    """No clock moves here: what is asked after the first failure is asked without a pause."""
    first = await holder()
    await first.players.load("ada")
    await settled(store)
    first.wire.clear()
    first.wire.cut()
    asking = asyncio.create_task(players().load("ada", ask=True))  # of which the holder is told, and cannot look
    await settled(store)
    await until(lambda: first.wire.asked)
    await settled(store)
    asking.cancel()
    assert len(first.wire.asked) + len(first.wire.sent) < 6
