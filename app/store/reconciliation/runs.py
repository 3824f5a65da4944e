"""Reconciliations as people work on them, and the task that runs them.

Every act is lock, read, decide, write, in one transaction: the external account's lock first, then
the reconciliation's, and in the end what is wrong is found anew (`matching.py`), so that matches,
discrepancies and the bridge are always of one moment. What was done is an event, by API key.

A resolution posts by the writer, on the writer's connection, while this transaction holds the locks
of the reconciliation; the writer never wants those, so nobody waits in a circle. Then it is linked.
A process that dies in between leaves the transaction in the ledger and the discrepancy open: the
same request again, under the same idempotency key, finds the transaction and links it, and cannot
post it twice.

A run may take long, so it is work for the task (`Runner`): a row of `reconciliation_runs` that is
not finished. All that a run does is one commit, which finishes the row too. So whoever is killed
leaves the run as it was, and whoever comes begins it anew; one process works at a time, as with
what falls due (`transactions/schedule.py`).
"""

from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import structlog
from psycopg import errors
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.reconciliation.comparison import (
    MAX_MEMBERS,
    Adjustment,
    CreateReconciliation,
    DiscrepancyKind,
    ReconciliationEventKind,
    ResolutionKind,
    Rule,
    check_reason,
)
from app.ledger.refusals import (
    AlreadyMatched,
    DiscrepancyNotFound,
    DiscrepancyStanding,
    ExternalAccountNotFound,
    IdempotencyConflict,
    MatchConfirmed,
    MatchNotFound,
    ReconciliationClosed,
    ReconciliationIncomplete,
    ReconciliationNotFound,
    TransactionNotReversible,
    ValidationFailed,
)
from app.ledger.transactions.commands import EntryDraft, PostTransaction, ReverseTransaction
from app.ledger.transactions.posting import Decision, Recorded
from app.store.database import Connection, Database, all_rows, tenancy
from app.store.reconciliation.matching import (
    AMOUNT_OF_ENTRY,
    AMOUNT_OF_LINE,
    MATCH_ID,
    POSTED,
    Found,
    Subject,
    Work,
    delete_matches,
)
from app.store.shifts import Lock, Shift, describe
from app.store.transactions.writer import Writer

RUN_SECONDS = 1800.0
ATTEMPTS = 3

Kind = ReconciliationEventKind
_RULES = list(Subject.__dataclass_fields__).index("rules")

log = structlog.get_logger(__name__)


class Author(NamedTuple):
    """Who acts: what an API key sees, and which key it is."""

    scope: Scope
    api_key_id: UUID


class Resolved(NamedTuple):
    """A discrepancy that a transaction resolved; `replayed` if the same request did so before."""

    reconciliation_id: UUID
    discrepancy_id: UUID
    transaction_id: UUID
    replayed: bool


# ---- making, running, closing --------------------------------------------------------------------


async def create(connection: Connection, command: CreateReconciliation) -> UUID:
    """Open a reconciliation. Raises ExternalAccountNotFound, ValidationFailed."""
    scope = command.scope
    found = await all_rows(
        connection, _FIND_EXTERNAL_ACCOUNT, {"id": command.external_account_id, **tenancy(scope)}
    )
    if not found:
        raise ExternalAccountNotFound
    ((known,),) = await all_rows(connection, _KNOWS_ZONE, {"zone": command.time_zone})
    if not known:
        raise ValidationFailed(
            message="The database knows no such time zone.", path=("input", "timeZone")
        )
    ledger_id, account_id = found[0]
    await connection.execute(
        _INSERT,
        {
            "organization": scope.organization_id,
            "reconciliation": command.reconciliation_id,
            "ledger": ledger_id,
            "external": command.external_account_id,
            "account": account_id,
            "name": command.name,
            "from": command.from_date,
            "through": command.through_date,
            "zone": command.time_zone,
            "margin": command.margin_days,
            "rules": Jsonb([rule.to_json() for rule in command.rules]),
            "api_key": command.api_key_id,
        },
    )
    return command.reconciliation_id


async def request_run(connection: Connection, author: Author, reconciliation_id: UUID) -> UUID:
    """Have a reconciliation run soon; one that waits already will do.

    Raises ReconciliationNotFound, ReconciliationClosed.
    """
    parameters = {"id": reconciliation_id, **tenancy(author.scope)}
    found = await all_rows(connection, _FIND, parameters)
    if not found:
        raise ReconciliationNotFound
    ledger_id, status = found[0]
    if status == "closed":
        raise ReconciliationClosed
    asked = {
        "organization": author.scope.organization_id,
        "reconciliation": reconciliation_id,
        "ledger": ledger_id,
        "run": uuid7(),
        "api_key": author.api_key_id,
    }
    # Nothing comes back where somebody else's was added in between; the next look sees it.
    while not (waiting := await all_rows(connection, _REQUEST_RUN, asked)):
        pass
    return UUID(str(waiting[0][0]))


