"""External accounts: the statements that imports brought, line by line."""

from app.store.audit.invariants.checks import Check, Pass

EXTERNAL_ACCOUNTS = Pass(
    title="external accounts",
    rows="""
        SELECT x.*, a.ledger_id IS DISTINCT FROM x.ledger_id AS astray,
            coalesce(s.number, 0) AS statements, coalesce(s.last, 0) AS newest_statement,
            coalesce(l.number, 0) AS lines, coalesce(l.last, 0) AS newest_line,
            count(*) OVER (PARTITION BY x.organization_id, x.external_account_id) AS namesakes
        FROM external_accounts x
        LEFT JOIN accounts a ON a.organization_id = x.organization_id
            AND a.account_id = x.account_id
        LEFT JOIN (
            SELECT organization_id, external_account_id, count(*) AS number, max(number) AS last
            FROM external_statements GROUP BY 1, 2
        ) s ON s.organization_id = x.organization_id
            AND s.external_account_id = x.external_account_id
        LEFT JOIN (
            SELECT organization_id, external_account_id, count(*) AS number, max(number) AS last
            FROM statement_lines GROUP BY 1, 2
        ) l ON l.organization_id = x.organization_id
            AND l.external_account_id = x.external_account_id
    """,
    subject="concat('external account ', external_account_id)",
    checks=(
        Check(4, "EXTERNAL_ACCOUNT_WITHOUT_ACCOUNT", "astray", "'its ledger has no such account'"),
        Check(
            4,
            "EXTERNAL_ACCOUNT_REPEATED",
            "namesakes > 1",
            "concat('there are ', namesakes, ' of them')",
        ),
        Check(
            4,
            "STATEMENTS_NOT_COUNTED",
            "last_statement IS DISTINCT FROM statements"
            " OR last_statement IS DISTINCT FROM newest_statement",
            "concat('it counts ', last_statement, ', there are ', statements, ' up to number ',"
            " newest_statement)",
        ),
        Check(
            4,
            "STATEMENT_LINES_NOT_COUNTED",
            "last_line IS DISTINCT FROM lines OR last_line IS DISTINCT FROM newest_line",
            "concat('it counts ', last_line, ', there are ', lines, ' up to number ', newest_line)",
        ),
    ),
)

EXTERNAL_STATEMENTS = Pass(
    title="external statements",
    rows="""
        SELECT s.*, x.ledger_id IS DISTINCT FROM s.ledger_id AS astray,
            i.status IS DISTINCT FROM 'completed'
                OR i.external_account_id IS DISTINCT FROM s.external_account_id AS not_imported,
            coalesce(p.places, 0) AS places, coalesce(p.repeats, 0) AS repeats,
            coalesce(p.first, 1) AS first, coalesce(p.last, 0) AS last,
            coalesce(p.total, 0) AS total,
            count(*) OVER (PARTITION BY s.organization_id, s.external_statement_id) AS namesakes,
            count(*) OVER (PARTITION BY s.organization_id, s.external_account_id, s.number)
                AS twins
        FROM external_statements s
        LEFT JOIN (
            SELECT DISTINCT organization_id, external_account_id, ledger_id FROM external_accounts
        ) x ON x.organization_id = s.organization_id
            AND x.external_account_id = s.external_account_id
        LEFT JOIN statement_imports i ON i.organization_id = s.organization_id
            AND i.import_id = s.import_id
        LEFT JOIN (
            SELECT h.organization_id, h.external_statement_id, count(DISTINCT p.position) AS places,
                count(*) FILTER (WHERE p.repeats) AS repeats, min(p.position) AS first,
                max(p.position) AS last, sum(p.amount) FILTER (WHERE p.currency = h.currency)
                    AS total
            FROM external_statements h
            JOIN (
                SELECT organization_id, external_statement_id, position, amount, currency,
                    false AS repeats
                FROM statement_lines
                UNION ALL
                SELECT r.organization_id, r.external_statement_id, r.position, l.amount,
                    l.currency, true
                FROM statement_line_repeats r
                LEFT JOIN statement_lines l ON l.organization_id = r.organization_id
                    AND l.external_account_id = r.external_account_id AND l.number = r.number
            ) p ON p.organization_id = h.organization_id
                AND p.external_statement_id = h.external_statement_id
            GROUP BY 1, 2
        ) p ON p.organization_id = s.organization_id
            AND p.external_statement_id = s.external_statement_id
    """,
    subject="concat('external statement ', external_account_id, '/', number)",
    checks=(
        Check(
            4,
            "STATEMENT_WITHOUT_EXTERNAL_ACCOUNT",
            "astray",
            "'its ledger has no such external account'",
        ),
        Check(
            4,
            "STATEMENT_WITHOUT_IMPORT",
            "not_imported",
            "'no import of the external account has brought it'",
        ),
        Check(
            4,
            "EXTERNAL_STATEMENT_REPEATED",
            "namesakes > 1 OR twins > 1",
            "concat('of its id there are ', namesakes, ', of its number ', twins)",
        ),
        Check(
            4,
            "STATEMENT_LINES_MISSING",
            "namesakes = 1 AND (places IS DISTINCT FROM line_count OR last IS DISTINCT FROM"
            " line_count OR first <> 1 OR repeats IS DISTINCT FROM known_count)",
            "concat('it has ', line_count, ' lines, ', known_count, ' of them known; there are ',"
            " places, ' from ', first, ' to ', last, ', ', repeats, ' of them repeats')",
        ),
        Check(
            4,
            "STATEMENT_TOTAL_WRONG",
            "namesakes = 1 AND total IS DISTINCT FROM line_total",
            "concat('it says ', line_total, ', its lines come to ', total)",
        ),
    ),
)

