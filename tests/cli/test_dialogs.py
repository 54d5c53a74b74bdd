"""`sojourn dialogs`: what an operator sees of dialogs without their types, which are code, and how they are ended."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from io import StringIO
from typing import Any, TypeVar

import pytest

from sojourn.dialogs import Context, Dialog, DialogInfo, Dialogs, End, Ended, Option, User, button
from sojourn.dialogs.layout import Address
from sojourn.errors import DialogGoneError
from sojourn.kernel import Leases, Put, Store, Transaction
from sojourn.sessions import Sessions
from sojourn.testing import dialogs as person

from .conftest import Run, within

T = TypeVar("T")

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ROW_KEYS = [
    *("dialog_id", "partition", "type", "version", "state", "platform", "owner", "place", "created_at", "deadline"),
    *("overdue", "page", "stage", "revision", "completion", "handled", "ended"),
]


class Terminal(StringIO):
    """A terminal at which somebody has typed."""

    def isatty(self) -> bool:
        return True


class Approve(Dialog[bool]):
    """Asks, and changes its message when it ends."""

    data: dict[str, Any]

    async def start(self, ctx: Context) -> None:
        hours: float | None = self.data.get("hours", 1)
        self.ttl = None if hours is None else timedelta(hours=hours)
        choice = ctx.select("choose", [Option("grüße", "1"), "two"], placeholder="which")
        await ctx.reply(str(self.data.get("question", "Ship?")), ctx.button("Yes", self.yes), choice)

    @button
    async def yes(self, ctx: Context) -> End:
        return ctx.end(result=True)

    async def end(self, ctx: Context, ended: Ended[bool]) -> None:
        await ctx.edit_origin(f"Over: {ended.code}")


class Refund(Approve):
    """Another type."""


def on(
    url: str,
    work: Callable[[Dialogs, Store], Awaitable[T]],
    *kinds: type[Approve],
    partition: str | None = None,
    ago: timedelta = timedelta(),
) -> T:
    """Do some work on the dialogs of an application that has these types, as of some time ago."""

    async def do(sessions: Sessions) -> T:
        dialogs = Dialogs(sessions.store, partition=lambda dialog_id: partition or dialog_id)
        for kind in kinds:
            dialogs.register(kind.__name__.lower(), version=3)(kind)
        return await work(dialogs, sessions.store)

    return within(url, do, ago)


def start(  # noqa: PLR0913  each is a fact of the dialog
    url: str,
    dialog_id: str,
    *,
    kind: type[Approve] = Approve,
    user: str | User = "ann",
    hours: float | None = 1,
    question: str = "Ship?",
    partition: str | None = None,
    ago: timedelta = timedelta(),
    then: Callable[[Ended[Any], DialogInfo], Awaitable[None]] | None = None,
) -> None:
    """Start a dialog that lives for so many hours."""

    async def begin(dialogs: Dialogs, _: Store) -> None:
        if then is not None:
            dialogs.on_end(name="tell")(then)
        asked = person.command("ship", user=user)
        data = {"hours": hours, "question": question}
        handle = await dialogs.start(kind, asked, data=data, id=dialog_id, on_end=then)
        assert handle.outcome == "started"

    on(url, begin, kind, partition=partition, ago=ago)


def known(url: str, dialog_id: str) -> DialogInfo:
    """What the application knows of a dialog."""

    async def find(dialogs: Dialogs, _: Store) -> DialogInfo:
        info = await dialogs.get(dialog_id)
        assert info is not None
        return info

    return on(url, find)


def listed(run: Run, *arguments: str) -> list[str]:
    """The ids that a listing has."""
    return [row["dialog_id"] for row in json.loads(run("dialogs", "list", *arguments, "--json").out)["dialogs"]]


def test_open_dialogs_are_listed_the_one_that_ends_next_first(url: str, run: Run) -> None:
    assert run("dialogs", "list") == (0, "no such dialog is open\n", "")
    start(url, "ship-1", hours=26, ago=HOUR)
    start(url, "ship-2", hours=None, user=User("7", name="Ann Lee"))
    start(url, "ship-3", kind=Refund, user="bob", hours=3, ago=2 * DAY)
    start(url, "ship-4", hours=5, ago=HOUR)
    ran = run("dialogs", "list")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["dialog", "type", "owner", "started", "ends", "handled", "by"],
        ["ship-3", "refund", "bob", "2", "d", "ago", "overdue,", "45", "h", "ago"],
        ["ship-4", "approve", "ann", "60", "min", "ago", "in", "4", "h"],
        ["ship-1", "approve", "ann", "60", "min", "ago", "in", "25", "h"],
        ["ship-2", "approve", "Ann", "Lee", "now", "never"],
    ]


def test_what_is_listed_is_chosen_by_type_and_owner(url: str, run: Run) -> None:
    start(url, "a1", user="ann")
    start(url, "b1", user="bob")
    start(url, "b2", user="bob", kind=Refund, hours=2)
    assert listed(run, "--type", "approve") == ["a1", "b1"]
    assert listed(run, "--owner", "bob") == ["b1", "b2"]
    assert listed(run, "--owner", "bob", "--type", "refund") == ["b2"]
    start(url, "c1", user=User("bob", tenant="acme"), hours=3)
    assert listed(run, "--owner", "bob") == ["b1", "b2"]
    assert listed(run, "--owner", "bob", "--tenant", "acme") == ["c1"]
    assert run("dialogs", "list", "--type", "unheard-of").out == "no such dialog is open\n"


def test_dialogs_are_gone_through_by_the_cursor(url: str, run: Run) -> None:
    for number in range(1, 6):
        start(url, f"d{number}", hours=number, kind=Refund if number == 2 else Approve)
    first = run("dialogs", "list", "--limit", "3").out.splitlines()
    assert [line.split()[0] for line in first[1:-1]] == ["d1", "d2", "d3"]
    assert first[-1].startswith("perhaps more; go on with --after ")
    assert listed(run, "--limit", "3", "--after", first[-1].split()[-1]) == ["d4", "d5"]
    page = json.loads(run("dialogs", "list", "--limit", "4", "--type", "approve", "--json").out)
    found = [row["dialog_id"] for row in page["dialogs"]]
    while page["next"] is not None:
        page = json.loads(
            run("dialogs", "list", "--limit", "4", "--type", "approve", "--after", page["next"], "--json").out
        )
        found += [row["dialog_id"] for row in page["dialogs"]]
    assert found == ["d1", "d3", "d4", "d5"]


def test_who_works_on_a_dialog_is_listed_and_shown(url: str, run: Run) -> None:
    start(url, "d1")

    async def take(_: Dialogs, store: Store) -> None:
        await Leases(store).acquire(Address("d1", "d1").lease, holder="server 7", ttl=DAY)

    on(url, take, ago=MINUTE)
    assert run("dialogs", "list").out.splitlines()[1].rstrip().endswith(" server 7")
    handled = next(line for line in run("dialogs", "show", "d1").out.splitlines() if line.startswith("handled"))
    assert handled.startswith("handled")
    assert " by server 7, since 20" in handled
    assert handled.endswith("60 s ago")
    row = json.loads(run("dialogs", "list", "--json").out)["dialogs"][0]
    assert list(row["handled"]) == ["holder", "since", "expires_at"]


def test_a_dialog_that_ended_is_listed_no_more_and_shown_still(url: str, run: Run) -> None:
    start(url, "d1")

    async def click(dialogs: Dialogs, _: Store) -> None:
        assert (await dialogs.dispatch(person.button("d1", "yes"))).result == "ended"

    on(url, click, Approve)
    assert run("dialogs", "list").out == "no such dialog is open\n"
    lines = dict(line.split(None, 1) for line in run("dialogs", "show", "d1").out.splitlines())
    assert (lines["state"], lines["code"]) == ("ended", "self_ended")
    assert not {"ends", "reason", "result"} & set(lines)
    ended = json.loads(run("dialogs", "show", "d1", "--data", "--json").out)["dialog"]["ended"]
    assert (ended["code"], ended["reason"], ended["result"]) == ("self_ended", "self_ended", True)
    with_data = run("dialogs", "show", "d1", "--data").out.splitlines()
    assert with_data[-2:] == ["result    true", "shows     Over: self_ended"], "its data is forgotten"


def test_a_dialog_is_shown_with_what_is_known_of_it(url: str, run: Run) -> None:
    start(url, "d1", user=User("7", tenant="acme", name="Ann Lee"), hours=5, ago=HOUR)
    out = run("dialogs", "show", "d1").out
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert list(lines) == [
        *("dialog", "type", "state", "platform", "owner", "place", "started", "ends", "page", "revision"),
    ]
    assert (lines["type"], lines["state"], lines["platform"]) == ("approve, version 3", "running", "test")
    assert lines["owner"] == "7 Ann Lee acme"
    assert lines["place"].startswith("test")
    assert (lines["started"][-10:], lines["ends"][-6:]) == ("60 min ago", "in 4 h")


def test_what_was_said_in_a_dialog_is_shown_when_it_is_asked_for(url: str, run: Run) -> None:
    start(url, "d1", question="Ship\nthe grüße?")
    for without in (run("dialogs", "show", "d1").out, run("dialogs", "show", "d1", "--json").out):
        assert "grüße" not in without
        assert "question" not in without
    shown = run("dialogs", "show", "d1", "--data").out
    facts, data = shown.split("\n\n")
    assert [line.removeprefix("shows").strip() for line in facts.splitlines()[-4:]] == [
        "Ship",
        "the grüße?",
        "[Yes]",
        "[which: grüße, two]",
    ]
    assert json.loads(data) == {"hours": 1, "question": "Ship\nthe grüße?"}
    document = json.loads(run("dialogs", "show", "d1", "--data", "--json").out)
    assert document["view"] == {"text": "Ship\nthe grüße?", "labels": [["Yes"], ["which: grüße, two"]]}
    assert document["data"] == {"hours": 1, "question": "Ship\nthe grüße?"}


def test_no_token_is_ever_printed(url: str, run: Run) -> None:
    start(url, "d1")
    view = known(url, "d1").view
    assert view is not None
    tokens = [component.token for row in view.rows for component in row]
    assert len(tokens) == 2
    printed = "".join(
        run("dialogs", *arguments, *form).out
        for arguments in (("list",), ("show", "d1"), ("show", "d1", "--data"), ("end", "d1", "--yes"))
        for form in ((), ("--json",))
    )
    assert [token for token in tokens if token in printed] == []


def test_a_dialog_of_a_partition_is_found_where_it_is_kept(url: str, run: Run) -> None:
    start(url, "d1", partition="ann")
    lines = run("dialogs", "list").out.splitlines()
    assert [line.split()[:3] for line in lines] == [["dialog", "partition", "type"], ["d1", "ann", "approve"]]
    assert run("dialogs", "show", "d1").code == 1
    shown = run("dialogs", "show", "d1", "--partition", "ann").out
    assert shown.splitlines()[1].split() == ["partition", "ann"]
    assert run("dialogs", "end", "d1", "--yes").code == 1
    assert run("dialogs", "end", "d1", "--partition", "ann", "--yes").code == 0
    assert listed(run) == []


def test_a_dialog_is_ended_when_it_is_meant(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    start(url, "d1", user="bob")
    assert "add --yes" in run("dialogs", "end", "d1").err
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    ran = run("dialogs", "end", "d1")
    assert (ran.code, known(url, "d1").ended) == (2, None)
    assert ran.err.startswith("End approve d1 of bob in sqlite:///")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    ran = run("dialogs", "end", "d1", "--code", "withdrawn", "--reason", "wrong order")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "d1 has ended: withdrawn, wrong order",
        "its end hook did not run, for approve is not known here: what people see of it stays",
    ]
    ended = known(url, "d1").ended
    assert ended is not None
    assert (ended.code, ended.reason, ended.result) == ("withdrawn", "wrong order", None)


def test_an_end_that_came_before_stands(url: str, run: Run) -> None:
    start(url, "d1")
    first = json.loads(run("dialogs", "end", "d1", "--yes", "--json").out)
    assert (first["before"], first["code"]) == (False, "cancelled")
    ran = run("dialogs", "end", "d1", "--code", "other")
    assert (ran.code, ran.out) == (0, "d1 had ended before: cancelled\n"), "and nothing is asked"
    again = json.loads(run("dialogs", "end", "d1", "--code", "other", "--json").out)
    assert again == first | {"before": True}


def test_a_dialog_that_is_overdue_has_expired_whatever_is_said(url: str, run: Run) -> None:
    start(url, "d1", hours=1, ago=DAY)
    assert run("dialogs", "end", "d1", "--code", "other", "--yes").out.startswith("d1 has ended: expired\n")
    assert listed(run) == []


def test_the_hook_of_a_type_that_is_not_known_does_not_run(url: str, run: Run) -> None:
    start(url, "d1")
    run("dialogs", "end", "d1", "--yes")
    view = known(url, "d1").view
    assert view is not None
    assert view.text == "Ship?", "by the application it would be over"


def test_who_waits_and_who_completes_are_told_of_an_end_by_the_command_line(url: str, run: Run) -> None:
    told = asyncio.Queue[str]()

    async def tell(ended: Ended[Any], info: DialogInfo) -> None:
        await told.put(f"{info.type} {ended.code}")

    start(url, "d1", then=tell)
    assert json.loads(run("dialogs", "show", "d1", "--json").out)["dialog"]["completion"] == "tell"
    assert json.loads(run("dialogs", "end", "d1", "--yes", "--json").out)["completion"] == "tell"

    async def see(dialogs: Dialogs, _: Store) -> tuple[str, str]:
        dialogs.on_end(name="tell")(tell)
        return (await dialogs.wait("d1")).code, await told.get()

    assert on(url, see) == ("cancelled", "approve cancelled")


def test_looking_changes_nothing(url: str, run: Run) -> None:
    start(url, "d1", hours=1, ago=2 * HOUR)
    before = known(url, "d1")
    for arguments in (("list",), ("show", "d1"), ("show", "d1", "--data"), ("list", "--json")):
        assert run("dialogs", *arguments).code == 0
    after = known(url, "d1")
    assert (after.revision, after.ended) == (before.revision, None), "it is overdue, and its type is not known there"
    assert after.is_overdue


def test_what_is_stored_cannot_move_the_cursor(url: str, run: Run) -> None:
    start(url, "d1", user=User("a\x1bb", name="\x9b2J"), question="\u202eevil")
    for arguments in (("list",), ("show", "d1", "--data"), ("end", "d1", "--reason", "\x1b[2J", "--yes")):
        out = run("dialogs", *arguments).out
        assert out
        assert not {"\x1b", "\x9b", "\u202e"} & set(out)


def test_the_keys_of_the_json_documents_stay(url: str, run: Run) -> None:
    start(url, "d1")

    def ran(*arguments: str) -> Any:
        return json.loads(run("dialogs", *arguments, "--json").out)

    assert list(ran("list")) == ["dialogs", "next"]
    assert [list(row) for row in ran("list")["dialogs"]] == [ROW_KEYS]
    shown = ran("show", "d1")
    assert list(shown) == ["dialog", "view"]
    assert list(shown["dialog"]) == ROW_KEYS
    assert list(shown["dialog"]["owner"]) == ["id", "tenant", "name"]
    assert list(shown["dialog"]["place"]) == ["chat", "thread", "message"]
    assert list(ran("show", "d1", "--data")) == ["dialog", "view", "data"]
    assert list(ran("end", "d1", "--yes")) == ["dialog_id", "before", "code", "reason", "at", "completion"]
    assert list(ran("show", "d1")["dialog"]["ended"]) == ["code", "reason", "at"]
    assert list(ran("show", "d1", "--data")["dialog"]["ended"]) == ["code", "reason", "at", "result"]


def test_an_id_may_begin_with_a_hyphen(url: str, run: Run) -> None:
    start(url, "-d1", user="-ann")
    assert listed(run, "--owner", "-ann") == ["-d1"]
    assert run("dialogs", "show", "-d1").code == 0
    assert run("dialogs", "end", "-d1", "--yes").code == 0


def test_what_is_not_there_is_an_error(url: str, run: Run) -> None:
    gone = "sojourn: dialog_gone: there is no dialog 'd1', or its end is forgotten\n"
    assert run("dialogs", "show", "d1") == (1, "", gone)
    assert run("dialogs", "end", "d1", "--yes") == (1, "", gone)
    start(url, "d1", ago=DAY)
    run("dialogs", "end", "d1", "--yes")
    assert run("dialogs", "show", "d1").code == 0


def test_a_dialog_that_is_damaged_is_one_named_error(url: str, run: Run) -> None:
    async def damage(_: Dialogs, store: Store) -> None:
        await store.commit(Transaction(writes=(Put(Address("d1", "d1").dialog, b"nonsense", rank=1),)))

    on(url, damage)
    for arguments in (("show", "d1"), ("end", "d1", "--yes")):
        ran = run("dialogs", *arguments)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith("sojourn: corrupt: ")


def test_an_end_that_is_forgotten_between_the_question_and_the_answer_is_an_error(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(url, "d1")

    async def forgotten(*_: object, **__: object) -> None:
        raise DialogGoneError("it is forgotten")

    monkeypatch.setattr(Dialogs, "end", forgotten)
    assert run("dialogs", "end", "d1", "--yes") == (1, "", "sojourn: dialog_gone: it is forgotten\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("list --limit 0", "invalid: limit: "),
        ("list --limit 1001", "limit: limit: "),
        ("list --after x", "invalid: cursor: "),
        ("list --type a.b", "invalid: type: "),
        ("list --tenant acme", "invalid: tenant: "),
        ("show", "invalid: ID: it is missing"),
        ("show a.b", "invalid: dialog_id: "),
        (f"show {'x' * 65}", "limit: dialog_id: "),
        ("end", "invalid: ID: it is missing"),
        ("end a/b --yes", "invalid: dialog_id: "),
        ("end d1 --code= --yes", "invalid: code: "),
        ("end d1 --code suspended --yes", "invalid: code: "),
    ],
)
def test_bad_input_is_one_named_error(url: str, run: Run, arguments: str, said: str) -> None:
    start(url, "d1")
    ran = run("dialogs", *arguments.split(" "))
    assert (ran.code, ran.out, known(url, "d1").ended) == (2, "", None)
    assert ran.err.startswith(f"sojourn: {said}")
    assert ran.err.count("\n") == 1


def test_the_doctor_warns_of_dialogs_that_nobody_ends(url: str, run: Run) -> None:
    start(url, "d1", hours=1)
    start(url, "d2", hours=None, ago=2 * DAY)
    start(url, "d3", hours=0.01, ago=timedelta(seconds=40))
    assert "ok       dialogs  none is past its deadline\n" in run("doctor").out
    start(url, "d4", hours=1, ago=3 * DAY)
    start(url, "d5", hours=1, kind=Refund, ago=DAY)
    ran = run("doctor")
    lines = ran.out.splitlines()
    found = next(number for number, line in enumerate(lines) if line.split()[1] == "dialogs")
    assert lines[found] == "warning  dialogs  2 past their deadline, the first since 3 d: approve, refund"
    assert "sojourn dialogs list" in lines[found + 1]
    assert ran.code == 0, "the store is in order"
