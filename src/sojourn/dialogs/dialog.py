"""What applications write: a class for each type of dialog, whose methods handle what people do.

    @dialogs.register("approve", version=1)
    class Approve(Dialog[bool]):
        data: Order
        ttl = timedelta(minutes=3)

        async def start(self, ctx: Context) -> None:
            await ctx.reply(f"Ship {self.data.id}?", ctx.button("Yes", self.yes), ctx.button("No", self.no))

        @button
        async def yes(self, ctx: Context) -> End:
            return ctx.end(True)

An object of the class lives for one interaction: it is made from what is stored, and what the handler changed in its
`data` is stored when the handler succeeds, or forgotten when it fails. So no object, timer or future has to survive.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar, cast

from sojourn import limits
from sojourn.dialogs.context import KINDS, Context
from sojourn.dialogs.filters import Filter, anyone, owner
from sojourn.dialogs.model import Concurrency, End, Ended, Keep, Kind, Stale

__all__ = [
    "Answer",
    "Dialog",
    "action",
    "button",
    "callback",
    "command",
    "message",
    "modal",
    "named_action",
    "select",
]

R = TypeVar("R")
H = TypeVar("H", bound=Callable[..., Awaitable[Any]])

Answer: TypeAlias = Keep | End | bool | None
"""What a handler returns: KEEP (or False, or None), REFRESH (or True), or what `ctx.end` gave."""


_NONE: Final = frozenset[Kind]()


class _Mark(Protocol):
    def __call__(self, method: H, /) -> H: ...


def _marks(*kinds: Kind) -> _Mark:
    def mark(method: H) -> H:
        setattr(method, KINDS, frozenset(kinds))
        return method

    return mark


button: Final = _marks(Kind.BUTTON)
"""Marks a method as what happens when a button made with `ctx.button(label, self.method)` is clicked."""
select: Final = _marks(Kind.SELECT)
"""Marks a method as what happens when something is chosen; `ctx.values` says what."""
modal: Final = _marks(Kind.MODAL)
"""Marks a method as what happens when a form is sent; `ctx.fields` holds what was filled in."""
message: Final = _marks(Kind.MESSAGE)
"""Marks a method as what happens when a message names this action; one that names none goes to `on_message`."""
command: Final = _marks(Kind.COMMAND)
"""Marks a method as what happens when a command names this action."""
callback: Final = _marks(Kind.CALLBACK)
"""Marks a method as what happens on an interaction of the platform's own kind."""
action: Final = _marks(*Kind)
"""Marks a method as a named action for any kind of interaction."""


def named_action(target: object, ctx: Context) -> Callable[..., Awaitable[Any]] | None:
    """Return the method of an object that the component names, if it is marked for this kind of interaction."""
    if ctx.action is None or ctx.interaction is None:
        return None
    named = getattr(type(target), ctx.action, None)
    kinds = cast("frozenset[Kind]", getattr(named, KINDS, _NONE))
    return named.__get__(target) if named is not None and ctx.interaction.kind in kinds else None


class Dialog(Generic[R]):
    """One type of dialog; `R` is the type of its result.

    Its attributes stand on the class, and a method may set them on its object. A class is made without arguments.

    `data` is annotated with the type of what the dialog keeps between interactions; without an annotation it is a plain
    dict. `ttl` is how long the dialog lives from its start, and from each REFRESH, on: None, until it is ended.
    `result` is what it ends with where the handler that ended it gave nothing; what a handler sets it to is kept.

    `start_filter` says who may start it, `update_filter` who may use it: its owner, who started it, unless it says
    otherwise. `concurrency` says what happens to interactions that come at once, `stale` what to a click on an older
    view. `handler_limit` is how long a handler may take, at most `limits.DIALOG_HANDLER`: then it is
    cancelled, and has failed; one that goes on nevertheless keeps its dialog busy in this process.
    """

    data: Any
    dialog_id: str
    ttl: timedelta | None = limits.DIALOG_TTL
    result: R | None = None
    start_filter: Filter = anyone
    update_filter: Filter = owner
    page: int = 0
    stage: str | None = None
    extra: dict[str, Any]
    concurrency: ClassVar[Concurrency] = "serial"
    stale: ClassVar[Stale] = "accept"
    handler_limit: ClassVar[timedelta] = limits.DIALOG_HANDLER

    async def start(self, ctx: Context) -> object:
        """Say the first thing, by `ctx.reply`. What this raises ends the dialog before it has begun.

        It runs before the dialog's first commit: the reply is sent at once, all else after the commit.
        """

    async def end(self, ctx: Context, ended: Ended[R]) -> object:
        """Say that the dialog has ended, by `ctx.edit_origin` for example; whatever ended it, also after a restart.

        `ended.result` is what was given so far; where nothing was, `self.result`, which this may still set, counts.
        It runs within the commit that ends the dialog, and again when that met a rival: what it has done takes effect
        once. What it raises goes to the error handlers, and the dialog ends nevertheless.
        """

    @classmethod
    def migrate(cls, version: int, data: Any) -> Any:  # noqa: ANN401  plain JSON data of whatever an older version kept
        """Return the data of this version for that of an older one, both as plain JSON data.

        What it raises, as this one does, leaves the dialog as it is: who uses it is told that it cannot be read here.
        """
        raise NotImplementedError(f"{cls.__name__} has no `migrate`, and was asked for version {version}")

    @classmethod
    def check_class(cls) -> None:
        """Refuse a class that lacks something, by an InvalidError; called when it is registered."""

    # Each of these takes what names no action, or one that the class does not have.

    async def on_command(self, ctx: Context) -> Answer:
        """Handle a command within the dialog."""
        return self._missing(ctx)

    async def on_button(self, ctx: Context) -> Answer:
        """Handle a click."""
        return self._missing(ctx)

    async def on_select(self, ctx: Context) -> Answer:
        """Handle a choice."""
        return self._missing(ctx)

    async def on_modal(self, ctx: Context) -> Answer:
        """Handle a form."""
        return self._missing(ctx)

    async def on_message(self, ctx: Context) -> Answer:
        """Handle a message: the dialog has asked for it by `ctx.focus`."""
        return self._missing(ctx)

    async def on_callback(self, ctx: Context) -> Answer:
        """Handle an interaction of the platform's own kind."""
        return self._missing(ctx)

    async def dispatch(self, ctx: Context) -> Answer:
        """Handle one interaction: its named action, or the method of its kind. Pages and stages go another way here."""
        named = named_action(self, ctx)
        if named is not None:
            answer: Answer = await ctx.call(named)
            return answer
        kind = Kind.CALLBACK if ctx.interaction is None else ctx.interaction.kind
        handler: Callable[[Context], Awaitable[Answer]] = getattr(self, f"on_{kind.value}")
        return await handler(ctx)

    def _missing(self, ctx: Context) -> Answer:
        kind = "interaction" if ctx.interaction is None else ctx.interaction.kind.value
        what = kind if ctx.action is None else f"{kind} {ctx.action!r}"
        raise NotImplementedError(f"{type(self).__name__} does not handle this {what}")
