"""`sojourn dialogs`: list, show, end.

No type of a dialog is known here, and none is needed: a dialog is shown as it is stored, and ends without its hook.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from sojourn.cli import output
from sojourn.cli.dialog_rows import DialogRow, EndRow, Finished, Listed, Shown, ViewRow, dialog_row, view_row
from sojourn.cli.output import Column
from sojourn.cli.question import confirm
from sojourn.cli.stores import existing, shown, within
from sojourn.dialogs import DialogInfo, Dialogs, Ended, User
from sojourn.dialogs.layout import Address
from sojourn.dialogs.model import checked_id, checked_name
from sojourn.dialogs.stored import Row, decode, info_of
from sojourn.errors import DialogGoneError, InvalidError
from sojourn.kernel import LeaseInfo, Page, Reads, Store
from sojourn.kernel.clock import moment

__all__ = ["end", "list_open", "show"]

_COLUMNS: Final = (
    Column("dialog"),
    Column("type", cut=True),
    Column("owner", cut=True),
    Column("started", right=True),
    Column("ends", right=True),
    Column("handled by", cut=True),
)
_PARTITION: Final = Column("partition")


class _Found(NamedTuple):
    """A dialog as it is stored, what is known of it, and who is at it, all at one instant."""

    row: Row
    info: DialogInfo
    lease: LeaseInfo | None
    now: datetime


async def list_open(  # noqa: PLR0913  as many as there are options
    url: str | None, *, kind: str | None, owner: str | None, tenant: str, limit: int, after: str | None, as_json: bool
) -> None:
    """Print one page of the dialogs that are open."""
    if tenant and owner is None:
        raise InvalidError("tenant", "it says whose user --owner is; give that, too")
    if kind is not None:
        checked_name("type", kind)
    async with existing(url) as store:
        person = None if owner is None else User(owner, tenant)
        page = await Dialogs(store).list(type=kind, owner=person, limit=limit, after=after)
        leases = tuple(Address(info.dialog_id, info.partition).lease for info in page.items)
        read = await store.read(Reads(leases))
    held = (None if lease is None else LeaseInfo.of(lease) for lease in read.records.keys)
    rows = tuple(dialog_row(info, lease) for info, lease in zip(page.items, held, strict=True))
    if as_json:
        output.document(Listed(rows, page.next))
    else:
        _print_page(Page(rows, page.next), moment(read.now), after)


async def show(url: str | None, dialog_id: str, *, partition: str | None, with_data: bool, as_json: bool) -> None:
    """Print one dialog, with or without what was said in it."""
    address = _address(dialog_id, partition)
    async with existing(url) as store:
        found = await _found(store, address)
    row = dialog_row(found.info, found.lease, with_result=with_data)
    view = None if found.info.view is None or not with_data else view_row(found.info.view)
    data = found.row.data if with_data else msgspec.UNSET
    if as_json:
        output.document(Shown(row, view, data))
        return
    output.facts(tuple(_facts(row, view, found.now)))
    if with_data and row.ended is None:  # with its end its data was forgotten
        output.line()
        for line in msgspec.json.format(found.row.data, indent=2).decode().splitlines():
            output.line(line)


def end(  # noqa: PLR0913  as many as there are options
    url: str | None, dialog_id: str, *, code: str, reason: str, partition: str | None, yes: bool, as_json: bool
) -> None:
    """End one dialog."""
    address = _address(dialog_id, partition)
    before = within(url, lambda store: _found(store, address)).info
    if before.ended is None and not yes:
        confirm("end", f"End {before.type} {dialog_id} of {_owner(before)} in {shown(url or '')}?")

    async def work(store: Store) -> Ended[object]:
        return await Dialogs(store, partition=lambda _: address.partition).end(dialog_id, code=code, reason=reason)

    ended = before.ended or within(url, work)
    if as_json:
        was_over = before.ended is not None
        output.document(Finished(dialog_id, was_over, ended.code, ended.reason, ended.at, before.completion))
    elif before.ended is not None:
        output.line(f"{dialog_id} had ended before: {_outcome(ended)}")
    else:
        output.line(f"{dialog_id} has ended: {_outcome(ended)}")
        output.line(f"its end hook did not run, for {before.type} is not known here: what people see of it stays")


def _address(dialog_id: str, partition: str | None) -> Address:
    return Address(checked_id(dialog_id), dialog_id if partition is None else partition)


async def _found(store: Store, address: Address) -> _Found:
    """Read one dialog, and the lease of whoever is at it.

    Raises:
        DialogGoneError: there is none.
    """
    snapshot = await store.read(Reads((address.dialog, address.lease)))
    record, lease = snapshot.records.keys
    if record is None:
        raise DialogGoneError(f"there is no dialog {address.dialog_id!r}, or its end is forgotten")
    row = decode(record)
    held = None if lease is None else LeaseInfo.of(lease)
    return _Found(row, info_of(record, row, snapshot.now), held, moment(snapshot.now))


def _print_page(page: Page[DialogRow], now: datetime, after: str | None) -> None:
    if page.items:
        apart = any(row.partition != row.dialog_id for row in page.items)
        columns = (_COLUMNS[0], _PARTITION, *_COLUMNS[1:]) if apart else _COLUMNS
        output.table(columns, [_cells(row, now, apart=apart) for row in page.items])
    elif page.next is None:
        output.line("no such dialog is open" if after is None else "nothing follows")
    if page.next is not None:
        output.line(f"perhaps more; go on with --after {page.next}", "dim")


def _cells(row: DialogRow, now: datetime, *, apart: bool) -> tuple[str, ...]:
    where = (row.dialog_id, row.partition) if apart else (row.dialog_id,)
    by = "" if row.handled is None else row.handled.holder
    started = output.distance(now, row.created_at)
    return *where, row.type, row.owner.name or row.owner.id, started, _deadline(row, now), by


def _deadline(row: DialogRow, now: datetime) -> str:
    if row.deadline is None:
        return "never"
    distance = output.distance(now, row.deadline)
    return f"overdue, {distance}" if row.overdue else distance


def _facts(row: DialogRow, view: ViewRow | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Say what is known of a dialog. What there is not is left out."""
    yield "dialog", row.dialog_id
    if row.partition != row.dialog_id:
        yield "partition", row.partition
    yield "type", f"{row.type}, version {row.version}"
    yield "state", row.state
    yield "platform", row.platform
    yield "owner", " ".join(filter(None, (row.owner.id, row.owner.name, row.owner.tenant)))
    if row.place is not None:
        yield "place", "/".join(filter(None, (row.place.chat, row.place.thread, row.place.message)))
    yield "started", _moment(row.created_at, now)
    if row.ended is None:
        yield "ends", "never by itself" if row.deadline is None else f"{_moment(row.deadline, now)}"
    yield "page", str(row.page)
    if row.stage is not None:
        yield "stage", row.stage
    yield "revision", str(row.revision)
    if row.completion is not None:
        yield "then", row.completion
    if row.handled is not None:
        yield "handled", f"by {row.handled.holder}, since {_moment(row.handled.since, now)}"
    if row.ended is not None:
        yield from _ending(row.ended, now)
    if view is not None:
        said = (*view.text.splitlines(), *("  ".join(f"[{label}]" for label in labels) for labels in view.labels))
        yield from ((("" if number else "shows"), line) for number, line in enumerate(said))


def _ending(ended: EndRow, now: datetime) -> Iterator[tuple[str, str]]:
    yield "ended", _moment(ended.at, now)
    yield "code", ended.code
    if ended.reason != ended.code:
        yield "reason", ended.reason
    if ended.result is not msgspec.UNSET:
        yield "result", msgspec.json.encode(ended.result).decode()


def _owner(info: DialogInfo) -> str:
    return info.owner.name or info.owner.id or "nobody"


def _outcome(ended: Ended[object]) -> str:
    return ended.code if ended.reason == ended.code else f"{ended.code}, {ended.reason}"


def _moment(instant: datetime, now: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC, {output.distance(now, instant)}"
