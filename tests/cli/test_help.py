"""Every command and option says what it is for, in the help and on its page, which is the same text."""

import inspect
from pathlib import Path

import pytest
from cyclopts import App

from sojourn.cli.program import program
from tools.pages import cli

from .conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
COMMANDS = tuple(cli.commands(program()))
RUNNABLE = [
    *("serve", "types", "sessions list", "sessions show", "sessions revoke"),
    *("visits active", "visits show", "visits cleanup", "visits export", "visits erase"),
    *("documents list", "documents show", "documents history", "documents diff"),
    *("documents rollback", "documents revoke", "documents erase", "documents export"),
    *("drain", "snapshots sessions", "snapshots tree", "snapshots show"),
    *("snapshots diff", "snapshots prune", "snapshots delete"),
    *("dialogs list", "dialogs show", "dialogs end", "sweep", "doctor"),
]


def find(path: str) -> App:
    """The command behind its words."""
    found = program()
    for word in path.split():
        found = found[word]
    return found


def test_the_commands_are_those_promised() -> None:
    """Proves that nothing was added or lost without this test, and with it the page, being told."""
    groups = {
        "": "serve",
        "sessions": "sessions list",
        "visits": "visits active",
        "documents": "documents list",
        "snapshots": "snapshots sessions",
        "dialogs": "dialogs list",
    }
    expected = list(RUNNABLE)
    for group, first in groups.items():
        expected.insert(expected.index(first), group)
    assert list(COMMANDS) == expected


@pytest.mark.parametrize("path", COMMANDS)
def test_help_is_on_the_page_as_it_is_printed(run: Run, path: str) -> None:
    """Proves that a terminal of 80 columns shows, line by line, what the reference has under the command's heading."""
    ran = run(*path.split(), "--help")
    printed = "\n".join(line.rstrip() for line in ran.out.rstrip().splitlines())
    assert (ran.code, ran.err) == (0, "")
    heading = f"## `{f'sojourn {path}'.strip()}`"
    assert f"{heading}\n\n```text\n{printed}\n```\n" in PAGE.read_text(encoding="utf-8")
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("path", RUNNABLE)
def test_every_argument_is_explained(path: str) -> None:
    """Proves that each has a help text, is on the page, and that the command has an example that calls it."""
    text = cli.help_text(program(), path)
    arguments = find(path).assemble_argument_collection()
    assert len(arguments) > 0
    assert [argument.name for argument in arguments if not argument.parameter.help] == []
    assert [argument.name for argument in arguments if f" {argument.name} " not in text] == []
    assert f"    sojourn {path} " in text or f"    sojourn {path}\n" in text


@pytest.mark.parametrize("path", RUNNABLE)
def test_descriptions_are_not_broken_twice(path: str) -> None:
    """Proves that the lines of a description fit a terminal as they are written, and that it names its errors."""
    written, mark, _ = (inspect.getdoc(find(path).default_command) or "").partition("\n\nRaises:\n")
    assert mark
    assert [line for line in written.splitlines() if len(line) > 80] == []


def test_what_prints_data_prints_json() -> None:
    """Proves that each takes --json, but those that never print a table, and that the page shows its document."""
    with_json = [path for path in RUNNABLE if "--json" in cli.help_text(program(), path)]
    assert (
        with_json
        == [path for path in RUNNABLE if path not in {"serve", "types", "visits export", "documents export"}]
        == list(cli.DOCUMENTS)
    )


@pytest.mark.parametrize("arguments", ["", "sessions", "visits", "documents", "snapshots", "dialogs"])
def test_a_group_alone_shows_its_help(run: Run, arguments: str) -> None:
    """Proves that whoever does not know what to type is shown what there is."""
    ran = run(*arguments.split())
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == run(*arguments.split(), "--help").out
