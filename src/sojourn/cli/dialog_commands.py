"""What can be typed about dialogs: their commands, arguments and help.

As in `program`, the modules that do the work are imported when a command runs.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from sojourn import limits
from sojourn.cli.options import ID, AfterOption, JsonOption, LimitOption, StoreOption, YesOption

__all__ = ["add_dialog_commands"]

DialogArgument: TypeAlias = Annotated[str, Parameter(name="ID", help="Id of the dialog."), ID]
PartitionOption: TypeAlias = Annotated[
    str | None, Parameter(name="--partition", help="Where it is kept, if not under its id."), ID
]


def add_dialog_commands(app: App) -> None:
    """Add the commands about dialogs to the program."""
    dialogs = App(name="dialogs", help="See which dialogs are open, and end them.")
    app.command(dialogs)
    dialogs.command(list_open, name="list")
    dialogs.command(show)
    dialogs.command(end)


async def list_open(  # noqa: PLR0913  each is an option
    *,
    type: Annotated[str | None, Parameter(name="--type", help="Only those of this type.")] = None,  # noqa: A002
    owner: Annotated[str | None, Parameter(help="Only those that this user started."), ID] = None,
    tenant: Annotated[str, Parameter(show_default=False, help="With --owner: whose user it is."), ID] = "",
    limit: LimitOption = limits.PAGE,
    after: AfterOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the open dialogs, the one that ends next first.

    One whose deadline has passed is overdue: it ends as soon as a process that has
    its type looks. Those that never end by themselves are the last.

    For example:

        sojourn dialogs list
        sojourn dialogs list --type approve --owner ada --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: a value is longer, or the limit larger, than is allowed.
        CorruptError: a dialog cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import dialogs  # noqa: PLC0415  see the module's docstring

    await dialogs.list_open(store, kind=type, owner=owner, tenant=tenant, limit=limit, after=after, as_json=json)


async def show(
    dialog_id: DialogArgument,
    /,
    *,
    data: Annotated[
        bool, Parameter(negative="", show_default=False, help="Also its data, its result and what people see of it.")
    ] = False,
    partition: PartitionOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show one dialog: whose it is, where it stands, who is at it, how it ended.

    What was said in it is shown with --data only, as it is stored: no type is
    needed. An ended dialog is known for as long as its end is remembered.

    For example:

        sojourn dialogs show 4fJ0aVqYtW2e
        sojourn dialogs show 4fJ0aVqYtW2e --data --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the id is too long.
        DialogGoneError: there is no such dialog, or its end is forgotten.
        CorruptError: it cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import dialogs  # noqa: PLC0415  see the module's docstring

    await dialogs.show(store, dialog_id, partition=partition, with_data=data, as_json=json)


def end(  # noqa: PLR0913  each is an argument or an option
    dialog_id: DialogArgument,
    /,
    *,
    code: Annotated[str, Parameter(help="Why, in a word for programs.")] = "cancelled",
    reason: Annotated[str, Parameter(show_default=False, help="Why, in words for people.")] = "",
    partition: PartitionOption = None,
    yes: YesOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """End one dialog for good; asks first.

    Whoever waits for it is told, in whatever process. Its own end hook does not
    run: that is code of the application, which is not known here, so what people
    see of the dialog stays until they use it. An end that came before stands, and
    one that is overdue has expired, whatever the code.

    For example:

        sojourn dialogs end 4fJ0aVqYtW2e --reason "the order was withdrawn"

    Raises:
        InvalidError: a value is out of form, the answer was not yes, or there is no such store.
        LimitError: a value is too long.
        DialogGoneError: there is no such dialog, or its end is forgotten.
        DialogStateError: it is just being started.
        LeaseHeldError: somebody was at it all the time; call it once more.
        UnavailableError: the store cannot be reached; nothing was ended.
        CommitUnknownError: the answer was lost; the dialog may have ended.
    """
    from sojourn.cli import dialogs  # noqa: PLC0415  see the module's docstring

    dialogs.end(store, dialog_id, code=code, reason=reason, partition=partition, yes=yes, as_json=json)
