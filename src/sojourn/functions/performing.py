"""One run of a function in one attempt: its layers, its handler, its result, and what follows success."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from msgspec import UNSET

from sojourn.errors import InvalidError
from sojourn.functions.layers import Done, Layer, Patch, Taken
from sojourn.functions.model import Function

__all__ = ["FollowUp", "Root", "follow_up", "perform"]

_log = logging.getLogger(__name__)


class FollowUp(NamedTuple):
    """What a layer does after the commit."""

    layer: str
    act: Callable[[Done[Any]], object]
    done: Done[Any]


class Root(Protocol):
    """The context that a call begins with. `later` gathers what layers do after the commit, for this attempt."""

    later: list[FollowUp]

    @property
    def session_id(self) -> Any:  # noqa: ANN401  the public id, whatever type tells it from other text
        """The id of the session that the call is for; an error where there is none."""
        ...


class _Entered(NamedTuple):
    layer: Layer[Any, Any, Any, Any]
    ctx: object
    patch: Patch[Any]


async def perform(function: Function[..., Any], ctx: Root, text: bytes) -> tuple[Any, bytes]:
    """Run a function on arguments in JSON text; return its result, as it is and as JSON text.

    Raises:
        InvalidError: the arguments are not what it takes, or a layer is not in order.
        ResultInvalidError: the result is not what it declares.
        Exception: what the handler or a layer raises.
    """
    if function.layers:
        return await _perform_layered(function, ctx, text)
    # Decoded for each attempt, so that nothing a handler does to its arguments is there in the next.
    arguments = function.signature.decode(text)
    result = function.handler(ctx, *_leading(function, ctx), **arguments)
    if function.is_async or inspect.isawaitable(result):
        result = await result
    return result, function.signature.dump(result)


async def follow_up(later: list[FollowUp]) -> None:
    """Do what layers do after the commit; what fails is logged, and the next is done all the same."""
    for one in later:
        try:
            await _settled(one.act(one.done))
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            _log.exception("what the layer %s does after the commit has failed", one.layer)


def _is_cancelled() -> bool:
    """Say whether it is this task that was cancelled, and not one that a layer waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _perform_layered(function: Function[..., Any], ctx: Root, text: bytes) -> tuple[Any, bytes]:
    own, shared, consumed = function.signature.parts(text)
    seen = MappingProxyType(own)
    entered: list[_Entered] = []
    rest = iter(consumed)
    inner: Any = ctx
    for layer, extras in function.layers:
        given = (seen,) if layer.sees_arguments else () if layer.consumed is None else (next(rest),)
        patch: Patch[Any] = await _settled(layer.handler(inner, *given, **extras))
        _check(layer, patch)
        entered.append(_Entered(layer, inner, patch))
        inner = patch.ctx
    arguments = {**own, **_handed_on(function, entered, shared)}
    added = (_added(taken, entered, function) for taken in function.taken)
    result = await _settled(function.handler(inner, *_leading(function, ctx), *added, **arguments))
    dumped = function.signature.dump(result)
    await _succeed(entered, ctx, seen, result)
    return result, dumped


def _leading(function: Function[..., Any], ctx: Root) -> tuple[Any, ...]:
    return (ctx.session_id,) if function.takes_session else ()


async def _succeed(entered: list[_Entered], ctx: Root, arguments: Mapping[str, Any], result: object) -> None:
    """Tell the layers, the outer first."""
    for layer, own, patch in reversed(entered):
        done = Done(own, arguments, result)
        if patch.on_success is not None:
            await _settled(patch.on_success(done))
        if patch.after_commit is not None:
            ctx.later.append(FollowUp(layer.name, patch.after_commit, done))


def _check(layer: Layer[Any, Any, Any, Any], patch: Patch[Any]) -> None:
    if not isinstance(patch, Patch):  # pyright: ignore[reportUnnecessaryIsInstance]  # a forgotten return
        _drop(patch)
        raise InvalidError(layer.name, f"a layer returns a Patch, and this one returned {type(patch).__name__}")
    for name, value in (("ctx", patch.ctx), ("added", patch.added)):
        if inspect.isawaitable(value):
            _drop(value)
            raise InvalidError(layer.name, f"the {name!r} of its Patch is still to be awaited")


def _drop(value: object) -> None:
    """Close it if it is a coroutine, or Python would warn of it, at some other place."""
    if inspect.iscoroutine(value):
        value.close()


def _handed_on(function: Function[..., Any], entered: list[_Entered], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that layers consume and all the same hand on to a handler that declares them too."""
    handed: set[str] = set()
    for layer, _, patch in entered:
        if patch.hands_on and layer.consumed is not None:
            handed.update(layer.consumed.kind.__struct_fields__)
    arguments = {name: value for name, value in shared.items() if name in handed}
    missing = function.signature.missing(arguments)
    if missing is not None:
        raise InvalidError(function.name, f"it needs {missing!r}, which a layer consumes and does not hand on")
    return arguments


def _added(taken: Taken, entered: list[_Entered], function: Function[..., Any]) -> object:
    added = next(one.patch.added for one in reversed(entered) if one.layer is taken.layer)
    if added is UNSET:
        raise InvalidError(taken.layer.name, f"it adds nothing, and {function.name} takes what it adds")
    if not isinstance(added, taken.plain):
        raise InvalidError(
            taken.layer.name, f"it adds {type(added).__name__}, and {function.name} takes {taken.plain.__name__}"
        )
    return added


async def _settled(value: Any) -> Any:  # noqa: ANN401  whatever was returned, awaited if it has to be
    return await value if inspect.isawaitable(value) else value
