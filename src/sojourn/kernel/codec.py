"""Values as bytes: JSON by default, and the first byte says the format.

    j  JSON in UTF-8
    z  JSON in UTF-8, compressed by Zstandard
    c  a large value, split into chunks (`kernel.chunks`)

Structs, dataclasses, attrs classes, TypedDicts and plain data go through msgspec; a Pydantic model goes through
Pydantic, which is imported only when such a type is seen. Never pickle: stored bytes cannot run anything.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final, Generic, TypeVar, cast, get_args

import msgspec

from sojourn import limits
from sojourn.errors import CorruptError, InvalidError, LimitError

__all__ = ["CHUNKED", "Codec", "check_plain", "codec", "pack", "problem", "unpack"]

T = TypeVar("T")

JSON: Final = b"j"
COMPRESSED: Final = b"z"
CHUNKED: Final = b"c"

_SHOWN: Final = 3
"""Problems that are shown of a value that has many."""


class Codec(Generic[T]):
    """Encodes values of one type, and decodes and validates them again."""

    def __init__(self, dump: Callable[[T], bytes], plain: Callable[[T], object], load: Callable[[bytes], T]) -> None:
        self._dump = dump
        self._plain = plain
        self._load = load

    def encode(self, value: T) -> bytes:
        """Return the value as bytes, compressed when that is worth it.

        Raises:
            InvalidError: the value has no JSON form: a NaN, an infinity, a foreign type, or nesting without end.
            LimitError: its JSON text is longer than `limits.CHUNKED_BYTES`.
        """
        return pack(self.dump(value))

    def decode(self, data: bytes) -> T:
        """Return the value that `encode` made the bytes of.

        Raises:
            CorruptError: the bytes are damaged, in an unknown format, or not of this type.
        """
        return self.load(unpack(data))

    def dump(self, value: T) -> bytes:
        """Return the value as JSON text.

        Raises:
            InvalidError: the value has no JSON form: a NaN, an infinity, a foreign type, or nesting without end.
        """
        try:
            text = self._dump(value)
            if b"null" in text:  # what both libraries make of a NaN, which must not turn into None unseen
                json.dumps(self._plain(value), allow_nan=False)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidError("value", f"it has no JSON form: {problem(error)}") from _silent(error)
        return text

    def load(self, text: bytes) -> T:
        """Return the value of JSON text.

        Raises:
            CorruptError: the text is damaged, or not of this type.
        """
        try:
            return self._load(text)
        except (ValueError, RecursionError) as error:
            raise CorruptError(f"a stored value is not of the type asked for: {problem(error)}") from _silent(error)


def pack(text: bytes) -> bytes:
    """Return JSON text as it is stored: behind the byte that names the format, compressed when that is worth it.

    Raises:
        LimitError: it is longer than `limits.CHUNKED_BYTES`; a small text that unpacks to a large one would be a trap.
    """
    if len(text) > limits.CHUNKED_BYTES:
        raise LimitError("value", limit=limits.CHUNKED_BYTES, found=len(text), unit="bytes")
    if len(text) >= limits.COMPRESS_FROM_BYTES:
        packed = _zstd().compress(text)
        if len(packed) < len(text):
            return COMPRESSED + bytes(packed)
    return JSON + text


def unpack(data: bytes) -> bytes:
    """Return the JSON text that `pack` stored.

    Raises:
        CorruptError: the bytes are damaged, or in an unknown format.
    """
    kind, text = data[:1], data[1:]
    if kind == COMPRESSED:
        return _decompressed(text)
    if kind != JSON:
        raise CorruptError(f"a stored value has the unknown format {kind!r}")
    return text


def codec(kind: type[T]) -> Codec[T]:
    """Return the codec of a type, made once.

    Raises:
        InvalidError: values of this type cannot be decoded from JSON.
    """
    made: Codec[T] = _made(kind)  # type: ignore[arg-type]  # classes are hashable, whatever T is
    return made


@lru_cache(maxsize=1_024)
def _made(kind: Any) -> Codec[Any]:  # noqa: ANN401  a cache forgets which type it was asked for
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and _holds(kind, pydantic.BaseModel):
        adapter: Any = pydantic.TypeAdapter(kind)
        # A field of another type would be stored after a warning only, and could not be read any more.
        dump = partial(adapter.dump_json, warnings="error")
        return Codec(dump, partial(adapter.dump_python, mode="json", warnings="error"), adapter.validate_json)
    try:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
    except (TypeError, ValueError) as error:
        raise InvalidError("type", f"values of {kind!r} cannot be stored: {error}") from error
    encode = msgspec.json.Encoder(enc_hook=_plain).encode
    return Codec(encode, partial(msgspec.to_builtins, enc_hook=_opaque), decoder.decode)


def _holds(kind: Any, model: type) -> bool:  # noqa: ANN401  whatever can be a type
    """Say whether it is a model, or a list, a union or the like of models."""
    if inspect.isclass(kind):
        return issubclass(kind, model)
    return any(_holds(inner, model) for inner in get_args(kind))


def problem(error: BaseException) -> str:
    """Return what is wrong with a value, and where, without the value itself, which Pydantic's own text repeats."""
    if type(error).__name__.startswith("PydanticSerialization"):
        return "a field holds what is not of its type"
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return str(error)
    problems = cast("list[dict[str, Any]]", listed(include_input=False, include_url=False))
    shown = [f"{one['msg']} - at `{_path(one['loc'])}`" for one in problems[:_SHOWN]]
    return "; ".join(shown) + ("" if len(problems) <= _SHOWN else f"; and {len(problems) - _SHOWN} more")


