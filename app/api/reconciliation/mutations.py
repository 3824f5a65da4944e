"""Opening, running, working on and closing reconciliations."""

from typing import Annotated, Any

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.enums import EntryField, LineField, RuleKind
from app.api.ids import (
    ACCOUNT,
    DISCREPANCY,
    ENTRY,
    EXTERNAL_ACCOUNT,
    EXTERNAL_STATEMENT,
    LINE,
    MATCH,
    RECONCILIATION,
    decode,
)
from app.api.reconciliation.types import (
    Discrepancy,
    Reconciliation,
    ReconciliationMatch,
    ReconciliationRun,
    find_reconciliation,
)
from app.api.refusals import (
    AccountNotFound,
    AlreadyMatched,
    DiscrepancyNotFound,
    DiscrepancyStanding,
    EntriesUnbalanced,
    ExternalAccountNotFound,
    ExternalIdTaken,
    IdempotencyConflict,
    MatchConfirmed,
    MatchNotFound,
    NewEntriesRefused,
    Overloaded,
    ReconciliationClosed,
    ReconciliationIncomplete,
    ReconciliationNotFound,
    ReversalExceedsTransaction,
    TransactionNotReversible,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, Amount, Date, DateTime
from app.ledger import refusals
from app.ledger.reconciliation import comparison as domain
from app.store import rows
from app.store.identity import Permission
from app.store.reconciliation import acts, decisions, opening, resolutions, runs
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


@strawberry.input(description="Which proposals to confirm.")
class ConfirmMatchesInput:
    match_ids: list[strawberry.ID] = strawberry.field(
        description=f"From 1 to {domain.MAX_MEMBERS:,}, of one reconciliation."
    )
    reason: str | None = strawberry.field(description="Why.", default=None)


@strawberry.input(description="Which proposals to reject.")
class RejectMatchesInput:
    match_ids: list[strawberry.ID] = strawberry.field(
        description=f"From 1 to {domain.MAX_MEMBERS:,}, of one reconciliation."
    )
    reason: str | None = strawberry.field(description="Why.", default=None)


@strawberry.input(description="What to match.")
class MatchManuallyInput:
    reconciliation_id: strawberry.ID = strawberry.field(description="The reconciliation.")
    line_ids: list[strawberry.ID] = strawberry.field(description="The statement lines.")
    entry_ids: list[strawberry.ID] = strawberry.field(description="The entries.")
    reason: str = strawberry.field(description="Why.")


@strawberry.input(description="Which match to take away.")
class UnmatchInput:
    match_id: strawberry.ID = strawberry.field(description="The match.")
    reason: str = strawberry.field(description="Why.")


@strawberry.input(description="Take it for granted.")
class AcceptDiscrepancyInput:
    reason: str = strawberry.field(description="Why.")


@strawberry.input(
    description=(
        "Post the discrepancy's amount on the account, against another one, so that both agree."
    )
)
class AdjustmentInput:
    counter_account_id: strawberry.ID = strawberry.field(
        description="The other account, of the same ledger and currency."
    )
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    reason: str | None = strawberry.field(description="Why.", default=None)
    description: str | None = strawberry.field(
        description="The transaction's; the reason if absent.", default=None
    )
    external_id: str | None = strawberry.field(
        description="The client's own id of the transaction.", default=None
    )
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)
    effective_at: DateTime | None = strawberry.field(
        description="When it takes effect; noon of the discrepancy's day if absent.", default=None
    )


@strawberry.input(description="Post the discrepancy's amount against an expense.")
class WriteOffInput:
    account_id: strawberry.ID = strawberry.field(
        description="The expense account, of the same ledger and currency."
    )
    reason: str = strawberry.field(description="Why.")
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    effective_at: DateTime | None = strawberry.field(
        description="When it takes effect; noon of the discrepancy's day if absent.", default=None
    )


@strawberry.input(description="What to do about a discrepancy: exactly one of the three.")
class ResolveDiscrepancyInput:
    discrepancy_id: strawberry.ID = strawberry.field(description="The discrepancy.")
    accept: AcceptDiscrepancyInput | None = strawberry.field(
        description="Take it for granted.", default=None
    )
    adjustment: AdjustmentInput | None = strawberry.field(
        description="Post what is missing.", default=None
    )
    write_off: WriteOffInput | None = strawberry.field(
        description="Post it against an expense.", default=None
    )


