"""Sealed blocks: revisions of descriptive rows, and the hashes of all that was recorded.

Triggers write the revisions. They fire for the columns that they name, and postings change none of
those, so the path of a posting is as it was. As they are not "always" triggers, a replica gets the
rows by replication and not by its own triggers; and a session that sets `ledgers.restoring` brings
revisions of its own. Whoever uses either to change a row unnoticed leaves a row that is not as its
last revision says, which `ledgers verify --proofs` finds.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOMENT = postgresql.TIMESTAMP(timezone=True)

# Tables in order of creation, with the columns of their keys and the others that are kept.
REVISED = {
    "ledgers": (
        ("ledger_id",),
        ("name", "description", "mode", "metadata", "created_at", "archived_at"),
    ),
    "currencies": (("ledger_id", "code"), ("exponent",)),
    "accounts": (
        ("account_id",),
        (
            *("ledger_id", "name", "description", "external_id", "normal_balance", "currency"),
            *("exponent", "status", "available_floor", "floor_version", "metadata", "created_at"),
            *("balance_ceiling", "ceiling_version", "entry_maximum", "maximum_version"),
        ),
    ),
    "velocity_limits": (
        ("account_id", "name"),
        ("maximum_amount", "maximum_count", "window_seconds", "period", "time_zone"),
    ),
    "transaction_templates": (
        ("template_id", "version"),
        (
            *("ledger_id", "code", "description", "definition", "created_at", "superseded_at"),
            "archived_at",
        ),
    ),
    "period_events": (
        ("ledger_id", "number"),
        ("kind", "closed_through", "reason", "api_key_id", "recorded_at"),
    ),
    "external_accounts": (
        ("external_account_id",),
        (
            *("ledger_id", "account_id", "name", "kind", "identification", "inverted", "metadata"),
            "created_at",
        ),
    ),
    "import_profiles": (("ledger_id", "name"), ("definition", "created_at", "updated_at")),
}

RECORD_REVISION = """
CREATE FUNCTION record_revision() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    changed jsonb := to_jsonb(coalesce(NEW, OLD));
    keys text[] := string_to_array(TG_ARGV[0], ' ');
    kept text[] := string_to_array(TG_ARGV[1], ' ');
    row_key jsonb;
    row_content jsonb;
    home uuid;
BEGIN
    IF current_setting('ledgers.restoring', true) = 'on' THEN
        RETURN NULL;
    END IF;
    SELECT jsonb_object_agg(name, changed -> name) INTO row_key FROM unnest(keys) AS name;
    IF TG_OP <> 'DELETE' THEN
        SELECT jsonb_object_agg(name, changed -> name) INTO row_content FROM unnest(kept) AS name;
    END IF;
    IF TG_OP = 'UPDATE' AND row_content = (
        SELECT jsonb_object_agg(name, to_jsonb(OLD) -> name) FROM unnest(kept) AS name
    ) THEN
        RETURN NULL;
    END IF;
    home := changed ->> 'ledger_id';
    IF home IS NULL THEN
        SELECT ledger_id INTO home FROM accounts
        WHERE organization_id = (changed ->> 'organization_id')::uuid
            AND account_id = (changed ->> 'account_id')::uuid;
    END IF;
    PERFORM FROM ledgers
    WHERE organization_id = (changed ->> 'organization_id')::uuid AND ledger_id = home
    FOR NO KEY UPDATE;
    INSERT INTO revisions (organization_id, ledger_id, number, subject, key, content, recorded_at)
    SELECT (changed ->> 'organization_id')::uuid, home, coalesce(max(number), 0) + 1,
        TG_TABLE_NAME, row_key, row_content, clock_timestamp()
    FROM revisions
    WHERE organization_id = (changed ->> 'organization_id')::uuid AND ledger_id = home;
    RETURN NULL;
