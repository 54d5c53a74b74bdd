"""What the commands print: tables and lines for people, one JSON document for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Column", "console", "distance", "document", "line", "printable", "table"]

# A public id, and the secret behind it that makes it a token.
_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]+")
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
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def line(text: str, style: str = "") -> None:
    """Print one line; the terminal, if anybody, breaks it."""
    console().print(printable(text), style=style, soft_wrap=True)


def table(columns: Iterable[Column], rows: Iterable[Iterable[str]]) -> None:
    """Print a table that fits the terminal; what gives way ends in an ellipsis."""
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="ellipsis",
            no_wrap=True,
            ratio=None,
            min_width=None,
        )
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    console().print(drawn)


def printable(text: str, most: int | None = None) -> str:
    """Return the text as one line of at most so many characters: no token in it, nothing that moves a cursor."""
    text = _TOKEN.sub(r"\1", text)
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def distance(now: datetime, moment: datetime) -> str:
    """Say how far a moment lies from now: "in 29 min", "3 d ago"."""
    apart = abs(moment - now)
    for unit, one, enough in _UNITS:
        if apart >= enough:
            return f"in {apart // one} {unit}" if moment > now else f"{apart // one} {unit} ago"
    return "now"


def _escaped(character: str) -> str:
    return " " if character == "\n" else f"\\u{ord(character):04x}"
