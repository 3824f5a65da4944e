"""What falls due: holds that expire or settle by themselves, credit lots that expire, statements.

A transaction or a lot with `due_at` is a piece of work, and the change that does it takes `due_at`
away, in one commit under the ledger's lock (`RunDue`, `ExpireLot`). So nothing has to be remembered
here, and nothing can be lost or done twice: whoever is killed leaves the piece as it was or done,
whoever comes finds what is due by asking the table, and what two try at once the second one finds
done.

One process works at a time (`shifts`); should two, nothing comes of it.

A pass goes once through all that is due, holds and then lots, oldest first, a bounded number at a
time, and does one step of each schedule of statements whose month is over
(`statements/schedules.py`); so a piece that fails over and over neither stops the others nor is
tried more than once a pass. Between passes the task sleeps until the next piece is due, at most for
the interval after which it looks for pieces that others have added. In an outage of the database,
or when the writer is overloaded, it waits and goes on.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.ledger.accounts.state import Mode, Scope
from app.ledger.refusals import Overloaded
from app.ledger.transactions.commands import ExpireLot, RunDue
from app.ledger.transactions.posting import Deferred, Postponed
from app.store.database import Connection, Database, Unavailable, all_rows
from app.store.shifts import Lock, Shift, describe
from app.store.statements.schedules import (
    FIND_DUE_SCHEDULES,
    NEXT_DUE_SCHEDULE,
    DueSchedule,
    run_step,
)
from app.store.transactions.posting import Answer
from app.store.transactions.writer import Writer

IN_FLIGHT = 100
NO_PIECE = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0), UUID(int=0))

FIND_DUE_HOLDS = """
    SELECT t.due_at, t.organization_id, t.transaction_id, l.mode
    FROM transactions t
    JOIN ledgers l ON l.organization_id = t.organization_id AND l.ledger_id = t.ledger_id
    WHERE t.due_at IS NOT NULL AND t.due_at <= statement_timestamp()
        AND (t.due_at, t.organization_id, t.transaction_id) > (%s, %s, %s)
    ORDER BY t.due_at, t.organization_id, t.transaction_id
    LIMIT %s
"""

FIND_DUE_LOTS = """
    SELECT v.due_at, v.organization_id, v.lot_id, l.mode, v.ledger_id, v.account_id,
        v.breakage_account_id
    FROM credit_lots v
    JOIN ledgers l ON l.organization_id = v.organization_id AND l.ledger_id = v.ledger_id
    WHERE v.due_at IS NOT NULL AND v.due_at <= statement_timestamp()
        AND (v.due_at, v.organization_id, v.lot_id) > (%s, %s, %s)
    ORDER BY v.due_at, v.organization_id, v.lot_id
    LIMIT %s
"""

NEXT_DUE = f"""
    SELECT extract(epoch FROM least(
        (SELECT due_at FROM transactions WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1),
        (SELECT due_at FROM credit_lots WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1),
        ({NEXT_DUE_SCHEDULE})
    ) - statement_timestamp())::float8
"""  # noqa: S608  all of it is ours

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Due:
    """A piece of work, and its place in a pass."""

    due_at: datetime
    organization_id: UUID
    subject: UUID
    command: RunDue | ExpireLot

    @property
    def place(self) -> tuple[datetime, UUID, UUID]:
        return self.due_at, self.organization_id, self.subject


def _hold(due_at: datetime, organization_id: UUID, transaction_id: UUID, mode: str) -> _Due:
    command = RunDue(Scope(organization_id, Mode(mode)), transaction_id)
    return _Due(due_at, organization_id, transaction_id, command)


def _lot(
    due_at: datetime,
    organization_id: UUID,
    lot_id: UUID,
    mode: str,
    ledger_id: UUID,
    account_id: UUID,
    breakage_account_id: UUID,
) -> _Due:
    scope = Scope(organization_id, Mode(mode))
    command = ExpireLot(scope, uuid7(), ledger_id, account_id, lot_id, breakage_account_id)
    return _Due(due_at, organization_id, lot_id, command)


@dataclass(slots=True)
class Schedule:
    """Does what is due, on a shift."""

    database: Database
    writer: Writer
    poll_seconds: float

    def shift(self) -> Shift:
        return Shift(Lock.SCHEDULE, self.database, self.work, self.poll_seconds)

    async def work(self, connection: Connection) -> float:
        """Try all that is due; return when to look again."""
        if await self._pass(connection):
            return self.poll_seconds
        ((seconds,),) = await all_rows(connection, NEXT_DUE)
        return self.poll_seconds if seconds is None else min(max(seconds, 0), self.poll_seconds)

    async def _pass(self, connection: Connection) -> int:
        """Try all that is due by now once; return how many pieces failed."""
        holds = await self._pass_through(connection, FIND_DUE_HOLDS, _hold)
        lots = await self._pass_through(connection, FIND_DUE_LOTS, _lot)
        return holds + lots + await self._pass_through_schedules(connection)

    async def _pass_through_schedules(self, connection: Connection) -> int:
        place = NO_PIECE
        failed = 0
        while True:
            found = await all_rows(connection, FIND_DUE_SCHEDULES, (*place, IN_FLIGHT))
            for row in found:
                failed += await run_step(self.database, connection, DueSchedule._make(row))
            if len(found) < IN_FLIGHT:
                return failed
            place = found[-1][:3]

    async def _pass_through(
        self, connection: Connection, find: str, due: Callable[..., _Due]
    ) -> int:
        place = NO_PIECE
        failed = 0
        while True:
            found = await all_rows(connection, find, (*place, IN_FLIGHT))
            pieces = [due(*row) for row in found]
            answers = await asyncio.gather(*map(self._do, pieces), return_exceptions=True)
            failed += _report(pieces, answers)
            if len(pieces) < IN_FLIGHT:
                return failed
            place = pieces[-1].place

    async def _do(self, piece: _Due) -> Answer:
        return await self.writer.submit((piece.command,))


def _report(pieces: Sequence[_Due], answers: Sequence[Answer | BaseException]) -> int:
    """Log what did not go through, and count what has to be tried again at once."""
    failed = 0
    for piece, answer in zip(pieces, answers, strict=True):
        if isinstance(answer, list) and isinstance(answer[0], Postponed | Deferred):
            refused = answer[0].refused
            if refused is not None:
                log.info("due_work_refused", subject=str(piece.subject), code=refused.code)
        elif isinstance(answer, BaseException):
            failed += 1
            if not isinstance(answer, Unavailable | Overloaded):
                log.error("due_work_failed", subject=str(piece.subject), **describe(answer))
    return failed
