"""Which of aiogram's own tests run on sojourn, and which cannot pass.

They are those of its storages and isolations, of states and scenes, and of the dispatcher that uses them. Those that
want a server of Redis or Mongo leave themselves out.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXCEPTIONS", "FILES", "OPTIONS", "PLUGIN"]

PLUGIN: Final = "tools.upstream.aiogram_plugin"
"""What `pytest -p` loads."""

OPTIONS: Final = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
"""What neither project writes down, and its tests rely on."""

FILES: Final = ("tests/test_fsm", "tests/test_dispatcher", "tests/test_issues")
"""The files, from the folder of the distribution."""

EXCEPTIONS: Final = {
    "tests/test_fsm/test_context.py::TestFSMContext::test_address_mapping": (
        "it looks into `storage`, the dict of the storage that sojourn takes the place of"
    ),
}
"""What cannot pass, and why; one that passes is as much of a surprise as another that fails."""