async def close(
    connection: Connection,
    author: Author,
    reconciliation_id: UUID,
    *,
    accept_remaining: bool,
    reason: str | None,
) -> None:
    """Freeze a reconciliation; closing twice changes nothing.

    With `accept_remaining`, proposals are withdrawn and open discrepancies accepted for the reason.
    Raises ReconciliationNotFound, ReconciliationIncomplete, ValidationFailed.
    """
    if accept_remaining or reason is not None:
        check_reason(reason)
        _require_reason(reason)
    subject = await _lock(connection, author.scope, reconciliation_id)
    if subject.status == "closed":
        return
    if not subject.is_examined:
        raise ReconciliationIncomplete(
            message="It has never been run.", proposed_matches=0, open_discrepancies=0
        )
    if accept_remaining:
        proposed = await all_rows(connection, _PROPOSED, subject.parameters)
        await delete_matches(connection, subject, [match_id for (match_id,) in proposed])
        await Work(connection, subject).examine()
        accepted = await connection.execute(
            _ACCEPT_ALL,
            {**subject.parameters, "reason": reason, "api_key": author.api_key_id},
        )
        details = {"withdrawn": len(proposed), "accepted": max(accepted.rowcount, 0)}
        subject = await _lock(connection, author.scope, reconciliation_id)
    else:
        details = {}
    await Work(connection, subject).examine()
    ((proposals, open_discrepancies),) = await all_rows(connection, _REMAINING, subject.parameters)
    if proposals or open_discrepancies:
        raise ReconciliationIncomplete(
            proposed_matches=proposals, open_discrepancies=open_discrepancies
        )
    await _tell(connection, subject, author, Kind.CLOSED, reason, details)
    await connection.execute(_CLOSE, subject.parameters)


async def reopen(
    connection: Connection, author: Author, reconciliation_id: UUID, reason: str
) -> None:
    """Thaw a closed reconciliation; reopening an open one changes nothing.

    Raises ReconciliationNotFound, ValidationFailed.
    """
    _require_reason(reason)
    subject = await _lock(connection, author.scope, reconciliation_id)
    if subject.status == "open":
        return
    await _tell(connection, subject, author, Kind.REOPENED, reason, {})
    await connection.execute(_REOPEN, subject.parameters)


# ---- matches -------------------------------------------------------------------------------------


async def confirm(
    connection: Connection, author: Author, match_ids: Sequence[UUID], reason: str | None
) -> UUID:
    """Confirm proposals of one reconciliation; those confirmed before stay so.

    Raises MatchNotFound, ReconciliationClosed, AlreadyMatched, ValidationFailed.
    """
    subject, matches = await _lock_matches(connection, author.scope, match_ids)
    proposed = [match.match_id for match in matches if match.status == "proposed"]
    if not proposed:
        return subject.reconciliation_id
    parameters = {
        **subject.parameters,
        "matches": proposed,
        "reason": reason,
        "api_key": author.api_key_id,
    }
    taken = await all_rows(connection, _TAKEN_OF_MATCHES, parameters)
    if taken:
        raise AlreadyMatched(match_id=taken[0][0], path=("input", "matchIds"))
    for statement in _CONFIRM:
        await connection.execute(statement, parameters)
    await _tell(connection, subject, author, Kind.CONFIRMED, reason, {"matches": proposed})
    await Work(connection, subject).examine()
    return subject.reconciliation_id


async def reject(
    connection: Connection, author: Author, match_ids: Sequence[UUID], reason: str | None
) -> UUID:
    """Take proposals of one reconciliation away; no rule makes them again.

    Raises MatchNotFound, ReconciliationClosed, MatchConfirmed, ValidationFailed.
    """
    subject, matches = await _lock_matches(connection, author.scope, match_ids)
    for match in matches:
        if match.status == "confirmed":
            raise MatchConfirmed(
                message="The match is confirmed; undo it with unmatch.",
                match_id=match.match_id,
                path=("input", "matchIds"),
            )
    await _part(connection, subject, [match.match_id for match in matches])
    details = {"matches": [match.match_id for match in matches]}
    await _tell(connection, subject, author, Kind.REJECTED, reason, details)
    await Work(connection, subject).examine()
    return subject.reconciliation_id


