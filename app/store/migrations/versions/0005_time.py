"""Effective time: kept totals, orders on either axis, closed periods."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
TOTAL = sa.Numeric(60, 0)


def upgrade() -> None:
    op.create_table(
        "account_totals",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("span", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("latest", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("split", sa.Boolean(), nullable=False),
        sa.Column("posted_debits", TOTAL, nullable=False),
        sa.Column("posted_credits", TOTAL, nullable=False),
        sa.Column("pending_debits", TOTAL, nullable=False),
        sa.Column("pending_credits", TOTAL, nullable=False),
        sa.CheckConstraint(
            "level BETWEEN 0 AND 15 AND span >= 0", name=op.f("account_totals_span")
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "account_id",
            "level",
            "span",
            "sequence",
            name=op.f("account_totals_pkey"),
        ),
    )
    op.create_index(
        "entries_effective_at",
        "entries",
        ["organization_id", "account_id", "effective_at", "sequence"],
        postgresql_where=sa.text("amount > 0"),
    )
    op.create_index(
        "entries_ledger_effective_at",
        "entries",
        ["organization_id", "ledger_id", "effective_at", "transaction_sequence", "line"],
        postgresql_where=sa.text("amount > 0"),
    )
    op.add_column("ledgers", sa.Column("closed_through", MOMENT, nullable=True))
    op.create_table(
        "period_events",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("closed_through", MOMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint("kind IN ('closed', 'reopened')", name=op.f("period_events_kind")),
        sa.CheckConstraint("number >= 1", name=op.f("period_events_number")),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="period_events_ledger",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="period_events_api_key",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "ledger_id", "number", name=op.f("period_events_pkey")
        ),
    )
    for table in ("account_totals", "period_events"):
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
        op.execute(f"GRANT SELECT ON {table} TO ledgers_app, ledgers_reader")
        op.execute(f"GRANT INSERT ON {table} TO ledgers_app")
    op.execute("GRANT UPDATE (closed_through) ON ledgers TO ledgers_app")
