"""What `verify` looks for: each check has a stable name, a condition that must not hold, and words.

A pass reads rows once and puts several checks to each of them. The rows come from the tables alone
and nothing is taken on trust that keys and constraints promise: a check joins where a foreign key
would have refused, and counts where a unique key would have. Every join, group and window begins
with the organization, so a row that was moved to another tenant is a stranger wherever it is met.

A condition that is NULL has found nothing; where a side may be missing it says IS DISTINCT FROM.
"""

from collections.abc import Mapping
from types import MappingProxyType

from app.store.audit.invariants import (
    accounts,
    discrepancies,
    ledgers,
    lots,
    matches,
    outside,
    reconciliation,
    statements,
    templates,
    transactions,
)
from app.store.audit.invariants.checks import Pass, statement
from app.store.audit.invariants.statements import CONTENT

__all__ = ["CONTENT", "INVARIANT_OF", "PASSES", "statement"]

PASSES: tuple[Pass, ...] = (
    ledgers.LEDGERS,
    ledgers.CURRENCIES,
    accounts.ACCOUNTS,
    transactions.TRANSACTIONS,
    transactions.EVENTS,
    transactions.EVENT_CURRENCIES,
    transactions.HOLD_SIDES,
    transactions.REVERSED_SIDES,
    transactions.CORRECTIONS,
    transactions.TRANSACTION_LINES,
    accounts.ACCOUNT_LINES,
    accounts.VELOCITY_LIMITS,
    templates.TEMPLATES,
    templates.TEMPLATE_USES,
    ledgers.PERIODS,
    ledgers.CLOSED_PERIODS,
    accounts.KEPT_TOTALS,
    lots.CREDIT_LOTS,
    lots.LOTS_OF_ACCOUNTS,
    lots.LOT_MOVEMENTS,
    reconciliation.RECONCILIATIONS,
    reconciliation.RECONCILIATION_EVENTS,
    reconciliation.RECONCILIATION_RUNS,
    matches.MATCHES,
    matches.MATCH_MEMBERS,
    matches.REJECTIONS,
    discrepancies.DISCREPANCIES,
    statements.STATEMENTS,
    statements.STATEMENT_SCHEDULES,
    statements.SETTLEMENTS,
    statements.SETTLEMENT_ENTRIES,
    outside.EXTERNAL_ACCOUNTS,
    outside.EXTERNAL_STATEMENTS,
    outside.STATEMENT_LINES,
    outside.STATEMENT_LINE_REPEATS,
    outside.STATEMENT_IMPORTS,
)

INVARIANT_OF: Mapping[str, int] = MappingProxyType(
    {check.name: check.invariant for one in PASSES for check in one.checks}
    | {CONTENT.name: CONTENT.invariant}
)
"""Name of a violation: the number of the invariant in the design's list."""
