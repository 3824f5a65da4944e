"""Matches of reconciliations, the lines and entries in them, and the pairs that were rejected.

The id of a match is a digest of the lines and entries that it had at first, and computed again.
"""

from app.store.audit.invariants.checks import Check, Pass, only_once
from app.store.audit.invariants.reconciliation import (
    ENTRY_AMOUNT,
    LINE_AMOUNT,
    PLACE_OF_ENTRY,
    PLACE_OF_LINE,
)

_MEMBERS = f"""
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed, i.number AS line,
        NULL::int8 AS entry, NULL::int8 AS transaction_sequence,
        concat('line ', i.number) AS member,
        l.number IS NULL OR r.external_account_id IS DISTINCT FROM i.external_account_id AS absent,
        {LINE_AMOUNT} AS amount, {PLACE_OF_LINE} AS place, l.currency <> a.currency AS stranger,
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.external_account_id, i.number) AS times
    FROM reconciliation_match_lines i
    LEFT JOIN statement_lines l ON l.organization_id = i.organization_id
        AND l.external_account_id = i.external_account_id AND l.number = i.number
    LEFT JOIN external_accounts x ON x.organization_id = i.organization_id
        AND x.external_account_id = i.external_account_id
    LEFT JOIN accounts a ON a.organization_id = x.organization_id AND a.account_id = x.account_id
    LEFT JOIN reconciliations r ON r.organization_id = i.organization_id
        AND r.reconciliation_id = i.reconciliation_id
    UNION ALL
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed, NULL, i.sequence,
        e.transaction_sequence, concat('entry ', i.sequence),
        (e.effect IN ('post', 'settle') AND r.account_id = i.account_id) IS NOT TRUE,
        -({ENTRY_AMOUNT}), {PLACE_OF_ENTRY}, false,
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.account_id, i.sequence)
    FROM reconciliation_match_entries i
    LEFT JOIN entries e ON e.organization_id = i.organization_id
        AND e.account_id = i.account_id AND e.sequence = i.sequence
    LEFT JOIN accounts a ON a.organization_id = i.organization_id AND a.account_id = i.account_id
    LEFT JOIN reconciliations r ON r.organization_id = i.organization_id
        AND r.reconciliation_id = i.reconciliation_id
"""  # noqa: S608  all of it is ours

