"""What aiogram keeps in sojourn between two updates. `make test-upstream` runs aiogram's own tests on the same."""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiogram.exceptions import DataNotDictLikeError
from aiogram.fsm.context import FSMContext
from aiogram.fsm.scene import HistoryManager
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.base import StorageKey

from sojourn import limits
from sojourn.adapters.aiogram import DurableStorage
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import CommitUnknownError, CorruptError, InvalidError, LimitError, UnavailableError
from sojourn.kernel import Key, Put, Reads, Store, Transaction
from sojourn.testing import FaultyEngine, ManualClock

KEY = StorageKey(bot_id=42, chat_id=-7, user_id=7)
PARTITION = "\x0142\x01-7\x017\x01\x01"


class Order(StatesGroup):
    size = State()
    address = State()


@pytest.fixture
def storage(store: Store) -> DurableStorage:
    return DurableStorage(store)


async def records(store: Store) -> int:
    key = Key("aiogram", PARTITION, "default")
    (record,) = (await store.read(Reads(keys=(key,)))).records.keys
    return 0 if record is None else 1


async def test_state_and_data_of_a_key_come_back_and_stand_in_one_record(storage: DurableStorage, store: Store) -> None:
    assert await storage.get_state(KEY) is None
    assert await storage.get_data(KEY) == {}
    await storage.set_state(KEY, Order.size)
    await storage.set_data(KEY, {"size": 3, "extras": ["né", None, {"deep": [1.5, True]}]})
    assert await storage.get_state(KEY) == "Order:size"
    assert await storage.get_data(KEY) == {"size": 3, "extras": ["né", None, {"deep": [1.5, True]}]}
    assert await storage.get_value(KEY, "size") == 3
    assert await storage.get_value(KEY, "colour", "red") == "red"
    assert await records(store) == 1


async def test_nothing_is_left_of_a_key_without_state_and_data(storage: DurableStorage, store: Store) -> None:
    await storage.set_state(KEY, None)
    assert await records(store) == 0
    context = FSMContext(storage, KEY)
    await context.set_state(Order.size)
    await context.update_data(size=3)
    await context.clear()
    assert await records(store) == 0
    assert await context.get_state() is None


async def test_each_part_of_a_key_makes_it_another(storage: DurableStorage) -> None:
    changes: list[dict[str, Any]] = [
        {"bot_id": 4},
        {"chat_id": -77},
        {"user_id": 77},
        {"thread_id": 0},
        {"thread_id": 7},
        {"business_connection_id": "7"},
        {"destiny": "history"},
        {"destiny": ""},
    ]
    keys = [KEY, *(replace(KEY, **change) for change in changes)]
    for number, key in enumerate(keys):
        await storage.set_data(key, {"number": number})
    assert [await storage.get_value(key, "number") for key in keys] == list(range(len(keys)))


async def test_tenants_do_not_see_each_other(store: Store) -> None:
    one, other = DurableStorage(store, tenant="one"), DurableStorage(store, tenant="other")
    await one.set_state(KEY, "here")
    assert await other.get_state(KEY) is None


async def test_no_parallel_update_is_lost(storage: DurableStorage, store: Store, clock: ManualClock) -> None:
    others = DurableStorage(store)
    async with clock.rushing():  # who meets a rival again and again pauses
        await asyncio.gather(
            *(storage.update_data(KEY, {f"a{number}": number}) for number in range(10)),
            *(others.update_data(KEY, {f"b{number}": number}) for number in range(10)),
            storage.set_state(KEY, Order.address),
        )
    expected = {f"{letter}{number}": number for letter in "ab" for number in range(10)}
    assert await storage.get_data(KEY) == expected
    assert await storage.get_state(KEY) == "Order:address"


async def test_what_is_returned_is_a_copy(storage: DurableStorage) -> None:
    (await storage.get_data(KEY))["late"] = 1
    assert await storage.get_data(KEY) == {}
    given: dict[str, Any] = {"names": []}
    await storage.set_data(KEY, given)
    given["names"].append("late")
    (await storage.update_data(KEY, {"more": 1}))["extra"] = 1
    (await storage.get_data(KEY))["names"].append("late")
    assert await storage.get_data(KEY) == {"names": [], "more": 1}


