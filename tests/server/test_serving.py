"""Whom a served application takes for its client."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
import uvicorn

import sojourn
from sojourn.errors import UnavailableError
from sojourn.server import App, serve


@pytest.mark.parametrize(
    ("allowed", "peer", "client"),
    [
        (None, "127.0.0.1", "203.0.113.1"),
        (None, "::1", "203.0.113.1"),
        (None, "::ffff:127.0.0.1", "203.0.113.1"),
        (None, "203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9", "203.0.113.1"),
        ("203.0.113.9", "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_only_a_proxy_on_this_machine_or_one_that_is_named_is_believed(
    monkeypatch: pytest.MonkeyPatch, allowed: str | None, peer: str, client: str
) -> None:
    seen: list[str] = []

    async def app(scope: MutableMapping[str, Any], *_: object) -> None:
        seen.append(scope["client"][0])

    configs: list[uvicorn.Config] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, **_: configs.append(server.config))
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if allowed is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", allowed)
    with pytest.raises(UnavailableError):
        serve(app, host="127.0.0.1", port=0, announce=print)
    (config,) = configs
    config.load()
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", b"203.0.113.1")]}
    await config.loaded_app(scope, None, None)
    assert seen == [client]


async def test_what_runs_beside_the_server_and_fails_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def lost(*_: object) -> None:
        raise LookupError("lost")

    monkeypatch.setattr("sojourn.server.app.sweep_forever", lost)
    told, said = asyncio.Queue[MutableMapping[str, Any]](), asyncio.Queue[MutableMapping[str, Any]]()
    serving = asyncio.create_task(App(sojourn.open("memory:"))({"type": "lifespan"}, told.get, said.put))
    for step in ("startup", "shutdown"):
        told.put_nowait({"type": f"lifespan.{step}"})
        assert await said.get() == {"type": f"lifespan.{step}.complete"}
    await serving
    assert "LookupError: lost" in caplog.text
