"""What was acknowledged is there, and nothing is doubled, while answers are lost and commits are turned away.

And what is never answered ends all the same, and piles nothing up.
"""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from sojourn import limits
from sojourn.documents import Cause, Document, Documents
from sojourn.documents.callbacks import Callbacks
from sojourn.documents.kind import Kind
from sojourn.documents.layout import Place
from sojourn.documents.ledger import Ledger
from sojourn.documents.loading import new_facts
from sojourn.documents.migration import Chain
from sojourn.documents.model import Terms
from sojourn.documents.saving import Standing
from sojourn.documents.schema import Schema
from sojourn.errors import CommitUnknownError, LeaseHeldError, UnavailableError
from sojourn.kernel import Committed, Conflict, Leases, Put, Record, Store, Transaction
from sojourn.kernel.turns import Turns
from tests.documents.conftest import RENEWAL, HastyClock, Player, insist, pass_time, players_over, settled
from tests.documents.trading import is_save

ROUNDS = 12
KEYS = ("ada", "bob", "eve")


def collect(item: str) -> Callable[[Player], bool]:
    def change(draft: Player) -> bool:
        draft.items.append(item)
        return True

    return change


async def kept(documents: Documents[Player], key: str) -> Player | None:
    return await insist(lambda: documents.peek(key))


def lose_saves(store: Store) -> None:
    """From now on no save arrives, and nobody can know; as if documents were too large to be stored in time."""
    submit = store.submit

    async def losing(transaction: Transaction) -> Committed | Conflict:
        if is_save(transaction):
            raise CommitUnknownError("lost on purpose")
        return await submit(transaction)

    store.submit = losing  # type: ignore[method-assign]


async def test_a_transaction_that_is_never_answered_ends_though_its_leases_are_renewed(
    store: Store, clock: HastyClock
) -> None:
    documents = players_over(store)
    ada = await documents.load("ada")
    lose_saves(store)
    trading = asyncio.create_task(documents.transact(["ada"], lambda drafts: collect("rope")(drafts["ada"])))
    await pass_time(store, clock, 2 * limits.UNLOAD_PATIENCE)
    assert trading.done(), "the document is blocked, and so is closing"
    with pytest.raises(CommitUnknownError):
        await trading
    assert ada.closed
    await settled(store)
    assert await documents.probe_lease("ada") is None, "so that a late commit is refused"


async def test_a_save_in_doubt_keeps_nothing_as_large_as_the_document(store: Store) -> None:
    """One after another may be lost, and each is remembered until one is found to hold."""
    kind = kind_over(store)
    place = Place("players", "ada", "ada")
    ledger = Ledger(kind, place, Standing(None, new_facts(kind, 0, None), 0), now=0, is_saved=False, last_saved=None)
    saving = ledger.saving(Player(items=["x" * 1_000]), Cause.UPDATE)
    (head,) = (write for write in saving.writes if isinstance(write, Put) and write.key == place.document)
    ledger.doubt(saving)
    assert ledger.is_in_doubt(saving)
    kept = ledger.recognised(Record(place.document, head.value, 1))
    assert kept is not None
    assert kept.value is saving.value
    assert kept.writes == ()


def kind_over(store: Store) -> Kind[Player]:
    return Kind(
        store=store,
        terms=Terms(
            name="players",
            holder="server 1",
            lease=limits.DOCUMENT_LEASE,
            autosave=None,
            history=0,
            partition=None,
        ),
        schema=Schema(Player, Player()),
        chain=Chain(()),
        callbacks=Callbacks(),
        leases=Leases(store),
        turns=Turns(),
    )


@pytest.mark.row("D-ST15", "D-SE2", "D-N2")
async def test_every_save_that_was_acknowledged_is_there_once(faulty_store: Store, clock: HastyClock) -> None:
    documents = players_over(faulty_store)
    player = await load(documents, "ada", clock)
    items: list[str] = []
    for number in range(3 * ROUNDS):
        items.append(str(number))
        await player.update(collect(str(number)))
        await insist(player.save)
        assert player.is_saved
        assert await kept(documents, "ada") == Player(items=items)
    await insist(player.unload)
    history = (await insist(lambda: documents.history("ada"))).items
    assert [each.revision for each in history] == sorted({each.revision for each in history}, reverse=True)


