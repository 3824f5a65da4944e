"""Where a query begins."""

from asyncio import gather
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from uuid import UUID

import strawberry

from app.api.accounts.lots import CreditLot
from app.api.accounts.types import Account
from app.api.connections import MAX_PAGE, After, Connection, First, connect
from app.api.engine.context import Info
from app.api.enums import Mode, Permission
from app.api.errors import Code, CodedError
from app.api.filters import LedgerFilter
from app.api.ids import (
    ACCOUNT,
    DISCREPANCY,
    ENTRY,
    EXTERNAL_ACCOUNT,
    EXTERNAL_STATEMENT,
    IMPORT,
    LEDGER,
    LINE,
    LOT,
    MATCH,
    RECONCILIATION,
    RUN,
    SETTLEMENT,
    STATEMENT,
    STATEMENT_SCHEDULE,
    TEMPLATE,
    TRANSACTION,
    decode,
    decode_as,
)
from app.api.ledgers.types import Ledger
from app.api.nodes import Node
from app.api.reconciliation.outside import (
    ExternalAccount,
    ExternalStatement,
    StatementImport,
    StatementLine,
)
from app.api.reconciliation.types import (
    Discrepancy,
    Reconciliation,
    ReconciliationMatch,
    ReconciliationRun,
)
from app.api.scalars import DateTime
from app.api.statements.schedules import StatementSchedule
from app.api.statements.settlements import Settlement
from app.api.statements.types import Statement
from app.api.templates.types import TransactionTemplate, find_template
from app.api.transactions.entries import Entry
from app.api.transactions.types import Transaction
from app.store import identity, rows
from app.store.reading import Lookup
from app.store.rows import reconciliation as reconciliation_rows

Id = Annotated[strawberry.ID, strawberry.argument(description="The id.")]
LedgerId = Annotated[strawberry.ID, strawberry.argument(description="The ledger.")]
ExternalId = Annotated[str, strawberry.argument(description="The client's own id.")]


@strawberry.type(description="The API key in use.")
class Viewer:
    organization: str = strawberry.field(description="The name of the organization it belongs to.")
    key_name: str = strawberry.field(description="The key's name.")
    key_hint: str = strawberry.field(description="The key's first and last characters.")
    mode: Mode = strawberry.field(description="Which ledgers it sees: live or test ones.")
    scopes: list[Permission] = strawberry.field(description="What it may do.")
    expires_at: DateTime | None = strawberry.field(description="When it ends; null if never.")
    principal: strawberry.Private[identity.Principal]

    @strawberry.field(description="The only ledgers it sees; null if it sees all of its mode.")
    async def ledgers(self, info: Info) -> list[Ledger] | None:
        if self.principal.scope.ledger_ids is None:
            return None
        loads = (
            info.context.load.one(rows.ledgers_by_id, ledger_id, build=Ledger.of)
            for ledger_id in sorted(self.principal.scope.ledger_ids)
        )
        return [ledger for ledger in await gather(*loads) if ledger is not None]


