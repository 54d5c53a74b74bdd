"""Visitors, visits and actions as operators are shown them: the structs of the wire."""

from __future__ import annotations

from datetime import timedelta

from sojourn.visits.model import Action, Visit, Visitor
from sojourn.wire import ActionView, VisitorView, VisitView

__all__ = ["view_action", "view_visit", "view_visitor"]


def view_visitor(visitor: Visitor) -> VisitorView:
    """Return the visitor with the visit that it is in."""
    return VisitorView(visitor.anonymous_id, visitor.created_at, visitor.last_active, view_visit(visitor.visit))


def view_visit(visit: Visit) -> VisitView:
    """Return the visit; engaged time in whole milliseconds."""
    return VisitView(visit.index, visit.started_at, visit.previous, visit.engaged // timedelta(milliseconds=1))


def view_action(action: Action) -> ActionView:
    """Return the action, without the client that told of it."""
    return ActionView(action.action, action.timestamp, action.occurred_at, action.resource_id, action.metadata)
