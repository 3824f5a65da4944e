"""Limits of accounts beyond the floor: ceiling, entry maximum, velocity."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GRANTS = [
    (
        "GRANT UPDATE (balance_ceiling, ceiling_version, entry_maximum, maximum_version,"
        " velocity_limited) ON accounts TO ledgers_app"
    ),
    "GRANT SELECT ON velocity_limits TO ledgers_app, ledgers_reader",
    "GRANT INSERT, UPDATE, DELETE ON velocity_limits TO ledgers_app",
]


def upgrade() -> None:
    for column in (
        sa.Column("balance_ceiling", sa.Numeric(precision=37, scale=0), nullable=True),
        sa.Column("ceiling_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("entry_maximum", sa.Numeric(precision=37, scale=0), nullable=True),
        sa.Column("maximum_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("velocity_limited", sa.Boolean(), server_default=sa.false(), nullable=False),
    ):
        op.add_column("accounts", column)
    op.create_table(
        "velocity_limits",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("maximum_amount", sa.Numeric(precision=37, scale=0), nullable=True),
        sa.Column("maximum_count", sa.BigInteger(), nullable=True),
        sa.Column("window_seconds", sa.Integer(), nullable=True),
        sa.Column("period", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("counted_from", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("counted_after", sa.BigInteger(), nullable=False),
        sa.Column("used_amount", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("used_count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(window_seconds IS NULL) = (period IS NOT NULL)"
            " AND (period IS NULL) = (time_zone IS NULL) AND window_seconds >= 1",
            name=op.f("velocity_limits_window"),
        ),
        sa.CheckConstraint(
            "coalesce(maximum_amount, maximum_count) IS NOT NULL"
            " AND least(maximum_amount, maximum_count) >= 0",
            name=op.f("velocity_limits_maxima"),
        ),
        sa.CheckConstraint(
            "least(used_amount, used_count, counted_after) >= 0",
            name=op.f("velocity_limits_usage"),
        ),
        sa.CheckConstraint(
            "period IN ('day', 'week', 'month')", name=op.f("velocity_limits_period")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "account_id"],
            ["accounts.organization_id", "accounts.account_id"],
            name="velocity_limits_account",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "account_id", "name", name=op.f("velocity_limits_pkey")
        ),
        postgresql_with={"fillfactor": 50},
    )
    for grant in GRANTS:
        op.execute(grant)
