"""Deciding about matches: confirming, rejecting, matching by hand, and taking matches away."""

from typing import Annotated, Any

import strawberry

from app.api.engine.context import Info
from app.api.ids import ENTRY, LINE, MATCH, RECONCILIATION, decode
from app.api.reconciliation.acts import author, check_reason, show
from app.api.reconciliation.types import Reconciliation, ReconciliationMatch
from app.api.refusals import (
    AlreadyMatched,
    MatchConfirmed,
    MatchNotFound,
    ReconciliationClosed,
    ReconciliationNotFound,
    ValidationFailed,
    answering,
    required_id,
)
from app.ledger import refusals
from app.ledger.reconciliation import comparison as domain
from app.store.identity import Permission
from app.store.reconciliation import decisions
from app.store.rows import reconciliation as own


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


@strawberry.type
class MatchMutations:
    @strawberry.mutation(description="Confirm proposed matches. Needs the scope write.")
    @answering(Permission.WRITE)
    async def confirm_matches(
        self,
        info: Info,
        input: Annotated[ConfirmMatchesInput, strawberry.argument(description="Which ones.")],
    ) -> ConfirmMatchesResult:
        match_ids = _match_ids(input.match_ids)
        check_reason(input.reason)
        async with info.context.database.writing() as connection:
            home = await decisions.confirm(connection, author(info), match_ids, input.reason)
        return ConfirmMatchesSuccess(reconciliation=await show(info, home))

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
        check_reason(input.reason)
        async with info.context.database.writing() as connection:
            home = await decisions.reject(connection, author(info), match_ids, input.reason)
        return RejectMatchesSuccess(reconciliation=await show(info, home))

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
                connection, author(info), reconciliation_id, lines, entries, input.reason
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
            home = await decisions.unmatch(connection, author(info), match_id, input.reason)
        return UnmatchSuccess(reconciliation=await show(info, home))


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
