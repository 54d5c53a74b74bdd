"""The types of dialogs that a process knows, and how an object of one is made from what is stored."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from sojourn import limits
from sojourn.dialogs.dialog import Dialog
from sojourn.dialogs.model import checked_name, checked_ttl
from sojourn.dialogs.stored import NOTHING, Row
from sojourn.errors import CorruptError, InvalidError, LimitError
from sojourn.kernel.codec import Codec, check_plain, codec

__all__ = ["Form", "Registered", "Registry", "VersionError", "annotated"]

R = TypeVar("R")

_DEPTH: Final = 64
_PLAIN: Final[Codec[Any]] = codec(object)


class VersionError(Exception):
    """A stored dialog is of a version of its type that this process cannot read. It is untouched."""


class Registered(Generic[R]):
    """One type of dialog: its class, name and version, and how its data and its result are stored."""

    def __init__(self, kind: type[Dialog[R]], name: str, version: object, scope: Mapping[str, Any]) -> None:
        kind.check_class()
        self.kind = kind
        self.name = checked_name("name", name)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise InvalidError("version", "it is a whole number from 1 on")
        self.version = version
        self._data = Form("data", annotated(kind, Dialog, scope))
        self._result = Form("result", _result_type(kind))
        self.concurrency = _one_of(kind, "concurrency", ("serial", "drop", "parallel"))
        self.stale = _one_of(kind, "stale", ("accept", "reject", "render"))
        limit = cast("object", kind.handler_limit)
        if not isinstance(limit, timedelta) or not timedelta() < limit <= limits.DIALOG_HANDLER:
            raise InvalidError("handler_limit", f"it is a timedelta above zero, at most {limits.DIALOG_HANDLER}")

    def begun(self, dialog_id: str, data: object) -> Dialog[R]:
        """Return an object for a dialog that is about to start.

        Raises:
            InvalidError: there is no data, and the type of it has no value of its own.
        """
        made = self.kind()
        made.dialog_id = dialog_id
        made.data = self._data.fresh() if data is msgspec.UNSET else data
        _set_up(made, 0, None, {})
        return made

    def revived(self, dialog_id: str, row: Row) -> Dialog[R]:
        """Return an object of what is stored.

        Raises:
            VersionError: it is of another version, which the class cannot read.
            CorruptError: it is not of the type asked for.
        """
        made = self.kind()
        made.dialog_id = dialog_id
        made.data = self._data.load(bytes(row.data) if row.version == self.version else self._migrated(row))
        if row.result != NOTHING:
            made.result = cast("R", self._result.load(bytes(row.result)))
        extra = {} if row.extra == NOTHING else cast("dict[str, Any]", _PLAIN.load(bytes(row.extra)))
        _set_up(made, row.page, row.stage, extra)
        return made

    def kept(self, dialog: Dialog[R], row: Row) -> Row:
        """Return the row with what the object holds now.

        Raises:
            InvalidError: something in it has no JSON form. LimitError: it is too large.
        """
        extra: dict[str, Any] = dialog.extra
        result = vars(dialog).get("result")
        return msgspec.structs.replace(
            row,
            version=self.version,
            data=self._data.dump(dialog.data),
            result=self.result_text(result),
            page=_checked_page(dialog.page),
            stage=_checked_stage(dialog.stage),
            extra=_EXTRA.dump(extra) if extra else NOTHING,
        )

    def result_text(self, result: object) -> msgspec.Raw:
        """Return a result as it is stored.

        Raises:
            InvalidError: it has no JSON form. LimitError: it is too large.
        """
        return NOTHING if result is None else self._result.dump(result)

    def result_of(self, text: msgspec.Raw) -> R | None:
        """Return a stored result.

        Raises:
            CorruptError: it is not of the type that the class declares.
        """
        return None if text == NOTHING else cast("R", self._result.load(bytes(text)))

    def _migrated(self, row: Row) -> bytes:
        if row.version > self.version:
            raise VersionError(f"a {self.name} of version {row.version} was found, and this process has {self.version}")
        try:
            moved = self.kind.migrate(row.version, msgspec.json.decode(row.data))
            return _PLAIN.dump(moved)
        except Exception as error:  # whatever the application's function raises
            raise VersionError(f"a {self.name} of version {row.version} cannot be read by {self.version}") from error


def _set_up(dialog: Dialog[Any], page: int, stage: str | None, extra: dict[str, Any]) -> None:
    dialog.page = page
    dialog.stage = stage
    dialog.extra = extra


def checked_life(dialog: Dialog[Any]) -> timedelta | None:
    """Return how long a dialog wants to live.

    Raises:
        InvalidError: it is no duration. LimitError: it is too long.
    """
    return checked_ttl(cast("object", dialog.ttl))


class Registry:
    """The types that one `Dialogs` knows, by class and by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Registered[Any]] = {}
        self._by_kind: dict[type, Registered[Any]] = {}
        self.is_mixed = False
        """Whether any of them is not serial, so that who finds a dialog busy has to look which kind it is."""

    def add(self, kind: type[Dialog[Any]], name: str, version: int, scope: Mapping[str, Any]) -> None:
        """Know a type from now on.

        Raises:
            InvalidError: it is no class of dialogs, or the name or the class is known already.
        """
        given = cast("object", kind)
        if not isinstance(given, type) or not issubclass(given, Dialog):
            raise InvalidError("dialog", "what is registered is a class derived from Dialog")
        try:
            inspect.signature(kind).bind()
        except TypeError as error:
            raise InvalidError("dialog", f"{kind.__name__} cannot be made without arguments: {error}") from error
        registered = Registered(kind, name, version, scope)
        if name in self._by_name or kind in self._by_kind:
            raise InvalidError("name", f"{name!r}, or {kind.__name__}, is registered already")
        self._by_name[name] = registered
        self._by_kind[kind] = registered
        self.is_mixed = self.is_mixed or registered.concurrency != "serial"

    def of_kind(self, kind: type[Dialog[R]]) -> Registered[R]:
        """Return what is known of a class.

        Raises:
            InvalidError: it was not registered.
        """
        found = self._by_kind.get(kind)
        if found is None:
            raise InvalidError("dialog", f"{getattr(kind, '__name__', kind)!s} is not registered with these dialogs")
        return found

    def named(self, name: str) -> Registered[Any] | None:
        """Return the type of this name, None where this process does not know it."""
        return self._by_name.get(name)


