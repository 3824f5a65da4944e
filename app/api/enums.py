"""Enumerations of the API. Their values are the words that the store keeps."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import strawberry


def value(word: str, description: str) -> Any:
    """A member: strawberry puts the word in the definition's place."""
    return strawberry.enum_value(word, description=description)


E = TypeVar("E", bound=Enum)


def by_word(kind: type[E]) -> Mapping[str, E]:
    """The members by their words; a quicker way than to call the enumeration."""
    return {member.value: member for member in kind}


@strawberry.enum(description="A side of an entry; also the side on which an account grows.")
class Direction(Enum):
    DEBIT = value("debit", description="The left side.")
    CREDIT = value("credit", description="The right side.")


DIRECTIONS = by_word(Direction)


@strawberry.enum(
    description="Live money, or a test beside it. A key of one mode never sees the other."
)
class Mode(Enum):
    LIVE = value("live", description="Real money.")
    TEST = value("test", description="Play money, kept apart.")


@strawberry.enum(description="Whether an account takes entries.")
class AccountStatus(Enum):
    OPEN = value("open", description="Takes entries.")
    FROZEN = value("frozen", description="Takes no new entries and no settlements until unfrozen.")
    CLOSED = value("closed", description="Takes no entries any more; empty for good.")


@strawberry.enum(description="Where a transaction stands.")
class TransactionStatus(Enum):
    PENDING = value("pending", description="A hold: some of it is neither settled nor released.")
    POSTED = value("posted", description="Done: posted at once, or a hold settled.")
    VOIDED = value("voided", description="A hold released without anything settled.")


@strawberry.enum(description="How a new transaction starts.")
class PostingStatus(Enum):
    POSTED = value("posted", description="Posted at once.")
    PENDING = value("pending", description="As a hold, to be settled or voided later.")


@strawberry.enum(description="The state that an entry brought about for its amount.")
class EntryStatus(Enum):
    PENDING = value("pending", description="Held: counts as pending.")
    POSTED = value("posted", description="Posted, at once or by settling a hold.")
    VOIDED = value("voided", description="Released from a hold: counts no longer.")


@strawberry.enum(description="What a hold is for.")
class HoldReason(Enum):
    PAYOUT = value("payout", description="Money on its way out to its owner.")
    CHARGEBACK = value("chargeback", description="Disputed; it may have to be given back.")
    RESERVE = value("reserve", description="Kept back as a security.")
    AUTHORIZATION = value("authorization", description="Promised to a payee, to be captured.")
    CUSTOM = value("custom", description="Something else; the description may tell.")


REASONS: Mapping[str | None, HoldReason | None] = {None: None} | dict(by_word(HoldReason))


@strawberry.enum(description="Why a transaction cannot be reversed.")
class NotReversibleReason(Enum):
    NOT_POSTED = value("not_posted", description="It is pending or voided.")
    IS_REVERSAL = value("is_reversal", description="It is itself a reversal.")
    FULLY_REVERSED = value("fully_reversed", description="All of it has been reversed.")
    PART_OF_SETTLEMENT = value(
        "part_of_settlement", description="The payout of a settlement is reversed as a whole."
    )


@strawberry.enum(description="Why unsettled entries cannot be paid out.")
class SettlementNotPossibleReason(Enum):
    NOTHING_UNSETTLED = value("nothing_unsettled", description="There are none by then.")
    NOTHING_TO_PAY = value(
        "nothing_to_pay", description="They come to zero or less; they stay for a later settlement."
    )
    TOO_MANY_ENTRIES = value(
        "too_many_entries", description="There are more than one settlement collects."
    )
    AMOUNT_TOO_LARGE = value(
        "amount_too_large", description="They come to more than an entry can have."
    )


