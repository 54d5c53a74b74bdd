"""Which records the snapshots face owns.

| space             | partition | item          | value                                  | rank     | lives          |
|-------------------|-----------|---------------|----------------------------------------|----------|----------------|
| `snapshot.head`   | session   | nothing       | its newest leaf, its counters          | last new | as the session |
| `snapshot`        | session   | place         | one snapshot without its state         | pending  | until deleted  |
| `snapshot.state`  | session   | place         | its state: a difference, or whole      | none     | as it is used  |
| `snapshot.large`  | session   | place         | what of its state is large             | none     | as the state   |
| `snapshot.large`  | session   | place, piece  | a piece of that                        | none     | as the whole   |
| `snapshot.branch` | session   | branch        | the tip of a branch, which is a leaf   | none     | while a leaf   |
| `snapshot.name`   | session   | name          | the branch of this name                | none     | until deleted  |
| `snapshot.lease`  | session   | branch        | who takes a turn on it                 | granted  | lease, renewed |
| `snapshot.id`     | session   | id            | the place of an id not made here       | none     | as the row     |
| `snapshot.orphan` | session   | id            | nothing: an unknown parent has this id | none     | until it comes |
| `snapshot.index`  | id's hash | nothing       | the session of an id not made here     | none     | as the row     |

All that one session owns stands in one partition, its tenant and its id. A place is a branch and a number. Numbers
count the snapshots of a session in the order in which they were made. A branch is a run of them: the first child of a
leaf goes on with its branch, each further child of a snapshot begins one. So what a state is made of stands side by
side, and one read of a span finds it. Ids that are made here name their place (`<session>.<branch>-<number>-<random>`);
the others, chosen by callers, are looked up: `snapshot.index`, which is written first where an engine cannot do both at
once, and verified. The heads of each tenant's sessions have a space of their own, `snapshot.head.<tenant's hash>`,
since they are listed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from sojourn import limits
from sojourn.kernel import Key, Span

__all__ = ["At", "Place", "at_of", "heads", "index", "lengthened", "mint", "minted", "shortened"]

ROWS: Final = "snapshot"
STATES: Final = "snapshot.state"
LARGE: Final = "snapshot.large"
BRANCHES: Final = "snapshot.branch"
NAMES: Final = "snapshot.name"
LEASES: Final = "snapshot.lease"
LOCAL: Final = "snapshot.id"
ORPHANS: Final = "snapshot.orphan"
INDEX: Final = "snapshot.index"
_HEADS: Final = "snapshot.head"
_UNDER: Final = "\x01"

_MINTED: Final = re.compile(r"(?P<session>[^/]+)\.(?P<branch>[0-9a-f]{1,8})-(?P<number>[0-9a-f]{1,12})-[0-9a-f]{12}")
_NUMBER: Final = re.compile(r"[0-9a-f]{12}")


class At(NamedTuple):
    """Where a snapshot stands in its session: its branch, and its number, which no other of the session has."""

    branch: int
    number: int

    @property
    def item(self) -> str:
        """The item of its records."""
        return f"{self.branch:08x}.{self.number:012x}"

    @classmethod
    def of(cls, item: str) -> At:
        """Return where the snapshot of this item stands."""
        branch, number = item.split(".")
        return cls(int(branch, 16), int(number, 16))


def at_of(key: Key) -> At:
    """Return where the snapshot of this record stands, or of this piece of its state."""
    return At.of(key.item[:21])


class Place(msgspec.Struct, frozen=True):
    """Where all that one session owns is kept."""

    tenant: str
    session: str

    @classmethod
    def of(cls, partition: str) -> Place:
        """Return whose partition this is."""
        tenant, _, session = partition.partition(_UNDER)
        return cls(tenant, session)

    @property
    def partition(self) -> str:
        """The partition of its records."""
        return f"{self.tenant}{_UNDER}{self.session}"

    @property
    def head(self) -> Key:
        """What is known of the session as a whole."""
        return Key(heads(self.tenant), self.partition, "")

    def row(self, at: At) -> Key:
        """One snapshot, without its state."""
        return Key(ROWS, self.partition, at.item)

    def rows(self, limit: int = limits.PAGE_MAX) -> Span:
        """Every snapshot, branch by branch."""
        return Span(ROWS, self.partition, limit=limit)

    def last_row(self, branch: int) -> Span:
        """The last snapshot of a branch."""
        return Span(ROWS, self.partition, f"{branch:08x}.", f"{branch:08x}/", limit=1, reverse=True)

    def state(self, at: At) -> Key:
        """What makes its state of that of its parent, or the state."""
        return Key(STATES, self.partition, at.item)

    def large(self, at: At) -> Key:
        """What of that is too large to stand among the others."""
        return Key(LARGE, self.partition, at.item)

    def states(self, last: At, first: int = 0) -> Span:
        """The states of one branch from the number `first` up to and with `last`, last first."""
        stop = At(last.branch, last.number + 1).item
        return Span(STATES, self.partition, At(last.branch, first).item, stop, limit=limits.PAGE_MAX, reverse=True)

    def branch_states(self, branch: int) -> Span:
        """The states at the end of a branch, last first."""
        return Span(STATES, self.partition, f"{branch:08x}.", f"{branch:08x}/", limit=limits.PAGE_MAX, reverse=True)

    def branch(self, branch: int) -> Key:
        """The tip of a branch."""
        return Key(BRANCHES, self.partition, f"{branch:08x}")

    @property
    def branches(self) -> Span:
        """Every tip, which are the leaves of the tree."""
        return Span(BRANCHES, self.partition, limit=limits.PAGE_MAX)

    def name(self, name: str) -> Key:
        """The branch of a name."""
        return Key(NAMES, self.partition, name)

    @property
    def names(self) -> Span:
        """Every named branch."""
        return Span(NAMES, self.partition, limit=limits.PAGE_MAX)

    def lease(self, branch: int) -> Key:
        """Who takes a turn on a branch."""
        return Key(LEASES, self.partition, f"{branch:08x}")

    def local(self, snapshot_id: str) -> Key:
        """Where in the session a snapshot stands whose id was not made here."""
        return Key(LOCAL, self.partition, snapshot_id)

    @property
    def locals(self) -> Span:
        """Every id that was not made here."""
        return Span(LOCAL, self.partition)

    def orphan(self, parent_id: str) -> Key:
        """The mark that a snapshot names this id as its parent, which is not there."""
        return Key(ORPHANS, self.partition, parent_id)

    @property
    def all(self) -> tuple[Span, ...]:
        """Everything of the session but its head."""
        spaces = (ROWS, STATES, LARGE, BRANCHES, NAMES, LEASES, LOCAL, ORPHANS)
        return tuple(Span(space, self.partition) for space in spaces)


def heads(tenant: str) -> str:
    """Return the space of the heads of a tenant's sessions."""
    if not tenant:
        return _HEADS
    return f"{_HEADS}.{hashlib.blake2b(tenant.encode(), digest_size=8).hexdigest()}"


