"""What tests of several documents share: trades, and a gate that holds their saves up."""

import asyncio
from collections.abc import Callable

from sojourn.documents import Documents
from sojourn.kernel import Committed, Conflict, Put, Store, Transaction
from tests.documents.conftest import Player

BOTH = ("ada", "bo")
TABLE = "table"


def together(key: str) -> str:
    """The partition of every document of those who trade, so that they can on every engine."""
    return TABLE


def is_save(transaction: Transaction) -> bool:
    """Say whether a transaction writes a document."""
    return any(isinstance(write, Put) and write.key.space.count(".") == 1 for write in transaction.writes)


class Gate:
    """Between a store and whoever saves documents in it: counts these saves, and can hold them up.

    `saves` are those that went through, `most` is how many were under way at once. All else passes, so leases are
    renewed meanwhile. `counts` says which transactions it is about, if not saves.
    """

    def __init__(self, store: Store, counts: Callable[[Transaction], bool] = is_save) -> None:
        self.saves: list[Transaction] = []
        self.most = 0
        self.arrived = asyncio.Event()
        self._counts = counts
        self._under_way = 0
        self._opened = asyncio.Event()
        self._opened.set()
        self._submit = store.submit
        store.submit = self.submit  # type: ignore[method-assign]

    def shut(self) -> None:
        """Hold up what comes; `arrived` says that something has."""
        self.arrived.clear()
        self._opened.clear()

    def open(self) -> None:
        """Let all of it through."""
        self._opened.set()

    async def submit(self, transaction: Transaction) -> Committed | Conflict:
        """Submit, once the gate is open."""
        if not self._counts(transaction):
            return await self._submit(transaction)
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        self.arrived.set()
        try:
            await self._opened.wait()
            self.saves.append(transaction)
            return await self._submit(transaction)
        finally:
            self._under_way -= 1


def earn(coins: int) -> Callable[[Player], bool]:
    """The change that gives a player so many coins."""

    def change(draft: Player) -> bool:
        draft.coins += coins
        return True

    return change


def trade(drafts: dict[str, Player]) -> bool:
    """Ada gives Bo 5 coins."""
    drafts["ada"].coins -= 5
    drafts["bo"].coins += 5
    return True


def gift(giver: str, taker: str, coins: int = 5) -> Callable[[dict[str, Player]], bool]:
    """The change by which one gives another so many coins."""

    def change(drafts: dict[str, Player]) -> bool:
        drafts[giver].coins -= coins
        drafts[taker].coins += coins
        return True

    return change


async def stored(players: Documents[Player], *keys: str) -> list[int]:
    """The coins of each as the store has them, -1 for who is not there."""
    found = [await players.peek(key) for key in keys or BOTH]
    return [-1 if player is None else player.coins for player in found]
