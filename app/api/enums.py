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
