"""Statements of accounts and their schedules; settlements and what they have paid out."""

from app.store.audit.invariants.checks import ON_POSTED, Check, Pass, without_gap

STATEMENTS = Pass(
    title="statements",
    rows=f"""
        SELECT s.*, a.account_id IS NULL AS astray, f.opening_debits AS fold_opening_debits,
            f.opening_credits AS fold_opening_credits, f.closing_debits AS fold_closing_debits,
            f.closing_credits AS fold_closing_credits, f.lines AS fold_lines, p.number AS adjoining
        FROM (
            SELECT *, lag(number, 1, 0::bigint) OVER past AS before,
                lag(account_version, 1, 0::bigint) OVER past AS version_before,
                count(*) OVER (PARTITION BY organization_id, statement_id) AS namesakes,
                count(*) FILTER (WHERE scheduled)
                    OVER (PARTITION BY organization_id, account_id, from_at, to_at) AS of_period,
                count(idempotency_key) OVER (
                    PARTITION BY organization_id, ledger_id, idempotency_key COLLATE "C"
                ) AS of_key
            FROM account_statements
            WINDOW past AS (PARTITION BY organization_id, account_id ORDER BY number)
        ) s
        LEFT JOIN accounts a ON a.organization_id = s.organization_id
            AND a.ledger_id = s.ledger_id AND a.account_id = s.account_id
        LEFT JOIN (
            SELECT s.organization_id, s.account_id, s.number, max(p.number) AS number_before
            FROM account_statements s JOIN account_statements p
                ON p.organization_id = s.organization_id AND p.account_id = s.account_id
                AND p.to_at = s.from_at AND p.number < s.number
            GROUP BY 1, 2, 3
        ) p (organization_id, account_id, of, number) ON p.organization_id = s.organization_id
            AND p.account_id = s.account_id AND p.of = s.number
        LEFT JOIN (
            SELECT s.organization_id, s.account_id, s.number,
                coalesce(sum(amount) FILTER (WHERE early AND side = 'debit'), 0),
                coalesce(sum(amount) FILTER (WHERE early AND side = 'credit'), 0),
                coalesce(sum(amount) FILTER (WHERE side = 'debit'), 0),
                coalesce(sum(amount) FILTER (WHERE side = 'credit'), 0),
                count(*) FILTER (WHERE NOT early)
            FROM account_statements s
            LEFT JOIN LATERAL (
                SELECT {ON_POSTED} * e.amount AS amount, e.direction AS side,
                    e.effective_at < s.from_at AS early
                FROM entries e
                WHERE e.organization_id = s.organization_id AND e.account_id = s.account_id
                    AND e.sequence <= s.account_version AND e.effective_at < s.to_at
                    AND {ON_POSTED} <> 0
            ) e ON true
            GROUP BY 1, 2, 3
        ) f (organization_id, account_id, number, opening_debits, opening_credits, closing_debits,
            closing_credits, lines) ON f.organization_id = s.organization_id
            AND f.account_id = s.account_id AND f.number = s.number
    """,  # noqa: S608  the steps are ours
    subject="concat('statement ', account_id, '/', number)",
    checks=(
        Check(4, "STATEMENT_WITHOUT_ACCOUNT", "astray", "'its ledger has no such account'"),
        Check(
            5,
            "STATEMENT_REPEATED",
            "namesakes > 1 OR of_period > 1 OR of_key > 1",
            "concat('statements of its id ', namesakes, ', scheduled for its period ', of_period,"
            " ', of its idempotency key ', of_key)",
        ),
        Check(
            3,
            "STATEMENT_NUMBERS_BROKEN",
            "number <> before + 1 OR account_version < version_before",
            "concat('it follows ', before, ', at version ', account_version, ' after ',"
            " version_before)",
        ),
        Check(
            5,
            "STATEMENT_PREVIOUS_WRONG",
            "previous_number IS DISTINCT FROM adjoining",
            "concat('it follows on ', coalesce(previous_number::text, 'none'), ', adjoining is ',"
            " coalesce(adjoining::text, 'none'))",
        ),
        Check(
            2,
            "STATEMENT_TOTALS_NOT_OF_ENTRIES",
            "row(opening_debits, opening_credits, closing_debits, closing_credits, line_count)"
            " IS DISTINCT FROM row(fold_opening_debits, fold_opening_credits,"
            " fold_closing_debits, fold_closing_credits, fold_lines)",
            "concat('it says ', row(opening_debits, opening_credits, closing_debits,"
            " closing_credits, line_count), ', its entries come to ', row(fold_opening_debits,"
            " fold_opening_credits, fold_closing_debits, fold_closing_credits, fold_lines))",
        ),
    ),
)

