"""Messages to documents: kept until a holder has handled them, each in one commit with the change it makes.

    await players.send("player_1", {"gift": "sword"}, id="gift-17")         # whoever holds it, or nobody

A message is removed in the commit that stores what it changed, so it takes effect once, whatever process dies. Its id
is remembered for a while, so that a sender may repeat it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from sojourn import limits
from sojourn.documents import stored
from sojourn.documents.callbacks import check_callback
from sojourn.documents.change import by_draft
from sojourn.documents.holding import Holding
from sojourn.documents.kind import Kind
from sojourn.documents.layout import Place, Spaces
from sojourn.documents.model import Message, checked_text
from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    ConflictError,
    DocumentClosedError,
    InvalidError,
    LimitError,
    OverloadedError,
    SojournError,
    UnavailableError,
)
from sojourn.kernel import (
    Absent,
    Append,
    Attempt,
    Conflict,
    Delete,
    Key,
    Put,
    Reads,
    Record,
    RevisionIs,
    Space,
    Transaction,
    ids,
)
from sojourn.kernel.codec import check_plain, codec
from sojourn.kernel.subscriptions import Gap, Subscription

if TYPE_CHECKING:
    from sojourn.documents.transacting import Transactor

__all__ = ["Mailbox"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BODY: Final = codec(object)


class Mailbox(Generic[T]):
    """Takes messages to documents of one name, and has those of the documents held here handled."""

    def __init__(self, kind: Kind[T], on_message: Callable[[T, Message], bool] | None) -> None:
        if on_message is not None:
            check_callback("on_message", on_message, waits=False)
        self._kind = kind
        self._on_message = on_message
        self._inboxes: dict[tuple[str, str], _Inbox[T]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def send(self, place: Place, body: object, given: str | None, tx: Attempt | None) -> bool:
        """Keep a message, unless one of its id has been taken."""
        text = _checked_body(body)
        message_id = ids.new().hex() if given is None else checked_text("id", given, limits.MESSAGE_ID_CHARS)
        sent, inbox = place.sent(message_id), place.inbox
        first, last = (msgspec.structs.replace(inbox, limit=1, reverse=reverse) for reverse in (False, True))
        snapshot = await self._kind.store.read(Reads((sent,), (first, last)))
        (taken,), (oldest, newest) = snapshot.records.keys, snapshot.records.spans
        if (taken if tx is None else await tx.get(sent)) is not None:
            return False
        number = _number(newest) + 1
        if number - _number(oldest) > limits.MESSAGES and oldest:
            raise OverloadedError(f"about {limits.MESSAGES} messages wait for the document {place.key!r} already")
        value = stored.POSTED.encode(stored.Posted(message_id, snapshot.now, number, msgspec.Raw(text)))
        writes = (
            Put(sent, b"", ttl=limits.MESSAGE_KEEP),
            Append(place.spaces.inbox, place.partition, place.prefix, value),
        )
        if tx is not None:
            tx.write(*writes)
            return True
        outcome = await self._kind.store.submit(Transaction(ids.new(), (Absent(sent),), writes))
        return not isinstance(outcome, Conflict)

    def deliver(self, holding: Holding[T], transactor: Transactor[T]) -> None:
        """Have the messages to a document handled that is held from now on."""
        if self._on_message is None:
            return
        inbox = _Inbox(self._kind, holding, transactor, self._on_message)
        self._inboxes[holding.place.partition, holding.key] = inbox
        if self._watch is None:
            self._watch = self._kind.store.spawn(self._follow())
        inbox.wake()

    def forget(self, holding: Holding[T]) -> None:
        """Handle no more messages to a document that is no longer held."""
        place = holding.place.partition, holding.key
        inbox = self._inboxes.get(place)
        if inbox is not None and inbox.holding is holding:
            del self._inboxes[place]

    def close(self) -> None:
        """Watch for messages no more."""
        if self._watch is not None:
            self._watch.cancel()

    async def _follow(self) -> None:
        """Wake the inbox of whatever document gets a message. A store that goes away is waited for."""
        space = Space(Spaces(self._kind.terms.name).inbox)
        while True:
            try:
                async with self._kind.store.watch(space) as changes:
                    self._wake_all()  # nobody tells of what happened before the watch was ready
                    await self._hand_out(changes)
            except ClosedError:
                return
            except Exception as error:  # noqa: BLE001  whatever it is: messages are to be handled
                _log.warning("messages to %s wait for the store: %s", self._kind.terms.name, error)
                await self._kind.store.clock.sleep(limits.DUE_POLL.total_seconds())

    async def _hand_out(self, changes: Subscription) -> None:
        async for change in changes:
            if isinstance(change, Gap):
                self._wake_all()
                continue
            for key in change.keys:
                inbox = self._inboxes.get((key.partition, key.item.partition("\x01")[0]))
                if inbox is not None:
                    inbox.wake()

    def _wake_all(self) -> None:
        for inbox in self._inboxes.values():
            inbox.wake()


class _Inbox(Generic[T]):
    """The messages to one document that is held here."""

    def __init__(
        self,
        kind: Kind[T],
        holding: Holding[T],
        transactor: Transactor[T],
        on_message: Callable[[T, Message], bool],
    ) -> None:
        self.holding = holding
        self._kind = kind
        self._transactor = transactor
        self._on_message = on_message
        self._left = set[Key]()
        self._reported = set[Key]()
        self._failed = set[Key]()
        self._is_awake = False
        self._is_working = False
        self._is_pausing = False

    def wake(self) -> None:
        """Look for messages, now or when the present look has ended."""
        self._is_awake = True
        if not self._is_working:
            self._is_working = True
            _ = self._kind.store.spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._is_awake and self.holding.is_open:
                self._is_awake = False
                if not await self._handle_all() and not self._is_pausing:
                    self._is_pausing = True
                    _ = self._kind.store.spawn(self._pause())
        finally:
            self._is_working = False

    async def _pause(self) -> None:
        """Let what failed be tried again after a while; what comes meanwhile need not wait for that."""
        await self._kind.store.clock.sleep(limits.MESSAGE_PAUSE.total_seconds())
        self._is_pausing = False
        self._failed.clear()
        self.wake()

    async def _handle_all(self) -> bool:
        """Handle the messages that wait, in their order; False: some failed, and are to be tried again."""
        is_well = True
        place = self.holding.place
        try:
            async for record in self._kind.store.scan(msgspec.structs.replace(place.inbox, limit=limits.MESSAGE_PAGE)):
                if not self.holding.is_open:
                    break
                if record.key in self._left or record.key in self._failed or await self._is_handled(record):
                    continue
                self._failed.add(record.key)
                is_well = False
        except SojournError as error:
            _log.warning("messages to the document %s wait: %s", place.key, error)
            return False
        return is_well

    async def _is_handled(self, record: Record) -> bool:
        """Handle one message: its change, if any, and its removal are one commit. False: it is to be tried again."""
        key, message = self.holding.key, stored.message(record)
        schema = self._kind.schema
        try:
            done = await self._transactor.change(
                self.holding,
                lambda present: by_draft(schema, key, present, lambda draft: self._on_message(draft, message)),
                (RevisionIs(record.key, record.revision),),
                (Delete(record.key),),
            )
        except DocumentClosedError:
            return True  # whoever loads it next finds the message
        except ConflictError:
            return True  # the document is lost, or the message was erased
        except (UnavailableError, CommitUnknownError) as error:
            _log.warning("the message %s to the document %s waits: %s", message.id, key, error)
            return False
        except asyncio.CancelledError:
            working = asyncio.current_task()
            if working is None or working.cancelling():
                raise
            _log.warning("message %s to the document %s was cancelled by its handler, and waits", message.id, key)
            return False
        except Exception:  # noqa: BLE001  an application's: reported, and the message stays
            level = logging.DEBUG if record.key in self._reported else logging.ERROR
            self._reported.add(record.key)
            _log.log(
                level, "the message %s to the document %s fails, and is tried again", message.id, key, exc_info=True
            )
            return False
        self._reported.discard(record.key)
        if not done:
            self._left.add(record.key)  # the application leaves it for whoever loads the document next
        return True


def _number(page: tuple[Record, ...]) -> int:
    return stored.POSTED.decode(page[0].value).number if page else 0


def _checked_body(body: object) -> bytes:
    check_plain("body", body, limits.JSON_DEPTH)
    try:
        text = _BODY.dump(body)
    except InvalidError as error:
        raise InvalidError("body", error.problem) from None
    if len(text) > limits.MESSAGE_BYTES:
        raise LimitError("body", limit=limits.MESSAGE_BYTES, found=len(text), unit="bytes")
    return text
