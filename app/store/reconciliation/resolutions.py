"""What people do about discrepancies: accepting, adjusting, writing off, and undoing that.

A resolution posts by the writer, on the writer's connection, while this transaction holds the locks
of the reconciliation; the writer never wants those, so nobody waits in a circle. Then it is linked.
A process that dies in between leaves the transaction in the ledger and the discrepancy open: the
same request again, under the same idempotency key, finds the transaction and links it, and cannot
post it twice.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from uuid_utils.compat import uuid7

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Scope
from app.ledger.reconciliation.comparison import Adjustment, DiscrepancyKind, ResolutionKind
from app.ledger.refusals import (
    AlreadyMatched,
    DiscrepancyNotFound,
    DiscrepancyStanding,
    IdempotencyConflict,
    TransactionNotReversible,
    ValidationFailed,
)
from app.ledger.transactions.commands import EntryDraft, PostTransaction, ReverseTransaction
from app.ledger.transactions.posting import Decision, Recorded
from app.store.database import Connection, all_rows, tenancy
from app.store.reconciliation.acts import (
    ADD_ENTRIES,
    CONFIRM,
    MEASURE_MATCH,
    SEEN,
    TAKEN_OF_MATCHES,
    THIS,
    Author,
    Kind,
    lock_open,
    make_match,
    require_reason,
    tell,
)
from app.store.reconciliation.matching.engine import examine
from app.store.reconciliation.matching.keeping import delete_matches
from app.store.reconciliation.matching.work import Subject
from app.store.transactions.writer import Writer


class Resolved(NamedTuple):
    """A discrepancy that a transaction resolved; `replayed` if the same request did so before."""

    reconciliation_id: UUID
    discrepancy_id: UUID
    transaction_id: UUID
    replayed: bool


async def accept(connection: Connection, author: Author, discrepancy_id: UUID, reason: str) -> UUID:
    """Take a discrepancy for granted; accepting it again changes nothing.

    Raises DiscrepancyNotFound, DiscrepancyStanding, ReconciliationClosed, ValidationFailed.
    """
    require_reason(reason)
    subject, discrepancy = await _lock_discrepancy(connection, author.scope, discrepancy_id)
    if discrepancy.status == "accepted":
        return subject.reconciliation_id
    _require_status(discrepancy, "open")
    await connection.execute(
        _RESOLVE,
        {
            **subject.parameters,
            "discrepancy": discrepancy_id,
            "status": "accepted",
            "resolution": ResolutionKind.ACCEPTED.value,
            "reason": reason,
            "api_key": author.api_key_id,
            "transaction_sequence": None,
            "match": None,
        },
    )
    details = {"discrepancies": [discrepancy_id], "resolution": ResolutionKind.ACCEPTED.value}
    await tell(connection, subject, author, Kind.RESOLVED, reason, details)
    await examine(connection, subject)
    return subject.reconciliation_id


async def adjust(
    connection: Connection,
    writer: Writer,
    author: Author,
    discrepancy_id: UUID,
    adjustment: Adjustment,
) -> Resolved:
    """Post what makes the ledger agree, against the counter account, and link it.

    Raises DiscrepancyNotFound, DiscrepancyStanding, ReconciliationClosed, AlreadyMatched,
    ValidationFailed and the refusals of the posting.
    """
    subject, discrepancy = await _lock_discrepancy(connection, author.scope, discrepancy_id)
    command = _adjusting(subject, discrepancy, adjustment, author.scope)
    command.check()
    if discrepancy.status != "open":
        await _require_same(connection, subject, discrepancy, adjustment.idempotency_key)
        decision = await writer.write(command)
        return Resolved(
            subject.reconciliation_id, discrepancy_id, _transaction_of(decision), replayed=True
        )
    await _require_free(connection, subject, discrepancy)
    transaction_id = _transaction_of(await writer.write(command))
    # The account has an entry more by now.
    subject = await lock_open(connection, author.scope, subject.reconciliation_id)
    entries = await _entries_of(connection, subject, transaction_id)
    if any(taken for *_, taken in entries):
        raise IdempotencyConflict(
            message="The transaction of this idempotency key is accounted for already.",
            transaction_id=transaction_id,
        )
    match_id = await _match_adjustment(
        connection, subject, author, discrepancy, [entry for _, entry, _ in entries], adjustment
    )
    resolution = ResolutionKind.WRITTEN_OFF if adjustment.written_off else ResolutionKind.ADJUSTED
    await connection.execute(
        _RESOLVE,
        {
            **subject.parameters,
            "discrepancy": discrepancy_id,
            "status": "resolved",
            "resolution": resolution.value,
            "reason": adjustment.reason,
            "api_key": author.api_key_id,
            "transaction_sequence": entries[0][0],
            "match": match_id,
        },
    )
    details = {
        "discrepancies": [discrepancy_id],
        "resolution": resolution.value,
        "transactions": [transaction_id],
    }
    await tell(connection, subject, author, Kind.RESOLVED, adjustment.reason, details)
    await examine(connection, subject)
    return Resolved(subject.reconciliation_id, discrepancy_id, transaction_id, replayed=False)


async def undo_resolution(
    connection: Connection,
    writer: Writer,
    author: Author,
    discrepancy_id: UUID,
    *,
    reason: str,
    idempotency_key: str | None,
    effective_at: datetime | None,
) -> UUID:
    """Open a discrepancy again; the transaction that resolved it is reversed.

    Raises DiscrepancyNotFound, DiscrepancyStanding, ReconciliationClosed, ValidationFailed and the
    refusals of the reversal.
    """
    require_reason(reason)
    subject, discrepancy = await _lock_discrepancy(connection, author.scope, discrepancy_id)
    if discrepancy.status == "open":
        _require_status(discrepancy, "resolved")
    details: dict[str, Any] = {"discrepancies": [discrepancy_id]}
    if discrepancy.status == "resolved":
        if idempotency_key is None:
            raise ValidationFailed(
                message="To reverse the transaction takes an idempotencyKey.",
                path=("input", "idempotencyKey"),
            )
        ((transaction_id, happened_at),) = await all_rows(
            connection,
            _TRANSACTION_OF_SEQUENCE,
            {**subject.parameters, "sequence": discrepancy.transaction_sequence},
        )
        command = ReverseTransaction(
            scope=author.scope,
            transaction_id=transaction_id,
            reversal_id=uuid7(),
            idempotency_key=idempotency_key,
            effective_at=effective_at or happened_at,
            description=f"Undone: {reason}"[:2000],
        )
        command.check()
        with suppress(TransactionNotReversible):  # where somebody has reversed it all already
            await writer.write(command)
        reversed_by = {**subject.parameters, "sequence": discrepancy.transaction_sequence}
        reversals = [one for (one,) in await all_rows(connection, _REVERSALS, reversed_by)]
        details["transactions"] = reversals
        subject = await lock_open(connection, author.scope, subject.reconciliation_id)
        await _unlink(connection, subject, author, discrepancy, transaction_id, reversals, reason)
    await connection.execute(_UNDO, {**subject.parameters, "discrepancy": discrepancy_id})
    await tell(connection, subject, author, Kind.RESOLUTION_UNDONE, reason, details)
    await examine(connection, subject)
    return subject.reconciliation_id


class _Discrepancy(NamedTuple):
    discrepancy_id: UUID
    kind: str
    day: date
    amount: int
    match_id: UUID | None
    line_number: int | None
    entry_sequence: int | None
    status: str
    transaction_sequence: int | None
    resolved_match_id: UUID | None


async def _lock_discrepancy(
    connection: Connection, scope: Scope, discrepancy_id: UUID
) -> tuple[Subject, _Discrepancy]:
    parameters = {"id": discrepancy_id, **tenancy(scope)}
    found = await all_rows(connection, _HOME_OF_DISCREPANCY, parameters)
    if not found:
        raise DiscrepancyNotFound
    subject = await lock_open(connection, scope, found[0][0])
    rows = await all_rows(
        connection, _READ_DISCREPANCY, {**subject.parameters, "discrepancy": discrepancy_id}
    )
    if not rows:
        raise DiscrepancyNotFound
    return subject, _Discrepancy(*rows[0])


def _require_status(discrepancy: _Discrepancy, status: str) -> None:
    if discrepancy.status != status:
        raise DiscrepancyStanding(
            message=f"The discrepancy is {discrepancy.status}, not {status}.",
            discrepancy_id=discrepancy.discrepancy_id,
            discrepancy_status=discrepancy.status,
        )


async def _require_same(
    connection: Connection, subject: Subject, discrepancy: _Discrepancy, key: str
) -> None:
    """Refuse unless the discrepancy was resolved under this idempotency key."""
    same = await all_rows(
        connection,
        _KEY_OF_SEQUENCE,
        {**subject.parameters, "sequence": discrepancy.transaction_sequence, "key": key},
    )
    if not same:
        _require_status(discrepancy, "open")


async def _require_free(
    connection: Connection, subject: Subject, discrepancy: _Discrepancy
) -> None:
    """Refuse what another reconciliation has matched since this one was examined."""
    taken = await all_rows(
        connection,
        _TAKEN_OF_DISCREPANCY,
        {
            **subject.parameters,
            "matches": [discrepancy.match_id],
            "line": discrepancy.line_number,
            "entry": discrepancy.entry_sequence,
        },
    )
    if taken:
        raise AlreadyMatched(match_id=taken[0][0], path=("input", "discrepancyId"))


def _adjusting(
    subject: Subject,
    discrepancy: _Discrepancy,
    adjustment: Adjustment,
    scope: Scope,
) -> PostTransaction:
    """The posting that takes the discrepancy out of the books."""
    if discrepancy.amount == 0 or discrepancy.kind == DiscrepancyKind.BALANCE_MISMATCH.value:
        raise ValidationFailed(
            message="No posting mends this discrepancy; it can be accepted.",
            path=("input", "discrepancyId"),
        )
    if adjustment.counter_account_id == subject.account_id:
        raise ValidationFailed(
            message="The counter account is the account that is reconciled: nothing would change.",
            path=("input", "entries", "1"),
        )
    normal = Direction(subject.normal_balance)
    side = normal if discrepancy.amount > 0 else normal.opposite
    amount = abs(discrepancy.amount)
    return PostTransaction(
        scope=scope,
        transaction_id=uuid7(),
        ledger_id=subject.ledger_id,
        idempotency_key=adjustment.idempotency_key,
        entries=(
            EntryDraft(subject.account_id, side, amount),
            EntryDraft(adjustment.counter_account_id, side.opposite, amount),
        ),
        description=adjustment.description or adjustment.reason,
        external_id=adjustment.external_id,
        metadata=adjustment.metadata,
        effective_at=adjustment.effective_at or _noon(discrepancy.day, subject.time_zone),
    )


def _noon(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(12), ZoneInfo(zone)).astimezone(UTC)


def _transaction_of(decision: Decision) -> UUID:
    if isinstance(decision, Recorded):
        return decision.transaction.transaction_id
    return decision.transaction_id


async def _entries_of(
    connection: Connection, subject: Subject, transaction_id: UUID
) -> Sequence[tuple[int, int, bool]]:
    """The transaction's sequence, that of its entry on the account, whether that is matched."""
    parameters = {**subject.parameters, "transaction": transaction_id}
    rows = await all_rows(connection, _ENTRIES_OF_TRANSACTION, parameters)
    return [(sequence, entry, taken) for sequence, entry, taken in rows]


