"""Calls over HTTP: what goes in, what comes out, and what a client learns when it goes wrong."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import InvalidError, UnavailableError
from sojourn.kernel import Outcome, Reads, Snapshot, Store, Transaction
from sojourn.server import App
from sojourn.sessions import Mode, Sessions
from sojourn.testing import ManualClock

from .conftest import ORIGIN, Browse, call, make_functions, streamed


@pytest.fixture
async def client(browse: Browse) -> httpx.AsyncClient:
    client = await browse()
    await client.post("/session", json={})
    return client


def error(answer: httpx.Response) -> dict[str, Any]:
    failure: dict[str, Any] = answer.json()["error"]
    return failure


async def test_a_call_runs_for_the_session_that_the_cookie_opens(client: httpx.AsyncClient) -> None:
    assert (await call(client, "mutation", "add", arguments={"by": 2})).json() == {"result": 2}
    assert (await call(client, "mutation", "add")).json() == {"result": 3}
    assert (await call(client, "query", "total")).json() == {"result": 3}


@pytest.mark.row("F-C60")
async def test_a_request_that_is_sent_again_is_applied_once(client: httpx.AsyncClient) -> None:
    first = await call(client, "mutation", "add", request_id="r1")
    again = await call(client, "mutation", "add", request_id="r1")
    assert first.json() == again.json() == {"result": 1}
    other = await call(client, "mutation", "add", arguments={"by": 2}, request_id="r1")
    assert (other.status_code, error(other)["code"]) == (400, "request_reused")


@pytest.mark.row("F-C60")
@pytest.mark.parametrize("url", ["memory:"])
async def test_a_repeat_whose_session_has_ended_is_not_applied_again_by_what_takes_none(
    client: httpx.AsyncClient, store: Store
) -> None:
    assert (await call(client, "mutation", "count_up", request_id="r1")).json() == {"result": 1}
    assert (await call(client, "mutation", "count_up", request_id="r1")).json() == {"result": 1}
    session = (await client.get("/session")).json()["session"]
    await Sessions(store).revoke(session["id"])
    again = await call(client, "mutation", "count_up", request_id="r1")
    assert (again.status_code, error(again)["code"]) == (401, "session_invalid")
    assert (await call(client, "mutation", "count_up")).json() == {"result": 2}


async def test_what_the_engine_cannot_do_is_said_as_such(client: httpx.AsyncClient, store: Store) -> None:
    """Over HTTP as well: where it lacks the capability that is the answer, and nothing was written."""
    answer = await call(client, "mutation", "spread")
    if store.describe().cross_partition:
        assert answer.json() == {"result": None}
    else:
        assert answer.status_code == 501
        assert (error(answer)["code"], error(answer)["written"]) == ("capability_missing", "no")


@pytest.mark.row("F-C79")
async def test_an_internal_function_is_no_different_from_none(client: httpx.AsyncClient) -> None:
    hidden = await call(client, "mutation", "secret")
    nothing = await call(client, "mutation", "no_such")
    assert hidden.status_code == nothing.status_code == 404
    assert hidden.text.replace("secret", "no_such") == nothing.text
    assert (await call(client, "query", "add")).status_code == 404, "nor is one of another kind"
    assert (await call(client, "query", "total")).json() == {"result": 0}


@pytest.mark.row("F-C80")
async def test_an_error_of_the_application_keeps_its_data(client: httpx.AsyncClient) -> None:
    answer = await call(client, "mutation", "sold_out")
    assert answer.status_code == 422
    assert error(answer) == {
        "code": "application",
        "message": "sold out",
        "retry": "never",
        "written": "no",
        "data": {"left": 0},
    }
    assert (await call(client, "query", "total")).json() == {"result": 0}


@pytest.mark.row("F-C80")
async def test_a_fault_of_the_server_tells_a_client_nothing_but_where_to_look(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await call(client, "mutation", "broken")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert error(answer)["code"] == "internal"
    assert error(answer)["report"] in caplog.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b"[]", 400, "body"),
        (b'{"kind": "query"}', 400, "body"),
        (b'{"kind": "watch", "function": "total"}', 400, "kind"),
        (b'{"kind": "query", "function": "total", "surplus": 1}', 400, "body"),
        (b'{"kind": "query", "function": "total", "arguments": {"surplus": 1}}', 400, "arguments"),
        (b'{"kind": "mutation", "function": "add", "arguments": {"by": "1"}}', 400, "arguments"),
        (b'{"kind": "mutation", "function": "add", "arguments": {"by": NaN}}', 400, "body"),
        (b'{"kind": "mutation", "function": "add", "arguments": {"by": 1e400}}', 400, "arguments"),
        (b'{"kind": "mutation", "function": "add", "arguments": null}', 400, "arguments"),
        (b'{"kind": "mutation", "function": "add", "request_id": ""}', 400, "request_id"),
        (b'{"kind": "mutation", "function": "add", "request_id": 7}', 400, "body"),
        (b'{"kind": "query", "function": "total", "arguments": {"session_id": "x"}}', 400, "arguments"),
        (b"[" * 1_000 + b"]" * 1_000, 400, "body"),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, 400, "body"),
        (b'["' + b'\\"[' * 500 + b'",' + b"[" * 1_000, 400, "body"),
        (b'"\xff\xfe"', 400, "body"),
        (b"x" * (limits.BODY_BYTES + 1), 413, "body"),
    ],
)
async def test_a_body_out_of_form_is_one_named_error_and_the_server_stays_up(
    client: httpx.AsyncClient, body: bytes, status: int, named: str
) -> None:
    answer = await client.post("/call", content=body)
    assert (answer.status_code, error(answer)["name"]) == (status, named), answer.text
    assert error(answer)["written"] == "no"
    assert (await call(client, "query", "total")).json() == {"result": 0}


async def test_brackets_inside_text_are_no_nesting(client: httpx.AsyncClient) -> None:
    answer = await call(client, "mutation", "add", arguments={"by": "[{" * 1_000 + '\\"'})
    assert error(answer)["name"] == "arguments"


async def test_a_body_of_50_mb_is_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        for _ in range(50):
            sent += 1
            yield b" " * 1_048_576

    answer = await client.post("/call", content=endless())
    assert answer.status_code == 413
    assert sent <= 3


async def test_a_compressed_body_or_one_of_another_type_is_refused(client: httpx.AsyncClient) -> None:
    compressed = await client.post("/call", content=b"x", headers={"content-encoding": "gzip"})
    assert error(compressed)["name"] == "Content-Encoding"
    form = await client.post("/call", content=b"a=b", headers={"content-type": "application/x-www-form-urlencoded"})
    assert error(form)["name"] == "Content-Type"
    plain = await client.post("/call", content=streamed(b"{}"), headers={"content-type": "text/plain"})
    assert error(plain)["name"] == "Content-Type"


async def test_headers_beyond_the_limit_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/session", headers={"x-filler": "a" * limits.HEADER_BYTES})
    assert (answer.status_code, error(answer)["name"]) == (413, "headers")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost"}, 200),
        ({"origin": "https://shop.example"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "https://shop.example.evil.example"}, 403),
        ({"origin": ""}, 403),
        ({"host": "evil.example"}, 403),
        ({"host": "shop.example", "origin": "https://shop.example"}, 200),
        ({"host": "localhost:1234", "origin": "http://localhost:1234"}, 200),
        ({"host": "[::1]:80", "origin": "http://[::1]:80"}, 200),
        ({"host": "[", "origin": "http://["}, 403),
        ({"host": ""}, 403),
    ],
)
async def test_only_pages_of_known_origins_may_ask(browse: Browse, headers: dict[str, str], status: int) -> None:
    client = await browse(origins=["https://shop.example"])
    answer = await client.post("/session", json={}, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert error(answer)["code"] == "origin_refused"


async def test_a_cookie_without_an_origin_changes_nothing(client: httpx.AsyncClient) -> None:
    del client.headers["origin"]
    assert (await call(client, "mutation", "add")).status_code == 403
    assert (await client.get("/session")).status_code == 200, "reading is no change"
    client.cookies.clear()
    assert (await client.post("/session", json={})).status_code == 200, "there is no cookie to misuse"


async def test_a_page_of_a_known_origin_may_read_the_answer(browse: Browse) -> None:
    client = await browse(origins=["https://shop.example"])
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    preflight = await client.options("/call", headers=headers)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    answer = await client.post("/session", json={}, headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    refused = await client.options("/call", headers={**headers, "origin": "https://evil.example"})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


async def test_what_is_not_there_says_so(client: httpx.AsyncClient) -> None:
    assert error(await client.get("/no/such"))["code"] == "route_unknown"
    assert error(await client.post("/no/such", json={}))["code"] == "route_unknown"
    wrong = await client.put("/call", json={})
    assert (wrong.status_code, error(wrong)["code"]) == (405, "method_refused")


async def test_two_processes_share_one_budget(store: Store, browse: Browse, clock: ManualClock) -> None:
    apps = [App(store, functions=make_functions(Sessions(store)), dev=True, calls_per_minute=40) for _ in range(2)]
    clients = [await browse(app) for app in apps]
    answers = [await clients[place % 2].get("/session") for place in range(100)]
    passed = [answer for answer in answers if answer.status_code == 401]
    assert len(passed) == 40
    refused = answers[-1]
    assert (refused.status_code, error(refused)["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    clock.advance(timedelta(minutes=1))
    assert (await clients[0].get("/session")).status_code == 401
    assert (await clients[0].get("/health")).status_code == 200, "health is not budgeted"


async def test_beginning_sessions_has_a_budget_of_its_own(browse: Browse) -> None:
    client = await browse(sessions_per_minute=5)
    answers = []
    for _ in range(8):
        answers.append((await client.post("/session", json={})).status_code)
        client.cookies.clear()
    assert answers == [200] * 5 + [429] * 3


class Leaving(MemoryEngine):
    """An engine that cannot be reached while `is_away`."""

    is_away = True

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Outcome]:
        if self.is_away:
            raise UnavailableError("away")
        return await super().commit(batch)

    async def read(self, reads: Reads) -> Snapshot:
        if self.is_away:
            raise UnavailableError("away")
        return await super().read(reads)


async def test_a_store_that_goes_away_is_an_answer_and_then_forgotten(clock: ManualClock) -> None:
    engine = Leaving(clock=clock)
    async with Store(engine) as store:
        app = App(store, functions=make_functions(Sessions(store, keys=[b"k" * 32])), dev=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
            down = await client.get("/health")
            assert (down.status_code, down.json()["status"]) == (503, "unavailable")
            refused = await client.post("/session", json={})
            assert (refused.status_code, error(refused)["code"]) == (503, "unavailable")
            assert (error(refused)["retry"], error(refused)["written"]) == ("later", "no")
            assert "retry-after" in refused.headers
            engine.is_away = False
            assert (await client.get("/health")).json() == {"status": "ok", "engine": "memory"}
            assert (await client.post("/session", json={})).status_code == 200


async def test_sixteen_at_once_lose_nothing(client: httpx.AsyncClient, clock: ManualClock) -> None:
    async with clock.rushing():
        await asyncio.gather(*(call(client, "mutation", "add") for _ in range(16)))
    assert (await call(client, "query", "total")).json() == {"result": 16}


async def test_the_answer_is_json_that_any_program_reads(client: httpx.AsyncClient) -> None:
    answer = await call(client, "query", "total")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text) == {"result": 0}


async def test_files_are_handed_out_and_a_missing_one_is_no_fault(browse: Browse, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>shop</title>")
    client = await browse(pages=tmp_path)
    assert "shop" in (await client.get("/")).text
    missing = await client.get("/favicon.ico")
    assert (missing.status_code, error(missing)["code"]) == (404, "route_unknown")
    with pytest.raises(InvalidError, match="pages"):
        await browse(pages=tmp_path / "no such folder")


async def test_health_answers_under_any_name(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health", headers={"host": "10.0.0.7"})).status_code == 200
    assert (await client.get("/session", headers={"host": "10.0.0.7"})).status_code == 403


async def test_a_new_token_goes_out_even_when_the_action_fails_after_signing_in(client: httpx.AsyncClient) -> None:
    failed = await call(client, "action", "sign_in_and_fail", arguments={"name": "ada"})
    assert failed.status_code == 422
    assert (await client.get("/session")).json()["session"]["subject"] == "ada"


async def test_a_text_that_never_ends_costs_its_length_and_no_more(client: httpx.AsyncClient) -> None:
    """Half a megabyte of escaped quotes: looked through anew at each of them it would stop the server for hours."""
    answer = await client.post("/call", content=b"[" * 65 + b'"' + b'\\"' * 250_000)
    assert (answer.status_code, error(answer)["name"]) == (400, "body")


async def test_a_length_beyond_all_numbers_is_no_fault_of_the_server(client: httpx.AsyncClient) -> None:
    answer = await client.post("/call", content=b"{}", headers={"content-length": "9" * 5_000})
    assert answer.status_code == 400


async def test_a_budget_that_was_lowered_still_binds(store: Store, browse: Browse) -> None:
    generous, strict = (
        App(store, functions=make_functions(Sessions(store)), dev=True, calls_per_minute=most) for most in (6_000, 10)
    )
    client = await browse(generous)
    for _ in range(50):
        await client.get("/session")
    late = await browse(strict)
    assert [(await late.get("/session")).status_code for _ in range(3)] == [429] * 3


async def test_ids_that_the_browser_makes_begin_sessions_within_the_budget(store: Store, browse: Browse) -> None:
    functions = make_functions(Sessions(store, mode=Mode.MINTED))
    app = App(store, functions=functions, dev=True, browser_storage=True, sessions_per_minute=3)
    client = await browse(app)
    body = {"kind": "mutation", "function": "add"}
    answers = [
        (await client.post("/call", json=body, headers={"sojourn-session": f"{place:032}"})).status_code
        for place in range(6)
    ]
    assert answers == [200] * 3 + [429] * 3
    again = await client.post("/call", json=body, headers={"sojourn-session": f"{0:032}"})
    assert again.status_code == 200, "a session that has begun is not counted again"


async def test_a_handlers_own_mistakes_are_faults_of_the_server_with_a_report(client: httpx.AsyncClient) -> None:
    for function in ("timed_out", "unspeakable"):
        answer = await call(client, "mutation", function)
        assert (answer.status_code, error(answer)["code"]) == (500, "internal")
        assert error(answer)["report"]
