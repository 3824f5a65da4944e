"""Closing periods: from then on no entry is recorded that takes effect in them.

A ledger is closed through one moment, or not at all. Closing moves that moment forward and
reopening moves it back; where it already is as far, or farther, nothing changes, so either may be
sent twice. Only what is over can be closed: `through` lies before now. So what takes effect when it
is recorded, as the settling and voiding of holds does, never meets a closed period. What fell due
in a period that was closed before the server came round to it takes effect when it is recorded.
"""

from datetime import datetime
from enum import Enum
from uuid import UUID

from app.ledger.accounts.state import Ledger, Scope
from app.ledger.refusals import PeriodClosed, ValidationFailed
from app.ledger.times import written
from app.ledger.transactions.commands import MAX_DESCRIPTION_LENGTH, check_text
from app.ledger.values import immutable


class PeriodEventKind(Enum):
    """What happened to the closed past of a ledger."""

    CLOSED = "closed"
    REOPENED = "reopened"


@immutable
class MovePeriod:
    """Close a ledger through a moment (UTC), or reopen all that is later; None reopens all."""

    scope: Scope
    ledger_id: UUID
    kind: PeriodEventKind
    through: datetime | None
    reason: str | None
    api_key_id: UUID

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_text("reason", self.reason, MAX_DESCRIPTION_LENGTH, blank=True)


def moves(command: MovePeriod, closed_through: datetime | None, now: datetime) -> bool:
    """Say whether the command changes anything where so much is closed. Raises ValidationFailed."""
    through = command.through
    if command.kind is PeriodEventKind.REOPENED:
        return closed_through is not None and (through is None or through < closed_through)
    if through is not None and through >= now:
        raise ValidationFailed(
            message="Only a period that is over can be closed; this moment is yet to come.",
            path=("input", "through"),
        )
    return through is not None and (closed_through is None or through > closed_through)


def is_closed(ledger: Ledger, moment: datetime) -> bool:
    """Say whether nothing takes effect at that moment any more."""
    return ledger.closed_through is not None and moment <= ledger.closed_through


def refuse_closed(ledger: Ledger, effective_at: datetime) -> None:
    """Refuse an entry that would take effect in a closed period."""
    closed_through = ledger.closed_through
    if closed_through is not None and is_closed(ledger, effective_at):
        raise PeriodClosed(
            message=f"The ledger is closed through {written(closed_through)}; nothing takes"
            " effect by then any more.",
            closed_through=closed_through,
        )
