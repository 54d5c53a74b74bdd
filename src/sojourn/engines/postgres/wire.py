"""PostgreSQL's binary form of what is sent to it: numbers, and arrays of texts, of bytes and of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final

__all__ = [
    "STEP_NUMBERS",
    "bigint",
    "bigints",
    "blobs",
    "boolean",
    "integer",
    "integers",
    "step",
    "steps",
    "text",
    "texts",
    "whole",
]

STEP_NUMBERS: Final = 7
"""Numbers of one step of a program."""

_BYTEA, _BIGINT, _INT, _TEXT = 17, 20, 23, 25  # the types' own numbers, the same on every server

_INTEGER = Struct(">i")
_BIG = Struct(">q")
_STEP = Struct(">" + "iq" * STEP_NUMBERS)
_HEAD = Struct(">iiIii")  # one dimension, whether it has nulls, of which type, how many, counted from
_NULL = _INTEGER.pack(-1)


def integer(number: int) -> bytes:
    """Return an `integer`."""
    return _INTEGER.pack(number)


def boolean(*, value: bool) -> bytes:
    """Return a `boolean`."""
    return b"\x01" if value else b"\x00"


def bigint(number: int) -> bytes:
    """Return a `bigint`.

    Raises:
        struct.error: the number does not fit.
    """
    return _BIG.pack(number)


def text(value: str) -> bytes:
    """Return a `text`.

    Raises:
        UnicodeEncodeError: it holds half a character.
    """
    return value.encode()


def texts(values: Iterable[str | None]) -> bytes:
    """Return a `text[]`.

    Raises:
        UnicodeEncodeError: a text holds half a character.
    """
    return _array(_TEXT, [None if value is None else value.encode() for value in values])


def blobs(values: Sequence[bytes | None]) -> bytes:
    """Return a `bytea[]`."""
    return _array(_BYTEA, values)


def step(*numbers: int) -> bytes:
    """Return one step of a program: so many numbers, as a part of the array that `steps` makes.

    Raises:
        struct.error: a number does not fit.
    """
    kind, place, a, b, c, d, e = numbers
    return _STEP.pack(8, kind, 8, place, 8, a, 8, b, 8, c, 8, d, 8, e)


def steps(program: Sequence[bytes]) -> bytes:
    """Return a `bigint[]` of the numbers of all steps."""
    return _HEAD.pack(1, 0, _BIGINT, STEP_NUMBERS * len(program), 1) + b"".join(program)


def integers(values: Sequence[int]) -> bytes:
    """Return an `integer[]`."""
    return _array(_INT, [_INTEGER.pack(value) for value in values])


def bigints(values: Sequence[int]) -> bytes:
    """Return a `bigint[]`.

    Raises:
        struct.error: a number does not fit.
    """
    return _array(_BIGINT, [_BIG.pack(value) for value in values])


def whole(value: bytes) -> int:
    """Return the number that an `integer` or a `bigint` stands for."""
    return int.from_bytes(value, "big", signed=True)


def _array(kind: int, values: Sequence[bytes | None]) -> bytes:
    parts = [_HEAD.pack(1, 1, kind, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(_INTEGER.pack(len(value)))
            parts.append(value)
    return b"".join(parts)
