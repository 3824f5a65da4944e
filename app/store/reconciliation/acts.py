"""What acts on a reconciliation have in common: who acts, the locks, matches by hand, the history.

Every act is lock, read, decide, write, in one transaction: the external account's lock first, then
the reconciliation's, and in the end what is wrong is found anew (see `matching`), so that matches,
discrepancies and the bridge are always of one moment. What was done is an event, by API key.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from app.ledger.accounts.state import Scope
from app.ledger.reconciliation.comparison import ReconciliationEventKind, Rule, check_reason
from app.ledger.refusals import ReconciliationClosed, ReconciliationNotFound, ValidationFailed
from app.store.database import Connection, all_rows, tenancy
from app.store.reconciliation.matching.keeping import MATCH_ID
from app.store.reconciliation.matching.work import AMOUNT_OF_ENTRY, AMOUNT_OF_LINE, Subject

Kind = ReconciliationEventKind
_RULES = list(Subject.__dataclass_fields__).index("rules")


class Author(NamedTuple):
    """Who acts: what an API key sees, and which key it is."""

    scope: Scope
    api_key_id: UUID


async def lock(connection: Connection, scope: Scope, reconciliation_id: UUID) -> Subject:
    """Lock a reconciliation and its external account, and read it.

    Raises ReconciliationNotFound.
    """
    parameters = {"id": reconciliation_id, **tenancy(scope)}
    if not await all_rows(connection, FIND, parameters):
        raise ReconciliationNotFound
    await connection.execute(_LOCK_EXTERNAL_ACCOUNT, parameters)
    await connection.execute(_LOCK_RECONCILIATION, parameters)
    (row,) = await all_rows(connection, _READ_SUBJECT, parameters)
    values = list(row)
    values[_RULES] = tuple(Rule.from_json(rule) for rule in values[_RULES])
    return Subject(*values)


async def lock_open(connection: Connection, scope: Scope, reconciliation_id: UUID) -> Subject:
    """The same of one that can be worked on. Raises ReconciliationClosed too."""
    subject = await lock(connection, scope, reconciliation_id)
    if subject.status == "closed":
        raise ReconciliationClosed
    return subject


def require_reason(reason: str | None) -> None:
    """Raise ValidationFailed unless there is a reason that can be kept."""
    if reason is None:
        raise ValidationFailed(message="A reason is required.", path=("input", "reason"))
    check_reason(reason)


async def make_match(
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
    await connection.execute(MEASURE_MATCH, {**parameters, "match": match_id})
    return UUID(str(match_id))


async def tell(
    connection: Connection,
    subject: Subject,
    author: Author,
    kind: ReconciliationEventKind,
    reason: str | None,
    details: dict[str, Any],
) -> None:
    """Add an event to the history; lists in `details` are of ids."""
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


# ---- statements ----------------------------------------------------------------------------------

SEEN = """
    {0}.organization_id = %(organization)s AND EXISTS (
        SELECT FROM ledgers g
        WHERE g.organization_id = {0}.organization_id AND g.ledger_id = {0}.ledger_id
            AND g.mode = %(mode)s AND (NOT %(restricted)s OR g.ledger_id = ANY(%(ledgers)s::uuid[]))
    )
"""
"""Whether an API key sees the row {0}, by its ledger."""

THIS = "organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s"
FIND = f"""
    SELECT r.ledger_id, r.status FROM reconciliations r
    WHERE r.reconciliation_id = %(id)s AND {SEEN.format("r")}
"""  # noqa: S608  all of it is ours
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
        UPDATE reconciliations SET last_event = last_event + 1 WHERE {THIS}
        RETURNING last_event
    )
    INSERT INTO reconciliation_events (organization_id, reconciliation_id, number, kind, reason,
        details, api_key_id, recorded_at)
    SELECT %(organization)s, %(reconciliation)s, last_event, %(kind)s, %(reason)s, %(details)s,
        %(api_key)s, now()
    FROM counted
"""  # noqa: S608  all of it is ours
TAKEN_OF_MATCHES = """
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
CONFIRM = (
    """
    UPDATE reconciliation_matches SET status = 'confirmed', reason = %(reason)s,
        api_key_id = %(api_key)s, decided_at = now()
    WHERE organization_id = %(organization)s AND match_id = ANY(%(matches)s::uuid[])
        AND status = 'proposed'
    """,
    *(
        f"UPDATE {table} SET confirmed = true WHERE organization_id = %(organization)s"  # noqa: S608
        " AND match_id = ANY(%(matches)s::uuid[]) AND NOT confirmed"
        for table in ("reconciliation_match_lines", "reconciliation_match_entries")
    ),
)
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
ADD_ENTRIES = """
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
    ADD_ENTRIES,
)

# What a match's members come to: all of them, and those before the days.
MEASURE_MATCH = f"""
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
