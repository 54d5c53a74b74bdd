"""What type checkers say of dialogs: right uses have exact types, wrong ones are errors.

mypy and pyright read this file; nothing runs it. A line marked as an error must be one, or the mark itself is.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, assert_type

import msgspec

import sojourn
from sojourn.dialogs import (
    KEEP,
    REFRESH,
    Answer,
    Bus,
    Button,
    Cause,
    Context,
    Dialog,
    DialogEvent,
    DialogInfo,
    Dialogs,
    Dispatched,
    End,
    Ended,
    EventName,
    Field,
    Form,
    Handle,
    Interaction,
    Keep,
    ListDialog,
    Listing,
    Option,
    PagedDialog,
    Phase,
    Place,
    Priority,
    Select,
    Slice,
    Stage,
    StagedDialog,
    Token,
    User,
    Verdict,
    View,
    button,
    filtered,
    modal,
    owner,
    role,
    select,
)
from sojourn.kernel import Attempt

store = sojourn.open("memory:")
dialogs = Dialogs(store)
assert_type(Dialogs(store, keys=[b"k" * 16], retain=timedelta(hours=2), end_on_stop=True), Dialogs)

Dialogs()  # type: ignore[call-arg]
Dialogs(store, keys="secret")  # type: ignore[arg-type]
Dialogs(store, retain=3600)  # type: ignore[arg-type]
Dialogs(store, [b"k" * 16])  # type: ignore[call-arg]


class Order(msgspec.Struct):
    number: int = 0


@dialogs.register("approve", version=2)
class Approve(Dialog[bool]):
    data: Order
    ttl = timedelta(minutes=5)
    update_filter = owner | role("chief")
    concurrency = "drop"

    async def start(self, ctx: Context) -> None:
        assert_type(self.data, Order)
        assert_type(self.result, bool | None)
        yes = ctx.button("Yes", self.yes, 7, style="primary")
        assert_type(yes, Button)
        assert_type(ctx.select(self.chosen, ["a", Option("B", "b")], at_most=2), Select)
        assert_type(ctx.form("Why?", self.filled, Field("why", "Why")), Form)
        await ctx.reply("Ship it?", yes, ctx.button("No", "no"))
        await ctx.reply(View.of("Ship it?", [[yes], yes]))
        await ctx.reply(7)  # type: ignore[arg-type]
        await ctx.reply("Ship it?", "Yes")  # type: ignore[arg-type]
        ctx.button(self.yes, "Yes")  # type: ignore[arg-type]
        ctx.button("Yes")  # type: ignore[call-arg]
        ctx.button("Yes", self.yes, style="pink")  # type: ignore[arg-type]
        ctx.select(self.chosen, [1, 2])  # type: ignore[list-item]
        ctx.form("Why?", self.filled, "why")  # type: ignore[arg-type]

    @button
    async def yes(self, ctx: Context, by: int) -> End:
        assert_type(by, int)
        assert_type(ctx.end(True), End)  # noqa: FBT003  the result
        return ctx.end(True, code="approved", reason="as it should be")  # noqa: FBT003  the result

    @select
    async def chosen(self, ctx: Context) -> Answer:
        assert_type(ctx.values, tuple[str, ...])
        assert_type(ctx.user, User)
        assert_type(ctx.place, Place)
        assert_type(ctx.origin, Place | None)
        assert_type(ctx.page, int | None)
        assert_type(ctx.remaining, timedelta | None)
        assert_type(ctx.interaction, Interaction | None)
        assert_type(ctx.tx, Attempt)
        assert_type(ctx.read_token("text"), Token | None)
        return REFRESH

    @modal
    async def filled(self, ctx: Context) -> Keep:
        await ctx.notify(ctx.fields["why"])
        return KEEP

    async def end(self, ctx: Context, ended: Ended[bool]) -> None:
        assert_type(ended.result, bool | None)
        await ctx.edit_origin(f"Closed: {ended.reason}")
        self.data.number += 1
        self.data.number = "one"  # type: ignore[assignment]
        self.result = "yes"  # type: ignore[assignment]


assert_type(Approve, type[Approve])


class Plain(Dialog[str]):
    """A dialog whose data is a plain dict."""


class Wrong(Dialog[str]):
    ttl = 5  # type: ignore[assignment]
    stale = "ignore"  # type: ignore[assignment]

    @button  # type: ignore[type-var]
    def at_once(self, ctx: Context) -> Answer:
        return ctx.end()

    async def start(self) -> None:  # type: ignore[override]
        """Take no context."""

    async def on_button(self, ctx: Context) -> str:  # type: ignore[override]
        return ctx.text


dialogs.register(Plain)  # type: ignore[arg-type]
dialogs.register("order")(Order)  # type: ignore[type-var]
dialogs.register("plain", version="2")  # type: ignore[arg-type]


async def used(interaction: Interaction, tx: Attempt) -> None:
    handle = await dialogs.start(Approve, interaction, data=Order(17), id="a1", ttl=None, on_end="app:shipped")
    assert_type(handle, Handle[bool])
    assert_type(handle.id, str)
    assert_type(handle.outcome, Literal["started", "denied", "failed"] | None)
    assert_type(await handle.wait(), Ended[bool])
    assert_type(await handle.wait(2.5), Ended[bool])
    ended = await handle.wait(timeout=timedelta(hours=1))
    assert_type(ended.result, bool | None)
    assert_type(ended.code, str)
    assert_type(ended.at, datetime)
    assert_type(await handle.end(code="withdrawn", result=False), Ended[bool])
    assert_type(await handle.info(), DialogInfo | None)
    assert_type(await dialogs.ask(Approve, interaction, data=Order(17), timeout=timedelta(hours=1)), bool)
    assert_type(await dialogs.ask(Plain, interaction, timeout=timedelta(hours=1)), str)
    assert_type(dialogs.handle("a1"), Handle[Any])
    dispatched = await dialogs.dispatch(interaction, meta={"why": "test"})
    assert_type(dispatched, Dispatched)
    assert_type(dispatched.is_handled, bool)
    assert_type(dispatched.cause, Cause | None)
    assert_type(dispatched.ended, Ended[Any] | None)
    assert_type(await dialogs.resolve(interaction), DialogInfo | None)
    assert_type(await dialogs.get("a1", tx=tx), DialogInfo | None)
    assert_type(dialogs.list(type="approve", limit=5), Listing[DialogInfo])
    assert_type(await dialogs.end("a1", tx=tx), Ended[Any])
    assert_type(await dialogs.wait("a1", 5), Ended[Any])
    assert_type(await dialogs.expire(), int)

    typed_wrongly: Handle[str] = handle  # type: ignore[assignment]
    await typed_wrongly.wait()
    await dialogs.start(Approve)  # type: ignore[call-arg]
    await dialogs.start(Approve, "click")  # type: ignore[arg-type]
    await dialogs.start(Order, interaction)  # type: ignore[arg-type]
    await dialogs.start(Approve(), interaction)  # type: ignore[arg-type]
    await dialogs.start(Approve, interaction, Order(17))  # type: ignore[call-arg]
    await dialogs.start(Approve, interaction, ttl=60)  # type: ignore[arg-type]
    await dialogs.start(Approve, interaction, id=7)  # type: ignore[arg-type]
    await dialogs.ask(Approve, interaction)  # type: ignore[call-arg]
    await dialogs.dispatch("click")  # type: ignore[arg-type]
    await dialogs.end(handle)  # type: ignore[arg-type]
    await handle.wait("long")  # type: ignore[arg-type]
    dispatched.result = "kept"  # type: ignore[misc]


async def guarded(ctx: Context) -> Verdict:
    return Verdict.DENY if ctx.user.id == "" else Verdict.PASS


def guarded_wrongly(dialog: Approve) -> bool:
    return dialog.data.number > 0


async def decorated(ctx: Context) -> None:
    assert_type(await dialogs.use(at=Phase.START)(guarded)(ctx), Verdict)


async def told(event: DialogEvent) -> None:
    assert_type(event.dialog_id, str)
    assert_type(event.name, EventName)


async def shipped(ended: Ended[Any], info: DialogInfo) -> None:
    assert_type(ended.result, Any | None)


def observed() -> None:
    assert_type(dialogs.use(guarded, at=Phase.UPDATE, priority=Priority.HIGH, skips_filter=True), Callable[[], bool])
    assert_type(dialogs.subscribe(told, EventName.ENDED, once=True), Callable[[], None])
    assert_type(dialogs.events, Bus)
    filtered(lambda ctx: ctx.user.id == "ann")
    dialogs.use(guarded)  # type: ignore[call-overload]
    dialogs.use(guarded_wrongly, at=Phase.START)  # type: ignore[arg-type]
    dialogs.use(guarded, at="start")  # type: ignore[call-overload]
    dialogs.use(at=Phase.START)(guarded_wrongly)  # type: ignore[type-var]
    dialogs.subscribe(told, "ended")  # type: ignore[arg-type]
    dialogs.subscribe(guarded, EventName.ENDED)  # type: ignore[arg-type]
    owner | guarded  # type: ignore[operator]


dialogs.on_end(shipped)


# -- Pages, lists and stages ------------------------------------------------------------------------------------------


class Manual(PagedDialog[None]):
    data: list[str]
    out_of_range = "reject"

    def pages(self) -> int:
        return len(self.data)

    async def view(self, ctx: Context) -> View:
        assert_type(self.page, int)
        assert_type(self.next_page, int | None)
        assert_type(self.page_row(ctx, ("<", ">"), edges="omit"), tuple[Button, ...])
        assert_type(self.page_field(ctx, "Page"), Field)
        assert_type(await self.go(ctx, 2), Keep | End | bool | None)
        await self.go(ctx, "2")  # type: ignore[arg-type]
        self.page_row(ctx, edges="hide")  # type: ignore[arg-type]
        return View.of(self.data[self.page], [self.page_row(ctx)])


class Orders(ListDialog[bool, Order]):
    async def load(self, ctx: Context, cursor: str | None) -> Slice[Order]:
        Slice([Order()], 7)  # type: ignore[arg-type]
        return Slice([Order(int(cursor or ctx.now))], "next")

    async def view(self, ctx: Context) -> View:
        assert_type(self.shown, Sequence[Order])
        assert_type(self.result, bool | None)
        return View.of(f"{len(self.shown)}", [self.page_row(ctx)])


class Mislaid(ListDialog[None, Order]):
    out_of_range = "wrap"  # type: ignore[assignment]

    def pages(self) -> str:  # type: ignore[override]
        return "many"

    def items(self) -> Sequence[str]:  # type: ignore[override]
        return ["a"]

    async def load(self, ctx: Context, cursor: str | None) -> list[Order]:  # type: ignore[override]
        return [Order(int(cursor or ctx.now))]

    async def view(self, ctx: Context) -> str:  # type: ignore[override]
        return ctx.text


class Size(Stage):
    data: Order
    dialog: "Shirt"

    async def view(self, ctx: Context) -> View:
        assert_type(self.dialog.data, Order)
        return View.of("Which size?", [ctx.select(self.chosen, ["S", "M"])])

    @select
    async def chosen(self, ctx: Context) -> Answer:
        self.data.number = 1
        self.data.number = ctx.text  # type: ignore[assignment]
        await self.go(ctx, None)  # type: ignore[arg-type]
        return await self.go(ctx, Confirm)

    async def enter(self, ctx: Context, previous: Stage) -> Answer:
        assert_type(previous.name, str)
        return await super().enter(ctx, previous)


class Confirm(Stage):
    name = "sure"

    async def update(self, ctx: Context) -> str:  # type: ignore[override]
        return ctx.text


class Shirt(StagedDialog[dict[str, Any]]):
    data: Order
    stages = (Size, Confirm)

    @button
    async def look(self, ctx: Context) -> Answer:
        assert_type(self.stage_of(Size), Size)
        assert_type(self.stage_of(Size).data, Order)
        assert_type(self.current, Stage)
        assert_type(self.previous_stage, type[Stage] | None)
        assert_type(self.results, dict[str, Any])
        self.stage_of(Manual)  # type: ignore[type-var]
        self.current = Size()  # type: ignore[misc]
        return await self.back(ctx)


class Unstaged(StagedDialog[None]):
    stages = (Manual,)  # type: ignore[assignment]
