"""Filters and orders of lists.

All conditions of a filter must hold. A field that takes a list holds where any of its values
matches; GraphQL lets a single value stand for a list of one.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import orjson
import strawberry

from app.api.enums import (
    AccountOrderField,
    AccountStatus,
    Direction,
    EntryOrderField,
    EntryStatus,
    HoldReason,
    OrderDirection,
    StatementLineOrderField,
    TransactionOrderField,
    TransactionStatus,
)
from app.api.errors import Code, CodedError
from app.api.ids import ACCOUNT, decode_as
from app.api.scalars import JSON, Amount, Date, DateTime
from app.ledger.refusals import ValidationFailed
from app.ledger.transactions.commands import check_metadata
from app.store.reading import Condition

MAX_VALUES = 100

EFFECTS = {
    EntryStatus.PENDING: ("hold",),
    EntryStatus.POSTED: ("post", "settle"),
    EntryStatus.VOIDED: ("release",),
}
"""The effects in the store that bring about an entry's status."""


def _bound(description: str) -> Any:
    return strawberry.field(description=description, default=None)


def _chosen(description: str, default: Enum) -> Any:
    return strawberry.field(description=description, default=default)


@strawberry.input(description="A range of time. Bounds that are left out do not bind.")
class TimeRange:
    gte: DateTime | None = _bound("At or after.")
    gt: DateTime | None = _bound("After.")
    lte: DateTime | None = _bound("At or before.")
    lt: DateTime | None = _bound("Before.")


@strawberry.input(
    description="A range of amounts in minor units. Bounds that are left out do not bind."
)
class AmountRange:
    gte: Amount | None = _bound("At least.")
    gt: Amount | None = _bound("More than.")
    lte: Amount | None = _bound("At most.")
    lt: Amount | None = _bound("Less than.")
    eq: Amount | None = _bound("Exactly.")


@strawberry.input(description="A range of days. Bounds that are left out do not bind.")
class DateRange:
    gte: Date | None = _bound("On or after.")
    gt: Date | None = _bound("After.")
    lte: Date | None = _bound("On or before.")
    lt: Date | None = _bound("Before.")


@strawberry.input(description="Which ledgers.")
class LedgerFilter:
    name: list[str] | None = _bound("The name is one of these.")
    archived: bool | None = _bound("Whether the ledger is archived.")
    created_at: TimeRange | None = _bound("When it was opened.")
    metadata: JSON | None = _bound("The metadata contains this object.")

    def conditions(self) -> list[Condition]:
        return [
            *_any("name", self.name),
            *_presence("archived_at", self.archived),
            *_range("created_at", self.created_at),
            *_contains(self.metadata),
        ]


@strawberry.input(description="Which accounts.")
class AccountFilter:
    external_id: list[str] | None = _bound("The external id is one of these.")
    name: list[str] | None = _bound("The name is one of these.")
    currency: list[str] | None = _bound("The currency code is one of these.")
    status: list[AccountStatus] | None = _bound("The status is one of these.")
    normal_balance: Direction | None = _bound("The side on which the account grows.")
    created_at: TimeRange | None = _bound("When the account was opened.")
    metadata: JSON | None = _bound("The metadata contains this object.")

    def conditions(self) -> list[Condition]:
        return [
            *_any("external_id", self.external_id),
            *_any("name", self.name),
            *_any("currency", self.currency),
            *_any("status", self.status),
            *_any("normal_balance", self.normal_balance and [self.normal_balance]),
            *_range("created_at", self.created_at),
            *_contains(self.metadata),
        ]


@strawberry.input(description="Which transactions.")
class TransactionFilter:
    status: list[TransactionStatus] | None = _bound("The status is one of these.")
    external_id: list[str] | None = _bound("The external id is one of these.")
    effective_at: TimeRange | None = _bound("When it happened in the world.")
    created_at: TimeRange | None = _bound("When it was recorded.")
    metadata: JSON | None = _bound("The metadata contains this object.")
    reason: list[HoldReason] | None = _bound("It is a hold, or was one, for one of these reasons.")
    reversal: bool | None = _bound("Whether it reverses another transaction.")

    def conditions(self) -> list[Condition]:
        return [
            *_any("status", self.status),
            *_any("external_id", self.external_id),
            *_any("reason", self.reason),
            *_presence("reverses_sequence", self.reversal),
            *_range("effective_at", self.effective_at),
            *_range("created_at", self.created_at),
            *_contains(self.metadata),
        ]


