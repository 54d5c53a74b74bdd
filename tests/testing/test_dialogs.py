"""The kit for tests of dialogs: what people do, the screen they look at, and the desk where they sit."""

import asyncio
import textwrap
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

import sojourn
from sojourn.dialogs import (
    KEEP,
    REFRESH,
    Answer,
    Budget,
    Button,
    Context,
    Dialog,
    Dialogs,
    Dispatched,
    Edit,
    End,
    Ended,
    Field,
    Form,
    Kind,
    Notice,
    OpenForm,
    Option,
    Place,
    Reply,
    Tokens,
    User,
    View,
    modal,
    select,
)
from sojourn.dialogs import button as on_click
from sojourn.errors import InvalidError, LimitError, UnavailableError, UnsupportedError
from sojourn.kernel import Store
from sojourn.testing import ManualClock, dialogs
from sojourn.testing.dialogs import ANN, Desk, Screen

MINUTE = timedelta(minutes=1)


class Order(msgspec.Struct):
    """What is to be approved."""

    id: str
    notes: list[str] = []


class Approve(Dialog[bool]):
    """Asks for everything that the kit can answer."""

    data: Order
    ttl = 3 * MINUTE

    async def start(self, ctx: Context) -> None:
        ctx.focus()
        later = ctx.button("Later", self.later, disabled=True)
        await ctx.reply(
            f"Ship {self.data.id}?",
            ctx.button("Yes", self.yes),
            ctx.button("No", self.no),
            later,
            ctx.select(self.why, [Option("Too late", "late"), Option("Too dear", "dear")], at_most=2),
            [ctx.button("One", self.note, 1), ctx.button("Two", self.note, 2), ctx.button("Reason", self.reason)],
        )

    @on_click
    async def yes(self, ctx: Context) -> End:
        return ctx.end(result=True)

    @on_click
    async def no(self, ctx: Context) -> End:
        return ctx.end(result=False)

    @on_click
    async def later(self, _: Context) -> Answer:
        return REFRESH

    @on_click
    async def note(self, _: Context, number: int) -> Answer:
        return self.keep(f"number {number}")

    @on_click
    async def hang(self, ctx: Context) -> Answer:
        ctx.meta["hangs"].set()
        await asyncio.Event().wait()
        return KEEP

    @select
    async def why(self, ctx: Context) -> Answer:
        return self.keep(*ctx.values)

    @on_click
    async def reason(self, ctx: Context) -> Answer:
        fields = (Field("text", "Why?"), Field("more", "Else?", value="nothing", required=False))
        await ctx.open_form(ctx.form("Reason", self.given, *fields))
        return KEEP

    @modal
    async def given(self, ctx: Context) -> Answer:
        return self.keep(*ctx.fields.values())

    async def on_message(self, ctx: Context) -> Answer:
        return self.keep(ctx.text)

    def keep(self, *notes: str) -> Answer:
        """Note it."""
        self.data.notes.extend(notes)
        return KEEP

    async def end(self, ctx: Context, ended: Ended[bool]) -> None:
        await ctx.edit_origin(f"{ended.code}: {' '.join(self.data.notes)}")


def make(store: Store) -> Dialogs:
    """The dialogs of one process."""
    made = Dialogs(store)
    made.register("approve")(Approve)
    return made


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[Store]:
    async with sojourn.open("memory:", clock=clock) as opened:
        yield opened


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    async with Desk(store, make) as sat_at:
        yield sat_at


# -- One interaction --------------------------------------------------------------------------------------------------


def test_what_is_not_said_of_an_interaction_is_the_same_each_time_but_the_delivery() -> None:
    one, other = dialogs.command(), dialogs.command()
    assert (one.kind, one.command, one.args, one.token) == (Kind.COMMAND, "start", {}, None)
    assert one.user == other.user == ANN
    assert one.place == other.place == Place("test")
    assert one.platform.name == "test"
    assert one.delivery_id != other.delivery_id
    assert one.responder is one
    assert not one.is_answered
    assert one != other


