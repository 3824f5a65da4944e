"""Credit lots against the entries that brought them, and what was taken from them."""

from app.store.audit.invariants.checks import Check, Pass, only_once

CREDIT_LOTS = Pass(
    title="credit lots",
    rows="""
        SELECT v.*, v.number AS entry, a.account_id IS NULL AS astray,
            a.ledger_id IS DISTINCT FROM v.ledger_id OR b.ledger_id IS DISTINCT FROM v.ledger_id
                OR row(a.currency, a.exponent) IS DISTINCT FROM row(b.currency, b.exponent)
                AS elsewhere,
            e.amount AS brought, e.transaction_sequence AS brought_by,
            (e.effect = 'post' AND e.direction = a.normal_balance
                AND e.effective_at < v.expires_at AND e.recorded_at < v.expires_at) IS TRUE
                AS brings,
            coalesce(m.taken, 0) AS taken, coalesce(m.taken_expired, 0) AS taken_expired,
            greatest(0, least(v.remaining, CASE a.normal_balance
                WHEN 'credit' THEN a.pending_debits ELSE a.pending_credits END - v.ahead))
                AS reserved,
            count(*) OVER (PARTITION BY v.organization_id, v.lot_id) AS namesakes,
            count(*) OVER (PARTITION BY v.organization_id, v.account_id, v.number) AS twins
        FROM (
            SELECT *, coalesce(sum(remaining) OVER (
                PARTITION BY organization_id, account_id ORDER BY expires_at, number
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0) AS ahead
            FROM credit_lots
        ) v
        LEFT JOIN accounts a ON a.organization_id = v.organization_id
            AND a.account_id = v.account_id
        LEFT JOIN accounts b ON b.organization_id = v.organization_id
            AND b.account_id = v.breakage_account_id
        LEFT JOIN entries e ON e.organization_id = v.organization_id
            AND e.account_id = v.account_id AND e.sequence = v.number
        LEFT JOIN (
            SELECT organization_id, lot_id, sum(amount) AS taken,
                sum(amount) FILTER (WHERE kind = 'expired') AS taken_expired
            FROM lot_movements GROUP BY 1, 2
        ) m ON m.organization_id = v.organization_id AND m.lot_id = v.lot_id
    """,
    subject="concat('credit lot ', account_id, '/', entry)",
    checks=(
        Check(4, "LOT_WITHOUT_ACCOUNT", "astray", "'the organization has no such account'"),
        Check(
            4,
            "LOT_REPEATED",
            "namesakes > 1 OR twins > 1",
            "concat('of its id there are ', namesakes, ', of its entry ', twins)",
        ),
        Check(
            4,
            "LOT_IN_OTHER_LEDGER",
            "NOT astray AND elsewhere",
            "concat('its accounts are not both in ledger ', ledger_id, ' and in one currency')",
        ),
        Check(
            4,
            "LOT_WITHOUT_ENTRY",
            "NOT astray AND (NOT brings OR brought IS DISTINCT FROM amount"
            " OR brought_by IS DISTINCT FROM transaction_sequence)",
            "concat('it is of ', amount, ' by transaction ', transaction_sequence,"
            " ', the entry of ', coalesce(brought::text, 'nothing'), ' by ',"
            " coalesce(brought_by::text, 'none'))",
        ),
        Check(
            2,
            "LOT_REMAINDER_WRONG",
            "remaining IS DISTINCT FROM amount - taken",
            "concat('it has ', remaining, ' left of ', amount, ', ', taken, ' was taken')",
        ),
        Check(
            2,
            "LOT_EXPIRED_WRONG",
            "expired IS DISTINCT FROM taken_expired",
            "concat('it says that ', expired, ' expired, ', taken_expired, ' did')",
        ),
        Check(
            2,
            "LOT_OVERDRAWN",
            "least(remaining, expired) < 0 OR remaining + expired > amount",
            "concat('of ', amount, ' it has ', remaining, ' left, and ', expired, ' expired')",
        ),
        Check(
            5,
            "LOT_NEVER_DUE",
            "NOT astray AND remaining > 0 AND due_at IS NULL AND reserved < remaining",
            "concat('of ', remaining, ' holds reserve ', reserved, ', and it is never due')",
        ),
        Check(
            5,
            "LOT_DUE_TOO_EARLY",
            "due_at < expires_at OR due_at IS NOT NULL AND remaining <= 0",
            "concat('it is due at ', due_at, ', expires at ', expires_at, ' and has ', remaining,"
            " ' left')",
        ),
    ),
)

