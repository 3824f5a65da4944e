"""What a piece of work on a reconciliation has in hand: its locked state, and its statements.

Amounts of lines and of entries are put in the same terms here: minor units of the account's
currency, positive on its normal side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from app.ledger.reconciliation.comparison import Rule
from app.store.database import Connection, Row, all_rows


@dataclass(frozen=True, slots=True)
class Subject:
    """A locked reconciliation, with what it takes to read lines and entries in the same terms."""

    organization_id: UUID
    reconciliation_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    account_id: UUID
    from_date: date
    through_date: date
    time_zone: str
    margin_days: int
    rules: tuple[Rule, ...]
    status: str
    last_event: int
    is_examined: bool
    sign: int  # of the outside's amounts on the account's normal side
    last_line: int
    normal_balance: str
    currency: str
    version: int
    starts_at: datetime
    ends_at: datetime  # the first moment after the days

    @property
    def parameters(self) -> dict[str, Any]:
        """What every statement may name."""
        return {
            "organization": self.organization_id,
            "reconciliation": self.reconciliation_id,
            "ledger": self.ledger_id,
            "external": self.external_account_id,
            "account": self.account_id,
            "from": self.from_date,
            "through": self.through_date,
            "zone": self.time_zone,
            "margin": self.margin_days,
            "sign": self.sign,
            "normal": self.normal_balance,
            "currency": self.currency,
            "version": self.version,
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
        }


AMOUNT_OF_LINE = (
    "CASE WHEN l.currency = %(currency)s THEN l.amount * %(sign)s::int4 ELSE 0 END::numeric"
)
AMOUNT_OF_ENTRY = "CASE WHEN e.direction = %(normal)s THEN e.amount ELSE -e.amount END"
POSTED = "e.amount > 0 AND e.effect IN ('post', 'settle')"


class Work:
    """One piece of work on a locked reconciliation, in one transaction.

    `paths` are the metadata paths of its rules, each once.
    """

    def __init__(self, connection: Connection, subject: Subject) -> None:
        self.connection = connection
        self.subject = subject
        self.paths = list(dict.fromkeys(r.metadata_path for r in subject.rules if r.metadata_path))
        self._parameters = subject.parameters | {
            f"path{n}": list(path) for n, path in enumerate(self.paths)
        }

    def path(self, rule: Rule) -> int:
        """The place of a rule's metadata path, from 1; 0 if it has none."""
        return self.paths.index(rule.metadata_path) + 1 if rule.metadata_path else 0

    async def do(self, statement: str, **parameters: Any) -> int:
        """Run a statement; how many rows it touched."""
        given = {**self._parameters, **parameters}
        cursor = await self.connection.execute(statement, given, prepare=False)
        return max(cursor.rowcount, 0)

    async def rows(self, statement: str, **parameters: Any) -> Sequence[Row]:
        """Run a statement; the rows that it gives."""
        given = {**self._parameters, **parameters}
        return await all_rows(self.connection, statement, given, prepare=False)

    async def analyze(self, *tables: str) -> None:
        """Let the planner know temporary tables as they are now."""
        await self.do(f"ANALYZE {', '.join(tables)}")
