"""Velocity limits as they are kept: read at a moment, counted on, set and removed.

What a rolling window leaves behind as it moves is summed from the entries between its old and its
new beginning, by their key: each entry of a limited account is read for that once in its life, and
a calendar period is never summed at all. Setting a limit sums the window that it begins with.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from app.ledger.accounts.administration import SetVelocityLimit
from app.ledger.accounts.state import Account, Scope
from app.ledger.accounts.velocities import MAX_LIMITS, Gone, Period, Velocity, Window
from app.ledger.refusals import ValidationFailed
from app.ledger.transactions.book import OfOrganization
from app.store.accounts.administration import lock_account, update_account
from app.store.arrays import (
    INT8S,
    MOMENTS,
    NUMBERS,
    TEXTS,
    UUIDS,
    arrays,
    int8,
    moment,
    number,
    single,
    text,
    uuid,
)
from app.store.database import Connection, Row, Snapshot, tenancy
from app.store.pipeline import Statement, numbered
from app.store.rows import AccountRow
from app.store.transactions.lots import WITH_BREAKAGES

_OUTGOING = """
    SELECT e.transaction_sequence, sum(e.amount) - CASE WHEN bool_or(e.effect = 'hold') THEN
        coalesce((SELECT sum(r.amount) FROM entries r WHERE r.organization_id = a.organization_id
            AND r.ledger_id = a.ledger_id AND r.transaction_sequence = e.transaction_sequence
            AND r.account_id = a.account_id AND r.direction <> a.normal_balance
            AND r.effect = 'release'), 0)
        ELSE 0 END AS amount
    FROM entries e
    WHERE e.organization_id = a.organization_id AND e.account_id = a.account_id
        AND e.sequence > {after} AND e.sequence <= {upto}
        AND e.direction <> a.normal_balance AND e.effect IN ('post', 'hold')
    GROUP BY e.transaction_sequence
"""
"""The outgoing on account `a` of each transaction with new entries between two sequences of it."""

_READ = """
    SELECT v.organization_id, v.account_id, a.version, v.name, v.maximum_amount, v.maximum_count,
        v.window_seconds, v.period, v.time_zone, v.counted_from, v.counted_after, v.used_amount,
        v.used_count, coalesce(gone.amount, 0), gone.count,
        coalesce(passed.sequence, v.counted_after)
    FROM {wanted}
    JOIN accounts a ON a.organization_id = wanted.organization_id
        AND a.account_id = wanted.account_id
    JOIN velocity_limits v ON v.organization_id = a.organization_id AND v.account_id = a.account_id
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN v.window_seconds IS NULL THEN v.counted_after
            WHEN (
                SELECT e.recorded_at FROM entries e
                WHERE e.organization_id = a.organization_id AND e.account_id = a.account_id
                    AND e.sequence = a.version
            ) <= {now} - make_interval(secs => v.window_seconds) THEN a.version
            ELSE (
                SELECT e.sequence - 1 FROM entries e
                WHERE e.organization_id = a.organization_id AND e.account_id = a.account_id
                    AND e.sequence > v.counted_after
                    AND e.recorded_at > {now} - make_interval(secs => v.window_seconds)
                ORDER BY e.organization_id, e.account_id, e.sequence LIMIT 1
            )
        END AS sequence
    ) passed
    CROSS JOIN LATERAL (
        SELECT sum(amount) AS amount, count(*) FILTER (WHERE amount > 0) AS count
        FROM ({outgoing}) o
    ) gone
    ORDER BY v.organization_id, v.account_id, v.name
