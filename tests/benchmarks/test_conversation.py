"""A conversation that is measured is the same each time, and whoever takes too long is left out and said to be."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import conversation, peers
from benchmarks.__main__ import QUICK
from benchmarks.conversation import TURN_BYTES, Keeper, KeptIn, Message, Turn, grow, turn_of
from sojourn.testing import ManualClock


class InAFile:
    """Turns one behind another. It can lose some, and move a clock while it reads."""

    def __init__(self, file: Path, *, loses: int = 0, reading: Callable[[], object] = int) -> None:
        self._file = file
        self._loses = loses
        self._reading = reading

    async def save(self, turn: Turn) -> None:
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write("".join(json.dumps(message, separators=(",", ":")) for message in turn))

    async def latest(self) -> int:
        self._reading()
        return 2 * (self._file.stat().st_size // TURN_BYTES - self._loses)


def kept(opened: list[int], *, loses: int = 0, reading: Callable[[], object] = int) -> KeptIn:
    @asynccontextmanager
    async def in_folder(folder: Path, before: Sequence[Message]) -> AsyncGenerator[Keeper]:
        opened.append(len(before))
        yield InAFile(folder / "turns", loses=loses, reading=reading)

    return in_folder


def test_a_turn_is_the_same_each_time_and_none_is_like_another() -> None:
    assert turn_of(7) == turn_of(7)
    texts = {message["content"] for number in range(100) for message in turn_of(number)}
    assert len(texts) == 200
    sizes = {sum(len(json.dumps(one, separators=(",", ":"))) for one in turn_of(number)) for number in range(100)}
    assert sizes == {TURN_BYTES}


async def test_a_conversation_is_measured_closed_at_each_stage_and_goes_on(tmp_path: Path) -> None:
    opened: list[int] = []
    stages = [stage async for stage in grow(kept(opened, loses=1), tmp_path, (2, 5), patience=60)]
    assert [stage.turns for stage in stages] == [2, 5]
    assert [stage.times_content for stage in stages] == [1, 1]
    assert [stage.missing for stage in stages] == [2, 2]
    assert opened == [0, 4, 4, 10]


async def test_who_takes_longer_than_there_is_patience_has_no_later_stages(tmp_path: Path) -> None:
    assert [stage async for stage in grow(kept([]), tmp_path, (2, 5), patience=-1)] == []


async def test_a_read_that_would_take_longer_than_there_is_patience_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = ManualClock()
    monkeypatch.setattr(conversation, "time", SimpleNamespace(perf_counter=clock.monotonic))
    a_second = kept([], reading=lambda: clock.advance(timedelta(seconds=1)))
    stages = [stage async for stage in grow(a_second, tmp_path, (1, 3, 4), patience=10)]
    assert [stage.latest_ms for stage in stages] == [1_000, 1_000, 1_000]
    (more := tmp_path / "more").mkdir()
    stages = [stage async for stage in grow(a_second, more, (1, 4), patience=10)]
    assert [stage.latest_ms for stage in stages] == [1_000, None]


async def test_without_a_program_that_fetches_them_the_peers_are_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    row = await peers.measure(QUICK)
    assert row.absent == "uv, which fetches them, is not there."
    assert row.figures == ()


async def test_what_cannot_be_fetched_is_absent_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\necho 'first' >&2\necho 'no network' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setenv("UV", str(program))
    row = await peers.measure(QUICK)
    assert row.absent == "they could not be fetched: no network"


async def test_what_was_fetched_and_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\necho fetched\necho 'a bug' >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o700)
    monkeypatch.setenv("UV", str(program))
    with pytest.raises(RuntimeError, match="a bug"):
        await peers.measure(QUICK)
