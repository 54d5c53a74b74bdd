"""What is no id is refused by every verb, before anything is read or written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from sojourn.errors import InvalidError
from sojourn.snapshots.model import SnapshotInput
from sojourn.testing.session_stores.trial import State, Told, Trial, TrialCase

__all__ = ["Names"]

_PATHS = ("../escape", "../../escape", "foo/bar", "foo\\bar", "..", ".")
_BLANK = ("", " ", "\t\n", "\u2003")
_STRANGE: Final[tuple[Any, ...]] = ("a\0b", "\ud800", 7, b"bytes")


class Names(TrialCase):
    """Ids of snapshots and of sessions."""

    @pytest.mark.row("S-4.1.20", "S-4.1.21", "S-4.1.22", "S-4.1.23", "S-4.1.24", "S-4.1.25", "S-5.17")
    @pytest.mark.parametrize("snapshot_id", [*_PATHS, *_BLANK, *_STRANGE], ids=repr)
    async def test_nothing_is_read_by_what_is_no_id(self, trial: Trial, snapshot_id: str) -> None:
        """The error names it."""
        with pytest.raises(InvalidError) as caught:
            await trial.get(snapshot_id)
        assert caught.value.name == "snapshot_id"

    @pytest.mark.row("S-4.1.26", "S-4.1.27", "S-4.1.28", "S-4.1.29", "S-4.1.30", "S-4.1.31", "S-4.1.32")
    @pytest.mark.parametrize("snapshot_id", [*_PATHS, "../../escaped", *_STRANGE, " "], ids=repr)
    async def test_nothing_is_saved_by_what_is_no_id(self, trial: Trial, snapshot_id: str) -> None:
        """Neither as an argument nor in the input; the session has no snapshot then."""
        for as_argument, as_parent in ((snapshot_id, None), ("mine", snapshot_id)):
            with pytest.raises(InvalidError) as caught:
                await trial.save(as_argument, as_parent)
            assert caught.value.name == ("parent_id" if as_parent else "snapshot_id")
        with pytest.raises(InvalidError) as caught:
            await trial.store.save_snapshot(None, _named(snapshot_id))
        assert caught.value.name == "snapshot_id"
        assert await trial.newest() is None

    @pytest.mark.row("S-5.5")
    @pytest.mark.parametrize("snapshot_id", [*_PATHS, *_BLANK, *_STRANGE], ids=repr)
    async def test_nothing_is_watched_by_what_is_no_id(self, trial: Trial, snapshot_id: str) -> None:
        """It is refused at once, and nobody is told anything."""
        with pytest.raises(InvalidError) as caught:
            trial.store.on_snapshot_state_change(snapshot_id, Told())
        assert caught.value.name == "snapshot_id"

    @pytest.mark.row("S-4.2.12", "S-4.3.1")
    async def test_exactly_one_of_the_two_ids_is_asked_for(self, trial: Trial) -> None:
        """Both are refused, and none is."""
        await trial.save("known", session="known")
        for given in (None, "known"):
            with pytest.raises(InvalidError) as caught:
                await trial.store.get_snapshot(snapshot_id=given, session_id=given)
            assert caught.value.name == "snapshot_id"

    @pytest.mark.row("S-4.2.12", "S-4.3.1", "S-5.17")
    @pytest.mark.parametrize("session_id", [*_BLANK, *_STRANGE], ids=repr)
    async def test_a_blank_session_is_none(self, trial: Trial, session_id: str) -> None:
        """By a named error, whether it is read or written."""
        with pytest.raises(InvalidError) as caught:
            await trial.store.get_snapshot(session_id=session_id)
        assert caught.value.name == "session_id"
        with pytest.raises(InvalidError) as caught:
            await trial.save("mine", session=session_id)
        assert caught.value.name == "session_id"
        assert await trial.get("mine") is None

    @pytest.mark.row("S-4.3.8")
    async def test_any_other_text_names_a_session(self, trial: Trial) -> None:
        """Also what would be a path: a session is no file."""
        for place, session in enumerate(("user/7", "..", "ж \U0001f600", "a.1-1-0123456789ab", "%2F", "x" * 200)):
            await trial.save(f"n{place}", session=session)
            assert await trial.newest(session) == f"n{place}"


def _named(snapshot_id: str) -> Callable[[object], SnapshotInput[State]]:
    return lambda _: SnapshotInput(snapshot_id=snapshot_id, session_id="session")
