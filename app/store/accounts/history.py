"""Balances at other times than now.

Two clocks: `as_of` is effective time (when it happened), `known_at` recorded time (when we learned
of it). As known at a moment, an account has the totals after its latest entry by then. Recorded
time does not decrease along an account's entries, so that entry is found by halving, by the key
that is there: 20 look-ups among a million entries, and no index that every posting would pay for.
As of an effective time the totals are the sum of kept spans, of entries around the time, and of
entries since the latest chunk; see `totals.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Uuid, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from app.ledger.accounts.balances import Balances, Direction
from app.store.accounts.totals import BITS, CHANGES, TOP, TOTALS, starts, ticks
from app.store.database import Connection, Snapshot, sql
from app.store.reading import of_organization
from app.store.tables import accounts

END = datetime.max.replace(tzinfo=UTC)


class PastBalances(NamedTuple):
    """An account's totals at some time, and the sequence of its latest entry among them."""

    balances: Balances
    version: int


class CurrencyTotals(NamedTuple):
    """The totals of all accounts of a ledger in one currency."""

    currency: str
    exponent: int
    accounts: int
    balances: Balances


async def past_balances_by_account(
    snapshot: Snapshot,
    account_ids: Iterable[UUID],
    as_of: datetime | None,
    known_at: datetime | None,
) -> Mapping[UUID, PastBalances]:
    """Totals of each account as of and as known at the times given (UTC); None is now.

    An account without entries by then is absent.
    """
    if as_of is not None and as_of < END:
        points = await _points(snapshot, account_ids, [_after(as_of)], known_at)
        return {account_id: only for account_id, (only,) in points.items() if only.version}
    rows = await snapshot.rows(
        _KNOWN_ENTRIES, {"ids": list(account_ids), "known_at": known_at or END}
    )
    return {
        account_id: PastBalances(Balances(*totals), version)
        for account_id, version, *totals in rows
    }


async def balances_at_each(
    snapshot: Snapshot, account_ids: Iterable[UUID], moments: Sequence[datetime]
) -> Mapping[UUID, Sequence[PastBalances]]:
    """Totals of each account as of each of the ascending moments (just before each).

    An account without entries before the last moment is absent.
    """
    return await _points(snapshot, account_ids, moments, None)


async def balances_of_version(
    connection: Connection,
    organization_id: UUID,
    account_id: UUID,
    version: int,
    moments: Sequence[datetime],
    normal_balance: Direction,
) -> list[int]:
    """What was posted before each of the ascending moments, of the entries up to `version`.

    On the account's normal side. For those who read more of the account and need it to agree.
    """
    cursor = await connection.execute(
        _STEPS_OF_VERSION,
        {
            "organization": organization_id,
            "account": account_id,
            "version": version,
            **_until(moments),
        },
    )
    steps = {bucket: (latest, tuple(sums)) for bucket, latest, *sums in await cursor.fetchall()}
    return [
        past.balances.posted(normal_balance).amount for past in _accumulate(steps, len(moments))
    ]


async def totals_by_currency(
    snapshot: Snapshot,
    ledger_ids: Iterable[UUID],
    as_of: datetime | None,
    known_at: datetime | None,
) -> Mapping[UUID, Sequence[CurrencyTotals]]:
    """A trial balance of each ledger: debits equal credits in every currency."""
    parameters: dict[str, Any] = {"ids": list(ledger_ids)}
    if as_of is not None and as_of < END:
        statement = _dated_trial_balance(known_at is not None)
        parameters |= _until([_after(as_of)]) | {"known_at": known_at}
    elif known_at is not None:
        statement = _KNOWN_TRIAL_BALANCE
        parameters["known_at"] = known_at
    else:
        statement = _TRIAL_BALANCE
    found: dict[UUID, list[CurrencyTotals]] = {}
    for ledger_id, currency, exponent, count, *totals in await snapshot.rows(statement, parameters):
        found.setdefault(ledger_id, []).append(
            CurrencyTotals(currency, exponent, count, Balances(*totals))
        )
    return found


async def _points(
    snapshot: Snapshot,
    account_ids: Iterable[UUID],
    moments: Sequence[datetime],
    known_at: datetime | None,
) -> Mapping[UUID, Sequence[PastBalances]]:
    rows = await snapshot.rows(
        _dated_steps(known_at is not None),
        {"ids": list(account_ids), "known_at": known_at, **_until(moments)},
    )
    steps: dict[UUID, dict[int, tuple[int, tuple[int, ...]]]] = {}
    for account_id, bucket, version, *sums in rows:
        steps.setdefault(account_id, {})[bucket] = (version, tuple(sums))
    return {account_id: _accumulate(step, len(moments)) for account_id, step in steps.items()}