def _silent(error: Exception) -> Exception:
    """Return an error that may be logged as a cause: Pydantic's own repeat the value."""
    return ValueError(problem(error)) if type(error).__module__.startswith("pydantic") else error


def _path(places: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)


def check_plain(name: str, value: object, depth: int) -> None:
    """Let through what JSON gives back as it was: an encoder would quietly turn bytes or a date into text.

    Raises:
        InvalidError: it holds something else, or is nested more levels deep.
    """
    _check_plain(name, value, depth, depth)


def _check_plain(name: str, value: object, left: int, depth: int) -> None:
    if value is None or isinstance(value, str | int | float):
        return
    if left == 0:
        raise InvalidError(name, f"it is nested more than {depth} levels deep")
    children: list[object] = []
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        children = list(cast("list[object]", value))
    elif isinstance(value, dict) and all(isinstance(key, str) for key in cast("dict[object, object]", value)):
        children = list(cast("dict[str, object]", value).values())
    else:
        raise InvalidError(name, f"a {kind} in it is no plain JSON data (a dict needs text as names)")
    for child in children:
        _check_plain(name, child, left - 1, depth)


def _plain(value: object) -> int | float | str:
    """Take a number or a text that is more than that for what it is: a `Count` is an int."""
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _opaque(value: object) -> int | float | str | None:
    """Let JSON text that stands inside a value pass as it is: it has no number that is not JSON."""
    return None if isinstance(value, msgspec.Raw) else _plain(value)


def _zstd() -> Any:  # noqa: ANN401  one of two modules, by release of Python
    # Loading it takes longer than most programs spend on it, so only a value large enough does.
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    return zstd


def _decompressed(data: bytes) -> bytes:
    zstd = _zstd()
    decompressor = zstd.ZstdDecompressor()
    try:
        text: bytes = decompressor.decompress(data, max_length=limits.CHUNKED_BYTES + 1)
    except zstd.ZstdError as error:
        raise CorruptError(f"a stored value cannot be decompressed: {error}") from error
    if not decompressor.eof:
        raise CorruptError("a stored value is cut short, or larger than any that is written")
    return text
