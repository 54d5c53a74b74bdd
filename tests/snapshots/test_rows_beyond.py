"""What no reference store has: an expected leaf, tenants by name, reads of what is known only, listings, branches."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.errors import BranchedError, InvalidError, LeafMovedError, SnapshotUnknownError
from sojourn.kernel import Attempt, Store
from sojourn.snapshots import NO_LEAF, Difference, Snapshot, SnapshotInput, Snapshots, Status
from tests.capabilities import needs
from tests.documents.conftest import HastyClock, settled
from tests.snapshots.conftest import add, chain, history, info_of, message, newest, noise, records, said, state_of
from tests.snapshots.elsewhere import Start, becoming, elsewhere, saying

__all__ = ["elsewhere"]


# == An expected leaf


async def test_a_save_that_expects_the_newest_leaf_is_made(snapshots: Snapshots[Any]) -> None:
    """Proves it of the first snapshot of a session, which expects none, and of the next."""
    assert await snapshots.save_snapshot("a", saying("a"), expect_leaf=NO_LEAF) == "a"
    assert await snapshots.save_snapshot("b", saying("b", parent_id="a"), expect_leaf="a") == "b"
    assert await history(snapshots) == ["b", "a"]


@pytest.mark.parametrize("expected", ["a", "unknown", NO_LEAF])
async def test_a_save_that_expects_another_leaf_is_refused(
    snapshots: Snapshots[Any], store: Store, expected: Any
) -> None:
    await chain(snapshots, "a", "b")
    before = await records(store)
    with pytest.raises(LeafMovedError) as caught:
        await snapshots.save_snapshot("c", saying("c", parent_id="a"), expect_leaf=expected)
    assert (caught.value.expected, caught.value.newest) == (str(expected), "b")
    assert await records(store) == before


async def test_a_leaf_that_was_expected_where_there_is_none_is_refused(snapshots: Snapshots[Any]) -> None:
    with pytest.raises(LeafMovedError) as caught:
        await snapshots.save_snapshot("a", saying("a"), expect_leaf="z")
    assert (caught.value.expected, caught.value.newest) == ("z", "")
    assert await newest(snapshots) is None


async def test_where_the_leaf_has_moved_a_save_may_branch(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b")
    saved = await snapshots.save_snapshot("c", saying("c", parent_id="a"), expect_leaf="a", if_moved="branch")
    assert saved == "c"
    assert await history(snapshots) == ["c", "a"]
    assert set((await snapshots.tree("chat")).leaves) == {"b", "c"}


async def test_where_the_leaf_has_moved_a_save_may_queue_behind_it(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b")
    await snapshots.save_snapshot("c", saying("c", parent_id="a"), expect_leaf="a", if_moved="queue")
    assert await history(snapshots) == ["c", "b", "a"]


async def test_a_save_that_queues_waits_for_the_turn_in_progress(
    snapshots: Snapshots[Any], store: Store, elsewhere: Start, clock: HastyClock
) -> None:
    await chain(snapshots, "a")
    other = await elsewhere()
    async with other.snapshots.turn("chat") as turn:
        turn.messages.append(message("slow"))
        saving = asyncio.create_task(
            snapshots.save_snapshot("c", saying("c", parent_id="a"), expect_leaf="a", if_moved="queue")
        )
        await settled(store)
        assert not saving.done()
        assert await newest(snapshots) == turn.snapshot_id
    with clock.hasty(60):
        assert await saving == "c"
    assert await history(snapshots) == ["c", turn.snapshot_id, "a"]


async def test_of_many_saves_that_expect_the_same_leaf_one_is_made(
    snapshots: Snapshots[Any], elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that it is a compare-and-set: who was refused was told which snapshot came first."""
    await chain(snapshots, "a")
    other = await elsewhere()
    with clock.hasty():
        outcomes = await asyncio.gather(
            *(
                each.save_snapshot(f"n{number}", saying("x", parent_id="a"), expect_leaf="a")
                for number in range(10)
                for each in [snapshots if number % 2 else other.snapshots]
            ),
            return_exceptions=True,
        )
    (won,) = [each for each in outcomes if isinstance(each, str)]
    lost = [each for each in outcomes if isinstance(each, LeafMovedError)]
    assert len(lost) == 9
    assert {each.newest for each in lost} == {won}
    assert await history(snapshots) == [won, "a"]


