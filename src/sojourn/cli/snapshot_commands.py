"""What can be typed about snapshots: their commands, arguments and help.

As in `program`, the modules that do the work are imported when a command runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from sojourn import limits
from sojourn.cli.options import ID, AfterOption, JsonOption, LimitOption, StoreOption, YesOption

__all__ = ["add_snapshot_commands"]

SessionArgument: TypeAlias = Annotated[str, Parameter(name="SESSION", help="Id of the session."), ID]
TenantOption: TypeAlias = Annotated[
    str | None, Parameter(name="--tenant", help="Whose, where each tenant's sessions are kept apart.")
]


def add_snapshot_commands(app: App) -> None:
    """Add the commands about snapshots to the program."""
    snapshots = App(name="snapshots", help="Look at agents' histories, and make them smaller.")
    app.command(snapshots)
    snapshots.command(sessions)
    snapshots.command(tree)
    snapshots.command(show, usage="Usage: sojourn snapshots show [OPTIONS] [SNAPSHOT]")
    snapshots.command(diff)
    snapshots.command(prune)
    snapshots.command(delete, usage="Usage: sojourn snapshots delete [OPTIONS] [SESSION]")


async def sessions(
    *,
    limit: LimitOption = limits.PAGE,
    after: AfterOption = None,
    tenant: TenantOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the sessions that have snapshots, the one with the newest first.

    Of each it says how many snapshots and leaves it has, when its newest leaf was
    created, and the bytes that its states take up. Two leaves or more are branches.

    For example:

        sojourn snapshots sessions
        sojourn snapshots sessions --tenant acme --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the limit or the tenant is beyond what is allowed.
        CorruptError: what is known of a session cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import snapshots  # noqa: PLC0415  see the module's docstring

    await snapshots.list_sessions(store, tenant, limit=limit, after=after, as_json=json)


async def tree(
    session_id: SessionArgument, /, *, tenant: TenantOption = None, store: StoreOption = None, json: JsonOption = False
) -> None:
    """Draw the snapshots of a session as a tree, each below its parent.

    Where several go on from one, the longest goes straight on and the others stand
    to its right. A long line in which nothing is of note is folded. No state is
    read.

    For example:

        sojourn snapshots tree chat-7

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the id or the tenant is too long.
        SnapshotUnknownError: the session has no snapshot.
        CorruptError: a snapshot cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import snapshots  # noqa: PLC0415  see the module's docstring

    await snapshots.draw(store, tenant, session_id, as_json=json)


async def show(
    snapshot_id: Annotated[str | None, Parameter(name="SNAPSHOT", help="Id of the snapshot."), ID] = None,
    /,
    *,
    session: Annotated[str | None, Parameter(help="Instead of SNAPSHOT: the newest leaf of this session."), ID] = None,
    info: Annotated[
        bool, Parameter(negative="", show_default=False, help="Without the state, which is not even read.")
    ] = False,
    tenant: TenantOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show one snapshot: what is known of it, and its state.

    For example:

        sojourn snapshots show chat-7.0-2f-6c1f0a9b3d52
        sojourn snapshots show --session chat-7 --info

    Raises:
        InvalidError: a value is out of form, both ids are given or none, or there is no such store.
        LimitError: an id or the tenant is too long.
        SnapshotUnknownError: there is no such snapshot, or the session has none.
        StateLostError: its state cannot be read; the error says which snapshot before it still can.
        CorruptError: it cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import snapshots  # noqa: PLC0415  see the module's docstring

    await snapshots.show(store, tenant, snapshot_id, session, only_info=info, as_json=json)


async def diff(
    old: Annotated[str, Parameter(name="OLD", help="Id of the snapshot to start from."), ID],
    new: Annotated[str, Parameter(name="NEW", help="Id of the snapshot to end at, of any session."), ID],
    /,
    *,
    tenant: TenantOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the places at which the states of two snapshots differ.

    A place is a JSON pointer, such as /messages/4/content.

    For example:

        sojourn snapshots diff chat-7.0-2e-91d4e2a07b66 chat-7.0-2f-6c1f0a9b3d52

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: an id or the tenant is too long.
        SnapshotUnknownError: there is no such snapshot.
        StateLostError: a state cannot be read.
        CorruptError: a snapshot cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import snapshots  # noqa: PLC0415  see the module's docstring

    await snapshots.diff(store, tenant, old, new, as_json=json)


def prune(  # noqa: PLR0913  each is an argument or an option
    session_id: SessionArgument,
    /,
    *,
    keep: Annotated[int | None, Parameter(help="Spare so many before each leaf, itself included.")] = None,
    older_than: Annotated[timedelta | None, Parameter(help="Only those older than this, such as 12h or 30d.")] = None,
    status: Annotated[
        list[str] | None, Parameter(negative="", help="Only those of this status; may be given several times.")
    ] = None,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="Count them, and delete none.")] = False,
    yes: YesOption = False,
    tenant: TenantOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Delete snapshots of a session, and break no branch.

    Give at least one of --keep, --older-than and --status; of several, all must
    hold. The newest leaf, the last snapshot of a named branch, and what a turn is
    at work on always stay, and what is left is as readable as before. It says how
    many are to go, and asks first. Interrupted, it goes on when it is called again.

    For example:

        sojourn snapshots prune chat-7 --keep 100 --dry-run
        sojourn snapshots prune chat-7 --status failed --older-than 7d --yes

    Raises:
        InvalidError: a value is out of form or missing, the answer was not yes, or there is no such store.
        LimitError: the id or the tenant is too long.
        StateLostError: a state that is to be kept cannot be read.
        CorruptError: a snapshot cannot be read.
        ConflictError: others changed the session again and again; call it once more.
        UnavailableError: the store cannot be reached; some may have been deleted.
        CommitUnknownError: an answer was lost; some may have been deleted.
    """
    from sojourn.cli import snapshots  # noqa: PLC0415  see the module's docstring

    snapshots.prune(
        store,
        tenant,
        session_id,
        keep=keep,
        older_than=older_than,
        status=status,
        dry_run=dry_run,
        yes=yes,
        as_json=json,
    )


def delete(
    session_id: Annotated[str | None, Parameter(name="SESSION", help="Id of the session."), ID] = None,
    /,
    *,
    snapshot: Annotated[str | None, Parameter(help="Instead of SESSION: delete this one snapshot."), ID] = None,
    yes: YesOption = False,
    tenant: TenantOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Delete a session with all its snapshots, or one snapshot; asks first.

    What came from a deleted snapshot stays, with the state it had. Whoever is at
    work on a turn of a deleted session is stopped. Interrupted, the deletion of a
    session goes on when it is called again.

    For example:

        sojourn snapshots delete chat-7
        sojourn snapshots delete --snapshot chat-7.0-2f-6c1f0a9b3d52 --yes

    Raises:
        InvalidError: a value is out of form, both ids are given or none, the answer was not yes, or no such store.
        LimitError: an id or the tenant is too long.
        LeaseHeldError: a turn is at work on the snapshot.
        StateLostError: a state that is to be kept cannot be read.
        CorruptError: a snapshot cannot be read.
        ConflictError: others changed the session again and again; call it once more.
        UnavailableError: the store cannot be reached; some may have been deleted.
        CommitUnknownError: an answer was lost; some may have been deleted.
    """
    from sojourn.cli import snapshots  # noqa: PLC0415  see the module's docstring

    snapshots.delete(store, tenant, session_id, snapshot, yes=yes, as_json=json)
