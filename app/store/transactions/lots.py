"""Credit lots as they are kept: read under their account's lock, written with its entries.

An account row says whether it has open lots; only for accounts that do are lots read, in a round
trip of its own, and the breakage accounts of those that are due are locked with them. Locking
accounts twice makes no circle: whoever moves balances of a ledger's accounts holds the ledger's
lock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from app.ledger.accounts.state import Account
from app.ledger.refusals import RefusedAttempt
from app.ledger.transactions.book import Book, OfOrganization
from app.ledger.transactions.lots import Lot, Movement
from app.ledger.transactions.posting import Deferred, Recorded
from app.store.arrays import (
    BOOLEANS,
    INT4S,
    INT8S,
    MOMENTS,
    NULL,
    NUMBERS,
    TEXTS,
    UUIDS,
    arrays,
    boolean,
    int4,
    int8,
    moment,
    number,
    single,
    text,
    uuid,
    word,
)
from app.store.database import Row
from app.store.pipeline import Statement, numbered

BREAKAGES_OF_DUE = """
    SELECT DISTINCT v.organization_id, v.breakage_account_id
    FROM unnest($1::uuid[], $2::uuid[]) AS h (organization_id, account_id)
    JOIN credit_lots v ON v.organization_id = h.organization_id AND v.account_id = h.account_id
        AND v.remaining > 0 AND v.due_at <= $3::timestamptz
"""

WANTED = "SELECT * FROM unnest($1::uuid[], $2::uuid[])"
WITH_BREAKAGES = f"{WANTED} UNION {BREAKAGES_OF_DUE}"

READ = f"""
    SELECT v.organization_id, v.lot_id, v.account_id, v.number, v.transaction_sequence, v.code,
        v.amount, v.remaining, v.expired, v.expires_at, v.breakage_account_id, v.due_at,
        v.refusal_code, v.refusal_message, v.refused_at, v.due_attempts
    FROM ({WITH_BREAKAGES}) AS wanted (organization_id, account_id)
    JOIN credit_lots v ON v.organization_id = wanted.organization_id
        AND v.account_id = wanted.account_id AND v.remaining > 0
"""  # noqa: S608  nothing from outside comes near it

WRITE_LOTS = numbered("""
    INSERT INTO credit_lots (organization_id, lot_id, account_id, number, ledger_id,
        transaction_sequence, code, amount, remaining, expired, expires_at, breakage_account_id,
        due_at, due_attempts, refusal_code, refusal_message, refused_at)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::int8[], %s::uuid[], %s::int8[],
        %s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[], %s::uuid[],
        %s::timestamptz[], %s::int4[], %s::text[], %s::text[], %s::timestamptz[])
    ON CONFLICT (organization_id, lot_id) DO UPDATE SET
        remaining = EXCLUDED.remaining, expired = EXCLUDED.expired, due_at = EXCLUDED.due_at,
        due_attempts = EXCLUDED.due_attempts, refusal_code = EXCLUDED.refusal_code,
        refusal_message = EXCLUDED.refusal_message, refused_at = EXCLUDED.refused_at
""")
LOT = (
    *(UUIDS, UUIDS, UUIDS, INT8S, UUIDS, INT8S, TEXTS, NUMBERS, NUMBERS, NUMBERS, MOMENTS, UUIDS),
    *(MOMENTS, INT4S, TEXTS, TEXTS, MOMENTS),
)

WRITE_MOVEMENTS = numbered("""
    INSERT INTO lot_movements (organization_id, lot_id, account_id, sequence, kind, amount)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::int8[], %s::text[], %s::numeric[])
""")
MOVEMENT = (UUIDS, UUIDS, UUIDS, INT8S, TEXTS, NUMBERS)

WRITE_ACCOUNTS = numbered("""
    UPDATE accounts a SET has_lots = c.has_lots
    FROM unnest(%s::uuid[], %s::uuid[], %s::bool[]) AS c (organization_id, account_id, has_lots)
    WHERE a.organization_id = c.organization_id AND a.account_id = c.account_id
        AND a.has_lots <> c.has_lots
""")
ACCOUNT = (UUIDS, UUIDS, BOOLEANS)


def reading(accounts: Iterable[OfOrganization], now: datetime) -> list[bytes]:
    """The parameters of READ, and of BREAKAGES_OF_DUE."""
    keys = [(uuid(organization_id), uuid(account_id)) for organization_id, account_id in accounts]
    return [*arrays((UUIDS, UUIDS), keys), single(moment(now))]


def found(rows: Iterable[Row]) -> Mapping[OfOrganization, tuple[Lot, ...]]:
    """The open lots that were read, by account."""
    lots: dict[OfOrganization, tuple[Lot, ...]] = {}
    for organization_id, *columns, code, message, refused_at, attempts in rows:
        refused = None if code is None else RefusedAttempt(code, message, refused_at, attempts)
        lot = replace(Lot(*columns), refused=refused)
        key = (organization_id, lot.account_id)
        lots[key] = (*lots.get(key, ()), lot)
    return lots


def writing(book: Book, written: Iterable[Any]) -> list[Statement]:
    """Keep the lots that decisions opened and changed, and what was taken from them.

    No statement where there are none. Lots and accounts are written as they end; the entries that
    they refer to must be there.
    """
    lots: dict[OfOrganization, Lot] = {}
    movements: list[tuple[bytes, ...]] = []
    for decision in written:
        if isinstance(decision, Deferred):
            lots[decision.account.organization_id, decision.lot.lot_id] = decision.lot
        elif isinstance(decision, Recorded) and (decision.lots or decision.movements):
            organization_id = decision.transaction.organization_id
            lots.update({(organization_id, lot.lot_id): lot for lot in decision.lots})
            movements += (_movement_row(organization_id, one) for one in decision.movements)
    if not lots:
        return []
    accounts = {(organization_id, lot.account_id) for (organization_id, _), lot in lots.items()}
    statements: list[Statement] = [
        (WRITE_LOTS, arrays(LOT, (_lot_row(book, key[0], lot) for key, lot in lots.items()))),
        (
            WRITE_ACCOUNTS,
            arrays(ACCOUNT, (_account_row(book.accounts[key]) for key in accounts)),
        ),
    ]
    if movements:
        statements.append((WRITE_MOVEMENTS, arrays(MOVEMENT, movements)))
    return statements


def _account_row(account: Account) -> tuple[bytes, ...]:
    return uuid(account.organization_id), uuid(account.account_id), boolean(bool(account.lots))


def _lot_row(book: Book, organization_id: UUID, lot: Lot) -> tuple[bytes, ...]:
    refused = lot.refused
    return (
        uuid(organization_id),
        uuid(lot.lot_id),
        uuid(lot.account_id),
        int8(lot.number),
        uuid(book.accounts[organization_id, lot.account_id].ledger_id),
        int8(lot.transaction_sequence),
        text(lot.code),
        number(lot.amount),
        number(lot.remaining),
        number(lot.expired),
        moment(lot.expires_at),
        uuid(lot.breakage_account_id),
        moment(lot.due_at),
        *(
            (NULL, NULL, NULL, NULL)
            if refused is None
            else (
                int4(refused.attempts),
                word(refused.code),
                text(refused.message),
                moment(refused.refused_at),
            )
        ),
    )


def _movement_row(organization_id: UUID, movement: Movement) -> tuple[bytes, ...]:
    return (
        uuid(organization_id),
        uuid(movement.lot_id),
        uuid(movement.account_id),
        int8(movement.sequence),
        word(movement.kind.value),
        number(movement.amount),
    )
