"""LangGraph's conformance suite of checkpoint savers, for a process of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate  # type: ignore[import-not-found]
from langgraph.checkpoint.conformance.report import ProgressCallbacks  # type: ignore[import-not-found]

import sojourn
from sojourn.adapters.langgraph import SojournSaver
from tools.upstream.recording import RESULTS, STORE
from tools.upstream.stores import unused

_outcomes: dict[str, str] = {}


@checkpointer_test(name="SojournSaver")  # type: ignore[untyped-decorator]
async def saver() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
    """A saver on a store that nobody has used, for each capability."""
    with unused(os.environ[STORE]) as url:
        async with sojourn.open(url) as store:
            yield SojournSaver(store)


def note(capability: str, test: str, passed: bool, error: str | None) -> None:  # noqa: FBT001  the suite's own form
    """Note how a test went, and say why one failed."""
    _outcomes[f"{capability}::{test}"] = "passed" if passed else "failed"
    if error is not None:
        print(f"{capability}::{test}\n{error}")


def main() -> None:
    """Run the suite on the store that the environment names, and write what became of each test."""
    report = asyncio.run(validate(saver, progress=ProgressCallbacks(on_test_result=note)))
    for capability, result in report.results.items():
        if not result.detected:
            _outcomes[f"{capability}::not detected"] = "failed"
    Path(os.environ[RESULTS]).write_bytes(msgspec.json.encode(_outcomes))


if __name__ == "__main__":
    main()
