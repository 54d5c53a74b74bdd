"""Which suites there are, on which engines they run, and what of them cannot pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tools.upstream import aiogram_suite, genkit_suite, packages
from tools.upstream.packages import Distribution

__all__ = ["SUITES", "Suite"]


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A suite of somebody else.

    `command` is what Python is given; it runs in `folder` of the unpacked distribution, or here when that is None.
    `tests` is how many there are at least, so that none goes missing unseen. `exceptions` has the tests that cannot
    pass, each with the reason. With `in_one_store` it is told the URL of one store, that of the whole run: where it has
    a package `tests` of its own, it does not find the one here that starts servers.
    """

    name: str
    package: Distribution
    engines: tuple[str, ...]
    command: tuple[str, ...]
    tests: int
    folder: str | None = None
    in_one_store: bool = False
    environment: Mapping[str, str] = {}
    exceptions: Mapping[str, str] = {}


def _pytest(*arguments: str, plugin: str) -> tuple[str, ...]:
    return ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tools.upstream.recording", "-p", plugin, *arguments)


_ENGINE_FILES: Final = tuple(
    f"tests/test_{name}.py"
    for name in (
        "checkpoint_migration",
        "delta_channel_exit_mode",
        "delta_channel_fork",
        "delta_channel_parallel_order",
        "delta_channel_subgraph",
        "delta_channel_to_plain",
        "delta_channel_update_state",
        "interrupt_state",
        "interruption",
        "large_cases",
        "large_cases_async",
        "pregel",
        "pregel_async",
        "pydantic",
        "strict_resume",
        "subgraph_persistence",
        "subgraph_persistence_async",
        "time_travel",
        "time_travel_async",
    )
)
"""Those of LangGraph's tests that ask for a saver."""


SUITES: Final = (
    Suite(
        name="conformance",
        package=packages.CONFORMANCE,
        engines=("memory", "sqlite", "postgres18", "valkey", "redis-cluster"),
        command=("-m", "tools.upstream.conformance"),
        tests=81,
    ),
    Suite(
        name="agents",
        package=packages.GENKIT,
        engines=("memory", "sqlite", "postgres18", "valkey", "redis-cluster"),
        command=_pytest(*genkit_suite.FILES, plugin=genkit_suite.PLUGIN),
        tests=175,
        folder=".",
        exceptions=genkit_suite.EXCEPTIONS,
    ),
    Suite(
        name="engine",
        package=packages.LANGGRAPH,
        engines=("memory", "sqlite"),
        command=_pytest("-n", "2", *_ENGINE_FILES, plugin="tools.upstream.langgraph_plugin"),
        tests=1938,
        folder=".",
        environment={"NO_DOCKER": "true"},
    ),
    Suite(
        name="aiogram",
        package=packages.AIOGRAM,
        engines=("memory", "sqlite", "postgres18", "valkey", "redis-cluster"),
        command=_pytest(*aiogram_suite.OPTIONS, *aiogram_suite.FILES, plugin=aiogram_suite.PLUGIN),
        tests=433,
        folder=".",
        in_one_store=True,
        exceptions=aiogram_suite.EXCEPTIONS,
    ),
    Suite(
        name="aiogram-dialog",
        package=packages.AIOGRAM_DIALOG,
        engines=("memory", "sqlite", "postgres18", "valkey", "redis-cluster"),
        command=_pytest(*aiogram_suite.OPTIONS, "tests", plugin=aiogram_suite.PLUGIN),
        tests=82,
        folder=".",
        in_one_store=True,
    ),
)
