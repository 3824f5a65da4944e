"""What a transaction's entries do to the credit lots of their accounts (the rules: `lots.py`)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from app.ledger.accounts.balances import Effect
from app.ledger.accounts.state import Account
from app.ledger.transactions.lots import Lot, Movement, MovementKind, free, take
from app.ledger.transactions.record import Entry
from app.ledger.values import immutable

_SPENDING = (Effect.POST, Effect.SETTLE)


@immutable
class Kept:
    """Accounts with their lots carried forward, the lots that changed, and what was taken."""

    accounts: tuple[Account, ...]
    lots: tuple[Lot, ...]
    movements: tuple[Movement, ...]


def keep(
    changed: tuple[Account, ...],
    entries: Sequence[Entry],
    opened: Mapping[int, Lot],
    now: datetime,
    expiring: Lot | None = None,
    undone: int | None = None,
) -> Kept:
    """Carry the lots of changed accounts over their new entries.

    `opened` has the new lots by place of their entry. `expiring` is the lot that the entry on its
    account empties; `undone` the sequence of the transaction that the entries reverse.
    """

    def first(lot: Lot) -> bool:
        if expiring is not None:
            return lot.lot_id == expiring.lot_id
        return lot.transaction_sequence == undone

    if not opened and not any(account.lots for account in changed):
        return Kept(changed, (), ())
    accounts: list[Account] = []
    lots: list[Lot] = []
    movements: list[Movement] = []
    for account in changed:
        own = [
            (entry, opened.get(place))
            for place, entry in enumerate(entries)
            if entry.account_id == account.account_id
        ]
        if not account.lots and all(lot is None for _, lot in own):
            accounts.append(account)
            continue
        after = account.lots
        kind = MovementKind.SPENT
        if expiring is not None and expiring.account_id == account.account_id:
            kind = MovementKind.EXPIRED
        for entry, lot in own:
            posted = entry.balances_after.posted(account.normal_balance).amount
            if lot is not None:
                overdrawn = lot.amount - max(0, min(lot.amount, posted))
                brought, taken = take((lot,), overdrawn, entry.sequence)
                after = (*after, *brought)
            elif entry.direction is not account.normal_balance and entry.effect in _SPENDING:
                after, taken = take(after, entry.amount, entry.sequence, kind, first)
            else:
                continue
            movements += taken
        after = _due(after, account.pending_outgoing, now)
        before = {lot.lot_id: lot for lot in account.lots}
        lots += (lot for lot in after if before.get(lot.lot_id) != lot)
        accounts.append(replace(account, lots=tuple(lot for lot in after if lot.remaining)))
    return Kept(tuple(accounts), tuple(lots), tuple(movements))


def _due(lots: tuple[Lot, ...], outgoing: int, now: datetime) -> tuple[Lot, ...]:
    """Lots past their time, of which a hold has given something back, are due now."""
    waiting = [lot for lot in lots if lot.due_at is None and lot.expires_at <= now]
    if not any(lot.remaining for lot in waiting):
        return lots
    unreserved = free(lots, outgoing)
    return tuple(
        replace(lot, due_at=now) if lot in waiting and unreserved[lot.lot_id] else lot
        for lot in lots
    )
