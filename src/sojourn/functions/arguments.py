"""From a handler's signature to a validator of its arguments and of its result.

Arguments come as one JSON object, whoever calls: a browser, or this process. Each keyword of the handler is a field of
it, checked strictly against its annotation (no "1" for 1, no 1 for True); an unknown field is refused by name. What
layers consume are fields beside them; one that is declared in several places is of one type, and required if it is
required in any. A handler with `**arguments: Any` instead of names takes any object, unchecked.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError, LimitError, ResultInvalidError
from sojourn.kernel.codec import Codec, codec

__all__ = ["Argument", "Consumed", "Parts", "RESERVED", "Signature"]

RESERVED: Final = frozenset({"caller", "ctx", "function", "request_id", "self", "session", "session_id"})
"""Names that no argument has: a caller who sends them is refused."""

_LEADING = ("the context", "the session id")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_UNCHECKED = (Any, "Any", "typing.Any")


class Consumed(NamedTuple):
    """What a layer consumes: the fields of a struct."""

    layer: str
    kind: type[msgspec.Struct]


class Argument(NamedTuple):
    """One argument: its annotation, and whether it may not be left out."""

    kind: Any
    is_required: bool


class Parts(NamedTuple):
    """The arguments of one call: the handler's own, those of them that layers consume too, and what each consumes."""

    own: dict[str, Any]
    shared: dict[str, Any]
    consumed: tuple[msgspec.Struct, ...]


class Signature:
    """What a function takes and returns: its handler's keywords, and what its layers consume.

    `taken` is how many parameters the handler has between the session id and its keywords, for layers to fill. Without
    `takes_session` it has no session id.
    """

    def __init__(
        self,
        handler: Callable[..., Any],
        name: str,
        *,
        consumed: Sequence[Consumed] = (),
        taken: int = 0,
        takes_session: bool = True,
    ) -> None:
        self._handler = handler
        self._name = name
        self._consumed = consumed
        leading = _LEADING if takes_session else _LEADING[:1]
        self._parameters, self._is_open = _keywords(handler, name, leading, taken)
        self._shared = frozenset(field.name for _, field in self._consumed_fields()) & self._parameters.keys()
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._result: Codec[Any] | None = None
        if consumed and self._is_open:
            raise InvalidError(
                name, f"it names no arguments, and its layer {consumed[0].layer} consumes some; name them"
            )
        self._check_shared()

    def arguments(self) -> Mapping[str, Argument] | None:
        """Return what callers may send, by name, with what layers consume; None where they may send anything.

        Raises:
            InvalidError: an annotation names what is not there.
        """
        if self._is_open:
            return None
        hints = _hints(self._handler, self._name)
        found = {name: Argument(hints.get(name, Any), _is_required(one)) for name, one in self._parameters.items()}
        for _, field in self._consumed_fields():
            is_required = field.required or (field.name in found and found[field.name].is_required)
            found[field.name] = Argument(field.type, is_required)
        return found

    @property
    def returns(self) -> Any:  # noqa: ANN401  an annotation
        """The annotation of the result."""
        return _hints(self._handler, self._name).get("return", Any)

    def encode(self, arguments: Mapping[str, Any], consumed: Sequence[object] = ()) -> bytes:
        """Return arguments given in this process as the JSON text that a browser would send.

        Raises:
            InvalidError: an argument has no JSON form, or what its layers consume was not given as they consume it.
        """
        fields = {name: _plain(value) for name, value in arguments.items()}
        if consumed or self._consumed:
            self._add_consumed(fields, consumed)
        return codec(object).dump(fields)

    def check(self, text: bytes) -> None:
        """Refuse JSON text that is not what the function takes.

        Raises:
            InvalidError: an argument is missing, unknown or of another type; the message says where.
            LimitError: the text is too long.
        """
        if self._consumed:
            self.parts(text)
        else:
            self.decode(text)

    def decode(self, text: bytes) -> dict[str, Any]:
        """Return the arguments of JSON text, by name and of the types declared, where no layer consumes any.

        Raises:
            InvalidError: an argument is missing, unknown or of another type; the message says where.
            LimitError: the text is too long.
        """
        fields = self._fields(text)
        if self._is_open:
            return self._checked_open(fields)
        return {name: value for name in self._parameters if (value := getattr(fields, name)) is not msgspec.UNSET}

    def parts(self, text: bytes) -> Parts:
        """Return the arguments of JSON text, apart for the handler and for each layer that consumes.

        Raises:
            InvalidError: an argument is missing, unknown or of another type; the message says where.
            LimitError: the text is too long.
        """
        if self._is_open or not self._consumed:
            return Parts(self.decode(text), {}, ())
        fields = self._fields(text)
        found = {
            name: value for name in fields.__struct_fields__ if (value := getattr(fields, name)) is not msgspec.UNSET
        }
        own = {name: value for name, value in found.items() if name in self._parameters}
        shared = {name: own.pop(name) for name in self._shared & own.keys()}
        try:
            return Parts(own, shared, tuple(_made(kind, found) for _, kind in self._consumed))
        except (TypeError, ValueError) as error:  # of its __post_init__
            raise InvalidError("arguments", f"{self._name} does not take these: {error}") from error

    def missing(self, arguments: Mapping[str, Any]) -> str | None:
        """Return the name of an argument that the handler cannot do without and that is not among these."""
        return next(
            (name for name in sorted(self._shared - arguments.keys()) if _is_required(self._parameters[name])), None
        )

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
            self._result = codec(self.returns)
        return self._result

    def _fields(self, text: bytes) -> Any:  # noqa: ANN401  a struct made for this signature, or a dict
        if len(text) > limits.ARGUMENTS_BYTES:
            raise LimitError("arguments", limit=limits.ARGUMENTS_BYTES, found=len(text), unit="bytes")
        if self._decoder is None:
            self._decoder = self._make_decoder()
        try:
            return self._decoder.decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise InvalidError("arguments", f"{self._name} does not take these: {error}") from error

    def _checked_open(self, fields: dict[str, Any]) -> dict[str, Any]:
        parameters = inspect.signature(self._handler).parameters.values()
        own = {one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD}
        for name in fields:
            if name in own or name in RESERVED:
                raise InvalidError("arguments", f"{self._name} does not take {name!r}, which is no argument")
        return fields

    def _make_decoder(self) -> msgspec.json.Decoder[Any]:
        arguments = self.arguments()
        if arguments is None:
            return msgspec.json.Decoder(dict[str, Any])
        # Left out, an optional one stays out, and the default of the handler or of the struct applies.
        fields: list[Any] = [
            (name, one.kind) if one.is_required else (name, one.kind, msgspec.UNSET) for name, one in arguments.items()
        ]
        try:
            struct = msgspec.defstruct("arguments", fields, kw_only=True, forbid_unknown_fields=True)
            return msgspec.json.Decoder(struct, dec_hook=_foreign)
        except (TypeError, NameError) as error:
            raise InvalidError(self._name, f"its annotations cannot be checked: {error}") from error

    def _consumed_fields(self) -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
        for layer, kind in self._consumed:
            for field in msgspec.structs.fields(kind):
                yield layer, field

    def _check_shared(self) -> None:
        """Refuse an argument that is of one type here and of another there."""
        known: dict[str, tuple[str, Any]] = {}
        if self._shared:
            hints = _hints(self._handler, self._name)
            known = {name: (f"the handler {self._name}", hints.get(name, Any)) for name in self._shared}
        for layer, field in self._consumed_fields():
            place, kind = known.setdefault(field.name, (f"the layer {layer}", field.type))
            if kind != field.type:
                found = f"{kind!r} in {place} and {field.type!r} in the layer {layer}"
                raise InvalidError(self._name, f"its argument {field.name!r} is {found}; make it one type")

    def _add_consumed(self, fields: dict[str, Any], consumed: Sequence[object]) -> None:
        kinds = tuple(kind for _, kind in self._consumed)
        if len(kinds) != len(consumed) or not all(map(isinstance, consumed, kinds)):
            wanted = ", ".join(kind.__name__ for kind in kinds) or "nothing"
            raise InvalidError("arguments", f"{self._name} takes {wanted} before its keywords")
        for struct in consumed:
            for name, value in _plain(struct).items():
                if name in fields and fields[name] != value:
                    raise InvalidError("arguments", f"{self._name} was given two values for {name!r}")
                fields[name] = value


