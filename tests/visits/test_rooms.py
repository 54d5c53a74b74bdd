"""Rooms: a member is there by any number of tabs, and comes and goes once."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sojourn
from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import InvalidError, LimitError, VisitorUnknownError
from sojourn.kernel import Attempt, Committed, Conflict, Ensure, Reads, Space, Store, Transaction
from sojourn.testing import FaultyEngine, ManualClock
from sojourn.visits import ActiveChange, ChangeKind, Member, Room, Visits, layout
from sojourn.visits.room import leave

from .conftest import Trips

INTERVAL = timedelta(seconds=10)
DEADLINE = 2.5 * INTERVAL
MILLISECOND = timedelta(milliseconds=1)

NO_TOKENS = {
    "empty": "",
    "no base64": "???",
    "no JSON": base64.urlsafe_b64encode(b"{").decode(),
    "another form": base64.urlsafe_b64encode(b'[["room","ada"],""]').decode(),
    "a name that cannot be": base64.urlsafe_b64encode(b'[["room","\\u0000","tab 1"],""]').decode(),
    "half a character": base64.urlsafe_b64encode(b'[["room","\\ud800","tab 1"],""]').decode(),
    "letters beyond ASCII": "\u0430" * 40,
    "too long": "a" * (limits.ROOM_TOKEN_CHARS + 1),
    "nested deeply": base64.urlsafe_b64encode(b"[" * 1_000).decode(),
}


def join(name: str) -> ActiveChange:
    return ActiveChange(ChangeKind.JOIN, name)


def left(name: str) -> ActiveChange:
    return ActiveChange(ChangeKind.LEAVE, name)


@pytest.fixture
def room(store: Store) -> Room:
    return Room(store, "room", INTERVAL)


@asynccontextmanager
async def watching(room: Room, *here: str) -> AsyncIterator[AsyncIterator[ActiveChange]]:
    """Watch, from when those who are here have been told of."""
    async with aclosing(room.watch()) as watch:
        assert {await anext(watch) for _ in here} == {join(name) for name in here}
        yield watch


async def names(room: Room) -> list[str]:
    return [member.name for member in await room.list()]


def forged(token: str, **changed: Any) -> str:
    """The token with some of what it says replaced."""
    (room, member, tab), proof = msgspec.json.decode(base64.urlsafe_b64decode(token + "=="))
    said = {"room": room, "member": member, "tab": tab, "proof": proof} | changed
    packed = msgspec.json.encode(((said["room"], said["member"], said["tab"]), said["proof"]))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


@pytest.mark.row("F-C92")
async def test_with_two_tabs_the_member_leaves_once_when_both_have(room: Room, store: Store) -> None:
    async with watching(room) as watch:
        one, two = await room.heartbeat("ada", "tab 1"), await room.heartbeat("ada", "tab 2")
        assert (one.room, one.member) == ("room", "ada")
        assert await anext(watch) == join("ada")
        await leave(store, one.token)
        assert await names(room) == ["ada"]
        await leave(store, two.token)
        assert await names(room) == []
        assert await anext(watch) == left("ada")
        await room.heartbeat("bo", "tab 3")
        assert await anext(watch) == join("bo"), "and nothing in between"


@pytest.mark.row("F-C93", "F-W3")
async def test_without_a_heartbeat_a_member_is_gone_after_two_and_a_half_intervals(
    room: Room, trips: Trips, clock: ManualClock
) -> None:
    await room.heartbeat("ada", "tab 1")
    async with watching(room, "ada") as watch:
        trips.clear()
        told = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
        clock.advance(DEADLINE - MILLISECOND)
        assert await names(room) == ["ada"]
        clock.advance(MILLISECOND)
        assert await names(room) == []
        assert await told == left("ada")
        assert not trips.commits, "it is told by no other write"


@pytest.mark.row("F-C93")
async def test_one_tab_that_beats_keeps_the_member_when_another_falls_silent(room: Room, clock: ManualClock) -> None:
    await room.heartbeat("ada", "tab 1")
    token = (await room.heartbeat("ada", "tab 2")).token
    async with watching(room, "ada") as watch:
        told = asyncio.ensure_future(anext(watch))
        for _ in range(6):
            await clock.until_sleeping()
            clock.advance(INTERVAL)
            assert (await room.heartbeat("ada", "tab 2", token=token)).token == token
        assert not told.done()
        await leave(room._store, token)
        assert await told == left("ada"), "the silent one no longer counts"


@pytest.mark.row("F-C94")
async def test_leaving_twice_does_nothing(room: Room, store: Store, trips: Trips) -> None:
    token = (await room.heartbeat("ada", "tab 1")).token
    await leave(store, token)
    await room.heartbeat("ada", "tab 2")
    trips.clear()
    await leave(store, token)
    assert not any(transaction.writes for transaction in trips.commits)
    assert await names(room) == ["ada"]


@pytest.mark.row("F-C94")
@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS.keys())
async def test_what_is_no_token_lets_nobody_leave(room: Room, store: Store, token: str) -> None:
    seat = await room.heartbeat("ada", "tab 1")
    await leave(store, token)
    assert await room.heartbeat("ada", "tab 1", token=token) == seat
    assert await names(room) == ["ada"]


@pytest.mark.row("F-C94")
async def test_a_forged_token_lets_nobody_leave(room: Room, store: Store) -> None:
    seat, other = await room.heartbeat("ada", "tab 1"), await room.heartbeat("bo", "tab 2")
    for said in ({"proof": "AAAA"}, {"proof": ""}, {"tab": "tab 3"}, {"member": "cy"}, {"room": "elsewhere"}):
        await leave(store, forged(seat.token, **said))
    await leave(store, forged(other.token, member="ada", tab="tab 1"))
    assert await names(room) == ["ada", "bo"]
    with pytest.raises(InvalidError):
        await room.heartbeat("bo", "tab 1")  # a forged leave has not freed the tab's id either
    await leave(store, seat.token)
    assert await names(room) == ["bo"]


@pytest.mark.row("F-C94")
async def test_a_token_that_is_not_the_tabs_counts_as_none(room: Room, store: Store, trips: Trips) -> None:
    seat, other = await room.heartbeat("ada", "tab 1"), await room.heartbeat("bo", "tab 2")
    for token in (other.token, forged(seat.token, proof="AAAA"), forged(seat.token, room="elsewhere")):
        trips.clear()
        assert await room.heartbeat("ada", "tab 1", token=token) == seat
        assert layout.seat("tab 1") in [write.key for each in trips.commits for write in each.writes]  # type: ignore[union-attr]
    elsewhere = Room(store, "elsewhere", INTERVAL)
    with pytest.raises(InvalidError, match="tab"):
        await elsewhere.heartbeat("ada", "tab 1", token=forged(seat.token, room="elsewhere"))
    with pytest.raises(InvalidError, match="tab"):
        await room.heartbeat("cy", "tab 1", token=forged(seat.token, member="cy"))
    assert await names(room) == ["ada", "bo"]
    assert await names(elsewhere) == []


async def test_where_only_known_tabs_may_beat_no_other_comes(room: Room, store: Store, clock: ManualClock) -> None:
    """What a server asks first, so that new tabs can be made to cost something."""
    seat, other = await room.heartbeat("ada", "tab 1"), await room.heartbeat("bo", "tab 2")
    assert await room.heartbeat("ada", "tab 1", token=seat.token, known=True) == seat
    for token in (None, "nonsense", other.token, forged(seat.token, proof="AAAA")):
        with pytest.raises(VisitorUnknownError):
            await room.heartbeat("ada", "tab 1", token=token, known=True)
    with pytest.raises(VisitorUnknownError):
        await room.heartbeat("cy", "tab 3", token=forged(seat.token, member="cy", tab="tab 3"), known=True)
    clock.advance(DEADLINE)
    with pytest.raises(VisitorUnknownError):
        await room.heartbeat("ada", "tab 1", token=seat.token, known=True)
    assert await names(room) == []


@pytest.mark.row("F-C95")
async def test_a_tabs_id_is_refused_for_another_member_or_room(room: Room, store: Store) -> None:
    seat = await room.heartbeat("ada", "tab 1")
    elsewhere = Room(store, "elsewhere", INTERVAL)
    for where, who in ((room, "bo"), (elsewhere, "ada"), (elsewhere, "bo")):
        for token in (None, seat.token):
            with pytest.raises(InvalidError, match="tab"):
                await where.heartbeat(who, "tab 1", token=token)
    assert await names(room) == ["ada"]
    assert await names(elsewhere) == []


@pytest.mark.row("F-C95")
async def test_a_tabs_id_is_free_again_when_it_has_left(room: Room, store: Store, clock: ManualClock) -> None:
    elsewhere = Room(store, "elsewhere", INTERVAL)
    await leave(store, (await room.heartbeat("ada", "tab 1")).token)
    seat = await elsewhere.heartbeat("bo", "tab 1")
    clock.advance(DEADLINE)
    with pytest.raises(InvalidError):
        await room.heartbeat("ada", "tab 1")  # silent, it may still come back
    await leave(store, seat.token)
    await room.heartbeat("ada", "tab 1")
    await leave(store, seat.token)
    with pytest.raises(InvalidError):
        await elsewhere.heartbeat("bo", "tab 1")  # an old token frees nothing that is another's by now


@pytest.mark.row("F-C95")
async def test_of_many_who_bring_one_tabs_id_at_once_one_gets_in(store: Store) -> None:
    rooms = [Room(store, f"room {number}", INTERVAL) for number in range(10)]
    beats = (room.heartbeat(f"member {number}", "tab 1") for number, room in enumerate(rooms))
    results = await asyncio.gather(*beats, return_exceptions=True)
    assert sum(isinstance(result, InvalidError) for result in results) == 9
    assert sum([len(await room.list()) for room in rooms]) == 1


@pytest.mark.row("F-C95")
async def test_a_beat_that_died_between_its_two_commits_is_made_up_for(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = room._store
    submit = store.submit

    async def dies(transaction: Transaction) -> Committed | Conflict:
        if any(isinstance(write, Ensure) and write.key.space == layout.TAB for write in transaction.writes):
            raise asyncio.CancelledError
        return await submit(transaction)

    monkeypatch.setattr(store, "submit", dies)
    with pytest.raises(asyncio.CancelledError):
        await room.heartbeat("ada", "tab 1")
    monkeypatch.undo()
    assert await names(room) == []
    with pytest.raises(InvalidError):
        await room.heartbeat("bo", "tab 1")
    await room.heartbeat("ada", "tab 1")
    assert await names(room) == ["ada"]


@pytest.mark.row("P-R18")
async def test_a_steady_heartbeat_is_one_commit_and_wakes_nobody(room: Room, trips: Trips, clock: ManualClock) -> None:
    """A look is a read, and a heartbeat reads nothing: so reads count how often the watcher woke."""
    seat = await room.heartbeat("ada", "tab 1", data={"mood": "fine"})
    assert len(trips.commits) == 2
    async with watching(room, "ada") as watch:
        told = asyncio.ensure_future(anext(watch))
        await clock.until_sleeping()
        trips.clear()
        for number in range(1, 20):
            clock.advance(INTERVAL / 10)
            data: dict[str, Any] = {} if number % 2 else {"data": {"mood": "fine"}}
            assert await room.heartbeat("ada", "tab 1", token=seat.token, **data) == seat
            assert len(trips.commits) == number
        assert len(trips.reads) == 0
        await room.heartbeat("bo", "tab 2")
        assert await told == join("bo")
        assert len(trips.reads) == 1


@pytest.mark.row("P-R18")
async def test_coming_and_going_is_one_change_each(room: Room, store: Store) -> None:
    async with store.watch(Space(layout.MEMBER)) as changes:
        for tab in ("tab 1", "tab 2", "tab 3"):
            await room.heartbeat("ada", tab)
        await room.heartbeat("bo", "tab 4")
        seen = list[Any]()
        while not seen or layout.member("room", "bo") not in seen[-1]:
            seen.append((await anext(changes)).keys)  # type: ignore[union-attr]
        assert sum(layout.member("room", "ada") in keys for keys in seen) == 1


async def test_a_member_who_left_and_came_back_between_two_looks_is_told_as_both(room: Room, store: Store) -> None:
    token = (await room.heartbeat("ada", "tab 1")).token
    async with watching(room, "ada") as watch:
        await leave(store, token)
        await room.heartbeat("ada", "tab 1")
        assert [await anext(watch), await anext(watch)] == [left("ada"), join("ada")]


async def test_a_late_heartbeat_of_a_tab_that_has_left_takes_its_seat_anew(room: Room, store: Store) -> None:
    """It cannot be told from one that had fallen silent; either way the tab's id is bound again, and so refused."""
    token = (await room.heartbeat("ada", "tab 1")).token
    await leave(store, token)
    assert (await room.heartbeat("ada", "tab 1", token=token)).token != token
    with pytest.raises(InvalidError):
        await room.heartbeat("bo", "tab 1")


