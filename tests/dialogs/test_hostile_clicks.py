"""Clicks that nobody should make, on every engine: forged actions and arguments, strangers, crowds, and bad moments."""

import asyncio
from typing import Any

import pytest

from sojourn import limits
from sojourn.dialogs import NOBODY, Context, Handle, User
from sojourn.dialogs import button as on_button_click
from sojourn.errors import DialogGoneError
from sojourn.kernel import Store
from sojourn.testing.dialogs import Desk, RecordedInteraction, button, callback, command, message, modal, select
from tests.dialogs.conftest import Counter, Kind, Kinds, Oops, in_time, records, settled, soon, telling, until, variant
from tests.dialogs.hostile import LONE, LONG, NUL, STEP, at_last, dump, lives_on
from tests.documents.conftest import HastyClock

INNER = [
    "start",
    "end",
    "dispatch",
    "migrate",
    "on_button",
    "on_modal",
    "data",
    "diary",
    "gate",
    "count",
    "buttons",
    "__init__",
    "__class__",
    "_missing",
    "no_such_method",
    "update_filter",
]


@pytest.mark.parametrize("action", INNER)
async def test_only_marked_methods_can_be_called_from_outside(desk: Desk, counter: Kind, action: str) -> None:
    handle = await desk.start(counter)
    before = await dump(desk, handle.id)
    for came in (
        button("", token=f"s1.{handle.id}.{action}"),
        button("", token=f"s1.{handle.id}.{action}.1"),
        select(handle.id, action, ["1"]),
        modal(handle.id, action, {"a": "1"}),
        callback(handle.id, action),
    ):
        came.platform = desk.screen
        assert (await desk.dispatch(came)).result == "failed"
        assert came.notices
    assert await dump(desk, handle.id) == before
    assert counter.diary == ["start"]
    await lives_on(desk, handle)


async def test_an_action_takes_only_the_kind_of_interaction_that_it_is_marked_for(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    before = await dump(desk, handle.id)
    for came in (
        button(handle.id, counter.filled),
        select(handle.id, counter.more, ["1"]),
        modal(handle.id, counter.chosen, {"a": "1"}),
        callback(handle.id, counter.more),
    ):
        came.platform = desk.screen
        assert (await desk.dispatch(came)).result == "failed"
        assert came.notices
    assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


ARGUMENTS = ["abc", "1.5", "nan", "[1]", "{}", "null", "true", "9" * 3_900, "[" * 1_300, '"1"', "1.1", "*abcd"]


@pytest.mark.parametrize("argument", ARGUMENTS, ids=lambda text: text[:6])
async def test_an_argument_that_does_not_fit_its_handler_changes_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, argument: str
) -> None:
    async def more(self: Counter, _: Context, by: int = 1, words: list[str] = []) -> None:  # noqa: B006  never changed
        self.data.clicks += by
        self.data.words += words

    kinds["strict"] = kind = variant(counter, pick=on_button_click(more))
    await desk.restart()
    handle = await desk.start(kind)
    before = await dump(desk, handle.id)
    for args in ((argument, "[]"), ("1", argument), (argument,), ("1", "[]", argument)):
        came = button(handle.id, "pick", *args, platform=desk.screen)
        clicked = await soon(desk.dispatch(came))
        assert came.is_answered
        if clicked.result == "kept":  # it was a number, or a list, after all
            before = await dump(desk, handle.id)
        else:
            assert clicked.result in {"failed", "stale"}
            assert came.notices
            assert await dump(desk, handle.id) == before
    await lives_on(desk, handle)


async def test_a_token_of_arguments_that_nobody_keeps_is_stale(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    came = button("", token=f"s1.{handle.id}.more.*zzzz", platform=desk.screen)
    clicked = await desk.dispatch(came)
    assert clicked.result in {"stale", "foreign"}
    assert came.is_answered is clicked.is_handled
    await lives_on(desk, handle)


STRANGERS = [NOBODY, User("bea"), User("ANN"), User("ann "), User("ann", "red"), User(NUL), User(LONE), User(LONG)]


@pytest.mark.row("I-C80")
@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda user: ascii(user.id)[:9])
async def test_whoever_did_not_start_a_dialog_is_told_that_it_is_not_for_them(
    desk: Desk, counter: Kind, stranger: User
) -> None:
    handle = await desk.start(counter)
    before = await dump(desk, handle.id)
    for action in ("more", "done", "breaks", None):
        came = button(handle.id, action, user=stranger, platform=desk.screen)
        assert (await desk.dispatch(came)).result == "denied"
        assert came.notices == ["This is not for you."]
    assert await dump(desk, handle.id) == before
    assert counter.diary == ["start"]
    await lives_on(desk, handle)


