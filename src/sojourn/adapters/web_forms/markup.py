"""HTML that cannot be broken out of: whatever is not made by `tag` is text, and is escaped."""

from __future__ import annotations

from html import escape
from typing import Final

__all__ = ["Html", "joined", "tag"]

_VOID: Final = frozenset({"input", "link", "meta"})


class Html(str):
    """HTML as it is. Only this module makes it of texts; what the adapter itself wrote may be wrapped in it."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | int | bool | None) -> Html:
    """Return an element: texts among its children are escaped, and so is each attribute's value.

    An attribute that is True stands alone, one that is None or False is left out. In a name a trailing underscore goes
    (`class_`), any other becomes a dash.
    """
    opened = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        opened.append(shown if value is True else f'{shown}="{_escaped(str(value))}"')
    inner = joined(*children)
    start = f"<{' '.join(opened)}>"
    return Html(start if name in _VOID else f"{start}{inner}</{name}>")


def joined(*children: str) -> Html:
    """Return what stands side by side: what is not HTML is escaped."""
    return Html("".join(child if isinstance(child, Html) else _escaped(child) for child in children))


def _escaped(text: str) -> str:
    """Return a text as HTML that shows it; half characters, which have no place in UTF-8, as `?`."""
    return escape(text.encode("utf-8", "replace").decode())
