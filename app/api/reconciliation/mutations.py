"""Opening, running, closing and reopening reconciliations."""

from typing import Annotated, Any

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.enums import EntryField, LineField, RuleKind
from app.api.ids import EXTERNAL_ACCOUNT, EXTERNAL_STATEMENT, RECONCILIATION
from app.api.reconciliation.acts import author, show
from app.api.reconciliation.types import Reconciliation, ReconciliationRun
from app.api.refusals import (
    ExternalAccountNotFound,
    ReconciliationClosed,
    ReconciliationIncomplete,
    ReconciliationNotFound,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import Amount, Date
from app.ledger import refusals
from app.ledger.reconciliation import comparison as domain
from app.store import rows
from app.store.identity import Permission
from app.store.reconciliation import opening, runs
from app.store.rows import reconciliation as own


@strawberry.input(description="How far two amounts may be apart.")
class ToleranceInput:
    amount: Amount = strawberry.field(description="In minor units.", default=Amount(0))
    basis_points: int = strawberry.field(
        description="Beyond that, so many 1/10,000 of the line's amount.", default=0
    )


@strawberry.input(description="One way to find matches.")
class ReconciliationRuleInput:
    name: str = strawberry.field(description="Unique in the reconciliation; matches tell it.")
    kind: RuleKind = strawberry.field(description="How it looks for matches.")
    line_field: LineField | None = strawberry.field(
        description="The line's reference that it goes by.", default=None
    )
    entry_field: EntryField | None = strawberry.field(
        description=(
            "The entry's reference that it goes by. With both, the references must be the same."
            " With entryField alone, ONE_LINE_TO_MANY_ENTRIES adds up entries by it, and without it"
            " those of a day; MANY_LINES_TO_ONE_ENTRY does the same with lineField."
        ),
        default=None,
    )
    metadata_path: list[str] | None = strawberry.field(
        description='Where in the metadata the entryField METADATA is, such as ["order", "id"].',
        default=None,
    )
    days_before: int = strawberry.field(
        description="How many days before its line an entry may take effect.", default=5
    )
    days_after: int = strawberry.field(
        description="How many days after its line an entry may take effect.", default=5
    )
    tolerance: ToleranceInput | None = strawberry.field(
        description=(
            "How far amounts may be apart. If absent, by reference they may differ, else they are"
            " equal."
        ),
        default=None,
    )
    minimum_score: int = strawberry.field(
        description="How alike texts must be, from 0 to 1000; of AMOUNT_AND_TEXT.", default=500
    )


@strawberry.input(description="What to compare. The days are given, or those of a statement.")
class CreateReconciliationInput:
    external_account_id: strawberry.ID = strawberry.field(description="The external account.")
    name: str = strawberry.field(description="For people; up to 255 characters.")
    from_: Date | None = strawberry.field(name="from", description="The first day.", default=None)
    through: Date | None = strawberry.field(
        description="The last day; up to 366 days.", default=None
    )
    statement_id: strawberry.ID | None = strawberry.field(
        description="The statement whose days it is of, instead of from and through.", default=None
    )
    time_zone: str = strawberry.field(
        description='Where the day of an entry begins, such as "Europe/Paris".', default="UTC"
    )
    margin_days: int = strawberry.field(
        description=(
            f"How many days around those partners are sought, up to {domain.MAX_MARGIN}: what was"
            " paid on the last day and booked on the next is matched, and a timing difference."
        ),
        default=30,
    )
    rules: list[ReconciliationRuleInput] | None = strawberry.field(
        description=(
            f"Up to {domain.MAX_RULES}, tried in order. If absent: reference and end-to-end id"
            " against external id, end-to-end id against idempotency key, words of the description"
            " against external id, all entries of a transaction together, equal amounts that are"
            " alike in text within 5 days, equal amounts within 3 days, reversed entries."
        ),
        default=None,
    )


@strawberry.input(description="Which reconciliation to run.")
class RunReconciliationInput:
    reconciliation_id: strawberry.ID = strawberry.field(description="The reconciliation.")


@strawberry.input(description="Which reconciliation to close.")
class CloseReconciliationInput:
    reconciliation_id: strawberry.ID = strawberry.field(description="The reconciliation.")
    accept_remaining: bool = strawberry.field(
        description="Withdraw what is proposed, and accept what is open; needs a reason.",
        default=False,
    )
    reason: str | None = strawberry.field(description="Why.", default=None)


@strawberry.input(description="Which reconciliation to reopen.")
class ReopenReconciliationInput:
    reconciliation_id: strawberry.ID = strawberry.field(description="The reconciliation.")
    reason: str = strawberry.field(description="Why.")


@strawberry.type(description="The reconciliation is open; run it next.")
class CreateReconciliationSuccess:
    reconciliation: Reconciliation = strawberry.field(description="The new reconciliation.")


@strawberry.type(description="A run is on its way; ask for it again to see how far it has come.")
class RunReconciliationSuccess:
    run: ReconciliationRun = strawberry.field(
        description="The run; one that was waiting already if there was."
    )


@strawberry.type(description="The reconciliation is frozen.")
class CloseReconciliationSuccess:
    reconciliation: Reconciliation = strawberry.field(description="The reconciliation.")


@strawberry.type(description="The reconciliation can be worked on again.")
class ReopenReconciliationSuccess:
    reconciliation: Reconciliation = strawberry.field(description="The reconciliation.")


CreateReconciliationResult = Annotated[
    CreateReconciliationSuccess | ValidationFailed | ExternalAccountNotFound,
    strawberry.union(
        "CreateReconciliationResult", description="What became of createReconciliation."
    ),
]
RunReconciliationResult = Annotated[
    RunReconciliationSuccess | ValidationFailed | ReconciliationNotFound | ReconciliationClosed,
    strawberry.union("RunReconciliationResult", description="What became of runReconciliation."),
]
CloseReconciliationResult = Annotated[
    CloseReconciliationSuccess
    | ValidationFailed
    | ReconciliationNotFound
    | ReconciliationIncomplete,
    strawberry.union(
        "CloseReconciliationResult", description="What became of closeReconciliation."
    ),
]
ReopenReconciliationResult = Annotated[
    ReopenReconciliationSuccess | ValidationFailed | ReconciliationNotFound,
    strawberry.union(
        "ReopenReconciliationResult", description="What became of reopenReconciliation."
    ),
]


@strawberry.type
class ReconciliationMutations:
    @strawberry.mutation(
        description=(
            "Open a reconciliation of an external account with our account, over some days. Needs"
            " the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def create_reconciliation(
        self,
        info: Info,
        input: Annotated[
            CreateReconciliationInput, strawberry.argument(description="The reconciliation.")
        ],
    ) -> CreateReconciliationResult:
        first, last = await _days(info, input)
        command = domain.CreateReconciliation(
            scope=info.context.scope,
            reconciliation_id=uuid7(),
            external_account_id=required_id(
                EXTERNAL_ACCOUNT, input.external_account_id, "externalAccountId"
            ),
            name=input.name,
            from_date=first,
            through_date=last,
            api_key_id=info.context.principal.api_key_id,
            time_zone=input.time_zone,
            margin_days=input.margin_days,
            rules=domain.DEFAULT_RULES if input.rules is None else tuple(map(_rule, input.rules)),
        )
        command.check()
        async with info.context.database.writing() as connection:
            made = await opening.create(connection, command)
        return CreateReconciliationSuccess(reconciliation=await show(info, made))

    @strawberry.mutation(
        description=(
            "Have a reconciliation look for matches and for what does not agree. It does so in the"
            " background; confirmed matches stay, proposals are made anew. Running it again without"
            " news changes nothing. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def run_reconciliation(
        self,
        info: Info,
        input: Annotated[RunReconciliationInput, strawberry.argument(description="Which one.")],
    ) -> RunReconciliationResult:
        reconciliation_id = required_id(RECONCILIATION, input.reconciliation_id, "reconciliationId")
        async with info.context.database.writing() as connection:
            run_id = await runs.request_run(connection, author(info), reconciliation_id)
        await info.context.renew()
        return RunReconciliationSuccess(
            run=await info.context.load.one(own.runs_by_id, run_id, build=ReconciliationRun.of)
        )

    @strawberry.mutation(
        description=(
            "Close a reconciliation: it is frozen, and its entries are reconciled. Refused while"
            " matches are proposed or discrepancies open, unless the rest is accepted. Needs the"
            " scope write."
        )
    )
    @answering(Permission.WRITE)
    async def close_reconciliation(
        self,
        info: Info,
        input: Annotated[CloseReconciliationInput, strawberry.argument(description="Which one.")],
    ) -> CloseReconciliationResult:
        reconciliation_id = required_id(RECONCILIATION, input.reconciliation_id, "reconciliationId")
        async with info.context.database.writing() as connection:
            await opening.close(
                connection,
                author(info),
                reconciliation_id,
                accept_remaining=input.accept_remaining,
                reason=input.reason,
            )
        return CloseReconciliationSuccess(reconciliation=await show(info, reconciliation_id))

    @strawberry.mutation(
        description="Make a closed reconciliation open to work again. Needs the scope write."
    )
    @answering(Permission.WRITE)
    async def reopen_reconciliation(
        self,
        info: Info,
        input: Annotated[ReopenReconciliationInput, strawberry.argument(description="Which one.")],
    ) -> ReopenReconciliationResult:
        reconciliation_id = required_id(RECONCILIATION, input.reconciliation_id, "reconciliationId")
        async with info.context.database.writing() as connection:
            await opening.reopen(connection, author(info), reconciliation_id, input.reason)
        return ReopenReconciliationSuccess(reconciliation=await show(info, reconciliation_id))


async def _days(info: Info, input: CreateReconciliationInput) -> tuple[Any, Any]:
    """The first and the last day. Raises ValidationFailed where they are not told, or twice."""
    if input.statement_id is None:
        if input.from_ is None or input.through is None:
            raise refusals.ValidationFailed(
                message="Give from and through, or a statementId.", path=("input", "from")
            )
        return input.from_, input.through
    if input.from_ is not None or input.through is not None:
        raise refusals.ValidationFailed(
            message="Give from and through, or a statementId.", path=("input", "statementId")
        )
    statement_id = required_id(EXTERNAL_STATEMENT, input.statement_id, "statementId")
    statement = await info.context.load.one(
        rows.external_statements_by_id, statement_id, build=lambda row: row
    )
    home = required_id(EXTERNAL_ACCOUNT, input.external_account_id, "externalAccountId")
    if statement is None or statement.external_account_id != home or statement.from_date is None:
        raise refusals.ValidationFailed(
            message="The external account has no such statement with days.",
            path=("input", "statementId"),
        )
    return statement.from_date, statement.through_date


def _rule(input: ReconciliationRuleInput) -> domain.Rule:
    tolerance = input.tolerance
    return domain.Rule(
        name=input.name,
        kind=domain.RuleKind(input.kind.value),
        line_field=None if input.line_field is None else domain.LineField(input.line_field.value),
        entry_field=None
        if input.entry_field is None
        else domain.EntryField(input.entry_field.value),
        metadata_path=tuple(input.metadata_path or ()),
        days_before=input.days_before,
        days_after=input.days_after,
        tolerance=None
        if tolerance is None
        else domain.Tolerance(tolerance.amount, tolerance.basis_points),
        minimum_score=input.minimum_score,
    )
