"""Transactions over several documents: all or nothing, in turn, durable when they return; and the turns of one."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from itertools import count, permutations
from random import Random
from typing import Any, Literal

import msgspec
import pytest

from sojourn.documents import Cause, Document, Documents
from sojourn.errors import (
    ClosedError,
    ConflictError,
    DocumentInvalidError,
    DocumentNotLoadedError,
    InvalidError,
    KeysChangedError,
    LeaseHeldError,
    LimitError,
    TransformInvalidError,
)
from sojourn.kernel import Attempt, Store
from sojourn.kernel.turns import Turns
from tests.capabilities import needs
from tests.documents.conftest import LEASE, HastyClock, Holder, Holders, Player, Players, pass_time, settled, until
from tests.documents.trading import BOTH, Gate, earn, gift, stored, together, trade

Told = list[tuple[str, int, int | None, Cause]]


@pytest.fixture
def table(players: Players) -> Documents[Player]:
    """Players in one partition, as those are who trade on every engine."""
    return players(partition=together)


@pytest.fixture
async def pair(table: Documents[Player]) -> tuple[Document[Player], Document[Player]]:
    """Ada, who has 10 coins, and Bo, who has none: loaded, and saved."""
    ada, bo = await table.load("ada"), await table.load("bo")
    await ada.update(earn(10))
    await ada.save()
    await bo.update(called("Bo"))
    await bo.save()
    return ada, bo


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)


def called(name: str) -> Callable[[Player], bool]:
    def change(draft: Player) -> bool:
        draft.items = [name]
        draft.bag = {"rope": 1}
        return True

    return change


def all_earn(coins: int) -> Callable[[dict[str, Player]], bool]:
    def change(drafts: dict[str, Player]) -> bool:
        for draft in drafts.values():
            draft.coins += coins
        return True

    return change


def traded(state: Mapping[str, Player]) -> dict[str, Player]:
    ada, bo = state["ada"], state["bo"]
    return {
        "ada": msgspec.structs.replace(ada, coins=ada.coins - 5),
        "bo": msgspec.structs.replace(bo, coins=bo.coins + 5),
    }


def alone(drafts: dict[str, Player]) -> bool:
    drafts["ada"].coins += 1
    return True


def refused(drafts: dict[str, Player]) -> bool:
    trade(drafts)
    return False


def idle(drafts: dict[str, Player]) -> bool:
    return True


def failing(drafts: dict[str, Player]) -> bool:
    trade(drafts)
    raise LookupError("no such bag")


def breaking(drafts: dict[str, Player]) -> bool:
    trade(drafts)
    drafts["bo"].coins = "many"  # type: ignore[assignment]
    return True


def adding(drafts: dict[str, Player]) -> bool:
    trade(drafts)
    drafts["eve"] = Player()
    return True


def dropping(drafts: dict[str, Player]) -> bool:
    trade(drafts)
    del drafts["bo"]
    return True


def same(state: Mapping[str, Player]) -> Mapping[str, Player]:
    return {key: Player(value.coins, list(value.items), dict(value.bag)) for key, value in state.items()}


def none_of_it(state: Mapping[str, Player]) -> Literal[False]:
    return False


def failing_state(state: Mapping[str, Player]) -> Mapping[str, Player]:
    raise LookupError("no such bag")


def broken_state(state: Mapping[str, Player]) -> Mapping[str, Player]:
    return {**traded(state), "bo": Player("many")}  # type: ignore[arg-type]


def wider_state(state: Mapping[str, Player]) -> Mapping[str, Player]:
    return {**traded(state), "eve": Player()}


def narrower_state(state: Mapping[str, Player]) -> Mapping[str, Player]:
    return {"ada": traded(state)["ada"]}


@pytest.mark.row("D-TI15", "D-TI25")
async def test_a_transaction_is_durable_when_it_returns(
    table: Documents[Player], pair: Sequence[Document[Player]], players: Players
) -> None:
    assert await table.transact(BOTH, trade)
    assert await stored(table) == [5, 5]
    assert await table.transact_immutable(BOTH, traded)
    assert await stored(table) == [0, 10]
    assert [document.value.coins for document in pair] == [0, 10]
    assert all(document.is_saved for document in pair)
    for document in pair:
        await document.unload()
    await table.close()
    again = players(partition=together)
    assert [(await again.load(key)).value.coins for key in BOTH] == [0, 10]


@pytest.mark.row("D-TI7")
async def test_of_two_keys_the_one_that_changed_is_saved_when_it_returns(
    table: Documents[Player], pair: Sequence[Document[Player]]
) -> None:
    ada, bo = pair
    before = bo.info.revision
    assert await table.transact(BOTH, alone)
    assert await stored(table) == [11, 0]
    assert ada.is_saved
    assert bo.info.revision == before


@pytest.mark.row("D-TI24")
async def test_a_transaction_over_one_key_is_durable_when_it_returns(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate
) -> None:
    ada, _ = pair
    assert await table.transact(["ada"], alone)
    assert await stored(table, "ada") == [11]
    assert await table.transact_immutable(["ada"], lambda _: {"ada": Player(12)})
    assert await stored(table, "ada") == [12]
    assert ada.is_saved
    await ada.save()
    assert len(gate.saves) == 2


@pytest.mark.row("D-TI7")
async def test_a_transaction_saves_what_was_changed_before_it(
    table: Documents[Player], pair: Sequence[Document[Player]]
) -> None:
    ada, bo = pair
    await ada.update(earn(1))
    await bo.update(earn(1))
    assert await table.transact(BOTH, trade)
    assert await stored(table) == [6, 6]
    assert ada.is_saved
    assert bo.is_saved


@pytest.mark.row("D-TI8", "D-TI12", "D-TI17", "D-TI27")
@pytest.mark.parametrize("immutable", [False, True])
async def test_a_transaction_that_changes_nothing_says_so_to_nobody(
    players: Players, gate: Gate, *, immutable: bool
) -> None:
    told: Told = []
    table = players(partition=together, changed_callbacks=[listener(told)])
    ada, bo = await table.load("ada"), await table.load("bo")
    told.clear()
    values = ada.value, bo.value
    assert await (table.transact_immutable(BOTH, same) if immutable else table.transact(BOTH, idle))
    assert ada.is_saved
    assert (ada.value, bo.value) == values
    assert ada.value is values[0]
    await table.close()
    assert not gate.saves
    assert not told


def listener(told: Told) -> Callable[[str, Player, Player | None, Cause], None]:
    def changed(key: str, new: Player, old: Player | None, cause: Cause) -> None:
        told.append((key, new.coins, None if old is None else old.coins, cause))

    return changed


@pytest.mark.row("D-TI11", "D-TI26")
@pytest.mark.parametrize("immutable", [False, True])
async def test_callbacks_hear_of_each_document_that_changed_once_it_is_stored(
    players: Players, *, immutable: bool
) -> None:
    told: Told = []
    table = players(partition=together, changed_callbacks=[listener(told)])
    for key in (*BOTH, "eve"):
        await table.load(key)
    told.clear()
    keys = (*BOTH, "eve")
    if immutable:
        await table.transact_immutable(keys, lambda state: {**state, **traded(state)})
    else:
        await table.transact(keys, trade)
    await until(lambda: len(told) >= 2)
    assert sorted(told) == [("ada", -5, 0, Cause.TRANSACTION), ("bo", 5, 0, Cause.TRANSACTION)]
    await table.close()
    assert len(told) == 2


@pytest.mark.row("D-TI3", "D-TI20")
async def test_a_transaction_over_a_document_that_is_not_loaded_can_be_refused(
    table: Documents[Player], gate: Gate
) -> None:
    await table.load("ada")
    with pytest.raises(DocumentNotLoadedError, match="bo"):
        await table.transact(BOTH, trade, unloaded="refuse")
    with pytest.raises(DocumentNotLoadedError, match="bo"):
        await table.transact_immutable(BOTH, traded, unloaded="refuse")
    assert table.loaded("ada").value.coins == 0
    assert not gate.saves


async def test_documents_that_are_not_loaded_are_leased_for_the_duration(table: Documents[Player]) -> None:
    assert await table.transact(BOTH, trade)
    assert await stored(table) == [-5, 5]
    for key in BOTH:
        assert await table.probe_lease(key) is None
        with pytest.raises(DocumentNotLoadedError):
            table.loaded(key)
    await table.load("ada")
    assert await table.transact_immutable(BOTH, traded)
    assert table.loaded("ada").value.coins == -10
    assert await table.probe_lease("bo") is None


async def test_leases_are_given_back_when_a_transaction_comes_to_nothing(table: Documents[Player]) -> None:
    for change in (refused, idle, failing, breaking, adding):
        (_,) = await asyncio.gather(table.transact(BOTH, change), return_exceptions=True)
        for key in BOTH:
            assert await table.probe_lease(key) is None
            assert await table.peek(key) is None


async def test_a_document_that_somebody_else_holds_is_waited_for(
    table: Documents[Player], holder: Holders, clock: HastyClock
) -> None:
    other = await holder(partition=together)
    bo = await other.players.load("bo")
    await bo.update(earn(1))
    with pytest.raises(LeaseHeldError):
        await table.transact(BOTH, trade, wait=0)
    assert await table.probe_lease("ada") is None
    trading = asyncio.create_task(table.transact(BOTH, trade, wait=5))
    await clock.until_sleeping(2)
    await bo.unload()
    assert await trading
    assert await stored(table) == [-5, 6]


@pytest.mark.row("D-TI4", "D-TI21")
async def test_a_transaction_after_close_is_refused(table: Documents[Player]) -> None:
    await table.close()
    with pytest.raises(ClosedError):
        await table.transact(BOTH, trade)
    with pytest.raises(ClosedError):
        await table.transact_immutable(BOTH, traded)


@pytest.mark.row("D-TI5", "D-TI6", "D-TI10", "D-TI18", "D-TI19", "D-TI22", "D-TI23")
@pytest.mark.parametrize(
    ("attempt", "error", "problem"),
    [
        (lambda table: table.transact(BOTH, breaking), DocumentInvalidError, "bo.*coins"),
        (lambda table: table.transact(BOTH, adding), KeysChangedError, "eve"),
        (lambda table: table.transact(BOTH, dropping), KeysChangedError, "bo"),
        (lambda table: table.transact(BOTH, failing), LookupError, "no such bag"),
        (lambda table: table.transact_immutable(BOTH, broken_state), DocumentInvalidError, "bo.*coins"),
        (lambda table: table.transact_immutable(BOTH, failing_state), LookupError, "no such bag"),
        (lambda table: table.transact_immutable(BOTH, wider_state), KeysChangedError, "eve"),
        (lambda table: table.transact_immutable(BOTH, narrower_state), KeysChangedError, "bo"),
    ],
)
async def test_a_transaction_that_cannot_hold_changes_nothing(
    table: Documents[Player],
    pair: Sequence[Document[Player]],
    gate: Gate,
    attempt: Callable[[Documents[Player]], Awaitable[bool]],
    error: type[Exception],
    problem: str,
) -> None:
    values = [document.value for document in pair]
    with pytest.raises(error, match=problem):
        await attempt(table)
    assert [document.value for document in pair] == values
    assert all(document.is_saved for document in pair)
    assert not gate.saves
    assert await table.transact(BOTH, trade)


@pytest.mark.row("D-TI10", "D-TI16")
@pytest.mark.parametrize("immutable", [False, True])
async def test_a_transaction_that_says_no_changes_nothing(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate, *, immutable: bool
) -> None:
    values = [document.value for document in pair]
    assert not await (table.transact_immutable(BOTH, none_of_it) if immutable else table.transact(BOTH, refused))
    assert [document.value for document in pair] == values
    assert not gate.saves


@pytest.mark.row("D-TI9", "D-PQ8")
async def test_an_update_during_a_transaction_comes_after_it(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate, store: Store
) -> None:
    _, bo = pair
    gate.shut()
    trading = asyncio.create_task(table.transact(BOTH, all_earn(10)))
    await gate.arrived.wait()
    updating = asyncio.create_task(bo.update(earn(5)))
    await settled(store)
    assert not updating.done()
    assert bo.value.coins == 0
    gate.open()
    assert await trading
    assert await updating
    assert bo.value.coins == 15
    assert await stored(table) == [20, 10]
    await bo.save()
    assert await stored(table) == [20, 15]


@pytest.mark.row("D-TI13", "D-TI14")
@pytest.mark.parametrize("keys", [BOTH, ("ada",)])
async def test_what_a_transaction_does_not_change_stays_the_same_object(
    table: Documents[Player], keys: Sequence[str]
) -> None:
    players = [await table.load(key) for key in keys]
    for player in players:
        await player.update(called("Ada"))
    before = [player.value for player in players]

    def pack(drafts: dict[str, Player]) -> bool:
        for draft in drafts.values():
            draft.pet.tricks.append("roll")
        return True

    assert await table.transact(keys, pack)
    for old, player in zip(before, players, strict=True):
        new = player.value
        assert new.pet.tricks == ["roll"]
        assert old.pet.tricks == []
        assert new.bag is old.bag
        assert new.items is old.items


@pytest.mark.row("D-TI1", "D-TI2", "D-TI25", "D-N5")
@pytest.mark.parametrize("arrives", [False, True], ids=["lost on its way", "answer lost"])
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "not loaded"])
async def test_a_server_killed_at_any_step_leaves_all_of_a_transaction_or_nothing(
    holder: Holders, clock: HastyClock, *, loaded: bool, arrives: bool
) -> None:
    heir = (await holder(partition=together)).players
    seen = list[tuple[int, int]]()
    for step in count():
        keys = (f"ada {step}", f"bo {step}")
        async with heir.open(keys[0]) as ada:
            await ada.update(earn(10))
        doomed = await holder(partition=together)
        if loaded:
            for key in keys:
                await doomed.players.load(key)
        survived = await killed(doomed, doomed.players.transact(keys, gift(*keys)), step, clock, arrives=arrives)
        found = [await heir.load(key) for key in keys]
        seen.append((found[0].value.coins, found[1].value.coins))
        for document in found:
            await document.unload()
            assert await heir.probe_lease(document.key) is None
        if survived:
            break
    assert len(seen) > 1
    assert set(seen) <= {(10, 0), (5, 5)}
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == (5, 5)


async def killed(
    doomed: Holder, work: Coroutine[Any, Any, object], commits: int, clock: HastyClock, *, arrives: bool
) -> bool:
    """Kill a server at one commit of its work, and let its leases end; say whether it had done the work before."""
    doomed.wire.break_after(commits, arrives=arrives)
    working = asyncio.create_task(work)
    await until(lambda: working.done() or doomed.wire.broken.is_set())
    working.cancel()
    async with clock.rushing():
        await doomed.crash()
    clock.advance(LEASE)
    return not doomed.wire.broken.is_set()


@pytest.mark.row("D-N8")
@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "not loaded"])
@pytest.mark.parametrize("tasks", [2, 8])
async def test_transactions_over_the_same_keys_in_any_order_all_come_through(
    players: Players, *, loaded: bool, tasks: int
) -> None:
    table = players(partition=together)
    keys = ("ada", "bo", "eve")
    for key in keys:
        player = await table.load(key)
        await player.update(earn(10))
        await (player.save if loaded else player.unload)()
    orders = [order[: 2 + number % 2] for number, order in zip(range(tasks), permutations(keys), strict=False)]

    done = await asyncio.gather(
        *(table.transact(order, gift(order[0], order[-1], 1)) for order in orders for _ in range(3))
    )
    assert all(done)
    expected = [10 + 3 * sum((order[-1] == key) - (order[0] == key) for order in orders) for key in keys]
    assert await stored(table, *keys) == expected


@pytest.mark.row("D-N8")
async def test_servers_that_trade_the_same_keys_in_opposite_orders_lose_nothing(
    holder: Holders, clock: HastyClock
) -> None:
    keys = ("ada", "bo", "eve")
    parties = [await holder(partition=together) for _ in range(2)]

    async def play(number: int) -> None:
        random = Random(number)  # noqa: S311  it must be repeatable
        for _ in range(5):
            giver, taker = random.sample(keys, 2)
            assert await parties[number].players.transact([giver, taker], gift(giver, taker), wait=20)

    await asyncio.gather(play(0), play(1))
    players = parties[0].players
    assert sum(await stored(players, *keys)) == 0
    for key in keys:
        assert await players.probe_lease(key) is None


async def test_documents_of_partitions_apart_trade_where_the_engine_can(players: Players, store: Store) -> None:
    apart = players()
    for key in BOTH:
        await apart.load(key)
    with needs(store, "cross_partition"):
        assert await apart.transact(BOTH, trade)
        assert await stored(apart) == [-5, 5]
    if not store.describe().cross_partition:
        assert [apart.loaded(key).value.coins for key in BOTH] == [0, 0]


async def test_a_transaction_inside_another_changes_memory_only_once_that_has_committed(
    table: Documents[Player], pair: Sequence[Document[Player]], store: Store
) -> None:
    ada, _ = pair

    async def within(tx: Attempt) -> bool:
        held = await table.transact(BOTH, trade, tx=tx)
        assert ada.value.coins == 10
        return held

    async def given_up(tx: Attempt) -> None:
        await table.transact(BOTH, trade, tx=tx)
        raise LookupError("not that way")

    with pytest.raises(LookupError):
        await store.run(given_up)
    assert await stored(table) == [10, 0]
    assert ada.value.coins == 10
    assert await store.run(within)
    assert await stored(table) == [5, 5]
    assert [document.value.coins for document in pair] == [5, 5]
    assert await table.transact(BOTH, trade)
    assert await stored(table) == [0, 10]


@pytest.mark.row("D-N7")
@pytest.mark.parametrize("keys", [(), [], ("ada", "bo", "ada"), "ada"], ids=["none", "no list", "one twice", "text"])
async def test_a_transaction_over_no_keys_or_one_twice_is_refused_at_once(
    table: Documents[Player], gate: Gate, keys: Sequence[str]
) -> None:
    with pytest.raises(InvalidError, match="keys"):
        await table.transact(keys, failing)
    assert not gate.saves


async def test_a_transaction_over_too_many_documents_is_refused(table: Documents[Player]) -> None:
    with pytest.raises(LimitError):
        await table.transact([f"player {number}" for number in range(101)], idle)


async def a_coroutine(drafts: dict[str, Player]) -> bool:
    return True


def a_number(drafts: dict[str, Player]) -> int:
    return 1


def nothing(drafts: dict[str, Player]) -> None:
    trade(drafts)


@pytest.mark.parametrize("change", [a_coroutine, a_number, nothing])
async def test_a_change_that_waits_or_does_not_say_yes_or_no_is_refused(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate, change: Any
) -> None:
    with pytest.raises(TransformInvalidError):
        await table.transact(BOTH, change)
    assert not gate.saves


@pytest.mark.row("D-TX-R1", "D-TX-R2")
async def test_readers_see_all_of_a_transaction_once_it_is_committed_and_nothing_before(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate, players: Players
) -> None:
    reader = players(partition=together)
    gate.shut()
    trading = asyncio.create_task(table.transact(BOTH, trade))
    await gate.arrived.wait()
    assert await stored(reader) == [10, 0]
    gate.open()
    assert await trading
    assert await stored(reader) == [5, 5]


@pytest.mark.row("D-PQ1")
async def test_a_key_nobody_works_on_has_no_turn(table: Documents[Player], gate: Gate) -> None:
    turns: Turns[str] = Turns()
    assert not turns.is_busy("ada")
    assert turns.queued("ada") == 0
    ada = await table.load("ada")
    await ada.save()
    assert not gate.saves


@pytest.mark.row("D-PQ2")
async def test_what_is_asked_of_a_document_happens_in_that_order(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate
) -> None:
    order: list[str] = []

    async def noted(name: str, work: Awaitable[object]) -> None:
        await work
        order.append(name)

    ada, _ = pair
    await ada.update(earn(1))
    gate.shut()
    async with asyncio.TaskGroup() as group:
        group.create_task(noted("save", ada.save()))
        await gate.arrived.wait()
        for number in range(3):
            group.create_task(noted(f"transaction {number}", table.transact(BOTH, trade)))
            await asyncio.sleep(0)
        gate.open()
    assert order == ["save", "transaction 0", "transaction 1", "transaction 2"]
    assert gate.most == 1
    assert await stored(table) == [-4, 15]


@pytest.mark.row("D-PQ3", "D-PQ7")
async def test_a_transaction_that_fails_lets_the_next_ones_through(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate
) -> None:
    gate.shut()
    first = asyncio.create_task(table.transact(["ada"], alone))
    await gate.arrived.wait()
    wrong = asyncio.create_task(table.transact(BOTH, failing))
    rest = [asyncio.create_task(table.transact([key], all_earn(1))) for key in BOTH for _ in range(2)]
    await asyncio.sleep(0)
    gate.open()
    assert await first
    with pytest.raises(LookupError):
        await wrong
    assert all(await asyncio.gather(*rest))
    assert await stored(table) == [13, 2]


@pytest.mark.row("D-PQ4")
async def test_a_transaction_cancelled_while_it_waits_never_runs(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate, store: Store
) -> None:
    ran: list[str] = []

    def noted(drafts: dict[str, Player]) -> bool:
        ran.append("ran")
        return trade(drafts)

    gate.shut()
    first = asyncio.create_task(table.transact(["ada"], alone))
    await gate.arrived.wait()
    waiting = asyncio.create_task(table.transact(BOTH, noted))
    last = asyncio.create_task(table.transact(BOTH, trade))
    await settled(store)
    waiting.cancel()
    gate.open()
    assert await first
    assert await last
    assert waiting.cancelled()
    assert not ran
    assert await stored(table) == [6, 5]


@pytest.mark.row("D-PQ5", "D-N6")
async def test_a_transaction_of_ten_minutes_stays_alone_with_its_documents(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate, holder: Holders, clock: HastyClock
) -> None:
    """Unlike the reference's queue, whose turn ends after 60 s while the work goes on."""
    ada, _ = pair
    rival = await holder(partition=together)
    gate.shut()
    trading = asyncio.create_task(table.transact(BOTH, trade))
    await gate.arrived.wait()
    behind = asyncio.create_task(table.transact(["ada"], alone))
    saving = asyncio.create_task(ada.save())
    await pass_time(rival.store, clock, timedelta(minutes=10))
    assert not trading.done()
    assert not behind.done()
    with pytest.raises(LeaseHeldError):
        await rival.players.load("ada", wait=0)
    assert ada.value.coins == 10
    gate.open()
    assert await trading
    assert await behind
    await saving
    assert gate.most == 1
    assert await stored(table) == [6, 5]


