"""Refusals as members of a mutation's result: one type each, rendered in one place.

Members of one union have no field of one name and different types, so that a client can ask for all
of them at once.

`answering` wraps every mutation's resolver. It asks for the permission, and turns the refusal that
the ledger or the store raised, however deep, into its type. Resolvers have no try of their own.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import strawberry

from app.api.accounts.balances import Currency
from app.api.accounts.types import Account, find_account
from app.api.engine.context import Info
from app.api.enums import (
    AccountStatus,
    Direction,
    DiscrepancyStatus,
    ErrorCode,
    LotNotPossibleReason,
    NotReversibleReason,
    SettlementNotPossibleReason,
    TransactionStatus,
    VelocityPeriod,
)
from app.api.ids import DISCREPANCY, MATCH, decode_as, encode
from app.api.nodes import UserError
from app.api.scalars import Amount, DateTime, Sequence
from app.api.statements.types import Statement, find_statement
from app.api.transactions.types import Transaction
from app.ledger import refusals
from app.ledger.refusals import Refusal
from app.store import rows
from app.store.identity import Permission

P = ParamSpec("P")
T = TypeVar("T")


def _account(self: Any, info: Info) -> Account:
    return find_account(info.context, self.account_id)


@strawberry.type(description="The input is malformed, whatever the books hold.")
class ValidationFailed(UserError):
    pass


@strawberry.type(description="Too much is waiting to be written; send the same again later.")
class Overloaded(UserError):
    pass


@strawberry.type(description="No ledger with this id is visible to the API key.")
class LedgerNotFound(UserError):
    pass


@strawberry.type(description="No transaction with this id is visible to the API key.")
class TransactionNotFound(UserError):
    pass


@strawberry.type(description="No schedule of statements with this id is visible to the API key.")
class StatementScheduleNotFound(UserError):
    pass


@strawberry.type(description="The ledger has no transaction template of this code and version.")
class TemplateNotFound(UserError):
    pass


@strawberry.type(description="The transaction template is archived.")
class TemplateArchived(UserError):
    pass


@strawberry.type(description="No account with this id is in the ledger.")
class AccountNotFound(UserError):
    pass


@strawberry.type(description="No external account with this id is visible to the API key.")
class ExternalAccountNotFound(UserError):
    pass


@strawberry.type(
    description="The accounts grow on different sides, so no transfer goes from one to the other."
)
class NormalBalancesDiffer(UserError):
    pass


@strawberry.type(description="The idempotency key was used in this ledger with another input.")
class IdempotencyConflict(UserError):
    transaction_id: strawberry.Private[UUID]

    @strawberry.field(description="The transaction that the key brought about or changed.")
    def transaction(self, info: Info) -> Transaction:
        return find_transaction(info, self.transaction_id)


@strawberry.type(description="The idempotency key was used in this ledger for another statement.")
class StatementKeyTaken(UserError):
    statement_id: strawberry.Private[UUID]

    @strawberry.field(description="The statement that was made with the key.")
    def statement(self, info: Info) -> Statement:
        return find_statement(info, self.statement_id)


@strawberry.type(description="The ledger takes no more writes.")
class LedgerArchived(UserError):
    pass


@strawberry.type(description="A ledger with transactions in flight cannot be archived.")
class PendingTransactionsRemain(UserError):
    pending_transactions: int = strawberry.field(description="How many there are.")


@strawberry.type(description="It would take effect in a period of the ledger that is closed.")
class PeriodClosed(UserError):
    closed_through: DateTime = strawberry.field(
        description="The last moment at which nothing may take effect any more."
    )


@strawberry.type(description="The unsettled entries of the account cannot be paid out.")
class SettlementNotPossible(UserError):
    reason: SettlementNotPossibleReason = strawberry.field(description="Why.")
    unsettled_amount: Amount = strawberry.field(
        description="What they come to on the account's normal side, in minor units."
    )
    unsettled_count: int = strawberry.field(
        description="How many there are, or one more than a settlement collects."
    )
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="A hold is not settled from the moment on at which it expires.")
class HoldExpired(UserError):
    expires_at: DateTime = strawberry.field(description="When it expired.")
    transaction_id: strawberry.Private[UUID]

    @strawberry.field(description="The transaction.")
    def transaction(self, info: Info) -> Transaction:
        return find_transaction(info, self.transaction_id)


@strawberry.type(description="Only a pending transaction can be settled or voided.")
class TransactionNotPending(UserError):
    transaction_status: TransactionStatus = strawberry.field(
        description="Where the transaction stands."
    )
    transaction_id: strawberry.Private[UUID]

    @strawberry.field(description="The transaction.")
    def transaction(self, info: Info) -> Transaction:
        return find_transaction(info, self.transaction_id)


@strawberry.type(description="There is nothing of the transaction that could be reversed.")
class TransactionNotReversible(UserError):
    transaction_status: TransactionStatus = strawberry.field(
        description="Where the transaction stands."
    )
    reason: NotReversibleReason = strawberry.field(description="Why not.")
    transaction_id: strawberry.Private[UUID]

    @strawberry.field(description="The transaction.")
    def transaction(self, info: Info) -> Transaction:
        return find_transaction(info, self.transaction_id)


@strawberry.type(description="An entry cannot open the credit lot that it was given.")
class LotNotPossible(UserError):
    reason: LotNotPossibleReason = strawberry.field(description="Why not.")
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account of the entry.")


@strawberry.type(description="In one currency debits differ from credits.")
class EntriesUnbalanced(UserError):
    currency: Currency = strawberry.field(description="The currency; each balances by itself.")
    debits: Amount = strawberry.field(description="The sum of debits, in minor units.")
    credits: Amount = strawberry.field(description="The sum of credits, in minor units.")


@strawberry.type(description="More was to be settled than the hold has left.")
class SettlementExceedsHold(UserError):
    direction: Direction = strawberry.field(description="The side of the account.")
    remaining: Amount = strawberry.field(description="What the hold has left, in minor units.")
    requested: Amount = strawberry.field(description="What was to be settled, in minor units.")
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="More was to be reversed than the transaction has left.")
class ReversalExceedsTransaction(UserError):
    direction: Direction = strawberry.field(
        description="The side of the account, as the transaction has it."
    )
    remaining: Amount = strawberry.field(
        description="What is left to reverse there, in minor units."
    )
    requested: Amount = strawberry.field(description="What was to be reversed, in minor units.")
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="The external id belongs to another object of the ledger.")
class ExternalIdTaken(UserError):
    external_id: str = strawberry.field(description="The external id.")


@strawberry.type(description="The account is frozen or closed.")
class AccountNotOpen(UserError):
    account_status: AccountStatus = strawberry.field(description="What the account is instead.")
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="An account is closed only when it has no balance.")
class AccountNotEmpty(UserError):
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(
    description="The ledger has open credit lots, or some expire to the account that is to close."
)
class LotsRemain(UserError):
    open_lots: int = strawberry.field(description="How many there are.")


@strawberry.type(description="The account has had other entries than the client last saw.")
class VersionConflict(UserError):
    expected_version: Sequence = strawberry.field(description="The version in the input.")
    actual_version: Sequence = strawberry.field(description="The version of the account.")
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="An entry is above the account's entry maximum.")
class EntryTooLarge(UserError):
    requested: Amount = strawberry.field(description="The entry's amount, in minor units.")
    maximum: Amount = strawberry.field(
        description="The largest entry that the account takes, in minor units."
    )
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="Available would fall below the account's floor.")
class InsufficientFunds(UserError):
    available: Amount = strawberry.field(
        description="What was available before the entry, in minor units."
    )
    required: Amount = strawberry.field(
        description="What must be available for it, floor included, in minor units."
    )
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(
    description=(
        "The account could come to more than its ceiling: posted plus what is pending on the normal"
        " side."
    )
)
class CeilingExceeded(UserError):
    ceiling: Amount = strawberry.field(description="The account's ceiling, in minor units.")
    before: Amount = strawberry.field(
        description="What the account could come to before the entry, in minor units."
    )
    after: Amount = strawberry.field(
        description="What it could come to after the entry, in minor units."
    )
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="A velocity limit of the account has no room for more in its window.")
class VelocityExceeded(UserError):
    limit_name: str = strawberry.field(description="Which of the account's limits.")
    used_amount: Amount = strawberry.field(
        description="What went out in the window before, in minor units."
    )
    used_count: Sequence = strawberry.field(
        description="How many transactions took something out in the window before."
    )
    requested_amount: Amount = strawberry.field(
        description="What this transaction would take out, up to this entry, in minor units."
    )
    maximum_amount: Amount | None = strawberry.field(
        description="The most that may go out in a window, in minor units."
    )
    maximum_count: Sequence | None = strawberry.field(
        description="How many transactions may take something out in a window."
    )
    window_seconds: int | None = strawberry.field(
        description="The length of the window, if it rolls."
    )
    period: VelocityPeriod | None = strawberry.field(
        description="The window, if it is a calendar period."
    )
    time_zone: str | None = strawberry.field(description="Where the calendar period begins.")
    retry_at: DateTime | None = strawberry.field(
        description=(
            "By then there is room, if nothing else goes out meanwhile: at the end of the period,"
            " or when a rolling window has left behind all that counts now. Null: this is too much"
            " for any window."
        )
    )
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="A balance condition does not hold after its entry.")
class ConditionFailed(UserError):
    balance: str = strawberry.field(
        description="Which balance: posted, pending, available or projected."
    )
    expected: str = strawberry.field(description='The bound that was broken, such as ">= 100".')
    actual: Amount = strawberry.field(
        description="The balance after the entry, in minor units on the normal side."
    )
    account_id: strawberry.Private[UUID]
    account = strawberry.field(resolver=_account, description="The account.")


@strawberry.type(description="No reconciliation with this id is visible to the API key.")
class ReconciliationNotFound(UserError):
    pass


@strawberry.type(
    description="No match with this id is visible to the API key; a run may have withdrawn it."
)
class MatchNotFound(UserError):
    pass


@strawberry.type(
    description="No discrepancy with this id is visible to the API key; its cause may be gone."
)
class DiscrepancyNotFound(UserError):
    pass


@strawberry.type(description="The reconciliation is closed: what is in it stays as it is.")
class ReconciliationClosed(UserError):
    pass


@strawberry.type(description="Something of the reconciliation is not dealt with.")
class ReconciliationIncomplete(UserError):
    proposed_matches: int = strawberry.field(description="How many matches wait for a word.")
    open_discrepancies: int = strawberry.field(description="How many discrepancies are open.")


@strawberry.type(description="A line or an entry is in a confirmed match: each counts once.")
class AlreadyMatched(UserError):
    match_id: strawberry.ID = strawberry.field(description="That match.")


@strawberry.type(description="The match is confirmed, or a resolution stands on it.")
class MatchConfirmed(UserError):
    match_id: strawberry.ID = strawberry.field(description="The match.")


@strawberry.type(
    description="The discrepancy is not open, or not resolved, as it would have to be."
)
class DiscrepancyStanding(UserError):
    discrepancy_id: strawberry.ID = strawberry.field(description="The discrepancy.")
    discrepancy_status: DiscrepancyStatus = strawberry.field(description="Where it stands.")


NewEntriesRefused = (
    LedgerNotFound
    | AccountNotOpen
    | LedgerArchived
    | PeriodClosed
    | EntryTooLarge
    | InsufficientFunds
    | CeilingExceeded
    | VelocityExceeded
)
"""What new entries may be refused for, whichever mutation makes them."""

MEMBERS: Mapping[type[Refusal], Any] = {
    kind: globals()[kind.__name__] for kind in refusals.PRECEDENCE
}
"""The type of each refusal bears its name."""


REASONS: Mapping[type[Refusal], type[Enum]] = {
    refusals.TransactionNotReversible: NotReversibleReason,
    refusals.SettlementNotPossible: SettlementNotPossibleReason,
    refusals.LotNotPossible: LotNotPossibleReason,
}


def render(refusal: Refusal) -> UserError:
    """The type that a refusal is shown as."""
    fields = {
        name: value for name, value in vars(refusal).items() if name not in ("message", "path")
    }
    if type(refusal) in REASONS:
        fields["reason"] = REASONS[type(refusal)](fields["reason"])
    match refusal:
        case refusals.EntriesUnbalanced():
            exponent = fields.pop("exponent")
            fields["currency"] = Currency(code=refusal.currency, exponent=exponent)
        case refusals.TransactionNotPending() | refusals.TransactionNotReversible():
            fields["transaction_status"] = TransactionStatus(refusal.transaction_status)
        case refusals.AccountNotOpen():
            fields["account_status"] = AccountStatus(refusal.account_status)
        case refusals.SettlementExceedsHold() | refusals.ReversalExceedsTransaction():
            fields["direction"] = Direction(refusal.direction.value)
        case refusals.AlreadyMatched() | refusals.MatchConfirmed():
            fields["match_id"] = encode(MATCH, refusal.match_id)
        case refusals.DiscrepancyStanding():
            fields["discrepancy_id"] = encode(DISCREPANCY, refusal.discrepancy_id)
            fields["discrepancy_status"] = DiscrepancyStatus(refusal.discrepancy_status)
        case refusals.VelocityExceeded(period=str(period)):
            fields["period"] = VelocityPeriod(period)
    error: UserError = MEMBERS[type(refusal)](
        code=ErrorCode[refusal.code],
        message=refusal.message,
        path=list(refusal.path),
        retryable=refusal.retryable,
        **fields,
    )
    return error


def answering(
    permission: Permission,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Make a resolver that writes: permission first, refusals as union members."""

    def wrap(resolve: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @wraps(resolve)
        async def answer(*args: P.args, **kwargs: P.kwargs) -> T:
            context = cast("Info", kwargs["info"]).context
            context.require(permission)
            try:
                return await resolve(*args, **kwargs)
            except Refusal as refusal:
                return render(refusal)  # type: ignore[return-value]
            finally:
                await context.renew()

        return answer

    return wrap


def required_id(prefix: str, text: str, *path: str) -> UUID:
    """Read an id of an input. Raises ValidationFailed where it cannot be one."""
    uuid = decode_as(prefix, text)
    if uuid is None:
        raise refusals.ValidationFailed(
            message=f"This is not an id of the kind {prefix}_….", path=("input", *path)
        )
    return uuid


def find_transaction(info: Info, transaction_id: UUID) -> Any:
    """Load the transaction of that id."""
    return info.context.load.one(rows.transactions_by_id, transaction_id, build=Transaction.of)
