"""`sojourn sessions`: what an operator sees of the sessions, and how they are ended."""

import json
import sys
from datetime import timedelta
from io import StringIO
from typing import Any

import msgspec
import pytest

from sojourn.kernel import Put, Transaction
from sojourn.sessions import Sessions, layout

from .conftest import Run, begin, within

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SESSION_KEYS = ["id", "subject", "label", "created_at", "signed_in_at", "expires_at", "idle_expires_at"]


def public(token: str) -> str:
    """The id in a token."""
    return token.partition(".")[0]


def keep(url: str, token: str, **states: object) -> None:
    """Give a session its states."""

    async def put(sessions: Sessions) -> None:
        session = await sessions.resolve(token)
        for name, value in states.items():
            await session.state(name, object).put(value)

    within(url, put)


def live(url: str) -> set[str]:
    """The ids of the live sessions."""

    async def ids(sessions: Sessions) -> set[str]:
        return {session.id async for session in sessions.list_all()}

    return within(url, ids)


def test_a_list_has_the_session_used_last_on_top(url: str, run: Run) -> None:
    """Proves that live sessions are listed, each on one line with its id whole, and ended ones are not."""
    older = begin(url, "ada", label="Firefox on Linux", ago=10 * MINUTE)
    newer = begin(url)
    begin(url, "gone", ago=HOUR)
    ran = run("sessions", "list")
    heads = [line.split()[0] for line in ran.out.splitlines()]
    assert (ran.code, heads, ran.err) == (0, ["id", public(newer), public(older)], "")
    assert "ada" in ran.out
    assert "Firefox on Linux" in ran.out


@pytest.mark.parametrize("subject", ["x" * 128, "日本語" * 42, "[red]ada[/red] :smile:"])
def test_a_list_fits_the_terminal(url: str, run: Run, subject: str) -> None:
    """Proves that long, wide and odd subjects give way: each session is one line of 80 columns, its id uncut."""
    token = begin(url, subject, label="L" * 200)
    header, row = run("sessions", "list").out.splitlines()
    wide = sum(ord(character) > 0x1100 and character != "…" for character in row)
    assert max(len(header), len(row) + wide) <= 80
    assert row.startswith(public(token))
    assert subject[:4] in row


