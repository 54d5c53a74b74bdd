"""Visits: who is here, what they did, and what is kept of it.

visits = Visits(store)
visitor = await visits.track_session(anonymous_id)                  # heartbeat: one commit
await visits.track_user_action(anonymous_id, "button_click", resource_id="buy", metadata={"sku": "book"})
page = await visits.get_active_sessions(limit=100)                  # .items .next
n = await visits.count_active()
async for change in visits.watch_active(): ...                      # joins and leaves
async for action in visits.actions(anonymous_id): ...
await visits.erase(anonymous_id)

A visitor is known by a durable anonymous id. Whoever has the id may act for it, so a browser's own is never used as it
is: `visitor_of` makes the id here from it, which opens nothing and can be shown.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import time, timedelta
from typing import Any, Literal

from sojourn import limits
from sojourn.kernel import Attempt, Listing, Store
from sojourn.visits.action import Actions
from sojourn.visits.activity import Activity
from sojourn.visits.model import (
    Action,
    ActiveChange,
    Batch,
    BatchResult,
    Cleanup,
    Count,
    Terms,
    Visit,
    Visitor,
    checked_visitor,
)
from sojourn.visits.retention import Retention
from sojourn.visits.room import Room, leave
from sojourn.visits.salt import Salts
from sojourn.visits.visitor import Visitors

__all__ = ["Visits"]


class Visits:
    """The visitors of one store.

    `active_for` is how long somebody counts as here after a sign of life, `retention` how long actions and visits are
    kept and, by the daily cleanup at `cleanup_at` (UTC; None: never), visitors who stay away. With `unknown="refuse"`
    an action of an unknown visitor is an error; else it makes the visitor known. `precision` is the step in which
    activity is stored. A visit ends after a pause of `idle`, and after `longest` however active it is. All processes
    that share the store are to go by the same: a sign of life is stored by the terms of the process that gets it.

    Raises:
        InvalidError: a duration is out of range.
    """

    def __init__(  # noqa: PLR0913  each is one independent setting
        self,
        store: Store,
        *,
        active_for: timedelta = limits.VISIT_ACTIVE_FOR,
        retention: timedelta = limits.VISIT_RETENTION,
        unknown: Literal["create", "refuse"] = "create",
        precision: timedelta = limits.VISIT_PRECISION,
        idle: timedelta = limits.VISIT_IDLE,
        longest: timedelta = limits.VISIT_LONGEST,
        cleanup_at: time | None = time(2, 30),
    ) -> None:
        self.store = store
        self.terms = Terms(active_for, retention, precision, idle, longest, unknown)
        self._visitors = Visitors(store, self.terms)
        self._actions = Actions(store, self.terms, self._visitors)
        self._activity = Activity(store, self.terms)
        self._retention = Retention(store, self.terms, cleanup_at)
        self._salts = Salts(store)

    async def track_session(self, anonymous_id: str, *, tx: Attempt | None = None) -> Visitor:
        """Note that the visitor is here, and return it: a heartbeat, in one commit.

        The first makes the visitor known. Within a step of `precision` of the last one it writes nothing. One that
        begins a new visit takes a second commit, which notes that. Cancelled, it is applied or not, never half.

        Raises:
            InvalidError: the id is empty or cannot be printed.
            LimitError: the id is longer than `limits.VISITOR_CHARS`.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; repeat it, that is harmless.
        """
        return await self._visitors.beat(checked_visitor(anonymous_id), tx=tx)

    async def track_known_session(self, anonymous_id: str) -> Visitor:
        """Note that a visitor is here who has been here before, as `track_session` does.

        Raises:
            VisitorUnknownError: there is no such visitor; nothing was written.
            InvalidError: as `track_session`. UnavailableError, CommitUnknownError: likewise.
        """
        return await self._visitors.beat(checked_visitor(anonymous_id), known=True)

    async def track_user_action(
        self,
        anonymous_id: str,
        action: str,
        resource_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        tx: Attempt | None = None,
    ) -> None:
        """Record one action, which is a sign of life too, in one commit that costs the same however many there are.

        Raises:
            VisitorUnknownError: with `unknown="refuse"`, there is no such visitor; nothing was written.
            InvalidError: an id, the action or the metadata are out of form; nothing was written.
            LimitError: one of them is beyond its limit; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps recorded.
        """
        await self._actions.record(checked_visitor(anonymous_id), action, resource_id, metadata, tx=tx)

    async def track_batch(self, anonymous_id: str, batch: Batch) -> BatchResult:
        """Record what a client reports, each action once, however often and in whatever pieces the batch arrives.

        What is out of form is refused by itself, and the rest recorded. Safe to repeat after any error.

        Raises:
            VisitorUnknownError: with `unknown="refuse"`, there is no such visitor; nothing was written.
            InvalidError: the id or the client are out of form, or the sequences do not grow; nothing was written.
            LimitError: there are more than `limits.ACTION_BATCH` actions; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; repeat it, each action is recorded once.
        """
        return await self._actions.record_batch(checked_visitor(anonymous_id), batch)

    async def leave(self, anonymous_id: str, *, tx: Attempt | None = None) -> None:
        """Note that the visitor has gone; does nothing when nobody of this id is here.

        Raises:
            InvalidError: the id is empty or cannot be printed.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; repeat it, that is harmless.
        """
        await self._visitors.leave(checked_visitor(anonymous_id), tx=tx)

    async def get(self, anonymous_id: str) -> Visitor | None:
        """Return what is known of a visitor, or None.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._visitors.get(checked_visitor(anonymous_id))

    def history(self, anonymous_id: str, *, limit: int = limits.PAGE, after: str | None = None) -> Listing[Visit]:
        """List the visits of a visitor, the latest first.

        Raises:
            InvalidError: the id or the cursor are out of form.
            LimitError: the page is larger than `limits.PAGE_MAX`.
        """
        return self._visitors.history(checked_visitor(anonymous_id), limit, after)

    def actions(
        self, anonymous_id: str, *, limit: int = limits.PAGE, after: str | None = None, newest_first: bool = False
    ) -> Listing[Action]:
        """List the actions of a visitor in the order in which they were recorded, or the other way round.

        Iterate over it for all of them, or await it for one page.

        Raises:
            InvalidError: the id or the cursor are out of form.
            LimitError: the page is larger than `limits.PAGE_MAX`.
        """
        return self._actions.listing(checked_visitor(anonymous_id), limit, after, newest_first=newest_first)

    def get_active_sessions(
        self, minutes_active: float | None = None, limit: int = limits.PAGE, after: str | None = None
    ) -> Listing[Visitor]:
        """List the visitors who are here, those active last first, without their actions.

        None counts those who have not left and were active within `active_for`; a number of minutes, all whose last
        activity is less long ago. Exact to one step of `precision`. Await it for a page, or iterate over all.

        Raises:
            InvalidError: the minutes are not above 0, or the cursor is out of form.
            LimitError: the page is larger than `limits.PAGE_MAX`.
        """
        return self._activity.listing(minutes_active, limit, after)

    async def count_active(self) -> Count:
        """Count the visitors who are here: exact up to `limits.ACTIVE_COUNT_MAX`, then that number with `.more`.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._activity.count()

    def watch_active(self) -> AsyncGenerator[ActiveChange, None]:
        """Follow who comes and goes: first a join for each who is here, then each change, until closed.

        No heartbeat wakes it. A leave is told when the visitor says so or has not been active for `active_for`, by no
        other write. A store that goes away is waited for; what changed meanwhile is told then.

        Raises:
            ClosedError: the store is not open, or was closed.
        """
        return self._activity.watch()

    def room(self, name: str, *, interval: timedelta = limits.ROOM_INTERVAL) -> Room:
        """Return a room, in which members are present by their tabs; there is no need to make one.

        Raises:
            InvalidError: the name is empty or cannot be printed, or the interval is not above 0.
            LimitError: the name is longer than `limits.ROOM_CHARS`.
        """
        return Room(self.store, name, interval)

    async def leave_room(self, token: str) -> None:
        """Leave a room with the tab that a heartbeat there gave this token; with a member's last tab it leaves.

        Leaving twice, or with a token that opens nothing, does nothing.

        Raises:
            UnavailableError: the store could not be reached; repeat it, that is harmless.
            CommitUnknownError: the answer was lost; repeat it, that is harmless.
        """
        await leave(self.store, token)

    async def cleanup_old_sessions(
        self, days_inactive: float | timedelta = limits.VISIT_CLEANUP_AGE, *, dry_run: bool = False
    ) -> Cleanup:
        """Delete every visitor whose last activity is longer ago, with all that is kept of it. For operators.

        It works in bounded steps, oldest first; killed or cancelled it can be called again and goes on. A visitor who
        comes back meanwhile is spared. With `dry_run` it counts and deletes nothing.

        Raises:
            InvalidError: the age is not above 0.
            UnavailableError: the store could not be reached; some may have been deleted.
            CommitUnknownError: an answer was lost; some may have been deleted.
        """
        return await self._retention.cleanup(days_inactive, dry_run=dry_run)

    async def export(self, anonymous_id: str) -> dict[str, Any]:
        """Return all that is kept of a visitor, as plain data that JSON can hold; empty when there is nothing.

        Rooms are not looked through, here as by `erase`: their members are names of the application's own choice.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._retention.export(checked_visitor(anonymous_id))

    async def erase(self, anonymous_id: str) -> int:
        """Delete all that is kept of a visitor, and return how many records that were.

        A heartbeat that comes later makes the id known anew: make the browser forget it first. Of a member of a room
        nothing is deleted: it goes with its last tab, and what binds a tab's id to it within `limits.ROOM_SEAT`.

        Raises:
            UnavailableError: the store could not be reached; some may have been deleted.
            CommitUnknownError: an answer was lost; some may have been deleted.
        """
        return await self._retention.erase(checked_visitor(anonymous_id))

    async def cookieless_id(self, address: str, agent: str, site: str) -> str:
        """Return an id for a visitor without one, made of what is sent anyway; none of that is stored.

        It is a keyed hash whose salt is replaced every day and then deleted, so nobody can tell that two days' ids were
        one person's. A visitor of the day before keeps that id while the visit goes on.

        Raises:
            UnavailableError: the store could not be reached.
        """
        return await self._salts.visitor(address, agent, site)

    async def run(self) -> None:
        """Clean up once a day, on exactly one of the processes that run this, until cancelled.

        A store that goes away is waited for. A day that comes while the last one's cleanup still runs is left out.
        """
        await self._retention.run()
