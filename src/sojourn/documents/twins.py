"""Twins of classes: a subclass whose instances refuse every change, or one whose instances take changes.

A value in memory is shared by all who read it, so nobody may write into it: an instance of a mutable class is kept as
an instance of its frozen twin. A draft is there to be written into: an instance of a frozen class becomes one of its
mutable twin. A twin has the name of its class, its instances are equal to ordinary ones with equal fields, and what
makes a new object of one (`replace`, `copy`, pickle, calling its class) gives an ordinary one.

Structs, dataclasses, attrs classes and Pydantic models have fields; nothing else does.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple, NoReturn, cast

import msgspec

__all__ = ["READ_ONLY", "Twins", "refuse", "twins_of"]

READ_ONLY: Final = "is read-only; change a document by update or edit"

_MISSING: Final = object()
_copied: Final = cast("Callable[[object], Any]", cast("Any", msgspec.Struct).__copy__)
_turn_into: Final = cast("Callable[[object, type], None]", vars(object)["__class__"].__set__)


def refuse(self: object, *_: object, **__: object) -> NoReturn:
    """Stand in for what would change a frozen value."""
    raise TypeError(f"a {type(self).__name__} of a document {READ_ONLY}")


class Twins(NamedTuple):
    """What is known of a class with fields: the class itself, and what its frozen and mutable instances are."""

    ordinary: type
    frozen: type
    mutable: type
    fields: tuple[str, ...]
    copied: tuple[str, ...]
    forgotten: frozenset[str]

    def copy(self, value: Any, into: Any) -> Any:  # noqa: ANN401  instances, and a class
        """Return a copy of an instance, not deep, as an instance of one of the three classes."""
        if isinstance(value, msgspec.Struct):
            same = _copied(value)
            _turn_into(same, into)
            return same
        made = object.__new__(into)
        if hasattr(value, "__dict__"):
            made.__dict__.update({name: found for name, found in value.__dict__.items() if name not in self.forgotten})
        for name in self.copied:
            if (found := getattr(value, name, _MISSING)) is not _MISSING:
                object.__setattr__(made, name, copy.copy(found) if type(found) in {dict, set} else found)
        return made

    def changed(self, value: Any, into: Any, fields: dict[str, object]) -> Any:  # noqa: ANN401  as `copy`
        """Return such a copy in which these fields are other ones."""
        made = self.copy(value, into)
        put = msgspec.structs.force_setattr if isinstance(made, msgspec.Struct) else object.__setattr__
        for name, found in fields.items():
            put(made, name, found)
        return made


@lru_cache(maxsize=1_024)
def twins_of(found: Any) -> Twins | None:  # noqa: ANN401  a class
    """Return what is known of a class, or of the class that this one is a twin of; None: it has no fields."""
    ordinary = found.__dict__.get("__ordinary__", found)
    if ordinary is not found:
        return twins_of(ordinary)
    fields = _fields(found)
    if fields is None:
        return None
    slots = () if issubclass(found, msgspec.Struct) else _slots(found)
    caches = frozenset(name for one in found.__mro__ for name, part in one.__dict__.items() if _is_cache(part))
    if not fields:  # nothing can be written into it, and a struct without fields cannot change its class
        return Twins(found, found, found, fields, slots, caches)
    if _is_frozen(found):
        return Twins(found, found, _twin(found, _Draft), fields, slots, caches)
    return Twins(found, _twin(found, _Frozen), found, fields, slots, caches)


class _Twin:
    """What every twin is: one that passes for an instance of its class, and makes ordinary ones."""

    __slots__ = ()

    def __init_subclass__(cls, **_: object) -> None:
        """Keep a twin from those who count the subclasses of its class."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Likewise."""

    def __eq__(self, other: object) -> bool:
        if type(other) is type(self):
            return super().__eq__(other)
        return bool(_ordinary(self) == _ordinary(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # each twin has that of its class

    def __copy__(self) -> Any:  # noqa: ANN401  an instance of the class
        return _ordinary(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:  # noqa: ANN401  an instance of the class
        return copy.deepcopy(_ordinary(self), memo)

    def __reduce_ex__(self, _: object) -> Any:  # noqa: ANN401  how an ordinary one is made
        return copy.copy, (_ordinary(self),)


class _Frozen(_Twin):
    __slots__ = ()
    __setattr__ = refuse
    __delattr__ = refuse


class _Draft(_Twin):
    __slots__ = ()


def _ordinary(value: Any) -> Any:  # noqa: ANN401  an instance of any class
    found = value.__class__
    twins = twins_of(found) if issubclass(found, _Twin) else None
    return value if twins is None else twins.copy(value, twins.ordinary)


def _twin(of: Any, form: type[_Twin]) -> type:  # noqa: ANN401  a class of some metaclass
    parts: dict[str, Any] = {
        "__module__": of.__module__,
        "__qualname__": of.__qualname__,
        "__doc__": of.__doc__,
        "__ordinary__": of,
        "__hash__": of.__hash__ if form is _Frozen else None,
    }
    options: dict[str, Any] = {}
    if issubclass(of, msgspec.Struct):
        parts["__post_init__"] = _becoming(of)
    else:
        parts["__slots__"] = ()
        parts["__new__"] = _making(of)
    if form is _Draft:
        if dataclasses.is_dataclass(of):
            parts |= {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
        else:
            options["frozen"] = False
    return cast("Callable[..., type]", type(of))(of.__name__, (form, of), parts, **options)


def _becoming(of: Any) -> Callable[[Any], None]:  # noqa: ANN401  a class of structs
    """Return what makes an ordinary struct of one that somebody makes by its twin, as `replace` does."""

    def become(self: Any) -> None:  # noqa: ANN401
        _turn_into(self, of)
        if (finish := getattr(of, "__post_init__", None)) is not None:
            finish(self)

    return become


def _making(of: Any) -> Callable[..., Any]:  # noqa: ANN401  a class of another kind
    """Likewise for other classes."""

    def make(_: object, *args: object, **options: object) -> Any:  # noqa: ANN401  an instance of the class
        return of(*args, **options)

    return make


def _fields(found: Any) -> tuple[str, ...] | None:  # noqa: ANN401  any class
    if issubclass(found, msgspec.Struct):
        return tuple(found.__struct_fields__)
    if dataclasses.is_dataclass(found):
        return tuple(field.name for field in dataclasses.fields(found))
    if hasattr(found, "__attrs_attrs__"):
        return tuple(field.name for field in found.__attrs_attrs__)
    if _is_model(found):
        more = ("__pydantic_extra__",) if found.model_config.get("extra") == "allow" else ()
        return (*found.model_fields, *more)
    return None


def _slots(found: Any) -> tuple[str, ...]:  # noqa: ANN401  a class
    named = (one.__dict__.get("__slots__", ()) for one in found.__mro__)
    every = (name for names in named for name in ((names,) if isinstance(names, str) else names))
    return tuple(name for name in every if name not in {"__dict__", "__weakref__"})


def _is_cache(part: object) -> bool:
    """Say whether a class keeps in each object what it computed of it: a draft computes that again."""
    return isinstance(part, cached_property)


def _is_frozen(found: Any) -> bool:  # noqa: ANN401  a class with fields
    if issubclass(found, msgspec.Struct):
        return bool(found.__struct_config__.frozen)
    if dataclasses.is_dataclass(found):
        return bool(cast("Any", found).__dataclass_params__.frozen)
    return bool(_is_model(found) and found.model_config.get("frozen"))


def _is_model(found: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(found, pydantic.BaseModel)