# == One commit with something else


async def test_saves_in_a_transaction_are_all_made_or_none(snapshots: Snapshots[Any], store: Store) -> None:
    """Proves it of a session and of another record; the second attempt fails after both."""

    async def work(tx: Attempt) -> None:
        await snapshots.save_snapshot("a", saying("a"), tx=tx)
        await snapshots.save_snapshot("b", saying("b", session_id="another"), tx=tx)
        if fails:
            raise LookupError("not now")

    for fails in (True, False):
        try:
            with needs(store, "cross_partition"):
                await store.run(work)
        except LookupError:
            assert fails
            assert await newest(snapshots) is None
            assert await newest(snapshots, "another") is None
    if store.describe().cross_partition:
        assert await newest(snapshots) == "a"
        assert await newest(snapshots, "another") == "b"


async def test_saves_in_a_transaction_see_each_other(snapshots: Snapshots[Any], store: Store) -> None:
    """Proves it of a parent and its child, of a snapshot that is saved twice, and of what is read between."""
    seen: list[Any] = []

    async def work(tx: Attempt) -> None:
        await snapshots.save_snapshot("a", saying("a", status="pending"), tx=tx)
        await snapshots.save_snapshot("b", saying("b", parent_id="a"), tx=tx)
        found = await snapshots.get_snapshot(session_id="chat", tx=tx)
        seen.append(found and found.snapshot_id)
        await snapshots.save_snapshot("a", becoming("completed"), tx=tx)

    await store.run(work)
    assert seen == ["b"]
    assert await history(snapshots) == ["b", "a"]
    assert (await info_of(snapshots, "a")).status is Status.COMPLETED
    assert await state_of(snapshots, "a") == {"messages": ["a"]}


