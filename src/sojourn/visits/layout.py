"""Which records the visits face owns.

| space             | partition   | item          | value                   | rank          | lives               |
|-------------------|-------------|---------------|-------------------------|---------------|---------------------|
| `visit`           | visitor     | empty         | first seen, its visit   | last activity | until cleaned up    |
| `visit.active`    | visitor     | empty         | nothing                 | none          | `active_for`        |
| `visit.idle`      | visitor     | empty         | nothing                 | none          | idle limit, touched |
| `visit.log`       | visitor     | index         | start, engaged time     | none          | retention           |
| `visit.action`    | visitor     | commit order  | the action              | none          | retention           |
| `visit.client`    | visitor     | client        | highest sequence seen   | none          | `ACTION_AGE`        |
| `visit.salt`      | `salt`      | day           | random bytes            | none          | two days            |
| `visit.timer`     | `retention` | `daily`       | nothing                 | due           | until it is handled |
| `presence.tab`    | room        | member, tab   | secret of its token     | none          | deadline, touched   |
| `presence.member` | room        | member        | what it shows of itself | none          | deadline, touched   |
| `presence.seat`   | tab         | empty         | room and member         | none          | a day, touched      |

All that one visitor owns stands in its own partition, so a heartbeat or an action is one commit. Instants of activity
are rounded up to `precision`, so that most heartbeats write nothing. The creation of `visit.active` is the join, its
end the leave; that of `visit.idle` begins a new visit. `presence.seat` is an index: written first, verified against.
"""

from __future__ import annotations

from typing import Final

from sojourn.kernel import Key, Span

__all__ = [
    "ACTION",
    "ACTIVE",
    "CLIENT",
    "LOG",
    "MEMBER",
    "TAB",
    "TIMER",
    "VISIT",
    "action_span",
    "active",
    "client",
    "daily",
    "idle",
    "log",
    "log_span",
    "member",
    "members",
    "salt",
    "seat",
    "tab",
    "tabs",
    "visitor",
]

VISIT: Final = "visit"
ACTIVE: Final = "visit.active"
ACTION: Final = "visit.action"
LOG: Final = "visit.log"
CLIENT: Final = "visit.client"
TIMER: Final = "visit.timer"
TAB: Final = "presence.tab"
MEMBER: Final = "presence.member"


def visitor(visitor_id: str) -> Key:
    """The visitor: since when it is known, and the visit it is in."""
    return Key(VISIT, visitor_id, "")


def active(visitor_id: str) -> Key:
    """The mark that the visitor is here now."""
    return Key(ACTIVE, visitor_id, "")


def idle(visitor_id: str) -> Key:
    """The mark that the visitor's visit goes on; its revision is the visit's beginning."""
    return Key("visit.idle", visitor_id, "")


def log(visitor_id: str, index: int) -> Key:
    """One visit of the visitor, by its index from 1 on."""
    return Key(LOG, visitor_id, f"{index:08x}")


def log_span(visitor_id: str) -> Span:
    """Every visit of the visitor, the first one first."""
    return Span(LOG, visitor_id)


def action_span(visitor_id: str) -> Span:
    """Every action of the visitor, in the order of their commits."""
    return Span(ACTION, visitor_id)


def client(visitor_id: str, client_id: str) -> Key:
    """How far the actions of one client, a page that was opened once, have arrived."""
    return Key(CLIENT, visitor_id, client_id)


def salt(day: str) -> Key:
    """The salt of one day, for the ids of visitors without cookies."""
    return Key("visit.salt", "salt", day)


def daily() -> Key:
    """The timer of the daily cleanup."""
    return Key(TIMER, "retention", "daily")


def tab(room: str, name: str, tab_id: str) -> Key:
    """One tab of a member of a room. A name can be printed, so the character between the two is in none."""
    return Key(TAB, room, f"{name}\x01{tab_id}")


def tabs(room: str, name: str) -> Span:
    """Every tab of a member of a room."""
    return Span(TAB, room, start=f"{name}\x01", stop=f"{name}\x02")


def member(room: str, name: str) -> Key:
    """One member of a room, present as long as one of its tabs is."""
    return Key(MEMBER, room, name)


def members(room: str) -> Span:
    """Every member of a room, by name."""
    return Span(MEMBER, room)


def seat(tab_id: str) -> Key:
    """Where a tab sits: in which room, for which member."""
    return Key("presence.seat", tab_id, "")
