"""Dialogs between real processes: clicked on everywhere at once, killed between any two steps, and stopped too long."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sojourn import limits
from tests.proofs.clicking import LIFE
from tests.proofs.crew import Crew

BOX = "box"
CLICKS = 100
PEOPLE = 8
KILLS = 5
HANDLED = {"kept", "duplicate"}


@pytest.fixture
async def crew(shared_url: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with Crew.over(shared_url, tmp_path) as crew:
        yield crew


@pytest.mark.row("I-C37", "I-C38", "I-C58")
@pytest.mark.parametrize("seed", [7])
async def test_of_clicks_that_are_delivered_twice_to_any_worker_each_counts_once(crew: Crew, seed: int) -> None:
    """Proves that none is lost, doubled, refused or left without an answer, in whatever order they come."""
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    workers = [await crew.start("ada"), await crew.start("bob")]
    assert await workers[0].ask("start", BOX) == "started"
    clicks = [f"click{number}" for number in range(CLICKS)]
    deliveries = [(click, chance.choice(workers)) for click in clicks * 2]
    chance.shuffle(deliveries)
    left, answers = iter(deliveries), Counter[str]()

    async def person() -> None:
        for click, worker in left:
            answers[await worker.ask("click", BOX, "more", click)] += 1

    await asyncio.gather(*(person() for _ in range(PEOPLE)))
    assert answers == {"kept acked": CLICKS, "duplicate acked": CLICKS}
    assert {*crew.who("committed")} == {"ada", "bob"}
    await crew.nothing_is_left(BOX)
    for kind in ("edited", "noticed"):
        performed = [line.split() for line in crew.said(kind)]
        assert sorted(int(text) for text, _ in performed) == [*range(1, CLICKS + 1)]
        assert len({key for _, key in performed}) == CLICKS
    assert await workers[1].ask("click", BOX, "done", "end") == "ended acked"
    assert (await crew.dialogs.wait(BOX)).result == CLICKS
    assert await crew.ledger(BOX) == dict.fromkeys(clicks, 1)


@pytest.mark.row("I-C38", "I-C56", "I-C57")
@pytest.mark.parametrize(
    ("point", "again", "performers"),
    [
        ("judge", "kept", ["bob"]),
        ("handler", "kept", ["bob"]),
        ("committed", "duplicate", ["bob"]),
        ("effect", "duplicate", ["bob"]),
        ("performed", "duplicate", ["ada", "bob"]),
        ("answer", "duplicate", ["ada"]),
        ("told", "duplicate", ["ada"]),
    ],
)
async def test_wherever_a_worker_is_killed_its_click_counts_once(
    crew: Crew, point: str, again: str, performers: list[str]
) -> None:
    """Proves that the platform may deliver it again, and that its effect is performed, each time under the same key."""
    ada, bob = await crew.start("ada"), await crew.start("bob")
    assert await ada.ask("start", BOX) == "started"
    assert await ada.ask("click", BOX, "more", "before") == "kept acked"
    before = await crew.dialogs.get(BOX)
    assert await ada.ask("stop", point) == "will"
    lost = asyncio.create_task(ada.ask("click", BOX, "more", "lost"))
    await ada.stopped(at=point)
    await ada.kill()
    await lost
    delivered = asyncio.create_task(bob.ask("click", BOX, "more", "lost"))
    crew.clock.advance(limits.DIALOG_LEASE)
    assert await delivered == f"{again} acked"
    crew.clock.advance(limits.DUE_CLAIM)
    await crew.nothing_is_left(BOX)
    assert crew.who("edited", "2") == performers
    assert crew.who("noticed", "2") == ["ada" if point in {"answer", "told"} else "bob"]
    assert len({*crew.said("edited", "2")}) == 1, "the same key"
    assert crew.said("committed") == [""] * 2
    assert await bob.ask("click", BOX, "more", "lost") == "duplicate acked"
    assert await bob.ask("click", BOX, "more", "after") == "kept acked"
    after = await crew.dialogs.get(BOX)
    assert before is not None
    assert after is not None
    assert after.deadline == before.deadline
    assert await bob.ask("click", BOX, "done", "end") == "ended acked"
    assert (await crew.dialogs.wait(BOX)).result == 3
    assert await crew.ledger(BOX) == {"before": 1, "lost": 1, "after": 1}


@pytest.mark.row("I-C37", "I-C38", "I-C56")
@pytest.mark.parametrize("seed", [7])
async def test_each_click_counts_once_while_workers_are_killed_at_any_moment(crew: Crew, seed: int) -> None:
    """Proves it for kills of which nobody knows what they meet, where a platform repeats what was not handled."""
    chance = random.Random(seed)  # noqa: S311  repeatable by its seed
    workers = [await crew.start("ada"), await crew.start("bob")]
    assert await workers[0].ask("start", BOX) == "started"
    clicks = list[str]()

    async def person() -> None:
        while len(workers) < 2 + KILLS:
            clicks.append(click := f"click{len(clicks)}")
            while (await chance.choice(workers[-2:]).ask("click", BOX, "more", click)).split()[0] not in HANDLED:
                pass

    people = [asyncio.create_task(person()) for _ in range(PEOPLE)]
    while len(workers) < 2 + KILLS:
        await crew.heard("committed", times=len(crew.who("committed")) + chance.randint(1, 10))
        workers.append(await crew.start(f"worker{len(workers)}"))
        await workers[-3].kill()
        crew.clock.advance(limits.DIALOG_LEASE)
    await asyncio.gather(*people)
    crew.clock.advance(limits.DUE_CLAIM)
    await crew.nothing_is_left(BOX)
    noticed = set(crew.said("noticed"))
    assert sorted(int(line.split()[0]) for line in noticed) == [*range(1, len(clicks) + 1)], "each under one key"
    assert await crew.ledger(BOX) == dict.fromkeys(clicks, 1)
    assert await workers[-1].ask("click", BOX, "done", "end") == "ended acked"
    assert (await crew.dialogs.wait(BOX)).result == len(clicks)


@pytest.mark.row("I-C38")
async def test_who_was_stopped_beyond_its_claim_performs_again_under_the_same_key(crew: Crew) -> None:
    """Proves that the effect does not wait for who was stopped, and that the platform can tell the late one."""
    ada, bob = await crew.start("ada"), await crew.start("bob")
    assert await ada.ask("start", BOX) == "started"
    assert await ada.ask("stop", "effect") == "will"
    late = asyncio.create_task(ada.ask("click", BOX, "more", "1"))
    await ada.stopped(at="effect")
    assert await bob.ask("click", BOX, "more", "2") == "kept acked", "the dialog is free"
    crew.clock.advance(limits.DUE_CLAIM)
    await crew.nothing_is_left(BOX)
    ada.go_on()
    assert await late == "kept acked"
    assert crew.who("noticed", "1") == ["bob", "ada"]
    assert len({*crew.said("noticed", "1")}) == 1
    await crew.nothing_is_left(BOX)
    assert await crew.ledger(BOX) == {"1": 1, "2": 1}


@pytest.mark.row("I-C56")
async def test_what_a_killed_worker_has_not_shown_does_not_take_the_place_of_what_is_shown_now(crew: Crew) -> None:
    """Proves that who performs what was left behind looks first whether it is still of use; a notice always is."""
    ada, bob = await crew.start("ada"), await crew.start("bob")
    assert await ada.ask("start", BOX) == "started"
    assert await ada.ask("stop", "committed") == "will"
    lost = asyncio.create_task(ada.ask("click", BOX, "more", "1"))
    await ada.stopped(at="committed")
    await ada.kill()
    assert await lost == "gone"
    assert await bob.ask("click", BOX, "more", "2") == "kept acked"
    crew.clock.advance(limits.DUE_CLAIM)
    await crew.nothing_is_left(BOX)
    assert [line.split()[0] for line in crew.said("edited")] == ["2"]
    assert [line.split()[0] for line in crew.said("noticed")] == ["2", "1"]


@pytest.mark.row("I-C56")
@pytest.mark.parametrize("point", ["start", "reply"])
async def test_a_start_that_is_killed_leaves_nothing(crew: Crew, point: str) -> None:
    """Proves that a click finds nothing after a while, and that the same id can be started then."""
    ada, bob = await crew.start("ada"), await crew.start("bob")
    await ada.ask("stop", point)
    lost = asyncio.create_task(ada.ask("start", BOX))
    await ada.stopped(at=point)
    await ada.kill()
    assert await lost == "gone"
    click = asyncio.create_task(bob.ask("click", BOX, "more", "early"))
    crew.clock.advance(limits.DIALOG_LEASE)
    assert (await click).split()[0] == "missing"
    assert await crew.dialogs.get(BOX) is None
    assert await bob.ask("start", BOX) == "started"
    assert await bob.ask("click", BOX, "more", "early") == "kept acked"


@pytest.mark.row("I-C53", "I-C57")
async def test_who_waits_is_told_though_each_process_before_was_killed(crew: Crew) -> None:
    """Proves that a result reaches who waits elsewhere, who asks after a restart of all, and the completion."""
    ada = await crew.start("ada")
    assert await ada.ask("start", BOX) == "started"
    waiting = asyncio.create_task(ada.ask("wait", BOX))
    await crew.heard("waiting", by=ada)
    await ada.kill()
    assert await waiting == "gone"
    bob, eve = await crew.start("bob"), await crew.start("eve", "deaf")
    waiting = asyncio.create_task(eve.ask("wait", BOX))
    await crew.heard("waiting", by=eve)
    assert await bob.ask("click", BOX, "more", "1") == "kept acked"
    assert await bob.ask("stop", "closed") == "will"
    answering = asyncio.create_task(bob.ask("click", BOX, "done", "2"))
    await bob.stopped(at="closed")
    await bob.kill()
    assert await answering == "gone"
    assert await waiting == "self_ended 1"
    await eve.kill()
    cid = await crew.start("cid", "deaf")
    assert await cid.ask("wait", BOX) == "self_ended 1"
    await cid.kill()
    assert not crew.who("completed")
    crew.clock.advance(limits.DUE_CLAIM)
    dan = await crew.start("dan")
    await crew.nothing_is_left(BOX)
    await dan.leave()
    assert crew.who("completed") == ["dan"]
    assert crew.said("completed") == [f"{BOX} self_ended 1"]
    assert crew.who("edited", "self_ended") == ["dan"]


@pytest.mark.row("I-C41", "I-C42")
async def test_of_three_processes_one_ends_what_is_overdue(crew: Crew) -> None:
    """Proves that the end, its effect, its events and its completion happen once, and but for the last in one place."""
    workers = [await crew.start(name) for name in ("ada", "bob", "cid")]
    assert await workers[0].ask("start", BOX) == "started"
    waiting = [asyncio.create_task(worker.ask("wait", BOX)) for worker in workers]
    for worker in workers:
        await crew.heard("waiting", by=worker)
    crew.clock.advance(LIFE)
    assert [await one for one in waiting] == ["expired None"] * 3
    await crew.nothing_is_left(BOX)
    for worker in workers:
        await worker.leave()
    (one,) = crew.who("closed")
    assert crew.who("edited", "expired") == [one]
    assert crew.who("completed") == [one]
    assert [heard for heard in crew.heard_all if heard[1][0] == "event"] == [
        ("ada", ("event", "started")),
        (one, ("event", "ended")),
        (one, ("event", "expired")),
    ]


@pytest.mark.row("I-C41", "I-C53")
async def test_who_waits_and_knows_no_type_leaves_the_end_to_a_process_that_does(crew: Crew) -> None:
    """Proves that the end hook is not left out because somebody was faster that has none."""
    ada = await crew.start("ada")
    assert await ada.ask("start", BOX) == "started"
    await ada.kill()
    waiting = asyncio.create_task(crew.dialogs.wait(BOX))
    crew.clock.advance(LIFE)
    await crew.start("bob")
    assert (await waiting).code == "expired"
    assert await crew.heard("closed") == "bob"


@pytest.mark.row("I-C41", "I-C56")
@pytest.mark.parametrize("point", ["hook", "closed", "effect", "completion"])
async def test_another_process_goes_on_where_the_one_that_ends_a_dialog_is_killed(crew: Crew, point: str) -> None:
    """Proves that one commit ends it, and that what follows is performed, wherever the process stood that began."""
    workers = [await crew.start(name) for name in ("ada", "bob", "cid")]
    assert await workers[0].ask("start", BOX) == "started"
    for worker in workers:
        assert await worker.ask("stop", point) == "will"
    crew.clock.advance(LIFE)
    name = await crew.heard("at", point)
    (dead,) = (worker for worker in workers if worker.name == name)
    others = [worker for worker in workers if worker is not dead]
    await dead.stopped(at=point)
    await dead.kill()
    for worker in others:
        assert await worker.ask("forget") == "will"
    crew.clock.advance(max(limits.DIALOG_LEASE, limits.DUE_CLAIM))
    assert await others[0].ask("wait", BOX) == "expired None"
    await crew.nothing_is_left(BOX)
    for worker in others:
        await worker.leave()
    (closer,) = crew.who("closed")
    assert (closer == name) == (point != "hook")
    performers, completers = crew.who("edited", "expired"), crew.who("completed")
    assert len({*crew.said("edited", "expired")}) == 1
    if point == "hook":
        assert crew.who("event", "expired") == performers == completers == [closer]
        assert crew.who("event", "ended") == [closer]
    else:
        assert not crew.who("event", "expired"), "who had to tell it is dead"
        assert len(performers) == 1
        assert (performers == [name]) == (point == "completion")
        assert len(completers) == (2 if point == "completion" else 1), "at least once"
        assert name not in completers[1:] if point == "completion" else name not in completers


@pytest.mark.row("I-C59", "I-C38")
@pytest.mark.parametrize("point", ["judge", "handler"])
@pytest.mark.parametrize("delivery", ["late", "other"])
async def test_who_was_stopped_beyond_its_lease_changes_nothing_late(crew: Crew, delivery: str, point: str) -> None:
    """Proves that a click elsewhere counts meanwhile, and that of the late one nothing is lost and nothing doubled.

    `late`: it was that same click, which the platform has delivered again.
    """
    ada, bob = await crew.start("ada"), await crew.start("bob")
    assert await ada.ask("start", BOX) == "started"
    assert await ada.ask("stop", point) == "will"
    late = asyncio.create_task(ada.ask("click", BOX, "more", "late"))
    await ada.stopped(at=point)
    crew.clock.advance(limits.DIALOG_LEASE)
    assert await bob.ask("click", BOX, "more", delivery) == "kept acked"
    assert crew.who("committed") == ["bob"]
    ada.go_on()
    is_same = delivery == "late"
    assert await late == ("duplicate acked" if is_same else "kept acked")
    assert crew.who("committed") == (["bob"] if is_same else ["bob", "ada"])
    assert await ada.ask("click", BOX, "done", "end") == "ended acked"
    assert (await crew.dialogs.wait(BOX)).result == (1 if is_same else 2)
    assert await crew.ledger(BOX) == dict.fromkeys({"late", delivery}, 1)
    await crew.nothing_is_left(BOX)
    assert [line.split()[0] for line in crew.said("noticed")] == (["1"] if is_same else ["1", "2"])


@pytest.mark.row("I-C37", "I-C59")
async def test_who_was_stopped_beyond_its_lease_waits_for_who_took_it_over(crew: Crew) -> None:
    """Proves that the late one is refused though the other has not written yet, and comes after it."""
    ada, bob = await crew.start("ada"), await crew.start("bob")
    assert await ada.ask("start", BOX) == "started"
    assert [await worker.ask("stop", "handler") for worker in (ada, bob)] == ["will"] * 2
    late = asyncio.create_task(ada.ask("click", BOX, "more", "late"))
    await ada.stopped(at="handler")
    crew.clock.advance(limits.DIALOG_LEASE)
    taken = asyncio.create_task(bob.ask("click", BOX, "more", "taken"))
    await bob.stopped(at="handler")
    ada.go_on()
    assert (await ada.ask("click", "none", "more", "1")).split()[0] == "missing", "it has done what it can"
    assert not crew.who("committed")
    bob.go_on()
    assert [await taken, await late] == ["kept acked"] * 2
    assert crew.who("committed") == ["bob", "ada"]
    assert await crew.ledger(BOX) == {"late": 1, "taken": 1}
    await crew.nothing_is_left(BOX)
    assert sorted(line.split()[0] for line in crew.said("noticed")) == ["1", "2"]
