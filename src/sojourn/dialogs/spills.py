"""Arguments that no token had room for: kept with the dialog, under a key that the token carries."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from sojourn import limits

__all__ = ["Spills"]

_KEY_CHARS: Final = 4


class Spills:
    """The spilled arguments of one dialog. The same arguments have the same key, however often they are shown."""

    def __init__(self, kept: Mapping[str, tuple[str, ...]]) -> None:
        self._kept = dict(kept)

    def keep(self, args: tuple[str, ...]) -> str:
        """Keep these arguments, and return their key. The oldest are forgotten where there are too many."""
        digest = hashlib.sha256(msgspec.json.encode(args)).digest()
        text = base64.b32encode(digest).decode().lower()
        keys = [text[start : start + _KEY_CHARS] for start in range(0, len(text) - _KEY_CHARS, _KEY_CHARS)]
        key = next((one for one in keys if self._kept.get(one, args) == args), keys[-1])
        self._kept.pop(key, None)
        self._kept[key] = args  # now the newest
        while len(self._kept) > limits.DIALOG_SPILLS:
            del self._kept[next(iter(self._kept))]
        return key

    def all(self) -> dict[str, tuple[str, ...]]:
        """Return all of them, the oldest first."""
        return dict(self._kept)
