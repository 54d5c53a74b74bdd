-- Reading. These functions are STABLE: all that one of them looks at is seen as of the instant at which it was called.

-- Keys and spans. Answers have the form of those of `commit`: a row for each record, with the place of what asked for
-- it, keys first; then one row 0, with the time. `spans` holds four texts for each span: space, partition, start, stop.
CREATE FUNCTION sojourn.read(
    given bigint, seen bigint, spaces text[], partitions text[], items text[], spans text[], most bigint[]
) RETURNS TABLE (
    answer integer, place integer, item text, revision bigint, rank bigint, expires_at bigint, value bytea
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    moment CONSTANT bigint := sojourn.now(given, seen);
BEGIN
    IF cardinality(items) > 0 THEN
        RETURN QUERY
            SELECT 4, (k.n - 1)::integer, NULL::text, r.revision, r.rank, r.expires_at, r.value
            FROM unnest(spaces, partitions, items) WITH ORDINALITY AS k (space, partition, item, n)
            JOIN sojourn.records AS r ON r.space = k.space AND r.partition = k.partition AND r.item = k.item
            WHERE r.expires_at IS NULL OR r.expires_at > moment;
    END IF;
    FOR n IN 1 .. cardinality(most) LOOP
        RETURN QUERY
            SELECT 4, cardinality(items) + n - 1, s.item, s.revision, s.rank, s.expires_at, s.value
            FROM sojourn.span(
                spans[4 * n - 3], spans[4 * n - 2], spans[4 * n - 1], spans[4 * n], moment, most[n], true
            ) AS s;
    END LOOP;
    RETURN QUERY SELECT 0, 0, NULL::text, moment, NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

-- A page of a space by rank, beginning behind a place if one is given; with a negative number backwards. The last row
-- has no partition and tells the time.
CREATE FUNCTION sojourn.ranked(
    given bigint, seen bigint, of_space text, low bigint, low_step bigint, high bigint, high_step bigint,
    after_rank bigint, after_partition text, after_item text, most bigint
) RETURNS TABLE (partition text, item text, revision bigint, rank bigint, expires_at bigint, value bytea)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    moment CONSTANT bigint := sojourn.now(given, seen);
BEGIN
    low := sojourn.instant(low, low_step, moment);
    high := sojourn.instant(high, high_step, moment);
    -- Without a place to begin behind, or with one outside the bounds, it is between the bound and its neighbour.
    IF most >= 0 THEN
        IF after_rank IS NULL OR after_rank < low THEN
            after_rank := low - 1;
            after_partition := repeat(chr(1114111), 129); -- greater than any partition
            after_item := '';
        END IF;
        RETURN QUERY
            SELECT r.partition, r.item, r.revision, r.rank, r.expires_at, r.value FROM sojourn.records AS r
            WHERE r.space = of_space AND r.rank <= high
                AND (r.rank, r.partition, r.item) > (after_rank, after_partition, after_item)
                AND (r.expires_at IS NULL OR r.expires_at > moment)
            ORDER BY r.rank, r.partition, r.item LIMIT most;
    ELSE
        IF after_rank IS NULL OR after_rank > high THEN
            after_rank := high + 1;
            after_partition := '';
            after_item := '';
        END IF;
        RETURN QUERY
            SELECT r.partition, r.item, r.revision, r.rank, r.expires_at, r.value FROM sojourn.records AS r
            WHERE r.space = of_space AND r.rank >= low
                AND (r.rank, r.partition, r.item) < (after_rank, after_partition, after_item)
                AND (r.expires_at IS NULL OR r.expires_at > moment)
            ORDER BY r.rank DESC, r.partition DESC, r.item DESC LIMIT -most;
    END IF;
    RETURN QUERY SELECT NULL::text, NULL::text, moment, NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

-- What changed since a position, and the position of now.
--
-- A position is a snapshot, and the name of the log that it is one of. What the snapshot did not see and this one does
-- has changed since: nothing is passed over because its transaction took longer than a later one. A server that was
-- started anew may have lost what it had not yet made durable, or be another one, so its log has another name.
--
-- The snapshot ends behind the last row of the log. Who was undone after that may be forgotten when one of the server's
-- processes crashes, and then another transaction gets the number.
--
-- Each key is a row 1; then comes one row 0 with the position, or 2 if changes may be missing.
CREATE FUNCTION sojourn.changes(since text, most integer)
RETURNS TABLE (answer integer, space text, partition text, item text)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    here CONSTANT pg_snapshot := pg_current_snapshot();
    seen pg_snapshot;
    log_name text;
    log_floor xid8;
    log_end bigint;
    told integer;
BEGIN
    SELECT '/' || extract(epoch FROM pg_postmaster_start_time())::text || '/' || s.identity, s.floor,
        greatest(s.floor, (SELECT l.xid FROM sojourn.log AS l ORDER BY l.xid DESC LIMIT 1))::text::bigint + 1
    INTO log_name, log_floor, log_end FROM sojourn.store AS s;
    answer := 0;
    IF since IS NOT NULL THEN
        answer := 2;
        IF right(since, length(log_name)) = log_name THEN
            seen := left(since, -length(log_name))::pg_snapshot;
            IF pg_snapshot_xmin(seen) > log_floor AND pg_snapshot_xmax(seen) <= pg_snapshot_xmax(here) THEN
                RETURN QUERY
                    SELECT DISTINCT 1, k.space, k.partition, k.item
                    FROM sojourn.log AS l, unnest(l.spaces, l.partitions, l.items) AS k (space, partition, item)
                    WHERE l.xid >= pg_snapshot_xmin(seen) AND NOT pg_visible_in_snapshot(l.xid, seen)
                    LIMIT most + 1;
                GET DIAGNOSTICS told = ROW_COUNT;
                IF told <= most THEN
                    answer := 0;
                END IF;
            END IF;
        END IF;
    END IF;
    SELECT concat(
        least(pg_snapshot_xmin(here)::text::bigint, log_end), ':', log_end, ':',
        string_agg(x::text, ',' ORDER BY x), log_name
    ) INTO space FROM pg_snapshot_xip(here) AS x WHERE x::text::bigint < log_end;
    partition := NULL; item := NULL;
    RETURN NEXT;
END
$$;
