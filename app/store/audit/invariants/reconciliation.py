"""Reconciliations: their matches, their discrepancies and the bridge over them."""

from app.store.audit.invariants.checks import Check, Pass

_ENTRY_AMOUNT = """
    CASE WHEN e.effect NOT IN ('post', 'settle') THEN 0
        WHEN e.direction = a.normal_balance THEN e.amount ELSE -e.amount END
"""

RECONCILIATIONS = Pass(
    title="reconciliations",
    rows=f"""
        SELECT r.*, x.external_account_id IS NULL OR x.account_id IS DISTINCT FROM r.account_id
                OR a.account_id IS NULL AS astray,
            v.latest, v.many, b.explained, f.posted
        FROM reconciliations r
        LEFT JOIN external_accounts x ON x.organization_id = r.organization_id
            AND x.external_account_id = r.external_account_id AND x.ledger_id = r.ledger_id
        LEFT JOIN accounts a ON a.organization_id = r.organization_id
            AND a.account_id = r.account_id AND a.ledger_id = r.ledger_id
        LEFT JOIN (
            SELECT organization_id, reconciliation_id, max(number) AS latest, count(*) AS many
            FROM reconciliation_events GROUP BY 1, 2
        ) v ON v.organization_id = r.organization_id AND v.reconciliation_id = r.reconciliation_id
        LEFT JOIN LATERAL (
            SELECT coalesce(sum((item ->> 'amount')::numeric), 0) AS explained
            FROM jsonb_array_elements(r.items) item
        ) b ON true
        LEFT JOIN LATERAL (
            SELECT coalesce(sum({_ENTRY_AMOUNT}), 0) AS posted
            FROM entries e
            WHERE e.organization_id = r.organization_id AND e.account_id = r.account_id
                AND e.sequence <= r.examined_version
                AND e.effective_at < (r.through_date + 1)::timestamp AT TIME ZONE r.time_zone
        ) f ON true
    """,  # noqa: S608  all of it is ours
    subject="concat('reconciliation ', reconciliation_id)",
    checks=(
        Check(
            4,
            "RECONCILIATION_ASTRAY",
            "astray",
            "'the ledger has no such account, or no such external account of it'",
        ),
        Check(
            3,
            "RECONCILIATION_EVENTS_BROKEN",
            "last_event IS DISTINCT FROM latest OR many IS DISTINCT FROM latest",
            "concat('it counts ', last_event, ' events, there are ', coalesce(many, 0),"
            " ', the last is ', coalesce(latest, 0))",
        ),
        Check(
            2,
            "BRIDGE_WRONG",
            "statement_balance <> ledger_balance + explained",
            "concat('from ', ledger_balance, ' its items lead to ', ledger_balance + explained,"
            " ', not to ', statement_balance)",
        ),
        Check(
            2,
            "RECONCILED_BALANCE_WRONG",
            "ledger_balance <> posted",
            "concat('it is ', ledger_balance, ', its entries come to ', posted)",
        ),
    ),
)

_MEMBERS = f"""
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed,
        concat('line ', i.number) AS member, l.number IS NULL AS absent,
        CASE WHEN l.currency <> a.currency THEN 0 WHEN x.inverted THEN -l.amount ELSE l.amount END
            AS amount,
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.external_account_id, i.number) AS times
    FROM reconciliation_match_lines i
    LEFT JOIN statement_lines l ON l.organization_id = i.organization_id
        AND l.external_account_id = i.external_account_id AND l.number = i.number
    LEFT JOIN external_accounts x ON x.organization_id = i.organization_id
        AND x.external_account_id = i.external_account_id
    LEFT JOIN accounts a ON a.organization_id = x.organization_id AND a.account_id = x.account_id
    UNION ALL
    SELECT i.organization_id, i.match_id, i.reconciliation_id, i.confirmed,
        concat('entry ', i.sequence), e.sequence IS NULL, -({_ENTRY_AMOUNT}),
        count(*) FILTER (WHERE i.confirmed)
            OVER (PARTITION BY i.organization_id, i.account_id, i.sequence)
    FROM reconciliation_match_entries i
    LEFT JOIN entries e ON e.organization_id = i.organization_id
        AND e.account_id = i.account_id AND e.sequence = i.sequence
    LEFT JOIN accounts a ON a.organization_id = i.organization_id AND a.account_id = i.account_id
"""  # noqa: S608  all of it is ours

MATCHES = Pass(
    title="matches",
    rows=f"""
        SELECT m.*, r.reconciliation_id IS NULL AS homeless, coalesce(i.total, 0) AS total
        FROM reconciliation_matches m
        LEFT JOIN reconciliations r ON r.organization_id = m.organization_id
            AND r.reconciliation_id = m.reconciliation_id AND r.ledger_id = m.ledger_id
        LEFT JOIN (
            SELECT organization_id, match_id, sum(amount) AS total FROM ({_MEMBERS}) i GROUP BY 1, 2
        ) i ON i.organization_id = m.organization_id AND i.match_id = m.match_id
    """,  # noqa: S608  all of it is ours
    subject="concat('match ', match_id)",
    checks=(
        Check(
            4, "MATCH_WITHOUT_RECONCILIATION", "homeless", "'the ledger has no such reconciliation'"
        ),
        Check(
            2,
            "MATCH_DIFFERENCE_WRONG",
            "difference <> total",
            "concat('it is ', difference, ', its lines less its entries are ', total)",
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

DISCREPANCIES = Pass(
    title="discrepancies",
    rows="""
        SELECT d.*, r.reconciliation_id IS NULL AS homeless,
            d.status = 'resolved' AND t.sequence IS NULL AS unfounded
        FROM reconciliation_discrepancies d
        LEFT JOIN reconciliations r ON r.organization_id = d.organization_id
            AND r.reconciliation_id = d.reconciliation_id AND r.ledger_id = d.ledger_id
        LEFT JOIN transactions t ON t.organization_id = d.organization_id
            AND t.ledger_id = d.ledger_id AND t.sequence = d.transaction_sequence
    """,
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
            "RESOLUTION_WITHOUT_TRANSACTION",
            "unfounded",
            "concat('transaction ', transaction_sequence, ' is not there')",
        ),
    ),
)
