"""What type checkers say of layers: right uses have exact types, wrong ones are errors.

mypy and pyright read this file; nothing runs it. A line marked as an error must be one, or the mark itself is.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, assert_type

import msgspec

import sojourn
from sojourn import ActionCtx, Functions, MutationCtx, QueryCtx, SessionId, Sessions, run_session_functions
from sojourn.functions import Caller, Collection, Done, Extended, Patch, Reader, layer

store = sojourn.open("memory:")
sessions = Sessions(store)
functions = Functions(sessions)
lines = functions.collection("lines", list[str], by=SessionId)


class TeamArg(msgspec.Struct, frozen=True):
    team: str


class VisitorArg(msgspec.Struct, frozen=True):
    visitor: str


@dataclass(frozen=True)
class MemberCtx(Extended[QueryCtx], QueryCtx):
    member: str


@dataclass(frozen=True)
class WriterCtx(Extended[MutationCtx], MutationCtx):
    member: str


class Narrow(Protocol):
    def db(self, collection: Collection[list[str], SessionId], /) -> Reader[list[str], SessionId]: ...


@layer
async def member(ctx: QueryCtx, *, role: str) -> Patch[MemberCtx]:
    MemberCtx(ctx, member=role).member = "eve"  # type: ignore[misc]
    MemberCtx(ctx)  # type: ignore[call-arg]
    MemberCtx("ctx", member=role)  # type: ignore[arg-type]
    return Patch(MemberCtx(ctx, member=role))


@layer
def writer(ctx: MutationCtx) -> Patch[WriterCtx]:
    return Patch(WriterCtx(ctx, ctx.caller.subject or "nobody"), on_success=noted)


async def noted(done: Done[MutationCtx]) -> None:
    await done.ctx.db(lines).put(done.ctx.session_id, [])


@layer
def in_team(ctx: QueryCtx, argument: TeamArg, *, least: int = 0) -> Patch[QueryCtx]:
    return Patch(ctx, added=len(argument.team) + least)


@layer
def visitor(ctx: MemberCtx, argument: VisitorArg) -> Patch[MemberCtx]:
    return Patch(MemberCtx(ctx, member=argument.visitor))


class PageArg(msgspec.Struct, frozen=True):
    page: int = 1


@layer
def paged(ctx: QueryCtx, argument: PageArg) -> Patch[QueryCtx]:
    return Patch(ctx, added=argument.page, hands_on=True)


@layer
def narrow(ctx: QueryCtx, arguments: Mapping[str, object]) -> Patch[Narrow]:
    return Patch(ctx)


@layer
def wrong_patch(ctx: QueryCtx) -> Patch[MemberCtx]:
    return Patch(ctx)  # type: ignore[arg-type]


@layer  # type: ignore[arg-type]
def no_patch(ctx: QueryCtx) -> QueryCtx:
    return ctx


member_query = functions.query.using(member)
team_query = functions.query.using(in_team)
both = team_query.using(member).using(visitor)
writing = functions.mutation.using(writer)

functions.query.using(visitor)  # type: ignore[arg-type]
functions.query.using(writer)  # type: ignore[arg-type]


@member_query(role="admin")
async def report(ctx: MemberCtx, session_id: SessionId, *, limit: int = 20) -> list[str]:
    assert_type(ctx.member, str)
    str(ctx.visitor)  # type: ignore[attr-defined]
    return (await ctx.db(lines).get(session_id))[:limit]


@team_query()
async def board(ctx: QueryCtx, session_id: SessionId, *, limit: int = 20) -> list[str]:
    assert_type(await ctx.run_query(board, TeamArg("red"), limit=5), list[str])
    await ctx.run_query(board, limit=5)  # type: ignore[call-arg]
    await ctx.run_query(board, team="red")  # type: ignore[call-arg]
    await ctx.run_query(board, TeamArg("red"), team="red")  # type: ignore[call-arg]
    await ctx.run_query(board, VisitorArg("me"))  # type: ignore[arg-type]
    await ctx.run_query(board, TeamArg("red"), limit="5")  # type: ignore[arg-type]
    return []


@team_query(least=3)
@in_team.added(int)
def count(ctx: QueryCtx, session_id: SessionId, found: int, *, limit: int = 20) -> int:
    return found + limit


@both(role="admin", least=3)
def together(ctx: MemberCtx, session_id: SessionId, *, limit: int) -> str:
    return ctx.member


@team_query().using(paged).internal
@paged.added(int)
async def nearest_first(ctx: QueryCtx, session_id: SessionId, found: int, *, page: int = 1) -> int:
    return found + page


@both(role="admin").using(paged)
async def three(ctx: QueryCtx, session_id: SessionId, *, limit: int) -> str:
    assert_type(await ctx.run_query(nearest_first, TeamArg("red"), PageArg(), page=1), int)
    await ctx.run_query(nearest_first, PageArg(), TeamArg("red"))  # type: ignore[arg-type]
    await ctx.run_query(nearest_first, TeamArg("red"), PageArg(), found=1)  # type: ignore[call-arg]
    return assert_type(await ctx.run_query(three, TeamArg("red"), VisitorArg("me"), PageArg(), limit=1), str)


@functions.query.using(paged)  # type: ignore[arg-type]
async def for_another_kind(ctx: MutationCtx, session_id: SessionId) -> None: ...


@functions.query.using(narrow)
async def shown(ctx: Narrow, session_id: SessionId) -> list[str]:
    str(ctx.tx)  # type: ignore[attr-defined]
    return await ctx.db(lines).get(session_id)


@writing.internal
async def write(ctx: WriterCtx, session_id: SessionId) -> int:
    assert_type(await ctx.run_query(count, TeamArg("red")), int)
    assert_type(await ctx.run_query(together, TeamArg("red"), VisitorArg("me"), limit=1), str)
    await ctx.run_query(together, VisitorArg("me"), TeamArg("red"), limit=1)  # type: ignore[arg-type]
    await ctx.db(lines).put(session_id, [ctx.member])
    return 1


@functions.action
async def act(ctx: ActionCtx, session_id: SessionId) -> None:
    run = run_session_functions(ctx, session_id)
    assert_type(await run.run_session_query(board, TeamArg("red")), list[str])
    assert_type(await run.run_session_mutation(write), int)
    assert_type(await ctx.run_query(together, TeamArg("red"), VisitorArg("me"), limit=1), str)
    await run.run_session_query(board)  # type: ignore[call-arg]


@member_query(role=1)  # type: ignore[arg-type]
async def wrong_extra(ctx: MemberCtx, session_id: SessionId) -> None: ...


@member_query(rule="admin")  # type: ignore[call-arg]
async def unknown_extra(ctx: MemberCtx, session_id: SessionId) -> None: ...


@member_query  # type: ignore[call-arg, arg-type]
async def missing_extra(ctx: MemberCtx, session_id: SessionId) -> None: ...


@writing  # type: ignore[arg-type]
async def wrong_context(ctx: MemberCtx, session_id: SessionId) -> None: ...


@team_query()
@in_team.added(str)  # type: ignore[arg-type]
async def wrong_added(ctx: QueryCtx, session_id: SessionId, found: int) -> None: ...


async def in_process(token: str) -> None:
    bound = functions.bind(store)
    session = await sessions.resolve(token)
    run = bound.acting_as(session, request_id="r1", caller=Caller("ada", is_operator=True)).run
    assert_type(await run(board, TeamArg("red"), limit=5), list[str])
    assert_type(await bound.run(board, TeamArg("red"), session=session, limit=5), list[str])
    await run(board, team="red")  # type: ignore[call-arg]
    await run(board, VisitorArg("me"))  # type: ignore[arg-type]
    await run(board)  # type: ignore[call-arg]
    await bound.run(board, "red", session=session)  # type: ignore[call-overload]
