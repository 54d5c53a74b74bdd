"""Tokens in the making, and a cursor over the parts of one.

Applications name an action by `ctx.button`, and never see a token. This is for those who come from the bot framework
that this face is like, and made tokens by hand there.

    vote = TokenBuilder(dialog_id, "vote")
    yes, no = vote.clone_push("yes").build(), vote.clone_push("no").build()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, overload

from sojourn import limits
from sojourn.dialogs.model import checked_id
from sojourn.dialogs.reference import Parts, ReferenceCodec, checked_part, number
from sojourn.dialogs.tokens import Token, checked_number
from sojourn.errors import InvalidError

__all__ = ["TokenBuilder", "TokenIterator"]

_REFERENCE: Final = ReferenceCodec()


class TokenBuilder:
    """A token in the making: the id of its dialog, its tokens, and its slots, the first of which is the page.

    What is pushed or set is turned into text. A method that raises has changed nothing; one whose name begins with
    `clone_` changes a clone instead, and returns that.

    Raises:
        InvalidError: the id holds something else than letters, digits, `_` and `-`, or a token holds a separator, or
            the page is none. LimitError: the id is too long.
    """

    def __init__(
        self, dialog_id: str, *tokens: object, page: int | None = None, codec: ReferenceCodec = _REFERENCE
    ) -> None:
        self.dialog_id: Final = checked_id(dialog_id)
        self._codec = codec
        self._tokens = _Row("tokens")
        self._slots = _Row("slots")
        self.push(*tokens)
        if page is not None:
            self.set_page(page)

    @classmethod
    def from_text(cls, text: str, codec: ReferenceCodec = _REFERENCE) -> TokenBuilder | None:
        """Return the builder of a token that was built; None where the text is none. It never raises."""
        parts = codec.read(text)
        if parts is None:
            return None
        builder = cls(parts.dialog_id, *parts.tokens, codec=codec)
        builder.push_slots(*parts.slots)
        return builder

    def clone(self) -> TokenBuilder:
        """Return a builder of the same token, which goes its own way from here on."""
        clone = TokenBuilder(self.dialog_id, codec=self._codec)
        clone._tokens.fill(self._tokens)
        clone._slots.fill(self._slots)
        return clone

    def build(self) -> str:
        """Write the token.

        Raises:
            InvalidError: its only token is empty, and would be lost. LimitError: the whole is beyond the budget.
        """
        return self._codec.write(Parts(self.dialog_id, self.slots, self.tokens))

    @property
    def token(self) -> Token:
        """The token, to be written in any other form; of the slots it has the page only."""
        action, *args = self.tokens or ("",)
        return Token(self.dialog_id, action or None, tuple(args), self.page)

    # Tokens

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens so far. What was left out by `set_at` is empty."""
        return self._tokens.texts

    def push(self, *values: object) -> TokenBuilder:
        """Add tokens to the end: all of them, or none.

        Raises:
            InvalidError: one holds a separator, or half a character.
        """
        self._tokens.push(values)
        return self

    def clone_push(self, *values: object) -> TokenBuilder:
        """Push to a clone."""
        return self.clone().push(*values)

    def set_at(self, index: int, value: object) -> TokenBuilder:
        """Set the token at a place that is free: past the end, or left out when one behind it was set.

        Raises:
            InvalidError: the place is taken, or cannot be; or the token holds a separator, or half a character.
        """
        self._tokens.set_at(index, value)
        return self

    def clone_set_at(self, index: int, value: object) -> TokenBuilder:
        """Set a token of a clone."""
        return self.clone().set_at(index, value)

    # Slots

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots so far. What was left out by `set_slot` is empty."""
        return self._slots.texts

    def push_slots(self, *values: object) -> int:
        """Add slots to the end, all of them or none, and return the place of the first.

        Raises:
            InvalidError: one holds a separator, or half a character.
        """
        return self._slots.push(values)

    def set_slot(self, index: int, value: object) -> TokenBuilder:
        """Set a slot at a place that is free.

        Raises:
            InvalidError: the place is taken, or cannot be; or the slot holds a separator, or half a character.
        """
        self._slots.set_at(index, value)
        return self

    def slot(self, index: int) -> str | None:
        """Return what stands in a slot; None where there is none."""
        return self.slots[index] if 0 <= index < len(self.slots) else None

    # The page

    @property
    def page(self) -> int | None:
        """The page; None where the first slot is no plain decimal number."""
        return number(self.slot(0) or "", limits.DIALOG_PAGE_MAX)

    def set_page(self, page: int) -> TokenBuilder:
        """Set the page, whatever the first slot was.

        Raises:
            InvalidError: it is no whole number from 0 to `limits.DIALOG_PAGE_MAX`.
        """
        self._slots.replace_first(str(checked_number("page", page, limits.DIALOG_PAGE_MAX)))
        return self

    def next_page(self) -> TokenBuilder:
        """Go on by one page. Without a page, and at the last that can be written, nothing changes."""
        return self._turn(1)

    def previous_page(self) -> TokenBuilder:
        """Go back by one page. Without a page, and at page 0, nothing changes."""
        return self._turn(-1)

    def clone_page(self, page: int) -> TokenBuilder:
        """Set the page of a clone."""
        return self.clone().set_page(page)

    def clone_next_page(self) -> TokenBuilder:
        """Go on by one page in a clone."""
        return self.clone().next_page()

    def clone_previous_page(self) -> TokenBuilder:
        """Go back by one page in a clone."""
        return self.clone().previous_page()

    def _turn(self, by: int) -> TokenBuilder:
        page = self.page
        return self if page is None else self.set_page(min(max(page + by, 0), limits.DIALOG_PAGE_MAX))


class _Row:
    """Texts at places, some of which may be free."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._texts: list[str | None] = []

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text or "" for text in self._texts)

    def push(self, values: Iterable[object]) -> int:
        place = len(self._texts)
        self._texts.extend([checked_part(self._name, value) for value in values])
        return place

    def set_at(self, index: int, value: object) -> None:
        if not 0 <= index < limits.DIALOG_TOKEN_CHARS:
            raise InvalidError(self._name, f"there is no place {index}")
        if index < len(self._texts) and self._texts[index] is not None:
            raise InvalidError(self._name, f"place {index} is taken")
        text = checked_part(self._name, value)
        self._texts.extend([None] * (index + 1 - len(self._texts)))
        self._texts[index] = text

    def replace_first(self, text: str) -> None:
        self._texts[:1] = [text]

    def fill(self, other: _Row) -> None:
        self._texts = [*other._texts]


