"""Who may start a dialog, and who may use it.

    class Approve(Dialog[bool]):
        start_filter = role("clerk")
        update_filter = owner | role("admin") & ~users("intern")

A filter is whatever can be called with the context and says True or False, at once or when it is awaited. Those made
here are combined by `&`, `|` and `~`, also with plain functions; a combination asks no further than it has to, and is
awaited only where one of its parts is.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from sojourn.dialogs.model import User
from sojourn.errors import InvalidError

if TYPE_CHECKING:
    from sojourn.dialogs.context import Context

__all__ = ["Filter", "Rule", "all_of", "any_of", "anyone", "filtered", "judge", "nobody", "owner", "role", "users"]

Filter: TypeAlias = Callable[["Context"], bool | Awaitable[bool]]
"""Says whether an interaction may go on. What raises, or says neither True nor False, lets nothing through."""


class Rule:
    """A filter that can be combined. It never changes, so one object may stand in many classes.

    Being no function, it stays itself as an attribute of a class, where a function would become a method.

    Raises:
        InvalidError: what it is made of cannot be called.
    """

    __slots__ = ("_asks", "_name")

    def __init__(self, asks: Filter, name: str) -> None:
        self._asks = _checked(asks)
        self._name = name

    def __call__(self, ctx: Context) -> bool | Awaitable[bool]:
        """Say whether this interaction may go on."""
        return self._asks(ctx)

    def __and__(self, other: Filter) -> Rule:
        """Return a filter that lets through what both let through; `other` is asked only behind this one."""
        return all_of(self, other)

    def __rand__(self, other: Filter) -> Rule:
        """Return the same where a plain function stands first."""
        return all_of(other, self)

    def __or__(self, other: Filter) -> Rule:
        """Return a filter that lets through what one of them lets through; `other` is asked only for the rest."""
        return any_of(self, other)

    def __ror__(self, other: Filter) -> Rule:
        """Return the same where a plain function stands first."""
        return any_of(other, self)

    def __invert__(self) -> Rule:
        """Return a filter that lets through what this one does not."""
        return Rule(_Opposite(self._asks), f"~{self._name}")

    def __bool__(self) -> NoReturn:
        """Refuse `and`, `or` and `not`, which would leave out one of the two without a word.

        Raises:
            TypeError: always.
        """
        raise TypeError("filters are combined by &, | and ~")

    def __repr__(self) -> str:
        """Show how it is written."""
        return self._name


def filtered(asks: Filter) -> Rule:
    """Make a plain function, async or not, a filter that can be combined and stand in a class; also as a decorator.

    Raises:
        InvalidError: it cannot be called.
    """
    return asks if isinstance(asks, Rule) else Rule(asks, getattr(asks, "__name__", "filtered"))


def all_of(*filters: Filter) -> Rule:
    """Return a filter that lets through what all of these let through: everything, where there are none.

    Raises:
        InvalidError: one cannot be called.
    """
    return _joined(filters, "&", settles=False)


def any_of(*filters: Filter) -> Rule:
    """Return a filter that lets through what any of these lets through: nothing, where there are none.

    Raises:
        InvalidError: one cannot be called.
    """
    return _joined(filters, "|", settles=True)


def role(*names: str) -> Rule:
    """Return a filter for people who have one of these roles, as the platform knows them.

    Raises:
        InvalidError: there is none, or one is no text.
    """
    wanted = frozenset(names)
    if not wanted or not all(isinstance(name, str) for name in wanted):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError("role", "name at least one role, as a text")
    return Rule(lambda ctx: not wanted.isdisjoint(ctx.user.roles), f"role({_shown(names)})")


def users(*people: str | User) -> Rule:
    """Return a filter for these people: a text is an id in any tenant, a `User` that one in its own tenant.

    Raises:
        InvalidError: there is none, or one has no id.
    """
    ids = [one.id if isinstance(one, User) else one for one in people]
    if not ids or not all(isinstance(one, str) for one in ids) or "" in ids:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError("users", "name at least one, each by an id")
    everywhere = frozenset(one for one in people if isinstance(one, str))
    in_tenant = frozenset((one.id, one.tenant) for one in people if isinstance(one, User))
    return Rule(
        lambda ctx: ctx.user.id in everywhere or (ctx.user.id, ctx.user.tenant) in in_tenant, f"users({_shown(ids)})"
    )


async def judge(filter: Filter, ctx: Context) -> bool:  # noqa: A002  the word for it
    """Return what a filter says, awaited where it has to be.

    Raises:
        InvalidError: it says neither True nor False. Whatever else the filter raises.
    """
    said = filter(ctx)
    return said if isinstance(said, bool) else await _awaited(said)


def _checked(asks: Filter) -> Filter:
    given: object = asks
    if not callable(given):
        raise InvalidError("filter", f"it can be called with the context, and {type(given).__name__} cannot")
    return asks


def _shown(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


async def _awaited(said: object) -> bool:
    if inspect.isawaitable(said):
        said = await said
    if not isinstance(said, bool):
        raise InvalidError("filter", f"it says True or False, and said {type(said).__name__}")
    return said


# -- Combinations: asked without waiting up to the first that has to be awaited ----------------------------------------


class _Joined:
    """Asks one filter after another until one says what settles it."""

    __slots__ = ("parts", "settles")

    def __init__(self, parts: tuple[Filter, ...], *, settles: bool) -> None:
        self.parts = parts
        self.settles = settles

    def __call__(self, ctx: Context) -> bool | Awaitable[bool]:
        for at, one in enumerate(self.parts):
            said = one(ctx)
            if not isinstance(said, bool):
                return self._rest(said, at + 1, ctx)
            if said is self.settles:
                return said
        return not self.settles

    async def _rest(self, said: object, at: int, ctx: Context) -> bool:
        if await _awaited(said) is self.settles:
            return self.settles
        for one in self.parts[at:]:
            if await judge(one, ctx) is self.settles:
                return self.settles
        return not self.settles


class _Opposite:
    """Says the opposite of a filter."""

    __slots__ = ("_asks",)

    def __init__(self, asks: Filter) -> None:
        self._asks = asks

    def __call__(self, ctx: Context) -> bool | Awaitable[bool]:
        said = self._asks(ctx)
        return not said if isinstance(said, bool) else self._later(said)

    async def _later(self, said: object) -> bool:
        return not await _awaited(said)


def _joined(filters: tuple[Filter, ...], sign: str, *, settles: bool) -> Rule:
    parts = tuple(filtered(one) for one in filters)
    name = f" {sign} ".join(map(repr, parts))
    return Rule(
        _Joined(parts, settles=settles), f"({name})" if len(parts) > 1 else name or ("nobody" if settles else "anyone")
    )


def _is_owner(ctx: Context) -> bool:
    user, owner = ctx.user, ctx.owner
    return user.id == owner.id and user.tenant == owner.tenant


anyone: Final = Rule(lambda _: True, "anyone")
"""Lets everybody through."""
nobody: Final = Rule(lambda _: False, "nobody")
"""Lets nobody through."""
owner: Final = Rule(_is_owner, "owner")
"""Lets through who started the dialog, so at its start everybody. A tenant's people are no other tenant's."""
