"""What can be typed about documents: their commands, arguments and help.

As in `program`, the modules that do the work are imported when a command runs.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from sojourn import limits
from sojourn.cli.options import ID, AfterOption, JsonOption, LimitOption, StoreOption, YesOption

__all__ = ["add_document_commands"]

NameArgument: TypeAlias = Annotated[str, Parameter(name="NAME", help="Name of the documents, for example players.")]
KeyArgument: TypeAlias = Annotated[str, Parameter(name="KEY", help="Key of the document."), ID]
PartitionOption: TypeAlias = Annotated[
    str | None, Parameter(name="--partition", help="Where the document is kept, if not under its key.")
]


def add_document_commands(app: App) -> None:
    """Add the commands about documents to the program."""
    documents = App(name="documents", help="Look at stored documents, mend them, and see who holds them.")
    app.command(documents)
    documents.command(list_documents, name="list", usage="Usage: sojourn documents list [OPTIONS] [NAME]")
    documents.command(show)
    documents.command(history)
    documents.command(diff, usage="Usage: sojourn documents diff [OPTIONS] NAME KEY OLD [NEW]")
    documents.command(rollback)
    documents.command(revoke)
    documents.command(erase)
    documents.command(export)
    app.command(drain, usage="Usage: sojourn drain [OPTIONS] [NAME]")


async def list_documents(  # noqa: PLR0913  each is an argument or an option
    name: Annotated[str | None, Parameter(name="NAME", help="Name of the documents; left out: list the names.")] = None,
    /,
    *,
    subject: Annotated[str | None, Parameter(help="Only those of this subject, in the order of their keys.")] = None,
    held: Annotated[
        bool, Parameter(negative="", show_default=False, help="Only those that somebody holds, longest first.")
    ] = False,
    limit: LimitOption = limits.PAGE,
    after: AfterOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the names of documents, or the documents of a name.

    Of each document it says when it was saved, its size and who holds it. The one
    saved longest ago comes first.

    For example:

        sojourn documents list
        sojourn documents list players --held

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the limit, the name or the subject is beyond what is allowed.
        CorruptError: a document cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    await documents.list_stored(store, name, subject=subject, held=held, limit=limit, after=after, as_json=json)


async def show(
    name: NameArgument,
    key: KeyArgument,
    /,
    *,
    revision: Annotated[int | None, Parameter(help="As it was saved with this revision.")] = None,
    partition: PartitionOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show one document: what is known of it, who holds it, and its value.

    The value is the last one saved, as it is stored: no migration is applied. What
    a holder has changed since then only that process knows.

    For example:

        sojourn documents show players player_1
        sojourn documents show players player_1 --revision 17 --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the name or the key is too long.
        DocumentUnknownError: there is no such document, or no such revision of it.
        CorruptError: it cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    await documents.show(store, name, key, revision=revision, partition=partition, as_json=json)


async def history(  # noqa: PLR0913  each is an argument or an option
    name: NameArgument,
    key: KeyArgument,
    /,
    *,
    limit: LimitOption = limits.PAGE,
    after: AfterOption = None,
    partition: PartitionOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the saved revisions that are kept of a document, the latest first.

    For example:

        sojourn documents history players player_1

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the limit, the name or the key is beyond what is allowed.
        DocumentUnknownError: there is no such document.
        CorruptError: an entry cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    await documents.history(store, name, key, limit=limit, after=after, partition=partition, as_json=json)


async def diff(  # noqa: PLR0913  each is an argument or an option
    name: NameArgument,
    key: KeyArgument,
    old: Annotated[int, Parameter(name="OLD", help="The revision to start from.")],
    new: Annotated[int | None, Parameter(name="NEW", help="The revision to end at; left out: the present one.")] = None,
    /,
    *,
    partition: PartitionOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the places at which two saved revisions of a document differ.

    A place is a JSON pointer, such as /items/0/count.

    For example:

        sojourn documents diff players player_1 17
        sojourn documents diff players player_1 17 21 --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the name or the key is too long.
        DocumentUnknownError: there is no such document, or no such revision of it.
        CorruptError: one of the two cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    await documents.diff(store, name, key, old, new, partition=partition, as_json=json)


def rollback(  # noqa: PLR0913  each is an argument or an option
    name: NameArgument,
    key: KeyArgument,
    revision: Annotated[int, Parameter(name="REVISION", help="The revision to go back to.")],
    /,
    *,
    yes: YesOption = False,
    partition: PartitionOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Make a saved revision of a document the present one; asks first.

    It is saved anew, so the history has it twice and can be rolled back too. Who
    holds the document loses the lease in the same commit, and cannot save over it.

    For example:

        sojourn documents rollback players player_1 17

    Raises:
        InvalidError: a value is out of form, the question was not answered by yes, or there is no such store.
        LimitError: the name or the key is too long.
        DocumentUnknownError: there is no such document, or no such revision of it.
        CorruptError: that revision cannot be read.
        ConflictError: others saved it again and again; nothing was written.
        UnavailableError: the store cannot be reached; nothing was written.
        CommitUnknownError: the answer was lost; perhaps written.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    documents.rollback(store, name, key, revision, partition=partition, yes=yes, as_json=json)


def revoke(
    name: NameArgument,
    key: KeyArgument,
    /,
    *,
    yes: YesOption = False,
    partition: PartitionOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Take a document from whoever holds it; asks first.

    The holder cannot save it any more, and its application is given what it had not
    saved. To have a document saved and given back instead, use `sojourn drain`.

    For example:

        sojourn documents revoke players player_1

    Raises:
        InvalidError: a value is out of form, the question was not answered by yes, or there is no such store.
        LimitError: the name or the key is too long.
        UnavailableError: the store cannot be reached; nothing was written.
        CommitUnknownError: the answer was lost; perhaps written.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    documents.revoke(store, name, key, partition=partition, yes=yes, as_json=json)


def erase(
    name: NameArgument,
    key: KeyArgument,
    /,
    *,
    yes: YesOption = False,
    partition: PartitionOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Delete all that is kept of a document, for good; asks first.

    That is its value, its history, the messages to it and the marks of its
    subjects. Who holds it loses the lease. A tombstone stays, which says that old
    data is not to be imported again. Interrupted, it goes on when called again.

    For example:

        sojourn documents erase players player_1

    Raises:
        InvalidError: a value is out of form, the question was not answered by yes, or there is no such store.
        LimitError: the name or the key is too long.
        ConflictError: it was saved anew again and again; call it once more.
        UnavailableError: the store cannot be reached; some may have been deleted.
        CommitUnknownError: an answer was lost; some may have been deleted.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    documents.erase(store, name, key, partition=partition, yes=yes, as_json=json)


async def export(
    name: NameArgument,
    key: KeyArgument,
    /,
    *,
    partition: PartitionOption = None,
    store: StoreOption = None,
) -> None:
    """Print all that is kept of one document, as one JSON document.

    It has what is known of it, its value, its history with every value, the oldest
    first, the messages that wait for it, and who holds it.

    For example:

        sojourn documents export players player_1 > player_1.json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the name or the key is too long.
        DocumentUnknownError: nothing is kept of such a document.
        CorruptError: something of it cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import documents  # noqa: PLC0415  see the module's docstring

    await documents.export(store, name, key, partition=partition)


