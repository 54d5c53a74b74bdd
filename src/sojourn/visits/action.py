"""What visitors did: a record for each action, written once and never touched again.

The engine's time of an action needs no second trip: the record expires so long after it as the action says it is kept.
When it was done is told by how long before, by the clock of the browser itself, which may show any time it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel import Append, Attempt, Now, Record, Store
from sojourn.kernel.codec import codec
from sojourn.kernel.listing import Listing, span_listing
from sojourn.visits import layout
from sojourn.visits.model import (
    Action,
    ActionInput,
    Batch,
    BatchResult,
    RefusedAction,
    Terms,
    checked_action,
    checked_batch,
    checked_metadata,
    checked_whole,
    moment,
)
from sojourn.visits.visitor import Visitors

__all__ = ["Actions", "action_from"]

_MILLISECOND: Final = timedelta(milliseconds=1)


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an action's record says. `kept` is how long it lives, `age` how long ago it was done; milliseconds."""

    action: str
    kept: int
    age: int = 0
    resource_id: str | None = None
    metadata: msgspec.Raw | UnsetType = UNSET
    client: str | None = None
    sequence: int | None = None


_STORED: Final = codec(_Stored)
_METADATA: Final = codec(dict[str, Any])


def action_from(record: Record) -> Action:
    """Return the action that a record of the space `visit.action` says.

    Raises:
        CorruptError: the record cannot be understood.
    """
    stored = _STORED.decode(record.value)
    timestamp = (record.expires_at or 0) - stored.kept
    return Action(
        stored.action,
        timestamp=moment(timestamp),
        occurred_at=moment(timestamp - stored.age),
        resource_id=stored.resource_id,
        metadata=None if stored.metadata is UNSET else _METADATA.load(bytes(stored.metadata)),
        client=stored.client,
        sequence=stored.sequence,
    )


class _Report(NamedTuple):
    """An action of a batch that is in form: what is to be written of it, if it has a name, and what it tells."""

    sequence: int
    value: bytes | None
    engaged: int


class Actions:
    """The actions of the visitors of one store."""

    def __init__(self, store: Store, terms: Terms, visitors: Visitors) -> None:
        self._store = store
        self._visitors = visitors
        self._must_be_known = terms.unknown == "refuse"
        self._kept = terms.retention // _MILLISECOND

    async def record(
        self,
        visitor_id: str,
        action: str,
        resource_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        tx: Attempt | None = None,
    ) -> None:
        """Record one action together with the sign of life that it is.

        Raises:
            VisitorUnknownError: the visitor must be known and is not; nothing was written.
            InvalidError: the action or the metadata are out of form; nothing was written.
            LimitError: one of them is beyond its limit; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps recorded.
        """
        checked_action(action, resource_id)
        stored = _Stored(action, self._kept, resource_id=resource_id, metadata=checked_metadata(metadata))
        append = self._append(visitor_id, _STORED.encode(stored))
        await self._visitors.beat(visitor_id, known=self._must_be_known, beside=(append,), tx=tx)

    async def record_batch(self, visitor_id: str, batch: Batch) -> BatchResult:
        """Record what a client reports and has not reported before, together with the sign of life that it is.

        Raises:
            VisitorUnknownError: the visitor must be known and is not; nothing was written.
            InvalidError: the client is out of form, or the sequences do not grow; nothing was written.
            LimitError: there are too many actions; nothing was written.
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; repeat it, each action is recorded once.
        """
        checked_batch(batch)
        reports: list[_Report] = []
        refused: list[RefusedAction] = []
        for given in batch.actions:
            try:
                reports.append(self._report(batch, given))
            except (InvalidError, LimitError) as error:
                refused.append(RefusedAction(given.sequence, error.code, str(error)))
        accepted = await self._store.run(lambda tx: self._take(tx, visitor_id, batch.client, reports))
        return BatchResult(accepted, len(reports) - accepted, tuple(refused))

    def listing(self, visitor_id: str, limit: int, after: str | None, *, newest_first: bool) -> Listing[Action]:
        """List the actions of a visitor in the order of their commits, or the other way round.

        Raises:
            InvalidError: the limit is below 1, or the cursor is none of this listing.
            LimitError: the limit is above `limits.PAGE_MAX`.
        """
        span = msgspec.structs.replace(layout.action_span(visitor_id), limit=limit, reverse=newest_first)
        return span_listing(self._store, span, action_from, after)

    async def _take(self, tx: Attempt, visitor_id: str, client: str, reports: Sequence[_Report]) -> int:
        """Write those of the reports that are new, and return how many they are."""
        arrived = layout.client(visitor_id, client)
        await tx.fetch((layout.visitor(visitor_id), layout.idle(visitor_id), arrived))
        known = await self._visitors.beat_within(tx, visitor_id, known=self._must_be_known)
        before = await tx.get(arrived)
        highest = -1 if before is None else int(before.value)
        new = [report for report in reports if report.sequence > highest]
        if not new:
            return 0
        tx.put(arrived, b"%d" % new[-1].sequence, ttl=limits.ACTION_AGE)
        tx.write(*(self._append(visitor_id, report.value) for report in new if report.value is not None))
        engaging = known.engaging(sum(report.engaged for report in new), await tx.now())
        if engaging != known:
            self._visitors.note(tx, visitor_id, engaging)
        return len(new)

    def _report(self, batch: Batch, given: ActionInput) -> _Report:
        age = batch.sent_at - checked_whole("at", given.at)
        if checked_whole("engaged_ms", given.engaged_ms) < 0:
            raise InvalidError("engaged_ms", "it is not below 0")
        if given.action is None:
            return _Report(given.sequence, None, given.engaged_ms)
        checked_action(given.action, given.resource_id)
        stored = _Stored(
            given.action,
            self._kept,
            age=min(max(age, 0), limits.ACTION_AGE // _MILLISECOND),
            resource_id=given.resource_id,
            metadata=checked_metadata(given.metadata),
            client=batch.client,
            sequence=given.sequence,
        )
        return _Report(given.sequence, _STORED.encode(stored), given.engaged_ms)

    def _append(self, visitor_id: str, value: bytes) -> Append:
        return Append(layout.ACTION, visitor_id, "", value, ttl=Now(self._kept))
