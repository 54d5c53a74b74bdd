"""What goes through a browser and must come back as it was: sealed by the keys that sign the dialogs' tokens.

A *stamp* stands in each form of a page. It is drawn at random for each rendering, so that the same page sent twice is
one delivery, and it is bound to the browser (by a cookie that no other site can read or send along), to the person and
to the dialog, so that no other page can make a person's browser send it.

A *sealed component* is a select or a form as it was shown. What comes back is checked against that, as a platform of
its own would do, whatever the dialog shows by then, and without asking the store.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from sojourn.dialogs import Form, Select, User

__all__ = ["Seals", "drawn"]

C = TypeVar("C", Select, Form)

_MAC_BYTES: Final = 16
_DRAWN_BYTES: Final = 16

_ENCODER: Final = msgspec.json.Encoder()


def drawn() -> str:
    """Return a text that nobody guesses: 22 letters, digits, `_` and `-`."""
    return secrets.token_urlsafe(_DRAWN_BYTES)


class Seals:
    """Seals texts, and opens what it has sealed. The first key seals; each opens."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(hmac.digest(key, b"sojourn web forms", "sha256") for key in keys)

    def stamp(self, browser: str, user: User, dialog_id: str) -> str:
        """Return a new stamp."""
        return self._seal(drawn().encode(), "stamp", browser, user.tenant, user.id, dialog_id)

    def delivery(self, stamp: str, browser: str, user: User, dialog_id: str) -> str | None:
        """Return what a stamp says that this delivery is; None where it is not for these."""
        opened = self._open(stamp, "stamp", browser, user.tenant, user.id, dialog_id)
        return None if opened is None else opened.decode()

    def component(self, shown: Select | Form) -> str:
        """Return a select or a form, sealed."""
        return self._seal(_ENCODER.encode(shown), type(shown).__name__)

    def shown(self, sealed: str, kind: type[C]) -> C | None:
        """Return the select or the form that was sealed; None where none was, or not here."""
        opened = self._open(sealed, kind.__name__)
        return None if opened is None else msgspec.json.decode(opened, type=kind)

    def _seal(self, content: bytes, *bound: str) -> str:
        return f"{_text(content)}.{_text(_mac(self._keys[0], content, bound))}"

    def _open(self, sealed: str, *bound: str) -> bytes | None:
        content, _, mac = sealed.partition(".")
        try:
            opened, found = _bytes(content), _bytes(mac)
        except (ValueError, binascii.Error):
            return None
        if not any(hmac.compare_digest(_mac(key, opened, bound), found) for key in self._keys):
            return None
        return opened


def _mac(key: bytes, content: bytes, bound: tuple[str, ...]) -> bytes:
    return hmac.digest(key, _ENCODER.encode(bound) + b"\n" + content, "sha256")[:_MAC_BYTES]


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, altchars=b"-_", validate=True)
