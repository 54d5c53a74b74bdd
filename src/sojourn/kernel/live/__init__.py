"""Following what functions of the store read, so that what they gave stays right."""

from sojourn.kernel.live.live import Live
from sojourn.kernel.live.reading import Reading, Transition, Update
from sojourn.kernel.live.watch import Watch

__all__ = ["Live", "Reading", "Transition", "Update", "Watch"]