async def unmatch(connection: Connection, author: Author, match_id: UUID, reason: str) -> UUID:
    """Take a match away, confirmed or not; no rule makes it again.

    Raises MatchNotFound, ReconciliationClosed, MatchConfirmed, ValidationFailed.
    """
    _require_reason(reason)
    try:
        subject, _ = await _lock_matches(connection, author.scope, [match_id])
    except MatchNotFound as refusal:
        refusal.path = ("input", "matchId")
        raise
    if await all_rows(connection, _RESOLUTION_ON, {**subject.parameters, "match": match_id}):
        raise MatchConfirmed(
            message="A resolution stands on the match; undo that with undoResolution.",
            match_id=match_id,
        )
    await _part(connection, subject, [match_id])
    await _tell(connection, subject, author, Kind.UNMATCHED, reason, {"matches": [match_id]})
    await Work(connection, subject).examine()
    return subject.reconciliation_id


async def match_manually(
    connection: Connection,
    author: Author,
    reconciliation_id: UUID,
    lines: Sequence[int],
    entries: Sequence[int],
    reason: str,
) -> UUID:
    """Match lines (by number) with entries (by sequence), whatever rules say; return the match.

    Proposals that have any of them are withdrawn. Lines alone, or entries alone, are those that
    undo one another. Raises ReconciliationNotFound, ReconciliationClosed, AlreadyMatched,
    ValidationFailed.
    """
    _require_reason(reason)
    lines, entries = sorted(set(lines)), sorted(set(entries))
    if not 2 <= len(lines) + len(entries) <= MAX_MEMBERS:
        raise ValidationFailed(message=f"A match has from 2 to {MAX_MEMBERS} lines and entries.")
    subject = await _lock_open(connection, author.scope, reconciliation_id)
    parameters = {**subject.parameters, "lines": lines, "entries": entries}
    ((known_lines, known_entries, inside),) = await all_rows(connection, _KNOWN_MEMBERS, parameters)
    if known_lines != len(lines):
        raise ValidationFailed(
            message="A line is not of the external account.", path=("input", "lineIds")
        )
    if known_entries != len(entries):
        raise ValidationFailed(
            message="An entry is not of the account, or posted nothing.",
            path=("input", "entryIds"),
        )
    if not inside:
        raise ValidationFailed(message="None of it is in the days of the reconciliation.")
    holding = await all_rows(connection, _MATCHES_WITH, parameters)
    for match_id, status in holding:
        if status == "confirmed":
            raise AlreadyMatched(match_id=match_id)
    withdrawn = [match_id for match_id, _ in holding]
    await delete_matches(connection, subject, withdrawn)
    match_id = await _make_match(connection, subject, author, "manual", lines, entries, reason)
    details = {"matches": [match_id], "withdrawn": len(withdrawn)}
    await _tell(connection, subject, author, Kind.MATCHED, reason, details)
    await Work(connection, subject).examine()
    return match_id


# ---- discrepancies -------------------------------------------------------------------------------


async def accept(connection: Connection, author: Author, discrepancy_id: UUID, reason: str) -> UUID:
    """Take a discrepancy for granted; accepting it again changes nothing.

    Raises DiscrepancyNotFound, DiscrepancyStanding, ReconciliationClosed, ValidationFailed.
    """
    _require_reason(reason)
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
    await _tell(connection, subject, author, Kind.RESOLVED, reason, details)
    await Work(connection, subject).examine()
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
    subject = await _lock_open(connection, author.scope, subject.reconciliation_id)
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
    await _tell(connection, subject, author, Kind.RESOLVED, adjustment.reason, details)
    await Work(connection, subject).examine()
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
    _require_reason(reason)
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
        subject = await _lock_open(connection, author.scope, subject.reconciliation_id)
        await _unlink(connection, subject, author, discrepancy, transaction_id, reversals, reason)
    await connection.execute(_UNDO, {**subject.parameters, "discrepancy": discrepancy_id})
    await _tell(connection, subject, author, Kind.RESOLUTION_UNDONE, reason, details)
    await Work(connection, subject).examine()
    return subject.reconciliation_id


# ---- the parts of acts ---------------------------------------------------------------------------


class _Match(NamedTuple):
    match_id: UUID
    status: str


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


async def _lock(connection: Connection, scope: Scope, reconciliation_id: UUID) -> Subject:
    parameters = {"id": reconciliation_id, **tenancy(scope)}
    if not await all_rows(connection, _FIND, parameters):
        raise ReconciliationNotFound
    await connection.execute(_LOCK_EXTERNAL_ACCOUNT, parameters)
    await connection.execute(_LOCK_RECONCILIATION, parameters)
    (row,) = await all_rows(connection, _READ_SUBJECT, parameters)
    values = list(row)
    values[_RULES] = tuple(Rule.from_json(rule) for rule in values[_RULES])
    return Subject(*values)


async def _lock_open(connection: Connection, scope: Scope, reconciliation_id: UUID) -> Subject:
    subject = await _lock(connection, scope, reconciliation_id)
    if subject.status == "closed":
        raise ReconciliationClosed
    return subject


