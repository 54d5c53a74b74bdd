"""A browser without a screen: it reads pages, keeps cookies, and sends the forms that it was shown."""

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import httpx

VOID = {"input", "link", "meta"}


class PageForm:
    """One form of a page: its hidden values, its buttons and options by their labels, its fields."""

    def __init__(self, attributes: Mapping[str, str | None]) -> None:
        self.method = attributes.get("method")
        self.action = attributes.get("action")
        self.hidden: dict[str, str] = {}
        self.buttons: dict[str, tuple[str | None, str | None]] = {}
        self.options: dict[str, tuple[str, str]] = {}
        self.fields: dict[str, tuple[str, str]] = {}


class Reading(HTMLParser):
    """What stands on a page. `open` are the elements not closed at its end, which are none on a sound one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.links: dict[str, str] = {}
        self.texts: list[str] = []
        self.told: list[str] = []
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self._label: list[str] = []
        self._control: tuple[str, str, str] | None = None
        self.feed(page)
        self.close()

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag not in VOID:
            self.open.append((tag, values))
        if tag == "form":
            self.forms.append(PageForm(values))
        elif tag in {"label", "button", "a"}:
            self._label, self._control = [], None
        elif tag == "input" and values["type"] == "hidden":
            self.forms[-1].hidden[values["name"] or ""] = values["value"] or ""
        elif tag in {"input", "textarea"}:
            self._control = (values.get("type") or tag, values["name"] or "", values.get("value") or "")

    def handle_data(self, data: str) -> None:
        within = [name for name, _ in self.open]
        if "style" in within or not data.strip():
            return
        self.texts.append(data)
        self._label.append(data)
        if any(values.get("class") == "told" for _, values in self.open):
            self.told.append(data)
        if within[-1] == "textarea" and self._control is not None:
            self._label.pop()
            kind, name, _ = self._control
            self._control = (kind, name, data.removeprefix("\n"))

    def handle_endtag(self, tag: str) -> None:
        name, values = self.open.pop()
        assert name == tag, f"{name} was closed by {tag}"
        label = self._label[0] if self._label else ""
        if tag == "button":
            self.forms[-1].buttons[label] = (values.get("name"), values.get("value"))
        elif tag == "a":
            self.links[label] = values["href"] or ""
        elif tag == "label" and self._control is not None:
            kind, name, value = self._control
            if kind in {"radio", "checkbox"}:
                self.forms[-1].options[label] = (name, value)
            else:
                self.forms[-1].fields[label] = (name, value)


class Browser:
    """One browser of one person, who may be somebody else later on."""

    def __init__(self, client: httpx.AsyncClient, person: str | None) -> None:
        self.client = client
        self.person = person
        self.answer: httpx.Response | None = None
        self.page = Reading("")

    async def open(self, path: str) -> httpx.Response:
        """Ask for a page, and follow where it leads."""
        return await self._shown(await self.client.get(path, headers=self._headers()))

    async def post(self, path: str, fields: Mapping[str, Any], *, follow: bool = True) -> httpx.Response:
        """Send a form, and follow where that leads unless told not to."""
        headers = {**self._headers(), "content-type": "application/x-www-form-urlencoded"}
        answer = await self.client.post(path, content=urlencode(fields, doseq=True), headers=headers)
        return await self._shown(answer) if follow else answer

    async def click(self, label: str, *, follow: bool = True) -> httpx.Response:
        """Click a button of the page that is shown."""
        form = next(form for form in self.page.forms if label in form.buttons)
        name, value = form.buttons[label]
        assert name is not None, f"{label} cannot be clicked"
        return await self.post(form.action or "", {**form.hidden, name: value}, follow=follow)

    async def choose(self, *labels: str, follow: bool = True) -> httpx.Response:
        """Choose options, and send the choice."""
        form = next(form for form in self.page.forms if form.options)
        name = next(iter(form.options.values()))[0]
        return await self.post(
            form.action or "", {**form.hidden, name: [form.options[one][1] for one in labels]}, follow=follow
        )

    async def send(self, written: Mapping[str, str] = {}, *, follow: bool = True) -> httpx.Response:
        """Fill in fields by their labels, and send the form with what stood in the others."""
        form = next(form for form in self.page.forms if form.fields)
        assert written.keys() <= form.fields.keys()
        fields = {name: written.get(label, value) for label, (name, value) in form.fields.items()}
        return await self.post(form.action or "", {**form.hidden, **fields}, follow=follow)

    def buttons(self) -> list[str]:
        """The labels of the buttons that can be clicked."""
        return [label for form in self.page.forms for label, (name, _) in form.buttons.items() if name is not None]

    def _headers(self) -> dict[str, str]:
        return {} if self.person is None else {"x-person": self.person}

    async def _shown(self, answer: httpx.Response) -> httpx.Response:
        while answer.status_code == httpx.codes.SEE_OTHER:
            answer = await self.client.get(answer.headers["location"], headers=self._headers())
        self.answer = answer
        if answer.headers.get("content-type", "").startswith("text/html"):
            self.page = Reading(answer.text)
            assert self.page.open == []
        return answer
