"""Visits over HTTP: what a page tells of its visitor, who is filtered, and what a flood of strangers costs."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from sojourn import limits
from sojourn.errors import RateLimitedError, UnavailableError
from sojourn.kernel import Changed, RankSpan, Space, Store
from sojourn.server import App
from sojourn.server.rate import Budget
from sojourn.server.visitors import Newcomers
from sojourn.testing import ManualClock
from sojourn.visits import Judge, Visits, visitor_of

from .conftest import ADA, BROWSER, ORIGIN, Browse, error, open_page


@pytest.fixture
async def page(browse: Browse, visits: Visits) -> httpx.AsyncClient:
    """A page of the server's own, in a browser."""
    return await open_page(browse, visits)


def batch(*actions: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"client": "page-1", "sent_at": 1_000, "visitor": ADA, "actions": actions, **rest}


def click(sequence: int, **rest: Any) -> dict[str, Any]:
    return {"sequence": sequence, "at": 1_000, "action": "click", **rest}


async def here(visits: Visits) -> list[str]:
    return [visitor.anonymous_id async for visitor in visits.get_active_sessions()]


async def did(visits: Visits, visitor: str = ADA) -> list[str]:
    return [action.action async for action in visits.actions(visitor_of(visitor))]


async def stored(store: Store) -> list[str]:
    """Every space in which visits or rooms keep anything."""
    spaces = ("visit", "visit.active")
    return [space for space in spaces if (await store.rank(RankSpan(space))).records]


async def test_a_heartbeat_makes_the_visitor_known_and_says_when_to_come_again(
    page: httpx.AsyncClient, visits: Visits
) -> None:
    answer = await page.post("/visit", json={"visitor": ADA})
    assert answer.json() == {"tracked": True, "interval_ms": 300_000}
    assert await here(visits) == [visitor_of(ADA)]


async def test_a_steady_heartbeat_is_one_commit(page: httpx.AsyncClient, store: Store) -> None:
    await page.post("/visit", json={"visitor": ADA})
    before = store.statistics()
    await page.post("/visit", json={"visitor": ADA})
    after = store.statistics()
    assert after.commits - before.commits <= 2, "itself, and at most one block of the budget of requests"
    assert after.conflicts == before.conflicts


async def test_who_is_here_for_a_short_time_only_is_asked_more_often(browse: Browse, store: Store) -> None:
    page = await open_page(browse, Visits(store, active_for=timedelta(seconds=5), precision=timedelta(seconds=1)))
    assert (await page.post("/visit", json={"visitor": ADA})).json()["interval_ms"] == 2_000


@pytest.mark.row("F-W6", "F-W7")
async def test_the_id_of_a_browser_is_nowhere_to_be_seen(page: httpx.AsyncClient, visits: Visits) -> None:
    await page.post("/visit", json={"visitor": ADA})
    await page.post("/visit/actions", json=batch(click(1)))
    kept = json.dumps(await visits.export(visitor_of(ADA)), default=str)
    assert kept != "{}"
    assert ADA not in kept


@pytest.mark.row("F-W6", "F-W7", "F-C91")
async def test_who_sees_a_listing_cannot_act_for_anybody_in_it(page: httpx.AsyncClient, visits: Visits) -> None:
    await page.post("/visit", json={"visitor": ADA})
    (listed,) = await here(visits)
    await page.post("/visit/leave", json={"visitor": listed})
    assert await here(visits) == [listed]
    await page.post("/visit/actions", json=batch(click(1), visitor=listed))
    assert await did(visits) == []


@pytest.mark.parametrize("path", ["/visit", "/visit/leave"])
@pytest.mark.parametrize(
    "body", [{"visitor": ""}, {"visitor": "short"}, {"visitor": "a" * 129}, {"visitor": "a b" * 10}]
)
@pytest.mark.row("F-W6")
async def test_an_id_that_is_no_random_one_is_refused(
    page: httpx.AsyncClient, store: Store, path: str, body: dict[str, Any]
) -> None:
    answer = await page.post(path, json=body)
    assert (answer.status_code, error(answer)["name"]) == (400, "visitor")
    assert await stored(store) == []


async def test_leaving_is_at_once_and_may_be_said_twice(page: httpx.AsyncClient, visits: Visits) -> None:
    await page.post("/visit", json={"visitor": ADA})
    for _ in range(2):
        assert (await page.post("/visit/leave", json={"visitor": ADA})).json() == {"left": True}
    assert await here(visits) == []


