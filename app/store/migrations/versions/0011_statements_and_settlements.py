"""Account statements, their schedules, and settlements."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = postgresql.TIMESTAMP(timezone=True)
AMOUNT = sa.Numeric(precision=37, scale=0)
TOTAL = sa.Numeric(precision=60, scale=0)

GUARDS = {
    "account_statements": "UPDATE OR DELETE OR TRUNCATE",
    "statement_schedules": (
        "UPDATE OF organization_id, schedule_id, ledger_id, time_zone, account_ids,"
        " external_id_prefix, account_metadata, starting_from, created_at OR DELETE OR TRUNCATE"
    ),
    "settlements": (
        "UPDATE OF organization_id, settlement_id, ledger_id, account_id, number,"
        " transaction_sequence, up_to, amount, entry_count, first_sequence, open_from"
        " OR DELETE OR TRUNCATE"
    ),
    "settlement_entries": "UPDATE OR DELETE OR TRUNCATE",
}
TABLES = ", ".join(GUARDS)
GRANTS = [
    f"GRANT SELECT ON {TABLES} TO ledgers_app, ledgers_reader",
    f"GRANT INSERT ON {TABLES} TO ledgers_app",
    (
        "GRANT UPDATE (next_month, stated_through, due_at, deleted_at) ON statement_schedules"
        " TO ledgers_app"
    ),
    "GRANT UPDATE (released_sequence) ON settlements TO ledgers_app",
]


def upgrade() -> None:
    _statements()
    _schedules()
    _settlements()
    for table, changes in GUARDS.items():
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE {changes} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
    for grant in GRANTS:
        op.execute(grant)


def _statements() -> None:
    op.create_table(
        "account_statements",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("statement_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("from_at", MOMENT, nullable=False),
        sa.Column("to_at", MOMENT, nullable=False),
        sa.Column("account_version", sa.BigInteger(), nullable=False),
        sa.Column("ledger_sequence", sa.BigInteger(), nullable=False),
        sa.Column("known_at", MOMENT, nullable=False),
        sa.Column("previous_number", sa.BigInteger(), nullable=True),
        sa.Column("organization_name", sa.Text(), nullable=False),
        sa.Column("ledger_name", sa.Text(), nullable=False),
        sa.Column("account_name", sa.Text(), nullable=False),
        sa.Column("opening_debits", TOTAL, nullable=False),
        sa.Column("opening_credits", TOTAL, nullable=False),
        sa.Column("closing_debits", TOTAL, nullable=False),
        sa.Column("closing_credits", TOTAL, nullable=False),
        sa.Column("line_count", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "number >= 1 AND least(account_version, ledger_sequence, line_count) >= 0",
            name=op.f("account_statements_numbers"),
        ),
        sa.CheckConstraint("from_at < to_at", name=op.f("account_statements_period")),
        sa.CheckConstraint(
            "previous_number < number", name=op.f("account_statements_previous_number")
        ),
        sa.CheckConstraint(
            "opening_debits >= 0 AND opening_credits >= 0"
            " AND closing_debits >= opening_debits AND closing_credits >= opening_credits",
            name=op.f("account_statements_totals"),
        ),
        sa.CheckConstraint(
            "octet_length(content_hash) = 32", name=op.f("account_statements_content_hash")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="account_statements_account",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "statement_id", name=op.f("account_statements_pkey")
        ),
    )
    op.create_index(
        "account_statements_number",
        "account_statements",
        ["organization_id", "account_id", "number"],
        unique=True,
    )
    op.create_index(
        "account_statements_scheduled",
        "account_statements",
        ["organization_id", "account_id", "from_at", "to_at"],
        unique=True,
        postgresql_where=sa.text("scheduled"),
    )
    op.create_index(
        "account_statements_idempotency_key",
        "account_statements",
        ["organization_id", "idempotency_key", "ledger_id"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_foreign_key(
        "account_statements_previous",
        "account_statements",
        "account_statements",
        ["organization_id", "account_id", "previous_number"],
        ["organization_id", "account_id", "number"],
    )


def _schedules() -> None:
    op.create_table(
        "statement_schedules",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("account_ids", postgresql.ARRAY(sa.Uuid()), nullable=True),
        sa.Column("external_id_prefix", sa.Text(), nullable=True),
        sa.Column("account_metadata", postgresql.JSONB(), nullable=True),
        sa.Column("starting_from", sa.Date(), nullable=False),
        sa.Column("next_month", sa.Date(), nullable=False),
        sa.Column("stated_through", sa.Uuid(), nullable=True),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "num_nonnulls(account_ids, external_id_prefix, account_metadata) <= 1",
            name=op.f("statement_schedules_selection"),
        ),
        sa.CheckConstraint(
            "extract(day FROM starting_from) = 1 AND extract(day FROM next_month) = 1"
            " AND starting_from <= next_month",
            name=op.f("statement_schedules_months"),
        ),
        sa.CheckConstraint(
            "(due_at IS NULL) = (deleted_at IS NOT NULL)", name=op.f("statement_schedules_due_at")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="statement_schedules_ledger",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "schedule_id", name=op.f("statement_schedules_pkey")
        ),
    )
    op.create_index(
        "statement_schedules_ledger",
        "statement_schedules",
        ["organization_id", "ledger_id", "schedule_id"],
    )
    op.create_index(
        "statement_schedules_due",
        "statement_schedules",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )


def _settlements() -> None:
    op.create_table(
        "settlements",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("settlement_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("transaction_sequence", sa.BigInteger(), nullable=False),
        sa.Column("up_to", MOMENT, nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("entry_count", sa.BigInteger(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("open_from", sa.BigInteger(), nullable=False),
        sa.Column("released_sequence", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(f"amount BETWEEN 1 AND {10**36}", name=op.f("settlements_amount")),
        sa.CheckConstraint(
            "number >= 1 AND entry_count >= 1 AND first_sequence >= 1 AND open_from >= 1",
            name=op.f("settlements_numbers"),
        ),
        sa.CheckConstraint(
            "transaction_sequence < released_sequence", name=op.f("settlements_released_sequence")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "account_id"],
            ["accounts.organization_id", "accounts.ledger_id", "accounts.account_id"],
            name="settlements_account",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "transaction_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="settlements_transaction",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id", "released_sequence"],
            ["transactions.organization_id", "transactions.ledger_id", "transactions.sequence"],
            name="settlements_released",
        ),
        sa.PrimaryKeyConstraint("organization_id", "settlement_id", name=op.f("settlements_pkey")),
        postgresql_with={"fillfactor": 90},
    )
    op.create_index(
        "settlements_number",
        "settlements",
        ["organization_id", "account_id", "number"],
        unique=True,
    )
    op.create_index(
        "settlements_transaction",
        "settlements",
        ["organization_id", "ledger_id", "transaction_sequence"],
        unique=True,
    )
    op.create_index(
        "settlements_released",
        "settlements",
        ["organization_id", "ledger_id", "released_sequence"],
        unique=True,
        postgresql_where=sa.text("released_sequence IS NOT NULL"),
    )
    op.create_table(
        "settlement_entries",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("settlement_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("round >= 1", name=op.f("settlement_entries_round")),
        sa.ForeignKeyConstraint(
            ["organization_id", "settlement_id"],
            ["settlements.organization_id", "settlements.settlement_id"],
            name="settlement_entries_settlement",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id",
            "account_id",
            "sequence",
            "round",
            name=op.f("settlement_entries_pkey"),
        ),
    )
    op.create_index(
        "settlement_entries_settlement",
        "settlement_entries",
        ["organization_id", "settlement_id", "sequence"],
    )
