"""`sojourn snapshots`: what an operator sees of agents' histories, and how they are made smaller."""

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, TypeVar

import pytest

from sojourn.sessions import Sessions
from sojourn.snapshots import Failure, FinishReason, Mutator, SnapshotInput, Snapshots, Status

from .conftest import Run, within

T = TypeVar("T")
Plain = Snapshots[dict[str, Any]]
Input = SnapshotInput[dict[str, Any]]

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
INFO_KEYS = [
    *("snapshot_id", "session_id", "parent_id", "created_at", "status", "updated_at", "heartbeat_at"),
    *("finish_reason", "error", "state_bytes", "stored_bytes"),
]
SESSION_KEYS = ["session_id", "created_at", "newest", "newest_at", "snapshots", "leaves", "stored_bytes"]


class Terminal(StringIO):
    """A terminal at which somebody has typed."""

    def isatty(self) -> bool:
        return True


def on(
    url: str, work: Callable[[Plain], Awaitable[T]], *, tenant: str | None = None, ago: timedelta = timedelta()
) -> T:
    """Do some work on the snapshots of a store, as of some time ago."""

    async def do(sessions: Sessions) -> T:
        return await work(Snapshots(sessions.store, tenant=tenant))

    return within(url, do, ago)


def storing(new: Input) -> Mutator[dict[str, Any]]:
    """What has a snapshot stored as it is given."""
    return lambda _: new


def save(  # noqa: PLR0913  each is a fact of the snapshot
    url: str,
    snapshot_id: str,
    parent_id: str | None = None,
    *,
    session: str = "chat",
    state: dict[str, Any] | None = None,
    status: Status = Status.COMPLETED,
    tenant: str | None = None,
    ago: timedelta = timedelta(),
) -> None:
    """Save one snapshot."""
    new: Input = SnapshotInput(session_id=session, parent_id=parent_id, state=state, status=status)

    async def put(snapshots: Plain) -> None:
        await snapshots.save_snapshot(snapshot_id, storing(new))

    on(url, put, tenant=tenant, ago=ago)


def converse(url: str, turns: int) -> None:
    """Save a session of so many turns, s1, s2 and so on, each with a message more, one a day up to now."""
    now = datetime.now(UTC)

    def turn(number: int) -> Input:
        return SnapshotInput(
            session_id="chat",
            parent_id=f"s{number - 1}" if number > 1 else None,
            created_at=now - (turns - number) * DAY,
            state={"messages": [f"message {each}" for each in range(number)]},
        )

    async def put(snapshots: Plain) -> None:
        for number in range(1, turns + 1):
            await snapshots.save_snapshot(f"s{number}", storing(turn(number)))

    on(url, put)


def stored(url: str, session: str = "chat", *, tenant: str | None = None) -> list[str]:
    """The ids of a session's snapshots, in the order in which they were stored."""

    async def find(snapshots: Plain) -> list[str]:
        return list((await snapshots.tree(session)).nodes)

    return on(url, find, tenant=tenant)


def test_sessions_are_listed_the_newest_first(url: str, run: Run) -> None:
    assert run("snapshots", "sessions") == (0, "no session has snapshots\n", "")
    save(url, "b1", session="bees", state={"n": 1}, ago=3 * DAY)
    save(url, "a1", session="ants", state={"n": 1}, ago=2 * DAY)
    save(url, "a2", "a1", session="ants", state={"n": 2}, ago=10 * MINUTE)
    save(url, "a3", "a1", session="ants", state={"n": 3}, ago=20 * MINUTE)
    ran = run("snapshots", "sessions")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["session", "snapshots", "leaves", "newest", "bytes"]
    assert [line[:-1] for line in lines[1:]] == [
        ["ants", "3", "2", "10", "min", "ago"],
        ["bees", "1", "1", "3", "d", "ago"],
    ]


def test_sessions_are_gone_through_by_the_cursor(url: str, run: Run) -> None:
    for session in ("a", "b", "c"):
        save(url, f"{session}1", session=session)
    first = run("snapshots", "sessions", "--limit", "2").out.splitlines()
    assert first[-1].startswith("perhaps more; go on with --after ")
    second = run("snapshots", "sessions", "--limit", "2", "--after", first[-1].split()[-1]).out.splitlines()
    assert sorted(line.split()[0] for line in (*first[1:-1], *second[1:])) == ["a", "b", "c"]
    page = json.loads(run("snapshots", "sessions", "--limit", "3", "--json").out)
    assert run("snapshots", "sessions", "--after", page["next"]) == (0, "nothing follows\n", "")


