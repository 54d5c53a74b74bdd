"""`sojourn documents` and `sojourn drain`: what an operator sees of stored documents, mends, and has handed over."""

import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from io import StringIO
from typing import Any, TypeVar

import pytest

from sojourn import limits
from sojourn.documents import Documents, MigrationStep
from sojourn.documents.archive import Archive
from sojourn.documents.layout import Place
from sojourn.kernel import Leases, Store
from sojourn.sessions import Sessions

from .conftest import Run, within

T = TypeVar("T")

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
ROW_KEYS = ["key", "partition", "revision", "created_at", "saved_at", "bytes", "migrations", "subjects", "lease"]
LEASE_KEYS = ["holder", "since", "expires_at"]
HELD_KEYS = ["name", "key", "partition", "holder", "since", "expires_at"]
UNKNOWN = "sojourn: document_unknown: no document 'ada' of players is stored\n"


class Terminal(StringIO):
    """A terminal at which somebody has typed."""

    def isatty(self) -> bool:
        return True


def on(url: str, work: Callable[[Store], Awaitable[T]], ago: timedelta = timedelta()) -> T:
    """Do some work on a store, as of some time ago."""

    async def do(sessions: Sessions) -> T:
        return await work(sessions.store)

    return within(url, do, ago)


def save(  # noqa: PLR0913  each is a fact of the document
    url: str,
    key: str,
    value: object,
    *,
    of: str = "players",
    partition: str | None = None,
    subjects: Sequence[str] = (),
    ago: timedelta = timedelta(),
) -> int:
    """Save a document as its holder does, and return its revision."""

    async def put(store: Store) -> int:
        documents: Documents[Any] = Documents(
            store,
            of,
            schema=lambda plain: True,  # noqa: ARG005  any data is good
            template={"begun": True},
            migrations=[MigrationStep.add_fields("one", {})],
            holder="server 7",
            partition=None if partition is None else lambda _: partition,
        )
        async with documents.open(key, subjects=subjects) as document:
            await document.update_immutable(lambda _: value)
            await document.save()
            assert document.info.revision is not None
            return document.info.revision

    return on(url, put, ago)


def hold(
    url: str,
    *keys: str,
    of: str = "players",
    holder: str = "server 7",
    lease: timedelta = DAY,
    ago: timedelta = timedelta(),
) -> None:
    """Take documents for somebody who then falls silent."""

    async def take(store: Store) -> None:
        for key in keys:
            await Leases(store).acquire(Place(of, key, key).lease, holder=holder, ttl=lease)

    on(url, take, ago)


def stands(url: str, key: str) -> Any:
    """The value that is stored, or None."""

    async def find(store: Store) -> Any:
        found = await Archive(store, "players").find(Place("players", key, key))
        return None if found is None else json.loads(found[1].text)

    return on(url, find)


def holder_of(url: str, key: str) -> str | None:
    """Who holds a document, or None."""

    async def probe(store: Store) -> str | None:
        lease = await Leases(store).probe(Place("players", key, key).lease)
        return None if lease is None else lease.holder

    return on(url, probe)


def test_the_names_of_documents_are_listed(url: str, run: Run) -> None:
    assert run("documents", "list") == (0, "no documents are kept\n", "")
    assert json.loads(run("documents", "list", "--json").out) == {"names": [], "documents": [], "next": None}
    save(url, "lobby", {}, of="rooms")
    save(url, "ada", {})
    assert run("documents", "list").out.split() == ["name", "players", "rooms"]
    assert json.loads(run("documents", "list", "--json").out)["names"] == ["players", "rooms"]


def test_documents_are_listed_with_when_they_were_saved_and_who_holds_them(url: str, run: Run) -> None:
    save(url, "bob", {"coins": 1}, ago=3 * DAY)
    save(url, "ada", {"coins": 10}, ago=10 * MINUTE)
    hold(url, "ada", "eve")
    ran = run("documents", "list", "players")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["key", "saved", "bytes", "held", "by", "since"],
        ["bob", "3", "d", "ago", "11"],
        ["ada", "10", "min", "ago", "12", "server", "7", "now"],
    ]
    assert run("documents", "list", "rooms") == (0, "no document of rooms is stored\n", "")


