"""What the commands print: tables and lines for people, one JSON document for programs.

Rich is imported when something is drawn: a program that asks for JSON does not wait for it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Column", "console", "distance", "document", "facts", "line", "printable", "redacted", "status", "table"]

# A public id, and the secret behind it that makes it a token.
_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{16,}")
_UNITS: Final = (
    ("d", timedelta(days=1), timedelta(days=2)),
    ("h", timedelta(hours=1), timedelta(hours=2)),
    ("min", timedelta(minutes=1), timedelta(minutes=2)),
    ("s", timedelta(seconds=1), timedelta(seconds=1)),
)


class Column(NamedTuple):
    """One column of a table. One that may be `cut` gives way on a narrow terminal; any other is shown whole."""

    title: str
    cut: bool = False
    right: bool = False


def document(value: object) -> None:
    """Print one JSON document."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    sys.stdout.flush()
    sys.stdout.buffer.write(text)  # JSON is UTF-8, whatever the terminal is set to


def console(*, stderr: bool = False) -> Console:
    """Return a console that shows text as it is."""
    from rich.console import Console  # noqa: PLC0415  see the module's docstring

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def line(text: str = "", style: str | None = None) -> None:
    """Print one line; the terminal, if there is one, breaks it."""
    if style is None:
        sys.stdout.write(f"{printable(text)}\n")
    else:
        console().print(printable(text), style=style, soft_wrap=True)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        line(f"{name:<{width}}  {value}")


def status(word: str, style: str, name: str, text: str) -> None:
    """Print one finding in one line: a word that stands out, what it is about, and the text."""
    from rich.text import Text  # noqa: PLC0415  see the module's docstring

    console().print(Text.assemble((f"{word:<9}", style), f"{name:<8} ", printable(text)), soft_wrap=True)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that fits the terminal: what gives way ends in an ellipsis, one row stays one line."""
    from rich.cells import cell_len  # noqa: PLC0415  see the module's docstring
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        widest = max(cell_len(printable(row[place])) for row in rows) if rows else 0
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.cut,
            min_width=None if column.cut else widest,
        )
    for row in rows:
        # The column may be narrowed, the text in it not be broken.
        drawn.add_row(*(Text(printable(cell), no_wrap=True, overflow="ellipsis") for cell in row))
    console().print(drawn, crop=False)


def printable(text: str) -> str:
    """Return the text as one line in which nothing moves a cursor or hides: such characters are written as escapes."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def redacted(text: str) -> str:
    """Return the text with the secret taken out of every token in it."""
    return _TOKEN.sub(r"\1.…", text)


def distance(now: datetime, moment: datetime) -> str:
    """Say how far a moment lies from now: "in 29 min", "3 d ago"."""
    apart = abs(moment - now)
    for unit, one, enough in _UNITS:
        if apart >= enough:
            return f"in {round(apart / one)} {unit}" if moment > now else f"{round(apart / one)} {unit} ago"
    return "now"
