"""What does not agree: found anew after each act, and kept by its id while it says the same.

An id is a hash of what a discrepancy says, so one that people have accepted stays accepted until
its cause goes; and what is found twice is kept once.
"""

from collections.abc import Sequence

from app.ledger.reconciliation.comparison import (
    EntryField,
    LineField,
    Rule,
    Statement,
    Sums,
    faults_of,
)
from app.store.reconciliation.matching.piles import BY_TRANSACTION, LINE_KEY, WORDS_OF_LINE
from app.store.reconciliation.matching.work import Work


def _discrepancy_id(kind: str, *facts: str) -> str:
    return f"md5(concat_ws('|', %(reconciliation)s::uuid, {kind}, {', '.join(facts)}))::uuid"


_FIND_IN_MATCHES = f"""
    INSERT INTO match_found (discrepancy_id, kind, day, amount, match_id)
    SELECT {_discrepancy_id("v.kind", "m.match_id", "v.amount")}, v.kind, first.day, v.amount,
        m.match_id
    FROM reconciliation_matches m
    CROSS JOIN LATERAL (VALUES
        (CASE WHEN m.foreign_currency THEN 'currency_mismatch' ELSE 'amount_mismatch' END,
            m.difference, m.difference <> 0),
        ('date_mismatch', 0, m.late)
    ) AS v (kind, amount, holds)
    CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT min(l.booked_on) FROM reconciliation_match_lines i
            CROSS JOIN LATERAL (
                SELECT l.booked_on FROM statement_lines l
                WHERE l.organization_id = %(organization)s
                    AND l.external_account_id = %(external)s AND l.number = i.number
                OFFSET 0
            ) l
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
        ), (
            SELECT min((e.effective_at AT TIME ZONE %(zone)s)::date)
            FROM reconciliation_match_entries i
            CROSS JOIN LATERAL (
                SELECT e.effective_at FROM entries e
                WHERE e.organization_id = %(organization)s AND e.account_id = %(account)s
                    AND e.sequence = i.sequence
                OFFSET 0
            ) e
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
        )) AS day
    ) first
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0 AND v.holds
"""  # noqa: S608  all of it is ours

# A line doubles another of the same reference, or one of the same content that is matched.
_FIND_IN_LINES = f"""
    INSERT INTO match_found (discrepancy_id, kind, day, amount, line_number, other_line)
    WITH named AS (
        SELECT reference, stated, min(number) AS first, min(number) FILTER (WHERE NOT free) AS kept
        FROM match_lines WHERE plain AND reference IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
    ), ended AS (
        SELECT end_to_end_id, stated, min(number) AS kept
        FROM match_lines WHERE plain AND NOT free AND end_to_end_id IS NOT NULL GROUP BY 1, 2
    ), alike AS (
        SELECT day, stated, description, coalesce(counterparty, '') AS counterparty,
            min(number) AS kept
        FROM match_lines
        WHERE plain AND NOT free AND end_to_end_id IS NULL AND description IS NOT NULL
        GROUP BY 1, 2, 3, 4
    ), lines AS (
        SELECT l.*, CASE WHEN l.plain THEN
            coalesce(n.kept, e.kept, a.kept, CASE WHEN n.first < l.number THEN n.first END)
        END AS other
        FROM match_lines l
        LEFT JOIN named n ON n.reference = l.reference AND n.stated = l.stated
        LEFT JOIN ended e ON e.end_to_end_id = l.end_to_end_id AND e.stated = l.stated
        LEFT JOIN alike a ON l.end_to_end_id IS NULL AND a.day = l.day AND a.stated = l.stated
            AND a.description = l.description AND a.counterparty = coalesce(l.counterparty, '')
        WHERE l.free AND l.inside
    ), kinds AS (
        SELECT *, CASE WHEN NOT plain THEN 'currency_mismatch'
            WHEN other IS NOT NULL THEN 'duplicate_line' ELSE 'missing_in_ledger' END AS kind
        FROM lines
    )
    SELECT {_discrepancy_id("kind", "number", "amount")}, kind, day, amount, number, other
    FROM kinds
"""  # noqa: S608  all of it is ours


def _find_in_entries(rules: Sequence[tuple[Rule, int]]) -> str:
    """An entry doubles another if the line that it names is matched, and to the same amount."""
    claims = [_claim(rule, path) for rule, path in rules if rule.by_reference]
    claimed = " UNION ALL ".join(claims) or "SELECT NULL::int8, NULL::int8 WHERE false"
    return f"""
        INSERT INTO match_found (discrepancy_id, kind, day, amount, entry_sequence, other_line)
        SELECT {_discrepancy_id("kind", "sequence", "amount", "'entry'")}, kind, day, amount,
            sequence, other
        FROM (
            SELECT e.sequence, e.day, -e.amount AS amount, c.number AS other,
                CASE WHEN c.number IS NULL THEN 'missing_in_statement' ELSE 'duplicate_entry' END
                    AS kind
            FROM match_entries e
            LEFT JOIN (
                SELECT sequence, min(number) AS number FROM ({claimed}) AS c (sequence, number)
                GROUP BY sequence
            ) c ON c.sequence = e.sequence
            WHERE e.inside
        ) e
    """  # noqa: S608  all of it is ours