def test_an_interaction_says_what_it_was_asked_to_say() -> None:
    screen, place = Screen("other"), Place("chat", "thread")
    made = dialogs.command("ship", {"order": 17}, user="bob", place=place, delivery_id="7", platform=screen)
    assert (made.command, made.args, made.user, made.place) == ("ship", {"order": 17}, User("bob"), place)
    assert (made.delivery_id, made.platform) == ("7", screen)
    bob = User("bob", tenant="shop", roles=frozenset({"staff"}))
    assert dialogs.message("hello", user=bob).user is bob
    assert dialogs.message("hello").text == "hello"


@pytest.mark.parametrize(
    ("made", "kind", "token"),
    [
        (dialogs.button("one", Approve.note, 17), Kind.BUTTON, "s1.one.note.17"),
        (dialogs.button("one", "note", "x", 1.5, page=2, revision=3), Kind.BUTTON, "s1.one.note.x.1%2E5.p2.r3"),
        (dialogs.select("one", Approve.why, ["late"], args=[1]), Kind.SELECT, "s1.one.why.1"),
        (dialogs.modal("one", "given", {"text": "x"}), Kind.MODAL, "s1.one.given"),
        (dialogs.callback("one"), Kind.CALLBACK, "s1.one."),
        (dialogs.button("one", "note", token=str(17)), Kind.BUTTON, "17"),
    ],
    ids=["method", "name", "select", "modal", "callback", "text"],
)
def test_what_was_shown_carries_its_token(made: dialogs.RecordedInteraction, kind: Kind, token: str) -> None:
    assert (made.kind, made.token) == (kind, token)
    assert made.place.message


def test_values_and_fields_are_what_was_chosen_and_filled_in() -> None:
    assert dialogs.select("one", None, ["a", "b"]).values == ("a", "b")
    assert dialogs.modal("one", None, {"a": "b"}).fields == {"a": "b"}


def test_a_token_is_written_as_its_platform_wants_it() -> None:
    with pytest.raises(LimitError):
        dialogs.button("one", "note", "x" * 64, platform=Screen(budget=Budget(64)))
    screen = Screen()
    screen.codec = Tokens(keys=[b"k" * 32])
    assert "~" in (dialogs.button("one", "note", platform=screen).token or "")
    with pytest.raises(InvalidError):
        dialogs.button("not an id", "note")


@pytest.mark.parametrize(
    "make_one", [dialogs.command, partial(dialogs.button, "one"), partial(dialogs.message, "hello")]
)
def test_what_says_nothing_of_an_interaction_is_refused(make_one: Any) -> None:
    with pytest.raises(TypeError, match="usr"):
        make_one(usr="bob")


def test_what_is_said_of_components_only_is_refused_of_others() -> None:
    with pytest.raises(TypeError, match="page"):
        dialogs.command(page=1)  # type: ignore[call-arg]  # that is the point
    assert dialogs.button("one", page=None).token == "s1.one."  # type: ignore[arg-type]  # noqa: S105  a default handed on


async def test_an_interaction_shows_how_it_was_answered() -> None:
    made = dialogs.button("one", "note")
    await made.defer()
    assert (made.defers, made.is_answered) == (1, False)
    await made.ack()
    assert (made.acks, made.is_answered) == (1, True)
    await made.notify("no")
    at = await made.reply(View("hello"))
    assert (made.notices, made.replies, at) == (["no"], [View("hello")], Place("test", message="1"))


async def test_the_same_delivery_comes_again_unanswered() -> None:
    made = dialogs.button("one", "note")
    await made.notify("no")
    again = made.again()
    assert (again.token, again.delivery_id, again.user) == (made.token, made.delivery_id, made.user)
    assert again.responder is again
    assert not again.is_answered
    await again.notify("yes")
    assert (made.notices, again.notices) == (["no"], ["yes"])


# -- A screen ---------------------------------------------------------------------------------------------------------

AT = Place("test", message="1")


