-- Records. A table with row numbers: without them a value of 1 KB would spill into pages of its own. The value stands
-- last, so that the other columns are read without touching it.
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    space TEXT NOT NULL,
    partition TEXT NOT NULL,
    item TEXT NOT NULL,
    revision INTEGER NOT NULL,
    rank INTEGER,
    expires_at INTEGER, -- milliseconds since 1970
    value BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX records_by_key ON records (space, partition, item);
CREATE INDEX records_by_rank ON records (space, rank, partition, item) WHERE rank IS NOT NULL;
CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;

-- One row for each transaction id that has been committed, so that a repeat is recognised.
CREATE TABLE receipts (
    id BLOB PRIMARY KEY,
    revision INTEGER,
    attempt INTEGER NOT NULL,
    until INTEGER NOT NULL -- milliseconds since 1970
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_by_until ON receipts (until);

-- One row for each batch that changed something; positions have no holes. The newest row also holds the last revision
-- drawn. The oldest row is the floor: it is kept for its position, its keys are forgotten. So the log is never empty.
CREATE TABLE log (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL, -- milliseconds since 1970
    revision INTEGER NOT NULL,
    keys BLOB NOT NULL -- MessagePack: an array of [space, partition, item]
) STRICT;

-- Which store this is: a position of another store's log is not one of ours.
CREATE TABLE store (
    identity TEXT NOT NULL
) STRICT;