def _claim(rule: Rule, path: int) -> str:
    assert rule.line_field is not None
    assert rule.entry_field is not None
    words = WORDS_OF_LINE if rule.line_field is LineField.DESCRIPTION_WORD else ""
    named = f"""
        SELECT {LINE_KEY[rule.line_field]} AS key, l.number, l.amount
        FROM match_lines l {words} WHERE NOT l.free AND l.plain
    """  # noqa: S608  all of it is ours
    if rule.entry_field is EntryField.METADATA:
        source = f"match_entries e JOIN named k ON k.key = e.keys[{path}]"
    else:
        source = BY_TRANSACTION[rule.entry_field].replace(
            "(SELECT DISTINCT key FROM match_left) k", "named k"
        )
    return f"""
        (WITH named AS ({named}) SELECT e.sequence, k.number FROM {source}
        WHERE e.inside AND e.amount = k.amount)
    """  # noqa: S608  all of it is ours


_FIND_FAULT = f"""
    INSERT INTO match_found (discrepancy_id, kind, day, amount, external_statement_id)
    VALUES ({_discrepancy_id("'balance_mismatch'", "%(cause)s::text", "%(of)s::uuid", "%(amount)s::numeric")},
        'balance_mismatch', %(through)s, %(amount)s, %(of)s)
"""  # noqa: S608, E501  all of it is ours
_LOAD_OLD = """
    CREATE TEMP TABLE match_old (discrepancy_id uuid NOT NULL, status text NOT NULL) ON COMMIT DROP;
    INSERT INTO match_old
    SELECT d.discrepancy_id, d.status FROM reconciliation_discrepancies d
    WHERE d.organization_id = %(organization)s AND d.reconciliation_id = %(reconciliation)s
        AND d.kind <> ''
"""
_VANISHED = """
    SELECT array_agg(o.discrepancy_id) FROM match_old o
    WHERE o.status <> 'resolved'
        AND NOT EXISTS (SELECT FROM match_found f WHERE f.discrepancy_id = o.discrepancy_id)
"""
_DROP_VANISHED = """
    DELETE FROM reconciliation_discrepancies
    WHERE organization_id = %(organization)s AND discrepancy_id = ANY(%(vanished)s::uuid[])
"""
_KEEP_FOUND = """
    INSERT INTO reconciliation_discrepancies (organization_id, discrepancy_id, reconciliation_id,
        ledger_id, external_account_id, account_id, kind, day, amount, match_id, line_number,
        entry_sequence, other_line, external_statement_id, status)
    SELECT %(organization)s, f.discrepancy_id, %(reconciliation)s, %(ledger)s, %(external)s,
        %(account)s, f.kind, f.day, f.amount, f.match_id, f.line_number, f.entry_sequence,
        f.other_line, f.external_statement_id, 'open'
    FROM match_found f
    WHERE NOT EXISTS (SELECT FROM match_old o WHERE o.discrepancy_id = f.discrepancy_id)
"""


async def find(work: Work, sums: Sums, statements: Sequence[Statement]) -> tuple[int, int]:
    """Keep what does not agree; how many discrepancies are new, and how many are gone.

    The loaded tables hold what no match has.
    """
    rules = [(rule, work.path(rule)) for rule in work.subject.rules]
    await work.analyze("match_lines", "match_entries")
    await work.do(_FIND_IN_MATCHES)
    await work.do(_FIND_IN_LINES)
    await work.do(_find_in_entries(rules))
    await _find_faults(work, sums, statements)
    await work.analyze("match_found")
    for statement in _LOAD_OLD.split(";"):
        await work.do(statement)
    await work.analyze("match_old")
    ((vanished,),) = await work.rows(_VANISHED)
    if vanished:
        await work.do(_DROP_VANISHED, vanished=vanished)
    return await work.do(_KEEP_FOUND), len(vanished or ())


async def _find_faults(work: Work, sums: Sums, statements: Sequence[Statement]) -> None:
    """What statements say of balances that lines and entries do not explain."""
    subject = work.subject
    faults = faults_of(statements, subject.from_date, subject.through_date)
    for fault in faults:
        await work.do(_FIND_FAULT, cause=fault.cause, of=fault.statement_id, amount=fault.amount)
    rest = sums.unstated - sum(fault.amount for fault in faults)
    for cause, amount in (("before", sums.opening_fault), ("rest", rest)):
        if amount and sums.closing is not None:
            await work.do(_FIND_FAULT, cause=cause, of=None, amount=amount)