def test_what_somebody_holds_is_listed_by_itself_saved_or_not(url: str, run: Run) -> None:
    save(url, "ada", {"coins": 10}, ago=10 * MINUTE)
    save(url, "bob", {})
    assert run("documents", "list", "players", "--held") == (0, "no document of players is held\n", "")
    hold(url, "eve", ago=MINUTE)
    hold(url, "ada")
    ran = run("documents", "list", "players", "--held")
    assert [line.split()[:2] for line in ran.out.splitlines()[1:]] == [["eve", "never"], ["ada", "10"]]
    eve, ada = json.loads(run("documents", "list", "players", "--held", "--json").out)["documents"]
    assert (eve["revision"], eve["saved_at"], eve["bytes"], eve["lease"]["holder"]) == (None, None, None, "server 7")
    assert (ada["bytes"], ada["lease"]["holder"]) == (12, "server 7")


def test_a_subjects_documents_are_listed_by_themselves(url: str, run: Run) -> None:
    save(url, "ada", {}, subjects=("u1", "u2"))
    save(url, "bob", {}, subjects=("u2",))
    save(url, "eve", {})

    def listed(*arguments: str) -> list[str]:
        return [each["key"] for each in json.loads(run("documents", "list", *arguments, "--json").out)["documents"]]

    assert listed("players", "--subject", "u1") == ["ada"]
    assert listed("players", "--subject", "u2") == ["ada", "bob"]
    assert run("documents", "list", "players", "--subject", "u3").out == "no document of players is stored\n"


@pytest.mark.parametrize("which", [(), ("--held",), ("--subject", "u1")])
def test_pages_are_gone_through_by_the_cursor(url: str, run: Run, which: tuple[str, ...]) -> None:
    for key in ("a", "b", "c"):
        save(url, key, {}, subjects=("u1",))
    hold(url, "a", "b", "c")
    first = run("documents", "list", "players", *which, "--limit", "2").out.splitlines()
    assert first[-1].startswith("perhaps more; go on with --after ")
    cursor = first[-1].split()[-1]
    second = run("documents", "list", "players", *which, "--limit", "2", "--after", cursor).out.splitlines()
    assert sorted(line.split()[0] for line in (*first[1:-1], *second[1:])) == ["a", "b", "c"]
    page = json.loads(run("documents", "list", "players", *which, "--limit", "3", "--json").out)
    assert run("documents", "list", "players", *which, "--after", page["next"]) == (0, "nothing follows\n", "")