def index(tenant: str, snapshot_id: str) -> Key:
    """Return where the session of an id is noted that was not made here."""
    return Key(INDEX, f"{tenant}{_UNDER}{hashlib.blake2b(snapshot_id.encode(), digest_size=16).hexdigest()}", "")


def mint(session: str, at: At) -> str:
    """Return a new id of the snapshot at this place; it names the place, and nobody can guess it."""
    return _named(session, at, secrets.token_hex(6))


def shortened(snapshot_id: str, session: str, at: At) -> str | int:
    """Return what of an id has to be stored at its place: the random number of one that was made here, else all."""
    number = snapshot_id[-12:]
    return int(number, 16) if snapshot_id == _named(session, at, number) and _NUMBER.fullmatch(number) else snapshot_id


def lengthened(short: str | int, session: str, at: At) -> str:
    """Return the id that `shortened` made shorter."""
    return short if isinstance(short, str) else _named(session, at, f"{short:012x}")


def _named(session: str, at: At, number: str) -> str:
    return f"{_quoted(session)}.{at.branch:x}-{at.number:x}-{number}"


@lru_cache(maxsize=1_024)
def _quoted(session: str) -> str:
    return quote(session, safe="")


def minted(snapshot_id: str) -> tuple[str, At] | None:
    """Return the session and the place that an id made by `mint` names, None for any other.

    Anybody can write an id of this form, so what stands at the place must say that it has this very id.
    """
    match = _MINTED.fullmatch(snapshot_id)
    if match is None:
        return None
    session = unquote(match["session"])
    if _quoted(session) != match["session"] or not is_session(session):
        return None
    return session, At(int(match["branch"], 16), int(match["number"], 16))


def is_session(text: str) -> bool:
    """Say whether this may be the id of a session: no blank text, nor one that no key can hold."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    return bool(text.strip()) and "\0" not in text and _UNDER not in text and size <= limits.SNAPSHOT_SESSION_BYTES
