"""Documents as part of a transaction of the store: all of it or nothing, and memory follows once it is committed."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.documents import Cause, Document, Documents, EndReason
from sojourn.errors import (
    CommitUnknownError,
    ConflictError,
    DocumentInvalidError,
    DocumentNotLoadedError,
    DocumentUnknownError,
    InvalidError,
    LeaseHeldError,
    LeaseLostError,
    UnavailableError,
)
from sojourn.kernel import Attempt, Key, Put, Reads, Store, Transaction, ids
from sojourn.sessions import Sessions
from tests.capabilities import needs
from tests.documents.conftest import HastyClock, Holders, Player, Players, insist, players_over, settled, until
from tests.documents.trading import BOTH, TABLE, Gate, earn, gift, stored, together, trade

NOTE = Key("t", TABLE, "note")
"""A record of another face, kept beside the documents."""

Told = list[tuple[str, int, int | None, Cause]]


@pytest.fixture
def told() -> Told:
    """What `changed_callbacks` were told: key, coins, coins before, cause."""
    return []


@pytest.fixture
def table(players: Players, told: Told) -> Documents[Player]:
    """Players in one partition, so that they trade on every engine."""

    def tell(key: str, new: Player, old: Player | None, cause: Cause) -> None:
        told.append((key, new.coins, None if old is None else old.coins, cause))

    return players(partition=together, changed_callbacks=[tell])


@pytest.fixture
async def ada(table: Documents[Player], told: Told) -> Document[Player]:
    """Ada, who has 10 coins and 5 more that are not saved."""
    ada = await table.load("ada")
    await ada.update(earn(10))
    await ada.save()
    await ada.update(earn(5))
    told.clear()
    return ada


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)


async def note(store: Store) -> bytes | None:
    """The other face's record as it stands."""
    (record,) = (await store.read(Reads((NOTE,)))).records.keys
    return None if record is None else record.value


async def soon(work: Awaitable[object]) -> None:
    """Wait for work that needs no time by the clock: what hangs is a failure, and not a run that hangs."""
    async with asyncio.timeout(20):
        await work


async def is_free(document: Document[Player]) -> None:
    """See that nothing still has the document's turn, and that it takes changes."""
    await soon(document.update(earn(1)))
    await soon(document.save())
    assert document.is_saved


# == Together or not at all


