"""Transaction templates, and which transactions were made from them.

Both tables are append-only, as what was recorded is; a template may be superseded and archived.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GUARDS = {
    "transaction_templates": (
        "UPDATE OF organization_id, template_id, version, ledger_id, code, description, definition,"
        " created_at OR DELETE OR TRUNCATE"
    ),
    "template_uses": "UPDATE OR DELETE OR TRUNCATE",
}


def upgrade() -> None:
    moment = sa.TIMESTAMP(timezone=True)
    op.create_table(
        "transaction_templates",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("template_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("definition", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("superseded_at", moment, nullable=True),
        sa.Column("archived_at", moment, nullable=True),
        sa.PrimaryKeyConstraint(
            "organization_id", "template_id", "version", name="transaction_templates_pkey"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="transaction_templates_ledger",
        ),
        sa.CheckConstraint("version >= 1", name="version"),
    )
    op.create_index(
        "transaction_templates_code",
        "transaction_templates",
        ["organization_id", "ledger_id", "code", "version"],
        unique=True,
    )
    op.create_index(
        "transaction_templates_newest",
        "transaction_templates",
        ["organization_id", "ledger_id", "code"],
        unique=True,
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_table(
        "template_uses",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_sequence", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint(
            "organization_id", "ledger_id", "transaction_sequence", name="template_uses_pkey"
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="template_uses_transaction",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "code", "version"],
            [
                "transaction_templates.organization_id",
                "transaction_templates.ledger_id",
                "transaction_templates.code",
                "transaction_templates.version",
            ],
            name="template_uses_template",
        ),
    )
    for table, changes in GUARDS.items():
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE {changes} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
        op.execute(f"GRANT SELECT ON {table} TO ledgers_app, ledgers_reader")
        op.execute(f"GRANT INSERT ON {table} TO ledgers_app")
    op.execute("GRANT UPDATE (superseded_at, archived_at) ON transaction_templates TO ledgers_app")
