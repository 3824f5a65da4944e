"""Balances at other times than now.

Two clocks: `as_of` is effective time (when it happened), `known_at` recorded time (when we learned
of it). As known at a moment, an account's totals are those after its latest entry by then: one
index look-up. As of an effective time they are the sum of the entries effective by then.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.ledger.balances import STEPS, Balances, Direction
from app.store.database import Snapshot, sql
from app.store.reading import of_organization
from app.store.tables import Moment, accounts, entries


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
    rows = await snapshot.rows(
        _PAST_ENTRY if as_of is None else _past_sums(known_at is not None),
        {"ids": list(account_ids), "as_of": as_of, "known_at": known_at},
    )
    return {
        account_id: PastBalances(Balances(*totals), version)
        for account_id, version, *totals in rows
    }


async def totals_by_currency(
    snapshot: Snapshot,
    ledger_ids: Iterable[UUID],
    as_of: datetime | None,
    known_at: datetime | None,
) -> Mapping[UUID, Sequence[CurrencyTotals]]:
    """A trial balance of each ledger: debits equal credits in every currency."""
    past = as_of is not None or known_at is not None
    statement = (
        _past_trial_balance(as_of is not None, known_at is not None) if past else _TRIAL_BALANCE
    )
    rows = await snapshot.rows(
        statement, {"ids": list(ledger_ids), "as_of": as_of, "known_at": known_at}
    )
    found: dict[UUID, list[CurrencyTotals]] = {}
    for ledger_id, currency, exponent, count, *totals in rows:
        found.setdefault(ledger_id, []).append(
            CurrencyTotals(currency, exponent, count, Balances(*totals))
        )
    return found


async def balances_at_each(
    snapshot: Snapshot, account_ids: Iterable[UUID], moments: Sequence[datetime]
) -> Mapping[UUID, Sequence[PastBalances]]:
    """Totals of each account as of each of the ascending moments (just before each).

    An account without entries before the last moment is absent.
    """
    rows = await snapshot.rows(_SUMS_BETWEEN, {"ids": list(account_ids), "moments": list(moments)})
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


def _sum_of(direction: Direction, place: int) -> ColumnElement[Any]:
    """The sum of what the entries of one side did to posted (place 0) or pending (place 1)."""
    signs = {effect: steps[place] for effect, steps in STEPS.items() if steps[place]}
    change = case(
        *(
            (
                and_(
                    entries.c.direction == literal_column(f"'{direction.value}'"),
                    entries.c.effect == literal_column(f"'{effect.value}'"),
                ),
                entries.c.amount if sign > 0 else -entries.c.amount,
            )
            for effect, sign in signs.items()
        ),
        else_=literal_column("0"),
    )
    return func.sum(change)


_totals = [accounts.c[name] for name in Balances.__dataclass_fields__]
_sums = [
    _sum_of(Direction.DEBIT, 0),
    _sum_of(Direction.CREDIT, 0),
    _sum_of(Direction.DEBIT, 1),
    _sum_of(Direction.CREDIT, 1),
]
_ids = bindparam("ids", type_=ARRAY(Uuid))
_as_of = bindparam("as_of", type_=Moment)
_known_at = bindparam("known_at", type_=Moment)
_wanted = func.unnest(_ids).table_valued("id").render_derived(name="wanted")
_latest = (
    select(entries.c.sequence, *(entries.c[total.name] for total in _totals))
    .where(
        of_organization(entries),
        entries.c.account_id == _wanted.c.id,
        entries.c.recorded_at <= _known_at,
    )
    .order_by(entries.c.sequence.desc())
    .limit(literal_column("1"))
    .lateral("latest")
)
_PAST_ENTRY = sql(select(_wanted.c.id, *_latest.c).select_from(_wanted.join(_latest, true())))
_TRIAL_BALANCE = sql(
    select(
        accounts.c.ledger_id,
        accounts.c.currency,
        accounts.c.exponent,
        func.count(),
        *(func.sum(total) for total in _totals),
    )
    .where(of_organization(accounts), accounts.c.ledger_id == any_(_ids))
    .group_by(accounts.c.ledger_id, accounts.c.currency, accounts.c.exponent)
    .order_by(accounts.c.currency)
)
_bucket = func.width_bucket(
    entries.c.effective_at, bindparam("moments", type_=ARRAY(Moment))
).label("bucket")
_SUMS_BETWEEN = sql(
    select(entries.c.account_id, _bucket, func.max(entries.c.sequence), *_sums)
    .where(of_organization(entries), entries.c.account_id == any_(_ids))
    .group_by(entries.c.account_id, literal_column("bucket"))
)


@lru_cache(maxsize=2)
def _past_sums(known: bool) -> str:
    statement = select(entries.c.account_id, func.max(entries.c.sequence), *_sums).where(
        of_organization(entries),
        entries.c.account_id == any_(_ids),
        entries.c.effective_at <= _as_of,
    )
    if known:
        statement = statement.where(entries.c.recorded_at <= _known_at)
    return sql(statement.group_by(entries.c.account_id))


@lru_cache(maxsize=4)
def _past_trial_balance(dated: bool, known: bool) -> str:
    counted = and_(
        entries.c.organization_id == accounts.c.organization_id,
        entries.c.account_id == accounts.c.account_id,
        *([entries.c.effective_at <= _as_of] if dated else []),
        *([entries.c.recorded_at <= _known_at] if known else []),
    )
    return sql(
        select(
            accounts.c.ledger_id,
            accounts.c.currency,
            accounts.c.exponent,
            func.count(accounts.c.account_id.distinct()),
            *_sums,
        )
        .select_from(accounts.outerjoin(entries, counted))
        .where(of_organization(accounts), accounts.c.ledger_id == any_(_ids))
        .group_by(accounts.c.ledger_id, accounts.c.currency, accounts.c.exponent)
        .order_by(accounts.c.currency)
    )