async def test_rooms_and_members_with_like_names_are_apart(room: Room, store: Store) -> None:
    other = Room(store, "room 2", INTERVAL)
    ada, adam = await room.heartbeat("ada", "tab 1"), await room.heartbeat("ada m", "tab 2")
    await other.heartbeat("ada", "tab 3")
    async with watching(room, "ada", "ada m") as watch:
        await leave(store, ada.token)
        assert await anext(watch) == left("ada")
        assert await names(other) == ["ada"]
        await leave(store, adam.token)
        assert await anext(watch) == left("ada m")


async def test_a_member_shows_of_itself_what_it_last_said(room: Room, trips: Trips) -> None:
    token = (await room.heartbeat("ada", "tab 1")).token
    assert await room.list() == (Member("ada", None),)
    await room.heartbeat("ada", "tab 1", token=token, data={"x": [1, None]})
    await room.heartbeat("ada", "tab 1", token=token)
    await room.heartbeat("ada", "tab 2")
    assert await room.list() == (Member("ada", {"x": [1, None]}),)
    await room.heartbeat("ada", "tab 1", token=token, data=None)
    assert await room.list() == (Member("ada", None),)
    assert await room.update("ada", msgspec.Raw(b'{"x":2}'))
    assert await room.list() == (Member("ada", {"x": 2}),)
    assert not await room.update("bo", 3), "who is not here shows nothing"
    trips.clear()
    assert await room.update("ada", {"x": 2})
    assert not any(transaction.writes for transaction in trips.commits)


