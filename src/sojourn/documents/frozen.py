"""Values that nobody can write into, drafts made of them, and what of an old value a new one shares.

A document's value is frozen: its dicts, lists and sets are read-only ones, its objects instances of frozen twins
(`twins`). A draft is a deep copy of ordinary ones. What came of a draft is loaded anew, and takes from the old value
every part that is the same, so that who compares parts by identity finds what changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import msgspec

from sojourn.documents.twins import Twins, refuse, twins_of

__all__ = ["FrozenDict", "FrozenList", "FrozenSet", "freeze", "reconcile", "thaw"]

T = TypeVar("T")

_make_tuple: Final = cast("Callable[[type, list[object]], tuple[object, ...]]", cast("Any", tuple).__new__)

_MISSING: Final = object()

_PLAIN: Final = frozenset({str, int, bool, NoneType, bytes})
"""What is the same when it is of one type and equal."""

_LEAVES: Final = _PLAIN | {float, complex, date, datetime, time, timedelta, Decimal, UUID, msgspec.UnsetType}
"""What nobody can write into, and has nothing in it."""


class FrozenDict(dict[Any, Any]):
    """A dict that refuses changes. A copy of it is an ordinary one."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = refuse
    clear = pop = popitem = setdefault = update = refuse

    def __reduce_ex__(self, _: object) -> Any:  # noqa: ANN401  how a dict is made
        return dict, (dict(self),)


