"""How a live connection begins and ends, and what is not taken from a client."""

import asyncio
from collections.abc import MutableMapping, Sequence
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from sojourn import limits
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import UnavailableError
from sojourn.kernel import Outcome, Put, Reads, Snapshot, Store, Transaction
from sojourn.server import App
from sojourn.sessions import Sessions
from sojourn.testing import ManualClock

from .conftest import Browse, error
from .live import connected, make_app, opened, query, ticket


@pytest.fixture
def url() -> str:
    return "memory:"


@pytest.fixture
def app(store: Store) -> App:
    return make_app(Sessions(store), origins=["https://shop.example"])


@pytest.fixture
async def page(browse: Browse, app: App) -> httpx.AsyncClient:
    client = await browse(app)
    await client.post("/session", json={})
    return client


async def pass_time(clock: ManualClock, seconds: float) -> None:
    """Let time pass in steps short enough for whoever wakes to sleep again."""
    for _ in range(int(seconds)):
        await clock.until_sleeping()
        clock.advance(timedelta(seconds=1))
        for _ in range(20):
            await asyncio.sleep(0)


# -- The handshake -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "path"),
    [
        (None, "localhost", "/live"),
        ("https://evil.example", "localhost", "/live"),
        ("https://localhost", "localhost", "/live"),
        ("null", "localhost", "/live"),
        ("http://evil.example", "evil.example", "/live"),
        ("http://localhost", "localhost", "/elsewhere"),
    ],
)
async def test_a_handshake_of_a_stranger_is_refused(app: App, origin: str | None, host: str, path: str) -> None:
    async with opened(app, path, origin=origin, host=host) as line:
        assert (await line.events.get())["type"] == "websocket.close", "and was not accepted"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost", "localhost"),
        ("https://shop.example", "localhost"),
        ("https://shop.example", "shop.example"),
    ],
)
async def test_a_handshake_of_a_known_page_is_accepted(app: App, origin: str, host: str) -> None:
    async with opened(app, origin=origin, host=host) as line:
        assert (await line.events.get())["type"] == "websocket.accept"


async def test_a_handshake_with_endless_headers_is_refused(app: App) -> None:
    async with opened(app, origin="http://localhost" + "x" * limits.HEADER_BYTES) as line:
        assert (await line.events.get())["type"] == "websocket.close"


async def test_who_does_not_say_who_it_is_is_let_go(app: App, clock: ManualClock) -> None:
    async with opened(app) as line:
        await line.events.get()
        await clock.until_sleeping()
        clock.advance(limits.LIVE_CONNECT)
        assert await line.ended() == ("call_timeout", 4408)


@pytest.mark.parametrize("protocol", [0, 2, 9_000_000_000_000_000_000_000])
async def test_another_version_is_told_so_whatever_else_it_says(app: App, protocol: int) -> None:
    async with opened(app) as line:
        line.say({"type": "greet", "protocol": protocol, "new": True})
        await line.events.get()
        assert await line.ended() == ("protocol_unsupported", 4426)


# -- Tickets -----------------------------------------------------------------------------------------------------------


async def test_a_ticket_opens_one_connection(app: App, page: httpx.AsyncClient) -> None:
    once = await ticket(page)
    codes = list[str]()
    for _ in range(2):
        async with opened(app) as line:
            line.say({"type": "connect", "protocol": 1, "ticket": once})
            await line.events.get()
            codes.append((await line.hear())["type"])
    assert codes == ["connected", "goodbye"]


async def test_of_many_who_use_a_ticket_at_once_one_is_let_in(app: App, page: httpx.AsyncClient) -> None:
    once = await ticket(page)
    async with opened(app) as first, opened(app) as second, opened(app) as third:
        lines = (first, second, third)
        for line in lines:
            line.say({"type": "connect", "protocol": 1, "ticket": once})
        for line in lines:
            await line.events.get()
        heard = [(await line.hear())["type"] for line in lines]
        assert sorted(heard) == ["connected", "goodbye", "goodbye"]


@pytest.mark.parametrize("given", ["", "nonsense", "\ud800", "x" * 100_000])
async def test_what_never_was_a_ticket_opens_nothing(app: App, given: str) -> None:
    async with opened(app) as line:
        line.say({"type": "connect", "protocol": 1, "ticket": given})
        await line.events.get()
        assert (await line.ended())[1] in {4400, 4401}