def test_a_session_is_drawn_as_a_tree(url: str, run: Run) -> None:
    converse(url, 30)
    save(url, "other", "s3", status=Status.FAILED)

    async def name(snapshots: Plain) -> None:
        await snapshots.fork("s20", "idea")

    on(url, name)
    ran = run("snapshots", "tree", "chat")
    assert (ran.code, ran.err) == (0, "")
    assert [line.partition("  20")[0] for line in ran.out.splitlines()] == [
        "● s1",
        "● s2",
        "● s3",
        "├─✗ other  failed  ← newest leaf",
        "● s4",
        "● s5",
        "│ … 12 snapshots …",
        "● s18",
        "● s19",
        "● s20  [idea]",
        *[f"● s{number}" for number in range(21, 31)],
    ]
    assert "\x1b" not in ran.out, "colours are for terminals"


def test_a_tree_is_coloured_at_a_terminal_and_fits_it(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "34")
    save(url, "s1")
    save(url, "s2", "s1", status=Status.FAILED)
    lines = run("snapshots", "tree", "chat").out.splitlines()
    assert lines[0].startswith("● s1  20")
    assert lines[1] == "\x1b[1;31m✗ s2  failed  \x1b[0m\x1b[1;32m← newest leaf\x1b[0m", "the time does not fit"


def test_a_snapshot_is_shown_with_its_facts_and_its_state(url: str, run: Run) -> None:
    save(url, "s1", state={"messages": ["hello"]}, ago=DAY)
    save(url, "s2", "s1", state={"messages": ["hello", "grüße"]}, ago=MINUTE)
    facts, state = run("snapshots", "show", "s2").out.split("\n\n")
    assert [line.split("  ")[0] for line in facts.splitlines()] == [
        *("snapshot", "session", "parent", "status", "created", "state")
    ]
    assert facts.splitlines()[2].split() == ["parent", "s1"]
    assert facts.splitlines()[4].endswith("60 s ago")
    assert json.loads(state) == {"messages": ["hello", "grüße"]}
    assert "\n\n" not in run("snapshots", "show", "s2", "--info").out
    older = run("snapshots", "show", "s1").out
    assert older.splitlines()[2].split() == ["parent", "none"]
    assert json.loads(older.split("\n\n")[1]) == {"messages": ["hello"]}


def test_what_is_known_of_a_failed_snapshot_is_shown_and_nothing_else(url: str, run: Run) -> None:
    new: Input = SnapshotInput(
        session_id="chat",
        status=Status.FAILED,
        updated_at="2026-07-01T12:00:00+02:00",
        finish_reason=FinishReason.BLOCKED,
        error=Failure("the model is away", "UNAVAILABLE"),
    )

    async def put(snapshots: Plain) -> None:
        await snapshots.save_snapshot("s1", storing(new))

    on(url, put)
    lines = run("snapshots", "show", "s1").out.splitlines()
    known = {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}
    assert list(known) == [
        *("snapshot", "session", "parent", "status", "created"),
        "updated",
        "finished",
        "error",
        "state",
    ]
    assert known["updated"].startswith("2026-07-01 10:00:00 UTC")
    assert (known["finished"], known["error"]) == ("blocked", "UNAVAILABLE: the model is away")
    assert known["state"] == "none"


def test_the_newest_leaf_of_a_session_is_shown(url: str, run: Run) -> None:
    save(url, "s1", state={"n": 1}, ago=DAY)
    save(url, "s2", "s1", state={"n": 2})
    save(url, "s3", "s1", state={"n": 3}, ago=MINUTE)
    assert json.loads(run("snapshots", "show", "--session", "chat", "--json").out)["state"] == {"n": 2}
    assert run("snapshots", "show", "--session", "chat", "--info").out.split()[1] == "s2"


def test_two_snapshots_are_compared_in_a_table(url: str, run: Run) -> None:
    save(url, "s1", state={"coins": 1, "items": ["sword"]})
    save(url, "s2", "s1", state={"coins": 2, "items": []})
    out = run("snapshots", "diff", "s1", "s2").out
    assert [line.split() for line in out.splitlines()] == [
        ["place", "old", "new"],
        ["/coins", "1", "2"],
        ["/items/0", '"sword"', "nothing"],
    ]
    compared = json.loads(run("snapshots", "diff", "s2", "s1", "--json").out)
    assert compared["differences"][1] == {"path": "/items/0", "new": "sword"}
    assert run("snapshots", "diff", "s1", "s1").out == "the states of s1 and s1 do not differ\n"