async def _lock_matches(
    connection: Connection, scope: Scope, match_ids: Sequence[UUID]
) -> tuple[Subject, list[_Match]]:
    """The open reconciliation of these matches, and the matches. Raises MatchNotFound."""
    wanted = sorted(set(match_ids))
    if not 1 <= len(wanted) <= MAX_MEMBERS:
        raise ValidationFailed(
            message=f"From 1 to {MAX_MEMBERS} matches at a time.", path=("input", "matchIds")
        )
    parameters = {"ids": wanted, **tenancy(scope)}
    rows = await all_rows(connection, _HOMES_OF_MATCHES, parameters)
    known = {row[0]: row[1] for row in rows}
    homes = set(known.values())
    _require_known(match_ids, known)
    if len(homes) > 1:
        raise ValidationFailed(
            message="The matches are of several reconciliations.", path=("input", "matchIds")
        )
    subject = await _lock_open(connection, scope, homes.pop())
    found = [
        _Match(*row)
        for row in await all_rows(connection, _READ_MATCHES, {**subject.parameters, "ids": wanted})
    ]
    _require_known(match_ids, {match.match_id for match in found})
    return subject, found


def _require_known(match_ids: Sequence[UUID], known: Container[UUID]) -> None:
    """Raise MatchNotFound for the first of these that is not known; its path tells which."""
    for place, match_id in enumerate(match_ids):
        if match_id not in known:
            raise MatchNotFound(path=("input", "matchIds", str(place)))


async def _lock_discrepancy(
    connection: Connection, scope: Scope, discrepancy_id: UUID
) -> tuple[Subject, _Discrepancy]:
    parameters = {"id": discrepancy_id, **tenancy(scope)}
    found = await all_rows(connection, _HOME_OF_DISCREPANCY, parameters)
    if not found:
        raise DiscrepancyNotFound
    subject = await _lock_open(connection, scope, found[0][0])
    rows = await all_rows(
        connection, _READ_DISCREPANCY, {**subject.parameters, "discrepancy": discrepancy_id}
    )
    if not rows:
        raise DiscrepancyNotFound
    return subject, _Discrepancy(*rows[0])


def _require_reason(reason: str | None) -> None:
    if reason is None:
        raise ValidationFailed(message="A reason is required.", path=("input", "reason"))
    check_reason(reason)


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


async def _part(connection: Connection, subject: Subject, match_ids: Sequence[UUID]) -> None:
    await connection.execute(_REMEMBER_PARTED, {**subject.parameters, "matches": list(match_ids)})
    await delete_matches(connection, subject, match_ids)


