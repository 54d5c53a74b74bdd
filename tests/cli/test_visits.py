"""`sojourn visits`: what an operator sees of the visitors, and how what is kept of them is deleted."""

import json
import sys
from datetime import timedelta
from io import StringIO

import pytest

from sojourn.sessions import Sessions
from sojourn.visits import Visits, visitor_of

from .conftest import Run, within

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
BROWSER = "3b9d7c41-0c1e-4f6a-9a55-2f6f0e8f1d77"
VISITOR_KEYS = ["id", "created_at", "last_active", "visit"]
VISIT_KEYS = ["index", "started_at", "previous", "engaged_ms"]
ACTION_KEYS = ["action", "timestamp", "occurred_at", "resource_id", "metadata"]
UNKNOWN = "sojourn: visitor_unknown: there is no visitor of this id, and none whose browser has it\n"


class Terminal(StringIO):
    """A terminal at which somebody has typed."""

    def isatty(self) -> bool:
        return True


def track(url: str, *names: str, ago: timedelta = timedelta()) -> None:
    """Let visitors give a sign of life."""

    async def beat(sessions: Sessions) -> None:
        for name in names:
            await Visits(sessions.store).track_session(name)

    within(url, beat, ago)


def act(url: str, name: str, *actions: str, **metadata: object) -> None:
    """Let a visitor do something."""

    async def record(sessions: Sessions) -> None:
        for action in actions:
            await Visits(sessions.store).track_user_action(name, action, "buy", metadata or None)

    within(url, record)


def leave(url: str, name: str) -> None:
    """Let a visitor go."""

    async def gone(sessions: Sessions) -> None:
        await Visits(sessions.store).leave(name)

    within(url, gone)


def known(url: str) -> set[str]:
    """The ids of all who are known."""

    async def ids(sessions: Sessions) -> set[str]:
        return {visitor.anonymous_id async for visitor in Visits(sessions.store).get_active_sessions(60 * 24 * 365)}

    return within(url, ids)


def test_who_was_active_last_is_on_top(url: str, run: Run) -> None:
    """Proves that who is here is listed, each on one line with its id whole, and who has left or is away is not."""
    track(url, "older", ago=10 * MINUTE)
    track(url, "x" * 128)
    track(url, "away", ago=20 * MINUTE)
    track(url, "gone")
    leave(url, "gone")
    ran = run("visits", "active")
    assert (ran.code, [line.split()[0] for line in ran.out.splitlines()], ran.err) == (
        0,
        ["id", "x" * 128, "older"],
        "",
    )


def test_a_number_of_minutes_asks_for_all_who_were_active(url: str, run: Run) -> None:
    """Proves that --minutes goes by the last activity alone, longer and shorter than who is here."""
    track(url, "older", ago=10 * MINUTE)
    track(url, "away", ago=40 * MINUTE)
    assert "away" not in run("visits", "active").out
    assert {"away", "older"} <= set(run("visits", "active", "--minutes", "60").out.split())
    assert run("visits", "active", "--minutes", "2.5") == (0, "nobody was active within 2.5 min\n", "")


def test_pages_are_gone_through_by_the_cursor(url: str, run: Run) -> None:
    """Proves that each page says how to go on, and that together they list everybody once."""
    track(url, "a", "b", "c")
    first = run("visits", "active", "--limit", "2").out.splitlines()
    assert first[-1].startswith("perhaps more; go on with --after ")
    second = run("visits", "active", "--limit", "2", "--after", first[-1].split()[-1]).out.splitlines()
    assert sorted(line.split()[0] for line in (*first[1:-1], *second[1:])) == ["a", "b", "c"]
    document = json.loads(run("visits", "active", "--limit", "3", "--json").out)
    assert run("visits", "active", "--after", document["next"]) == (0, "nobody follows\n", "")


def test_nobody_is_said_in_words(url: str, run: Run) -> None:
    """Proves that nobody found is said in words to people, and is an empty list to programs; no error."""
    assert run("visits", "active") == (0, "nobody is here\n", "")
    assert json.loads(run("visits", "active", "--json").out) == {"visitors": [], "next": None}