async def test_new_data_is_no_coming_and_no_going(room: Room, store: Store) -> None:
    await room.heartbeat("ada", "tab 1")
    async with watching(room, "ada") as watch:
        await room.update("ada", "new")
        seat = await room.heartbeat("bo", "tab 2", data="here")
        assert await anext(watch) == join("bo")
        await leave(store, seat.token)
        assert await anext(watch) == left("bo")


async def test_new_data_joins_another_commit_and_cuts_no_time_short(room: Room, clock: ManualClock) -> None:
    token = (await room.heartbeat("ada", "tab 1")).token
    clock.advance(INTERVAL)

    async def update(tx: Attempt) -> bool:
        known = await room.update("ada", "new", tx=tx)
        await room.heartbeat("ada", "tab 1", token=token)  # a touch, which is no conflict
        return known

    assert await room._store.run(update)
    assert await room.list() == (Member("ada", "new"),)
    clock.advance(DEADLINE - MILLISECOND)
    assert await names(room) == ["ada"]
    clock.advance(MILLISECOND)
    assert await names(room) == []


@pytest.mark.row("F-C93")
async def test_new_data_keeps_nobody_whose_tabs_have_fallen_silent(room: Room, clock: ManualClock) -> None:
    await room.heartbeat("ada", "tab 1")
    shown = list[bool]()
    for number in range(6):
        shown.append(await room.update("ada", number))
        clock.advance(INTERVAL)
    assert shown == [True] * 3 + [False] * 3
    assert await names(room) == []