"""

# Where all is left behind there is nothing to sum.
_LEFT_BEHIND = _OUTGOING.format(after="v.counted_after", upto="nullif(passed.sequence, a.version)")

READ_LOCKED = _READ.format(
    wanted="unnest($1::uuid[], $2::uuid[]) AS wanted (organization_id, account_id)",
    now="$3::timestamptz",
    outgoing=_LEFT_BEHIND,
)
# The same, and of the accounts that their due credit lots expire to.
READ_WITH_BREAKAGES = _READ.format(
    wanted=f"({WITH_BREAKAGES}) AS wanted (organization_id, account_id)",
    now="$3::timestamptz",
    outgoing=_LEFT_BEHIND,
)
READ_SHOWN = _READ.format(
    wanted="(SELECT %(organization)s::uuid AS organization_id, unnest(%(ids)s::uuid[])"
    " AS account_id) AS wanted",
    now="%(now)s::timestamptz",
    outgoing=_LEFT_BEHIND,
)

WRITE = numbered("""
    UPDATE velocity_limits v SET counted_from = c.counted_from, counted_after = c.counted_after,
        used_amount = c.used_amount, used_count = c.used_count
    FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[], %s::int8[], %s::numeric[],
        %s::int8[])
        AS c (organization_id, account_id, name, counted_from, counted_after, used_amount,
            used_count)
    WHERE v.organization_id = c.organization_id AND v.account_id = c.account_id
        AND v.name = c.name
""")
COLUMNS = (UUIDS, UUIDS, TEXTS, MOMENTS, INT8S, NUMBERS, INT8S)


def reading(accounts: Iterable[OfOrganization], now: datetime) -> Statement:
    """Read the limits of locked accounts, for `found`."""
    keys = [(uuid(organization_id), uuid(account_id)) for organization_id, account_id in accounts]
    return READ_LOCKED, [*arrays((UUIDS, UUIDS), keys), single(moment(now))]


def writing(accounts: Iterable[Account]) -> list[Statement]:
    """Keep the usage of changed accounts; no statement where none is limited."""
    rows = [
        (
            uuid(account.organization_id),
            uuid(account.account_id),
            text(velocity.name),
            moment(velocity.counted_from),
            int8(velocity.counted_after),
            number(velocity.used_amount),
            int8(velocity.used_count),
        )
        for account in accounts
        for velocity in (account.limits.velocities if account.limits else ())
    ]
    return [(WRITE, arrays(COLUMNS, rows))] if rows else []


def found(rows: Iterable[Row], now: datetime) -> Mapping[OfOrganization, tuple[Velocity, ...]]:
    """The limits that were read, with their usage at `now`, in order of name."""
    velocities: dict[OfOrganization, list[Velocity]] = {}
    for organization_id, account_id, version, *limit, amount, count, last in rows:
        name, maximum_amount, maximum_count, seconds, period, time_zone, *usage = limit
        window = Window(seconds, None if period is None else Period(period), time_zone)
        velocity = Velocity(name, window, maximum_amount, maximum_count, *usage)
        velocities.setdefault((organization_id, account_id), []).append(
            velocity.moved(now, version, Gone(amount, count, last))
        )
    return {key: tuple(limits) for key, limits in velocities.items()}


async def velocities_by_account(
    snapshot: Snapshot, account_ids: Iterable[UUID], now: datetime
) -> Mapping[UUID, Sequence[Velocity]]:
    """The limits of each account with their usage at `now`; an account without any is absent."""
    rows = await snapshot.rows(READ_SHOWN, {"ids": list(account_ids), "now": now})
    return {account_id: limits for (_, account_id), limits in found(rows, now).items()}


# ---- set and remove ------------------------------------------------------------------------------


async def set_velocity_limit(connection: Connection, command: SetVelocityLimit) -> AccountRow:
    """Set a limit, or another in its place; what went out in its window already counts.

    Raises AccountNotFound, LedgerArchived, ValidationFailed where there would be too many.
    """
    await lock_account(connection, command.scope, command.account_id)
    parameters = {"account": command.account_id, "name": command.name, **tenancy(command.scope)}
    last_recorded_at, names = await _read(connection, parameters)
    if len({*names, command.name}) > MAX_LIMITS:
        raise ValidationFailed(message=f"An account has at most {MAX_LIMITS} velocity limits.")
    # Of the ledger's time and not of the clock: no later batch can be at an earlier moment.
    counted_from, _ = command.window.bounds(last_recorded_at)
    period = command.window.period
    limit = {
        "maximum_amount": command.maximum_amount,
        "maximum_count": command.maximum_count,
        "seconds": command.window.seconds,
        "period": None if period is None else period.value,
        "time_zone": command.window.time_zone,
        "counted_from": counted_from,
    }
    await connection.execute(_SET, {**parameters, **limit})
    return await update_account(
        connection, command.scope, command.account_id, {"velocity_limited": True}
    )


async def remove_velocity_limit(
    connection: Connection, scope: Scope, account_id: UUID, name: str
) -> AccountRow:
    """Remove a limit; removing what is not there changes nothing.

    Raises AccountNotFound, LedgerArchived.
    """
    await lock_account(connection, scope, account_id)
    parameters = {"account": account_id, "name": name, **tenancy(scope)}
    await connection.execute(_REMOVE, parameters)
    _, names = await _read(connection, parameters)
    return await update_account(connection, scope, account_id, {"velocity_limited": bool(names)})


async def _read(
    connection: Connection, parameters: Mapping[str, Any]
) -> tuple[datetime, Sequence[str]]:
    """The time of the account's ledger, and the names of the account's limits."""
    cursor = await connection.execute(_READ_NAMES, parameters)
    ((last_recorded_at, names),) = await cursor.fetchall()
    return last_recorded_at, names


_READ_NAMES = """
    SELECT l.last_recorded_at, ARRAY(
        SELECT v.name FROM velocity_limits v
        WHERE v.organization_id = a.organization_id AND v.account_id = a.account_id
    )
    FROM accounts a
    JOIN ledgers l ON l.organization_id = a.organization_id AND l.ledger_id = a.ledger_id
    WHERE a.organization_id = %(organization)s AND a.account_id = %(account)s
