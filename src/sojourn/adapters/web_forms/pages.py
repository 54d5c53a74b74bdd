"""The pages: a dialog as it stands, a form to fill in, and a word on what went wrong.

Each is one column that reads well on a phone, in light and dark, by keyboard and by ear. Nothing in it is fetched from
elsewhere, and no script runs in it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from sojourn.adapters.web_forms.markup import Html, joined, tag
from sojourn.adapters.web_forms.style import ICON
from sojourn.adapters.web_forms.words import PageWords
from sojourn.dialogs import Button, Component, DialogInfo, EndCode, Field, Form, Option, Select, View

__all__ = ["BUTTON", "FIELD", "FORM", "OPTION", "Pages", "SELECT", "STAMP", "Sheet"]

STAMP: Final = "stamp"
BUTTON: Final = "button"
SELECT: Final = "select"
OPTION: Final = "option"
FORM: Final = "form"
FIELD: Final = "field-"

_STYLES: Final = frozenset({"primary", "secondary", "success", "danger"})
_HEADING_CHARS: Final = 120


class Sheet(msgspec.Struct, frozen=True):
    """One rendering: where the page stands, the stamp of its forms, and what its reader is told on top of it.

    `sealed` are its selects and its form by their tokens. `is_trouble` says that what is told went wrong.
    """

    href: str
    stamp: str
    sealed: Mapping[str, str]
    told: Sequence[str] = ()
    is_trouble: bool = False


class Pages:
    """Makes the pages, under one title, in one style and in these words."""

    def __init__(self, title: str, style: str, words: PageWords) -> None:
        self._title = title
        self._style = style
        self._words = words
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.policy: Final = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        """What a browser may do with a page: show it, and send its forms back to where it came from."""

    def dialog(self, sheet: Sheet, info: DialogInfo) -> str:
        """Return the page of a dialog."""
        is_over = info.ended is not None or info.is_overdue
        view = info.view or View("" if is_over else self._words.nothing_yet)
        heading, paragraphs = _written(view.text)
        rows = [] if is_over else [self._row(sheet, row) for row in view.rows if row]
        if is_over:
            paragraphs.append(tag("p", self._ending(info), class_="over"))
        head = [tag("h1", heading, dir="auto")] if heading else []
        card = tag("article", *head, *paragraphs, *rows, class_="card")
        foot = [] if is_over else [self._foot(sheet, info.deadline)]
        return self._page(heading or info.type, _told(sheet), card, *foot)

    def form(self, sheet: Sheet, form: Form, written: Mapping[str, str]) -> str:
        """Return the page of a form, with what was written into it already."""
        fields = [
            self._field(number, field, written.get(field.name, field.value)) for number, field in enumerate(form.fields)
        ]
        body = _posting(
            sheet,
            _hidden(FORM, sheet.sealed[form.token]),
            *fields,
            tag("div", tag("button", self._words.send, class_="primary"), class_="row"),
        )
        card = tag("article", tag("h1", form.title, dir="auto"), body, class_="card")
        foot = tag("p", tag("a", self._words.back, href=sheet.href), class_="small")
        return self._page(form.title, _told(sheet), card, foot)

    def word(self, heading: str, said: Sequence[str], href: str | None = None) -> str:
        """Return a page that says something, with a link to where it goes on."""
        on = [] if href is None else [tag("p", tag("a", self._words.on, href=href, class_="button primary"))]
        paragraphs = [tag("p", one, dir="auto") for one in said]
        return self._page(heading, tag("article", tag("h1", heading), *paragraphs, *on, class_="card"))

    def _page(self, heading: str, *body: Html) -> str:
        name = f"{heading[:_HEADING_CHARS]} · {self._title}" if self._title else heading[:_HEADING_CHARS]
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", name),
            tag("link", rel="icon", href=ICON),
            tag("style", Html(self._style)),
        )
        brand = [tag("p", self._title, class_="brand")] if self._title else []
        whole = tag("html", head, tag("body", tag("main", *brand, *body)), lang=self._words.language)
        return f"<!doctype html>\n{whole}\n"

    def _foot(self, sheet: Sheet, deadline: datetime | None) -> Html:
        again = tag("a", self._words.look_again, href=sheet.href)
        if deadline is None:
            return tag("p", again, class_="small")
        until = tag("time", f"{deadline:%Y-%m-%d %H:%M} UTC", datetime=deadline.isoformat())
        before, _, after = self._words.open_until.partition("{time}")
        return tag("p", before, until, after, " ", again, class_="small")

    def _ending(self, info: DialogInfo) -> str:
        code = EndCode.EXPIRED if info.ended is None else info.ended.code
        if code == EndCode.EXPIRED:
            return self._words.expired
        return self._words.cancelled if code == EndCode.CANCELLED else self._words.finished

    def _row(self, sheet: Sheet, row: Sequence[Component]) -> Html:
        """Return a row of components: each select has a form of its own, and the buttons share one."""
        forms = [self._select(sheet, one) for one in row if isinstance(one, Select)]
        buttons = [_button(one) for one in row if isinstance(one, Button)]
        if buttons:
            forms.append(_posting(sheet, tag("div", *buttons, class_="row")))
        return joined(*forms)

    def _select(self, sheet: Sheet, select: Select) -> Html:
        """Return a choice: radio buttons for one of the options, boxes to tick for several."""
        asked = self._asked(select)
        is_one = select.at_most == 1
        explained = [] if is_one or not select.placeholder else [tag("p", asked, class_="small")]
        choice = tag(
            "fieldset",
            tag("legend", select.placeholder or asked, dir="auto"),
            *explained,
            *(_option(number, one, select) for number, one in enumerate(select.options)),
            tag("div", tag("button", self._words.choose, class_="primary"), class_="row"),
            disabled=select.disabled,
        )
        sealed = [] if select.disabled else [_hidden(SELECT, sheet.sealed[select.token])]
        return _posting(sheet, *sealed, choice)

    def _asked(self, select: Select) -> str:
        least, most = select.at_least, min(select.at_most, len(select.options))
        if most == 1:
            return self._words.choose_one
        if least == 0:
            return self._words.choose_up_to.format(most=most)
        return (self._words.choose_exactly if least == most else self._words.choose_between).format(
            least=least, most=most
        )

    def _field(self, number: int, field: Field, value: str) -> Html:
        name = f"{FIELD}{number}"
        optional = [] if field.required else [tag("small", f" ({self._words.optional})")]
        label = tag("span", field.label, *optional, dir="auto")
        if field.multiline:  # a parser drops the first line break of a textarea
            text = tag("textarea", f"\n{value}", name=name, rows=4, maxlength=field.most, required=field.required)
        else:
            text = tag("input", type="text", name=name, value=value, maxlength=field.most, required=field.required)
        return tag("label", label, text, class_="field")


def _told(sheet: Sheet) -> Html:
    if not sheet.told:
        return Html()
    said = [tag("p", one, dir="auto") for one in sheet.told]
    return tag("div", *said, role="alert" if sheet.is_trouble else "status", class_="told")


def _written(text: str) -> tuple[str, list[Html]]:
    """Return the first line of a text, which heads its page, and its other paragraphs."""
    heading, _, rest = text.strip().partition("\n")
    if len(heading) > _HEADING_CHARS:
        cut = heading.rfind(" ", 0, _HEADING_CHARS)
        cut = _HEADING_CHARS if cut < 0 else cut
        heading, rest = f"{heading[:cut]} …", f"… {heading[cut:].lstrip()}\n{rest}"
    return heading, [tag("p", one.strip("\n"), dir="auto") for one in rest.split("\n\n") if one.strip()]


def _posting(sheet: Sheet, *content: Html) -> Html:
    return tag("form", _hidden(STAMP, sheet.stamp), *content, method="post", action=sheet.href)


def _hidden(name: str, value: str) -> Html:
    """Return a hidden value; a browser that restores what was in a page leaves it alone."""
    return tag("input", type="hidden", name=name, value=value, autocomplete="off")


def _button(button: Button) -> Html:
    style = button.style if button.style in _STYLES else "secondary"
    if button.disabled:  # its token stays here
        return tag("button", button.label, class_=style, disabled=True, dir="auto")
    return tag("button", button.label, class_=style, name=BUTTON, value=button.token, dir="auto")


def _option(number: int, option: Option, select: Select) -> Html:
    is_one = select.at_most == 1
    kind = "radio" if is_one else "checkbox"
    mark = tag("input", type=kind, name=OPTION, value=number, required=is_one and select.at_least > 0)
    described = [tag("small", option.description, dir="auto")] if option.description else []
    return tag("label", mark, tag("span", tag("span", option.label, dir="auto"), *described), class_="option")
