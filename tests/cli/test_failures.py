"""What goes wrong is said in one line, with a stable code and an exit code that a script can go by."""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sojourn import errors
from sojourn.cli import failures, program
from sojourn.errors import InvalidError, SojournError

from .conftest import Run, within

NOBODY = 65_534
ID = "Zk3vQ0uTz2mC8Yq5nB7wRA"
LONG = "x" * 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("sessions show ", "invalid", "ID: no session has an id of this form"),
        (f"sessions show {LONG}", "invalid", "ID: no session has an id of this form"),
        ("sessions show \x1b[2J", "invalid", "ID: no session has an id of this form"),
        ("sessions show Zk3vQ0uTz2mC8Yq5nB7wRА", "invalid", "ID: no session has an id of this form"),  # noqa: RUF001
        (f"sessions show {ID}\n", "invalid", "ID: no session has an id of this form"),
        ("sessions revoke", "invalid", "arguments: give one of"),
        (f"sessions revoke {LONG}", "invalid", "ID: no session has an id of this form"),
        (f"sessions revoke --subject ada --keep {LONG}", "invalid", "keep: no session has an id of this form"),
        ("sessions revoke --subject ", "invalid", "subject: it is empty"),
        (f"sessions revoke --subject {LONG}", "limit", "subject: at most 128 characters"),
        (f"sessions list --subject {LONG}", "limit", "subject: at most 128 characters"),
        ("sessions list --subject a\x00b", "invalid", "subject: it is empty, or holds characters that cannot be shown"),
        ("sessions list --subject \udcff", "invalid", "subject: it is empty, or holds characters that cannot be shown"),
        ("sessions list --limit 0", "invalid", "limit: it is at least 1, not 0"),
        ("sessions list --limit -1", "invalid", "limit: it is at least 1, not -1"),
        ("sessions list --limit 1000000000", "limit", "limit: at most 1000 sessions allowed, found 1000000000"),
        ("sessions list --limit many", "invalid", "limit: 'many' is not a whole number"),
        ("sessions list --limit", "invalid", "limit: it is missing"),
        ("sessions show", "invalid", "ID: it is missing"),
        (f"sessions show {ID} {ID}", "invalid", f"arguments: '{ID}' is not expected here"),
        ("sessions list --jsn", "invalid", "arguments: unknown option: --jsn. Did you mean --json?"),
        ("sessions lst", "invalid", 'arguments: unknown command "lst". Did you mean "list"?'),
        ("sweep --store memory:", "invalid", "store: memory: begins empty in every process"),
        ("sweep --store mysql://host/db", "invalid", "url: no engine answers to the scheme 'mysql'"),
        ("sweep --store sqlite:", "invalid", "url: a SQLite URL is sqlite:///relative.db"),
        ("sweep --store sqlite://[", "invalid", "url: this is not a URL"),
        ("sweep --store ", "invalid", "store: say which one"),
        (f"sweep --store sqlite:///{LONG}", "invalid", "store: File name too long"),
        ("sweep --store sqlite:///a%00b", "invalid", "store: there is no file a\\u0000b"),
        ("sweep --store sqlite:///../", "invalid", "path: "),
    ],
)
def test_bad_input_is_one_named_error(url: str, run: Run, arguments: str, code: str, said: str) -> None:
    """Proves that each gives its own error in one short line, in plain letters, with exit code 2 and no output."""
    ran = run(*arguments.split(" "))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"sojourn: {code}: {said}")
    assert ran.err.endswith("\n")
    assert ran.err[:-1].isprintable()
    assert len(ran.err) < 600


@pytest.mark.parametrize(
    "command", ["sessions list", f"sessions show {ID}", f"sessions revoke {ID}", "sweep", "doctor"]
)
def test_looking_creates_nothing(folder: Path, run: Run, command: str) -> None:
    """Proves that a store which is not there is an error, and still not there afterwards; so is none at all."""
    ran = run(*command.split(), "--store", "sqlite:///typo.db")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("sojourn: invalid: store: there is no file typo.db; ")
    assert list(folder.iterdir()) == []
    assert run(*command.split()).err.startswith("sojourn: invalid: store: say which one, ")


def text(path: Path) -> None:
    path.write_text("not a database, and longer than a header " * 9, encoding="utf-8")


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (line TEXT)")
    connection.close()


