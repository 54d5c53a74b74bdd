"""Snapshots between real processes: that talk at once, are aborted, killed in the middle and stopped for too long."""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import sojourn
from sojourn.snapshots import Snapshots, Status, Tree
from tests.proofs.talking import SESSION, chats

Start = Callable[..., Awaitable[Process]]

TIMES = 60
ABORTS = 200


@pytest.fixture
async def start(shared_url: str) -> AsyncIterator[Start]:
    """Start a part of `talking` as a process of its own; the end of the test is its end."""
    started: list[Process] = []

    async def start(part: str, *arguments: object) -> Process:
        command = [sys.executable, "-m", "tests.proofs.talking", part, shared_url, *map(str, arguments)]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def snapshots(shared_url: str) -> AsyncIterator[Snapshots[Any]]:
    async with sojourn.open(shared_url) as store:
        yield chats(store)


async def says(process: Process) -> str:
    """The next line of a process."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def tell(process: Process, line: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())


async def _talked(start: Start, policy: str, snapshots: Snapshots[Any]) -> tuple[dict[str, str], list[str]]:
    """Let two processes talk at once; return what each acknowledged turn said, by its snapshot, and what was refused.

    The first turn is begun before they begin and ended in their middle, so that they meet it.
    """
    talkers = [await start("talk", name, policy, TIMES) for name in ("ada", "bob")]
    done: dict[str, str] = {}
    refused: list[str] = []

    async def listen(talker: Process) -> None:
        while (line := (await says(talker)).split()) != ["end"]:
            assert line, "it has ended without a word"
            if line[0] == "done":
                done[line[2]] = line[1]
            else:
                refused.append(line[1])

    for talker in talkers:
        assert await says(talker) == "ready"
    async with snapshots.turn(SESSION) as turn:
        turn.messages.append("first")
        for talker in talkers:
            tell(talker)
        if policy == "reject":
            refused += [(await says(talker)).removeprefix("refused ") for talker in talkers]
    await asyncio.gather(*(listen(talker) for talker in talkers))
    done[turn.snapshot_id] = "first"
    return done, refused


async def _checked_tree(snapshots: Snapshots[Any], done: dict[str, str]) -> Tree:
    """The tree, which holds the acknowledged turns and nothing else, each with what it said behind its parent's."""
    tree = await snapshots.tree(SESSION)
    assert set(tree.nodes) == set(done)
    assert {node.info.status for node in tree.nodes.values()} == {Status.COMPLETED}
    said: dict[str | None, list[str]] = {None: []}
    for snapshot_id, text in done.items():
        found = await snapshots.get_snapshot(snapshot_id=snapshot_id)
        assert found is not None
        assert found.state is not None
        assert found.state["messages"][-1] == text
        said[snapshot_id] = found.state["messages"]
    for snapshot_id, node in tree.nodes.items():
        assert said[snapshot_id] == [*said[node.info.parent_id], done[snapshot_id]]
    return tree


async def test_of_turns_that_meet_each_is_in_the_history_or_refused_to_its_caller(
    snapshots: Snapshots[Any], start: Start
) -> None:
    """Proves that none of two processes' turns is lost, doubled or refused without a word."""
    done, refused = await _talked(start, "reject", snapshots)
    assert len(refused) >= 2
    assert sorted([*done.values(), *refused]) == sorted(
        ["first", *(f"{name}-{number}" for name in ("ada", "bob") for number in range(TIMES))]
    )
    tree = await _checked_tree(snapshots, done)
    assert len(tree.leaves) == 1


async def test_of_turns_that_meet_and_may_branch_none_is_lost(snapshots: Snapshots[Any], start: Start) -> None:
    """Proves that each has a snapshot of its own, behind one that was there when it began."""
    done, refused = await _talked(start, "branch", snapshots)
    assert not refused
    assert len(done) == 2 * TIMES + 1
    tree = await _checked_tree(snapshots, done)
    assert len(tree.leaves) > 1


async def test_turns_that_queue_stand_in_one_line(snapshots: Snapshots[Any], start: Start) -> None:
    """Proves that each goes on from the one before, and that those of one process keep their order."""
    done, refused = await _talked(start, "queue", snapshots)
    assert not refused
    assert len(done) == 2 * TIMES + 1
    tree = await _checked_tree(snapshots, done)
    assert len(tree.leaves) == 1
    found = await snapshots.get_snapshot(session_id=SESSION)
    assert found is not None
    assert found.state is not None
    said = found.state["messages"]
    assert said[0] == "first"
    for name in ("ada", "bob"):
        assert [text for text in said if text.startswith(name)] == [f"{name}-{number}" for number in range(TIMES)]


