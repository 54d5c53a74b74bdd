"""What `sojourn dialogs` prints with --json."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sojourn.dialogs.model import Component, DialogInfo, Ended, Place, Select, State, View
from sojourn.kernel import LeaseInfo
from sojourn.kernel.clock import moment

__all__ = [
    "DialogRow",
    "EndRow",
    "Finished",
    "HandledRow",
    "Listed",
    "OwnerRow",
    "PlaceRow",
    "Shown",
    "ViewRow",
    "dialog_row",
    "view_row",
]


class OwnerRow(msgspec.Struct, frozen=True):
    """Who started a dialog, as the platform names people."""

    id: str
    tenant: str
    name: str


class PlaceRow(msgspec.Struct, frozen=True):
    """Where its first message stands; what the platform does not have is an empty text."""

    chat: str
    thread: str
    message: str


class HandledRow(msgspec.Struct, frozen=True):
    """Who handles an interaction with it now, since when, and until when at the latest."""

    holder: str
    since: datetime
    expires_at: datetime


class EndRow(msgspec.Struct, frozen=True):
    """How a dialog ended. `result` is there where the data was asked for."""

    code: str
    reason: str
    at: datetime
    result: object = msgspec.UNSET


class DialogRow(msgspec.Struct, frozen=True):
    """What is known of a dialog. `deadline` is null where it does not end by itself, `handled` where nobody is at it.

    It is overdue where its deadline has passed and no process has looked. `completion` is who is told of its end.
    """

    dialog_id: str
    partition: str
    type: str
    version: int
    state: State
    platform: str
    owner: OwnerRow
    place: PlaceRow | None
    created_at: datetime
    deadline: datetime | None
    overdue: bool
    page: int
    stage: str | None
    revision: int
    completion: str | None
    handled: HandledRow | None
    ended: EndRow | None


class Listed(msgspec.Struct, frozen=True):
    """A page of open dialogs, the one with the nearest deadline first; `next` goes to --after."""

    dialogs: tuple[DialogRow, ...]
    next: str | None


class ViewRow(msgspec.Struct, frozen=True):
    """What people see: the text, and the labels of each row below it."""

    text: str
    labels: tuple[tuple[str, ...], ...]


class Shown(msgspec.Struct, frozen=True):
    """A dialog. Only where the data was asked for there is `data`, and `view` is what people see of the dialog."""

    dialog: DialogRow
    view: ViewRow | None = None
    data: object = msgspec.UNSET


class Finished(msgspec.Struct, frozen=True):
    """How the dialog ended; `before` says that it had ended already. `completion` is who is told of it."""

    dialog_id: str
    before: bool
    code: str
    reason: str
    at: datetime
    completion: str | None


def dialog_row(known: DialogInfo, lease: LeaseInfo | None, *, with_result: bool = False) -> DialogRow:
    """Return a dialog, and who is at it. What it ended with is data."""
    owner = OwnerRow(known.owner.id, known.owner.tenant, known.owner.name)
    return DialogRow(
        dialog_id=known.dialog_id,
        partition=known.partition,
        type=known.type,
        version=known.version,
        state=known.state,
        platform=known.platform,
        owner=owner,
        place=None if known.origin is None else _place_row(known.origin),
        created_at=known.created,
        deadline=known.deadline,
        overdue=known.is_overdue,
        page=known.page,
        stage=known.stage,
        revision=known.revision,
        completion=known.completion,
        handled=None if lease is None else _handled_row(lease),
        ended=None if known.ended is None else _end_row(known.ended, with_result=with_result),
    )


def view_row(view: View) -> ViewRow:
    """Return what people see, without the tokens behind it."""
    return ViewRow(view.text, tuple(tuple(_label(each) for each in row) for row in view.rows))


def _place_row(place: Place) -> PlaceRow:
    return PlaceRow(place.chat, place.thread, place.message)


def _handled_row(lease: LeaseInfo) -> HandledRow:
    return HandledRow(lease.holder, moment(lease.since), moment(lease.expires_at))


def _end_row(ended: Ended[Any], *, with_result: bool) -> EndRow:
    result: object = ended.result if with_result else msgspec.UNSET
    return EndRow(ended.code, ended.reason, ended.at, result)


def _label(component: Component) -> str:
    if isinstance(component, Select):
        return f"{component.placeholder}: {', '.join(option.label for option in component.options)}"
    return component.label
