"""The suite of session stores itself: it is complete, strangers can run it, and a broken store turns it red."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from sojourn.snapshots.protocol import SessionStore
from sojourn.testing.session_stores import SessionStoreConformance
from tests.testing.dict_store import Data, DictStore, Opener, opener

ROOT = Path(__file__).parents[2]

TOP = """
import asyncio
from datetime import datetime
import msgspec
import pytest
from sojourn.testing import session_stores
from sojourn.testing.session_stores import Capability, trial
from tests.testing.dict_store import DictStore, opener
"""

STRANGER = """
class Store{number}(DictStore):
{body}

class Test{number}(session_stores.SessionStoreConformance):
    capabilities = frozenset({capabilities})

    @pytest.fixture
    def opening(self):
        return opener(Store{number})
"""

BROKEN = {
    "test_a_snapshot_is_read_as_it_was_saved_and_nothing_is_added": """\
    def made(self, snapshot_id, wanted, current):
        row = super().made(snapshot_id, wanted, current)
        return msgspec.structs.replace(row, updated_at=row.updated_at or row.created_at)
""",
    "test_what_the_caller_does_to_its_own_objects_changes_nothing_stored": """\
    def copy(self, row):
        return row
""",
    "test_created_at_never_moves": """\
    def created(self, wanted, current):
        return super().created(wanted, None)
""",
    "test_a_mutator_that_returns_none_leaves_everything_as_it_is": """\
    async def save_snapshot(self, snapshot_id, mutator, *, context=None):
        return await super().save_snapshot(snapshot_id, mutator, context=context) or snapshot_id
""",
    "test_a_terminal_status_stands": """\
    def refuse(self, current, row, session):
        if current is not None:
            current = msgspec.structs.replace(current, status="pending")
        super().refuse(current, row, session)
""",
    "test_nothing_is_its_own_ancestor": """\
    def refuse_parent(self, tenant, row):
        pass
""",
    "test_the_state_of_one_that_others_build_on_stands": """\
    def refuse(self, current, row, session):
        super().refuse(current, row, {})
""",
    "test_nothing_is_watched_by_what_is_no_id": """\
    def checked(self, snapshot_id):
        return str(snapshot_id)
""",
    "test_of_equal_instants_it_is_the_one_that_was_stored_last": """\
    def newest(self, leaves):
        return max(leaves, key=lambda row: row.created_at, default=None)
""",
    "test_the_instant_decides_and_not_the_order_of_writing_or_of_ids": """\
    def newest(self, leaves):
        return leaves[-1] if leaves else None
""",
    "test_instants_are_compared_and_not_their_texts": """\
    def newest(self, leaves):
        return max(reversed(leaves), key=lambda row: row.created_at.replace(tzinfo=None), default=None)

    def created(self, wanted, current):
        given = wanted.created_at
        return datetime.fromisoformat(given) if isinstance(given, str) else super().created(wanted, current)
""",
    "test_a_parent_that_comes_late_is_no_leaf": """\
    def leaves(self, rows):
        seen = set()
        return [row for row in reversed(rows) if not (row.snapshot_id in seen or seen.add(row.parent_id))][::-1]
""",
    "test_a_sign_of_life_is_not_told": """\
    def watcher(self, row, callback):
        watcher = super().watcher(row, callback)
        watcher.tell = watcher.statuses.put_nowait
        return watcher
""",
    "test_an_unknown_snapshot_is_waited_for": """\
    def on_snapshot_state_change(self, snapshot_id, callback, *, context=None):
        if (self.tenant(context), self.checked(snapshot_id)) not in self.data.rows:
            return lambda: None
        return super().on_snapshot_state_change(snapshot_id, callback, context=context)
""",
    "test_who_was_told_to_stop_is_called_no_more": """\
    def on_snapshot_state_change(self, snapshot_id, callback, *, context=None):
        super().on_snapshot_state_change(snapshot_id, callback, context=context)
        return lambda: None
""",
    "test_a_callback_that_raises_harms_nobody_else": """\
    def store(self, tenant, row):
        super().store(tenant, row)
        for _, name, watcher in self.data.watchers:
            if name == row.snapshot_id and not asyncio.iscoroutinefunction(watcher._callback):
                watcher._callback(row)
""",
    "test_each_has_snapshots_and_sessions_of_its_own": """\
    def tenant(self, context):
        super().tenant(context)
        return ""
""",
    "test_no_change_is_lost_that_was_made_at_the_same_time": """\
    async def between(self):
        await asyncio.sleep(0)
""",
}
"""A way to break a store, by the test that sees it."""


def suite() -> dict[str, list[Any]]:
    """Every test of the suite by its name, once for each class that defines it."""
    found = defaultdict[str, list[Any]](list)
    for part in SessionStoreConformance.__mro__:
        for name, test in vars(part).items():
            if name.startswith("test_"):
                found[name].append(test)
    return found


class TestDictStore(SessionStoreConformance):
    @pytest.fixture
    def opening(self) -> Opener:
        return opener(DictStore)


def test_a_store_needs_the_three_verbs_and_no_base_class() -> None:
    assert isinstance(DictStore(Data()), SessionStore)
    assert not isinstance(object(), SessionStore)


def test_no_test_hides_another_of_its_name() -> None:
    assert {name for name, tests in suite().items() if len(tests) > 1} == set()


def test_every_test_says_what_it_proves() -> None:
    for name, (test,) in suite().items():
        assert test.__doc__, name
        assert [mark.args for mark in test.pytestmark if mark.name == "row"], name


def stranger(number: int, body: str, capabilities: str = "Capability") -> str:
    """A store and its tests as a stranger writes them."""
    return STRANGER.format(number=number, body=body, capabilities=capabilities)


def run(folder: Path, text: str, *arguments: str) -> str:
    """Run tests in a folder and a process of their own, with this very sojourn, and return what pytest says."""
    (folder / "test_store.py").write_text(TOP + text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "sojourn.testing.plugin", "--strict-markers", "-W", "error"]
    command += ["-o", "asyncio_default_fixture_loop_scope=session", *arguments]  # what theirs is must not matter
    path = f"{ROOT / 'src'}:{ROOT}"
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": path}, check=False, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_a_stranger_runs_it_in_either_mode(tmp_path: Path, mode: str) -> None:
    said = run(tmp_path, stranger(0, "    pass"), "-o", f"asyncio_mode={mode}")
    assert set(re.findall(r"\d+ ([a-z]+)", said.splitlines()[-1])) == {"passed"}, said


def test_a_store_that_declares_nothing_passes_too(tmp_path: Path) -> None:
    """Proves that what needs a capability expects the error where it is not declared, and opens nothing with it."""
    body = """\
    def __init__(self, data):
        super().__init__(data)
"""
    said = run(tmp_path, stranger(0, body, "()"), "-o", "asyncio_mode=auto")
    assert set(re.findall(r"\d+ ([a-z]+)", said.splitlines()[-1])) == {"passed"}, said


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The tests that each failed on the store with its fault."""
    text = "".join(stranger(number, body) for number, body in enumerate(BROKEN.values()))
    text += "\ntrial.PATIENCE_S = 1.0  # what never comes is the fault of some\n"
    tests = [f"test_store.py::Test{number}::{name}" for number, name in enumerate(BROKEN)]
    said = run(tmp_path_factory.mktemp("away"), text, "-o", "asyncio_mode=auto", "--tb=no", "-rf", *tests)
    return set(re.findall(r"^FAILED \S+::(\w+)", said, re.MULTILINE))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_store_turns_it_red(failed: set[str], name: str) -> None:
    """Proves of each important test that a store with one fault fails it."""
    assert name in failed