STATEMENT_SCHEDULES = Pass(
    title="schedules of statements",
    rows="""
        SELECT s.*, l.ledger_id IS NULL AS homeless
        FROM statement_schedules s LEFT JOIN ledgers l USING (organization_id, ledger_id)
    """,
    subject="concat('statement schedule ', schedule_id)",
    checks=(
        Check(4, "SCHEDULE_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(
            5,
            "SCHEDULE_NEVER_DUE",
            "(due_at IS NULL) <> (deleted_at IS NOT NULL)",
            "concat('due ', coalesce(due_at::text, 'never'), ', deleted ',"
            " coalesce(deleted_at::text, 'never'))",
        ),
    ),
)

SETTLEMENTS = Pass(
    title="settlements",
    rows=f"""
        SELECT s.*, t.transaction_id IS NULL AS unpaid, r.sequence AS reversed,
            coalesce(m.net, 0) AS net, coalesce(m.entries, 0) AS entries, m.first,
            coalesce(o.left_out, 0) AS left_out
        FROM (
            SELECT *, lag(number, 1, 0::bigint) OVER past AS before
            FROM settlements
            WINDOW past AS (PARTITION BY organization_id, account_id ORDER BY number)
        ) s
        LEFT JOIN accounts a ON a.organization_id = s.organization_id
            AND a.ledger_id = s.ledger_id AND a.account_id = s.account_id
        LEFT JOIN entries e ON e.organization_id = s.organization_id
            AND e.account_id = s.account_id AND e.transaction_sequence = s.transaction_sequence
            AND e.direction <> a.normal_balance AND e.amount = s.amount AND e.effect = 'post'
        LEFT JOIN transactions t ON t.organization_id = e.organization_id
            AND t.ledger_id = e.ledger_id AND t.sequence = e.transaction_sequence
            AND t.transaction_id = s.settlement_id AND t.ledger_id = s.ledger_id
        LEFT JOIN transactions r ON r.organization_id = s.organization_id
            AND r.ledger_id = s.ledger_id AND r.reverses_sequence = s.transaction_sequence
        LEFT JOIN (
            SELECT m.organization_id, m.settlement_id, count(*) AS entries,
                sum(CASE WHEN e.direction = a.normal_balance THEN e.amount ELSE -e.amount END)
                    AS net,
                min(m.sequence) AS first
            FROM settlement_entries m
            JOIN entries e ON e.organization_id = m.organization_id
                AND e.account_id = m.account_id AND e.sequence = m.sequence
            JOIN accounts a ON a.organization_id = m.organization_id
                AND a.account_id = m.account_id
            GROUP BY 1, 2
        ) m ON m.organization_id = s.organization_id AND m.settlement_id = s.settlement_id
        LEFT JOIN (
            SELECT e.organization_id, e.account_id, last.number, count(*) AS left_out
            FROM (
                SELECT DISTINCT ON (organization_id, account_id) organization_id, account_id,
                    number, open_from, transaction_sequence
                FROM settlements ORDER BY organization_id, account_id, number DESC
            ) last
            JOIN entries e ON e.organization_id = last.organization_id
                AND e.account_id = last.account_id AND {ON_POSTED} <> 0
            LEFT JOIN (
                SELECT m.organization_id, m.account_id, m.sequence
                FROM settlement_entries m JOIN settlements s
                    ON s.organization_id = m.organization_id
                    AND s.settlement_id = m.settlement_id AND s.released_sequence IS NULL
            ) live ON live.organization_id = e.organization_id
                AND live.account_id = e.account_id AND live.sequence = e.sequence
            LEFT JOIN (
                SELECT organization_id, account_id, transaction_sequence AS own FROM settlements
                UNION ALL SELECT organization_id, account_id, released_sequence FROM settlements
            ) own ON own.organization_id = e.organization_id
                AND own.account_id = e.account_id AND own.own = e.transaction_sequence
            LEFT JOIN (
                SELECT s.organization_id, s.account_id, s.released_sequence, s.first_sequence
                FROM settlements s WHERE s.released_sequence IS NOT NULL
            ) released ON released.organization_id = e.organization_id
                AND released.account_id = e.account_id
                AND released.released_sequence > last.transaction_sequence
                AND released.first_sequence <= e.sequence
            WHERE live.sequence IS NULL AND own.own IS NULL AND e.sequence < last.open_from
                AND released.first_sequence IS NULL
            GROUP BY 1, 2, 3
        ) o ON o.organization_id = s.organization_id AND o.account_id = s.account_id
            AND o.number = s.number
    """,  # noqa: S608  the steps are ours
    subject="concat('settlement ', account_id, '/', number)",
    checks=(
        Check(
            5,
            "SETTLEMENT_WITHOUT_PAYOUT",
            "unpaid",
            "concat('transaction ', transaction_sequence, ' does not take ', amount,"
            " ' from the account')",
        ),
        without_gap(3, "SETTLEMENT_NUMBERS_BROKEN", "number"),
        Check(
            2,
            "SETTLEMENT_NOT_OF_ENTRIES",
            "amount <> net OR entry_count <> entries OR first_sequence <> first",
            "concat(entry_count, ' entries of ', amount, ' from ', first_sequence,"
            " ' on, its marks are of ', entries, ' of ', net, ' from ', first, ' on')",
        ),
        Check(
            5,
            "SETTLEMENT_RELEASE_WRONG",
            "released_sequence IS DISTINCT FROM reversed",
            "concat('released by ', coalesce(released_sequence::text, 'none'), ', reversed by ',"
            " coalesce(reversed::text, 'none'))",
        ),
        Check(
            2,
            "ENTRIES_NEVER_SETTLED",
            "left_out > 0",
            "concat(left_out, ' entries before ', open_from, ' are unsettled and not looked for')",
        ),
    ),
)

