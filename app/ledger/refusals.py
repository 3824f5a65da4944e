"""Every reason to refuse a command: a closed list, in order of precedence.

A command that breaks several rules is refused for the first one in `PRECEDENCE`; the checks run in
this order. Codes are stable: clients branch on them. A refusal changes nothing, and its idempotency
key stays free for the corrected command.

`path` names the input field at fault, such as ("input", "entries", "0", "amount").
`retryable` says whether the very same command may succeed later without anybody changing it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from app.ledger.accounts.balances import Direction
from app.ledger.values import immutable

Path = tuple[str, ...]


@dataclass(eq=False, kw_only=True)
class Refusal(Exception):
    """A command was understood and refused; nothing has changed."""

    code: ClassVar[str]

    message: str
    path: Path = ("input",)

    @property
    def retryable(self) -> bool:
        """Say whether the very same command may succeed later."""
        return False

    def __str__(self) -> str:
        return self.message

    def under(self, *prefix: str) -> Self:
        """Say that the command stood deeper in the input, as the third of a batch does."""
        self.path = ("input", *prefix, *self.path[1:])
        return self


@dataclass(eq=False, kw_only=True)
class ValidationFailed(Refusal):
    """The input is malformed, whatever the books hold."""

    code = "VALIDATION_FAILED"


@dataclass(eq=False, kw_only=True)
class Overloaded(Refusal):
    """More is waiting to be written than can be answered soon."""

    code = "OVERLOADED"
    message: str = "Too much is waiting to be written; send the same again a little later."

    @property
    def retryable(self) -> bool:
        """Say that it may."""
        return True


@dataclass(eq=False, kw_only=True)
class LedgerNotFound(Refusal):
    """No ledger of that id is visible to this API key."""

    code = "LEDGER_NOT_FOUND"
    message: str = "No ledger with this id is visible to the API key."
    path: Path = ("input", "ledgerId")


@dataclass(eq=False, kw_only=True)
class TransactionNotFound(Refusal):
    """No transaction of that id is visible to this API key."""

    code = "TRANSACTION_NOT_FOUND"
    message: str = "No transaction with this id is visible to the API key."
    path: Path = ("input", "transactionId")


@dataclass(eq=False, kw_only=True)
class StatementScheduleNotFound(Refusal):
    """No schedule of statements of that id is visible to this API key."""

    code = "STATEMENT_SCHEDULE_NOT_FOUND"
    message: str = "No schedule of statements with this id is visible to the API key."
    path: Path = ("input", "scheduleId")


@dataclass(eq=False, kw_only=True)
class TemplateNotFound(Refusal):
    """The ledger has no transaction template of that code, or not that version of it."""

    code = "TEMPLATE_NOT_FOUND"
    message: str = "The ledger has no transaction template of this code and version."
    path: Path = ("input", "code")


@dataclass(eq=False, kw_only=True)
class TemplateArchived(Refusal):
    """The template is there and must not be used any more."""

    code = "TEMPLATE_ARCHIVED"
    message: str = "The transaction template is archived."
    path: Path = ("input", "code")


@dataclass(eq=False, kw_only=True)
class AccountNotFound(Refusal):
    """No account of that id is in the ledger."""

    code = "ACCOUNT_NOT_FOUND"
    message: str = "The ledger has no account with this id."
    path: Path = ("input", "accountId")


@dataclass(eq=False, kw_only=True)
class ExternalAccountNotFound(Refusal):
    """No external account of that id is visible to this API key."""

    code = "EXTERNAL_ACCOUNT_NOT_FOUND"
    message: str = "No external account with this id is visible to the API key."
    path: Path = ("input", "externalAccountId")


@dataclass(eq=False, kw_only=True)
class ReconciliationNotFound(Refusal):
    """No reconciliation of that id is visible to this API key."""

    code = "RECONCILIATION_NOT_FOUND"
    message: str = "No reconciliation with this id is visible to the API key."
    path: Path = ("input", "reconciliationId")


@dataclass(eq=False, kw_only=True)
class MatchNotFound(Refusal):
    """No match of that id is there any more, or visible to this API key."""

    code = "MATCH_NOT_FOUND"
    message: str = (
        "No match with this id is visible to the API key: an act or a run may have withdrawn it;"
        " read the matches of the reconciliation again."
    )
    path: Path = ("input", "matchId")


@dataclass(eq=False, kw_only=True)
class DiscrepancyNotFound(Refusal):
    """No discrepancy of that id is there any more, or visible to this API key."""

    code = "DISCREPANCY_NOT_FOUND"
    message: str = "No discrepancy with this id is visible to the API key; its cause may be gone."
    path: Path = ("input", "discrepancyId")


@dataclass(eq=False, kw_only=True)
class IdempotencyConflict(Refusal):
    """The key was used in this ledger for a command with another content."""

    code = "IDEMPOTENCY_CONFLICT"
    message: str = "The idempotency key was already used in this ledger with another input."
    path: Path = ("input", "idempotencyKey")
    transaction_id: UUID


@dataclass(eq=False, kw_only=True)
class StatementKeyTaken(Refusal):
    """The key was used in this ledger for the statement of another account or period."""

    code = "STATEMENT_KEY_TAKEN"
    message: str = "The idempotency key was already used in this ledger for another statement."
    path: Path = ("input", "idempotencyKey")
    statement_id: UUID


@dataclass(eq=False, kw_only=True)
class LedgerArchived(Refusal):
    """The ledger takes no more writes."""

    code = "LEDGER_ARCHIVED"
    message: str = "The ledger is archived and takes no more writes."
    path: Path = ("input", "ledgerId")


@dataclass(eq=False, kw_only=True)
class ReconciliationClosed(Refusal):
    """The reconciliation is closed: what is in it stays as it is."""

    code = "RECONCILIATION_CLOSED"
    message: str = "The reconciliation is closed; reopen it first."
    path: Path = ("input", "reconciliationId")


@dataclass(eq=False, kw_only=True)
class ReconciliationIncomplete(Refusal):
    """A reconciliation with proposals or open discrepancies is not closed as a matter of course."""

    code = "RECONCILIATION_INCOMPLETE"
    message: str = (
        "Confirm or reject what is proposed and deal with what is open first, or accept all that"
        " remains."
    )
    path: Path = ("input", "reconciliationId")
    proposed_matches: int
    open_discrepancies: int


@dataclass(eq=False, kw_only=True)
class AlreadyMatched(Refusal):
    """A line or an entry is in a confirmed match: each is accounted for once."""

    code = "ALREADY_MATCHED"
    message: str = "A line or an entry of it is in a confirmed match already."
    match_id: UUID


@dataclass(eq=False, kw_only=True)
class MatchConfirmed(Refusal):
    """A match that is confirmed, or that a resolution stands on, is not simply taken away."""

    code = "MATCH_CONFIRMED"
    path: Path = ("input", "matchId")
    match_id: UUID


@dataclass(eq=False, kw_only=True)
class DiscrepancyStanding(Refusal):
    """The discrepancy is not open, or not resolved, as it would have to be."""

    code = "DISCREPANCY_STANDING"
    path: Path = ("input", "discrepancyId")
    discrepancy_id: UUID
    discrepancy_status: str


@dataclass(eq=False, kw_only=True)
class PendingTransactionsRemain(Refusal):
    """A ledger with transactions in flight cannot be archived."""

    code = "PENDING_TRANSACTIONS_REMAIN"
    message: str = "Settle or void the pending transactions first."
    path: Path = ("input", "ledgerId")
    pending_transactions: int


@dataclass(eq=False, kw_only=True)
class NormalBalancesDiffer(Refusal):
    """No balanced pair of entries lowers the one account and raises the other."""

    code = "NORMAL_BALANCES_DIFFER"
    message: str = (
        "The accounts grow on different sides: a balanced pair of entries raises both or lowers"
        " both. Post the entries with postTransaction."
    )
    path: Path = ("input", "to")


@dataclass(eq=False, kw_only=True)
class PeriodClosed(Refusal):
    """The entries would take effect in a period of the ledger that is closed."""

    code = "PERIOD_CLOSED"
    path: Path = ("input", "effectiveAt")
    closed_through: datetime


@dataclass(eq=False, kw_only=True)
class HoldExpired(Refusal):
    """A hold is not settled at or after the moment at which it expires (UTC)."""

    code = "HOLD_EXPIRED"
    path: Path = ("input", "transactionId")
    transaction_id: UUID
    expires_at: datetime


@dataclass(eq=False, kw_only=True)
class TransactionNotPending(Refusal):
    """Only a pending transaction can be settled or voided."""

    code = "TRANSACTION_NOT_PENDING"
    path: Path = ("input", "transactionId")
    transaction_id: UUID
    transaction_status: str


@dataclass(eq=False, kw_only=True)
class TransactionNotReversible(Refusal):
    """There is nothing to reverse, or not this: why, as `reason` (see `NotReversibleReason`)."""

    code = "TRANSACTION_NOT_REVERSIBLE"
    path: Path = ("input", "transactionId")
    transaction_id: UUID
    transaction_status: str
    reason: str


@dataclass(eq=False, kw_only=True)
class SettlementNotPossible(Refusal):
    """The unsettled entries cannot be paid out; `reason` says why.

    See `statements/settlements.py`. `unsettled_amount` is their net on the account's normal side
    (minor units).
    """

    code = "SETTLEMENT_NOT_POSSIBLE"
    path: Path = ("input", "accountId")
    account_id: UUID
    reason: str
    unsettled_amount: int
    unsettled_count: int


@dataclass(eq=False, kw_only=True)
class LotNotPossible(Refusal):
    """An entry cannot open this credit lot; `reason` says why (see `_refuse_impossible_lots`)."""

    code = "LOT_NOT_POSSIBLE"
    account_id: UUID
    reason: str


@dataclass(eq=False, kw_only=True)
class EntriesUnbalanced(Refusal):
    """In one currency the debits differ from the credits (minor units)."""

    code = "ENTRIES_UNBALANCED"
    path: Path = ("input", "entries")
    currency: str
    exponent: int
    debits: int
    credits: int


@dataclass(eq=False, kw_only=True)
class SettlementExceedsHold(Refusal):
    """More is to be settled on an account than the hold has left there (minor units)."""

    code = "SETTLEMENT_EXCEEDS_HOLD"
    path: Path = ("input", "entries")
    account_id: UUID
    direction: Direction
    remaining: int
    requested: int


@dataclass(eq=False, kw_only=True)
class ReversalExceedsTransaction(Refusal):
    """More is to be reversed on an account than the transaction has left there (minor units)."""

    code = "REVERSAL_EXCEEDS_TRANSACTION"
    path: Path = ("input", "entries")
    account_id: UUID
    direction: Direction
    remaining: int
    requested: int


@dataclass(eq=False, kw_only=True)
class ExternalIdTaken(Refusal):
    """The external id belongs to another account or transaction of the ledger."""

    code = "EXTERNAL_ID_TAKEN"
    path: Path = ("input", "externalId")
    external_id: str


@dataclass(eq=False, kw_only=True)
class AccountNotOpen(Refusal):
    """The account is frozen or closed."""

    code = "ACCOUNT_NOT_OPEN"
    account_id: UUID
    account_status: str


@dataclass(eq=False, kw_only=True)
class AccountNotEmpty(Refusal):
    """An account is closed only with nothing posted (net) and nothing pending."""

    code = "ACCOUNT_NOT_EMPTY"
    message: str = "The account still has a posted or a pending balance."
    path: Path = ("input", "accountId")
    account_id: UUID


@dataclass(eq=False, kw_only=True)
class LotsRemain(Refusal):
    """Credit that is still to expire needs its ledger and its breakage account."""

    code = "LOTS_REMAIN"
    message: str = "There are open credit lots that have to expire or be spent first."
    open_lots: int


@dataclass(eq=False, kw_only=True)
class VersionConflict(Refusal):
    """The account has had other entries than the client last saw."""

    code = "VERSION_CONFLICT"
    account_id: UUID
    expected_version: int
    actual_version: int


@dataclass(eq=False, kw_only=True)
class EntryTooLarge(Refusal):
    """An entry is above its account's maximum (minor units)."""

    code = "ENTRY_MAXIMUM_EXCEEDED"
    account_id: UUID
    requested: int
    maximum: int


