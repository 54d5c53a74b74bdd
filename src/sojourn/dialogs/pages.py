"""Dialogs of pages: each button names the page that it leads to, so a second click on it shows the same page again.

@dialogs.register("manual")
class Manual(PagedDialog[None]):
    data: Book

    def pages(self) -> int:
        return len(self.data.chapters)

    async def view(self, ctx: Context) -> View:
        return View.of(self.data.chapters[self.page], [self.page_row(ctx)])
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal, TypeAlias, TypeVar

from sojourn import limits
from sojourn.dialogs.context import Context
from sojourn.dialogs.dialog import Answer, Dialog
from sojourn.dialogs.model import KEEP, Button, Field, View

__all__ = ["OutOfRange", "PagedDialog"]

R = TypeVar("R")

OutOfRange: TypeAlias = Literal["clamp", "reject"]
"""What happens to a page that there is not: the nearest one is shown, or the person is told and the page stays."""

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,9}")
"""What somebody may type for the number of a page: as many digits as `limits.DIALOG_PAGE_MAX` has."""


class PagedDialog(Dialog[R]):
    """A dialog that shows one page at a time. `page` is the present one, counted from 0; there is always a page 0.

    It begins with `view` as its first message, and each page takes the place of the one before.

    An interaction leads to a page when its component names one and no action, as `ctx.button("Start", None, page=0)`
    does; when the single value that was chosen is such a token of this dialog; and when a number was typed into a field
    made by `page_field`. Every other goes to its action, or to the method of its kind.
    """

    out_of_range: ClassVar[OutOfRange] = "clamp"

    def pages(self) -> int | None:
        """Return how many pages there are; None: nobody knows."""
        return None

    async def view(self, ctx: Context) -> View:
        """Return what the present page looks like."""
        raise NotImplementedError(f"{type(self).__name__} has no `view` of its page {self.page}")

    async def start(self, ctx: Context) -> object:
        """Show the first page."""
        await ctx.reply(await self.view(ctx))
        return None

    async def on_page(self, ctx: Context, page: int) -> Answer:  # noqa: ARG002  for those that override it
        """Show the page that the dialog has just gone to. When this raises, it has not gone there."""
        await ctx.edit_origin(await self.view(ctx))
        return KEEP

    async def on_no_page(self, ctx: Context) -> Answer:
        """Say that there is no such page; the dialog stays at the one it is at."""
        await ctx.notify(ctx.words.no_page)
        return KEEP

    async def go(self, ctx: Context, page: int) -> Answer:
        """Go to a page and show it, as a click does that leads there; to the present one, to show it anew."""
        nearest = self.nearest_page(page)
        if nearest != page and self.out_of_range == "reject":
            return await self.on_no_page(ctx)
        self.page = nearest
        return await self.on_page(ctx, nearest)

    def nearest_page(self, page: int) -> int:
        """Return that page, or the nearest one that there is."""
        pages = self.pages()
        last = limits.DIALOG_PAGE_MAX if pages is None else max(pages - 1, 0)
        return min(max(page, 0), last)

    @property
    def next_page(self) -> int | None:
        """The page behind the present one; None at the end."""
        nearest = self.nearest_page(self.page + 1)
        return nearest if nearest > self.page else None

    @property
    def previous_page(self) -> int | None:
        """The page before the present one; None at the beginning."""
        nearest = self.nearest_page(self.page - 1)
        return nearest if nearest < self.page else None

    def page_row(
        self,
        ctx: Context,
        labels: tuple[str, str] = ("Previous", "Next"),
        *,
        edges: Literal["disable", "omit"] = "disable",
    ) -> tuple[Button, ...]:
        """Return the buttons that lead to the pages before and behind the present one, with these labels.

        `edges` says what becomes of a button that leads nowhere. No two tokens in a view are the same, whatever other
        buttons lead to the same pages.
        """
        ways = zip(labels, ("previous", "next"), (self.previous_page, self.next_page), strict=True)
        return tuple(
            ctx.button(label, None, way, page=self.page if page is None else page, disabled=page is None)
            for label, way, page in ways
            if page is not None or edges == "disable"
        )

    def page_field(self, ctx: Context, label: str) -> Field:
        """Return a field of a form to type the number of a page into, as people count: the first is 1."""
        return Field(ctx.token(None, "page"), label, value=str(self.page + 1))

    async def dispatch(self, ctx: Context) -> Answer:
        """Handle one interaction: the page that it leads to, its named action, or the method of its kind."""
        if ctx.action is not None:
            return await super().dispatch(ctx)
        page = ctx.page if ctx.page is not None else _chosen(ctx)
        if page is not None:
            return await self.go(ctx, page)
        typed = _typed(ctx)
        if typed is None:
            return await super().dispatch(ctx)
        return await (self.go(ctx, int(typed) - 1) if _NUMBER.fullmatch(typed) else self.on_no_page(ctx))


def _chosen(ctx: Context) -> int | None:
    """Return the page that what was chosen leads to; None unless it is one value that says so."""
    token = ctx.read_token(ctx.values[0]) if len(ctx.values) == 1 else None
    return token.page if token is not None and token.action is None else None


def _typed(ctx: Context) -> str | None:
    """Return what was typed into the field for a page; None unless there is exactly one."""
    tokens = ((ctx.read_token(name), text) for name, text in ctx.fields.items())
    typed = [text.strip() for token, text in tokens if token is not None and token.action is None]
    return typed[0] if len(typed) == 1 else None
