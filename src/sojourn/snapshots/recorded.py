"""What a turn changes of a state, recorded as JSON text, so that it costs what changes and not what is there.

    draft.messages.append(message)       # encoded at once; what is there already is not looked at
    draft.state["custom"]["seen"] = 1    # the whole state, decoded; what is different is found at the end

A draft records until somebody asks for the whole state. From then on that value is the truth, and the lists that were
handed out before work on it, until a state is set: that is recorded again. Items go in and out as copies either way.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any, Final, Generic, TypeVar, cast, overload

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import ClosedError, InvalidError, LimitError
from sojourn.snapshots.form import Form, form_of, is_plain, plain_text
from sojourn.snapshots.parts import Items, State
from sojourn.snapshots.states import StateCodec

__all__ = ["Draft", "RecordedList"]

S = TypeVar("S")

_NONE: Final = Items()


class RecordedList(MutableSequence[Any]):
    """A list of a draft, such as its messages.

    What is read is a copy; to change an item, set it. What is put in is encoded at once, so what becomes of the object
    later does not matter. An iteration goes over what was there when it began. A list that is not there yet begins
    with the first item that is put in.

    Whatever changes it raises InvalidError for an item that has no JSON form or is not of the state's type, and
    LimitError when the state would be larger than `limits.SNAPSHOT_STATE_BYTES`; then nothing was changed.
    """

    def __init__(self, draft: Draft[Any], name: str) -> None:
        self._draft = draft
        self._form = form_of(draft.kind, name)  # type: ignore[arg-type]  # classes are hashable, whatever the type

    def __len__(self) -> int:
        return len(self._texts())

    @overload
    def __getitem__(self, place: int) -> Any: ...  # noqa: ANN401  an item is what the application made it
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        run = self._run(place)
        found = self._form.load(self._every()[cast("slice", place)] if run is None else self._texts().many(*run))
        return found if isinstance(place, slice) else found[0]

    @overload
    def __setitem__(self, place: int, item: object) -> None: ...
    @overload
    def __setitem__(self, place: slice, item: Iterable[object]) -> None: ...
    def __setitem__(self, place: int | slice, item: Any) -> None:
        texts = self._form.dump(list(item) if isinstance(place, slice) else [item])
        run = self._run(place)
        if run is None:
            every = self._every()
            every[cast("slice", place)] = texts
            run, texts = (0, len(every)), every
        self._replace(*run, texts)

    def __delitem__(self, place: int | slice) -> None:
        run, texts = self._run(place), list[bytes]()
        if run is None:
            texts = self._every()
            run = (0, len(texts))
            del texts[place]
        self._replace(*run, texts)

    def insert(self, index: int, value: object) -> None:
        """Put an item in front of the one at `index`."""
        self[index:index] = [value]

    def append(self, value: object) -> None:
        """Put an item behind all others. That costs what the item costs, however many there are."""
        self.extend((value,))

    def extend(self, values: Iterable[object]) -> None:
        """Put items behind all others: all of them or, when one is refused, none."""
        texts = self._form.dump(list(values))
        self._replace(len(self), len(self), texts)

    def clear(self) -> None:
        """Remove every item."""
        del self[:]

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | RecordedList):
            return NotImplemented
        return self[:] == list(cast("Iterable[object]", other))

    __hash__ = None  # type: ignore[assignment]  # as of any list

    def __repr__(self) -> str:
        return f"<{len(self)} recorded {self._form.name}>"  # and not what they say

    def _texts(self) -> _Texts | _Live:
        return self._draft.texts(self._form)

    def _every(self) -> list[bytes]:
        return self._texts().many(0, len(self))

    def _run(self, place: int | slice) -> tuple[int, int] | None:
        """Return where the items begin that are meant, and where they end; None when others stand between them."""
        count = len(self)
        if isinstance(place, slice):
            start, stop, step = place.indices(count)
            return (start, max(start, stop)) if step == 1 else None
        at = operator.index(place)
        at += count if at < 0 else 0
        if not 0 <= at < count:
            raise IndexError(f"there is no item {place} of {count}")
        return at, at + 1

    def _replace(self, start: int, stop: int, texts: list[bytes]) -> None:
        if texts != self._texts().many(start, stop):
            self._draft.replace(self._form, start, stop, texts)


class Draft(Generic[S]):
    """A state that is being changed. `base` is what it was, None when there is none yet.

    `version` rises with every change that is recorded, and with every state that is set.
    """

    def __init__(self, codec: StateCodec[S], base: State | None) -> None:
        self._is_closed = False
        self.version = 0
        self._codec = codec
        self._base = base
        self._begun = base
        self._recording = None if base is None else _Recording(base)
        self._value: S | UnsetType = UNSET

    @property
    def kind(self) -> type[S] | None:
        """The type of the whole state, None for plain dicts."""
        return self._codec.kind

    @property
    def is_plain(self) -> bool:
        """Say whether the state is a dict of whatever JSON there is."""
        return is_plain(self.kind)

    @property
    def messages(self) -> RecordedList:
        """The state's messages.

        Raises:
            InvalidError: the state's type has no such field.
        """
        return self.items("messages")

    def items(self, name: str) -> RecordedList:
        """Return the list of this name.

        Raises:
            InvalidError: the state's type has no such field.
        """
        return RecordedList(self, name)

    @property
    def state(self) -> S:
        """The whole state, to be changed in place where its type lets you, or set; one that is set is copied.

        Of a type whose lists cannot be changed in place this is another object after each change of a list.

        Raises:
            InvalidError: there is none yet, and its type needs arguments; or what is set is not of the type.
            LimitError: what is set is larger than `limits.SNAPSHOT_STATE_BYTES`.
            CorruptError: what is stored is not of the type.
        """
        if isinstance(self._value, UnsetType):
            self._value = self._codec.decode(self._record().result())
        return self._value

    @state.setter
    def state(self, value: S) -> None:
        self._check_open()
        self._record_from(self._codec.encode(value))
        self.version += 1

    def copy(self) -> S:
        """Return a copy of the whole state as it is now.

        Raises:
            InvalidError: there is none yet, and its type needs arguments; or what was changed in it cannot be stored.
            LimitError: it is larger than `limits.SNAPSHOT_STATE_BYTES`.
            CorruptError: what is stored is not of the type.
        """
        return self._codec.decode(self.result() or self._beginning())

    def result(self) -> State | None:
        """Return the state as it is now, made of parts of the base; None while there was none and nothing was given.

        Raises:
            InvalidError: what was changed in `state` cannot be stored.
            LimitError: it is larger than `limits.SNAPSHOT_STATE_BYTES`.
        """
        if not isinstance(self._value, UnsetType):
            state = self._shared(self._codec.encode(self._value))
        elif self._recording is not None:
            state = self._recording.result()
        else:
            return None
        return None if self._base is None and not self.version and state == self._begun else state

    def get(self, name: str) -> Any:  # noqa: ANN401  whatever the application keeps there
        """Return a copy of what has this name in a plain state, None when nothing has."""
        text = self._member(name)
        return None if text is None else msgspec.json.decode(text)

    def close(self) -> None:
        """Refuse changes from now on: what is here has been stored."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the turn has ended, so this would not be stored; take another turn")

    def put(self, name: str, value: object) -> None:
        """Give a copy of the value this name in a plain state. An equal one is no change.

        Raises:
            InvalidError: it is no plain JSON data.
            LimitError: the state would be larger than `limits.SNAPSHOT_STATE_BYTES`.
        """
        self._check_open()
        text = plain_text(name, value)
        if text == self._member(name):
            return
        if not isinstance(self._value, UnsetType):
            cast("dict[str, Any]", self._value)[name] = msgspec.json.decode(text)
        else:
            self._record().put(name, text)
        self.version += 1

    def texts(self, form: Form) -> _Texts | _Live:
        """Return the items of a list, to be read."""
        if isinstance(self._value, UnsetType):
            return self._record().texts(form)
        return _Live(form, form.found(self._value))

    def replace(self, form: Form, start: int, stop: int, texts: list[bytes]) -> None:
        """Replace a run of items of a list."""
        self._check_open()
        live = None if isinstance(self._value, UnsetType) else form.own(self._value)
        if live is not None:
            live[start:stop] = form.load(texts)
        else:
            if not isinstance(self._value, UnsetType):
                self._record_from(self._codec.encode(self._value))
            self._record().replace(form, start, stop, texts)
        self.version += 1

    def _member(self, name: str) -> bytes | None:
        if isinstance(self._value, UnsetType):
            return self._record().result().member(name)
        value = cast("dict[str, Any]", self._value)
        return plain_text(name, value[name]) if name in value else None

    def _beginning(self) -> State:
        if self._begun is None:
            self._begun = _first(self._codec)
        return self._begun

    def _record(self) -> _Recording:
        if self._recording is None:
            self._recording = _Recording(self._beginning())
        return self._recording

    def _record_from(self, state: State) -> None:
        self._recording = _Recording(self._shared(state))
        self._value = UNSET

    def _shared(self, state: State) -> State:
        return state if self._base is None else self._base.sharing(state)


