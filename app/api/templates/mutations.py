"""Making and archiving transaction templates, and posting from them."""

from asyncio import gather
from dataclasses import replace
from typing import Annotated
from uuid import UUID

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.enums import Direction, PostingStatus, TemplateParameterKind
from app.api.ids import ACCOUNT, LEDGER, decode_as
from app.api.refusals import (
    AccountNotFound,
    EntriesUnbalanced,
    ExternalIdTaken,
    IdempotencyConflict,
    LedgerArchived,
    LedgerNotFound,
    NewEntriesRefused,
    Overloaded,
    TemplateArchived,
    TemplateNotFound,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, Amount, DateTime
from app.api.templates.types import TransactionTemplate, find_template
from app.api.transactions.mutations import derive
from app.api.transactions.types import Transaction
from app.ledger import refusals
from app.ledger.accounts import balances
from app.ledger.templates import templates
from app.store import rows
from app.store import templates as store
from app.store.identity import Permission


@strawberry.input(description="What a template wants to be told.")
class TemplateParameterInput:
    name: str = strawberry.field(description="A letter, then letters, digits and '_'; up to 64.")
    kind: TemplateParameterKind = strawberry.field(description="What its values are.")
    description: str | None = strawberry.field(description="For people.", default=None)
    default: str | None = strawberry.field(
        description="The value if none is given, as a text; if absent, one must be given.",
        default=None,
    )
    minimum: Amount | None = strawberry.field(
        description="The smallest number allowed; 0 for an AMOUNT if absent.", default=None
    )
    maximum: Amount | None = strawberry.field(
        description="The largest number allowed.", default=None
    )


@strawberry.input(description="A name for an expression.")
class TemplateValueInput:
    name: str = strawberry.field(description="A letter, then letters, digits and '_'; up to 64.")
    amount: str = strawberry.field(
        description="An expression over numeric parameters and the values before it."
    )


@strawberry.input(
    description="An entry to be; exactly one of accountId, accountExternalId, accountParameter."
)
class TemplateEntryInput:
    direction: Direction = strawberry.field(description="Its side.")
    amount: str = strawberry.field(
        description=(
            "An expression over numeric parameters and values: whole numbers, + - *, parentheses,"
            " floor(a, b), ceil(a, b), round(a, b) for a divided by b, min, max,"
            " share(whole, part, of), split(whole, k, w1, w2, …); the nearest, half to even, where"
            " a rounding is not named. An entry that comes to 0 is left out; below 0 is refused."
        )
    )
    account_id: strawberry.ID | None = strawberry.field(
        description="The account, if it is always the same.", default=None
    )
    account_external_id: str | None = strawberry.field(
        description="The account's external id, with TEXT parameters in braces: seller:{sellerId}.",
        default=None,
    )
    account_parameter: str | None = strawberry.field(
        description="The name of the ACCOUNT parameter that is the account.", default=None
    )
    metadata: JSON | None = strawberry.field(description="The metadata of the entry.", default=None)


@strawberry.input(description="A template, or the next version of it.")
class CreateTransactionTemplateInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    code: str = strawberry.field(
        description="1 to 64 characters of A-Z, a-z, 0-9, '_', '.', '-'; unique in the ledger."
    )
    description: str | None = strawberry.field(
        description="For people; up to 2,000 characters.", default=None
    )
    parameters: list[TemplateParameterInput] = strawberry.field(
        description=f"What it wants to be told; up to {templates.MAX_PARAMETERS}."
    )
    values: list[TemplateValueInput] | None = strawberry.field(
        description=f"Names for expressions; up to {templates.MAX_VALUES}.", default=None
    )
    entries: list[TemplateEntryInput] = strawberry.field(
        description=f"From 2 to {templates.MAX_TEMPLATE_ENTRIES}, at least one on each side."
    )


@strawberry.input(description="A template to archive.")
class ArchiveTransactionTemplateInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    code: str = strawberry.field(description="The template's code.")


@strawberry.input(description="A transaction to record from a template.")
class PostTemplateInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    code: str = strawberry.field(description="The template's code.")
    version: int | None = strawberry.field(
        description="Which version; the newest if absent.", default=None
    )
    params: JSON | None = strawberry.field(
        description=(
            'The parameters by name: {amount: "10000", rate: 250, sellerId: "ada"}. Those with a'
            " default may be left out."
        ),
        default=None,
    )
    idempotency_key: str = strawberry.field(
        description=(
            "1 to 255 characters, unique in the ledger for ever. The same key with the same input"
            " gives the first result, even if the template has a newer version by then."
        )
    )
    status: PostingStatus = strawberry.field(
        description="Posted at once, or pending as a hold.", default=PostingStatus.POSTED
    )
    description: str | None = strawberry.field(
        description="For people; up to 2,000 characters.", default=None
    )
    external_id: str | None = strawberry.field(
        description="The client's own id, unique among the transactions of the ledger.",
        default=None,
    )
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)
    effective_at: DateTime | None = strawberry.field(
        description="When it happened in the world, past or future; now if absent.", default=None
    )
    dry_run: bool = strawberry.field(
        description="A preview: decide and show the entries, but record nothing.", default=False
    )


