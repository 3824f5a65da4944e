"""What a client can ask the writer for, checked as far as the input alone allows.

Commands are values. `fingerprint` is the identity of a command's content: it is stored with the
idempotency key for ever, so it must never change for an input that was valid once. It is therefore
a digest of canonical JSON that leaves out every field at its default; a field added later cannot
disturb the fingerprints of commands that do not use it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import Any
from uuid import UUID

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Account, Scope
from app.ledger.amounts import MAX_AMOUNT
from app.ledger.refusals import Path, ValidationFailed
from app.ledger.values import immutable

MAX_ENTRIES = 1000
MAX_KEY_LENGTH = 255
MAX_NAME_LENGTH = 255
MAX_DESCRIPTION_LENGTH = 2000
MAX_METADATA_BYTES = 16_384
MAX_METADATA_DEPTH = 8
MAX_METADATA_NUMBER = 2**63

Metadata = Mapping[str, Any]


class HoldReason(Enum):
    """What a hold is for, so that whoever meets it on an account knows why it is there."""

    PAYOUT = "payout"
    CHARGEBACK = "chargeback"
    RESERVE = "reserve"
    AUTHORIZATION = "authorization"
    CUSTOM = "custom"


_NONE: Mapping[str, Any] = {}
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_BUT_LAYOUT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@immutable
class AmountRange:
    """Bounds on an amount in minor units; those that are None do not bind."""

    gte: int | None = None
    gt: int | None = None
    lte: int | None = None
    lt: int | None = None
    eq: int | None = None

    def broken_by(self, amount: int) -> str | None:
        """The first bound that the amount breaks, such as ">= 100"; None when it keeps them."""
        if self.eq is not None and amount != self.eq:
            return f"= {self.eq}"
        if self.gte is not None and amount < self.gte:
            return f">= {self.gte}"
        if self.gt is not None and amount <= self.gt:
            return f"> {self.gt}"
        if self.lte is not None and amount > self.lte:
            return f"<= {self.lte}"
        if self.lt is not None and amount >= self.lt:
            return f"< {self.lt}"
        return None


@immutable
class BalanceCondition:
    """What must hold of the account's net balances right after the entry."""

    posted: AmountRange | None = None
    pending: AmountRange | None = None
    available: AmountRange | None = None
    projected: AmountRange | None = None


@immutable
class LotDraft:
    """A credit lot that an entry is to open: what is left of it at `expires_at` (UTC) goes away."""

    lot_id: UUID
    expires_at: datetime
    breakage_account_id: UUID
    code: str | None = None


@immutable
class EntryDraft:
    """One line to be recorded; `amount` in minor units, above zero.

    `account_version` is the version that the account must have before the whole transaction. With
    `lot` the amount is a credit lot of the account.
    """

    account_id: UUID
    direction: Direction
    amount: int
    metadata: Metadata = field(default_factory=dict)
    condition: BalanceCondition | None = None
    account_version: int | None = None
    lot: LotDraft | None = None


