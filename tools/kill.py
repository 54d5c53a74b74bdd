"""Kill the server under load, again and again: what it acknowledged is there, and nothing is there twice.

    python -m tools.kill --times 50

Callers count up their own session's counter over HTTP. When an answer does not come they send the same request again,
with the same request id, until it does. In the end every counter shows exactly what was acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec

import sojourn
from sojourn.functions import Functions, MutationCtx, QueryCtx
from sojourn.server import App, serve
from sojourn.sessions import SessionId, Sessions

CALLERS = 8


def make_app(path: str) -> App:
    """Return a server that counts."""
    store = sojourn.open(f"sqlite:///{path}")
    functions = Functions(Sessions(store))
    counts = functions.collection("counts", int, by=SessionId)

    @functions.mutation
    async def add(ctx: MutationCtx, session_id: SessionId) -> int:
        return await ctx.db(counts).update(session_id, lambda count: count + 1)

    @functions.query
    async def total(ctx: QueryCtx, session_id: SessionId) -> int:
        return await ctx.db(counts).get(session_id)

    return App(store, functions=functions, dev=True, calls_per_minute=10_000_000, sessions_per_minute=10_000)


class Server:
    """The server as a process of its own, killed and started again on the same port and file."""

    def __init__(self, path: Path) -> None:
        self.url = ""
        self._path = path
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and return when it takes requests."""
        command = [sys.executable, "-m", "tools.kill", "--serve", str(self._path), str(self._port)]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = (await self._process.stdout.readline()).decode().strip()
        self._port = int(self.url.rsplit(":", 1)[1])

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send the signal, and return when it is gone."""
        assert self._process is not None
        self._process.send_signal(how)
        await self._process.wait()


class Caller:
    """One session, whose counter it counts up until told to stop."""

    def __init__(self, client: httpx.AsyncClient, name: int) -> None:
        self.acknowledged = 0
        self.repeated = 0
        self._client = client
        self._name = name
        self._stopped = False
        self._counted = asyncio.Condition()

    async def run(self) -> None:
        """Count, one call after another; a call without an answer is sent again as it was."""
        while not self._stopped:
            body = {"kind": "mutation", "function": "add", "request_id": f"{self._name}-{self.acknowledged}"}
            while not await self._sent(body):
                self.repeated += 1
            self.acknowledged += 1
            async with self._counted:
                self._counted.notify_all()

    async def reaches(self, more: int) -> None:
        """Wait until so many more calls have been answered."""
        goal = self.acknowledged + more
        async with self._counted:
            await self._counted.wait_for(lambda: self.acknowledged >= goal)

    def stop(self) -> None:
        """Stop after the call in hand."""
        self._stopped = True

    async def total(self) -> int:
        """Return what the server has kept."""
        answer = await self._client.post("/call", json={"kind": "query", "function": "total"})
        return int(answer.raise_for_status().json()["result"])

    async def _sent(self, body: dict[str, str]) -> bool:
        try:
            answer = await self._client.post("/call", json=body)
        except httpx.TransportError:
            await asyncio.sleep(0.01)  # the server is down; it takes a moment to come back
            return False
        return answer.raise_for_status().status_code == httpx.codes.OK


async def prove(times: int, seed: int) -> dict[str, int]:
    """Kill the server so many times; return the sums."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "kill.db")
        await server.start()
        try:
            return await _prove(server, times, random.Random(seed))  # noqa: S311  repeatable by its seed
        finally:
            await server.kill(signal.SIGTERM)


async def _prove(server: Server, times: int, chance: random.Random) -> dict[str, int]:
    async with AsyncExitStack() as stack:
        callers: list[Caller] = []
        for name in range(CALLERS):
            client = httpx.AsyncClient(base_url=server.url, headers={"origin": server.url})
            await stack.enter_async_context(client)
            (await client.post("/session", json={})).raise_for_status()
            callers.append(Caller(client, name))
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller.run())
            for _ in range(times):
                await chance.choice(callers).reaches(chance.randint(1, 10))
                await asyncio.sleep(chance.uniform(0, 0.004))  # anywhere between two answers
                await server.kill()
                await server.start()
            for caller in callers:
                caller.stop()
        kept = [await caller.total() for caller in callers]
        return {
            "acknowledged": sum(caller.acknowledged for caller in callers),
            "repeated": sum(caller.repeated for caller in callers),
            "kept": sum(kept),
            "callers_wrong": sum(total != caller.acknowledged for caller, total in zip(callers, kept, strict=True)),
        }


def main() -> None:
    """Run the proof and report; exit 1 when anything was lost or doubled."""
    if sys.argv[1:2] == ["--serve"]:
        path, port = sys.argv[2:]
        return serve(make_app(path), host="127.0.0.1", port=int(port), announce=lambda url: print(url, flush=True))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    sums = asyncio.run(prove(asked.times, asked.seed))
    print(msgspec.json.encode({"kills": asked.times, **sums}).decode())
    sys.exit(0 if sums["acknowledged"] == sums["kept"] and not sums["callers_wrong"] else 1)


if __name__ == "__main__":
    main()
