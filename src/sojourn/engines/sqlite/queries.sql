-- Every statement of the engine but the pragmas. Each has a name, and is prepared once per connection.

-- name: begin reading
BEGIN;

-- name: begin writing
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: roll back
ROLLBACK;

-- One statement, so one snapshot: another process may be making the store at this moment.
-- name: marks
SELECT application_id, user_version, EXISTS (SELECT 1 FROM sqlite_schema) FROM pragma_application_id, pragma_user_version;

-- Records -------------------------------------------------------------------------------------------------------------

-- name: record
SELECT revision, rank, expires_at, value FROM records WHERE space = ?1 AND partition = ?2 AND item = ?3;

-- The same without the value, which a guard and most writes have no use for.
-- name: row
SELECT number, revision, rank, expires_at FROM records WHERE space = ?1 AND partition = ?2 AND item = ?3;

-- name: value
SELECT value FROM records WHERE number = ?1;

-- An open end is bound as a blob: it sorts behind every text, and the index can still be used.
-- name: span
SELECT item, revision, rank, expires_at, value FROM records
WHERE space = ?1 AND partition = ?2 AND item >= ?3 AND item < ?4 AND (expires_at IS NULL OR expires_at > ?5)
ORDER BY item LIMIT ?6;

-- name: span reversed
SELECT item, revision, rank, expires_at, value FROM records
WHERE space = ?1 AND partition = ?2 AND item >= ?3 AND item < ?4 AND (expires_at IS NULL OR expires_at > ?5)
ORDER BY item DESC LIMIT ?6;

-- name: span rows
SELECT number, item FROM records
WHERE space = ?1 AND partition = ?2 AND item >= ?3 AND item < ?4 AND (expires_at IS NULL OR expires_at > ?5)
ORDER BY item LIMIT ?6;

-- name: span fingerprint
SELECT count(*), coalesce(max(revision), 0) FROM (
    SELECT revision FROM records
    WHERE space = ?1 AND partition = ?2 AND item >= ?3 AND item < ?4 AND (expires_at IS NULL OR expires_at > ?5)
    LIMIT ?6
);

-- name: ranked
SELECT partition, item, revision, rank, expires_at, value FROM records INDEXED BY records_by_rank
WHERE space = ?1 AND rank <= ?2 AND (rank, partition, item) > (?3, ?4, ?5) AND (expires_at IS NULL OR expires_at > ?6)
ORDER BY rank, partition, item LIMIT ?7;

-- name: ranked reversed
SELECT partition, item, revision, rank, expires_at, value FROM records INDEXED BY records_by_rank
WHERE space = ?1 AND rank >= ?2 AND (rank, partition, item) < (?3, ?4, ?5) AND (expires_at IS NULL OR expires_at > ?6)
ORDER BY rank DESC, partition DESC, item DESC LIMIT ?7;

-- name: write new
INSERT INTO records (space, partition, item, revision, rank, expires_at, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (space, partition, item) DO UPDATE
SET revision = excluded.revision, rank = excluded.rank, expires_at = excluded.expires_at, value = excluded.value;

-- name: write over
UPDATE records SET revision = ?1, rank = ?2, expires_at = ?3, value = ?4 WHERE number = ?5;

-- name: touch
UPDATE records SET rank = ?1, expires_at = ?2 WHERE number = ?3;

-- name: delete
DELETE FROM records WHERE number IN carray(?1);

-- name: expired
SELECT number, space, partition, item FROM records INDEXED BY records_by_expiry
WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2;

-- Receipts ------------------------------------------------------------------------------------------------------------

-- CROSS JOIN keeps the order: one look into the primary key for each id.
-- name: receipts
SELECT receipts.id, receipts.revision, receipts.attempt
FROM carray(?1) AS asked CROSS JOIN receipts ON receipts.id = asked.value;

-- name: keep receipt
INSERT INTO receipts (id, revision, attempt, until) VALUES (?1, ?2, ?3, ?4);

-- name: drop receipts
DELETE FROM receipts WHERE id IN (SELECT id FROM receipts WHERE until <= ?1 ORDER BY until LIMIT ?2);

-- The log -------------------------------------------------------------------------------------------------------------

-- name: make identity
INSERT INTO store (identity) VALUES (?1);

-- name: identity
SELECT identity FROM store;

-- name: newest
SELECT position, revision FROM log ORDER BY position DESC LIMIT 1;

-- name: append to log
INSERT INTO log (position, at, revision, keys) VALUES (?1, ?2, ?3, ?4);

-- The row asked from comes first, without its keys: it proves that nothing since has been trimmed.
-- name: log since
SELECT position, iif(position > ?1, keys, NULL) FROM log WHERE position >= ?1 ORDER BY position;

-- The newest row that may go becomes the floor, and everything before it is trimmed.
-- name: new floor
SELECT (SELECT min(position) FROM log), max(position) FROM (
    SELECT position, at FROM log WHERE position > (SELECT min(position) FROM log) ORDER BY position LIMIT ?1
)
WHERE at <= ?2 OR position <= (SELECT max(position) FROM log) - ?3;

-- name: trim log
DELETE FROM log WHERE position < ?1;
