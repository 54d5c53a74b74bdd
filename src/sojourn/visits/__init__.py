"""Visits: anonymous visitors, heartbeats, actions, who is here, presence in rooms, retention."""

from sojourn.kernel import Listing, Page
from sojourn.visits.model import (
    Action,
    ActionInput,
    ActiveChange,
    Batch,
    BatchResult,
    ChangeKind,
    Cleanup,
    Count,
    RefusedAction,
    Visit,
    Visitor,
    visitor_of,
)
from sojourn.visits.room import Member, Room, Seat
from sojourn.visits.rule import HEADLESS, RULES, Arrival, Judge, Rule
from sojourn.visits.visits import Visits

__all__ = [
    "Action",
    "ActionInput",
    "ActiveChange",
    "Arrival",
    "Batch",
    "BatchResult",
    "ChangeKind",
    "Cleanup",
    "Count",
    "HEADLESS",
    "Judge",
    "Listing",
    "Member",
    "Page",
    "RULES",
    "RefusedAction",
    "Room",
    "Rule",
    "Seat",
    "Visit",
    "Visitor",
    "Visits",
    "visitor_of",
]
