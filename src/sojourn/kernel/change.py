"""Changing a value by a function of it: what every face that offers `update` checks alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

from sojourn.errors import CorruptError, InvalidError
from sojourn.kernel.codec import Codec

__all__ = ["changed", "initial"]

T = TypeVar("T")


def changed(change: Callable[[T], T], value: T, codec: Codec[T]) -> T:
    """Return what the function makes of the value.

    Raises:
        InvalidError: it is a coroutine, which could wait in the middle of a transaction, or it returned None where
            None is no value: the return was forgotten.
    """
    new = change(value)
    if inspect.isawaitable(new):
        if inspect.iscoroutine(new):
            new.close()
        raise InvalidError("change", "it is a coroutine; give a plain function, and wait before or after it")
    if new is None:
        try:
            codec.load(b"null")
        except CorruptError:
            problem = "it returned None, which is no value here; return the new value"
            raise InvalidError("change", problem) from None
    return new


def initial(kind: type[T], name: str) -> T:
    """Return what the type gives without arguments, for a value that is not stored yet.

    Raises:
        InvalidError: the type needs arguments.
    """
    try:
        return kind()
    except (TypeError, ValueError) as error:
        raise InvalidError(
            "default", f"{name} has no value yet, and {kind!r} needs arguments; give a default"
        ) from error
