"""What a browser sends back: read within bounds, and checked against what it was shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from sojourn import limits
from sojourn.adapters.web_forms.pages import BUTTON, FIELD, FORM, OPTION, SELECT, STAMP
from sojourn.adapters.web_forms.seals import Seals
from sojourn.adapters.web_forms.words import PageWords
from sojourn.dialogs import Form, Kind, Select
from sojourn.errors import InvalidError, LimitError

__all__ = ["Posted", "posted_of", "read_fields"]

_KIND: Final = "application/x-www-form-urlencoded"
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


class Posted(msgspec.Struct, frozen=True):
    """What was done on a page. `problem` is what its reader can mend, in a sentence for them."""

    kind: Kind
    token: str
    values: tuple[str, ...] = ()
    fields: Mapping[str, str] = {}
    form: Form | None = None
    problem: str | None = None


async def read_fields(request: Request) -> dict[str, tuple[str, ...]]:
    """Read the body as the fields of a form, by name.

    Raises:
        LimitError: it is longer than `limits.BODY_BYTES`; the rest is not read.
        InvalidError: it is no form as browsers send it, or has more than `limits.WEB_FIELDS` fields.
        ClientDisconnect: the browser went away in the middle.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise InvalidError("Content-Type", f"it is {_KIND}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limits.BODY_BYTES:
            raise LimitError("body", limit=limits.BODY_BYTES, found=len(body), unit="bytes")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=limits.WEB_FIELDS
        )
    except ValueError as error:
        raise InvalidError("body", "it is no form, or has too many fields") from error
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return fields


def posted_of(fields: Mapping[str, tuple[str, ...]], seals: Seals, words: PageWords) -> Posted:
    """Return what was done: a button clicked, something chosen, a form sent.

    Raises:
        InvalidError: it is none of these, or not as any page of ours has it.
    """
    match [(name, fields[name]) for name in (BUTTON, SELECT, FORM) if name in fields]:
        case [(name, (value,))] if name == BUTTON:
            return Posted(Kind.BUTTON, value)
        case [(name, (value,))] if name == SELECT:
            select = seals.shown(value, Select)
            if select is not None:
                return _chosen(select, fields.get(OPTION, ()), words)
        case [(name, (value,))]:
            form = seals.shown(value, Form)
            if form is not None:
                return _filled_in(form, fields, words)
        case _:
            pass
    raise InvalidError("body", f"it has one of {STAMP} and {BUTTON}, {SELECT} or {FORM}, as the page had it")


def _chosen(select: Select, numbers: tuple[str, ...], words: PageWords) -> Posted:
    options = [int(number) for number in numbers if _NUMBER.fullmatch(number)]
    if (
        len(options) < len(numbers)
        or len(set(options)) < len(options)
        or max(options, default=-1) >= len(select.options)
    ):
        raise InvalidError(OPTION, "it is none of those that were offered, or comes twice")
    problem = None
    if len(options) < select.at_least:
        problem = words.too_few.format(least=select.at_least)
    elif len(options) > select.at_most:
        problem = words.too_many.format(most=select.at_most)
    return Posted(
        Kind.SELECT, select.token, values=tuple(select.options[one].value for one in options), problem=problem
    )


def _filled_in(form: Form, given: Mapping[str, tuple[str, ...]], words: PageWords) -> Posted:
    written: dict[str, str] = {}
    problem = None
    for number, field in enumerate(form.fields):
        sent, *others = given.get(f"{FIELD}{number}", ("",))
        if others:
            raise InvalidError(FIELD, "one comes twice")
        text = written[field.name] = sent.replace("\r\n", "\n")  # browsers send every line break so
        most = limits.DIALOG_TEXT_CHARS if field.most is None else field.most
        if field.required and not text.strip():
            problem = problem or words.missing.format(label=field.label)
        elif len(text) > most:
            problem = problem or words.too_long.format(label=field.label, most=most, found=len(text))
    return Posted(Kind.MODAL, form.token, fields=written, form=form, problem=problem)
