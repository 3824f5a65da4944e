r"""Account statements: what one says, and the bytes that prove that it still says it.

A statement is of one account and a half-open period of effective time, as known at one moment of
the ledger. It is a value of these facts alone, all of which stay as they are for ever:

    lines         the entries that moved posted, took effect in [from, to) and were recorded by the
                  account's version at that moment, in order of effective time, then of sequence
    opening       what all such entries before `from` come to; closing is opening and the lines
    adjustments   where a statement of the period before it was made earlier: the entries to before
                  `from` that became known between the two, so that
                  opening = closing of that one + adjustments, exactly

An entry that is recorded later changes nothing of it. It is listed as a late adjustment beside the
statement, and among the adjustments of the next one.

Names and descriptions can be corrected later; a statement has them as they were. So the files that
a holder downloads next year are, byte for byte, those of today.

The content hash is SHA-256 over the records of the JSON file: each of `adjustments`, each of
`lines`, then `statement`, each as canonical JSON (keys sorted, no white space, UTF-8 unescaped) and
a line feed:

    for record in [*file["adjustments"], *file["lines"], file["statement"]]:
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest.update(text.encode() + b"\n")

`statement` has in it the ledger sequence and the account version that it was made at, and the
number and the hash of the one before it, so each one also vouches for those before.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from app.ledger.accounts.balances import STEPS, Direction
from app.ledger.accounts.state import Scope
from app.ledger.amounts import decimal_text
from app.ledger.refusals import ValidationFailed
from app.ledger.times import written
from app.ledger.transactions.commands import check_key
from app.ledger.values import immutable

FORMAT = "ledgers-statement-1"

POSTED_EFFECTS = tuple(effect.value for effect, (on_posted, _) in STEPS.items() if on_posted)
"""The effects of entries that move posted."""

Record = Mapping[str, Any]
"""A part of a statement as it is hashed: texts, small numbers, None, and such one level below."""

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@immutable
class CreateStatement:
    """State an account from `from_at` until right before `to_at` (UTC, effective time)."""

    scope: Scope
    statement_id: UUID
    account_id: UUID
    from_at: datetime
    to_at: datetime
    idempotency_key: str | None = None
    scheduled: bool = False

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        if self.idempotency_key is not None:
            check_key(self.idempotency_key)
        if self.to_at <= self.from_at:
            raise ValidationFailed(message="A period ends after it begins.", path=("input", "to"))

    def check_over(self, now: datetime) -> None:
        """Raise ValidationFailed unless the period is over."""
        if self.to_at > now:
            raise ValidationFailed(
                message="A period is stated when it is over; `to` is in the future.",
                path=("input", "to"),
            )


class Statement(NamedTuple):
    """A statement's own facts, as they are stored. Totals in minor units, times UTC."""

    statement_id: UUID
    ledger_id: UUID
    account_id: UUID
    number: int
    from_at: datetime
    to_at: datetime
    account_version: int
    ledger_sequence: int
    known_at: datetime
    previous_number: int | None
    organization_name: str
    ledger_name: str
    account_name: str
    opening_debits: int
    opening_credits: int
    closing_debits: int
    closing_credits: int
    line_count: int
    content_hash: bytes
    scheduled: bool
    created_at: datetime
    normal_balance: str
    currency: str
    exponent: int
    external_id: str | None
    previous_hash: bytes | None
    previous_version: int | None

    @property
    def opening(self) -> int:
        """The opening balance on the account's normal side."""
        return net(self.normal_balance, self.opening_debits, self.opening_credits)

    @property
    def closing(self) -> int:
        """The closing balance on the account's normal side."""
        return net(self.normal_balance, self.closing_debits, self.closing_credits)


class Line(NamedTuple):
    """A line, or with `position` 0 an adjustment; `debits` and `credits` are totals after it."""

    sequence: int
    effective_at: datetime
    recorded_at: datetime
    transaction_id: UUID
    external_id: str | None
    description: str | None
    direction: str
    amount: int
    position: int
    debits: int
    credits: int


def net(normal_balance: str, debits: int, credits_: int) -> int:
    """What totals come to on the account's normal side."""
    return debits - credits_ if normal_balance == Direction.DEBIT.value else credits_ - debits


def line_record(statement: Statement, line: Line) -> Record:
    """A line, with the balance after it."""
    balance = net(statement.normal_balance, line.debits, line.credits)
    return {
        "position": line.position,
        **_entry_record(statement, line),
        "balance": decimal_text(balance, statement.exponent),
    }


def adjustment_record(statement: Statement, line: Line) -> Record:
    """An entry of an earlier period that had not been known."""
    return _entry_record(statement, line)


def _entry_record(statement: Statement, line: Line) -> Record:
    return {
        "entrySequence": str(line.sequence),
        "effectiveAt": written(line.effective_at),
        "recordedAt": written(line.recorded_at),
        "transactionId": f"txn_{line.transaction_id.hex}",
        "externalId": line.external_id,
        "description": line.description,
        "direction": line.direction.upper(),
        "amount": decimal_text(line.amount, statement.exponent),
    }


def statement_record(statement: Statement) -> Record:
    """All of a statement but its entries."""
    previous = None
    if statement.previous_number is not None and statement.previous_hash is not None:
        previous = {
            "number": statement.previous_number,
            "contentHash": statement.previous_hash.hex(),
        }
    return {
        "format": FORMAT,
        "id": f"stmt_{statement.statement_id.hex}",
        "number": statement.number,
        "organization": statement.organization_name,
        "ledgerId": f"ldgr_{statement.ledger_id.hex}",
        "ledger": statement.ledger_name,
        "accountId": f"acct_{statement.account_id.hex}",
        "account": statement.account_name,
        "accountExternalId": statement.external_id,
        "normalBalance": statement.normal_balance.upper(),
        "currency": statement.currency,
        "exponent": statement.exponent,
        "from": written(statement.from_at),
        "to": written(statement.to_at),
        "ledgerSequence": str(statement.ledger_sequence),
        "accountVersion": str(statement.account_version),
        "knownAt": written(statement.known_at),
        "previous": previous,
        "opening": _totals(statement, statement.opening_debits, statement.opening_credits),
        "closing": _totals(statement, statement.closing_debits, statement.closing_credits),
        "debits": decimal_text(
            statement.closing_debits - statement.opening_debits, statement.exponent
        ),
        "credits": decimal_text(
            statement.closing_credits - statement.opening_credits, statement.exponent
        ),
        "count": statement.line_count,
    }


def _totals(statement: Statement, debits: int, credits_: int) -> Record:
    return {
        "debits": decimal_text(debits, statement.exponent),
        "credits": decimal_text(credits_, statement.exponent),
        "balance": decimal_text(
            net(statement.normal_balance, debits, credits_), statement.exponent
        ),
    }


def canonical(record: Record) -> bytes:
    """A record's one spelling."""
    return _CANONICAL.encode(record).encode()


class ContentHash:
    """Takes the records in their order; see the module's head."""

    def __init__(self) -> None:
        self._digest = sha256()

    def add(self, record: Record) -> None:
        self._digest.update(canonical(record) + b"\n")

    def value(self) -> bytes:
        return self._digest.digest()