@pytest.mark.row("D-SE19", "D-ST19", "D-ST40")
async def test_every_unload_that_was_acknowledged_saved_and_gave_back(faulty_store: Store, clock: HastyClock) -> None:
    rivals = [players_over(faulty_store) for _ in range(2)]
    items: list[str] = []
    for number in range(2 * ROUNDS):
        documents = rivals[number % 2]
        player = await load(documents, "ada", clock)
        assert player.value == Player(items=items)
        items.append(str(number))
        await player.update(collect(str(number)))
        await insist(player.unload)
        assert player.closed
        assert await insist(lambda: rivals[0].probe_lease("ada")) is None
        assert await kept(rivals[0], "ada") == Player(items=items)


@pytest.mark.row("D-N3", "D-N22")
async def test_transactions_are_all_or_nothing_and_done_once(faulty_store: Store, clock: HastyClock) -> None:
    """Items move between documents that are loaded, and others that are loaded nowhere."""
    documents = players_over(faulty_store, partition=lambda _: "table")
    for number, key in enumerate(KEYS):
        player = await load(documents, key, clock)
        await player.update(collect(str(number)))
        await insist(player.unload)
    await load(documents, "ada", clock)
    random = Random(7)  # noqa: S311  it must be repeatable, not secret
    for _ in range(3 * ROUNDS):
        source, target = random.sample(KEYS, 2)
        before = {key: await owned(documents, key) for key in KEYS}
        moved = await move(documents, source, target)
        after = {key: await owned(documents, key) for key in KEYS}
        assert moved is bool(before[source])
        assert len(after[source]) == len(before[source]) - moved
        assert sorted(item for items in after.values() for item in items) == ["0", "1", "2"]
        assert (await documents.get("ada")).items == after["ada"]


@pytest.mark.row("D-SE24", "D-ST34")
async def test_changes_that_are_made_while_saves_struggle_are_all_kept(faulty_store: Store, clock: HastyClock) -> None:
    documents = players_over(faulty_store)
    player = await load(documents, "ada", clock)
    order = [str(number) for number in range(6 * ROUNDS)]
    for before, during in zip(order[::2], order[1::2], strict=True):
        await player.update(collect(before))
        saving = asyncio.create_task(insist(player.save))
        for _ in range(3):
            await asyncio.sleep(0)
        await player.update(collect(during))
        await saving
    await insist(player.save)
    assert player.last_saved == Player(items=order)
    assert await kept(documents, "ada") == Player(items=order)


@pytest.mark.row("D-ST9")
async def test_old_data_comes_in_once(faulty_store: Store, clock: HastyClock) -> None:
    documents = players_over(faulty_store, import_legacy=lambda key: {"items": [key]})
    for number in range(ROUNDS):
        key = f"player {number}"
        for _ in range(2):
            player = await load(documents, key, clock)
            assert player.value == Player(items=[key])
            await insist(player.unload)


async def load(documents: Documents[Player], key: str, clock: HastyClock) -> Document[Player]:
    """Load, also after a load whose lease was granted and whose answer was lost: that lease ends."""
    while True:
        try:
            return await documents.load(key, wait=0)
        except (UnavailableError, CommitUnknownError):
            continue
        except LeaseHeldError:
            clock.advance(RENEWAL)


async def move(documents: Documents[Player], source: str, target: str) -> bool:
    """Move an item, if there is one, once; done twice it would not be the same, so only a refusal is repeated."""

    def change(drafts: dict[str, Player]) -> bool:
        if not drafts[source].items:
            return False
        drafts[target].items.append(drafts[source].items.pop())
        return True

    while True:
        try:
            return await documents.transact([source, target], change)
        except UnavailableError:
            continue


async def owned(documents: Documents[Player], key: str) -> list[str]:
    player = await kept(documents, key)
    assert player is not None
    return player.items
