"""The engine port: nine methods and thirteen promises.

An engine is the adapter to one database. Whoever writes one keeps these promises and proves it with
`sojourn.testing.conformance`, whose tests cite the numbers.

1.  Atomic. All writes of a transaction, or none. Everything is checked before the first write.
2.  Guarded. Guards are judged against exactly the state the writes apply to. Transactions equal some serial order,
    and the outcomes of a batch are those of applying it one by one in the order given.
3.  Read your commit. A transaction's reads show the state right after its writes; a read that begins after a commit
    returned sees it.
4.  Revisions. Every put, create and append gets a revision greater than any its partition ever had, deleted or not,
    in commit order, one for the whole transaction. A touch changes rank and expiry only: no revision, no change. So a
    lease's revision is its fencing token, and a heartbeat wakes nobody.
5.  Expiry. From `expires_at` on a record is absent to reads, guards, writes and listings, swept or not; a create on it
    succeeds. The sweep announces it as a change.
6.  One clock. "Now" is the engine's, never steps back within a process, and comes back with every answer. A batch may
    share one reading of it.
7.  Durable. After commit returns, killing every process loses nothing; an engine whose setting promises less says so
    in `describe`.
8.  Listings are ordered by code point, bounded by a page, and resume exactly. A span is one snapshot. Across
    partitions a record that moves may show twice when ascending, and is never missed if ranks only grow.
9.  Watch. From the position that `changes(None, 0)` returns, each later change is delivered at least once, possibly
    merged, unordered across partitions; when in doubt `gap`, and the reader reads again. A touch is no change. Answers
    up to one that says no `more` hold all that was committed before that one was asked for.
10. Four failures. `Conflict` and `Refused` as outcomes; `UnavailableError` when nothing was written;
    `CommitUnknownError` when something may have been. No driver's exception leaves an engine. Where a batch goes to
    several machines, the two errors may also stand for single transactions, in the place of their outcomes.
11. Limits of `limits` are refused before any I/O, by the kernel, alike on all engines.
12. Cancellation leaves a commit applied or not, never half, and leaks nothing.
13. Repeat. A transaction id commits at most once while its receipt lives. A repeat answers the first revision and
    attempt, with `repeated`; the receipt is written in the same commit. It is looked for when a guard fails or the
    receipt cannot be inserted, so a repeat is recognised whatever has happened to its records since. Without
    `cross_partition` an id is remembered beside the partition that it wrote to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import msgspec

from sojourn import limits
from sojourn.errors import CommitUnknownError, UnavailableError
from sojourn.kernel.keys import Cursor, Key, RankSpan
from sojourn.kernel.transaction import Outcome, Reads, Record, Snapshot, Transaction

__all__ = [
    "Answer",
    "BatchRefusedError",
    "Changes",
    "Description",
    "Engine",
    "Finding",
    "Position",
    "RankPage",
    "Swept",
]

Answer: TypeAlias = Outcome | UnavailableError | CommitUnknownError
"""What became of one transaction of a batch: its outcome, or why there is none, where only a part of it was reached."""

Position: TypeAlias = str
"""An opaque place in an engine's change log."""


class BatchRefusedError(Exception):
    """The engine refused the whole batch and rolled it back; the kernel halves the batch to find the culprit."""


class RankPage(msgspec.Struct, frozen=True):
    """A page across partitions: a hint, since nothing guards it.

    `cursor` resumes behind a full page, where there may be nothing more; None says that nothing follows.
    """

    records: tuple[Record, ...]
    cursor: Cursor | None
    now: int


class Changes(msgspec.Struct, frozen=True):
    """Keys written or removed since a position, and the position to ask from next.

    `gap` says that changes may be missing: the reader must read again what it depends on. `more` says that the log goes
    on, or that a part of it could not be read; without it, all is here that was committed before it was asked for.
    """

    position: Position
    keys: frozenset[Key] = frozenset()
    gap: bool = False
    more: bool = False


class Swept(msgspec.Struct, frozen=True):
    """What one step of a sweep removed; `more` says that another step has something to do."""

    expired: int = 0
    log_rows: int = 0
    receipts: int = 0
    more: bool = False


class Description(msgspec.Struct, frozen=True):
    """What an engine is and can do: the optional promises, declared; and what it takes at a time.

    `batches` is how many it takes before the first is answered. They are handed over in order, and it may apply them
    in any: what one caller commits after another's answer was there is never in flight beside it.
    """

    engine: str
    version: str
    durable: bool
    cross_partition: bool
    cross_process_watch: bool
    batch_transactions: int = limits.BATCH_TRANSACTIONS
    batch_bytes: int = limits.BATCH_BYTES
    batches: int = 1


class Finding(msgspec.Struct, frozen=True):
    """What an examination found about the database and its settings; `advice`, if any, says what to change."""

    name: str
    found: str
    advice: str | None = None


class Engine(Protocol):
    """The adapter to one database. The kernel calls `commit` from one loop, as often at a time as `describe` allows."""

    async def open(self) -> None:
        """Connect, and create or check what the engine keeps.

        Raises:
            UnavailableError: the database cannot be reached.
            IncompatibleError: what is there is not sojourn's, or of a newer release.
            InvalidError: it cannot be used as configured; the message says what to change.
        """
        ...

    async def close(self) -> None:
        """Release every connection and thread. Closing twice is harmless."""
        ...

    async def commit(self, batch: Sequence[Transaction]) -> Sequence[Answer]:
        """Apply the transactions in order, each whole or not at all, and make the result durable.

        Raises:
            UnavailableError: nothing of the batch was written.
            CommitUnknownError: the answer was lost; any of it may have been written.
            CapabilityError: a transaction needs what this engine lacks; nothing of the batch was written.
            BatchRefusedError: the batch as a whole was refused and rolled back.
        """
        ...

    async def read(self, reads: Reads) -> Snapshot:
        """Read keys and spans as one snapshot, never queued behind a commit.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        ...

    async def rank(self, span: RankSpan) -> RankPage:
        """Read one page of a space by rank, over all partitions.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        ...

    async def changes(self, since: Position | None, wait: float) -> Changes:
        """Return what changed since the position, waiting up to `wait` real seconds for the first change.

        None asks for the position of now, at once and with no keys. A position that the log no longer reaches back
        to, or that is not of this log, answers with `gap`.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        ...

    async def sweep(self, limit: int) -> Swept:
        """Remove up to `limit` expired records, announcing them as changes, and what log and receipts keep too long.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        ...

    async def examine(self) -> Sequence[Finding]:
        """Look at the version, the rights, the settings that durability depends on: what an operator should know.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        ...

    def describe(self) -> Description:
        """Say what the engine is and which optional promises it keeps; no I/O."""
        ...
