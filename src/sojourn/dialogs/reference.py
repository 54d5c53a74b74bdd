"""Tokens as the bot framework writes them that this face is like: for messages that still carry such ones.

    SSN M <dialog id> [M <slot>]... S [<token> [S <token>]...]

S is U+109E and M is U+0B75, three bytes each in UTF-8. The first slot is the page; sojourn writes the revision and the
key of spilled arguments into the next two. The first token is the action, the others are its arguments. Nothing is
escaped: what holds S or M cannot be written. Nor can a single empty token, which would be none when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from sojourn import limits
from sojourn.dialogs.model import checked_id
from sojourn.dialogs.tokens import REVISION_MAX, Budget, Token, TokenCodec, checked_number
from sojourn.errors import InvalidError, SojournError

__all__ = ["Parts", "ReferenceCodec", "checked_part", "number"]

_NAMESPACE: Final = "SSN"
_TOKENS: Final = "\u109e"
_SLOTS: Final = "\u0b75"
_UNWRITABLE: Final = re.compile(f"[{_TOKENS}{_SLOTS}\ud800-\udfff]")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class Parts(msgspec.Struct, frozen=True):
    """What such a token is made of."""

    dialog_id: str
    slots: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


class ReferenceCodec(TokenCodec):
    """Writes and reads that form, within a budget: 100 characters, where nothing else is said."""

    def __init__(self, budget: Budget = Budget(100)) -> None:  # noqa: B008  frozen
        self._budget = budget

    def encode(self, token: Token) -> str:
        """Write a token.

        Raises:
            InvalidError: something in it cannot be written in this form. LimitError: it is too long.
        """
        if token.action == "" or (token.spill is not None and token.args):
            raise InvalidError("token", "its action is empty, or it has arguments beside those that were spilled")
        slots = [
            "" if token.page is None else str(checked_number("page", token.page, limits.DIALOG_PAGE_MAX)),
            "" if token.revision is None else str(checked_number("revision", token.revision, REVISION_MAX)),
            token.spill or "",
        ]
        while slots and not slots[-1]:
            slots.pop()
        tokens = (token.action or "", *token.args) if token.action is not None or token.args else ()
        return self.write(Parts(token.dialog_id, tuple(slots), tokens))

    def decode(self, text: str) -> Token | None:
        """Read a token. None for whatever is none of ours, or malformed; it never raises.

        A page that is no plain decimal number up to `limits.DIALOG_PAGE_MAX` is no page.
        """
        parts = self.read(text)
        if parts is None:
            return None
        page, revision, spill = (*parts.slots, "", "", "")[:3]
        action, *args = parts.tokens or ("",)
        return Token(
            parts.dialog_id,
            action or None,
            tuple(args),
            number(page, limits.DIALOG_PAGE_MAX),
            number(revision, REVISION_MAX),
            spill or None,
        )

    def write(self, parts: Parts) -> str:
        """Write the parts of a token.

        Raises:
            InvalidError: one of them cannot be written in this form. LimitError: the whole is too long.
        """
        if parts.tokens == ("",):
            raise InvalidError("tokens", "a single empty one would be none when it is read")
        head = (_NAMESPACE, checked_id(parts.dialog_id), *_checked("slots", parts.slots))
        text = f"{_SLOTS.join(head)}{_TOKENS}{_TOKENS.join(_checked('tokens', parts.tokens))}"
        self._budget.check(text)
        return text

    def read(self, text: str) -> Parts | None:
        """Read the parts of a token. None for whatever is none of ours, or malformed; it never raises."""
        if len(text) > limits.DIALOG_TOKEN_CHARS:
            return None
        head, separator, rest = text.partition(_TOKENS)
        namespace, *named = head.split(_SLOTS)
        if not separator or namespace != _NAMESPACE or not named:
            return None
        tokens = tuple(rest.split(_TOKENS)) if rest else ()
        try:
            return Parts(checked_id(named[0]), _checked("slots", named[1:]), _checked("tokens", tokens))
        except SojournError:
            return None


def checked_part(name: str, value: object) -> str:
    """Let the text of a value through that can stand in such a token.

    Raises:
        InvalidError: it holds one of the two separators, or half a character (a lone surrogate).
    """
    text = str(value)
    if _UNWRITABLE.search(text) is not None:
        raise InvalidError(name, "U+109E, U+0B75 and lone surrogates cannot stand in a token of this form")
    return text


def number(text: str, most: int) -> int | None:
    """Return the number that a slot holds: None where it holds no plain decimal one, or a greater one."""
    found = int(text) if _DECIMAL.fullmatch(text) is not None else None
    return None if found is None or found > most else found


def _checked(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(checked_part(name, text) for text in texts)