@strawberry.enum(description="Why an entry cannot open a credit lot.")
class LotNotPossibleReason(Enum):
    NOT_ON_NORMAL_SIDE = value(
        "not_on_normal_side", description="The entry takes from the account."
    )
    BREAKAGE_IS_SAME_ACCOUNT = value(
        "breakage_is_same_account", description="What expires has to leave the account."
    )
    BREAKAGE_IN_OTHER_CURRENCY = value(
        "breakage_in_other_currency", description="The breakage account has another currency."
    )
    EXPIRES_TOO_EARLY = value(
        "expires_too_early",
        description="expiresAt is not in the future, or not after the entry's effective time.",
    )


@strawberry.enum(description="Where a credit lot stands.")
class CreditLotState(Enum):
    OPEN = value("open", description="Something is left of it.")
    SPENT = value("spent", description="All of it was spent.")
    EXPIRED = value("expired", description="Nothing is left, and some of it expired.")


@strawberry.enum(description="How something left a credit lot.")
class LotMovementKind(Enum):
    SPENT = value("spent", description="By an entry against the account's normal side.")
    EXPIRED = value("expired", description="To the breakage account, when its time had come.")


@strawberry.enum(description="What happened to a transaction.")
class TransactionEventKind(Enum):
    POSTED = value("posted", description="It was posted at once.")
    HELD = value("held", description="It was created as a hold.")
    SETTLED = value("settled", description="The hold was settled, in whole or in part.")
    VOIDED = value("voided", description="What was left of the hold was released.")
    MATURED = value("matured", description="The hold settled by itself, at postsAt.")
    EXPIRED = value("expired", description="What was left was released by itself, at expiresAt.")
    UPDATED = value("updated", description="The description or the metadata was corrected.")
    LOT_EXPIRED = value("lot_expired", description="It was posted as a credit lot expired.")


@strawberry.enum(description="What an API key may do. Each includes those before it.")
class Permission(Enum):
    READ = value("read", description="Query.")
    WRITE = value(
        "write", description="Post, settle, void, reverse, correct; open and change accounts."
    )
    ADMIN = value(
        "admin",
        description=(
            "Open, change and archive ledgers, close and reopen their periods; freeze, unfreeze and"
            " close accounts; make and archive transaction templates."
        ),
    )


@strawberry.enum(description="How a batch of transactions hangs together.")
class BatchMode(Enum):
    ATOMIC = value("atomic", description="All or none.")
    INDEPENDENT = value("independent", description="Each by itself; refusals fail no neighbour.")


@strawberry.enum(description="What the values of a template's parameter are.")
class TemplateParameterKind(Enum):
    AMOUNT = value(
        "amount",
        description='Minor units as an Amount, such as "1250"; not below 0 unless allowed.',
    )
    INTEGER = value("integer", description='A whole number: 250, or "250".')
    ACCOUNT = value("account", description="The id of an account of the ledger.")
    TEXT = value("text", description="A text of 1 to 255 characters.")


@strawberry.enum(description="Which way a list runs.")
class OrderDirection(Enum):
    ASC = value("asc", description="Smallest or oldest first.")
    DESC = value("desc", description="Largest or newest first.")


@strawberry.enum(description="What accounts can be ordered by.")
class AccountOrderField(Enum):
    CREATED_AT = value("created_at", description="When the account was opened.")
    NAME = value("name", description="The name, by Unicode code points.")


@strawberry.enum(description="What transactions can be ordered by.")
class TransactionOrderField(Enum):
    SEQUENCE = value("sequence", description="Commit order.")
    EFFECTIVE_AT = value("effective_at", description="When it happened in the world.")


@strawberry.enum(description="What entries can be ordered by.")
class EntryOrderField(Enum):
    SEQUENCE = value("sequence", description="The order in which they were recorded.")
    EFFECTIVE_AT = value(
        "effective_at", description="When it happened in the world; then as they were recorded."
    )


@strawberry.enum(description="What happened to the closed past of a ledger.")
class PeriodEventKind(Enum):
    CLOSED = value("closed", description="It was closed through a later moment.")
    REOPENED = value("reopened", description="Part of it, or all, was opened again.")