END $$
"""

# What is there already is revised once, in order of creation.
FIRST_REVISION = """
    INSERT INTO revisions (organization_id, ledger_id, number, subject, key, content, recorded_at)
    SELECT r.organization_id, r.ledger_id,
        row_number() OVER (PARTITION BY r.organization_id, r.ledger_id ORDER BY r.key)
            + coalesce((
                SELECT max(before.number) FROM revisions before
                WHERE before.organization_id = r.organization_id
                    AND before.ledger_id = r.ledger_id
            ), 0),
        '{table}', r.key, r.content, clock_timestamp()
    FROM (
        SELECT t.organization_id, {home} AS ledger_id, jsonb_build_object({key}) AS key,
            jsonb_build_object({kept}) AS content
        FROM {table} t {join}
    ) r
"""

GUARDS = {"revisions": "UPDATE OR DELETE OR TRUNCATE", "blocks": "UPDATE OR DELETE OR TRUNCATE"}
GRANTS = [
    "GRANT SELECT ON revisions, blocks TO ledgers_app, ledgers_reader",
    "GRANT INSERT ON revisions, blocks TO ledgers_app",
]


def upgrade() -> None:
    op.create_table(
        "revisions",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("revisions_number")),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="revisions_ledger",
        ),
        sa.PrimaryKeyConstraint(
            "organization_id", "ledger_id", "number", name=op.f("revisions_pkey")
        ),
    )
    op.create_table(
        "blocks",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("ledger_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("first_leaf", sa.BigInteger(), nullable=False),
        sa.Column("leaves", sa.Integer(), nullable=False),
        sa.Column("revisions", sa.BigInteger(), nullable=False),
        sa.Column("transactions", sa.BigInteger(), nullable=False),
        sa.Column("last_recorded_at", MOMENT, nullable=True),
        sa.Column("last_sequence", sa.BigInteger(), nullable=True),
        sa.Column("last_number", sa.Integer(), nullable=True),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=True),
        sa.Column("skip", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_at", MOMENT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hashes", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "number >= 1 AND leaves >= 1 AND first_leaf >= 0", name=op.f("blocks_numbers")
        ),
        sa.CheckConstraint(
            "num_nulls(last_recorded_at, last_sequence, last_number) IN (0, 3)",
            name=op.f("blocks_last"),
        ),
        sa.CheckConstraint(
            "(previous IS NULL) = (number = 1) AND (skip IS NULL) = (number & (number - 1) = 0)",
            name=op.f("blocks_links"),
        ),
        sa.CheckConstraint(
            "octet_length(leaf_hashes) = 32 * leaves", name=op.f("blocks_leaf_hashes")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id", "ledger_id"],
            ["ledgers.organization_id", "ledgers.ledger_id"],
            name="blocks_ledger",
        ),
        sa.PrimaryKeyConstraint("organization_id", "ledger_id", "number", name=op.f("blocks_pkey")),
    )
    op.create_index(
        "blocks_last",
        "blocks",
        [
            *("organization_id", "ledger_id", "last_recorded_at", "last_sequence", "last_number"),
            "number",
        ],
    )
    op.create_index(
        "transaction_events_later",
        "transaction_events",
        ["organization_id", "ledger_id", "recorded_at", "transaction_sequence", "number"],
        postgresql_where=sa.text("number > 1"),
    )
    op.execute(RECORD_REVISION)
    op.execute("SET LOCAL timezone = 'UTC'")
    for table, (keys, kept) in REVISED.items():
        is_homeless = table == "velocity_limits"
        op.execute(
            FIRST_REVISION.format(
                table=table,
                home="a.ledger_id" if is_homeless else "t.ledger_id",
                key=", ".join(f"'{name}', t.{name}" for name in keys),
                kept=", ".join(f"'{name}', t.{name}" for name in kept),
                join="JOIN accounts a USING (organization_id, account_id)" if is_homeless else "",
            )
        )
        op.execute(
            f"CREATE TRIGGER {table}_revised"
            f" AFTER INSERT OR DELETE OR UPDATE OF {', '.join(kept)} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION record_revision('{' '.join(keys)}', '{' '.join(kept)}')"
        )
    for table, changes in GUARDS.items():
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE {changes} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
    for grant in GRANTS:
        op.execute(grant)
