"""`sojourn snapshots`: sessions, tree, show, diff, prune, delete.

States are shown as they are stored, as JSON. No type of them is needed, and none is applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from sojourn.cli import output
from sojourn.cli.document_rows import DifferenceRow
from sojourn.cli.output import Column
from sojourn.cli.question import confirm
from sojourn.cli.snapshot_rows import Compared, Deleted, Drawn, Listed, Shown
from sojourn.cli.stores import existing, shown, within
from sojourn.errors import InvalidError, SnapshotUnknownError
from sojourn.kernel import Reads, Store
from sojourn.kernel.clock import moment
from sojourn.snapshots import Pruned, SessionInfo, SnapshotInfo, Snapshots, Status
from sojourn.snapshots.tree import MARKS, Tree

__all__ = ["delete", "diff", "draw", "list_sessions", "prune", "show"]

T = TypeVar("T")

Plain: TypeAlias = Snapshots[dict[str, Any]]

_COLUMNS: Final = (
    Column("session"),
    Column("snapshots", right=True),
    Column("leaves", right=True),
    Column("newest", right=True),
    Column("bytes", right=True),
)
_DIFFERENCE_COLUMNS: Final = (Column("place", cut=True), Column("old", cut=True), Column("new", cut=True))
_STYLES: Final = {
    Status.PENDING: "yellow",
    Status.FAILED: "bold red",
    Status.ABORTED: "red",
    Status.EXPIRED: "red",
}


async def list_sessions(url: str | None, tenant: str | None, *, limit: int, after: str | None, as_json: bool) -> None:
    """Print one page of the sessions that have snapshots."""
    async with existing(url) as store:
        page = await _snapshots(store, tenant).sessions(limit=limit, after=after)
        now = await _now(store)
    if as_json:
        output.document(Listed(page.items, page.next))
        return
    if page.items:
        output.table(_COLUMNS, [_cells(session, now) for session in page.items])
    elif page.next is None:
        output.line("no session has snapshots" if after is None else "nothing follows")
    if page.next is not None:
        output.line(f"perhaps more; go on with --after {page.next}", "dim")


async def draw(url: str | None, tenant: str | None, session_id: str, *, as_json: bool) -> None:
    """Print the tree of a session."""
    async with existing(url) as store:
        tree = await _snapshots(store, tenant).tree(session_id)
    if not tree.nodes:
        raise _missing(None, session_id)
    if as_json:
        infos = tuple(node.info for node in tree.nodes.values())
        output.document(Drawn(tree.session_id, tree.leaves, dict(tree.branches), infos))
    else:
        _print_tree(tree)


async def show(
    url: str | None,
    tenant: str | None,
    snapshot_id: str | None,
    session_id: str | None,
    *,
    only_info: bool,
    as_json: bool,
) -> None:
    """Print one snapshot, with or without its state."""
    _check_one("SNAPSHOT", snapshot_id, "--session", session_id)
    async with existing(url) as store:
        snapshots = _snapshots(store, tenant)
        get = snapshots.get_info if only_info else snapshots.get_snapshot
        found = await get(snapshot_id=snapshot_id, session_id=session_id)
        now = await _now(store)
    if found is None:
        raise _missing(snapshot_id, session_id)
    row = msgspec.convert(found, Shown, from_attributes=True)
    if as_json:
        output.document(row)
        return
    output.facts(tuple(_facts(row, now)))
    if row.state is not msgspec.UNSET and row.state_bytes is not None:
        output.line()
        for line in msgspec.json.format(msgspec.json.encode(row.state), indent=2).decode().splitlines():
            output.line(line)


async def diff(url: str | None, tenant: str | None, old: str, new: str, *, as_json: bool) -> None:
    """Print the places at which the states of two snapshots differ."""
    async with existing(url) as store:
        found = await _snapshots(store, tenant).diff(old, new)
    rows = tuple(DifferenceRow(each.path, each.old, each.new) for each in found)
    if as_json:
        output.document(Compared(old, new, rows))
    elif rows:
        output.table(_DIFFERENCE_COLUMNS, [(row.path or "all of it", _json(row.old), _json(row.new)) for row in rows])
    else:
        output.line(f"the states of {old} and {new} do not differ")


def prune(  # noqa: PLR0913  as many as there are options
    url: str | None,
    tenant: str | None,
    session_id: str,
    *,
    keep: int | None,
    older_than: timedelta | None,
    status: Sequence[str] | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete snapshots of a session, or count them."""
    if keep is None and older_than is None and status is None:
        raise InvalidError("arguments", "give at least one of: --keep, --older-than, --status")
    statuses = None if status is None else [_status(each) for each in status]

    def pruned(*, dry_run: bool) -> Pruned:
        async def work(snapshots: Plain) -> Pruned:
            return await snapshots.prune(session_id, keep=keep, older_than=older_than, status=statuses, dry_run=dry_run)

        return _run(url, tenant, work)

    done = None if yes and not dry_run else pruned(dry_run=True)
    if not dry_run and (done is None or done.removed):
        if done is not None:
            confirm("prune", f"Delete {_counted(done)} of session {session_id} in {shown(url or '')}?")
        done = pruned(dry_run=False)
    assert done is not None
    if as_json:
        output.document(done)
    else:
        output.line(f"{_counted(done)} {'to be deleted' if dry_run else 'deleted'}, {done.kept:,} kept")