async def test_more_members_than_are_asked_for_are_left_out(room: Room) -> None:
    for name in ("cy", "ada", "bo"):
        await room.heartbeat(name, f"tab of {name}")
    assert await names(room) == ["ada", "bo", "cy"]
    assert [member.name for member in await room.list(limit=2)] == ["ada", "bo"]
    with pytest.raises(InvalidError):
        await room.list(limit=0)
    with pytest.raises(LimitError):
        await room.list(limit=limits.ROOM_MEMBERS + 1)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


BAD_DATA = {
    "a NaN": float("nan"),
    "bytes": b"data",
    "too deep": nested(limits.METADATA_DEPTH + 1),
    "1,000 levels deep": nested(1_000),
    "1,000 levels of text": msgspec.Raw(b"[" * 1_000 + b"]" * 1_000),
    "no JSON": msgspec.Raw(b"{"),
    "too long": "x" * limits.ROOM_DATA_BYTES,
    "too long a text": msgspec.Raw(b" " * (limits.ROOM_DATA_BYTES + 1)),
}


@pytest.mark.parametrize("data", BAD_DATA.values(), ids=BAD_DATA.keys())
async def test_data_out_of_form_is_refused_and_nothing_is_written(room: Room, trips: Trips, data: Any) -> None:
    with pytest.raises((InvalidError, LimitError), match="data"):
        await room.heartbeat("ada", "tab 1", data=data)
    with pytest.raises((InvalidError, LimitError), match="data"):
        await room.update("ada", data)
    assert not trips.commits


@pytest.mark.parametrize("name", ["", "\0", "a\x01b", "\ud800", "x" * 129, "\n"])
async def test_names_out_of_form_are_refused_and_nothing_is_written(room: Room, trips: Trips, name: str) -> None:
    with pytest.raises((InvalidError, LimitError), match="room"):
        Room(room._store, name, INTERVAL)
    with pytest.raises((InvalidError, LimitError), match="member"):
        await room.heartbeat(name, "tab 1")
    with pytest.raises((InvalidError, LimitError), match="tab"):
        await room.heartbeat("ada", name)
    assert not trips.commits