async def _match_adjustment(
    connection: Connection,
    subject: Subject,
    author: Author,
    discrepancy: _Discrepancy,
    entries: Sequence[int],
    adjustment: Adjustment,
) -> UUID:
    """Let the adjusting entries join the match at fault, or make one with what had none."""
    if discrepancy.match_id is None:
        lines = [] if discrepancy.line_number is None else [discrepancy.line_number]
        own = [] if discrepancy.entry_sequence is None else [discrepancy.entry_sequence]
        return await make_match(
            connection,
            subject,
            author,
            "resolution",
            lines,
            sorted([*own, *entries]),
            adjustment.reason,
        )
    parameters = {
        **subject.parameters,
        "match": discrepancy.match_id,
        "matches": [discrepancy.match_id],
        "entries": list(entries),
        "reason": adjustment.reason,
        "api_key": author.api_key_id,
    }
    for statement in (*CONFIRM, ADD_ENTRIES, MEASURE_MATCH):
        await connection.execute(statement, parameters)
    return discrepancy.match_id


async def _unlink(
    connection: Connection,
    subject: Subject,
    author: Author,
    discrepancy: _Discrepancy,
    transaction_id: UUID,
    reversals: Sequence[UUID],
    reason: str,
) -> None:
    """Take the adjusting entries out of their match, and match them with their reversal."""
    assert discrepancy.resolved_match_id is not None
    adjusting = [entry for _, entry, _ in await _entries_of(connection, subject, transaction_id)]
    reversing = [
        entry
        for reversal_id in reversals
        for _, entry, _ in await _entries_of(connection, subject, reversal_id)
    ]
    if discrepancy.match_id is None:
        await delete_matches(connection, subject, [discrepancy.resolved_match_id])
    else:
        parameters = {
            **subject.parameters,
            "match": discrepancy.match_id,
            "entries": adjusting,
        }
        for statement in (_REMOVE_ENTRIES, MEASURE_MATCH):
            await connection.execute(statement, parameters)
    members = sorted([*adjusting, *reversing])
    await make_match(connection, subject, author, "resolution", [], members, reason)


