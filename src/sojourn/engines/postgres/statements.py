"""What is asked of the server: calls of the functions that the migrations have made."""

from __future__ import annotations

from sojourn.engines.postgres.connections import Statement
from sojourn.engines.postgres.install import localized

__all__ = ["Statements"]


class Statements:
    """The statements of one store. Each is a transaction of its own."""

    def __init__(self, schema: str) -> None:
        def statement(name: str, text: str) -> Statement:
            return Statement(name, localized(text, schema))

        self.commit = statement(
            "commit", "SELECT * FROM sojourn.commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        )
        self.remove = statement("remove", "SELECT * FROM sojourn.remove($1, $2, $3, $4, $5, $6, $7, $8)")
        self.committing = (self.commit, self.remove)
        self.read = statement("read", "SELECT * FROM sojourn.read($1, $2, $3, $4, $5, $6, $7)")
        self.ranked = statement("ranked", "SELECT * FROM sojourn.ranked($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
        self.changes = statement("changes", "SELECT * FROM sojourn.changes($1, $2)")
        self.expired = statement("expired", "SELECT * FROM sojourn.expired($1, $2, $3)")
        self.reading = (self.read, self.ranked, self.changes, self.expired)
