"""`sojourn documents`: list, show, history, diff, rollback, revoke, erase, export.

A store knows its documents by name, key and partition, and their values as JSON. No schema and no migration is needed,
and none is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from sojourn.cli import output
from sojourn.cli.document_rows import (
    Compared,
    DifferenceRow,
    DocumentRow,
    Erased,
    Listed,
    Past,
    Revoked,
    RolledBack,
    Shown,
    document_row,
    lease_row,
    unsaved_row,
)
from sojourn.cli.output import Column
from sojourn.cli.question import confirm
from sojourn.cli.stores import existing, shown, within
from sojourn.documents.archive import Archive, names
from sojourn.documents.layout import Place
from sojourn.documents.model import Cause, Info, Version, checked_key, checked_name, checked_subjects
from sojourn.documents.stored import Envelope, info
from sojourn.errors import DocumentUnknownError, InvalidError
from sojourn.kernel import LeaseInfo, Leases, Page, Reads, Record, Store
from sojourn.kernel.clock import moment

__all__ = ["diff", "erase", "export", "history", "list_stored", "revoke", "rollback", "show"]

_HOLDER: Final = "sojourn documents"
"""Who the history says it was."""

_LOSES: Final = "Who holds it loses what is not saved."

_COLUMNS: Final = (
    Column("key"),
    Column("saved", right=True),
    Column("bytes", right=True),
    Column("held by", cut=True),
    Column("since", right=True),
)
_PARTITION: Final = Column("partition")
_VERSION_COLUMNS: Final = (
    Column("revision", right=True),
    Column("saved", right=True),
    Column("cause"),
    Column("saved by", cut=True),
    Column("bytes", right=True),
)
_DIFFERENCE_COLUMNS: Final = (Column("place", cut=True), Column("old", cut=True), Column("new", cut=True))


async def list_stored(  # noqa: PLR0913  as many as there are options
    url: str | None,
    name: str | None,
    *,
    subject: str | None,
    held: bool,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """Print one page of the documents of a name, or every name."""
    if held and subject is not None:
        raise InvalidError("arguments", "give one of: --subject, --held")
    if name is None:
        if held or subject is not None or after is not None:
            raise InvalidError("NAME", "it is missing: documents of which name?")
        async with existing(url) as store:
            found = await names(store)
        _print_names(found, as_json=as_json)
        return
    checked_name(name)
    async with existing(url) as store:
        archive = Archive(store, name)
        if held:
            page = await _held(archive, name, limit, after)
        elif subject is not None:
            checked_subjects((subject,))
            page = await _leased(store, name, await archive.list_for(subject, limit, after))
        else:
            page = await _leased(store, name, await archive.list(limit, after))
        now = await _now(store)
    if as_json:
        output.document(Listed((name,), page.items, page.next))
    else:
        _print_page(name, page, now, after, which="held" if held else "stored")


async def show(
    url: str | None, name: str, key: str, *, revision: int | None, partition: str | None, as_json: bool
) -> None:
    """Print one document, as it stands or as it was saved with a revision."""
    place = _place(name, key, partition)
    async with existing(url) as store:
        head, envelope = await _stored(store, place, revision)
        lease = await Leases(store).probe(place.lease)
        now = await _now(store)
    row = document_row(info(place, envelope, head), lease)
    facts = envelope.facts
    if as_json:
        output.document(Shown(row, facts.cause, facts.holder, msgspec.Raw(envelope.text)))
        return
    _print_facts(row, facts.cause, facts.holder, now)
    output.line()
    for line in msgspec.json.format(envelope.text, indent=2).decode().splitlines():
        output.line(line)


async def history(  # noqa: PLR0913  as many as there are options
    url: str | None,
    name: str,
    key: str,
    *,
    limit: int,
    after: str | None,
    partition: str | None,
    as_json: bool,
) -> None:
    """Print one page of the saved revisions of a document."""
    place = _place(name, key, partition)
    async with existing(url) as store:
        page = await Archive(store, name).history(place, limit, after)
        if not page.items and after is None:
            await _stored(store, place)
        now = await _now(store)
    if as_json:
        output.document(Past(page.items, page.next))
    elif page.items:
        output.table(_VERSION_COLUMNS, [_version_cells(version, now) for version in page.items])
    else:
        output.line("no revision is kept" if after is None else "nothing follows")
    if page.next is not None and not as_json:
        output.line(f"perhaps more; go on with --after {page.next}", "dim")


async def diff(  # noqa: PLR0913  as many as there are options
    url: str | None, name: str, key: str, old: int, new: int | None, *, partition: str | None, as_json: bool
) -> None:
    """Print the places at which two saved revisions differ, or a saved one and the present one."""
    place = _place(name, key, partition)
    async with existing(url) as store:
        if new is None:
            head, _ = await _stored(store, place)
            new = head.revision
        found = await Archive(store, name).diff(place, old, new)
    rows = tuple(DifferenceRow(each.path, each.old, each.new) for each in found)
    if as_json:
        output.document(Compared(old, new, rows))
    elif rows:
        output.table(_DIFFERENCE_COLUMNS, [(row.path or "all of it", _json(row.old), _json(row.new)) for row in rows])
    else:
        output.line(f"revisions {old} and {new} do not differ")


def rollback(  # noqa: PLR0913  as many as there are options
    url: str | None, name: str, key: str, revision: int, *, partition: str | None, yes: bool, as_json: bool
) -> None:
    """Make a saved revision the present one."""
    place = _place(name, key, partition)
    if not yes:
        within(url, lambda store: _stored(store, place, revision))
        confirm("rollback", f"Make revision {revision} the present one of {_named(place, url)}? {_LOSES}")
    now = within(url, lambda store: Archive(store, name).rollback(place, revision, holder=_HOLDER))
    if as_json:
        output.document(RolledBack(now))
    else:
        output.line(f"{key} is as it was saved with revision {revision}; the new revision is {now}")


def revoke(url: str | None, name: str, key: str, *, partition: str | None, yes: bool, as_json: bool) -> None:
    """Take a document from whoever holds it."""
    place = _place(name, key, partition)
    held = None if yes else within(url, lambda store: Leases(store).probe(place.lease))
    if held is not None:
        confirm("revoke", f"Take {_named(place, url)} from {held.holder}? {_LOSES}")
    lease = within(url, lambda store: Leases(store).revoke(place.lease)) if yes or held is not None else None
    if as_json:
        output.document(Revoked(None if lease is None else lease_row(lease)))
    else:
        output.line(f"nobody holds {key}" if lease is None else f"{key} was taken from {lease.holder}")


def erase(url: str | None, name: str, key: str, *, partition: str | None, yes: bool, as_json: bool) -> None:
    """Delete all that is kept of a document."""
    place = _place(name, key, partition)
    if not yes:
        confirm("erase", f"Delete all that is kept of {_named(place, url)}? {_LOSES}")
    was_kept = within(url, lambda store: Archive(store, name).erase(place))
    if as_json:
        output.document(Erased(was_kept))
    else:
        output.line(f"{key} erased" if was_kept else f"nothing was kept of {key}")


async def export(url: str | None, name: str, key: str, *, partition: str | None) -> None:
    """Print all that is kept of a document as one JSON document."""
    place = _place(name, key, partition)
    async with existing(url) as store:
        kept = await Archive(store, name).export(place)
    if not kept:
        raise DocumentUnknownError(f"nothing is kept of {key!r} of {name}")
    output.document(kept)


def _place(name: str, key: str, partition: str | None) -> Place:
    checked_key(key)
    return Place(checked_name(name), key, key if partition is None else partition)


def _named(place: Place, url: str | None) -> str:
    return f"{place.key} of {place.name} in {shown(url or '')}"


async def _now(store: Store) -> datetime:
    return moment((await store.read(Reads())).now)


async def _stored(store: Store, place: Place, revision: int | None = None) -> tuple[Record, Envelope]:
    """Return what stands of a document, or what was saved with a revision, which has no record of its own any more.

    Raises:
        DocumentUnknownError: there is none; the error says who holds it, unsaved.
    """
    archive = Archive(store, place.name)
    if revision is not None:
        return Record(place.document, b"", revision), await archive.entry(place, revision)
    found = await archive.find(place)
    if found is None:
        lease = await Leases(store).probe(place.lease)
        but = "" if lease is None else f"; {lease.holder} holds it and has not saved it"
        raise DocumentUnknownError(f"no document {place.key!r} of {place.name} is stored{but}")
    return found


async def _leased(store: Store, name: str, page: Page[Info]) -> Page[DocumentRow]:
    """Return the documents with who holds them."""
    keys = tuple(Place(name, each.key, each.partition).lease for each in page.items)
    leases = (await store.read(Reads(keys))).records.keys
    rows = zip(page.items, leases, strict=True)
    return Page(
        tuple(document_row(each, None if lease is None else LeaseInfo.of(lease)) for each, lease in rows), page.next
    )


async def _held(archive: Archive, name: str, limit: int, after: str | None) -> Page[DocumentRow]:
    """Return the documents that somebody holds, those not saved yet among them."""
    page = await archive.leases(limit, after)
    rows = list[DocumentRow]()
    for key, partition, lease in page.items:
        place = Place(name, key, partition)
        found = await archive.find(place)
        if found is None:
            rows.append(unsaved_row(key, partition, lease))
        else:
            rows.append(document_row(info(place, found[1], found[0]), lease))
    return Page(tuple(rows), page.next)


def _print_names(found: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        output.document(Listed(tuple(found), (), None))
    elif found:
        output.table((Column("name"),), [(each,) for each in found])
    else:
        output.line("no documents are kept")


def _print_page(name: str, page: Page[DocumentRow], now: datetime, after: str | None, *, which: str) -> None:
    if page.items:
        apart = any(row.partition != row.key for row in page.items)
        columns = (_COLUMNS[0], _PARTITION, *_COLUMNS[1:]) if apart else _COLUMNS
        output.table(columns, [_cells(row, now, apart=apart) for row in page.items])
    elif page.next is None:
        output.line(f"no document of {name} is {which}" if after is None else "nothing follows")
    if page.next is not None:
        output.line(f"perhaps more; go on with --after {page.next}", "dim")


def _cells(row: DocumentRow, now: datetime, *, apart: bool) -> tuple[str, ...]:
    saved = "never" if row.saved_at is None else output.distance(now, row.saved_at)
    size = "" if row.bytes is None else f"{row.bytes:,}"
    lease = ("", "") if row.lease is None else (row.lease.holder, output.distance(now, row.lease.since))
    return (row.key, row.partition, saved, size, *lease) if apart else (row.key, saved, size, *lease)


def _version_cells(version: Version, now: datetime) -> tuple[str, ...]:
    saved = output.distance(now, version.saved_at)
    return str(version.revision), saved, version.cause, version.holder, f"{version.bytes:,}"


def _print_facts(row: DocumentRow, cause: Cause, saved_by: str, now: datetime) -> None:
    lease = row.lease
    held = "nobody" if lease is None else f"{lease.holder}, since {_moment(lease.since, now)}"
    output.facts(
        (
            ("key", row.key),
            *((("partition", row.partition),) if row.partition != row.key else ()),
            ("revision", str(row.revision)),
            ("created", _moment(row.created_at, now)),
            ("saved", f"{_moment(row.saved_at, now)}, by {saved_by}"),
            ("cause", cause),
            ("bytes", "" if row.bytes is None else f"{row.bytes:,}"),
            ("migrations", ", ".join(row.migrations) or "none"),
            ("subjects", ", ".join(row.subjects) or "none"),
            ("held by", held),
        )
    )


def _moment(instant: datetime | None, now: datetime) -> str:
    return "never" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S} UTC, {output.distance(now, instant)}"


def _json(value: object) -> str:
    return "nothing" if value is msgspec.UNSET else msgspec.json.encode(value).decode()
