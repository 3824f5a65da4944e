"""Limits of an account beyond its floor: the ceiling, the entry maximum, velocity limits.

The ceiling mirrors the floor. The floor guards available, the least that posted can come to by what
is pending; the ceiling guards the most that it can come to: posted plus what is pending on the
normal side. Money on its way out does not make room, for it might be voided. So nothing but a new
entry on the normal side can break a ceiling, and settling and voiding are never refused for it.

The entry maximum binds entries that move new money (posted or held), whichever way; settlements and
releases move what was let through before.

The expiry of a credit lot is the server's own and nobody's spending: no entry maximum and no
velocity limit refuses it. A velocity limit counts it, though, as all that goes out. A ceiling (of
the breakage account) and a floor do bind it: they say where an account may stand.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from app.ledger.accounts.balances import Direction, Effect
from app.ledger.accounts.state import Account
from app.ledger.accounts.velocities import Velocity
from app.ledger.refusals import CeilingExceeded, EntryTooLarge, Path, VelocityExceeded
from app.ledger.transactions.record import Entry, PastLine

OUTGOING: Mapping[Effect, int] = {
    Effect.POST: 1,
    Effect.HOLD: 1,
    Effect.SETTLE: 0,
    Effect.RELEASE: -1,
}
"""What an entry against the normal side does to a transaction's outgoing."""

_NEW = (Effect.POST, Effect.HOLD)


def refuse_too_large(
    accounts: Mapping[UUID, Account], lines: Iterable[tuple[UUID, Direction, Effect, int, object]]
) -> None:
    """Refuse the first line above its account's maximum."""
    for index, (account_id, _, effect, amount, _) in enumerate(lines):
        limits = accounts[account_id].limits
        maximum = None if limits is None else limits.entry_maximum
        if maximum is not None and effect in _NEW and amount > maximum:
            raise EntryTooLarge(
                message=f"An entry on this account is at most {maximum} minor units.",
                path=_amount_path(index),
                account_id=account_id,
                requested=amount,
                maximum=maximum,
            )


def refuse_above_ceiling(accounts: Mapping[UUID, Account], entries: Iterable[Entry]) -> None:
    """Refuse the first entry that raises the most an account can come to above its ceiling."""
    highest: dict[UUID, int] = {}
    for index, entry in enumerate(entries):
        account = accounts[entry.account_id]
        ceiling = None if account.limits is None else account.limits.balance_ceiling
        if ceiling is None:
            continue
        before = highest.get(account.account_id, account.highest)
        after = entry.balances_after.highest(account.normal_balance)
        if before < after and ceiling < after:
            raise CeilingExceeded(
                message=f"The account could come to {after}, above its ceiling of {ceiling}.",
                path=_amount_path(index),
                account_id=account.account_id,
                ceiling=ceiling,
                before=before,
                after=after,
            )
        highest[entry.account_id] = after


def counted(
    changed: Iterable[Account],
    past: Collection[PastLine],
    entries: Sequence[Entry],
    created_at: datetime,
    *,
    spending: bool = True,
) -> tuple[Account, ...]:
    """The accounts with a transaction's new entries counted by their velocity limits.

    `past` are the lines of the transaction so far; it was made at `created_at`. Refuses the first
    new outgoing entry of an account that one of its limits has no room for, if it is `spending`.
    """
    return tuple(
        replace(
            account,
            limits=replace(
                account.limits,
                velocities=_counted(
                    account, account.limits.velocities, past, entries, created_at, spending
                ),
            ),
        )
        if account.limits and account.limits.velocities
        else account
        for account in changed
    )


def _counted(
    account: Account,
    unchanged: tuple[Velocity, ...],
    past: Collection[PastLine],
    entries: Sequence[Entry],
    created_at: datetime,
    spending: bool,
) -> tuple[Velocity, ...]:
    before = after = sum(_outgoing(account, line) for line in past)
    velocities = unchanged
    for index, entry in enumerate(entries):
        step = _outgoing(account, entry)
        if step == 0:
            continue
        after += step
        velocities = tuple(
            velocity.with_outgoing(before, after, created_at) for velocity in unchanged
        )
        if spending and step > 0:
            for velocity, now in zip(unchanged, velocities, strict=True):
                if now.exceeded:
                    raise _exceeded(account, velocity, after - before, created_at, index)
    return velocities


def _outgoing(account: Account, line: PastLine | Entry) -> int:
    if line.account_id != account.account_id or line.direction is account.normal_balance:
        return 0
    return OUTGOING[line.effect] * line.amount


def _exceeded(
    account: Account, velocity: Velocity, requested: int, now: datetime, index: int
) -> VelocityExceeded:
    _, end = velocity.window.bounds(now)
    never = velocity.never_fits(requested)
    room = "never has room for this" if never else "has no room for this now"
    return VelocityExceeded(
        message=f'The limit "{velocity.name}" {room}.',
        path=_amount_path(index),
        account_id=account.account_id,
        limit_name=velocity.name,
        used_amount=velocity.used_amount,
        used_count=velocity.used_count,
        requested_amount=requested,
        maximum_amount=velocity.maximum_amount,
        maximum_count=velocity.maximum_count,
        window_seconds=velocity.window.seconds,
        period=velocity.window.period and velocity.window.period.value,
        time_zone=velocity.window.time_zone,
        retry_at=None if never else end,
    )


def _amount_path(index: int) -> Path:
    return ("input", "entries", str(index), "amount")