@strawberry.enum(description="The length of a step of a balance history, in the given time zone.")
class Interval(Enum):
    HOUR = value("hour", description="A clock hour.")
    DAY = value("day", description="A calendar day.")
    WEEK = value("week", description="A week from Monday.")
    MONTH = value("month", description="A calendar month.")


@strawberry.enum(description="A calendar period in which a velocity limit counts.")
class VelocityPeriod(Enum):
    DAY = value("day", description="A calendar day.")
    WEEK = value("week", description="A week from Monday.")
    MONTH = value("month", description="A calendar month.")


@strawberry.enum(description="Whose books an external account is in.")
class ExternalAccountKind(Enum):
    BANK = value("bank", description="A bank's.")
    ACQUIRER = value("acquirer", description="Those of who collects card payments for us.")
    PARTNER = value("partner", description="A business partner's.")
    OTHER = value("other", description="Somebody else's.")


@strawberry.enum(description="What a statement comes as.")
class StatementFormat(Enum):
    CSV = value("csv", description="Text in cells, read by an import profile.")
    CAMT_053 = value("camt.053", description="ISO 20022 BankToCustomerStatement.")
    CAMT_054 = value("camt.054", description="ISO 20022 BankToCustomerDebitCreditNotification.")
    MT940 = value("mt940", description="SWIFT's customer statement message.")
    OFX = value("ofx", description="Open Financial Exchange, 1.x or 2.x.")
    ROWS = value("rows", description="Rows of the mutation importStatement.")


@strawberry.enum(description="How far an import has come.")
class ImportStatus(Enum):
    IMPORTING = value("importing", description="It is being read; nothing is stored yet.")
    COMPLETED = value("completed", description="All of it is stored.")
    RECOGNISED = value(
        "recognised", description="The same was stored before, by `original`; nothing is new."
    )
    FAILED = value("failed", description="Nothing of it is stored; `failure` says why.")


@strawberry.enum(description="Why a file was not imported.")
class ImportFailureCode(Enum):
    MALFORMED = value("malformed", description="It is not what its format wants.")
    OTHER_ACCOUNT = value(
        "other_account", description="It is of another account than the `identification` says."
    )
    TOO_LARGE = value("too_large", description="It is larger than such a file may be.")
    INTERRUPTED = value(
        "interrupted", description="It did not come to its end, or the server did; send it again."
    )
    REFUSED = value("refused", description="The external account takes no statements any more.")
    FAULT = value("fault", description="A fault of the server's; try again later.")


@strawberry.enum(description="What the lines of an external account can be ordered by.")
class StatementLineOrderField(Enum):
    NUMBER = value("number", description="As they came in.")
    BOOKED_ON = value("booked_on", description="The day of booking; then as they came in.")