def test_what_is_stored_cannot_move_the_cursor(url: str, run: Run) -> None:
    save(url, "s1", session="a\x1bb", state={"text": "plain"})
    save(url, "s2", "s1", session="a\x1bb", state={"text": "\x9b2J\u202e"})
    for command in (("sessions",), ("tree", "a\x1bb"), ("show", "s2"), ("diff", "s1", "s2")):
        out = run("snapshots", *command).out
        assert out
        assert not {"\x1b", "\x9b", "\u202e"} & set(out)
    assert "\\u009b2J\\u202e" in run("snapshots", "show", "s2").out


def test_each_tenant_has_sessions_of_its_own(url: str, run: Run) -> None:
    save(url, "s1", tenant="acme", state={"of": "acme"})
    save(url, "s1", state={"of": "nobody"})
    where = ("--tenant", "acme")
    assert json.loads(run("snapshots", "show", "s1", "--json", *where).out)["state"] == {"of": "acme"}
    assert json.loads(run("snapshots", "show", "s1", "--json").out)["state"] == {"of": "nobody"}
    assert run("snapshots", "tree", "chat", *where).code == 0
    assert run("snapshots", "sessions", "--tenant", "other").out == "no session has snapshots\n"
    assert run("snapshots", "delete", "chat", "--yes", *where).out == "session chat deleted\n"
    assert (stored(url, tenant="acme"), stored(url)) == ([], ["s1"])


def test_the_keys_of_the_json_documents_stay(url: str, run: Run) -> None:
    save(url, "s1", state={"n": 1})
    save(url, "s2", "s1", state={"n": 2})

    def ran(*arguments: str) -> Any:
        return json.loads(run("snapshots", *arguments, "--json").out)

    listed = ran("sessions")
    assert list(listed) == ["sessions", "next"]
    assert [list(each) for each in listed["sessions"]] == [SESSION_KEYS]
    drawn = ran("tree", "chat")
    assert list(drawn) == ["session_id", "leaves", "branches", "snapshots"]
    assert (drawn["session_id"], drawn["leaves"], drawn["branches"]) == ("chat", ["s2"], {})
    assert [list(each) for each in drawn["snapshots"]] == [INFO_KEYS, INFO_KEYS]
    assert list(ran("show", "s2", "--info")) == INFO_KEYS
    assert list(ran("show", "s2")) == [*INFO_KEYS, "state"]
    assert list(ran("diff", "s1", "s2")) == ["old", "new", "differences"]
    assert list(ran("prune", "chat", "--keep", "9", "--dry-run")) == ["removed", "kept", "freed_bytes"]
    assert ran("delete", "--snapshot", "s2", "--yes") == {"deleted": True}
    assert ran("delete", "--snapshot", "s2", "--yes") == {"deleted": False}


def test_a_snapshot_without_a_state_has_none_in_json(url: str, run: Run) -> None:
    save(url, "s1")
    shown = json.loads(run("snapshots", "show", "s1", "--json").out)
    assert (shown["state"], shown["state_bytes"]) == (None, None)


def test_a_session_is_pruned_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    converse(url, 10)
    tried = run("snapshots", "prune", "chat", "--keep", "3", "--dry-run")
    assert tried.code == 0
    assert tried.out.startswith("7 snapshots of ")
    assert tried.out.endswith(" bytes to be deleted, 3 kept\n")
    assert "add --yes" in run("snapshots", "prune", "chat", "--keep", "3").err
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("snapshots", "prune", "chat", "--keep", "3")
    assert (ran.code, len(stored(url))) == (2, 10)
    assert ran.err.startswith("Delete 7 snapshots of ")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    ran = run("snapshots", "prune", "chat", "--keep", "3")
    assert ran.code == 0
    assert ran.out.endswith(" bytes deleted, 3 kept\n")
    assert stored(url) == ["s8", "s9", "s10"]
    state = json.loads(run("snapshots", "show", "s8", "--json").out)["state"]
    assert state == {"messages": [f"message {each}" for each in range(8)]}
    assert run("snapshots", "prune", "chat", "--keep", "3").out.startswith("0 snapshots of 0 bytes deleted"), (
        "no question"
    )


def test_what_is_pruned_is_said_by_age_and_status(url: str, run: Run) -> None:
    converse(url, 10)
    for number, status in enumerate((Status.FAILED, Status.ABORTED, Status.COMPLETED)):
        save(url, f"side{number}", "s10", status=status, ago=timedelta(hours=1))
    run("snapshots", "prune", "chat", "--status", "failed", "--status", "aborted", "--older-than", "2h", "--yes")
    assert len(stored(url)) == 13, "they are younger than that"
    run("snapshots", "prune", "chat", "--status", "failed", "--status", "aborted", "--older-than", "30m", "--yes")
    assert stored(url)[10:] == ["side2"]
    run("snapshots", "prune", "chat", "--older-than", "4.5d", "--yes")
    assert "s5" not in stored(url)