class TokenIterator:
    """A cursor over texts, of a token for example. It begins before the first; iterating does not move it."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts = [*texts]
        self._position = 0

    def __iter__(self) -> Iterator[str]:
        """Go through all of them, wherever the cursor stands."""
        return iter([*self._texts])

    def __len__(self) -> int:
        """Say how many there are."""
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one, counted from the end where the index is negative.

        Raises:
            IndexError: there is none.
        """
        return self._texts[index]

    def __str__(self) -> str:
        """Return them all, with commas between."""
        return self.join(",")

    @property
    def position(self) -> int:
        """Where the cursor stands: how many are before it."""
        return self._position

    @property
    def has_next(self) -> bool:
        """Whether there is one after the cursor."""
        return self._position < len(self._texts)

    @property
    def has_previous(self) -> bool:
        """Whether there is one before the cursor."""
        return self._position > 0

    def get(self) -> str:
        """Return the next and step over it.

        Raises:
            IndexError: there is none; the cursor has not moved.
        """
        text = self._texts[self._position]
        self._position += 1
        return text

    def peek(self) -> str | None:
        """Return the next and stay where the cursor is. None: there is none."""
        return self.get_at(self._position)

    def next(self) -> str | None:
        """Return the next and step over it. None: there is none."""
        return self.get() if self.has_next else None

    def previous(self) -> str | None:
        """Step back over the one before the cursor and return it. None: there is none."""
        if not self.has_previous:
            return None
        self._position -= 1
        return self._texts[self._position]

    def get_at(self, index: int) -> str | None:
        """Return one, counted from the end where the index is negative. None: there is none."""
        return self._texts[index] if -len(self._texts) <= index < len(self._texts) else None

    def set_at(self, index: int, text: str) -> None:
        """Put a text in the place of another.

        Raises:
            IndexError: there is none.
        """
        self._texts[index] = text

    def map(self, function: Callable[[str], str]) -> TokenIterator:
        """Return a new one, over what the function makes of each."""
        return TokenIterator(map(function, self._texts))

    def filter(self, predicate: Callable[[str], bool]) -> TokenIterator:
        """Return a new one, over those for which the predicate holds."""
        return TokenIterator(filter(predicate, self._texts))

    def join(self, separator: str) -> str:
        """Return them all, with the separator between."""
        return separator.join(self._texts)

    def clone(self) -> TokenIterator:
        """Return another at the same place, which goes its own way from here on."""
        clone = TokenIterator(self._texts)
        clone._position = self._position
        return clone
