"""Kept totals: what an account's entries come to by effective time, at a cost that does not grow.

Time is cut into spans, 16 of them in each span of the next level: at level 0 a span is a
microsecond, at level 15 the whole of time. For every `CHUNK` entries of an account, each span that
they fall into gets a row with what the account's entries up to there come to in it. A span is split
from the row on in which it has more than `CHUNK` entries: only then do the 16 spans in it have rows
of their own. So a quiet account has few rows, a busy one as many as it takes, and wherever a moment
falls, the finest kept span around it has few entries that must be looked at one by one, be they a
minute's or all of the same midnight.

With that, the totals as of an effective time, and as known at a recorded time, are the sum of
three (`history.py`), each bounded whatever the length of the history: kept spans wholly before the
time, entries of the one span around it, and the entries since the chunk. (As known before much was
backdated into that one span, the keys of what was recorded later are passed over one by one.)

Rows follow from the entries alone, which never change. They are added after the entries, a chunk in
one transaction and chunks in order, by whichever process had the hint that a chunk is full. Two
that do the same wait for each other at the first row, and the second finds nothing to add. A lost
hint costs speed until the next one comes, for then all that is missing is added. No posting waits.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from app.ledger.accounts.balances import STEPS, Balances, Direction
from app.ledger.transactions.posting import Decision, Recorded
from app.store.database import Connection, Database, all_rows

CHUNK = 1000
"""How many entries a roll-up takes, and how many a span may have before it is split."""

IDLE_SECONDS = 5.0
"""How long a connection is kept for what may become due."""

TOP = 15
"""The level at which one span is the whole of time."""

BITS = 4
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

log = structlog.get_logger(__name__)


def ticks(moment: datetime) -> int:
    """Microseconds since the beginning of the year 1."""
    return (moment - BEGINNING) // _MICROSECOND


TICKS = "((extract(epoch FROM e.effective_at) * 1000000)::int8 + 62135596800000000)"
"""The same of an entry `e`, in SQL."""


def starts(level: str, span: str) -> str:
    """SQL for the moment at which a span begins; exact, as a product of an interval is not."""
    at = f"({span} << ({BITS} * {level}))"
    return (
        "('0001-01-01 00:00:00+00'::timestamptz"
        f" + make_interval(days => ({at} / 86400000000)::int4)"
        f" + mod({at}, 86400000000) * interval '1 microsecond')"
    )


def _change(direction: Direction, place: int) -> str:
    signs = " ".join(
        f"WHEN '{effect.value}' THEN {'' if steps[place] > 0 else '-'}e.amount"
        for effect, steps in STEPS.items()
        if steps[place]
    )
    amount = f"CASE e.effect {signs} ELSE 0 END"
    return f"CASE e.direction WHEN '{direction.value}' THEN {amount} ELSE 0 END"


TOTALS = tuple(Balances.__dataclass_fields__)
CHANGES = tuple(_change(side, place) for place in (0, 1) for side in Direction)
"""What an entry `e` does to each of the totals, in SQL."""

_NAMES = ", ".join(TOTALS)
_THIS = "organization_id = %(organization)s AND {0}.account_id = %(account)s"
_SUMS = "max(e.sequence) AS latest, count(*) AS entries, " + ", ".join(
    f"sum({change}) AS {name}" for change, name in zip(CHANGES, TOTALS, strict=True)
)
_SPAN = f"({TICKS} >> ({BITS} * %(level)s::int4))"

_STATE = """
    SELECT a.version, coalesce((
        SELECT max(t.sequence) FROM account_totals t
        WHERE t.organization_id = a.organization_id AND t.account_id = a.account_id
            AND t.level = %(top)s AND t.span = 0
    ), 0)
    FROM accounts a WHERE a.organization_id = %(organization)s AND a.account_id = %(account)s