def _keywords(
    handler: Callable[..., Any], name: str, wanted: Sequence[str], taken: int
) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters behind those `wanted` first and what layers add, which are all keywords; or that all go.

    Raises:
        InvalidError: the signature is not of the form (ctx, session_id, *, ...), or (ctx, *, ...) without a session.
    """
    parameters = list(inspect.signature(handler).parameters.values())
    leading, rest = parameters[: len(wanted) + taken], parameters[len(wanted) + taken :]
    if len(leading) < len(wanted) + taken or any(one.kind not in _POSITIONAL for one in leading):
        behind = "" if not taken else f", then {taken} for what its layers add"
        raise InvalidError(name, f"its first parameters are {' and '.join(wanted)}{behind}")
    if len(rest) == 1 and rest[0].kind is rest[0].VAR_KEYWORD and rest[0].annotation in _UNCHECKED:
        return {}, True
    for one in rest:
        if one.kind is not one.KEYWORD_ONLY:
            raise InvalidError(name, f"its parameter {one.name!r} is not keyword-only; put a * before it")
        if one.name in RESERVED:
            raise InvalidError(name, f"its parameter {one.name!r} has a name that calls use themselves")
    return {one.name: one for one in rest}, False


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _made(kind: type[msgspec.Struct], found: Mapping[str, Any]) -> msgspec.Struct:
    return kind(**{name: found[name] for name in kind.__struct_fields__ if name in found})


def _hints(handler: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(handler, include_extras=True)
    except NameError as error:
        raise InvalidError(name, f"an annotation names what is not there: {error}") from error


def _plain(value: object) -> Any:  # noqa: ANN401  plain data of any shape
    try:
        return msgspec.to_builtins(value, enc_hook=_dumped)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidError("arguments", f"they have no JSON form: {error}") from error


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