@strawberry.input(description="Which discrepancy to open again.")
class UndoResolutionInput:
    discrepancy_id: strawberry.ID = strawberry.field(description="The discrepancy.")
    reason: str = strawberry.field(description="Why.")
    idempotency_key: str | None = strawberry.field(
        description="Of the reversal; required where a transaction resolved it.", default=None
    )
    effective_at: DateTime | None = strawberry.field(
        description="When the reversal takes effect; when what it reverses did if absent.",
        default=None,
    )


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


@strawberry.type(description="The matches hold.")
class ConfirmMatchesSuccess:
    reconciliation: Reconciliation = strawberry.field(description="The reconciliation.")


@strawberry.type(description="The proposals are gone, and are not made again.")
class RejectMatchesSuccess:
    reconciliation: Reconciliation = strawberry.field(description="The reconciliation.")


@strawberry.type(description="The match holds.")
class MatchManuallySuccess:
    match: ReconciliationMatch = strawberry.field(description="The new match.")


@strawberry.type(description="The match is gone, and no rule makes it again.")
class UnmatchSuccess:
    reconciliation: Reconciliation = strawberry.field(description="The reconciliation.")


@strawberry.type(description="The discrepancy is dealt with.")
class ResolveDiscrepancySuccess:
    discrepancy: Discrepancy = strawberry.field(description="The discrepancy as it now stands.")
    replayed: bool = strawberry.field(description="Whether the same key had resolved it before.")


