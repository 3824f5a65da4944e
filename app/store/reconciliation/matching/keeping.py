"""Keeping what was paired: a match is named by its members, so that the same is the same again.

A proposal that is made again stays as it is, with what people know it by; one that is not made any
more goes. What was confirmed is never touched here.
"""

from collections.abc import Sequence
from uuid import UUID

from app.store.database import Connection
from app.store.reconciliation.matching.pairs import CERTAIN
from app.store.reconciliation.matching.work import AMOUNT_OF_ENTRY, AMOUNT_OF_LINE, Subject, Work

MATCH_ID = (
    "md5(concat_ws('|', %(reconciliation)s::uuid, array_to_string({lines}, ','),"
    " array_to_string({entries}, ',')))::uuid"
)
REACH = f"""
    coalesce((
        SELECT sum({AMOUNT_OF_LINE}) FROM statement_lines l
        WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
            AND l.number = ANY({{lines}}) AND l.booked_on < %(from)s
    ), 0) - coalesce((
        SELECT sum({AMOUNT_OF_ENTRY}) FROM entries e
        WHERE e.organization_id = %(organization)s AND e.account_id = %(account)s
            AND e.sequence = ANY({{entries}}) AND e.effective_at < %(starts_at)s
    ), 0)
"""  # noqa: S608  all of it is ours
_NAME_PAIRS = """
    CREATE TEMP TABLE match_named ON COMMIT DROP AS
    SELECT NULL::uuid AS match_id, *, NULL::numeric AS reach FROM match_pairs LIMIT 0;
"""
_FILL_NAMED = f"""
    INSERT INTO match_named
    SELECT {MATCH_ID.format(lines="p.lines", entries="p.entries")}, p.*,
        CASE WHEN p.whole THEN 0 ELSE {REACH.format(lines="p.lines", entries="p.entries")} END
    FROM match_pairs p
"""  # noqa: S608  all of it is ours
_LOAD_BEFORE = """
    CREATE TEMP TABLE match_before (
        match_id uuid NOT NULL, rule text, score int4 NOT NULL, days int4 NOT NULL,
        late bool NOT NULL, whole bool NOT NULL, reach numeric NOT NULL
    ) ON COMMIT DROP;
    INSERT INTO match_before
    SELECT m.match_id, m.rule, m.score, m.days, m.late, m.whole, m.reach
    FROM reconciliation_matches m
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0 AND m.status = 'proposed'
"""
_STALE = f"""
    SELECT array_agg(m.match_id) FROM match_before m
    WHERE NOT EXISTS (
        SELECT FROM match_named n
        WHERE n.match_id = m.match_id AND n.rule = m.rule AND n.score = m.score
            AND n.score < {CERTAIN} AND n.days = m.days AND n.late = m.late
            AND n.reach = m.reach AND n.whole = m.whole
    )
"""  # noqa: S608  all of it is ours
_TAKEN_ELSEWHERE = """
    SELECT array_agg(DISTINCT m.match_id) FROM reconciliation_matches m
    CROSS JOIN LATERAL (
        SELECT FROM reconciliation_match_lines i
        CROSS JOIN LATERAL (
            SELECT FROM reconciliation_match_lines o
            WHERE o.organization_id = %(organization)s AND o.external_account_id = %(external)s
                AND o.number = i.number AND o.confirmed
            OFFSET 0
        ) o
        WHERE i.organization_id = %(organization)s AND i.match_id = m.match_id
        UNION ALL
        SELECT FROM reconciliation_match_entries i
        CROSS JOIN LATERAL (
            SELECT FROM reconciliation_match_entries o
            WHERE o.organization_id = %(organization)s AND o.account_id = %(account)s
                AND o.sequence = i.sequence AND o.confirmed
            OFFSET 0
        ) o
        WHERE i.organization_id = %(organization)s AND i.match_id = m.match_id
        OFFSET 0
    ) taken
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0 AND m.status = 'proposed'
"""
DELETE_MATCHES = tuple(
    f"DELETE FROM {table} WHERE organization_id = %(organization)s"  # noqa: S608  all of it is ours
    " AND match_id = ANY(%(matches)s::uuid[])"
    for table in (
        "reconciliation_match_lines",
        "reconciliation_match_entries",
        "reconciliation_matches",
    )
)
_KEEP_NEW = f"""
    INSERT INTO reconciliation_matches (organization_id, match_id, reconciliation_id, ledger_id,
        status, origin, rule, score, difference, reach, days, whole, late, foreign_currency,
        decided_at)
    SELECT %(organization)s, n.match_id, %(reconciliation)s, %(ledger)s,
        CASE WHEN n.score = {CERTAIN} THEN 'confirmed' ELSE 'proposed' END, 'rule', n.rule,
        n.score, n.difference, n.reach, n.days, n.whole, n.late, NOT n.plain,
        CASE WHEN n.score = {CERTAIN} THEN now() END
    FROM match_named n
    ON CONFLICT DO NOTHING
    RETURNING match_id, status
"""  # noqa: S608  all of it is ours
_NOTE_NEW = f"WITH kept AS ({_KEEP_NEW}) INSERT INTO match_kept SELECT * FROM kept"  # noqa: S608
_KEEP_LINES = f"""
    INSERT INTO reconciliation_match_lines (organization_id, match_id, external_account_id, number,
        reconciliation_id, confirmed)
    SELECT %(organization)s, n.match_id, %(external)s, unnest(n.lines), %(reconciliation)s,
        n.score = {CERTAIN}
    FROM match_named n JOIN match_kept k USING (match_id)
"""  # noqa: S608  all of it is ours
_KEEP_ENTRIES = f"""
    INSERT INTO reconciliation_match_entries (organization_id, match_id, account_id, sequence,
        reconciliation_id, confirmed)
    SELECT %(organization)s, n.match_id, %(account)s, unnest(n.entries), %(reconciliation)s,
        n.score = {CERTAIN}
    FROM match_named n JOIN match_kept k USING (match_id)
"""  # noqa: S608  all of it is ours


async def keep(work: Work) -> tuple[int, int, int]:
    """Keep the pairs as matches; how many are confirmed, proposed, and proposed no longer."""
    for statement in (_NAME_PAIRS, _FILL_NAMED, *_LOAD_BEFORE.split(";")):
        await work.do(statement)
    await work.analyze("match_named", "match_before")
    ((stale,),) = await work.rows(_STALE)
    if stale:
        await delete_matches(work.connection, work.subject, stale)
    await work.do("CREATE TEMP TABLE match_kept (match_id uuid, status text) ON COMMIT DROP")
    await work.do(_NOTE_NEW)
    await work.analyze("match_kept")
    await work.do(_KEEP_LINES)
    await work.do(_KEEP_ENTRIES)
    ((confirmed, proposed),) = await work.rows(
        "SELECT count(*) FILTER (WHERE status = 'confirmed'),"
        " count(*) FILTER (WHERE status = 'proposed') FROM match_kept"
    )
    return confirmed, proposed, len(stale or ())


async def withdraw_taken(work: Work) -> None:
    """Take proposals away that lost a line or an entry to another reconciliation."""
    ((taken,),) = await work.rows(_TAKEN_ELSEWHERE)
    if taken:
        await delete_matches(work.connection, work.subject, taken)


async def delete_matches(
    connection: Connection, subject: Subject, match_ids: Sequence[UUID]
) -> None:
    """Take matches away, with all that is in them."""
    for statement in DELETE_MATCHES:
        await connection.execute(
            statement, {"organization": subject.organization_id, "matches": list(match_ids)}
        )
