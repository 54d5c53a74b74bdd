"""A state as a tree of JSON text, so that what changes is found and stored without decoding the rest.

Objects are taken apart by name, `limits.SNAPSHOT_PARTS_DEPTH` levels deep, and each list met there item by item; all
else stays the text that it is. Two states made from one another share the parts that did not change.

A change is stored as JSON itself:

    ["of", {name: change, ...}]        an object: these names change, the others stay
    ["+", at, gone, [item, ...]]       a list: from `at` on, `gone` items give way to these
    ["=", value]                       anything: it is this now
    ["-"]                              a name in an object: it is gone
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Raw

from sojourn import limits
from sojourn.errors import CorruptError

__all__ = ["Items", "Part", "State"]


class Items:
    """A list: the text of each item, and `size`, the bytes of the items together. It never changes.

    Lists that were made from one another by `plus` keep their items once: each shows the first `count` of what is
    `shared`, in which nobody else writes. So a list costs what is added to it, however long it is.
    """

    __slots__ = ("count", "shared", "size")

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        self.shared = list(texts)
        self.count = len(self.shared)
        self.size = sum(map(len, self.shared))

    def plus(self, texts: Iterable[bytes]) -> Items:
        """Return the list with these items behind its own, which are not looked at."""
        more = list(texts)
        longer = Items.__new__(Items)
        # Somebody else may have gone on from here in another way; only then the items are copied.
        longer.shared = self.shared if len(self.shared) == self.count else self.shared[: self.count]
        longer.shared += more
        longer.count = self.count + len(more)
        longer.size = self.size + sum(map(len, more))
        return longer

    def common(self, other: Items) -> int:
        """Return how many items both begin with."""
        high = min(self.count, other.count)
        if self.shared is other.shared:
            return high
        return _alike(self.shared[:high], other.shared[:high])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, places: slice) -> list[bytes]:
        start, stop, step = places.indices(self.count)
        return self.shared[start:stop:step]

    def __iter__(self) -> Iterator[bytes]:
        return islice(self.shared, self.count)

    def __eq__(self, other: object) -> bool:
        return self[:] == other[:] if isinstance(other, Items) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as for a list

    def __repr__(self) -> str:
        return f"Items({self[:]})"


Part: TypeAlias = "dict[str, Part] | Items | bytes"
"""An object by name, a list by item, or JSON text."""

_Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class _Of(msgspec.Struct, frozen=True, array_like=True, tag="of"):
    names: dict[str, _Of | _Splice | _Value | _Gone]


class _Splice(msgspec.Struct, frozen=True, array_like=True, tag="+"):
    at: _Whole
    gone: _Whole
    items: list[Raw]


class _Value(msgspec.Struct, frozen=True, array_like=True, tag="="):
    value: Raw


class _Gone(msgspec.Struct, frozen=True, array_like=True, tag="-"):
    pass


_Change: TypeAlias = _Of | _Splice | _Value

_GONE: Final = _Gone()
_CHANGE: Final[msgspec.json.Decoder[_Change]] = msgspec.json.Decoder(_Change)
_NAMES: Final = msgspec.json.Decoder(dict[str, Raw])
_ITEMS: Final = msgspec.json.Decoder(list[Raw])


class State:
    """One state, which never changes. `root` is not to be changed either."""

    __slots__ = ("root", "size")

    def __init__(self, root: Part) -> None:
        self.root: Final = root
        self.size: Final = _size(root)
        """Bytes of its text."""

    @classmethod
    def of(cls, text: bytes) -> State:
        """Take JSON text apart.

        Raises:
            CorruptError: it is no JSON.
        """
        try:
            _check_characters(text)
            state = cls(_taken_apart(text))
            if state.size != len(text):  # it is spaced, which must not make equal states differ
                state = cls(_taken_apart(msgspec.json.format(text, indent=-1)))
        except (ValueError, RecursionError) as error:
            raise CorruptError(f"a state is no JSON: {error}") from error
        return state

    def text(self) -> bytes:
        """Return the state as JSON text."""
        return _text(self.root)

    def difference(self, new: State) -> bytes | None:
        """Return the change that makes this state the new one, as JSON text; None when they are equal.

        The order of the names in an object is no difference.
        """
        change = _difference(self.root, new.root)
        return None if change is None else msgspec.json.encode(change)

    def after(self, changes: Iterable[bytes]) -> State:
        """Return the state after these changes, one behind the other.

        It shares with this one what they leave alone, and takes the time that their texts take to be read.

        Raises:
            CorruptError: one of them is no change, or none of the state that it meets.
        """
        root: _Opened = self.root
        try:
            for change in changes:
                _check_characters(change)
                root = _applied(root, _CHANGE.decode(change), limits.SNAPSHOT_PARTS_DEPTH)
        except (ValueError, RecursionError) as error:
            raise CorruptError(f"a change of a state cannot be read: {error}") from error
        return State(_closed(root))

    def sharing(self, new: State) -> State:
        """Return the new state, made of parts of this one wherever the two are alike."""
        change = self.difference(new)
        return self if change is None else self.after([change])

    def member(self, name: str) -> bytes | None:
        """Return the JSON text of what has this name, None when it is not there."""
        part = self.root.get(name) if isinstance(self.root, dict) else None
        return None if part is None else _text(part)

    def with_member(self, name: str, text: bytes) -> State:
        """Return the state in which this JSON text has this name, whatever had it before.

        Raises:
            CorruptError: the text is no JSON, or the state no object.
        """
        return self.after([msgspec.json.encode(_Of({name: _Value(Raw(text))}))])

    def __eq__(self, other: object) -> bool:
        return self.root == other.root if isinstance(other, State) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # no set needs it, and it would read everything

    def __repr__(self) -> str:
        return f"State({self.size} bytes)"


def _taken_apart(text: bytes) -> Part:
    bare = text.strip(b" \t\r\n")
    if not bare.startswith((b"{", b"[")):
        msgspec.json.decode(bare)
    return _split(Raw(bare), limits.SNAPSHOT_PARTS_DEPTH)


def _split(text: Raw, depth: int) -> Part:
    first = bytes(memoryview(text)[:1])
    if first == b"[":
        return Items(map(bytes, _ITEMS.decode(text)))
    if first == b"{" and depth:
        return {name: _split(inner, depth - 1) for name, inner in _NAMES.decode(text).items()}
    return bytes(text)


def _check_characters(text: bytes) -> None:
    """Refuse what is no UTF-8: of strings that stay as they are the decoder sees the ends only."""
    if not text.isascii():
        text.decode()


def _text(part: Part) -> bytes:
    pieces = list[bytes]()
    _write(part, pieces)
    return b"".join(pieces)


def _write(part: Part, pieces: list[bytes]) -> None:
    """Add the text piece by piece, so that what is large is copied once."""
    if isinstance(part, bytes):
        pieces.append(part)
    elif isinstance(part, Items):
        pieces.append(b"[")
        if len(part):
            inside = [b","] * (2 * len(part) - 1)
            inside[::2] = part[:]
            pieces += inside
        pieces.append(b"]")
    else:
        pieces.append(b"{")
        for place, (name, inner) in enumerate(part.items()):
            pieces.append((b",%b:" if place else b"%b:") % _name(name))
            _write(inner, pieces)
        pieces.append(b"}")


def _size(part: Part) -> int:
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, Items):
        return 2 + part.size + max(0, len(part) - 1)
    inside = sum(len(_name(name)) + 1 + _size(inner) for name, inner in part.items())
    return 2 + inside + max(0, len(part) - 1)


def _name(name: str) -> bytes:
    return msgspec.json.encode(name)


def _difference(old: Part, new: Part) -> _Change | None:
    if old is new:
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        return _difference_by_name(old, new)
    if isinstance(old, Items) and isinstance(new, Items):
        return _splice(old, new)
    return None if old == new else _Value(Raw(_text(new)))


def _difference_by_name(old: dict[str, Part], new: dict[str, Part]) -> _Of | None:
    names: dict[str, _Change | _Gone] = {name: _GONE for name in old if name not in new}
    for name, part in new.items():
        change = _difference(old[name], part) if name in old else _Value(Raw(_text(part)))
        if change is not None:
            names[name] = change
    return _Of(names) if names else None


def _splice(old: Items, new: Items) -> _Splice | None:
    start = old.common(new)
    before, after = old[start:], new[start:]
    end = _alike(before[::-1], after[::-1])
    gone, items = len(before) - end, after[: len(after) - end]
    return _Splice(start, gone, list(map(Raw, items))) if gone or items else None


def _alike(one: list[bytes], other: list[bytes]) -> int:
    """Return how many items both begin with, by halves: comparing many at once is what is fast."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:  # alike up to `low`, and not up to `high`
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class _Names(dict[str, "_Opened"]):
    """An object that is being changed."""


