"""Accounts in order of name, by an index that is for nothing else.

PostgreSQL cannot tell the old one from the index behind the foreign key of entries while accounts
have no statistics, and read the whole ledger for the check of each entry (with 10,000 accounts 250
microseconds a posting).
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_check_constraint("name", "accounts", "name <> ''")
    op.drop_index("accounts_name", "accounts")
    op.create_index(
        "accounts_name",
        "accounts",
        ["organization_id", "ledger_id", "name", "account_id"],
        postgresql_where=sa.text("name <> ''"),
    )
