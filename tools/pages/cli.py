"""docs/reference/cli.md from the command line itself: its help as it is printed, its exit codes, its JSON documents."""

import inspect
import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from io import StringIO
from pathlib import Path
from textwrap import fill
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec
from cyclopts import App
from rich.console import Console

from sojourn import wire
from sojourn.cli import dialog_rows, doctor, document_rows, failures, sessions, snapshot_rows, sweeping
from sojourn.cli.program import program
from sojourn.snapshots import Pruned

__all__ = ["DOCUMENTS", "commands", "help_text", "render"]

SOURCE: Final = "src/sojourn/cli"

DOCUMENTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "sessions list": sessions.Listing,
    "sessions show": sessions.Shown,
    "sessions revoke": sessions.Revoked,
    "visits active": wire.ActiveAnswer,
    "visits show": wire.VisitorAnswer,
    "visits cleanup": wire.CleanupAnswer,
    "visits erase": wire.EraseAnswer,
    "documents list": document_rows.Listed,
    "documents show": document_rows.Shown,
    "documents history": document_rows.Past,
    "documents diff": document_rows.Compared,
    "documents rollback": document_rows.RolledBack,
    "documents revoke": document_rows.Revoked,
    "documents erase": document_rows.Erased,
    "drain": document_rows.Drained,
    "snapshots sessions": snapshot_rows.Listed,
    "snapshots tree": snapshot_rows.Drawn,
    "snapshots show": snapshot_rows.Shown,
    "snapshots diff": snapshot_rows.Compared,
    "snapshots prune": Pruned,
    "snapshots delete": snapshot_rows.Deleted,
    "dialogs list": dialog_rows.Listed,
    "dialogs show": dialog_rows.Shown,
    "dialogs end": dialog_rows.Finished,
    "sweep": sweeping.Sums,
    "doctor": doctor.Diagnosis,
}
"""What each command prints with --json."""

TOP: Final = f"""\
<!-- Made by `make pages` from {SOURCE}. -->

# The command line

`sojourn` comes with the extra `server`: `pip install 'sojourn[server]'`. Its commands serve sessions and visits, and
look after a store of them while a server uses it, or without one.

- A store is named by `--store` or by the environment variable `SOJOURN_STORE`. Only `serve` creates a file; in
  PostgreSQL and Redis the first command that opens a store makes it where the URL says, so mind `schema=` and
  `prefix=`.
- Tables are for people, and cut what does not fit; ids are never cut. `--json` prints one JSON document whose keys stay
  (new ones may come). Times are ISO 8601 in UTC.
- Documents are shown as they are stored, by name and key; the command line knows no schema, and changes no value but by
  a rollback.
- The states of snapshots are shown as they are stored too. A pending snapshot whose worker is gone is stored as expired
  by whoever finds it, and be it a command that looks.
- Dialogs are shown as they are stored as well, and what was said in them with `--data` only. Their types are code of
  the application: a dialog that is ended here ends without its `end` hook, and an overdue one is left to a process that
  has its type.
- No command ever prints a token. Where an id is expected a token may be given: only the public id in it is used.
- No command prints a browser's own id, by which it acts for a visitor. It may be given where a visitor's is expected.
- What ends a session here deletes its state and its records of collections: the store knows which spaces those are.

## Errors

An error is one line on the standard error output, `sojourn: <code>: <message>`. With `--json` it is also a document on
the standard output, in the form of [the wire](wire.md#errors). The codes are those of [errors](errors.md); here the
three ways in which a session can be invalid are told apart.

| exit code | errors |
|---|---|
"""

NAMES: Final[Mapping[object, str]] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    datetime: "time",
    type(None): "null",
    msgspec.Raw: "any JSON",
    object: "any JSON",
    Any: "any JSON",
}


def render(root: Path) -> str:  # noqa: ARG001  every page is made from a root; this one from what is installed
    """Write the page, the commands in the order of the help."""
    app = program()
    sections = [section(app, path) for path in commands(app)]
    return "\n".join([TOP.rstrip("\n"), *exit_codes(), *sections])


def commands(app: App, path: str = "") -> Iterator[str]:
    """Name every command: the program itself as the empty text, then each with the words that lead to it."""
    yield path
    for name in app:
        if not name.startswith("-"):
            yield from commands(app[name], f"{path} {name}".strip())


def help_text(app: App, path: str) -> str:
    """Return the help of a command as a terminal of 80 columns shows it."""
    text = StringIO()
    app.help_print(path.split(), console=Console(file=text, width=80, force_terminal=False, no_color=True))
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def exit_codes() -> Iterator[str]:
    """Show what each exit code means."""
    kinds: dict[int, list[str]] = {}
    for kind, code in failures.EXIT_CODES:
        kinds.setdefault(code, []).append(f"`{kind.code}`")
    yield "| 0 | none |"
    yield f"| {failures.OTHERWISE} | every other; also a `doctor` that found something failed |"
    for code, codes in sorted(kinds.items()):
        yield f"| {code} | {', '.join(codes)} and what is below them in the tree |"
    yield "| 130 | interrupted by the keyboard |\n"


def section(app: App, path: str) -> str:
    """Show one command: its help, and its JSON document if it prints one."""
    shown = [f"## `{f'sojourn {path}'.strip()}`", f"```text\n{help_text(app, path)}\n```"]
    if path in DOCUMENTS:
        document = DOCUMENTS[path]
        said = " ".join(" ".join(str(inspect.getdoc(kind)).split()) for kind in dict.fromkeys(structs(document)))
        shown += [fill(f"With `--json`: {said[0].lower()}{said[1:]}", 120), f"```text\n{outline(document)}\n```"]
    return "\n\n".join(shown) + "\n"


def outline(kind: Any, indent: str = "") -> str:  # noqa: ANN401  any annotation
    """Show a document by its keys and the kinds of their values."""
    arguments = get_args(kind)
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        deeper = f"{indent}  "
        fields = [
            f'{deeper}"{each.encode_name}": {outline(each.type, deeper)}' for each in msgspec.structs.fields(kind)
        ]
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if inspect.isclass(kind) and issubclass(kind, StrEnum):
        return " or ".join(f'"{value}"' for value in kind)
    if get_origin(kind) in {list, tuple}:
        return f"[{outline(arguments[0], indent)}]"
    if get_origin(kind) is dict:
        return f"{{{outline(arguments[0])}: {outline(arguments[1])}}}"
    if get_origin(kind) is Literal:
        return " or ".join(f'"{value}"' for value in arguments)
    if get_origin(kind) in {Union, types.UnionType}:
        return " or ".join(outline(each, indent) for each in arguments)
    return NAMES[kind]


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:  # noqa: ANN401  any annotation
    """Name the kinds of objects in a document, the outermost first."""
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        yield kind
        for each in msgspec.structs.fields(kind):
            yield from structs(each.type)
    for argument in get_args(kind):
        yield from structs(argument)
