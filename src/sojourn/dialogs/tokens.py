"""Tokens: what a button carries, so that a click finds its dialog again in any process.

    s1.<dialog id>.<action>[.<argument>...][.p<page>][.r<revision>][~<mac>]

A token is ASCII. Whatever an argument holds beside letters, digits, `_` and `-` is percent-escaped; so is the first
letter of one that looks like a page or a revision. Arguments that were too long are kept with the dialog, and `*` and
a key of four characters stand for them. Each token has one spelling only.

Where people could make up tokens, each carries a MAC: the first 96 bits of an HMAC-SHA256 of all before the `~`.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from typing import Final, Literal, Protocol
from urllib.parse import unquote_to_bytes

import msgspec

from sojourn import limits
from sojourn.dialogs.model import checked_id, checked_name
from sojourn.errors import InvalidError, LimitError

__all__ = ["Budget", "REVISION_MAX", "Token", "TokenCodec", "Tokens", "checked_number"]

REVISION_MAX: Final = 10**19 - 1
"""Greatest revision that a token may name; no engine gives any of more digits."""


class Token(msgspec.Struct, frozen=True):
    """What a token says: its dialog, the action and its arguments, and the page that it leads to.

    `revision` is that of the dialog when it was shown. `spill` is the key of arguments that are kept with the dialog.
    """

    dialog_id: str
    action: str | None = None
    args: tuple[str, ...] = ()
    page: int | None = None
    revision: int | None = None
    spill: str | None = None


class Budget(msgspec.Struct, frozen=True):
    """What a token may take on a platform, in characters or in bytes of UTF-8; None: `limits.DIALOG_TOKEN_CHARS`."""

    most: int | None = None
    unit: Literal["characters", "bytes"] = "characters"

    def check(self, text: str) -> None:
        """Let a token through that is no longer than this, and that could be decoded again.

        Raises:
            LimitError: it is too long.
        """
        if len(text) > limits.DIALOG_TOKEN_CHARS:
            raise LimitError("token", limit=limits.DIALOG_TOKEN_CHARS, found=len(text), unit="characters")
        if self.most is None:
            return
        found = len(text) if self.unit == "characters" or text.isascii() else len(text.encode())
        if found > self.most:
            raise LimitError("token", limit=self.most, found=found, unit=self.unit)


class TokenCodec(Protocol):
    """One way to write tokens. What `encode` returns, `decode` reads back as it was."""

    def encode(self, token: Token) -> str:
        """Write a token.

        Raises:
            InvalidError: it holds something that cannot be written. LimitError: it is beyond the platform's budget.
        """
        ...

    def decode(self, text: str) -> Token | None:
        """Read a token. None for whatever is none of ours, malformed or forged; it never raises."""
        ...


class Tokens(TokenCodec):
    """Sojourn's own way to write tokens, within a budget.

    With keys each token carries a MAC, and none without a right one is read. The first key signs; the others are those
    that it replaced, and what they signed is read as well.

    Raises:
        InvalidError: there are no keys in `keys`, or one is shorter than `limits.DIALOG_KEY_BYTES`.
        LimitError: there are more than `limits.DIALOG_KEYS`.
    """

    def __init__(self, budget: Budget = Budget(), keys: Sequence[bytes] | None = None) -> None:  # noqa: B008  frozen
        self._budget = budget
        self._signers = () if keys is None else _signers(keys)

    def encode(self, token: Token) -> str:
        """Write a token.

        Raises:
            InvalidError: its id or its action is no name, an argument holds half a character, or a number is not one.
            LimitError: it, or one of its parts, is too long.
        """
        parts = ["s1", checked_id(token.dialog_id)]
        parts.append("" if token.action is None else checked_name("action", token.action))
        if token.spill is not None:
            parts.append(_checked_spill(token))
        else:
            parts.extend(map(_escaped, token.args))
        if token.page is not None:
            parts.append(f"p{checked_number('page', token.page, limits.DIALOG_PAGE_MAX)}")
        if token.revision is not None:
            parts.append(f"r{checked_number('revision', token.revision, REVISION_MAX)}")
        text = ".".join(parts)
        if self._signers:
            text = f"{text}~{_mac(self._signers[0], text)}"
        self._budget.check(text)
        return text

    def decode(self, text: str) -> Token | None:
        """Read a token. None for whatever is none of ours, malformed or forged; it never raises."""
        found = _FORM.fullmatch(text) if len(text) <= limits.DIALOG_TOKEN_CHARS else None
        if found is None:
            return None
        body, dialog_id, action, written, spill, page, revision, mac = found.groups()
        args = _args(written)
        if args is None or not self._accepts(body, mac):
            return None
        return Token(
            dialog_id,
            action,
            args,
            None if page is None else int(page),
            None if revision is None else int(revision),
            spill,
        )

    def _accepts(self, body: str, mac: str | None) -> bool:
        if mac is None or not self._signers:
            return mac is None and not self._signers
        return any(hmac.compare_digest(_mac(signer, body), mac) for signer in self._signers)


# -- The form ---------------------------------------------------------------------------------------------------------


def _decimal(most: int) -> str:
    """Return the pattern of the one spelling of a number up to the greatest that has as many digits."""
    return rf"0|[1-9][0-9]{{0,{len(str(most)) - 1}}}"


# A plain argument never looks like a page or a revision: so nothing here has to be tried in more than one way.
_FORM: Final = re.compile(
    rf"""(s1
    \.([A-Za-z0-9_-]{{1,{limits.DIALOG_ID_CHARS}}})
    \.([A-Za-z_][A-Za-z0-9_-]{{0,{limits.DIALOG_NAME_CHARS - 1}}})?
    (?:((?:\.(?![pr][0-9]++(?:[.~]|\Z))(?:[A-Za-z0-9_-]|%[0-9A-F]{{2}})*+)*+)|\.\*([A-Za-z0-9_-]{{4}}))
    (?:\.p({_decimal(limits.DIALOG_PAGE_MAX)}))?
    (?:\.r({_decimal(REVISION_MAX)}))?
    )(?:~([A-Za-z0-9_-]{{16}}))?""",
    re.VERBOSE,
)
_SPILL: Final = re.compile(r"[A-Za-z0-9_-]{4}")
_ESCAPED: Final = re.compile(r"[^A-Za-z0-9_-]+|\A[pr](?=[0-9]+\Z)")


def _escaped(arg: object) -> str:
    if not isinstance(arg, str):
        raise InvalidError("args", "each is a text")
    try:
        return _ESCAPED.sub(_percent, arg)
    except UnicodeEncodeError:
        raise InvalidError("args", "half a character (a lone surrogate) cannot stand in a token") from None


def _percent(found: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in found[0].encode()])


def _args(written: str | None) -> tuple[str, ...] | None:
    """Return the arguments as they were; None where they were not written in the one way to write them."""
    if not written:
        return ()
    parts = written[1:].split(".")
    if "%" not in written:
        return tuple(parts)
    try:
        args = tuple(unquote_to_bytes(part).decode() for part in parts)
    except UnicodeDecodeError:
        return None
    return args if [_escaped(arg) for arg in args] == parts else None


def checked_number(name: str, number: object, most: int) -> int:
    """Let a number through that can stand in a token.

    Raises:
        InvalidError: it is no whole number from 0 to `most`.
    """
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
        raise InvalidError(name, f"it is a whole number from 0 to {most}")
    return number


def _checked_spill(token: Token) -> str:
    if token.spill is None or token.args or _SPILL.fullmatch(token.spill) is None:
        raise InvalidError("spill", "it is four letters or digits, and stands for all the arguments")
    return f"*{token.spill}"


# -- The MAC ----------------------------------------------------------------------------------------------------------

_MAC_BYTES: Final = 12


def _signers(keys: Sequence[object]) -> tuple[hmac.HMAC, ...]:
    checked = [key for key in keys if isinstance(key, bytes) and len(key) >= limits.DIALOG_KEY_BYTES]
    if not checked or len(checked) < len(keys):
        raise InvalidError("keys", f"there is at least one, each of at least {limits.DIALOG_KEY_BYTES} random bytes")
    if len(checked) > limits.DIALOG_KEYS:
        raise LimitError("keys", limit=limits.DIALOG_KEYS, found=len(checked), unit="keys")
    return tuple(hmac.new(key, digestmod="sha256") for key in checked)


def _mac(signer: hmac.HMAC, body: str) -> str:
    signing = signer.copy()
    signing.update(body.encode())
    return base64.urlsafe_b64encode(signing.digest()[:_MAC_BYTES]).decode()