async def test_a_ticket_expires(app: App, page: httpx.AsyncClient, clock: ManualClock) -> None:
    late = await ticket(page)
    clock.advance(limits.LIVE_TICKET)
    async with opened(app) as line:
        line.say({"type": "connect", "protocol": 1, "ticket": late})
        await line.events.get()
        assert await line.ended() == ("ticket_invalid", 4401)


async def test_a_ticket_of_a_session_that_was_ended_opens_nothing(app: App, page: httpx.AsyncClient) -> None:
    late = await ticket(page)
    await page.delete("/session")
    async with opened(app) as line:
        line.say({"type": "connect", "protocol": 1, "ticket": late})
        await line.events.get()
        assert await line.ended() == ("session_invalid", 4401)


async def test_a_ticket_is_for_the_session_that_asked_whoever_connects(
    app: App, browse: Browse, page: httpx.AsyncClient
) -> None:
    other = await browse(app)
    theirs = (await other.post("/session", json={})).json()["session"]["id"]
    async with opened(app) as line:
        line.say({"type": "connect", "protocol": 1, "ticket": await ticket(other)})
        await line.events.get()
        assert (await line.hear())["session"]["id"] == theirs


async def test_a_ticket_can_be_asked_for_by_header(store: Store, browse: Browse) -> None:
    page = await browse(app := make_app(Sessions(store), browser_storage=True))
    begun = await page.post("/session", json={}, headers={"sojourn-session": ""})
    page.headers["sojourn-session"] = begun.headers["sojourn-session"]
    async with connected(app, page) as line:
        line.watch(query(1, "total"))
        assert await line.shown() == {1: 0}


async def test_a_ticket_for_a_dead_session_is_refused_at_once(page: httpx.AsyncClient) -> None:
    token = page.cookies["sojourn"]
    await page.delete("/session")
    page.cookies.set("sojourn", token)
    answer = await page.post("/live/ticket", json={})
    assert (answer.status_code, error(answer)["code"]) == (401, "session_invalid")


