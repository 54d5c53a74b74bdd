"""The Lua of this engine, read once from the files beside this module.

`shared.lua` holds what several scripts need, and stands before each of them; so does `write.lua` for those that write.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final, NamedTuple

__all__ = ["CHANGES", "COMMIT", "DUE", "OPEN", "RANK", "READ", "SWEEP", "Script"]


class Script(NamedTuple):
    """A script, and the digest by which a server that has it is asked to run it."""

    text: bytes
    digest: bytes
    only_reads: bool


def _script(*names: str, only_reads: bool = False) -> Script:
    folder = resources.files("sojourn.engines.redis").joinpath("lua")
    text = b"\n".join(folder.joinpath(f"{name}.lua").read_bytes() for name in ("shared", *names))
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode(), only_reads)


OPEN: Final = _script("open")
COMMIT: Final = _script("write", "commit")
SWEEP: Final = _script("write", "sweep")
READ: Final = _script("read", only_reads=True)
RANK: Final = _script("rank", only_reads=True)
DUE: Final = _script("due", only_reads=True)
CHANGES: Final = _script("changes", only_reads=True)
