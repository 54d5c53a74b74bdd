"""Actions: recorded once, in order, at a cost that stays the same, with the engine's time and the visitor's."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sojourn
from sojourn import limits
from sojourn.errors import CommitUnknownError, InvalidError, LimitError, SojournError, VisitorUnknownError
from sojourn.kernel import Append, Attempt, Delete, Key, Put, Reads, Space, Store, Transaction
from sojourn.kernel.checks import transaction_bytes
from sojourn.testing import FaultyEngine, ManualClock
from sojourn.visits import Action, ActionInput, Batch, BatchResult, Visits, layout

from .conftest import IDLE, RETENTION, STEP, Trips, now

YEAR_MS = 366 * 86_400_000


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": value}
    return value


BAD_METADATA: dict[str, Any] = {
    "1,000 levels deep": nested(1_000),
    "one level too deep": nested(limits.METADATA_DEPTH),
    "a NaN": {"a": math.nan},
    "infinity": {"a": [math.inf]},
    "binary": {"a": b"\xff"},
    "a date": {"a": datetime(2026, 1, 1, tzinfo=UTC)},
    "half a character": {"a": "\ud800"},
    "names that are numbers": {1: "a"},
    "a list": ["a"],
    "text": "a",
    "no JSON": msgspec.Raw(b'{"a":NaN}'),
    "JSON that is cut short": msgspec.Raw(b'{"a":'),
    "JSON that is no text": msgspec.Raw(b'{"a":"\xff"}'),
    "a JSON list": msgspec.Raw(b"[]"),
    "JSON 1,000 levels deep": msgspec.Raw(b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}"),
}
LARGE_METADATA: dict[str, Any] = {
    "too large": {"a": "x" * limits.METADATA_BYTES},
    "JSON that is too large": msgspec.Raw(b'{"a":"' + b"x" * limits.METADATA_BYTES + b'"}'),
}


async def recorded(visits: Visits, anonymous_id: str = "ada", *, newest_first: bool = False) -> list[Action]:
    return [action async for action in visits.actions(anonymous_id, newest_first=newest_first)]


def click(sequence: int, *, at: int = 0, **fields: Any) -> ActionInput:
    return ActionInput(sequence, at, **{"action": "click", **fields})


def batch(*actions: ActionInput, client: str = "page", sent_at: int = 0) -> Batch:
    return Batch(client, sent_at, actions)


@pytest.mark.row("F-W1", "F-W13")
async def test_an_action_is_kept_as_it_was_told_with_the_engines_time(visits: Visits, clock: ManualClock) -> None:
    clock.advance(timedelta(milliseconds=123))
    metadata = {"sku": "book", "n": 1, "deep": {"list": [1, 2.5, None, True, "ä"]}}
    await visits.track_user_action("ada", "button_click", "buy", metadata)
    clock.advance(STEP)
    await visits.track_user_action("ada", "leave")
    first, second = await recorded(visits)
    at = now(clock) - STEP
    assert first == Action("button_click", at, at, resource_id="buy", metadata=metadata)
    assert second == Action("leave", now(clock), now(clock))


@pytest.mark.row("F-W1", "F-C81")
async def test_an_action_is_a_sign_of_life_in_the_same_commit(visits: Visits, trips: Trips, clock: ManualClock) -> None:
    await visits.track_session("ada")
    clock.advance(STEP)
    trips.clear()
    await visits.track_user_action("ada", "click")
    assert (len(trips.commits), len(trips.reads)) == (1, 0)
    visitor = await visits.get("ada")
    assert visitor is not None
    assert visitor.last_active == now(clock)


@pytest.mark.row("F-C84", "F-W1")
async def test_the_ten_thousandth_action_costs_what_the_first_did(store: Store, visits: Visits, trips: Trips) -> None:
    at_once, actions = 250, 10_000
    watched = (layout.VISIT, layout.ACTIVE, layout.ACTION, layout.LOG, "visit.idle")
    await visits.track_session("ada")

    async def act(number: int) -> None:
        await visits.track_user_action("ada", "click", f"{number:05}", {"n": 12_345})

    async def cost(number: int) -> tuple[int, int, int, int, int, int]:
        """Writes, bytes, reads within the commit, other trips, records changed, bytes stored."""
        trips.clear()
        async with store.watch(*map(Space, watched)) as changes:
            await act(number)
            keys = (await anext(changes)).keys  # type: ignore[union-attr]
        (transaction,) = trips.commits
        asked = len(transaction.reads.keys) + len(transaction.reads.spans)
        stored = (await store.read(Reads(tuple(keys)))).records.keys
        size = sum(len(record.value) for record in stored if record is not None)
        return len(transaction.writes), transaction_bytes(transaction), asked, len(trips.reads) - 1, len(keys), size

    first = await cost(0)
    for start in range(1, actions - 1, at_once):
        await asyncio.gather(*map(act, range(start, min(start + at_once, actions - 1))))
    assert await cost(actions - 1) == first

    places = [int(action.resource_id or "") for action in await recorded(visits)]
    assert sorted(places) == [*range(actions)]
    assert [(place + at_once - 1) // at_once for place in places] == sorted(
        (place + at_once - 1) // at_once for place in range(actions)
    ), "each comes behind what had been committed before it"
    assert places[0] == 0
    assert places[-1] == actions - 1
    newest = (await visits.actions("ada", limit=10, newest_first=True)).items
    assert [int(action.resource_id or "") for action in newest] == places[:-11:-1]


@pytest.mark.row("F-C84")
async def test_actions_are_read_by_page_both_ways(visits: Visits) -> None:
    for place in range(5):
        await visits.track_user_action("ada", f"action {place}")
    for newest_first in (False, True):
        pages: list[list[str]] = []
        after: str | None = None
        while after is not None or not pages:
            page = await visits.actions("ada", limit=2, after=after, newest_first=newest_first)
            pages.append([action.action[-1] for action in page.items])
            after = page.next
        assert pages == ([["4", "3"], ["2", "1"], ["0"]] if newest_first else [["0", "1"], ["2", "3"], ["4"]])
    rest = visits.actions("ada", after=(await visits.actions("ada", limit=3)).next)
    assert [action.action[-1] async for action in rest] == ["3", "4"]
    assert await recorded(visits, "bob") == []


@pytest.mark.row("F-C84")
async def test_a_cursor_of_another_listing_is_refused(visits: Visits) -> None:
    for _ in range(2):
        await visits.track_user_action("ada", "click")
    of_actions = (await visits.actions("ada", limit=1)).next
    of_visits = (await visits.history("ada", limit=1)).next
    for anonymous_id, cursor in (("bob", of_actions), ("ada", of_visits), ("ada", ""), ("ada", "a" * 5_000)):
        with pytest.raises(InvalidError, match="cursor"):
            visits.actions(anonymous_id, after=cursor)
    with pytest.raises(InvalidError, match="limit"):
        visits.actions("ada", limit=0)
    with pytest.raises(LimitError):
        visits.actions("ada", limit=limits.PAGE_MAX + 1)


@pytest.mark.row("F-C83", "F-W10")
async def test_an_action_before_the_first_heartbeat_makes_the_visitor_known(visits: Visits, clock: ManualClock) -> None:
    await visits.track_user_action("ada", "click")
    visitor = await visits.get("ada")
    assert visitor is not None
    assert visitor.created_at == visitor.visit.started_at == now(clock)
    assert (await visits.track_batch("bob", batch(click(1)))).accepted == 1
    assert await visits.get("bob") is not None


@pytest.mark.row("F-W10")
async def test_an_action_after_a_cleanup_is_recorded(store: Store, visits: Visits) -> None:
    await visits.track_user_action("ada", "before")
    gone = (layout.visitor("ada"), layout.active("ada"), layout.idle("ada"), layout.log("ada", 1))
    await store.commit(Transaction(writes=tuple(map(Delete, gone))))
    await visits.track_user_action("ada", "after")
    assert [action.action for action in await recorded(visits)][-1] == "after"
    visitor = await visits.get("ada")
    assert visitor is not None
    assert visitor.visit.index == 1


@pytest.mark.row("F-C83")
async def test_an_action_of_an_unknown_visitor_is_refused_where_that_was_asked_for(
    store: Store, clock: ManualClock
) -> None:
    strict = Visits(store, unknown="refuse")

    async def act_within(tx: Attempt) -> None:
        await strict.track_user_action("ada", "click", tx=tx)

    for refused in (
        strict.track_user_action("ada", "click"),
        strict.track_batch("ada", batch(click(1))),
        store.run(act_within),
    ):
        with pytest.raises(VisitorUnknownError):
            await refused
    assert await strict.get("ada") is None
    assert await recorded(strict) == []
    await strict.track_session("ada")
    await strict.track_user_action("ada", "click")
    await store.run(act_within)
    assert await strict.track_batch("ada", batch(click(1))) == BatchResult(1, 0)
    assert len(await recorded(strict)) == 3


@pytest.mark.row("F-W1")
async def test_an_action_joins_a_commit_of_the_application(store: Store, visits: Visits, clock: ManualClock) -> None:
    async def work(tx: Attempt) -> None:
        for place in range(3):
            await visits.track_user_action("ada", f"action {place}", tx=tx)
        tx.put(Key("test", "ada", ""), b"")

    await store.run(work)
    assert [action.action for action in await recorded(visits)] == ["action 0", "action 1", "action 2"]
    assert {action.timestamp for action in await recorded(visits)} == {now(clock)}

    async def fail(tx: Attempt) -> None:
        await visits.track_user_action("ada", "late", tx=tx)
        raise LookupError

    with pytest.raises(LookupError):
        await store.run(fail)
    assert len(await recorded(visits)) == 3


@pytest.mark.row("F-W14")
@pytest.mark.parametrize("metadata", BAD_METADATA.values(), ids=BAD_METADATA.keys())
async def test_metadata_out_of_form_is_refused_before_anything_is_written(
    visits: Visits, trips: Trips, metadata: Any
) -> None:
    with pytest.raises(InvalidError, match="metadata"):
        await visits.track_user_action("ada", "click", metadata=metadata)
    assert trips.commits == []


@pytest.mark.row("F-W14")
@pytest.mark.parametrize("metadata", LARGE_METADATA.values(), ids=LARGE_METADATA.keys())
async def test_metadata_beyond_its_cap_is_refused_before_anything_is_written(
    visits: Visits, trips: Trips, metadata: Any
) -> None:
    with pytest.raises(LimitError) as caught:
        await visits.track_user_action("ada", "click", metadata=metadata)
    assert (caught.value.name, caught.value.limit) == ("metadata", limits.METADATA_BYTES)
    assert trips.commits == []


@pytest.mark.row("F-W14")
async def test_metadata_may_be_as_large_and_as_deep_as_its_caps(visits: Visits) -> None:
    largest = {"a": "x" * (limits.METADATA_BYTES - len('{"a":""}'))}
    deepest = nested(limits.METADATA_DEPTH - 1)
    for metadata in (largest, deepest, {}):
        await visits.track_user_action("ada", "click", metadata=metadata)
    assert [action.metadata for action in await recorded(visits)] == [largest, deepest, {}]


@pytest.mark.parametrize("action", ["", "a\0b", "\ud800", "a\n", None])
async def test_the_name_of_an_action_is_text_that_can_be_printed(visits: Visits, trips: Trips, action: Any) -> None:
    with pytest.raises(InvalidError, match="action"):
        await visits.track_user_action("ada", action)
    with pytest.raises(InvalidError, match="resource_id"):
        await visits.track_user_action("ada", "click", action or "")
    with pytest.raises(LimitError):
        await visits.track_user_action("ada", "x" * (limits.ACTION_CHARS + 1))
    with pytest.raises(LimitError):
        await visits.track_user_action("ada", "click", "x" * (limits.RESOURCE_CHARS + 1))
    assert trips.commits == []


async def test_actions_end_with_the_retention_each_by_itself(visits: Visits, clock: ManualClock) -> None:
    await visits.track_user_action("ada", "first")
    clock.advance(RETENTION - timedelta(milliseconds=1))
    await visits.track_user_action("ada", "second")
    assert len(await recorded(visits)) == 2
    clock.advance(timedelta(milliseconds=1))
    assert [action.action for action in await recorded(visits)] == ["second"]


async def test_another_retention_changes_no_time_of_what_was_recorded(store: Store, clock: ManualClock) -> None:
    for retention in (timedelta(days=14), timedelta(days=3)):
        await Visits(store, retention=retention).track_user_action("ada", "click")
    assert {action.timestamp for action in await recorded(Visits(store))} == {now(clock)}


@pytest.mark.row("P-R15")
async def test_the_actions_of_a_visit_are_those_from_its_start_on(visits: Visits, clock: ManualClock) -> None:
    for actions in (3, 1, 2):
        for _ in range(actions):
            await visits.track_user_action("ada", "click")
            clock.advance(STEP)
        clock.advance(IDLE + STEP)
    starts = [visit.started_at async for visit in visits.history("ada")][::-1]
    times = [action.timestamp for action in await recorded(visits)]
    bounds = [*starts, now(clock)]
    assert [sum(start <= at < end for at in times) for start, end in pairwise(bounds)] == [3, 1, 2]


@pytest.mark.row("P-R16")
async def test_a_batch_is_recorded_in_its_order_with_client_sequence_and_both_times(
    visits: Visits, trips: Trips, clock: ManualClock
) -> None:
    clock.advance(timedelta(days=1))
    result = await visits.track_batch(
        "ada",
        batch(
            click(3, at=1_000, resource_id="buy", metadata=msgspec.Raw(b'{"sku":"book"}')),
            click(4, at=4_000),
            click(9, at=5_000, metadata=msgspec.Raw(b"null")),
            sent_at=5_000,
        ),
    )
    assert result == BatchResult(accepted=3, repeated=0)
    assert len(trips.commits) == 1
    assert len(trips.reads) == 1
    at = now(clock)
    assert await recorded(visits) == [
        Action("click", at, at - timedelta(seconds=4), "buy", {"sku": "book"}, "page", 3),
        Action("click", at, at - timedelta(seconds=1), client="page", sequence=4),
        Action("click", at, at, client="page", sequence=9),
    ]


@pytest.mark.row("P-R16")
async def test_a_batch_that_comes_again_is_recorded_once_in_whatever_pieces(visits: Visits, clock: ManualClock) -> None:
    one, two, three = click(1), click(2), click(3)
    assert await visits.track_batch("ada", batch(one, two)) == BatchResult(2, 0)
    assert await visits.track_batch("ada", batch(one, two)) == BatchResult(0, 2)
    assert await visits.track_batch("ada", batch(two, three)) == BatchResult(1, 1)
    assert await visits.track_batch("ada", batch()) == BatchResult(0, 0)
    assert await visits.track_batch("ada", batch(one, client="another page")) == BatchResult(1, 0)
    assert await visits.track_batch("bob", batch(one)) == BatchResult(1, 0)
    assert [(action.client, action.sequence) for action in await recorded(visits)] == [
        ("page", 1),
        ("page", 2),
        ("page", 3),
        ("another page", 1),
    ]
    clock.advance(limits.ACTION_AGE - timedelta(milliseconds=1))
    assert await visits.track_batch("ada", batch(one, two, three)) == BatchResult(0, 3)
    clock.advance(timedelta(milliseconds=1))
    assert await visits.track_batch("ada", batch(one)) == BatchResult(1, 0), "nobody repeats for longer than a day"


@pytest.mark.row("P-R16")
async def test_what_is_out_of_form_is_refused_by_itself_and_again_when_it_comes_again(visits: Visits) -> None:
    given = batch(
        click(1),
        click(2, action=""),
        click(3, metadata=msgspec.Raw(b'{"a":"' + b"x" * limits.METADATA_BYTES + b'"}')),
        click(4, metadata=msgspec.Raw(b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}")),
        click(5, engaged_ms=-1),
        click(6),
    )
    first = await visits.track_batch("ada", given)
    assert (first.accepted, first.repeated) == (2, 0)
    assert [(one.sequence, one.code) for one in first.refused] == [
        (2, "invalid"),
        (3, "limit"),
        (4, "invalid"),
        (5, "invalid"),
    ]
    assert all(one.message for one in first.refused)
    again = await visits.track_batch("ada", given)
    assert again == BatchResult(0, 2, first.refused)
    assert [action.sequence for action in await recorded(visits)] == [1, 6]


@pytest.mark.row("P-R16")
@pytest.mark.parametrize("sequences", [(1, 1), (2, 1), (1, 3, 2), (-1,), (2**60,), (1, -5)])
async def test_sequences_that_do_not_grow_are_refused_as_a_whole(
    visits: Visits, trips: Trips, sequences: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidError, match="sequence"):
        await visits.track_batch("ada", batch(*map(click, sequences)))
    assert trips.commits == []


@pytest.mark.row("P-R16")
@pytest.mark.parametrize("wrong", [True, 1.5, math.nan, "1", None])
async def test_what_is_no_whole_number_is_refused_and_spoils_nothing(visits: Visits, wrong: Any) -> None:
    """Stored, it could not be read again, nor could anything on the same page."""
    for malformed in (batch(click(wrong)), batch(click(1), click(2), sent_at=wrong)):
        with pytest.raises(InvalidError, match="whole number"):
            await visits.track_batch("ada", malformed)
    result = await visits.track_batch("ada", batch(click(1, at=wrong), click(2, engaged_ms=wrong), click(3)))
    assert [(one.sequence, one.code) for one in result.refused] == [(1, "invalid"), (2, "invalid")]
    assert [action.sequence for action in await recorded(visits)] == [3]
    assert (await visits.track_session("ada")).visit.engaged == timedelta(0)


@pytest.mark.row("P-R16")
async def test_a_batch_beyond_the_limit_is_refused_and_one_at_the_limit_is_one_commit(
    visits: Visits, trips: Trips
) -> None:
    with pytest.raises(LimitError):
        await visits.track_batch("ada", batch(*map(click, range(10_000))))
    with pytest.raises(LimitError):
        await visits.track_batch("ada", batch(*map(click, range(limits.ACTION_BATCH + 1))))
    assert trips.commits == []
    largest: dict[str, Any] = {
        "metadata": msgspec.Raw(b'{"a":"' + b"x" * 8_000 + b'"}'),
        "resource_id": "\U00020000" * 512,
    }
    full = batch(*(click(place, **largest) for place in range(limits.ACTION_BATCH)))
    assert (await visits.track_batch("ada", full)).accepted == limits.ACTION_BATCH
    assert len(trips.commits) == 1
    assert [action.sequence for action in await recorded(visits)] == [*range(limits.ACTION_BATCH)]


@pytest.mark.row("P-R16")
@pytest.mark.parametrize("client", ["", "a\0b", "\ud800", "x" * (limits.VISITOR_CHARS + 1)])
async def test_a_client_out_of_form_is_refused(visits: Visits, trips: Trips, client: str) -> None:
    with pytest.raises((InvalidError, LimitError), match="client"):
        await visits.track_batch("ada", batch(click(1), client=client))
    assert trips.commits == []


@pytest.mark.row("F-W13", "P-R16")
@pytest.mark.parametrize("wrong", [-YEAR_MS, YEAR_MS, 2**70, -(2**70)])
async def test_a_clock_that_is_wrong_by_a_year_changes_no_time(visits: Visits, clock: ManualClock, wrong: int) -> None:
    sent_at = clock.now() + wrong
    await visits.track_batch("ada", batch(click(1, at=sent_at - 2_000), click(2, at=sent_at), sent_at=sent_at))
    first, second = await recorded(visits)
    assert first.timestamp == second.timestamp == now(clock)
    assert first.occurred_at == now(clock) - timedelta(seconds=2)
    assert second.occurred_at == now(clock)


@pytest.mark.row("F-W13")
@pytest.mark.parametrize(("ago", "told"), [(-5_000, 0), (YEAR_MS, limits.ACTION_AGE // timedelta(milliseconds=1))])
async def test_an_action_happened_neither_later_than_it_came_nor_longer_ago_than_is_believed(
    visits: Visits, clock: ManualClock, ago: int, told: int
) -> None:
    """A clock that was set between the action and the sending."""
    await visits.track_batch("ada", batch(click(1, at=-ago)))
    (action,) = await recorded(visits)
    assert action.timestamp - action.occurred_at == timedelta(milliseconds=told)


@pytest.mark.row("P-R16")
async def test_the_same_batch_from_two_processes_at_once_is_recorded_once(shared_url: str, clock: ManualClock) -> None:
    given = batch(*map(click, range(20)))
    async with sojourn.open(shared_url, clock=clock) as one, sojourn.open(shared_url, clock=clock) as two:
        async with clock.rushing():
            results = await asyncio.gather(
                *(Visits(store).track_batch("ada", given) for store in (one, two) for _ in range(4))
            )
        assert sorted(result.accepted for result in results) == [0] * 7 + [20]
        assert [action.sequence for action in await recorded(Visits(two))] == [*range(20)]


@pytest.mark.row("P-R16")
@pytest.mark.parametrize("seed", range(5))
async def test_no_action_is_lost_or_doubled_by_a_faulty_engine(url: str, clock: ManualClock, seed: int) -> None:
    engine = FaultyEngine(
        sojourn.open(url, clock=clock).engine, seed, lose=0.2, drop=0.2, repeat=0.2, refuse=0.2, delay=0.2
    )
    async with Store(engine, clock=clock) as store, clock.rushing():
        visits = Visits(store)
        for start in range(0, 60, 2):
            given = batch(click(start), click(start + 1))
            while True:
                try:
                    await visits.track_batch("ada", given)
                except SojournError:
                    continue
                break
        assert [action.sequence for action in await recorded(visits)] == [*range(60)]
        clicks = (visits.track_user_action("bob", "click") for _ in range(20))
        told = await asyncio.gather(*clicks, return_exceptions=True)
        done, unknown = told.count(None), sum(isinstance(one, CommitUnknownError) for one in told)
        assert done <= len(await recorded(visits, "bob")) <= done + unknown
        assert engine.faults.lost
        assert engine.faults.dropped
        assert engine.faults.repeated


@pytest.mark.row("P-R17")
async def test_engaged_time_is_added_to_the_visit_and_shown_wherever_the_visit_is(
    visits: Visits, clock: ManualClock
) -> None:
    await visits.track_session("ada")
    clock.advance(timedelta(minutes=5))
    report = batch(ActionInput(1, 0, engaged_ms=60_000), click(2, engaged_ms=30_000))
    for _ in range(2):
        await visits.track_batch("ada", report)
    assert [action.sequence for action in await recorded(visits)] == [2], "a report without a name is no action"
    visitor = await visits.track_session("ada")
    assert visitor.visit.engaged == timedelta(seconds=90)
    assert await visits.get("ada") == visitor
    assert [visit async for visit in visits.history("ada")] == [visitor.visit]
    clock.advance(IDLE + STEP)
    await visits.track_batch("ada", batch(ActionInput(3, 0, engaged_ms=10_000)))
    engaged = [visit.engaged async for visit in visits.history("ada")]
    assert engaged == [timedelta(0), timedelta(seconds=90)], "the new visit has only just begun"


@pytest.mark.row("P-R17")
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 45 * 60_000),
            st.lists(st.integers(0, 90 * 60_000) | st.just(2**70), max_size=3),
            st.sampled_from(["one tab", "another"]),
        ),
        max_size=20,
    )
)
def test_engaged_time_never_exceeds_the_time_that_has_passed(
    steps: list[tuple[int, list[int], str]],
) -> None:
    async def report() -> None:
        clock = ManualClock()
        async with sojourn.open("memory:", clock=clock) as store:
            visits = Visits(store)
            before = dict[int, timedelta]()
            for place, (pause, engaged, client) in enumerate(steps):
                clock.advance(timedelta(milliseconds=pause))
                reports = (ActionInput(10 * place + n, 0, engaged_ms=ms) for n, ms in enumerate(engaged))
                await visits.track_batch("ada", batch(*reports, client=client))
                log = [visit async for visit in visits.history("ada")][::-1]
                ends = [*(visit.started_at for visit in log[1:]), now(clock)]
                told = timedelta(milliseconds=min(sum(engaged), YEAR_MS))
                for visit, end in zip(log, ends, strict=True):
                    was = before.get(visit.index, timedelta(0))
                    assert was <= visit.engaged <= end - visit.started_at
                    if visit is log[-1]:
                        assert visit.engaged == min(was + told, end - visit.started_at)
                    before[visit.index] = visit.engaged

    asyncio.run(report())


async def test_an_action_that_begins_a_visit_belongs_to_it_also_in_a_batch(visits: Visits, clock: ManualClock) -> None:
    await visits.track_session("ada")
    clock.advance(IDLE + STEP)
    await visits.track_batch("ada", batch(click(1)))
    visitor = await visits.get("ada")
    assert visitor is not None
    assert (visitor.visit.index, visitor.visit.started_at) == (2, now(clock))
    assert (await recorded(visits))[0].timestamp >= visitor.visit.started_at


async def test_the_record_of_an_action_holds_nothing_but_what_was_told(
    store: Store, visits: Visits, trips: Trips
) -> None:
    await visits.track_user_action("ada", "click")
    appended = [write.value for write in trips.commits[0].writes if isinstance(write, Append)]
    kept = RETENTION // timedelta(milliseconds=1)
    assert appended == [b'j{"action":"click","kept":%d}' % kept]
    assert not any(isinstance(write, Put) for write in trips.commits[0].writes)