def test_the_keys_of_the_json_documents_stay(url: str, run: Run) -> None:
    old = save(url, "ada", {"coins": 1})
    save(url, "ada", {"coins": 2}, subjects=("u1",))
    hold(url, "ada")

    def ran(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--json").out)

    listed = ran("documents", "list", "players")
    assert list(listed) == ["names", "documents", "next"]
    assert [list(each) for each in listed["documents"]] == [ROW_KEYS]
    assert list(listed["documents"][0]["lease"]) == LEASE_KEYS
    shown = ran("documents", "show", "players", "ada")
    assert list(shown) == ["document", "cause", "saved_by", "value"]
    assert shown["document"] == listed["documents"][0]
    assert (shown["cause"], shown["saved_by"], shown["value"]) == ("update", "server 7", {"coins": 2})
    past = ran("documents", "history", "players", "ada")
    assert list(past) == ["versions", "next"]
    assert list(past["versions"][0]) == ["revision", "saved_at", "cause", "holder", "bytes"]
    compared = ran("documents", "diff", "players", "ada", str(old))
    assert list(compared) == ["old", "new", "differences"]
    assert compared["differences"] == [{"path": "/coins", "old": 1, "new": 2}]
    assert list(ran("documents", "rollback", "players", "ada", str(old), "--yes")) == ["revision"]
    assert ran("documents", "revoke", "players", "ada", "--yes") == {"lease": None}
    hold(url, "ada")
    drained = ran("drain", "--yes", "--timeout", "0")
    assert list(drained) == ["handed_over", "remaining"]
    assert [list(each) for each in drained["remaining"]] == [HELD_KEYS]
    assert list(ran("documents", "revoke", "players", "ada", "--yes")["lease"]) == LEASE_KEYS
    assert ran("documents", "erase", "players", "ada", "--yes") == {"erased": True}


def test_a_document_is_shown_with_its_facts_and_its_value(url: str, run: Run) -> None:
    first = save(url, "ada", {"coins": 1, "items": ["sword"]}, ago=DAY)
    save(url, "ada", {"coins": 2, "items": []}, subjects=("u1",))
    out = run("documents", "show", "players", "ada").out
    facts, value = out.split("\n\n")
    names = ["key", "revision", "created", "saved", "cause", "bytes", "migrations", "subjects", "held by"]
    assert [line.split("  ")[0] for line in facts.splitlines()] == names
    assert "24 h ago" in facts.splitlines()[2]
    assert facts.splitlines()[3].endswith("now, by server 7")
    assert facts.splitlines()[-1] == "held by     nobody"
    assert value == '{\n  "coins": 2,\n  "items": []\n}\n'
    hold(url, "ada")
    assert "held by     server 7, since " in run("documents", "show", "players", "ada").out
    older = run("documents", "show", "players", "ada", "--revision", str(first)).out
    assert json.loads(older.split("\n\n")[1]) == {"coins": 1, "items": ["sword"]}
    assert older.splitlines()[1].split() == ["revision", str(first)]


def test_a_document_kept_beside_others_is_found_by_its_partition(url: str, run: Run) -> None:
    revision = save(url, "ada", {"coins": 1}, partition="table")
    assert [line.split()[:2] for line in run("documents", "list", "players").out.splitlines()] == [
        ["key", "partition"],
        ["ada", "table"],
    ]
    assert run("documents", "show", "players", "ada") == (1, "", UNKNOWN)
    where = ("players", "ada", "--partition", "table")
    assert run("documents", "show", *where).out.splitlines()[1].split() == ["partition", "table"]
    for command in (("history",), ("diff", str(revision)), ("rollback", str(revision), "--yes"), ("export",)):
        arguments = ("documents", command[0], "players", "ada", *command[1:], "--partition", "table")
        assert run(*arguments).code == 0
    assert run("documents", "revoke", *where, "--yes").out == "nobody holds ada\n"
    assert run("documents", "erase", *where, "--yes").out == "ada erased\n"


def test_a_key_may_begin_with_a_hyphen(url: str, run: Run) -> None:
    save(url, "-ada", {"coins": 1})
    assert json.loads(run("documents", "show", "players", "-ada", "--json").out)["value"] == {"coins": 1}


def test_what_is_stored_cannot_move_the_cursor(url: str, run: Run) -> None:
    revision = save(url, "ada", {"text": "plain"})
    save(url, "ada", {"text": "\x9b2J\u202e"})
    assert "\\u009b2J\\u202e" in run("documents", "show", "players", "ada").out
    assert "\\u009b2J\\u202e" in run("documents", "diff", "players", "ada", str(revision)).out


def test_the_history_is_listed_the_latest_first(url: str, run: Run) -> None:
    revisions = [save(url, "ada", {"coins": coins}, ago=(3 - coins) * DAY) for coins in range(3)]
    out = run("documents", "history", "players", "ada").out.splitlines()
    assert out[0].split() == ["revision", "saved", "cause", "saved", "by", "bytes"]
    assert [int(line.split()[0]) for line in out[1:]] == revisions[::-1]
    assert out[1].split()[1:] == ["24", "h", "ago", "update", "server", "7", "11"]
    first = run("documents", "history", "players", "ada", "--limit", "2").out.splitlines()
    rest = run("documents", "history", "players", "ada", "--limit", "2", "--after", first[-1].split()[-1]).out
    assert [line.split()[0] for line in rest.splitlines()[1:]] == [str(revisions[0])]


def test_two_revisions_are_compared_in_a_table(url: str, run: Run) -> None:
    old = save(url, "ada", {"coins": 1, "items": ["sword"]})
    new = save(url, "ada", {"coins": 2, "items": []})
    out = run("documents", "diff", "players", "ada", str(old), str(new)).out
    assert [line.split() for line in out.splitlines()] == [
        ["place", "old", "new"],
        ["/coins", "1", "2"],
        ["/items/0", '"sword"', "nothing"],
    ]
    compared = json.loads(run("documents", "diff", "players", "ada", str(new), str(old), "--json").out)
    assert compared["differences"][1] == {"path": "/items/0", "new": "sword"}
    assert run("documents", "diff", "players", "ada", str(new)).out == f"revisions {new} and {new} do not differ\n"


def test_what_is_not_stored_is_an_error(url: str, run: Run) -> None:
    for command in (("show",), ("history",), ("diff", "1")):
        ran = run("documents", command[0], "players", "ada", *command[1:])
        assert (ran.code, ran.out, ran.err.split(": ")[1]) == (1, "", "document_unknown")
    assert run("documents", "show", "players", "ada") == (1, "", UNKNOWN)
    assert run("documents", "export", "players", "ada").err.startswith("sojourn: document_unknown: nothing is kept")
    hold(url, "ada")
    assert run("documents", "show", "players", "ada").err.endswith("; server 7 holds it and has not saved it\n")
    save(url, "bob", {})
    for words in ("show --revision 77", "diff 77", "rollback 77", "rollback 77 --yes"):
        verb, *rest = words.split()
        arguments = ("documents", verb, "players", "bob", *rest)
        assert run(*arguments).err.startswith("sojourn: document_unknown: no revision 77 is kept of the document 'bob'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("documents list Players", "invalid: name: "),
        ("documents list players --limit 0", "invalid: limit: "),
        ("documents list players --limit 1001", "limit: limit: "),
        ("documents list players --after x", "invalid: cursor: "),
        ("documents list players --held --subject u1", "invalid: arguments: give one of"),
        ("documents list --held", "invalid: NAME: it is missing"),
        ("documents list --subject u1", "invalid: NAME: it is missing"),
        (f"documents list players --subject {'x' * 129}", "limit: subjects: "),
        (f"documents show players {'x' * 129}", "limit: key: "),
        ("documents show players a\x1bb", "invalid: key: "),
        ("documents show players", "invalid: KEY: it is missing"),
        ("documents show players ada --revision x", "invalid: revision: 'x' is not a whole number"),
        ("documents history players ada --limit 0", "invalid: limit: "),
        ("documents diff players ada", "invalid: OLD: it is missing"),
        ("documents rollback players ada --yes", "invalid: REVISION: it is missing"),
        ("documents erase Players ada --yes", "invalid: name: "),
        ("drain Players --yes", "invalid: name: "),
        ("drain --timeout -1 --yes", "invalid: timeout: "),
        ("drain --timeout nan --yes", "invalid: timeout: "),
        ("drain --timeout soon --yes", "invalid: timeout: 'soon' is not a number"),
    ],
)
def test_bad_input_is_one_named_error(url: str, run: Run, arguments: str, said: str) -> None:
    save(url, "ada", {"coins": 1})
    ran = run(*arguments.split(" "))
    assert (ran.code, ran.out, stands(url, "ada")) == (2, "", {"coins": 1})
    assert ran.err.startswith(f"sojourn: {said}")
    assert ran.err.count("\n") == 1