async def test_a_screen_shows_and_remembers_what_was_done() -> None:
    screen = Screen()
    made = dialogs.command(platform=screen)
    assert await made.reply(View("first")) == AT
    await screen.perform(Reply(Place("test"), View("second")), "a", made)
    assert [view.text for view in screen.views.values()] == ["first", "second"]
    await screen.perform(Edit(AT, View("third")), "b", made)
    assert [view.text for view in screen.views.values()] == ["second", "third"]
    form = Form("?", "token", ())
    await screen.perform(Notice(AT, ANN, "psst"), "c", made)
    await screen.perform(OpenForm(AT, form), "d", None)
    assert screen.form == form
    assert [key for key, _ in screen.performed] == ["a", "b", "c", "d"]
    assert [view.text for view in made.replies] == ["first", "second"]
    assert ([view.text for view in made.edits], made.notices, made.forms) == (["third"], ["psst"], [])


async def test_on_a_closed_message_nothing_can_be_clicked() -> None:
    screen, made = Screen(), dialogs.command()
    rows = ((Button("Yes", "token"),),)
    screen.views[AT] = View("first", rows)
    await screen.perform(Edit(AT, View(), closed=True), "a", made)
    assert made.edits == [View("first", rows).without_components()]
    await screen.perform(Edit(AT, View("over", rows), closed=True), "b", made)
    assert screen.views == {AT: View("over", rows).without_components()}


async def test_a_screen_may_lack_something_and_fail() -> None:
    screen = Screen(lacks=[OpenForm])
    with pytest.raises(UnsupportedError, match="openform"):
        await screen.perform(OpenForm(AT, Form("?", "token", ())), "a", None)
    screen.refusals = 1
    with pytest.raises(UnavailableError):
        await screen.perform(Notice(AT, ANN, "psst"), "b", None)
    await screen.perform(Notice(AT, ANN, "psst"), "b", None)
    assert [key for key, _ in screen.performed] == ["b"]


# -- A desk -----------------------------------------------------------------------------------------------------------


async def notes(desk: Desk, dialog_id: str) -> str:
    """End the dialog, and return what it has noted."""
    await desk.handle(dialog_id).end(code="end")
    return desk.view.text.removeprefix("end: ")


async def test_a_dialog_is_used_by_what_is_shown(desk: Desk) -> None:
    assert desk.view == View()
    handle = await desk.start(Approve, data=Order("17"))
    assert desk.view.text == "Ship 17?"
    assert desk.last.replies == [desk.view]
    assert (await desk.click("Yes")).result == "ended"
    assert (await handle.wait()).result is True
    assert desk.view.text == "self_ended: "
    assert desk.last.is_answered


async def test_a_click_finds_its_button_by_label_or_by_method_and_arguments(desk: Desk) -> None:
    handle = await desk.start(Approve, data=Order("17"))
    for what in (("Two",), (Approve.note, 1), (Approve.note,)):
        assert (await desk.click(*what)).result == "kept"
    assert await notes(desk, handle.id) == "number 2 number 1 number 1"


@pytest.mark.parametrize("what", ["Maybe", "Later", Approve.later], ids=["missing", "disabled", "method"])
async def test_what_is_not_shown_or_disabled_cannot_be_clicked(desk: Desk, what: Any) -> None:
    await desk.start(Approve, data=Order("17"))
    with pytest.raises(InvalidError, match=r"button: none .* there are: Yes, No, Later \(disabled\), One"):
        await desk.click(what)
    with pytest.raises(InvalidError, match="button"):
        await desk.click(Approve.note, 3)


async def test_what_is_chosen_is_named_by_label_or_value(desk: Desk) -> None:
    handle = await desk.start(Approve, data=Order("17"))
    assert (await desk.select("Too late", "dear")).result == "kept"
    with pytest.raises(InvalidError, match="select"):
        await desk.select("Too far")
    with pytest.raises(InvalidError, match="select"):
        await desk.select()
    assert await notes(desk, handle.id) == "late dear"