async def test_a_key_lives_as_a_whole_from_its_last_change_on(store: Store, clock: ManualClock) -> None:
    storage = DurableStorage(store, ttl=timedelta(minutes=10))
    await storage.set_data(KEY, {"size": 3})
    clock.advance(timedelta(minutes=6))
    await storage.set_state(KEY, Order.address)
    clock.advance(timedelta(minutes=6))
    assert await storage.get_data(KEY) == {"size": 3}
    clock.advance(timedelta(minutes=4))
    assert await storage.get_state(KEY) is None
    assert await storage.get_data(KEY) == {}


@pytest.mark.parametrize("ttl", [timedelta(), timedelta(seconds=-1), timedelta(microseconds=1)])
def test_a_time_to_live_that_is_none_is_refused(ttl: timedelta) -> None:
    with pytest.raises(InvalidError):
        DurableStorage(Store(MemoryEngine()), ttl=ttl)


@pytest.mark.parametrize("data", [(), [("a", 1)], "text", None, 3])
async def test_data_that_is_no_mapping_is_refused_in_the_words_of_aiogram(storage: DurableStorage, data: Any) -> None:
    for change in (storage.set_data, storage.update_data):
        with pytest.raises(DataNotDictLikeError):
            await change(KEY, data)


@pytest.mark.parametrize(
    "value",
    [b"bytes", {1: "number"}, object(), math.nan, math.inf, {"a"}, timedelta(1)],
    ids=["bytes", "names", "object", "nan", "infinity", "set", "duration"],
)
async def test_data_that_is_not_plain_is_refused_and_what_was_there_stays(storage: DurableStorage, value: Any) -> None:
    await storage.set_data(KEY, {"size": 3})
    for change in (storage.set_data, storage.update_data):
        with pytest.raises(InvalidError):
            await change(KEY, {"value": value})
    assert await storage.get_data(KEY) == {"size": 3}


async def test_data_nested_without_end_is_refused(storage: DurableStorage) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(InvalidError):
        await storage.set_data(KEY, endless)


async def test_data_too_large_for_a_record_is_refused(storage: DurableStorage) -> None:
    with pytest.raises(LimitError):
        await storage.set_data(KEY, {str(number): number**9 for number in range(limits.VALUE_BYTES // 8)})
    assert await storage.get_data(KEY) == {}


@pytest.mark.parametrize("destiny", ["a\x01b", "a\0b"])
async def test_a_name_that_holds_a_separator_is_refused(storage: DurableStorage, destiny: str) -> None:
    with pytest.raises(InvalidError):
        await storage.get_data(replace(KEY, destiny=destiny))
    with pytest.raises(InvalidError):
        await storage.set_state(replace(KEY, business_connection_id=destiny), "here")


async def test_a_state_that_is_none_is_refused(storage: DurableStorage) -> None:
    wrong: Any = 3
    with pytest.raises(InvalidError):
        await storage.set_state(KEY, wrong)


async def test_a_history_of_scenes_survives(storage: DurableStorage, store: Store) -> None:
    history = HistoryManager(FSMContext(storage, KEY))
    for number in range(12):
        await history.push(f"scene {number}", {"number": number})
    again = HistoryManager(FSMContext(DurableStorage(store), KEY))
    assert len(await again.all()) == 10
    assert await again.rollback() == "scene 11"
    assert await storage.get_data(KEY) == {"number": 11}


async def test_closing_a_dispatcher_leaves_the_store_open(storage: DurableStorage) -> None:
    await storage.set_state(KEY, "here")
    await storage.close()
    assert await storage.get_state(KEY) == "here"


async def test_a_damaged_record_is_said_to_be_damaged(storage: DurableStorage, store: Store) -> None:
    await storage.set_state(KEY, "here")
    place = Key("aiogram", PARTITION, "default")
    await store.commit(Transaction(writes=(Put(place, b'j{"state": 3}'),)))
    with pytest.raises(CorruptError):
        await storage.get_state(KEY)


async def test_a_store_that_is_away_is_said_to_be_away(clock: ManualClock) -> None:
    away = FaultyEngine(MemoryEngine(clock=clock), seed=1, refuse=1)
    mute = FaultyEngine(MemoryEngine(clock=clock), seed=1, drop=1)
    for engine, error in ((away, UnavailableError), (mute, CommitUnknownError)):
        async with Store(engine, clock=clock) as store, clock.rushing():
            with pytest.raises(error):
                await DurableStorage(store).set_state(KEY, "here")
