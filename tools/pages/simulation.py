"""docs/reference/simulation.md from tools/planted.py: the bugs that the simulation finds, and those that it found."""

from pathlib import Path

from tools.planted import BUGS, Bug

__all__ = ["render"]

TOP = """\
<!-- Made by `make pages` from tools/planted.py. -->

# The simulation

`sojourn.testing.simulation` runs several servers in one process, on virtual time and from one seed. They load, change,
save, trade and hand on the same few documents, and send them messages, while some of them crash, stop for longer than
a lease, are cut off or have their clocks set; while answers are lost, and calls arrive late or twice. A canon looks at
every state that was stored, and at all that a server was told:

- Items are conserved: one that was stored stands in exactly one document, always.
- What was acknowledged is stored, and stays. Only a rollback or an erasure takes it back.
- Each save is of the one before it, by the holder of the lease that stands; the tokens of a document's writers grow.
- A trade is in all of its documents or in none, and one that was said to have failed is in none.
- A message takes effect once.
- A server that loses a document is handed its unsaved value, exactly once, and only if it did lose it.
- Nobody gives a document back before it is saved, or saves it afterwards.

| to ... | run |
|---|---|
| see every event of one world | `make simulate SEED=7` |
| live through many, on all cores | `make simulate SEEDS=5000`, and `FROM=5000` to go on |
| see that it finds bugs | `make planted` |

A seed gives the same world in every process, event by event, as long as the library stays as it is.
"""

FOUND = """
## Bugs that it found

Each was in the library while it was written. The command puts it back and shows the events of a world that it breaks.

| Bug | The command that shows it |
|---|---|
"""

PLANTED = """
## Bugs that were planted

To prove that the simulation would see them. `make planted` plants these and those above.

| Bug | The command that shows it |
|---|---|
"""


def render(root: Path) -> str:  # noqa: ARG001  as every page
    """Write the page."""
    found, planted = ([_row(bug) for bug in BUGS if bug.found == found] for found in (True, False))
    return "".join((TOP, FOUND, *found, PLANTED, *planted))


def _row(bug: Bug) -> str:
    return f'| {bug.what} | `python -m tools.planted --bug "{bug.name}"` |\n'
