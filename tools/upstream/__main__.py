"""Run the suites, say of each what passed, and exit 1 when anything is not as listed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from tests.servers import sharing
from tools.upstream.packages import fetched
from tools.upstream.recording import RESULTS, STORE
from tools.upstream.stores import unused
from tools.upstream.suites import SUITES, Suite

_ROOT: Final = Path(__file__).parents[2]
_SHOWN_LINES: Final = 200


def outcomes(suite: Suite, engine: str, folder: Path) -> tuple[Mapping[str, str], str]:
    """Run a suite on an engine; return what became of each test, and what it printed."""
    unpacked = fetched(suite.package)
    results = folder / f"{suite.name}-{engine}.json"
    paths = [_ROOT, unpacked] if suite.folder is None else [_ROOT]
    environment = {
        **os.environ,
        **suite.environment,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        RESULTS: str(results),
        STORE: engine,
    }
    where = _ROOT if suite.folder is None else unpacked / suite.folder
    command = [sys.executable, *suite.command]
    with ExitStack() as run:
        if suite.in_one_store:
            environment[STORE] = run.enter_context(unused(engine))
        done = subprocess.run(
            command,
            cwd=where,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if not results.exists():
        return {}, done.stdout
    return msgspec.json.decode(results.read_bytes(), type=dict[str, str]), done.stdout


def unexpected(suite: Suite, found: Mapping[str, str]) -> list[str]:
    """Return what is not as the suite's row says."""
    failed = {test for test, outcome in found.items() if outcome == "failed"}
    problems = [f"failed: {test}" for test in sorted(failed - suite.exceptions.keys())]
    problems += [f"listed, and yet it did not fail: {test}" for test in sorted(suite.exceptions.keys() - failed)]
    if len(found) < suite.tests:
        problems.append(f"{len(found)} tests ran, and there are {suite.tests}")
    return problems


def report(suite: Suite, engine: str, folder: Path) -> bool:
    """Run a suite on an engine, print a line about it, and say whether all was as listed."""
    found, said = outcomes(suite, engine, folder)
    count = Counter(found.values())
    problems = unexpected(suite, found)
    listed = sum(found.get(test) == "failed" for test in suite.exceptions)
    line = f"{count['passed']} passed, {count['failed'] - listed} failed, {listed} failed as listed"
    if count["skipped"]:
        line += f", {count['skipped']} left out by the suite itself"
    print(f"{suite.package.name} {suite.package.version}, {suite.name}, on {engine}: {line}", flush=True)
    for test, reason in suite.exceptions.items():
        print(f"    listed: {test}: {reason}")
    if problems:
        print("\n".join([*said.splitlines()[-_SHOWN_LINES:], *(f"    {problem}" for problem in problems)]))
    return not problems


def main() -> None:
    """Run those suites that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="run only suites whose name begins like this")
    parser.add_argument("--on", action="append", help="run on this engine only")
    asked = parser.parse_args()
    chosen = [suite for suite in SUITES if not asked.names or suite.name.startswith(tuple(asked.names))]
    with sharing(), tempfile.TemporaryDirectory() as folder:
        sound = [
            report(suite, engine, Path(folder))
            for suite in chosen
            for engine in suite.engines
            if not asked.on or engine in asked.on
        ]
    sys.exit(0 if all(sound) else 1)


if __name__ == "__main__":
    main()