def drain(
    name: Annotated[
        str | None, Parameter(name="NAME", help="Name of the documents; left out: those of every name.")
    ] = None,
    /,
    *,
    holder: Annotated[str | None, Parameter(help="Only from holders whose name contains this.")] = None,
    timeout: Annotated[
        float | None,
        Parameter(help=f"Seconds to wait; {limits.DRAIN_PATIENCE.total_seconds():.0f} if not given."),
    ] = None,
    yes: YesOption = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> int:
    """Have documents saved and given back by whoever holds them, before a deploy.

    Asks first. Every holder is told to hand over what it holds, and the command
    waits until all of that is given back. See to it that a server which is to go
    loads nothing more: what is loaded anew meanwhile is not asked for. If some
    documents remain when the time is over, they are listed; the exit code is 1.

    For example:

        sojourn drain
        sojourn drain players --holder game-7 --timeout 120 --yes

    Raises:
        InvalidError: a value is out of form, the question was not answered by yes, or there is no such store.
        LimitError: the name is too long.
        UnavailableError: the store cannot be reached; some may have been asked for.
        CommitUnknownError: an answer was lost; some may have been asked for.
    """
    from sojourn.cli import draining  # noqa: PLC0415  see the module's docstring

    return draining.drain(store, name, holder=holder, timeout=timeout, yes=yes, as_json=json)
