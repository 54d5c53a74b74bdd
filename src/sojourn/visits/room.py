"""Rooms: who is present together, each member by any number of tabs.

room = visits.room("cart 7")
seat = await room.heartbeat("ada", tab)                         # the first of a tab: two commits
seat = await room.heartbeat("ada", tab, token=seat.token)       # from then on: one, which wakes nobody
async for change in room.watch(): ...                           # joins and leaves
await visits.leave_room(seat.token)                             # the tab closes; the last one takes ada along

A tab's id stands for one member in one room until it leaves. Who knows the id may beat for it, so a browser makes it at
random and shows it to nobody; the same holds for the token.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncGenerator
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from sojourn import limits
from sojourn.errors import InvalidError, RefusedError, VisitorUnknownError
from sojourn.kernel import Attempt, Committed, Ensure, Guard, Key, Present, Reads, Record, Store, Transaction
from sojourn.kernel.codec import codec
from sojourn.kernel.listing import checked_limit
from sojourn.visits import layout
from sojourn.visits.following import Crowd, follow
from sojourn.visits.model import ActiveChange, checked, checked_data

__all__ = ["Member", "Room", "Seat", "leave"]


class Seat(msgspec.Struct, frozen=True):
    """A tab's seat in a room. Its token makes the next heartbeat one commit, and lets whoever has it leave."""

    token: str
    room: str
    member: str

    def __repr__(self) -> str:
        """Show who sits where, and not the token."""
        return f"<Seat of {self.member!r} in {self.room!r}>"


class Member(msgspec.Struct, frozen=True):
    """A member of a room, and what it shows of itself."""

    name: str
    data: Any = None


class _Place(NamedTuple):
    """What the id of a tab stands for."""

    room: str
    member: str
    tab: str

    @classmethod
    def checked(cls, room: str, member: str, tab: str) -> _Place:
        return cls(
            checked("room", room, limits.ROOM_CHARS),
            checked("member", member, limits.VISITOR_CHARS),
            checked("tab", tab, limits.ROOM_TAB_CHARS),
        )

    @property
    def records(self) -> tuple[Key, Key]:
        """The record of the tab, and that of the member."""
        return layout.tab(self.room, self.member, self.tab), layout.member(self.room, self.member)


