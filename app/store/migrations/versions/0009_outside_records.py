"""What others say of our money: external accounts, their statements and the lines of those."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
AMOUNT = sa.Numeric(precision=37, scale=0)
TOTAL = sa.Numeric(precision=60, scale=0)

TABLES = (
    "external_accounts, import_profiles, statement_imports, external_statements, statement_lines,"
    " statement_line_repeats"
)
GUARDS = {
    "external_accounts": (
        "UPDATE OF organization_id, external_account_id, ledger_id, account_id, inverted, created_at"
        " OR DELETE OR TRUNCATE"
    ),
    "statement_imports": (
        "UPDATE OF organization_id, import_id, ledger_id, external_account_id, api_key_id, format,"
        " source_name, definition, created_at OR DELETE OR TRUNCATE"
    ),
    "external_statements": "UPDATE OR DELETE OR TRUNCATE",
    "statement_lines": "UPDATE OR DELETE OR TRUNCATE",
    "statement_line_repeats": "UPDATE OR DELETE OR TRUNCATE",
}
GRANTS = [
    f"GRANT SELECT ON {TABLES} TO ledgers_app, ledgers_reader",
    f"GRANT INSERT ON {TABLES} TO ledgers_app",
    (
        "GRANT UPDATE (name, kind, identification, metadata, last_statement, last_line)"
        " ON external_accounts TO ledgers_app"
    ),
    "GRANT UPDATE (definition, updated_at), DELETE ON import_profiles TO ledgers_app",
    (
        "GRANT UPDATE (content_hash, original_import_id, status, bytes_total, bytes_read, lines_read, lines_new,"
        " lines_known, lines_skipped, failure_code, failure_message, failure_line, failure_column, finished_at)"
        " ON statement_imports TO ledgers_app"
    ),
]


def upgrade() -> None:
    op.create_table(
        "import_profiles",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="import_profiles_ledger",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "ledger_id", "name", name=op.f("import_profiles_pkey")
        ),
    )
    op.create_table(
        "external_accounts",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("identification", sa.Text(), nullable=True),
        sa.Column("inverted", sa.Boolean(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_statement", sa.BigInteger(), nullable=False),
        sa.Column("last_line", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('bank', 'acquirer', 'partner', 'other')", name=op.f("external_accounts_kind")
        ),
        sa.CheckConstraint(
            "last_statement >= 0 AND last_line >= 0", name=op.f("external_accounts_counters")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="external_accounts_account",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "external_account_id", name=op.f("external_accounts_pkey")
        ),
    )
    op.create_index(
        "external_accounts_account",
        "external_accounts",
        ["organization_id", "account_id", "external_account_id"],
        unique=False,
        postgresql_where=sa.text("last_line >= 0"),
    )
    op.create_index(
        "external_accounts_ledger",
        "external_accounts",
        ["organization_id", "ledger_id", "external_account_id"],
        unique=True,
    )
    op.create_table(
        "statement_imports",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("source_name", sa.Text(), nullable=True),
        sa.Column("definition", postgresql.JSONB(), nullable=True),
        sa.Column("content_hash", sa.LargeBinary(), nullable=True),
        sa.Column("original_import_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=True),
        sa.Column("bytes_read", sa.BigInteger(), nullable=False),
        sa.Column("lines_read", sa.BigInteger(), nullable=False),
        sa.Column("lines_new", sa.BigInteger(), nullable=False),
        sa.Column("lines_known", sa.BigInteger(), nullable=False),
        sa.Column("lines_skipped", sa.BigInteger(), nullable=False),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_message", sa.Text(), nullable=True),
        sa.Column("failure_line", sa.BigInteger(), nullable=True),
        sa.Column("failure_column", sa.BigInteger(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (status = 'importing')",
            name=op.f("statement_imports_finished"),
        ),
        sa.CheckConstraint(
            "format IN ('csv', 'camt.053', 'camt.054', 'mt940', 'ofx', 'rows')",
            name=op.f("statement_imports_format"),
        ),
        sa.CheckConstraint(
            "num_nulls(failure_code, failure_message) = CASE status WHEN 'failed' THEN 0 ELSE 2 END",
            name=op.f("statement_imports_failure"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('completed', 'recognised') OR content_hash IS NOT NULL",
            name=op.f("statement_imports_hashed"),
        ),
        sa.CheckConstraint(
            "(original_import_id IS NULL) = (status <> 'recognised')",
            name=op.f("statement_imports_recognised"),
        ),
        sa.CheckConstraint(
            "status IN ('importing', 'completed', 'recognised', 'failed')",
            name=op.f("statement_imports_status"),
        ),
        sa.CheckConstraint(
            "least(bytes_read, lines_read, lines_new, lines_known, lines_skipped) >= 0",
            name=op.f("statement_imports_counts"),
        ),
        sa.CheckConstraint(
            "octet_length(content_hash) = 32", name=op.f("statement_imports_content_hash")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "external_account_id"],
            [
                "external_accounts.organization_id",
                "external_accounts.ledger_id",
                "external_accounts.external_account_id",
            ],
            name="statement_imports_external_account",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "original_import_id"],
            ["statement_imports.organization_id", "statement_imports.import_id"],
            name="statement_imports_original",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "import_id", name=op.f("statement_imports_pkey")
        ),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(
        "statement_imports_content",
        "statement_imports",
        ["organization_id", "external_account_id", "content_hash"],
        unique=True,
        postgresql_where=sa.text("status = 'completed'"),
    )
    op.create_index(
        "statement_imports_external_account",
        "statement_imports",
        ["organization_id", "external_account_id", "import_id"],
        unique=False,
        postgresql_where=sa.text("lines_read >= 0"),
    )
    op.create_index(
        "statement_imports_importing",
        "statement_imports",
        ["organization_id", "import_id"],
        unique=False,
        postgresql_where=sa.text("status = 'importing'"),
    )
    op.create_table(
        "external_statements",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("external_statement_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("from_date", sa.Date(), nullable=True),
        sa.Column("through_date", sa.Date(), nullable=True),
        sa.Column("opening_balance", AMOUNT, nullable=True),
        sa.Column("closing_balance", AMOUNT, nullable=True),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("line_total", TOTAL, nullable=False),
        sa.Column("known_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("from_date <= through_date", name=op.f("external_statements_period")),
        sa.CheckConstraint(
            "least(line_count, known_count) >= 0", name=op.f("external_statements_counts")
        ),
        sa.CheckConstraint("number >= 1", name=op.f("external_statements_number")),
        sa.ForeignKeyConstraint(
            ["organization_id", "import_id"],
            ["statement_imports.organization_id", "statement_imports.import_id"],
            name="external_statements_import",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "external_account_id"],
            [
                "external_accounts.organization_id",
                "external_accounts.ledger_id",
                "external_accounts.external_account_id",
            ],
            name="external_statements_external_account",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "external_statement_id", name=op.f("external_statements_pkey")
        ),
    )
    op.create_index(
        "external_statements_import",
        "external_statements",
        ["organization_id", "import_id", "number"],
        unique=False,
        postgresql_where=sa.text("number > 0"),
    )
    op.create_index(
        "external_statements_number",
        "external_statements",
        ["organization_id", "external_account_id", "number"],
        unique=True,
        postgresql_where=sa.text("number > 0"),
    )
    op.create_table(
        "statement_lines",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("external_statement_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("source_line", sa.BigInteger(), nullable=True),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("value_on", sa.Date(), nullable=True),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("end_to_end_id", sa.Text(), nullable=True),
        sa.Column("counterparty", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "abs(amount) BETWEEN 1 AND 1000000000000000000000000000000000000",
            name=op.f("statement_lines_amount"),
        ),
        sa.CheckConstraint(
            "number >= 1 AND position >= 1 AND occurrence >= 1",
            name=op.f("statement_lines_numbers"),
        ),
        sa.CheckConstraint(
            "octet_length(fingerprint) = 32", name=op.f("statement_lines_fingerprint")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "external_statement_id"],
            ["external_statements.organization_id", "external_statements.external_statement_id"],
            name="statement_lines_external_statement",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "external_account_id", "number", name=op.f("statement_lines_pkey")
        ),
    )
    op.create_index(
        "statement_lines_booked_on",
        "statement_lines",
        ["organization_id", "external_account_id", "booked_on", "number"],
        unique=False,
        postgresql_where=sa.text("number > 0"),
    )
    op.create_index(
        "statement_lines_fingerprint",
        "statement_lines",
        ["organization_id", "external_account_id", "fingerprint"],
        unique=True,
        postgresql_where=sa.text("number > 0"),
    )
    op.create_index(
        "statement_lines_position",
        "statement_lines",
        ["organization_id", "external_statement_id", "position"],
        unique=True,
        postgresql_where=sa.text("number > 0"),
    )
    op.create_table(
        "statement_line_repeats",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("external_statement_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("external_account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "external_account_id", "number"],
            [
                "statement_lines.organization_id",
                "statement_lines.external_account_id",
                "statement_lines.number",
            ],
            name="statement_line_repeats_line",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "external_statement_id"],
            ["external_statements.organization_id", "external_statements.external_statement_id"],
            name="statement_line_repeats_external_statement",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "external_statement_id",
            "position",
            name=op.f("statement_line_repeats_pkey"),
        ),
    )
    op.create_index(
        "statement_line_repeats_line",
        "statement_line_repeats",
        ["organization_id", "external_account_id", "number"],
        unique=False,
    )
    # ### end Alembic commands ###
    for table, changes in GUARDS.items():
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE {changes} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
    for grant in GRANTS:
        op.execute(grant)
