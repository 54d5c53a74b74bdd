"""What a value loses on its way through JSON: an encoder quietly turns bytes and dates into text, tuples into lists.

Where a type says what is kept, they come back as what they were. Where it does not (plain data, `Any`), they would be
something else after the next load, so they are refused at once.
"""

from __future__ import annotations

import math
from types import NoneType
from typing import Any, Final, cast

from sojourn import limits
from sojourn.documents.twins import Twins, twins_of

__all__ = ["lost"]

_PLAIN: Final = frozenset({str, int, float, bool, NoneType})
_MISSING: Final = object()


def lost(value: object, loaded: object) -> str | None:
    """Return where and how a value differs from what was loaded of its JSON text; None: it came back as it was.

    An object may put itself in order when it is made, so in one only types are compared.
    """
    found = _lost(value, loaded, limits.JSON_DEPTH, strict=True)
    return None if found is None else f"${found}"


def _lost(value: Any, loaded: Any, left: int, *, strict: bool) -> str | None:  # noqa: ANN401  two values
    came = loaded.__class__
    if came in _PLAIN and type(value) is came:
        return None
    if not left:
        return f": it is nested more than {limits.JSON_DEPTH} levels deep"
    if came is dict and isinstance(value, dict):
        return _lost_of_dict(cast("dict[object, object]", value), loaded, left - 1, strict=strict)
    if issubclass(came, list | tuple) and isinstance(value, list if came is list else tuple):
        return _lost_of_list(cast("list[object]", value), loaded, left - 1, strict=strict)
    if came not in _PLAIN and (twins := twins_of(loaded.__class__)) is not None and isinstance(value, twins.ordinary):
        return _lost_of_object(value, loaded, left - 1, twins)
    if _is_other(value, loaded, strict=strict):
        return f": {value.__class__.__name__} comes back as {came.__name__}"
    return None


def _lost_of_object(value: Any, loaded: object, left: int, twins: Twins) -> str | None:  # noqa: ANN401  two instances
    mine = twins_of(value.__class__)
    if mine is None or mine.ordinary is not twins.ordinary:
        return f": {value.__class__.__name__} comes back as {twins.ordinary.__name__}"
    for name in twins.fields:
        part, again = getattr(value, name, None), getattr(loaded, name, None)
        inner = None if type(part) is type(again) and type(again) in _PLAIN else _lost(part, again, left, strict=False)
        if inner is not None:
            return f".{name}{inner}"
    return None


def _lost_of_dict(value: dict[object, object], loaded: dict[object, object], left: int, *, strict: bool) -> str | None:
    for name, part in value.items():
        again = loaded.get(name, _MISSING)
        if again is _MISSING:
            if strict or _is_renamed(name, loaded):
                return f"[{name!r}]: this name does not come back"
        elif type(part) is not type(again) or type(again) not in _PLAIN:
            inner = _lost(part, again, left, strict=strict)
            if inner is not None:
                return f"[{name!r}]{inner}"
    return None


def _lost_of_list(value: list[object], loaded: list[object], left: int, *, strict: bool) -> str | None:
    if strict and len(value) != len(loaded):
        return f": {len(value)} come back as {len(loaded)}"
    for at, (part, again) in enumerate(zip(value, loaded, strict=False)):
        inner = None if type(part) is type(again) and type(again) in _PLAIN else _lost(part, again, left, strict=strict)
        if inner is not None:
            return f"[{at}]{inner}"
    return None


def _is_renamed(name: object, loaded: dict[object, object]) -> bool:
    return not isinstance(name, str) and bool(loaded) and all(isinstance(one, str) for one in loaded)


def _is_other(value: object, loaded: object, *, strict: bool) -> bool:
    if isinstance(value, type(loaded)):
        return False
    if isinstance(loaded, float) and isinstance(value, int):
        return not loaded.is_integer() or int(loaded) != value
    if strict:
        return True
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(loaded, str | list | dict) and not isinstance(value, str | int | list | dict | NoneType)