class _Token(NamedTuple):
    """What a token says: of which place it is, and the secret that proves it."""

    place: _Place
    secret: bytes

    def encode(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> _Token | None:
        """Read back what `encode` wrote; None when the text is no token."""
        if len(text) > limits.ROOM_TOKEN_CHARS:
            return None
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            place, secret = msgspec.json.decode(packed, type=_Token)
            return cls(_Place.checked(*place), secret)
        except (ValueError, RefusedError):
            return None

    def opens(self, tab: Record) -> bool:
        """Say whether it is the token of the tab that stands there."""
        return secrets.compare_digest(self.secret, tab.value)


class _Presence(msgspec.Struct, frozen=True):
    """What a member's record says: a mark of this stay, drawn at random, and what the member shows of itself."""

    stay: str
    data: msgspec.Raw


_PLACE: Final = codec(_Place)
_PRESENCE: Final = codec(_Presence)
_NOTHING_SHOWN: Final = msgspec.Raw(b"null")


class Room:
    """A room, in which members are present by their tabs.

    A member is there until the last of its tabs leaves, or none has beaten for `limits.ROOM_DEADLINE` intervals. The
    interval is the same for all who beat in the room.

    Raises:
        InvalidError: the name is empty or cannot be printed, or the interval is not above 0.
        LimitError: the name is longer than `limits.ROOM_CHARS`.
    """

    def __init__(self, store: Store, name: str, interval: timedelta) -> None:
        self.name = checked("room", name, limits.ROOM_CHARS)
        self.interval = interval
        self._store = store
        self._deadline = interval * limits.ROOM_DEADLINE
        if not timedelta(milliseconds=1) <= self._deadline <= limits.TTL_MAX:
            raise InvalidError("interval", f"it is above 0, and at most {limits.TTL_MAX / limits.ROOM_DEADLINE}")

    async def heartbeat(
        self, member: str, tab: str, *, data: object = UNSET, token: str | None = None, known: bool = False
    ) -> Seat:
        """Note that a tab of the member is here, and return its seat; the first of a member is a join.

        With the seat's token it is one commit, which wakes nobody. Without one, or with one that is not this tab's, it
        takes a commit more, which binds the tab's id to member and room; with `known` it is refused instead. Another
        commit is taken by new `data`, which the member shows of itself until there is other; left out, it stays.
        Cancelled, some of it may be written; repeat it.

        Raises:
            VisitorUnknownError: with `known`, the tab is not here, or the token is not its own; nobody has come.
            InvalidError: the tab's id stands for another member or room, or an argument is out of form.
            LimitError: an argument is beyond its limit; nothing was written.
            UnavailableError: the store could not be reached; repeat it, that is harmless.
            CommitUnknownError: the answer was lost; repeat it, that is harmless.
        """
        place = _Place.checked(self.name, member, tab)
        shown = None if data is UNSET else checked_data(data)
        held = None if token is None else _Token.decode(token)
        found = await self._beat_again(held, shown) if held is not None and held.place == place else None
        if found is None:
            if known:
                raise VisitorUnknownError("this tab has no seat here; beat without its token")
            await self._bind(place)
            found = await self._beat(place, shown)
        assert found is not None
        seat, presence = found
        if shown is not None and bytes(presence.data) != bytes(shown):
            await self.update(member, shown)
        return seat

    async def update(self, member: str, data: object, *, tx: Attempt | None = None) -> bool:
        """Change what a member shows of itself, and say whether it is here; if not, nothing is written.

        Who is here has a tab that has not fallen silent. Its presence then lasts up to a deadline from this change on;
        who has no such tab any more is kept by no change.

        Raises:
            InvalidError: the data has no JSON form, or is nested too deeply; nothing was written.
            LimitError: it is longer than `limits.ROOM_DATA_BYTES`; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; repeat it, that is harmless.
        """
        change = partial(self._show, layout.member(self.name, member), checked_data(data))
        return await (self._store.run(change) if tx is None else change(tx))

    async def list(self, limit: int = limits.ROOM_MEMBERS) -> tuple[Member, ...]:
        """Return who is here, in the order of their names; of more than `limit`, the first.

        Raises:
            InvalidError: the limit is below 1.
            LimitError: the limit is above `limits.ROOM_MEMBERS`.
            UnavailableError: the store could not be reached.
        """
        span = msgspec.structs.replace(layout.members(self.name), limit=checked_limit(limit))
        (records,) = (await self._store.read(Reads(spans=(span,)))).records.spans
        presences = ((record.key.item, _PRESENCE.decode(record.value)) for record in records)
        return tuple(Member(name, msgspec.json.decode(presence.data)) for name, presence in presences)

    def watch(self) -> AsyncGenerator[ActiveChange, None]:
        """Follow who comes and goes: first a join for each who is here, then each change, until closed.

        No heartbeat wakes it, and it tells nothing of what a member shows of itself. When all of a member's tabs have
        fallen silent, it leaves by no other write. A store that goes away is waited for, and what changed is told then.

        Raises:
            ClosedError: the store is not open, or was closed.
        """
        members = msgspec.structs.replace(layout.members(self.name), limit=limits.PAGE_MAX)
        crowd = Crowd(
            members,
            everybody=lambda: self._store.scan(members),
            name=lambda key: key.item,
            stay=lambda record: _PRESENCE.decode(record.value).stay,
        )
        return follow(self._store, crowd)

    async def _beat_again(self, held: _Token, shown: msgspec.Raw | None) -> tuple[Seat, _Presence] | None:
        """Beat for a tab that has come before; return None if it is gone, or has another token."""
        tab, _ = held.place.records
        found = await self._beat(held.place, shown, Present(tab))
        return found if found is not None and found[0].token == held.encode() else None

    async def _beat(self, place: _Place, shown: msgspec.Raw | None, *guards: Guard) -> tuple[Seat, _Presence] | None:
        """Beat in one commit, and return what stands there then; None if a guard failed."""
        tab, member = place.records
        presence = _Presence(secrets.token_hex(8), _NOTHING_SHOWN if shown is None else shown)
        outcome = await self._store.submit(
            Transaction(
                guards=guards,
                writes=(
                    Ensure(tab, secrets.token_bytes(16), ttl=self._deadline),
                    Ensure(member, _PRESENCE.encode(presence), ttl=self._deadline),
                ),
                reads=Reads((tab, member)),
            )
        )
        if not isinstance(outcome, Committed):
            return None
        tab_record, member_record = outcome.records.keys
        assert tab_record is not None
        assert member_record is not None
        token = _Token(place, tab_record.value).encode()
        return Seat(token, place.room, place.member), _PRESENCE.decode(member_record.value)

    async def _bind(self, place: _Place) -> None:
        """Make sure that the tab's id stands for this place and no other; so it comes before anything else."""
        seat = layout.seat(place.tab)
        bind = Ensure(seat, _PLACE.encode(place), ttl=limits.ROOM_SEAT)
        (record,) = (await self._store.commit(Transaction(writes=(bind,), reads=Reads((seat,))))).records.keys
        assert record is not None
        if _PLACE.decode(record.value) != place:
            raise InvalidError(
                "tab", "it stands for another member or another room; leave there first, or make a new id"
            )

    async def _show(self, member: Key, shown: msgspec.Raw, tx: Attempt) -> bool:
        record = await tx.get(member)
        # By its tabs, since each change of what it shows gives the member's own record the whole time anew.
        if record is None or not await tx.scan(msgspec.structs.replace(layout.tabs(self.name, member.item), limit=1)):
            return False
        presence = _PRESENCE.decode(record.value)
        if bytes(presence.data) != bytes(shown):
            # Not what is left of it: a heartbeat since the read is no conflict, and must not be cut short.
            tx.put(member, _PRESENCE.encode(_Presence(presence.stay, shown)), ttl=self._deadline)
        return True


async def leave(store: Store, token: str) -> None:
    """Leave a room with one tab; if it was the member's last there, the member leaves.

    The tab's id may then be used elsewhere. Leaving twice, or with a token that opens nothing, does nothing.

    Raises:
        UnavailableError: the store could not be reached; repeat it, that is harmless.
        CommitUnknownError: the answer was lost; repeat it, that is harmless.
    """
    held = _Token.decode(token)
    if held is not None and await store.run(partial(_stand_up, held)):
        await store.run(partial(_unbind, held.place))


async def _stand_up(held: _Token, tx: Attempt) -> bool:
    """Remove the tab, and the member with its last; return whether the place is free, now or before."""
    place = held.place
    tab, member = place.records
    record = await tx.get(tab)
    if record is None:
        return True
    if not held.opens(record):
        return False
    tx.delete(tab)
    if not await tx.scan(layout.tabs(place.room, place.member)):
        tx.delete(member)
    return True


async def _unbind(place: _Place, tx: Attempt) -> None:
    seat = layout.seat(place.tab)
    record = await tx.get(seat)
    if record is not None and _PLACE.decode(record.value) == place:
        tx.delete(seat)
