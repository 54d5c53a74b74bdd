-- One step of a sweep, in two trips: what has expired is found, and then removed under the locks of its partitions.

-- Up to `most` expired records. The last row has no partition and tells the time.
CREATE FUNCTION sojourn.expired(given bigint, seen bigint, most bigint)
RETURNS TABLE (space text, partition text, item text, moment bigint)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    now CONSTANT bigint := sojourn.now(given, seen);
BEGIN
    RETURN QUERY
        SELECT r.space, r.partition, r.item, NULL::bigint FROM sojourn.records AS r
        WHERE r.expires_at <= now ORDER BY r.expires_at LIMIT most;
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::text, now;
END
$$;

-- Remove these records if they have expired and announce them, and up to `most` rows of the log and receipts that are
-- kept too long. The log keeps what some snapshot may not have seen yet, however old that is.
CREATE FUNCTION sojourn.remove(
    moment bigint, log_keep bigint, log_rows bigint, most bigint,
    locks integer[], spaces text[], partitions text[], items text[]
) RETURNS TABLE (expired bigint, trimmed bigint, forgotten bigint)
LANGUAGE plpgsql VOLATILE
SET lock_timeout = '5s' -- limits.POSTGRES_LOCK
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    new_floor xid8;
BEGIN
    expired := 0;
    IF cardinality(items) > 0 THEN
        PERFORM sojourn.lock(locks);
        WITH gone AS ( -- asked again: somebody may have written it before we had the lock
            DELETE FROM sojourn.records AS r USING unnest(spaces, partitions, items) AS k (space, partition, item)
            WHERE r.space = k.space AND r.partition = k.partition AND r.item = k.item AND r.expires_at <= moment
            RETURNING r.space, r.partition, r.item
        )
        INSERT INTO sojourn.log AS l (xid, at, spaces, partitions, items)
        SELECT pg_current_xact_id(), moment, array_agg(gone.space), array_agg(gone.partition), array_agg(gone.item)
        FROM gone HAVING count(*) > 0
        RETURNING cardinality(l.items) INTO expired;
        expired := coalesce(expired, 0);
    END IF;

    WITH oldest AS (
        SELECT l.xid, l.at, l.number FROM sojourn.log AS l
        WHERE l.xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY l.xid LIMIT most
    ), spent AS ( -- only these are locked, since that is written, too
        SELECT l.xid FROM oldest AS o JOIN sojourn.log AS l ON l.xid = o.xid
        WHERE o.at <= moment - log_keep OR o.number <= (SELECT last_value FROM sojourn.log_number_seq) - log_rows
        FOR UPDATE OF l SKIP LOCKED
    ), gone AS (
        DELETE FROM sojourn.log AS l USING spent WHERE l.xid = spent.xid RETURNING l.xid
    )
    SELECT count(*), (array_agg(gone.xid ORDER BY gone.xid DESC))[1] INTO trimmed, new_floor FROM gone;
    UPDATE sojourn.store AS s SET floor = new_floor WHERE s.floor < new_floor;

    WITH spent AS (
        SELECT r.id FROM sojourn.receipts AS r WHERE r.until <= moment
        ORDER BY r.until LIMIT most FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM sojourn.receipts AS r USING spent WHERE r.id = spent.id RETURNING r.id
    )
    SELECT count(*) INTO forgotten FROM gone;
    RETURN NEXT;
END
$$;