STATEMENT_LINES = Pass(
    title="statement lines",
    rows="""
        SELECT l.*, s.ledger_id,
            s.external_account_id IS DISTINCT FROM l.external_account_id AS astray,
            count(*) OVER (PARTITION BY l.organization_id, l.external_account_id, l.number)
                AS namesakes,
            count(*) OVER (PARTITION BY l.organization_id, l.external_account_id, l.fingerprint)
                AS twins
        FROM statement_lines l
        LEFT JOIN external_statements s ON s.organization_id = l.organization_id
            AND s.external_statement_id = l.external_statement_id
    """,
    subject="concat('statement line ', external_account_id, '/', number)",
    checks=(
        Check(
            4,
            "STATEMENT_LINE_WITHOUT_STATEMENT",
            "astray",
            "'its external account has no such statement'",
        ),
        Check(
            4,
            "STATEMENT_LINE_REPEATED",
            "namesakes > 1 OR twins > 1",
            "concat('of its number there are ', namesakes, ', of its fingerprint ', twins)",
        ),
    ),
)

STATEMENT_LINE_REPEATS = Pass(
    title="repeats of statement lines",
    rows="""
        SELECT r.*, s.ledger_id,
            s.external_account_id IS DISTINCT FROM r.external_account_id
                OR l.number IS NULL OR h.number > s.number AS astray
        FROM statement_line_repeats r
        LEFT JOIN external_statements s ON s.organization_id = r.organization_id
            AND s.external_statement_id = r.external_statement_id
        LEFT JOIN statement_lines l ON l.organization_id = r.organization_id
            AND l.external_account_id = r.external_account_id AND l.number = r.number
        LEFT JOIN external_statements h ON h.organization_id = l.organization_id
            AND h.external_statement_id = l.external_statement_id
    """,
    subject="concat('repeat of statement line ', external_account_id, '/', number)",
    checks=(
        Check(
            4,
            "LINE_REPEATS_NOTHING",
            "astray",
            "'no earlier statement of the external account has such a line'",
        ),
    ),
)

STATEMENT_IMPORTS = Pass(
    title="statement imports",
    rows="""
        SELECT i.*, x.ledger_id IS DISTINCT FROM i.ledger_id AS astray,
            coalesce(s.lines, 0) AS lines, coalesce(s.known, 0) AS known
        FROM statement_imports i
        LEFT JOIN external_accounts x ON x.organization_id = i.organization_id
            AND x.external_account_id = i.external_account_id
        LEFT JOIN (
            SELECT organization_id, import_id, sum(line_count) AS lines, sum(known_count) AS known
            FROM external_statements GROUP BY 1, 2
        ) s ON s.organization_id = i.organization_id AND s.import_id = i.import_id
    """,
    subject="concat('statement import ', external_account_id)",
    checks=(
        Check(
            4,
            "IMPORT_WITHOUT_EXTERNAL_ACCOUNT",
            "astray",
            "'its ledger has no such external account'",
        ),
        Check(
            4,
            "IMPORT_IN_PART",
            "CASE status WHEN 'completed' THEN lines_new + lines_known <> lines"
            " OR lines_known <> known OR lines_read <> lines ELSE lines <> 0 END",
            "concat('it is ', status, ' with ', lines_new, ' new and ', lines_known,"
            " ' known lines; its statements have ', lines, ', of them ', known, ' known')",
        ),
    ),
)
