"""Rooms over HTTP: who is present, by which tabs, and what a stranger can do to them."""

import json
from typing import Any

import httpx
import pytest

from sojourn import limits
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from sojourn.visits import Visits, visitor_of

from .conftest import ADA, EVE, Browse, error, open_page


@pytest.fixture
async def page(browse: Browse, visits: Visits) -> httpx.AsyncClient:
    return await open_page(browse, visits, visitors_per_minute=5)


def beat(tab: str = "tab-1", **rest: Any) -> dict[str, Any]:
    return {"room": "cart 7", "tab": tab, "visitor": ADA, **rest}


async def members(visits: Visits) -> dict[str, Any]:
    return {member.name: member.data for member in await visits.room("cart 7").list()}


@pytest.mark.row("F-C92", "F-W7")
async def test_a_tab_makes_its_visitor_present_under_a_name_that_opens_nothing(
    page: httpx.AsyncClient, visits: Visits
) -> None:
    answer = (await page.post("/presence", json=beat(data={"mood": "fine"}))).json()
    assert (answer["tracked"], answer["interval_ms"]) == (True, 10_000)
    assert await members(visits) == {visitor_of(ADA): {"mood": "fine"}}
    await page.post("/presence", json=beat(token=answer["token"]))
    assert await members(visits) == {visitor_of(ADA): {"mood": "fine"}}, "left out, it stays"
    await page.post("/presence", json=beat(token=answer["token"], data=None))
    assert await members(visits) == {visitor_of(ADA): None}


@pytest.mark.row("F-C94")
async def test_a_member_leaves_with_its_last_tab_by_beacon(page: httpx.AsyncClient, visits: Visits) -> None:
    tokens = [(await page.post("/presence", json=beat(tab))).json()["token"] for tab in ("tab-1", "tab-2")]
    for token, left in zip(tokens, (1, 0), strict=True):
        body = json.dumps({"token": token})
        for _ in range(2):
            answer = await page.post("/presence/leave", content=body, headers={"content-type": "text/plain"})
            assert answer.json() == {"left": True}
        assert len(await members(visits)) == left


async def test_a_steady_beat_is_one_commit_and_costs_no_newcomer(page: httpx.AsyncClient, store: Store) -> None:
    token = (await page.post("/presence", json=beat())).json()["token"]
    for _ in range(10):
        before = store.statistics().commits
        answer = await page.post("/presence", json=beat(token=token))
        assert answer.json()["token"] == token
        assert store.statistics().commits - before <= 2, "itself, and at most one block of the budget of requests"


@pytest.mark.row("P-R22")
async def test_a_flood_of_tabs_is_stopped_however_it_calls_itself(page: httpx.AsyncClient, visits: Visits) -> None:
    good = (await page.post("/presence", json=beat())).json()["token"]
    answers = [
        await page.post("/presence", json=beat(f"tab-{n}", token=token) | {"visitor": f"stranger-{n:020}"})
        for n, token in enumerate((None, "forged", good, None, good, None, "forged"), start=2)
    ]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 3
    assert len(await members(visits)) == 5
    assert (await page.post("/presence", json=beat(token=good))).status_code == 200, "who is seated stays"


async def test_nobody_takes_the_tab_of_somebody_else(page: httpx.AsyncClient, visits: Visits) -> None:
    token = (await page.post("/presence", json=beat())).json()["token"]
    for theirs in (beat(), beat(token=token)):
        answer = await page.post("/presence", json=theirs | {"visitor": EVE})
        assert (answer.status_code, error(answer)["name"]) == (400, "tab")
    assert list(await members(visits)) == [visitor_of(ADA)]


@pytest.mark.parametrize("token", ["", "x", "a" * 10_000, "\0", "é", "bnVsbA", "e30"])
async def test_a_token_that_opens_nothing_does_nothing(page: httpx.AsyncClient, visits: Visits, token: str) -> None:
    await page.post("/presence", json=beat())
    assert (await page.post("/presence/leave", json={"token": token})).json() == {"left": True}
    assert (await page.post("/presence", json=beat(token=token))).status_code == 200
    assert list(await members(visits)) == [visitor_of(ADA)]


@pytest.mark.parametrize(
    ("sent", "status", "named"),
    [
        (beat(tab=""), 400, "tab"),
        (beat(tab="x" * 10_000), 413, "tab"),
        (beat(room=""), 400, "room"),
        (beat(room="x" * (limits.ROOM_CHARS + 1)), 413, "room"),
        (beat(room="a\0"), 400, "room"),
        (beat(visitor="short"), 400, "visitor"),
        (beat(visitor=None), 400, "body"),
        (beat(data="x" * limits.ROOM_DATA_BYTES), 413, "data"),
        (beat(surplus=1), 400, "body"),
    ],
)
async def test_a_beat_out_of_form_is_one_named_error(
    page: httpx.AsyncClient, visits: Visits, sent: dict[str, Any], status: int, named: str
) -> None:
    answer = await page.post("/presence", json=sent)
    assert (answer.status_code, error(answer)["name"]) == (status, named), answer.text
    assert await members(visits) == {}


async def test_data_that_no_browser_sends_is_no_fault_of_the_server(page: httpx.AsyncClient, visits: Visits) -> None:
    text = json.dumps(beat())[:-1]
    for data in (b"1e999", b'"\xff"', b"NaN", b"[" * 1_000 + b"]" * 1_000):
        answer = await page.post("/presence", content=text.encode() + b', "data": ' + data + b"}")
        assert answer.status_code == 400, answer.text
    assert await members(visits) == {}


@pytest.mark.row("P-R20")
async def test_who_does_not_want_it_is_not_present_and_may_leave(page: httpx.AsyncClient, visits: Visits) -> None:
    answer = await page.post("/presence", json=beat(), headers={"sec-gpc": "1"})
    assert answer.json() == {"tracked": False, "token": None, "interval_ms": 10_000}
    assert await members(visits) == {}
    token = (await page.post("/presence", json=beat())).json()["token"]
    await page.post("/presence/leave", json={"token": token}, headers={"sec-gpc": "1"})
    assert await members(visits) == {}


@pytest.mark.row("F-C93", "P-R18")
async def test_a_tab_that_falls_silent_is_gone_after_two_and_a_half_intervals(
    page: httpx.AsyncClient, visits: Visits, clock: ManualClock
) -> None:
    await page.post("/presence", json=beat())
    clock.advance(limits.ROOM_INTERVAL * 2)
    assert len(await members(visits)) == 1
    clock.advance(limits.ROOM_INTERVAL)
    assert await members(visits) == {}