LOTS_OF_ACCOUNTS = Pass(
    title="credit lots by account",
    rows="""
        SELECT a.*, coalesce(v.remaining, 0) AS in_lots,
            greatest(0, CASE normal_balance WHEN 'credit' THEN posted_credits - posted_debits
                ELSE posted_debits - posted_credits END) AS posted
        FROM accounts a
        LEFT JOIN (
            SELECT organization_id, account_id, sum(remaining) AS remaining
            FROM credit_lots GROUP BY 1, 2
        ) v ON v.organization_id = a.organization_id AND v.account_id = a.account_id
        WHERE a.has_lots OR v.account_id IS NOT NULL
    """,
    subject="concat('account ', account_id)",
    checks=(
        Check(
            2,
            "HAS_LOTS_WRONG",
            "has_lots IS DISTINCT FROM (in_lots > 0)",
            "concat('it says ', has_lots, ', its lots have ', in_lots, ' left')",
        ),
        Check(
            2,
            "LOTS_BEYOND_POSTED",
            "in_lots > posted",
            "concat('its lots have ', in_lots, ' left, posted is ', posted)",
        ),
    ),
)

LOT_MOVEMENTS = Pass(
    title="movements of credit lots",
    rows="""
        SELECT m.organization_id, m.account_id, m.sequence, m.amount, m.kind,
            coalesce(v.ledger_id, a.ledger_id) AS ledger_id,
            m.amount > 0 AS moves, e.recorded_at, v.expires_at,
            v.lot_id IS NULL OR v.account_id IS DISTINCT FROM m.account_id AS astray,
            v.number AS opened, e.amount AS entry_amount,
            (m.sequence = v.number OR m.sequence > v.number
                AND e.direction <> a.normal_balance AND e.effect IN ('post', 'settle')) IS TRUE
                AS takes,
            CASE x.kind WHEN 'lot_expired' THEN 'expired' ELSE 'spent' END AS kind_of_event,
            sum(m.amount) OVER (PARTITION BY m.organization_id, m.account_id, m.sequence) AS taken,
            count(*) OVER (PARTITION BY m.organization_id, m.lot_id, m.sequence) AS namesakes
        FROM lot_movements m
        LEFT JOIN credit_lots v ON v.organization_id = m.organization_id AND v.lot_id = m.lot_id
        LEFT JOIN accounts a ON a.organization_id = m.organization_id
            AND a.account_id = m.account_id
        LEFT JOIN entries e ON e.organization_id = m.organization_id
            AND e.account_id = m.account_id AND e.sequence = m.sequence
        LEFT JOIN transaction_events x ON x.organization_id = e.organization_id
            AND x.ledger_id = e.ledger_id AND x.transaction_sequence = e.transaction_sequence
            AND x.number = e.event
    """,
    subject="concat('lot movement ', account_id, '/', sequence)",
    checks=(
        Check(4, "MOVEMENT_WITHOUT_LOT", "astray", "'the account has no such lot'"),
        only_once(4, "MOVEMENT_REPEATED"),
        Check(
            4,
            "MOVEMENT_WITHOUT_ENTRY",
            "NOT astray AND NOT takes",
            "concat('no entry takes ', amount, ' from the lot of entry ', opened)",
        ),
        Check(
            2,
            "MOVEMENTS_BEYOND_ENTRY",
            "NOT moves OR taken > entry_amount",
            "concat('it took ', amount, ', with others ', taken, ', the entry is of ',"
            " entry_amount)",
        ),
        Check(
            5,
            "LOT_EXPIRED_EARLY",
            "kind = 'expired' AND recorded_at < expires_at",
            "concat('it was at ', recorded_at, ', the lot expires at ', expires_at)",
        ),
        Check(
            5,
            "MOVEMENT_KIND_WRONG",
            "takes AND kind IS DISTINCT FROM kind_of_event",
            "concat('it is ', kind, ', its event makes it ', kind_of_event)",
        ),
    ),
)