@dataclass(eq=False, kw_only=True)
class InsufficientFunds(Refusal):
    """The entry would take available below the account's floor (minor units)."""

    code = "INSUFFICIENT_FUNDS"
    account_id: UUID
    available: int
    required: int


@dataclass(eq=False, kw_only=True)
class CeilingExceeded(Refusal):
    """The entry would let the account come to more than its ceiling (minor units)."""

    code = "BALANCE_CEILING_EXCEEDED"
    account_id: UUID
    ceiling: int
    before: int
    after: int


@dataclass(eq=False, kw_only=True)
class VelocityExceeded(Refusal):
    """A limit on what goes out in a window of time has no room left (minor units, UTC).

    By `retry_at` it has room if nothing else goes out meanwhile; None if it never has.
    """

    code = "VELOCITY_EXCEEDED"
    account_id: UUID
    limit_name: str
    used_amount: int
    used_count: int
    requested_amount: int
    maximum_amount: int | None
    maximum_count: int | None
    window_seconds: int | None
    period: str | None
    time_zone: str | None
    retry_at: datetime | None

    @property
    def retryable(self) -> bool:
        """Say whether there is a time at which it would fit."""
        return self.retry_at is not None


@dataclass(eq=False, kw_only=True)
class ConditionFailed(Refusal):
    """A balance condition of an entry does not hold after that entry (minor units)."""

    code = "CONDITION_FAILED"
    account_id: UUID
    balance: str
    expected: str
    actual: int


