"""Guards and roles: what the tables cannot say.

Three rings keep the past as it is. The app's role lacks the privilege to change or delete what was
recorded. Triggers refuse the same to the owner, by accident or otherwise, and fire even where
session_replication_role is "replica". `ledgers verify` finds what a superuser did after disabling
the triggers.

Statement triggers rather than row triggers: one call a statement, and they see TRUNCATE too.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: what was recorded stays', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$
"""

REFUSE_UNBALANCED = """
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql
SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added
        JOIN accounts USING (organization_id, account_id)
        GROUP BY added.organization_id, added.ledger_id, added.transaction_sequence,
            added.event, added.effect, accounts.currency
        HAVING sum(CASE added.direction WHEN 'debit' THEN added.amount ELSE -added.amount END) <> 0
    ) THEN
        RAISE EXCEPTION 'debits and credits of the new entries differ'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$
"""

GUARDS = {
    "entries": "UPDATE OR DELETE OR TRUNCATE",
    "transaction_events": "UPDATE OR DELETE OR TRUNCATE",
    "transactions": (
        "UPDATE OF organization_id, transaction_id, ledger_id, sequence, description, external_id,"
        " metadata, effective_at, created_at OR DELETE OR TRUNCATE"
    ),
    "accounts": (
        "UPDATE OF organization_id, account_id, ledger_id, external_id, normal_balance,"
        " currency, exponent, created_at OR DELETE OR TRUNCATE"
    ),
    "currencies": "UPDATE OR DELETE OR TRUNCATE",
    "ledgers": ("UPDATE OF organization_id, ledger_id, mode, created_at OR DELETE OR TRUNCATE"),
}

ROLES = """
DO $$
DECLARE
    role text;
    kind text := CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH role IN ARRAY ARRAY['ledgers_app', 'ledgers_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION
            -- unique_violation: another database of the cluster is being migrated right now
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
        -- From 16 on whoever creates a role is its member without the right to SET ROLE.
        IF NOT pg_has_role(current_user, role, kind) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role);
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role);
    END LOOP;
END $$
"""

GRANTS = [
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO ledgers_app, ledgers_reader",
    (
        "GRANT INSERT ON organizations, api_keys, api_key_ledgers, ledgers, currencies, accounts,"
        " transactions, transaction_events, entries TO ledgers_app"
    ),
    "GRANT UPDATE (revoked_at) ON api_keys TO ledgers_app",
    (
        "GRANT UPDATE (name, description, metadata, archived_at, last_sequence, last_recorded_at)"
        " ON ledgers TO ledgers_app"
    ),
    (
        "GRANT UPDATE (name, description, metadata, status, available_floor, floor_version, version,"
        " posted_debits, posted_credits, pending_debits, pending_credits) ON accounts TO ledgers_app"
    ),
    "GRANT UPDATE (status, posted_at, voided_at) ON transactions TO ledgers_app",
]


def upgrade() -> None:
    op.execute(REFUSE_CHANGE)
    op.execute(REFUSE_UNBALANCED)
    for table, changes in GUARDS.items():
        op.execute(
            f"CREATE TRIGGER {table}_stay BEFORE {changes} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_stay")
    op.execute(
        "CREATE TRIGGER entries_balanced AFTER INSERT ON entries"
        " REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced()"
    )
    op.execute("ALTER TABLE entries ENABLE ALWAYS TRIGGER entries_balanced")
    op.execute(ROLES)
    for grant in GRANTS:
        op.execute(grant)