@pytest.mark.row("D-PQ6")
async def test_a_transaction_over_two_busy_documents_comes_after_both(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate, store: Store
) -> None:
    gate.shut()
    before = [asyncio.create_task(table.transact([key], all_earn(1))) for key in BOTH]
    await gate.arrived.wait()
    seen: list[tuple[int, int]] = []

    def looking(drafts: dict[str, Player]) -> bool:
        seen.append((drafts["ada"].coins, drafts["bo"].coins))
        return trade(drafts)

    both = asyncio.create_task(table.transact(BOTH, looking))
    await settled(store)
    assert not seen
    gate.open()
    assert all(await asyncio.gather(*before))
    assert await both
    assert seen == [(11, 1)]


async def test_an_edit_that_meets_a_transaction_is_a_conflict_and_changes_nothing(
    table: Documents[Player], pair: Sequence[Document[Player]], gate: Gate
) -> None:
    """Its block may have read what the transaction changes."""
    ada, _ = pair

    async def edit(during: Callable[[], Awaitable[object]]) -> None:
        with ada.edit() as draft:
            draft.coins += 1
            await during()

    with pytest.raises(ConflictError):
        await edit(lambda: table.transact(BOTH, trade))
    gate.shut()
    trading = asyncio.create_task(table.transact(BOTH, trade))
    with pytest.raises(ConflictError):
        await edit(gate.arrived.wait)
    gate.open()
    assert await trading
    assert [document.value.coins for document in pair] == [0, 10]
