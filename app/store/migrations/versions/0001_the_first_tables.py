"""The first tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "organizations",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("organizations_pkey")),
    )
    op.create_table(
        "api_keys",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("ledger_restricted", sa.Boolean(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("api_keys_mode")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name="api_keys_organization"
        ),
        sa.PrimaryKeyConstraint("organization_id", "api_key_id", name=op.f("api_keys_pkey")),
    )
    op.create_index("api_keys_secret", "api_keys", ["organization_id", "secret_hash"], unique=True)
    op.create_table(
        "ledgers",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("archived_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("mode IN ('live', 'test')", name=op.f("ledgers_mode")),
        sa.CheckConstraint("last_sequence >= 0", name=op.f("ledgers_last_sequence")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.organization_id"], name="ledgers_organization"
        ),
        sa.PrimaryKeyConstraint("organization_id", "ledger_id", name=op.f("ledgers_pkey")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "api_key_ledgers",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("api_key_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "api_key_id"],
            ["api_keys.organization_id", "api_keys.api_key_id"],
            name="api_key_ledgers_api_key",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="api_key_ledgers_ledger",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "api_key_id", "ledger_id", name=op.f("api_key_ledgers_pkey")
        ),
    )
    op.create_table(
        "currencies",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("exponent", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("exponent BETWEEN 0 AND 36", name=op.f("currencies_exponent")),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="currencies_ledger",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "ledger_id", "code", name=op.f("currencies_pkey")
        ),
    )
    op.create_index(
        "currencies_exponent",
        "currencies",
        ["organization_id", "ledger_id", "code", "exponent"],
        unique=True,
    )
    op.create_table(
        "transactions",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("effective_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("posted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("voided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(posted_at IS NOT NULL) = (status = 'posted') AND (voided_at IS NOT NULL) = (status = 'voided')",
            name=op.f("transactions_times"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'posted', 'voided')", name=op.f("transactions_status")
        ),
        sa.CheckConstraint("sequence >= 1", name=op.f("transactions_sequence")),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="transactions_ledger",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "transaction_id", name=op.f("transactions_pkey")
        ),
    )
    op.create_index(
        "transactions_effective_at",
        "transactions",
        ["organization_id", "ledger_id", "effective_at", "sequence"],
        unique=False,
    )
    op.create_index(
        "transactions_external_id",
        "transactions",
        ["organization_id", "external_id", "ledger_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "transactions_metadata",
        "transactions",
        ["metadata"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
        postgresql_where=sa.text("metadata <> '{}'::jsonb"),
    )
    op.create_index(
        "transactions_pending",
        "transactions",
        ["organization_id", "ledger_id", "sequence"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "transactions_sequence",
        "transactions",
        ["organization_id", "ledger_id", "sequence"],
        unique=True,
    )
    op.create_table(
        "accounts",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("normal_balance", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("exponent", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("available_floor", sa.Numeric(precision=37, scale=0), nullable=True),
        sa.Column("floor_version", sa.BigInteger(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("posted_debits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("posted_credits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("pending_debits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("pending_credits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.CheckConstraint(
            "normal_balance IN ('debit', 'credit')", name=op.f("accounts_normal_balance")
        ),
        sa.CheckConstraint("status IN ('open', 'frozen', 'closed')", name=op.f("accounts_status")),
        sa.CheckConstraint(
            "least(posted_debits, posted_credits, pending_debits, pending_credits) >= 0",
            name=op.f("accounts_totals"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "currency", "exponent"],
            [
                "currencies.organization_id",
                "currencies.ledger_id",
                "currencies.code",
                "currencies.exponent",
            ],
            name="accounts_currency",
        ),
        sa.PrimaryKeyConstraint("organization_id", "account_id", name=op.f("accounts_pkey")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(
        "accounts_external_id",
        "accounts",
        ["organization_id", "external_id", "ledger_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "accounts_ledger", "accounts", ["organization_id", "ledger_id", "account_id"], unique=True
    )
    op.create_index(
        "accounts_metadata",
        "accounts",
        ["metadata"],
        unique=False,
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
        postgresql_where=sa.text("metadata <> '{}'::jsonb"),
    )
    op.create_index(
        "accounts_name",
        "accounts",
        ["organization_id", "ledger_id", "name", "account_id"],
        unique=False,
    )
    op.create_table(
        "transaction_events",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_sequence", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('posted', 'held', 'settled', 'voided')", name=op.f("transaction_events_kind")
        ),
        sa.CheckConstraint(
            "octet_length(fingerprint) = 32", name=op.f("transaction_events_fingerprint")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="transaction_events_transaction",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "ledger_id",
            "transaction_sequence",
            "number",
            name=op.f("transaction_events_pkey"),
        ),
    )
    op.create_index(
        "transaction_events_idempotency_key",
        "transaction_events",
        ["organization_id", "idempotency_key", "ledger_id"],
        unique=True,
    )
    op.create_table(
        "entries",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("transaction_sequence", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=37, scale=0), nullable=False),
        sa.Column("posted_debits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("posted_credits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("pending_debits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("pending_credits", sa.Numeric(precision=60, scale=0), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("direction IN ('debit', 'credit')", name=op.f("entries_direction")),
        sa.CheckConstraint(
            "effect IN ('post', 'hold', 'settle', 'release')", name=op.f("entries_effect")
        ),
        sa.CheckConstraint(
            "amount > 0 AND amount <= 1000000000000000000000000000000000000",
            name=op.f("entries_amount"),
        ),
        sa.CheckConstraint(
            "least(posted_debits, posted_credits, pending_debits, pending_credits) >= 0",
            name=op.f("entries_totals"),
        ),
        sa.CheckConstraint(
            "sequence >= 1 AND line >= 1 AND event >= 1", name=op.f("entries_numbers")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="entries_account",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="entries_transaction",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "account_id", "sequence", name=op.f("entries_pkey")
        ),
    )
    op.create_index(
        "entries_holds",
        "entries",
        ["organization_id", "account_id", "transaction_sequence"],
        unique=False,
        postgresql_where=sa.text("effect = 'hold'"),
    )
    op.create_index(
        "entries_line",
        "entries",
        ["organization_id", "ledger_id", "transaction_sequence", "line"],
        unique=True,
    )
