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
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
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

LEVELS_AT_A_LOOK = 4
"""How many levels of a span that is split are added up from one look at its entries."""

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
    ), 0), coalesce((
        SELECT min(t.level) FROM account_totals t
        WHERE t.organization_id = a.organization_id AND t.account_id = a.account_id
    ), %(top)s)
    FROM accounts a WHERE a.organization_id = %(organization)s AND a.account_id = %(account)s
"""

_SUMS_OF_CHUNK = f"""
    SELECT {_SPAN} AS span, {_SUMS} FROM entries e
    WHERE e.{_THIS.format("e")} AND e.sequence > %(since)s AND e.sequence <= %(upto)s
    GROUP BY 1
"""  # noqa: S608  all of it is ours

# In a span that is split now all is added up anew.
_SUMS_OF_PARENTS = f"""
    SELECT e.* FROM unnest(%(parents)s::int8[]) AS p (span) CROSS JOIN LATERAL (
        SELECT {_SPAN} AS span, {_SUMS} FROM entries e
        WHERE e.{_THIS.format("e")} AND e.amount > 0 AND e.sequence + 0 <= %(upto)s
            AND e.effective_at >= {starts("%(above)s::int4", "p.span")}
            AND e.effective_at < {starts("%(above)s::int4", "(p.span + 1)")}
        GROUP BY 1
        OFFSET 0
    ) e
"""  # noqa: S608

_BEFORE = f"""
    SELECT t.level, t.span, t.split, t.latest, t.entries, {_NAMES}
    FROM unnest(%(levels)s::int4[], %(spans)s::int8[]) AS wanted (level, span)
    CROSS JOIN LATERAL (
        SELECT * FROM account_totals t
        WHERE t.{_THIS.format("t")} AND t.level = wanted.level AND t.span = wanted.span
            AND t.sequence < %(upto)s
        ORDER BY t.sequence DESC LIMIT 1
    ) t
"""  # noqa: S608

_COLUMNS = ("level", "span", "split", "latest", "entries", *TOTALS)
_INSERT = f"""
    INSERT INTO account_totals (organization_id, account_id, sequence, {", ".join(_COLUMNS)})
    SELECT %(organization)s, %(account)s, %(upto)s, * FROM unnest(
        %(level)s::int4[], %(span)s::int8[], %(split)s::bool[], %(latest)s::int8[],
        %(entries)s::int8[], {", ".join(f"%({name})s::numeric[]" for name in TOTALS)}
    )
    ON CONFLICT DO NOTHING
    RETURNING level, span, split