def test_ids_are_whole_on_the_narrowest_terminal(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that whatever else has no room, an id can be copied from the list."""
    token = begin(url, "ada", label="Firefox")
    monkeypatch.setenv("COLUMNS", "30")
    assert run("sessions", "list").out.splitlines()[1].split()[0] == public(token)


def test_a_list_can_be_cut_to_a_subject_and_a_number(url: str, run: Run) -> None:
    """Proves that --subject and --limit leave the others out, and that the list says when there are more."""
    tokens = [begin(url, "ada") for _ in range(3)]
    begin(url, "grace")
    ran = run("sessions", "list", "--subject", "ada", "--json")
    assert sorted(each["id"] for each in json.loads(ran.out)["sessions"]) == sorted(map(public, tokens))
    ran = run("sessions", "list", "--limit", "2")
    assert len(ran.out.splitlines()) == 4
    assert ran.out.splitlines()[-1].startswith("and more")
    assert [json.loads(run("sessions", "list", "--limit", n, "--json").out)["more"] for n in "34"] == [True, False]


def test_an_empty_list_says_so(url: str, run: Run) -> None:
    """Proves that nothing found is said in words to people, and is an empty list to programs; no error."""
    assert run("sessions", "list") == (0, "no live session\n", "")
    assert run("sessions", "list", "--subject", "ada").out == "no live session of ada\n"
    ran = run("sessions", "list", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"sessions": [], "more": False})


def test_the_keys_of_the_documents_stay(url: str, run: Run) -> None:
    """Proves that --json prints one document with the keys that programs rely on."""
    token = begin(url, "ada")
    keep(url, token, cart={"items": ["book"]})
    (listed,) = json.loads(run("sessions", "list", "--json").out)["sessions"]
    shown = json.loads(run("sessions", "show", public(token), "--json").out)
    assert list(listed) == SESSION_KEYS
    assert listed == shown["session"]
    assert (listed["id"], listed["subject"], listed["label"]) == (public(token), "ada", None)
    (state,) = shown["states"]
    assert list(state) == ["name", "bytes", "revision", "version", "value", "problem"]
    assert (state["name"], state["version"], state["value"]) == ("cart", 0, {"items": ["book"]})


def test_a_session_is_shown_with_its_states(url: str, run: Run) -> None:
    """Proves that people see facts, limits, and of each state the name, the size and the revision."""
    token = begin(url, "ada", label="Firefox")
    assert run("sessions", "show", public(token)).out.endswith("\nit holds no state\n")
    keep(url, token, cart=["book"], notes="x" * 9_000)
    out = run("sessions", "show", public(token)).out
    facts = dict(line.split("  ", 1) for line in out.splitlines()[:7])
    assert facts["id"].strip() == public(token)
    assert [facts[name].strip() for name in ("subject", "label")] == ["ada", "Firefox"]
    assert facts["signed in"].strip() == facts["begun"].strip(), "it began with its subject"
    assert "UTC, in 14 d" in facts["absolute limit"]
    rows = [line.split() for line in out.splitlines()[8:]]
    assert [row[0] for row in rows] == ["state", "cart", "notes"]
    assert all(int(row[1]) > 0 and int(row[2]) > 0 for row in rows[1:])


def test_one_state_is_shown_decoded(url: str, run: Run) -> None:
    """Proves that --state prints what is in it, compressed or not, and names those there are when it is wrong."""
    token = begin(url)
    keep(url, token, cart={"items": ["book"]}, large=["page"] * 3_000)
    assert json.loads(run("sessions", "show", public(token), "--state", "cart").out) == {"items": ["book"]}
    assert json.loads(run("sessions", "show", public(token), "--state", "large").out) == ["page"] * 3_000
    (state,) = json.loads(run("sessions", "show", public(token), "--state", "cart", "--json").out)["states"]
    assert state["name"] == "cart"
    ran = run("sessions", "show", public(token), "--state", "card")
    assert ran == (2, "", "sojourn: invalid: state: the session has no state 'card'; it has: cart, large\n")


def test_what_is_stored_cannot_move_the_cursor(url: str, run: Run) -> None:
    """Proves that escapes in names and values of states are shown as text, not obeyed by the terminal."""
    token = begin(url)
    keep(url, token, **{"a\x1b[31mb": "\x9b2J\u202e"})
    shown = run("sessions", "show", public(token)).out
    assert "a\\u001b[31mb" in shown
    assert run("sessions", "show", public(token), "--state", "a\x1b[31mb").out == '"\\u009b2J\\u202e"\n'


@pytest.mark.parametrize("stored", [b"", b"?", b"j[0,", b"j{}", b"zzzz"])
def test_a_damaged_state_hides_nothing_else(url: str, run: Run, stored: bytes) -> None:
    """Proves that bytes which cannot be read are one problem in the list, and an error when they are asked for."""
    token = begin(url)
    keep(url, token, cart=["book"])

    async def damage(sessions: Sessions) -> None:
        await sessions.store.commit(Transaction(writes=(Put(layout.state(public(token), "bad"), stored),)))

    within(url, damage)
    assert run("sessions", "show", public(token)).code == 0
    bad, cart = json.loads(run("sessions", "show", public(token), "--json").out)["states"]
    assert (bad["value"], bad["problem"] is None, cart["value"]) == (None, False, ["book"])
    ran = run("sessions", "show", public(token), "--state", "bad")
    assert ran.code == 1
    assert ran.err.startswith("sojourn: corrupt: the state 'bad' cannot be read: ")


def test_why_there_is_no_session_is_told(url: str, run: Run) -> None:
    """Proves that an operator can tell unknown, expired and revoked apart, by a code each."""
    revoked, expired = begin(url), begin(url, ago=40 * MINUTE)
    run("sessions", "revoke", public(revoked))
    said = {
        "Zk3vQ0uTz2mC8Yq5nB7wRA": "session_unknown",
        public(expired): "session_expired",
        public(revoked): "session_revoked",
    }
    for session_id, code in said.items():
        ran = run("sessions", "show", session_id, "--json")
        assert ran.code == 1
        assert ran.err.startswith(f"sojourn: {code}: session {session_id} ")
        assert json.loads(ran.out)["error"]["code"] == code


@pytest.mark.parametrize("head", ["-h", "-s", "-1", "-_", "--", "--h", "---"])
def test_an_id_may_begin_with_a_hyphen(url: str, run: Run, head: str) -> None:
    """Proves that no id is taken for an option: one in 64 begins like one."""
    session_id = f"{head:k<22}"
    for arguments in (
        ["show", session_id],
        ["show", "--json", f"{session_id}.{'s' * 43}"],
        ["revoke", session_id, "--json"],
    ):
        ran = run("sessions", *arguments)
        assert (ran.code, ran.err.split(": ")[1]) == (1, "session_unknown")
    assert run("sessions", "revoke", "--keep", session_id, "--subject", "ada").out == "0 sessions revoked\n"


def test_one_session_is_revoked(url: str, run: Run) -> None:
    """Proves that it ends and the others stay, that a second time is no error, and one that never was is."""
    token, other = begin(url), begin(url)
    assert run("sessions", "revoke", public(token)) == (0, "1 session revoked\n", "")
    assert live(url) == {public(other)}
    again = run("sessions", "revoke", public(token))
    assert (again.code, again.out) == (0, f"session {public(token)} had ended before; nothing was left to revoke\n")
    assert json.loads(run("sessions", "revoke", public(token), "--json").out) == {"revoked": 0}
    unknown = run("sessions", "revoke", "Zk3vQ0uTz2mC8Yq5nB7wRA")
    assert (unknown.code, unknown.err.split(":")[1]) == (1, " session_unknown")


def test_all_sessions_of_a_subject_are_revoked_but_one(url: str, run: Run) -> None:
    """Proves that --subject ends all of one, --keep spares one, and others are not touched."""
    tokens = [begin(url, "ada") for _ in range(3)]
    other = begin(url, "grace")
    ran = run("sessions", "revoke", "--subject", "ada", "--keep", public(tokens[0]))
    assert ran == (0, "2 sessions revoked\n", "")
    assert live(url) == {public(tokens[0]), public(other)}


def test_everything_is_revoked_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that --everything needs --yes where nobody can be asked, and else the answer yes."""
    begin(url, "ada")
    begin(url)
    ran = run("sessions", "revoke", "--everything")
    assert (ran.code, len(live(url))) == (2, 2)
    assert "add --yes" in ran.err

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("sessions", "revoke", "--everything")
    assert (ran.code, len(live(url)), ran.out) == (2, 2, "")
    assert url in ran.err
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("sessions", "revoke", "--everything", "--json").code == 0
    assert live(url) == set()
    begin(url)
    assert run("sessions", "revoke", "--everything", "--yes").out == "1 session revoked\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-" * 22, "--everything"],
        ["-" * 22, "--subject", "ada"],
        ["--subject", "ada", "--everything", "--yes"],
        ["-" * 22, "--keep", "-" * 22],
    ],
)
def test_what_to_revoke_is_said_in_one_way(url: str, run: Run, arguments: list[str]) -> None:
    """Proves that an order which could be meant in two ways ends nothing."""
    begin(url, "ada")
    ran = run("sessions", "revoke", *arguments)
    assert (ran.code, ran.out, len(live(url))) == (2, "", 1)


