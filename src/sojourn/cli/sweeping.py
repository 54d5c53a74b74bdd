"""`sojourn sweep`: remove what has expired, step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from sojourn.cli import output
from sojourn.cli.stores import existing
from sojourn.kernel import Store
from sojourn.sessions import Sessions

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Sums", "sweep"]


class Sums(msgspec.Struct, frozen=True):
    """How much of each kind was removed."""

    sessions: int = 0
    records: int = 0
    receipts: int = 0
    log_rows: int = 0


async def sweep(url: str | None, *, as_json: bool) -> None:
    """Sweep until nothing is left to do, showing how far it is, and print the sums."""
    total = Sums()
    async with existing(url) as store:
        with _progress() as progress:
            # How much there is, nobody knows before: a bar without an end, and what was removed so far.
            task = progress.add_task("sweeping", total=None, removed=0)
            async for step in _steps(store):
                total = _sum(total, step)
                progress.update(task, removed=sum(msgspec.structs.astuple(total)))
    if as_json:
        output.document(total)
    else:
        output.facts(
            (
                ("idle sessions ended", f"{total.sessions:,}"),
                ("expired records removed", f"{total.records:,}"),
                ("old receipts removed", f"{total.receipts:,}"),
                ("old log rows removed", f"{total.log_rows:,}"),
            )
        )


async def _steps(store: Store) -> AsyncIterator[Sums]:
    sessions = Sessions(store)
    while ended := await sessions.sweep():
        yield Sums(sessions=ended)
    more = True
    while more:
        swept = await store.sweep()
        more = swept.more
        yield Sums(records=swept.expired, receipts=swept.receipts, log_rows=swept.log_rows)


def _sum(one: Sums, other: Sums) -> Sums:
    return Sums(*map(sum, zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)))


def _progress() -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415  slow to import

    console = output.console(stderr=True)
    return Progress(
        TextColumn("sweeping"),
        BarColumn(),
        TextColumn("{task.fields[removed]:,} removed"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
