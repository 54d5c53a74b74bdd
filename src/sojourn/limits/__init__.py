"""Every number that sojourn enforces, with its unit and its reason.

`docs/reference/limits.md` is made from this package, a section for each module. Nothing outside it may bound a queue,
a page or a body by a number of its own.
"""

from sojourn.limits.by_design import *  # noqa: F403  each number has one place, and is not listed here again
from sojourn.limits.for_now import *  # noqa: F403  as above