@strawberry.enum(
    description="Why a mutation was refused. Of several reasons the first of this list is named."
)
class ErrorCode(Enum):
    VALIDATION_FAILED = value(
        "VALIDATION_FAILED", description="The input is malformed, whatever the books hold."
    )
    OVERLOADED = value(
        "OVERLOADED", description="Too much is waiting to be written; try again a little later."
    )
    LEDGER_NOT_FOUND = value(
        "LEDGER_NOT_FOUND", description="No such ledger is visible to the API key."
    )
    TRANSACTION_NOT_FOUND = value(
        "TRANSACTION_NOT_FOUND", description="No such transaction is visible to the API key."
    )
    EXTERNAL_ACCOUNT_NOT_FOUND = value(
        "EXTERNAL_ACCOUNT_NOT_FOUND",
        description="No such external account is visible to the API key.",
    )
    RECONCILIATION_NOT_FOUND = value(
        "RECONCILIATION_NOT_FOUND", description="No such reconciliation is visible to the API key."
    )
    MATCH_NOT_FOUND = value(
        "MATCH_NOT_FOUND", description="No such match is visible to the API key any more."
    )
    DISCREPANCY_NOT_FOUND = value(
        "DISCREPANCY_NOT_FOUND",
        description="No such discrepancy is visible to the API key any more.",
    )
    STATEMENT_SCHEDULE_NOT_FOUND = value(
        "STATEMENT_SCHEDULE_NOT_FOUND",
        description="No such schedule of statements is visible to the API key.",
    )
    IDEMPOTENCY_CONFLICT = value(
        "IDEMPOTENCY_CONFLICT", description="The idempotency key was used with another input."
    )
    STATEMENT_KEY_TAKEN = value(
        "STATEMENT_KEY_TAKEN",
        description="The idempotency key was used for another statement.",
    )
    LEDGER_ARCHIVED = value("LEDGER_ARCHIVED", description="The ledger takes no more writes.")
    RECONCILIATION_CLOSED = value(
        "RECONCILIATION_CLOSED", description="The reconciliation is closed: it stays as it is."
    )
    DISCREPANCY_STANDING = value(
        "DISCREPANCY_STANDING", description="The discrepancy is not in the state for this."
    )
    MATCH_CONFIRMED = value(
        "MATCH_CONFIRMED", description="The match is confirmed, or a resolution stands on it."
    )
    ALREADY_MATCHED = value(
        "ALREADY_MATCHED", description="A line or an entry is in a confirmed match."
    )
    RECONCILIATION_INCOMPLETE = value(
        "RECONCILIATION_INCOMPLETE",
        description="The reconciliation has proposals or open discrepancies.",
    )
    PENDING_TRANSACTIONS_REMAIN = value(
        "PENDING_TRANSACTIONS_REMAIN", description="The ledger has transactions in flight."
    )
    TEMPLATE_NOT_FOUND = value(
        "TEMPLATE_NOT_FOUND", description="The ledger has no such transaction template."
    )
    TEMPLATE_ARCHIVED = value(
        "TEMPLATE_ARCHIVED", description="The transaction template is archived."
    )
    PERIOD_CLOSED = value(
        "PERIOD_CLOSED", description="It would take effect in a period that is closed."
    )
    ACCOUNT_NOT_FOUND = value("ACCOUNT_NOT_FOUND", description="The ledger has no such account.")
    NORMAL_BALANCES_DIFFER = value(
        "NORMAL_BALANCES_DIFFER",
        description="The accounts of a transfer do not grow on the same side.",
    )
    SETTLEMENT_NOT_POSSIBLE = value(
        "SETTLEMENT_NOT_POSSIBLE", description="The unsettled entries cannot be paid out."
    )
    HOLD_EXPIRED = value("HOLD_EXPIRED", description="The hold has expired.")
    TRANSACTION_NOT_PENDING = value(
        "TRANSACTION_NOT_PENDING", description="The transaction is posted or voided already."
    )
    TRANSACTION_NOT_REVERSIBLE = value(
        "TRANSACTION_NOT_REVERSIBLE",
        description="The transaction is not posted, is itself a reversal, or is fully reversed.",
    )
    LOT_NOT_POSSIBLE = value("LOT_NOT_POSSIBLE", description="The entry cannot open a credit lot.")
    ENTRIES_UNBALANCED = value(
        "ENTRIES_UNBALANCED", description="Debits differ from credits in a currency."
    )
    SETTLEMENT_EXCEEDS_HOLD = value(
        "SETTLEMENT_EXCEEDS_HOLD", description="The hold has less left."
    )
    REVERSAL_EXCEEDS_TRANSACTION = value(
        "REVERSAL_EXCEEDS_TRANSACTION", description="The transaction has less left to reverse."
    )
    EXTERNAL_ID_TAKEN = value(
        "EXTERNAL_ID_TAKEN", description="The external id belongs to another object of the ledger."
    )
    ACCOUNT_NOT_OPEN = value("ACCOUNT_NOT_OPEN", description="An account is frozen or closed.")
    ACCOUNT_NOT_EMPTY = value(
        "ACCOUNT_NOT_EMPTY", description="The account has a posted or a pending balance."
    )
    LOTS_REMAIN = value(
        "LOTS_REMAIN",
        description="Open credit lots would have no ledger or breakage account to expire in.",
    )
    VERSION_CONFLICT = value(
        "VERSION_CONFLICT", description="An account has had other entries than the client last saw."
    )
    ENTRY_MAXIMUM_EXCEEDED = value(
        "ENTRY_MAXIMUM_EXCEEDED", description="An entry is above the account's entry maximum."
    )
    INSUFFICIENT_FUNDS = value(
        "INSUFFICIENT_FUNDS", description="Available would fall below the account's floor."
    )
    BALANCE_CEILING_EXCEEDED = value(
        "BALANCE_CEILING_EXCEEDED",
        description="The account could come to more than its ceiling.",
    )
    VELOCITY_EXCEEDED = value(
        "VELOCITY_EXCEEDED",
        description="A velocity limit of the account has no room for more in its window.",
    )
    CONDITION_FAILED = value(
        "CONDITION_FAILED", description="A balance condition does not hold after its entry."
    )