class FrozenList(list[Any]):
    """A list that refuses changes. A copy of it is an ordinary one."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = refuse
    append = clear = extend = insert = pop = remove = reverse = sort = refuse

    def __reduce_ex__(self, _: object) -> Any:  # noqa: ANN401  how a list is made
        return list, (list(self),)


class FrozenSet(set[Any]):
    """A set that refuses changes. A copy of it is an ordinary one."""

    __slots__ = ()
    __iand__ = __ior__ = __isub__ = __ixor__ = refuse
    add = clear = discard = pop = remove = update = refuse
    difference_update = intersection_update = symmetric_difference_update = refuse

    def __repr__(self) -> str:
        return repr(set(self))

    def __reduce_ex__(self, _: object) -> Any:  # noqa: ANN401  how a set is made
        return set, (set(self),)


def freeze(value: T) -> T:
    """Return a deep copy into which nobody can write; what is frozen already is returned as it is.

    An object of a class without fields cannot be frozen: it is copied.
    """
    return cast("T", _frozen(value))


def thaw(value: T) -> T:
    """Return a deep copy into which anybody can write, also where a class is frozen; it shares nothing that changes."""
    return cast("T", _thawed(value))


def reconcile(old: T, new: T) -> T:
    """Return a new value, frozen, made of parts of the old one wherever both are the same; all the same: the old one.

    Places are compared by dict key, field and index. Values of different types are not the same, nor are NaN and NaN,
    nor dicts in another order: no change is taken for none. `old` is frozen; `new` belongs to nobody else.
    """
    return cast("T", _reconciled(old, new))


def _frozen(value: Any) -> Any:  # noqa: ANN401  any value
    found = value.__class__
    if found in _LEAVES or found in _READ_ONLY:
        return value
    if (handle := _FREEZE.get(found)) is not None:
        return handle(value)
    if isinstance(value, tuple):
        return _tuple(cast("tuple[object, ...]", value), _frozen)
    if (twins := twins_of(found)) is None:
        return _other(value)
    if found is twins.frozen and found is not twins.ordinary:
        return value
    return _object(value, twins, twins.frozen, _frozen)


def _thawed(value: Any) -> Any:  # noqa: ANN401  any value
    found = value.__class__
    if found in _LEAVES:
        return value
    if (handle := _THAW.get(found)) is not None:
        return handle(value)
    if isinstance(value, tuple):
        return _tuple(cast("tuple[object, ...]", value), _thawed)
    if (twins := twins_of(found)) is None:
        return _other(value)
    return _object(value, twins, twins.mutable, _thawed)


def _frozen_dict(value: dict[Any, Any]) -> FrozenDict:
    if _LEAVES.issuperset(map(type, value.values())):
        return FrozenDict(value)
    return FrozenDict({name: part if type(part) in _LEAVES else _frozen(part) for name, part in value.items()})


def _frozen_list(value: list[Any]) -> FrozenList:
    if _LEAVES.issuperset(map(type, value)):
        return FrozenList(value)
    return FrozenList([part if type(part) in _LEAVES else _frozen(part) for part in value])


def _thawed_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    if _LEAVES.issuperset(map(type, value.values())):
        return dict(value)
    return {name: part if type(part) in _LEAVES else _thawed(part) for name, part in value.items()}


def _thawed_list(value: list[Any]) -> list[Any]:
    if _LEAVES.issuperset(map(type, value)):
        return list(value)
    return [part if type(part) in _LEAVES else _thawed(part) for part in value]


def _same(value: Any) -> Any:  # noqa: ANN401  any value
    return value


_READ_ONLY: Final = frozenset({FrozenDict, FrozenList, FrozenSet})
# What is in a set can be hashed, so it does not change.
_FREEZE: Final[dict[type, Callable[[Any], Any]]] = {
    dict: _frozen_dict,
    list: _frozen_list,
    set: FrozenSet,
    frozenset: _same,
}
_THAW: Final[dict[type, Callable[[Any], Any]]] = {
    dict: _thawed_dict,
    list: _thawed_list,
    set: set,
    frozenset: _same,
    FrozenDict: _thawed_dict,
    FrozenList: _thawed_list,
    FrozenSet: set,
}


def _tuple(value: tuple[object, ...], handle: Callable[[Any], Any]) -> tuple[object, ...]:
    parts = [handle(part) for part in value]
    return value if all(map(_is, parts, value)) else _tuple_of(type(value), parts)


def _object(value: Any, twins: Twins, into: type, handle: Callable[[Any], Any]) -> Any:  # noqa: ANN401  an instance
    fields: dict[str, object] = {}
    for name in twins.fields:
        part = getattr(value, name, _MISSING)
        if type(part) not in _LEAVES and part is not _MISSING and (new := handle(part)) is not part:
            fields[name] = new
    if not fields and into is type(value) is twins.frozen:
        return value
    return twins.changed(value, into, fields)


def _other(value: Any) -> Any:  # noqa: ANN401  of a class that is not known here
    return value if isinstance(value, Enum | type) else copy.deepcopy(value)


def _is(one: object, other: object) -> bool:
    return one is other


def _reconciled(old: Any, new: Any) -> Any:  # noqa: ANN401  any value
    found = new.__class__
    if found in _PLAIN:
        return old if type(old) is found and old == new else new
    if found is dict:
        return _reconciled_dict(old, new) if type(old) is FrozenDict else _frozen_dict(new)
    if found is list:
        return _reconciled_list(old, new) if type(old) is FrozenList else _frozen_list(new)
    if found in _LEAVES:
        return old if type(old) is found and _is_same_leaf(old, new) else new
    if found is set or found is frozenset:
        return _reconciled_set(old, new)
    if isinstance(new, tuple):
        return _reconciled_tuple(old, cast("tuple[object, ...]", new))
    if (twins := twins_of(found)) is not None:
        return _reconciled_object(old, new, twins)
    return old if type(old) is found and old == new else freeze(new)


def _reconciled_dict(old: FrozenDict, new: dict[Any, Any]) -> FrozenDict:
    if _is_same_plain(old.values(), new.values()) and list(old) == list(new):
        return old
    is_same = True
    find = old.get
    parts: dict[Any, Any] = {}
    for name, part in new.items():
        before = find(name, _MISSING)
        found = part.__class__
        if found not in _PLAIN:
            part = _reconciled(before, part)  # noqa: PLW2901  the one that is kept
            is_same = is_same and part is before
        elif type(before) is found and before == part:
            part = before  # noqa: PLW2901  likewise
        else:
            is_same = False
        parts[name] = part
    return old if is_same and list(old) == list(parts) else FrozenDict(parts)


def _reconciled_list(old: FrozenList, new: list[Any]) -> FrozenList:
    if _is_same_plain(old, new):
        return old
    known = len(old)
    parts = [_reconciled(old[at] if at < known else _MISSING, part) for at, part in enumerate(new)]
    return old if known == len(parts) and all(map(_is, old, parts)) else FrozenList(parts)


def _reconciled_tuple(old: Any, new: tuple[object, ...]) -> Any:  # noqa: ANN401  any value, and one tuple or the other
    if type(old) is not type(new) or len(old) != len(new):
        return _frozen(new)
    parts = [_reconciled(before, part) for before, part in zip(old, new, strict=True)]
    return old if all(map(_is, old, parts)) else _tuple_of(type(new), parts)


def _tuple_of(kind: Any, parts: list[object]) -> tuple[object, ...]:  # noqa: ANN401  a class of tuples
    return _make_tuple(kind, parts)  # one with names would take them one by one


def _reconciled_object(old: Any, new: Any, twins: Twins) -> Any:  # noqa: ANN401  instances of one class, or of two
    if type(old) is not twins.frozen:
        return _frozen(new)
    is_same = True
    fields: dict[str, object] = {}
    for name in twins.fields:
        before = getattr(old, name, _MISSING)
        part = getattr(new, name, _MISSING)
        kept = part if part is _MISSING else _reconciled(before, part)
        is_same = is_same and kept is before
        if kept is not part:
            fields[name] = kept
    return old if is_same else twins.changed(new, twins.frozen, fields)


def _reconciled_set(old: Any, new: set[Any] | frozenset[Any]) -> Any:  # noqa: ANN401  any value, and one or the other
    frozen = FrozenSet(new) if isinstance(new, set) else new
    is_same = type(old) is type(frozen) and old == new and set(map(type, old)) == set(map(type, new))
    return old if is_same else frozen


def _is_same_plain(old: Iterable[Any], new: Iterable[Any]) -> bool:
    """Say whether both have the same plain parts in the same order; what is more than plain is not looked at."""
    kinds = [*map(type, new)]
    return _PLAIN.issuperset(kinds) and kinds == [*map(type, old)] and [*old] == [*new]


def _is_same_leaf(old: Any, new: Any) -> bool:  # noqa: ANN401  two values of one type
    # 0.0 equals -0.0, 1.0 equals 1.00, and noon equals another hour elsewhere; their texts differ.
    return bool(old == new) and ((type(new) is float and new != 0) or str(old) == str(new))
