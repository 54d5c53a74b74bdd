"""Authority over HTTP: what an operator may do, and that for anybody else none of it is there."""

import json
import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest

import sojourn
from sojourn.errors import InvalidError
from sojourn.functions import Functions, MutationCtx, QueryCtx
from sojourn.kernel import Store
from sojourn.server import App, Asker, bearer
from sojourn.sessions import SessionId, Sessions
from sojourn.testing import ManualClock
from sojourn.visits import Visits, visitor_of
from sojourn.wire import (
    ActionsRequest,
    PresenceAnswer,
    PresenceLeaveRequest,
    PresenceRequest,
    RotateRequest,
    VisitRequest,
)

from .conftest import ADA, BROWSER, ORIGIN, Browse, call, error

TOKEN = "correct-horse-battery-staple"  # noqa: S105  it opens nothing
OPERATOR = {"authorization": f"Bearer {TOKEN}"}
LISTED = visitor_of(ADA)

ASKED: dict[str, dict[str, Any]] = {
    "/visits/active": {},
    "/visits/show": {"id": LISTED},
    "/visits/cleanup": {"days": 1},
    "/visits/export": {"id": LISTED},
    "/visits/erase": {"id": LISTED},
}


@pytest.fixture
async def client(browse: Browse, visits: Visits) -> httpx.AsyncClient:
    """A client of a server with one visitor, who has done one thing."""
    client = await browse(App(visits.store, visits=visits, admin=bearer(TOKEN)))
    client.headers["user-agent"] = BROWSER
    click = {"sequence": 1, "at": 1, "action": "click", "resource_id": "buy", "metadata": {"sku": "book"}}
    await client.post("/visit/actions", json={"client": "p", "sent_at": 1, "visitor": ADA, "actions": [click]})
    return client


async def test_an_operator_sees_who_is_here_without_credentials_and_actions(client: httpx.AsyncClient) -> None:
    answer = await client.post("/visits/active", json={}, headers=OPERATOR)
    (visitor,) = answer.json()["visitors"]
    assert answer.json()["next"] is None
    assert set(visitor) == {"id", "created_at", "last_active", "visit"}
    assert visitor["id"] == LISTED
    assert ADA not in answer.text
    assert "click" not in answer.text