class Form:
    """How the data, or the result, of one type is stored: as its annotation says, or as plain JSON data."""

    def __init__(self, name: str, kind: Any) -> None:  # noqa: ANN401  any annotation is a type here
        self._name = name
        self._is_plain = kind is Any or kind is object
        self._kind = kind
        self._codec: Codec[Any] = _PLAIN if self._is_plain else codec(kind)

    def fresh(self) -> object:
        """Return a value that nobody has given anything for.

        Raises:
            InvalidError: the type has none.
        """
        if self._is_plain:
            return {}
        try:
            made = cast("Callable[[], object]", get_origin(self._kind) or self._kind)
            return made()
        except TypeError as error:
            raise InvalidError(self._name, f"give the data to start with: {self._kind!r} has no empty value") from error

    def dump(self, value: object) -> msgspec.Raw:
        """Return the value as it is stored.

        Raises:
            InvalidError: it has no JSON form, or is not of the declared type. LimitError: it is too large.
        """
        if self._is_plain:
            check_plain(self._name, value, _DEPTH)
        try:
            text = self._codec.dump(value)
        except InvalidError as error:
            raise InvalidError(self._name, error.problem) from error.__cause__
        if len(text) > limits.DIALOG_DATA_BYTES:
            raise LimitError(self._name, limit=limits.DIALOG_DATA_BYTES, found=len(text), unit="bytes")
        if not self._is_plain:
            try:
                loaded = self._codec.load(text)
            except CorruptError as error:
                raise InvalidError(self._name, f"it is not of the declared type: {error}") from error.__cause__
            if isinstance(value, dict) and not isinstance(loaded, dict):
                raise InvalidError(self._name, f"it is a dict; give a value of the declared type, {self._kind!r}")
        return msgspec.Raw(text)

    def load(self, text: bytes) -> object:
        """Return the value of what is stored.

        Raises:
            CorruptError: it is not of the declared type.
        """
        return self._codec.load(text)


def annotated(kind: type, root: type, scope: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the type that a class derived from `root` declares its data to be; `Any` where it declares none.

    Raises:
        InvalidError: the annotation names what is not there.
    """
    for one in kind.__mro__:
        if one is root:
            break
        declared: Any = inspect.get_annotations(one).get("data")
        if declared is None:
            continue
        if not isinstance(declared, str):
            return declared
        try:
            seen = get_type_hints(_only(declared), vars(sys.modules[one.__module__]), dict(scope))
        except (NameError, KeyError, SyntaxError) as error:
            raise InvalidError("data", f"its annotation names what is not there: {error}") from error
        return seen["data"]
    return Any


def _only(annotation: str) -> Any:  # noqa: ANN401  something with annotations
    return type("Data", (), {"__annotations__": {"data": annotation}})


def _result_type(kind: type[Dialog[Any]]) -> Any:  # noqa: ANN401
    """Return what a class says its result to be: `Dialog[bool]`; `Any` where it says nothing."""
    for one in kind.__mro__:
        for based in cast("tuple[Any, ...]", one.__dict__.get("__orig_bases__", ())):
            origin = get_origin(based)
            if isinstance(origin, type) and issubclass(origin, Dialog):
                declared = get_args(based)[0]
                return Any if isinstance(declared, TypeVar | str) else declared
    return Any


def _one_of(kind: type[Dialog[Any]], name: str, allowed: tuple[str, ...]) -> str:
    value: object = getattr(kind, name)
    if not isinstance(value, str) or value not in allowed:
        raise InvalidError(name, f"it is one of {', '.join(allowed)}")
    return value


def _checked_page(page: object) -> int:
    if isinstance(page, bool) or not isinstance(page, int) or not 0 <= page <= limits.DIALOG_PAGE_MAX:
        raise InvalidError("page", f"it is a whole number from 0 to {limits.DIALOG_PAGE_MAX}")
    return page


def _checked_stage(stage: object) -> str | None:
    return None if stage is None else checked_name("stage", stage)


_EXTRA: Final = Form("extra", Any)
