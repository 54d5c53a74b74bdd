"""Dialogs of lists: the items of a page are fetched when it is shown, and the list is kept nowhere.

@dialogs.register("orders")
class Orders(ListDialog[None, Order]):
    async def load(self, ctx: Context, cursor: str | None) -> Slice[Order]:
        found = await orders.scan(after=cursor, limit=self.page_size)
        return Slice(found.items, found.next)

    async def view(self, ctx: Context) -> View:
        rows = [ctx.button(order.title, self.pick, order.id) for order in self.shown]
        return View.of(f"Your orders, page {self.page + 1}", [*rows, self.page_row(ctx)])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import msgspec

from sojourn import limits
from sojourn.dialogs.context import Context
from sojourn.dialogs.dialog import Answer
from sojourn.dialogs.pages import PagedDialog
from sojourn.errors import InvalidError, LimitError

__all__ = ["ListDialog", "Slice"]

R = TypeVar("R")
T = TypeVar("T")


class Slice(msgspec.Struct, Generic[T], frozen=True):
    """The items of one page. `next` is the cursor of the page behind it: where that one begins. None: there is none."""

    items: Sequence[T]
    next: str | None = None


class ListDialog(PagedDialog[R], Generic[R, T]):
    """A dialog that shows a list page by page; `shown` holds the items of the present page, for `view`.

    Items come from `items`, where the dialog's data holds them all, or page by page from `load`. The record keeps the
    page, the cursors of the last `limits.DIALOG_CURSORS` pages that were found, and of the items what `view` shows. A
    page is fetched each time that it is shown, so it has what the source has by then, behind what was shown before it.
    """

    page_size: int = 10
    shown: Sequence[T] = ()

    def items(self) -> Sequence[T] | None:
        """Return all items of the list; None: `load` is to be asked for those of a page."""
        return None

    async def load(self, ctx: Context, cursor: str | None) -> Slice[T]:  # noqa: ARG002  for those that override it
        """Return the items of a page that begins at this cursor; None: at the beginning.

        Where `pages` says how many pages there are, people can jump to any of them: there is no cursor then, and
        `self.page` says which one it is.
        """
        items = self.items()
        if items is None:
            raise NotImplementedError(f"{type(self).__name__} has neither `items` nor `load`")
        begin = self.page * self.page_size
        return Slice(items[begin : begin + self.page_size])

    def pages(self) -> int | None:
        """Return how many pages there are; None: only those can be gone to that were found so far, and the next."""
        items = self.items()
        return None if items is None else -(-len(items) // self.page_size)

    async def start(self, ctx: Context) -> object:
        """Show the first page."""
        await self._fetch(ctx)
        return await super().start(ctx)

    async def on_page(self, ctx: Context, page: int) -> Answer:
        """Fetch the page that the dialog has just gone to, and show it."""
        await self._fetch(ctx)
        return await super().on_page(ctx, page)

    def nearest_page(self, page: int) -> int:
        """Return that page, or the nearest one that there is: before it, where only the found ones are known."""
        if self.pages() is not None:
            return super().nearest_page(page)
        return max((found for found in map(int, self._cursors()) if found <= page), default=0)

    def _cursors(self) -> dict[str, str]:
        """Return where the pages begin that were found, by their numbers; the first needs none."""
        return cast("dict[str, str]", self.extra.get("cursors", {}))

    async def _fetch(self, ctx: Context) -> None:
        is_counted = self.pages() is not None
        loaded = await self.load(ctx, None if is_counted else self._cursors().get(str(self.page)))
        if not isinstance(loaded, Slice):  # pyright: ignore[reportUnnecessaryIsInstance]  # nor is every loader checked
            raise InvalidError("load", "it returns a Slice: the items of a page, and the cursor of the next")
        self.shown = loaded.items
        if not is_counted:
            self._remember(_checked_cursor(loaded.next))

    def _remember(self, cursor: str | None) -> None:
        """Note where the next page begins. When that was elsewhere so far, the pages behind it are to be found anew."""
        cursors, page = self._cursors(), self.page + 1
        if cursors.get(str(page)) != cursor:
            cursors = {found: begin for found, begin in cursors.items() if int(found) < page}
        if cursor is not None:
            cursors[str(page)] = cursor
        self.extra["cursors"] = dict(list(cursors.items())[-limits.DIALOG_CURSORS :])


def _checked_cursor(cursor: object) -> str | None:
    if cursor is not None and not isinstance(cursor, str):
        raise InvalidError("next", "a cursor is a text; None says that there is no further page")
    if cursor is not None and len(cursor) > limits.DIALOG_CURSOR_CHARS:
        raise LimitError("next", limit=limits.DIALOG_CURSOR_CHARS, found=len(cursor), unit="characters")
    return cursor
