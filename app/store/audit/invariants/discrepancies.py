"""Discrepancies of reconciliations: of what they are, and what came of them.

An id is a digest of what a discrepancy is of and of its amount, and is computed again.
"""

from app.store.audit.invariants.checks import Check, Pass
from app.store.audit.invariants.reconciliation import (
    ENTRY_AMOUNT,
    LINE_AMOUNT,
    PLACE_OF_ENTRY,
    PLACE_OF_LINE,
    SIGN,
)

# Of a discrepancy's cause nothing is kept where it is in the balances: its id tells.
_CAUSES = "(VALUES ('lines'), ('opening'), ('before'), ('rest'))"

_DAYS_OF_MATCHES = """
    SELECT i.organization_id, i.match_id, min(i.booked_on) AS booked_on, min(i.day) AS day
    FROM (
        SELECT i.organization_id, i.match_id, l.booked_on, NULL::date AS day
        FROM reconciliation_match_lines i
        JOIN statement_lines l ON l.organization_id = i.organization_id
            AND l.external_account_id = i.external_account_id AND l.number = i.number
        UNION ALL
        SELECT i.organization_id, i.match_id, NULL,
            (e.effective_at AT TIME ZONE r.time_zone)::date
        FROM reconciliation_match_entries i
        JOIN reconciliations r ON r.organization_id = i.organization_id
            AND r.reconciliation_id = i.reconciliation_id
        JOIN entries e ON e.organization_id = i.organization_id
            AND e.account_id = i.account_id AND e.sequence = i.sequence
    ) i
    GROUP BY 1, 2
"""

_MATCHED_LINES = """
    SELECT DISTINCT ON (organization_id, reconciliation_id, number) organization_id,
        reconciliation_id, number, match_id, true AS matched
    FROM reconciliation_match_lines
    ORDER BY organization_id, reconciliation_id, number, confirmed DESC
"""

_MATCHED_ENTRIES = """
    SELECT DISTINCT ON (organization_id, reconciliation_id, sequence) organization_id,
        reconciliation_id, sequence, match_id, true AS matched
    FROM reconciliation_match_entries
    ORDER BY organization_id, reconciliation_id, sequence, confirmed DESC
"""
"""By line and by entry, a confirmed match before a proposed one."""

_ADJUSTMENTS = f"""
    SELECT d.organization_id, d.discrepancy_id, sum({ENTRY_AMOUNT}) AS posted,
        count(*) FILTER (WHERE i.match_id IS NULL) AS elsewhere
    FROM reconciliation_discrepancies d
    JOIN accounts a ON a.organization_id = d.organization_id
        AND a.account_id = d.account_id
    JOIN entries e ON e.organization_id = d.organization_id
        AND e.ledger_id = d.ledger_id AND e.account_id = d.account_id
        AND e.transaction_sequence = d.transaction_sequence
    LEFT JOIN reconciliation_match_entries i ON i.organization_id = d.organization_id
        AND i.match_id = d.resolved_match_id AND i.account_id = e.account_id
        AND i.sequence = e.sequence
    GROUP BY 1, 2
"""  # noqa: S608  all of it is ours

_TOLD = """
    SELECT d.organization_id, d.discrepancy_id, min(v.number) AS number
    FROM reconciliation_discrepancies d
    JOIN reconciliation_events v ON v.organization_id = d.organization_id
        AND v.reconciliation_id = d.reconciliation_id AND v.recorded_at = d.resolved_at
        AND v.api_key_id = d.api_key_id AND v.reason IS NOT DISTINCT FROM d.reason
    LEFT JOIN transactions t ON t.organization_id = d.organization_id
        AND t.ledger_id = d.ledger_id AND t.sequence = d.transaction_sequence
    WHERE v.kind = 'closed' AND d.status = 'accepted' AND v.details ? 'accepted'
        OR v.kind = 'resolved' AND v.details ->> 'resolution' = d.resolution
            AND v.details -> 'discrepancies' ? d.discrepancy_id::text
            AND v.details #>> '{transactions,0}'
                IS NOT DISTINCT FROM t.transaction_id::text
    GROUP BY 1, 2
"""

