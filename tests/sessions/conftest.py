"""Sessions over the shared store, with limits that are easy to reckon with."""

from datetime import timedelta

import pytest

from sojourn.kernel import Store
from sojourn.sessions import Sessions

IDLE, ABSOLUTE = timedelta(minutes=30), timedelta(hours=12)


@pytest.fixture
def sessions(store: Store) -> Sessions:
    return Sessions(store, idle=IDLE, absolute=ABSOLUTE)