async def test_an_id_whose_save_was_given_up_is_free_for_another_session_after_a_minute(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    async def work(tx: Attempt) -> None:
        await snapshots.save_snapshot("a", saying("a"), tx=tx)
        raise LookupError("not now")

    with pytest.raises(LookupError):
        await store.run(work)
    assert await snapshots.get_snapshot(snapshot_id="a") is None
    clock.advance(limits.SNAPSHOT_NOTE)
    await add(snapshots, "a", None, said("a"), session="another")
    assert (await info_of(snapshots, "a")).session_id == "another"


async def test_what_is_read_in_a_transaction_holds_when_it_commits(
    snapshots: Snapshots[Any], store: Store, clock: HastyClock
) -> None:
    await chain(snapshots, "a")
    seen: list[str | None] = []

    async def work(tx: Attempt) -> None:
        found = await snapshots.get_info(session_id="chat", tx=tx)
        seen.append(None if found is None else found.snapshot_id)
        if len(seen) == 1:
            await add(snapshots, "b", "a", said("b"))
        await snapshots.fork(str(seen[-1]), "named", tx=tx)

    with clock.hasty():
        await store.run(work)
    assert seen == ["a", "b"]
    assert await snapshots.branches("chat") == {"named": "b"}


# == Branching refused


@pytest.mark.row("S-4.1.8")
async def test_a_call_decides_for_itself_whether_branches_are_refused(snapshots: Snapshots[Any], store: Store) -> None:
    strict: Snapshots[Any] = Snapshots(store, reject_branching=True)
    await chain(snapshots, "a", "b")
    await add(snapshots, "c", "a")
    for read in (strict.get_info, strict.get_snapshot):
        with pytest.raises(BranchedError, match="branching snapshots \\(2 leaves\\)"):
            await read(session_id="chat")
        found = await read(session_id="chat", reject_branching=False)
        assert found is not None
        assert found.snapshot_id == "c"
    with pytest.raises(BranchedError):
        await snapshots.get_info(session_id="chat", reject_branching=True)
    with pytest.raises(BranchedError):
        async with strict.turn("chat"):
            pass


# == Tenants


@pytest.mark.row("S-4.1.9", "S-4.2.19", "S-5.12")
async def test_a_tenant_may_be_a_name(snapshots: Snapshots[Any], store: Store) -> None:
    """Proves that each verb keeps to it, listings and turns included."""
    alice: Snapshots[Any] = Snapshots(store, tenant="alice")
    bob: Snapshots[Any] = Snapshots(store, tenant="bob")
    for each in (snapshots, alice, bob):
        await chain(each, "a", "b")
    async with alice.turn("chat") as turn:
        turn.messages.append(message("mine"))
    await alice.fork("b", "named")
    assert await newest(alice) == turn.snapshot_id
    assert await newest(bob) == await newest(snapshots) == "b"
    assert await bob.get_snapshot(snapshot_id=turn.snapshot_id) is None
    assert await bob.abort(turn.snapshot_id) is None
    for each, session in ((alice, "hers"), (bob, "his")):
        await add(each, "x", None, said(session), session=session)
    assert (await info_of(alice, "x")).session_id == "hers"
    assert (await info_of(bob, "x")).session_id == "his"
    assert await bob.delete("x")
    assert await state_of(alice, "x") == said("hers")
    assert await alice.delete("x")
    assert await bob.branches("chat") == {}
    assert await history(bob) == ["b", "a"]
    assert [(each.session_id, each.snapshots) async for each in alice.sessions()] == [("chat", 3)]
    assert [(each.session_id, each.snapshots) async for each in bob.sessions()] == [("chat", 2)]
    assert [each.snapshots async for each in snapshots.sessions()] == [2]


async def test_a_tenant_is_asked_for_once_a_call_and_before_anything_is_done(store: Store) -> None:
    """Proves that a context which is changed during a call does not split it over two tenants."""
    context = {"tenant": "alice"}
    by_context: Snapshots[Any] = Snapshots(store, tenant=lambda context: context["tenant"])

    def save(_: Snapshot[Any] | None) -> SnapshotInput[Any]:
        context["tenant"] = "bob"
        return SnapshotInput(session_id="chat", state=said("hello"))

    await by_context.save_snapshot("a", save, context=context)
    assert await by_context.get_info(snapshot_id="a", context={"tenant": "alice"}) is not None
    assert await by_context.get_info(snapshot_id="a", context={"tenant": "bob"}) is None
    with pytest.raises(KeyError):
        await by_context.get_info(snapshot_id="a")


# == What is known of a snapshot, without its state


async def test_what_is_known_is_read_without_reading_a_state(snapshots: Snapshots[Any], elsewhere: Start) -> None:
    """Proves it of every verb that shows no state: none asks for a record of one."""
    await add(snapshots, "a", None, said(noise(1, 600_000)), finish_reason="stop")
    await add(snapshots, "b", "a", said(noise(1, 600_000), "more"), status="failed")
    cold = await elsewhere()
    cold.wire.clear()
    info = await info_of(cold.snapshots, "a")
    assert (info.session_id, info.status, info.finish_reason) == ("chat", Status.COMPLETED, "stop")
    assert info.state_bytes == info.stored_bytes > 600_000
    assert await newest(cold.snapshots) == "b"
    assert await history(cold.snapshots) == ["b", "a"]
    assert len((await cold.snapshots.tree("chat")).nodes) == 2
    assert (await anext(cold.snapshots.watch("a"))).snapshot_id == "a"
    assert len([each async for each in cold.snapshots.sessions()]) == 1
    spaces = {span.space for reads in cold.wire.asked for span in reads.spans}
    spaces |= {key.space for reads in cold.wire.asked for key in reads.keys}
    assert "snapshot" in spaces
    assert "snapshot.state" not in spaces


# == Listings


async def test_a_history_is_read_page_by_page_across_branches(snapshots: Snapshots[Any]) -> None:
    trunk = [f"t{number}" for number in range(7)]
    await chain(snapshots, *trunk)
    await add(snapshots, "x0", "t3", said("x0"))
    await add(snapshots, "x1", "x0", said("x1"))
    expected = ["x1", "x0", "t3", "t2", "t1", "t0"]
    assert await history(snapshots) == expected
    for limit in (1, 2, 3, 6, 100):
        assert await history(snapshots, limit=limit) == expected
        page = await snapshots.history("chat", limit=limit)
        found = [*page.items]
        while page.next is not None:
            page = await snapshots.history("chat", limit=limit, after=page.next)
            assert len(page.items) <= limit
            found += page.items
        assert [info.snapshot_id for info in found] == expected
    assert await history(snapshots, None, snapshot_id="t6", limit=2) == trunk[::-1]
    assert await history(snapshots, None, snapshot_id="t0") == ["t0"]


async def test_a_history_goes_on_over_a_parent_that_came_late_and_ends_at_one_that_is_not_there(
    snapshots: Snapshots[Any],
) -> None:
    await add(snapshots, "c", "b")
    assert await history(snapshots) == ["c"]
    await add(snapshots, "b", "a")
    assert await history(snapshots) == ["c", "b"]
    await add(snapshots, "a")
    assert await history(snapshots) == ["c", "b", "a"]
    assert await history(snapshots, limit=1) == ["c", "b", "a"]


async def test_a_history_ends_where_a_snapshot_was_taken_away(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b", "c", "d")
    assert await snapshots.delete("b")
    assert await history(snapshots) == ["d", "c"]
    assert await history(snapshots, limit=1) == ["d", "c"]
    assert await history(snapshots, None, snapshot_id="a") == ["a"]
    assert await state_of(snapshots, "d") == said("a", "b", "c", "d")


async def test_the_history_of_nothing_is_empty_and_of_an_unknown_snapshot_an_error(snapshots: Snapshots[Any]) -> None:
    assert await history(snapshots) == []
    with pytest.raises(SnapshotUnknownError):
        await history(snapshots, None, snapshot_id="unknown")


async def test_a_tree_has_every_branch(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b", "c")
    await add(snapshots, "d", "b")
    await add(snapshots, "e", None)
    await snapshots.fork("c", "draft")
    tree = await snapshots.tree("chat")
    assert (tree.session_id, tree.roots, tree.newest) == ("chat", ("a", "e"), "e")
    assert set(tree.leaves) == {"c", "d", "e"}
    assert tree.branches == {"draft": "c"}
    assert tree.nodes["b"].children == ("c", "d")
    assert tree.nodes["b"].info.parent_id == "a"


async def test_sessions_are_listed_by_their_last_change_page_by_page(
    snapshots: Snapshots[Any], clock: HastyClock
) -> None:
    for number in range(5):
        clock.advance(timedelta(seconds=1))
        await add(snapshots, f"n{number}", None, said("x"), session=f"s{number}")
    clock.advance(timedelta(seconds=1))
    await add(snapshots, "again", "n1", said("x", "y"), session="s1")
    expected = ["s1", "s4", "s3", "s2", "s0"]
    assert [each.session_id async for each in snapshots.sessions()] == expected
    assert [each.session_id async for each in snapshots.sessions(limit=2)] == expected
    page = await snapshots.sessions(limit=2)
    rest = await snapshots.sessions(limit=10, after=page.next)
    assert [each.session_id for each in (*page.items, *rest.items)] == expected


async def test_a_session_says_what_it_has(snapshots: Snapshots[Any], clock: HastyClock) -> None:
    assert await snapshots.get_session("chat") is None
    await chain(snapshots, "a", "b")
    clock.advance(timedelta(seconds=1))
    await add(snapshots, "c", "a", said("c"))
    infos = [await info_of(snapshots, snapshot_id) for snapshot_id in ("a", "b", "c")]
    (listed,) = [each async for each in snapshots.sessions()]
    assert listed == await snapshots.get_session("chat")
    assert (listed.session_id, listed.newest, listed.snapshots, listed.leaves) == ("chat", "c", 3, 2)
    assert listed.stored_bytes == sum(info.stored_bytes for info in infos)
    assert listed.created_at == infos[0].created_at
    assert listed.newest_at == infos[2].created_at


# == Comparing


async def test_two_snapshots_are_compared_place_by_place(snapshots: Snapshots[Any]) -> None:
    await add(snapshots, "a", None, {"messages": ["hello"], "custom": {"n": 1, "gone": None}})
    await add(snapshots, "b", "a", {"messages": ["hello", "there"], "custom": {"n": 2}}, status="failed")
    await add(snapshots, "none", "a", status="pending")
    await add(snapshots, "other", None, {"messages": ["hello"]}, session="another")
    found = {each.path: each for each in await snapshots.diff("a", "b")}
    assert found.keys() == {"/messages/1", "/custom/n", "/custom/gone"}
    assert (found["/custom/n"].old, found["/custom/n"].new) == (1, 2)
    assert found["/custom/gone"].old is None
    assert await snapshots.diff("a", "a") == ()
    assert [each.path for each in await snapshots.diff("a", "other")] == ["/custom"]
    assert await snapshots.diff("none", "other") == (Difference("", None, {"messages": ["hello"]}),)
    for pair in (("a", "unknown"), ("unknown", "a")):
        with pytest.raises(SnapshotUnknownError):
            await snapshots.diff(*pair)


# == Named branches


async def test_a_named_branch_begins_behind_a_snapshot_and_costs_one_small_record(
    snapshots: Snapshots[Any], store: Store
) -> None:
    await add(snapshots, "a", None, said(noise(1, 50_000)))
    await add(snapshots, "b", "a", said(noise(1, 50_000), "b"))
    before = await records(store)
    await snapshots.fork("a", "other way")
    after = await records(store)
    (added,) = [record for record in after if record not in before]
    assert len(after) == len(before) + 1
    assert len(added.value) < 100
    assert await snapshots.branches("chat") == {"other way": "a"}
    assert await newest(snapshots) == "b"


async def test_a_turn_goes_on_with_a_named_branch_and_the_name_with_it(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b")
    await snapshots.fork("a", "other")
    turns: list[str] = []
    for text in ("one", "two"):
        async with snapshots.turn("chat", branch="other") as turn:
            turn.messages.append(message(text))
        turns.append(turn.snapshot_id)
    assert await snapshots.branches("chat") == {"other": turns[1]}
    assert await history(snapshots, None, snapshot_id=turns[1]) == [turns[1], turns[0], "a"]
    assert await state_of(snapshots, turns[1]) == said("a", "one", "two")
    assert (await snapshots.tree("chat")).branches == {"other": turns[1]}


async def test_the_name_of_a_leaf_stands_for_it_until_a_turn_is_taken_under_it(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b")
    await snapshots.fork("b", "main")
    await add(snapshots, "c", "b", said("a", "b", "c"))
    assert await snapshots.branches("chat") == {"main": "b"}
    async with snapshots.turn("chat", branch="main") as turn:
        turn.messages.append(message("d"))
    assert turn.parent_id == "b"
    assert await snapshots.branches("chat") == {"main": turn.snapshot_id}
    assert set((await snapshots.tree("chat")).leaves) == {"c", turn.snapshot_id}


async def test_a_turn_under_a_new_name_begins_a_branch_of_its_own_behind_a_leaf_too(snapshots: Snapshots[Any]) -> None:
    """Proves that two names which begin at one leaf never stand for each other's snapshots."""
    await chain(snapshots, "a")
    for text in ("one", "two"):
        for name in ("left", "right"):
            async with snapshots.turn("chat", branch=name, after="a" if text == "one" else None) as turn:
                turn.messages.append(message(f"{name} {text}"))
    tree = await snapshots.tree("chat")
    assert set(tree.leaves) == set(tree.branches.values())
    for name in ("left", "right"):
        expected = said("a", f"{name} one", f"{name} two")
        assert await state_of(snapshots, tree.branches[name]) == expected


async def test_a_turn_behind_a_snapshot_takes_no_name_that_there_is(snapshots: Snapshots[Any], store: Store) -> None:
    await chain(snapshots, "a", "b")
    await snapshots.fork("a", "other")
    before = await records(store)
    with pytest.raises(InvalidError) as caught:
        await snapshots.turn("chat", after="b", branch="other").__aenter__()
    assert caught.value.name == "branch"
    assert await records(store) == before


async def test_a_name_stands_for_one_branch_and_is_forgotten_alone(snapshots: Snapshots[Any]) -> None:
    await chain(snapshots, "a", "b")
    await snapshots.fork("a", "other")
    with pytest.raises(InvalidError) as caught:
        await snapshots.fork("b", "other")
    assert caught.value.name == "branch"
    with pytest.raises(SnapshotUnknownError):
        await snapshots.fork("unknown", "new")
    assert await snapshots.drop_branch("chat", "other")
    assert not await snapshots.drop_branch("chat", "other")
    assert await snapshots.branches("chat") == {}
    assert (await snapshots.tree("chat")).leaves == ("b",)
    await snapshots.fork("b", "other")


async def test_a_reserved_id_is_a_uuid_that_nothing_stands_under(snapshots: Snapshots[Any]) -> None:
    reserved = Snapshots.reserve_snapshot_id()
    assert reserved != Snapshots.reserve_snapshot_id()
    assert await snapshots.get_info(snapshot_id=reserved) is None
    await add(snapshots, reserved, None, said("hello"))
    assert await newest(snapshots) == reserved
