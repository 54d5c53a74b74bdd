"""Which records the sessions face owns.

| space             | partition    | item       | value            | rank          | lives                |
|-------------------|--------------|------------|------------------|---------------|----------------------|
| `session`         | public id    | empty      | subject, label   | idle deadline | absolute limit       |
| `session.idle`    | public id    | empty      | nothing          | none          | idle limit, touched  |
| `session.secret`  | public id    | keyed hash | nothing          | none          | absolute, or grace   |
| `session.state`   | public id    | name       | version and data | none          | absolute limit       |
| `session.trace`   | public id    | empty      | how it ended     | time of issue | absolute + tombstone |
| `session.subject` | subject      | public id  | nothing          | none          | absolute limit       |
| `session.alias`   | hash of id   | empty      | public id        | none          | absolute limit       |
| `session.key`     | `keys`       | `0`        | random bytes     | none          | for ever             |
| `session.key`     | `keys`       | `owned`    | names of spaces  | none          | for ever             |

All that one session owns stands in its own partition, so each verb is one commit. A session lives while both
`session` and `session.idle` are there; the engine judges both, so no process's clock decides. `session.trace` outlives
them and says whether a session that is gone had expired or was revoked. `session.subject` is an index: written before
the session, verified against it when read. `owned` names every space whose records end with their session, so that a
process which knows nothing of an application's collections, such as the command line, still ends them.
"""

from __future__ import annotations

from typing import Final

from sojourn import limits
from sojourn.kernel import Key, Span

__all__ = [
    "KEYRING",
    "OWNED",
    "SESSION",
    "STATE",
    "alias",
    "idle",
    "owned",
    "secret",
    "secrets_of",
    "session",
    "state",
    "subject",
    "subjects",
    "trace",
]

SESSION: Final = "session"
STATE: Final = "session.state"
KEYRING: Final = Key("session.key", "keys", "0")
OWNED: Final = Key("session.key", "keys", "owned")


def session(session_id: str) -> Key:
    """The session itself."""
    return Key(SESSION, session_id, "")


def idle(session_id: str) -> Key:
    """The mark that the session has been used lately."""
    return Key("session.idle", session_id, "")


def trace(session_id: str) -> Key:
    """What is left of the session when it has ended."""
    return Key("session.trace", session_id, "")


def secret(session_id: str, digest: str) -> Key:
    """One secret that opens the session, by its keyed hash."""
    return Key("session.secret", session_id, digest)


def secrets_of(session_id: str) -> Span:
    """Every secret that opens the session."""
    return Span("session.secret", session_id)


def state(session_id: str, name: str) -> Key:
    """One named state of the session."""
    return Key(STATE, session_id, name)


def owned(space: str, session_id: str) -> Span:
    """What a session owns in one space: its states, or its records of a collection."""
    return Span(space, session_id, limit=limits.SESSION_STATES)


def subject(name: str, session_id: str) -> Key:
    """The mark that a session belongs to a subject."""
    return Key("session.subject", name, session_id)


def subjects(name: str) -> Span:
    """Every session of a subject."""
    return Span("session.subject", name)


def alias(digest: str) -> Key:
    """Where the session of a client-minted id is found after a rotation."""
    return Key("session.alias", digest, "")