@strawberry.input(description="Which entries.")
class EntryFilter:
    status: list[EntryStatus] | None = _bound("The status is one of these.")
    direction: Direction | None = _bound("The side of the entry.")
    amount: AmountRange | None = _bound("The amount, in minor units.")
    currency: list[str] | None = _bound("The currency code is one of these.")
    account_id: list[strawberry.ID] | None = _bound("The account is one of these.")
    effective_at: TimeRange | None = _bound("When it happened in the world.")
    created_at: TimeRange | None = _bound("When it was recorded.")

    def conditions(self) -> list[Condition]:
        statuses = self.status
        effects = None if statuses is None else [e for status in statuses for e in EFFECTS[status]]
        accounts = self.account_id and [_account_id(text) for text in self.account_id]
        return [
            *_any("effect", effects),
            *_any("direction", self.direction and [self.direction]),
            *_range("amount", self.amount),
            *_any("currency", self.currency),
            *_any("account_id", accounts),
            *_range("effective_at", self.effective_at),
            *_range("recorded_at", self.created_at),
        ]


@strawberry.input(description="Which statement lines.")
class StatementLineFilter:
    booked_on: DateRange | None = _bound("The day of booking.")
    amount: AmountRange | None = _bound("The signed amount, in minor units.")
    currency: list[str] | None = _bound("The currency code is one of these.")
    reference: list[str] | None = _bound("The outside party's reference is one of these.")
    end_to_end_id: list[str] | None = _bound("The end-to-end id is one of these.")

    def conditions(self) -> list[Condition]:
        return [
            *_range("booked_on", self.booked_on),
            *_range("amount", self.amount),
            *_any("currency", self.currency),
            *_any("reference", self.reference),
            *_any("end_to_end_id", self.end_to_end_id),
        ]


@strawberry.input(description="In what order statement lines come.")
class StatementLineOrder:
    field: StatementLineOrderField = _chosen("What to order by.", StatementLineOrderField.NUMBER)
    direction: OrderDirection = _chosen("Which way.", OrderDirection.ASC)


@strawberry.input(description="In what order accounts come.")
class AccountOrder:
    field: AccountOrderField = _chosen("What to order by.", AccountOrderField.CREATED_AT)
    direction: OrderDirection = _chosen("Which way.", OrderDirection.ASC)


@strawberry.input(description="In what order entries come.")
class EntryOrder:
    field: EntryOrderField = _chosen("What to order by.", EntryOrderField.SEQUENCE)
    direction: OrderDirection = _chosen("Which way.", OrderDirection.ASC)


@strawberry.input(description="In what order transactions come.")
class TransactionOrder:
    field: TransactionOrderField = _chosen("What to order by.", TransactionOrderField.SEQUENCE)
    direction: OrderDirection = _chosen("Which way.", OrderDirection.ASC)


def any_of(field: str, values: Sequence[Any] | None) -> tuple[Condition, ...]:
    """What holds where a field has any of these values; members of an enumeration are words."""
    if values is None:
        return ()
    plain = (value.value if isinstance(value, Enum) else value for value in values)
    return (Condition(field, "any", tuple(plain)),)


def _account_id(text: str) -> Any:
    uuid = decode_as(ACCOUNT, text)
    if uuid is None:
        raise CodedError(Code.BAD_USER_INPUT, "filter.accountId: this is not the id of an account.")
    return uuid


def _any(field: str, values: Sequence[Any] | None) -> tuple[Condition, ...]:
    if values is not None and len(values) > MAX_VALUES:
        raise CodedError(Code.BAD_USER_INPUT, f"A filter takes up to {MAX_VALUES} values a field.")
    return any_of(field, values)


def _range(field: str, bounds: TimeRange | DateRange | AmountRange | None) -> Iterator[Condition]:
    if bounds is None:
        return
    if isinstance(bounds, AmountRange) and bounds.eq is not None:
        yield Condition(field, "any", (bounds.eq,))
    if bounds.gte is not None:
        yield Condition(field, "gte", bounds.gte)
    if bounds.gt is not None:
        yield Condition(field, "gt", bounds.gt)
    if bounds.lte is not None:
        yield Condition(field, "lte", bounds.lte)
    if bounds.lt is not None:
        yield Condition(field, "lt", bounds.lt)


def _presence(field: str, present: bool | None) -> Iterator[Condition]:
    if present is not None:
        yield Condition(field, "present" if present else "absent")


def _contains(metadata: JSON | None) -> Iterator[Condition]:
    if not metadata:
        return
    try:
        check_metadata(metadata, ())
    except ValidationFailed as refusal:
        raise CodedError(Code.BAD_USER_INPUT, f"filter.metadata: {refusal.message}") from None
    yield Condition("metadata", "contains", orjson.dumps(metadata).decode())
