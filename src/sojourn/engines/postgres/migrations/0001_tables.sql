-- Everything of one store stands in one schema. It is called sojourn here and in all files beside this one; where the
-- URL names another, every "sojourn." is replaced as the file is read.

-- Which of the files beside this one have been applied.
CREATE TABLE sojourn.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Which store this is, and up to which transaction its log has been trimmed. One row.
CREATE TABLE sojourn.store (
    identity text NOT NULL,
    floor xid8 NOT NULL
);

INSERT INTO sojourn.store (identity, floor) VALUES (md5(gen_random_uuid()::text), '0');

-- Text sorts by code point, whatever the database's own order is.
CREATE TABLE sojourn.records (
    space text COLLATE "C" NOT NULL,
    partition text COLLATE "C" NOT NULL,
    item text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    rank bigint,
    expires_at bigint, -- milliseconds since 1970
    value bytea STORAGE EXTERNAL NOT NULL, -- what is worth compressing has been compressed before it comes here
    PRIMARY KEY (space, partition, item)
);

CREATE INDEX records_by_rank ON sojourn.records (space, rank, partition, item) WHERE rank IS NOT NULL;
CREATE INDEX records_by_expiry ON sojourn.records (expires_at) WHERE expires_at IS NOT NULL;

-- Drawn while the partition is locked, and never from a session's own stock: so revisions grow in the order of commits.
CREATE SEQUENCE sojourn.revisions CACHE 1;

-- One row for each transaction id that has been committed, so that a repeat is recognised.
CREATE TABLE sojourn.receipts (
    id bytea PRIMARY KEY,
    revision bigint,
    attempt integer NOT NULL,
    until bigint NOT NULL -- milliseconds since 1970
);

CREATE INDEX receipts_by_until ON sojourn.receipts (until);

-- The change log: one row for each batch that changed something, by the number of the server's transaction, which is
-- what snapshots are made of. The three arrays name the keys.
CREATE TABLE sojourn.log (
    xid xid8 PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY, -- counts the rows, roughly
    at bigint NOT NULL, -- milliseconds since 1970
    spaces text[] NOT NULL,
    partitions text[] NOT NULL,
    items text[] NOT NULL
);
