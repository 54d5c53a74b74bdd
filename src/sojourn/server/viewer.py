"""Whoever watches over one connection: which queries, for whom, and what the connection is told of them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Final, NamedTuple

import msgspec

from sojourn import limits
from sojourn.errors import FunctionUnknownError, InvalidError, RefusedError, SessionInvalidError, SessionUnknownError
from sojourn.functions import Bound, Call, Caller, Kind
from sojourn.kernel import Attempt
from sojourn.kernel.live import Reading, Transition, Update, Watch
from sojourn.server.reports import failure_told
from sojourn.server.tickets import Holder
from sojourn.sessions import Session, Sessions
from sojourn.wire import LiveQuery, LiveTransition, LiveUpdate, WatchChange

__all__ = ["Part", "Viewer"]

_TOKEN: Final = -1
"""The number under which the token's life is watched: no client can give it."""

_ALIVE: Final = b"null"
_ENCODER: Final = msgspec.json.Encoder()


class Part(NamedTuple):
    """A message of a transition, and whether it is its last."""

    text: bytes
    version: int
    is_last: bool


class Viewer:
    """Watches queries for one holder, for as long as its session and its token live.

    `session` is as it was found at the beginning, and `version` is below that of any transition to come.
    """

    def __init__(
        self,
        sessions: Sessions,
        bound: Bound | None,
        holder: Holder,
        session: Session | None,
        version: int,
        watch: Watch,
    ) -> None:
        self.session = session
        self.version = version
        self._bound = bound
        self._holder = holder
        self._watch = watch
        self._ids = set[int]()
        if holder.token is not None:
            watch.change(add={_TOKEN: _life(sessions, holder.token)})

    def change(self, asked: WatchChange) -> None:
        """Watch these from now on, and those not any more. What cannot be watched is in a state of error, and says why.

        Raises:
            InvalidError: a number is used that stands for another query.
            LimitError: they are more than one connection may watch.
        """
        kept = self._ids.difference(asked.remove)
        added = {query.id for query in asked.add}
        if len(added) < len(asked.add) or not kept.isdisjoint(added):
            raise InvalidError("id", "it stands for another query already")
        self._watch.change(
            add={query.id: self._reading(query) for query in asked.add}, remove=self._ids.intersection(asked.remove)
        )
        self._ids = kept | added

    def sync(self, number: int) -> None:
        """Have a later transition say that it shows all that was committed before now.

        Raises:
            LimitError: too many wait for that already.
        """
        self._watch.sync(number)

    async def parts(self) -> AsyncIterator[Part]:
        """Go on from transition to transition, for ever.

        Raises:
            SessionInvalidError: the session has ended, or the token does not open it any more.
            ClosedError: the store is closed.
        """
        async for transition in self._watch:
            updates = tuple(_shown(update) for update in transition.updates if not _is_of_token(update))
            if updates or transition.synced:
                for part in _parts(transition, updates):
                    yield part

    def close(self) -> None:
        """Watch nothing any more."""
        self._watch.close()

    def _reading(self, query: LiveQuery) -> Reading:
        holder = self._holder
        try:
            if self._bound is None:
                raise FunctionUnknownError("this server has no functions")
            function = self._bound.public(Kind.QUERY, query.function, is_operator=holder.is_operator)
            if function.takes_session and self.session is None:
                raise SessionUnknownError("this query runs for a session, and the ticket has none")
            caller = None if holder.subject is None else Caller(holder.subject, holder.is_operator)
            call = Call(function, self.session, bytes(query.arguments), caller=caller, is_operator=holder.is_operator)
            return self._bound.reading(call)
        except RefusedError as error:
            return _refusing(error)


def _life(sessions: Sessions, token: str) -> Reading:
    """Return what fails when the token opens no session any more. The tabs of one browser share it."""

    async def resolve(tx: Attempt) -> bytes:
        await sessions.resolve(token, tx=tx)
        return _ALIVE

    digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass")).digest()  # a key may be shown
    return Reading((sessions, digest), resolve)


def _is_of_token(update: Update) -> bool:
    """Say whether this is of the token's life; if that is over, raise it, before anything else is shown."""
    if update.id != _TOKEN:
        return False
    if isinstance(update.error, SessionInvalidError):
        raise update.error
    return True


def _refusing(error: RefusedError) -> Reading:
    async def refuse(_: Attempt) -> bytes:
        raise error

    return Reading(error, refuse)


def _shown(update: Update) -> LiveUpdate:
    if update.error is not None:
        return LiveUpdate(update.id, error=failure_told(update.error))
    return LiveUpdate(update.id, msgspec.Raw(update.result or b"null"))


def _parts(transition: Transition, updates: tuple[LiveUpdate, ...]) -> Iterator[Part]:
    *before, last = _divided(updates)
    for some in before:
        yield Part(
            _ENCODER.encode(LiveTransition(transition.version, some, more=True)), transition.version, is_last=False
        )
    text = _ENCODER.encode(LiveTransition(transition.version, last, transition.synced))
    yield Part(text, transition.version, is_last=True)


def _divided(updates: tuple[LiveUpdate, ...]) -> list[tuple[LiveUpdate, ...]]:
    """Divide updates so that no part has more than `limits.LIVE_PART_BYTES` of results, unless by a single one."""
    sizes = [len(update.result) if isinstance(update.result, msgspec.Raw) else 0 for update in updates]
    if sum(sizes) <= limits.LIVE_PART_BYTES:
        return [updates]
    parts = list[tuple[LiveUpdate, ...]]()
    begin = filled = 0
    for place, size in enumerate(sizes):
        if filled + size > limits.LIVE_PART_BYTES and place > begin:
            parts.append(updates[begin:place])
            begin, filled = place, 0
        filled += size
    return [*parts, updates[begin:]]
