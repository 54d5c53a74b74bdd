"""Dialogs as pages, on every engine: from the browser's request to its answer, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from sojourn import limits
from sojourn.adapters.web_forms import PageWords, WebForms
from sojourn.adapters.web_forms.inbox import Inbox
from sojourn.adapters.web_forms.pages import Pages, Sheet
from sojourn.adapters.web_forms.style import STYLE
from sojourn.dialogs import (
    Button,
    Context,
    Dialog,
    DialogInfo,
    Dialogs,
    End,
    Ended,
    Field,
    Form,
    Notice,
    OpenForm,
    Option,
    Place,
    State,
    User,
    View,
    anyone,
    button,
    modal,
    nobody,
    select,
)
from sojourn.errors import DialogExistsError, InvalidError, UnavailableError, UnsupportedError
from sojourn.kernel import Reads, Span, Store
from sojourn.testing import ManualClock
from sojourn.testing.dialogs import command
from tests.adapters.reading import Browser, Reading

ORIGIN = "https://shop.example"
COLOURS = (Option("Red", "r"), Option("Green", "g", "like grass"), Option("Blue", "b"))


class Order(msgspec.Struct):
    """What the dialog of these tests keeps."""

    item: str = "lantern"
    count: int = 0
    colours: list[str] = []
    reason: str = ""


class Refund(Dialog[str]):
    """A dialog with one of everything."""

    data: Order
    ttl: timedelta | None = timedelta(minutes=10)

    async def start(self, ctx: Context) -> None:
        await self.show(ctx)

    async def show(self, ctx: Context) -> None:
        await ctx.reply(
            f"Refund the {self.data.item}?\nCounted: {self.data.count}",
            ctx.select(self.colour, COLOURS, placeholder="Which colours?", at_least=1, at_most=2),
            ctx.button("More", self.more),
            ctx.button("Why", self.why),
            ctx.button("Tell me", self.tell),
            ctx.button("Break", self.fail, style="danger"),
            ctx.button("Not now", self.more, disabled=True),
            ctx.button("Done", self.done, style="primary"),
        )

    @button
    async def more(self, ctx: Context) -> None:
        self.data.count += 1
        await self.show(ctx)

    @select
    async def colour(self, ctx: Context) -> None:
        self.data.colours = list(ctx.values)
        await ctx.notify(f"Chosen: {', '.join(ctx.values)}")

    @button
    async def why(self, ctx: Context) -> None:
        fields = Field("reason", "Your reason", multiline=True, most=20), Field("note", "Note", required=False)
        await ctx.open_form(ctx.form("Why?", self.because, *fields))

    @modal
    async def because(self, ctx: Context) -> None:
        if ctx.fields["reason"] == "fail":
            raise RuntimeError("as asked")
        self.data.reason = ctx.fields["reason"]
        await ctx.notify(f"Because {self.data.reason}, {ctx.fields['note'] or 'without a note'}")

    @button
    async def tell(self, ctx: Context) -> None:
        await ctx.notify("Between you and me.")

    @button
    async def fail(self, ctx: Context) -> None:
        self.data.count += 100
        raise RuntimeError(f"as asked at {ctx.now}")

    @button
    async def done(self, ctx: Context) -> End:
        return ctx.end(f"{self.data.count} {''.join(self.data.colours)} {self.data.reason}")

    async def end(self, ctx: Context, ended: Ended[str]) -> None:
        await ctx.edit_origin(f"Closed: {ended.code}")


async def who(request: Request) -> User | None:
    """Whoever a header says; the first letter is their tenant."""
    person = request.headers.get("x-person")
    return None if person is None else User(person, tenant=person[0])


class Shop:
    """One process: its dialogs, and the application that shows them."""

    def __init__(self, store: Store, *kinds: type[Dialog[Any]], **settings: Any) -> None:
        self.dialogs = Dialogs(store)
        self.kinds: dict[str, type[Dialog[Any]]] = {}
        known: list[type[Dialog[Any]]] = [Refund, *kinds]
        for kind in known:
            self.kinds[kind.__name__] = self.dialogs.register(kind.__name__.lower())(kind)
        self.web = WebForms(self.dialogs, **{"user": who, "title": "Wayside", **settings})

        async def start(request: Request) -> Response:
            return await self.web.start(self.kinds[request.path_params["kind"]], request)

        routes = [Route("/start/{kind}", start, methods=["POST"]), Mount("/dialogs", app=self.web)]
        self.app = Starlette(routes=routes)


Visit = Callable[..., Awaitable[Browser]]


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    """Make browsers."""
    async with AsyncExitStack() as stack:

        async def come(shop: Shop | Any, person: str | None = "ann") -> Browser:
            app = shop.app if isinstance(shop, Shop) else shop
            transport = httpx.ASGITransport(app, raise_app_exceptions=True)
            client = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
            return Browser(await stack.enter_async_context(client), person)

        yield come


async def begun(shop: Shop, visit: Visit, kind: str = "Refund", person: str = "ann") -> Browser:
    """A browser that has started a dialog, and shows its page."""
    browser = await visit(shop, person)
    answer = await browser.post(f"/start/{kind}", {})
    assert answer.status_code == 200, answer.text
    return browser


def id_of(browser: Browser) -> str:
    assert browser.answer is not None
    return browser.answer.url.path.split("/")[2]


async def stored(shop: Shop, browser: Browser) -> str:
    """What the dialog would end with now."""
    other = await browser.click("Done")
    assert other.status_code == 200
    result = (await shop.dialogs.wait(id_of(browser))).result
    assert isinstance(result, str)
    return result


# -- The whole way ----------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C01")
async def test_a_dialog_goes_from_start_to_end_by_button_choice_and_form(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    assert "Refund the lantern?" in browser.page.text
    assert browser.buttons() == ["More", "Why", "Tell me", "Break", "Done"]
    await browser.click("More")
    assert "Counted: 1" in browser.page.text
    await browser.choose("Green", "Blue")
    assert browser.page.told == ["Chosen: g, b"]
    await browser.click("Why")
    assert browser.answer is not None
    assert browser.answer.url.path.endswith("/form")
    await browser.send({"Your reason": "it broke"})
    assert browser.page.told == ["Because it broke, without a note"]
    await browser.click("Done")
    assert "Closed: self_ended" in browser.page.text
    assert browser.page.forms == []
    assert (await shop.dialogs.wait(id_of(browser))).result == "1 gb it broke"


@pytest.mark.row("I-C57", "I-C58")
async def test_a_page_can_be_answered_after_a_restart_and_in_another_process(store: Store, visit: Visit) -> None:
    first = Shop(store)
    browser = await begun(first, visit)
    await browser.click("Why")
    form = browser.page
    await first.dialogs.close()
    second, third = Shop(store), Shop(store)
    other = await visit(second)
    other.client.cookies, other.page = browser.client.cookies, form
    await other.send({"Your reason": "old"})
    assert other.page.told == ["Because old, without a note"]
    another = await visit(third)
    another.client.cookies, another.page = browser.client.cookies, other.page
    await another.click("More")
    assert "Counted: 1" in another.page.text
    assert await stored(third, another) == "1  old"


@pytest.mark.row("I-C31", "I-C41")
async def test_a_dialog_whose_time_is_over_says_so_and_takes_nothing(
    store: Store, visit: Visit, clock: ManualClock
) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    assert "Open until " in browser.page.text
    clock.advance(timedelta(minutes=11))
    late = await browser.click("More")
    assert late.status_code == 410
    assert browser.page.forms == []
    again = await browser.open(f"/dialogs/{id_of(browser)}")
    assert again.status_code == 200
    assert "The time for an answer is over." in browser.page.text
    assert browser.page.forms == []


@pytest.mark.row("I-C30", "I-C31")
async def test_what_has_ended_is_gone_and_what_is_forgotten_unknown(
    store: Store, visit: Visit, clock: ManualClock
) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    shown = browser.page
    await browser.click("Done")
    assert "This is finished." in browser.page.text
    browser.page = shown
    assert (await browser.click("More", follow=False)).status_code == 303, "a duplicate is what it was"
    other = await begun(shop, visit)
    path = f"/dialogs/{id_of(other)}"
    await shop.dialogs.end(id_of(other))
    assert (await other.click("More")).status_code == 410
    await other.open(path)
    assert "This was called off." in other.page.text
    clock.advance(limits.DIALOG_RETAIN + timedelta(minutes=1))
    assert (await other.open(path)).status_code == 404


# -- Once each --------------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C38")
async def test_one_rendering_is_one_click_whatever_is_clicked_and_how_often(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    shown = browser.page
    answers = await asyncio.gather(*(browser.click("More", follow=False) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [303] * 4
    browser.page = shown
    assert (await browser.click("Done", follow=False)).status_code == 303
    await browser.open(f"/dialogs/{id_of(browser)}")
    assert "Counted: 1" in browser.page.text, "and the other button of that page did nothing"


@pytest.mark.row("I-C37")
async def test_two_windows_are_two_clicks(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    window = browser.page
    await browser.open(f"/dialogs/{id_of(browser)}")
    await browser.click("More")
    browser.page = window
    await browser.click("More")
    assert "Counted: 2" in browser.page.text


@pytest.mark.row("I-C38")
async def test_an_impatient_double_click_finds_the_form_and_the_notice_of_the_first(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    path = f"/dialogs/{id_of(browser)}"
    first, second = await browser.click("Why", follow=False), await browser.click("Why", follow=False)
    assert first.headers["location"] == second.headers["location"] == f"{path}/form"
    await browser.open(path)
    shown = browser.page
    await browser.click("Tell me", follow=False)
    browser.page = shown
    await browser.click("Tell me")
    assert browser.page.told == ["Between you and me."]


async def test_a_notice_is_shown_once_and_to_its_person_only(store: Store, visit: Visit) -> None:
    shop = Shop(store, may_see=lambda *_: True)
    browser = await begun(shop, visit)
    path = f"/dialogs/{id_of(browser)}"
    await browser.click("Tell me", follow=False)
    other = await visit(shop, "bob")
    await other.open(path)
    assert other.page.told == []
    await browser.open(path)
    assert browser.page.told == ["Between you and me."]
    await browser.open(path)
    assert browser.page.told == []


async def test_a_form_waits_until_it_is_sent_and_no_longer(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    path = f"/dialogs/{id_of(browser)}"
    await browser.click("Why")
    assert browser.page.links["Back, without sending it"] == path
    await browser.open(path)
    await browser.open(f"{path}/form")
    form = browser.page
    assert list(form.forms[0].fields) == ["Your reason", "Note"]
    await browser.send({"Your reason": "one"})
    browser.page = form
    assert (await browser.send({"Your reason": "two"}, follow=False)).headers["location"] == path
    await browser.open(f"{path}/form")
    assert browser.answer is not None
    assert browser.answer.url.path == path
    assert await stored(shop, browser) == "0  one"


# -- Who may ----------------------------------------------------------------------------------------------------------


async def test_who_is_nobody_is_asked_to_sign_in(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    browser.person = None
    for answer in (
        await browser.open(f"/dialogs/{id_of(browser)}"),
        await browser.click("More") if browser.page.forms else await browser.post("/start/Refund", {}),
    ):
        assert answer.status_code == 401
        assert "sign in" in browser.page.text


@pytest.mark.row("I-C80")
async def test_who_may_see_a_dialog_is_asked_and_only_its_owner_by_default(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    path = f"/dialogs/{id_of(browser)}"
    for person, status in (("ann", 200), ("bob", 403), ("nna", 403)):
        assert (await (await visit(shop, person)).open(path)).status_code == status
        assert (await (await visit(shop, person)).open(f"{path}/form")).status_code == status

    async def is_bob(user: User, info: Any) -> bool:
        return user.id == "bob" and info.type == "refund"

    for person, status in (("ann", 403), ("bob", 200)):
        assert (await (await visit(Shop(store, may_see=is_bob), person)).open(path)).status_code == status


@pytest.mark.row("I-C80")
async def test_who_may_see_and_not_use_is_told(store: Store, visit: Visit) -> None:
    shop = Shop(store, may_see=lambda *_: True)
    browser = await begun(shop, visit)
    path = f"/dialogs/{id_of(browser)}"
    other = await visit(shop, "bob")
    await other.open(path)
    assert (await other.click("More")).status_code == 403
    assert "This is not for you." in other.page.text
    await browser.open(path)
    assert "Counted: 0" in browser.page.text


async def test_a_form_of_what_has_ended_is_not_shown(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    await browser.click("Why")
    form = browser.page
    await shop.dialogs.end(id_of(browser))
    await browser.open(f"/dialogs/{id_of(browser)}/form")
    assert "This was called off." in browser.page.text
    browser.page = form
    assert (await browser.send({"Your reason": "late"})).status_code == 410


class Vote(Refund):
    """One that everybody may use."""

    update_filter = anyone


@pytest.mark.row("I-C80")
async def test_forms_are_each_persons_own_where_several_may_use_a_dialog(store: Store, visit: Visit) -> None:
    shop = Shop(store, Vote, may_see=lambda *_: True)
    browser = await begun(shop, visit, "Vote")
    other = await visit(shop, "bob")
    await other.open(f"/dialogs/{id_of(browser)}")
    await other.click("Why")
    assert browser.answer is not None
    await browser.open(f"/dialogs/{id_of(browser)}/form")
    assert not browser.answer.url.path.endswith("/form")
    await other.send({"Your reason": "bob's"})
    assert other.page.told == ["Because bob's, without a note"]


class Leaving(Refund):
    """One that leaves its last view as it was."""

    async def end(self, ctx: Context, ended: Ended[str]) -> None:
        pass


@pytest.mark.row("I-C31")
async def test_what_has_ended_offers_nothing_whatever_it_shows(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store, Leaving), visit, "Leaving")
    await browser.click("Done")
    assert "Refund the lantern?" in browser.page.text
    assert "This is finished." in browser.page.text
    assert browser.page.forms == []


def test_so_does_what_is_overdue_and_was_not_yet_ended() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    info = DialogInfo(
        dialog_id="a",
        partition="a",
        type="refund",
        version=1,
        state=State.RUNNING,
        platform="web",
        owner=User("ann"),
        origin=None,
        created=now,
        deadline=now,
        remaining=timedelta(),
        is_overdue=True,
        page=0,
        stage=None,
        revision=1,
        view=View("Well?", ((Button("Yes", "token"),),)),
        completion=None,
        ended=None,
    )
    page = Reading(Pages("", STYLE, PageWords()).dialog(Sheet("/dialogs/a", "stamp", {}), info))
    assert "The time for an answer is over." in page.text
    assert page.forms == []


async def test_what_nobody_is_there_to_see_is_dropped_and_a_notice_told_twice_is_one(store: Store) -> None:
    platform, ann = WebForms(Dialogs(store), user=who).platform, User("ann")
    there, nowhere = Place("/dialogs", message="a"), Place("/dialogs")
    form = Form("Why?", "token", ())
    for effect in (Notice(nowhere, ann, "hello"), Notice(there, User(""), "hello"), OpenForm(there, form)):
        with pytest.raises(UnsupportedError):
            await platform.perform(effect, "key", None)
    huge = OpenForm(there, Form("Why?", "token", (Field("a", "A", "".join(map(chr, range(0x10000, 0x90000)))),)))
    with pytest.raises(UnsupportedError):
        await platform.perform(huge, "key", platform.begun(ann, "a")[0])
    for key in ("one", "one", "two"):
        await platform.perform(Notice(there, ann, "hello"), key, None)
    assert (await Inbox(store).look("a", ann)).texts == ("hello", "hello")


async def test_a_browser_that_goes_away_in_the_middle_gets_no_answer(store: Store) -> None:
    shop = Shop(store)
    messages = iter([{"type": "http.request", "body": b"stamp=", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"x-person", b"ann")]
    scope = {"type": "http", "method": "POST", "path": "/dialogs/a", "headers": headers, "query_string": b""}
    await shop.web(scope, receive, send)
    assert sent == []
    await shop.web({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


# -- Starting ---------------------------------------------------------------------------------------------------------


class Closed(Refund):
    """One that nobody may start."""

    start_filter = nobody


class Broken(Refund):
    """One that fails as it starts."""

    async def start(self, ctx: Context) -> None:
        raise RuntimeError(f"as asked at {ctx.now}")


class Asking(Refund):
    """One that begins with a form, and a word."""

    async def start(self, ctx: Context) -> None:
        await super().start(ctx)
        await self.why(ctx)
        await ctx.notify("Please say why.")


class Silent(Refund):
    """One that says nothing."""

    async def start(self, ctx: Context) -> None:
        pass


class Chatty(Refund):
    """One that says a lot as it starts, and lives for long."""

    ttl = None

    async def start(self, ctx: Context) -> None:
        await super().start(ctx)
        for number in range(12):
            await ctx.notify(f"{number:02}" * 2_000)


@pytest.mark.row("I-C20", "I-C21")
async def test_a_start_leads_to_the_page_or_says_why_not(store: Store, visit: Visit) -> None:
    shop = Shop(store, Closed, Broken, Asking, Silent)
    browser = await visit(shop)
    started = await browser.post("/start/Refund", {}, follow=False)
    assert started.status_code == 303
    assert started.headers["location"].startswith("/dialogs/")
    assert (await browser.post("/start/Closed", {})).status_code == 403
    assert (await browser.post("/start/Broken", {})).status_code == 500
    await browser.post("/start/Asking", {})
    assert list(browser.page.forms[0].fields) == ["Your reason", "Note"]
    assert browser.page.told == ["Please say why."]
    assert (await browser.post("/start/Silent", {})).status_code == 200
    assert "nothing to see here yet" in browser.page.text


@pytest.mark.row("I-C27")
async def test_an_id_makes_a_start_that_was_sent_twice_one(store: Store, visit: Visit) -> None:
    shop = Shop(store)

    async def start(request: Request) -> Response:
        try:
            return await shop.web.start(Refund, request, data=Order("map"), id="order-17")
        except DialogExistsError:
            return Response(None, 303, headers={"location": shop.web.page("order-17")})

    app = Starlette(routes=[Route("/refund", start, methods=["POST"]), Mount("/dialogs", app=shop.web)])
    browser = await visit(app)
    for _ in range(2):
        await browser.post("/refund", {})
        assert "Refund the map?" in browser.page.text
    assert [info.dialog_id async for info in shop.dialogs.list()] == ["order-17"]


async def test_a_dialog_is_started_for_somebody_where_no_browser_asks(store: Store, visit: Visit) -> None:
    shop = Shop(store, Asking)
    handle = await shop.dialogs.start(Asking, shop.web.interaction(User("bob", tenant="b")), data=Order("mug"))
    browser = await visit(shop, "bob")
    await browser.open(shop.web.page(handle.id))
    assert "Refund the mug?" in browser.page.text
    await browser.click("Done")
    assert (await handle.wait()).result == "0  "


# -- What may come ----------------------------------------------------------------------------------------------------


class Strict(Refund):
    """One that refuses clicks on what it showed before."""

    stale = "reject"


class Showing(Refund):
    """One that answers them with what it shows now."""

    stale = "render"


@pytest.mark.row("I-C39")
@pytest.mark.parametrize("kind", ["Strict", "Showing"])
async def test_a_click_on_an_older_page_does_nothing_and_shows_the_present_one(
    store: Store, visit: Visit, kind: str
) -> None:
    shop = Shop(store, Strict, Showing)
    browser = await begun(shop, visit, kind)
    window = browser.page
    await browser.open(f"/dialogs/{id_of(browser)}")
    await browser.click("More")
    browser.page = window
    assert (await browser.click("More")).status_code == 409
    assert "Counted: 1" in browser.page.text
    assert (await browser.click("More")).status_code == 200, "the page that was shown goes on"
    assert "Counted: 2" in browser.page.text


class Dropping(Refund):
    """One that takes one click at a time."""

    concurrency = "drop"
    gate: asyncio.Event
    entered: asyncio.Event

    @button
    async def more(self, ctx: Context) -> None:
        type(self).entered.set()
        await type(self).gate.wait()
        await super().more(ctx)


@pytest.mark.row("I-C37")
async def test_who_comes_while_another_is_handled_sees_the_page_anew(store: Store, visit: Visit) -> None:
    Dropping.gate, Dropping.entered = asyncio.Event(), asyncio.Event()
    shop = Shop(store, Dropping)
    browser = await begun(shop, visit, "Dropping")
    other = await visit(shop)
    await other.open(f"/dialogs/{id_of(browser)}")
    first = asyncio.create_task(browser.click("More"))
    await Dropping.entered.wait()
    assert (await other.click("Done")).status_code == 409
    assert "More" in other.buttons()
    Dropping.gate.set()
    assert (await first).status_code == 200
    assert "Counted: 1" in browser.page.text


@pytest.mark.row("I-C34")
async def test_a_handler_that_fails_changes_nothing_and_leaves_the_page(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    assert (await browser.click("Break")).status_code == 500
    assert browser.page.told != []
    assert "Counted: 0" in browser.page.text
    await browser.click("More")
    assert "Counted: 1" in browser.page.text


async def test_a_form_that_cannot_be_taken_comes_back_with_what_was_written(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    await browser.click("Why")
    for reason, status, told in (
        ("", 422, "Please fill in “Your reason”."),
        (" \n ", 422, "Please fill in “Your reason”."),
        ("x" * 21, 422, "“Your reason” has room for 20 characters, and 21 were written."),
        ("\n\n" + "x" * 19, 422, "“Your reason” has room for 20 characters, and 21 were written."),
        ("fail", 500, "That did not work, and nothing was changed. Please try again."),
    ):
        assert (await browser.send({"Your reason": reason, "Note": "<b>kept</b>"})).status_code == status
        assert browser.page.told == [told]
        written = {label: value for label, (_, value) in browser.page.forms[0].fields.items()}
        assert written == {"Your reason": reason if reason.strip() else "", "Note": "<b>kept</b>"}
    await browser.send({"Your reason": "a\r\nb", "Note": ""})
    assert browser.page.told == ["Because a\nb, without a note"]


async def test_too_few_or_too_many_of_a_choice_are_told(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    assert "Choose 1 to 2" in browser.page.text
    assert (await browser.choose()).status_code == 422
    assert browser.page.told == ["Please choose at least 1."]
    assert (await browser.choose("Red", "Green", "Blue")).status_code == 422
    assert browser.page.told == ["Please choose at most 2."]
    assert (await browser.choose("Red")).status_code == 200


@pytest.mark.row("I-C30")
async def test_what_is_nowhere_is_not_found(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await visit(shop)
    for path in ("/dialogs/nothing", "/dialogs/", "/dialogs/a.b", "/dialogs/a/form/b", f"/dialogs/{'a' * 65}"):
        answer = await browser.open(path)
        assert answer.status_code == 404, path
        assert "There is nothing here" in browser.page.text
    begun_elsewhere = await shop.dialogs.start(Refund, shop.web.interaction(User("ann", tenant="a")))
    await browser.open(shop.web.page(begun_elsewhere.id))
    answer = await browser.client.put(shop.web.page(begun_elsewhere.id))
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    answer = await browser.client.post(f"{shop.web.page(begun_elsewhere.id)}/form")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_a_dialog_of_another_platform_has_no_page(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    handle = await shop.dialogs.start(Refund, command("refund", user=User("ann", tenant="a")))
    browser = await visit(shop)
    assert (await browser.open(shop.web.page(handle.id))).status_code == 404


@pytest.mark.parametrize("path", ["dialogs", "/dialogs/", "//evil.example", "/a b", "/a?b"])
async def test_a_path_that_is_none_is_refused(store: Store, path: str) -> None:
    with pytest.raises(InvalidError):
        WebForms(Dialogs(store), user=who, path=path)


@pytest.mark.parametrize("how", ["whole", "mounted", "deeper"])
async def test_it_may_be_mounted_wherever_its_path_says(store: Store, visit: Visit, how: str) -> None:
    prefix = "/inner" if how == "deeper" else ""
    shop = Shop(store, path=f"{prefix}/dialogs")
    handle = await shop.dialogs.start(Refund, shop.web.interaction(User("ann", tenant="a")), id="dialogs")
    mounted = Starlette(routes=[Mount("/dialogs", app=shop.web)])
    deeper = Starlette(routes=[Mount("/inner", app=mounted)])
    browser = await visit({"whole": shop.web, "mounted": mounted, "deeper": deeper}[how])
    await browser.open(shop.web.page(handle.id))
    await browser.click("Why")
    assert browser.answer is not None
    assert browser.answer.url.path == f"{prefix}/dialogs/dialogs/form"
    await browser.send({"Your reason": "it fits"})
    await browser.click("Done")
    assert (await handle.wait()).result == "0  it fits"


@pytest.mark.row("I-C60")
async def test_a_dialog_that_cannot_be_read_here_is_for_later(store: Store, visit: Visit) -> None:
    shop = Shop(store, Vote)
    browser = await begun(shop, visit, "Vote")
    elsewhere = await visit(Shop(store))
    elsewhere.client.cookies, elsewhere.page = browser.client.cookies, browser.page
    answer = await elsewhere.click("More")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    await browser.click("More")
    assert "Counted: 1" in browser.page.text


class Away:
    """A store that cannot be reached, for as long as it is."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = False
        for name in ("commit", "read", "rank"):
            monkeypatch.setattr(store.engine, name, self._guarding(getattr(store.engine, name)))

    def _guarding(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def guarded(*args: Any) -> Any:
            if self.is_away:
                raise UnavailableError("as asked")
            return await call(*args)

        return guarded


async def test_while_the_store_is_away_people_are_told_to_come_back(
    store: Store, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(store)
    away = Away(store, monkeypatch)
    browser = await begun(shop, visit)
    shown = browser.page
    away.is_away = True
    fresh = await visit(Shop(store))
    for answer in (
        await browser.open(f"/dialogs/{id_of(browser)}"),
        await fresh.open(f"/dialogs/{id_of(browser)}"),
        await browser.post("/start/Refund", {}),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "One moment, please" in browser.page.text
    browser.page = shown
    assert (await browser.click("More")).status_code == 503
    away.is_away = False
    browser.page = shown
    await browser.click("More")
    assert "Counted: 1" in browser.page.text, "the same rendering, and it was not handled before"


async def test_what_the_application_raises_about_who_asks_is_its_own(store: Store, visit: Visit) -> None:
    async def sign_in_first(request: Request) -> User | None:
        raise HTTPException(303, headers={"location": f"/sign-in?next={request.url.path}"})

    shop = Shop(store, user=sign_in_first)
    answer = await (await visit(shop)).client.get("/dialogs/some")
    assert answer.headers["location"] == "/sign-in?next=/dialogs/some"


async def test_who_asks_may_be_kept_in_a_store_that_is_away(store: Store, visit: Visit) -> None:
    async def in_sessions(_: Request) -> User | None:
        raise UnavailableError("as asked")

    answer = await (await visit(Shop(store, user=in_sessions))).client.get("/dialogs/some")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_an_error_of_ours_is_logged_and_its_person_told(
    store: Store, visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(user: User, info: Any) -> bool:
        raise LookupError("the password is hunter2")

    browser = await visit(Shop(store, may_see=broken))
    handle = await Shop(store).dialogs.start(Refund, Shop(store).web.interaction(User("ann", tenant="a")))
    assert (await browser.open(f"/dialogs/{handle.id}")).status_code == 500
    assert "Something went wrong" in browser.page.text
    assert "hunter2" not in browser.page.text
    assert "hunter2" in caplog.text


async def test_looking_at_the_head_of_a_page_shows_no_notice(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    path = f"/dialogs/{id_of(browser)}"
    await browser.click("Tell me", follow=False)
    assert (await browser.client.head(path, headers={"x-person": "ann"})).status_code == 200
    await browser.open(path)
    assert browser.page.told == ["Between you and me."]


async def test_notices_that_nobody_looks_at_are_bounded_and_forgotten(
    store: Store, visit: Visit, clock: ManualClock
) -> None:
    shop = Shop(store, Chatty)
    browser = await begun(shop, visit, "Chatty")
    assert [told[:2] for told in browser.page.told] == [f"{number:02}" for number in range(2, 12)]
    assert {len(told) for told in browser.page.told} == {limits.WEB_NOTICE_CHARS}
    await browser.click("Tell me", follow=False)
    clock.advance(limits.WEB_WAITING)
    await browser.open(f"/dialogs/{id_of(browser)}")
    assert browser.page.told == []


async def test_nothing_is_left_behind_of_what_was_shown_and_sent(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    await browser.click("Why")
    await browser.send({"Your reason": "tidy"})
    assert browser.page.told != []
    assert (await store.read(Reads(spans=(Span("web.page", id_of(browser)),)))).records.spans == ((),)
