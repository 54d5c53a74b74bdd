"""Which records the functions face owns.

| space               | partition                       | item              | value               | lives     |
|---------------------|---------------------------------|-------------------|---------------------|-----------|
| `collection.<name>` | the session, the key, or chosen | empty, or the key | the value           | see below |
| `function.request`  | the session                     | request id        | call and its result | a day     |

None has a rank.

A collection by session lives and ends with its session. Any other lives until it is deleted. The request of a mutation
stands in its session's partition, so recognising a repeat needs no second place.
"""

from __future__ import annotations

from sojourn.kernel import Key, Span

__all__ = ["collection_space", "request", "span"]


def collection_space(name: str) -> str:
    """The space of a collection."""
    return f"collection.{name}"


def span(space: str, partition: str) -> Span:
    """What a collection keeps in one partition."""
    return Span(space, partition)


def request(session_id: str, request_id: str) -> Key:
    """What is known of a request."""
    return Key("function.request", session_id, request_id)
