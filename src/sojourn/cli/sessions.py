"""`sojourn sessions`: list, show, revoke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import msgspec

from sojourn import limits
from sojourn.cli import output
from sojourn.cli.output import Column
from sojourn.cli.question import confirm
from sojourn.cli.stores import existing, session_id_of, shown
from sojourn.errors import (
    CorruptError,
    InvalidError,
    LimitError,
    SessionExpiredError,
    SessionInvalidError,
    SessionRevokedError,
    SessionUnknownError,
)
from sojourn.kernel import Reads, Record, Store
from sojourn.kernel.codec import unpack
from sojourn.sessions import Session, SessionId, Sessions, layout, lifecycle, model

__all__ = ["Listing", "Revoked", "SessionRow", "Shown", "StateRow", "list_live", "revoke", "show"]

_STORED: Final = msgspec.json.Decoder(tuple[int, msgspec.Raw])
_ENDED: Final[dict[type[SessionInvalidError], str]] = {
    SessionUnknownError: "is not known; what has ended is forgotten after an hour",
    SessionExpiredError: "has expired",
    SessionRevokedError: "has been revoked",
}
_COLUMNS: Final = (
    Column("id"),
    Column("subject", cut=True),
    Column("label", cut=True),
    Column("begun", right=True),
    Column("ends", right=True),
)
_STATE_COLUMNS: Final = (
    Column("state", cut=True),
    Column("bytes", right=True),
    Column("revision", right=True),
    Column("version", right=True),
)


class SessionRow(msgspec.Struct, frozen=True):
    """A session is shown by its public id; its token is not known."""

    id: str
    subject: str | None
    label: str | None
    created_at: datetime | None
    signed_in_at: datetime | None
    expires_at: datetime | None
    idle_expires_at: datetime | None


class Listing(msgspec.Struct, frozen=True):
    """The live sessions; `more` says that the limit left some out."""

    sessions: list[SessionRow]
    more: bool


class StateRow(msgspec.Struct, frozen=True):
    """Of a state: the bytes it takes, its revision, the version of its shape, and its value or what keeps it unread."""

    name: str
    bytes: int
    revision: int
    version: int | None = None
    value: msgspec.Raw = msgspec.Raw(b"null")
    problem: str | None = None


class Shown(msgspec.Struct, frozen=True):
    """The session and its states, or the one state that was asked for."""

    session: SessionRow
    states: list[StateRow]


class Revoked(msgspec.Struct, frozen=True):
    """How many of the sessions named were alive."""

    revoked: int


async def list_live(url: str | None, *, subject: str | None, limit: int, as_json: bool) -> None:
    """Print up to `limit` live sessions."""
    _check_limit(limit)
    model.checked("subject", subject, limits.SUBJECT_CHARS)
    found = list[Session]()
    async with existing(url) as store:
        sessions = Sessions(store)
        async for session in sessions.list_all() if subject is None else sessions.list_for(subject):
            found.append(session)
            if len(found) > limit:
                break
    listing = Listing([_row(session) for session in found[:limit]], more=len(found) > limit)
    if as_json:
        output.document(listing)
    elif not found:
        output.line("no live session" if subject is None else f"no live session of {subject}")
    else:
        output.table(_COLUMNS, [_cells(session) for session in found[:limit]])
        if listing.more:
            output.line(f"and more; --limit shows up to {limits.PAGE_MAX:,}", "dim")


async def show(url: str | None, given: str, *, state: str | None, as_json: bool) -> None:
    """Print one live session, or one of its states."""
    session_id = session_id_of("ID", given)
    async with existing(url) as store:
        session = await Sessions(store).get(session_id)
        if session is None:
            raise await _ended(store, session_id)
        (records,) = (await store.read(Reads(spans=(layout.owned(layout.STATE, session_id),)))).records.spans
    states = [_state(record) for record in records]
    if state is not None:
        states = [_chosen(states, state)]
    if as_json:
        output.document(Shown(_row(session), states))
    elif state is not None:
        for line in msgspec.json.format(bytes(states[0].value), indent=2).decode().splitlines():
            output.line(line)
    else:
        _print_session(session)
        _print_states(states)


def revoke(  # noqa: PLR0913  as many as there are options
    url: str | None,
    given: str | None,
    *,
    subject: str | None,
    keep: str | None,
    everything: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """End the sessions that were chosen, and print how many of them were alive."""
    if [given is not None, subject is not None, everything].count(True) != 1:
        raise InvalidError("arguments", "give one of: an ID, --subject, --everything")
    if keep is not None and subject is None:
        raise InvalidError("keep", "it goes with --subject only")
    model.checked("subject", subject, limits.SUBJECT_CHARS)
    session_id = None if given is None else session_id_of("ID", given)
    kept = None if keep is None else session_id_of("keep", keep)
    if everything and not yes:
        confirm("everything", f"End every session in {shown(url or '')}?")

    async def end(store: Store) -> int:
        sessions = Sessions(store)
        if subject is not None:
            return await sessions.revoke_all(subject, keep=kept)
        return await sessions.revoke_everything() if session_id is None else await _end_one(sessions, session_id)

    count = asyncio.run(_with(url, end))
    if as_json:
        output.document(Revoked(count))
    elif session_id is not None and not count:
        output.line(f"session {session_id} had ended before; nothing was left to revoke")
    else:
        output.line(f"{count:,} session{'' if count == 1 else 's'} revoked")


async def _with(url: str | None, work: Callable[[Store], Awaitable[int]]) -> int:
    async with existing(url) as store:
        return await work(store)


async def _end_one(sessions: Sessions, session_id: SessionId) -> int:
    alive = await sessions.revoke(session_id)
    if not alive:
        error = await _ended(sessions.store, session_id)
        if isinstance(error, SessionUnknownError):
            raise error
    return int(alive)


async def _ended(store: Store, session_id: SessionId) -> SessionInvalidError:
    """Return the error that says why there is no live session of this id."""
    snapshot = await store.read(Reads(lifecycle.keys(session_id)))
    try:
        lifecycle.View.of(session_id, snapshot.records.keys, snapshot.now).alive()
    except SessionInvalidError as error:
        return type(error)(f"session {session_id} {_ENDED[type(error)]}")
    return SessionUnknownError(f"session {session_id} has just begun; ask again")


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise InvalidError("limit", f"it is at least 1, not {limit}")
    if limit > limits.PAGE_MAX:
        raise LimitError("limit", limit=limits.PAGE_MAX, found=limit, unit="sessions")


def _row(session: Session) -> SessionRow:
    return SessionRow(
        id=session.id,
        subject=session.subject,
        label=session.label,
        created_at=session.created_at,
        signed_in_at=session.signed_in_at,
        expires_at=session.expires_at,
        idle_expires_at=session.idle_expires_at,
    )


def _state(record: Record) -> StateRow:
    name, size = record.key.item, len(record.value)
    try:
        version, value = _STORED.decode(unpack(record.value))
    except (CorruptError, msgspec.DecodeError) as error:
        return StateRow(name, size, record.revision, problem=str(error))
    return StateRow(name, size, record.revision, version, value)


def _chosen(states: list[StateRow], name: str) -> StateRow:
    """Return the state of this name.

    Raises:
        InvalidError: there is none.
        CorruptError: it cannot be read.
    """
    chosen = next((row for row in states if row.name == name), None)
    if chosen is None:
        held = ", ".join(row.name for row in states) or "none"
        raise InvalidError("state", f"the session has no state {name!r}; it has: {held}")
    if chosen.problem is not None:
        raise CorruptError(f"the state {name!r} cannot be read: {chosen.problem}")
    return chosen


def _cells(session: Session) -> tuple[str, ...]:
    ends = min(moment for moment in (session.idle_expires_at, session.expires_at) if moment is not None)
    begun = "" if session.created_at is None else output.distance(session.seen_at, session.created_at)
    return session.id, session.subject or "", session.label or "", begun, output.distance(session.seen_at, ends)


def _print_session(session: Session) -> None:
    facts = (
        ("id", session.id),
        ("subject", session.subject or "none: not signed in"),
        ("label", session.label or "none"),
        ("begun", _moment(session, session.created_at)),
        ("signed in", _moment(session, session.signed_in_at)),
        ("idle limit", _moment(session, session.idle_expires_at)),
        ("absolute limit", _moment(session, session.expires_at)),
    )
    output.facts(facts)


def _moment(session: Session, moment: datetime | None) -> str:
    if moment is None:
        return "none"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC, {output.distance(session.seen_at, moment)}"


def _print_states(states: list[StateRow]) -> None:
    output.line()
    if not states:
        output.line("it holds no state")
        return
    output.table(_STATE_COLUMNS, [_state_cells(row) for row in states])


def _state_cells(row: StateRow) -> tuple[str, ...]:
    version = "?" if row.version is None else str(row.version)
    return row.name, f"{row.bytes:,}", str(row.revision), version
