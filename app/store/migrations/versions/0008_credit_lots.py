"""Credit lots: stored value that expires, and all that ever left it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
AMOUNT = sa.Numeric(precision=37, scale=0)

GUARDS = {
    "credit_lots": (
        "UPDATE OF organization_id, lot_id, account_id, number, ledger_id, transaction_sequence,"
        " code, amount, expires_at, breakage_account_id OR DELETE OR TRUNCATE"
    ),
    "lot_movements": "UPDATE OR DELETE OR TRUNCATE",
}
GRANTS = [
    "GRANT UPDATE (has_lots) ON accounts TO ledgers_app",
    "GRANT SELECT ON credit_lots, lot_movements TO ledgers_app, ledgers_reader",
    "GRANT INSERT ON credit_lots, lot_movements TO ledgers_app",
    (
        "GRANT UPDATE (remaining, expired, due_at, due_attempts, refusal_code, refusal_message,"
        " refused_at) ON credit_lots TO ledgers_app"
    ),
]


def upgrade() -> None:
    op.add_column(
        "accounts",
        sa.Column("has_lots", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.create_table(
        "credit_lots",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_sequence", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("remaining", AMOUNT, nullable=False),
        sa.Column("expired", AMOUNT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("breakage_account_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("due_attempts", sa.Integer(), nullable=True),
        sa.Column("refusal_code", sa.Text(), nullable=True),
        sa.Column("refusal_message", sa.Text(), nullable=True),
        sa.Column("refused_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "remaining >= 0 AND expired >= 0 AND remaining + expired <= amount",
            name=op.f("credit_lots_amounts"),
        ),
        sa.CheckConstraint("breakage_account_id <> account_id", name=op.f("credit_lots_breakage")),
        sa.CheckConstraint("due_at IS NULL OR remaining > 0", name=op.f("credit_lots_due_at")),
        sa.CheckConstraint(
            "num_nulls(due_attempts, refusal_code, refusal_message, refused_at) IN (0, 4)",
            name=op.f("credit_lots_refused"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="credit_lots_account",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "breakage_account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="credit_lots_breakage_account",
        ),
        sa.PrimaryKeyConstraint("organization_id", "lot_id", name=op.f("credit_lots_pkey")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "credit_lots_entry",
        "credit_lots",
        ["organization_id", "account_id", "number"],
        unique=True,
    )
    op.create_index(
        "credit_lots_expires_at",
        "credit_lots",
        ["organization_id", "account_id", "expires_at", "number"],
        postgresql_where=sa.text("number > 0"),
    )
    op.create_index(
        "credit_lots_open",
        "credit_lots",
        ["organization_id", "account_id"],
        postgresql_where=sa.text("remaining > 0"),
    )
    op.create_index(
        "credit_lots_due",
        "credit_lots",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "lot_movements",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.CheckConstraint("kind IN ('spent', 'expired')", name=op.f("lot_movements_kind")),
        sa.CheckConstraint("amount > 0", name=op.f("lot_movements_amount")),
        sa.PrimaryKeyConstraint(
            "organization_id", "lot_id", "sequence", name=op.f("lot_movements_pkey")
        ),
    )
    op.create_index(
        "lot_movements_entry", "lot_movements", ["organization_id", "account_id", "sequence"]
    )
    op.drop_constraint(op.f("transaction_events_kind"), "transaction_events")
    op.drop_constraint(op.f("transaction_events_key"), "transaction_events")
    for name, condition in (
        (
            "kind",
            (
                "kind IN ('posted', 'held', 'settled', 'voided', 'matured', 'expired', 'updated',"
                " 'lot_expired')"
            ),
        ),
        (
            "key",
            (
                "(idempotency_key IS NULL) = (kind IN ('matured', 'expired', 'lot_expired'))"
                " AND (idempotency_key IS NULL) = (fingerprint IS NULL)"
            ),
        ),
    ):
        op.create_check_constraint(name, "transaction_events", condition)
    for table, changes in GUARDS.items():
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE {changes} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
    for grant in GRANTS:
        op.execute(grant)
