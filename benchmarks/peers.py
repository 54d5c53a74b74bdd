"""A conversation as others keep it: the stores that come with frameworks for agents, on SQLite or in files."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.conversation import Keeper, KeptIn, Message, Stage, Turn, grow
from benchmarks.figures import Figure, Pace, Row, count
from benchmarks.histories import OURS, turns_in
from benchmarks.plain_snapshots import plain_turns_on_sqlite

__all__ = ["measure"]

_TURNS: Final = (400, 2_000)
_PATIENCE: Final = 30.0
"""Seconds that one of them may take for its saves."""

_PLAIN: Final = "a row for each turn, by sqlite3"
_FETCHED: Final = ("run", "--isolated", "--frozen", "--quiet", "--no-dev", "--extra", "genkit", "--extra", "postgres")
_THERE: Final = b"fetched\n"
"""What the process says first, once it has found them all."""

_SESSION: Final = "conversation"
_THREAD: Final[dict[str, Any]] = {"configurable": {"thread_id": _SESSION, "checkpoint_ns": ""}}
_ADK: Final = {"app_name": _SESSION, "user_id": _SESSION, "session_id": _SESSION}
_ROLES: Final = {"user": "user", "assistant": "model"}


async def measure(pace: Pace) -> Row:
    """Measure them one after another in a process of their own, in an environment of which nothing stays."""
    turns = tuple(dict.fromkeys(min(number, pace.sessions) for number in _TURNS))
    row = Row(
        name="peers",
        title="A conversation of 1 KB turns as it is kept by others, each as it comes: bytes on the disk against those "
        f"of the messages, one save and the newest state, read again; {' and '.join(f'{n:,}' for n in turns)} turns",
    )
    try:
        found = await _in_a_process(turns, is_fetched=pace.fetches)
    except _NotFetchedError as error:
        return msgspec.structs.replace(row, absent=str(error))
    return msgspec.structs.replace(
        row,
        figures=tuple(figure for name, stages in found.items() for figure in _figures(name, stages)),
        remarks=(
            "Each runs once, by itself, with the settings that it has when nothing is said.",
            "LangGraph saves one checkpoint a turn, its best case; its own runtime saves three.",
            "Genkit does not force its files to the disk, and reads all of them to find the newest state.",
            "LangGraph and Genkit store every state whole. OpenAI and ADK can read no past one.",
            *_left_out(found, turns),
        ),
    )


def _figures(name: str, stages: list[Stage]) -> list[Figure]:
    figures: list[Figure] = []
    for stage in stages:
        of = f"{name}: {stage.turns:,} turns"
        figures.append(Figure(what=f"{of}, bytes", rounds=(stage.times_content,)))
        figures.append(Figure(what=f"{of}, one save", rounds=(stage.save_ms,), unit="ms"))
        if stage.latest_ms is not None:
            figures.append(Figure(what=f"{of}, the newest state", rounds=(stage.latest_ms,), unit="ms"))
    if name == OURS:
        figures.append(count(f"{name}: messages missing", tuple(float(stage.missing) for stage in stages)))
    return figures


def _left_out(found: Mapping[str, list[Stage]], turns: tuple[int, ...]) -> list[str]:
    """Say of whom something was not measured, since it would have taken too long."""
    remarks = [
        f"{name} did not get to {turn:,} turns within {_PATIENCE:.0f} s of saving."
        for name, stages in found.items()
        for turn in turns[len(stages) :]
    ]
    remarks += [
        f"{name} was not asked for the newest state of {stage.turns:,} turns: by what it took before, that would "
        f"take more than {_PATIENCE:.0f} s."
        for name, stages in found.items()
        for stage in stages
        if stage.latest_ms is None
    ]
    return remarks


class _NotFetchedError(Exception):
    """They are not there, and cannot be fetched."""


async def _in_a_process(turns: tuple[int, ...], *, is_fetched: bool) -> dict[str, list[Stage]]:
    # uv says to whom it runs where it is itself.
    program = os.environ.get("UV") or shutil.which("uv")
    if program is None:
        raise _NotFetchedError("uv, which fetches them, is not there.")
    fetching = () if is_fetched else ("--offline",)
    child = await asyncio.create_subprocess_exec(
        *(program, *_FETCHED, *fetching, "--python", sys.executable, "--group", "peers"),
        *("python", "-m", "benchmarks.peers", *map(str, turns)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await child.communicate()
    if not said.startswith(_THERE):
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise _NotFetchedError(f"they could not be fetched: {''.join(last)}")
    if child.returncode:
        raise RuntimeError(complaint.decode(errors="replace"))
    return msgspec.json.decode(said.removeprefix(_THERE), type=dict[str, list[Stage]])


class _Langgraph:
    """A checkpoint for each turn, which holds all messages."""

    def __init__(self, saver: Any, before: Sequence[Message]) -> None:  # noqa: ANN401  what is fetched has no types here
        self._saver = saver
        self._empty = importlib.import_module("langgraph.checkpoint.base").empty_checkpoint
        self._messages = list(before)
        self._config = _THREAD

    async def save(self, turn: Turn) -> None:
        self._messages += turn
        step = len(self._messages) // 2
        versions = {"messages": f"{step:032}.0"}
        checkpoint = {"channel_values": {"messages": self._messages}, "channel_versions": versions}
        metadata = {"source": "loop", "step": step, "parents": {}}
        self._config = await self._saver.aput(self._config, self._empty() | checkpoint, metadata, versions)

    async def latest(self) -> int:
        return len((await self._saver.aget_tuple(_THREAD)).checkpoint["channel_values"]["messages"])


@asynccontextmanager
async def _langgraph_in(folder: Path, before: Sequence[Message]) -> AsyncGenerator[Keeper]:
    savers = importlib.import_module("langgraph.checkpoint.sqlite.aio")
    async with savers.AsyncSqliteSaver.from_conn_string(str(folder / "langgraph.db")) as saver:
        yield _Langgraph(saver, before)


class _Genkit:
    """A file for each turn, which holds all messages."""

    def __init__(self, folder: Path, before: Sequence[Message]) -> None:
        self._agents = importlib.import_module("genkit.exp.agent")
        self._genkit = importlib.import_module("genkit")
        self._store: Any = self._agents.FileSessionStore(str(folder))
        self._messages = [self._message(message) for message in before]
        self._parent: str | None = None

    async def save(self, turn: Turn) -> None:
        if self._messages and not self._parent:
            self._parent = (await self._store.get_snapshot(session_id=_SESSION)).snapshot_id
        self._messages += map(self._message, turn)
        snapshot_id = str(uuid.uuid4())
        snapshot = self._agents.SessionSnapshot(
            snapshot_id=snapshot_id,
            session_id=_SESSION,
            parent_id=self._parent,
            created_at=datetime.now(UTC).isoformat(),
            status="completed",
            state=self._agents.SessionState(session_id=_SESSION, messages=self._messages),
        )
        await self._store.save_snapshot(snapshot_id, lambda _: snapshot)
        self._parent = snapshot_id

    async def latest(self) -> int:
        return len((await self._store.get_snapshot(session_id=_SESSION)).state.messages)

    def _message(self, message: Message) -> object:
        return self._genkit.Message(role=_ROLES[message["role"]], content=[{"text": message["content"]}])


@asynccontextmanager
async def _genkit_in(folder: Path, before: Sequence[Message]) -> AsyncGenerator[Keeper]:
    yield _Genkit(folder, before)


@asynccontextmanager
async def _openai_in(folder: Path, _: Sequence[Message]) -> AsyncGenerator[Keeper]:
    session = importlib.import_module("agents").SQLiteSession(_SESSION, folder / "openai.db")
    yield _Openai(session)
    session.close()


class _Openai:
    """A row for each message."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401  as above
        self._session = session

    async def save(self, turn: Turn) -> None:
        await self._session.add_items(list(turn))

    async def latest(self) -> int:
        return len(await self._session.get_items())