class Noting(MemoryEngine):
    """A database that somebody reads who should not."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.tickets = list[Put]()

    async def commit(self, batch: Sequence[Transaction]) -> list[Outcome]:
        writes = [write for transaction in batch for write in transaction.writes]
        self.tickets += [write for write in writes if isinstance(write, Put) and write.key.space == "live.ticket"]
        return list(await super().commit(batch))


async def test_nothing_that_is_stored_opens_a_session(browse: Browse, clock: ManualClock) -> None:
    async with Store(engine := Noting(clock), clock=clock) as store:
        page = await browse(make_app(Sessions(store)))
        await page.post("/session", json={})
        given = await ticket(page)
        (stored,) = engine.tickets
        content = msgspec.json.decode(stored.value[1:], type=bytes)
        token = page.cookies["sojourn"].encode()
        assert len(content) > len(token), "it is in there"
        for secret in (token, token.partition(b".")[2], given.encode()):
            assert secret not in content + stored.value + repr(stored.key).encode()


# -- What is said ------------------------------------------------------------------------------------------------------


DEEP = '{"type": "watch", "add": [{"id": 1, "function": "shown", "arguments": {"place": DEEP}}]}'.replace(
    "DEEP", "[" * 100 + "]" * 100
)


@pytest.mark.parametrize(
    ("frame", "ends"),
    [
        ({"bytes": b'{"type": "sync", "id": 1}'}, ("invalid", 4400)),
        ({"text": "{"}, ("invalid", 4400)),
        ({"text": "[]"}, ("invalid", 4400)),
        ({"text": '{"type": "shout"}'}, ("invalid", 4400)),
        ({"text": '{"type": "sync"}'}, ("invalid", 4400)),
        ({"text": '{"type": "sync", "id": -1}'}, ("invalid", 4400)),
        ({"text": '{"type": "sync", "id": 1, "more": 1}'}, ("invalid", 4400)),
        ({"text": '{"type": "connect", "protocol": 1, "ticket": ""}'}, ("invalid", 4400)),
        ({"text": DEEP}, ("invalid", 4400)),
        ({"text": '{"type": "watch", "add": [{"id": -1, "function": "shown"}]}'}, ("invalid", 4400)),
        ({"text": "x" * (limits.LIVE_FRAME_BYTES + 1)}, ("limit", 4413)),
    ],
    ids=[
        "binary", "broken", "list", "unknown", "incomplete", "negative", "beyond", "again", "deep", "inner", "oversize"
    ],
)  # fmt: skip
async def test_what_is_out_of_form_ends_the_connection(
    app: App, page: httpx.AsyncClient, frame: dict[str, Any], ends: tuple[str, int]
) -> None:
    async with connected(app, page) as line:
        line.send(**frame)
        assert await line.ended() == ends


async def test_who_says_anything_else_first_is_let_go(app: App) -> None:
    async with opened(app) as line:
        line.watch(query(1, "shown"))
        await line.events.get()
        assert await line.ended() == ("invalid", 4400)


@pytest.mark.parametrize("again", [(1, 1), (0,)])
async def test_a_number_that_is_in_use_is_refused(app: App, page: httpx.AsyncClient, again: tuple[int, ...]) -> None:
    async with connected(app, page) as line:
        line.watch(query(0, "shown"))
        await line.shown()
        line.watch(*(query(number, "total") for number in again))
        assert await line.ended() == ("invalid", 4400)


async def test_more_queries_than_one_connection_may_watch_end_it(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        line.watch(*(query(number, "shown", place=str(number)) for number in range(limits.LIVE_READINGS - 1)))
        assert len(await line.shown()) == limits.LIVE_READINGS - 1
        line.watch(query(limits.LIVE_READINGS, "shown"))
        assert await line.ended() == ("limit", 4413)
    async with connected(app, page) as line:
        for first in range(0, 10_000, 500):
            line.watch(*(query(number, "shown") for number in range(first, first + 500)))
        while (message := await line.hear())["type"] != "goodbye":
            pass
        assert message["error"]["code"] == "limit"


async def test_more_syncs_than_may_wait_end_the_connection(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        for number in range(limits.LIVE_SYNCS * 10):
            line.say({"type": "sync", "id": number})
        while (message := await line.hear())["type"] != "goodbye":
            pass
        assert message["error"]["code"] == "limit"


async def test_who_says_too_much_is_told_to_slow_down(store: Store, browse: Browse) -> None:
    app = make_app(Sessions(store), calls_per_minute=10)
    page = await browse(app)
    async with connected(app, page) as line:
        for number in range(10):
            line.watch(query(number, "shown"))
        while (message := await line.hear())["type"] != "goodbye":
            pass
        assert message["error"]["code"] == "rate_limited"
        assert (await line.hear())["code"] == 4429
    async with opened(app) as silent:
        assert (await silent.events.get())["type"] == "websocket.accept"
        assert await silent.ended() == ("rate_limited", 4429)


# -- The end -----------------------------------------------------------------------------------------------------------


@pytest.mark.row("P-R9")
async def test_a_session_that_is_ended_ends_its_connections_and_no_others(
    app: App, browse: Browse, page: httpx.AsyncClient
) -> None:
    other = await browse(app)
    await other.post("/session", json={})
    async with connected(app, page) as line, connected(app, page) as tab, connected(app, other) as others:
        line.watch(query(1, "total"))
        await line.shown()
        await page.delete("/session")
        assert await line.ended() == await tab.ended() == ("session_invalid", 4401)
        others.watch(query(1, "total"))
        assert await others.shown() == {1: 0}


@pytest.mark.row("P-R7")
async def test_a_token_that_was_rotated_away_ends_after_its_grace(
    app: App, page: httpx.AsyncClient, clock: ManualClock
) -> None:
    async with connected(app, page) as line:
        await page.post("/session/rotate", json={})
        line.watch(query(1, "total"))
        assert await line.shown() == {1: 0}
        clock.advance(limits.ROTATION_GRACE)
        assert await line.ended() == ("session_invalid", 4401)
    async with connected(app, page) as line:
        line.watch(query(1, "total"))
        assert await line.shown() == {1: 0}


async def test_a_session_that_expires_ends_its_connections(
    app: App, page: httpx.AsyncClient, clock: ManualClock
) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "total"))
        await line.shown()
        clock.advance(limits.SESSION_IDLE + limits.SESSION_IDLE / 10)
        goodbye = await line.hear()
        while goodbye["type"] == "beat":
            goodbye = await line.hear()
        assert goodbye["error"]["code"] == "session_invalid"


async def test_silence_is_broken_by_beats_and_a_transition_puts_them_off(
    app: App, page: httpx.AsyncClient, clock: ManualClock
) -> None:
    beat = int(limits.LIVE_BEAT.total_seconds())
    async with connected(app, page) as line:
        await pass_time(clock, beat // 2)
        line.watch(query(1, "shown"))
        await line.shown()
        await pass_time(clock, beat - 1)
        assert line.events.empty()
        await pass_time(clock, 1)
        assert await line.hear() == {"type": "beat"}
        await pass_time(clock, beat - 1)
        assert line.events.empty()


async def test_who_has_gone_watches_no_more(app: App, page: httpx.AsyncClient, store: Store) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "total"))
        await line.shown()
        assert store.live.watches == 1
    assert store.live.watches == 0


async def test_who_is_connected_and_what_was_sent_is_counted(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line:
        line.watch(query(1, "shown"))
        await line.shown()
        counted = (await page.get("/metrics")).text
        assert "sojourn_live_connections 1.0" in counted
        assert "sojourn_live_transitions_total 1.0" in counted


async def test_a_server_that_stops_says_goodbye_and_takes_no_more(app: App, page: httpx.AsyncClient) -> None:
    async with connected(app, page) as line, opened(app) as silent:
        await silent.events.get()
        await app.say_goodbye()
        assert await line.ended() == await silent.ended() == ("closed", 1012)
    async with opened(app) as late:
        await late.events.get()
        assert await late.ended() == ("closed", 1012)


async def test_an_application_that_is_started_again_takes_connections_again(app: App, page: httpx.AsyncClient) -> None:
    await app.say_goodbye()
    told: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    asked: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    living = asyncio.create_task(app({"type": "lifespan"}, asked.get, told.put))
    await asked.put({"type": "lifespan.startup"})
    assert (await told.get())["type"] == "lifespan.startup.complete"
    async with connected(app, page):
        pass
    await asked.put({"type": "lifespan.shutdown"})
    assert (await told.get())["type"] == "lifespan.shutdown.complete"
    await living


async def test_who_reads_nothing_is_let_go(app: App, page: httpx.AsyncClient, clock: ManualClock, store: Store) -> None:
    async with connected(app, page) as line:
        line.taken.clear()
        line.watch(query(1, "shown"))
        await pass_time(clock, (limits.LIVE_BEAT + limits.LIVE_STALL).total_seconds())
        assert line.task.done()
        assert (store.live.watches, line.events.empty()) == (0, True)


async def test_who_reads_nothing_does_not_keep_a_server_from_stopping(
    app: App, page: httpx.AsyncClient, clock: ManualClock
) -> None:
    async with connected(app, page) as line:
        line.taken.clear()
        stopping = asyncio.create_task(app.say_goodbye())
        await pass_time(clock, limits.STOP_GRACE.total_seconds())
        await stopping
        line.taken.set()


async def test_there_are_no_more_connections_than_a_server_takes(
    app: App, page: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LIVE_WATCHES", 1)
    async with connected(app, page):
        async with opened(app) as second:
            await second.events.get()
            assert await second.ended() == ("overloaded", 1013)
        events = await page.get("/live", params={"queries": "[]"})
        assert (events.status_code, error(events)["code"]) == (503, "overloaded")
    async with connected(app, page):
        pass


# -- A store that is away ----------------------------------------------------------------------------------------------


class Unsteady(MemoryEngine):
    """A database that is away when a test says so."""

    is_away = False

    async def commit(self, batch: Sequence[Transaction]) -> list[Outcome]:
        if self.is_away:
            raise UnavailableError("the database is away")
        return list(await super().commit(batch))

    async def read(self, reads: Reads) -> Snapshot:
        if self.is_away:
            raise UnavailableError("the database is away")
        return await super().read(reads)


async def test_while_the_store_is_away_that_is_the_state_and_then_it_is_as_before(
    browse: Browse, clock: ManualClock
) -> None:
    engine = Unsteady(clock=clock)
    async with Store(engine, clock=clock) as store:
        app = make_app(Sessions(store))
        page = await browse(app)
        await page.post("/session", json={})
        async with connected(app, page) as line:
            line.watch(query(1, "total"))
            assert await line.shown() == {1: 0}
            engine.is_away = True
            line.watch(query(2, "is_odd"))
            assert (await line.shown())[2] == "unavailable"
            answer = await page.post("/live/ticket", json={})
            assert (answer.status_code, error(answer)["code"]) == (503, "unavailable")
            engine.is_away = False
            shown = dict[int, Any]()
            while shown.get(2) is not False:
                await clock.until_sleeping(2)
                clock.advance(limits.LIVE_BEAT / 10)
                await asyncio.sleep(0)
                if not line.events.empty() and (message := await line.hear())["type"] == "transition":
                    shown |= {one["id"]: one.get("result", one.get("error")) for one in message["updates"]}
