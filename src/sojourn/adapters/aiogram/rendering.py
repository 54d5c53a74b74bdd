"""Views as messages of Telegram, and what comes back from their buttons.

A button carries its token. Of a choice each option is a button, in a row of its own, that carries the token of the
choice and, behind a `#`, which a token never holds, what was chosen:

| behind the token | when                                                                                   |
|------------------|----------------------------------------------------------------------------------------|
| `#<value>`       | the value, percent-escaped, fits into the 64 bytes that Telegram gives a button        |
| `#*<digest>`     | else: the first 36 bits of its SHA-256                                                 |

A digest is that of the label that was clicked, where label and value are the same, or else is looked for among what the
dialog shows now, in its first message. So however old a message is, no value turns into another one: it is found, or
the person is told that it is offered no more.
"""

from __future__ import annotations

import base64
import hashlib
from itertools import chain
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

from sojourn.dialogs import Budget, Button, Component, Select, View
from sojourn.errors import UnsupportedError

__all__ = ["BUDGET", "Chosen", "is_shown", "keyboard", "split"]

_DATA_BYTES: Final = 64
"""What Telegram gives a button."""
_BEHIND: Final = "#"
_DIGEST: Final = "*"
_DIGEST_CHARS: Final = 6

BUDGET: Final = Budget(_DATA_BYTES - len(_BEHIND + _DIGEST) - _DIGEST_CHARS, "bytes")
"""What a token may take, so that what was chosen always fits behind it."""

_STYLES: Final = frozenset({"primary", "success", "danger"})
"""Those of Telegram; a button of any other style looks like any button."""


def keyboard(view: View) -> InlineKeyboardMarkup | None:
    """Return what stands under a message, None where nothing does. What is disabled is left out.

    Raises:
        UnsupportedError: a choice asks for more than one option at once.
    """
    rows = [made for row in view.rows for made in _rows(row) if made]
    return InlineKeyboardMarkup(inline_keyboard=rows) if rows else None


def split(query: CallbackQuery) -> tuple[str, Chosen | None]:
    """Return the token of what was clicked, and what was chosen by that; None where it was a plain button."""
    token, behind, written = (query.data or "").partition(_BEHIND)
    return token, Chosen(token, written, _label(query)) if behind else None


def is_shown(query: CallbackQuery) -> bool:
    """Say whether the message that was clicked is known to show what it is said to have carried."""
    return _label(query) is not None


class Chosen(NamedTuple):
    """An option that was clicked: the token of its choice, what was written behind that, and its label."""

    token: str
    written: str
    label: str | None

    @property
    def value(self) -> str | None:
        """The value of the option; None where it has to be found in what the dialog shows."""
        if not self.written.startswith(_DIGEST):
            return unquote(self.written)
        return self.label if self.label is not None and _digest(self.label) == self.written else None

    def found_in(self, view: View | None) -> str | None:
        """Return the value of the option, None where the view offers it no more."""
        for one in () if view is None else chain.from_iterable(view.rows):
            if isinstance(one, Select) and one.token == self.token:
                return next((option.value for option in one.options if _digest(option.value) == self.written), None)
        return None


def _rows(row: tuple[Component, ...]) -> list[list[InlineKeyboardButton]]:
    """Return a row of a view as rows of Telegram's: its buttons in one, each option in one of its own."""
    rows: list[list[InlineKeyboardButton]] = [[]]
    for one in row:
        if one.disabled:
            continue
        if isinstance(one, Button):
            style = one.style if one.style in _STYLES else None
            rows[0].append(InlineKeyboardButton(text=one.label, callback_data=one.token, style=style))
            continue
        if one.at_least > 1:
            raise UnsupportedError("Telegram's buttons choose one option; ask for one after another")
        rows += [
            [InlineKeyboardButton(text=option.label, callback_data=_data(one.token, option.value))]
            for option in one.options
        ]
    return rows


def _data(token: str, value: str) -> str:
    data = f"{token}{_BEHIND}{quote(value, safe='')}"
    return data if len(data) <= _DATA_BYTES else f"{token}{_BEHIND}{_digest(value)}"


def _digest(value: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()).decode()
    return _DIGEST + digest[:_DIGEST_CHARS]


def _label(query: CallbackQuery) -> str | None:
    markup = query.message.reply_markup if isinstance(query.message, Message) else None
    buttons = () if markup is None else chain.from_iterable(markup.inline_keyboard)
    return next((button.text for button in buttons if button.callback_data == query.data), None)
