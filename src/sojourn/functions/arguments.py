"""From a handler's signature to a validator of its arguments and of its result.

Arguments come as one JSON object, whoever calls: a browser, or this process. Each keyword of the handler is a field of
it, checked strictly against its annotation (no "1" for 1, no 1 for True); an unknown field is refused by name.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError, LimitError, ResultInvalidError
from sojourn.kernel.codec import Codec, codec

__all__ = ["Signature"]

_RESERVED = frozenset({"ctx", "request_id", "session", "session_id"})
_LEADING = ("the context", "the session id")


class Signature:
    """What a handler takes behind its context and the session id, and what it returns."""

    def __init__(self, handler: Callable[..., Any], name: str) -> None:
        self._handler = handler
        self._name = name
        self._parameters = _keywords(handler, name)
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._result: Codec[Any] | None = None

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """Return arguments given in this process as the JSON text that a browser would send.

        Raises:
            InvalidError: an argument has no JSON form.
        """
        return codec(object).dump({name: _plain(value) for name, value in arguments.items()})

    def decode(self, text: bytes) -> dict[str, Any]:
        """Return the arguments of JSON text, by name and of the types declared.

        Raises:
            InvalidError: an argument is missing, unknown or of another type; the message says where.
            LimitError: the text is too long.
        """
        if len(text) > limits.ARGUMENTS_BYTES:
            raise LimitError("arguments", limit=limits.ARGUMENTS_BYTES, found=len(text), unit="bytes")
        if self._decoder is None:
            self._decoder = self._make_decoder()
        try:
            fields = self._decoder.decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise InvalidError("arguments", f"{self._name} does not take these: {error}") from error
        return {name: value for name in self._parameters if (value := getattr(fields, name)) is not msgspec.UNSET}

    def dump(self, result: object) -> bytes:
        """Return a result as JSON text.

        Raises:
            ResultInvalidError: it is not of the type declared.
            LimitError: it is too long.
        """
        try:
            text = self._results().dump(result)
            self._results().load(text)
        except (InvalidError, CorruptError) as error:
            raise ResultInvalidError(f"{self._name} returned what it does not declare: {error}") from error
        if len(text) > limits.RESULT_BYTES:
            raise LimitError("result", limit=limits.RESULT_BYTES, found=len(text), unit="bytes")
        return text

    def load(self, text: bytes) -> Any:  # noqa: ANN401  of the type that the handler declares
        """Return the result that JSON text stands for.

        Raises:
            CorruptError: it is not, or no longer, of the type declared.
        """
        return self._results().load(text)

    def _results(self) -> Codec[Any]:
        if self._result is None:
            hint = _hints(self._handler, self._name).get("return", Any)
            self._result = codec(type(None) if hint is None else hint)
        return self._result

    def _make_decoder(self) -> msgspec.json.Decoder[Any]:
        hints = _hints(self._handler, self._name)
        fields: list[Any] = []
        for name, parameter in self._parameters.items():
            kind = hints.get(name, Any)
            if parameter.default is inspect.Parameter.empty:
                fields.append((name, kind))
            else:  # left out, it stays out, and the handler's own default applies
                fields.append((name, kind, msgspec.UNSET))
        try:
            struct = msgspec.defstruct("arguments", fields, kw_only=True, forbid_unknown_fields=True)
            return msgspec.json.Decoder(struct, dec_hook=_foreign)
        except (TypeError, NameError) as error:
            raise InvalidError(self._name, f"its annotations cannot be checked: {error}") from error


def _keywords(handler: Callable[..., Any], name: str) -> dict[str, inspect.Parameter]:
    """Return the parameters behind context and session id, which are all keywords.

    Raises:
        InvalidError: the signature is not of the form (ctx, session_id, *, ...).
    """
    if not inspect.iscoroutinefunction(handler):
        raise InvalidError(name, "a function is `async def`")
    parameters = list(inspect.signature(handler).parameters.values())
    leading, rest = parameters[:2], parameters[2:]
    if len(leading) < len(_LEADING) or any(one.kind is not one.POSITIONAL_OR_KEYWORD for one in leading):
        raise InvalidError(name, f"its first two parameters are {' and '.join(_LEADING)}")
    for one in rest:
        if one.kind is not one.KEYWORD_ONLY:
            raise InvalidError(name, f"its parameter {one.name!r} is not keyword-only; put a * before it")
        if one.name in _RESERVED:
            raise InvalidError(name, f"its parameter {one.name!r} has a name that calls use themselves")
    return {one.name: one for one in rest}


def _hints(handler: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(handler, include_extras=True)
    except NameError as error:
        raise InvalidError(name, f"an annotation names what is not there: {error}") from error


def _plain(value: object) -> Any:  # noqa: ANN401  plain data of any shape
    return msgspec.to_builtins(value, enc_hook=_dumped)


def _dumped(value: Any) -> Any:  # noqa: ANN401
    if _is_model(value.__class__):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _foreign(kind: Any, value: Any) -> Any:  # noqa: ANN401
    if _is_model(kind):
        return kind.model_validate(value)
    raise TypeError(f"{kind!r} cannot be made from JSON")


def _is_model(kind: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)