"""

_SET = f"""
    INSERT INTO velocity_limits (organization_id, account_id, name, maximum_amount,
        maximum_count, window_seconds, period, time_zone, counted_from, counted_after, used_amount,
        used_count)
    SELECT a.organization_id, a.account_id, %(name)s, %(maximum_amount)s, %(maximum_count)s,
        %(seconds)s, %(period)s, %(time_zone)s, %(counted_from)s, before.sequence,
        coalesce(used.amount, 0), used.count
    FROM accounts a
    CROSS JOIN LATERAL (SELECT coalesce((
        SELECT e.sequence FROM entries e
        WHERE e.organization_id = a.organization_id AND e.account_id = a.account_id
            AND e.recorded_at < %(counted_from)s
        ORDER BY e.organization_id DESC, e.account_id DESC, e.sequence DESC LIMIT 1
    ), 0) AS sequence) before
    CROSS JOIN LATERAL (
        SELECT sum(amount) AS amount, count(*) FILTER (WHERE amount > 0) AS count
        FROM ({_OUTGOING.format(after="before.sequence", upto="a.version")}) o
    ) used
    WHERE a.organization_id = %(organization)s AND a.account_id = %(account)s
    ON CONFLICT (organization_id, account_id, name) DO UPDATE SET
        maximum_amount = EXCLUDED.maximum_amount, maximum_count = EXCLUDED.maximum_count,
        window_seconds = EXCLUDED.window_seconds, period = EXCLUDED.period,
        time_zone = EXCLUDED.time_zone, counted_from = EXCLUDED.counted_from,
        counted_after = EXCLUDED.counted_after, used_amount = EXCLUDED.used_amount,
        used_count = EXCLUDED.used_count
"""  # noqa: S608  nothing from outside comes near it

_REMOVE = """
    DELETE FROM velocity_limits
    WHERE organization_id = %(organization)s AND account_id = %(account)s AND name = %(name)s
"""
