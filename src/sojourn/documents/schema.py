"""What a document's value may be, and its way to JSON text and back.

A schema is a type, through the kernel's codec, or a function that says whether plain data is good. A value is checked
by being loaded from its own text, so what is in memory is always what a later load will give.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from sojourn import limits
from sojourn.documents.fidelity import lost
from sojourn.documents.frozen import freeze, reconcile
from sojourn.documents.twins import twins_of
from sojourn.errors import CorruptError, DocumentInvalidError, InvalidError, LimitError
from sojourn.kernel.codec import Codec, codec
from sojourn.kernel.codec import problem as problem_of

__all__ = ["Schema"]

T = TypeVar("T")


class Schema(Generic[T]):
    """What a document's value may be, and what it begins as.

    Raises:
        InvalidError: it is neither a type that can be stored nor a function that answers at once.
        DocumentInvalidError: the template breaks it.
        LimitError: the template is larger than `limits.DOCUMENT_BYTES`.
    """

    def __init__(self, schema: type[T] | Callable[[Any], object], template: T) -> None:
        self._check = None if _is_type(schema) else _checked_function(schema)
        kind: Any = object if self._check is not None else schema
        try:
            self._codec: Codec[T] = codec(kind)
        except TypeError as error:
            raise InvalidError("schema", f"{schema!r} is no type") from error
        self._class: type[T] | None = kind if isinstance(kind, type) and twins_of(kind) is not None else None
        self.template: T = self._begin(template)
        """What a document begins as, frozen."""

    def load(self, text: bytes, *, source: str, key: str | None) -> T:
        """Return the value of JSON text, fresh and not frozen. `source` and `key` are for the error.

        Raises:
            DocumentInvalidError: it breaks the schema; the problem says where.
        """
        try:
            value = self._codec.load(text)
        except CorruptError as error:
            raise DocumentInvalidError(problem_of(error.__cause__ or error), source=source, key=key) from error
        except Exception as error:  # what a class raises when it is made of values that it does not like
            raise DocumentInvalidError(f"{type(error).__name__}: {error}", source=source, key=key) from error
        if self._check is not None and (problem := _refusal(self._check, self._codec.load(text))) is not None:
            raise DocumentInvalidError(problem, source=source, key=key)
        return value

    def load_plain(self, plain: object, *, source: str, key: str | None) -> T:
        """Return the value of plain JSON data, fresh and not frozen.

        Raises:
            DocumentInvalidError: it breaks the schema, or is not plain JSON data; the problem says where.
            LimitError: it is larger than `limits.DOCUMENT_BYTES`.
        """
        try:
            text = codec(object).dump(plain)
            problem = lost(plain, codec(object).load(text))
        except (InvalidError, CorruptError) as error:
            raise DocumentInvalidError(str(error), source=source, key=key) from error
        if problem is not None:
            raise DocumentInvalidError(f"it is not plain JSON data: {problem}", source=source, key=key)
        _check_size(text)
        return self.load(text, source=source, key=key)

    def dump(self, value: T) -> bytes:
        """Return the JSON text of a value.

        Raises:
            InvalidError: it has no JSON form: a NaN, a foreign type, or nesting without end.
        """
        return self._codec.dump(value)

    def changed(self, value: T, old: T, *, key: str) -> T:
        """Return what a document becomes: the value, frozen, sharing with the old one what is the same; or the old one.

        Raises:
            DocumentInvalidError: it breaks the schema.
            InvalidError: it has no JSON form, or would come back from it as something else; nothing is changed quietly.
            LimitError: it is larger than `limits.DOCUMENT_BYTES`.
        """
        return reconcile(old, self._checked(value, source="change", key=key))

    def _begin(self, template: T) -> T:
        try:
            return freeze(self._checked(template, source="template", key=None))
        except InvalidError as error:
            raise DocumentInvalidError(error.problem, source="template") from error

    def _checked(self, value: T, *, source: str, key: str | None) -> T:
        if self._class is not None and not isinstance(value, self._class):
            problem = f"it is of the type {type(value).__name__}, not {self._class.__name__}"
            raise DocumentInvalidError(problem, source=source, key=key)
        text = self._text(value, source, key)
        _check_size(text)
        loaded = self.load(text, source=source, key=key)
        different = lost(value, loaded)
        if different is not None:
            raise InvalidError("value", f"JSON does not give it back as it is: {different}")
        return loaded

    def _text(self, value: T, source: str, key: str | None) -> bytes:
        try:
            return self.dump(value)
        except InvalidError as error:
            if type(error.__context__).__name__ != "PydanticSerializationError":  # its cause does not repeat the value
                raise
            unchecked = _dumped_anyhow(value)
            if unchecked is None:
                raise
            # A field is not what its model says. A load tells where, without repeating the value as this error does.
            self.load(unchecked, source=source, key=key)
            raise DocumentInvalidError("a field is of another type than it says", source=source, key=key) from None


def _dumped_anyhow(model: Any) -> bytes | None:  # noqa: ANN401  a Pydantic model
    try:
        text: str = model.model_dump_json(warnings=False)
    except ValueError:
        return None
    return text.encode()


def _check_size(text: bytes) -> None:
    if len(text) > limits.DOCUMENT_BYTES:
        raise LimitError("document", limit=limits.DOCUMENT_BYTES, found=len(text), unit="bytes")


def _is_type(schema: object) -> bool:
    """Say whether it is a type: a class, or what is written as one, such as `dict[str, int]`."""
    return isinstance(schema, type) or typing.get_origin(schema) is not None or not callable(schema)


def _checked_function(schema: Any) -> Callable[[Any], object]:  # noqa: ANN401  whatever can be called
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if any(is_kind(called) for is_kind in kinds for called in (schema, schema.__call__)):
        raise InvalidError("schema", "a function that checks values cannot wait")
    return cast("Callable[[Any], object]", schema)


def _answer(check: Callable[[Any], object], value: object) -> object:
    try:
        answer = check(value)
    except Exception as error:  # noqa: BLE001  it says no by raising
        return False, f"{type(error).__name__}: {error}"
    if inspect.iscoroutine(answer):
        answer.close()
    return answer


def _says(answer: object) -> bool:
    """Say whether an answer is a yes or a no."""
    if isinstance(answer, tuple):
        return any(isinstance(said, bool) for said in cast("tuple[object, ...]", answer)[:1])
    return isinstance(answer, bool)


def _refusal(check: Callable[[Any], object], value: object) -> str | None:
    answer = _answer(check, value)
    if not _says(answer):
        return f"the schema said neither True nor False, but {type(answer).__name__}"
    if isinstance(answer, tuple):
        good, *why = cast("tuple[object, ...]", answer)
        return None if good else ": ".join(map(str, why)) or "the schema said no"
    return None if answer else "the schema said no"