async def test_a_batch_is_recorded_once_and_may_say_that_the_visitor_leaves(
    page: httpx.AsyncClient, visits: Visits
) -> None:
    sent = batch(click(1), click(2, resource_id="buy", metadata={"sku": "book"}), leaving=True)
    assert (await page.post("/visit/actions", json=sent)).json() == {
        "tracked": True,
        "accepted": 2,
        "repeated": 0,
        "refused": [],
    }
    again = (await page.post("/visit/actions", json=sent)).json()
    assert (again["accepted"], again["repeated"]) == (0, 2)
    assert await did(visits) == ["click", "click"]
    assert await here(visits) == []


async def test_who_only_leaves_is_not_made_known_by_it(page: httpx.AsyncClient, store: Store) -> None:
    assert (await page.post("/visit/actions", json=batch(leaving=True))).json()["tracked"]
    assert await stored(store) == []


@pytest.mark.row("P-R16")
async def test_each_action_is_refused_by_itself(page: httpx.AsyncClient, visits: Visits) -> None:
    answer = await page.post(
        "/visit/actions",
        json=batch(
            click(1),
            click(2, surplus=1),
            click(3, metadata=[]),
            click(4, metadata={"a": "x" * limits.METADATA_BYTES}),
            {"sequence": 5, "at": "now", "action": "click"},
            click(6),
        ),
    )
    said = answer.json()
    assert (answer.status_code, said["accepted"]) == (200, 2), answer.text
    assert [(refused["sequence"], refused["code"]) for refused in said["refused"]] == [
        (2, "invalid"),
        (3, "invalid"),
        (4, "limit"),
        (5, "invalid"),
    ]
    assert await did(visits) == ["click", "click"]


@pytest.mark.parametrize(
    ("sent", "status", "named"),
    [
        (batch(*map(click, range(1, 10_001))), 413, "actions"),
        (batch(*({"sequence": number} for number in range(10_000))), 413, "actions"),
        (batch({"action": "click", "at": 1}), 400, "actions[0]"),
        (batch(click(1)) | {"actions": [click(1), "click"]}, 400, "actions[1]"),
        (batch(click(2), click(1)), 400, None),
        (batch(click(1), client=""), 400, "client"),
        (batch(click(1), visitor="short"), 400, "visitor"),
        (batch(click(1), visitor=7), 400, "body"),
        (batch(click(1), surplus=1), 400, "body"),
        ({"visitor": ADA, "actions": []}, 400, "body"),
        (batch(click(1, action="x" * limits.BODY_BYTES)), 413, "body"),
    ],
)
async def test_a_batch_out_of_form_is_one_named_error_and_nothing_is_written(
    page: httpx.AsyncClient, visits: Visits, sent: dict[str, Any], status: int, named: str | None
) -> None:
    answer = await page.post("/visit/actions", json=sent)
    assert answer.status_code == status, answer.text
    assert named is None or error(answer)["name"] == named
    assert error(answer)["written"] == "no"
    assert await did(visits) == []


@pytest.mark.parametrize(
    "text",
    [
        b'{"client": "p", "sent_at": 1, "visitor": "%b", "actions": [{"sequence": 1, "at": 1, "action": "\xff"}]}',
        b'{"client": "p", "sent_at": 1, "visitor": "%b", "actions": [{"sequence": 1, "at": 1e999, "action": "a"}]}',
        b'{"client": "p", "sent_at": 1, "visitor": "%b", "actions": [{"sequence": 1, "at": NaN, "action": "a"}]}',
        b'{"client": "p", "sent_at": 1, "visitor": "%b", "actions": [{"sequence": 1%b, "at": 1}]}' % (b"%b", b"0" * 99),
        b'{"client": "p", "sent_at": 1, "visitor": "%b", "actions": ' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    ],
)
async def test_what_no_browser_sends_is_no_fault_of_the_server(
    page: httpx.AsyncClient, visits: Visits, text: bytes
) -> None:
    answer = await page.post("/visit/actions", content=text.replace(b"%b", ADA.encode()))
    assert answer.status_code in {200, 400}, answer.text
    assert await did(visits) == []


@pytest.mark.row("P-R16")
@pytest.mark.parametrize("path", ["/visit", "/visit/leave", "/visit/actions"])
async def test_beacons_are_taken_as_text(page: httpx.AsyncClient, path: str) -> None:
    body = batch(click(1)) if path == "/visit/actions" else {"visitor": ADA}
    headers = {"content-type": "text/plain;charset=UTF-8"}
    assert (await page.post(path, content=json.dumps(body), headers=headers)).status_code == 200
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert error(await page.post(path, content=json.dumps(body), headers=form))["name"] == "Content-Type"


async def test_text_is_taken_nowhere_else(page: httpx.AsyncClient) -> None:
    answer = await page.post("/session", content=b"{}", headers={"content-type": "text/plain"})
    assert error(answer)["name"] == "Content-Type"