# -- Bad moments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("becomes", ["started", "failed", "denied"])
async def test_who_clicks_while_a_dialog_starts_waits_and_is_answered(
    desk: Desk, counter: Kind, kinds: Kinds, becomes: str
) -> None:
    async def start(self: Counter, ctx: Context) -> None:
        await Counter.start(self, ctx)
        await self.gate.go_through()
        if becomes == "failed":
            raise Oops("on purpose")

    async def start_filter(self: Counter, _: Context) -> bool:
        if becomes == "denied":
            await self.gate.go_through()
        return becomes != "denied"

    kinds["slow"] = slow = variant(counter, start=start, start_filter=start_filter)
    await desk.restart()
    slow.gate.close()
    starting = asyncio.ensure_future(desk.start(slow, id="one"))
    await until(lambda: slow.gate.inside)
    came = [button("one", slow.more, platform=desk.screen) for _ in range(4)]
    clicks = [asyncio.ensure_future(desk.dialogs.dispatch(one)) for one in came]
    await settled(desk.store)
    assert not any(click.done() for click in clicks)
    slow.gate.open()
    assert (await soon(starting)).outcome == becomes
    results = [(await soon(click)).result for click in clicks]
    assert results == ["kept" if becomes == "started" else "missing"] * 4
    assert all(one.is_answered for one in came)


async def test_who_clicks_while_a_start_hangs_is_told_to_try_again(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock, store: Store
) -> None:
    async def start(self: Counter, ctx: Context) -> None:
        await Counter.start(self, ctx)
        await self.gate.go_through()

    kinds["slow"] = slow = variant(counter, start=start)
    await desk.restart()
    slow.gate.close()
    starting = asyncio.ensure_future(desk.start(slow, id="one"))
    await until(lambda: slow.gate.inside)
    came = button("one", slow.more, platform=desk.screen)
    clicked = await at_last(desk, clock, desk.dialogs.dispatch(came))
    assert clicked.result in {"busy", "missing"}
    assert came.notices
    started = await in_time(store, clock, starting, STEP)
    assert started.outcome == "failed"
    assert await records(store, "one") == []
    with pytest.raises(DialogGoneError):
        await started.wait()


async def test_more_clicks_than_may_wait_are_told_to_try_again(
    desk: Desk, counter: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIALOG_WAITERS", 4)
    handle = await desk.start(counter)
    counter.gate.close()
    came = [button(handle.id, counter.more, platform=desk.screen) for _ in range(12)]
    clicks = [asyncio.ensure_future(desk.dialogs.dispatch(one)) for one in came]
    await until(lambda: counter.gate.inside)
    await settled(desk.store)
    refused = [click.result().result for click in clicks if click.done()]
    assert refused == ["busy"] * 7
    counter.gate.open()
    results = [(await soon(click)).result for click in clicks]
    assert results.count("kept") == 5
    assert all(one.is_answered for one in came)
    assert counter.gate.crowd == 1
    await lives_on(desk, handle)


async def test_a_partition_that_cannot_be_named_is_answered(desk: Desk, counter: Kind, options: dict[str, Any]) -> None:
    def nowhere(_: str) -> str:
        raise Oops("on purpose")

    handle = await desk.start(counter)
    for partition in (nowhere, lambda _: "", lambda _: LONG * 10, lambda _: None):
        options["partition"] = partition
        await desk.restart()
        came = button(handle.id, counter.more, platform=desk.screen)
        clicked = await soon(desk.dispatch(came))
        assert clicked.is_handled
        assert came.is_answered
    del options["partition"]
    await desk.restart()
    await lives_on(desk, desk.handle(handle.id))


# -- Crowds -----------------------------------------------------------------------------------------------------------


async def test_everything_at_once_counts_each_click_once_and_ends_once(
    desk: Desk, counter: Kind, kinds: Kinds, store: Store
) -> None:
    """Proves that clicks, failures, strangers, repeats, forgeries and two ends at once leave one history."""
    told = telling(desk.dialogs)
    handle: Handle[int] = await desk.start(counter)

    def everything() -> list[RecordedInteraction]:
        good = [button(handle.id, counter.more) for _ in range(16)]
        bad = [
            *(button(handle.id, counter.breaks) for _ in range(4)),
            *(button(handle.id, counter.more, user="eve") for _ in range(4)),
            *(button("", token=f"s1.{handle.id}.{text}") for text in ("__init__", "more.x", "", "~", LONE)),
            *(message("hello") for _ in range(2)),
            command("start"),
            button("unknown", "more"),
        ]
        return [*good, *bad, *(one.again() for one in good)]

    came = everything()
    for one in came:
        one.platform = desk.screen
    results = await soon(asyncio.gather(*(desk.dialogs.dispatch(one) for one in came)))
    assert [one.result for one in results].count("kept") == 16
    assert [one.result for one in results].count("duplicate") == 16
    assert all(one.is_answered is what.is_handled for one, what in zip(came, results, strict=True))
    ends = [
        *(desk.dialogs.dispatch(button(handle.id, counter.done, platform=desk.screen)) for _ in range(4)),
        *(desk.dialogs.end(handle.id) for _ in range(4)),
    ]
    ended = await soon(asyncio.gather(*ends))
    outcome = await handle.wait()
    assert all(one in (outcome, None) for one in (getattr(each, "ended", each) for each in ended))
    assert counter.diary.count(f"end {outcome.code}") == 1
    await until(lambda: [event.name.value for event in told].count("ended"))
    await settled(store)
    assert [event.name.value for event in told].count("ended") == 1
    assert [event.name.value for event in told].count("updated") == 16