@strawberry.enum(description="Whether a reconciliation can be worked on.")
class ReconciliationStatus(Enum):
    OPEN = value("open", description="Takes runs, matches and resolutions.")
    CLOSED = value("closed", description="Frozen.")


@strawberry.enum(description="How far a run has come.")
class ReconciliationRunStatus(Enum):
    WAITING = value("waiting", description="It has not begun.")
    RUNNING = value("running", description="It is under way.")
    COMPLETED = value("completed", description="All that it found is there.")
    FAILED = value("failed", description="It ended without any result.")


@strawberry.enum(description="Whether a match holds.")
class MatchStatus(Enum):
    PROPOSED = value("proposed", description="It waits for confirmation.")
    CONFIRMED = value("confirmed", description="It holds.")


@strawberry.enum(description="What brought a match about.")
class MatchOrigin(Enum):
    RULE = value("rule", description="A rule of the reconciliation.")
    MANUAL = value("manual", description="Somebody, by matchManually.")
    RESOLUTION = value("resolution", description="The resolution of a discrepancy, or its undoing.")


@strawberry.enum(description="Where a statement line stands in a reconciliation.")
class LineState(Enum):
    MATCHED = value("matched", description="A confirmed match has it.")
    PROPOSED = value("proposed", description="A proposed match has it.")
    UNMATCHED = value("unmatched", description="No match has it.")


@strawberry.enum(description="What does not agree.")
class DiscrepancyKind(Enum):
    MISSING_IN_LEDGER = value("missing_in_ledger", description="A line that no entry stands for.")
    MISSING_IN_STATEMENT = value(
        "missing_in_statement", description="An entry that no line stands for."
    )
    AMOUNT_MISMATCH = value(
        "amount_mismatch", description="The lines of a match are more or less than its entries."
    )
    DATE_MISMATCH = value(
        "date_mismatch",
        description="A match by reference of days farther apart than its rule says.",
    )
    DUPLICATE_LINE = value(
        "duplicate_line", description="A line that says again what another one says."
    )
    DUPLICATE_ENTRY = value(
        "duplicate_entry", description="An entry whose line another entry is matched with."
    )
    CURRENCY_MISMATCH = value(
        "currency_mismatch",
        description="A line in another currency than the account; it counts as nothing.",
    )
    BALANCE_MISMATCH = value(
        "balance_mismatch", description="Balances as stated that lines and entries do not explain."
    )


