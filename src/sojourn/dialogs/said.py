"""What a handler has said so far, of which nothing has happened yet."""

from __future__ import annotations

from typing import TypeAlias

from sojourn.dialogs.model import Edit, Effect, End, View, checked_effect
from sojourn.dialogs.spills import Spills

__all__ = ["Said"]

_Mark: TypeAlias = tuple[tuple[Effect, ...], View | None, bool]


class Said:
    """What a handler wants done, shown and remembered, until it is committed or forgotten.

    `view` is what the dialog shows by it, `is_shown` says that this has changed; `focus` says whether the dialog is to
    take what the person writes, None: as before; `ending` how it is to end; `is_over` that nothing may be said now.
    """

    def __init__(self, view: View | None, spills: Spills) -> None:
        self.effects: tuple[Effect, ...] = ()
        self.view = view
        self.is_shown = False
        self.spills = spills
        self.focus: bool | None = None
        self.ending: End | None = None
        self.is_over = False

    def add(self, effect: Effect) -> None:
        """Have something done after the commit. What takes the place of the first message does so once.

        Raises:
            InvalidError: it cannot be stored.
        """
        before = self.effects
        if isinstance(effect, Edit):
            before = tuple(one for one in before if not isinstance(one, Edit))
        self.effects = (*before, checked_effect(effect))

    def show(self, view: View) -> None:
        """Show this from now on."""
        self.view = view
        self.is_shown = True

    def mark(self) -> _Mark:
        """Return a mark of what was said, for `undo`."""
        return self.effects, self.view, self.is_shown

    def undo(self, mark: _Mark) -> None:
        """Take back what was said since the mark."""
        self.effects, self.view, self.is_shown = mark