SETTLEMENT_ENTRIES = Pass(
    title="settled entries",
    rows="""
        SELECT m.*, coalesce(s.ledger_id, e.ledger_id) AS ledger_id,
            (e.effect IN ('post', 'settle') AND e.effective_at < s.up_to
                AND s.account_id = m.account_id) IS NOT TRUE AS astray,
            count(*) FILTER (WHERE s.released_sequence IS NULL)
                OVER (PARTITION BY m.organization_id, m.account_id, m.sequence) AS live
        FROM (
            SELECT *, lag(round, 1, 0) OVER (
                PARTITION BY organization_id, account_id, sequence ORDER BY round
            ) AS before
            FROM settlement_entries
        ) m
        LEFT JOIN settlements s ON s.organization_id = m.organization_id
            AND s.settlement_id = m.settlement_id
        LEFT JOIN entries e ON e.organization_id = m.organization_id
            AND e.account_id = m.account_id AND e.sequence = m.sequence
    """,
    subject="concat('settled entry ', account_id, '/', sequence, ', round ', round)",
    checks=(
        Check(
            4,
            "SETTLED_ENTRY_ASTRAY",
            "astray",
            "'its settlement does not collect a posted entry of this account and time'",
        ),
        without_gap(3, "SETTLED_ROUNDS_BROKEN", "round"),
        Check(
            2, "ENTRY_SETTLED_TWICE", "live > 1", "concat(live, ' settlements have paid it out')"
        ),
    ),
)

CONTENT = Check(
    5, "STATEMENT_CONTENT_WRONG", "", "what it says does not have the hash that it was given"
)
"""The one check that SQL does not make (see `verify.py`)."""