def _accumulate(
    step: Mapping[int, tuple[int, tuple[int, ...]]], moments: int
) -> list[PastBalances]:
    points, version, totals = [], 0, (0, 0, 0, 0)
    for bucket in range(moments):
        latest, sums = step.get(bucket, (0, (0, 0, 0, 0)))
        version = max(version, latest)
        totals = tuple(total + change for total, change in zip(totals, sums, strict=True))  # type: ignore[assignment]
        points.append(PastBalances(Balances(*totals), version))
    return points


def _after(moment: datetime) -> datetime:
    """The first moment at which an entry no longer takes effect by then."""
    return moment + timedelta(microseconds=1)


def _until(moments: Sequence[datetime]) -> dict[str, Any]:
    return {"moments": list(moments), "ticks": [ticks(moment) for moment in moments]}


_NAMES = ", ".join(TOTALS)
_SUMS = ", ".join(f"sum({name})" for name in TOTALS)

# Rows of accounts that are wanted, each with the sequence of the last entry that counts.
_OF_IDS = """
    wanted AS (
        SELECT a.account_id, a.version FROM accounts a
        WHERE a.organization_id = %(organization)s AND a.account_id = ANY(%(ids)s::uuid[])
    )
"""
_OF_LEDGERS = """
    wanted AS (
        SELECT a.account_id, a.version FROM accounts a
        WHERE a.organization_id = %(organization)s AND a.ledger_id = ANY(%(ids)s::uuid[])
    )
"""
_NOW = "known AS (SELECT account_id, version AS sequence FROM wanted)"
_KNOWN = """
    halves AS (
        SELECT account_id, 0::int8 AS least, version AS most FROM wanted
        UNION ALL
        SELECT h.account_id, CASE WHEN m.early THEN m.middle ELSE h.least END,
            CASE WHEN m.early THEN h.most ELSE m.middle - 1 END
        FROM halves h CROSS JOIN LATERAL (
            SELECT e.sequence AS middle, e.recorded_at <= %(known_at)s::timestamptz AS early
            FROM entries e
            WHERE e.organization_id = %(organization)s AND e.account_id = h.account_id
                AND e.sequence = (h.least + h.most + 1) / 2
            OFFSET 0
        ) m
        WHERE h.least < h.most
    ), known AS (SELECT account_id, least AS sequence FROM halves WHERE least = most)
"""
_KNOWN_TOTALS = f"""
    SELECT k.account_id, e.sequence, {", ".join(f"e.{name}" for name in TOTALS)}
    FROM known k CROSS JOIN LATERAL (
        SELECT e.* FROM entries e
        WHERE e.organization_id = %(organization)s AND e.account_id = k.account_id
            AND e.sequence = k.sequence
        OFFSET 0
    ) e
"""  # noqa: S608  all of it is ours
_KNOWN_ENTRIES = f"WITH RECURSIVE {_OF_IDS}, {_KNOWN} {_KNOWN_TOTALS}"

# The condition on amounts, which holds for all, lets the index on effective time serve, and no
# bare condition on sequences lets another: without statistics the planner has no idea which reads
# less, and read the whole account for a few entries. LATERAL with OFFSET 0 stays as it is written.
#
# Down the spans, into those that are split and have a moment inside, up to the last moment.
_AROUND = "around.first <> around.last"
_CHANGES = ", ".join(CHANGES)


def _kept(level: str, span: str) -> str:
    return f"""
        CROSS JOIN LATERAL (
            SELECT t.* FROM account_totals t
            WHERE t.organization_id = %(organization)s AND t.account_id = k.account_id
                AND t.level = {level} AND t.span = {span} AND t.sequence <= k.rolled
            ORDER BY t.sequence DESC LIMIT 1
        ) t
        CROSS JOIN LATERAL (
            SELECT width_bucket(t.span << ({BITS} * t.level), %(ticks)s::int8[]) AS first,
                width_bucket(((t.span + 1) << ({BITS} * t.level)) - 1, %(ticks)s::int8[]) AS last
        ) around
    """  # noqa: S608  all of it is ours


