"""One connection to one server, which many callers share.

Commands are written as they come and answered in their order, so a caller waits for its own answers only, and one who
stops waiting leaves the others undisturbed. A connection that fails in any way is closed and not mended: `Server` opens
another one. Nothing is ever repeated here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import hiredis

from sojourn import limits
from sojourn.engines.redis.failures import ForeignError, LostError, while_connecting
from sojourn.engines.redis.location import Access
from sojourn.engines.redis.slots import Address

__all__ = ["Command", "Connection", "Push"]

Command: TypeAlias = tuple[bytes, ...]

Push: TypeAlias = Callable[[Sequence[Any]], None]
"""Is told what the server says unasked."""

_NOTHING: Final = object()
_CLIENT: Final = b"sojourn"

# The package says that it packs one argument.
_pack: Final[Callable[[Command], bytes]] = hiredis.pack_command  # type: ignore[assignment]


class _Asked:
    """A caller's commands in flight, and the answers so far."""

    __slots__ = ("answer", "expected", "give_up", "replies")

    def __init__(self, expected: int, answer: asyncio.Future[list[Any]], give_up: float) -> None:
        self.expected = expected
        self.answer = answer
        self.give_up = give_up
        self.replies: list[Any] = []


class Connection(asyncio.Protocol):
    """An open connection; `Connection.open` makes one."""

    def __init__(self, on_push: Push | None = None, on_close: Callable[[], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._on_push = on_push
        self._on_close = on_close
        self._asked: deque[_Asked] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._why = LostError("the connection was lost")
        self.version: tuple[int, ...] = ()

    @classmethod
    async def open(
        cls,
        address: Address,
        access: Access,
        on_push: Push | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> Connection:
        """Connect and sign in, within `limits.REDIS_CONNECT`. Cancelled, nothing stays open.

        `on_push` is told what the server says unasked, `on_close` once that the connection has ended, however it did.

        Raises:
            UnavailableError: nothing answers there, or not in time.
            InvalidError: what answers refuses us, or is no Redis that can be used; the message says what to change.
        """
        connection: Connection | None = None
        name = address.host if access.tls is not None else None
        try:
            async with asyncio.timeout(limits.REDIS_CONNECT.total_seconds()):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: cls(on_push, on_close), address.host, address.port, ssl=access.tls, server_hostname=name
                )
                await connection.greet(access)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, OSError | LostError | hiredis.ReplyError):
                raise while_connecting(error, address) from error
            raise
        return connection

    @property
    def is_closed(self) -> bool:
        """Say whether nothing can be asked any more."""
        return self._transport is None

    @property
    def outstanding(self) -> int:
        """How many callers wait for answers."""
        return len(self._asked)

    async def ask(self, commands: Sequence[Command], wait: float) -> list[Any]:
        """Send the commands in one go and return an answer for each; a `hiredis.ReplyError` stands for a refusal.

        Without the answers after `wait` seconds the connection is closed, for everybody. Cancelled, the commands are
        carried out all the same.

        Raises:
            LostError: the connection ended before the last answer.
        """
        if self._transport is None:
            raise self._lost()
        if not commands:
            return []
        packed = b"".join([_pack(command) for command in commands])  # first: who sends nothing may await no answer
        asked = _Asked(len(commands), self._loop.create_future(), self._loop.time() + wait)
        self._asked.append(asked)
        self._transport.write(packed)
        if self._timer is None or asked.give_up < self._timer.when():
            self._look_at(asked.give_up)
        return await asked.answer

    def close(self, why: LostError | None = None) -> None:
        """End it at once; who still waits gets `LostError`. Closing twice is harmless."""
        transport = self._transport
        if transport is not None:
            self._why = why or LostError("the connection was closed")
            self._end()
            transport.abort()

    # -- What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop is none by its class

    def data_received(self, data: bytes) -> None:
        """Hand the answers in it to whom they belong."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                self._take(reply)
        except hiredis.ProtocolError:
            self.close(ForeignError("what answers does not speak the protocol of Redis"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        if self._transport is None:  # closed by us
            return
        if exc is not None:
            self._why = LostError(f"the connection was lost ({exc})")
        self._end()

    def _take(self, reply: object) -> None:
        if isinstance(reply, hiredis.PushNotification):
            if self._on_push is not None:
                self._on_push(reply)
            return
        if not self._asked:  # as from a server that has too many connections, or wants no strangers
            self.close(LostError(f"the server said unasked: {reply!s:.200}"))
            return
        asked = self._asked[0]
        asked.replies.append(reply)
        if len(asked.replies) == asked.expected:
            self._asked.popleft()
            if not asked.answer.done():  # cancelled by the caller
                asked.answer.set_result(asked.replies)

    def _look_at(self, time: float) -> None:
        """Look then whether an answer is overdue. One timer serves all: most calls are answered long before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(time, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._asked:
            give_up = min(asked.give_up for asked in self._asked)
            if give_up <= self._loop.time():
                self.close(LostError("there was no answer in time"))
            else:
                self._look_at(give_up)

    def _end(self) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._on_close is not None:
            self._on_close()
        while self._asked:
            asked = self._asked.popleft()
            if not asked.answer.done():
                asked.answer.set_exception(self._lost())

    def _lost(self) -> LostError:
        return type(self._why)(*self._why.args)  # one for each caller: a shared one would gather everybody's traceback

    async def greet(self, access: Access) -> None:
        """Say who we are, and learn what the server is. `open` does so.

        Raises:
            hiredis.ReplyError: the server refuses us.
            LostError: the connection ended before it answered.
        """
        hello: list[bytes] = [b"HELLO", b"3"]
        if access.password is not None:
            hello += [b"AUTH", (access.username or "default").encode(), access.password.encode()]
        commands: list[Command] = [(*hello, b"SETNAME", _CLIENT)]
        if access.database:
            commands.append((b"SELECT", str(access.database).encode()))
        replies = await self.ask(commands, limits.REDIS_CONNECT.total_seconds())
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                # A server that does not know HELLO repeats what it was told, the password too.
                raise hiredis.ReplyError(str(reply).partition(", with args")[0])
        try:
            version: bytes = replies[0][b"version"]
        except (TypeError, KeyError) as error:
            raise ForeignError("what answers does not say that it is Redis") from error
        self.version = tuple(int(part) for part in version.split(b".") if part.isdigit())