def test_the_keys_of_the_documents_stay(url: str, run: Run) -> None:
    """Proves that --json prints one document with the keys that programs rely on."""
    act(url, "ada", "click", sku="book")
    (listed,) = json.loads(run("visits", "active", "--json").out)["visitors"]
    shown = json.loads(run("visits", "show", "ada", "--json").out)
    assert list(shown) == ["visitor", "visits", "actions"]
    assert list(listed) == list(shown["visitor"]) == VISITOR_KEYS
    assert list(shown["visits"][0]) == list(listed["visit"]) == VISIT_KEYS
    assert list(shown["actions"][0]) == ACTION_KEYS
    assert (listed["id"], shown["actions"][0]["metadata"]) == ("ada", {"sku": "book"})
    assert list(json.loads(run("visits", "cleanup", "--yes", "--json").out)) == ["deleted_count", "oldest_date"]
    assert list(json.loads(run("visits", "erase", "ada", "--yes", "--json").out)) == ["erased"]


def test_a_visitor_is_shown_with_what_it_did_last(url: str, run: Run) -> None:
    """Proves that people see since when it is known, its visits and its actions, the latest first and no more."""
    track(url, "ada", ago=DAY)
    act(url, "ada", *(f"action-{number}" for number in range(12)), sku="book")
    out = run("visits", "show", "ada").out
    facts, visits, actions = (part.splitlines() for part in out.split("\n\n"))
    assert [line.split("  ")[0] for line in facts] == ["id", "known since", "last active", "visit", "engaged"]
    assert "24 h ago" in facts[1]
    assert [line.split()[0] for line in visits] == ["visit", "2", "1"]
    assert [line.split()[1] for line in actions[1:]] == [f"action-{number}" for number in range(11, 1, -1)]
    assert actions[1].endswith('buy       {"sku":"book"}')
    two = json.loads(run("visits", "show", "ada", "--limit", "2", "--json").out)
    assert [action["action"] for action in two["actions"]] == ["action-11", "action-10"]
    track(url, "grace")
    assert run("visits", "show", "grace").out.endswith("\nit did nothing that is kept\n")


def test_what_is_stored_cannot_move_the_cursor(url: str, run: Run) -> None:
    """Proves that escapes in metadata are shown as text, not obeyed by the terminal."""
    act(url, "ada", "click", text="\x9b2J\u202e")
    assert "\\u009b2J\\u202e" in run("visits", "show", "ada").out


def test_a_browsers_own_id_finds_its_visitor(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the id in a browser's storage may be given, that it is not repeated, and that the listed one is."""
    act(url, visitor_of(BROWSER), "click")
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    said = [
        run("visits", "show", BROWSER),
        run("visits", "show", BROWSER, "--json"),
        run("visits", "export", BROWSER),
        run("visits", "erase", BROWSER),
        run("visits", "erase", BROWSER, "--yes"),
        run("visits", "show", BROWSER),
        run("visits", "show", BROWSER, "--json"),
    ]
    assert [ran.code for ran in said] == [0, 0, 0, 2, 0, 1, 1]
    assert not any(BROWSER in ran.out + ran.err for ran in said)
    assert all(visitor_of(BROWSER) in ran.out for ran in said[:3])


def test_an_id_is_taken_as_listed_before_it_is_hashed(url: str, run: Run) -> None:
    """Proves that an application's own id that looks like a browser's is that visitor's, and nobody else's."""
    track(url, BROWSER, visitor_of(BROWSER))
    assert json.loads(run("visits", "show", BROWSER, "--json").out)["visitor"]["id"] == BROWSER
    assert run("visits", "erase", BROWSER, "--yes").code == 0
    assert known(url) == {visitor_of(BROWSER)}


@pytest.mark.parametrize("command", ["show", "export", "erase"])
def test_who_is_not_known_is_an_error(url: str, run: Run, command: str) -> None:
    """Proves that a slip in an id is told apart from a visitor of whom nothing is kept."""
    assert run("visits", command, "nobody") == (1, "", UNKNOWN)
    assert run("visits", command, BROWSER) == (1, "", UNKNOWN)
    for bad in ("", "a\x1bb"):
        ran = run("visits", command, bad)
        assert (ran.code, ran.out, ran.err.split(": ")[1:3]) == (2, "", ["invalid", "ID"])
    assert run("visits", command, "x" * 129).err.startswith("sojourn: limit: ID: at most 128 characters")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("active --minutes 0", "invalid: minutes_active: "),
        ("active --minutes nan", "invalid: minutes_active: "),
        ("active --minutes soon", "invalid: minutes: 'soon' is not a number"),
        ("active --limit 0", "invalid: limit: a page has at least one item"),
        ("active --limit 1001", "limit: limit: at most 1000 items"),
        ("active --limit many", "invalid: limit: 'many' is not a whole number"),
        ("active --after x", "invalid: cursor: this is not a cursor"),
        ("show ada --limit 0", "invalid: limit: a page has at least one item"),
        ("cleanup --days 0", "invalid: days_inactive: "),
        ("cleanup --days -1 --yes", "invalid: days_inactive: "),
        ("cleanup --days nan --yes", "invalid: days_inactive: "),
        ("cleanup --days 1e9 --yes", "invalid: days_inactive: "),
        ("erase --yes", "invalid: ID: it is missing"),
    ],
)
def test_bad_input_is_one_named_error(url: str, run: Run, arguments: str, said: str) -> None:
    """Proves that each gives its own error in one line, with exit code 2, and deletes nobody."""
    track(url, "ada", ago=60 * DAY)
    track(url, "ada")
    ran = run("visits", *arguments.split())
    assert (ran.code, ran.out, known(url)) == (2, "", {"ada"})
    assert ran.err.startswith(f"sojourn: {said}")
    assert ran.err.count("\n") == 1