@pytest.mark.parametrize("path", ["/visit", "/visit/leave", "/visit/actions", "/presence", "/presence/leave"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"{ORIGIN}, https://evil.example"},
        {"origin": "", "cookie": "sojourn=x"},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
async def test_a_beacon_from_somebody_elses_page_changes_nothing(
    page: httpx.AsyncClient, store: Store, path: str, headers: dict[str, str]
) -> None:
    """Text needs no preflight, so any page can send it: only its Origin tells whose it is."""
    body = json.dumps({"visitor": ADA})
    answer = await page.post(path, content=body, headers={"content-type": "text/plain", **headers})
    assert (answer.status_code, error(answer)["code"]) == (403, "origin_refused")
    assert await stored(store) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"dnt": "1"},
        {"dnt": "1, 1"},
        {"dnt": "1 "},
        {"sec-gpc": "1"},
        {"user-agent": ""},
        {"user-agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"},
        {"sec-purpose": "prefetch"},
    ],
)
@pytest.mark.row("P-R20", "P-R19")
async def test_who_is_filtered_or_does_not_want_it_leaves_no_record(
    page: httpx.AsyncClient, store: Store, headers: dict[str, str]
) -> None:
    visit = await page.post("/visit", json={"visitor": ADA}, headers=headers)
    actions = await page.post("/visit/actions", json=batch(click(1)), headers=headers)
    cookieless = await page.post("/visit", json={}, headers=headers)
    assert visit.json() == cookieless.json() == {"tracked": False, "interval_ms": 300_000}
    assert actions.json() == {"tracked": False, "accepted": 0, "repeated": 0, "refused": []}
    assert await stored(store) == []


@pytest.mark.row("P-R20")
async def test_who_changes_their_mind_can_still_leave(page: httpx.AsyncClient, visits: Visits) -> None:
    await page.post("/visit", json={"visitor": ADA})
    assert (await page.post("/visit/leave", json={"visitor": ADA}, headers={"sec-gpc": "1"})).json() == {"left": True}
    assert await here(visits) == []


@pytest.mark.row("P-R19")
async def test_the_filter_can_be_switched_off(browse: Browse, visits: Visits) -> None:
    page = await open_page(browse, visits, judge=Judge(rules=(), honour=()))
    answer = await page.post("/visit", json={"visitor": ADA}, headers={"user-agent": "curl/8", "dnt": "1"})
    assert answer.json()["tracked"]


async def test_a_rule_is_shown_no_credential(browse: Browse, visits: Visits) -> None:
    seen: list[str] = []

    class Looking(Judge):
        def admits(self, arrival: Any) -> bool:
            seen.extend(arrival.headers)
            return True

    page = await open_page(browse, visits, judge=Looking(), dev=True, browser_storage=True)
    headers = {"cookie": "theme=dark", "authorization": "Bearer x", "sojourn-session": "y"}
    await page.post("/visit", json={"visitor": ADA}, headers=headers)
    assert "user-agent" in seen
    assert {"cookie", "authorization", "sojourn-session"}.isdisjoint(seen)


@pytest.mark.row("P-R20", "P-R21")
async def test_without_an_id_the_visitor_is_a_hash_that_nobody_can_choose(
    page: httpx.AsyncClient, visits: Visits, clock: ManualClock
) -> None:
    await page.post("/visit", json={})
    await page.post("/visit", json={"visitor": None}, headers={"x-forwarded-for": "203.0.113.9", "forwarded": "for=x"})
    (visitor,) = await here(visits)
    assert "127.0.0.1" not in json.dumps(await visits.export(visitor), default=str)
    await page.post("/visit", json={}, headers={"user-agent": BROWSER.replace("142", "143")})
    assert len(await here(visits)) == 2
    await page.post("/visit/leave", json={})
    assert visitor not in await here(visits)


@pytest.mark.row("P-R21")
async def test_what_a_client_says_of_the_time_decides_nothing(
    page: httpx.AsyncClient, visits: Visits, clock: ManualClock
) -> None:
    await page.post("/visit/actions", json=batch(click(1) | {"at": 0}, sent_at=2**52))
    (action,) = [action async for action in visits.actions(visitor_of(ADA))]
    assert action.timestamp.timestamp() * 1_000 == pytest.approx(clock.now())
    assert action.timestamp - action.occurred_at == limits.ACTION_AGE


