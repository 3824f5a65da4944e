"""Opening, changing and closing ledgers and accounts: the rules that hold no money.

`changes` holds only the fields that a client gave; a field given as None is cleared.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any
from uuid import UUID

from app.ledger.accounts.balances import Balances, Direction
from app.ledger.accounts.state import Account, AccountStatus, Scope
from app.ledger.accounts.velocities import Window, check_maxima
from app.ledger.amounts import MAX_AMOUNT
from app.ledger.refusals import (
    AccountNotEmpty,
    AccountNotOpen,
    CeilingExceeded,
    InsufficientFunds,
    LotsRemain,
    ValidationFailed,
)
from app.ledger.transactions.commands import (
    MAX_DESCRIPTION_LENGTH,
    MAX_KEY_LENGTH,
    MAX_NAME_LENGTH,
    Metadata,
    check_metadata,
    check_text,
)
from app.ledger.values import immutable

MAX_ACCOUNTS = 1000
MAX_EXPONENT = 36
_CODE = re.compile(r"[A-Z][A-Z0-9_.-]{0,23}", re.ASCII)


@immutable
class CreateLedger:
    """Open a ledger in the mode of the API key."""

    scope: Scope
    ledger_id: UUID
    name: str
    description: str | None = None
    metadata: Metadata = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValidationFailed where the input is wrong."""
        _check_labels({"name": self.name, "description": self.description}, self.metadata)


@immutable
class CreateAccount:
    """Open an account; `available_floor` in minor units, None for no floor.

    `exponent` says how many digits the minor unit lies behind the currency's unit, 0 to 36; `place`
    where the account stands in the input, if among others.
    """

    scope: Scope
    account_id: UUID
    ledger_id: UUID
    name: str
    normal_balance: Direction
    currency: str
    exponent: int
    external_id: str | None = None
    description: str | None = None
    available_floor: int | None = None
    balance_ceiling: int | None = None
    entry_maximum: int | None = None
    metadata: Metadata = field(default_factory=dict)
    place: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ValidationFailed where the input is wrong."""
        _check_labels({"name": self.name, "description": self.description}, self.metadata)
        check_text("externalId", self.external_id, MAX_KEY_LENGTH)
        check_floor(self.available_floor)
        if self.available_floor is not None and self.available_floor > 0:
            raise ValidationFailed(
                message="A new account has nothing available, so its floor is at most 0.",
                path=("input", "availableFloor"),
            )
        check_limits(self.balance_ceiling, self.entry_maximum)
        if self.balance_ceiling is not None and self.balance_ceiling < 0:
            raise ValidationFailed(
                message="A new account is at 0, so its ceiling is at least 0.",
                path=("input", "balanceCeiling"),
            )


@immutable
class Change:
    """New values of some labels (name, description, metadata) or limits."""

    scope: Scope
    changes: Mapping[str, Any]

    def check(self) -> None:
        """Raise ValidationFailed where the input is wrong."""
        for name in ("name", "metadata"):
            if name in self.changes and self.changes[name] is None:
                raise ValidationFailed(message=f"{name} cannot be null.", path=("input", name))
        _check_labels(self.changes, self.changes.get("metadata", {}))
        check_floor(self.changes.get("available_floor"))
        check_limits(self.changes.get("balance_ceiling"), self.changes.get("entry_maximum"))


@immutable
class SetVelocityLimit:
    """Limit what goes out of an account in a window; a limit of that name is replaced."""

    scope: Scope
    account_id: UUID
    name: str
    window: Window
    maximum_amount: int | None = None
    maximum_count: int | None = None

    def check(self) -> None:
        """Raise ValidationFailed where the input is wrong."""
        check_text("name", self.name, MAX_NAME_LENGTH)
        self.window.check()
        check_maxima(self.maximum_amount, self.maximum_count)


def check_currency(code: str, exponent: int) -> None:
    """Refuse a currency code or an exponent that no ledger could hold."""
    if _CODE.fullmatch(code) is None:
        raise ValidationFailed(
            message="A currency code is a capital letter and up to 23 of A-Z, 0-9, '_', '.', '-'.",
            path=("input", "currency"),
        )
    if not 0 <= exponent <= MAX_EXPONENT:
        raise ValidationFailed(
            message=f"An exponent is from 0 to {MAX_EXPONENT}.", path=("input", "exponent")
        )


def check_floor(floor: int | None) -> None:
    """Refuse a floor beyond 10^36 minor units either way."""
    if floor is not None and abs(floor) > MAX_AMOUNT:
        raise ValidationFailed(
            message="A floor is at most 10^36 minor units.", path=("input", "availableFloor")
        )


def check_limits(ceiling: int | None, maximum: int | None) -> None:
    """Refuse a ceiling or an entry maximum beyond what amounts can be."""
    if ceiling is not None and abs(ceiling) > MAX_AMOUNT:
        raise ValidationFailed(
            message="A ceiling is at most 10^36 minor units.", path=("input", "balanceCeiling")
        )
    if maximum is not None and not 0 < maximum <= MAX_AMOUNT:
        raise ValidationFailed(
            message="An entry maximum is above zero and at most 10^36.",
            path=("input", "entryMaximum"),
        )


def refuse_floor_above(account: Account, floor: int | None) -> None:
    """Refuse a floor that the account is below already."""
    if floor is not None and account.available < floor:
        raise InsufficientFunds(
            message=f"Available is {account.available}, below the new floor of {floor}.",
            path=("input", "availableFloor"),
            account_id=account.account_id,
            available=account.available,
            required=floor,
        )


def refuse_ceiling_below(account: Account, ceiling: int | None) -> None:
    """Refuse a ceiling that the account could come to more than already."""
    if ceiling is not None and ceiling < account.highest:
        raise CeilingExceeded(
            message=f"The account can come to {account.highest}, above the new ceiling of"
            f" {ceiling}.",
            path=("input", "balanceCeiling"),
            account_id=account.account_id,
            ceiling=ceiling,
            before=account.highest,
            after=account.highest,
        )


def frozen(account: Account) -> AccountStatus:
    """The status after freezing; freezing twice changes nothing."""
    _refuse_closed(account)
    return AccountStatus.FROZEN


def unfrozen(account: Account) -> AccountStatus:
    """The status after unfreezing; unfreezing twice changes nothing."""
    _refuse_closed(account)
    return AccountStatus.OPEN


def closed(account: Account, expiring: int) -> AccountStatus:
    """The status after closing, which needs posted to net to zero and nothing pending.

    `expiring` is how many open lots have it as their breakage account; there must be none.
    """
    totals: Balances = account.balances
    if (
        totals.pending_debits
        or totals.pending_credits
        or (totals.posted_debits != totals.posted_credits)
    ):
        raise AccountNotEmpty(account_id=account.account_id)
    if expiring:
        raise LotsRemain(path=("input", "accountId"), open_lots=expiring)
    return AccountStatus.CLOSED


def _refuse_closed(account: Account) -> None:
    if account.status is AccountStatus.CLOSED:
        raise AccountNotOpen(
            message="The account is closed for good.",
            path=("input", "accountId"),
            account_id=account.account_id,
            account_status=account.status.value,
        )


def _check_labels(texts: Mapping[str, Any], metadata: Metadata) -> None:
    check_text("name", texts.get("name"), MAX_NAME_LENGTH)
    check_text("description", texts.get("description"), MAX_DESCRIPTION_LENGTH, blank=True)
    check_metadata(metadata, ("input", "metadata"))
