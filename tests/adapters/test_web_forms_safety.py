"""What a page gives away, and what it takes: hostile texts, forged values, other people's browsers."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sojourn
from sojourn import limits
from sojourn.adapters.web_forms.app import WebForms
from sojourn.adapters.web_forms.markup import Html, joined, tag
from sojourn.adapters.web_forms.seals import Seals
from sojourn.dialogs import Button, Context, Dialog, Dialogs, Field, Form, Option, Select, User, View, button
from sojourn.dialogs import select as choosing
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from tests.adapters.reading import Reading
from tests.adapters.test_web_forms import ORIGIN, Refund, Shop, Visit, begun, id_of, visit, who

__all__ = ["visit"]

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</textarea></form></style><svg onload=alert(1)>",
    "javascript:alert(1)",
    "&lt;b&gt; &amp;",
    "\x00\x0b\x1b[31m\u202egnp.exe\u2066",
    "{label} {{7*7}} %s ${x}",
)
KEYS = (b"k" * 32,)
ANN = User("ann", tenant="a")


class Hostile(Dialog[None]):
    """Says what an attacker has put into the data."""

    data: str = ""

    async def start(self, ctx: Context) -> None:
        text = self.data
        await ctx.reply(
            View(
                f"{text}\n{text}\n\n{text}",
                (
                    (Select(ctx.token("chosen"), (Option(text, text, text), Option("b", text)), text, at_most=2),),
                    (Button(text, ctx.token("open"), "danger"), Button("Open", ctx.token("open"))),
                ),
            )
        )
        await ctx.notify(text)

    @choosing
    async def chosen(self, ctx: Context) -> None:
        await ctx.notify("".join(ctx.values))

    @button
    async def open(self, ctx: Context) -> None:
        text = self.data
        fields = Field(text, text, text, multiline=True), Field("b", "Other", text)
        await ctx.open_form(Form(text, ctx.token("sent"), fields))


def assert_inert(page: Reading) -> None:
    """The page has the elements and attributes that pages of ours have, and no other."""
    known = {
        *("html", "head", "meta", "title", "link", "style", "body", "main", "article", "h1", "p", "div", "form"),
        *("input", "button", "fieldset", "legend", "label", "span", "small", "textarea", "a", "time"),
    }
    attributes = {
        *("lang", "charset", "name", "content", "rel", "href", "class", "role", "dir", "method", "action", "type"),
        *("value", "autocomplete", "required", "disabled", "maxlength", "rows", "datetime"),
    }
    assert {name for name, _ in page.elements} <= known
    assert {one for _, values in page.elements for one in values} <= attributes
    assert all(
        (values.get("href") or "").startswith(("/dialogs/", "data:image"))
        for name, values in page.elements
        if name in {"a", "link"}
    )
    assert all(form.action is not None and form.action.startswith("/dialogs/") for form in page.forms)


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_are_texts(store: Store, visit: Visit, text: str) -> None:
    shop = Shop(store, Hostile)
    handle = await shop.dialogs.start(Hostile, shop.web.interaction(ANN, "hostile"), data=text, id="hostile")
    browser = await visit(shop)
    await browser.open(shop.web.page(handle.id))
    assert_inert(browser.page)
    if text.isprintable():
        assert browser.page.told == [text]
        assert text in browser.page.forms[0].options
    await browser.choose("b")
    assert_inert(browser.page)
    await browser.click("Open")
    assert_inert(browser.page)
    if text.isprintable():
        assert browser.page.forms[0].fields == {text: ("field-0", text), "Other": ("field-1", text)}
    answer = await browser.send(follow=False)
    assert answer.status_code == 500  # it handles no form: what it wrote is shown again
    assert_inert(Reading(answer.text))


@given(st.text(), st.text())
def test_no_text_gets_out_of_its_element_or_attribute(text: str, value: str) -> None:
    page = Reading(tag("p", tag("span", text, title=value), text, Html("<meta>")))
    assert [name for name, _ in page.elements] == ["p", "span", "meta"]
    shown = value.encode("utf-8", "replace").decode()
    assert page.elements[1][1] == {"title": shown}
    assert joined(Html("<p>"), "<p>") == "<p>&lt;p&gt;"


async def test_every_answer_is_kept_by_nobody_and_runs_nothing(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    path = f"/dialogs/{id_of(browser)}"
    answers = [await browser.open(path), await browser.click("More", follow=False), await browser.open("/dialogs/none")]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for answer in (answers[0], answers[2]):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert re.search(r"<script|\son\w+=|style=", answer.text) is None


async def test_the_cookie_is_of_this_browser_and_this_host_alone(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await visit(shop)
    handle = await shop.dialogs.start(Refund, shop.web.interaction(ANN))
    cookie = (await browser.open(shop.web.page(handle.id))).headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-sojourn-forms=")
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/"} == set(attributes)
    assert "set-cookie" not in (await browser.open(shop.web.page(handle.id))).headers
    plain = await visit(Shop(store, dev=True))
    cookie = (await plain.open(shop.web.page(handle.id))).headers["set-cookie"]
    assert cookie.startswith("sojourn-forms=")
    assert "Secure" not in cookie


async def test_a_cookie_that_is_none_of_ours_is_replaced(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await visit(shop)
    handle = await shop.dialogs.start(Refund, shop.web.interaction(ANN))
    for value in ("", "short", "x" * 23, "-._~" * 5):
        browser.client.cookies.clear()
        headers = {"cookie": f"__Host-sojourn-forms={value}", "x-person": "ann"}
        answer = await browser.client.get(shop.web.page(handle.id), headers=headers)
        assert answer.headers["set-cookie"].startswith("__Host-sojourn-forms=")


async def test_a_field_that_comes_twice_is_none_of_ours(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    await browser.click("Why")
    (form,) = browser.page.forms
    answer = await browser.post(form.action or "", {**form.hidden, "field-0": ["a", "b"]}, follow=False)
    assert answer.status_code == 400


async def test_no_token_stands_in_a_url(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    seen = [await browser.click(label, follow=False) for label in ("More",)]
    await browser.open(f"/dialogs/{id_of(browser)}")
    seen.append(await browser.click("Why", follow=False))
    places = [answer.headers["location"] for answer in seen]
    links = [values.get("href") or "" for name, values in browser.page.elements if name == "a"]
    path = f"/dialogs/{id_of(browser)}"
    assert set(places + links) == {path, f"{path}/form"}


async def test_a_page_of_another_browser_person_or_dialog_is_refused_and_shown_anew(store: Store, visit: Visit) -> None:
    shop = Shop(store, may_see=lambda *_: True)
    browser = await begun(shop, visit)
    path = f"/dialogs/{id_of(browser)}"
    form = next(form for form in browser.page.forms if "More" in form.buttons)
    name, token = form.buttons["More"]
    assert name is not None
    second = await begun(shop, visit)
    of_another = second.page.forms[0].hidden["stamp"]
    thief = await visit(shop)  # the same person, in a browser that was never shown the page
    for who_sends, stamp in (
        (thief, form.hidden["stamp"]),
        (browser, ""),
        (browser, of_another),
        (browser, form.hidden["stamp"][:-1]),
        (browser, form.hidden["stamp"] + "A"),
        (browser, "ä"),
    ):
        answer = await who_sends.post(path, {"stamp": stamp, name: token})
        assert answer.status_code == 403, stamp
        assert who_sends.page.told[0].startswith("This page did not come from here")
    browser.person = "bob"
    assert (await browser.post(path, {**form.hidden, name: token})).status_code == 403
    browser.person = "ann"
    assert (await browser.post(path, {name: token})).status_code == 403
    assert "Counted: 0" in browser.page.text
    await browser.click("More")
    assert "Counted: 1" in browser.page.text


async def test_what_no_page_of_ours_sends_is_malformed(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    path = f"/dialogs/{id_of(browser)}"

    async def fresh() -> tuple[dict[str, str], str, str]:
        await browser.open(path)
        chosen, clicked = browser.page.forms
        return {"stamp": clicked.hidden["stamp"]}, clicked.buttons["More"][1] or "", chosen.hidden["select"]

    stamp, token, sealed = await fresh()
    bad: list[Mapping[str, Any]] = [
        {},
        {"button": ""},
        {"button": token[:-1]},
        {"button": token.rpartition("~")[0]},
        {"button": f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}"},
        {"button": token.replace(".more", ".done")},
        {"button": [token, token]},
        {"button": token, "select": sealed},
        {"button": "\x00" * 5_000},
        {"form": sealed},
        {"select": sealed[:-1], "option": "1"},
        {"select": sealed, "option": "3"},
        {"select": sealed, "option": "-1"},
        {"select": sealed, "option": "\N{ARABIC-INDIC DIGIT ONE}"},
        {"select": sealed, "option": ["1", "1"]},
    ]
    for fields in bad:
        stamp, token, _ = await fresh()
        answer = await browser.post(path, {**stamp, **fields}, follow=False)
        assert answer.status_code == 400, fields
        assert path in Reading(answer.text).links.values()
    stamp, token, _ = await fresh()
    whole = f"stamp={quote(stamp['stamp'])}&button={quote(token)}"
    kind = {"content-type": "application/x-www-form-urlencoded", "x-person": "ann"}
    for headers, body in (
        ({**kind, "content-type": "multipart/form-data"}, whole),
        ({**kind, "content-type": "text/plain"}, whole),
        (kind, f"{whole}&x=%ff"),
        (kind, f"{whole}&x=%ED%A0%80"),
        (kind, f"{whole}&x=ä"),
        (kind, whole + "&x=" * limits.WEB_FIELDS),
    ):
        answer = await browser.client.post(path, content=body.encode(), headers=headers)
        assert answer.status_code == 400, body[-20:]
    await browser.open(path)
    assert "Counted: 0" in browser.page.text


async def test_a_body_that_never_ends_is_not_read_to_its_end(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    sent = 0

    async def body() -> Any:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"a" * 65_536

    headers = {"content-type": "application/x-www-form-urlencoded", "x-person": "ann"}
    answer = await browser.client.post(f"/dialogs/{id_of(browser)}", content=body(), headers=headers)
    assert answer.status_code == 413
    assert sent <= limits.BODY_BYTES + 2 * 65_536


async def test_a_disabled_button_has_no_token(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store), visit)
    (form,) = [form for form in browser.page.forms if form.buttons and "Not now" in form.buttons]
    assert form.buttons["Not now"] == (None, None)


class Locked(Dialog[None]):
    """Shows a choice that cannot be made."""

    async def start(self, ctx: Context) -> None:
        await ctx.reply("Choose", ctx.select("chosen", ["a", "b"], disabled=True))


async def test_a_disabled_choice_has_none_either(store: Store, visit: Visit) -> None:
    browser = await begun(Shop(store, Locked), visit, "Locked")
    assert set(browser.page.forms[0].hidden) == {"stamp"}


async def test_what_was_chosen_from_an_older_page_is_what_was_offered_there(store: Store, visit: Visit) -> None:
    shop = Shop(store)
    browser = await begun(shop, visit)
    window = browser.page
    await browser.open(f"/dialogs/{id_of(browser)}")
    await browser.click("More")
    browser.page = window
    await browser.choose("Blue")
    assert browser.page.told == ["Chosen: b"]


def test_a_new_key_seals_and_an_old_one_still_opens() -> None:
    old, new = b"o" * 32, b"n" * 32
    select = Select("token", (Option("a", "1"),))
    form = Form("title", "token", (Field("a", "A"),))
    before, after, later = Seals([old]), Seals([new, old]), Seals([new])
    assert after.shown(before.component(select), Select) == select
    assert after.shown(before.component(form), Form) == form
    assert before.shown(after.component(select), Select) is None
    assert later.shown(before.component(form), Form) is None
    assert after.shown(after.component(select), Form) is None, "a sealed choice is no form"
    stamp = before.stamp("browser", ANN, "d")
    assert after.delivery(stamp, "browser", ANN, "d") is not None
    others = (("other", ANN, "d"), ("browser", User("ann", tenant="b"), "d"), ("browser", ANN, "e"))
    assert [after.delivery(stamp, *other) for other in others] == [None, None, None]
    assert after.shown(stamp, Form) is None
    assert after.delivery(stamp, "browser", User("a\0ann"), "d") is None


@given(st.text())
def test_no_text_opens_as_sealed(text: str) -> None:
    seals = Seals(KEYS)
    assert seals.shown(text, Select) is None
    assert seals.delivery(text, "browser", ANN, "d") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(body=st.binary(max_size=300) | st.from_regex(rb"((stamp|button|select|form|option|field-0)=[ -~]{0,20}&){1,4}"))
async def test_no_body_is_an_error_of_ours(body: bytes) -> None:
    async with sojourn.open("memory:", clock=ManualClock()) as store:
        dialogs = Dialogs(store)
        web = WebForms(dialogs, user=who)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url=ORIGIN) as client:
            headers = {"content-type": "application/x-www-form-urlencoded", "x-person": "ann"}
            answer = await client.post("/dialogs/a", content=body, headers=headers)
        assert answer.status_code in {400, 403, 404}
        await dialogs.close()