DISCREPANCIES = Pass(
    title="discrepancies",
    rows=f"""
        SELECT d.*, r.reconciliation_id IS NULL AS homeless,
            d.status = 'resolved' AND t.sequence IS NULL AS unfounded,
            row(d.external_account_id, d.account_id)
                    IS DISTINCT FROM row(r.external_account_id, r.account_id)
                OR d.match_id IS NOT NULL AND m.match_id IS NULL
                OR d.resolved_match_id IS NOT NULL AND n.match_id IS NULL
                OR d.line_number IS NOT NULL AND (l.number <= r.examined_line
                    AND {PLACE_OF_LINE} = 0) IS NOT TRUE
                OR d.entry_sequence IS NOT NULL AND (e.sequence <= r.examined_version
                    AND {PLACE_OF_ENTRY} = 0) IS NOT TRUE
                OR d.other_line IS NOT NULL AND o.number IS NULL
                OR d.external_statement_id IS NOT NULL AND s.number IS NULL AS astray,
            causes.many AS causes,
            CASE WHEN d.match_id IS NOT NULL THEN CASE WHEN d.kind = 'date_mismatch' AND m.late
                    OR d.status = 'resolved' THEN d.kind
                    WHEN m.foreign_currency THEN 'currency_mismatch' ELSE 'amount_mismatch' END
                WHEN d.line_number IS NOT NULL THEN CASE WHEN l.currency <> a.currency
                    THEN 'currency_mismatch' WHEN d.other_line IS NOT NULL THEN 'duplicate_line'
                    ELSE 'missing_in_ledger' END
                WHEN d.entry_sequence IS NULL THEN 'balance_mismatch'
                WHEN d.other_line IS NULL THEN 'missing_in_statement'
                ELSE 'duplicate_entry' END AS due_kind,
            CASE WHEN d.match_id IS NOT NULL THEN CASE WHEN d.kind = 'date_mismatch' THEN 0
                    WHEN d.status = 'resolved' THEN d.amount ELSE m.difference END
                WHEN d.line_number IS NOT NULL THEN {LINE_AMOUNT}
                WHEN d.entry_sequence IS NOT NULL THEN -({ENTRY_AMOUNT})
                WHEN c.cause = 'lines' THEN {SIGN}
                    * (s.closing_balance - s.opening_balance - s.line_total)
                ELSE d.amount END AS due_amount,
            CASE WHEN d.match_id IS NOT NULL THEN CASE WHEN d.status = 'resolved' THEN d.day
                    ELSE coalesce(i.booked_on, i.day) END
                WHEN d.line_number IS NOT NULL THEN l.booked_on
                WHEN d.entry_sequence IS NOT NULL
                    THEN (e.effective_at AT TIME ZONE r.time_zone)::date
                ELSE r.through_date END AS due_day,
            CASE WHEN o.currency <> a.currency THEN 0 ELSE o.amount * {SIGN} END AS other_amount,
            CASE WHEN causes.many = 1 THEN md5(concat_ws('|', d.reconciliation_id, d.kind,
                    d.match_id, d.line_number, d.entry_sequence, d.amount,
                    CASE WHEN d.entry_sequence IS NOT NULL THEN 'entry' END))::uuid
                WHEN c.cause IS NOT NULL THEN d.discrepancy_id END AS due_id,
            d.status <> 'resolved' AND (ml.matched OR me.matched) AS matched,
            coalesce(p.posted, 0) AS posted,
            (coalesce(d.match_id, d.resolved_match_id) = d.resolved_match_id
                AND n.status = 'confirmed' AND p.elsewhere = 0
                AND (d.line_number IS NULL OR ml.match_id = d.resolved_match_id)
                AND (d.entry_sequence IS NULL OR me.match_id = d.resolved_match_id)) IS TRUE
                AS held,
            v.number IS NOT NULL AS told
        FROM reconciliation_discrepancies d
        CROSS JOIN LATERAL (
            SELECT num_nonnulls(d.match_id, d.line_number, d.entry_sequence) AS many
        ) causes
        LEFT JOIN reconciliations r ON r.organization_id = d.organization_id
            AND r.reconciliation_id = d.reconciliation_id AND r.ledger_id = d.ledger_id
        LEFT JOIN accounts a ON a.organization_id = d.organization_id
            AND a.account_id = d.account_id
        LEFT JOIN external_accounts x ON x.organization_id = d.organization_id
            AND x.external_account_id = d.external_account_id
        LEFT JOIN transactions t ON t.organization_id = d.organization_id
            AND t.ledger_id = d.ledger_id AND t.sequence = d.transaction_sequence
        LEFT JOIN reconciliation_matches m ON m.organization_id = d.organization_id
            AND m.match_id = d.match_id AND m.reconciliation_id = d.reconciliation_id
        LEFT JOIN reconciliation_matches n ON n.organization_id = d.organization_id
            AND n.match_id = d.resolved_match_id AND n.reconciliation_id = d.reconciliation_id
        LEFT JOIN statement_lines l ON l.organization_id = d.organization_id
            AND l.external_account_id = d.external_account_id AND l.number = d.line_number
        LEFT JOIN statement_lines o ON o.organization_id = d.organization_id
            AND o.external_account_id = d.external_account_id AND o.number = d.other_line
        LEFT JOIN entries e ON e.organization_id = d.organization_id
            AND e.account_id = d.account_id AND e.sequence = d.entry_sequence
        LEFT JOIN external_statements s ON s.organization_id = d.organization_id
            AND s.external_statement_id = d.external_statement_id
            AND s.external_account_id = d.external_account_id
        LEFT JOIN {_CAUSES} c (cause) ON causes.many = 0 AND d.discrepancy_id = md5(concat_ws('|',
            d.reconciliation_id, d.kind, c.cause, d.external_statement_id, d.amount))::uuid
        LEFT JOIN ({_DAYS_OF_MATCHES}) i ON i.organization_id = d.organization_id
            AND i.match_id = d.match_id
        LEFT JOIN ({_MATCHED_LINES}) ml ON ml.organization_id = d.organization_id
            AND ml.reconciliation_id = d.reconciliation_id AND ml.number = d.line_number
        LEFT JOIN ({_MATCHED_ENTRIES}) me ON me.organization_id = d.organization_id
            AND me.reconciliation_id = d.reconciliation_id AND me.sequence = d.entry_sequence
        LEFT JOIN ({_ADJUSTMENTS}) p ON p.organization_id = d.organization_id
            AND p.discrepancy_id = d.discrepancy_id
        LEFT JOIN ({_TOLD}) v ON v.organization_id = d.organization_id
            AND v.discrepancy_id = d.discrepancy_id
    """,  # noqa: S608  all of it is ours
    subject="concat('discrepancy ', discrepancy_id)",
    checks=(
        Check(
            4,
            "DISCREPANCY_WITHOUT_RECONCILIATION",
            "homeless",
            "'the ledger has no such reconciliation'",
        ),
        Check(
            4,
            "DISCREPANCY_ASTRAY",
            "NOT homeless AND astray",
            "'what it is about is not of its reconciliation''s accounts and days'",
        ),
        Check(
            2,
            "DISCREPANCY_NOT_OF_CAUSE",
            "NOT homeless AND NOT astray AND (causes > 1"
            " OR (other_line IS NOT NULL) <> (kind IN ('duplicate_line', 'duplicate_entry'))"
            " OR other_amount <> CASE WHEN line_number IS NULL THEN -amount ELSE amount END"
            " OR external_statement_id IS NOT NULL AND kind <> 'balance_mismatch'"
            " OR row(kind, day, amount) IS DISTINCT FROM row(due_kind, due_day, due_amount))",
            "concat('it is ', row(kind, day, amount), ', of its cause it would be ',"
            " row(due_kind, due_day, due_amount))",
        ),
        Check(
            2,
            "DISCREPANCY_ID_WRONG",
            "discrepancy_id IS DISTINCT FROM due_id",
            "concat('of a ', kind, ' of ', amount, ' it is not the id')",
        ),
        Check(
            5,
            "DISCREPANCY_OF_WHAT_IS_MATCHED",
            "matched",
            "'its line or its entry is in a match of the reconciliation'",
        ),
        Check(
            5,
            "DISCREPANCY_STATUS_WRONG",
            "CASE status"
            " WHEN 'open' THEN num_nonnulls(resolution, reason, api_key_id, resolved_at,"
            " transaction_sequence, resolved_match_id) > 0"
            " WHEN 'accepted' THEN (resolution = 'accepted') IS NOT TRUE"
            " OR num_nonnulls(transaction_sequence, resolved_match_id) > 0"
            " ELSE (status = 'resolved' AND resolution IN ('adjusted', 'written_off')) IS NOT TRUE"
            " END",
            "concat('it is ', status, ', its resolution ', coalesce(resolution, 'none'))",
        ),
        Check(
            4,
            "RESOLUTION_WITHOUT_TRANSACTION",
            "unfounded",
            "concat('transaction ', transaction_sequence, ' is not there')",
        ),
        Check(
            2,
            "RESOLUTION_AMOUNT_WRONG",
            "status = 'resolved' AND NOT unfounded AND posted <> amount",
            "concat('it is of ', amount, ', transaction ', transaction_sequence, ' posts ',"
            " posted)",
        ),
        Check(
            5,
            "RESOLUTION_NOT_MATCHED",
            "status = 'resolved' AND NOT unfounded AND NOT held",
            "concat('transaction ', transaction_sequence, ' and what it mends are not confirmed in'"
            ", ' one match')",
        ),
        Check(
            5,
            "RESOLUTION_NOT_OF_EVENT",
            "status <> 'open' AND NOT unfounded AND NOT told",
            "concat('no event says that it was ', resolution, ' at ', resolved_at)",
        ),
    ),
)