@immutable
class PostTransaction:
    """Record a transaction, posted at once or as a hold (`pending`). Times are UTC.

    Only a hold has a reason and times of its own: at `posts_at` it settles by itself, at
    `expires_at` what is left of it is released. Either may have passed already; then it is due at
    once.
    """

    scope: Scope
    transaction_id: UUID
    ledger_id: UUID
    idempotency_key: str
    entries: tuple[EntryDraft, ...]
    pending: bool = False
    description: str | None = None
    external_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    effective_at: datetime | None = None
    dry_run: bool = False
    reason: HoldReason | None = None
    posts_at: datetime | None = None
    expires_at: datetime | None = None

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_key(self.idempotency_key)
        check_text("externalId", self.external_id, MAX_KEY_LENGTH)
        check_text("description", self.description, MAX_DESCRIPTION_LENGTH, blank=True)
        check_metadata(self.metadata, ("input", "metadata"))
        if not 2 <= len(self.entries) <= MAX_ENTRIES:
            raise ValidationFailed(
                message=f"A transaction has from 2 to {MAX_ENTRIES} entries.",
                path=("input", "entries"),
            )
        for index, entry in enumerate(self.entries):
            check_amount(entry.amount, ("input", "entries", str(index), "amount"))
            check_metadata(entry.metadata, ("input", "entries", str(index), "metadata"))
            if entry.lot is not None:
                self._check_lot(entry.lot, ("input", "entries", str(index), "lot"))
        self._check_terms()

    def _check_lot(self, lot: LotDraft, path: Path) -> None:
        if self.pending:
            raise ValidationFailed(
                message="Only a transaction with the status POSTED opens credit lots.", path=path
            )
        try:
            check_text("code", lot.code, MAX_KEY_LENGTH)
        except ValidationFailed as refusal:
            refusal.path = (*path, "code")
            raise

    def _check_terms(self) -> None:
        given = {
            "reason": self.reason,
            "postsAt": self.posts_at,
            "expiresAt": self.expires_at,
        }
        for name, value in given.items():
            if value is not None and not self.pending:
                raise ValidationFailed(
                    message=f"Only a transaction with the status PENDING has {name}.",
                    path=("input", name),
                )
        if self.posts_at and self.expires_at and self.expires_at <= self.posts_at:
            raise ValidationFailed(
                message="expiresAt comes after postsAt, or the hold could never post by itself.",
                path=("input", "expiresAt"),
            )

    def resolved(self, accounts: Mapping[UUID, Account]) -> "PostTransaction":  # noqa: ARG002
        """The posting with its entries as they are to be recorded on these accounts.

        Raises the Refusal that it already knows of, when no earlier one applies.
        """
        return self

    def placed(self, path: Path) -> Path:
        """The field of the client's input that a path of a posting's input stands for."""
        return path

    def fingerprint(self) -> bytes:
        kind, subject = self._subject()
        return _digest(
            kind,
            {
                **subject,
                "pending": self.pending,
                "description": self.description,
                "externalId": self.external_id,
                "metadata": self.metadata,
                "effectiveAt": _canonical_time(self.effective_at),
                **(self._canonical_terms() if self.pending else _NONE),
            },
        )

    def _canonical_terms(self) -> dict[str, str | None]:
        return {
            "reason": self.reason and self.reason.value,
            "postsAt": _canonical_time(self.posts_at),
            "expiresAt": _canonical_time(self.expires_at),
        }

    def _subject(self) -> tuple[str, dict[str, Any]]:
        """What kind of command the client sent, and what in it says which entries to make."""
        return "postTransaction", {"entries": [_canonical_entry(entry) for entry in self.entries]}


@immutable
class SettleLine:
    """How much to settle, or to reverse, on one side of one account; `amount` in minor units."""

    account_id: UUID
    direction: Direction
    amount: int


@immutable
class SettleTransaction:
    """Post a hold: all that is left of it (`lines` is None), or the given part.

    `final` releases what remains afterwards.
    """

    scope: Scope
    transaction_id: UUID
    idempotency_key: str
    lines: tuple[SettleLine, ...] | None = None
    final: bool = True

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_key(self.idempotency_key)
        _check_lines("A settlement", self.lines)

    def fingerprint(self) -> bytes:
        return _digest(
            "settleTransaction",
            {
                "transactionId": self.transaction_id.hex,
                "entries": _canonical_lines(self.lines),
                "notFinal": not self.final,
            },
        )


@immutable
class VoidTransaction:
    """Release all that is left of a hold."""

    scope: Scope
    transaction_id: UUID
    idempotency_key: str
    description: str | None = None

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_key(self.idempotency_key)
        check_text("description", self.description, MAX_DESCRIPTION_LENGTH, blank=True)

    def fingerprint(self) -> bytes:
        return _digest(
            "voidTransaction",
            {"transactionId": self.transaction_id.hex, "description": self.description},
        )


