-- A month of an account, and a statement of a tenth as many lines, set-wise.
--
-- Half of the lines have an entry of their reference; three tenths have one of their amount, at most
-- a day apart; two tenths are payouts of many entries each, by batch. One line in a thousand has no
-- entry, and one batch in a hundred is short of a tenth of a per cent. Rows are those that the
-- writer and the import make, but for the fingerprints.

CREATE FUNCTION pg_temp.add_month(
    organization uuid, ledger uuid, account uuid, counter uuid, external uuid, api_key uuid,
    many int
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first int8;
    import_id uuid := gen_random_uuid();
    statement_id uuid := gen_random_uuid();
    singles int := many / 20;
    alikes int := many * 3 / 100;
    batches int := many / 50;
    unit text;
    month timestamptz := '2026-03-01 00:00+00';
BEGIN
    SELECT last_sequence INTO STRICT first FROM ledgers l
    WHERE l.organization_id = organization AND l.ledger_id = ledger FOR NO KEY UPDATE;

    SELECT currency INTO STRICT unit FROM accounts a
    WHERE a.organization_id = organization AND a.account_id = account;

    CREATE TEMP TABLE drawn ON COMMIT DROP AS
        SELECT n, gen_random_uuid() AS id,
            month + abs(hashint8extended(n, 1) % (28 * 86400)) * interval '1 second'
                + interval '1 day' AS effective_at,
            1 + abs(hashint8extended(n, 2) % 1000000)::numeric AS amount,
            CASE WHEN n <= singles THEN 'R' || n END AS external_id,
            CASE WHEN n > singles + alikes THEN 'B' || n % batches END AS batch
        FROM generate_series(1, many) n;
    ANALYZE drawn;

    INSERT INTO transactions (organization_id, transaction_id, ledger_id, sequence, status,
        description, external_id, metadata, effective_at, created_at, posted_at)
    SELECT organization, id, ledger, first + n, 'posted', 'Sale ' || n, external_id,
        CASE WHEN batch IS NULL THEN '{}' ELSE jsonb_build_object('batch', batch) END,
        effective_at, now(), now()
    FROM drawn ORDER BY n;

    INSERT INTO transaction_events (organization_id, ledger_id, transaction_sequence, number, kind,
        idempotency_key, fingerprint, recorded_at)
    SELECT organization, ledger, first + n, 1, 'posted', id::text, sha256(uuid_send(id)), now()
    FROM drawn ORDER BY n;

    INSERT INTO entries (organization_id, account_id, sequence, ledger_id, transaction_sequence,
        effective_at, recorded_at, line, event, direction, effect, amount, posted_debits,
        posted_credits, pending_debits, pending_credits)
    SELECT organization, side.account_id, n, ledger, first + n, effective_at, now(), side.line, 1,
        side.direction, 'post', amount,
        CASE side.line WHEN 1 THEN sum(amount) OVER past ELSE 0 END,
        CASE side.line WHEN 2 THEN sum(amount) OVER past ELSE 0 END, 0, 0
    FROM drawn
    CROSS JOIN LATERAL (VALUES (1, 'debit', account), (2, 'credit', counter))
        AS side (line, direction, account_id)
    WINDOW past AS (PARTITION BY side.line ORDER BY n)
    ORDER BY n, side.line;

    UPDATE accounts a SET version = many,
        posted_debits = CASE WHEN a.account_id = account THEN t.total ELSE 0 END,
        posted_credits = CASE WHEN a.account_id = counter THEN t.total ELSE 0 END
    FROM (SELECT sum(amount) AS total FROM drawn) t
    WHERE a.organization_id = organization AND a.account_id IN (account, counter);
    UPDATE ledgers l SET last_sequence = first + many, last_recorded_at = now()
    WHERE l.organization_id = organization AND l.ledger_id = ledger;

    CREATE TEMP TABLE said ON COMMIT DROP AS
        SELECT row_number() OVER (ORDER BY booked_on, least, amount) AS number, *
        FROM (
            SELECT (effective_at + interval '1 day')::date AS booked_on, n AS least, amount,
                external_id AS reference, 'Payment ' || n AS description
            FROM drawn WHERE n <= singles AND n % 1000 > 0
            UNION ALL
            SELECT (effective_at + (n % 3 - 1) * interval '1 day')::date, n, amount, NULL,
                'Transfer ' || n
            FROM drawn WHERE n > singles AND n <= singles + alikes
            UNION ALL
            SELECT max(effective_at)::date, min(n),
                sum(amount) - CASE WHEN min(n) % 100 = 0 THEN trunc(sum(amount) / 1000) ELSE 0 END,
                batch, 'Payout ' || batch
            FROM drawn WHERE batch IS NOT NULL GROUP BY batch
            UNION ALL
            SELECT (effective_at + interval '1 day')::date, n, amount + 10000000, 'X' || n, 'Fee'
            FROM drawn WHERE n <= singles AND n % 1000 = 0
        ) l;

    INSERT INTO statement_imports (organization_id, import_id, ledger_id, external_account_id,
        api_key_id, format, content_hash, status, bytes_read, lines_read, lines_new, lines_known,
        lines_skipped, created_at, finished_at)
    SELECT organization, import_id, ledger, external, api_key, 'rows', sha256(uuid_send(import_id)),
        'completed', 0, count(*), count(*), 0, 0, now(), now()
    FROM said;
    INSERT INTO external_statements (organization_id, external_statement_id, ledger_id,
        external_account_id, import_id, number, currency, from_date, through_date, opening_balance,
        closing_balance, line_count, line_total, known_count, created_at)
    SELECT organization, statement_id, ledger, external, import_id, 1, unit, month::date,
        month::date + 30, 0, sum(amount), count(*), sum(amount), 0, now()
    FROM said;
    INSERT INTO statement_lines (organization_id, external_account_id, number,
        external_statement_id, position, booked_on, amount, currency, reference, description,
        fingerprint, occurrence)
    SELECT organization, external, number, statement_id, number, booked_on, amount, unit,
        reference, description, sha256(int8send(number)), 1
    FROM said ORDER BY number;
    UPDATE external_accounts x SET last_statement = 1, last_line = (SELECT count(*) FROM said)
    WHERE x.organization_id = organization AND x.external_account_id = external;
END $$;
