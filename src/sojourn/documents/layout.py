"""Which records the documents face owns. `<name>` is the name of documents of one kind.

| space                     | partition | item                | value                       | rank    | lives          |
|---------------------------|-----------|---------------------|-----------------------------|---------|----------------|
| `document`                | `names`   | name                | nothing                     | none    | for ever       |
| `document.<name>`         | partition | key                 | the document or a tombstone | saved   | until erased   |
| `document.<name>`         | partition | key, offset         | a piece of a large one      | none    | as the whole   |
| `document.<name>.lease`   | partition | key                 | who holds it                | granted | lease, renewed |
| `document.<name>.past`    | partition | key, revision       | an entry of its history     | none    | history's end  |
| `document.<name>.body`    | partition | key, number of save | a large entry's document    | none    | as the entry   |
| `document.<name>.inbox`   | partition | key, commit order   | a message that waits        | none    | until handled  |
| `document.<name>.sent`    | partition | key, id             | nothing                     | none    | `MESSAGE_KEEP` |
| `document.<name>.subject` | subject   | key                 | its partition               | none    | until erased   |

All that one document owns stands in one partition: its key's, unless the application co-locates what is traded
together. So taking the lease and reading what it protects is one commit, and so are saving, and saving and releasing.
What belongs to a key follows it behind U+0001, which no key contains. `document.<name>.subject` is an index: written
before the document says that it belongs to the subject, and verified against that when read.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sojourn import limits
from sojourn.kernel import Key, Span, chunks

__all__ = ["NAMES", "Place", "Spaces", "name"]

NAMES: Final = Span("document", "names", limit=limits.PAGE_MAX)
"""Every name under which documents have been kept."""

_UNDER: Final = "\x01"
_BEHIND: Final = "\x02"


def name(of: str) -> Key:
    """The mark that documents of this name have been kept."""
    return Key("document", "names", of)


class Spaces(msgspec.Struct, frozen=True):
    """The spaces of the documents of one name."""

    name: str

    @property
    def documents(self) -> str:
        """The documents themselves."""
        return f"document.{self.name}"

    @property
    def leases(self) -> str:
        """Who holds which of them."""
        return f"{self.documents}.lease"

    @property
    def past(self) -> str:
        """Their history."""
        return f"{self.documents}.past"

    @property
    def bodies(self) -> str:
        """The documents of large entries of it."""
        return f"{self.documents}.body"

    @property
    def inbox(self) -> str:
        """Messages to them."""
        return f"{self.documents}.inbox"

    @property
    def sent(self) -> str:
        """The marks of messages that have been taken."""
        return f"{self.documents}.sent"

    @property
    def of_subjects(self) -> str:
        """The marks of who they belong to."""
        return f"{self.documents}.subject"

    def subject(self, subject: str, key: str = "") -> Key:
        """The mark that a document belongs to a subject."""
        return Key(self.of_subjects, subject, key)

    def subjects(self, subject: str, limit: int = limits.PAGE) -> Span:
        """Every document of a subject."""
        return Span(self.of_subjects, subject, limit=limit)


class Place(msgspec.Struct, frozen=True):
    """Where one document is kept."""

    name: str
    key: str
    partition: str

    @property
    def spaces(self) -> Spaces:
        """The spaces of the documents of its name."""
        return Spaces(self.name)

    @property
    def document(self) -> Key:
        """The document itself, or what is left of it."""
        return Key(self.spaces.documents, self.partition, self.key)

    @property
    def pieces(self) -> Span:
        """The pieces of a large one."""
        return chunks.span(self.document)

    @property
    def lease(self) -> Key:
        """Who holds it."""
        return Key(self.spaces.leases, self.partition, self.key)

    @property
    def prefix(self) -> str:
        """What its entries, messages and ids begin with."""
        return self.key + _UNDER

    @property
    def past(self) -> Span:
        """Its history, the oldest entry first."""
        return self._under(self.spaces.past)

    def past_at(self, revision: int) -> Span:
        """The entry of its history that was saved with this revision."""
        start, stop = (f"{self.prefix}{number:016x}" for number in (revision, revision + 1))
        return Span(self.spaces.past, self.partition, start, stop, limit=1)

    @property
    def bodies(self) -> Span:
        """The documents of the large entries."""
        return self._under(self.spaces.bodies)

    def body(self, number: int) -> Key:
        """The document of one large entry, by the number of its save."""
        return Key(self.spaces.bodies, self.partition, f"{self.prefix}{number:016x}")

    def bodies_before(self, number: int) -> Span:
        """The documents of the large entries saved before that one."""
        return msgspec.structs.replace(self.bodies, stop=self.body(number).item)

    @property
    def inbox(self) -> Span:
        """The messages that wait for it, in the order in which they were sent."""
        return self._under(self.spaces.inbox)

    def sent(self, message_id: str) -> Key:
        """The mark that a message of this id has been taken."""
        return Key(self.spaces.sent, self.partition, self.prefix + message_id)

    @property
    def all_sent(self) -> Span:
        """Every mark of a message that has been taken."""
        return self._under(self.spaces.sent)

    def _under(self, space: str) -> Span:
        return Span(space, self.partition, self.prefix, self.key + _BEHIND)