@strawberry.enum(description="What a step of the bridge is: a kind of discrepancies, or none.")
class BridgeItemKind(Enum):
    BROUGHT_FORWARD = value(
        "brought_forward",
        description="What the closed reconciliation before ended with, unless matched since.",
    )
    TIMING_DIFFERENCE = value(
        "timing_difference",
        description="Matches with one side in the days and the other before or after.",
    )
    MISSING_IN_LEDGER = value("missing_in_ledger", description="A line that no entry stands for.")
    MISSING_IN_STATEMENT = value(
        "missing_in_statement", description="An entry that no line stands for."
    )
    AMOUNT_MISMATCH = value(
        "amount_mismatch", description="The lines of a match are more or less than its entries."
    )
    DATE_MISMATCH = value(
        "date_mismatch",
        description="A match by reference of days farther apart than its rule says.",
    )
    DUPLICATE_LINE = value(
        "duplicate_line", description="A line that says again what another one says."
    )
    DUPLICATE_ENTRY = value(
        "duplicate_entry", description="An entry whose line another entry is matched with."
    )
    CURRENCY_MISMATCH = value(
        "currency_mismatch",
        description="A line in another currency than the account; it counts as nothing.",
    )
    BALANCE_MISMATCH = value(
        "balance_mismatch", description="Balances as stated that lines and entries do not explain."
    )


@strawberry.enum(description="Where a discrepancy stands.")
class DiscrepancyStatus(Enum):
    OPEN = value("open", description="Nobody has dealt with it.")
    ACCEPTED = value("accepted", description="It is known and stays; it counts in the bridge.")
    RESOLVED = value("resolved", description="A transaction took it out of the books.")


@strawberry.enum(description="How a discrepancy was dealt with.")
class ResolutionKind(Enum):
    ACCEPTED = value("accepted", description="As it is.")
    ADJUSTED = value("adjusted", description="By an adjusting transaction.")
    WRITTEN_OFF = value("written_off", description="By a transaction against an expense.")


@strawberry.enum(description="What happened to a reconciliation.")
class ReconciliationEventKind(Enum):
    CREATED = value("created", description="It was opened.")
    RUN = value("run", description="A run looked for matches.")
    CONFIRMED = value("confirmed", description="Proposals were confirmed.")
    REJECTED = value("rejected", description="Proposals were rejected.")
    MATCHED = value("matched", description="Lines and entries were matched by hand.")
    UNMATCHED = value("unmatched", description="A match was taken away.")
    RESOLVED = value("resolved", description="A discrepancy was resolved or accepted.")
    RESOLUTION_UNDONE = value("resolution_undone", description="A discrepancy was opened again.")
    CLOSED = value("closed", description="It was closed.")
    REOPENED = value("reopened", description="It was reopened.")


@strawberry.enum(description="How a rule looks for matches.")
class RuleKind(Enum):
    REFERENCE = value("reference", description="A line and an entry of one reference.")
    AMOUNT_AND_DATE = value(
        "amount_and_date", description="Of one amount, some days apart at most."
    )
    AMOUNT_AND_TEXT = value(
        "amount_and_text", description="Of one amount, some days apart at most, and alike in text."
    )
    ONE_LINE_TO_MANY_ENTRIES = value(
        "one_line_to_many_entries", description="A line, and entries that come to it together."
    )
    MANY_LINES_TO_ONE_ENTRY = value(
        "many_lines_to_one_entry", description="Lines that come to an entry together."
    )
    REVERSED_ENTRIES = value(
        "reversed_entries", description="Entries of a transaction and of its reversals, of no line."
    )


@strawberry.enum(description="A reference that a statement line has.")
class LineField(Enum):
    REFERENCE = value("reference", description="The outside's own reference.")
    END_TO_END_ID = value("end_to_end_id", description="Ours, that travelled with the payment.")
    DESCRIPTION_WORD = value("description_word", description="Any word of the description.")


@strawberry.enum(description="A reference that an entry has.")
class EntryField(Enum):
    EXTERNAL_ID = value("external_id", description="Its transaction's external id.")
    IDEMPOTENCY_KEY = value(
        "idempotency_key", description="The key under which the entry was brought about."
    )
    METADATA = value(
        "metadata", description="A value in its metadata, or else in its transaction's."
    )