@immutable
class ReverseTransaction:
    """Undo what a transaction posted by a new one, `reversal_id`, with the directions turned.

    All that is left to reverse (`lines` is None), or the given part; lines name the entries of the
    transaction as they are, by account and direction.
    """

    scope: Scope
    transaction_id: UUID
    reversal_id: UUID
    idempotency_key: str
    lines: tuple[SettleLine, ...] | None = None
    effective_at: datetime | None = None
    description: str | None = None
    metadata: Metadata = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_key(self.idempotency_key)
        check_text("description", self.description, MAX_DESCRIPTION_LENGTH, blank=True)
        check_metadata(self.metadata, ("input", "metadata"))
        _check_lines("A reversal", self.lines)

    def fingerprint(self) -> bytes:
        return _digest(
            "reverseTransaction",
            {
                "transactionId": self.transaction_id.hex,
                "entries": _canonical_lines(self.lines),
                "effectiveAt": _canonical_time(self.effective_at),
                "description": self.description,
                "metadata": self.metadata,
            },
        )


@immutable
class UpdateTransaction:
    """Correct the description or the metadata of a transaction; `changes` has the new values."""

    scope: Scope
    transaction_id: UUID
    idempotency_key: str
    changes: Mapping[str, Any]

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_key(self.idempotency_key)
        if not self.changes:
            raise ValidationFailed(message="Give a new description or new metadata.")
        if "metadata" in self.changes and self.changes["metadata"] is None:
            raise ValidationFailed(message="metadata cannot be null.", path=("input", "metadata"))
        check_text(
            "description", self.changes.get("description"), MAX_DESCRIPTION_LENGTH, blank=True
        )
        check_metadata(self.changes.get("metadata", {}), ("input", "metadata"))

    def fingerprint(self) -> bytes:
        return _digest(
            "updateTransaction",
            {"transactionId": self.transaction_id.hex, "changes": dict(self.changes)},
        )


@immutable
class RunDue:
    """Do what is due of a hold: the server's own command, sent when the time has come.

    It has no idempotency key: whether something is due follows from the hold as it stands, so that
    running it twice, or too early, does nothing.
    """

    scope: Scope
    transaction_id: UUID


@immutable
class ExpireLot:
    """Move what is free of a credit lot to its breakage account: the server's own command.

    It has no idempotency key either, and does nothing unless the lot is due. `transaction_id` is
    that of the transaction to make.
    """

    scope: Scope
    transaction_id: UUID
    ledger_id: UUID
    account_id: UUID
    lot_id: UUID
    breakage_account_id: UUID


Change = SettleTransaction | VoidTransaction | ReverseTransaction | UpdateTransaction
"""What a client asks of a transaction that is there."""

Command = PostTransaction | Change
"""What a client asks for."""

Task = Command | RunDue | ExpireLot
"""What there is to decide: a client's command, or the server's own."""


def check_together(postings: Sequence[PostTransaction]) -> None:
    """Refuse two contents under one key of a ledger: of those, not all could ever be recorded."""
    known: dict[tuple[UUID, str], PostTransaction] = {}
    for index, posting in enumerate(postings):
        first = known.setdefault((posting.ledger_id, posting.idempotency_key), posting)
        if first is not posting and first.fingerprint() != posting.fingerprint():
            raise ValidationFailed(
                message="Another transaction of the batch has this key and another input.",
                path=("input", "transactions", str(index), "idempotencyKey"),
            )


def check_key(key: str) -> None:
    """An idempotency key is 1 to 255 printable characters."""
    check_text("idempotencyKey", key, MAX_KEY_LENGTH)


def check_text(name: str, text: str | None, longest: int, *, blank: bool = False) -> None:
    """Refuse a text that is too long, blank (unless allowed), or holds control characters.

    Line breaks and tabs are welcome where blanks are, in descriptions.
    """
    if text is None:
        return
    path = ("input", name)
    if len(text) > longest:
        raise ValidationFailed(message=f"{name} has at most {longest} characters.", path=path)
    if not blank and not text.strip():
        raise ValidationFailed(message=f"{name} must not be blank.", path=path)
    if (_CONTROL_BUT_LAYOUT if blank else _CONTROL).search(text):
        raise ValidationFailed(message=f"{name} must not hold control characters.", path=path)