def test_a_document_is_rolled_back_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    old = save(url, "ada", {"coins": 1})
    save(url, "ada", {"coins": 2})
    hold(url, "ada")
    ran = run("documents", "rollback", "players", "ada", str(old))
    assert (ran.code, stands(url, "ada")) == (2, {"coins": 2})
    assert "add --yes" in ran.err
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("documents", "rollback", "players", "ada", str(old))
    assert (ran.code, stands(url, "ada"), holder_of(url, "ada")) == (2, {"coins": 2}, "server 7")
    assert ran.err.startswith(f"Make revision {old} the present one of ada of players in ")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    ran = run("documents", "rollback", "players", "ada", str(old))
    assert (ran.code, stands(url, "ada"), holder_of(url, "ada")) == (0, {"coins": 1}, None)
    new = int(ran.out.split()[-1])
    assert ran.out == f"ada is as it was saved with revision {old}; the new revision is {new}\n"
    latest = json.loads(run("documents", "history", "players", "ada", "--json").out)["versions"][0]
    assert (latest["revision"], latest["cause"], latest["holder"]) == (new, "rollback", "sojourn documents")


def test_a_document_is_taken_from_its_holder_when_it_is_meant(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("documents", "revoke", "players", "ada").out == "nobody holds ada\n", "there is nothing to ask about"
    hold(url, "ada")
    assert run("documents", "revoke", "players", "ada").code == 2
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("documents", "revoke", "players", "ada")
    assert (ran.code, holder_of(url, "ada")) == (2, "server 7")
    assert ran.err.startswith("Take ada of players in ")
    assert " from server 7? " in ran.err
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("documents", "revoke", "players", "ada").out == "ada was taken from server 7\n"
    assert holder_of(url, "ada") is None


def test_a_document_is_erased_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save(url, "ada", {"coins": 1}, subjects=("u1",))
    save(url, "bob", {"coins": 2}, subjects=("u1",))
    assert run("documents", "erase", "players", "ada").code == 2
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("documents", "erase", "players", "ada")
    assert (ran.code, stands(url, "ada")) == (2, {"coins": 1})
    assert ran.err.startswith("Delete all that is kept of ada of players in ")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("documents", "erase", "players", "ada") == (0, "ada erased\n", ran.err.split("[y/N] ")[0] + "[y/N] ")
    assert (stands(url, "ada"), stands(url, "bob")) == (None, {"coins": 2})
    assert run("documents", "erase", "players", "ada", "--yes").out == "nothing was kept of ada\n"
    listed = json.loads(run("documents", "list", "players", "--json").out)["documents"]
    assert [each["key"] for each in listed] == ["bob"]


def test_a_document_is_exported_whole(url: str, run: Run) -> None:
    for coins in range(3):
        save(url, "ada", {"coins": coins}, subjects=("u1",))
    save(url, "bob", {"coins": 9})
    hold(url, "ada")
    exported = json.loads(run("documents", "export", "players", "ada").out)
    assert exported["value"] == {"coins": 2}
    assert exported["info"]["subjects"] == ["u1"]
    assert [version["value"]["coins"] for version in exported["history"]] == [0, 1, 2]
    assert exported["lease"]["holder"] == "server 7"


def test_a_drain_of_what_nobody_holds_is_over_at_once(url: str, run: Run) -> None:
    save(url, "ada", {})
    assert run("drain") == (0, "nobody holds a document\n", "")
    assert json.loads(run("drain", "--json").out) == {"handed_over": [], "remaining": []}


def test_a_drain_says_what_was_not_handed_over_in_time(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save(url, "lobby", {}, of="rooms")
    save(url, "ada", {})
    hold(url, "ada", "bob")
    hold(url, "lobby", of="rooms", holder="server 8")

    def remaining(*arguments: str) -> list[str]:
        ran = run("drain", *arguments, "--timeout", "0", "--yes", "--json")
        assert ran.code == 1
        return [each["key"] for each in json.loads(ran.out)["remaining"]]

    assert remaining() == ["ada", "bob", "lobby"]
    assert remaining("players") == remaining("--holder", "server 7") == ["ada", "bob"]
    assert remaining("rooms", "--holder", "8") == ["lobby"]
    nobody = "no holder whose name contains '7' holds a document of rooms\n"
    assert run("drain", "rooms", "--holder", "7").out == nobody
    assert run("drain", "--timeout", "0").code == 2
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    ran = run("drain", "--timeout", "0", "rooms")
    assert ran.err.startswith("Have 1 document in ")
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["1", "document", "not", "handed", "over", "in", "time:"]
    assert lines[2][:4] == ["rooms", "lobby", "server", "8"]


def test_a_drain_waits_for_a_lease_to_end(url: str, run: Run) -> None:
    save(url, "ada", {})
    hold(url, "ada", lease=limits.LEASE_TTL_MIN)
    assert run("drain", "--yes").code == 0