def newer(path: Path) -> None:
    within(f"sqlite:///{path}", lambda sessions: sessions.revoke_everything())
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    ("make", "exit_code", "said"),
    [
        (text, 1, "incompatible: {path} is not an SQLite database"),
        (foreign, 1, "incompatible: {path} is a database of another program"),
        (newer, 1, "incompatible: {path} was written by a newer release"),
        (Path.mkdir, 2, "invalid: path: {path} is a folder"),
    ],
)
def test_a_file_that_is_no_store_is_left_alone(folder: Path, run: Run, make: object, exit_code: int, said: str) -> None:
    """Proves that what stands where the store should be is named for what it is, and not changed."""
    path = folder / "thing"
    assert callable(make)
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    ran = run("sessions", "list", "--store", "sqlite:///thing")
    assert (ran.code, ran.out) == (exit_code, "")
    assert ran.err.startswith(f"sojourn: {said.format(path=path)}")
    assert before == (path.read_bytes() if path.is_file() else b"")


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's right to write everywhere for a while; whoever runs the tests as somebody else has none."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_file_is_named_so(url: str, run: Run) -> None:
    """Proves that a file which may not be written is told from a missing one, with what to do."""
    run("sessions", "list")  # what the command imports may be closed to nobody
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "app.db"
        within(f"sqlite:///{path}", lambda sessions: sessions.revoke_everything())
        path.chmod(0o444)
        with unprivileged():
            ran = run("sessions", "list", "--store", f"sqlite:///{path}")
    assert ran.code == 2
    assert ran.err.startswith(f"sojourn: invalid: path: {path} is read-only for this process; make it writable")


EXIT_CODES = [
    (errors.InvalidError("limit", "it is 0"), 2),
    (errors.LimitError("limit", limit=1, found=2, unit="sessions"), 2),
    (errors.UnavailableError("gone"), 3),
    (errors.OverloadedError("full"), 3),
    (errors.RateLimitedError("slow down", retry_after=1.0), 3),
    (errors.ConflictError("changed"), 4),
    (errors.LeaseHeldError("held"), 4),
    (errors.CommitUnknownError("lost"), 5),
    (errors.CallTimeoutError("late"), 5),
    (errors.IncompatibleError("newer"), 1),
    (errors.SessionRevokedError("ended"), 1),
    (errors.CorruptError("damaged"), 1),
    (errors.MissingExtraError("server", "cyclopts"), 1),
]


@pytest.mark.parametrize(("error", "code"), EXIT_CODES, ids=lambda value: type(value).__name__)
def test_each_kind_of_error_has_its_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: SojournError, code: int
) -> None:
    """Proves the documented exit codes, the line, and with --json the document in the form of the wire."""

    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(program, "run", fail)
    assert run("sweep") == (code, "", f"sojourn: {error.code}: {error}\n")
    ran = run("sweep", "--json")
    document = json.loads(ran.out)["error"]
    assert (ran.code, ran.err) == (code, f"sojourn: {error.code}: {error}\n")
    assert document.pop("name", None) == getattr(error, "name", None)
    assert document == {
        "code": error.code,
        "message": str(error),
        "retry": error.retry,
        "written": error.written,
    }


def test_a_message_is_one_line_without_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that a message of many lines, of great length, with escapes or a token in it is made fit to print."""

    def fail(arguments: list[str]) -> int:
        raise InvalidError("value", f"first\nsecond \x1b[31m {ID}.{'s' * 43} {LONG}")

    monkeypatch.setattr(program, "run", fail)
    ran = run("sweep")
    assert ran.err.startswith(f"sojourn: invalid: value: first second \\u001b[31m {ID}.… xxx")
    assert len(ran.err) < 600


def test_an_interrupt_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that Ctrl-C ends a command without a word, with the exit code that shells know it by."""

    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "run", interrupted)
    assert run("sweep") == (130, "", "")


def test_what_nobody_foresaw_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that a mistake of ours is not dressed up as an error of the user's."""

    def broken(arguments: list[str]) -> int:
        raise LookupError("ours")

    monkeypatch.setattr(program, "run", broken)
    with pytest.raises(LookupError):
        run("sweep")


def test_the_table_of_exit_codes_is_sound() -> None:
    """Proves that no kind hides another one below it, and that the codes leave 0 and 1 to others."""
    kinds = [kind for kind, _ in failures.EXIT_CODES]
    assert [(one, other) for one in kinds for other in kinds if one is not other and issubclass(one, other)] == []
    assert {code for _, code in failures.EXIT_CODES} == {2, 3, 4, 5}
