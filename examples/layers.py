"""A guest book whose layers are there to be copied: who is signed in, who may, how often, who has no name at all."""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

import sojourn
from sojourn import ApplicationError, Functions, MutationCtx, QueryCtx, SessionId, Sessions
from sojourn.functions import Done, Extended, Patch, layer
from sojourn.server import App


class Window(msgspec.Struct, frozen=True):
    """What somebody has done since a minute began, and when that minute is over."""

    ends_at: datetime
    count: int = 0


store = sojourn.open(os.environ.get("BOOK_STORE", "memory:"))
sessions = Sessions(store)
functions = Functions(sessions)
pages = functions.collection("pages", list[str], by=str)  # the one page of the book, at the key "page"
fans = functions.collection("fans", list[str], by=str)  # at the same key, who likes it
roles = functions.collection("roles", list[str], by=str)  # by user
windows = functions.collection("windows", Window, by=str)  # by user


# -- Signed in: the caller's subject, as ctx.user ---------------------------------------------------------------------


@dataclass(frozen=True)
class UserQueryCtx(Extended[QueryCtx], QueryCtx):
    """All that a query has, and the user."""

    user: str


@dataclass(frozen=True)
class UserMutationCtx(Extended[MutationCtx], MutationCtx):
    """All that a mutation has, and the user."""

    user: str


def user_of(ctx: QueryCtx | MutationCtx) -> str:
    """Return who is signed in; what the kinds of context need alike is a function."""
    if ctx.caller.subject is None:
        raise ApplicationError("Please sign in.")
    return ctx.caller.subject


@layer
def reads_as_user(ctx: QueryCtx) -> Patch[UserQueryCtx]:
    """Let only those in who are signed in."""
    return Patch(UserQueryCtx(ctx, user_of(ctx)))


@layer
def writes_as_user(ctx: MutationCtx) -> Patch[UserMutationCtx]:
    """Let only those in who are signed in."""
    return Patch(UserMutationCtx(ctx, user_of(ctx)))


# -- A role, which each function names --------------------------------------------------------------------------------


@layer
async def with_role(ctx: UserMutationCtx, *, role: str) -> Patch[UserMutationCtx]:
    """Let only those in who have the role."""
    if role not in await ctx.db(roles).get(ctx.user):
        raise ApplicationError("You may not do that.")
    return Patch(ctx)


# -- Not more often than so many times a minute -----------------------------------------------------------------------


@layer
async def not_too_often(ctx: UserMutationCtx, *, per_minute: int = 60) -> Patch[UserMutationCtx]:
    """Count what a user does, as part of doing it, so what fails does not count."""
    window = await ctx.db(windows).find(ctx.user)
    if window is None or window.ends_at <= ctx.now:
        window = Window(ctx.now + timedelta(minutes=1))
    if window.count >= per_minute:
        raise ApplicationError("Please wait a little.", {"retry_at": window.ends_at.isoformat()})

    async def count(_: Done[MutationCtx]) -> None:
        await ctx.db(windows).put(ctx.user, Window(window.ends_at, window.count + 1))

    return Patch(ctx, on_success=count)


# -- Nobody in particular: an id that the browser keeps, and a public one made of it ----------------------------------


class VisitorArg(msgspec.Struct, frozen=True):
    """What the browser sends beside the arguments: its own random id, which nobody else is to see."""

    visitor: Annotated[str, msgspec.Meta(min_length=22, max_length=128)]


@dataclass(frozen=True)
class VisitorCtx(Extended[MutationCtx], MutationCtx):
    """All that a mutation has, and the visitor's public id."""

    visitor: str


@layer
def as_visitor(ctx: MutationCtx, given: VisitorArg) -> Patch[VisitorCtx]:
    """Take the browser's id, and give the handler what can be shown: nobody finds the id by it."""
    return Patch(VisitorCtx(ctx, hashlib.blake2b(given.visitor.encode(), digest_size=16).hexdigest()))


# -- The functions, each within the layers that it wants --------------------------------------------------------------

user_query = functions.query.using(reads_as_user)
user_mutation = functions.mutation.using(writes_as_user).using(not_too_often)
role_mutation = functions.mutation.using(writes_as_user).using(with_role)
visitor_mutation = functions.mutation.using(as_visitor)


@user_query
async def page(ctx: UserQueryCtx, _: SessionId) -> list[str]:
    """Show the page to those who are signed in."""
    return [*await ctx.db(pages).get("page"), f"You are {ctx.user}."]


@user_mutation(per_minute=3)
async def write(ctx: UserMutationCtx, _: SessionId, *, text: str) -> int:
    """Write a line, at most three times a minute."""
    return len(await ctx.db(pages).update("page", lambda lines: [*lines, f"{ctx.user}: {text}"]))


@role_mutation(role="editor")
async def clear(ctx: UserMutationCtx, _: SessionId) -> None:
    """Begin a new page; editors may."""
    await ctx.db(pages).delete("page")


@visitor_mutation
async def like(ctx: VisitorCtx, _: SessionId) -> int:
    """Like the page, once for each visitor, and tell how many do."""
    return len(await ctx.db(fans).update("page", lambda names: sorted({*names, ctx.visitor})))


@functions.mutation.internal
async def appoint(ctx: MutationCtx, _: SessionId, *, user: str, role: str) -> None:
    """Give a user a role; operators may, and jobs of this program."""
    await ctx.db(roles).update(user, lambda held: [*held, role])


app = App(store, functions=functions, dev=True)
