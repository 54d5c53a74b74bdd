"""Sessions over HTTP: cookies, tokens by header, and what a stranger learns."""

from datetime import timedelta

import httpx
import pytest

from sojourn import limits
from sojourn.functions import Functions
from sojourn.kernel import RankSpan, Store
from sojourn.server import App
from sojourn.sessions import Mode, Sessions
from sojourn.testing import ManualClock

from .conftest import Browse, call, make_functions

MINTED = "7f7c5d1e-8f0a-4b7e-9a51-6f2f3a1c9d10"
OTHER = "0b6c2a54-1f4f-4f57-8f5c-c2f5b0a7c111"


@pytest.mark.row("P-R10", "F-G1")
async def test_the_cookie_is_as_safe_as_it_can_be_by_default(browse: Browse) -> None:
    answer = await (await browse(dev=False)).post("/session", json={})
    cookie = answer.headers["set-cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-sojourn=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert "Domain" not in cookie
    assert f"Max-Age={int(limits.SESSION_ABSOLUTE.total_seconds())}" in attributes
    assert answer.headers["cache-control"] == "no-store"
    assert name.split("=")[1] not in answer.text, "the token stands in the cookie alone"


@pytest.mark.row("P-R10")
async def test_development_must_be_asked_for(browse: Browse) -> None:
    cookie = (await (await browse(dev=True)).post("/session", json={})).headers["set-cookie"]
    assert cookie.startswith("sojourn=")
    assert "Secure" not in cookie
    assert "HttpOnly" in cookie


@pytest.mark.row("P-R5")
async def test_a_visitor_who_does_nothing_gets_no_cookie_and_leaves_no_record(browse: Browse, store: Store) -> None:
    client = await browse()
    for answer in (await client.get("/health"), await client.get("/session"), await call(client, "query", "total")):
        assert "set-cookie" not in answer.headers
        assert "cookie" not in answer.headers.get("vary", "")
    assert (await store.rank(RankSpan("session"))).records == ()


async def test_a_session_begins_once_and_is_shown(browse: Browse) -> None:
    client = await browse()
    began = (await client.post("/session", json={})).json()["session"]
    again = await client.post("/session", json={})
    assert again.json()["session"]["id"] == began["id"]
    assert "set-cookie" not in again.headers
    assert (await client.get("/session")).json()["session"] == began
    assert set(began) == {"id", "subject", "created_at", "expires_at", "idle_expires_at"}


@pytest.mark.row("P-R4")
async def test_unknown_malformed_expired_and_revoked_are_one_answer(browse: Browse, clock: ManualClock) -> None:
    client = await browse()
    await client.post("/session", json={})
    good = client.cookies["sojourn"]
    answers: list[httpx.Response] = []
    for token in ("", "x", "a" * 10_000, "a" * 22 + "." + "b" * 43, good[:-1] + ("A" if good[-1] != "A" else "B")):
        client.cookies.clear()
        answers.append(await client.get("/session", headers={"cookie": f"sojourn={token}"}))
    answers.append(await client.get("/session", headers={"cookie": f"sojourn={good}"}))
    assert answers.pop().status_code == 200
    clock.advance(limits.SESSION_IDLE + timedelta(minutes=2))
    answers.append(await client.get("/session", headers={"cookie": f"sojourn={good}"}))
    await client.post("/session", json={})
    revoked = client.cookies["sojourn"]
    await client.delete("/session")
    answers.append(await client.get("/session", headers={"cookie": f"sojourn={revoked}"}))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert not [answer for answer in answers if "set-cookie" in answer.headers]


@pytest.mark.row("P-R3")
async def test_a_request_that_a_sign_in_overtakes_does_not_take_the_new_cookie_away(browse: Browse) -> None:
    """The refusal of the old secret may arrive after the sign-in's cookie, so it must not remove it."""
    client = await browse()
    await client.post("/session", json={})
    before = client.cookies["sojourn"]
    await call(client, "action", "sign_in", arguments={"name": "ada"})
    signed_in = client.cookies["sojourn"]
    late = await client.get("/session", headers={"cookie": f"sojourn={before}"})
    assert late.status_code == 401
    assert client.cookies["sojourn"] == signed_in
    assert (await client.get("/session")).status_code == 200


async def test_signing_in_gives_a_new_cookie_for_the_same_basket(browse: Browse) -> None:
    client = await browse()
    began = (await client.post("/session", json={})).json()["session"]
    await call(client, "mutation", "add", arguments={"by": 3})
    before = client.cookies["sojourn"]
    answer = await call(client, "action", "sign_in", arguments={"name": "ada"})
    assert answer.json() == {"result": "ada"}
    assert client.cookies["sojourn"] != before
    shown = (await client.get("/session")).json()["session"]
    assert (shown["id"], shown["subject"]) == (began["id"], "ada")
    assert (await call(client, "query", "total")).json() == {"result": 3}
    client.cookies.clear()
    assert (await client.get("/session", headers={"cookie": f"sojourn={before}"})).status_code == 401


@pytest.mark.row("P-R3", "P-R7")
async def test_a_request_that_a_sign_in_overtakes_is_given_no_other_session(browse: Browse, clock: ManualClock) -> None:
    """It was refused and wants to begin anew with the old cookie: the cookie it would get might arrive last."""
    client = await browse()
    began = (await client.post("/session", json={})).json()["session"]
    before = {"cookie": f"sojourn={client.cookies['sojourn']}"}
    await call(client, "action", "sign_in", arguments={"name": "ada"})
    late = await client.post("/session", json={}, headers=before)
    assert (late.status_code, late.json()["error"]["retry"]) == (503, "later")
    assert "set-cookie" not in late.headers
    assert (await client.get("/session", headers=before)).status_code == 401, "it opens nothing"
    assert (await client.post("/session", json={})).json()["session"]["id"] == began["id"]
    clock.advance(limits.ROTATION_GRACE)
    assert (await client.post("/session", json={}, headers=before)).json()["session"]["id"] != began["id"]


@pytest.mark.row("P-R7")
async def test_rotation_over_http_keeps_the_session(browse: Browse, clock: ManualClock) -> None:
    client = await browse()
    began = (await client.post("/session", json={})).json()["session"]
    before = client.cookies["sojourn"]
    assert (await client.post("/session/rotate", json={})).json()["session"]["id"] == began["id"]
    assert client.cookies["sojourn"] != before
    clock.advance(limits.ROTATION_GRACE)
    assert (await client.get("/session")).status_code == 200


async def test_ending_a_session_takes_the_cookie_back(browse: Browse) -> None:
    client = await browse()
    await client.post("/session", json={})
    answer = await client.delete("/session")
    assert answer.json() == {"ended": True}
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await client.get("/session")).status_code == 401