async def test_a_form_is_sent_as_it_would_be_filled_in(desk: Desk) -> None:
    handle = await desk.start(Approve, data=Order("17"))
    with pytest.raises(InvalidError, match="no form"):
        await desk.submit(text="x")
    await desk.click("Reason")
    with pytest.raises(InvalidError, match="no field wrong"):
        await desk.submit(text="x", wrong="x")
    with pytest.raises(InvalidError, match="requires text"):
        await desk.submit()
    assert (await desk.submit(text="because")).result == "kept"
    with pytest.raises(InvalidError, match="no form"):
        await desk.submit(text="x")
    assert await notes(desk, handle.id) == "because nothing"


async def test_what_is_written_reaches_the_dialog_that_asked_for_it(desk: Desk) -> None:
    assert (await desk.write("hello")).result == "foreign"
    handle = await desk.start(Approve, data=Order("17"))
    assert (await desk.write("hello")).result == "kept"
    assert await notes(desk, handle.id) == "hello"


async def test_time_passes_by_hand(desk: Desk) -> None:
    handle = await desk.start(Approve, data=Order("17"))
    await desk.advance(2 * MINUTE)
    assert desk.view.text == "Ship 17?"
    await desk.advance(MINUTE)
    assert desk.view.text == "expired: "
    assert (await handle.wait()).code == "expired"
    async with sojourn.open("memory:") as store, Desk(store, make) as other:
        with pytest.raises(InvalidError, match="clock"):
            await other.advance(MINUTE)


async def test_after_a_restart_nothing_is_left_but_what_is_stored(desk: Desk) -> None:
    handle = await desk.start(Approve, data=Order("17"))
    before = desk.dialogs
    await desk.restart()
    assert desk.dialogs is not before
    assert (await desk.click("No")).result == "ended"
    assert (await desk.handle(handle.id).wait()).result is False


async def test_another_process_sits_before_the_same_screen(desk: Desk) -> None:
    handle = await desk.start(Approve, data=Order("17"))
    async with desk.elsewhere() as other:
        assert other.store is not desk.store
        assert other.view == desk.view
        assert (await other.click("One")).result == "kept"
        assert (await other.click("Yes")).result == "ended"
    assert desk.view.text == "self_ended: number 1"
    assert (await handle.wait()).result is True


async def test_somebody_else_may_sit_beside(desk: Desk) -> None:
    """Proves that both see one screen, act for themselves, and are served by one process, also after its restart."""
    bob = desk.beside("bob")
    await desk.start(Approve, data=Order("17"))
    assert (await bob.click("Yes")).result == "denied"
    assert (bob.last.user, bob.last.notices != []) == (User("bob"), True)
    assert desk.last.user == ANN
    await bob.restart()
    assert desk.dialogs is bob.dialogs
    assert (await desk.click("Yes")).result == "ended"
    assert bob.view == desk.view


async def test_a_test_that_fails_does_not_wait_for_a_handler_that_hangs(store: Store) -> None:
    async def failing() -> None:
        async with Desk(store, make) as desk:
            handle = await desk.start(Approve, data=Order("17"))
            click, hangs = dialogs.button(handle.id, Approve.hang), asyncio.Event()
            clicking.append(asyncio.create_task(desk.dialogs.dispatch(click, meta={"hangs": hangs})))
            await hangs.wait()
            raise ZeroDivisionError

    clicking = list[asyncio.Task[Dispatched]]()
    with pytest.raises(ZeroDivisionError):
        await failing()
    assert (await clicking[0]).result == "failed"


async def test_the_example_of_the_kit_runs() -> None:
    text = (dialogs.__doc__ or "").split("\n\n", 2)[1:]
    example = "\n\n".join(text).split("\n\nWithout a desk")[0]
    scope = {"sojourn": sojourn, "Approve": Approve, "Order": Order, "Dialogs": Dialogs, "Store": Store}
    scope |= {"ManualClock": ManualClock, "Desk": Desk}
    body = textwrap.indent(textwrap.dedent(example), "    ")
    exec(f"async def example() -> None:\n{body}", scope)  # noqa: S102  it is our own text
    await scope["example"]()  # type: ignore[operator]  # the text defines it
