"""The writer: the only way that balances change.

One task in each process takes what is waiting, up to a limit, and runs it as one batch, that is one
commit. Groups that arrive while a batch is in flight form the next one; a lone group is a batch of
one and waits for nobody. So batches close at the pace of commits, and their size follows the load.
The limit is what lately went through in `BATCH_SECONDS`: a larger batch would save nothing, and
make everybody wait. What may wait is limited too, and shared fairly (`queue.py`).

Failure is answered in three steps. What may pass (a deadlock, a serialization failure, a lost
connection) is run again, a bounded number of times; idempotency keys make that safe even where the
lost connection leaves a commit in doubt, for the second run finds the keys of the first, and waits
on the ledger's lock while the first is still at work. A batch that keeps failing is then run group
by group, so that one poisonous group cannot fail its neighbours. What still fails alone is raised
to the caller: `Unavailable` when trying again later is right. In an outage of the database that is
the answer to the whole batch at once, lest a thousand wait for one another.

What has waited long is not run again in vain. A database that falls silent is an outage at once. A
lock that somebody holds for longer than its limit splits the batch by ledger: the others go
through, and who writes to that one is told to come again.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg import errors

from app.ledger.refusals import Refusal
from app.ledger.transactions.commands import Command, ExpireLot, PostTransaction, Task
from app.ledger.transactions.posting import Decision
from app.store.database import Database, Unavailable, within
from app.store.pipeline import Pipeline
from app.store.transactions.posting import Answer, Group, post
from app.store.transactions.queue import FairQueue

BATCH_SECONDS = 0.1
LEAST_ENTRIES = 100
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.05
PASSING = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.QueryCanceled,
    errors.UniqueViolation,
)
LASTING = (errors.ConnectionTimeout, errors.LockNotAvailable)
OUTAGES = (
    errors.CannotConnectNow,
    errors.TooManyConnections,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.ReadOnlySqlTransaction,
)

IN_DOUBT = (
    "The write was not taken, or its fate is unknown: send the same again, with the same"
    " idempotency key."
)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiting:
    group: Group
    answer: asyncio.Future[Answer]
    organization_id: UUID
    entries: int

    @property
    def given_up(self) -> bool:
        """Whether the client has gone."""
        return self.answer.done()


@dataclass(slots=True)
class Writer:
    """Takes groups of commands and answers each once it is committed or refused."""

    database: Database
    max_batch_entries: int
    max_waiting_entries: int
    on_written: Callable[[Sequence[Decision]], None] | None = None
    batches: int = 0
    _queue: FairQueue[_Waiting] = field(init=False)
    _limit: int = field(init=False)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False
    _pipeline: Pipeline | None = None
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._queue = FairQueue(self.max_waiting_entries)
        self._limit = self.max_batch_entries

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self) -> None:
        """Finish what is waiting, then close the connection."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        await self._disconnect()

    async def write(self, command: Command) -> Decision:
        """Run one command. Raises its Refusal, Overloaded among them, or Unavailable."""
        (decision,) = await self.write_together((command,))
        return decision

    async def write_together(self, commands: Sequence[Command]) -> list[Decision]:
        """Run commands all or none. Raises the Refusal of the first that is refused."""
        answer = await self.submit(commands)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    def submit(self, commands: Sequence[Task]) -> asyncio.Future[Answer]:
        """Queue one group of one organization; its commands must have passed their own `check`.

        Raises Overloaded, or Unavailable while the server ends.
        """
        if self._closing:
            raise Unavailable("The server is shutting down; send the same again.")
        group = Group(tuple(commands))
        waiting = _Waiting(
            group,
            asyncio.get_running_loop().create_future(),
            commands[0].scope.organization_id,
            group.entries,
        )
        self._queue.put(waiting)
        self._arrived.set()
        return waiting.answer

    async def _run(self) -> None:
        while self._queue or not self._closing:
            batch: list[_Waiting] = []
            try:
                await self._arrival()
                batch = self._queue.take(min(self._limit, self.max_batch_entries))
                for part in _apart(batch):
                    self.batches += 1
                    started = time.perf_counter()
                    await self._answer(part)
                    self._learn(part, time.perf_counter() - started)
            except Exception:
                await self._begin_anew(batch)
                log.exception("writer_failed")

    async def _arrival(self) -> None:
        while not self._queue and not self._closing:
            self._arrived.clear()
            await self._arrived.wait()

    async def _begin_anew(self, batch: Sequence[_Waiting]) -> None:
        """Answer all that wait; keep neither queue nor connection, whatever state they are in."""
        queue, self._queue = self._queue, FairQueue(self.max_waiting_entries)
        for waiting in (*batch, *queue):
            if not waiting.answer.done():
                waiting.answer.set_exception(Unavailable(IN_DOUBT))
        await self._disconnect()

    def _learn(self, batch: Sequence[_Waiting], seconds: float) -> None:
        """Let the limit of a batch follow what goes through in the time wanted."""
        entries = sum(waiting.entries for waiting in batch)
        if seconds > BATCH_SECONDS:
            fitting = entries * BATCH_SECONDS / seconds
            self._limit = int(max(fitting, self._limit / 2, LEAST_ENTRIES))
        elif entries > self._limit * 0.8:
            self._limit = min(int(self._limit * 1.25), self.max_batch_entries)

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._attempt([waiting.group for waiting in batch])
        except Exception as fault:  # noqa: BLE001  whatever it is, the caller must hear of it
            parts = _parts(batch, fault)
            if len(parts) > 1:
                log.warning("batch_split", size=len(batch), **_describe(fault))
                for part in parts:
                    if remaining := [waiting for waiting in part if not waiting.given_up]:
                        await self._answer(remaining)
                return
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(_for_caller(fault))
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if self.on_written and not isinstance(answer, Refusal) and not waiting.group.dry_run:
                self.on_written(answer)
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    async def _attempt(self, groups: list[Group]) -> list[Answer]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                pipeline = await self._connected()
                with within(pipeline.connection, self.database.silence_seconds):
                    return await post(pipeline, groups)
            except psycopg.Error as fault:
                if _is_outage(fault):  # the address may lead to another server by now
                    await self._disconnect()
                else:
                    await self._recover()
                if attempt == ATTEMPTS or not _may_pass(fault):
                    raise
                log.info("batch_retried", attempt=attempt, size=len(groups), **_describe(fault))
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
            except BaseException:
                await self._recover()
                raise
        raise AssertionError("unreachable")

    async def _connected(self) -> Pipeline:
        if self._pipeline is None or self._pipeline.connection.closed:
            self._pipeline = Pipeline(await self.database.connect())
        return self._pipeline

    async def _recover(self) -> None:
        """Leave no transaction open: roll back, or drop the connection."""
        if self._pipeline is None:
            return
        try:
            with within(self._pipeline.connection, self.database.silence_seconds):
                await self._pipeline.connection.rollback()
        except psycopg.Error:
            await self._disconnect()

    async def _disconnect(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            with suppress(psycopg.Error):
                await pipeline.connection.close()


def _apart(batch: list[_Waiting]) -> list[list[_Waiting]]:
    """The batch in its order, cut where a group has to be alone."""
    parts: list[list[_Waiting]] = []
    follows = False
    for waiting in batch:
        alone = waiting.group.alone
        if follows and not alone:
            parts[-1].append(waiting)
        else:
            parts.append([waiting])
        follows = not alone
    return parts


def _parts(batch: list[_Waiting], fault: Exception) -> list[list[_Waiting]]:
    """What to run by itself, so that what is at fault fails alone."""
    if _is_outage(fault):
        return [batch]
    if not isinstance(fault, errors.LockNotAvailable):
        return [[waiting] for waiting in batch]
    by_ledger: dict[frozenset[Any], list[_Waiting]] = {}
    for waiting in batch:
        by_ledger.setdefault(_ledgers(waiting.group), []).append(waiting)
    return list(by_ledger.values())


def _ledgers(group: Group) -> frozenset[Any]:
    """The ledgers of a group; a change of a hold does not name its own, only the tenant."""
    return frozenset(
        (
            command.scope.organization_id,
            command.ledger_id if isinstance(command, PostTransaction | ExpireLot) else None,
        )
        for command in group.commands
    )


def _is_outage(fault: Exception) -> bool:
    """Say whether the connection was lost or could not be had."""
    lost = isinstance(fault, psycopg.OperationalError) and fault.sqlstate is None
    return lost or isinstance(fault, OUTAGES)


def _may_pass(fault: psycopg.Error) -> bool:
    """Say whether to run the same again at once."""
    if isinstance(fault, LASTING):
        return False
    return _is_outage(fault) or isinstance(fault, PASSING)


def _for_caller(fault: Exception) -> Exception:
    if isinstance(fault, LASTING) or (isinstance(fault, psycopg.Error) and _may_pass(fault)):
        unavailable = Unavailable(IN_DOUBT)
        unavailable.__cause__ = fault
        return unavailable
    return fault


def _describe(fault: Exception) -> dict[str, str | None]:
    """What may be logged of a database fault: never its message, which quotes values."""
    return {"fault": type(fault).__name__, "sqlstate": getattr(fault, "sqlstate", None)}