def delete(
    url: str | None, tenant: str | None, session_id: str | None, snapshot_id: str | None, *, yes: bool, as_json: bool
) -> None:
    """Delete a session with all its snapshots, or one snapshot."""
    _check_one("SESSION", session_id, "--snapshot", snapshot_id)

    async def work(snapshots: Plain) -> bool:
        if session_id is not None:
            return await snapshots.delete_session(session_id)
        assert snapshot_id is not None
        return await snapshots.delete(snapshot_id)

    what = f"snapshot {snapshot_id}" if session_id is None else f"session {session_id}"
    if not yes:
        everything = "" if session_id is None else " with all its snapshots"
        confirm("delete", f"Delete {what}{everything} in {shown(url or '')}?")
    was_there = _run(url, tenant, work)
    if as_json:
        output.document(Deleted(was_there))
    else:
        output.line(f"{what} deleted" if was_there else f"nothing was kept of {what}")


def _snapshots(store: Store, tenant: str | None) -> Plain:
    return Snapshots(store, tenant=tenant)


def _run(url: str | None, tenant: str | None, work: Callable[[Plain], Awaitable[T]]) -> T:
    return within(url, lambda store: work(_snapshots(store, tenant)))


async def _now(store: Store) -> datetime:
    return moment((await store.read(Reads())).now)


def _missing(snapshot_id: str | None, session_id: str | None) -> SnapshotUnknownError:
    if snapshot_id is None:
        return SnapshotUnknownError(f"session {session_id!r} has no snapshot")
    return SnapshotUnknownError(f"there is no snapshot {snapshot_id!r}")


def _check_one(name: str, value: str | None, other: str, instead: str | None) -> None:
    if (value is None) == (instead is None):
        raise InvalidError("arguments", f"give one of: {name}, {other}")


def _status(given: str) -> Status:
    try:
        return Status(given)
    except ValueError as error:
        raise InvalidError("status", f"{given[:32]!r} is none of: {', '.join(Status)}") from error


def _print_tree(tree: Tree) -> None:
    from rich.text import Text  # noqa: PLC0415  see the docstring of `output`

    console = output.console()
    drawing = Text(tree.draw(console.width if console.is_terminal else None))
    for status, style in _STYLES.items():
        drawing.highlight_regex(rf"{MARKS[status]} .*", style)
    drawing.highlight_regex(r"← newest leaf", "bold green")
    drawing.highlight_regex(r"… [\d,]+ snapshots …", "dim")
    console.print(drawing, soft_wrap=True)


def _cells(session: SessionInfo, now: datetime) -> tuple[str, ...]:
    return (
        session.session_id,
        f"{session.snapshots:,}",
        f"{session.leaves:,}",
        output.distance(now, session.newest_at),
        f"{session.stored_bytes:,}",
    )


def _facts(info: SnapshotInfo, now: datetime) -> Iterator[tuple[str, str]]:
    """Say what is known of a snapshot. What is not known of it is left out."""
    yield "snapshot", info.snapshot_id
    yield "session", info.session_id
    yield "parent", info.parent_id or "none"
    yield "status", info.status
    yield "created", _moment(info.created_at, now)
    for name, instant in (("updated", info.updated_at), ("heartbeat", info.heartbeat_at)):
        if instant is not None:
            yield name, _moment(instant, now)
    if info.finish_reason is not None:
        yield "finished", info.finish_reason
    if info.error is not None:
        yield "error", info.error.message if info.error.status is None else f"{info.error.status}: {info.error.message}"
    size = "none" if info.state_bytes is None else f"{info.state_bytes:,} bytes, {info.stored_bytes:,} stored for it"
    yield "state", size


def _moment(instant: datetime, now: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC, {output.distance(now, instant)}"


def _counted(done: Pruned) -> str:
    return f"{done.removed:,} snapshot{'' if done.removed == 1 else 's'} of {done.freed_bytes:,} bytes"


def _json(value: object) -> str:
    return "nothing" if value is msgspec.UNSET else msgspec.json.encode(value).decode()
