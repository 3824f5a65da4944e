"""Reconciliations: runs, matches, discrepancies, and what was done to them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
TOTAL = sa.Numeric(precision=60, scale=0)

TABLES = (
    "reconciliations, reconciliation_runs, reconciliation_matches, reconciliation_match_lines,"
    " reconciliation_match_entries, reconciliation_rejections, reconciliation_discrepancies,"
    " reconciliation_events"
)
GUARDS = {
    "reconciliations": (
        "UPDATE OF organization_id, reconciliation_id, ledger_id, external_account_id, account_id,"
        " name, from_date, through_date, time_zone, margin_days, rules, api_key_id, created_at"
        " OR DELETE OR TRUNCATE"
    ),
    "reconciliation_runs": (
        "UPDATE OF organization_id, run_id, ledger_id, reconciliation_id, api_key_id, requested_at"
        " OR DELETE OR TRUNCATE"
    ),
    "reconciliation_rejections": "UPDATE OR DELETE OR TRUNCATE",
    "reconciliation_events": "UPDATE OR DELETE OR TRUNCATE",
}
FROZEN = (
    "reconciliation_matches",
    "reconciliation_match_lines",
    "reconciliation_match_entries",
    "reconciliation_rejections",
    "reconciliation_discrepancies",
)

# Statement triggers see all rows of a statement at once, a hundred thousand of a run too.
REFUSE_CHANGE_OF_CLOSED = """
CREATE FUNCTION refuse_change_of_closed() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $$
BEGIN
    -- A ledger that is restored brings what was closed elsewhere; `ledgers verify` looks at it.
    IF TG_OP = 'INSERT' AND current_setting('ledgers.restoring', true) = 'on' THEN
        RETURN NULL;
    END IF;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT organization_id, reconciliation_id FROM changed) c
        JOIN reconciliations r USING (organization_id, reconciliation_id)
        WHERE r.status = 'closed'
    ) THEN
        RAISE EXCEPTION '% of % is refused: the reconciliation is closed', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_frozen',
                TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