@strawberry.type(description="The template is there.")
class CreateTransactionTemplateSuccess:
    template: TransactionTemplate = strawberry.field(
        description="The new version; or the newest one, if that says the same already."
    )


@strawberry.type(description="The template can be used no more.")
class ArchiveTransactionTemplateSuccess:
    template: TransactionTemplate = strawberry.field(description="Its newest version.")


@strawberry.type(description="The transaction is recorded.")
class PostTemplateSuccess:
    transaction: Transaction = strawberry.field(description="The transaction as it now stands.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


CreateTransactionTemplateResult = Annotated[
    CreateTransactionTemplateSuccess
    | ValidationFailed
    | LedgerNotFound
    | LedgerArchived
    | AccountNotFound,
    strawberry.union(
        "CreateTransactionTemplateResult", description="What became of createTransactionTemplate."
    ),
]
ArchiveTransactionTemplateResult = Annotated[
    ArchiveTransactionTemplateSuccess
    | ValidationFailed
    | LedgerNotFound
    | LedgerArchived
    | TemplateNotFound,
    strawberry.union(
        "ArchiveTransactionTemplateResult",
        description="What became of archiveTransactionTemplate.",
    ),
]
PostTemplateResult = Annotated[
    PostTemplateSuccess
    | ValidationFailed
    | TemplateNotFound
    | TemplateArchived
    | EntriesUnbalanced
    | AccountNotFound
    | NewEntriesRefused
    | IdempotencyConflict
    | ExternalIdTaken
    | Overloaded,
    strawberry.union("PostTemplateResult", description="What became of postTemplate."),
]


@strawberry.type
class TemplateMutations:
    @strawberry.mutation(
        description=(
            "Make a transaction template; under a code that there is already, its next version. The"
            " same definition sent again makes no further version. Needs the scope admin."
        )
    )
    @answering(Permission.ADMIN)
    async def create_transaction_template(
        self,
        info: Info,
        input: Annotated[
            CreateTransactionTemplateInput, strawberry.argument(description="The template.")
        ],
    ) -> CreateTransactionTemplateResult:
        command = templates.CreateTemplate(
            scope=info.context.scope,
            template_id=uuid7(),
            ledger_id=required_id(LEDGER, input.ledger_id, "ledgerId"),
            code=input.code,
            description=input.description,
            definition=_definition(input),
        )
        command.check(_read_account)
        async with info.context.database.writing() as connection:
            row = await store.create_template(connection, command)
        return CreateTransactionTemplateSuccess(template=TransactionTemplate.of(row))

    @strawberry.mutation(
        description=(
            "Let no version of a template be used any more; archiving twice changes nothing. A new"
            " version made later can be used. Needs the scope admin."
        )
    )
    @answering(Permission.ADMIN)
    async def archive_transaction_template(
        self,
        info: Info,
        input: Annotated[
            ArchiveTransactionTemplateInput, strawberry.argument(description="The template.")
        ],
    ) -> ArchiveTransactionTemplateResult:
        ledger_id = required_id(LEDGER, input.ledger_id, "ledgerId")
        async with info.context.database.writing() as connection:
            row = await store.archive_template(
                connection, info.context.scope, ledger_id, templates.checked_code(input.code)
            )
        return ArchiveTransactionTemplateSuccess(template=TransactionTemplate.of(row))

    @strawberry.mutation(
        description=(
            "Record a transaction with the entries that a template comes to; all rules of"
            " postTransaction hold. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def post_template(
        self,
        info: Info,
        input: Annotated[PostTemplateInput, strawberry.argument(description="What to record.")],
    ) -> PostTemplateResult:
        command = templates.PostFromTemplate(
            scope=info.context.scope,
            transaction_id=uuid7(),
            ledger_id=required_id(LEDGER, input.ledger_id, "ledgerId"),
            idempotency_key=input.idempotency_key,
            entries=(),
            pending=input.status is PostingStatus.PENDING,
            description=input.description,
            external_id=input.external_id,
            metadata=input.metadata or {},
            effective_at=input.effective_at,
            dry_run=input.dry_run,
            code=templates.checked_code(input.code),
            version=input.version,
            params=input.params or {},
        )
        command.check()
        command, template = await _prepare(info, command)
        await info.context.renew()
        done = await derive(info, command)
        if template is not None and command.use is not None and not done.replayed:
            done.transaction.known_template = rows.TemplateUseRow(
                *template, params=dict(command.use.params)
            )
        return PostTemplateSuccess(transaction=done.transaction, replayed=done.replayed)


async def _prepare(
    info: Info, command: templates.PostFromTemplate
) -> tuple[templates.PostFromTemplate, rows.TemplateRow | None]:
    """The command expanded, or with why it cannot be, for the decision to say in its turn."""
    try:
        return await _expand(info, command)
    except refusals.Refusal as refusal:
        return replace(command, refusal=refusal), None


async def _expand(
    info: Info, command: templates.PostFromTemplate
) -> tuple[templates.PostFromTemplate, rows.TemplateRow]:
    """The command with the entries that its template comes to, and the template."""
    template: rows.TemplateRow | None = await find_template(
        info, command.ledger_id, command.code, command.version, build=lambda row: row
    )
    if template is None:
        newest = await find_template(
            info, command.ledger_id, command.code, None, build=lambda row: row
        )
        field = "version" if newest is not None else "code"
        raise refusals.TemplateNotFound(path=("input", field))
    if template.archived_at is not None:
        raise refusals.TemplateArchived
    definition = templates.Definition.of_json(template.definition)
    expansion = definition.expand(command.params, _read_account)
    names = {entry.account for entry in expansion.entries if isinstance(entry.account, str)}
    found = dict(await gather(*(_find(info, command.ledger_id, name) for name in sorted(names))))
    entries, places = templates.entries_of(
        expansion, {name: account_id for name, account_id in found.items() if account_id}
    )
    use = templates.TemplateUse(template.version, expansion.params)
    return replace(command, entries=entries, places=places, use=use), template


async def _find(info: Info, ledger_id: UUID, external_id: str) -> tuple[str, UUID | None]:
    account_id = await info.context.load.one(
        rows.accounts_by_external_id, ledger_id, external_id, build=lambda row: row.account_id
    )
    return external_id, account_id


def _definition(input: CreateTransactionTemplateInput) -> templates.Definition:
    return templates.Definition(
        tuple(
            templates.Parameter(
                name=parameter.name,
                kind=templates.ParameterKind(parameter.kind.value),
                description=parameter.description,
                default=parameter.default,
                minimum=parameter.minimum,
                maximum=parameter.maximum,
            )
            for parameter in input.parameters
        ),
        tuple(templates.Value(value.name, value.amount) for value in input.values or ()),
        tuple(_entry(index, entry) for index, entry in enumerate(input.entries)),
    )


def _entry(index: int, entry: TemplateEntryInput) -> templates.TemplateEntry:
    return templates.TemplateEntry(
        direction=balances.Direction(entry.direction.value),
        amount=entry.amount,
        account_id=None
        if entry.account_id is None
        else required_id(ACCOUNT, entry.account_id, "entries", str(index), "accountId"),
        external_id=entry.account_external_id,
        parameter=entry.account_parameter,
        metadata=entry.metadata or {},
    )


def _read_account(text: str) -> UUID | None:
    return decode_as(ACCOUNT, text)