@immutable
class RefusedAttempt:
    """The last time that something due was refused by a rule, and which attempt that was."""

    code: str
    message: str
    refused_at: datetime
    attempts: int


PRECEDENCE: tuple[type[Refusal], ...] = (
    ValidationFailed,
    Overloaded,
    LedgerNotFound,
    TransactionNotFound,
    ExternalAccountNotFound,
    ReconciliationNotFound,
    MatchNotFound,
    DiscrepancyNotFound,
    StatementScheduleNotFound,
    IdempotencyConflict,
    StatementKeyTaken,
    LedgerArchived,
    ReconciliationClosed,
    DiscrepancyStanding,
    MatchConfirmed,
    AlreadyMatched,
    ReconciliationIncomplete,
    PendingTransactionsRemain,
    TemplateNotFound,
    TemplateArchived,
    PeriodClosed,
    AccountNotFound,
    NormalBalancesDiffer,
    SettlementNotPossible,
    HoldExpired,
    TransactionNotPending,
    TransactionNotReversible,
    LotNotPossible,
    EntriesUnbalanced,
    SettlementExceedsHold,
    ReversalExceedsTransaction,
    ExternalIdTaken,
    AccountNotOpen,
    AccountNotEmpty,
    LotsRemain,
    VersionConflict,
    EntryTooLarge,
    InsufficientFunds,
    CeilingExceeded,
    VelocityExceeded,
    ConditionFailed,
)
