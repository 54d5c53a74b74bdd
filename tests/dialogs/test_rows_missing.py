"""Rows about what is not for a dialog, or comes too late, or from somebody else, and about platforms that wait."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.dialogs import (
    NOBODY,
    Cause,
    Context,
    DialogInfo,
    Dialogs,
    Edit,
    Filter,
    Interaction,
    Place,
    User,
    View,
    anyone,
    filtered,
    role,
    users,
)
from sojourn.kernel import Store
from sojourn.testing.dialogs import ANN, Desk, RecordedInteraction, Screen, button, callback, command, message, modal
from tests.dialogs.conftest import MINUTES, Counter, Kind, Kinds, Make, Start, heard, soon, telling, variant
from tests.documents.conftest import HastyClock, settled, until


@pytest.mark.row("I-C30")
async def test_who_clicks_too_late_is_told_why(desk: Desk, counter: Kind) -> None:
    """Proves the causes of one life: unknown before it, ended, forgotten; and that each is answered."""

    async def click() -> tuple[str, Cause | None, bool, bool]:
        dispatched = await desk.dispatch(button("one", counter.more))
        return dispatched.result, dispatched.cause, dispatched.is_handled, bool(desk.last.notices)

    assert await click() == ("missing", Cause.UNKNOWN, True, True)
    handle = await desk.start(counter, id="one")
    await handle.end()
    assert await click() == ("missing", Cause.ENDED, True, True)
    await desk.advance(limits.DIALOG_RETAIN)
    assert await click() == ("missing", Cause.UNKNOWN, True, True)
    assert counter.diary == ["start", "end cancelled"]


@pytest.mark.row("I-C30", "I-C41")
@pytest.mark.parametrize("is_swept", [False, True])
async def test_a_click_after_the_deadline_is_told_of_it(
    desk: Desk, counter: Kind, clock: HastyClock, *, is_swept: bool
) -> None:
    """Proves that the deadline counts whether or not anybody has acted on it by then, and the end hook ran once."""
    handle = await desk.start(counter)
    if is_swept:
        await desk.advance(MINUTES)
    else:
        clock.advance(MINUTES)
    dispatched = await desk.dispatch(button(handle.id, counter.more))
    assert (dispatched.result, dispatched.cause) == ("missing", Cause.EXPIRED)
    assert desk.last.notices
    assert counter.diary == ["start", "end expired"]
    assert (await handle.wait()).code == "expired"


@pytest.mark.row("I-C30", "I-C60")
async def test_what_this_process_cannot_read_is_missing_and_untouched(
    desk: Desk, counter: Kind, elsewhere: Start
) -> None:
    def newer(store: Store) -> Dialogs:
        dialogs = Dialogs(store)
        dialogs.register("counter", version=2)(counter)
        return dialogs

    handle = await desk.start(counter)
    before = await handle.info()
    for make, cause in ((newer, Cause.VERSION), (Dialogs, Cause.UNREGISTERED)):
        other = await elsewhere(make)
        dispatched = await other.dispatch(button(handle.id, counter.more))
        assert (dispatched.result, dispatched.cause) == ("missing", cause)
        assert other.last.notices
    assert await handle.info() == before
    assert (await desk.click("More")).result == "kept"


@pytest.mark.row("I-C30")
async def test_a_handler_of_missing_dialogs_takes_the_place_of_the_default(desk: Desk, counter: Kind) -> None:
    asked: list[tuple[Cause, Interaction, DialogInfo | None]] = []

    @desk.dialogs.on_missing
    async def missing(cause: Cause, interaction: Interaction, info: DialogInfo | None) -> None:
        asked.append((cause, interaction, info))
        await interaction.responder.notify("gone")

    handle = await desk.start(counter)
    await handle.end()
    await desk.dispatch(button(handle.id, counter.more))
    assert (desk.last.notices, desk.last.edits) == (["gone"], [])
    assert asked == [(Cause.ENDED, desk.last, await handle.info())]
    await desk.dispatch(button("nobody", counter.more))
    assert [info for cause, _, info in asked if cause is Cause.UNKNOWN] == [None]
    assert missing is not None


@pytest.mark.row("I-C31")
async def test_a_message_of_a_missing_dialog_can_be_clicked_no_more(desk: Desk, counter: Kind) -> None:
    """Proves that what the message shows stays, its components disabled, and who clicked is told."""
    handle = await desk.start(counter)
    (place,) = desk.screen.views
    await handle.end()
    desk.screen.views[place] = shown = View("0", desk.last.replies[0].rows)
    await desk.dispatch(button(handle.id, counter.more, place=place))
    assert desk.last.notices
    assert all(one.disabled for row in desk.screen.views[place].rows for one in row)
    assert shown.rows


@pytest.mark.row("I-C31")
async def test_where_a_platform_cannot_edit_who_clicks_is_told(store: Store, make: Make, counter: Kind) -> None:
    async with Desk(store, make, screen=Screen(lacks=[Edit])) as desk:
        dispatched = await desk.dispatch(button("nobody", counter.more))
        assert (dispatched.result, desk.last.edits) == ("missing", [])
        assert desk.last.notices


THEIRS = "their-form"
AUTOCOMPLETE = "autocomplete"
LATER = "s2.one.more"


@pytest.mark.row("I-C72")
@pytest.mark.parametrize(
    "interaction",
    [
        command("help"),
        message("hello"),
        modal("", None, {"a": "b"}, token=THEIRS),
        callback("", token=AUTOCOMPLETE),
        button("", token=LATER),
        button("", token=""),
    ],
    ids=lambda one: f"{one.kind.value}-{one.token}",
)
async def test_what_is_no_business_of_dialogs_is_left_to_others(
    elsewhere: Start, counter: Kind, interaction: RecordedInteraction
) -> None:
    """Proves that it is not answered, nothing is stored, and the framework is told that it was not handled."""
    process = await elsewhere()
    await process.start(counter)
    process.wire.clear()
    told = telling(process.dialogs)
    dispatched = await process.dispatch(interaction.again())
    assert (dispatched.result, dispatched.is_handled, dispatched.dialog_id) == ("foreign", False, None)
    assert not process.last.is_answered
    assert process.wire.sent == []
    assert told == []


@pytest.mark.row("I-C80")
@pytest.mark.parametrize(
    "stranger", [User("bob"), User("ann", tenant="other"), NOBODY], ids=["other", "tenant", "nobody"]
)
async def test_only_its_owner_may_use_a_dialog(desk: Desk, counter: Kind, stranger: User) -> None:
    told = telling(desk.dialogs)
    handle = await desk.start(counter)
    before = await handle.info()
    dispatched = await desk.dispatch(button(handle.id, counter.more, user=stranger))
    assert (dispatched.result, dispatched.is_handled) == ("denied", True)
    assert desk.last.notices
    assert await handle.info() == before
    assert counter.diary == ["start"]
    assert await heard(told, "started", "denied")
    assert (await desk.click("More")).result == "kept"


@pytest.mark.row("I-C80", "I-C64")
@pytest.mark.parametrize(
    ("update_filter", "allowed"),
    [
        (anyone, {"ann", "bob", "eve"}),
        (role("staff"), {"bob"}),
        (users("eve"), {"eve"}),
        (users("eve") | role("staff"), {"bob", "eve"}),
        (~users("eve"), {"ann", "bob"}),
        (filtered(lambda ctx: ctx.user.name == "Eve"), {"eve"}),
    ],
    ids=["anyone", "role", "users", "or", "not", "function"],
)
async def test_a_dialog_says_who_may_use_it(
    desk: Desk, counter: Kind, kinds: Kinds, update_filter: Filter, allowed: set[str]
) -> None:
    kinds["open"] = kind = variant(counter, update_filter=update_filter)
    await desk.restart()
    handle = await desk.start(kind)
    people = (ANN, User("bob", roles=frozenset({"staff"})), User("eve", name="Eve"))
    results = {one.id: (await desk.dispatch(button(handle.id, counter.more, user=one))).result for one in people}
    assert {who for who, result in results.items() if result == "kept"} == allowed
    assert {who for who, result in results.items() if result == "denied"} == {one.id for one in people} - allowed


@pytest.mark.row("I-C81")
async def test_a_platform_that_waits_for_an_answer_is_told_that_it_takes_a_while(
    store: Store, make: Make, counter: Kind, clock: HastyClock
) -> None:
    """Proves that a slow handler's is deferred once, before the platform gives up, and a quick one's never."""
    async with Desk(store, make, screen=Screen(ack_within=timedelta(seconds=3))) as desk:
        await desk.start(counter)
        assert (await desk.click("More")).result == "kept"
        assert desk.last.defers == 0
        counter.gate.close()
        clicking = asyncio.create_task(desk.click("More"))
        await until(lambda: counter.gate.inside)
        assert desk.last.defers == 0
        clock.advance(timedelta(seconds=3) - timedelta(milliseconds=1))
        await until(lambda: desk.last.defers)
        clock.advance(timedelta(seconds=5))
        counter.gate.open()
        assert (await soon(clicking)).result == "kept"
        assert desk.last.defers == 1
        assert desk.last.edits


@pytest.mark.row("I-C81", "I-C28")
async def test_an_interaction_that_waits_for_others_is_deferred_too(
    store: Store, make: Make, counter: Kind, clock: HastyClock
) -> None:
    async with Desk(store, make, screen=Screen(ack_within=timedelta(seconds=3))) as desk:
        handle = await desk.start(counter)
        counter.gate.close()
        first = asyncio.create_task(desk.click("More"))
        await until(lambda: counter.gate.inside)
        waiting = button(handle.id, counter.more)
        second = asyncio.create_task(desk.dispatch(waiting))
        await settled(store)
        clock.advance(timedelta(seconds=3))
        await until(lambda: waiting.defers)
        counter.gate.open()
        assert (await soon(first)).result == "kept"
        assert (await soon(second)).result == "kept"


@pytest.mark.row("I-C81")
async def test_a_start_that_takes_a_while_is_deferred_too(
    desk: Desk, counter: Kind, kinds: Kinds, clock: HastyClock
) -> None:
    async def start(self: Counter, ctx: Context) -> None:
        await self.gate.go_through()
        await Counter.start(self, ctx)

    kinds["slow"] = kind = variant(counter, start=start)
    await desk.restart()
    asked = command(platform=Screen(ack_within=timedelta(seconds=3)), place=Place("test"))
    counter.gate.close()
    starting: asyncio.Task[Any] = asyncio.create_task(desk.dialogs.start(kind, asked))
    await until(lambda: counter.gate.inside)
    clock.advance(timedelta(seconds=3))
    await until(lambda: asked.defers)
    counter.gate.open()
    assert (await soon(starting)).outcome == "started"
    assert asked.replies
