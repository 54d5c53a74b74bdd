"""sojourn keeps sessions for Python programs: who is calling, what they hold, what they did, and when it ends.

Every name below is the same object as in the module that defines it. They are imported when first used, so that
`import sojourn` costs next to nothing and loads no driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sojourn.errors import (
        CapabilityError,
        ClosedError,
        CommitUnknownError,
        ConflictError,
        CorruptError,
        IncompatibleError,
        InvalidError,
        LeaseHeldError,
        LeaseLostError,
        LimitError,
        MissingExtraError,
        OverloadedError,
        RefusedError,
        SojournError,
        UnavailableError,
    )
    from sojourn.opening import open

__all__ = [
    "CapabilityError",
    "ClosedError",
    "CommitUnknownError",
    "ConflictError",
    "CorruptError",
    "IncompatibleError",
    "InvalidError",
    "LeaseHeldError",
    "LeaseLostError",
    "LimitError",
    "MissingExtraError",
    "OverloadedError",
    "RefusedError",
    "SojournError",
    "UnavailableError",
    "open",
]

# Where the names that are not errors live; tests/house/test_root.py holds this against the imports above.
_HOMES = {"open": "sojourn.opening"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'sojourn' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "sojourn.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
