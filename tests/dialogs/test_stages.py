"""Dialogs of stages: rows I-C77 and I-C78, and what stages keep."""

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
import pytest

from sojourn import limits
from sojourn.dialogs import (
    KEEP,
    REFRESH,
    Answer,
    Button,
    Context,
    Dialog,
    DialogInfo,
    Ended,
    Field,
    Handle,
    Stage,
    StagedDialog,
    View,
    Words,
    button,
    modal,
    select,
)
from sojourn.errors import InvalidError
from sojourn.kernel import Key, Reads, Store
from sojourn.testing.dialogs import Desk, RecordedInteraction
from sojourn.testing.dialogs import button as clicked
from tests.dialogs.conftest import Kinds, Oops, Start, soon


class Trace:
    """Which hooks ran, and which of them is to fail."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.failing = ""


def wrote(dialog_id: str, hook: str) -> Key:
    return Key("test.stages", dialog_id, hook)


class Traced(Stage):
    """A stage that notes which hooks ran, by a record of its own as well, and fails where it is told to."""

    seen_by: ClassVar[Trace] = Trace()

    async def trace(self, ctx: Context, hook: str) -> None:
        ran = f"{hook} {self.name}"
        self.seen_by.ran.append(ran)
        ctx.tx.put(wrote(ctx.dialog_id, ran), b"ran")
        if ran == self.seen_by.failing:
            raise Oops(ran)

    async def view(self, ctx: Context) -> View:
        return View.of(self.name, [ctx.button("Next", self.next), ctx.button("Back", self.back)])

    async def enter(self, ctx: Context, previous: Stage) -> Answer:
        answer = await super().enter(ctx, previous)
        await self.trace(ctx, "enter")
        return answer

    async def leave(self, ctx: Context) -> None:
        await self.trace(ctx, "leave")

    async def update(self, ctx: Context) -> Answer:
        answer = await super().update(ctx)
        await self.trace(ctx, "update")
        return answer

    @button
    async def next(self, ctx: Context) -> Answer:
        await self.trace(ctx, "next")
        following = self.dialog.next_stage
        answer = ctx.end(self.dialog.results) if following is None else await self.go(ctx, following)
        await self.trace(ctx, "gone")
        return answer

    @button
    async def before(self, ctx: Context) -> Answer:
        return await self.back(ctx)

    @button
    async def careful(self, ctx: Context) -> Answer:
        """Go on, or stay and say why not."""
        try:
            return await self.go(ctx, "Confirm")
        except Oops as error:
            await ctx.notify(f"{error}")
            return KEEP


class Choice(msgspec.Struct):
    """What the first stage keeps."""

    size: str = ""
    seen: int = 0


class Size(Traced):
    data: Choice

    async def view(self, ctx: Context) -> View:
        self.data.seen += 1
        sizes = ctx.select(self.chosen, ["S", "M", "L"])
        return View.of(f"Size? {self.data.size}", [sizes, ctx.button("Next", self.next), ctx.button("Back", self.back)])

    async def leave(self, ctx: Context) -> None:
        self.data.size += "!"
        await super().leave(ctx)

    @select
    async def chosen(self, ctx: Context) -> Answer:
        (self.data.size,) = ctx.values
        self.result = self.data.size
        return await self.go(ctx, Address)


class Address(Traced):
    name = "where"

    @modal
    async def filled(self, ctx: Context) -> Answer:
        self.data["street"] = ctx.fields["street"]
        self.result = dict(ctx.fields)
        return await self.go(ctx, "Confirm")

    @button
    async def ask(self, ctx: Context) -> None:
        await ctx.open_form(ctx.form("Where to?", self.filled, Field("street", "Street")))


class Confirm(Traced):
    @button
    async def restart(self, ctx: Context) -> Answer:
        return await self.go(ctx, 0)

    @button
    async def astray(self, ctx: Context) -> Answer:
        return await self.go(ctx, "nowhere")


class Shirt(StagedDialog[dict[str, Any]]):
    ttl = timedelta(minutes=3)
    stages = (Size, Address, Confirm)

    async def end(self, ctx: Context, ended: Ended[dict[str, Any]]) -> None:
        await ctx.edit_origin(ended.code)
        self.result = self.results

    @button
    async def where(self, ctx: Context) -> None:
        """Say where the dialog is, from any stage."""
        before, after = self.previous_stage, self.next_stage
        names = [None if one is None else one.name for one in (before, type(self.current), after)]
        await ctx.notify(f"{names}")

    @button
    async def go_to(self, ctx: Context, name: str) -> Answer:
        return await self.go(ctx, name)


class Renamed(StagedDialog[None]):
    """The same in a later program, where a stage is gone."""

    stages = (Size, Confirm)


class Broken(msgspec.Struct):
    needed: int


class Unbegun(Traced):
    data: Broken


class Refreshing(Traced):
    async def enter(self, ctx: Context, previous: Stage) -> Answer:
        await super().enter(ctx, previous)
        return REFRESH


class Odd(StagedDialog[None]):
    stages = (Confirm, Unbegun, Refreshing)

    @button
    async def go_to(self, ctx: Context, name: str) -> Answer:
        return await self.go(ctx, name)

    @button
    async def spoil(self, _ctx: Context) -> None:
        self.stage_of(Refreshing).data = object()


@pytest.fixture(autouse=True)
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    """The trace of this test."""
    begun = Trace()
    monkeypatch.setattr(Traced, "seen_by", begun)
    return begun


@pytest.fixture
def kinds() -> Kinds:
    return {"shirt": Shirt, "odd": Odd}


async def known(handle: Handle[Any]) -> DialogInfo:
    info = await handle.info()
    assert info is not None
    return info


async def at(handle: Handle[Any]) -> str | None:
    """The stage that the dialog is at."""
    return (await known(handle)).stage


async def told(desk: Desk, handle: Handle[Any]) -> str:
    """What the dialog says about where it is."""
    await desk.dispatch(clicked(handle.id, "where", platform=desk.screen))
    return desk.last.notices[0]


async def call(desk: Desk, handle: Handle[Any], action: str, *args: object) -> RecordedInteraction:
    """Click a button of that action, wherever it was shown."""
    await desk.dispatch(clicked(handle.id, action, *args, platform=desk.screen))
    return desk.last


def token_of(desk: Desk, label: str) -> str:
    """What the button of that label carries."""
    return next(one.token for row in desk.view.rows for one in row if isinstance(one, Button) and one.label == label)


async def written(store: Store, handle: Handle[Any], *hooks: str) -> list[str]:
    """Which of these hooks have left a record of their own."""
    found = (await store.read(Reads(tuple(wrote(handle.id, hook) for hook in hooks)))).records.keys
    return [hook for hook, record in zip(hooks, found, strict=True) if record is not None]


@pytest.mark.row("I-C77")
async def test_a_change_of_stages_leaves_moves_and_enters_in_one_step(desk: Desk, store: Store, trace: Trace) -> None:
    handle = await desk.start(Shirt)
    before = await known(handle)
    assert (before.stage, desk.view.text) == ("Size", "Size? ")
    await desk.click("Next")
    assert trace.ran == ["next Size", "leave Size", "enter where", "gone Size"]
    assert await written(store, handle, *trace.ran) == trace.ran
    after = await known(handle)
    assert (after.stage, desk.view.text) == ("where", "where")
    assert [view.text for view in desk.last.edits] == ["where"]


@pytest.mark.row("I-C77")
@pytest.mark.parametrize("failing", ["next Size", "leave Size", "enter where", "gone Size"])
async def test_whatever_fails_within_a_change_of_stages_nothing_of_it_has_happened(
    desk: Desk, store: Store, trace: Trace, failing: str
) -> None:
    handle = await desk.start(Shirt)
    trace.failing = failing
    dispatched = await desk.click("Next")
    assert dispatched.result == "failed"
    assert isinstance(dispatched.error, Oops)
    assert desk.last.is_answered
    assert trace.ran[-1] == failing
    assert await written(store, handle, *trace.ran) == []
    assert (await known(handle)).stage == "Size"
    assert desk.view.text == "Size? "
    assert await told(desk, handle) == "[None, 'Size', 'where']"
    trace.failing = ""
    await desk.click("Next")
    assert await at(handle) == "where"
    await desk.click("Back")
    assert desk.view.text == "Size? !"  # left once


@pytest.mark.row("I-C77")
async def test_a_handler_that_was_not_let_go_is_still_at_its_stage(desk: Desk, trace: Trace) -> None:
    handle = await desk.start(Shirt)
    trace.failing = "leave Size"
    assert (await call(desk, handle, "careful")).notices == ["leave Size"]
    assert await told(desk, handle) == "[None, 'Size', 'where']"


@pytest.mark.row("I-C77")
async def test_the_same_stage_again_is_an_update(desk: Desk, trace: Trace) -> None:
    handle = await desk.start(Shirt)
    await call(desk, handle, "go_to", "Size")
    assert trace.ran == ["update Size"]
    await desk.dispatch(clicked(handle.id, page=0, platform=desk.screen))
    assert trace.ran == ["update Size"] * 2
    assert await told(desk, handle) == "[None, 'Size', 'where']"


@pytest.mark.row("I-C77")
@pytest.mark.parametrize("page", [None, 3, limits.DIALOG_PAGE_MAX])
async def test_a_button_that_leads_to_no_stage_is_an_update(desk: Desk, trace: Trace, page: int | None) -> None:
    handle = await desk.start(Shirt)
    token = {} if page is None else {"page": page}
    await desk.dispatch(clicked(handle.id, platform=desk.screen, **token))  # type: ignore[arg-type]
    assert trace.ran == ["update Size"]
    assert await at(handle) == "Size"


@pytest.mark.row("I-C77")
async def test_a_button_that_names_a_page_leads_to_the_stage_that_stands_there(desk: Desk, trace: Trace) -> None:
    handle = await desk.start(Shirt)
    await desk.dispatch(clicked(handle.id, page=2, platform=desk.screen))
    assert trace.ran == ["leave Size", "enter Confirm"]
    assert await told(desk, handle) == "['Size', 'Confirm', None]"


@pytest.mark.row("I-C77")
async def test_a_second_click_on_next_does_not_skip_a_stage(desk: Desk) -> None:
    handle = await desk.start(Shirt)
    token = token_of(desk, "Next")
    for _ in range(2):
        await desk.dispatch(clicked("", token=token, platform=desk.screen))
    assert desk.last.notices == [Words().stale]
    assert await at(handle) == "where"


@pytest.mark.row("I-C77")
async def test_of_many_clicks_at_once_on_one_next_one_goes_on(desk: Desk, trace: Trace) -> None:
    handle = await desk.start(Shirt)
    token = token_of(desk, "Next")
    clicks = [desk.dialogs.dispatch(clicked("", token=token, platform=desk.screen)) for _ in range(8)]
    assert {one.result for one in await soon(asyncio.gather(*clicks))} == {"kept"}
    assert await at(handle) == "where"
    assert trace.ran.count("enter where") == 1


@pytest.mark.row("I-C77")
async def test_what_was_asked_at_an_older_stage_is_not_taken_by_another(desk: Desk) -> None:
    handle = await desk.start(Shirt)
    await desk.select("M")
    assert await at(handle) == "where"
    shown = dict(desk.screen.views)
    await call(desk, handle, "ask")
    await desk.click("Next")
    await desk.submit(street="Main Street 1")
    assert desk.last.notices == [Words().stale]
    assert await at(handle) == "Confirm"
    assert len(desk.screen.views) == len(shown)


@pytest.mark.row("I-C77")
async def test_stages_keep_their_data_and_a_new_process_goes_on_at_the_same_one(desk: Desk) -> None:
    handle = await desk.start(Shirt)
    await desk.select("M")
    await desk.restart()
    assert await told(desk, handle) == "['Size', 'where', 'Confirm']"
    async with desk.elsewhere() as beside:
        await beside.click("Back")
        assert beside.view.text == "Size? M!"
        await beside.select("L")
    await desk.restart()
    await call(desk, handle, "ask")
    await desk.submit(street="Main Street 1")
    assert await at(handle) == "Confirm"
    await desk.click("Next")
    ended = await desk.handle(handle.id).wait()
    assert ended.result == {"Size": "L", "where": {"street": "Main Street 1"}}


@pytest.mark.row("I-C77")
async def test_a_process_that_was_killed_between_two_stages_has_left_the_dialog_at_the_second(
    desk: Desk, elsewhere: Start
) -> None:
    handle = await desk.start(Shirt)
    beside = await elsewhere()
    await beside.select("M")
    await beside.crash()
    assert await told(desk, handle) == "['Size', 'where', 'Confirm']"
    await desk.click("Back")
    assert desk.view.text == "Size? M!"


@pytest.mark.row("I-C77")
async def test_an_entered_stage_may_give_the_dialog_its_full_time_again(desk: Desk) -> None:
    handle = await desk.start(Odd)
    before = await known(handle)
    await desk.advance(timedelta(minutes=1))
    await call(desk, handle, "go_to", "Refreshing")
    after = await known(handle)
    assert before.deadline is not None
    assert after.deadline is not None
    assert after.deadline >= before.deadline + timedelta(minutes=1)


@pytest.mark.row("I-C78")
async def test_the_stage_before_may_be_the_first(desk: Desk, trace: Trace) -> None:
    handle = await desk.start(Shirt)
    assert await told(desk, handle) == "[None, 'Size', 'where']"
    await desk.click("Next")
    assert await told(desk, handle) == "['Size', 'where', 'Confirm']"
    trace.ran.clear()
    await desk.click("Back")
    assert trace.ran == ["leave where", "enter Size"]
    assert await told(desk, handle) == "[None, 'Size', 'where']"


async def test_what_the_stages_gave_is_there_when_the_time_is_over(desk: Desk) -> None:
    handle = await desk.start(Shirt)
    await desk.select("M")
    await desk.advance(timedelta(minutes=3))
    ended = await handle.wait()
    assert (ended.code, ended.result) == ("expired", {"Size": "M"})


async def test_going_back_goes_the_way_that_was_come_and_ends_at_the_first_stage(desk: Desk) -> None:
    handle = await desk.start(Shirt)
    for name in ("Confirm", "where", "Confirm"):
        await call(desk, handle, "go_to", name)
    seen: list[str | None] = []
    for _ in range(3):
        await desk.click("Back")
        seen.append(await at(handle))
    assert seen == ["where", "Confirm", "Size"]
    await desk.click("Back")
    assert desk.last.notices == [Words().stale]
    assert await at(handle) == "Size"


async def test_only_so_many_moves_are_remembered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIALOG_HISTORY", 2)
    handle = await desk.start(Shirt)
    for name in ("where", "Confirm", "where", "Confirm"):
        await call(desk, handle, "go_to", name)
    for _ in range(2):
        await desk.click("Back")
    assert await told(desk, handle) == "[None, 'Confirm', None]"


async def test_an_action_of_the_dialog_is_for_every_stage_and_for_older_buttons(desk: Desk) -> None:
    handle = await desk.start(Shirt)
    await desk.click("Next")
    await desk.dispatch(clicked(handle.id, "where", page=0, platform=desk.screen))
    assert desk.last.notices == ["['Size', 'where', 'Confirm']"]


async def test_what_names_no_action_or_one_that_is_not_there_is_an_update(desk: Desk, trace: Trace) -> None:
    handle = await desk.start(Shirt)
    for action in ("chosen", "restart", "data", "go", "__init__", "unheard_of"):
        trace.ran.clear()
        await call(desk, handle, action)
        assert trace.ran == ["update Size"], action


async def test_a_stage_that_there_is_not_cannot_be_gone_to(desk: Desk) -> None:
    handle = await desk.start(Shirt)
    await call(desk, handle, "go_to", "Confirm")
    dispatched = await desk.dispatch(clicked(handle.id, "astray", platform=desk.screen))
    assert isinstance(dispatched.error, InvalidError)
    assert await at(handle) == "Confirm"


async def test_a_dialog_at_a_stage_that_the_program_no_longer_has_stays_as_it_is(desk: Desk, kinds: Kinds) -> None:
    handle = await desk.start(Shirt)
    await desk.click("Next")
    kinds["shirt"] = Renamed
    await desk.restart()
    dispatched = await desk.click("Next")
    assert isinstance(dispatched.error, InvalidError)
    assert desk.last.is_answered
    kinds["shirt"] = Shirt
    await desk.restart()
    await desk.click("Next")
    assert await at(handle) == "Confirm"


async def test_a_stage_that_the_program_no_longer_has_is_left_out_of_the_way_back(desk: Desk, kinds: Kinds) -> None:
    handle = await desk.start(Shirt)
    for name in ("where", "Confirm"):
        await call(desk, handle, "go_to", name)
    kinds["shirt"] = Renamed
    await desk.restart()
    await call(desk, handle, "before")
    assert await at(handle) == "Size"


async def test_a_stage_whose_data_cannot_begin_is_not_entered(desk: Desk) -> None:
    handle = await desk.start(Odd)
    dispatched = await desk.dispatch(clicked(handle.id, "go_to", "Unbegun", platform=desk.screen))
    assert isinstance(dispatched.error, InvalidError)
    assert await at(handle) == "Confirm"


async def test_data_of_a_stage_that_cannot_be_stored_fails_the_step(desk: Desk) -> None:
    handle = await desk.start(Odd)
    dispatched = await desk.dispatch(clicked(handle.id, "spoil", platform=desk.screen))
    assert isinstance(dispatched.error, InvalidError)
    assert await at(handle) == "Confirm"


class Unstaged(StagedDialog[None]):
    """What others may derive from."""


class Empty(Unstaged):
    stages = ()


class Twice(Unstaged):
    stages = (Size, Size)


@pytest.mark.parametrize(
    ("kind", "problem"), [(Unstaged, "at least one"), (Empty, "at least one"), (Twice, "same name")]
)
def test_a_dialog_without_stages_or_with_two_of_a_name_cannot_be_registered(
    desk: Desk, kind: type[StagedDialog[None]], problem: str
) -> None:
    with pytest.raises(InvalidError, match=problem):
        desk.dialogs.register("incomplete")(kind)


def test_a_stage_has_a_name_that_can_be_stored() -> None:
    with pytest.raises(InvalidError, match="name"):

        class Wrong(Stage):
            name = "no name"


def test_a_stage_of_another_dialog_is_none_of_this_one() -> None:
    dialog = Shirt()
    dialog.extra = {}
    with pytest.raises(InvalidError, match="no stage"):
        dialog.stage_of(Refreshing)
    assert isinstance(dialog, Dialog)
    assert dialog.results == {}
