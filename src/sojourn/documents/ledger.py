"""What of a document is stored, as far as its holder knows: the last save, the changes since, the saves in doubt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

from sojourn.documents.kind import Kind
from sojourn.documents.layout import Place
from sojourn.documents.migration import Unknown
from sojourn.documents.model import Cause, Info
from sojourn.documents.saving import Saving, Standing, digest, saving_of
from sojourn.documents.stored import info_of
from sojourn.kernel import Guard, Record

__all__ = ["Ledger"]

T = TypeVar("T")


class Ledger(Generic[T]):
    """Counts the changes of one document, and knows as of which of them it is stored. No I/O."""

    def __init__(  # noqa: PLR0913  made by the loader only
        self,
        kind: Kind[T],
        place: Place,
        standing: Standing,
        *,
        now: int,
        is_saved: bool,
        last_saved: T | None,
        unknown: Unknown | None = None,
    ) -> None:
        self.last_saved = last_saved
        self.changes = 0 if is_saved else 1
        self.saved_changes = 0
        self._kind = kind
        self._place = place
        self._standing = standing
        self._unknown = unknown
        self._new_subjects: frozenset[str] = frozenset()
        self._doubts: dict[bytes, Saving[T]] = {}
        self._ahead_ms = now - self._monotonic_ms()

    @property
    def is_saved(self) -> bool:
        """Say whether the store has all that the value is."""
        return self.saved_changes == self.changes

    @property
    def subjects(self) -> frozenset[str]:
        """To whom the document belongs, stored or not."""
        return self._new_subjects.union(self._standing.facts.subjects)

    @property
    def info(self) -> Info:
        """What is known of the document as of its last save."""
        head, facts = self._standing.head, self._standing.facts
        is_stored = head is not None and bool(facts.save)  # a tombstone is none of this document's saves
        return info_of(
            self._place,
            facts,
            self._standing.size,
            revision=head.revision if head is not None and is_stored else None,
            saved_at=facts.saved_at if is_stored else None,
        )

    @property
    def guard(self) -> Guard:
        """What holds while the stored document is the one that is known here."""
        return self._standing.guard(self._place)

    def add_subjects(self, subjects: Iterable[str]) -> None:
        """Note that it belongs to these too; the next save stores it."""
        self._new_subjects |= set(subjects)
        self.changes += 1

    def saving(self, value: T, cause: Cause, *, releases: bool = False) -> Saving[T]:
        """Return what stores a value, the present one or one that it is to become.

        Raises:
            InvalidError: it has no JSON form. LimitError: it is too large.
        """
        return saving_of(
            self._kind,
            self._place,
            self._standing.belonging_to(self._new_subjects),
            value,
            cause,
            now=self._monotonic_ms() + self._ahead_ms,  # the engine's time, reckoned from its last answer
            changes=self.changes,
            unknown=self._unknown,
            releases=releases,
        )

    def saved(self, saving: Saving[T], revision: int, now: int) -> None:
        """Note that a save holds; with that, none is in doubt: the others can never hold any more."""
        self._ahead_ms = now - self._monotonic_ms()
        self._standing = saving.standing(self._place, revision)
        self.last_saved = saving.value
        self._unknown = saving.unknown
        self.saved_changes = max(saving.changes, self.saved_changes)
        self._doubts.clear()

    def doubt(self, saving: Saving[T]) -> None:
        """Note that nobody knows whether a save holds."""
        self._doubts[saving.digest] = msgspec.structs.replace(saving, writes=())  # as large as the document

    def is_in_doubt(self, saving: Saving[T]) -> bool:
        """Say whether nobody knows whether a save holds."""
        return saving.digest in self._doubts

    @property
    def has_doubts(self) -> bool:
        """Say whether nobody knows of some save whether it holds."""
        return bool(self._doubts)

    def recognised(self, found: Record | None) -> Saving[T] | None:
        """Return the save in doubt that wrote this record, if one did."""
        return None if found is None else self._doubts.get(digest(found.value))

    def _monotonic_ms(self) -> int:
        return int(self._kind.store.clock.monotonic() * 1_000)
