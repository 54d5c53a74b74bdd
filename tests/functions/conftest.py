"""The functions of a small shop over the shared store."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest

from sojourn.functions import Bound, Collection, Functions
from sojourn.kernel import Store
from sojourn.sessions import Session, SessionId, Sessions


class Cart(msgspec.Struct, frozen=True):
    items: tuple[str, ...] = ()

    def plus(self, sku: str) -> "Cart":
        return Cart((*self.items, sku))


class Shop(NamedTuple):
    sessions: Sessions
    functions: Functions
    carts: Collection[Cart, SessionId]
    stock: Collection[int, str]
    bind: Callable[[], Bound]


@pytest.fixture
def shop(store: Store) -> Shop:
    sessions = Sessions(store)
    functions = Functions(sessions)
    carts = functions.collection("carts", Cart, by=SessionId)
    stock = functions.collection("stock", int, by=str)
    return Shop(sessions, functions, carts, stock, lambda: functions.bind(store))


@pytest.fixture
async def session(shop: Shop) -> Session:
    return (await shop.sessions.issue()).session
