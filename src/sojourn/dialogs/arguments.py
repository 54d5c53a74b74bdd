"""Arguments of a component: text in its token, and values of the handler's types again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, get_type_hints

import msgspec

from sojourn.errors import InvalidError

__all__ = ["as_text", "converted"]

_STRUCTURED: Final = (list, dict, tuple, set, frozenset)


def as_text(value: object) -> str:
    """Return an argument as text; `converted` makes the value of it again."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    try:
        plain: object = msgspec.to_builtins(value)
        return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError("args", f"an argument has no text form: {error}") from error


def converted(handler: Callable[..., Any], args: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the arguments of a component as the handler's annotations want them.

    Raises:
        InvalidError: they do not fit; they may be those of an older version.
    """
    kinds, least = _parameters(getattr(handler, "__func__", handler))
    if not least <= len(args) <= len(kinds):
        raise InvalidError("args", f"{len(args)} came, and the handler takes {least} to {len(kinds)}")
    return tuple(_of_text(text, kind) for text, kind in zip(args, kinds, strict=False))


def _of_text(text: str, kind: Any) -> Any:  # noqa: ANN401  whatever was annotated
    if kind is str or kind is Any:
        return text
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        try:
            return msgspec.json.decode(text, type=kind, strict=False)
        except (ValueError, RecursionError) as error:
            raise InvalidError("args", f"what a component carried does not fit its handler: {error}") from error


@lru_cache(maxsize=4_096)
def _parameters(function: Callable[..., Any]) -> tuple[tuple[Any, ...], int]:
    """Return the types of what a handler takes behind `self` and the context, and how many of them it needs."""
    parameters = [
        one
        for one in list(inspect.signature(function).parameters.values())[2:]
        if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
    ]
    try:
        hints = get_type_hints(function)
    except NameError:  # a class within a function, whose other annotations name what only that function knows
        hints = {}
        scope: dict[str, Any] = function.__globals__
        for one in parameters:
            named = one.annotation
            hints[one.name] = _BUILTINS.get(named, scope.get(named, Any)) if isinstance(named, str) else named
    kinds = tuple(hints.get(one.name, Any) for one in parameters)
    return kinds, sum(one.default is one.empty for one in parameters)


_BUILTINS: Final[dict[str, Any]] = {kind.__name__: kind for kind in (str, int, float, bool)}
