"""Settlements as they are kept: what is unsettled is read under lock, what was settled is marked.

A settlement is a batch of its own (`Group.alone`), so what it reads is what is there, and nothing
of the same batch can change it. An account's unsettled entries are found from where they begin: the
last settlement says before which sequence it left none, and one that was released since, where its
own begin. So what has been settled long ago is not looked at again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from app.ledger.accounts.balances import Direction
from app.ledger.statements.settlements import MAX_SETTLED, Collected, CreateSettlement, Unsettled
from app.ledger.statements.statements import POSTED_EFFECTS
from app.ledger.transactions.book import Book
from app.ledger.transactions.posting import Recorded
from app.ledger.transactions.record import Transaction
from app.store.arrays import (
    INT4S,
    INT8S,
    MOMENTS,
    NUMBERS,
    UUIDS,
    array,
    arrays,
    int4,
    int8,
    moment,
    number,
    single,
    uuid,
)
from app.store.database import Row, Snapshot
from app.store.pipeline import Statement, numbered

_EFFECTS = ", ".join(f"'{effect}'" for effect in POSTED_EFFECTS)

# Of each wanted account the last settlement, where unsettled entries begin, and those entries.
_OPEN = f"""
    low AS (
        SELECT w.organization_id, w.account_id, coalesce(last.number, 0) AS number,
            least(coalesce(last.open_from, 1), (
                SELECT min(r.first_sequence) FROM settlements r
                WHERE r.organization_id = w.organization_id AND r.account_id = w.account_id
                    AND r.released_sequence > last.transaction_sequence
            )) AS open_from
        FROM wanted w
        LEFT JOIN LATERAL (
            SELECT s.number, s.open_from, s.transaction_sequence FROM settlements s
            WHERE s.organization_id = w.organization_id AND s.account_id = w.account_id
            ORDER BY s.number DESC LIMIT 1
        ) last ON true
    ), open AS MATERIALIZED (
        SELECT e.account_id, e.sequence, e.effective_at, e.direction, e.amount,
            coalesce(m.round, 0) + 1 AS round
        FROM low CROSS JOIN LATERAL (
            SELECT e.* FROM entries e
            WHERE e.organization_id = low.organization_id AND e.account_id = low.account_id
                AND e.sequence >= low.open_from AND e.effect IN ({_EFFECTS})
            OFFSET 0
        ) e
        LEFT JOIN LATERAL (
            SELECT m.round, s.released_sequence
            FROM settlement_entries m
            JOIN settlements s ON s.organization_id = m.organization_id
                AND s.settlement_id = m.settlement_id
            WHERE m.organization_id = e.organization_id AND m.account_id = e.account_id
                AND m.sequence = e.sequence
            ORDER BY m.round DESC LIMIT 1
        ) m ON true
        WHERE (m.round IS NULL OR m.released_sequence IS NOT NULL)
            AND NOT EXISTS (
                SELECT FROM settlements s
                WHERE s.organization_id = e.organization_id AND s.ledger_id = e.ledger_id
                    AND s.transaction_sequence = e.transaction_sequence
                    AND s.account_id = e.account_id
            )
            AND NOT EXISTS (
                SELECT FROM settlements s
                WHERE s.organization_id = e.organization_id AND s.ledger_id = e.ledger_id
                    AND s.released_sequence = e.transaction_sequence
                    AND s.account_id = e.account_id
            )
    )
"""  # noqa: S608  all of it is ours

READ = f"""
    WITH wanted AS (
        SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS w (organization_id, account_id)
    ), {_OPEN}
    SELECT low.number, coalesce((
            SELECT min(o.sequence) FROM open o WHERE o.effective_at >= $3::timestamptz
        ), a.version + 1), o.sequence, o.direction, o.amount, o.round
    FROM low
    LEFT JOIN accounts a ON a.organization_id = low.organization_id
        AND a.account_id = low.account_id
    LEFT JOIN LATERAL (
        SELECT * FROM open WHERE effective_at < $3::timestamptz ORDER BY sequence
        LIMIT {MAX_SETTLED + 1}
    ) o ON true
"""  # noqa: S608  all of it is ours

READ_PAYOUTS = """
    SELECT s.organization_id, s.settlement_id
    FROM unnest($1::uuid[], $2::uuid[]) AS wanted (organization_id, id)
    JOIN settlements s ON s.organization_id = wanted.organization_id
        AND s.settlement_id = wanted.id AND s.released_sequence IS NULL
"""
"""Which of some transactions are payouts whose entries are settled."""

_WRITE = numbered("""
    INSERT INTO settlements (organization_id, settlement_id, ledger_id, account_id, number,
        transaction_sequence, up_to, amount, entry_count, first_sequence, open_from)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::int8[], %s::int8[],
        %s::timestamptz[], %s::numeric[], %s::int8[], %s::int8[], %s::int8[])
