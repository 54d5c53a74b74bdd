"""Changing a document in memory, by a function or a block of the application."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Generic, Literal, TypeVar

from sojourn.documents.change import by_draft, by_value, refuse_waiting
from sojourn.documents.frozen import thaw
from sojourn.documents.holding import Holding
from sojourn.documents.model import Cause
from sojourn.documents.schema import Schema
from sojourn.errors import ConflictError

__all__ = ["Editor"]

T = TypeVar("T")


class Editor(Generic[T]):
    """Changes one document that is held here, when its gate lets it."""

    def __init__(self, schema: Schema[T], holding: Holding[T]) -> None:
        self._schema = schema
        self._holding = holding

    def update(self, change: Callable[[T], bool]) -> Coroutine[Any, Any, bool]:
        """Change it by a function of a draft; what is wrong with the function is known before anything is awaited."""
        self._check(change)
        return self._update(lambda present: by_draft(self._schema, self._holding.key, present, change))

    def update_immutable(self, change: Callable[[T], T | Literal[False]]) -> Coroutine[Any, Any, bool]:
        """Change it by a function of the value."""
        self._check(change)
        return self._update(lambda present: by_value(self._schema, self._holding.key, present, change))

    @contextmanager
    def edit(self) -> Generator[T]:
        """Change it by a block that writes into a draft."""
        self._holding.gate.refuse_reentry()
        before = self._settled().value
        draft = thaw(before)
        yield draft
        if self._settled().value is not before:
            raise ConflictError(
                f"the document {self._holding.key!r} was changed by somebody else during the block; do it again"
            )
        self._holding.adopt(self._schema.changed(draft, before, key=self._holding.key), Cause.UPDATE)

    def _check(self, change: object) -> None:
        refuse_waiting(change)
        self._holding.gate.refuse_reentry()

    async def _update(self, make: Callable[[T], T | None]) -> bool:
        holding = self._holding
        await holding.gate.settled()
        with holding.checked_open().gate.changing():
            new = make(holding.value)
        if new is None:
            return False
        holding.adopt(new, Cause.UPDATE)
        return True

    def _settled(self) -> Holding[T]:
        self._holding.gate.check_settled()
        return self._holding.checked_open()