@strawberry.type(description="The resolution is undone.")
class UndoResolutionSuccess:
    reconciliation: Reconciliation = strawberry.field(description="The reconciliation.")
    discrepancy: Discrepancy | None = strawberry.field(
        description="The discrepancy, open again; null if its cause has gone meanwhile."
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
ConfirmMatchesResult = Annotated[
    ConfirmMatchesSuccess
    | ValidationFailed
    | MatchNotFound
    | ReconciliationClosed
    | AlreadyMatched,
    strawberry.union("ConfirmMatchesResult", description="What became of confirmMatches."),
]
RejectMatchesResult = Annotated[
    RejectMatchesSuccess | ValidationFailed | MatchNotFound | ReconciliationClosed | MatchConfirmed,
    strawberry.union("RejectMatchesResult", description="What became of rejectMatches."),
]
MatchManuallyResult = Annotated[
    MatchManuallySuccess
    | ValidationFailed
    | ReconciliationNotFound
    | ReconciliationClosed
    | AlreadyMatched,
    strawberry.union("MatchManuallyResult", description="What became of matchManually."),
]
UnmatchResult = Annotated[
    UnmatchSuccess | ValidationFailed | MatchNotFound | ReconciliationClosed | MatchConfirmed,
    strawberry.union("UnmatchResult", description="What became of unmatch."),
]
ResolveDiscrepancyResult = Annotated[
    ResolveDiscrepancySuccess
    | ValidationFailed
    | DiscrepancyNotFound
    | DiscrepancyStanding
    | ReconciliationClosed
    | AlreadyMatched
    | AccountNotFound
    | EntriesUnbalanced
    | NewEntriesRefused
    | IdempotencyConflict
    | ExternalIdTaken
    | Overloaded,
    strawberry.union("ResolveDiscrepancyResult", description="What became of resolveDiscrepancy."),
]
UndoResolutionResult = Annotated[
    UndoResolutionSuccess
    | ValidationFailed
    | DiscrepancyNotFound
    | DiscrepancyStanding
    | ReconciliationClosed
    | TransactionNotReversible
    | ReversalExceedsTransaction
    | NewEntriesRefused
    | IdempotencyConflict
    | Overloaded,
    strawberry.union("UndoResolutionResult", description="What became of undoResolution."),
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
        return CreateReconciliationSuccess(reconciliation=await _shown(info, made))

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
            run_id = await runs.request_run(connection, _author(info), reconciliation_id)
        await info.context.renew()
        return RunReconciliationSuccess(
            run=await info.context.load.one(own.runs_by_id, run_id, build=ReconciliationRun.of)
        )

    @strawberry.mutation(description="Confirm proposed matches. Needs the scope write.")
    @answering(Permission.WRITE)
    async def confirm_matches(
        self,
        info: Info,
        input: Annotated[ConfirmMatchesInput, strawberry.argument(description="Which ones.")],
    ) -> ConfirmMatchesResult:
        match_ids = _match_ids(input.match_ids)
        _check_reason(input.reason)
        async with info.context.database.writing() as connection:
            home = await decisions.confirm(connection, _author(info), match_ids, input.reason)
        return ConfirmMatchesSuccess(reconciliation=await _shown(info, home))

    @strawberry.mutation(
        description=(
            "Reject proposed matches: no rule puts any of their lines and entries together again."
            " Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def reject_matches(
        self,
        info: Info,
        input: Annotated[RejectMatchesInput, strawberry.argument(description="Which ones.")],
    ) -> RejectMatchesResult:
        match_ids = _match_ids(input.match_ids)
        _check_reason(input.reason)
        async with info.context.database.writing() as connection:
            home = await decisions.reject(connection, _author(info), match_ids, input.reason)
        return RejectMatchesSuccess(reconciliation=await _shown(info, home))

    @strawberry.mutation(
        description=(
            "Match lines with entries, whatever the rules say; lines alone or entries alone that"
            " undo one another, too. Proposals that have any of them are withdrawn. Needs the scope"
            " write."
        )
    )
    @answering(Permission.WRITE)
    async def match_manually(
        self,
        info: Info,
        input: Annotated[MatchManuallyInput, strawberry.argument(description="What to match.")],
    ) -> MatchManuallyResult:
        reconciliation_id = required_id(RECONCILIATION, input.reconciliation_id, "reconciliationId")
        context = info.context
        reconciliation = await context.load.one(
            own.reconciliations_by_id, reconciliation_id, build=lambda row: row
        )
        if reconciliation is None:
            raise refusals.ReconciliationNotFound
        lines = _numbers(LINE, input.line_ids, reconciliation.external_account_id, "lineIds")
        entries = _numbers(ENTRY, input.entry_ids, reconciliation.account_id, "entryIds")
        async with context.database.writing() as connection:
            made = await decisions.match_manually(
                connection, _author(info), reconciliation_id, lines, entries, input.reason
            )
        await context.renew()
        return MatchManuallySuccess(
            match=await context.load.one(own.matches_by_id, made, build=ReconciliationMatch.of)
        )

    @strawberry.mutation(
        description="Take a match away, a confirmed one too. Needs the scope write."
    )
    @answering(Permission.WRITE)
    async def unmatch(
        self,
        info: Info,
        input: Annotated[UnmatchInput, strawberry.argument(description="Which one.")],
    ) -> UnmatchResult:
        match_id = required_id(MATCH, input.match_id, "matchId")
        async with info.context.database.writing() as connection:
            home = await decisions.unmatch(connection, _author(info), match_id, input.reason)
        return UnmatchSuccess(reconciliation=await _shown(info, home))

    @strawberry.mutation(
        description=(
            "Deal with a discrepancy: accept it, or post its amount as an adjustment or a"
            " write-off. The transaction is matched at once. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def resolve_discrepancy(
        self,
        info: Info,
        input: Annotated[
            ResolveDiscrepancyInput, strawberry.argument(description="What to do about which.")
        ],
    ) -> ResolveDiscrepancyResult:
        discrepancy_id = required_id(DISCREPANCY, input.discrepancy_id, "discrepancyId")
        given = [one for one in (input.accept, input.adjustment, input.write_off) if one]
        if len(given) != 1:
            raise refusals.ValidationFailed(
                message="Give exactly one of accept, adjustment and writeOff."
            )
        context = info.context
        replayed = False
        if input.accept is not None:
            async with context.database.writing() as connection:
                await resolutions.accept(
                    connection, _author(info), discrepancy_id, input.accept.reason
                )
        else:
            adjustment, name, counter = _adjustment(input)
            try:
                async with context.database.writing() as connection:
                    resolved = await resolutions.adjust(
                        connection, context.writer, _author(info), discrepancy_id, adjustment
                    )
            except refusals.Refusal as refusal:
                refusal.path = _placed(refusal.path, name, counter)
                raise
            replayed = resolved.replayed
        await context.renew()
        discrepancy = await context.load.one(
            own.discrepancies_by_id, discrepancy_id, build=Discrepancy.of
        )
        if discrepancy is None:  # its cause went in this very moment
            raise refusals.DiscrepancyNotFound
        return ResolveDiscrepancySuccess(discrepancy=discrepancy, replayed=replayed)

    @strawberry.mutation(
        description=(
            "Open a discrepancy again. The transaction that resolved it is reversed. Needs the"
            " scope write."
        )
    )
    @answering(Permission.WRITE)
    async def undo_resolution(
        self,
        info: Info,
        input: Annotated[UndoResolutionInput, strawberry.argument(description="Which one.")],
    ) -> UndoResolutionResult:
        discrepancy_id = required_id(DISCREPANCY, input.discrepancy_id, "discrepancyId")
        context = info.context
        async with context.database.writing() as connection:
            home = await resolutions.undo_resolution(
                connection,
                context.writer,
                _author(info),
                discrepancy_id,
                reason=input.reason,
                idempotency_key=input.idempotency_key,
                effective_at=input.effective_at,
            )
        shown = await _shown(info, home)
        return UndoResolutionSuccess(
            reconciliation=shown,
            discrepancy=await context.load.one(
                own.discrepancies_by_id, discrepancy_id, build=Discrepancy.of
            ),
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
                _author(info),
                reconciliation_id,
                accept_remaining=input.accept_remaining,
                reason=input.reason,
            )
        return CloseReconciliationSuccess(reconciliation=await _shown(info, reconciliation_id))

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
            await opening.reopen(connection, _author(info), reconciliation_id, input.reason)
        return ReopenReconciliationSuccess(reconciliation=await _shown(info, reconciliation_id))


def _author(info: Info) -> acts.Author:
    principal = info.context.principal
    return acts.Author(principal.scope, principal.api_key_id)


async def _shown(info: Info, reconciliation_id: Any) -> Reconciliation:
    """The reconciliation as it is after the act."""
    await info.context.renew()
    shown: Reconciliation = await find_reconciliation(info.context, reconciliation_id)
    return shown


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


def _check_reason(reason: str | None) -> None:
    if reason is not None:
        domain.check_reason(reason)


def _match_ids(texts: list[strawberry.ID]) -> list[Any]:
    return [required_id(MATCH, text, "matchIds", str(place)) for place, text in enumerate(texts)]


def _numbers(prefix: str, texts: list[strawberry.ID], home: Any, field: str) -> list[int]:
    """The numbers of lines or entries, which must be of the account."""
    numbers = []
    for place, text in enumerate(texts):
        decoded = decode(text)
        if (
            decoded is None
            or decoded.prefix != prefix
            or decoded.uuid != home
            or decoded.sequence is None
        ):
            raise refusals.ValidationFailed(
                message="It is not of the reconciliation's account.",
                path=("input", field, str(place)),
            )
        numbers.append(decoded.sequence)
    return numbers


def _adjustment(input: ResolveDiscrepancyInput) -> tuple[domain.Adjustment, str, str]:
    """What to post, the field that says so, and in that the field of the counter account."""
    off = input.write_off
    if off is not None:
        domain.check_reason(off.reason)
        account_id = required_id(ACCOUNT, off.account_id, "writeOff", "accountId")
        adjustment = domain.Adjustment(
            account_id,
            off.idempotency_key,
            off.reason,
            effective_at=off.effective_at,
            written_off=True,
        )
        return adjustment, "writeOff", "accountId"
    given = input.adjustment
    assert given is not None
    _check_reason(given.reason)
    account_id = required_id(ACCOUNT, given.counter_account_id, "adjustment", "counterAccountId")
    adjustment = domain.Adjustment(
        account_id,
        given.idempotency_key,
        given.reason,
        given.description,
        given.external_id,
        given.metadata or {},
        given.effective_at,
    )
    return adjustment, "adjustment", "counterAccountId"


def _placed(path: tuple[str, ...], name: str, counter: str) -> tuple[str, ...]:
    """The field of this input that a path of a posting's input stands for."""
    match path:
        case ("input", "entries", "1", *_):
            return ("input", name, counter)
        case ("input", "entries" | "ledgerId", *_) | ("input",) | ("input", "discrepancyId"):
            return ("input", "discrepancyId")
        case _:
            return ("input", name, *path[1:])
