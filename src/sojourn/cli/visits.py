"""`sojourn visits`: active, show, cleanup, export, erase.

The documents are those of the operator's routes. A visitor is named by the id under which it is listed; whoever has
only what a browser presents may give that, and it goes no further than the hash that is the id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec

from sojourn import limits
from sojourn.cli import output
from sojourn.cli.output import Column
from sojourn.cli.question import confirm
from sojourn.cli.stores import existing, shown
from sojourn.errors import InvalidError, VisitorUnknownError
from sojourn.kernel import Reads
from sojourn.visits import Action, Cleanup, Visit, Visitor, Visits, model, visitor_of
from sojourn.visits.view import view_action, view_visit, view_visitor
from sojourn.wire import ActiveAnswer, CleanupAnswer, EraseAnswer, VisitorAnswer

__all__ = ["cleanup", "erase", "export", "list_active", "show"]

T = TypeVar("T")

_COLUMNS: Final = (
    Column("id"),
    Column("known since", right=True),
    Column("last active", right=True),
    Column("visit", right=True),
    Column("begun", right=True),
)
_VISIT_COLUMNS: Final = (Column("visit", right=True), Column("begun", right=True), Column("engaged", right=True))
_ACTION_COLUMNS: Final = (
    Column("done", right=True),
    Column("action"),
    Column("resource", cut=True),
    Column("metadata", cut=True),
)


async def list_active(url: str | None, *, minutes: float | None, limit: int, after: str | None, as_json: bool) -> None:
    """Print one page of those who are here, or were active within so many minutes."""
    async with existing(url) as store:
        page = await Visits(store).get_active_sessions(minutes, limit, after)
        now = model.moment((await store.read(Reads())).now)
    if as_json:
        output.document(ActiveAnswer(tuple(map(view_visitor, page.items)), page.next))
        return
    if page.items:
        output.table(_COLUMNS, [_cells(visitor, now) for visitor in page.items])
    elif after is not None:
        output.line("nobody follows")
    else:
        output.line("nobody is here" if minutes is None else f"nobody was active within {minutes:g} min")
    if page.next is not None:
        output.line(f"perhaps more; go on with --after {page.next}", "dim")


async def show(url: str | None, given: str, *, limit: int, as_json: bool) -> None:
    """Print one visitor with its last visits and its last actions, the latest first."""
    async with existing(url) as store:
        visits = Visits(store)
        visitor = await _known(visits, given)
        history = (await visits.history(visitor.anonymous_id, limit=limit)).items
        actions = (await visits.actions(visitor.anonymous_id, limit=limit, newest_first=True)).items
        now = model.moment((await store.read(Reads())).now)
    if as_json:
        views = tuple(map(view_visit, history)), tuple(map(view_action, actions))
        output.document(VisitorAnswer(view_visitor(visitor), *views))
        return
    _print_visitor(visitor, now)
    output.line()
    output.table(_VISIT_COLUMNS, [_visit_cells(visit, now) for visit in history])
    output.line()
    if actions:
        output.table(_ACTION_COLUMNS, [_action_cells(action, now) for action in actions])
    else:
        output.line("it did nothing that is kept")


def cleanup(url: str | None, *, days: float | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete the visitors who have stayed away for so many days, or count them."""
    age = limits.VISIT_CLEANUP_AGE if days is None else days
    done = None if yes and not dry_run else _run(url, lambda visits: visits.cleanup_old_sessions(age, dry_run=True))
    if not dry_run and (done is None or done.deleted_count):
        if done is not None:
            confirm("cleanup", f"Delete {_stale(done)} from {shown(url or '')}?")
        done = _run(url, lambda visits: visits.cleanup_old_sessions(age))
    assert done is not None
    if as_json:
        output.document(CleanupAnswer(done.deleted_count, done.oldest_date))
    else:
        output.line(f"{_stale(done)} {'to be deleted' if dry_run else 'deleted'}")


async def export(url: str | None, given: str) -> None:
    """Print all that is kept of a visitor as one document."""
    async with existing(url) as store:
        visits = Visits(store)
        visitor = await _known(visits, given)
        output.document(await visits.export(visitor.anonymous_id))


def erase(url: str | None, given: str, *, yes: bool, as_json: bool) -> None:
    """Delete all that is kept of a visitor."""
    visitor_id = _run(url, lambda visits: _known(visits, given)).anonymous_id
    if not yes:
        confirm("erase", f"Delete all that is kept of visitor {visitor_id} in {shown(url or '')}?")
    count = _run(url, lambda visits: visits.erase(visitor_id))
    if as_json:
        output.document(EraseAnswer(count))
    else:
        output.line(f"visitor {visitor_id} erased: {count:,} record{'' if count == 1 else 's'}")


def _run(url: str | None, work: Callable[[Visits], Awaitable[T]]) -> T:
    """Do some work on the visits of a store in a loop of its own, since questions are asked outside of any."""

    async def opened() -> T:
        async with existing(url) as store:
            return await work(Visits(store))

    return asyncio.run(opened())


async def _known(visits: Visits, given: str) -> Visitor:
    """Return the visitor of this id, or the one whose browser presents it.

    Raises:
        InvalidError: no visitor has an id of this form.
        LimitError: the id is longer than any visitor's.
        VisitorUnknownError: there is neither.
    """
    visitor = await visits.get(model.checked("ID", given, limits.VISITOR_CHARS))
    if visitor is None:
        with suppress(InvalidError):
            visitor = await visits.get(visitor_of(given))
    if visitor is None:
        # Not repeated: it may be the secret of a browser.
        raise VisitorUnknownError("there is no visitor of this id, and none whose browser has it")
    return visitor


def _stale(done: Cleanup) -> str:
    plural = "" if done.deleted_count == 1 else "s"
    return f"{done.deleted_count:,} visitor{plural} last active before {done.oldest_date:%Y-%m-%d %H:%M:%S} UTC"


def _cells(visitor: Visitor, now: datetime) -> tuple[str, ...]:
    return (
        visitor.anonymous_id,
        output.distance(now, visitor.created_at),
        output.distance(now, visitor.last_active),
        str(visitor.visit.index),
        output.distance(now, visitor.visit.started_at),
    )


def _visit_cells(visit: Visit, now: datetime) -> tuple[str, ...]:
    return str(visit.index), output.distance(now, visit.started_at), _duration(visit.engaged)


def _action_cells(action: Action, now: datetime) -> tuple[str, ...]:
    metadata = "" if action.metadata is None else msgspec.json.encode(action.metadata).decode()
    return output.distance(now, action.occurred_at), action.action, action.resource_id or "", metadata


def _print_visitor(visitor: Visitor, now: datetime) -> None:
    visit = visitor.visit
    output.facts(
        (
            ("id", visitor.anonymous_id),
            ("known since", _moment(visitor.created_at, now)),
            ("last active", _moment(visitor.last_active, now)),
            ("visit", f"{visit.index:,}, begun {_moment(visit.started_at, now)}"),
            ("engaged", _duration(visit.engaged)),
        )
    )


def _moment(moment: datetime, now: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC, {output.distance(now, moment)}"


def _duration(duration: timedelta) -> str:
    return f"{duration.total_seconds():,.0f} s"