@pytest.mark.row("F-W6", "P-R22")
async def test_a_flood_of_new_ids_is_stopped_and_known_visitors_are_not(browse: Browse, visits: Visits) -> None:
    page = await open_page(browse, visits, visitors_per_minute=3)
    await page.post("/visit", json={"visitor": ADA})
    strangers = [f"stranger-{number:020}" for number in range(4)]
    answers = [
        await page.post("/visit", json={"visitor": strangers[0]}),
        await page.post("/visit/actions", json=batch(click(1), visitor=strangers[1])),
        await page.post("/visit", json={"visitor": strangers[2]}),
        await page.post("/visit/actions", json=batch(click(1), visitor=strangers[3])),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert error(answers[-1])["code"] == "rate_limited"
    assert sorted(await here(visits)) == sorted(map(visitor_of, (ADA, *strangers[:2])))
    assert (await page.post("/visit", json={"visitor": ADA})).status_code == 200
    assert (await page.post("/visit/actions", json=batch(click(1)))).status_code == 200


@pytest.mark.row("P-R22", "P-R21")
async def test_a_forged_address_buys_no_new_budget(browse: Browse, visits: Visits) -> None:
    page = await open_page(browse, visits, visitors_per_minute=1)
    answers = [
        await page.post("/visit", json={"visitor": f"s-{n:030}"}, headers={"x-forwarded-for": f"203.0.113.{n}"})
        for n in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 429]


@pytest.mark.row("F-W6", "P-R22")
async def test_all_addresses_together_have_a_budget_too(store: Store) -> None:
    newcomers = Newcomers(store, "visitors", 2, 3)
    for number in range(3):
        await newcomers.spend(f"203.0.113.{number}")
    with pytest.raises(RateLimitedError):
        await newcomers.spend("203.0.113.9")


@pytest.mark.row("F-W6", "P-R22")
async def test_what_one_client_of_ipv6_can_call_itself_is_one_address(store: Store) -> None:
    budget = Budget(store, "visitors", 2)
    await budget.spend("2001:db8:0:1::1")
    await budget.spend("2001:db8::1:ffff:ffff:ffff:ffff")
    with pytest.raises(RateLimitedError):
        await budget.spend("2001:db8:0:1::2")
    for other in ("2001:db8:0:2::1", "203.0.113.1", "::ffff:203.0.113.2", "", "unknown"):
        await budget.spend(other)
    await budget.spend("::ffff:203.0.113.1")
    with pytest.raises(RateLimitedError):
        await budget.spend("203.0.113.1")


@pytest.mark.row("P-R20")
async def test_a_budget_stores_no_address_however_long(store: Store) -> None:
    address = "203.0.113.1" * 100
    async with store.watch(Space("rate")) as changes:
        await Budget(store, "visitors", 2).spend(address)
        change = await anext(changes)
    assert isinstance(change, Changed)
    assert "203.0.113.1" not in str(change.keys)


async def test_who_waits_for_a_store_that_is_away_is_told_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    frozen, thaws = asyncio.Event(), asyncio.Event()

    async def run(*work: object) -> None:
        asked.extend(work)
        frozen.set()
        await thaws.wait()
        raise UnavailableError("away")

    budget = Budget(store, "visitors", 100)
    with monkeypatch.context() as away:
        away.setattr(store, "run", run)
        waiting = [asyncio.ensure_future(budget.spend("203.0.113.1")) for _ in range(3)]
        await frozen.wait()
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        thaws.set()
        told = await asyncio.gather(*waiting[1:], return_exceptions=True)
    assert [type(one) for one in told] == [UnavailableError] * 2
    assert len(asked) == 1, "each would have waited for as long as all before it"
    await budget.spend("203.0.113.1")


async def test_while_it_serves_the_daily_cleanup_runs(store: Store, clock: ManualClock) -> None:
    """As the lifespan of the application, in whose end it ends too."""
    visits = Visits(store)
    happened: list[str] = []

    async def run() -> None:
        happened.append("runs")
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("ends")

    visits.run = run  # type: ignore[method-assign]
    messages = asyncio.Queue[dict[str, str]]()
    started = asyncio.Event()

    async def send(message: Any) -> None:
        happened.append(message["type"])
        started.set()

    messages.put_nowait({"type": "lifespan.startup"})
    life = asyncio.create_task(App(store, visits=visits)({"type": "lifespan"}, messages.get, send))
    await started.wait()
    await asyncio.sleep(0)  # a round of the loop, in which what was begun begins
    messages.put_nowait({"type": "lifespan.shutdown"})
    await life
    assert happened == ["lifespan.startup.complete", "runs", "ends", "lifespan.shutdown.complete"]


async def test_without_visits_there_are_no_such_routes(browse: Browse, store: Store) -> None:
    page = await browse(App(store))
    assert error(await page.post("/visit", json={"visitor": ADA}))["code"] == "route_unknown"