""")
_SETTLEMENT = (*(UUIDS, UUIDS, UUIDS, UUIDS, INT8S, INT8S, MOMENTS, NUMBERS, INT8S, INT8S, INT8S),)
_WRITE_ENTRIES = numbered("""
    INSERT INTO settlement_entries (organization_id, account_id, sequence, round, settlement_id)
    SELECT %s::uuid, %s::uuid, e.sequence, e.round, %s::uuid
    FROM unnest(%s::int8[], %s::int4[]) AS e (sequence, round)
""")
_RELEASE = numbered("""
    UPDATE settlements s SET released_sequence = c.released_sequence
    FROM unnest(%s::uuid[], %s::uuid[], %s::int8[])
        AS c (organization_id, settlement_id, released_sequence)
    WHERE s.organization_id = c.organization_id AND s.settlement_id = c.settlement_id
""")


class UnsettledTotals(NamedTuple):
    """What an account's unsettled entries come to, in minor units."""

    debits: int
    credits: int
    entries: int


def reading(command: CreateSettlement) -> Statement:
    """The statement that finds what is unsettled of the account."""
    account = (uuid(command.scope.organization_id), uuid(command.account_id))
    return READ, [*arrays((UUIDS, UUIDS), [account]), single(moment(command.up_to))]


def collecting(command: CreateSettlement, found: Sequence[Row]) -> CreateSettlement:
    """The command with what was found."""
    ((last, open_from),) = {row[:2] for row in found}
    entries = tuple(
        Unsettled(sequence, Direction(direction), amount, turn)
        for _, _, sequence, direction, amount, turn in found
        if sequence is not None
    )
    return replace(command, collected=Collected(entries, last + 1, open_from))


def writing(made: Iterable[tuple[Any, Transaction]]) -> list[Statement]:
    """Keep a new settlement and the marks of its entries; no statement where there is none."""
    statements: list[Statement] = []
    for command, transaction in made:
        if not isinstance(command, CreateSettlement) or command.collected is None:
            continue
        collected, organization_id = command.collected, uuid(transaction.organization_id)
        amount = abs(
            sum(
                e.amount if e.direction is Direction.CREDIT else -e.amount
                for e in collected.entries
            )
        )
        settlement = (
            organization_id,
            uuid(transaction.transaction_id),
            uuid(transaction.ledger_id),
            uuid(command.account_id),
            int8(collected.number),
            int8(transaction.sequence),
            moment(command.up_to),
            number(amount),
            int8(len(collected.entries)),
            int8(collected.entries[0].sequence),
            int8(collected.open_from),
        )
        marks = [
            single(organization_id),
            single(uuid(command.account_id)),
            single(uuid(transaction.transaction_id)),
            array(INT8S, [int8(entry.sequence) for entry in collected.entries]),
            array(INT4S, [int4(entry.round) for entry in collected.entries]),
        ]
        statements += [(_WRITE, arrays(_SETTLEMENT, [settlement])), (_WRITE_ENTRIES, marks)]
    return statements


def releasing(book: Book, written: Iterable[Any]) -> list[Statement]:
    """Free the entries of payouts that were reversed; no statement where there are none."""
    if not book.payouts:
        return []
    payouts = {}
    for organization_id, transaction_id in book.payouts:
        payout = book.holds[organization_id, transaction_id].transaction
        payouts[organization_id, payout.ledger_id, payout.sequence] = transaction_id
    released = []
    for decision in written:
        if isinstance(decision, Recorded) and decision.transaction.reverses_sequence is not None:
            reversal = decision.transaction
            key = (reversal.organization_id, reversal.ledger_id, reversal.reverses_sequence)
            if key in payouts:
                released.append(
                    (uuid(reversal.organization_id), uuid(payouts[key]), int8(reversal.sequence))
                )
    return [(_RELEASE, arrays((UUIDS, UUIDS, INT8S), released))] if released else []


async def unsettled_by_account(
    snapshot: Snapshot, account_ids: Iterable[UUID]
) -> Mapping[UUID, UnsettledTotals]:
    """What the unsettled entries of each account come to; one without any is absent."""
    found = await snapshot.rows(_UNSETTLED, {"ids": list(account_ids)})
    return {account_id: UnsettledTotals(*totals) for account_id, *totals in found}


_UNSETTLED = f"""
    WITH wanted AS (
        SELECT a.organization_id, a.account_id FROM accounts a
        WHERE a.organization_id = %(organization)s AND a.account_id = ANY(%(ids)s::uuid[])
    ), {_OPEN}
    SELECT o.account_id, coalesce(sum(o.amount) FILTER (WHERE o.direction = 'debit'), 0),
        coalesce(sum(o.amount) FILTER (WHERE o.direction = 'credit'), 0), count(*)
    FROM open o GROUP BY 1
"""  # noqa: S608  all of it is ours