"""

# A span that was split before takes on the chunk; in one that is split now all is added up anew.
_ADD_LEVEL = f"""
    WITH parents AS (
        SELECT p.span, coalesce(before.split, %(level)s = {TOP}) AS kept
        FROM unnest(%(parents)s::int8[]) AS p (span)
        LEFT JOIN LATERAL (
            SELECT t.split FROM account_totals t
            WHERE t.{_THIS.format("t")} AND t.level = %(level)s::int4 + 1 AND t.span = p.span
                AND t.sequence < %(upto)s
            ORDER BY t.sequence DESC LIMIT 1
        ) before ON true
    ), sums AS (
        SELECT e.*
        FROM (
            SELECT {_SPAN} AS span, {_SUMS} FROM entries e
            WHERE e.{_THIS.format("e")} AND e.sequence > %(since)s AND e.sequence <= %(upto)s
            GROUP BY 1
            OFFSET 0
        ) e
        JOIN parents p ON p.kept AND p.span = e.span >> {BITS}
        UNION ALL
        SELECT e.*
        FROM parents p CROSS JOIN LATERAL (
            SELECT {_SPAN}, {_SUMS} FROM entries e
            WHERE e.{_THIS.format("e")} AND e.amount > 0 AND e.sequence + 0 <= %(upto)s
                AND e.effective_at >= {starts("(%(level)s::int4 + 1)", "p.span")}
                AND e.effective_at < {starts("(%(level)s::int4 + 1)", "(p.span + 1)")}
            GROUP BY 1
            OFFSET 0
        ) e
        WHERE NOT p.kept
    )
    INSERT INTO account_totals (organization_id, account_id, level, span, sequence, latest, entries,
        split, {_NAMES})
    SELECT %(organization)s, %(account)s, %(level)s, s.span, %(upto)s, s.latest,
        s.entries + coalesce(before.entries, 0),
        %(level)s > 0
            AND (coalesce(before.split, false)
                OR s.entries + coalesce(before.entries, 0) > %(chunk)s),
        {", ".join(f"s.{name} + coalesce(before.{name}, 0)" for name in TOTALS)}
    FROM sums s
    LEFT JOIN LATERAL (
        SELECT t.* FROM account_totals t
        WHERE t.{_THIS.format("t")} AND t.level = %(level)s AND t.span = s.span
            AND t.sequence < %(upto)s
        ORDER BY t.sequence DESC LIMIT 1
    ) before ON true
    ON CONFLICT DO NOTHING
    RETURNING span, split
"""  # noqa: S608  all of it is ours


async def roll_up(connection: Connection, organization_id: UUID, account_id: UUID) -> None:
    """Add what is missing of an account's totals, a chunk in a transaction.

    The connection is one of `Database.connect`: what runs here are look-ups by key. Raises
    psycopg.Error.
    """
    this = {"organization": organization_id, "account": account_id}
    while True:
        async with connection.transaction():
            ((version, since),) = await all_rows(connection, _STATE, {**this, "top": TOP})
            upto = (since // CHUNK + 1) * CHUNK
            if upto > version:
                return
            await _add_chunk(connection, {**this, "since": since, "upto": upto, "chunk": CHUNK})


async def _add_chunk(connection: Connection, chunk: Mapping[str, Any]) -> None:
    level, parents = TOP, [0]
    while parents:
        added = await all_rows(
            connection, _ADD_LEVEL, {**chunk, "level": level, "parents": parents}
        )
        level, parents = level - 1, [span for span, split in added if split]


@dataclass(slots=True)
class RollUp:
    """The task of a process that adds totals, told by the writer what may be due."""

    database: Database
    due: dict[tuple[UUID, UUID], None] = field(default_factory=dict)
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="roll-up")

    async def stop(self) -> None:
        """End at once; a chunk that was begun is as if it had not been."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def hint(self, written: Iterable[Decision]) -> None:
        """Look at what was written for entries that fill a chunk."""
        for decision in written:
            if isinstance(decision, Recorded):
                for entry in decision.entries:
                    if entry.sequence % CHUNK == 0:
                        self.due[decision.transaction.organization_id, entry.account_id] = None
                        self._told.set()

    async def _run(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                async with await self.database.connect() as connection:
                    await self._work(connection)
            except Exception as fault:  # noqa: BLE001  nothing of it may end the task
                # What was due and is lost is added after the account's next full chunk.
                sqlstate = getattr(fault, "sqlstate", None)
                log.warning("roll_up_failed", fault=type(fault).__name__, sqlstate=sqlstate)

    async def _work(self, connection: Connection) -> None:
        """Do what is due, and what becomes due soon."""
        while self.due:
            due = next(iter(self.due))
            del self.due[due]
            await roll_up(connection, *due)
            if not self.due:
                self._told.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._told.wait(), IDLE_SECONDS)
