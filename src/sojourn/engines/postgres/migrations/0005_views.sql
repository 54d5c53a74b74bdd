-- What an operator may look at with plain SQL. Nothing here is used by sojourn itself.

CREATE FUNCTION sojourn.instant_at(milliseconds bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_timestamp(milliseconds / 1000.0);

-- A value as JSON, where it is that and not compressed; NULL where it is anything else.
CREATE FUNCTION sojourn.readable(value bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF substr(value, 1, 1) = 'j' THEN
        RETURN convert_from(substr(value, 2), 'UTF8')::jsonb;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception OR statement_too_complex THEN -- no text, no JSON, or nested beyond all reason
    RETURN NULL;
END
$$;

CREATE VIEW sojourn.live_records AS
SELECT
    r.space, r.partition, r.item, r.revision, r.rank, sojourn.instant_at(r.expires_at) AS expires_at,
    length(r.value) AS bytes, sojourn.readable(r.value) AS json
FROM sojourn.records AS r
WHERE r.expires_at IS NULL OR sojourn.instant_at(r.expires_at) > clock_timestamp();

CREATE VIEW sojourn.sessions AS
SELECT
    s.partition AS id, s.json ->> 'subject' AS subject, s.json ->> 'label' AS label,
    sojourn.instant_at(t.rank) AS created_at, i.expires_at AS idle_until, s.expires_at AS ends_at
FROM sojourn.live_records AS s
JOIN sojourn.live_records AS i ON i.space = 'session.idle' AND i.partition = s.partition AND i.item = ''
LEFT JOIN sojourn.live_records AS t ON t.space = 'session.trace' AND t.partition = s.partition AND t.item = ''
WHERE s.space = 'session' AND s.item = '';

CREATE VIEW sojourn.changes AS
SELECT l.xid, sojourn.instant_at(l.at) AS at, k.space, k.partition, k.item
FROM sojourn.log AS l, unnest(l.spaces, l.partitions, l.items) AS k (space, partition, item);
