"""What a browser says of its visitor: that it is here, what it did, that it goes.

The id that a browser sends is its secret. Everything here goes by a hash of it, so that who sees a listing cannot act
for anybody. Whoever is filtered is answered like everybody else, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import InvalidError, LimitError, VisitorUnknownError
from sojourn.kernel import Store
from sojourn.server.exchange import Answer, Request, json_answer, read_json
from sojourn.server.rate import Budget
from sojourn.server.routes import Route
from sojourn.visits import ActionInput, Arrival, Batch, Judge, Visits, visitor_of
from sojourn.wire import (
    ActionRefusal,
    ActionsAnswer,
    ActionsRequest,
    LeftAnswer,
    PresenceAnswer,
    PresenceLeaveRequest,
    PresenceRequest,
    VisitAnswer,
    VisitRequest,
)

__all__ = ["Newcomers", "VisitorRoutes"]

T = TypeVar("T")

_VISIT: Final = msgspec.json.Decoder(VisitRequest)
_ACTIONS: Final = msgspec.json.Decoder(ActionsRequest)
_PRESENCE: Final = msgspec.json.Decoder(PresenceRequest)
_PRESENCE_LEAVE: Final = msgspec.json.Decoder(PresenceLeaveRequest)

_SECRETS: Final = frozenset({b"authorization", b"cookie", b"sojourn-session"})


class _Numbered(msgspec.Struct, frozen=True):
    sequence: int


_NUMBERED: Final = msgspec.json.Decoder(_Numbered)
_ACTION: Final = msgspec.json.Decoder(ActionInput)
_DATA: Final = msgspec.json.Decoder(object)


class Newcomers:
    """How many of them may come in a minute: from one address, and over all addresses and processes."""

    def __init__(self, store: Store, name: str, per_minute: int, site_per_minute: int) -> None:
        self._by_address = Budget(store, name, per_minute)
        self._in_all = Budget(store, f"{name} of the site", site_per_minute)

    async def spend(self, address: str) -> None:
        """Let one more in.

        Raises:
            RateLimitedError: there were too many in this minute; nothing is to be written.
            UnavailableError: the store could not be reached.
        """
        await self._by_address.spend(address)
        await self._in_all.spend("")


class VisitorRoutes:
    """The routes that pages ask about visits and rooms. They are taken from beacons too, which call JSON text."""

    def __init__(self, visits: Visits, judge: Judge, per_minute: int) -> None:
        self._visits = visits
        self._judge = judge
        self._visitors = Newcomers(visits.store, "visitors", per_minute, limits.RATE_SITE_VISITORS)
        self._tabs = Newcomers(visits.store, "tabs", per_minute, limits.RATE_SITE_VISITORS)
        self._interval_ms = _milliseconds(min(limits.VISIT_INTERVAL, visits.terms.active_for / limits.ROOM_DEADLINE))
        self.table: dict[str, dict[str, Route]] = {
            "/visit": {"POST": self.visit},
            "/visit/leave": {"POST": self.leave},
            "/visit/actions": {"POST": self.actions},
            "/presence": {"POST": self.presence},
            "/presence/leave": {"POST": self.leave_room},
        }

    async def visit(self, request: Request) -> Answer:
        """Note that a visitor is here."""
        asked: VisitRequest = await read_json(request, _VISIT, as_text=True)
        tracked = self._admits(request)
        if tracked:
            visitor = await self._visitor(asked.visitor, request)
            try:
                await self._visits.track_known_session(visitor)
            except VisitorUnknownError:
                await self._visitors.spend(request.client)
                await self._visits.track_session(visitor)
        return json_answer(VisitAnswer(tracked, self._interval_ms))

    async def leave(self, request: Request) -> Answer:
        """Note that a visitor has gone: also for somebody who is not tracked any more."""
        asked: VisitRequest = await read_json(request, _VISIT, as_text=True)
        await self._visits.leave(await self._visitor(asked.visitor, request))
        return json_answer(LeftAnswer())

    async def actions(self, request: Request) -> Answer:
        """Record what a visitor did, each action by itself."""
        asked: ActionsRequest = await read_json(request, _ACTIONS, as_text=True)
        if len(asked.actions) > limits.ACTION_BATCH:
            raise LimitError("actions", limit=limits.ACTION_BATCH, found=len(asked.actions), unit="actions")
        if not self._admits(request):
            return json_answer(ActionsAnswer(tracked=False))
        visitor = await self._visitor(asked.visitor, request)
        answer = ActionsAnswer(tracked=True)
        if asked.actions:
            answer = await self._record(visitor, asked, request.client)
        if asked.leaving:
            await self._visits.leave(visitor)
        return json_answer(answer)

    async def presence(self, request: Request) -> Answer:
        """Note that a tab is in a room."""
        asked: PresenceRequest = await read_json(request, _PRESENCE, as_text=True)
        member = visitor_of(asked.visitor)
        room = self._visits.room(asked.room)
        interval_ms = _milliseconds(room.interval)
        if not self._admits(request):
            return json_answer(PresenceAnswer(tracked=False, token=None, interval_ms=interval_ms))
        data = UNSET if isinstance(asked.data, UnsetType) else _decoded("data", _DATA, asked.data)
        try:
            seat = await room.heartbeat(member, asked.tab, data=data, token=asked.token, known=True)
        except VisitorUnknownError:
            await self._tabs.spend(request.client)
            seat = await room.heartbeat(member, asked.tab, data=data)
        return json_answer(PresenceAnswer(tracked=True, token=seat.token, interval_ms=interval_ms))

    async def leave_room(self, request: Request) -> Answer:
        """Note that a tab has left its room."""
        asked: PresenceLeaveRequest = await read_json(request, _PRESENCE_LEAVE, as_text=True)
        await self._visits.leave_room(asked.token)
        return json_answer(LeftAnswer())

    async def _record(self, visitor: str, asked: ActionsRequest, address: str) -> ActionsAnswer:
        readable, unreadable = _read(asked.actions)
        if await self._visits.get(visitor) is None:
            await self._visitors.spend(address)
        result = await self._visits.track_batch(visitor, Batch(asked.client, asked.sent_at, readable))
        refused = [ActionRefusal(action.sequence, action.code, action.message) for action in result.refused]
        refused = sorted((*refused, *unreadable), key=lambda action: action.sequence)
        return ActionsAnswer(tracked=True, accepted=result.accepted, repeated=result.repeated, refused=tuple(refused))

    async def _visitor(self, secret: str | None, request: Request) -> str:
        if secret is not None:
            return visitor_of(secret)
        return await self._visits.cookieless_id(request.client, _agent(request), request.header(b"host") or "")

    def _admits(self, request: Request) -> bool:
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.headers.items()
            if name not in _SECRETS  # by which nobody is to be judged
        }
        return self._judge.admits(Arrival(_agent(request), headers))


def _agent(request: Request) -> str:
    return request.header(b"user-agent") or ""


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _read(actions: Iterable[msgspec.Raw]) -> tuple[tuple[ActionInput, ...], list[ActionRefusal]]:
    """Return the actions that are of the form asked for, and why the others are not.

    Raises:
        InvalidError: one has no sequence, so nobody could be told which it is.
    """
    readable: list[ActionInput] = []
    unreadable: list[ActionRefusal] = []
    for place, text in enumerate(actions):
        sequence = _decoded(f"actions[{place}]", _NUMBERED, text).sequence
        try:
            readable.append(_decoded("action", _ACTION, text))
        except InvalidError as error:
            unreadable.append(ActionRefusal(sequence, error.code, str(error)))
    return tuple(readable), unreadable


def _decoded(name: str, decoder: msgspec.json.Decoder[T], text: msgspec.Raw) -> T:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidError(name, str(error)) from error
