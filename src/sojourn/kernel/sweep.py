"""Giving back the room of what has expired.

Reads ignore expired records at once, so sweeping is never urgent; it runs in small steps beside everything else.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from sojourn.errors import SojournError
from sojourn.kernel.engine import Swept
from sojourn.kernel.store import Store

__all__ = ["sweep_all", "sweep_forever"]

_log = logging.getLogger(__name__)


async def sweep_all(store: Store) -> Swept:
    """Sweep step by step until nothing is left to do, and return the sums.

    Raises:
        UnavailableError: the store could not be reached; what was swept before stays swept.
    """
    total = Swept()
    more = True
    while more:
        step = await store.sweep()
        more = step.more
        total = Swept(total.expired + step.expired, total.log_rows + step.log_rows, total.receipts + step.receipts)
    return total


async def sweep_forever(store: Store, every: timedelta) -> None:
    """Sweep again and again, until cancelled. A store that goes away is waited for."""
    while True:
        try:
            await sweep_all(store)
        except SojournError as error:
            _log.warning("the sweep waits for the store: %s", error)
        await store.clock.sleep(every.total_seconds())