class _Recording:
    """A state, and what its lists have become since."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lists: dict[str, _Texts] = {}
        self._size = state.size

    def texts(self, form: Form) -> _Texts:
        if form.stored_name not in self._lists:
            self._lists[form.stored_name] = _Texts(_items(self._state, form))
        return self._lists[form.stored_name]

    def replace(self, form: Form, start: int, stop: int, texts: list[bytes]) -> None:
        own = self.texts(form)
        self._grow(_weight(texts) - _weight(own.many(start, stop)))
        own.replace(start, stop, texts)

    def put(self, name: str, text: bytes) -> None:
        state = self.result().with_member(name, text)
        self._grow(state.size - self._size)
        self._state = state
        self._lists.clear()

    def result(self) -> State:
        changed = {name: texts.items() for name, texts in self._lists.items() if texts.is_changed}
        return State({**cast("dict[str, Any]", self._state.root), **changed}) if changed else self._state

    def _grow(self, by: int) -> None:
        size = self._size + by
        if size > limits.SNAPSHOT_STATE_BYTES:
            raise LimitError("state", limit=limits.SNAPSHOT_STATE_BYTES, found=size, unit="bytes")
        self._size = size


class _Texts:
    """A list as text: the items that stand as they were, and behind them those of this recording."""

    def __init__(self, items: Items) -> None:
        self.is_changed = False
        self._old = items
        self._new: list[bytes] = []

    def __len__(self) -> int:
        return len(self._old) + len(self._new)

    def many(self, start: int, stop: int) -> list[bytes]:
        count = len(self._old)
        return [*self._old[start:stop], *self._new[max(0, start - count) : max(0, stop - count)]]

    def replace(self, start: int, stop: int, texts: list[bytes]) -> None:
        count = len(self._old)
        if start < count:
            self._new[:0] = self._old
            self._old, count = _NONE, 0
        self._new[start - count : stop - count] = texts
        self.is_changed = True

    def items(self) -> Items:
        return self._old.plus(self._new) if self._new else self._old


class _Live:
    """A list of a value that has been handed out, read as if it were text."""

    def __init__(self, form: Form, found: list[Any]) -> None:
        self._form = form
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def many(self, start: int, stop: int) -> list[bytes]:
        return self._form.dump(self._found[start:stop])


def _first(codec: StateCodec[S]) -> State:
    """Return what a state begins as when nothing is given: what its type gives without arguments."""
    if codec.kind is None or is_plain(codec.kind):
        return State({})
    try:
        return codec.encode(codec.kind())
    except (TypeError, ValueError) as error:
        raise InvalidError("state", f"there is none yet, and {codec.kind!r} needs arguments; set it first") from error


def _items(state: State, form: Form) -> Items:
    if not isinstance(state.root, dict):
        raise InvalidError(form.name, "the state is no object, so nothing in it has a name")
    found = state.root.get(form.stored_name, b"null")
    if not isinstance(found, Items):
        if found != b"null":
            raise InvalidError(form.name, "it is something else in this state, not a list")
        return _NONE
    return found


def _weight(texts: list[bytes]) -> int:
    return sum(map(len, texts)) + len(texts)
