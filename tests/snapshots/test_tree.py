"""A session as a tree: what hangs together how, and how it is drawn."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone

from sojourn.snapshots.model import SnapshotInfo, Status
from sojourn.snapshots.tree import MARKS, Tree, grown

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def snapshot(
    snapshot_id: str, parent_id: str | None = None, *, status: Status = Status.COMPLETED, at: datetime = NOON
) -> SnapshotInfo:
    """A snapshot of the session `chat`."""
    return SnapshotInfo(snapshot_id=snapshot_id, session_id="chat", parent_id=parent_id, created_at=at, status=status)


def tree(*infos: SnapshotInfo, names: Mapping[str, str] | None = None) -> Tree:
    return grown("chat", infos, names or {})


def line(count: int) -> list[SnapshotInfo]:
    """So many snapshots, each behind the one before: s0, s1, ..."""
    return [snapshot(f"s{number}", f"s{number - 1}" if number else None) for number in range(count)]


def drawn(found: Tree, width: int | None = None) -> list[str]:
    """The lines of a drawing without the time, which is noon."""
    return [line.replace("  2026-07-01 12:00:00", "") for line in found.draw(width).splitlines()]


def ids(lines: Sequence[str]) -> list[str]:
    return [words[1] for words in (line.lstrip("│├─ ").split() for line in lines) if words]


def test_a_session_without_snapshots_is_an_empty_tree() -> None:
    empty = tree()
    assert (empty.roots, dict(empty.nodes), empty.leaves, empty.newest, str(empty)) == ((), {}, (), None, "")


def test_children_hang_below_their_parent_in_the_order_in_which_they_were_stored() -> None:
    found = tree(snapshot("b"), snapshot("d", "b"), snapshot("a"), snapshot("c", "b"))
    assert found.roots == ("b", "a")
    assert {name: node.children for name, node in found.nodes.items()} == {
        "b": ("d", "c"),
        "d": (),
        "a": (),
        "c": (),
    }
    assert found.nodes["c"].info.parent_id == "b"


def test_a_snapshot_that_was_stored_before_its_parent_hangs_below_it() -> None:
    found = tree(snapshot("child", "parent"), snapshot("parent"))
    assert (found.roots, found.nodes["parent"].children) == (("parent",), ("child",))


def test_a_snapshot_whose_parent_is_not_there_is_a_root_and_says_so() -> None:
    found = tree(snapshot("a", "gone"))
    assert found.roots == ("a",)
    assert drawn(found) == ["● a  ← newest leaf  (its parent is not there)"]


def test_the_newest_leaf_is_the_latest_as_an_instant_and_of_equal_ones_the_one_stored_last() -> None:
    earlier, later = NOON - timedelta(hours=1), NOON.astimezone(timezone(timedelta(hours=-9)))
    found = tree(
        snapshot("root", at=NOON + timedelta(days=1)),
        snapshot("a", "root", at=later),
        snapshot("b", "root", at=NOON),
        snapshot("c", "root", at=earlier),
    )
    assert (found.leaves, found.newest) == (("b", "a", "c"), "b"), "the root is later, and no leaf"


def test_what_a_branch_only_lost_its_middle_behind_is_no_leaf() -> None:
    infos = [snapshot("s1"), snapshot("s3", "s2")]
    assert grown("chat", infos, {}).leaves == ("s3", "s1")
    found = grown("chat", infos, {}, ends=("s3",))
    assert found.leaves == ("s3",)
    assert drawn(found) == ["● s1", "", "● s3  ← newest leaf  (its parent is not there)"]


def test_every_status_has_a_mark_of_its_own_and_is_named_unless_it_is_completed() -> None:
    assert len(set(MARKS.values())) == len(Status)
    found = tree(snapshot("root"), *(snapshot(status.value, "root", status=status) for status in Status))
    assert drawn(found) == [
        "● root",
        "├─◐ pending  pending",
        "├─● completed",
        "├─✗ failed  failed",
        "├─■ aborted  aborted",
        "◌ expired  expired  ← newest leaf",
    ]


def test_a_fork_is_drawn_beside_what_goes_on() -> None:
    found = tree(
        snapshot("ask"),
        snapshot("first", "ask"),
        snapshot("again", "ask"),
        snapshot("more", "again"),
        snapshot("try", "more"),
        snapshot("last", "more", status=Status.FAILED),
        names={"main": "more", "idea": "first", "idle": "first"},
    )
    assert drawn(found) == [
        "● ask",
        "├─● first  [idea]  [idle]",
        "● again",
        "● more  [main]",
        "├─● try",
        "✗ last  failed  ← newest leaf",
    ]


def test_forks_of_forks_stand_further_to_the_right() -> None:
    found = tree(
        *line(7),
        snapshot("a", "s1"),
        snapshot("b", "a"),
        snapshot("c", "a"),
        snapshot("d", "c"),
    )
    assert drawn(found) == [
        "● s0",
        "● s1",
        "├─● a",
        "│ ├─● b",
        "│ ● c",
        "│ ● d  ← newest leaf",
        "● s2",
        "● s3",
        "● s4",
        "● s5",
        "● s6",
    ]


def test_each_root_has_a_drawing_of_its_own() -> None:
    assert drawn(tree(*line(2), snapshot("other"))) == ["● s0", "● s1", "", "● other  ← newest leaf"]


def test_a_long_line_is_folded_and_what_is_of_note_in_it_is_not() -> None:
    assert drawn(tree(*line(10_000))) == [
        "● s0",
        "● s1",
        "│ … 9,995 snapshots …",
        "● s9997",
        "● s9998",
        "● s9999  ← newest leaf",
    ]
    failed = [snapshot("s50", "s49", status=Status.FAILED) if info.snapshot_id == "s50" else info for info in line(100)]
    lines = drawn(tree(*failed, snapshot("fork", "s70"), names={"main": "s20"}))
    assert {"● s20  [main]", "✗ s50  failed", "● s70", "├─● fork  ← newest leaf", "● s99"} < set(lines)
    assert [line for line in lines if "…" in line] == [
        "│ … 16 snapshots …",
        "│ … 25 snapshots …",
        "│ … 15 snapshots …",
        "│ … 24 snapshots …",
    ]


def test_a_short_line_is_drawn_whole() -> None:
    assert ids(drawn(tree(*line(10)))) == [f"s{number}" for number in range(10)]


def test_a_fold_beside_stands_beside() -> None:
    beside = [snapshot("b0", "s0"), *(snapshot(f"b{number}", f"b{number - 1}") for number in range(1, 20))]
    assert drawn(tree(*line(30), *beside))[:6] == [
        "● s0",
        "├─● b0",
        "│ ● b1",
        "│ │ … 15 snapshots …",
        "│ ● b17",
        "│ ● b18",
    ]


def test_a_tree_of_ten_thousand_forks_one_behind_the_other_is_drawn_narrow() -> None:
    comb = [*line(5_000), *(snapshot(f"x{number}", f"s{number}") for number in reversed(range(5_000)))]
    lines = drawn(tree(*comb))
    assert sorted(ids(lines)) == sorted(info.snapshot_id for info in comb)
    assert max(len(line) for line in lines) < 30


def test_what_does_not_fit_is_left_out_but_never_the_id() -> None:
    found = tree(snapshot("a-long-id", status=Status.FAILED), names={"main": "a-long-id"})
    whole = "✗ a-long-id  failed  ← newest leaf  [main]  2026-07-01 12:00:00"
    assert str(found) == found.draw(len(whole)) == whole
    assert found.draw(len(whole) - 1) == "✗ a-long-id  failed  ← newest leaf  [main]"
    assert found.draw(20) == "✗ a-long-id  failed"
    assert found.draw(1) == "✗ a-long-id"


def test_ids_and_names_cannot_break_a_line_or_move_the_cursor() -> None:
    found = tree(snapshot("a\n\x1b[2J"), snapshot("grüße", "a\n\x1b[2J"), names={"\u202e": "grüße"})
    assert drawn(found) == ["● a\\n\\x1b[2J", "● grüße  ← newest leaf  [\\u202e]"]


def test_the_name_of_a_branch_whose_snapshot_is_gone_is_kept_and_not_drawn() -> None:
    found = tree(snapshot("a"), names={"main": "gone"})
    assert (dict(found.branches), drawn(found)) == ({"main": "gone"}, ["● a  ← newest leaf"])


def test_a_ring_of_parents_ends_the_drawing_and_not_the_program() -> None:
    """Proves that damaged data, which no save makes, is not followed for ever."""
    assert drawn(tree(snapshot("a", "b"), snapshot("b", "a"), snapshot("c"))) == ["● c  ← newest leaf"]
