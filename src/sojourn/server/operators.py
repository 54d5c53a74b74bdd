"""What an operator asks about visitors. `Authority` decides who is one; for anybody else none of this is there."""

from __future__ import annotations

from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import VisitorUnknownError
from sojourn.server.exchange import Answer, Request, json_answer, read_json
from sojourn.server.routes import Route
from sojourn.visits import Visits
from sojourn.visits.view import view_action, view_visit, view_visitor
from sojourn.wire import (
    ActiveAnswer,
    ActiveRequest,
    CleanupAnswer,
    CleanupRequest,
    EraseAnswer,
    VisitorAnswer,
    VisitorRequest,
)

__all__ = ["OperatorRoutes"]

_ACTIVE: Final = msgspec.json.Decoder(ActiveRequest)
_VISITOR: Final = msgspec.json.Decoder(VisitorRequest)
_CLEANUP: Final = msgspec.json.Decoder(CleanupRequest)
_UNKNOWN: Final = "there is no visitor of this id"


class OperatorRoutes:
    """The routes that only operators see."""

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        self.table: dict[str, dict[str, Route]] = {
            "/visits/active": {"POST": self.active},
            "/visits/show": {"POST": self.show},
            "/visits/cleanup": {"POST": self.cleanup},
            "/visits/export": {"POST": self.export},
            "/visits/erase": {"POST": self.erase},
        }

    async def active(self, request: Request) -> Answer:
        """List who is here."""
        asked: ActiveRequest = await read_json(request, _ACTIVE)
        page = await self._visits.get_active_sessions(asked.minutes, asked.limit, asked.after)
        return json_answer(ActiveAnswer(tuple(map(view_visitor, page.items)), page.next))

    async def show(self, request: Request) -> Answer:
        """Show one visitor, and what it did last."""
        asked: VisitorRequest = await read_json(request, _VISITOR)
        visitor = await self._visits.get(asked.id)
        if visitor is None:
            raise VisitorUnknownError(_UNKNOWN)
        visits = await self._visits.history(asked.id)
        actions = await self._visits.actions(asked.id, newest_first=True)
        views = tuple(map(view_visit, visits.items)), tuple(map(view_action, actions.items))
        return json_answer(VisitorAnswer(view_visitor(visitor), *views))

    async def cleanup(self, request: Request) -> Answer:
        """Delete the visitors who have stayed away. If it takes longer than a request may, ask again: it goes on."""
        asked: CleanupRequest = await read_json(request, _CLEANUP)
        age = limits.VISIT_CLEANUP_AGE if asked.days is None else asked.days
        done = await self._visits.cleanup_old_sessions(age, dry_run=asked.dry_run)
        return json_answer(CleanupAnswer(done.deleted_count, done.oldest_date))

    async def export(self, request: Request) -> Answer:
        """Give out all that is kept of one visitor."""
        asked: VisitorRequest = await read_json(request, _VISITOR)
        kept = await self._visits.export(asked.id)
        if not kept:
            raise VisitorUnknownError(_UNKNOWN)
        return json_answer(kept)

    async def erase(self, request: Request) -> Answer:
        """Delete all that is kept of one visitor."""
        asked: VisitorRequest = await read_json(request, _VISITOR)
        return json_answer(EraseAnswer(await self._visits.erase(asked.id)))