def test_a_token_given_for_an_id_is_never_repeated(url: str, run: Run) -> None:
    """Proves that of a token only the id is used, and that its secret is in nothing that is printed."""
    token, other = begin(url, "ada"), begin(url, "ada")
    secret = token.partition(".")[2]
    said = [
        run("sessions", "show", token),
        run("sessions", "show", token, "--json"),
        run("sessions", "revoke", "--subject", "ada", "--keep", token),
        run("sessions", "revoke", token),
        run("sessions", "revoke", token),
        run("sessions", "show", token, "--json"),
        run("sessions", "list", token),
        run("sessions", "show", "me", token, "--json"),
        run("sessions", "list", "--limit", token),
        run("sessions", token),
        run("doctor", "--store", token),
    ]
    assert [ran.code for ran in said] == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert not any(secret in ran.out + ran.err for ran in said)
    assert public(token) in said[0].out
    assert live(url) == set(), "the other one was ended by its subject, this one by its token"
    assert other


def test_every_state_is_what_the_library_stored(url: str, run: Run) -> None:
    """Proves that a document holds the values unchanged, whatever JSON they are."""
    values: dict[str, Any] = {"a": None, "b": [1.5, -7, 2**53], "c": {"é": "\n", "": {}}, "d": "x" * 5_000, "e": True}
    token = begin(url)
    keep(url, token, **values)
    states = json.loads(run("sessions", "show", public(token), "--json").out)["states"]
    assert {state["name"]: state["value"] for state in states} == values
    assert msgspec.json.decode(run("sessions", "list", "--json").out)["more"] is False
