"""Which records the adapter for LangGraph owns, beside the snapshots.

| space              | partition         | item                          | value     | rank     | lives             |
|--------------------|-------------------|-------------------------------|-----------|----------|-------------------|
| `langgraph.thread` | thread            | namespace                     | nothing   | last put | until deleted     |
| `langgraph.write`  | thread, namespace | checkpoint, task, index       | one write | none     | as its checkpoint |
| `langgraph.run`    | run               | thread, namespace, checkpoint | nothing   | none     | as its checkpoint |
| `langgraph.ran`    | thread            | namespace, run                | nothing   | none     | as the namespace  |

The checkpoints of one namespace of a thread are one session of snapshots, their ids those that LangGraph gave. What
tells where to look (`langgraph.thread`, `langgraph.run`, `langgraph.ran`) is written in the commit of the checkpoint;
where an engine cannot do that, before it, and what it tells is verified. A large write is stored in pieces behind its
item. Every partition begins with the tenant.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from sojourn import limits
from sojourn.errors import InvalidError
from sojourn.kernel import Key, RankSpan, Span

__all__ = ["Layout", "Line", "checked", "last_of", "made_of", "written_of"]

THREAD: Final = "langgraph.thread"
WRITE: Final = "langgraph.write"
RUN: Final = "langgraph.run"
RAN: Final = "langgraph.ran"

_BETWEEN: Final = "\x1f"
_BEHIND: Final = "\x20"
"""The least character greater than `_BETWEEN`."""
_UNDER: Final = "\x01"


class Line(NamedTuple):
    """The checkpoints of one namespace of a thread."""

    thread: str
    namespace: str

    @property
    def session(self) -> str:
        """The id of their session: the thread's own for the outermost namespace."""
        if not self.namespace:
            return self.thread
        session = f"{self.thread}{_BETWEEN}{self.namespace}"
        if len(session.encode()) <= limits.SNAPSHOT_SESSION_BYTES:
            return session
        return f"{self.thread}{_BETWEEN}#{hashlib.blake2b(self.namespace.encode(), digest_size=16).hexdigest()}"


class Layout(NamedTuple):
    """Where a tenant's records stand."""

    tenant: str

    def _partition(self, *names: str) -> str:
        return _UNDER.join((self.tenant, *names))

    def thread(self, line: Line) -> Key:
        """The mark that a thread has this namespace."""
        return Key(THREAD, self._partition(line.thread), line.namespace)

    def namespaces(self, thread: str) -> Span:
        """The marks of a thread's namespaces."""
        return Span(THREAD, self._partition(thread), limit=limits.PAGE_MAX)

    @property
    def threads(self) -> RankSpan:
        """The marks of all threads, of every tenant, those that were written to last first."""
        return RankSpan(THREAD, limit=limits.PAGE_MAX, reverse=True)

    def line_of(self, mark: Key) -> Line | None:
        """Return whose mark this is, None if another tenant's."""
        tenant, _, thread = mark.partition.partition(_UNDER)
        return Line(thread, mark.item) if tenant == self.tenant else None

    def write(self, line: Line, checkpoint_id: str, task_id: str, index: int) -> Key:
        """One pending write of a checkpoint."""
        return Key(WRITE, self._partition(line.session), _BETWEEN.join((checkpoint_id, task_id, str(index))))

    def writes(self, line: Line, checkpoint_id: str | None = None) -> Span:
        """The pending writes of a checkpoint, or of all of a line, with the pieces of large ones."""
        partition = self._partition(line.session)
        if checkpoint_id is None:
            return Span(WRITE, partition, limit=limits.PAGE_MAX)
        return Span(WRITE, partition, checkpoint_id + _BETWEEN, checkpoint_id + _BEHIND, limit=limits.PAGE_MAX)

    def run(self, run_id: str, line: Line, checkpoint_id: str) -> Key:
        """The mark that a run made this checkpoint."""
        return Key(RUN, self._partition(run_id), _BETWEEN.join((*line, checkpoint_id)))

    def made(self, run_id: str, line: Line | None = None) -> Span:
        """The marks of what a run made, everywhere or in one line."""
        partition = self._partition(run_id)
        if line is None:
            return Span(RUN, partition, limit=limits.PAGE_MAX)
        prefix = _BETWEEN.join(line)
        return Span(RUN, partition, prefix + _BETWEEN, prefix + _BEHIND, limit=limits.PAGE_MAX)

    def ran(self, line: Line, run_id: str) -> Key:
        """The mark that a run made checkpoints of this line."""
        return Key(RAN, self._partition(line.thread), _BETWEEN.join((line.namespace, run_id)))

    def runs(self, line: Line) -> Span:
        """The marks of the runs that made checkpoints of this line."""
        partition = self._partition(line.thread)
        return Span(RAN, partition, line.namespace + _BETWEEN, line.namespace + _BEHIND, limit=limits.PAGE_MAX)


def made_of(mark: Key) -> tuple[Line, str]:
    """Return which checkpoint this mark says a run made."""
    thread, namespace, checkpoint_id = mark.item.split(_BETWEEN)
    return Line(thread, namespace), checkpoint_id


def last_of(item: str) -> str:
    """Return the last name of an item: a run's, or a write's index."""
    return item.rpartition(_BETWEEN)[2]


def written_of(write: Key) -> tuple[str, int]:
    """Return the task that made a write, and its index."""
    _, task_id, index = write.item.split(_BETWEEN)
    return task_id, int(index)


def checked(name: str, text: object) -> str:
    """Return a name that LangGraph gave, as text.

    Raises:
        InvalidError: it holds a character that separates names here.
    """
    found = str(text)
    if any(separator in found for separator in (_BETWEEN, _UNDER, "\0")):
        raise InvalidError(name, "it holds one of the characters U+0000, U+0001 and U+001F")
    return found
