"""Named steps that bring a stored value up to date, and what an older program does with what it does not know.

With each document the names of the steps it has been through are kept. A step is run once, in the order in which the
steps are given, also when it was put between others later. A *breaking* step is one without which a program cannot read
the value: one that does not know it refuses the document. What a newer program added by another step is kept as it is.

A step that was released is never edited, renamed or removed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.documents.frozen import thaw
from sojourn.errors import IncompatibleError, InvalidError, LimitError, MigrationFailedError

__all__ = ["Chain", "MigrationStep", "Unknown", "filled", "left", "unknown", "with_unknown"]

T = TypeVar("T")


class MigrationStep(msgspec.Struct, frozen=True):
    """One step: a name that is never given again, and a function from plain JSON data to plain JSON data.

    The function may write into what it is given, and returns the data. `breaking` says that a program which does not
    know this step cannot read what comes out of it.
    """

    name: str
    apply: Callable[[Any], Any]
    breaking: bool = True

    @classmethod
    def add_fields(cls, name: str, fields: Mapping[str, Any], *, breaking: bool = False) -> MigrationStep:
        """Make a step that adds what is missing, also in dicts within dicts; what is there stays."""
        added = thaw(dict(fields))
        return cls(name, lambda plain: _filled_dict(plain, added), breaking)

    @classmethod
    def transform(cls, name: str, fn: Callable[[Any], Any], *, breaking: bool = True) -> MigrationStep:
        """Make a step of a function that returns the data."""
        return cls(name, fn, breaking)


class Chain:
    """The steps of documents of one kind, in order. `names` are all of them, `floor` the breaking ones.

    Raises:
        InvalidError: a name is empty, unprintable or comes twice, or a step is no plain function.
        LimitError: there are more than `limits.MIGRATIONS`, or a name is longer than `limits.MIGRATION_CHARS`.
    """

    def __init__(self, steps: Sequence[MigrationStep] = ()) -> None:
        if not _are_steps(steps):
            raise InvalidError("migrations", "it is a list of `MigrationStep`s")
        if len(steps) > limits.MIGRATIONS:
            raise LimitError("migrations", limit=limits.MIGRATIONS, found=len(steps), unit="steps")
        for step in steps:
            _check_step(step)
        self._steps = tuple(steps)
        self.names = tuple(step.name for step in steps)
        self.floor = tuple(step.name for step in steps if step.breaking)
        repeated = next((name for at, name in enumerate(self.names) if name in self.names[:at]), None)
        if repeated is not None:
            raise InvalidError("migrations", f"the name {repeated!r} comes twice")

    def check(self, key: str, floor: Sequence[str]) -> None:
        """Let through a document whose breaking steps are all known.

        Raises:
            IncompatibleError: one is not; the message names it.
        """
        foreign = [name for name in floor if name not in self.names]
        if foreign:
            missing = ", ".join(map(repr, foreign))
            raise IncompatibleError(f"{key} was saved by a newer program: this one does not know the step {missing}")

    def pending(self, applied: Sequence[str]) -> tuple[MigrationStep, ...]:
        """Return the steps that a document has not been through, in order."""
        known = frozenset(applied)
        return tuple(step for step in self._steps if step.name not in known)

    def run(self, key: str, plain: Any, applied: Sequence[str]) -> Any:  # noqa: ANN401  plain data of any shape
        """Return plain data that has been through every step; what was given is not written into.

        Raises:
            MigrationFailedError: a step raised, gave nothing back, or waits.
        """
        for step in self.pending(applied):
            plain = thaw(_applied(step, key, thaw(plain)))
        return plain

    def merged(self, applied: Sequence[str]) -> tuple[str, ...]:
        """Return the names to keep with a document that has been through every step: also those of newer programs."""
        return _merged(applied, self.names)

    def merged_floor(self, floor: Sequence[str]) -> tuple[str, ...]:
        """Return the breaking ones of these names."""
        return _merged(floor, self.floor)


class Unknown(msgspec.Struct, frozen=True):
    """What of a stored value this program does not know: whole fields, and what is unknown within known ones."""

    fields: dict[str, Any]
    within: dict[str, Unknown]


def unknown(plain: object, known: object) -> Unknown | None:
    """Return what is in stored plain data and not in what this program makes of it, by the names of dicts in dicts."""
    if not isinstance(plain, dict) or not isinstance(known, dict):
        return None
    stored, kept = cast("dict[str, Any]", plain), cast("dict[str, Any]", known)
    fields = {name: thaw(value) for name, value in stored.items() if name not in kept}
    inner = {name: unknown(value, kept[name]) for name, value in stored.items() if name in kept}
    within = {name: found for name, found in inner.items() if found is not None}
    return Unknown(fields, within) if fields or within else None


def with_unknown(plain: T, found: Unknown | None) -> T:
    """Return plain data with what was unknown in it put back; what has gone meanwhile takes its own with it."""
    if found is None or not isinstance(plain, dict):
        return plain
    whole = cast("dict[str, Any]", plain)
    within = {name: with_unknown(whole[name], inner) for name, inner in found.within.items() if name in whole}
    return cast("T", thaw(found.fields) | whole | within)


def left(plain: object, found: Unknown | None) -> Unknown | None:
    """Return what of the unknown still has its place in this plain data."""
    if found is None or not isinstance(plain, dict):
        return None
    whole = cast("dict[str, Any]", plain)
    inner = {name: left(whole[name], one) for name, one in found.within.items() if name in whole}
    within = {name: one for name, one in inner.items() if one is not None}
    return Unknown(found.fields, within) if found.fields or within else None


def filled(plain: Any, template: Any) -> Any:  # noqa: ANN401  plain data of any shape
    """Return plain data with what it lacks of the template, also in dicts within dicts; what is there stays."""
    if not isinstance(plain, dict) or not isinstance(template, dict):
        return cast("object", plain)
    return _filled_dict(cast("object", plain), cast("dict[str, Any]", template))


def _filled_dict(plain: object, template: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise TypeError(f"fields are added to a dict, not to a {type(plain).__name__}")
    present = cast("dict[str, Any]", plain)
    within = {name: filled(value, template[name]) for name, value in present.items() if name in template}
    missing = {name: thaw(value) for name, value in template.items() if name not in present}
    return present | within | missing


def _are_steps(given: object) -> bool:
    if not isinstance(given, Sequence):
        return False
    return all(isinstance(step, MigrationStep) for step in cast("Sequence[object]", given))


def _check_step(step: MigrationStep) -> None:
    name = cast("object", step.name)
    if not isinstance(name, str) or not name or not name.isprintable():
        raise InvalidError("migrations", "the name of a step is a text of at least one character, which can be printed")
    if len(name) > limits.MIGRATION_CHARS:
        raise LimitError("migration", limit=limits.MIGRATION_CHARS, found=len(name), unit="characters")
    if not callable(cast("object", step.apply)) or _waits(step.apply):
        raise InvalidError("migrations", f"the step {name!r} is no function that gives its result at once")


def _waits(apply: Any) -> bool:  # noqa: ANN401  whatever can be called
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return any(is_kind(called) for is_kind in kinds for called in (apply, apply.__call__))


def _applied(step: MigrationStep, key: str, plain: object) -> object:
    try:
        result: object = step.apply(plain)
    except Exception as error:
        problem = f"{key}: the migration step {step.name!r} failed: {type(error).__name__}: {error}"
        raise MigrationFailedError(problem, step=step.name) from error
    if inspect.iscoroutine(result):
        result.close()
    if result is None or inspect.isawaitable(result) or inspect.isasyncgen(result) or inspect.isgenerator(result):
        problem = f"{key}: the migration step {step.name!r} gave {type(result).__name__} instead of the data"
        raise MigrationFailedError(problem, step=step.name)
    return result


def _merged(stored: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*stored, *own)))