@pytest.mark.row("F-C91")
async def test_the_active_are_listed_in_pages(client: httpx.AsyncClient, clock: ManualClock) -> None:
    for number in range(3):
        await client.post("/visit", json={"visitor": f"visitor-{number:020}"})
    seen: list[str] = []
    after = None
    for _ in range(9):
        body = {"limit": 3, "after": after, "minutes": 60}
        page = (await client.post("/visits/active", json=body, headers=OPERATOR)).json()
        seen += [visitor["id"] for visitor in page["visitors"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 4


async def test_an_operator_sees_what_a_visitor_did_last(client: httpx.AsyncClient) -> None:
    shown = (await client.post("/visits/show", json={"id": LISTED}, headers=OPERATOR)).json()
    assert shown["visitor"]["visit"] == shown["visits"][0]
    assert shown["visits"][0] == {**shown["visits"][0], "index": 1, "previous": None, "engaged_ms": 0}
    (action,) = shown["actions"]
    assert (action["action"], action["resource_id"], action["metadata"]) == ("click", "buy", {"sku": "book"})
    assert set(action) == {"action", "timestamp", "occurred_at", "resource_id", "metadata"}


@pytest.mark.row("F-W5", "F-C90")
async def test_a_cleanup_can_be_tried_and_done(client: httpx.AsyncClient, visits: Visits, clock: ManualClock) -> None:
    clock.advance(timedelta(days=31))
    tried = (await client.post("/visits/cleanup", json={"dry_run": True}, headers=OPERATOR)).json()
    assert tried["deleted_count"] == 1
    assert await visits.get(LISTED) is not None
    done = (await client.post("/visits/cleanup", json={"days": 30.5}, headers=OPERATOR)).json()
    assert done["deleted_count"] == 1
    assert await visits.get(LISTED) is None


@pytest.mark.row("F-W5", "F-C90")
@pytest.mark.parametrize("days", [b"0", b"-1", b"1e300", b"NaN", b'"1"', b"1e999", b"-0.0", b"1e-300"])
async def test_an_age_that_is_none_is_refused(
    client: httpx.AsyncClient, visits: Visits, clock: ManualClock, days: bytes
) -> None:
    clock.advance(timedelta(minutes=1))
    answer = await client.post("/visits/cleanup", content=b'{"days": %b}' % days, headers=OPERATOR)
    assert (answer.status_code, error(answer)["code"]) == (400, "invalid"), answer.text
    assert await visits.get(LISTED) is not None


@pytest.mark.row("P-R20")
async def test_an_operator_exports_and_erases_one_person(client: httpx.AsyncClient, visits: Visits) -> None:
    kept = (await client.post("/visits/export", json={"id": LISTED}, headers=OPERATOR)).json()
    assert [action["action"] for action in kept["actions"]] == ["click"]
    assert (await client.post("/visits/erase", json={"id": LISTED}, headers=OPERATOR)).json()["erased"] > 0
    assert (await client.post("/visits/erase", json={"id": LISTED}, headers=OPERATOR)).json() == {"erased": 0}
    for path in ("/visits/export", "/visits/show"):
        answer = await client.post(path, json={"id": LISTED}, headers=OPERATOR)
        assert (answer.status_code, error(answer)["code"]) == (404, "visitor_unknown")


STRANGERS: list[list[tuple[str, str | bytes]]] = [
    [],
    [("authorization", "")],
    [("authorization", TOKEN)],
    [("authorization", f"Basic {TOKEN}")],
    [("authorization", "Bearer ")],
    [("authorization", f"Bearer {TOKEN[:-1]}")],
    [("authorization", f"Bearer {TOKEN} ")],
    [("authorization", f"Bearer  {TOKEN}")],
    [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
    [("authorization", "Bearer wrong"), ("authorization", f"Bearer {TOKEN}")],
    [("authorization", f"Bearer {TOKEN}"), ("authorization", "Basic YTpi")],
    [("authorization", b"Bearer \xe9\xff")],
    [("x-authorization", f"Bearer {TOKEN}")],
    [("cookie", f"authorization=Bearer {TOKEN}")],
]


@pytest.mark.parametrize("headers", STRANGERS)
@pytest.mark.row("F-W5", "F-C90", "F-C79")
async def test_for_anybody_else_it_is_not_there(headers: list[tuple[str, str | bytes]]) -> None:
    """Byte for byte what is said of a path where nothing is, whatever the method."""
    store = sojourn.open("memory:")
    sent: list[Any] = [
        ("origin", ORIGIN),
        ("content-type", "application/json"),
        ("x-forwarded-for", "203.0.113.1"),
        *headers,
    ]
    transport = httpx.ASGITransport(App(store, visits=Visits(store), admin=bearer(TOKEN)))
    async with store, httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        for path in (*ASKED, "/metrics"):
            body = json.dumps(ASKED.get(path, {}))
            for method in ("POST", "GET", "HEAD", "OPTIONS", "DELETE"):
                hidden, nothing = [
                    await client.request(method, asked, content=body, headers=sent)
                    for asked in (path, "/visits/nothing")
                ]
                assert hidden.status_code == 404, (method, path)
                assert (hidden.content, hidden.headers) == (nothing.content, nothing.headers), (method, path)


async def test_without_an_admin_nobody_is_an_operator(browse: Browse, visits: Visits) -> None:
    client = await browse(App(visits.store, visits=visits))
    answer = await client.post("/visits/active", json={}, headers=OPERATOR)
    assert (answer.status_code, error(answer)["code"]) == (404, "route_unknown")


def raising(_: Asker) -> bool:
    raise LookupError("the directory is away")


async def away(_: Asker) -> bool:
    raise LookupError("the directory is away")


@pytest.mark.parametrize("admin", [raising, away, lambda _: "yes", lambda _: 1, lambda _: None])
async def test_an_admin_that_cannot_tell_says_no(
    browse: Browse, visits: Visits, caplog: pytest.LogCaptureFixture, admin: Any
) -> None:
    client = await browse(App(visits.store, visits=visits, admin=admin))
    answer = await client.post("/visits/active", json={}, headers=OPERATOR)
    assert (answer.status_code, error(answer)["code"]) == (404, "route_unknown")
    assert TOKEN not in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_admin_may_be_awaited_and_go_by_who_was_authenticated(browse: Browse, visits: Visits) -> None:
    async def who(asker: Asker) -> str | None:
        return asker.headers.get("x-user")

    async def admin(asker: Asker) -> bool:
        return asker.subject == "root" and asker.address == "127.0.0.1" and asker.path == "/visits/active"

    client = await browse(App(visits.store, visits=visits, admin=admin, authenticate=who))
    statuses = [
        (await client.post("/visits/active", json={}, headers={"x-user": user})).status_code for user in ("root", "ada")
    ]
    assert statuses == [200, 404]


@pytest.mark.parametrize("sent", [{"surplus": 1}, {"limit": "1"}, {"limit": 0}, {"after": "x"}, {"minutes": 0}])
async def test_an_operators_slip_is_one_error(client: httpx.AsyncClient, sent: dict[str, Any]) -> None:
    answer = await client.post("/visits/active", json=sent, headers=OPERATOR)
    assert (answer.status_code, error(answer)["code"]) == (400, "invalid"), answer.text


async def test_an_operators_page_must_be_of_a_known_origin_too(client: httpx.AsyncClient) -> None:
    headers = {**OPERATOR, "origin": "https://evil.example"}
    answer = await client.post("/visits/erase", json={"id": LISTED}, headers=headers)
    assert error(answer)["code"] == "origin_refused"


async def test_an_operator_cannot_be_asked_in_text(client: httpx.AsyncClient) -> None:
    answer = await client.post("/visits/active", content="{}", headers={**OPERATOR, "content-type": "text/plain"})
    assert error(answer)["name"] == "Content-Type"


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "ümläute-ümläute-ümläute", "a" * 20 + "\n"])
def test_a_token_that_protects_nothing_is_refused(token: str) -> None:
    with pytest.raises(InvalidError, match="token") as caught:
        bearer(token)
    assert not token or token not in str(caught.value)


def test_visits_of_another_store_are_refused(store: Store) -> None:
    with pytest.raises(InvalidError, match="visits"):
        App(store, visits=Visits(sojourn.open("memory:")))


@pytest.fixture
def functions(store: Store) -> Functions:
    functions = Functions(Sessions(store))

    @functions.query
    async def who(ctx: QueryCtx, session_id: SessionId) -> tuple[str | None, bool]:
        return ctx.caller.subject, ctx.caller.is_operator

    @functions.mutation(internal=True)
    async def secret(ctx: MutationCtx, session_id: SessionId) -> str:
        return "done"

    return functions


@pytest.mark.row("F-C79")
async def test_an_operator_may_call_internal_functions_and_nobody_else_knows_of_them(
    browse: Browse, functions: Functions
) -> None:
    client = await browse(App(functions.sessions.store, functions=functions, admin=bearer(TOKEN), dev=True))
    await client.post("/session", json={})
    answer = await client.post("/call", json={"kind": "mutation", "function": "secret"}, headers=OPERATOR)
    assert answer.json() == {"result": "done"}
    for headers in ({}, {"authorization": "Bearer wrong"}):
        hidden = await call(client, "mutation", "secret", headers=headers)
        nothing = await call(client, "mutation", "no_such", headers=headers)
        assert (hidden.status_code, hidden.text.replace("secret", "no_such")) == (404, nothing.text)


async def test_a_function_is_told_who_calls(browse: Browse, functions: Functions) -> None:
    def who(asker: Asker) -> str | None:
        return asker.headers.get("x-user")

    store = functions.sessions.store
    client = await browse(App(store, functions=functions, admin=bearer(TOKEN), authenticate=who, dev=True))
    await client.post("/session", json={})
    assert (await call(client, "query", "who")).json()["result"] == [None, False]
    assert (await call(client, "query", "who", headers={"x-user": "ada"})).json()["result"] == ["ada", False]
    assert (await call(client, "query", "who", headers=OPERATOR)).json()["result"] == [None, True]
    client.cookies.clear()
    issued = await functions.sessions.issue("eve")
    client.cookies.set("sojourn", issued.token)
    assert (await call(client, "query", "who")).json()["result"] == ["eve", False], (
        "the session says it, if nobody else"
    )
    assert (await call(client, "query", "who", headers={"x-user": "ada"})).json()["result"] == ["ada", False]


async def test_an_authenticate_that_fails_is_a_fault_of_the_server(
    browse: Browse, functions: Functions, caplog: pytest.LogCaptureFixture
) -> None:
    def who(_: Asker) -> str | None:
        raise LookupError("the directory is away")

    client = await browse(App(functions.sessions.store, functions=functions, authenticate=who, dev=True))
    await client.post("/session", json={})
    answer = await call(client, "query", "who")
    assert (answer.status_code, error(answer)["code"]) == (500, "internal")
    assert "directory" not in answer.text
    assert error(answer)["report"] in caplog.text


async def test_an_authenticate_that_fails_makes_nobody_an_operator(
    browse: Browse, visits: Visits, caplog: pytest.LogCaptureFixture
) -> None:
    async def who(_: Asker) -> str | None:
        raise LookupError("the directory is away")

    client = await browse(App(visits.store, visits=visits, admin=lambda _: True, authenticate=who))
    answer = await client.post("/visits/active", json={}, headers=OPERATOR)
    assert (answer.status_code, error(answer)["code"]) == (404, "route_unknown")
    assert "the directory is away" in caplog.text


@pytest.mark.row("F-C91")
async def test_what_is_printed_of_a_request_opens_nothing(browse: Browse, visits: Visits) -> None:
    askers: list[Asker] = []

    def admin(asker: Asker) -> bool:
        askers.append(asker)
        return False

    client = await browse(App(visits.store, visits=visits, admin=admin))
    await client.post("/visits/active", json={}, headers={"authorization": f"Bearer {TOKEN}"})
    (asker,) = askers
    assert asker.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in f"{asker!r} {asker}"
    for message in (
        VisitRequest(TOKEN),
        ActionsRequest(TOKEN, 0, (), TOKEN),
        PresenceRequest("room", TOKEN, TOKEN, token=TOKEN),
        PresenceAnswer(tracked=True, token=TOKEN, interval_ms=1),
        PresenceLeaveRequest(TOKEN),
        RotateRequest(TOKEN),
    ):
        assert repr(message) == f"<{type(message).__name__}>"
