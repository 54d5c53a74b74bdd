"""The conformance suite itself: complete, usable by strangers, and red when an engine is broken."""

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

import sojourn
from sojourn.testing.conformance import EngineConformance

pytest_plugins = ["pytester"]

STRANGER = """
    from sojourn.engines.memory import MemoryEngine
    from sojourn.testing import conformance

    class Engine(MemoryEngine):
        {body}

    class Harness:
        capabilities = frozenset({{conformance.Capability.CROSS_PARTITION}})

        async def create(self, folder):
            return str(folder)

        def engine(self, address, clock):
            return Engine(clock=clock)

        async def destroy(self, address):
            pass

    class TestEngine(conformance.EngineConformance):
        harness = Harness()
"""

FORGETFUL = """async def commit(self, batch):
            outcomes = await super().commit(batch)
            if self._revision % 20 == 0:
                self._receipts.clear()
            return outcomes
"""


def suite() -> dict[str, list[Any]]:
    """Every test of the suite by its name, once for each class that defines it."""
    found = defaultdict[str, list[Any]](list)
    for part in EngineConformance.__mro__:
        for name, test in vars(part).items():
            if name.startswith("test_"):
                found[name].append(test)
    return found


def test_no_test_hides_another_of_its_name() -> None:
    assert {name for name, tests in suite().items() if len(tests) > 1} == set()


def test_every_test_says_what_it_proves() -> None:
    """Proves that each test has a sentence and cites a promise, and that each promise has at least two tests."""
    cited = Counter[int]()
    for name, (test,) in suite().items():
        assert test.__doc__, name
        numbers = [number for mark in test.pytestmark if mark.name == "promise" for number in mark.args]
        assert numbers, name
        cited.update(numbers)
    assert sorted(cited) == list(range(1, 14))
    assert min(cited.values()) >= 2


@pytest.fixture
def away(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of somebody else, who has this very sojourn installed."""
    monkeypatch.setenv("PYTHONPATH", str(Path(sojourn.__file__).parents[1]))
    return pytester


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_a_stranger_runs_it_in_either_mode(away: pytest.Pytester, mode: str) -> None:
    away.makepyfile(STRANGER.format(body="pass"))
    settings = ["-p", "sojourn.testing.plugin", "--strict-markers", "-W", "error", "-o", f"asyncio_mode={mode}"]
    settings += ["-o", "asyncio_default_fixture_loop_scope=session"]  # what theirs is must not matter to ours
    result = away.runpytest_subprocess(*settings, "--promise", "6", "--promise", "13", "-q")
    outcomes = result.parseoutcomes()
    assert result.ret == 0, result.stdout.str()
    assert outcomes["passed"] > 20
    assert outcomes["deselected"] > 100


def test_a_broken_engine_turns_the_history_red(away: pytest.Pytester) -> None:
    """Proves that a rare fault is found, and that the one command which is printed shows it again."""
    away.makepyfile(STRANGER.format(body=FORGETFUL))
    result = away.runpytest_subprocess("-q", "-k", "random_history", "-W", "ignore::pytest.PytestUnknownMarkWarning")
    assert result.ret == 1
    (command, *_) = [line for line in result.stdout.lines if "once more: pytest " in line]
    words = command.split("once more: pytest ")[1].replace("'", "").split()
    again = away.runpytest_subprocess("-q", *words)
    assert again.parseoutcomes() == {"failed": 1}
    assert command.split("once more")[1] in again.stdout.str()


def test_the_tools_need_no_pytest() -> None:
    code = "import sojourn.testing, sys; print('pytest' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False"]


def test_no_test_asks_which_engine_it_runs_on() -> None:
    """Proves that the suite names no engine, skips nothing and expects no failure."""
    for file in (Path(__file__).parents[2] / "src" / "sojourn" / "testing").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for word in ("pytest.skip", "mark.skip", "xfail", "importorskip", ".engine ==", "sojourn.engines"):
            assert word not in text, (file, word)
