"""The session of an agent while it works: messages, artifacts and what else it keeps, with word of each change."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar, cast, overload
from uuid import uuid4

import msgspec

from sojourn.errors import InvalidError
from sojourn.kernel.change import changed
from sojourn.kernel.codec import Codec, codec
from sojourn.snapshots.model import checked_session
from sojourn.snapshots.parts import State
from sojourn.snapshots.recorded import Draft
from sojourn.snapshots.states import StateCodec

__all__ = ["AgentSession"]

S = TypeVar("S")

_log = logging.getLogger(__name__)

Listener: TypeAlias = Callable[[Any], object]
"""Gets a copy of what changed, and is an ordinary function."""

_ANY: Final[Codec[Any]] = codec(cast("Any", dict[str, Any] | list[Any] | str | int | float | bool))
"""Every JSON value but null, which is what a function gives that forgot to return."""


class AgentSession(Generic[S]):
    """The state of one session as an agent works on it: a dict with `messages`, `custom` and `artifacts`.

    All that goes in and out is a copy. Each call that changes something raises `version`. What cannot be stored is
    refused where it is given: with InvalidError, or LimitError where the state would become larger than
    `limits.SNAPSHOT_STATE_BYTES`, and then nothing was changed.

    Its id is the one given, else the state's `sessionId`, else a new one; the state carries it.

    Raises:
        InvalidError: the state is no dict of plain JSON data or of another session, or the id is no text or blank.
        LimitError: the state or the id is too large.
    """

    @overload
    def __init__(self: AgentSession[dict[str, Any]], state: None = None, *, session_id: str | None = None) -> None: ...
    @overload
    def __init__(self, state: S, *, session_id: str | None = None) -> None: ...
    def __init__(self, state: S | None = None, *, session_id: str | None = None) -> None:
        plain: StateCodec[S] = StateCodec(None)
        base = State({}) if state is None else plain.encode(state)
        named = msgspec.json.decode(base.member("sessionId") or b"null")
        own = checked_session(session_id if session_id is not None else named or str(uuid4()))
        if named and named != own:
            raise InvalidError("session_id", f"it is {own!r}, and the state is of the session {named!r}")
        self._begin(Draft(plain, base.with_member("sessionId", msgspec.json.encode(own))), own)

    @classmethod
    def over(cls, draft: Draft[S], *, session_id: str) -> Self:
        """Return a session that works on a draft, and adds no id to its state.

        Of a state with a type of its own it has the messages only.
        """
        session = cls.__new__(cls)
        cls._begin(session, draft, session_id)
        return session

    def _begin(self, draft: Draft[S], session_id: str) -> None:
        self.session_id = session_id
        """The id of the session."""
        self._draft = draft
        self._custom_changed = _Listeners()
        self._artifact_added = _Listeners()
        self._artifact_updated = _Listeners()

    @property
    def version(self) -> int:
        """A number that rises with every change, so that what did not change need not be saved again."""
        return self._draft.version

    def get_state(self) -> S:
        """Return the whole state."""
        return self._draft.copy()

    def get_messages(self) -> list[Any]:
        """Return the messages."""
        return self._draft.messages[:]

    def add_messages(self, *messages: object) -> None:
        """Put messages behind all others. That costs what they cost, however many there are."""
        self._draft.messages.extend(messages)

    def set_messages(self, messages: Iterable[object]) -> None:
        """Replace all messages by these."""
        self._draft.messages[:] = messages

    def get_custom(self) -> Any:  # noqa: ANN401  whatever the application keeps there
        """Return what the application keeps beside the messages, None when there is nothing."""
        return self._plain("custom").get("custom")

    def update_custom(self, change: Callable[[Any], Any]) -> None:
        """Replace what the application keeps by what a function makes of it. An equal value is no change.

        Raises:
            InvalidError: it is a coroutine, it gave nothing back, or what it gave is no plain JSON data.
            LimitError: the state would become too large.
        """
        version = self.version
        self._draft.put("custom", changed(change, self.get_custom(), _ANY))
        if self.version != version:
            self._custom_changed.tell(self.get_custom())

    def get_artifacts(self) -> list[Any]:
        """Return the artifacts."""
        return self._plain("artifacts").items("artifacts")[:]

    def add_artifacts(self, *artifacts: dict[str, Any]) -> None:
        """Put artifacts behind all others; one whose name is there already takes that one's place.

        Raises:
            InvalidError: one is no dict of plain JSON data; none was added.
            LimitError: the state would become too large; none was added.
        """
        every = self.get_artifacts()
        places = {name: place for place, artifact in enumerate(every) if (name := _name(artifact))}
        told: list[_Listeners] = []
        for artifact in artifacts:
            if not isinstance(cast("object", artifact), dict):
                raise InvalidError("artifacts", f"an artifact is a dict, not a {type(artifact).__name__}")
            name = _name(artifact)
            if name in places:
                every[places[name]] = artifact
                told.append(self._artifact_updated)
            else:
                if name:
                    places[name] = len(every)
                every.append(artifact)
                told.append(self._artifact_added)
        self._draft.items("artifacts")[:] = every
        for listeners, artifact in zip(told, artifacts, strict=True):
            listeners.tell(artifact)

    def on_custom_changed(self, listener: Listener) -> Callable[[], None]:
        """Have a function told what `update_custom` made; return what stops that.

        One that raises is logged, and the change stands. The same goes for the other listeners.

        Raises:
            InvalidError: the listener is no ordinary function.
        """
        return self._custom_changed.add(listener)

    def on_artifact_added(self, listener: Listener) -> Callable[[], None]:
        """Have a function told each artifact that is new; return what stops that.

        Raises:
            InvalidError: the listener is no ordinary function.
        """
        return self._artifact_added.add(listener)

    def on_artifact_updated(self, listener: Listener) -> Callable[[], None]:
        """Have a function told each artifact that took the place of another; return what stops that.

        Raises:
            InvalidError: the listener is no ordinary function.
        """
        return self._artifact_updated.add(listener)

    def _plain(self, name: str) -> Draft[S]:
        if not self._draft.is_plain:
            raise InvalidError(name, "of a state with a type of its own it is reached through the state")
        return self._draft


class _Listeners:
    """Who is to be told of one kind of change, in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def add(self, listener: Listener) -> Callable[[], None]:
        if not callable(cast("object", listener)) or inspect.iscoroutinefunction(listener):
            raise InvalidError("listener", "it is no ordinary function")
        mark = object()
        self._listeners[mark] = listener
        return lambda: cast("None", self._listeners.pop(mark, None))

    def tell(self, what: object) -> None:
        text = msgspec.json.encode(what)
        for mark, listener in list(self._listeners.items()):
            if mark not in self._listeners:  # an earlier one stopped it
                continue
            try:
                listener(msgspec.json.decode(text))
            except Exception:  # noqa: BLE001  whatever the application raises: the change stands
                _log.exception("a listener of a session of snapshots failed")


def _name(artifact: object) -> str | None:
    name: object = cast("dict[str, Any]", artifact).get("name") if isinstance(artifact, dict) else None
    return name if isinstance(name, str) else None
