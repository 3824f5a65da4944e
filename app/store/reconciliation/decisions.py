"""What people decide about matches: confirming and rejecting proposals, matching, unmatching.

What was parted is remembered, so that no rule makes it again; what was joined by hand holds,
whatever the rules say.
"""

from collections.abc import Container, Sequence
from typing import NamedTuple
from uuid import UUID

from app.ledger.accounts.state import Scope
from app.ledger.reconciliation.comparison import MAX_MEMBERS
from app.ledger.refusals import AlreadyMatched, MatchConfirmed, MatchNotFound, ValidationFailed
from app.store.database import Connection, all_rows, tenancy
from app.store.reconciliation.acts import (
    CONFIRM,
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
from app.store.reconciliation.matching.work import POSTED, Subject


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
    taken = await all_rows(connection, TAKEN_OF_MATCHES, parameters)
    if taken:
        raise AlreadyMatched(match_id=taken[0][0], path=("input", "matchIds"))
    for statement in CONFIRM:
        await connection.execute(statement, parameters)
    await tell(connection, subject, author, Kind.CONFIRMED, reason, {"matches": proposed})
    await examine(connection, subject)
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
    await tell(connection, subject, author, Kind.REJECTED, reason, details)
    await examine(connection, subject)
    return subject.reconciliation_id


async def unmatch(connection: Connection, author: Author, match_id: UUID, reason: str) -> UUID:
    """Take a match away, confirmed or not; no rule makes it again.

    Raises MatchNotFound, ReconciliationClosed, MatchConfirmed, ValidationFailed.
    """
    require_reason(reason)
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
    await tell(connection, subject, author, Kind.UNMATCHED, reason, {"matches": [match_id]})
    await examine(connection, subject)
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
    require_reason(reason)
    lines, entries = sorted(set(lines)), sorted(set(entries))
    if not 2 <= len(lines) + len(entries) <= MAX_MEMBERS:
        raise ValidationFailed(message=f"A match has from 2 to {MAX_MEMBERS} lines and entries.")
    subject = await lock_open(connection, author.scope, reconciliation_id)
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
    match_id = await make_match(connection, subject, author, "manual", lines, entries, reason)
    details = {"matches": [match_id], "withdrawn": len(withdrawn)}
    await tell(connection, subject, author, Kind.MATCHED, reason, details)
    await examine(connection, subject)
    return match_id


class _Match(NamedTuple):
    match_id: UUID
    status: str


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
    subject = await lock_open(connection, scope, homes.pop())
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


async def _part(connection: Connection, subject: Subject, match_ids: Sequence[UUID]) -> None:
    await connection.execute(_REMEMBER_PARTED, {**subject.parameters, "matches": list(match_ids)})
    await delete_matches(connection, subject, match_ids)


# ---- statements ----------------------------------------------------------------------------------

_HOMES_OF_MATCHES = f"""
    SELECT m.match_id, m.reconciliation_id FROM reconciliation_matches m
    WHERE m.match_id = ANY(%(ids)s::uuid[]) AND {SEEN.format("m")}
"""  # noqa: S608  all of it is ours
_READ_MATCHES = f"""
    SELECT match_id, status FROM reconciliation_matches
    WHERE {THIS} AND match_id = ANY(%(ids)s::uuid[])
    ORDER BY match_id
"""  # noqa: S608  all of it is ours
_RESOLUTION_ON = f"""
    SELECT FROM reconciliation_discrepancies
    WHERE {THIS} AND kind <> '' AND status = 'resolved' AND resolved_match_id = %(match)s
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