_SPAN_COLUMNS = f"""
    t.level::int4 AS level, t.span, t.split, around.first AS bucket, {_AROUND} AS around, t.latest,
    {", ".join(f"t.{name}" for name in TOTALS)}
"""
_PIECES = f"""
    bounds AS (
        SELECT k.account_id, k.sequence, coalesce((
            SELECT max(t.sequence) FROM account_totals t
            WHERE t.organization_id = %(organization)s AND t.account_id = k.account_id
                AND t.level = {TOP} AND t.span = 0 AND t.sequence <= k.sequence
        ), 0) AS rolled
        FROM known k
    ), spans AS (
        SELECT k.account_id, k.rolled, {_SPAN_COLUMNS}
        FROM bounds k {_kept(str(TOP), "0")}
        UNION ALL
        SELECT k.account_id, k.rolled, {_SPAN_COLUMNS}
        FROM spans k CROSS JOIN generate_series(0, {2**BITS - 1}) AS digit
        {_kept("k.level - 1", f"(k.span << {BITS}) + digit")}
        WHERE k.around AND k.split AND around.first < cardinality(%(ticks)s::int8[])
    ), pieces (account_id, bucket, sequence, {_NAMES}) AS (
        SELECT account_id, bucket, latest, {_NAMES} FROM spans WHERE NOT around
        UNION ALL
        SELECT s.account_id, e.*
        FROM spans s CROSS JOIN LATERAL (
            SELECT width_bucket(e.effective_at, %(moments)s::timestamptz[]), e.sequence, {_CHANGES}
            FROM entries e
            WHERE e.organization_id = %(organization)s AND e.account_id = s.account_id
                AND e.effective_at >= {starts("s.level", "s.span")}
                AND e.effective_at < {starts("s.level", "(s.span + 1)")}
                AND e.effective_at < (%(moments)s::timestamptz[])[cardinality(%(ticks)s::int8[])]
                AND e.amount > 0 AND e.sequence + 0 <= s.rolled
            ORDER BY e.effective_at
            OFFSET 0
        ) e
        WHERE s.around AND NOT s.split
        UNION ALL
        SELECT b.account_id, e.*
        FROM bounds b CROSS JOIN LATERAL (
            SELECT width_bucket(e.effective_at, %(moments)s::timestamptz[]), e.sequence, {_CHANGES}
            FROM entries e
            WHERE e.organization_id = %(organization)s AND e.account_id = b.account_id
                AND e.sequence > b.rolled AND e.sequence <= b.sequence
            OFFSET 0
        ) e
    )
"""  # noqa: S608  all of it is ours


@lru_cache(maxsize=2)
def _dated_steps(known: bool) -> str:
    return f"""
        WITH RECURSIVE {_OF_IDS}, {_KNOWN if known else _NOW}, {_PIECES}
        SELECT account_id, bucket, max(sequence), {_SUMS} FROM pieces
        WHERE bucket < cardinality(%(ticks)s::int8[])
        GROUP BY account_id, bucket
    """  # noqa: S608  all of it is ours


_STEPS_OF_VERSION = f"""
    WITH RECURSIVE known AS (
        SELECT %(account)s::uuid AS account_id, %(version)s::int8 AS sequence
    ), {_PIECES}
    SELECT bucket, max(sequence), {_SUMS} FROM pieces
    WHERE bucket < cardinality(%(ticks)s::int8[])
    GROUP BY bucket
"""  # noqa: S608  all of it is ours
_BY_CURRENCY = f"""
    SELECT a.ledger_id, a.currency, a.exponent, count(DISTINCT a.account_id),
        {", ".join(f"coalesce(sum(p.{name}), 0)" for name in TOTALS)}
    FROM accounts a LEFT JOIN {{pieces}} p USING (account_id)
    WHERE a.organization_id = %(organization)s AND a.ledger_id = ANY(%(ids)s::uuid[])
    GROUP BY 1, 2, 3
    ORDER BY 2
"""  # noqa: S608  all of it is ours
_KNOWN_TRIAL_BALANCE = f"WITH RECURSIVE {_OF_LEDGERS}, {_KNOWN} " + _BY_CURRENCY.format(
    pieces=f"({_KNOWN_TOTALS})"
)


@lru_cache(maxsize=2)
def _dated_trial_balance(known: bool) -> str:
    pieces = "(SELECT * FROM pieces WHERE bucket = 0)"
    return f"WITH RECURSIVE {_OF_LEDGERS}, {_KNOWN if known else _NOW}, {_PIECES}" + (
        _BY_CURRENCY.format(pieces=pieces)
    )


_TRIAL_BALANCE = sql(
    select(
        accounts.c.ledger_id,
        accounts.c.currency,
        accounts.c.exponent,
        func.count(),
        *(func.sum(accounts.c[name]) for name in TOTALS),
    )
    .where(
        of_organization(accounts), accounts.c.ledger_id == any_(bindparam("ids", type_=ARRAY(Uuid)))
    )
    .group_by(accounts.c.ledger_id, accounts.c.currency, accounts.c.exponent)
    .order_by(accounts.c.currency)
)