async def test_the_longest_names_fit(store: Store) -> None:
    room = Room(store, "\U0001f600" * limits.ROOM_CHARS, INTERVAL)
    member, tab = "\U0001f600" * limits.VISITOR_CHARS, "\U0001f600" * limits.ROOM_TAB_CHARS
    seat = await room.heartbeat(member, tab)
    assert await room.heartbeat(member, tab, token=seat.token) == seat
    await leave(store, seat.token)
    assert await names(room) == []


@pytest.mark.parametrize("interval", [timedelta(0), -INTERVAL, timedelta.max / 4])
def test_an_interval_that_is_none_is_refused(store: Store, interval: timedelta) -> None:
    with pytest.raises(InvalidError, match="interval"):
        Visits(store).room("room", interval=interval)


async def test_a_seat_does_not_show_its_token(room: Room) -> None:
    seat = await room.heartbeat("ada", "tab 1")
    assert repr(seat) == "<Seat of 'ada' in 'room'>"
    assert str(seat) == repr(seat)


@pytest.mark.row("F-C92")
async def test_tabs_that_leave_at_once_in_two_stores_leave_no_member(shared_url: str, clock: ManualClock) -> None:
    async with sojourn.open(shared_url, clock=clock) as one, sojourn.open(shared_url, clock=clock) as two:
        rooms = [Room(store, "room", INTERVAL) for store in (one, two, one, two)]
        for _ in range(10):
            seats = [await room.heartbeat("ada", f"tab {number}") for number, room in enumerate(rooms)]
            async with clock.rushing():
                await asyncio.gather(*(leave(room._store, seat.token) for room, seat in zip(rooms, seats, strict=True)))
            spans = (layout.members("room"), layout.tabs("room", "ada"))
            assert (await one.read(Reads(spans=spans))).records.spans == ((), ())


async def test_two_stores_see_the_same_room(shared_url: str, clock: ManualClock) -> None:
    async with sojourn.open(shared_url, clock=clock) as one, sojourn.open(shared_url, clock=clock) as two:
        here, there = Room(one, "room", INTERVAL), Room(two, "room", INTERVAL)
        async with watching(here) as first, watching(there) as second:
            token = (await here.heartbeat("ada", "tab 1")).token
            assert await anext(first) == await anext(second) == join("ada")
            await there.heartbeat("ada", "tab 2")
            await leave(two, token)
            told = [asyncio.ensure_future(anext(watch)) for watch in (first, second)]
            await clock.until_sleeping(2)
            clock.advance(DEADLINE)
            assert await asyncio.gather(*told) == [left("ada"), left("ada")]


class Tabs:
    """Tabs of one member that beat, crash and leave, each by itself and all at once, on a store that plays tricks."""

    def __init__(self, store: Store) -> None:
        self.room = Room(store, "room", INTERVAL)
        self.alive = set[str]()
        self.seen = set[str]()

    async def run(self, tab: str, steps: Iterable[str]) -> None:
        token: str | None = None
        for step in steps:
            if step == "leave":
                if token is not None:
                    await leave(self.room._store, token)
                self.alive.discard(tab)
            else:
                token = None if step == "crash" else token
                token = (await self.room.heartbeat("ada", tab, token=token)).token
                self.alive.add(tab)

    async def follow(self) -> None:
        async for change in self.room.watch():
            assert (change.kind is ChangeKind.LEAVE) == (change.name in self.seen), "joins and leaves take turns"
            self.seen.symmetric_difference_update({change.name})


@pytest.mark.row("F-C92", "P-R18")
@given(
    steps=st.lists(st.lists(st.sampled_from(("beat", "crash", "leave")), max_size=6), min_size=1, max_size=4),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=150, deadline=None)
def test_whatever_tabs_do_at_once_the_member_is_there_while_one_of_them_is(steps: list[list[str]], seed: int) -> None:
    async def scenario() -> None:
        # Pauses pass in no time, while time itself stands still in the engine: nothing expires, whoever looks again.
        pauses = ManualClock()
        engine = FaultyEngine(MemoryEngine(clock=ManualClock()), seed, lose=0.1, repeat=0.1, delay=0.5)
        async with Store(engine, clock=pauses) as store, pauses.rushing():
            tabs = Tabs(store)
            following = asyncio.ensure_future(tabs.follow())
            await asyncio.gather(*(tabs.run(f"tab {number}", each) for number, each in enumerate(steps)))
            expected = ["ada"] if tabs.alive else []
            assert await names(tabs.room) == expected
            for _ in range(200):
                await asyncio.sleep(0)
            assert sorted(tabs.seen) == expected
            assert not following.done(), "what was told made sense"
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(scenario())