class _List:
    """A list that is being changed."""

    def __init__(self, items: Items) -> None:
        self.texts = items[:]
        self.size = items.size

    def splice(self, change: _Splice) -> None:
        stop = change.at + change.gone
        if stop > len(self.texts):
            raise CorruptError(f"a change of a state reaches up to item {stop} of {len(self.texts)}")
        items = list(map(bytes, change.items))
        self.size += sum(map(len, items)) - sum(map(len, self.texts[change.at : stop]))
        self.texts[change.at : stop] = items


_Opened: TypeAlias = "_Names | _List | Part"


def _applied(part: _Opened, change: _Change, depth: int) -> _Opened:
    """Return the part after a change; it is opened, once, for the changes that follow."""
    if isinstance(change, _Value):
        return _split(change.value, depth)
    if isinstance(change, _Splice):
        if isinstance(part, Items) and change.at == len(part) and not change.gone:
            return part.plus(map(bytes, change.items))
        items = _List(part) if isinstance(part, Items) else part
        if not isinstance(items, _List):
            raise CorruptError("a change of a state is one of a list, where no list is")
        items.splice(change)
        return items
    if not isinstance(part, dict):
        raise CorruptError("a change of a state is one of an object, where no object is")
    names = part if isinstance(part, _Names) else _Names(part)
    for name, inner in change.names.items():
        if isinstance(inner, _Value):
            names[name] = _split(inner.value, depth - 1)
        elif name not in names:
            raise CorruptError("a change of a state names something that is not there")
        elif isinstance(inner, _Gone):
            del names[name]
        else:
            names[name] = _applied(names[name], inner, depth - 1)
    return names


def _closed(part: _Opened) -> Part:
    if isinstance(part, _List):
        return Items(part.texts)
    if isinstance(part, _Names):
        return {name: _closed(inner) for name, inner in part.items()}
    return part
