"""How the items of a list in a state become text and come back, and where a value has that list."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, cast, get_origin, get_type_hints

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError
from sojourn.kernel.codec import Codec, check_plain, codec
from sojourn.snapshots.parts import Items, State

__all__ = ["Form", "form_of", "is_plain", "plain_text"]

_PLAIN: Final[Codec[Any]] = codec(object)


class Form:
    """How the items of one list become text, and where the list is found in a value.

    Raises:
        InvalidError: the state's type has no field of this name.
    """

    def __init__(self, kind: type[Any] | None, name: str) -> None:
        self.name = name
        self.stored_name = name
        self._is_plain = is_plain(kind)
        self._codec: Codec[Any] = _PLAIN
        if kind is not None and not self._is_plain:
            self._codec = codec(_field(kind, name))
            self.stored_name = _stored_name(kind, name)

    def dump(self, items: list[Any]) -> list[bytes]:
        """Return each item as text.

        Raises:
            InvalidError: one has no JSON form, or is not of the state's type.
        """
        if self._is_plain:
            return [plain_text(self.name, item) for item in items]
        try:
            # What a type makes of its own text is what a later load and store would make of it.
            text = self._codec.dump(self._codec.load(self._codec.dump(items)))
        except InvalidError as error:
            raise InvalidError(self.name, error.problem) from error
        except CorruptError as error:
            raise InvalidError(self.name, f"it is not of the state's type: {error.__cause__}") from error
        return cast("Items", State.of(text).root)[:]

    def load(self, texts: list[bytes]) -> list[Any]:
        """Return the items of their texts."""
        return list(self._codec.load(b"[%b]" % b",".join(texts)))

    def found(self, value: object) -> list[Any]:
        """Return a copy of the list in a value; an empty one where there is none.

        Raises:
            InvalidError: it is no list.
        """
        return list(_found(value, self.name))

    def own(self, value: object) -> list[Any] | None:
        """Return the list in a value, to be changed in place, None when it cannot be."""
        found = _found(value, self.name)
        if isinstance(found, list):
            return found
        if not isinstance(value, dict):
            return None
        made = cast("dict[str, Any]", value)[self.name] = list(found)
        return made


@lru_cache(maxsize=1_024)
def form_of(kind: type[Any] | None, name: str) -> Form:
    """Return the form of the list that has this name in states of this type, made once.

    Raises:
        InvalidError: the type has no field of this name.
    """
    return Form(kind, name)


def is_plain(kind: type[Any] | None) -> bool:
    """Say whether states of this type are dicts of whatever JSON there is."""
    return kind is None or (get_origin(kind) or kind) is dict


def plain_text(name: str, value: object) -> bytes:
    """Return plain data as text; `name` is for the error.

    Raises:
        InvalidError: it would not come back as it is.
    """
    try:
        text = _PLAIN.dump(value)
    except InvalidError as error:
        raise InvalidError(name, error.problem) from error
    if msgspec.json.decode(text) != value:
        check_plain(name, value, limits.JSON_DEPTH)
    return text


def _found(value: object, name: str) -> list[Any] | tuple[Any, ...]:
    found: object = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else getattr(value, name, None)
    if found is None:
        return ()
    if not isinstance(found, list | tuple):
        raise InvalidError(name, f"it is a {type(found).__name__} in this state, not a list")
    items: list[Any] | tuple[Any, ...] = cast("Any", found)
    return items


def _field(kind: type[Any], name: str) -> Any:  # noqa: ANN401  a type is any annotation
    try:
        hints = get_type_hints(get_origin(kind) or kind)
    except (NameError, TypeError) as error:
        raise InvalidError(name, f"the fields of {kind!r} cannot be found: {error}") from error
    if name not in hints:
        raise InvalidError(name, f"{kind!r} has no field of this name")
    return hints[name]


def _stored_name(kind: type[Any], name: str) -> str:
    bare = get_origin(kind) or kind
    if issubclass(bare, msgspec.Struct):
        return next(field.encode_name for field in msgspec.structs.fields(bare) if field.name == name)
    return name
