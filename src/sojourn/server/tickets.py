"""Tickets: what opens a live connection, once.

A page asks for one as it asks for anything, so a handshake needs no cookie, which a browser would send for any page.
What a ticket stands for is kept in the store, so any process takes it. It is kept sealed: of what is stored neither
the ticket nor the session's token can be told.

| space         | partition          | item  | value              | rank | lives             |
|---------------|--------------------|-------|--------------------|------|-------------------|
| `live.ticket` | hash of the ticket | empty | its holder, sealed | none | until it was used |
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

import msgspec

from sojourn import limits
from sojourn.errors import TicketInvalidError
from sojourn.kernel import Attempt, Key, Put, Store, Transaction, ids
from sojourn.kernel.codec import codec

__all__ = ["Holder", "Tickets"]

_BYTES: Final = 32
_SEALED: Final = codec(bytes)


class Holder(msgspec.Struct, frozen=True):
    """Whom a connection is for: the session's token, if there is one, and what `authenticate` and `admin` said."""

    token: str | None
    subject: str | None = None
    is_operator: bool = False

    def __repr__(self) -> str:
        """Show no token."""
        return f"<{type(self).__name__} of {self.subject or 'nobody'}>"


class Tickets:
    """The tickets of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def issue(self, holder: Holder) -> str:
        """Return a ticket that stands for this holder, once, for `limits.LIVE_TICKET`.

        Raises:
            UnavailableError: the store could not be reached; nothing was written.
            CommitUnknownError: the answer was lost; perhaps there is a ticket that nobody has.
        """
        ticket = secrets.token_urlsafe(_BYTES)
        sealed = _sealed(msgspec.json.encode(holder), ticket)
        write = Put(_key(ticket), _SEALED.encode(sealed), ttl=limits.LIVE_TICKET)
        await self._store.commit(Transaction(ids.new(), writes=(write,)))
        return ticket

    async def redeem(self, ticket: str) -> Holder:
        """Return whom the ticket stands for. It is used up, however many ask at once.

        Raises:
            TicketInvalidError: it was used, has expired, or never was.
            UnavailableError: the store could not be reached; it is good still.
            CommitUnknownError: the answer was lost; perhaps it is used up.
        """

        async def take(tx: Attempt) -> bytes:
            found = await tx.get(_key(ticket))
            if found is None:
                raise TicketInvalidError("this ticket was used, has expired, or never was; ask for another")
            tx.delete(found.key)
            return found.value

        sealed = _SEALED.decode(await self._store.run(take))
        return msgspec.json.decode(_sealed(sealed, ticket), type=Holder)


def _key(ticket: str) -> Key:
    digest = hashlib.blake2b(ticket.encode("utf-8", "surrogatepass"), digest_size=32, person=b"sojourn ticket")
    return Key("live.ticket", digest.hexdigest(), "")


def _sealed(content: bytes, ticket: str) -> bytes:
    """Seal, or unseal. A ticket is random and seals one content: what it is stretched to is a pad used once."""
    pad = hashlib.shake_256(b"sojourn ticket pad " + ticket.encode()).digest(len(content))
    return (int.from_bytes(content, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(content), "big")