@pytest.mark.row("F-C88")
def test_a_cleanup_goes_by_30_days_or_by_those_given(url: str, run: Run) -> None:
    """Proves that who is away for longer is deleted and counted, everybody else stays, and a dry run deletes nobody."""
    track(url, "away-40", ago=40 * DAY)
    track(url, "away-20", ago=20 * DAY)
    track(url, "here")
    everybody = known(url)
    assert run("visits", "cleanup", "--dry-run").out.startswith("1 visitor last active before ")
    assert json.loads(run("visits", "cleanup", "--days", "14", "--dry-run", "--json").out)["deleted_count"] == 2
    assert known(url) == everybody
    ran = run("visits", "cleanup", "--yes")
    assert (ran.code, ran.out.split()[:2], ran.err) == (0, ["1", "visitor"], "")
    assert ran.out.endswith(" UTC deleted\n")
    assert known(url) == {"away-20", "here"}
    assert json.loads(run("visits", "cleanup", "--days", "14.5", "--yes", "--json").out)["deleted_count"] == 1
    assert known(url) == {"here"}


@pytest.mark.row("F-C90", "F-W5")
def test_a_cleanup_deletes_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that it says how many and asks, needs --yes where nobody can be asked, and else the answer yes."""
    track(url, "one", "two", ago=40 * DAY)
    ran = run("visits", "cleanup")
    assert (ran.code, known(url)) == (2, {"one", "two"})
    assert "add --yes" in ran.err
    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    ran = run("visits", "cleanup")
    assert (ran.code, known(url), ran.out) == (2, {"one", "two"}, "")
    assert ran.err.startswith("Delete 2 visitors last active before ")
    assert url in ran.err
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert json.loads(run("visits", "cleanup", "--json").out)["deleted_count"] == 2
    assert known(url) == set()
    assert run("visits", "cleanup").out.startswith("0 visitors "), "there is nothing to ask about"


@pytest.mark.row("F-W15")
def test_a_visitor_is_exported_whole(url: str, run: Run) -> None:
    """Proves that the document has the visitor, each visit and each action, the oldest first, and nobody else's."""
    track(url, "ada", ago=DAY)
    act(url, "ada", *(f"action-{number}" for number in range(30)), sku="book")
    act(url, "grace", "other")
    exported = json.loads(run("visits", "export", "ada").out)
    assert exported["visitor"]["anonymous_id"] == "ada"
    assert [visit["index"] for visit in exported["visits"]] == [1, 2]
    assert [action["action"] for action in exported["actions"]] == [f"action-{number}" for number in range(30)]


@pytest.mark.row("F-W15")
def test_a_visitor_is_erased_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that it asks, that all of one visitor goes, and that the others stay."""
    act(url, "ada", "click", "click")
    act(url, "grace", "click")
    ran = run("visits", "erase", "ada")
    assert (ran.code, known(url)) == (2, {"ada", "grace"})
    assert "add --yes" in ran.err
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("visits", "erase", "ada")
    assert (ran.code, known(url)) == (2, {"ada", "grace"})
    assert ran.err.startswith("Delete all that is kept of visitor ada in ")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    ran = run("visits", "erase", "ada")
    assert (ran.code, ran.out) == (0, "visitor ada erased: 6 records\n")
    assert known(url) == {"grace"}
    assert run("visits", "erase", "ada", "--yes") == (1, "", UNKNOWN)
