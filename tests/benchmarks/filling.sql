-- One chunk of history, set-wise: the rows that the writer would have made of as many postings.
--
-- Posting number n debits and credits accounts drawn from a hash of n, so each run gets the same
-- books; every `hot_every`-th of them credits the first account. Keys are random UUIDs, as clients
-- make them: they fall all over their index. What happened lies evenly over the year before, and was
-- recorded 10 microseconds apart, which is slower than it is loaded and hence never in the future.
--
-- One thing differs from the writer's rows: the fingerprint is that of the key alone.

CREATE FUNCTION pg_temp.time_ordered_uuid(moment timestamptz) RETURNS uuid LANGUAGE sql AS $$
    -- A random UUID with the milliseconds of the moment in front, and 7 for its version.
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substr(int8send(floor(extract(epoch FROM moment) * 1000)::int8), 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

CREATE FUNCTION pg_temp.add_history(
    organization uuid, ledger uuid, postings int, total int, hot_every int
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first int8;
    started timestamptz;
    happened timestamptz;
    accounts_there int;
BEGIN
    SELECT last_sequence, last_recorded_at, created_at - interval '1 year'
    INTO STRICT first, started, happened
    FROM ledgers l WHERE l.organization_id = organization AND l.ledger_id = ledger
    FOR NO KEY UPDATE;

    CREATE TEMP TABLE numbered ON COMMIT DROP AS
        SELECT a.account_id, row_number() OVER (ORDER BY a.account_id)::int AS number,
            a.version, a.posted_debits, a.posted_credits
        FROM accounts a WHERE a.organization_id = organization AND a.ledger_id = ledger;
    SELECT count(*) INTO accounts_there FROM numbered;
    ANALYZE numbered;

    CREATE TEMP TABLE postings_drawn ON COMMIT DROP AS
        SELECT n AS sequence, pg_temp.time_ordered_uuid(started) AS id,
            gen_random_uuid()::text AS key,
            happened + n * (interval '1 year' / total) AS effective_at,
            started + (n - first) * interval '10 microseconds' AS recorded_at,
            CASE WHEN n % hot_every = 0 THEN 1 ELSE credited END AS credited,
            -- a step of at least 1 from it, so that it is another account
            1 + (CASE WHEN n % hot_every = 0 THEN 1 ELSE credited END - 1 + step) % accounts_there
                AS debited,
            amount
        FROM (
            SELECT n, 1 + abs(hashint8extended(n, 1) % accounts_there)::int AS credited,
                1 + abs(hashint8extended(n, 2) % (accounts_there - 1))::int AS step,
                1 + abs(hashint8extended(n, 3) % 100000) AS amount
            FROM generate_series(first + 1, first + postings) n
        ) drawn;

    INSERT INTO transactions (organization_id, transaction_id, ledger_id, sequence, status,
        description, metadata, effective_at, created_at, posted_at)
    SELECT organization, id, ledger, sequence, 'posted', 'Benchmark', '{}', effective_at,
        recorded_at, recorded_at
    FROM postings_drawn ORDER BY sequence;

    INSERT INTO transaction_events (organization_id, ledger_id, transaction_sequence, number, kind,
        idempotency_key, fingerprint, recorded_at)
    SELECT organization, ledger, sequence, 1, 'posted', key, sha256(convert_to(key, 'UTF8')),
        recorded_at
    FROM postings_drawn ORDER BY sequence;

    CREATE TEMP TABLE lines ON COMMIT DROP AS
        SELECT p.sequence AS transaction_sequence, side.line, a.account_id, side.direction,
            p.amount, p.effective_at, p.recorded_at,
            a.version + row_number() OVER past AS sequence,
            a.posted_debits
                + coalesce(sum(p.amount) FILTER (WHERE side.line = 1) OVER past, 0) AS posted_debits,
            a.posted_credits
                + coalesce(sum(p.amount) FILTER (WHERE side.line = 2) OVER past, 0) AS posted_credits
        FROM postings_drawn p
        CROSS JOIN LATERAL (VALUES (1, 'debit', p.debited), (2, 'credit', p.credited))
            AS side (line, direction, number)
        JOIN numbered a ON a.number = side.number
        WINDOW past AS (PARTITION BY a.account_id ORDER BY p.sequence, side.line);

    INSERT INTO entries (organization_id, account_id, sequence, ledger_id, transaction_sequence,
        effective_at, recorded_at, line, event, direction, effect, amount, posted_debits,
        posted_credits, pending_debits, pending_credits)
    SELECT organization, account_id, sequence, ledger, transaction_sequence, effective_at,
        recorded_at, line, 1, direction, 'post', amount, posted_debits, posted_credits, 0, 0
    FROM lines ORDER BY transaction_sequence, line;

    UPDATE accounts a SET version = latest.sequence, posted_debits = latest.posted_debits,
        posted_credits = latest.posted_credits
    FROM (
        SELECT DISTINCT ON (account_id) * FROM lines ORDER BY account_id, sequence DESC
    ) latest
    WHERE a.organization_id = organization AND a.account_id = latest.account_id;

    UPDATE ledgers l SET last_sequence = first + postings,
        last_recorded_at = started + postings * interval '10 microseconds'
    WHERE l.organization_id = organization AND l.ledger_id = ledger;
END $$;
