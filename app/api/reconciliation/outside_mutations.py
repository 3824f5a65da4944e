"""Making and changing external accounts, and importing statements as rows."""

from typing import Annotated

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.enums import ExternalAccountKind
from app.api.ids import ACCOUNT, EXTERNAL_ACCOUNT
from app.api.ledgers.mutations import given
from app.api.nodes import reads
from app.api.reconciliation.outside import (
    ExternalAccount,
    ExternalStatement,
    StatementImport,
    books_of,
)
from app.api.refusals import (
    AccountNotFound,
    ExternalAccountNotFound,
    LedgerArchived,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, Amount, Date
from app.ledger import refusals
from app.ledger.reconciliation import outside as domain
from app.ledger.transactions.commands import check_metadata
from app.store import rows
from app.store.identity import Permission
from app.store.reconciliation import intake, outside


@strawberry.input(description="An account in an outside party's books, tied to one of ours.")
class CreateExternalAccountInput:
    account_id: strawberry.ID = strawberry.field(description="Our account that it tells of.")
    name: str = strawberry.field(description="For people; up to 255 characters.")
    kind: ExternalAccountKind = strawberry.field(description="Whose books it is in.")
    identification: str | None = strawberry.field(
        description=(
            "What its statements call it, such as an IBAN: files that say another one are refused."
        ),
        default=None,
    )
    inverted: bool = strawberry.field(
        description="Whether what comes in there lowers our account on its normal side.",
        default=False,
    )
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)


@strawberry.input(description="New labels; fields left out stay as they are.")
class UpdateExternalAccountInput:
    external_account_id: strawberry.ID = strawberry.field(description="The external account.")
    name: str | None = strawberry.field(description="For people.", default=strawberry.UNSET)
    kind: ExternalAccountKind | None = strawberry.field(
        description="Whose books it is in.", default=strawberry.UNSET
    )
    identification: str | None = strawberry.field(
        description="What its statements call it; null takes those of any.",
        default=strawberry.UNSET,
    )
    metadata: JSON | None = strawberry.field(
        description="The client's own data; replaces what is there.", default=strawberry.UNSET
    )


@strawberry.input(description="A line of a statement.")
class StatementLineInput:
    booked_on: Date = strawberry.field(description="The day on which it was booked there.")
    value_on: Date | None = strawberry.field(
        description="The day from which it counts.", default=None
    )
    amount: Amount = strawberry.field(
        description="In minor units: above zero came in there, below zero went out."
    )
    currency: str | None = strawberry.field(
        description="An ISO 4217 code; the statement's currency if absent.", default=None
    )
    reference: str | None = strawberry.field(
        description="The outside party's own reference of it, if it is unique there.", default=None
    )
    end_to_end_id: str | None = strawberry.field(
        description="The reference that came with the payment.", default=None
    )
    counterparty: str | None = strawberry.field(
        description="Who is on the other side.", default=None
    )
    description: str | None = strawberry.field(description="What it is for.", default=None)
    details: JSON | None = strawberry.field(description="What else is said.", default=None)


@strawberry.input(description="A statement as rows; files go to the route /statements/import.")
class ImportStatementInput:
    external_account_id: strawberry.ID = strawberry.field(description="The external account.")
    reference: str | None = strawberry.field(
        description="What the outside party calls it.", default=None
    )
    from_: Date | None = strawberry.field(
        name="from", description="Its first day; that of the first line if absent.", default=None
    )
    through: Date | None = strawberry.field(
        description="Its last day; that of the last line if absent.", default=None
    )
    opening_balance: Amount | None = strawberry.field(
        description="What was there before its lines, in minor units.", default=None
    )
    closing_balance: Amount | None = strawberry.field(
        description="What was there after its lines, in minor units.", default=None
    )
    currency: str | None = strawberry.field(
        description="Of balances and lines; that of our account if absent.", default=None
    )
    lines: list[StatementLineInput] = strawberry.field(
        description=f"Up to {domain.MAX_ROWS:,} lines, in the order of the statement."
    )


@strawberry.type(description="The external account is there.")
class CreateExternalAccountSuccess:
    external_account: ExternalAccount = strawberry.field(description="The new external account.")


@strawberry.type(description="The external account is changed.")
class UpdateExternalAccountSuccess:
    external_account: ExternalAccount = strawberry.field(description="The external account.")


@strawberry.type(description="The statement is stored, now or before.")
class ImportStatementSuccess:
    row: strawberry.Private[rows.ImportRow]
    recognised: bool = strawberry.field(
        description="Whether the very same was stored before; then `import` is that one."
    )

    @strawberry.field(name="import", description="The import that stored it.")
    def import_(self) -> StatementImport:
        return StatementImport.of(self.row)

    @strawberry.field(description="The statement.")
    @reads("import_id")
    def statement(self, info: Info) -> ExternalStatement:
        return info.context.load.one(
            rows.external_statements_by_import, self.row.import_id, build=ExternalStatement.of
        )