def check_amount(amount: int, path: Path) -> None:
    """An entry's amount is from 1 to 10^36 minor units; its direction says which way."""
    if not 0 < amount <= MAX_AMOUNT:
        raise ValidationFailed(
            message="An entry's amount is above zero and at most 10^36.", path=path
        )


def check_metadata(metadata: Metadata, path: Path) -> None:
    """Metadata is a JSON object of at most 16 KiB and 8 levels.

    Texts hold neither NUL nor lone surrogates, which PostgreSQL cannot store. Numbers stay below
    2^63 in size: readers of JSON disagree about larger ones, so those are written as strings.
    """
    if not metadata:
        return
    fault = _fault_in_json(metadata, MAX_METADATA_DEPTH)
    if (
        fault is None
        and len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES
    ):
        fault = f"is at most {MAX_METADATA_BYTES} bytes of JSON"
    if fault is not None:
        raise ValidationFailed(message=f"metadata {fault}.", path=path)


def _check_lines(what: str, lines: Sequence[SettleLine] | None) -> None:
    if lines is not None and not 2 <= len(lines) <= MAX_ENTRIES:
        raise ValidationFailed(
            message=f"{what} has from 2 to {MAX_ENTRIES} entries.", path=("input", "entries")
        )
    for index, line in enumerate(lines or ()):
        check_amount(line.amount, ("input", "entries", str(index), "amount"))


def _fault_in_json(value: Any, levels: int) -> str | None:
    if isinstance(value, str):
        return "must not hold NUL or lone surrogates" if _UNSTORABLE.search(value) else None
    if isinstance(value, int | float) and not abs(value) < MAX_METADATA_NUMBER:
        return "holds only numbers below 2^63; write larger ones as strings"
    if isinstance(value, Mapping):
        inner: list[Any] = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        inner = value
    else:
        return None
    if levels == 0:
        return f"is nested at most {MAX_METADATA_DEPTH} levels deep"
    return next((fault for item in inner if (fault := _fault_in_json(item, levels - 1))), None)


def _canonical_entry(entry: EntryDraft) -> list[Any]:
    line = [entry.account_id.hex, entry.direction._value_, str(entry.amount)]
    if not (entry.metadata or entry.condition or entry.lot) and entry.account_version is None:
        return line
    extra = {
        "metadata": entry.metadata,
        "condition": entry.condition and _canonical_condition(entry.condition),
        "accountVersion": None if entry.account_version is None else str(entry.account_version),
        "lot": entry.lot and _canonical_lot(entry.lot),
    }
    given = {name: value for name, value in extra.items() if value}
    return [*line, given] if given else line


def _canonical_lot(lot: LotDraft) -> list[str | None]:
    return [_canonical_time(lot.expires_at), lot.breakage_account_id.hex, lot.code]


def _canonical_lines(lines: Sequence[SettleLine] | None) -> list[list[str]] | None:
    if lines is None:
        return None
    return [[line.account_id.hex, line.direction.value, str(line.amount)] for line in lines]


def _canonical_condition(condition: BalanceCondition) -> dict[str, dict[str, str]]:
    ranges = {
        "posted": condition.posted,
        "pending": condition.pending,
        "available": condition.available,
        "projected": condition.projected,
    }
    return {
        name: {
            bound: str(value)
            for bound in ("gte", "gt", "lte", "lt", "eq")
            if (value := getattr(amounts, bound)) is not None
        }
        for name, amounts in ranges.items()
        if amounts is not None
    }


def _canonical_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def _digest(kind: str, content: dict[str, Any]) -> bytes:
    given = {name: value for name, value in content.items() if value}
    text = _CANONICAL.encode([kind, given])
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
