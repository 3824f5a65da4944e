"""Templates, version by version, and which transactions were made from them."""

from app.store.audit.invariants.checks import Check, Pass

TEMPLATES = Pass(
    title="templates",
    rows="""
        SELECT p.*, l.ledger_id IS NULL AS homeless
        FROM (
            SELECT *, lag(version, 1, 0) OVER past AS before,
                lag(template_id) OVER past AS template_before,
                lead(version) OVER past AS next
            FROM transaction_templates
            WINDOW past AS (
                PARTITION BY organization_id, ledger_id, code COLLATE "C" ORDER BY version
            )
        ) p
        LEFT JOIN ledgers l USING (organization_id, ledger_id)
    """,
    subject="concat('template ', code, '/', version)",
    checks=(
        Check(4, "TEMPLATE_WITHOUT_LEDGER", "homeless", "'the organization has no such ledger'"),
        Check(
            4,
            "TEMPLATE_VERSIONS_BROKEN",
            "version <> before + 1 OR template_id <> template_before"
            " OR (superseded_at IS NULL) <> (next IS NULL)",
            "concat('it follows version ', before, ' and is followed by ', coalesce(next, 0))",
        ),
    ),
)

TEMPLATE_USES = Pass(
    title="template uses",
    rows="""
        SELECT u.*, t.sequence IS NULL AS astray, p.code IS NULL AS unknown,
            count(*) OVER (
                PARTITION BY u.organization_id, u.ledger_id, u.transaction_sequence
            ) AS namesakes
        FROM template_uses u
        LEFT JOIN (SELECT DISTINCT organization_id, ledger_id, sequence FROM transactions) t
            ON t.organization_id = u.organization_id AND t.ledger_id = u.ledger_id
            AND t.sequence = u.transaction_sequence
        LEFT JOIN (
            SELECT DISTINCT organization_id, ledger_id, code, version FROM transaction_templates
        ) p ON p.organization_id = u.organization_id AND p.ledger_id = u.ledger_id
            AND p.code = u.code AND p.version = u.version
    """,
    subject="concat('template use ', transaction_sequence)",
    checks=(
        Check(
            4, "TEMPLATE_USE_WITHOUT_TRANSACTION", "astray", "'its ledger has no such transaction'"
        ),
        Check(
            4,
            "TEMPLATE_USE_WITHOUT_TEMPLATE",
            "unknown",
            "concat('its ledger has no template ', code, '/', version)",
        ),
        Check(
            4,
            "TEMPLATE_USE_REPEATED",
            "namesakes > 1",
            "concat('its transaction has ', namesakes, ' of them')",
        ),
    ),
)