def test_a_snapshot_is_deleted_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    converse(url, 3)
    assert run("snapshots", "delete", "--snapshot", "s2").code == 2
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("snapshots", "delete", "--snapshot", "s2")
    assert (ran.code, stored(url)) == (2, ["s1", "s2", "s3"])
    assert ran.err.startswith("Delete snapshot s2 in sqlite:///")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("snapshots", "delete", "--snapshot", "s2").out == "snapshot s2 deleted\n"
    assert stored(url) == ["s1", "s3"]
    state = json.loads(run("snapshots", "show", "s3", "--json").out)["state"]
    assert state == {"messages": ["message 0", "message 1", "message 2"]}
    assert run("snapshots", "delete", "--snapshot", "s2", "--yes").out == "nothing was kept of snapshot s2\n"


def test_a_session_is_deleted_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    converse(url, 3)
    save(url, "kept", session="other")
    assert run("snapshots", "delete", "chat").code == 2
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("snapshots", "delete", "chat")
    assert (ran.code, len(stored(url))) == (2, 3)
    assert ran.err.startswith("Delete session chat with all its snapshots in sqlite:///")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("snapshots", "delete", "chat").out == "session chat deleted\n"
    assert (stored(url), stored(url, "other")) == ([], ["kept"])
    assert run("snapshots", "delete", "chat", "--yes").out == "nothing was kept of session chat\n"


def test_an_id_may_begin_with_a_hyphen(url: str, run: Run) -> None:
    save(url, "-s1", session="-chat", state={"n": 1})
    assert json.loads(run("snapshots", "show", "-s1", "--json").out)["state"] == {"n": 1}
    assert run("snapshots", "tree", "-chat").code == 0
    assert run("snapshots", "delete", "--snapshot", "-s1", "--yes").out == "snapshot -s1 deleted\n"


def test_what_is_not_stored_is_an_error(url: str, run: Run) -> None:
    save(url, "s1", state={})
    unknown = "sojourn: snapshot_unknown: "
    assert run("snapshots", "show", "s2") == (1, "", f"{unknown}there is no snapshot 's2'\n")
    assert run("snapshots", "show", "s2", "--info").err == f"{unknown}there is no snapshot 's2'\n"
    assert run("snapshots", "show", "--session", "s2").err == f"{unknown}session 's2' has no snapshot\n"
    assert run("snapshots", "tree", "s2") == (1, "", f"{unknown}session 's2' has no snapshot\n")
    assert run("snapshots", "diff", "s1", "s2").err.startswith(unknown)
    assert run("snapshots", "diff", "s2", "s1").err.startswith(unknown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("sessions --limit 0", "invalid: limit: "),
        ("sessions --limit 1001", "limit: limit: "),
        ("sessions --after x", "invalid: cursor: "),
        ("sessions --tenant a/b", "invalid: tenant: "),
        ("tree", "invalid: SESSION: it is missing"),
        (f"tree {'x' * 257}", "limit: session_id: "),
        ("show", "invalid: arguments: give one of: SNAPSHOT, --session"),
        ("show s1 --session chat", "invalid: arguments: give one of: SNAPSHOT, --session"),
        ("show a/b", "invalid: snapshot_id: "),
        (f"show {'x' * 901}", "limit: snapshot_id: "),
        ("diff s1", "invalid: NEW: it is missing"),
        ("prune chat --yes", "invalid: arguments: give at least one of: --keep, --older-than, --status"),
        ("prune chat --keep x --yes", "invalid: keep: 'x' is not a whole number"),
        ("prune chat --keep -1 --yes", "invalid: keep: "),
        ("prune chat --older-than soon --yes", "invalid: older-than: 'soon' is not a time such as 12h or 30d"),
        ("prune chat --older-than=-1d --yes", "invalid: older_than: "),
        ("prune chat --status done --yes", "invalid: status: 'done' is none of: pending, completed, "),
        ("delete --yes", "invalid: arguments: give one of: SESSION, --snapshot"),
        ("delete chat --snapshot s1 --yes", "invalid: arguments: give one of: SESSION, --snapshot"),
        ("delete --snapshot .. --yes", "invalid: snapshot_id: "),
    ],
)
def test_bad_input_is_one_named_error(url: str, run: Run, arguments: str, said: str) -> None:
    save(url, "s1")
    ran = run("snapshots", *arguments.split(" "))
    assert (ran.code, ran.out, stored(url)) == (2, "", ["s1"])
    assert ran.err.startswith(f"sojourn: {said}")
    assert ran.err.count("\n") == 1