# ---- statements ----------------------------------------------------------------------------------

_TAKEN_OF_DISCREPANCY = f"""
    SELECT match_id FROM reconciliation_match_lines
    WHERE organization_id = %(organization)s AND external_account_id = %(external)s
        AND number = %(line)s AND confirmed
    UNION ALL
    SELECT match_id FROM reconciliation_match_entries
    WHERE organization_id = %(organization)s AND account_id = %(account)s
        AND sequence = %(entry)s AND confirmed
    UNION ALL
    ({TAKEN_OF_MATCHES})
"""  # noqa: S608  all of it is ours
_REMOVE_ENTRIES = """
    DELETE FROM reconciliation_match_entries
    WHERE organization_id = %(organization)s AND match_id = %(match)s
        AND sequence = ANY(%(entries)s::int8[])
"""
_HOME_OF_DISCREPANCY = f"""
    SELECT d.reconciliation_id FROM reconciliation_discrepancies d
    WHERE d.discrepancy_id = %(id)s AND {SEEN.format("d")}
"""  # noqa: S608  all of it is ours
_READ_DISCREPANCY = f"""
    SELECT {", ".join(_Discrepancy._fields)} FROM reconciliation_discrepancies
    WHERE {THIS} AND discrepancy_id = %(discrepancy)s
"""  # noqa: S608  all of it is ours
_RESOLVE = f"""
    UPDATE reconciliation_discrepancies SET status = %(status)s, resolution = %(resolution)s,
        reason = %(reason)s, api_key_id = %(api_key)s, resolved_at = now(),
        transaction_sequence = %(transaction_sequence)s, resolved_match_id = %(match)s
    WHERE {THIS} AND discrepancy_id = %(discrepancy)s
"""  # noqa: S608  all of it is ours
_UNDO = f"""
    UPDATE reconciliation_discrepancies SET status = 'open', resolution = NULL, reason = NULL,
        api_key_id = NULL, resolved_at = NULL, transaction_sequence = NULL, resolved_match_id = NULL
    WHERE {THIS} AND discrepancy_id = %(discrepancy)s
"""  # noqa: S608  all of it is ours
_KEY_OF_SEQUENCE = """
    SELECT FROM transaction_events v
    WHERE v.organization_id = %(organization)s AND v.ledger_id = %(ledger)s
        AND v.idempotency_key = %(key)s AND v.transaction_sequence = %(sequence)s AND v.number = 1
"""
_TRANSACTION_OF_SEQUENCE = """
    SELECT t.transaction_id, t.effective_at FROM transactions t
    WHERE t.organization_id = %(organization)s AND t.ledger_id = %(ledger)s
        AND t.sequence = %(sequence)s
"""
_REVERSALS = """
    SELECT t.transaction_id FROM transactions t
    WHERE t.organization_id = %(organization)s AND t.ledger_id = %(ledger)s
        AND t.reverses_sequence = %(sequence)s
    ORDER BY t.sequence
"""
_ENTRIES_OF_TRANSACTION = """
    SELECT t.sequence, e.sequence, EXISTS (
        SELECT FROM reconciliation_match_entries m
        WHERE m.organization_id = e.organization_id AND m.account_id = e.account_id
            AND m.sequence = e.sequence AND m.confirmed
    )
    FROM transactions t
    JOIN entries e ON e.organization_id = t.organization_id AND e.ledger_id = t.ledger_id
        AND e.transaction_sequence = t.sequence
    WHERE t.organization_id = %(organization)s AND t.transaction_id = %(transaction)s
        AND e.account_id = %(account)s
    ORDER BY e.sequence
"""