MATCHES = Pass(
    title="matches",
    rows=f"""
        SELECT m.*, r.reconciliation_id IS NULL AS homeless, coalesce(i.total, 0) AS total,
            coalesce(i.members, 0) AS members, i.reach AS due_reach, i.whole AS due_whole,
            i.foreign_currency AS due_foreign,
            md5(concat_ws('|', m.reconciliation_id, coalesce(i.lines, ''),
                coalesce(i.entries, '')))::uuid AS due_id,
            coalesce(d.amounts, false) AS amount_told, coalesce(d.dates, false) AS date_told,
            CASE m.origin WHEN 'rule' THEN u.name IS NOT NULL ELSE m.rule IS NULL END AS ruled,
            v.match_id IS NOT NULL AS told
        FROM reconciliation_matches m
        LEFT JOIN reconciliations r ON r.organization_id = m.organization_id
            AND r.reconciliation_id = m.reconciliation_id AND r.ledger_id = m.ledger_id
        LEFT JOIN (
            SELECT i.organization_id, i.match_id, sum(i.amount) AS total, count(*) AS members,
                coalesce(sum(i.amount) FILTER (WHERE i.place < 0), 0) AS reach,
                bool_and(i.place = 0) AS whole, bool_or(i.stranger) AS foreign_currency,
                string_agg(i.line::text, ',' ORDER BY i.line) AS lines,
                string_agg(i.entry::text, ',' ORDER BY i.entry) FILTER (WHERE j.match_id IS NULL)
                    AS entries
            FROM ({_MEMBERS}) i
            -- adjustments joined it later
            LEFT JOIN (
                SELECT DISTINCT organization_id, match_id, transaction_sequence
                FROM reconciliation_discrepancies WHERE status = 'resolved'
            ) j ON j.organization_id = i.organization_id AND j.match_id = i.match_id
                AND j.transaction_sequence = i.transaction_sequence
            GROUP BY 1, 2
        ) i ON i.organization_id = m.organization_id AND i.match_id = m.match_id
        LEFT JOIN (
            SELECT d.organization_id, d.reconciliation_id, d.match_id,
                bool_or(d.kind <> 'date_mismatch') AS amounts,
                bool_or(d.kind = 'date_mismatch') AS dates
            FROM reconciliation_discrepancies d WHERE d.status <> 'resolved' GROUP BY 1, 2, 3
        ) d ON d.organization_id = m.organization_id
            AND d.reconciliation_id = m.reconciliation_id AND d.match_id = m.match_id
        LEFT JOIN (
            SELECT DISTINCT organization_id, reconciliation_id, rule ->> 'name' AS name
            FROM reconciliations, jsonb_array_elements(rules) rule
        ) u ON u.organization_id = m.organization_id
            AND u.reconciliation_id = m.reconciliation_id AND u.name = m.rule
        LEFT JOIN (
            SELECT DISTINCT m.organization_id, m.match_id
            FROM reconciliation_matches m
            JOIN reconciliation_events v ON v.organization_id = m.organization_id
                AND v.reconciliation_id = m.reconciliation_id AND v.recorded_at = m.decided_at
            WHERE v.kind = 'run' AND m.origin = 'rule' AND m.api_key_id IS NULL
                    AND m.reason IS NULL
                OR v.api_key_id = m.api_key_id AND v.reason IS NOT DISTINCT FROM m.reason
                    AND CASE WHEN v.kind IN ('confirmed', 'matched')
                        THEN v.details -> 'matches' ? m.match_id::text
                        ELSE v.kind IN ('resolved', 'resolution_undone') END
        ) v ON v.organization_id = m.organization_id AND v.match_id = m.match_id
    """,  # noqa: S608  all of it is ours
    subject="concat('match ', match_id)",
    checks=(
        Check(
            4, "MATCH_WITHOUT_RECONCILIATION", "homeless", "'the ledger has no such reconciliation'"
        ),
        Check(
            4,
            "MATCH_NOT_OF_MEMBERS",
            "members < 2 OR match_id <> due_id",
            "concat('of its ', members, ' lines and entries the id would be ', due_id)",
        ),
        Check(
            2,
            "MATCH_DIFFERENCE_WRONG",
            "difference <> total",
            "concat('it is ', difference, ', its lines less its entries are ', total)",
        ),
        Check(
            2,
            "MATCH_REACH_WRONG",
            "row(reach, whole, foreign_currency) <> row(due_reach, due_whole, due_foreign)",
            "concat('it says ', row(reach, whole, foreign_currency), ', its members ',"
            " row(due_reach, due_whole, due_foreign))",
        ),
        Check(
            5,
            "MATCH_DIFFERENCE_UNTOLD",
            "(difference <> 0) <> amount_told OR late <> date_told",
            "concat('its difference is ', difference, CASE WHEN late THEN ' and it is late' END,"
            " ', and no discrepancy of it, or one without cause')",
        ),
        Check(
            5,
            "MATCH_STATUS_WRONG",
            "NOT ruled OR origin NOT IN ('rule', 'manual', 'resolution') OR CASE status"
            " WHEN 'confirmed' THEN NOT told"
            " ELSE (status = 'proposed' AND origin = 'rule'"
            " AND num_nonnulls(decided_at, api_key_id, reason) = 0) IS NOT TRUE END",
            "concat('it is ', status, ' by ', origin, ' ', rule, ', decided at ',"
            " coalesce(decided_at::text, 'no time'), CASE WHEN NOT told THEN ' without event' END)",
        ),
    ),
)

MATCH_MEMBERS = Pass(
    title="members of matches",
    rows=f"""
        SELECT i.*, m.ledger_id,
            i.absent OR m.match_id IS NULL OR m.reconciliation_id <> i.reconciliation_id
                OR i.confirmed <> (m.status = 'confirmed') AS astray
        FROM ({_MEMBERS}) i
        LEFT JOIN reconciliation_matches m ON m.organization_id = i.organization_id
            AND m.match_id = i.match_id
    """,  # noqa: S608  all of it is ours
    subject="concat(member, ' of match ', match_id)",
    checks=(
        Check(
            4,
            "MATCH_MEMBER_ASTRAY",
            "astray",
            "'there is no such line or entry, or no such match of its state'",
        ),
        Check(
            5,
            "MATCHED_TWICE",
            "confirmed AND times > 1",
            "concat('it is in ', times, ' confirmed matches')",
        ),
    ),
)

REJECTIONS = Pass(
    title="rejected pairs",
    rows="""
        SELECT j.*, r.ledger_id,
            count(*) OVER (
                PARTITION BY j.organization_id, j.reconciliation_id, j.number, j.sequence
            ) AS namesakes,
            e.sequence IS NULL OR coalesce(l.number, -o.sequence) IS DISTINCT FROM j.number
                AS astray
        FROM reconciliation_rejections j
        LEFT JOIN reconciliations r ON r.organization_id = j.organization_id
            AND r.reconciliation_id = j.reconciliation_id
        LEFT JOIN entries e ON e.organization_id = r.organization_id
            AND e.account_id = r.account_id AND e.sequence = j.sequence
        LEFT JOIN entries o ON o.organization_id = r.organization_id
            AND o.account_id = r.account_id AND o.sequence = -j.number
        LEFT JOIN statement_lines l ON l.organization_id = r.organization_id
            AND l.external_account_id = r.external_account_id AND l.number = j.number
    """,
    subject="concat('rejection ', number, '/', sequence)",
    checks=(
        Check(
            4,
            "REJECTION_ASTRAY",
            "astray",
            "'its reconciliation has no such line, or no such entry'",
        ),
        only_once(4, "REJECTION_REPEATED"),
    ),
)
