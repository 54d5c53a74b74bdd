"""Who depends on a key: an index from what changes to those whose answers it decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from sojourn.kernel.keys import Key, Scope, Span

__all__ = ["Interest"]

W = TypeVar("W")


class Interest(Generic[W]):
    """Scopes by who depends on them. Each lookup costs what it finds, and the spans of one partition."""

    def __init__(self) -> None:
        self._by_key: defaultdict[Key, dict[W, None]] = defaultdict(dict)
        self._by_partition: defaultdict[tuple[str, str], dict[tuple[W, Span], None]] = defaultdict(dict)
        self._by_space: defaultdict[str, dict[W, None]] = defaultdict(dict)

    def add(self, scope: Scope, who: W) -> None:
        """Note that somebody depends on a scope; noting it twice is the same as once."""
        if isinstance(scope, Key):
            self._by_key[scope][who] = None
        elif isinstance(scope, Span):
            self._by_partition[scope.space, scope.partition][who, scope] = None
        else:
            self._by_space[scope.name][who] = None

    def remove(self, scopes: Iterable[Scope], who: W) -> None:
        """Forget that somebody depends on these scopes."""
        for scope in scopes:
            if isinstance(scope, Key):
                _drop(self._by_key, scope, who)
            elif isinstance(scope, Span):
                _drop(self._by_partition, (scope.space, scope.partition), (who, scope))
            else:
                _drop(self._by_space, scope.name, who)

    def of(self, key: Key) -> Iterator[W]:
        """Iterate over those who depend on the key; one may come several times."""
        yield from self._by_key.get(key, ())
        for who, span in self._by_partition.get(key[:2], ()):
            if key in span:
                yield who
        yield from self._by_space.get(key.space, ())

    @property
    def is_empty(self) -> bool:
        """Say whether nobody depends on anything."""
        return not (self._by_key or self._by_partition or self._by_space)


I = TypeVar("I")  # noqa: E741  what the index goes by
M = TypeVar("M")


def _drop(index: defaultdict[I, dict[M, None]], place: I, member: M) -> None:
    found = index.get(place)
    if found is not None:
        found.pop(member, None)
        if not found:
            del index[place]