async def test_a_save_is_committed_with_what_else_the_transaction_writes(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    async def work(tx: Attempt) -> None:
        tx.put(NOTE, b"1")
        await ada.save(tx=tx)
        assert not ada.is_saved, "nothing is committed yet"

    await store.run(work)
    assert ada.is_saved
    assert ada.last_saved is ada.value
    assert await stored(table, "ada") == [15]
    assert await note(store) == b"1"
    assert len(gate.saves) == 1
    assert ada.info.revision == (await table.history("ada")).items[0].revision
    await is_free(ada)


async def test_what_raises_afterwards_saves_nothing(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    problem = LookupError("not that way")

    async def work(tx: Attempt) -> None:
        tx.put(NOTE, b"1")
        await table.save("ada", tx=tx)
        await table.transact(["ada", "bo"], trade, tx=tx)
        await table.send("ada", "hello", tx=tx)
        raise problem

    with pytest.raises(LookupError) as caught:
        await store.run(work)
    assert caught.value is problem
    assert not ada.is_saved
    assert ada.value.coins == 15
    assert await stored(table) == [10, -1]
    assert await note(store) is None
    assert (await table.export("ada"))["messages"] == []
    await is_free(ada)


async def test_documents_and_sessions_change_in_one_commit(players: Players, store: Store) -> None:
    """Who signs in is given something, on an engine that commits over partitions."""
    # Two that are apart: a session, whose id is chance, could stand beside a single one.
    sessions, table = Sessions(store), players()

    async def sign_in(tx: Attempt) -> str:
        issued = await sessions.issue("ada", tx=tx)
        await table.transact(BOTH, trade, tx=tx)
        return issued.token

    with needs(store, "cross_partition"):
        token = await store.run(sign_in)
        assert (await sessions.resolve(token)).subject == "ada"
    assert await stored(table) == ([-5, 5] if store.describe().cross_partition else [-1, -1])


async def test_twice_in_one_attempt_the_second_sees_the_first_and_both_are_one_save(
    table: Documents[Player], ada: Document[Player], store: Store, told: Told
) -> None:
    async def work(tx: Attempt) -> None:
        assert await table.transact(BOTH, trade, tx=tx)
        assert await table.transact_immutable(["ada"], lambda values: {"ada": Player(values["ada"].coins * 2)}, tx=tx)
        await ada.save(tx=tx)
        assert await table.transact(BOTH, gift("bo", "ada", 1), tx=tx)
        peeked = await table.peek("ada", tx=tx)
        assert peeked is not None
        assert peeked.coins == 21
        assert ada.value.coins == 15, "memory changes after the commit"
        assert told == []

    await store.run(work)
    assert await stored(table) == [21, 4]
    assert ada.value.coins == 21
    assert told == [("ada", 21, 15, Cause.TRANSACTION)]
    assert [version.cause for version in (await table.history("ada")).items] == [Cause.TRANSACTION, Cause.UPDATE]
    assert await table.probe_lease("bo") is None
    await is_free(ada)


async def test_side_by_side_in_one_attempt_neither_is_lost(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    async def work(tx: Attempt) -> None:
        earns = [table.transact([key], lambda drafts: earn(1)(*drafts.values()), tx=tx) for key in BOTH * 2]
        await asyncio.gather(*earns)

    await soon(store.run(work))
    assert await stored(table) == [17, 2]
    assert ada.value.coins == 17


async def test_a_transaction_that_says_no_lets_the_rest_be_committed(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    async def work(tx: Attempt) -> bool:
        tx.put(NOTE, b"1")
        return await table.transact(BOTH, lambda _: False, tx=tx)

    assert await store.run(work) is False
    assert await note(store) == b"1"
    assert await stored(table) == [10, -1]
    assert not ada.is_saved
    await is_free(ada)


async def test_a_transaction_that_writes_nothing_at_all_ends_well(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    assert await store.run(lambda tx: table.transact(BOTH, lambda _: False, tx=tx)) is False
    assert await store.run(lambda tx: table.transact(BOTH, lambda _: True, tx=tx)) is True
    assert gate.saves == []
    assert ada.value.coins == 15
    await is_free(ada)


async def test_a_document_that_is_not_loaded_is_saved_at_the_time_of_its_transaction(
    table: Documents[Player], store: Store, clock: HastyClock
) -> None:
    await table.transact(["bo"], lambda drafts: earn(1)(drafts["bo"]))
    clock.advance(timedelta(hours=1))
    await store.run(lambda tx: table.transact(["bo"], lambda drafts: earn(1)(drafts["bo"]), tx=tx))
    new, old = (await table.history("bo")).items
    (info,) = (await table.list()).items
    assert new.saved_at - old.saved_at >= timedelta(hours=1)
    assert info.saved_at is not None
    assert abs(new.saved_at - info.saved_at) < timedelta(minutes=1)


async def test_saving_what_is_saved_writes_nothing(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    await ada.save()
    gate.saves.clear()
    await store.run(lambda tx: ada.save(tx=tx))
    assert gate.saves == []
    await is_free(ada)


async def test_a_draft_that_breaks_the_schema_leaves_all_as_it_was(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    def overdraw(drafts: dict[str, Player]) -> bool:
        drafts["bo"].coins = 1
        drafts["ada"].coins = "many"  # type: ignore[assignment]
        return True

    async def work(tx: Attempt) -> None:
        tx.put(NOTE, b"1")
        await table.transact(BOTH, overdraw, tx=tx)

    with pytest.raises(DocumentInvalidError, match="coins"):
        await store.run(work)
    assert await note(store) is None
    assert await stored(table) == [10, -1]
    await is_free(ada)


async def test_what_an_attempt_catches_does_not_take_part(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    async def work(tx: Attempt) -> None:
        tx.put(NOTE, b"1")
        with pytest.raises(ZeroDivisionError):
            await table.transact(BOTH, lambda drafts: drafts["ada"].coins // 0 == 0, tx=tx)
        await table.transact(["bo"], lambda drafts: earn(1)(drafts["bo"]), tx=tx)

    await store.run(work)
    assert await note(store) == b"1"
    assert await stored(table) == [10, 1]


async def test_a_message_is_sent_with_the_transaction_and_once(table: Documents[Player], store: Store) -> None:
    async def work(tx: Attempt) -> tuple[bool, bool]:
        tx.put(NOTE, b"1")
        return await table.send("ada", "one", id="1", tx=tx), await table.send("ada", "two", id="1", tx=tx)

    assert await store.run(work) == (True, False)
    assert await store.run(lambda tx: table.send("ada", "three", id="1", tx=tx)) is False
    assert await waiting_for(table, "ada") == ["one"]


async def waiting_for(table: Documents[Player], key: str) -> list[object]:
    """The bodies of the messages that wait for a document, as an export shows them."""
    waiting = (await table.export(key)).get("messages", [])
    return [message["body"] for message in waiting]


async def test_a_rollback_is_committed_with_the_transaction_and_fences_the_holder_out(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    revision = ada.info.revision
    assert revision is not None
    await ada.save()

    async def work(tx: Attempt) -> int | None:
        tx.put(NOTE, b"1")
        return await table.rollback("ada", revision=revision, tx=tx)

    assert await store.run(work) is None
    assert await note(store) == b"1"
    assert await stored(table, "ada") == [10]
    await until(lambda: ada.closed)
    with pytest.raises(LeaseLostError):
        await ada.update(earn(1))


async def test_a_rollback_that_is_given_up_leaves_the_holder_alone(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    revision = ada.info.revision
    assert revision is not None

    async def work(tx: Attempt) -> None:
        await table.rollback("ada", revision=revision, tx=tx)
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(work)
    with pytest.raises(DocumentUnknownError):
        await store.run(lambda tx: table.rollback("nobody", revision=1, tx=tx))
    await settled(store)
    await is_free(ada)


@pytest.mark.parametrize("first", ["the change", "the rollback"])
async def test_a_rollback_and_a_change_of_one_document_in_one_transaction_are_refused(
    table: Documents[Player], ada: Document[Player], store: Store, first: str
) -> None:
    revision = ada.info.revision
    assert revision is not None

    async def work(tx: Attempt) -> None:
        if first == "the rollback":
            await table.rollback("ada", revision=revision, tx=tx)
        await table.transact(["ada"], half, tx=tx)
        await table.rollback("ada", revision=revision, tx=tx)

    with pytest.raises(InvalidError, match="tx"):
        await store.run(work)
    assert await stored(table, "ada") == [10]
    await is_free(ada)


async def test_a_peek_shows_what_stands_in_the_store_and_guards_it(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    runs: list[int] = []

    async def work(tx: Attempt) -> None:
        found = await table.peek("ada", tx=tx)
        assert found is not None
        if not runs:
            await ada.save()
        runs.append(found.coins)
        tx.put(NOTE, str(found.coins).encode())

    await store.run(work)
    assert runs == [10, 15]
    assert await note(store) == b"15"
    assert await store.run(lambda tx: table.peek("bo", tx=tx)) is None


# == Conflicts and lost answers


async def test_a_conflict_runs_the_work_again_and_changes_memory_once(
    table: Documents[Player], ada: Document[Player], store: Store, told: Told
) -> None:
    runs: list[int] = []

    async def work(tx: Attempt) -> None:
        found = await tx.get(NOTE)
        if not runs:
            await store.commit(Transaction(ids.new(), writes=(Put(NOTE, b"rival"),)))
        runs.append(ada.value.coins)
        await table.transact(BOTH, trade, tx=tx)
        tx.put(NOTE, b"" if found is None else found.value + b" seen")

    await store.run(work)
    assert runs == [15, 15]
    assert await stored(table) == [10, 5]
    assert ada.value.coins == 10
    assert await note(store) == b"rival seen"
    assert told == [("ada", 10, 15, Cause.TRANSACTION)]
    assert len([version async for version in table.history("ada")]) == 2
    await is_free(ada)


async def test_between_two_attempts_others_have_their_turn(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    """What waited for the first attempt is done before the second, which sees it."""
    has_joined = asyncio.Event()

    async def update() -> None:
        await has_joined.wait()
        await ada.update(earn(1))

    async def work(tx: Attempt) -> None:
        await tx.get(NOTE)
        await table.transact(["ada"], lambda drafts: earn(100)(drafts["ada"]), tx=tx)
        if not has_joined.is_set():
            has_joined.set()
            await settled(store)
            await store.commit(Transaction(ids.new(), writes=(Put(NOTE, b"rival"),)))
        tx.put(NOTE, b"1")

    updating = asyncio.create_task(update())
    await store.run(work)
    await updating
    assert ada.value.coins == 116
    assert await stored(table, "ada") == [116]


@pytest.mark.parametrize("is_kept", [True, False], ids=["answer lost", "commit lost"])
async def test_a_lost_answer_is_asked_for_again_and_nothing_is_doubled(
    holder: Holders, clock: HastyClock, *, is_kept: bool
) -> None:
    first = await holder(partition=together)
    ada = await first.players.load("ada")

    async def work(tx: Attempt) -> None:
        await first.players.transact(BOTH, gift("bo", "ada"), tx=tx)
        if is_kept:
            first.wire.losses = limits.REPEAT_ATTEMPTS - 1
        else:
            first.wire.drops = limits.REPEAT_ATTEMPTS - 1

    with clock.hasty():
        await first.store.run(work)
    assert ada.value.coins == 5
    assert await stored(first.players) == [5, -5]
    assert len([version async for version in first.players.history("ada")]) == 1
    await is_free(ada)


@pytest.mark.parametrize("is_kept", [True, False], ids=["answer lost", "commit lost"])
async def test_a_document_nobody_can_say_what_it_is_is_given_up_and_handed_over_once(
    holder: Holders, clock: HastyClock, *, is_kept: bool
) -> None:
    lost: list[tuple[str, Player | None]] = []
    ended: list[tuple[str, EndReason]] = []
    first = await holder(
        partition=together,
        on_lease_lost=lambda key, unsaved: lost.append((key, unsaved)),
        on_session_end=lambda key, reason: ended.append((key, reason)),
    )
    ada, cy = await first.players.load("ada"), await first.players.load("cy")
    await ada.update(earn(1))

    async def work(tx: Attempt) -> None:
        await first.players.transact(["cy"], lambda _: False, tx=tx)
        await first.players.transact(BOTH, gift("bo", "ada"), tx=tx)
        if is_kept:
            first.wire.losses = limits.REPEAT_ATTEMPTS
        else:
            first.wire.drops = limits.REPEAT_ATTEMPTS

    with clock.hasty(), pytest.raises(CommitUnknownError):
        await first.store.run(work)
    assert ada.closed
    with pytest.raises(LeaseLostError) as caught:
        await ada.save()
    assert caught.value.unsaved == Player(coins=1)
    assert lost == [("ada", Player(coins=1))]
    assert ended == [("ada", EndReason.LEASE_LOST)]
    assert await stored(first.players) == ([6, -5] if is_kept else [-1, -1])
    await is_free(cy)


async def test_after_a_save_in_doubt_a_document_takes_part_all_the_same(holder: Holders, clock: HastyClock) -> None:
    """The save holds, and its holder does not know yet: the transaction finds out."""
    first = await holder(partition=together)
    ada = await first.players.load("ada")
    await ada.update(earn(1))
    first.wire.losses = limits.REPEAT_ATTEMPTS * limits.SAVE_ATTEMPTS
    with clock.hasty(), pytest.raises(CommitUnknownError):
        await ada.save()
    first.wire.losses = 0
    with clock.hasty():
        assert await first.store.run(lambda tx: first.players.transact(BOTH, gift("ada", "bo"), tx=tx))
    assert await stored(first.players) == [-4, 5]
    assert ada.value.coins == -4
    await is_free(ada)


async def test_what_was_acknowledged_under_faults_is_there_and_once(faulty_store: Store, clock: HastyClock) -> None:
    """Coins are conserved between a document that is loaded and one that is not, and the note counts each move."""
    documents = players_over(faulty_store, partition=together)
    ada = await insist_on_loading(documents, clock)
    moves = 0

    async def move(tx: Attempt) -> None:
        found = await tx.get(NOTE)
        await documents.transact(BOTH, trade, tx=tx)
        tx.put(NOTE, str(1 + int(found.value if found else 0)).encode())

    for _ in range(120):
        try:
            await faulty_store.run(move)
            moves += 1
        except CommitUnknownError:
            moves = int(await insist(lambda: note(faulty_store)) or 0)
            ada = await insist_on_loading(documents, clock)
        except (UnavailableError, LeaseHeldError, LeaseLostError):  # nothing was written
            if ada.closed:
                ada = await insist_on_loading(documents, clock)
        counted = int(await insist(lambda: note(faulty_store)) or 0)
        assert counted == moves
        assert ada.value.coins == -5 * moves
        if moves:
            assert await insist(lambda: stored(documents)) == [-5 * moves, 5 * moves]
    assert moves > 60


async def insist_on_loading(documents: Documents[Player], clock: HastyClock) -> Document[Player]:
    while True:
        try:
            return await insist(lambda: documents.load("ada", wait=0))
        except LeaseHeldError:
            clock.advance(timedelta(seconds=10))
        except LeaseLostError:
            continue


# == What others see and do meanwhile


async def test_whoever_wants_the_document_meanwhile_waits(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    gate.shut()
    running = asyncio.create_task(store.run(lambda tx: table.transact(["ada"], half, tx=tx)))
    await gate.arrived.wait()
    updating = asyncio.create_task(ada.update(earn(1)))
    reading = asyncio.create_task(ada.get())
    keyed = asyncio.create_task(table.update_immutable("ada", lambda value: Player(value.coins + 10)))
    trading = asyncio.create_task(table.transact(BOTH, trade))
    await settled(store)
    with pytest.raises(ConflictError), ada.edit() as draft:
        draft.coins = 0
    assert not any(task.done() for task in (running, updating, reading, keyed, trading))
    assert ada.value.coins == 15
    gate.open()
    assert await running
    assert await updating
    assert (await reading).coins >= 7
    assert await keyed
    assert await trading
    await ada.save()
    assert await stored(table) == [7 + 1 + 10 - 5, 5]


def half(drafts: dict[str, Player]) -> bool:
    drafts["ada"].coins //= 2
    return True


async def test_an_unload_meanwhile_waits_and_stores_what_the_transaction_left(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    gate.shut()
    running = asyncio.create_task(store.run(lambda tx: table.transact(["ada"], half, tx=tx)))
    await gate.arrived.wait()
    unloading = asyncio.create_task(table.unload("ada"))
    await settled(store)
    assert not unloading.done()
    gate.open()
    assert await running
    await unloading
    assert ada.closed
    assert await stored(table, "ada") == [7]
    assert await table.probe_lease("ada") is None


async def test_a_joined_transaction_waits_for_another_change_and_not_for_ever(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate, clock: HastyClock
) -> None:
    gate.shut()
    saving = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    running = asyncio.create_task(store.run(lambda tx: table.transact(["ada"], half, tx=tx)))
    await settled(store)
    clock.advance(limits.DOCUMENT_TURN / 2)
    await settled(store)
    assert not running.done()
    clock.advance(limits.DOCUMENT_TURN / 2)
    with pytest.raises(ConflictError):
        await running
    gate.open()
    await saving
    assert ada.value.coins == 15
    await is_free(ada)


async def test_two_that_wait_for_each_other_end_in_a_conflict(
    table: Documents[Player], ada: Document[Player], store: Store, clock: HastyClock
) -> None:
    await table.load("bo")
    both = asyncio.Barrier(2)

    def crosswise(first: str, second: str) -> Callable[[Attempt], Awaitable[None]]:
        async def work(tx: Attempt) -> None:
            await table.transact([first], lambda drafts: earn(1)(drafts[first]), tx=tx)
            await both.wait()
            await table.transact([second], lambda drafts: earn(1)(drafts[second]), tx=tx)

        return work

    running = [asyncio.create_task(store.run(work)) for work in (crosswise(*BOTH), crosswise(*reversed(BOTH)))]
    await settled(store)
    clock.advance(limits.DOCUMENT_TURN)
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert any(isinstance(outcome, ConflictError) for outcome in outcomes)
    assert all(outcome is None or isinstance(outcome, ConflictError) for outcome in outcomes)
    await is_free(ada)
    await is_free(table.loaded("bo"))


async def test_two_over_one_that_is_loaded_and_one_that_is_not_do_not_wait_for_each_other(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    """Each attempt would have one of the turns, and wait for the other: the document's, and that of the partition."""
    met = asyncio.Event()

    async def first(tx: Attempt) -> None:
        await tx.get(NOTE)
        tx.put(NOTE, b"1")
        if tx.number == 1:
            await store.commit(
                Transaction(writes=(Put(NOTE, b"a rival"),))
            )  # the next attempt has the partition's turn
            return
        met.set()
        await table.transact(["ada"], half, tx=tx)

    async def second(tx: Attempt) -> None:
        await table.transact(["ada"], half, tx=tx)
        await met.wait()
        await tx.get(Key("t", TABLE, "another"))
        await settled(store)

    running = [asyncio.create_task(store.run(work)) for work in (second, first)]
    await soon(asyncio.gather(*running))
    await is_free(ada)


@pytest.mark.parametrize("verb", ["update", "get", "save", "transact"])
async def test_a_verb_that_would_wait_for_its_own_transaction_is_refused(
    table: Documents[Player], ada: Document[Player], store: Store, verb: str
) -> None:
    """Without `tx` it could begin only when the work has ended that waits for it."""

    async def work(tx: Attempt) -> None:
        await table.transact(["ada"], half, tx=tx)
        if verb == "update":
            await ada.update(earn(1))
        elif verb == "get":
            await ada.get()
        elif verb == "save":
            await ada.save()
        else:
            await table.transact(["ada"], half)

    running = asyncio.create_task(store.run(work))
    await settled(store)
    is_over = running.done()
    running.cancel()
    (outcome,) = await asyncio.gather(running, return_exceptions=True)
    assert is_over, "it waits for itself"
    assert isinstance(outcome, InvalidError)
    await is_free(ada)


async def test_that_is_refused_also_where_the_document_joined_in_a_task_of_its_own(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    async def work(tx: Attempt) -> None:
        await asyncio.gather(table.transact(["ada"], half, tx=tx))
        await ada.get()

    with pytest.raises(InvalidError, match="tx"):
        await soon(store.run(work))
    await is_free(ada)


async def test_that_is_refused_also_after_a_transaction_within_the_transaction(players: Players, store: Store) -> None:
    apart = players()
    ada, bo = [await apart.load(key) for key in BOTH]

    async def work(tx: Attempt) -> None:
        await apart.transact(["ada"], lambda drafts: earn(1)(drafts["ada"]), tx=tx)
        await store.run(lambda inner: apart.transact(["bo"], lambda drafts: earn(1)(drafts["bo"]), tx=inner))
        await ada.get()

    with pytest.raises(InvalidError, match="tx"):
        await soon(store.run(work))
    assert (ada.value.coins, bo.value.coins) == (0, 1)
    await is_free(ada)
    await is_free(bo)


# == Documents that are not loaded here


async def test_what_is_not_loaded_takes_part_as_it_stands_and_leaves_no_lease(
    table: Documents[Player], store: Store, told: Told
) -> None:
    await store.run(lambda tx: table.transact(BOTH, trade, tx=tx))
    await store.run(lambda tx: table.transact(BOTH, trade, tx=tx))
    assert await stored(table) == [-10, 10]
    assert [await table.probe_lease(key) for key in BOTH] == [None, None]
    assert len([version async for version in table.history("bo")]) == 2
    assert told == []
    async with table.open("bo") as bo:
        assert bo.value.coins == 10


async def test_what_is_not_loaded_can_be_refused(table: Documents[Player], ada: Document[Player], store: Store) -> None:
    with pytest.raises(DocumentNotLoadedError, match="bo"):
        await store.run(lambda tx: table.transact(BOTH, trade, unloaded="refuse", tx=tx))
    assert await store.run(lambda tx: table.transact(["ada"], half, unloaded="refuse", tx=tx))
    assert await stored(table) == [7, -1]


async def test_what_somebody_else_holds_is_refused_at_once(
    table: Documents[Player], ada: Document[Player], holder: Holders, store: Store
) -> None:
    """No clock moves here."""
    second = await holder(partition=together, holder="second")
    bo = await second.players.load("bo")
    with pytest.raises(LeaseHeldError, match="bo"):
        await store.run(lambda tx: table.transact(BOTH, trade, tx=tx))
    assert await stored(table) == [10, -1]
    await is_free(ada)
    await is_free(bo)


async def test_what_somebody_takes_meanwhile_fails_the_attempt(
    table: Documents[Player], holder: Holders, store: Store
) -> None:
    second = await holder(partition=together)
    runs: list[int] = []

    async def work(tx: Attempt) -> None:
        runs.append(tx.number)
        await table.transact(BOTH, trade, tx=tx)
        if len(runs) == 1:
            await second.players.load("bo")

    with pytest.raises(LeaseHeldError):
        await store.run(work)
    assert runs == [1, 2]
    assert await stored(table) == [-1, -1]


async def test_what_somebody_had_and_saved_meanwhile_is_read_anew(
    table: Documents[Player], holder: Holders, store: Store
) -> None:
    second = await holder(partition=together)
    runs: list[int] = []

    async def work(tx: Attempt) -> None:
        runs.append(tx.number)
        await table.transact(BOTH, trade, tx=tx)
        if len(runs) == 1:
            async with second.players.open("bo") as bo:
                await bo.update(earn(100))

    await store.run(work)
    assert runs == [1, 2]
    assert await stored(table) == [-5, 105]


async def test_what_is_loaded_here_meanwhile_takes_part_under_its_lease(table: Documents[Player], store: Store) -> None:
    runs: list[int] = []

    async def work(tx: Attempt) -> None:
        runs.append(tx.number)
        await table.transact(BOTH, trade, tx=tx)
        if len(runs) == 1:
            await table.load("bo")

    await store.run(work)
    assert runs == [1, 2]
    assert await stored(table) == [-5, 5]
    assert table.loaded("bo").value.coins == 5
    await is_free(table.loaded("bo"))


async def test_old_data_that_may_have_to_be_imported_is_refused_and_what_was_erased_is_not(
    players: Players, store: Store
) -> None:
    table = players(partition=together, import_legacy=lambda _: {"coins": 50})
    with pytest.raises(DocumentNotLoadedError, match="ada"):
        await store.run(lambda tx: table.transact(BOTH, trade, tx=tx))
    for key in BOTH:
        async with table.open(key):
            pass
    await store.run(lambda tx: table.transact(BOTH, trade, tx=tx))
    assert await stored(table) == [45, 55]
    assert await table.erase("ada")
    await store.run(lambda tx: table.transact(BOTH, trade, tx=tx))
    assert await stored(table) == [-5, 60], "erased, it begins from the template"


async def test_documents_of_partitions_apart_join_where_the_engine_can(players: Players, store: Store) -> None:
    apart = players()
    with needs(store, "cross_partition"):
        assert await store.run(lambda tx: apart.transact(BOTH, trade, tx=tx))
    assert await stored(apart) == ([-5, 5] if store.describe().cross_partition else [-1, -1])


# == Losses and cancellation


@pytest.mark.parametrize("saved", [True, False], ids=["all saved", "unsaved"])
async def test_a_document_whose_lease_was_taken_says_so(
    table: Documents[Player], ada: Document[Player], store: Store, holder: Holders, *, saved: bool
) -> None:
    """Also when the holder has not been told yet: it is refused by the data, and not for ever tried again."""
    if saved:
        await ada.save()
    second = await holder(partition=together)
    runs: list[int] = []

    async def work(tx: Attempt) -> None:
        runs.append(tx.number)
        await ada.save(tx=tx)
        await table.transact(["ada"], half, tx=tx)
        if len(runs) == 1:
            await second.players.revoke("ada")

    with pytest.raises(LeaseLostError) as caught:
        await soon(store.run(work))
    assert caught.value.unsaved == (None if saved else Player(coins=15))
    assert len(runs) < limits.RUN_ATTEMPTS
    assert await stored(table, "ada") == [15 if saved else 10]
    assert ada.closed


@pytest.mark.parametrize("steps", range(24))
async def test_work_that_is_cancelled_at_any_step_leaves_the_document_usable(
    table: Documents[Player], ada: Document[Player], store: Store, steps: int
) -> None:
    running = asyncio.create_task(store.run(lambda tx: table.transact(["ada"], half, tx=tx)))
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await is_free(ada)
    coins = ada.value.coins
    assert coins in {16, 8}, "all of it or nothing"
    assert await stored(table, "ada") == [coins]


@pytest.mark.parametrize("steps", range(12))
async def test_work_that_is_cancelled_while_its_turn_comes_leaves_the_turn_to_others(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate, steps: int
) -> None:
    gate.shut()
    saving = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    running = asyncio.create_task(store.run(lambda tx: table.transact(["ada"], half, tx=tx)))
    await settled(store)
    gate.open()
    await until(lambda: ada.is_saved)
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, saving, return_exceptions=True)
    await is_free(ada)


async def test_cancelled_during_its_commit_the_documents_wait_for_the_outcome(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    gate.shut()
    running = asyncio.create_task(store.run(lambda tx: table.transact(["ada"], half, tx=tx)))
    await gate.arrived.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    gate.open()
    await settled(store)
    assert not ada.closed, "that its caller went away is no reason to lose a document"
    await is_free(ada)


async def test_what_joins_after_the_work_has_ended_blocks_nobody(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    """A task that the work left behind gets its turn when the attempt is over."""
    gate.shut()
    saving = asyncio.create_task(ada.save())
    await gate.arrived.wait()
    left: list[asyncio.Task[bool]] = []

    async def work(tx: Attempt) -> None:
        left.append(asyncio.create_task(table.transact(["ada"], half, tx=tx)))
        await settled(store)
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(work)
    gate.open()
    await saving
    await asyncio.gather(*left, return_exceptions=True)
    await is_free(ada)


async def test_an_attempt_that_is_kept_beyond_its_end_is_refused(
    table: Documents[Player], ada: Document[Player], store: Store
) -> None:
    kept: list[Attempt] = []

    async def work(tx: Attempt) -> None:
        kept.append(tx)

    await store.run(work)
    with pytest.raises(InvalidError, match="tx"):
        await table.transact(["ada"], half, tx=kept[0])
    await is_free(ada)


async def test_closing_meanwhile_waits_for_the_transaction(
    table: Documents[Player], ada: Document[Player], store: Store, gate: Gate
) -> None:
    gate.shut()
    running = asyncio.create_task(store.run(lambda tx: table.transact(["ada"], half, tx=tx)))
    await gate.arrived.wait()
    closing = asyncio.create_task(table.close())
    await settled(store)
    assert not closing.done()
    gate.open()
    assert await running
    await closing
    assert await stored(table, "ada") == [7]
    assert await table.probe_lease("ada") is None