"""
CHANGED = {"insert": "NEW", "update": "NEW", "delete": "OLD"}
GRANTS = [
    f"GRANT SELECT ON {TABLES} TO ledgers_app, ledgers_reader",
    f"GRANT INSERT ON {TABLES} TO ledgers_app",
    (
        "GRANT UPDATE (status, closed_at, last_event, examined_at, examined_version, examined_line,"
        " ledger_balance, statement_balance, items, counts) ON reconciliations TO ledgers_app"
    ),
    (
        "GRANT UPDATE (status, started_at, finished_at, failure, confirmed, proposed, withdrawn,"
        " appeared, vanished) ON reconciliation_runs TO ledgers_app"
    ),
    (
        "GRANT UPDATE (status, difference, reach, whole, reason, api_key_id, decided_at), DELETE"
        " ON reconciliation_matches TO ledgers_app"
    ),
    "GRANT UPDATE (confirmed), DELETE ON reconciliation_match_lines TO ledgers_app",
    "GRANT UPDATE (confirmed), DELETE ON reconciliation_match_entries TO ledgers_app",
    (
        "GRANT UPDATE (status, resolution, reason, api_key_id, resolved_at, transaction_sequence,"
        " resolved_match_id), DELETE ON reconciliation_discrepancies TO ledgers_app"
    ),
]


def upgrade() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("from_date", sa.Date(), nullable=False),
        sa.Column("through_date", sa.Date(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("margin_days", sa.SmallInteger(), nullable=False),
        sa.Column("rules", postgresql.JSONB(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.Column("examined_at", MOMENT, nullable=True),
        sa.Column("examined_version", sa.BigInteger(), nullable=True),
        sa.Column("examined_line", sa.BigInteger(), nullable=True),
        sa.Column("ledger_balance", TOTAL, nullable=True),
        sa.Column("statement_balance", TOTAL, nullable=True),
        sa.Column("items", postgresql.JSONB(), nullable=True),
        sa.Column("counts", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint(
            "(closed_at IS NOT NULL) = (status = 'closed')", name=op.f("reconciliations_closed")
        ),
        sa.CheckConstraint("status IN ('open', 'closed')", name=op.f("reconciliations_status")),
        sa.CheckConstraint("from_date <= through_date", name=op.f("reconciliations_days")),
        sa.CheckConstraint("last_event >= 1", name=op.f("reconciliations_last_event")),
        sa.CheckConstraint(
            "num_nulls(examined_at, examined_version, examined_line, ledger_balance, items, counts) IN (0, 6)",
            name=op.f("reconciliations_examined"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliations_api_key",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="reconciliations_account",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "external_account_id"],
            [
                "external_accounts.organization_id",
                "external_accounts.ledger_id",
                "external_accounts.external_account_id",
            ],
            name="reconciliations_external_account",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "reconciliation_id", name=op.f("reconciliations_pkey")
        ),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(
        "reconciliations_external_account",
        "reconciliations",
        ["organization_id", "external_account_id", "reconciliation_id"],
        postgresql_where=sa.text("last_event > 0"),
    )
    op.create_table(
        "reconciliation_discrepancies",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("discrepancy_id", sa.Uuid(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("amount", TOTAL, nullable=False),
        sa.Column("match_id", sa.Uuid(), nullable=True),
        sa.Column("line_number", sa.BigInteger(), nullable=True),
        sa.Column("entry_sequence", sa.BigInteger(), nullable=True),
        sa.Column("other_line", sa.BigInteger(), nullable=True),
        sa.Column("external_statement_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.Column("transaction_sequence", sa.BigInteger(), nullable=True),
        sa.Column("resolved_match_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(status = 'resolved') = (transaction_sequence IS NOT NULL) AND (status = 'resolved') = (resolved_match_id IS NOT NULL) AND (status = 'accepted') = coalesce(resolution = 'accepted', false)",
            name=op.f("reconciliation_discrepancies_transaction"),
        ),
        sa.CheckConstraint(
            "kind IN ('missing_in_ledger', 'missing_in_statement', 'amount_mismatch', 'date_mismatch', 'duplicate_line', 'duplicate_entry', 'currency_mismatch', 'balance_mismatch')",
            name=op.f("reconciliation_discrepancies_kind"),
        ),
        sa.CheckConstraint(
            "num_nulls(resolution, api_key_id, resolved_at) = CASE status WHEN 'open' THEN 3 ELSE 0 END",
            name=op.f("reconciliation_discrepancies_resolved"),
        ),
        sa.CheckConstraint(
            "resolution IN ('accepted', 'adjusted', 'written_off')",
            name=op.f("reconciliation_discrepancies_resolution"),
        ),
        sa.CheckConstraint(
            "status IN ('open', 'accepted', 'resolved')",
            name=op.f("reconciliation_discrepancies_status"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_discrepancies_api_key",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_discrepancies_reconciliation",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "discrepancy_id", name=op.f("reconciliation_discrepancies_pkey")
        ),
    )
    op.create_index(
        "reconciliation_discrepancies_reconciliation",
        "reconciliation_discrepancies",
        ["organization_id", "reconciliation_id", "day", "discrepancy_id"],
        postgresql_where=sa.text("kind <> ''"),
    )
    op.create_table(
        "reconciliation_events",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "kind IN ('created', 'run', 'confirmed', 'rejected', 'matched', 'unmatched', 'resolved', 'resolution_undone', 'closed', 'reopened')",
            name=op.f("reconciliation_events_kind"),
        ),
        sa.CheckConstraint("number >= 1", name=op.f("reconciliation_events_number")),
        sa.ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_events_api_key",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_events_reconciliation",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "reconciliation_id",
            "number",
            name=op.f("reconciliation_events_pkey"),
        ),
    )
    op.create_table(
        "reconciliation_matches",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("match_id", sa.Uuid(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("score", sa.SmallInteger(), nullable=False),
        sa.Column("difference", TOTAL, nullable=False),
        sa.Column("reach", TOTAL, nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("foreign_currency", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("api_key_id", sa.Uuid(), nullable=True),
        sa.Column("decided_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "(rule IS NOT NULL) = (origin = 'rule')", name=op.f("reconciliation_matches_rule")
        ),
        sa.CheckConstraint(
            "origin = 'rule' OR status = 'confirmed'",
            name=op.f("reconciliation_matches_origin_status"),
        ),
        sa.CheckConstraint(
            "origin IN ('rule', 'manual', 'resolution')", name=op.f("reconciliation_matches_origin")
        ),
        sa.CheckConstraint(
            "status IN ('proposed', 'confirmed')", name=op.f("reconciliation_matches_status")
        ),
        sa.CheckConstraint("score BETWEEN 0 AND 1000", name=op.f("reconciliation_matches_score")),
        sa.ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_matches_api_key",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_matches_reconciliation",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "match_id", name=op.f("reconciliation_matches_pkey")
        ),
    )
    op.create_index(
        "reconciliation_matches_crossing",
        "reconciliation_matches",
        ["organization_id", "ledger_id"],
        postgresql_where=sa.text("NOT whole"),
    )
    op.create_index(
        "reconciliation_matches_reconciliation",
        "reconciliation_matches",
        ["organization_id", "reconciliation_id", "match_id"],
        postgresql_where=sa.text("score >= 0"),
    )
    op.create_table(
        "reconciliation_rejections",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_rejections_reconciliation",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "reconciliation_id",
            "number",
            "sequence",
            name=op.f("reconciliation_rejections_pkey"),
        ),
    )
    op.create_table(
        "reconciliation_runs",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("confirmed", sa.BigInteger(), nullable=False),
        sa.Column("proposed", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn", sa.BigInteger(), nullable=False),
        sa.Column("appeared", sa.BigInteger(), nullable=False),
        sa.Column("vanished", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(failure IS NOT NULL) = (status = 'failed')", name=op.f("reconciliation_runs_failure")
        ),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('completed', 'failed'))",
            name=op.f("reconciliation_runs_finished"),
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'running', 'completed', 'failed')",
            name=op.f("reconciliation_runs_status"),
        ),
        sa.CheckConstraint(
            "least(confirmed, proposed, withdrawn, appeared, vanished) >= 0",
            name=op.f("reconciliation_runs_counts"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="reconciliation_runs_api_key",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "reconciliation_id"],
            ["reconciliations.organization_id", "reconciliations.reconciliation_id"],
            name="reconciliation_runs_reconciliation",
        ),
        sa.PrimaryKeyConstraint("organization_id", "run_id", name=op.f("reconciliation_runs_pkey")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(
        "reconciliation_runs_reconciliation",
        "reconciliation_runs",
        ["organization_id", "reconciliation_id", "run_id"],
        postgresql_where=sa.text("confirmed >= 0"),
    )
    op.create_index(
        "reconciliation_runs_unfinished",
        "reconciliation_runs",
        ["requested_at"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "reconciliation_runs_waiting",
        "reconciliation_runs",
        ["organization_id", "reconciliation_id"],
        unique=True,
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "reconciliation_match_entries",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("match_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "match_id"],
            ["reconciliation_matches.organization_id", "reconciliation_matches.match_id"],
            name="reconciliation_match_entries_match",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "match_id",
            "sequence",
            name=op.f("reconciliation_match_entries_pkey"),
        ),
    )
    op.create_index(
        "reconciliation_match_entries_entry",
        "reconciliation_match_entries",
        ["organization_id", "account_id", "sequence", "match_id"],
        unique=True,
    )
    op.create_index(
        "reconciliation_match_entries_once",
        "reconciliation_match_entries",
        ["organization_id", "account_id", "sequence"],
        unique=True,
        postgresql_where=sa.text("confirmed"),
    )
    op.create_table(
        "reconciliation_match_lines",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("match_id", sa.Uuid(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("reconciliation_id", sa.Uuid(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "external_account_id", "number"],
            [
                "statement_lines.organization_id",
                "statement_lines.external_account_id",
                "statement_lines.number",
            ],
            name="reconciliation_match_lines_line",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "match_id"],
            ["reconciliation_matches.organization_id", "reconciliation_matches.match_id"],
            name="reconciliation_match_lines_match",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "match_id", "number", name=op.f("reconciliation_match_lines_pkey")
        ),
    )
    op.create_index(
        "reconciliation_match_lines_line",
        "reconciliation_match_lines",
        ["organization_id", "external_account_id", "number", "match_id"],
        unique=True,
    )
    op.create_index(
        "reconciliation_match_lines_once",
        "reconciliation_match_lines",
        ["organization_id", "external_account_id", "number"],
        unique=True,
        postgresql_where=sa.text("confirmed"),
    )
    for table, changes in GUARDS.items():
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE {changes} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
    op.execute(REFUSE_CHANGE_OF_CLOSED)
    for table in FROZEN:
        for verb, rows in CHANGED.items():
            op.execute(
                f"CREATE TRIGGER {table}_frozen_{verb} AFTER {verb.upper()} ON {table}"
                f" REFERENCING {rows} TABLE AS changed"
                " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_closed()"
            )
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_frozen_{verb}")
    for grant in GRANTS:
        op.execute(grant)
