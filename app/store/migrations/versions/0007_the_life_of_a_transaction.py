"""The life of a transaction: terms of holds, what falls due, reversals, corrections.

Columns that most transactions leave NULL cost a bit each. What was agreed of a hold (its reason and
times) and which transaction a reversal reverses stay as they were recorded; what is due, and the
last refusal of it, change as the server tries. Description and metadata may be corrected now: the
app's role is granted that, and each correction is an event with the values before and after.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = postgresql.TIMESTAMP(timezone=True)

STAY = (
    "organization_id, transaction_id, ledger_id, sequence, external_id, effective_at, created_at,"
    " reason, posts_at, expires_at, reverses_sequence"
)


def upgrade() -> None:
    for column in (
        sa.Column("reason", sa.Text()),
        sa.Column("posts_at", MOMENT),
        sa.Column("expires_at", MOMENT),
        sa.Column("due_at", MOMENT),
        sa.Column("due_attempts", sa.Integer()),
        sa.Column("refusal_code", sa.Text()),
        sa.Column("refusal_message", sa.Text()),
        sa.Column("refused_at", MOMENT),
        sa.Column("reverses_sequence", sa.BigInteger()),
    ):
        op.add_column("transactions", column)
    for name, condition in (
        (
            "reason",
            "reason IN ('payout', 'chargeback', 'reserve', 'authorization', 'custom')",
        ),
        ("terms", "expires_at > posts_at"),
        ("due_at", "due_at IS NULL OR status = 'pending'"),
        (
            "refused",
            "num_nulls(due_attempts, refusal_code, refusal_message, refused_at) IN (0, 4)",
        ),
        ("reverses", "reverses_sequence < sequence"),
    ):
        op.create_check_constraint(name, "transactions", condition)
    op.create_foreign_key(
        "transactions_reversed",
        "transactions",
        "transactions",
        ["organization_id", "ledger_id", "reverses_sequence"],
        ["organization_id", "ledger_id", "sequence"],
    )
    op.create_index(
        "transactions_due",
        "transactions",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "transactions_reverses",
        "transactions",
        ["organization_id", "ledger_id", "reverses_sequence"],
        postgresql_where=sa.text("reverses_sequence IS NOT NULL"),
    )
    op.alter_column("transaction_events", "idempotency_key", nullable=True)
    op.alter_column("transaction_events", "fingerprint", nullable=True)
    op.add_column("transaction_events", sa.Column("changes", postgresql.JSONB()))
    op.drop_constraint(op.f("transaction_events_kind"), "transaction_events")
    for name, condition in (
        (
            "kind",
            "kind IN ('posted', 'held', 'settled', 'voided', 'matured', 'expired', 'updated')",
        ),
        (
            "key",
            (
                "(idempotency_key IS NULL) = (kind IN ('matured', 'expired'))"
                " AND (idempotency_key IS NULL) = (fingerprint IS NULL)"
            ),
        ),
        ("changes", "(changes IS NOT NULL) = (kind = 'updated')"),
    ):
        op.create_check_constraint(name, "transaction_events", condition)
    op.execute("DROP TRIGGER transactions_stay ON transactions")
    op.execute(
        f"CREATE TRIGGER transactions_stay BEFORE UPDATE OF {STAY} OR DELETE OR TRUNCATE"
        " ON transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute("ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_stay")
    op.execute(
        "GRANT UPDATE (description, metadata, due_at, due_attempts, refusal_code, refusal_message,"
        " refused_at) ON transactions TO ledgers_app"
    )