"""  # noqa: S608


class _Sums(NamedTuple):
    """What some entries of an account come to; `totals` in minor units, as in TOTALS."""

    latest: int
    entries: int
    totals: tuple[int, ...]

    def __add__(self, other: "_Sums") -> "_Sums":  # type: ignore[override]
        return _Sums(
            max(self.latest, other.latest),
            self.entries + other.entries,
            tuple(map(int.__add__, self.totals, other.totals)),
        )


_NOTHING = (False, _Sums(0, 0, (0,) * len(TOTALS)))
"""What a span was before its first row: not split, and empty."""

_Span = tuple[int, int]
"""A level, and the number of a span at it."""


async def roll_up(connection: Connection, organization_id: UUID, account_id: UUID) -> None:
    """Add what is missing of an account's totals, a chunk in a transaction.

    The connection is one of `Database.connect`: what runs here are look-ups by key. Raises
    psycopg.Error.
    """
    this = {"organization": organization_id, "account": account_id}
    is_behind = True
    while is_behind:
        async with connection.transaction():
            state = await all_rows(connection, _STATE, {**this, "top": TOP})
            ((version, since, deepest),) = state
            upto = (since // CHUNK + 1) * CHUNK
            if upto <= version:
                await _add_chunk(connection, {**this, "since": since, "upto": upto}, deepest)
            is_behind = upto + CHUNK <= version


async def _add_chunk(connection: Connection, chunk: Mapping[str, Any], deepest: int) -> None:
    """Add rows for a chunk; `deepest` is the finest level of which the account has rows.

    Entries are looked at once, there, and what they come to is added up to the top; again only in
    spans that are split now, as each is but once.
    """
    sums = await _sums(connection, _SUMS_OF_CHUNK, {**chunk, "level": deepest})
    changes = _added_up(sums, deepest, TOP)
    before = await _before(connection, chunk, sorted(changes))
    kept = {
        (level, span): change
        for (level, span), change in changes.items()
        if level == TOP or before.get((level + 1, span >> BITS), _NOTHING)[0]
    }
    split = await _add(connection, chunk, kept, before)
    for level in range(TOP, 0, -1):
        parents = sorted(span for at, span in split if at == level)
        if parents:
            split |= await _add_below(connection, chunk, level, parents)


async def _add_below(
    connection: Connection, chunk: Mapping[str, Any], level: int, parents: Sequence[int]
) -> set[_Span]:
    """Add the first rows of what is in spans that are split now, some levels of them at a look.

    Returns the spans that are split at the last of these levels, in which to look next.
    """
    finest = max(level - LEVELS_AT_A_LOOK, 0)
    wanted = {**chunk, "level": finest, "above": level, "parents": parents}
    changes = _added_up(await _sums(connection, _SUMS_OF_PARENTS, wanted), finest, level - 1)
    rows: dict[_Span, _Sums] = {}
    split = {(level, span) for span in parents}
    for at in range(level - 1, finest - 1, -1):
        found = {
            (at, span): change
            for (there, span), change in changes.items()
            if there == at and (at + 1, span >> BITS) in split
        }
        split = {span for span, change in found.items() if change.entries > CHUNK}
        rows |= found
    return {span for span in await _add(connection, chunk, rows, {}) if span[0] == finest}


def _added_up(sums: Mapping[int, _Sums], finest: int, top: int) -> dict[_Span, _Sums]:
    """What spans of a level come to, and those that they are in, up to another level."""
    changes = {(finest, span): change for span, change in sums.items()}
    for level in range(finest + 1, top + 1):
        above: dict[int, _Sums] = {}
        for span, change in sums.items():
            parent = span >> BITS
            above[parent] = above[parent] + change if parent in above else change
        changes |= {(level, span): change for span, change in above.items()}
        sums = above
    return changes


async def _sums(
    connection: Connection, statement: str, parameters: Mapping[str, Any]
) -> dict[int, _Sums]:
    rows = await all_rows(connection, statement, parameters)
    return {span: _Sums(latest, entries, tuple(sums)) for span, latest, entries, *sums in rows}


async def _before(
    connection: Connection, chunk: Mapping[str, Any], spans: Sequence[_Span]
) -> dict[_Span, tuple[bool, _Sums]]:
    """Whether spans were split before the chunk, and what they came to, as far as they are kept."""
    wanted = {**chunk, "levels": [level for level, _ in spans], "spans": [s for _, s in spans]}
    return {
        (level, span): (split, _Sums(latest, entries, tuple(sums)))
        for level, span, split, latest, entries, *sums in await all_rows(
            connection, _BEFORE, wanted
        )
    }


async def _add(
    connection: Connection,
    chunk: Mapping[str, Any],
    changes: Mapping[_Span, _Sums],
    before: Mapping[_Span, tuple[bool, _Sums]],
) -> set[_Span]:
    """Add a row for each span; return the spans of which these are the first rows that are split.

    Of those that are there already, by another process, it adds and returns none.
    """
    rows = []
    for level, span in sorted(changes, reverse=True):
        was_split, past = before.get((level, span), _NOTHING)
        now = past + changes[level, span]
        split = level > 0 and (was_split or now.entries > CHUNK)
        rows.append((level, span, split, now.latest, now.entries, *now.totals))
    columns = dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    added = await all_rows(connection, _INSERT, {**chunk, **columns})
    return {(at, s) for at, s, split in added if split and not before.get((at, s), _NOTHING)[0]}


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
