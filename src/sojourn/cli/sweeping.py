"""`sojourn sweep`: remove what has expired, step by step."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager

import msgspec

from sojourn.cli import output
from sojourn.cli.stores import existing
from sojourn.kernel import Store
from sojourn.sessions import Sessions

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
        with _bar() as show:
            async for step in _steps(store):
                total = _sum(total, step)
                show(sum(msgspec.structs.astuple(total)))
    if as_json:
        output.document(total)
        return
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


@contextmanager
def _bar() -> Generator[Callable[[int], None], None, None]:
    """Give what shows how much was removed so far: a bar on a terminal, nothing anywhere else."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415  slow to import

    removed = TextColumn("{task.fields[removed]:,} removed")
    columns = TextColumn("sweeping"), BarColumn(), removed, TimeElapsedColumn()
    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        # How much there is nobody knows before: the bar moves, and has no end.
        task = progress.add_task("", total=None, removed=0)
        yield lambda count: progress.update(task, removed=count)
