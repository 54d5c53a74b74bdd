"""What can be typed: every command, its arguments and its help. What a command does is in the module of its noun.

Those modules are imported when their command runs, so that `--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, TypeAlias

from cyclopts import App, CoercionError, CycloptsError, Group, MissingArgumentError, Parameter, UnusedCliTokensError

from sojourn import limits
from sojourn.cli.dialog_commands import add_dialog_commands
from sojourn.cli.document_commands import add_document_commands
from sojourn.cli.options import ID, JsonOption, StoreOption
from sojourn.cli.snapshot_commands import add_snapshot_commands
from sojourn.errors import InvalidError

__all__ = ["program", "run"]

VisitorArgument: TypeAlias = Annotated[str, Parameter(name="ID", help="Id of the visitor."), ID]

_HELP: Final = """\
Serve sessions and visits, and look after a store of them, of documents, of
snapshots and of dialogs.

Commands that ask for a store take it from --store or from the environment
variable SOJOURN_STORE.

For example:

    sojourn serve shop:app
    sojourn types shop:app > api.d.ts
    sojourn sessions list --store sqlite:///app.db
    sojourn visits active --store sqlite:///app.db
    sojourn documents list --store sqlite:///app.db
    sojourn snapshots sessions --store sqlite:///app.db
    sojourn dialogs list --store sqlite:///app.db
"""

_WANTED: Final[Mapping[type | None, str]] = {float: "number", timedelta: "time such as 12h or 30d"}


def program() -> App:
    """Return the command line, ready to be called with arguments or asked for help."""
    options = Group("Options")
    app = App(
        name="sojourn",
        help=_HELP,
        help_format="plaintext",
        version=_version,
        group_parameters=options,
        suppress_keyboard_interrupt=False,
    )
    sessions = App(name="sessions", help="Look at the live sessions, and end them.")
    visits = App(name="visits", help="See who is here and what they did, and delete what is kept of them.")
    app.command(serve, usage="Usage: sojourn serve [OPTIONS] [APP]")
    app.command(types)
    app.command(sessions)
    sessions.command(list_sessions, name="list")
    sessions.command(show)
    sessions.command(revoke, usage="Usage: sojourn sessions revoke [OPTIONS] [ID]")
    app.command(visits)
    visits.command(active)
    visits.command(show_visitor, name="show")
    visits.command(cleanup)
    visits.command(export)
    visits.command(erase)
    add_document_commands(app)
    add_snapshot_commands(app)
    add_dialog_commands(app)
    app.command(sweep)
    app.command(doctor)
    return app


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415  slow to import, and rarely needed

    return version("sojourn")


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code.

    Raises:
        SojournError: what was typed cannot be understood (`InvalidError`), or the command failed.
    """
    try:
        code = program()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise _misunderstood(error) from error
    return code if isinstance(code, int) else 0


def _misunderstood(error: CycloptsError) -> InvalidError:
    """Say in our words what was wrong with the arguments."""
    name = "arguments" if error.argument is None else error.argument.name.lstrip("-")
    match error:
        case MissingArgumentError():
            return InvalidError(name, "it is missing; see --help")
        case CoercionError(token=token, target_type=kind) if token is not None:
            return InvalidError(name, f"{token.value[:32]!r} is not a {_WANTED.get(kind, 'whole number')}")
        case UnusedCliTokensError(unused_tokens=unused) if unused:
            return InvalidError(name, f"{unused[0]!r} is not expected here; see --help")
        case _:
            words = str(error)
            return InvalidError(name, words[:1].lower() + words[1:].removesuffix("."))


def serve(
    target: Annotated[str | None, Parameter(name="APP", help="The application, as module:name.")] = None,
    /,
    *,
    store: Annotated[
        str | None,
        Parameter(name="--store", help="Instead of APP: URL of the store. [env var: SOJOURN_STORE]"),
    ] = None,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes any that is free.")] = 8000,
    dev: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="With --store: let the cookie travel over plain HTTP."),
    ] = False,
) -> None:
    """Serve an application, or a store's sessions and visits, over HTTP.

    APP is a sojourn.server.App, or any other ASGI application, in a module that
    can be imported from the current folder. With --store alone sessions and visits
    are served and nothing else; a SQLite file is created if there is none.

    For example:

        sojourn serve shop:app --port 8080
        sojourn serve --store sqlite:///app.db --dev

    Raises:
        InvalidError: there is no such application, it is none, the port is taken, or the store cannot be used.
        UnavailableError: the store cannot be reached, or the application does not start.
    """
    from sojourn.cli import serving  # noqa: PLC0415  see the module's docstring

    serving.serve(target, store, dev=dev, host=host, port=port)


