"""Where a query begins."""

from asyncio import gather
from typing import Annotated

import strawberry

from app.api.accounts import Account
from app.api.connections import MAX_PAGE, After, Connection, First, connect
from app.api.context import Info
from app.api.entries import Entry
from app.api.enums import Mode, Permission
from app.api.errors import Code, CodedError
from app.api.filters import LedgerFilter
from app.api.ids import ACCOUNT, LEDGER, TRANSACTION, decode, decode_as
from app.api.ledgers import Ledger
from app.api.nodes import Node
from app.api.scalars import DateTime
from app.api.transactions import Transaction
from app.store import identity, rows

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
        keys = [(ledger_id,) for ledger_id in sorted(self.principal.scope.ledger_ids)]
        found = await info.context.load.ledgers_by_id.load_many(keys)
        return [Ledger.of(row) for row in found if row is not None]


@strawberry.type(description="Everything that can be read. All of one answer is of one moment.")
class Query:
    @strawberry.field(description="The API key in use.")
    async def viewer(self, info: Info) -> Viewer:
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
    async def ledger(self, info: Info, id: Id) -> Ledger | None:
        uuid = decode_as(LEDGER, id)
        row = uuid and await info.context.load.ledgers_by_id.load((uuid,))
        return Ledger.of(row) if row else None

    @strawberry.field(description="The ledgers that this key sees, in order of creation.")
    async def ledgers(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        filter: Annotated[
            LedgerFilter | None, strawberry.argument(description="Which ledgers; all if absent.")
        ] = None,
    ) -> Connection[Ledger]:
        return await connect(
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
    async def account(self, info: Info, id: Id) -> Account | None:
        uuid = decode_as(ACCOUNT, id)
        row = uuid and await info.context.load.accounts_by_id.load((uuid,))
        return Account.of(row) if row else None

    @strawberry.field(description="An account by the client's own id; null if there is none.")
    async def account_by_external_id(
        self, info: Info, ledger_id: LedgerId, external_id: ExternalId
    ) -> Account | None:
        uuid = decode_as(LEDGER, ledger_id)
        row = uuid and await info.context.load.accounts_by_external_id.load((uuid, external_id))
        return Account.of(row) if row else None

    @strawberry.field(
        description="A transaction by its id; null if this key sees no such transaction."
    )
    async def transaction(self, info: Info, id: Id) -> Transaction | None:
        uuid = decode_as(TRANSACTION, id)
        row = uuid and await info.context.load.transactions_by_id.load((uuid,))
        return Transaction.of(row) if row else None

    @strawberry.field(description="A transaction by the client's own id; null if there is none.")
    async def transaction_by_external_id(
        self, info: Info, ledger_id: LedgerId, external_id: ExternalId
    ) -> Transaction | None:
        uuid = decode_as(LEDGER, ledger_id)
        key = (uuid, external_id)
        row = uuid and await info.context.load.transactions_by_external_id.load(key)
        return Transaction.of(row) if row else None

    @strawberry.field(
        description=(
            "The transaction that an idempotency key created, settled or voided; null if the key"
            " was never used. The way to learn what became of a request without an answer, beside"
            " sending it again."
        )
    )
    async def transaction_by_idempotency_key(
        self,
        info: Info,
        ledger_id: LedgerId,
        idempotency_key: Annotated[str, strawberry.argument(description="The key.")],
    ) -> Transaction | None:
        uuid = decode_as(LEDGER, ledger_id)
        key = (uuid, idempotency_key)
        row = uuid and await info.context.load.transactions_by_idempotency_key.load(key)
        return Transaction.of(row) if row else None


async def _node(info: Info, text: str) -> Node | None:
    decoded = decode(text)
    if decoded is None:
        return None
    load, key = info.context.load, (decoded.uuid,)
    match decoded.prefix:
        case "ldgr":
            ledger = await load.ledgers_by_id.load(key)
            return Ledger.of(ledger) if ledger else None
        case "acct":
            account = await load.accounts_by_id.load(key)
            return Account.of(account) if account else None
        case "txn":
            transaction = await load.transactions_by_id.load(key)
            return Transaction.of(transaction) if transaction else None
    entry = await load.entries_by_id.load((decoded.uuid, decoded.sequence))
    return Entry.of(entry) if entry else None
