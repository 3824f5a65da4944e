"""External accounts and import profiles being made and changed. Each function is one transaction.

Making locks the ledger and the account, as every change of an account does. What is imported locks
the external account alone: no posting waits for a statement, and no statement for a posting. A
ledger that is archived in the very moment of an import may hold one more statement than it would a
moment later, which changes no balance.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Text, Uuid, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.ledger.accounts.state import Scope
from app.ledger.reconciliation.outside import CreateExternalAccount
from app.ledger.refusals import ExternalAccountNotFound, LedgerArchived
from app.store.accounts.administration import bound, lock_account, lock_ledger
from app.store.database import Connection, sql, tenancy
from app.store.reading import of_organization, visible
from app.store.rows import ExternalAccountRow, ImportProfileRow
from app.store.tables import external_accounts, import_profiles, ledgers

_columns = [external_accounts.c[name] for name in ExternalAccountRow._fields]
_this = external_accounts.c.external_account_id == bindparam("id", type_=Uuid)


async def create_external_account(
    connection: Connection, command: CreateExternalAccount
) -> ExternalAccountRow:
    """Tie an outside party's account to one of ours. Raises AccountNotFound, LedgerArchived."""
    account, _ = await lock_account(connection, command.scope, command.account_id)
    cursor = await connection.execute(
        _INSERT,
        {
            "organization_id": command.scope.organization_id,
            "external_account_id": command.external_account_id,
            "ledger_id": account.ledger_id,
            "account_id": command.account_id,
            "name": command.name,
            "kind": command.kind.value,
            "identification": command.identification,
            "inverted": command.inverted,
            "metadata": Jsonb(command.metadata),
        },
    )
    return ExternalAccountRow._make((await cursor.fetchall())[0])


async def change_external_account(
    connection: Connection, scope: Scope, external_account_id: UUID, changes: Mapping[str, Any]
) -> ExternalAccountRow:
    """Give an external account other labels. Raises ExternalAccountNotFound, LedgerArchived."""
    row = await lock_external_account(connection, scope, external_account_id)
    if not changes:
        return row
    new = {
        f"new_{name}": Jsonb(value) if name == "metadata" else value
        for name, value in changes.items()
    }
    cursor = await connection.execute(
        sql(
            update(external_accounts)
            .where(of_organization(external_accounts), _this)
            .values(
                {
                    name: bindparam(f"new_{name}", type_=external_accounts.c[name].type)
                    for name in changes
                }
            )
            .returning(*_columns)
        ),
        {"id": external_account_id, **tenancy(scope), **new},
    )
    return ExternalAccountRow._make((await cursor.fetchall())[0])


async def lock_external_account(
    connection: Connection, scope: Scope, external_account_id: UUID
) -> ExternalAccountRow:
    """An external account, locked. Raises ExternalAccountNotFound, LedgerArchived."""
    cursor = await connection.execute(_LOCK, {"id": external_account_id, **tenancy(scope)})
    found = await cursor.fetchone()
    if found is None:
        raise ExternalAccountNotFound
    *row, archived_at = found
    if archived_at is not None:
        raise LedgerArchived(path=("input", "externalAccountId"))
    return ExternalAccountRow._make(row)


async def save_import_profile(
    connection: Connection, scope: Scope, ledger_id: UUID, name: str, definition: Mapping[str, Any]
) -> ImportProfileRow:
    """Keep how files are read under a name; what was kept under it is replaced.

    Raises LedgerNotFound, LedgerArchived.
    """
    await _lock_open_ledger(connection, scope, ledger_id)
    cursor = await connection.execute(
        _SAVE_PROFILE,
        {
            "organization_id": scope.organization_id,
            "ledger_id": ledger_id,
            "name": name,
            "definition": Jsonb(definition),
        },
    )
    return ImportProfileRow._make((await cursor.fetchall())[0])


async def delete_import_profile(
    connection: Connection, scope: Scope, ledger_id: UUID, name: str
) -> None:
    """Forget a profile; one that is not there is no fault. Raises LedgerNotFound, LedgerArchived.

    What was imported by it keeps its definition.
    """
    await _lock_open_ledger(connection, scope, ledger_id)
    await connection.execute(
        _DELETE_PROFILE, {"ledger_id": ledger_id, "name": name, **tenancy(scope)}
    )


async def _lock_open_ledger(connection: Connection, scope: Scope, ledger_id: UUID) -> None:
    ledger = await lock_ledger(connection, scope, ledger_id)
    if ledger.archived_at is not None:
        raise LedgerArchived


_now = func.clock_timestamp()
_INSERT = sql(
    insert(external_accounts)
    .values(
        {
            **bound(
                external_accounts,
                "organization_id",
                "external_account_id",
                "ledger_id",
                "account_id",
                "name",
                "kind",
                "identification",
                "inverted",
                "metadata",
            ),
            "created_at": _now,
            "last_statement": literal_column("0"),
            "last_line": literal_column("0"),
        }
    )
    .returning(*_columns)
)
_home = ledgers.alias("ledger")
_LOCK = sql(
    select(*_columns, _home.c.archived_at)
    .join_from(
        external_accounts,
        _home,
        (_home.c.organization_id == external_accounts.c.organization_id)
        & (_home.c.ledger_id == external_accounts.c.ledger_id),
    )
    .where(visible(external_accounts), _this)
    .with_for_update(key_share=True, of=external_accounts)
)
_saved = upsert(import_profiles).values(
    {
        **bound(import_profiles, "organization_id", "ledger_id", "name", "definition"),
        "created_at": _now,
        "updated_at": _now,
    }
)
_SAVE_PROFILE = sql(
    _saved.on_conflict_do_update(
        index_elements=["organization_id", "ledger_id", "name"],
        set_={"definition": _saved.excluded.definition, "updated_at": _saved.excluded.updated_at},
    ).returning(*(import_profiles.c[name] for name in ImportProfileRow._fields))
)
_DELETE_PROFILE = sql(
    delete(import_profiles).where(
        of_organization(import_profiles),
        import_profiles.c.ledger_id == bindparam("ledger_id", type_=Uuid),
        import_profiles.c.name == bindparam("name", type_=Text),
    )
)