async def _make_match(
    connection: Connection,
    subject: Subject,
    author: Author,
    origin: str,
    lines: Sequence[int],
    entries: Sequence[int],
    reason: str | None,
) -> UUID:
    """Keep a confirmed match of these lines and entries."""
    parameters = {
        **subject.parameters,
        "origin": origin,
        "lines": list(lines),
        "entries": list(entries),
        "reason": reason,
        "api_key": author.api_key_id,
    }
    ((match_id,),) = await all_rows(connection, _MAKE_MATCH, parameters)
    for statement in _MAKE_MEMBERS:
        await connection.execute(statement, {**parameters, "match": match_id})
    await connection.execute(_MEASURE_MATCH, {**parameters, "match": match_id})
    return UUID(str(match_id))


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
        return await _make_match(
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
    for statement in (*_CONFIRM, _ADD_ENTRIES, _MEASURE_MATCH):
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
        for statement in (_REMOVE_ENTRIES, _MEASURE_MATCH):
            await connection.execute(statement, parameters)
    members = sorted([*adjusting, *reversing])
    await _make_match(connection, subject, author, "resolution", [], members, reason)


async def _tell(
    connection: Connection,
    subject: Subject,
    author: Author,
    kind: ReconciliationEventKind,
    reason: str | None,
    details: dict[str, Any],
) -> None:
    plain = {
        name: [str(one) for one in value] if isinstance(value, list) else value
        for name, value in details.items()
    }
    await connection.execute(
        _TELL,
        {
            **subject.parameters,
            "kind": kind.value,
            "reason": reason,
            "details": Jsonb(plain),
            "api_key": author.api_key_id,
        },
    )


# ---- the task ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Runner:
    """Does the runs that were asked for, on a shift; one that was cut off is begun anew."""

    database: Database
    poll_seconds: float

    def shift(self) -> Shift:
        return Shift(
            Lock.RECONCILIATIONS, self.database, self.work, self.poll_seconds, patience=RUN_SECONDS
        )

    async def work(self, connection: Connection) -> float:
        """Do them all; return when to look again."""
        for run in await all_rows(connection, _UNFINISHED, {}):
            await run_one(connection, *run)
        return self.poll_seconds


async def run_one(
    connection: Connection,
    organization_id: UUID,
    run_id: UUID,
    reconciliation_id: UUID,
    api_key_id: UUID,
    mode: str,
) -> Found | None:
    """Do one run on a connection in autocommit mode; None if it cannot be done, which it then says.

    Raises psycopg.Error in an outage: then the run is still to be done.
    """
    this = {"organization": organization_id, "run": run_id}
    author = Author(Scope(organization_id, Mode(mode)), api_key_id)
    await connection.execute(_BEGIN_RUN, this)
    failure = "closed"
    for _ in range(ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(_FOR_MANY_ROWS)
                subject = await _lock_open(connection, author.scope, reconciliation_id)
                found = await Work(connection, subject).run()
                details = {"run": str(run_id), **asdict(found)}
                await _tell(connection, subject, author, Kind.RUN, None, details)
                await connection.execute(_END_RUN, {**this, **asdict(found)})
        except ReconciliationClosed:
            break
        except (errors.UniqueViolation, errors.DeadlockDetected, errors.LockNotAvailable) as fault:
            failure = type(fault).__name__
        except psycopg.Error as fault:
            if isinstance(fault, psycopg.OperationalError) and not isinstance(
                fault, errors.QueryCanceled
            ):
                raise
            failure = type(fault).__name__
            log.exception("reconciliation_failed", run=str(run_id), **describe(fault))
            break
        else:
            return found
    await connection.execute(_FAIL_RUN, {**this, "failure": failure})
    return None


# ---- statements ----------------------------------------------------------------------------------

_SEEN = """
    {0}.organization_id = %(organization)s AND EXISTS (
        SELECT FROM ledgers g
        WHERE g.organization_id = {0}.organization_id AND g.ledger_id = {0}.ledger_id
            AND g.mode = %(mode)s AND (NOT %(restricted)s OR g.ledger_id = ANY(%(ledgers)s::uuid[]))
    )
"""
_THIS = "organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s"

_FIND_EXTERNAL_ACCOUNT = f"""
    SELECT x.ledger_id, x.account_id FROM external_accounts x
    WHERE x.external_account_id = %(id)s AND {_SEEN.format("x")}
"""  # noqa: S608  all of it is ours
_KNOWS_ZONE = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %(zone)s)"
_INSERT = """
    WITH made AS (
        INSERT INTO reconciliations (organization_id, reconciliation_id, ledger_id,
            external_account_id, account_id, name, from_date, through_date, time_zone, margin_days,
            rules, api_key_id, created_at, status, last_event)
        VALUES (%(organization)s, %(reconciliation)s, %(ledger)s, %(external)s, %(account)s,
            %(name)s, %(from)s, %(through)s, %(zone)s, %(margin)s, %(rules)s, %(api_key)s, now(),
            'open', 1)
        RETURNING *
    )
    INSERT INTO reconciliation_events (organization_id, reconciliation_id, number, kind, details,
        api_key_id, recorded_at)
    SELECT organization_id, reconciliation_id, 1, 'created', '{}', api_key_id, created_at FROM made
"""
_FIND = f"""
    SELECT r.ledger_id, r.status FROM reconciliations r
    WHERE r.reconciliation_id = %(id)s AND {_SEEN.format("r")}
"""  # noqa: S608  all of it is ours
_REQUEST_RUN = """
    WITH waiting AS (
        SELECT run_id FROM reconciliation_runs
        WHERE organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s
            AND status = 'waiting'
    ), added AS (
        INSERT INTO reconciliation_runs (organization_id, run_id, ledger_id, reconciliation_id,
            api_key_id, status, requested_at, confirmed, proposed, withdrawn, appeared, vanished)
        SELECT %(organization)s, %(run)s, %(ledger)s, %(reconciliation)s, %(api_key)s, 'waiting',
            now(), 0, 0, 0, 0, 0
        WHERE NOT EXISTS (SELECT FROM waiting)
        ON CONFLICT DO NOTHING
        RETURNING run_id
    )
    SELECT run_id FROM waiting UNION ALL SELECT run_id FROM added
"""
_LOCK_EXTERNAL_ACCOUNT = """
    SELECT FROM external_accounts x
    JOIN reconciliations r USING (organization_id, external_account_id)
    WHERE r.organization_id = %(organization)s AND r.reconciliation_id = %(id)s
    FOR NO KEY UPDATE OF x
"""
_LOCK_RECONCILIATION = """
    SELECT FROM reconciliations r
    WHERE r.organization_id = %(organization)s AND r.reconciliation_id = %(id)s
    FOR NO KEY UPDATE
"""
_READ_SUBJECT = """
    SELECT r.organization_id, r.reconciliation_id, r.ledger_id, r.external_account_id, r.account_id,
        r.from_date, r.through_date, r.time_zone, r.margin_days, r.rules, r.status, r.last_event,
        r.examined_at IS NOT NULL, CASE WHEN x.inverted THEN -1 ELSE 1 END, x.last_line,
        a.normal_balance, a.currency, a.version, r.from_date::timestamp AT TIME ZONE r.time_zone,
        (r.through_date + 1)::timestamp AT TIME ZONE r.time_zone
    FROM reconciliations r
    JOIN external_accounts x USING (organization_id, external_account_id)
    JOIN accounts a ON a.organization_id = r.organization_id AND a.account_id = r.account_id
    WHERE r.organization_id = %(organization)s AND r.reconciliation_id = %(id)s
"""
_TELL = f"""
    WITH counted AS (
        UPDATE reconciliations SET last_event = last_event + 1 WHERE {_THIS}
        RETURNING last_event
    )
    INSERT INTO reconciliation_events (organization_id, reconciliation_id, number, kind, reason,
        details, api_key_id, recorded_at)
    SELECT %(organization)s, %(reconciliation)s, last_event, %(kind)s, %(reason)s, %(details)s,
        %(api_key)s, now()
    FROM counted
"""  # noqa: S608  all of it is ours
_CLOSE = f"UPDATE reconciliations SET status = 'closed', closed_at = now() WHERE {_THIS}"  # noqa: S608
_REOPEN = f"UPDATE reconciliations SET status = 'open', closed_at = NULL WHERE {_THIS}"  # noqa: S608
_REMAINING = f"""
    SELECT (SELECT count(*) FROM reconciliation_matches
            WHERE {_THIS} AND score >= 0 AND status = 'proposed'),
        (SELECT count(*) FROM reconciliation_discrepancies
            WHERE {_THIS} AND kind <> '' AND status = 'open')
"""  # noqa: S608  all of it is ours
_PROPOSED = f"""
    SELECT match_id FROM reconciliation_matches
    WHERE {_THIS} AND score >= 0 AND status = 'proposed'
"""  # noqa: S608  all of it is ours
_ACCEPT_ALL = f"""
    UPDATE reconciliation_discrepancies SET status = 'accepted', resolution = 'accepted',
        reason = %(reason)s, api_key_id = %(api_key)s, resolved_at = now()
    WHERE {_THIS} AND kind <> '' AND status = 'open'
"""  # noqa: S608  all of it is ours

_HOMES_OF_MATCHES = f"""
    SELECT m.match_id, m.reconciliation_id FROM reconciliation_matches m
    WHERE m.match_id = ANY(%(ids)s::uuid[]) AND {_SEEN.format("m")}
"""  # noqa: S608  all of it is ours
_READ_MATCHES = f"""
    SELECT match_id, status FROM reconciliation_matches
    WHERE {_THIS} AND match_id = ANY(%(ids)s::uuid[])
    ORDER BY match_id
"""  # noqa: S608  all of it is ours
_TAKEN_OF_MATCHES = """
    SELECT o.match_id FROM reconciliation_match_lines i
    CROSS JOIN LATERAL (
        SELECT o.match_id FROM reconciliation_match_lines o
        WHERE o.organization_id = %(organization)s AND o.external_account_id = %(external)s
            AND o.number = i.number AND o.confirmed AND o.match_id <> i.match_id
        OFFSET 0
    ) o
    WHERE i.organization_id = %(organization)s AND i.match_id = ANY(%(matches)s::uuid[])
    UNION ALL
    SELECT o.match_id FROM reconciliation_match_entries i
    CROSS JOIN LATERAL (
        SELECT o.match_id FROM reconciliation_match_entries o
        WHERE o.organization_id = %(organization)s AND o.account_id = %(account)s
            AND o.sequence = i.sequence AND o.confirmed AND o.match_id <> i.match_id
        OFFSET 0
    ) o
    WHERE i.organization_id = %(organization)s AND i.match_id = ANY(%(matches)s::uuid[])
    LIMIT 1
"""
_TAKEN_OF_DISCREPANCY = f"""
    SELECT match_id FROM reconciliation_match_lines
    WHERE organization_id = %(organization)s AND external_account_id = %(external)s
        AND number = %(line)s AND confirmed
    UNION ALL
    SELECT match_id FROM reconciliation_match_entries
    WHERE organization_id = %(organization)s AND account_id = %(account)s
        AND sequence = %(entry)s AND confirmed
    UNION ALL
    ({_TAKEN_OF_MATCHES})
"""  # noqa: S608  all of it is ours
_CONFIRM = (
    """
    UPDATE reconciliation_matches SET status = 'confirmed', reason = %(reason)s,
        api_key_id = %(api_key)s, decided_at = now()
    WHERE organization_id = %(organization)s AND match_id = ANY(%(matches)s::uuid[])
        AND status = 'proposed'
    """,
    """
    UPDATE reconciliation_match_lines SET confirmed = true
    WHERE organization_id = %(organization)s AND match_id = ANY(%(matches)s::uuid[])
        AND NOT confirmed
    """,
    """
    UPDATE reconciliation_match_entries SET confirmed = true
    WHERE organization_id = %(organization)s AND match_id = ANY(%(matches)s::uuid[])
        AND NOT confirmed
    """,
)
_RESOLUTION_ON = f"""
    SELECT FROM reconciliation_discrepancies
    WHERE {_THIS} AND kind <> '' AND status = 'resolved' AND resolved_match_id = %(match)s
"""
_REMEMBER_PARTED = """
    INSERT INTO reconciliation_rejections (organization_id, reconciliation_id, number, sequence)
    SELECT %(organization)s, %(reconciliation)s, l.number, e.sequence
    FROM reconciliation_match_lines l
    JOIN reconciliation_match_entries e USING (organization_id, match_id)
    WHERE l.organization_id = %(organization)s AND l.match_id = ANY(%(matches)s::uuid[])
    UNION
    SELECT %(organization)s, %(reconciliation)s, -min(e.sequence), max(e.sequence)
    FROM reconciliation_match_entries e
    WHERE e.organization_id = %(organization)s AND e.match_id = ANY(%(matches)s::uuid[])
        AND NOT EXISTS (
            SELECT FROM reconciliation_match_lines l
            WHERE l.organization_id = e.organization_id AND l.match_id = e.match_id
        )
    GROUP BY e.match_id
    ON CONFLICT DO NOTHING
"""
_KNOWN_MEMBERS = f"""
    WITH lines AS (
        SELECT l.booked_on BETWEEN %(from)s AND %(through)s AS inside FROM statement_lines l
        WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
            AND l.number = ANY(%(lines)s::int8[])
    ), found AS (
        SELECT e.effective_at >= %(starts_at)s AND e.effective_at < %(ends_at)s AS inside
        FROM entries e
        WHERE e.organization_id = %(organization)s AND e.account_id = %(account)s
            AND e.sequence = ANY(%(entries)s::int8[]) AND {POSTED}
    )
    SELECT (SELECT count(*) FROM lines), (SELECT count(*) FROM found),
        EXISTS (SELECT FROM lines WHERE inside) OR EXISTS (SELECT FROM found WHERE inside)
"""  # noqa: S608  all of it is ours
_MATCHES_WITH = """
    SELECT m.match_id, m.status
    FROM (
        SELECT i.match_id FROM reconciliation_match_lines i
        WHERE i.organization_id = %(organization)s AND i.external_account_id = %(external)s
            AND i.number = ANY(%(lines)s::int8[])
        UNION
        SELECT i.match_id FROM reconciliation_match_entries i
        WHERE i.organization_id = %(organization)s AND i.account_id = %(account)s
            AND i.sequence = ANY(%(entries)s::int8[])
    ) i
    CROSS JOIN LATERAL (
        SELECT m.match_id, m.status FROM reconciliation_matches m
        WHERE m.organization_id = %(organization)s AND m.match_id = i.match_id
            AND (m.status = 'confirmed' OR m.reconciliation_id = %(reconciliation)s)
        OFFSET 0
    ) m
    ORDER BY m.match_id
"""
_MAKE_MATCH = f"""
    INSERT INTO reconciliation_matches (organization_id, match_id, reconciliation_id, ledger_id,
        status, origin, score, difference, reach, days, whole, late, foreign_currency, reason,
        api_key_id, decided_at)
    SELECT %(organization)s,
        {MATCH_ID.format(lines="%(lines)s::int8[]", entries="%(entries)s::int8[]")},
        %(reconciliation)s, %(ledger)s, 'confirmed', %(origin)s, 1000, 0, 0,
        coalesce((
            SELECT max((e.effective_at AT TIME ZONE %(zone)s)::date) FROM entries e
            WHERE e.organization_id = %(organization)s AND e.account_id = %(account)s
                AND e.sequence = ANY(%(entries)s::int8[])
        ) - (
            SELECT max(l.booked_on) FROM statement_lines l
            WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
                AND l.number = ANY(%(lines)s::int8[])
        ), 0), true, false,
        EXISTS (
            SELECT FROM statement_lines l
            WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
                AND l.number = ANY(%(lines)s::int8[]) AND l.currency <> %(currency)s
        ), %(reason)s, %(api_key)s, now()
    RETURNING match_id
"""  # noqa: S608  all of it is ours
_ADD_ENTRIES = """
    INSERT INTO reconciliation_match_entries (organization_id, match_id, account_id, sequence,
        reconciliation_id, confirmed)
    SELECT %(organization)s, %(match)s, %(account)s, unnest(%(entries)s::int8[]),
        %(reconciliation)s, true
"""
_MAKE_MEMBERS = (
    """
    INSERT INTO reconciliation_match_lines (organization_id, match_id, external_account_id, number,
        reconciliation_id, confirmed)
    SELECT %(organization)s, %(match)s, %(external)s, unnest(%(lines)s::int8[]),
        %(reconciliation)s, true
    """,
    _ADD_ENTRIES,
)
_REMOVE_ENTRIES = """
    DELETE FROM reconciliation_match_entries
    WHERE organization_id = %(organization)s AND match_id = %(match)s
        AND sequence = ANY(%(entries)s::int8[])
"""
# What a match's members come to: all of them, and those before the days.
_MEASURE_MATCH = f"""
    UPDATE reconciliation_matches m SET difference = s.difference, reach = s.reach, whole = s.whole
    FROM (
        SELECT coalesce(sum(amount), 0) AS difference,
            coalesce(sum(amount) FILTER (WHERE place < 0), 0) AS reach,
            bool_and(place = 0) AS whole
        FROM (
            SELECT {AMOUNT_OF_LINE} AS amount, CASE WHEN l.booked_on < %(from)s THEN -1
                WHEN l.booked_on > %(through)s THEN 1 ELSE 0 END AS place
            FROM reconciliation_match_lines i
            JOIN statement_lines l USING (organization_id, external_account_id, number)
            WHERE i.organization_id = %(organization)s AND i.match_id = %(match)s
            UNION ALL
            SELECT -({AMOUNT_OF_ENTRY}), CASE WHEN e.effective_at < %(starts_at)s THEN -1
                WHEN e.effective_at >= %(ends_at)s THEN 1 ELSE 0 END
            FROM reconciliation_match_entries i
            JOIN entries e USING (organization_id, account_id, sequence)
            WHERE i.organization_id = %(organization)s AND i.match_id = %(match)s
        ) members
    ) s
    WHERE m.organization_id = %(organization)s AND m.match_id = %(match)s
"""  # noqa: S608  all of it is ours

_HOME_OF_DISCREPANCY = f"""
    SELECT d.reconciliation_id FROM reconciliation_discrepancies d
    WHERE d.discrepancy_id = %(id)s AND {_SEEN.format("d")}
"""  # noqa: S608  all of it is ours
_READ_DISCREPANCY = f"""
    SELECT {", ".join(_Discrepancy._fields)} FROM reconciliation_discrepancies
    WHERE {_THIS} AND discrepancy_id = %(discrepancy)s
"""  # noqa: S608  all of it is ours
_RESOLVE = f"""
    UPDATE reconciliation_discrepancies SET status = %(status)s, resolution = %(resolution)s,
        reason = %(reason)s, api_key_id = %(api_key)s, resolved_at = now(),
        transaction_sequence = %(transaction_sequence)s, resolved_match_id = %(match)s
    WHERE {_THIS} AND discrepancy_id = %(discrepancy)s
"""  # noqa: S608  all of it is ours
_UNDO = f"""
    UPDATE reconciliation_discrepancies SET status = 'open', resolution = NULL, reason = NULL,
        api_key_id = NULL, resolved_at = NULL, transaction_sequence = NULL, resolved_match_id = NULL
    WHERE {_THIS} AND discrepancy_id = %(discrepancy)s
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

_FOR_MANY_ROWS = "SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)"
_UNFINISHED = """
    SELECT n.organization_id, n.run_id, n.reconciliation_id, n.api_key_id, l.mode
    FROM reconciliation_runs n
    JOIN ledgers l ON l.organization_id = n.organization_id AND l.ledger_id = n.ledger_id
    WHERE n.finished_at IS NULL
    ORDER BY n.requested_at, n.run_id
    LIMIT 10
"""
_BEGIN_RUN = """
    UPDATE reconciliation_runs SET status = 'running', started_at = now()
    WHERE organization_id = %(organization)s AND run_id = %(run)s AND finished_at IS NULL
"""
_END_RUN = """
    UPDATE reconciliation_runs SET status = 'completed', finished_at = clock_timestamp(),
        confirmed = %(confirmed)s, proposed = %(proposed)s, withdrawn = %(withdrawn)s,
        appeared = %(appeared)s, vanished = %(vanished)s
    WHERE organization_id = %(organization)s AND run_id = %(run)s
"""
_FAIL_RUN = """
    UPDATE reconciliation_runs SET status = 'failed', finished_at = now(), failure = %(failure)s
    WHERE organization_id = %(organization)s AND run_id = %(run)s
"""