@strawberry.type(description="Everything that can be read. All of one answer is of one moment.")
class Query:
    @strawberry.field(description="The API key in use.")
    def viewer(self, info: Info) -> Viewer:
        principal = info.context.principal
        return Viewer(
            organization=principal.organization_name,
            key_name=principal.name,
            key_hint=principal.hint,
            mode=Mode(principal.scope.mode.value),
            scopes=[
                scope for scope in Permission if principal.permits(identity.Permission(scope.value))
            ],
            expires_at=None if principal.expires_at is None else DateTime(principal.expires_at),
            principal=principal,
        )

    @strawberry.field(description="Any object by its id; null if this key sees no such object.")
    async def node(self, info: Info, id: Id) -> Node | None:
        return await _node(info, id)

    @strawberry.field(
        description=f"Objects by their ids, in the same order; up to {MAX_PAGE}, null where unseen."
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="The ids.")],
    ) -> list[Node | None]:
        if len(ids) > MAX_PAGE:
            raise CodedError(
                Code.BAD_USER_INPUT, f"nodes takes up to {MAX_PAGE} ids.", max=MAX_PAGE
            )
        return list(await gather(*(_node(info, text) for text in ids)))

    @strawberry.field(description="A ledger by its id; null if this key sees no such ledger.")
    def ledger(self, info: Info, id: Id) -> Ledger | None:
        uuid = decode_as(LEDGER, id)
        return _find(info, rows.ledgers_by_id, uuid, build=Ledger.of)

    @strawberry.field(description="The ledgers that this key sees, in order of creation.")
    def ledgers(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[
            LedgerFilter | None, strawberry.argument(description="Which ledgers; all if absent.")
        ] = None,
    ) -> Connection[Ledger]:
        return connect(
            info.context,
            rows.ledgers_of_organization,
            info.context.scope.organization_id,
            Ledger.of,
            order="created_at",
            conditions=filter.conditions() if filter else (),
            first=first,
            after=after,
        )

    @strawberry.field(description="An account by its id; null if this key sees no such account.")
    def account(self, info: Info, id: Id) -> Account | None:
        uuid = decode_as(ACCOUNT, id)
        return _find(info, rows.accounts_by_id, uuid, build=Account.of)

    @strawberry.field(description="An account by the client's own id; null if there is none.")
    def account_by_external_id(
        self, info: Info, ledger_id: LedgerId, external_id: ExternalId
    ) -> Account | None:
        uuid = decode_as(LEDGER, ledger_id)
        return _find(info, rows.accounts_by_external_id, uuid, external_id, build=Account.of)

    @strawberry.field(
        description="A transaction by its id; null if this key sees no such transaction."
    )
    def transaction(self, info: Info, id: Id) -> Transaction | None:
        uuid = decode_as(TRANSACTION, id)
        return _find(info, rows.transactions_by_id, uuid, build=Transaction.of)

    @strawberry.field(description="A transaction by the client's own id; null if there is none.")
    def transaction_by_external_id(
        self, info: Info, ledger_id: LedgerId, external_id: ExternalId
    ) -> Transaction | None:
        uuid = decode_as(LEDGER, ledger_id)
        return _find(
            info, rows.transactions_by_external_id, uuid, external_id, build=Transaction.of
        )

    @strawberry.field(
        description=(
            "The transaction that an idempotency key created or changed; null if the key"
            " was never used. The way to learn what became of a request without an answer, beside"
            " sending it again."
        )
    )
    def transaction_by_idempotency_key(
        self,
        info: Info,
        ledger_id: LedgerId,
        idempotency_key: Annotated[str, strawberry.argument(description="The key.")],
    ) -> Transaction | None:
        uuid = decode_as(LEDGER, ledger_id)
        return _find(
            info, rows.transactions_by_idempotency_key, uuid, idempotency_key, build=Transaction.of
        )

    @strawberry.field(
        description="A version of a transaction template, the newest if none is named; or null."
    )
    def transaction_template(
        self,
        info: Info,
        ledger_id: LedgerId,
        code: Annotated[str, strawberry.argument(description="The template's code.")],
        version: Annotated[
            int | None, strawberry.argument(description="Which version; the newest if absent.")
        ] = None,
    ) -> TransactionTemplate | None:
        uuid = decode_as(LEDGER, ledger_id)
        if uuid is None:
            return None
        return find_template(info, uuid, code, version, build=TransactionTemplate.of)

    @strawberry.field(description="An external account by its id; null if this key sees none.")
    def external_account(self, info: Info, id: Id) -> ExternalAccount | None:
        uuid = decode_as(EXTERNAL_ACCOUNT, id)
        return _find(info, rows.external_accounts_by_id, uuid, build=ExternalAccount.of)

    @strawberry.field(
        description="An import by its id, also while its file is read; null if this key sees none."
    )
    def statement_import(self, info: Info, id: Id) -> StatementImport | None:
        uuid = decode_as(IMPORT, id)
        return _find(info, rows.imports_by_id, uuid, build=StatementImport.of)

    @strawberry.field(description="A reconciliation by its id; null if this key sees none.")
    def reconciliation(self, info: Info, id: Id) -> Reconciliation | None:
        uuid = decode_as(RECONCILIATION, id)
        return _find(info, reconciliation_rows.reconciliations_by_id, uuid, build=Reconciliation.of)

    @strawberry.field(description="A statement by its id; null if this key sees no such statement.")
    def statement(self, info: Info, id: Id) -> Statement | None:
        uuid = decode_as(STATEMENT, id)
        return _find(info, rows.statements_by_id, uuid, build=Statement.of)

    @strawberry.field(
        description="A settlement by its id; null if this key sees no such settlement."
    )
    def settlement(self, info: Info, id: Id) -> Settlement | None:
        uuid = decode_as(SETTLEMENT, id)
        return _find(info, rows.settlements_by_id, uuid, build=Settlement.of)


def _find(
    info: Info, lookup: Lookup[Any], uuid: UUID | None, *rest: str, build: Callable[[Any], Any]
) -> Any:
    """Load an object; None where the id is none of its kind."""
    return None if uuid is None else info.context.load.one(lookup, uuid, *rest, build=build)


_NODES: Mapping[str, tuple[Lookup[Any], Callable[[Any], Node]]] = {
    LEDGER: (rows.ledgers_by_id, Ledger.of),
    ACCOUNT: (rows.accounts_by_id, Account.of),
    TRANSACTION: (rows.transactions_by_id, Transaction.of),
    TEMPLATE: (rows.templates_by_id, TransactionTemplate.of),
    ENTRY: (rows.entries_by_id, Entry.of),
    LOT: (rows.lots_by_id, CreditLot.of),
    EXTERNAL_ACCOUNT: (rows.external_accounts_by_id, ExternalAccount.of),
    IMPORT: (rows.imports_by_id, StatementImport.of),
    EXTERNAL_STATEMENT: (rows.external_statements_by_id, ExternalStatement.of),
    LINE: (rows.statement_lines_by_id, StatementLine.of),
    RECONCILIATION: (reconciliation_rows.reconciliations_by_id, Reconciliation.of),
    RUN: (reconciliation_rows.runs_by_id, ReconciliationRun.of),
    MATCH: (reconciliation_rows.matches_by_id, ReconciliationMatch.of),
    DISCREPANCY: (reconciliation_rows.discrepancies_by_id, Discrepancy.of),
    STATEMENT: (rows.statements_by_id, Statement.of),
    STATEMENT_SCHEDULE: (rows.schedules_by_id, StatementSchedule.of),
    SETTLEMENT: (rows.settlements_by_id, Settlement.of),
}


async def _node(info: Info, text: str) -> Node | None:
    decoded = decode(text)
    if decoded is None:
        return None
    lookup, build = _NODES[decoded.prefix]
    number = () if decoded.sequence is None else (decoded.sequence,)
    found: Node | None = await info.context.load.one(lookup, decoded.uuid, *number, build=build)
    return found
