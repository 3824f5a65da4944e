"""Schedules of statements: every month of some accounts of a ledger, as it is over in a time zone.

A month begins at the first moment of its first day where the accounts' holders live. Months meet,
whatever clocks do at midnight: the end of one is the beginning of the next, to the microsecond.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from app.ledger.accounts.state import Scope
from app.ledger.refusals import ValidationFailed
from app.ledger.transactions.commands import MAX_KEY_LENGTH, Metadata, check_metadata, check_text

MAX_ACCOUNTS = 1000
"""How many accounts a schedule may name."""

FIRST_YEAR, LAST_YEAR = 1901, 2198

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class CreateStatementSchedule:
    """State every month from `starting_from` (its first day) on, as soon as it is over.

    Of the accounts named, or of those whose external id begins so, or of those whose metadata
    contain this; of all accounts of the ledger if nothing is given.
    """

    scope: Scope
    schedule_id: UUID
    ledger_id: UUID
    time_zone: str
    starting_from: date
    account_ids: tuple[UUID, ...] | None = None
    external_id_prefix: str | None = None
    account_metadata: Metadata | None = None

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        zone_of(self.time_zone)
        given = (self.account_ids, self.external_id_prefix, self.account_metadata)
        if sum(one is not None for one in given) > 1:
            raise ValidationFailed(
                message="Accounts are chosen by accountIds, by externalIdPrefix, or by metadata."
            )
        if self.account_ids is not None and not 1 <= len(self.account_ids) <= MAX_ACCOUNTS:
            raise ValidationFailed(
                message=f"A schedule names from 1 to {MAX_ACCOUNTS} accounts.",
                path=("input", "accountIds"),
            )
        check_text("externalIdPrefix", self.external_id_prefix, MAX_KEY_LENGTH)
        if self.account_metadata is not None:
            if not self.account_metadata:
                raise ValidationFailed(
                    message="Give metadata to look for.", path=("input", "metadata")
                )
            check_metadata(self.account_metadata, ("input", "metadata"))


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises ValidationFailed."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValidationFailed(
            message='There is no such time zone; names are such as "Europe/Paris".',
            path=("input", "timeZone"),
        ) from None


def read_month(text: str) -> date:
    """The first day of a month such as "2026-01". Raises ValidationFailed."""
    match = _MONTH.fullmatch(text)
    if match is None or not FIRST_YEAR <= int(match[1]) <= LAST_YEAR:
        raise ValidationFailed(
            message='A month is written as "2026-01".', path=("input", "startingFrom")
        )
    return date(int(match[1]), int(match[2]), 1)


def following(month: date) -> date:
    """The first day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def beginning(month: date, zone: ZoneInfo) -> datetime:
    """When the first day of a month begins there (UTC).

    Where clocks skip midnight, or have it twice, it is when they would first have shown it.
    """
    return datetime(month.year, month.month, 1, tzinfo=zone).astimezone(UTC)
