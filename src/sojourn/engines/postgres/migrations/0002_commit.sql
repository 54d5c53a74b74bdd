-- Applying a batch, in one trip.

-- The instant, rank or bound that a number stands for: step 0 is the number itself, -1 none at all, and any other adds
-- it to the time and rounds up to a multiple of the step.
CREATE FUNCTION sojourn.instant(number bigint, step bigint, now bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN step = 0 THEN number
    WHEN step = 1 THEN now + number
    WHEN step < 0 THEN NULL
    ELSE (now + number + CASE WHEN now + number > 0 THEN step - 1 ELSE 0 END) / step * step
END;

-- The engine's time: that of the test, or the server's, which must not step back below what the process has seen.
CREATE FUNCTION sojourn.now(given bigint, seen bigint) RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN coalesce(given, greatest(seen, (extract(epoch FROM clock_timestamp()) * 1000)::bigint));

-- Take the locks of partitions until the end of the transaction, in the order given, which is the same for everybody.
-- There are 4,096 numbers, those of each store apart from all others'. Who needs more than 512 of them locks the whole
-- store instead: the server's table of locks is shared by all, and it is not large. Returns true, so that it can be
-- called in an expression, which costs less than a statement.
CREATE FUNCTION sojourn.lock(numbers integer[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    store CONSTANT integer := hashtext('sojourn.store');
    is_held boolean;
    number integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'sojourn needs READ COMMITTED: what it reads under a lock must be all that was committed before'
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF cardinality(numbers) > 512 THEN
        is_held := pg_advisory_xact_lock(store, -1) IS NOT NULL;
    ELSE
        is_held := pg_advisory_xact_lock_shared(store, -1) IS NOT NULL;
        FOREACH number IN ARRAY numbers LOOP
            is_held := pg_advisory_xact_lock(store, number) IS NOT NULL;
        END LOOP;
    END IF;
    RETURN true;
END
$$;

-- The living records of a span: the first so many, or with a negative number the last. Values only where wanted.
CREATE FUNCTION sojourn.span(
    of_space text, of_partition text, start text, stop text, moment bigint, most bigint, wanted boolean
) RETURNS TABLE (item text, revision bigint, rank bigint, expires_at bigint, value bytea)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
BEGIN
    stop := coalesce(stop, repeat(chr(1114111), 257)); -- greater than any item
    IF most >= 0 THEN
        RETURN QUERY
            SELECT r.item, r.revision, r.rank, r.expires_at, CASE WHEN wanted THEN r.value END
            FROM sojourn.records AS r
            WHERE r.space = of_space AND r.partition = of_partition AND r.item >= start AND r.item < stop
                AND (r.expires_at IS NULL OR r.expires_at > moment)
            ORDER BY r.item LIMIT most;
    ELSE
        RETURN QUERY
            SELECT r.item, r.revision, r.rank, r.expires_at, CASE WHEN wanted THEN r.value END
            FROM sojourn.records AS r
            WHERE r.space = of_space AND r.partition = of_partition AND r.item >= start AND r.item < stop
                AND (r.expires_at IS NULL OR r.expires_at > moment)
            ORDER BY r.item DESC LIMIT -most;
    END IF;
END
$$;

-- What stands at a key while a batch is applied: without a revision, nothing.
CREATE TYPE sojourn.place AS (
    revision bigint,
    rank bigint,
    expires_at bigint,
    value bytea, -- unless it is only in the table
    state integer, -- 1 touched, 2 written or deleted, and not yet written back
    is_announced boolean
);

-- Apply a batch of transactions, one by one, to what is known of the records.
--
-- Every key that a guard, a write or a read names has a number. What stands there is read once, into `places`; the
-- steps of `program` judge and change these; and what they changed is written back once, when all is done or when a
-- span must be looked up. So a batch costs a few statements, however large it is, and yet each transaction sees what
-- those before it did.
--
-- A step is seven numbers: its kind, the number of the key or span that it is about, and five more. See `program.py`,
-- which writes them. From 40 on a step asks the tables, so they must be up to date. `spans` holds four texts for each
-- span or append: space, partition, start (or prefix) and stop. New values stand in `contents`. Those of the first
-- `wanted` keys are read with their records.
--
-- An id is inserted into `receipts` in the hope that it is new, and looked for when a guard fails. If it is not new,
-- all fails, and the batch is to be sent again as `doubtful`: then ids are looked for first.
--
-- Each answer is a row: 1 committed, 2 repeated, 3 conflict, 4 a record that was read; the last one is 0, the time.
CREATE FUNCTION sojourn.commit(
    given bigint, seen bigint, receipts_keep bigint, doubtful boolean,
    locks integer[], spaces text[], partitions text[], items text[], wanted integer,
    ids bytea[], program bigint[], contents bytea[], spans text[]
) RETURNS TABLE (
    answer integer, place integer, item text, revision bigint, rank bigint, expires_at bigint, value bytea
)
LANGUAGE plpgsql VOLATILE
SET lock_timeout = '5s' -- limits.POSTGRES_LOCK
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
-- An expression is prepared anew in each transaction that reaches it, and that is much of what a small batch costs. So
-- nothing is given a first value that NULL may stand for, and no answer is emptied that is empty already. Arrays are
-- taken apart in a list of columns; in FROM, each would be kept in a store of its own.
DECLARE
    moment bigint;
    places sojourn.place[];
    has_touched boolean;
    has_written boolean;
    has_deleted boolean;
    has_announced boolean;
    -- What deletions of spans have removed.
    gone_spaces text[];
    gone_partitions text[];
    gone_items text[];
    -- What was committed under each id, now or before.
    attempts integer[];
    drawns bigint[];
    fresh integer[];
    -- The step: where in the program it is, its kind, and the key or span.
    at integer := -6;
    kind integer;
    n integer;
    -- The transaction: where it begins, its id, and what it has done.
    began integer;
    receipt integer;
    drawn bigint;
    remaining integer;
    -- What one step needs.
    holds boolean;
    there sojourn.place;
    old_attempt integer;
    old_drawn bigint;
    removed text[];
    other integer;
BEGIN
    holds := sojourn.lock(locks);
    moment := sojourn.now(given, seen); -- not before: what was committed while we waited must not be in the future

    SELECT array_agg((
        SELECT ROW(
            r.revision, r.rank, r.expires_at, CASE WHEN k.nth <= wanted THEN r.value END, 0, false
        )::sojourn.place
        FROM sojourn.records AS r
        WHERE r.space = k.space AND r.partition = k.partition AND r.item = k.item
            AND (r.expires_at IS NULL OR r.expires_at > moment)
    )) INTO places
    FROM (
        SELECT unnest(spaces) AS space, unnest(partitions) AS partition, unnest(items) AS item,
            generate_subscripts(items, 1) AS nth
    ) AS k;

    IF doubtful THEN
        SELECT array_agg((SELECT r.attempt FROM sojourn.receipts AS r WHERE r.id = k.id)),
            array_agg((SELECT r.revision FROM sojourn.receipts AS r WHERE r.id = k.id))
        INTO attempts, drawns FROM (SELECT unnest(ids) AS id) AS k;
    END IF;

    LOOP
        at := at + 7;
        kind := program[at];
        n := program[at + 1];

        IF kind >= 40 THEN
            IF has_deleted THEN
                DELETE FROM sojourn.records AS r USING (
                    SELECT unnest(spaces) AS space, unnest(partitions) AS partition, unnest(items) AS item,
                        unnest(places) AS place
                ) AS k
                WHERE (k.place).state = 2 AND (k.place).revision IS NULL
                    AND r.space = k.space AND r.partition = k.partition AND r.item = k.item;
            END IF;
            IF has_written THEN
                INSERT INTO sojourn.records AS r (space, partition, item, revision, rank, expires_at, value)
                SELECT k.space, k.partition, k.item,
                    (k.place).revision, (k.place).rank, (k.place).expires_at, (k.place).value
                FROM (
                    SELECT unnest(spaces) AS space, unnest(partitions) AS partition, unnest(items) AS item,
                        unnest(places) AS place
                ) AS k
                WHERE (k.place).state = 2 AND (k.place).revision IS NOT NULL
                ON CONFLICT ON CONSTRAINT records_pkey DO UPDATE SET
                    revision = excluded.revision, rank = excluded.rank,
                    expires_at = excluded.expires_at, value = excluded.value;
            END IF;
            IF has_touched THEN
                UPDATE sojourn.records AS r SET rank = (k.place).rank, expires_at = (k.place).expires_at FROM (
                    SELECT unnest(spaces) AS space, unnest(partitions) AS partition, unnest(items) AS item,
                        unnest(places) AS place
                ) AS k
                WHERE (k.place).state = 1
                    AND r.space = k.space AND r.partition = k.partition AND r.item = k.item;
            END IF;
            EXIT WHEN kind = 43;
            IF has_deleted OR has_written OR has_touched THEN
                FOR other IN 1 .. cardinality(items) LOOP
                    places[other].state := 0;
                END LOOP;
                has_deleted := false;
                has_written := false;
                has_touched := false;
            END IF;
        END IF;

        IF kind < 10 OR kind = 40 THEN -- a guard
            IF kind = 1 THEN
                holds := (places[n]).revision = program[at + 2];
            ELSIF kind = 2 THEN
                holds := (places[n]).revision IS NULL;
            ELSIF kind = 3 THEN
                holds := (places[n]).revision IS NOT NULL;
            ELSIF kind = 4 THEN
                holds := (places[n]).rank <= sojourn.instant(program[at + 2], program[at + 3], moment);
            ELSE
                SELECT count(*) = program[at + 2] AND coalesce(max(s.revision), 0) = program[at + 3] INTO holds
                FROM sojourn.span(
                    spans[n], spans[n + 1], spans[n + 2], spans[n + 3], moment, program[at + 2] + 1, false
                ) AS s;
            END IF;
            CONTINUE WHEN holds;
            IF receipt > 0 AND NOT doubtful THEN
                SELECT r.attempt, r.revision INTO old_attempt, old_drawn
                FROM sojourn.receipts AS r WHERE r.id = ids[receipt];
                IF FOUND THEN
                    attempts[receipt] := old_attempt;
                    drawns[receipt] := old_drawn;
                    at := program[began + 3];
                    CONTINUE;
                END IF;
            END IF;
            answer := 3;
            place := program[at + 6];
            IF kind < 10 AND (places[n]).revision IS NOT NULL THEN
                revision := (places[n]).revision;
                rank := (places[n]).rank;
                expires_at := (places[n]).expires_at;
                value := (places[n]).value;
                IF value IS NULL THEN
                    SELECT r.value INTO value FROM sojourn.records AS r
                    WHERE r.space = spaces[n] AND r.partition = partitions[n] AND r.item = items[n];
                END IF;
            END IF;
            RETURN NEXT;
            revision := NULL;
            rank := NULL;
            expires_at := NULL;
            value := NULL;
            at := program[began + 4];

        ELSIF kind = 10 OR kind < 13 AND (places[n]).revision IS NULL THEN -- put; create and ensure what is absent
            IF drawn IS NULL THEN
                drawn := nextval('sojourn.revisions');
                has_written := true;
                has_announced := true;
            END IF;
            places[n] := ROW(
                drawn,
                sojourn.instant(program[at + 3], program[at + 4], moment),
                sojourn.instant(program[at + 5], program[at + 6], moment),
                contents[program[at + 2]], 2, true
            )::sojourn.place;

        ELSIF kind = 20 THEN -- a transaction begins
            began := at;
            receipt := n;
            remaining := 0;
            drawn := NULL;
            IF attempts[receipt] IS NOT NULL THEN
                at := program[began + 3];
            END IF;

        ELSIF kind = 21 THEN -- a transaction has been judged and written
            answer := 1;
            place := remaining;
            revision := drawn;
            IF receipt > 0 THEN
                IF attempts[receipt] IS NULL THEN
                    attempts[receipt] := program[began + 2];
                    drawns[receipt] := drawn;
                    fresh := fresh || receipt;
                ELSE
                    answer := 2;
                    revision := drawns[receipt];
                    rank := attempts[receipt];
                END IF;
            END IF;
            RETURN NEXT;
            revision := NULL;
            rank := NULL;

        ELSIF kind = 30 THEN -- read a key
            there := places[n];
            IF there.revision IS NOT NULL THEN
                answer := 4;
                place := program[at + 2];
                revision := there.revision;
                rank := there.rank;
                expires_at := there.expires_at;
                value := there.value;
                RETURN NEXT;
                revision := NULL;
                rank := NULL;
                expires_at := NULL;
                value := NULL;
            END IF;

        ELSIF kind < 14 THEN -- touch, and ensure where a record stands; create has nothing to do there
            there := places[n];
            IF kind > 11 AND there.revision IS NOT NULL THEN
                IF program[at + 4] <> -2 THEN
                    there.rank := sojourn.instant(program[at + 3], program[at + 4], moment);
                END IF;
                IF program[at + 6] <> -2 THEN
                    there.expires_at := sojourn.instant(program[at + 5], program[at + 6], moment);
                END IF;
                IF there IS DISTINCT FROM places[n] THEN
                    there.state := greatest(there.state, 1);
                    places[n] := there;
                    has_touched := true;
                END IF;
            END IF;

        ELSIF kind = 14 THEN -- delete
            IF (places[n]).revision IS NOT NULL THEN
                places[n] := ROW(NULL, NULL, NULL, NULL, 2, true)::sojourn.place;
                has_deleted := true;
                has_announced := true;
            END IF;

        ELSIF kind = 15 THEN -- append: under a number of its own, since nobody can have named the key yet
            IF drawn IS NULL THEN
                drawn := nextval('sojourn.revisions');
                has_written := true;
                has_announced := true;
            END IF;
            other := cardinality(spaces) + 1;
            spaces[other] := spans[n];
            partitions[other] := spans[n + 1];
            items[other] := spans[n + 2] || lpad(to_hex(drawn), 16, '0') || lpad(to_hex(program[at + 3]), 4, '0');
            places[other] := ROW(
                drawn, NULL, sojourn.instant(program[at + 5], program[at + 6], moment),
                contents[program[at + 2]], 2, true
            )::sojourn.place;

        ELSIF kind = 41 THEN -- delete a span
            SELECT array_agg(s.item) INTO removed FROM sojourn.span(
                spans[n], spans[n + 1], spans[n + 2], spans[n + 3], moment, program[at + 2], false
            ) AS s;
            CONTINUE WHEN removed IS NULL;
            DELETE FROM sojourn.records AS r
            WHERE r.space = spans[n] AND r.partition = spans[n + 1] AND r.item = ANY (removed);
            FOR other IN
                SELECT k.nth FROM unnest(spaces, partitions, items) WITH ORDINALITY AS k (space, partition, item, nth)
                WHERE k.space = spans[n] AND k.partition = spans[n + 1] AND k.item = ANY (removed)
            LOOP
                places[other] := NULL;
            END LOOP;
            gone_spaces := gone_spaces || array_fill(spans[n], ARRAY[cardinality(removed)]);
            gone_partitions := gone_partitions || array_fill(spans[n + 1], ARRAY[cardinality(removed)]);
            gone_items := gone_items || removed;
            has_announced := true;
            IF cardinality(removed) = program[at + 2] AND EXISTS (
                SELECT FROM sojourn.span(spans[n], spans[n + 1], spans[n + 2], spans[n + 3], moment, 1, false)
            ) THEN
                remaining := 1;
            END IF;

        ELSIF kind = 42 THEN -- read a span
            RETURN QUERY
                SELECT 4, program[at + 2]::integer, s.item, s.revision, s.rank, s.expires_at, s.value
                FROM sojourn.span(
                    spans[n], spans[n + 1], spans[n + 2], spans[n + 3], moment, program[at + 3], true
                ) AS s;
        END IF;
    END LOOP;

    IF has_announced THEN
        INSERT INTO sojourn.log (xid, at, spaces, partitions, items)
        SELECT pg_current_xact_id(), moment,
            array_agg(k.space) || gone_spaces, array_agg(k.partition) || gone_partitions,
            array_agg(k.item) || gone_items
        FROM (
            SELECT unnest(spaces) AS space, unnest(partitions) AS partition, unnest(items) AS item,
                unnest(places) AS place
        ) AS k
        WHERE (k.place).is_announced;
    END IF;
    IF fresh IS NOT NULL THEN
        INSERT INTO sojourn.receipts (id, revision, attempt, until)
        SELECT ids[f], drawns[f], attempts[f], moment + receipts_keep
        FROM (SELECT unnest(fresh) AS f) AS k;
    END IF;
    answer := 0;
    place := CASE WHEN has_announced THEN 1 ELSE 0 END;
    revision := moment;
    RETURN NEXT;
END
$$;
