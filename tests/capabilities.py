"""What a test does where an engine may lack what it needs."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import pytest

from sojourn.errors import CapabilityError
from sojourn.kernel import Store


@contextmanager
def needs(store: Store, capability: Literal["cross_partition", "cross_process_watch"]) -> Generator[None]:
    """Run what follows where the engine declares the capability; else expect that it ends in `CapabilityError`."""
    if getattr(store.describe(), capability):
        yield
        return
    with pytest.raises(CapabilityError) as caught:
        yield
    assert caught.value.capability == capability
