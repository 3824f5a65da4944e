"""What acts on a reconciliation have in common: who acts, a reason, what is shown after it."""

from typing import Any

from app.api.engine.context import Info
from app.api.reconciliation.types import Reconciliation, find_reconciliation
from app.ledger.reconciliation import comparison as domain
from app.store.reconciliation.acts import Author


def author(info: Info) -> Author:
    """Whoever holds the API key."""
    principal = info.context.principal
    return Author(principal.scope, principal.api_key_id)


async def show(info: Info, reconciliation_id: Any) -> Reconciliation:
    """The reconciliation as it is after the act."""
    await info.context.renew()
    shown: Reconciliation = await find_reconciliation(info.context, reconciliation_id)
    return shown


def check_reason(reason: str | None) -> None:
    """Raise ValidationFailed if there is a reason that cannot be kept."""
    if reason is not None:
        domain.check_reason(reason)