@pytest.mark.row("F-G9")
async def test_tokens_by_header_are_taken_only_where_that_was_asked_for(browse: Browse) -> None:
    refused = await (await browse()).post("/session", json={}, headers={"sojourn-session": ""})
    assert refused.json()["error"]["name"] == "Sojourn-Session"
    client = await browse(browser_storage=True)
    began = await client.post("/session", json={}, headers={"sojourn-session": ""})
    token = began.headers["sojourn-session"]
    assert "set-cookie" not in began.headers
    shown = await client.get("/session", headers={"sojourn-session": token})
    assert shown.json() == began.json()
    both = await client.get("/session", headers={"sojourn-session": token, "cookie": f"sojourn={token}"})
    assert both.status_code == 400, "a session travels one way"


async def test_ids_that_the_browser_makes(browse: Browse, store: Store, clock: ManualClock) -> None:
    functions: Functions = make_functions(Sessions(store, mode=Mode.MINTED))
    client = await browse(App(store, functions=functions, dev=True, browser_storage=True))

    async def total(session_id: str) -> httpx.Response:
        body = {"kind": "query", "function": "total"}
        return await client.post("/call", json=body, headers={"sojourn-session": session_id})

    add = {"kind": "mutation", "function": "add", "arguments": {"by": 5}}
    assert (await client.post("/session", json={}, headers={"sojourn-session": ""})).status_code == 400
    assert (await total(MINTED)).json() == {"result": 0}
    assert (await client.post("/call", json=add, headers={"sojourn-session": MINTED})).json() == {"result": 5}
    rotated = await client.post("/session/rotate", json={"to": OTHER}, headers={"sojourn-session": MINTED})
    assert rotated.headers["sojourn-session"] == OTHER
    assert (await total(OTHER)).json() == {"result": 5}
    clock.advance(limits.ROTATION_GRACE)
    assert (await total(MINTED)).status_code == 401
    assert (await total("user123")).status_code == 401
