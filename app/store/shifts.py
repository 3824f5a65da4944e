"""Work in the background that one process does for all: whoever has the lock is on shift.

It would be a waste if every process did the same work, so each kind of it has an advisory lock,
which belongs to a session. When its process dies the session ends, the lock is free, and another
process has it at its next try. The lock guards no promise: should two work for a moment, what they
do must bear it.

In an outage of the database, and after any other fault, the shift waits, longer each time, and
begins anew with a session of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

import psycopg
import structlog

from app.store.database import Connection, Database

LONGEST_PAUSE_SECONDS = 10.0

# Lest a machine that vanished keep the lock for hours.
KEEP_ALIVE = """
    SELECT set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
"""

log = structlog.get_logger(__name__)


class Lock(IntEnum):
    """The advisory lock of each kind of work. (`migrate.py` has 5_138_008_554_137_001.)"""

    SCHEDULE = 5_138_008_554_137_002
    RECONCILIATIONS = 5_138_008_554_137_003
    SEALING = 5_138_008_554_137_004


@dataclass(slots=True)
class Shift:
    """A task that works, or stands by while another process does.

    `work` does what there is to do, on a session in autocommit mode, and returns for how many
    seconds to pause then. `patience` is the session's, see `Database.connect`.
    """

    lock: Lock
    database: Database
    work: Callable[[Connection], Awaitable[float]]
    poll_seconds: float
    patience: float | None = None
    _pause: float = 0.0
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.lock.name.lower())

    async def stop(self) -> None:
        """Stop at once: what was not done by now stays to be done."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        self._pause = self.poll_seconds
        while True:
            try:
                await self._stand_by_and_work()
            except Exception as fault:  # noqa: BLE001  whatever it is, the work must go on later
                name = self.lock.name.lower()
                log.warning("work_waits", work=name, seconds=self._pause, **describe(fault))
                await asyncio.sleep(self._pause)
                self._pause = min(self._pause * 2, max(LONGEST_PAUSE_SECONDS, self.poll_seconds))

    async def _stand_by_and_work(self) -> None:
        take = f"SELECT pg_try_advisory_lock({self.lock.value})"
        async with await self.database.connect(patience=self.patience) as connection:
            await connection.execute(KEEP_ALIVE)
            while not (await (await connection.execute(take)).fetchall())[0][0]:  # noqa: ASYNC110
                await asyncio.sleep(self.poll_seconds)
            while True:
                seconds = await self.work(connection)
                self._pause = self.poll_seconds
                await asyncio.sleep(seconds)


def describe(fault: BaseException) -> dict[str, str | None]:
    """What may be logged of a fault: never its message, which may quote values."""
    sqlstate = fault.sqlstate if isinstance(fault, psycopg.Error) else None
    return {"fault": type(fault).__name__, "sqlstate": sqlstate}
