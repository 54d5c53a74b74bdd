"""Changing values by an application's function: what it gives back, and what is wrong with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, cast

from sojourn.documents.frozen import thaw
from sojourn.documents.schema import Schema
from sojourn.errors import KeysChangedError, TransformInvalidError

__all__ = ["by_draft", "by_drafts", "by_value", "by_values", "refuse_waiting"]

T = TypeVar("T")


def refuse_waiting(change: object) -> None:
    """Refuse, before anything is done, a function that could wait in the middle of a change.

    Raises:
        TransformInvalidError: it is a coroutine function or an async generator function, or no function.
    """
    if not callable(change):
        raise TransformInvalidError(f"a change is a function, not {_kind(change)}")
    if inspect.iscoroutinefunction(change) or inspect.isasyncgenfunction(change):
        raise TransformInvalidError("a change cannot wait; give a plain function, and wait before or after it")


def by_draft(schema: Schema[T], key: str, value: T, change: Callable[[T], bool]) -> T | None:
    """Return the value after a change of a draft; None: it was abandoned."""
    draft = thaw(value)
    return schema.changed(draft, value, key=key) if _answer(change(draft)) else None


def by_value(schema: Schema[T], key: str, value: T, change: Callable[[T], T | Literal[False]]) -> T | None:
    """Return the value that a function of the present one gives; None: it was abandoned."""
    new = _value(change(value))
    return None if new is False else schema.changed(new, value, key=key)


def by_drafts(
    schema: Schema[T], values: Mapping[str, T], change: Callable[[dict[str, T]], bool]
) -> dict[str, T] | None:
    """Return the values after a change of drafts of all of them; None: it was abandoned."""
    drafts = {key: thaw(value) for key, value in values.items()}
    return _checked(schema, values, drafts) if _answer(change(drafts)) else None


def by_values(
    schema: Schema[T], values: Mapping[str, T], change: Callable[[Mapping[str, T]], Mapping[str, T] | Literal[False]]
) -> dict[str, T] | None:
    """Return the values that a function of the present ones gives; None: it was abandoned."""
    new = _value(change(dict(values)))
    if new is False:
        return None
    if not isinstance(new, Mapping):
        raise TransformInvalidError(f"a change of several documents gives a mapping or False, not {_kind(new)}")
    return _checked(schema, values, cast("Mapping[str, T]", new))


def _checked(schema: Schema[T], values: Mapping[str, T], new: Mapping[str, T]) -> dict[str, T]:
    if new.keys() != values.keys():
        raise KeysChangedError(
            f"a change gives back the keys it was given; it added or dropped {_named(new.keys() ^ values.keys())}"
        )
    return {key: schema.changed(new[key], value, key=key) for key, value in values.items()}


def _answer(answer: object) -> bool:
    if isinstance(answer, bool):
        return answer
    _refuse_awaitable(answer)
    raise TransformInvalidError(f"a change of a draft says True or False, not {_kind(answer)}; return one of them")


def _value(new: Any) -> Any:  # noqa: ANN401  whatever the application's function gives
    _refuse_awaitable(new)
    if new is None or new is True:
        raise TransformInvalidError(f"a change gives the new value or False, not {_kind(new)}; return one of them")
    return new


def _refuse_awaitable(answer: object) -> None:
    if inspect.iscoroutine(answer):
        answer.close()
    if inspect.isawaitable(answer) or inspect.isasyncgen(answer):
        raise TransformInvalidError("a change cannot wait; give a plain function, and wait before or after it")


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


def _named(keys: Iterable[str]) -> str:
    return ", ".join(sorted(map(repr, keys)))
