"""Transaction templates being made and archived, and the record of their uses.

Making and archiving lock the ledger's row, as every write does, so versions are numbered without a
gap and without a race.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import bindparam, func, insert, select, update

from app.ledger.accounts.state import Scope
from app.ledger.refusals import AccountNotFound, LedgerArchived, TemplateNotFound
from app.ledger.templates.templates import CreateTemplate, PostFromTemplate
from app.ledger.transactions.commands import PostTransaction
from app.ledger.transactions.record import Transaction
from app.store.accounts.administration import among, bound, lock_ledger
from app.store.arrays import INT4S, INT8S, JSONS, TEXTS, UUIDS, arrays, int4, int8, json, text, uuid
from app.store.database import Connection, sql, tenancy
from app.store.pipeline import Statement, numbered
from app.store.reading import of_organization
from app.store.rows import TemplateRow
from app.store.tables import accounts, transaction_templates

_columns = [transaction_templates.c[name] for name in TemplateRow._fields]


async def create_template(connection: Connection, command: CreateTemplate) -> TemplateRow:
    """Make the next version of a code; what the newest one says already makes none.

    Raises LedgerNotFound, LedgerArchived, AccountNotFound.
    """
    scope = command.scope
    ledger = await lock_ledger(connection, scope, command.ledger_id)
    if ledger.archived_at is not None:
        raise LedgerArchived
    await _refuse_unknown_accounts(connection, command)
    newest = await _newest(connection, scope, command.ledger_id, command.code)
    definition = command.definition.as_json()
    if newest is not None:
        same = (newest.description, newest.definition) == (command.description, definition)
        if same and newest.archived_at is None:
            return newest
        await connection.execute(_SUPERSEDE, {"id": newest.template_id, **tenancy(scope)})
    cursor = await connection.execute(
        _INSERT,
        {
            "organization_id": scope.organization_id,
            "template_id": command.template_id if newest is None else newest.template_id,
            "version": 1 if newest is None else newest.version + 1,
            "ledger_id": command.ledger_id,
            "code": command.code,
            "description": command.description,
            "definition": Jsonb(definition),
        },
    )
    return TemplateRow._make((await cursor.fetchall())[0])


async def archive_template(
    connection: Connection, scope: Scope, ledger_id: UUID, code: str
) -> TemplateRow:
    """Let no version that there is be used any more; archiving twice changes nothing.

    Raises LedgerNotFound, LedgerArchived, TemplateNotFound. Returns the newest version.
    """
    ledger = await lock_ledger(connection, scope, ledger_id)
    if ledger.archived_at is not None:
        raise LedgerArchived
    await connection.execute(_ARCHIVE, {"ledger": ledger_id, "code": code, **tenancy(scope)})
    newest = await _newest(connection, scope, ledger_id, code)
    if newest is None:
        raise TemplateNotFound
    return newest


USE = (UUIDS, UUIDS, INT8S, TEXTS, INT4S, JSONS)


def uses(made: Iterable[tuple[PostTransaction, Transaction]]) -> list[Statement]:
    """The statement that records what was made from templates; none if nothing was."""
    rows = [
        (
            uuid(transaction.organization_id),
            uuid(transaction.ledger_id),
            int8(transaction.sequence),
            text(command.code),
            int4(command.use.version),
            json(command.use.params),
        )
        for command, transaction in made
        if isinstance(command, PostFromTemplate) and command.use is not None
    ]
    return [(_INSERT_USES, arrays(USE, rows))] if rows else []


async def _newest(
    connection: Connection, scope: Scope, ledger_id: UUID, code: str
) -> TemplateRow | None:
    cursor = await connection.execute(
        _NEWEST, {"ledger": ledger_id, "code": code, **tenancy(scope)}
    )
    row = await cursor.fetchone()
    return None if row is None else TemplateRow._make(row)


async def _refuse_unknown_accounts(connection: Connection, command: CreateTemplate) -> None:
    wanted = [entry.account_id for entry in command.definition.entries]
    cursor = await connection.execute(
        _KNOWN_ACCOUNTS,
        {
            "ids": [account_id for account_id in wanted if account_id is not None],
            "ledger": command.ledger_id,
            **tenancy(command.scope),
        },
    )
    known = {account_id for (account_id,) in await cursor.fetchall()}
    for index, account_id in enumerate(wanted):
        if account_id is not None and account_id not in known:
            raise AccountNotFound(path=("input", "entries", str(index), "accountId"))


def _of_ledger(table: Any) -> Any:
    return table.c.ledger_id == bindparam("ledger", type_=table.c.ledger_id.type)


_this_code = transaction_templates.c.code == bindparam(
    "code", type_=transaction_templates.c.code.type
)
_INSERT = sql(
    insert(transaction_templates)
    .values(
        {
            **bound(
                transaction_templates,
                "organization_id",
                "template_id",
                "version",
                "ledger_id",
                "code",
                "description",
                "definition",
            ),
            "created_at": func.clock_timestamp(),
        }
    )
    .returning(*_columns)
)
_ARCHIVE = sql(
    update(transaction_templates)
    .where(
        of_organization(transaction_templates),
        _of_ledger(transaction_templates),
        _this_code,
        transaction_templates.c.archived_at.is_(None),
    )
    .values(archived_at=func.clock_timestamp())
)
_SUPERSEDE = sql(
    update(transaction_templates)
    .where(
        of_organization(transaction_templates),
        transaction_templates.c.template_id
        == bindparam("id", type_=transaction_templates.c.template_id.type),
        transaction_templates.c.superseded_at.is_(None),
    )
    .values(superseded_at=func.clock_timestamp())
)
_NEWEST = sql(
    select(*_columns).where(
        of_organization(transaction_templates),
        _of_ledger(transaction_templates),
        _this_code,
        transaction_templates.c.superseded_at.is_(None),
    )
)
_KNOWN_ACCOUNTS = sql(
    select(accounts.c.account_id).where(
        of_organization(accounts), _of_ledger(accounts), among(accounts.c.account_id, "ids")
    )
)
_INSERT_USES = numbered("""
    INSERT INTO template_uses (organization_id, ledger_id, transaction_sequence, code, version,
        params)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::int8[], %s::text[], %s::int4[], %s::jsonb[])
""")
