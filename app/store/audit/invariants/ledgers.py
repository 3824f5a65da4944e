"""Ledgers, their periods and what they count in."""

from app.store.audit.invariants.checks import Check, Pass, not_back_in_time, only_once, without_gap

LEDGERS = Pass(
    title="ledgers",
    rows="""
        SELECT l.*, o.organization_id IS NULL AS unowned, t.last, v.latest, p.told
        FROM ledgers l
        LEFT JOIN organizations o USING (organization_id)
        LEFT JOIN (
            SELECT organization_id, ledger_id, max(sequence) AS last
            FROM transactions GROUP BY 1, 2
        ) t USING (organization_id, ledger_id)
        LEFT JOIN (
            SELECT organization_id, ledger_id, max(recorded_at) AS latest
            FROM transaction_events GROUP BY 1, 2
        ) v USING (organization_id, ledger_id)
        LEFT JOIN (
            SELECT DISTINCT ON (organization_id, ledger_id) organization_id, ledger_id,
                closed_through AS told
            FROM period_events ORDER BY organization_id, ledger_id, number DESC
        ) p USING (organization_id, ledger_id)
    """,
    subject="concat('ledger ', ledger_id)",
    checks=(
        Check(4, "LEDGER_WITHOUT_ORGANIZATION", "unowned", "'its organization does not exist'"),
        Check(
            3,
            "LAST_SEQUENCE_WRONG",
            "last_sequence IS DISTINCT FROM coalesce(last, 0)",
            "concat('the counter is at ', last_sequence, ', the last transaction is ',"
            " coalesce(last, 0))",
        ),
        Check(
            3,
            "LAST_RECORDED_AT_WRONG",
            "latest > last_recorded_at",
            "concat('an event is of ', latest, ', the ledger''s latest is ', last_recorded_at)",
        ),
        Check(
            7,
            "CLOSED_THROUGH_WRONG",
            "closed_through IS DISTINCT FROM told",
            "concat('closed through ', coalesce(closed_through::text, 'no time'),"
            " ', by its periods through ', coalesce(told::text, 'no time'))",
        ),
    ),
)

PERIODS = Pass(
    title="periods",
    rows="""
        SELECT v.*, l.ledger_id IS NULL AS homeless, k.api_key_id IS NULL AS nobodys
        FROM (
            SELECT *, lag(number, 1, 0) OVER past AS before,
                lag(recorded_at) OVER past AS recorded_before,
                lag(closed_through) OVER past AS closed_before
            FROM period_events
            WINDOW past AS (PARTITION BY organization_id, ledger_id ORDER BY number)
        ) v
        LEFT JOIN ledgers l USING (organization_id, ledger_id)
        LEFT JOIN api_keys k ON k.organization_id = v.organization_id
            AND k.api_key_id = v.api_key_id
    """,
    subject="concat('period ', number)",
    checks=(
        Check(4, "PERIOD_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(4, "PERIOD_WITHOUT_KEY", "nobodys", "'the organization has no such API key'"),
        without_gap(3, "PERIOD_NUMBERS_BROKEN", "number"),
        not_back_in_time("PERIOD_TIME_DECREASES"),
        Check(
            7,
            "PERIOD_MOVE_WRONG",
            "CASE kind WHEN 'closed' THEN closed_through > coalesce(closed_before, '-infinity')"
            " WHEN 'reopened' THEN closed_before > coalesce(closed_through, '-infinity')"
            " END IS NOT TRUE",
            "concat('it was ', kind, ' through ', coalesce(closed_through::text, 'no time'),"
            " ', after ', coalesce(closed_before::text, 'no time'))",
        ),
    ),
)

CLOSED_PERIODS = Pass(
    title="entries by closed period",
    rows="""
        SELECT e.organization_id, e.ledger_id, e.account_id, e.sequence, e.effective_at,
            e.recorded_at, v.closed_through
        FROM entries e
        JOIN (
            SELECT *, lead(recorded_at, 1, 'infinity') OVER (
                PARTITION BY organization_id, ledger_id ORDER BY number
            ) AS until
            FROM period_events
        ) v ON v.organization_id = e.organization_id AND v.ledger_id = e.ledger_id
            AND v.recorded_at < e.recorded_at AND e.recorded_at <= v.until
    """,
    subject="concat('entry ', account_id, '/', sequence)",
    checks=(
        Check(
            7,
            "ENTRY_IN_CLOSED_PERIOD",
            "effective_at <= closed_through",
            "concat('effective at ', effective_at, ', recorded at ', recorded_at,"
            " ', when the ledger was closed through ', closed_through)",
        ),
    ),
)

CURRENCIES = Pass(
    title="currencies",
    rows="""
        SELECT c.*, l.ledger_id IS NULL AS homeless,
            count(*) OVER (PARTITION BY c.organization_id, c.ledger_id, c.code) AS namesakes,
            a.posted_debits, a.posted_credits, a.pending_debits, a.pending_credits
        FROM currencies c
        LEFT JOIN ledgers l USING (organization_id, ledger_id)
        LEFT JOIN (
            SELECT organization_id, ledger_id, currency AS code,
                sum(posted_debits) AS posted_debits, sum(posted_credits) AS posted_credits,
                sum(pending_debits) AS pending_debits, sum(pending_credits) AS pending_credits
            FROM accounts GROUP BY 1, 2, 3
        ) a USING (organization_id, ledger_id, code)
    """,
    subject="concat('currency ', code)",
    checks=(
        Check(4, "CURRENCY_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        only_once(1, "CURRENCY_REPEATED"),
        Check(
            1,
            "POSTED_UNBALANCED",
            "posted_debits <> posted_credits",
            "concat('posted debits are ', posted_debits, ', credits ', posted_credits)",
        ),
        Check(
            1,
            "PENDING_UNBALANCED",
            "pending_debits <> pending_credits",
            "concat('pending debits are ', pending_debits, ', credits ', pending_credits)",
        ),
    ),
)
