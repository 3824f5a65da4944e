"""Transactions: their events and entries, what became of holds, reversals and corrections."""

from app.store.audit.invariants.checks import (
    ON_PENDING,
    ON_POSTED,
    Check,
    Pass,
    not_back_in_time,
    without_gap,
)

TRANSACTIONS = Pass(
    title="transactions",
    rows=f"""
        SELECT t.*, l.ledger_id IS NULL AS homeless, v.number IS NULL AS uncaused, v.latest,
            coalesce(v.voided, false) AS void, coalesce(e.entries, 0) AS entries,
            r.status AS reversed_status, r.reverses_sequence AS reversed_reverses,
            o.sequence IS NOT NULL AS left_open,
            CASE WHEN o.sequence IS NOT NULL THEN 'pending' WHEN e.done THEN 'posted'
                ELSE 'voided' END AS reached
        FROM (
            SELECT *, lag(sequence, 1, 0::bigint) OVER past AS before,
                lag(created_at) OVER past AS created_before,
                count(*) OVER (PARTITION BY organization_id, transaction_id) AS namesakes,
                count(external_id) OVER (
                    PARTITION BY organization_id, ledger_id, external_id COLLATE "C"
                ) AS external_namesakes
            FROM transactions
            WINDOW past AS (PARTITION BY organization_id, ledger_id ORDER BY sequence)
        ) t
        LEFT JOIN ledgers l ON l.organization_id = t.organization_id AND l.ledger_id = t.ledger_id
        LEFT JOIN (
            SELECT organization_id, ledger_id, transaction_sequence AS sequence,
                max(number) AS number,
                max(recorded_at) FILTER (WHERE kind <> 'updated') AS latest,
                bool_or(kind IN ('voided', 'expired')) AS voided
            FROM transaction_events GROUP BY 1, 2, 3
        ) v ON v.organization_id = t.organization_id AND v.ledger_id = t.ledger_id
            AND v.sequence = t.sequence
        LEFT JOIN (
            SELECT organization_id, ledger_id, transaction_sequence AS sequence,
                count(*) AS entries, bool_or({ON_POSTED} = 1) AS done
            FROM entries e GROUP BY 1, 2, 3
        ) e ON e.organization_id = t.organization_id AND e.ledger_id = t.ledger_id
            AND e.sequence = t.sequence
        LEFT JOIN (
            SELECT DISTINCT organization_id, ledger_id, transaction_sequence AS sequence
            FROM entries e
            WHERE effect <> 'post'
            GROUP BY 1, 2, 3, account_id, direction
            HAVING sum({ON_PENDING} * amount) <> 0
        ) o ON o.organization_id = t.organization_id AND o.ledger_id = t.ledger_id
            AND o.sequence = t.sequence
        LEFT JOIN (
            SELECT DISTINCT organization_id, ledger_id, sequence, status, reverses_sequence
            FROM transactions
        ) r ON r.organization_id = t.organization_id AND r.ledger_id = t.ledger_id
            AND r.sequence = t.reverses_sequence
    """,  # noqa: S608  the steps are ours
    subject="concat('transaction ', sequence)",
    checks=(
        Check(4, "TRANSACTION_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(4, "TRANSACTION_WITHOUT_EVENT", "uncaused", "'no event made it'"),
        Check(
            4,
            "TRANSACTION_ENTRIES_TOO_FEW",
            "entries < 2",
            "concat('entries of it: ', entries, '; at least 2 are needed')",
        ),
        Check(
            4,
            "TRANSACTION_ID_REPEATED",
            "namesakes > 1",
            "concat(namesakes, ' transactions have the id ', transaction_id)",
        ),
        without_gap(3, "TRANSACTION_SEQUENCES_BROKEN", "sequence"),
        Check(
            3,
            "CREATED_AT_DECREASES",
            "created_at < created_before",
            "concat('created at ', created_at, ', the one before it at ', created_before)",
        ),
        Check(
            5,
            "TRANSACTION_EXTERNAL_ID_REPEATED",
            "external_namesakes > 1",
            "concat(external_namesakes, ' transactions have the external id ', external_id)",
        ),
        Check(
            5,
            "STATUS_WRONG",
            "entries > 0 AND status IS DISTINCT FROM reached",
            "concat('it is ', status, ', its entries make it ', reached)",
        ),
        Check(
            5,
            "STATUS_TIME_WRONG",
            "posted_at IS DISTINCT FROM CASE status WHEN 'posted' THEN latest END"
            " OR voided_at IS DISTINCT FROM CASE status WHEN 'voided' THEN latest END",
            "concat('it is ', status, ', posted at ', coalesce(posted_at::text, 'no time'),"
            " ', voided at ', coalesce(voided_at::text, 'no time'), '; its last event was at ',"
            " coalesce(latest::text, 'no time'))",
        ),
        Check(
            5,
            "VOID_INCOMPLETE",
            "void AND left_open",
            "'it was voided and something is left pending'",
        ),
        Check(
            5,
            "DUE_THOUGH_DONE",
            "due_at IS NOT NULL AND status <> 'pending'",
            "concat('it is ', status, ', and due at ', due_at)",
        ),
        Check(
            5,
            "NEVER_DUE",
            "status = 'pending' AND CASE WHEN refused_at IS NULL"
            " THEN due_at IS DISTINCT FROM least(posts_at, expires_at) ELSE due_at IS NULL END",
            "concat('it is due at ', coalesce(due_at::text, 'no time'), ', to post at ',"
            " coalesce(posts_at::text, 'no time'), ', to expire at ',"
            " coalesce(expires_at::text, 'no time'), ', refused at ',"
            " coalesce(refused_at::text, 'no time'))",
        ),
        Check(
            5,
            "REVERSAL_OF_WHAT_CANNOT_BE",
            "reverses_sequence IS NOT NULL"
            " AND (reversed_status = 'posted' AND reversed_reverses IS NULL"
            " AND reverses_sequence < sequence) IS NOT TRUE",
            "concat('it reverses transaction ', reverses_sequence, ', which is ',"
            " coalesce(reversed_status, 'missing'),"
            " CASE WHEN reversed_reverses IS NOT NULL THEN ' and itself a reversal' END)",
        ),
    ),
)

EVENTS = Pass(
    title="events",
    rows="""
        SELECT v.*, t.sequence IS NULL AS astray, t.created_at, t.expires_at, t.posts_at,
            t.refused_at, t.reason, coalesce(e.entries, 0) AS entries, e.effects
        FROM (
            SELECT *, lag(number, 1, 0) OVER past AS before,
                lag(recorded_at) OVER past AS recorded_before,
                max(kind) FILTER (
                    WHERE kind IN ('posted', 'voided', 'expired', 'matured', 'lot_expired')
                ) OVER (past ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ended,
                count(idempotency_key) OVER (
                    PARTITION BY organization_id, ledger_id, idempotency_key COLLATE "C"
                ) AS namesakes
            FROM transaction_events
            WINDOW past AS (
                PARTITION BY organization_id, ledger_id, transaction_sequence ORDER BY number
            )
        ) v
        LEFT JOIN transactions t ON t.organization_id = v.organization_id
            AND t.ledger_id = v.ledger_id AND t.sequence = v.transaction_sequence
        LEFT JOIN (
            SELECT organization_id, ledger_id, transaction_sequence, event AS number,
                sum(entries) AS entries, string_agg(effect, ', ' ORDER BY effect) AS effects
            FROM (
                SELECT organization_id, ledger_id, transaction_sequence, event, effect,
                    count(*) AS entries
                FROM entries GROUP BY 1, 2, 3, 4, 5
            ) by_effect
            GROUP BY 1, 2, 3, 4
        ) e ON e.organization_id = v.organization_id AND e.ledger_id = v.ledger_id
            AND e.transaction_sequence = v.transaction_sequence AND e.number = v.number
    """,
    subject="concat('event ', transaction_sequence, '/', number)",
    checks=(
        Check(4, "EVENT_WITHOUT_TRANSACTION", "astray", "'its ledger has no such transaction'"),
        without_gap(4, "EVENT_NUMBERS_BROKEN", "number"),
        Check(
            4,
            "EVENT_ENTRIES_TOO_FEW",
            "entries < 2 AND kind <> 'updated'",
            "concat('entries of it: ', entries, '; at least 2 are needed')",
        ),
        Check(
            5,
            "EVENT_KIND_WRONG",
            "kind NOT IN ('posted', 'held', 'settled', 'voided', 'matured', 'expired', 'updated',"
            " 'lot_expired') OR (number = 1) <> (kind IN ('posted', 'held', 'lot_expired'))"
            " OR (changes IS NULL) <> (kind <> 'updated')",
            "concat('it is ', kind)",
        ),
        Check(
            5,
            "EVENT_KEY_WRONG",
            "(idempotency_key IS NULL) <> (kind IN ('matured', 'expired', 'lot_expired'))"
            " OR (fingerprint IS NULL) <> (idempotency_key IS NULL)",
            "concat('it is ', kind, ', its key is ', coalesce(idempotency_key, 'missing'))",
        ),
        Check(
            5,
            "EVENT_AFTER_END",
            "kind <> 'updated' AND ended IS NOT NULL",
            "concat('it is ', kind, ', after one that was ', ended)",
        ),
        Check(
            5,
            "SETTLED_AFTER_EXPIRY",
            "recorded_at >= expires_at"
            " AND (kind = 'settled' OR kind = 'matured' AND refused_at IS NOT NULL)",
            "concat('it is ', kind, ' at ', recorded_at, ', the hold expired at ', expires_at)",
        ),
        Check(
            5,
            "TERMS_WITHOUT_HOLD",
            "number = 1 AND kind <> 'held'"
            " AND num_nonnulls(reason, posts_at, expires_at, refused_at) > 0",
            "concat('it is ', kind, ' and has terms of a hold: ', row(reason, posts_at, expires_at,"
            " refused_at))",
        ),
        Check(
            5,
            "DONE_BEFORE_IT_WAS_DUE",
            "(kind = 'matured' AND (recorded_at >= posts_at) IS NOT TRUE)"
            " OR (kind = 'expired' AND (recorded_at >= expires_at) IS NOT TRUE)",
            "concat('it is ', kind, ' at ', recorded_at, ', to post at ',"
            " coalesce(posts_at::text, 'no time'), ', to expire at ',"
            " coalesce(expires_at::text, 'no time'))",
        ),
        Check(
            5,
            "EVENT_EFFECTS_WRONG",
            "NOT CASE kind WHEN 'posted' THEN effects = 'post' WHEN 'held' THEN effects = 'hold'"
            " WHEN 'lot_expired' THEN effects = 'post'"
            " WHEN 'settled' THEN effects IN ('settle', 'release, settle')"
            " WHEN 'matured' THEN effects = 'settle' WHEN 'updated' THEN effects IS NULL"
            " WHEN 'voided' THEN effects = 'release' WHEN 'expired' THEN effects = 'release' END",
            "concat('it is ', kind, ', its entries are ', effects)",
        ),
        Check(
            5,
            "IDEMPOTENCY_KEY_REPEATED",
            "namesakes > 1",
            "concat(namesakes, ' events have the key ', idempotency_key)",
        ),
        not_back_in_time("EVENT_TIME_DECREASES"),
        Check(
            3,
            "CREATED_AT_NOT_OF_EVENT",
            "number = 1 AND recorded_at <> created_at",
            "concat('recorded at ', recorded_at, ', its transaction created at ', created_at)",
        ),
    ),
)

EVENT_CURRENCIES = Pass(
    title="entries by event and currency",
    rows="""
        SELECT e.organization_id, e.ledger_id, e.transaction_sequence, e.event, e.effect,
            a.currency, coalesce(sum(e.amount) FILTER (WHERE e.direction = 'debit'), 0) AS debits,
            coalesce(sum(e.amount) FILTER (WHERE e.direction = 'credit'), 0) AS credits
        FROM entries e
        LEFT JOIN accounts a ON a.organization_id = e.organization_id
            AND a.account_id = e.account_id
        GROUP BY 1, 2, 3, 4, 5, 6
    """,
    subject="concat('event ', transaction_sequence, '/', event)",
    checks=(
        Check(
            1,
            "ENTRIES_UNBALANCED",
            "debits <> credits",
            "concat('what it did as ', effect, ' in ', currency, ' is ', debits, ' in debits and ',"
            " credits, ' in credits')",
        ),
    ),
)

HOLD_SIDES = Pass(
    title="holds by side of account",
    rows="""
        SELECT organization_id, ledger_id, transaction_sequence, account_id, direction,
            coalesce(sum(amount) FILTER (WHERE effect = 'hold'), 0) AS held,
            coalesce(sum(amount) FILTER (WHERE effect <> 'hold'), 0) AS undone
        FROM entries
        WHERE effect <> 'post'
        GROUP BY 1, 2, 3, 4, 5
    """,
    subject="concat('transaction ', transaction_sequence)",
    checks=(
        Check(
            5,
            "HOLD_EXCEEDED",
            "undone > held",
            "concat('of the ', direction, ' of ', held, ' on account ', account_id, ', ', undone,"
            " ' was settled or released')",
        ),
    ),
)

REVERSED_SIDES = Pass(
    title="reversals by side of account",
    rows=f"""
        SELECT organization_id, ledger_id, transaction_sequence, account_id, direction,
            coalesce(sum(amount) FILTER (WHERE NOT turned), 0) AS posted,
            coalesce(sum(amount) FILTER (WHERE turned), 0) AS reversed
        FROM (
            SELECT e.organization_id, e.ledger_id, e.account_id, e.direction, e.amount,
                e.transaction_sequence, false AS turned
            FROM entries e
            WHERE {ON_POSTED} = 1
            UNION ALL
            SELECT e.organization_id, e.ledger_id, e.account_id,
                CASE e.direction WHEN 'debit' THEN 'credit' ELSE 'debit' END, e.amount,
                t.reverses_sequence, true
            FROM entries e
            JOIN transactions t ON t.organization_id = e.organization_id
                AND t.ledger_id = e.ledger_id AND t.sequence = e.transaction_sequence
            WHERE t.reverses_sequence IS NOT NULL
        ) sides
        GROUP BY 1, 2, 3, 4, 5
    """,  # noqa: S608  the steps are ours
    subject="concat('transaction ', transaction_sequence)",
    checks=(
        Check(
            5,
            "REVERSED_BEYOND_AMOUNT",
            "reversed > posted",
            "concat('of the ', direction, ' of ', posted, ' on account ', account_id, ', ',"
            " reversed, ' was reversed')",
        ),
    ),
)

CORRECTIONS = Pass(
    title="corrections",
    rows="""
        SELECT v.*, CASE v.label WHEN 'description' THEN to_jsonb(t.description) ELSE t.metadata END
            AS kept
        FROM (
            SELECT c.*, coalesce(after, 'null'::jsonb) AS became,
                lag(coalesce(after, 'null'::jsonb)) OVER past AS became_before,
                lead(number) OVER past IS NULL AS last
            FROM (
                SELECT organization_id, ledger_id, transaction_sequence, number, label.key AS label,
                    label.value -> 'before' AS before, label.value -> 'after' AS after
                FROM transaction_events, jsonb_each(changes) label
                WHERE kind = 'updated'
            ) c
            WINDOW past AS (
                PARTITION BY organization_id, ledger_id, transaction_sequence, label
                ORDER BY number
            )
        ) v
        JOIN transactions t ON t.organization_id = v.organization_id
            AND t.ledger_id = v.ledger_id AND t.sequence = v.transaction_sequence
    """,
    subject="concat('event ', transaction_sequence, '/', number)",
    checks=(
        Check(
            7,
            "CORRECTION_NOT_KEPT",
            "last AND became <> coalesce(kept, 'null'::jsonb)",
            "concat('the ', label, ' became ', became, ' and is ', coalesce(kept, 'null'::jsonb))",
        ),
        Check(
            7,
            "CORRECTIONS_BROKEN",
            "before <> became_before",
            "concat('the ', label, ' was ', before, ', and had become ', became_before)",
        ),
    ),
)

TRANSACTION_LINES = Pass(
    title="entries by transaction",
    rows="""
        SELECT e.*, t.sequence IS NULL AS astray, t.effective_at AS transaction_effective_at,
            v.number IS NULL AS uncaused, v.recorded_at AS event_recorded_at,
            CASE WHEN v.number IS NOT NULL THEN greatest(t.effective_at, CASE
                WHEN e.event = 1 THEN t.effective_at
                WHEN v.kind = 'matured' AND (t.refused_at >= t.posts_at) IS NOT TRUE THEN t.posts_at
                -- not what was put off; that it could not post is told by the expiry itself
                WHEN v.kind = 'expired' AND (t.refused_at >= t.expires_at
                    AND t.refused_at < v.recorded_at) IS NOT TRUE THEN t.expires_at
                ELSE v.recorded_at
            END) END AS due_effective_at,
            -- what fell due in a period closed meanwhile
            CASE WHEN v.kind IN ('matured', 'expired') THEN greatest(v.recorded_at, t.effective_at)
            END AS late_effective_at
        FROM (
            SELECT organization_id, ledger_id, transaction_sequence, line, event, effective_at,
                recorded_at, lag(line, 1, 0) OVER line AS before,
                lag(event, 1, 0) OVER line AS event_before
            FROM entries
            WINDOW line AS (
                PARTITION BY organization_id, ledger_id, transaction_sequence
                ORDER BY line, event DESC
            )
        ) e
        LEFT JOIN transactions t ON t.organization_id = e.organization_id
            AND t.ledger_id = e.ledger_id AND t.sequence = e.transaction_sequence
        LEFT JOIN transaction_events v ON v.organization_id = e.organization_id
            AND v.ledger_id = e.ledger_id AND v.transaction_sequence = e.transaction_sequence
            AND v.number = e.event
    """,
    subject="concat('line ', transaction_sequence, '/', line)",
    checks=(
        Check(4, "ENTRY_WITHOUT_TRANSACTION", "astray", "'its ledger has no such transaction'"),
        Check(
            4,
            "ENTRY_WITHOUT_EVENT",
            "uncaused",
            "concat('its transaction has no event ', event)",
        ),
        Check(
            4,
            "LINES_BROKEN",
            "line <> before + 1 OR event < event_before",
            "concat('of event ', event, ', follows line ', before, ' of event ', event_before)",
        ),
        Check(
            3,
            "ENTRY_TIME_NOT_OF_EVENT",
            "recorded_at <> event_recorded_at",
            "concat('recorded at ', recorded_at, ', its event at ', event_recorded_at)",
        ),
        Check(
            4,
            "EFFECTIVE_TIME_NOT_OF_TRANSACTION",
            "effective_at <> due_effective_at AND effective_at IS DISTINCT FROM late_effective_at",
            "concat('effective at ', effective_at, ', its transaction at ',"
            " transaction_effective_at, ', its event at ', event_recorded_at)",
        ),
    ),
)
