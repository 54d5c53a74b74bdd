"""Live queries as server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from sojourn import limits
from sojourn.kernel import Store
from sojourn.server import App
from sojourn.sessions import Sessions
from sojourn.testing import ManualClock

from .conftest import Browse, error
from .live import Message, change, make_app, query


@pytest.fixture
def url() -> str:
    return "memory:"


@pytest.fixture
def app(store: Store) -> App:
    return make_app(Sessions(store))


@pytest.fixture
async def page(browse: Browse, app: App) -> httpx.AsyncClient:
    client = await browse(app)
    await client.post("/session", json={})
    return client


class Stream:
    """One stream of events of an application in this process."""

    def __init__(self, app: App, headers: dict[str, str], *queries: Message) -> None:
        self.sent: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self.received.put_nowait({"type": "http.request", "body": b""})
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/live",
            "query_string": urlencode({"queries": json.dumps(queries)}).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        self.task = asyncio.create_task(app(scope, self.received.get, self.sent.put))

    async def started(self) -> dict[bytes, bytes]:
        """Wait for the beginning of the answer; return its headers."""
        start = await self.sent.get()
        assert (start["type"], start["status"]) == ("http.response.start", 200)
        return dict(start["headers"])

    async def hear(self) -> str:
        """Wait for the next event, as it is written."""
        text: bytes = (await self.sent.get())["body"]
        return text.decode()

    async def shown(self) -> tuple[int, Any]:
        """Wait for the next transition; return the id of its event, and the results."""
        head, number, data, *_ = (await self.hear()).split("\n")
        assert (head, number[:4], data[:6]) == ("event: transition", "id: ", "data: ")
        message = json.loads(data[6:])
        assert message["version"] == int(number[4:])
        return message["version"], {update["id"]: update["result"] for update in message["updates"]}


@asynccontextmanager
async def streamed(app: App, client: httpx.AsyncClient, *queries: Message, **headers: str) -> AsyncGenerator[Stream]:
    """A stream for the session of this client."""
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    stream = Stream(app, {"host": "localhost", "cookie": cookie} | headers, *queries)
    try:
        yield stream
    finally:
        stream.received.put_nowait({"type": "http.disconnect"})
        await stream.task


@pytest.mark.row("P-R14")
async def test_a_stream_shows_what_is_and_each_change_of_it(app: App, page: httpx.AsyncClient, store: Store) -> None:
    async with streamed(app, page, query(0, "total"), query(7, "shown")) as stream:
        headers = await stream.started()
        assert (headers[b"content-type"], headers[b"cache-control"]) == (b"text/event-stream", b"no-store")
        first, shown = await stream.shown()
        assert shown == {0: 0, 7: 0}
        await change(page, "add")
        second, shown = await stream.shown()
        assert shown == {0: 1}
        assert second > first
    assert store.live.watches == 0


async def test_a_version_is_named_with_the_last_part_of_a_transition(app: App, page: httpx.AsyncClient) -> None:
    large = [query(number, "letters", size=limits.RESULT_BYTES - 10 + number) for number in range(2)]
    async with streamed(app, page, *large) as stream:
        await stream.started()
        assert (await stream.hear()).startswith("event: transition\ndata: ")
        assert (await stream.hear()).startswith("event: transition\nid: ")


@pytest.mark.row("F-L3", "F-C76")
async def test_a_stream_goes_on_from_what_was_seen_and_never_before(
    app: App, page: httpx.AsyncClient, clock: ManualClock
) -> None:
    seen = (clock.now() + 2_000) * 1_000 + 5
    async with streamed(app, page, query(0, "shown"), **{"last-event-id": str(seen)}) as stream:
        await clock.until_sleeping()
        assert stream.sent.empty()
        clock.advance(limits.LIVE_BEHIND / 2)
        await stream.started()
        version, _ = await stream.shown()
        assert version > seen
    headers = {"last-event-id": str(seen * 2)}
    answer = await page.get("/live", params={"queries": "[]"}, headers=headers)
    assert (answer.status_code, error(answer)["code"]) == (503, "unavailable")


async def test_silence_is_broken(app: App, page: httpx.AsyncClient, clock: ManualClock) -> None:
    async with streamed(app, page, query(0, "shown")) as stream:
        await stream.started()
        await stream.shown()
        await clock.until_sleeping()
        clock.advance(limits.LIVE_BEAT)
        assert await stream.hear() == ": beat\n\n"


@pytest.mark.row("P-R9")
async def test_a_session_that_is_ended_ends_its_streams(app: App, page: httpx.AsyncClient) -> None:
    async with streamed(app, page, query(0, "total")) as stream:
        await stream.started()
        await stream.shown()
        await page.delete("/session")
        event = await stream.sent.get()
        assert event["body"].startswith(b'event: goodbye\ndata: {"type":"goodbye","error":{"code":"session_invalid"')
        assert not event["more_body"]
        await stream.task


async def test_a_server_that_stops_ends_its_streams(app: App, page: httpx.AsyncClient) -> None:
    async with streamed(app, page, query(0, "total")) as stream:
        await stream.started()
        await stream.shown()
        await app.say_goodbye()
        assert (await stream.hear()).startswith("event: goodbye\n")
    late = await page.get("/live", params={"queries": "[]"})
    assert (late.status_code, error(late)["code"]) == (503, "closed")


@pytest.mark.parametrize(
    ("asked", "seen", "status", "code"),
    [
        ("", None, 400, "invalid"),
        ("queries=1", None, 400, "invalid"),
        ("queries=[]&queries=[]", None, 400, "invalid"),
        ("query=[]", None, 400, "invalid"),
        ("queries=%ff", None, 400, "invalid"),
        ("queries=" + "[" * 100, None, 400, "invalid"),
        ('queries=[{"id":1,"function":"shown"},{"id":1,"function":"shown"}]', None, 400, "invalid"),
        ("queries=[]", "yesterday", 400, "invalid"),
        ("queries=[]", "9" * 100, 400, "invalid"),
    ],
    ids=["none", "number", "twice", "name", "bytes", "deep", "ids", "seen", "future"],
)
async def test_what_cannot_begin_is_answered_as_any_request(
    page: httpx.AsyncClient, store: Store, asked: str, seen: str | None, status: int, code: str
) -> None:
    answer = await page.get(f"/live?{asked}", headers={} if seen is None else {"last-event-id": seen})
    assert (answer.status_code, error(answer)["code"]) == (status, code)
    assert store.live.watches == 0


async def test_a_dead_session_is_refused(page: httpx.AsyncClient) -> None:
    token = page.cookies["sojourn"]
    await page.delete("/session")
    page.cookies.set("sojourn", token)
    answer = await page.get("/live", params={"queries": "[]"})
    assert (answer.status_code, error(answer)["code"]) == (401, "session_invalid")


async def test_queries_without_end_are_refused(app: App, page: httpx.AsyncClient) -> None:
    async with streamed(app, page, query(0, "x" * limits.LIVE_FRAME_BYTES)) as stream:
        assert (await stream.sent.get())["status"] == 413
