"""docs/reference/limits.md from the package `limits`: a section for each module, of documented constants."""

import ast
from pathlib import Path

from tools.pages.attributes import attributes

__all__ = ["render"]

SOURCE = "src/sojourn/limits"

TOP = f"""\
<!-- Made by `make pages` from {SOURCE}. -->

# Limits

Every number that sojourn enforces, from `sojourn.limits`. On the numbers under *By design* promises and stored data
depend: they stay. Those under *For now* may change in any release, and the changelog says so.
"""

KNOWN = """
## What does not hold yet

- A sign-in whose answer is lost has killed the old token, and nobody has the new one: the session waits for its end.
- An action has no request id. A browser that finds its connection dead may send it a second time by itself.
- A process that is stopped (SIGSTOP) in the middle of a commit holds SQLite's lock: the others get `unavailable` after
  `SQLITE_BUSY` until it goes on.
- Keys that were not given to `Sessions` are kept in the store, next to the hashes that they protect; so are those that
  were not given to `Dialogs`.
- On a cluster a transaction uses the partitions of one bucket, so a mutation writes what belongs to its session and
  nothing that is shared; anything else raises `CapabilityError`. One time in 128 two partitions share a bucket by luck.
- On a cluster a query over several partitions, and a listing by rank, are one snapshot for each and not for all; and a
  transaction id is remembered in its own bucket.
- Redis with a replica, and PostgreSQL with one that is not synchronous, may lose acknowledged commits at a failover. On
  Redis `describe()` then says that the store is not durable; on PostgreSQL `sojourn doctor` warns.
- After PostgreSQL or SQLite have lost data, or were restored, a fencing token may be given out a second time.
- Behind a pooler nobody can be told of changes: watchers look each 50 ms.
- Sentinel is not spoken, and replicas are not read from.
- `sojourn doctor` and the other commands make a store in PostgreSQL or Redis where there is none.
- Documents that are loaded when the store is closed are not saved: close the documents first. A process that was
  drained may load again. [What else documents do not do](../explanation/document-records.md#what-it-does-not-do).
- After a transaction whose outcome is unknown, its documents are given up: whoever loads them anew sees what it was.
- A commit whose answer was lost, and whose repeat met a conflict, is told as a conflict. Where a server goes on with a
  commit after its connection is gone, and the condition holds again by then, it is applied all the same.
- `import_legacy` is asked again until a document was saved for the first time.
- A rollback is of one document: what was traded in between is then there twice, or not at all.
- One message cannot be deleted: it is handled, or erased with all of its document.
- A process that has never seen a session of snapshots reads all that its newest state is made of: 10,000 records after
  10,000 turns of 1 KB, some 140 ms on SQLite.
- A snapshot deleted from the middle of a branch leaves a gap, and the one before the gap is no leaf, though nobody goes
  on from it. It becomes one when its own branch ended there and only another one went on.
- A turn that failed, was aborted or expired leaves a leaf. The next turn stands beside it, so the session has branched,
  and `reject_branching` refuses it until that leaf is pruned.
- While a session of snapshots is being deleted, or when that broke off half-way, `get_snapshot` and `get_info` may
  still find one of its snapshots by its id.
- On a cluster a save that is given up under an id of the caller's own leaves a note of where that id is: other sessions
  are refused the id until the note is `SNAPSHOT_NOTE` old. Through a `Timeline` there are no notes.
- LangGraph's savers cannot say that somebody else was faster: of two workers on one thread both go on, beside each
  other, and the thread is at the checkpoint with the greatest id.
- Four of Genkit's own tests of its agents do not pass: they look into `subs`, a private mapping of the store that ours
  takes the place of. One file of them needs data that its distribution does not hold, and is not run.
- A dialog whose type no running process has stays open past its deadline: `sojourn doctor` warns of it. An effect, and
  a completion, may be performed twice. [What else dialogs do not
  do](../explanation/dialog-records.md#what-it-does-not-do).
- There is no tool that moves a store from one engine to another.
- Beside the database stand `-wal` and `-shm` of SQLite, and `-next` and `-turn`, which stay when all is closed.
- Windows and macOS have not been tried. Where files cannot be locked as on Unix, processes write in no fair order.
- The figures that miss their promise are on the page of [performance](performance.md).
"""


def render(root: Path) -> str:
    """Write the page, a section for each module; a limit without a docstring is an error."""
    page, problems = [TOP], list[str]()
    for module in sorted((root / SOURCE).glob("[!_]*.py")):
        section = module.stem.replace("_", " ").capitalize()
        page.append(f"\n## {section}\n\n| Limit | Value | What it bounds, and why |\n|---|---|---|\n")
        for limit in attributes(ast.parse(module.read_text(encoding="utf-8")).body):
            if not limit.doc:
                problems.append(f"{SOURCE}/{module.name}:{limit.line}: {limit.name} needs a docstring below it")
            words = limit.doc.replace("|", r"\|")
            page.append(f"| `{limit.name}` | {shown(limit.value)} | {words} |\n")
    if problems:
        raise ValueError("\n".join(problems))
    return "".join((*page, KNOWN))


def shown(value: ast.expr) -> str:
    """The value as a reader says it: 1,024 or 15 minutes; anything else as in the source."""
    match value:
        case ast.Constant(value=int() as number):
            return f"{number:,}"
        case ast.Call(func=ast.Name(id="timedelta"), keywords=[ast.keyword(arg=str() as unit, value=amount)]):
            text = shown(amount)
            return f"{text} {unit.removesuffix('s') if text == '1' else unit}"
        case _:
            return f"`{ast.unparse(value)}`"
