"""Dealing with discrepancies: accepting, adjusting, writing off, and undoing that."""

from typing import Annotated

import strawberry

from app.api.engine.context import Info
from app.api.ids import ACCOUNT, DISCREPANCY
from app.api.reconciliation.acts import author, check_reason, show
from app.api.reconciliation.types import Discrepancy, Reconciliation
from app.api.refusals import (
    AccountNotFound,
    AlreadyMatched,
    DiscrepancyNotFound,
    DiscrepancyStanding,
    EntriesUnbalanced,
    ExternalIdTaken,
    IdempotencyConflict,
    NewEntriesRefused,
    Overloaded,
    ReconciliationClosed,
    ReversalExceedsTransaction,
    TransactionNotReversible,
    ValidationFailed,
    answering,
    required_id,
)
from app.api.scalars import JSON, DateTime
from app.ledger import refusals
from app.ledger.reconciliation import comparison as domain
from app.store.identity import Permission
from app.store.reconciliation import resolutions
from app.store.rows import reconciliation as own


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


@strawberry.type
class DiscrepancyMutations:
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
                    connection, author(info), discrepancy_id, input.accept.reason
                )
        else:
            adjustment, name, counter = _adjustment(input)
            try:
                async with context.database.writing() as connection:
                    resolved = await resolutions.adjust(
                        connection, context.writer, author(info), discrepancy_id, adjustment
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
                author(info),
                discrepancy_id,
                reason=input.reason,
                idempotency_key=input.idempotency_key,
                effective_at=input.effective_at,
            )
        shown = await show(info, home)
        return UndoResolutionSuccess(
            reconciliation=shown,
            discrepancy=await context.load.one(
                own.discrepancies_by_id, discrepancy_id, build=Discrepancy.of
            ),
        )


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
    check_reason(given.reason)
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
