"""Runs of reconciliations: asked for by people, done by a task.

A run may take long, so it is work for the task (`Runner`): a row of `reconciliation_runs` that is
not finished. All that a run does is one commit, which finishes the row too. So whoever is killed
leaves the run as it was, and whoever comes begins it anew; one process works at a time, as with
what falls due (`transactions/schedule.py`).
"""

from dataclasses import asdict, dataclass
from uuid import UUID

import psycopg
import structlog
from psycopg import errors
from uuid_utils.compat import uuid7

from app.ledger.accounts.state import Mode, Scope
from app.ledger.refusals import ReconciliationClosed, ReconciliationNotFound
from app.store.database import Connection, Database, all_rows, tenancy
from app.store.reconciliation.acts import FIND, Author, Kind, lock_open, tell
from app.store.reconciliation.matching.engine import Found, run
from app.store.shifts import Lock, Shift, describe

RUN_SECONDS = 1800.0
ATTEMPTS = 3

log = structlog.get_logger(__name__)


async def request_run(connection: Connection, author: Author, reconciliation_id: UUID) -> UUID:
    """Have a reconciliation run soon; one that waits already will do.

    Raises ReconciliationNotFound, ReconciliationClosed.
    """
    parameters = {"id": reconciliation_id, **tenancy(author.scope)}
    found = await all_rows(connection, FIND, parameters)
    if not found:
        raise ReconciliationNotFound
    ledger_id, status = found[0]
    if status == "closed":
        raise ReconciliationClosed
    asked = {
        "organization": author.scope.organization_id,
        "reconciliation": reconciliation_id,
        "ledger": ledger_id,
        "run": uuid7(),
        "api_key": author.api_key_id,
    }
    # Nothing comes back where somebody else's was added in between; the next look sees it.
    while not (waiting := await all_rows(connection, _REQUEST_RUN, asked)):
        pass
    return UUID(str(waiting[0][0]))


@dataclass(slots=True)
class Runner:
    """Does the runs that were asked for, on a shift; one that was cut off is begun anew."""

    database: Database
    poll_seconds: float

    def shift(self) -> Shift:
        return Shift(
            Lock.RECONCILIATIONS, self.database, self.work, self.poll_seconds, patience=RUN_SECONDS
        )

    async def work(self, connection: Connection) -> float:
        """Do them all; return when to look again."""
        for waiting in await all_rows(connection, _UNFINISHED, {}):
            await run_one(connection, *waiting)
        return self.poll_seconds


async def run_one(
    connection: Connection,
    organization_id: UUID,
    run_id: UUID,
    reconciliation_id: UUID,
    api_key_id: UUID,
    mode: str,
) -> Found | None:
    """Do one run on a connection in autocommit mode; None if it cannot be done, which it then says.

    Raises psycopg.Error in an outage: then the run is still to be done.
    """
    this = {"organization": organization_id, "run": run_id}
    author = Author(Scope(organization_id, Mode(mode)), api_key_id)
    await connection.execute(_BEGIN_RUN, this)
    failure = "closed"
    for _ in range(ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(_FOR_MANY_ROWS)
                subject = await lock_open(connection, author.scope, reconciliation_id)
                found = await run(connection, subject)
                details = {"run": str(run_id), **asdict(found)}
                await tell(connection, subject, author, Kind.RUN, None, details)
                await connection.execute(_END_RUN, {**this, **asdict(found)})
        except ReconciliationClosed:
            break
        except (errors.UniqueViolation, errors.DeadlockDetected, errors.LockNotAvailable) as fault:
            failure = type(fault).__name__
        except psycopg.Error as fault:
            if isinstance(fault, psycopg.OperationalError) and not isinstance(
                fault, errors.QueryCanceled
            ):
                raise
            failure = type(fault).__name__
            log.exception("reconciliation_failed", run=str(run_id), **describe(fault))
            break
        else:
            return found
    await connection.execute(_FAIL_RUN, {**this, "failure": failure})
    return None


# ---- statements ----------------------------------------------------------------------------------

_REQUEST_RUN = """
    WITH waiting AS (
        SELECT run_id FROM reconciliation_runs
        WHERE organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s
            AND status = 'waiting'
    ), added AS (
        INSERT INTO reconciliation_runs (organization_id, run_id, ledger_id, reconciliation_id,
            api_key_id, status, requested_at, confirmed, proposed, withdrawn, appeared, vanished)
        SELECT %(organization)s, %(run)s, %(ledger)s, %(reconciliation)s, %(api_key)s, 'waiting',
            now(), 0, 0, 0, 0, 0
        WHERE NOT EXISTS (SELECT FROM waiting)
        ON CONFLICT DO NOTHING
        RETURNING run_id
    )
    SELECT run_id FROM waiting UNION ALL SELECT run_id FROM added
"""
_FOR_MANY_ROWS = "SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)"
_UNFINISHED = """
    SELECT n.organization_id, n.run_id, n.reconciliation_id, n.api_key_id, l.mode
    FROM reconciliation_runs n
    JOIN ledgers l ON l.organization_id = n.organization_id AND l.ledger_id = n.ledger_id
    WHERE n.finished_at IS NULL
    ORDER BY n.requested_at, n.run_id
    LIMIT 10
"""
_BEGIN_RUN = """
    UPDATE reconciliation_runs SET status = 'running', started_at = now()
    WHERE organization_id = %(organization)s AND run_id = %(run)s AND finished_at IS NULL
"""
_END_RUN = """
    UPDATE reconciliation_runs SET status = 'completed', finished_at = clock_timestamp(),
        confirmed = %(confirmed)s, proposed = %(proposed)s, withdrawn = %(withdrawn)s,
        appeared = %(appeared)s, vanished = %(vanished)s
    WHERE organization_id = %(organization)s AND run_id = %(run)s
"""
_FAIL_RUN = """
    UPDATE reconciliation_runs SET status = 'failed', finished_at = now(), failure = %(failure)s
    WHERE organization_id = %(organization)s AND run_id = %(run)s
"""
