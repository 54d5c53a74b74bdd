"""A loop on virtual time, and the hosts that run on it: stopped, gone on with, or killed at any step.

Nothing waits: when nobody can run, time leaps to the next timer. All that a run depends on is the order in which things
were asked for, so the same program takes the same steps, in whatever process.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any, TypeVar, TypeVarTuple

__all__ = ["Host", "VirtualLoop", "outside", "pause"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ROUNDS = 10_000


class Host:
    """A virtual computer. While it is paused not a step is taken on it; timers that ring meanwhile are late."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_paused = False
        self.is_dead = False
        self._home = Context()
        self._home.run(_host.set, self)
        self._held: list[_Step] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work on this host; all that it starts runs here too."""
        return asyncio.get_running_loop().create_task(work, context=self._home.copy())

    def pause(self) -> None:
        """Take no further step, as after SIGSTOP."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on, with what should have happened meanwhile first."""
        self.is_paused = False
        held, self._held = self._held, []
        loop = asyncio.get_running_loop()
        for step in held:
            if not step.handle.cancelled():
                loop.call_soon(step, context=step.context)

    async def kill(self) -> None:
        """End all that runs here. Whatever it does while it unwinds reaches nobody: see `is_dead`.

        Raises:
            RuntimeError: something goes on for ever.
        """
        self.is_dead = True
        self.resume()
        for _ in range(_ROUNDS):
            if not self._tasks:
                return
            begun = tuple(self._tasks)
            await asyncio.sleep(0)  # cancelled before its first step, a task would leave work that was never begun
            for task in begun:
                task.cancel()
        raise RuntimeError(f"{len(self._tasks)} tasks of {self.name} do not end: {next(iter(self._tasks))}")

    def hold(self, step: _Step) -> None:
        """Keep a step until the host goes on."""
        self._held.append(step)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take note of a task that runs here."""
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._tasks.pop(task, None), context=Context())


_host: ContextVar[Host | None] = ContextVar("_host", default=None)


async def outside(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that runs on no host: it goes on when the one that asked is paused, cancelled or dead."""
    return await asyncio.shield(asyncio.get_running_loop().create_task(work, context=Context()))


async def pause(seconds: float) -> None:
    """Wait until that much virtual time has passed, or for one round of the loop."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(seconds, _settle, over)
    try:
        await over
    finally:
        timer.cancel()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Step:
    """A callback of a host: run now, or when the host goes on."""

    __slots__ = ("args", "callback", "context", "handle", "host")

    def __init__(self, host: Host, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.host = host
        self.callback = callback
        self.args = args
        self.context = context
        self.handle: asyncio.Handle

    def __call__(self) -> None:
        if self.handle.cancelled():
            return
        if self.host.is_paused:
            self.host.hold(self)
        else:
            self.callback(*self.args)


_serials = count(1)


class _Task(asyncio.Task[Any]):
    """A task by whose number sets are ordered, not by its address: addresses differ from run to run."""

    def __init__(self, work: Any, *, host: Host | None, **options: Any) -> None:  # noqa: ANN401  as asyncio does
        self.serial = next(_serials)
        self.host = host
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self.serial


class _Future(asyncio.Future[Any]):
    """A future, as `_Task`."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        self.serial = next(_serials)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.serial


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time leaps to the next timer. `strays` are the errors that nobody waited for."""

    def __init__(self) -> None:
        self._now = 0.0
        self.strays: list[str] = []
        super().__init__(_Leap(self))
        self.set_task_factory(_made)
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """Return the virtual seconds since the beginning."""
        return self._now

    def leap(self, seconds: float) -> None:
        """Move time on."""
        self._now += seconds

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future that sorts by its number."""
        return _Future(loop=self)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run the callback in the next round, or when its host goes on."""
        context = copy_context() if context is None else context
        host = context.get(_host)
        if host is None:
            return super().call_soon(callback, *args, context=context)
        if isinstance(callback, _Step):  # it was held, and whoever may cancel it has its first handle
            return super().call_soon(callback, context=context)
        step = _Step(host, callback, args, context)
        step.handle = super().call_soon(step, context=context)
        return step.handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run the callback at that time, or when its host goes on after it."""
        context = copy_context() if context is None else context
        host = context.get(_host)
        if host is None:
            return super().call_at(when, callback, *args, context=context)
        step = _Step(host, callback, args, context)
        step.handle = handle = super().call_at(when, step, context=context)
        return handle

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task = context.get("task") or context.get("future")
        if isinstance(task, _Task) and task.host is not None and task.host.is_dead:
            return
        self.strays.append(f"{context['message']}: {context.get('exception')!r}")


class _Leap(selectors.SelectSelector):
    """Waits for nothing: it moves the time of its loop instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Move time on by what it would have waited.

        Raises:
            RuntimeError: it would have waited for ever.
        """
        if timeout is None:
            raise RuntimeError("nobody can run, and nobody waits for a time: this would stand still for ever")
        self._loop.leap(max(timeout, 0.0))
        return []


def _made(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401  likewise
    context = options.get("context")
    host = _host.get() if context is None else context.get(_host)
    task = _Task(work, host=host, loop=loop, **options)
    if host is not None:
        host.adopt(task)
    return task