def types(
    target: Annotated[str, Parameter(name="APP", help="The application, or its functions alone, as module:name.")],
    /,
) -> None:
    """Print what a browser may call, as TypeScript.

    For each public function it says the kind, the arguments and the result, so
    that the compiler finds a wrong name, kind or argument. What is printed is the
    same as long as the functions are.

    APP is a sojourn.server.App, or a sojourn.Functions, in a module that can be
    imported from the current folder; nothing is served, and no store is opened.

    For example:

        sojourn types shop:app > api.d.ts

    Raises:
        InvalidError: there is no such application, or it has no functions whose types can be written.
    """
    from sojourn.cli import types as api  # noqa: PLC0415  see the module's docstring

    api.show(target)


async def list_sessions(
    *,
    subject: Annotated[str | None, Parameter(help="Only those of this subject, in the order of their ids.")] = None,
    limit: Annotated[int, Parameter(help=f"How many at most, up to {limits.PAGE_MAX}.")] = limits.PAGE,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the live sessions, those used last first.

    For example:

        sojourn sessions list
        sojourn sessions list --subject ada --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the limit or the subject is beyond what is allowed.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import sessions  # noqa: PLC0415  see the module's docstring

    await sessions.list_live(store, subject=subject, limit=limit, as_json=json)


async def show(
    session_id: Annotated[str, Parameter(name="ID", help="Public id of the session."), ID],
    /,
    *,
    state: Annotated[str | None, Parameter(help="Print this state alone, decoded.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show one live session: whose it is, when it ends, what it holds.

    Its states are listed by name, size and revision; --state and --json show what
    is in them. Where a token is given instead of an id, only the id in it is used.

    For example:

        sojourn sessions show Zk3vQ0uTz2mC8Yq5nB7wRA
        sojourn sessions show Zk3vQ0uTz2mC8Yq5nB7wRA --state cart

    Raises:
        InvalidError: a value is out of form, or there is no such store or state.
        SessionInvalidError: there is no such session, or it has ended.
        CorruptError: the state that was asked for cannot be read.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import sessions  # noqa: PLC0415  see the module's docstring

    await sessions.show(store, session_id, state=state, as_json=json)


def revoke(  # noqa: PLR0913  each is an option
    session_id: Annotated[str | None, Parameter(name="ID", help="Public id of the session."), ID] = None,
    /,
    *,
    subject: Annotated[str | None, Parameter(help="End every session of this subject.")] = None,
    keep: Annotated[str | None, Parameter(help="With --subject: the id of one to spare."), ID] = None,
    everything: Annotated[
        bool, Parameter(negative="", show_default=False, help="End every session there is; asks first.")
    ] = False,
    yes: Annotated[bool, Parameter(negative="", show_default=False, help="With --everything: do not ask.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """End one session, all of a subject, or every one, for good.

    No request, not even one in flight, can use or revive a session after that.
    Give one of ID, --subject and --everything. Where a token is given instead of
    an id, only the id in it is used.

    For example:

        sojourn sessions revoke Zk3vQ0uTz2mC8Yq5nB7wRA
        sojourn sessions revoke --subject ada --keep Zk3vQ0uTz2mC8Yq5nB7wRA

    Raises:
        InvalidError: a value is out of form, the question was not answered by yes, or there is no such store.
        SessionUnknownError: there is no such session.
        UnavailableError: the store cannot be reached; with --subject or --everything some may have been ended.
        CommitUnknownError: an answer was lost; some may have been ended.
    """
    from sojourn.cli import sessions  # noqa: PLC0415  see the module's docstring

    sessions.revoke(store, session_id, subject=subject, keep=keep, everything=everything, yes=yes, as_json=json)


async def active(
    *,
    minutes: Annotated[float | None, Parameter(help="Those who were active within so many minutes.")] = None,
    limit: Annotated[int, Parameter(help=f"How many at most, up to {limits.PAGE_MAX}.")] = limits.PAGE,
    after: Annotated[str | None, Parameter(help="Go on behind a page, by what stands below it.")] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """List the visitors who are here, those active last first.

    Here is who has not left and was active within what the application says, by
    default 15 minutes. An id in the list is no credential: nobody can act for a
    visitor by it.

    For example:

        sojourn visits active
        sojourn visits active --minutes 5 --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the limit is beyond what is allowed.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import visits  # noqa: PLC0415  see the module's docstring

    await visits.list_active(store, minutes=minutes, limit=limit, after=after, as_json=json)


async def show_visitor(
    visitor_id: VisitorArgument,
    /,
    *,
    limit: Annotated[
        int, Parameter(help=f"How many visits, and how many actions, at most, up to {limits.PAGE_MAX}.")
    ] = 10,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show one visitor: since when it is known, its last visits, its last actions.

    ID is the one under which it is listed, or the browser's own.

    For example:

        sojourn visits show 7d4a0e6c5b1f92388e60c1d2a4f5b697
        sojourn visits show 7d4a0e6c5b1f92388e60c1d2a4f5b697 --limit 100 --json

    Raises:
        InvalidError: a value is out of form, or there is no such store.
        LimitError: the id is too long, or the limit beyond what is allowed.
        VisitorUnknownError: there is no such visitor.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import visits  # noqa: PLC0415  see the module's docstring

    await visits.show(store, visitor_id, limit=limit, as_json=json)


def cleanup(
    *,
    days: Annotated[
        float | None, Parameter(help=f"Days without activity; {limits.VISIT_CLEANUP_AGE.days} if not given.")
    ] = None,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="Count them, and delete nobody.")] = False,
    yes: Annotated[bool, Parameter(negative="", show_default=False, help="Do not ask.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Delete the visitors who have stayed away for long, with all that is kept.

    It says how many they are, and asks first. It goes in small steps, beside a
    server that runs, and spares who comes back meanwhile. Interrupted, it goes on
    when it is called again.

    For example:

        sojourn visits cleanup --days 14 --dry-run
        sojourn visits cleanup --days 14 --yes

    Raises:
        InvalidError: the days are not above 0, the question was not answered by yes, or there is no such store.
        UnavailableError: the store cannot be reached; some may have been deleted.
        CommitUnknownError: an answer was lost; some may have been deleted.
    """
    from sojourn.cli import visits  # noqa: PLC0415  see the module's docstring

    visits.cleanup(store, days=days, dry_run=dry_run, yes=yes, as_json=json)


async def export(visitor_id: VisitorArgument, /, *, store: StoreOption = None) -> None:
    """Print all that is kept of one visitor, as one JSON document.

    It has the visitor, its visits and its actions, the oldest first. ID is the one
    under which the visitor is listed, or the browser's own.

    For example:

        sojourn visits export 7d4a0e6c5b1f92388e60c1d2a4f5b697 > visitor.json

    Raises:
        InvalidError: the id is out of form, or there is no such store.
        LimitError: the id is too long.
        VisitorUnknownError: there is no such visitor.
        UnavailableError: the store cannot be reached.
    """
    from sojourn.cli import visits  # noqa: PLC0415  see the module's docstring

    await visits.export(store, visitor_id)


def erase(
    visitor_id: VisitorArgument,
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", show_default=False, help="Do not ask.")] = False,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Delete all that is kept of one visitor, for good; asks first.

    ID is the one under which the visitor is listed, or the browser's own. A
    browser that still has its id makes the visitor known anew when it comes back.

    For example:

        sojourn visits erase 7d4a0e6c5b1f92388e60c1d2a4f5b697

    Raises:
        InvalidError: the id is out of form, the question was not answered by yes, or there is no such store.
        LimitError: the id is too long.
        VisitorUnknownError: there is no such visitor.
        UnavailableError: the store cannot be reached; some may have been deleted.
        CommitUnknownError: an answer was lost; some may have been deleted.
    """
    from sojourn.cli import visits  # noqa: PLC0415  see the module's docstring

    visits.erase(store, visitor_id, yes=yes, as_json=json)


async def sweep(*, store: StoreOption = None, json: JsonOption = False) -> None:
    """Give back the room of what has expired.

    That is: sessions past their idle limit, expired records, old receipts and old
    rows of the change log. All of it is out of sight already, swept or not. A
    server sweeps by itself once a minute.

    For example:

        sojourn sweep --store sqlite:///app.db

    Raises:
        InvalidError: there is no such store.
        UnavailableError: the store cannot be reached; what was swept before stays swept.
    """
    from sojourn.cli import sweeping  # noqa: PLC0415  see the module's docstring

    await sweeping.sweep(store, as_json=json)


async def doctor(*, store: StoreOption = None, json: JsonOption = False) -> int:
    """Examine a store, and say what to do.

    It opens the store, says what its engine promises, writes under a guard, reads
    back, takes the time of a few commits, compares the clocks, and looks whether
    dialogs should have ended. Each check is ok, a warning or failed; if one has
    failed the exit code is 1. The records it writes stand in a space of their own
    and are deleted again.

    For example:

        sojourn doctor --store sqlite:///app.db

    Raises:
        InvalidError: there is no such store.
    """
    from sojourn.cli import doctor as doctors  # noqa: PLC0415  see the module's docstring

    return await doctors.examine(store, as_json=json)
