"""The canon: what must be so, whatever happened. It knows what was acknowledged, and sees each state that was stored.

Its rules, each checked at each commit, or when a server says something:

1. Items are conserved: one that was stored stands in exactly one document, always.
2. What was acknowledged is stored, and stays. Only a rollback or an erasure takes it back.
3. Each save is of the one before it, by the holder of the lease that stands; tokens of a document's writers only grow.
4. A trade is in all of its documents or in none. One that was said to have failed is in none.
5. A message takes effect once. One that was acknowledged does.
6. A server that loses a document has its unsaved value handed to it, exactly once, and only if it had lost it.
7. Nobody gives a document back before it is saved, or saves it afterwards.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from sojourn.documents.model import Cause, EndReason
from sojourn.documents.stored import Facts
from sojourn.testing.simulation.report import Telling

__all__ = ["Account", "Canon", "Name", "Standing"]

_GIVEN_BACK: Final = {EndReason.UNLOADED, EndReason.HANDED_OVER}


class Account(msgspec.Struct):
    """The value of the documents: things of which there is one each, and the ids of what was done to it."""

    items: list[str] = []
    done: list[str] = []
    trades: list[str] = []
    ballast: str = ""


class Name(NamedTuple):
    """Which document: its kind and its key."""

    kind: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"


class Standing(NamedTuple):
    """A document as it stands in the store."""

    facts: Facts
    value: Account


class _Held(msgspec.Struct):
    """A document in the memory of one server."""

    name: Name
    token: int
    value: Account
    since: float
    reason: EndReason | None = None
    handed_over: int = 0


class Canon:
    """What must be so. `now` and then it is told; what it finds wrong it says to `telling`."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._ever: defaultdict[Name, set[str]] = defaultdict(set)
        self._undone: defaultdict[Name, set[str]] = defaultdict(set)
        self._acknowledged: defaultdict[Name, set[str]] = defaultdict(set)
        self._known: set[str] = set()
        self._parties: dict[str, frozenset[Name]] = {}
        self._made: set[str] = set()
        self._failed: set[str] = set()
        self._tries: Counter[str] = Counter()
        self._sent: dict[str, None] = {}
        self._tokens: dict[Name, int] = {}
        self._granted: dict[tuple[Name, int], frozenset[str]] = {}
        self._held: dict[tuple[str, Name], _Held] = {}
        self._all_held: list[tuple[str, _Held]] = []

    # -- What servers say

    def begins(self, server: str, name: Name, token: int, value: Account) -> None:
        """A server has loaded a document."""
        earlier = self._held.get((server, name))
        if earlier is not None and earlier.reason is None:
            self._accuse(f"{server} has loaded {name} twice")
        expected = self._granted.get((name, token), frozenset()) - self._undone[name]
        self._missing(f"{server} has loaded {name} without", expected - set(value.done))
        held = _Held(name, token, value, asyncio.get_running_loop().time())
        self._held[server, name] = held
        self._all_held.append((server, held))

    def token(self, server: str, name: Name) -> int:
        """Return the token under which a server holds a document, or held it last."""
        held = self._held.get((server, name))
        return 0 if held is None else held.token

    def holds(self, server: str, name: Name) -> bool:
        """Say whether a server has loaded a document and was not told that it no longer holds it."""
        held = self._held.get((server, name))
        return held is not None and held.reason is None

    def changes(self, server: str, name: Name, old: Account | None, new: Account) -> None:
        """A server was told that the value in its memory is another now."""
        held = self._open(server, name, "changed")
        if held is None:
            return
        if old != held.value:
            self._accuse(f"{server} was told of a change of {name} from what it was not")
        held.value = new

    def acknowledges(self, name: Name, done: Iterable[str]) -> None:
        """A server was told that this is saved."""
        acknowledged = set(done)
        self._missing(f"acknowledged, and never stored in {name}:", acknowledged - self._ever[name])
        self._acknowledged[name] |= acknowledged - self._undone[name]

    def shows(self, name: Name, value: Account | None, expected: frozenset[str]) -> None:
        """A reader was shown the stored value; `expected` had been acknowledged before it asked."""
        shown = set[str]() if value is None else set(value.done)
        self._missing(f"a reader of {name} was not shown", expected - shown - self._undone[name])

    def expected(self, name: Name) -> frozenset[str]:
        """What has been acknowledged so far."""
        return frozenset(self._acknowledged[name])

    def loses(self, server: str, name: Name, unsaved: Account | None, *, endangered: bool) -> None:
        """A server was told that it has lost a document, and handed what it had not saved."""
        self._telling.sums["losses"] += 1
        held = self._held.get((server, name))
        if held is None or held.reason in _GIVEN_BACK:
            self._accuse(f"{server} was told that it lost {name}, which it did not hold")
            return
        held.handed_over += 1
        if held.handed_over > 1:
            self._accuse(f"{server} was told twice that it lost {name}")
        if not endangered:
            self._accuse(f"{server} was told that it lost {name}, which nothing had endangered")
        kept = self._ever[name] if unsaved is None else self._ever[name] | set(unsaved.done)
        self._missing(f"{server} lost {name}, and was not handed", set(held.value.done) - kept)
        if unsaved is not None:
            self._telling.sums["hand-overs of unsaved values"] += 1

    def ends(self, server: str, name: Name, reason: EndReason, *, asked: bool) -> None:
        """A server was told that it no longer holds a document."""
        held = self._open(server, name, reason.value)
        if held is None:
            return
        held.reason = reason
        if reason is EndReason.HANDED_OVER and not asked:
            self._accuse(f"{server} handed {name} over, for which nobody has asked")
        if reason is not EndReason.LEASE_LOST:
            self.acknowledges(name, held.value.done)

    def dies(self, server: str) -> None:
        """A server was killed: what it had not saved is lost, and nobody is told."""
        self._all_held = [(holder, held) for holder, held in self._all_held if holder != server]

    def trade(self, trade: str, parties: Iterable[Name]) -> None:
        """A server begins a trade."""
        self._parties[trade] = frozenset(parties)

    def tries(self, message: str) -> None:
        """A server sends a message, perhaps not for the first time."""
        self._tries[message] += 1
        self._failed.discard(message)

    def fails(self, what: str) -> None:
        """A server was told that nothing was written of this trade, or of this message."""
        if self._tries[what] > 1:
            return  # another try may have succeeded, or may yet
        self._failed.add(what)
        if what in self._made or what in self._known:
            self._accuse(f"{what} was said to have failed, and it was written")

    def sends(self, message: str) -> None:
        """A server was told that a message has been taken."""
        self._sent[message] = None

    # -- What was stored

    def commits(self, moved: Mapping[Name, tuple[Standing | None, Standing | None]]) -> None:
        """A transaction has changed these documents, from what stood to what stands."""
        for name, (before, after) in moved.items():
            self._numbered(name, before, after)
            self._kept(name, after)
        old, new = (
            Counter(item for standing in side if standing is not None for item in standing.value.items)
            for side in zip(*moved.values(), strict=True)
        )
        self._conserved(moved, old, new)
        self._unsplit(moved)

    def grants(self, name: Name, token: int) -> None:
        """A lease was granted, and what it protects was read: all that had been acknowledged by then."""
        self._granted[name, token] = self.expected(name)

    def writes(self, name: Name, token: int) -> None:
        """A holder with this token has written."""
        if token < self._tokens.get(name, 0):
            self._accuse(f"{name} was written with token {token} after token {self._tokens[name]}")
        self._tokens[name] = max(token, self._tokens.get(name, 0))

    # -- What is about to be sent

    def releases(self, server: str, name: Name, token: int, saves: Account | None) -> None:
        """A server is about to send the release of its own lease, and what it saves with it."""
        held = self._held.get((server, name))
        if held is None or held.token != token or held.reason is not None:
            return
        kept = self._ever[name] if saves is None else self._ever[name] | set(saves.done)
        self._missing(f"{server} gives {name} back before it has saved", set(held.value.done) - kept)

    def saves(self, server: str, name: Name, token: int) -> None:
        """A server is about to send a new save under this token."""
        held = self._held.get((server, name))
        if held is not None and held.token == token and held.reason in _GIVEN_BACK:
            self._accuse(f"{server} saves {name} after it has given it back")

    # -- At the end

    def closes(self) -> None:
        """Everything was given back, and every message had time to be handled."""
        for server, held in self._all_held:
            if held.reason is None:
                self._accuse(f"{server} was never told that it no longer holds {held.name}")
            elif held.reason is EndReason.LEASE_LOST and held.handed_over != 1:
                self._accuse(f"{server} lost {held.name} and was told {held.handed_over} times")
        for message in self._sent:
            if message not in self._known:
                self._accuse(f"{message} was taken, and never took effect")

    # -- The rules

    def _numbered(self, name: Name, before: Standing | None, after: Standing | None) -> None:
        if after is None:
            self._accuse(f"{name} is gone, and left no tombstone")
        elif not after.facts.erased:
            number = 0 if before is None else before.facts.number
            if after.facts.number != number + 1:
                self._accuse(f"save {after.facts.number} of {name} took the place of save {number}")

    def _kept(self, name: Name, after: Standing | None) -> None:
        done = [] if after is None else after.value.done
        if len(done) != len(set(done)):
            self._accuse(f"{name} has twice: {[what for what, times in Counter(done).items() if times > 1]}")
        if after is not None and (after.facts.erased or after.facts.cause is Cause.ROLLBACK):
            self._undone[name] |= self._ever[name] - set(done)
            self._acknowledged[name] &= set(done)
        self._missing(f"acknowledged, and no longer in {name}:", self._acknowledged[name] - set(done))
        self._ever[name] |= set(done)

    def _conserved(self, moved: Iterable[Name], old: Counter[str], new: Counter[str]) -> None:
        names = ", ".join(map(str, moved))
        for item in sorted((old - new) + (new - old)):
            if new[item] > 1 or (not old[item] and item in self._known):
                self._accuse(f"{item} is doubled by a commit to {names}")
            elif not new[item]:
                self._accuse(f"{item} is lost by a commit to {names}")
            elif item in self._failed:
                self._accuse(f"{item} was said to have failed, and it was written")
        self._known |= set(new)

    def _unsplit(self, moved: Mapping[Name, tuple[Standing | None, Standing | None]]) -> None:
        made: defaultdict[str, set[Name]] = defaultdict(set)
        for name, (before, after) in moved.items():
            old = set[str]() if before is None else set(before.value.trades)
            new = set[str]() if after is None else set(after.value.trades)
            for trade in new - old:
                made[trade].add(name)
        for trade in sorted(made):
            self._telling.sums["trades"] += 1
            if made[trade] != set(self._parties[trade]):
                self._accuse(f"{trade} is split: it is in {sorted(map(str, made[trade]))} only")
            if trade in self._made:
                self._accuse(f"{trade} was made twice")
            if trade in self._failed:
                self._accuse(f"{trade} was said to have failed, and it was written")
            self._made.add(trade)

    def _open(self, server: str, name: Name, what: str) -> _Held | None:
        held = self._held.get((server, name))
        if held is None or held.reason is not None:
            self._accuse(f"{server} was told that {name} is {what}, which it does not hold")
            return None
        return held

    def _missing(self, what: str, ids: Iterable[str]) -> None:
        missing = sorted(ids)
        if missing:
            self._accuse(f"{what} {', '.join(missing[:5])}{' and more' if len(missing) > 5 else ''}")

    def _accuse(self, what: str) -> None:
        self._telling.accuse(what)
