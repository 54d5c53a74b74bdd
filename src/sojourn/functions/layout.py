"""Which records the functions face owns.

| space                | partition                          | item              | value                 | lives      |
|----------------------|------------------------------------|-------------------|-----------------------|------------|
| `collection.<name>`  | the session, the key, or chosen    | empty, or the key | the value             | see below  |
| `function.request`   | the session, or the function       | request id        | call and its result   | a day      |
| `function.scheduled` | the session, `cron`, or chosen     | random            | call and its end      | see below  |
| `function.due`       | the same                           | the same          | timer: what is to do  | until then |
| `function.begin`     | the same                           | the same          | timer: an action      | until then |
| `function.ran`       | where a call writes, see `apart`   | call and number   | its result            | a week     |
| `function.cron`      | `cron`                             | name              | definition, last run  | see below  |
| `function.due`       | `cron`                             | `tick:<name>`     | timer: the next tick  | see below  |

Timers have the instant that they go off as their rank, a cron when a process that defines it was last there.

A collection by session lives and ends with its session. Any other lives until it is deleted. The request of a mutation
stands in its session's partition, so recognising a repeat needs no second place; without a session in one that is named
after the function.

A scheduled call stands where it was scheduled, so that it commits with what scheduled it: in the session's partition,
and does not end with the session. Its record lives until the call is over, and a week more. A cron lives until no
process defines it any more.
"""

from __future__ import annotations

from typing import Final

from sojourn.kernel import Key, Span

__all__ = [
    "BEGIN",
    "CRONS",
    "DUE",
    "begin",
    "collection_space",
    "cron",
    "cron_call",
    "due",
    "ran",
    "request",
    "scheduled",
    "span",
    "tick",
    "ticked",
]

DUE: Final = "function.due"
"""The space of timers that are handled one after another."""
BEGIN: Final = "function.begin"
"""The space of timers that begin actions."""
_CRON_SPACE: Final = "function.cron"
_CRON: Final = "cron"
CRONS: Final = Span(_CRON_SPACE, _CRON)
"""All crons."""
_TICK: Final = "tick:"


def collection_space(name: str) -> str:
    """The space of a collection."""
    return f"collection.{name}"


def span(space: str, partition: str) -> Span:
    """What a collection keeps in one partition."""
    return Span(space, partition)


def request(owner: str, request_id: str) -> Key:
    """What is known of a request; the owner is the session, or the function that was called without one."""
    return Key("function.request", owner, request_id)


def scheduled(partition: str, item: str) -> Key:
    """What is known of a scheduled call."""
    return Key("function.scheduled", partition, item)


def due(call: Key) -> Key:
    """The timer of a scheduled call: when a mutation is due, and when an action has taken too long."""
    return Key(DUE, call.partition, call.item)


def begin(call: Key) -> Key:
    """The timer of a scheduled action that has not begun."""
    return Key(BEGIN, call.partition, call.item)


def ran(partition: str, call: Key, number: int) -> Key:
    """What a call leaves where it writes, when that is not where it was scheduled."""
    return Key("function.ran", partition, f"{call.item}.{number}")


def cron(name: str) -> Key:
    """What is known of a cron."""
    return Key(_CRON_SPACE, _CRON, name)


def cron_call(item: str) -> Key:
    """What is known of a run of a cron."""
    return scheduled(_CRON, item)


def tick(name: str) -> Key:
    """The timer of a cron's next tick."""
    return Key(DUE, _CRON, _TICK + name)


def ticked(timer: Key) -> str:
    """Return the name of the cron whose timer this is."""
    return timer.item.removeprefix(_TICK)