class _Adk:
    """A row for each event, which is a message; and the session's own row."""

    def __init__(self, service: Any, session: Any) -> None:  # noqa: ANN401  as above
        self._service = service
        self._session = session
        self._event: Any = importlib.import_module("google.adk.events").Event
        self._types: Any = importlib.import_module("google.genai.types")

    async def save(self, turn: Turn) -> None:
        for message in turn:
            parts = [self._types.Part(text=message["content"])]
            content = self._types.Content(role=_ROLES[message["role"]], parts=parts)
            await self._service.append_event(self._session, self._event(author=message["role"], content=content))

    async def latest(self) -> int:
        return len((await self._service.get_session(**_ADK)).events)


@asynccontextmanager
async def _adk_in(folder: Path, _: Sequence[Message]) -> AsyncGenerator[Keeper]:
    services = importlib.import_module("google.adk.sessions.database_session_service")
    service = services.DatabaseSessionService(f"sqlite+aiosqlite:///{folder / 'adk.db'}")
    session = await service.get_session(**_ADK) or await service.create_session(**_ADK)
    yield _Adk(service, session)
    await service.db_engine.dispose()


async def _measure_here(turns: tuple[int, ...]) -> dict[str, list[Stage]]:
    keepers: dict[str, KeptIn] = {
        OURS: turns_in,
        _PLAIN: plain_turns_on_sqlite,
        f"langgraph-checkpoint-sqlite {version('langgraph-checkpoint-sqlite')}, AsyncSqliteSaver": _langgraph_in,
        f"genkit {version('genkit')}, FileSessionStore": _genkit_in,
        f"openai-agents {version('openai-agents')}, SQLiteSession": _openai_in,
        f"google-adk {version('google-adk')}, DatabaseSessionService": _adk_in,
    }
    sys.stdout.buffer.write(_THERE)
    found: dict[str, list[Stage]] = {}
    for name, kept_in in keepers.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = [stage async for stage in grow(kept_in, Path(folder), turns, _PATIENCE)]
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_measure_here(tuple(map(int, sys.argv[1:]))))))