CreateExternalAccountResult = Annotated[
    CreateExternalAccountSuccess | ValidationFailed | AccountNotFound | LedgerArchived,
    strawberry.union(
        "CreateExternalAccountResult", description="What became of createExternalAccount."
    ),
]
UpdateExternalAccountResult = Annotated[
    UpdateExternalAccountSuccess | ValidationFailed | ExternalAccountNotFound | LedgerArchived,
    strawberry.union(
        "UpdateExternalAccountResult", description="What became of updateExternalAccount."
    ),
]
ImportStatementResult = Annotated[
    ImportStatementSuccess | ValidationFailed | ExternalAccountNotFound | LedgerArchived,
    strawberry.union("ImportStatementResult", description="What became of importStatement."),
]


@strawberry.type
class OutsideMutations:
    @strawberry.mutation(
        description=(
            "Tie an account in an outside party's books (a bank account, an acquirer's settlement"
            " account, a partner's) to one of ours. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def create_external_account(
        self,
        info: Info,
        input: Annotated[
            CreateExternalAccountInput, strawberry.argument(description="The external account.")
        ],
    ) -> CreateExternalAccountResult:
        command = domain.CreateExternalAccount(
            scope=info.context.scope,
            external_account_id=uuid7(),
            account_id=required_id(ACCOUNT, input.account_id, "accountId"),
            name=input.name,
            kind=domain.ExternalAccountKind(input.kind.value),
            identification=input.identification,
            inverted=input.inverted,
            metadata=input.metadata or {},
        )
        command.check()
        async with info.context.database.writing() as connection:
            row = await outside.create_external_account(connection, command)
        return CreateExternalAccountSuccess(external_account=ExternalAccount.of(row))

    @strawberry.mutation(
        description="Give an external account other labels. Needs the scope write."
    )
    @answering(Permission.WRITE)
    async def update_external_account(
        self,
        info: Info,
        input: Annotated[
            UpdateExternalAccountInput, strawberry.argument(description="The change.")
        ],
    ) -> UpdateExternalAccountResult:
        external_account_id = required_id(
            EXTERNAL_ACCOUNT, input.external_account_id, "externalAccountId"
        )
        kind = input.kind.value if isinstance(input.kind, ExternalAccountKind) else input.kind
        changes = given(
            name=input.name,
            kind=kind,
            identification=input.identification,
            metadata=input.metadata,
        )
        domain.check_change(changes)
        async with info.context.database.writing() as connection:
            row = await outside.change_external_account(
                connection, info.context.scope, external_account_id, changes
            )
        return UpdateExternalAccountSuccess(external_account=ExternalAccount.of(row))

    @strawberry.mutation(
        description=(
            "Import a statement as rows. Lines that an earlier statement had are recognised one by"
            " one, and the very same statement as a whole. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def import_statement(
        self,
        info: Info,
        input: Annotated[ImportStatementInput, strawberry.argument(description="The statement.")],
    ) -> ImportStatementResult:
        context = info.context
        external_account_id = required_id(
            EXTERNAL_ACCOUNT, input.external_account_id, "externalAccountId"
        )
        books = await books_of(context, external_account_id)
        await context.renew()
        statement, lines = _statement(input, books.currency), _lines(input, books.currency)
        for index, line in enumerate(lines):
            path = ("input", "lines", str(index))
            line.check(path)
            _check_details(line, path)
            if books.exponent_of(line.currency) is None:
                raise refusals.ValidationFailed(
                    message="This is no currency of ISO 4217.", path=(*path, "currency")
                )
        new = intake.NewImport(
            context.scope,
            context.principal.api_key_id,
            external_account_id,
            domain.StatementFormat.ROWS.value,
        )
        async with context.database.writing() as connection:
            row, recognised = await intake.import_rows(
                connection, new, statement, lines, domain.digest_of_rows(statement, lines)
            )
        return ImportStatementSuccess(row=row, recognised=recognised)


def _statement(input: ImportStatementInput, account_currency: str) -> domain.Statement:
    statement = domain.Statement(
        currency=input.currency or account_currency,
        reference=input.reference,
        from_date=input.from_,
        through_date=input.through,
        opening_balance=input.opening_balance,
        closing_balance=input.closing_balance,
    )
    statement.check()
    return statement


def _check_details(line: domain.Line, path: tuple[str, ...]) -> None:
    try:
        check_metadata(line.details or {}, (*path, "details"))
    except refusals.ValidationFailed as refusal:
        refusal.message = refusal.message.replace("metadata", "details", 1)
        raise


def _lines(input: ImportStatementInput, account_currency: str) -> list[domain.Line]:
    if len(input.lines) > domain.MAX_ROWS:
        raise refusals.ValidationFailed(
            message=f"Up to {domain.MAX_ROWS} lines are imported at once; files may have more.",
            path=("input", "lines"),
        )
    currency = input.currency or account_currency
    return [
        domain.Line(
            booked_on=line.booked_on,
            amount=line.amount,
            currency=line.currency or currency,
            value_on=line.value_on,
            reference=line.reference,
            end_to_end_id=line.end_to_end_id,
            counterparty=line.counterparty,
            description=line.description,
            details=line.details,
        )
        for line in input.lines
    ]
