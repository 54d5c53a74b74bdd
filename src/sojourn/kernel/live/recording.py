"""What one evaluation of a reading reads, and what it is answered from.

Each scope is registered before it is read. So whatever changes after the read is noticed, and nothing has to be looked
for that changed in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Final

import msgspec

from sojourn.kernel.engine import RankPage
from sojourn.kernel.keys import Key, RankSpan, Scope, Space, Span, following
from sojourn.kernel.transaction import Reads, Record, Records, Snapshot

__all__ = ["Known", "Recording", "recording"]


class Known:
    """Records of one instant, to answer evaluations from."""

    def __init__(self, reads: Reads, snapshot: Snapshot) -> None:
        self.now = snapshot.now
        self.keys = dict(zip(reads.keys, snapshot.records.keys, strict=True))
        self.spans = dict(zip(reads.spans, snapshot.records.spans, strict=True))

    def only(self, reads: Reads) -> Known:
        """Return what of this these reads ask for. The rest was registered by others, and a change told to them."""
        keys = tuple(key for key in reads.keys if key in self.keys)
        spans = tuple(span for span in reads.spans if span in self.spans)
        records = Records(tuple(self.keys[key] for key in keys), tuple(self.spans[span] for span in spans))
        return Known(Reads(keys, spans), Snapshot(records, self.now))

    def answer(self, reads: Reads) -> Snapshot | None:
        """Return what these reads would have given at that instant, or None when not all of it is known."""
        try:
            keys = tuple(self.keys[key] for key in reads.keys)
            spans = tuple(self.spans[span] for span in reads.spans)
        except KeyError:
            return None
        return Snapshot(Records(keys, spans), self.now)


class Recording:
    """Notes what is read while an evaluation goes on in its context. `is_whole`: all of it came from what was known.

    `owner` is the store whose reads are noted. `scopes` are what the answer depends on, `reads` what to read for it the
    next time; `expires_at` is the first instant, in milliseconds of the engine's clock, at which something that was
    read is no more. `now` is the latest instant of that clock that an answer came with. `is_listed`: by rank, which is
    never known, and shown as it was read when it changes all the time.
    """

    def __init__(self, owner: object, register: Callable[[Scope], None], known: Known | None) -> None:
        self.owner = owner
        self._register = register
        self._known = known
        self.is_open = True
        self.is_whole = True
        self.is_listed = False
        self.keys: dict[Key, None] = {}
        self.spans: dict[Span, Span] = {}
        self.spaces: dict[Space, None] = {}
        self.expires_at: int | None = None
        self.now = 0

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What the answer depends on: of a span whose page was full, only the part that the page shows."""
        return (*self.keys, *self.spans.values(), *self.spaces)

    @property
    def reads(self) -> Reads:
        """What was read, as it was asked for."""
        return Reads(tuple(self.keys), tuple(self.spans))

    async def read(self, reads: Reads, ask: Callable[[Reads], Awaitable[Snapshot]]) -> Snapshot:
        """Answer from what is known, or else by asking, and note it."""
        for key in reads.keys:
            if key not in self.keys:
                self.keys[key] = None
                self._register(key)
        for span in reads.spans:
            if span not in self.spans:
                self.spans[span] = span
                self._register(span)
        snapshot = None if self._known is None else self._known.answer(reads)
        if snapshot is None:
            self.is_whole = False
            snapshot = await ask(reads)
        self.now = max(self.now, snapshot.now)
        self._note(snapshot.records.keys)
        for span, page in zip(reads.spans, snapshot.records.spans, strict=True):
            self.spans[span] = _shown(span, page)
            self._note(page)
        return snapshot

    async def rank(self, span: RankSpan, ask: Callable[[RankSpan], Awaitable[RankPage]]) -> RankPage:
        """Ask for a page of a space by rank; the answer depends on the whole space."""
        space = Space(span.space)
        if space not in self.spaces:
            self.spaces[space] = None
            self._register(space)
        self.is_whole = False
        self.is_listed = True
        page = await ask(span)
        self.now = max(self.now, page.now)
        self._note(page.records)
        return page

    def _note(self, records: Iterable[Record | None]) -> None:
        for record in records:
            ends = None if record is None else record.expires_at
            if ends is not None and (self.expires_at is None or ends < self.expires_at):
                self.expires_at = ends


recording: Final[ContextVar[Recording | None]] = ContextVar("recording", default=None)
"""The recording of the evaluation that this task is part of."""


def _shown(span: Span, page: tuple[Record, ...]) -> Span:
    """Return the part of the span that decides what the page shows."""
    if len(page) < span.limit:
        return span
    last = page[-1].key.item
    if span.reverse:
        return msgspec.structs.replace(span, start=last)
    return msgspec.structs.replace(span, stop=following(last))
