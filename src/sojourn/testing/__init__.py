"""Tools for the tests of whoever builds on sojourn: a clock moved by hand, an engine that fails on purpose.

`sojourn.testing.dialogs` is a kit for tests of dialogs: what people do, and a desk where they sit and look.

`sojourn.testing.conformance` holds the suite that every engine passes, `sojourn.testing.session_stores` that of every
store of snapshots. They are not imported from here, because they need pytest and the rest does not.
"""

from sojourn.testing.clock import ManualClock
from sojourn.testing.faults import Faults, FaultyEngine, Rates

__all__ = ["Faults", "FaultyEngine", "ManualClock", "Rates"]
