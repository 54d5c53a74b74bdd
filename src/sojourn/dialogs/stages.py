"""Dialogs of stages: one class for each thing that is asked, each with its own view, actions, data and result.

class Size(Stage):
    async def view(self, ctx: Context) -> View:
        return View.of("Which size?", [ctx.select(self.chosen, ["S", "M", "L"])])

    @select
    async def chosen(self, ctx: Context) -> Answer:
        self.result = ctx.values[0]
        return await self.go(ctx, Confirm)

class Confirm(Stage):
    async def view(self, ctx: Context) -> View:
        size = self.dialog.stage_of(Size).result
        return View.of(f"Size {size}?", [ctx.button("Yes", self.yes), ctx.button("Back", self.back)])

    @button
    async def yes(self, ctx: Context) -> Answer:
        return ctx.end(self.dialog.results)  # {"Size": "M"}

@dialogs.register("shirt")
class Shirt(StagedDialog[dict[str, Any]]):
    stages = (Size, Confirm)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.dialogs.context import Context
from sojourn.dialogs.dialog import Answer, Dialog, button, named_action
from sojourn.dialogs.model import KEEP, View, checked_name
from sojourn.dialogs.registry import Form, annotated
from sojourn.errors import InvalidError

__all__ = ["Stage", "StagedDialog", "Target"]

R = TypeVar("R")
S = TypeVar("S", bound="Stage")


class Stage:
    """One stage of a dialog. Its `name` is stored; it is that of the class, unless the class says otherwise.

    `data` and `result` belong to this stage, and are kept when the dialog goes on to another one. `data` is annotated
    as that of a dialog is, and begins as what its type makes without arguments; `result` is plain JSON data. `dialog`
    is the one it is a stage of. Actions are marked as those of a dialog are, and their buttons are made the same way.
    """

    name: ClassVar[str]
    data: Any
    result: Any = None
    dialog: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = checked_name("name", vars(cls).get("name", cls.__name__))

    async def view(self, ctx: Context) -> View:
        """Return what the stage looks like."""
        raise NotImplementedError(f"{self.name} has no `view`")

    async def start(self, ctx: Context) -> object:
        """Begin the dialog with this stage: show it as the first message."""
        await ctx.reply(await self.view(ctx))
        return None

    async def enter(self, ctx: Context, previous: Stage) -> Answer:  # noqa: ARG002  for those that override it
        """Come from another stage: show this one in its place."""
        await ctx.edit_origin(await self.view(ctx))
        return KEEP

    async def leave(self, ctx: Context) -> object:
        """Have the dialog go to another stage. What this raises keeps it here."""

    async def update(self, ctx: Context) -> Answer:
        """Handle what names no action, or one that neither the stage nor the dialog has: show the stage anew."""
        await ctx.edit_origin(await self.view(ctx))
        return KEEP

    async def go(self, ctx: Context, to: Target) -> Answer:
        """Go to another stage; see `StagedDialog.go`."""
        answer: Answer = await self.dialog.go(ctx, to)
        return answer

    @button
    async def back(self, ctx: Context) -> Answer:
        """Go back to the stage that led here; see `StagedDialog.back`. `ctx.button("Back", self.back)` does."""
        answer: Answer = await self.dialog.back(ctx)
        return answer


Target: TypeAlias = type[Stage] | str | int
"""A stage to go to: its class, its name, or where it stands among the stages, counted from 0."""


class StagedDialog(Dialog[R]):
    """A dialog that is at one of its `stages` at a time. It starts at the first, and remembers where it came from.

    What the leaving stage, the entered one and the handler do is one step: it is committed as a whole, or, where any of
    them raises, not at all. The next interaction finds the dialog at the same stage with the same data, in any process.

    A component of a stage says where that stands among the stages. A click on one that the dialog is no longer at is
    answered by `on_other_stage`, so that a second "Next" does not skip a stage. Actions of the dialog itself are for
    every stage, and come first. A component that names a page and no action, as `ctx.button("Size", None, page=0)`
    does, goes to the stage that stands there.
    """

    stages: ClassVar[tuple[type[Stage], ...]] = ()

    @classmethod
    def check_class(cls) -> None:
        """Refuse a class without stages, or with two of the same name.

        Raises:
            InvalidError: it is such a class.
        """
        names = {stage.name for stage in cls.stages}
        if not names or len(names) < len(cls.stages):
            raise InvalidError("stages", f"{cls.__name__} has at least one, and no two of them have the same name")

    def __init__(self) -> None:
        self._made: dict[str, Stage] = {}

    # -- Where it is --------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Stage:
        """The stage that the dialog is at."""
        return self.stage_of(self.stages[self._place()])

    @property
    def next_stage(self) -> type[Stage] | None:
        """The stage that stands behind the present one; None at the last."""
        following = self.stages[self._place() + 1 :]
        return following[0] if following else None

    @property
    def previous_stage(self) -> type[Stage] | None:
        """The stage that `back` goes to; None where none led here, or it is forgotten."""
        return self.stages[self._index(self._history[-1])] if self._history else None

    def stage_of(self, kind: type[S]) -> S:
        """Return a stage of this dialog with what it holds, also one that the dialog was never at.

        Raises:
            InvalidError: it is none of this dialog's, or its data has no value to begin with.
            CorruptError: what is stored of it is not of its type.
        """
        self._index(kind)
        made = self._made.get(kind.name)
        if made is None:
            made = self._made[kind.name] = self._revived(kind)
        return cast("S", made)

    @property
    def results(self) -> dict[str, Any]:
        """The results of the stages by their names, in the order of `stages`; those that have none are left out."""
        held = {stage.name: self.stage_of(stage).result for stage in self.stages if self._has(stage)}
        return {name: result for name, result in held.items() if result is not None}

    # -- Where it goes ------------------------------------------------------------------------------------------------

    async def go(self, ctx: Context, to: Target) -> Answer:
        """Leave the present stage and enter another one; return what its `enter` answers. A handler passes that on.

        The same stage again is no move: its `update` is called. The last `limits.DIALOG_HISTORY` moves are remembered.

        Raises:
            InvalidError: there is no such stage.
        """
        index, place = self._index(to), self._place()
        if index == place:
            return await self.current.update(ctx)
        return await self._move(ctx, index, [*self._history, self.stages[place].name][-limits.DIALOG_HISTORY :])

    async def back(self, ctx: Context) -> Answer:
        """Leave the present stage and enter the one that led to it. Where there is none, `on_other_stage` says so."""
        if not self._history:
            return await self.on_other_stage(ctx)
        return await self._move(ctx, self._index(self._history[-1]), self._history[:-1])

    async def on_other_stage(self, ctx: Context) -> Answer:
        """Answer a click that belongs to a stage which the dialog is not at; nothing changes."""
        await ctx.notify(ctx.words.stale)
        return KEEP

    # -- What is handled ----------------------------------------------------------------------------------------------

    async def start(self, ctx: Context) -> object:
        """Start the first stage."""
        self.stage = self.stages[0].name
        ctx.token_page = 0
        await self.current.start(ctx)
        self._keep()
        return None

    async def dispatch(self, ctx: Context) -> Answer:
        """Handle one interaction: an action of the dialog, a way to a stage, or what the present stage makes of it."""
        ctx.token_page = self._place()
        answer = await self._handled(ctx)
        self._keep()
        return answer

    async def _handled(self, ctx: Context) -> Answer:
        action = named_action(self, ctx)
        if action is None and ctx.action is not None:
            if ctx.page not in {None, self._place()}:
                return await self.on_other_stage(ctx)
            action = named_action(self.current, ctx)
        if action is not None:
            handled: Answer = await ctx.call(action)
            return handled
        if ctx.action is None and ctx.page is not None and 0 <= ctx.page < len(self.stages):
            return await self.go(ctx, ctx.page)
        return await self.current.update(ctx)

    async def _move(self, ctx: Context, index: int, history: list[str]) -> Answer:
        previous = self.current
        await previous.leave(ctx)
        self.stage = self.stages[index].name
        self.extra["history"] = history
        ctx.token_page = index
        return await self.current.enter(ctx, previous)

    # -- What is kept -------------------------------------------------------------------------------------------------

    @property
    def _history(self) -> list[str]:
        """The stages that led here, the last one last, without those that the program no longer has."""
        names = {stage.name for stage in self.stages}
        return [name for name in self.extra.get("history", []) if name in names]

    def _place(self) -> int:
        return 0 if self.stage is None else self._index(self.stage)

    def _index(self, target: Target) -> int:
        for index, stage in enumerate(self.stages):
            if target is stage or target == stage.name or (target == index and not isinstance(target, bool)):
                return index
        raise InvalidError("stage", f"{type(self).__name__} has no stage {target!r}")

    def _has(self, stage: type[Stage]) -> bool:
        """Say whether the dialog was ever at this stage, or looked at it."""
        return stage.name in self._made or stage.name in self.extra.get("stages", {})

    def _revived(self, kind: type[S]) -> S:
        made = kind()
        made.dialog = self
        form = _form(kind)
        kept: dict[str, Any] | None = self.extra.get("stages", {}).get(kind.name)
        if kept is None:
            made.data = form.fresh()
            return made
        made.data = form.load(msgspec.json.encode(kept["data"]))
        made.result = kept["result"]
        return made

    def _keep(self) -> None:
        """Put what the stages hold into what is stored with the dialog."""
        kept: dict[str, Any] = self.extra.setdefault("stages", {})
        for name, stage in self._made.items():
            data = msgspec.json.decode(_form(type(stage)).dump(stage.data))
            kept[name] = {"data": data, "result": stage.result}


def _form(kind: type[Stage]) -> Form:
    """Return how the data of a stage is stored, made once."""
    return _made(kind)  # type: ignore[arg-type]  # classes are hashable


@lru_cache(maxsize=1_024)
def _made(kind: type[Stage]) -> Form:
    return Form("data", annotated(kind, Stage, {}))
