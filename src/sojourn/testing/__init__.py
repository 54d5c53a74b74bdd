"""Tools for the tests of whoever builds on sojourn: a clock moved by hand, an engine that fails on purpose.

`sojourn.testing.conformance` holds the suite that every engine passes. It is not imported from here, because it needs
pytest and the rest does not.
"""

from sojourn.testing.clock import ManualClock
from sojourn.testing.faults import Faults, FaultyEngine, Rates

__all__ = ["Faults", "FaultyEngine", "ManualClock", "Rates"]