@pytest.mark.row("S-4.3.2", "S-5.1")
async def test_an_abort_and_a_completion_that_meet_leave_one_of_them(snapshots: Snapshots[Any], start: Start) -> None:
    """Proves that who is told that it came first did, and that the other is told so, in two hundred races."""
    worker = await start("race", ABORTS, 7)
    wins = {Status.COMPLETED: 0, Status.ABORTED: 0}
    for number in range(ABORTS):
        tell(worker)
        snapshot_id = await says(worker)
        first = await says(worker) if number == 1 else None  # one that surely ends before it is aborted
        before = await snapshots.abort(snapshot_id)
        told = Status(first or await says(worker))
        assert told is (Status.ABORTED if before is Status.PENDING else Status.COMPLETED)
        assert before in {Status.PENDING, Status.COMPLETED}
        found = await snapshots.get_info(snapshot_id=snapshot_id)
        assert found is not None
        assert found.status is told
        wins[told] += 1
    assert all(wins.values()), wins


async def test_the_turn_of_a_killed_process_expires_and_a_watcher_elsewhere_is_told(
    snapshots: Snapshots[Any], start: Start
) -> None:
    """Proves that it does not stay pending, though nobody but the watcher looks at it."""
    worker, watcher = await start("hold"), await start("watch")
    snapshot_id = await says(worker)
    assert await says(watcher) == "ready"
    tell(watcher, snapshot_id)
    assert await says(watcher) == "pending"
    worker.kill()
    assert await says(watcher) == "expired"
    assert await watcher.wait() == 0
    assert await snapshots.expire() == 0, "the watcher has stored it"
    async with snapshots.turn(SESSION) as turn:
        assert turn.parent_id is None


async def test_what_killed_processes_acknowledged_is_there_and_nothing_stays_pending(
    snapshots: Snapshots[Any], start: Start
) -> None:
    """Proves it for kills at moments of which nobody knows what they meet."""
    chance = random.Random(7)  # noqa: S311  repeatable by its seed
    done: list[str] = []
    for number in range(5):
        talker = await start("talk", f"talker{number}", "queue", 1_000)
        assert await says(talker) == "ready"
        tell(talker)
        done += [(await says(talker)).split()[1] for _ in range(chance.randint(1, 10))]
        talker.kill()
        left, _ = await talker.communicate()
        done += [line.split()[1].decode() for line in left.splitlines(keepends=True) if line.endswith(b"\n")]
    async with snapshots.turn(SESSION, if_busy="queue") as turn:
        assert [text for text in turn.messages if text in done] == done
    tree = await snapshots.tree(SESSION)
    assert {node.info.status for node in tree.nodes.values()} <= {Status.COMPLETED, Status.EXPIRED}
    assert len(done) <= len([node for node in tree.nodes.values() if node.info.status is Status.COMPLETED])


async def test_a_process_that_was_stopped_beyond_its_lease_is_refused(snapshots: Snapshots[Any], start: Start) -> None:
    """Proves that what the next one wrote stands, and that the late one is told."""
    late = await start("hold")
    snapshot_id = await says(late)
    late.send_signal(signal.SIGSTOP)
    statuses = [info.status async for info in snapshots.watch(snapshot_id)]
    assert statuses == [Status.PENDING, Status.EXPIRED]
    async with snapshots.turn(SESSION) as turn:
        turn.messages.append("next")
    late.send_signal(signal.SIGCONT)
    said, _ = await late.communicate(b"go\n")
    assert said == b"lease_lost\n"
    assert late.returncode == 0
    found = await snapshots.get_info(snapshot_id=snapshot_id)
    assert found is not None
    assert found.status is Status.EXPIRED
    assert await snapshots.get_info(session_id=SESSION) == await snapshots.get_info(snapshot_id=turn.snapshot_id)


@pytest.mark.row("S-4.3.2", "S-4.3.13")
async def test_an_abort_reaches_a_process_elsewhere_and_a_watcher_in_a_third(
    snapshots: Snapshots[Any], start: Start
) -> None:
    worker, watcher = await start("race", 1, 0), await start("watch")
    tell(worker)
    snapshot_id = await says(worker)
    tell(watcher, snapshot_id)
    assert [await says(watcher) for _ in range(2)] == ["ready", "pending"]
    assert await snapshots.abort(snapshot_id) is Status.PENDING
    assert await says(watcher) == "aborted"
    assert await says(worker) == "aborted"
