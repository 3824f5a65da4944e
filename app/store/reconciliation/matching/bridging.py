"""From the ledger's balance to the statement's: the sums between them, and the bridge of them.

What the outside says of a moment is a balance that a statement states, or the nearest one that does
with the lines from there. Whatever is left between the two is an item of the bridge by its name.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from psycopg.types.json import Jsonb

from app.ledger.accounts.balances import Direction
from app.ledger.reconciliation.comparison import (
    Bridge,
    BridgeItem,
    BridgeItemKind,
    Counts,
    DiscrepancyKind,
    Statement,
    Sums,
)
from app.store.accounts.history import balances_of_version
from app.store.reconciliation.matching.work import AMOUNT_OF_LINE, Work

_STATEMENTS = """
    SELECT s.external_statement_id, s.number, s.from_date, s.through_date,
        s.opening_balance * %(sign)s::int4, s.closing_balance * %(sign)s::int4,
        s.line_total * %(sign)s::int4
    FROM external_statements s
    WHERE s.organization_id = %(organization)s AND s.external_account_id = %(external)s
        AND s.number > 0 AND s.currency = %(currency)s
"""
_LINES_BETWEEN = f"""
    SELECT coalesce(sum({AMOUNT_OF_LINE}), 0) FROM statement_lines l
    WHERE l.organization_id = %(organization)s AND l.external_account_id = %(external)s
        AND l.number > 0 AND l.booked_on BETWEEN %(first)s AND %(last)s
"""  # noqa: S608  all of it is ours
_FREE = """
    SELECT coalesce((SELECT sum(amount) FROM match_lines WHERE free AND inside), 0),
        coalesce((SELECT sum(amount) FROM match_entries WHERE inside), 0)
"""
_OF_MATCHES = """
    SELECT coalesce(sum(m.difference), 0), coalesce(sum(m.reach), 0),
        count(*) FILTER (WHERE m.status = 'confirmed'),
        count(*) FILTER (WHERE m.status = 'proposed')
    FROM reconciliation_matches m
    WHERE m.organization_id = %(organization)s AND m.reconciliation_id = %(reconciliation)s
        AND m.score >= 0
"""
_OF_DISCREPANCIES = """
    SELECT d.kind, d.status, count(*), sum(d.amount) FROM reconciliation_discrepancies d
    WHERE d.organization_id = %(organization)s AND d.reconciliation_id = %(reconciliation)s
        AND d.kind <> ''
    GROUP BY 1, 2
"""
_OF_LINES = """
    SELECT count(*), count(*) FILTER (WHERE NOT free AND NOT proposed),
        count(*) FILTER (WHERE proposed)
    FROM match_lines WHERE inside
"""
_BEFORE = """
    SELECT r.statement_balance - r.ledger_balance FROM reconciliations r
    WHERE r.organization_id = %(organization)s AND r.external_account_id = %(external)s
        AND r.last_event > 0 AND r.status = 'closed' AND r.through_date = %(from)s::date - 1
        AND r.statement_balance IS NOT NULL
    ORDER BY r.closed_at DESC, r.reconciliation_id LIMIT 1
"""
_CROSSING = """
    SELECT count(*) FROM reconciliation_matches m
    WHERE m.organization_id = %(organization)s AND m.ledger_id = %(ledger)s AND NOT m.whole
        AND (m.reconciliation_id = %(reconciliation)s OR m.status = 'confirmed')
        AND (EXISTS (
            SELECT FROM reconciliation_match_lines i
            JOIN statement_lines l USING (organization_id, external_account_id, number)
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
                AND i.external_account_id = %(external)s
                AND l.booked_on BETWEEN %(from)s AND %(through)s
        ) OR EXISTS (
            SELECT FROM reconciliation_match_entries i
            JOIN entries e USING (organization_id, account_id, sequence)
            WHERE i.organization_id = m.organization_id AND i.match_id = m.match_id
                AND i.account_id = %(account)s
                AND e.effective_at >= %(starts_at)s AND e.effective_at < %(ends_at)s
        ))
"""
_WRITE_STATE = """
    UPDATE reconciliations SET examined_at = now(), examined_version = %(version)s,
        examined_line = %(last_line)s, ledger_balance = %(ledger_balance)s,
        statement_balance = %(statement_balance)s, items = %(items)s, counts = %(counts)s
    WHERE organization_id = %(organization)s AND reconciliation_id = %(reconciliation)s
"""


async def add_up(work: Work) -> tuple[Sums, Sequence[Statement]]:
    """The balances on both sides, and what lies between them; and all statements there are."""
    subject = work.subject
    opening, closing = await balances_of_version(
        work.connection,
        subject.organization_id,
        subject.account_id,
        subject.version,
        [subject.starts_at, subject.ends_at],
        Direction(subject.normal_balance),
    )
    statements = [Statement(*row) for row in await work.rows(_STATEMENTS)]
    ((free_lines, free_entries),) = await work.rows(_FREE)
    ((differences, reach, *_),) = await work.rows(_OF_MATCHES)
    before = await work.rows(_BEFORE)
    sums = Sums(
        ledger_opening=opening,
        ledger_closing=closing,
        statement_opening=await _stated_before(work, statements, subject.from_date),
        statement_closing=await _stated_after(work, statements, subject.through_date),
        lines=await _lines_between(work, subject.from_date, subject.through_date),
        free_lines=free_lines,
        free_entries=free_entries,
        differences=differences,
        reach=reach,
        brought_forward=before[0][0] if before else None,
    )
    return sums, statements


async def _stated_before(work: Work, statements: Sequence[Statement], day: date) -> int | None:
    """The balance with which a day began, as stated or as lines lead to it."""
    for one in sorted(statements, key=lambda one: one.number):
        if one.from_date == day and one.opening is not None:
            return one.opening
    known = [s for s in statements if s.through_date and s.through_date < day]
    stated = await _stated_by(work, known, day.fromordinal(day.toordinal() - 1))
    if stated is not None:
        return stated
    later = [
        s
        for s in statements
        if s.from_date and day < s.from_date <= work.subject.through_date and s.opening is not None
    ]
    if not later:
        return None
    first = min(later, key=lambda one: (one.from_date, one.number))
    assert first.from_date is not None
    assert first.opening is not None
    last = first.from_date.fromordinal(first.from_date.toordinal() - 1)
    return first.opening - await _lines_between(work, day, last)


async def _stated_after(work: Work, statements: Sequence[Statement], day: date) -> int | None:
    """The balance with which a day ended, as stated or as lines lead to it."""
    known = [s for s in statements if s.through_date and s.through_date <= day]
    return await _stated_by(work, known, day)


async def _stated_by(work: Work, statements: Sequence[Statement], day: date) -> int | None:
    stated = [s for s in statements if s.closing is not None]
    if not stated:
        return None
    latest = max(stated, key=lambda one: (one.through_date, one.number))
    assert latest.through_date is not None
    assert latest.closing is not None
    if latest.through_date >= day:
        return latest.closing
    first = latest.through_date.fromordinal(latest.through_date.toordinal() + 1)
    return latest.closing + await _lines_between(work, first, day)


async def _lines_between(work: Work, first: date, last: date) -> int:
    ((total,),) = await work.rows(_LINES_BETWEEN, first=first, last=last)
    return int(total)


async def write_state(work: Work, sums: Sums) -> None:
    """Keep the bridge and the counts, as of now."""
    ((_, _, confirmed, proposed),) = await work.rows(_OF_MATCHES)
    ((lines, matched, of_proposals),) = await work.rows(_OF_LINES)
    ((crossing,),) = await work.rows(_CROSSING)
    ((free_entries,),) = await work.rows("SELECT count(*) FROM match_entries WHERE inside")
    found = [
        (kind, status, count, amount)
        for kind, status, count, amount in await work.rows(_OF_DISCREPANCIES)
    ]
    standing: dict[str, tuple[int, int]] = {}
    by_status: dict[str, int] = {}
    for kind, status, count, amount in found:
        by_status[status] = by_status.get(status, 0) + count
        if status != "resolved":
            before = standing.get(kind, (0, 0))
            standing[kind] = before[0] + count, before[1] + amount
    items = [
        *_item(BridgeItemKind.BROUGHT_FORWARD, 1, sums.carried),
        *_item(BridgeItemKind.TIMING_DIFFERENCE, crossing, sums.timing),
        *(
            BridgeItem(BridgeItemKind(kind.value), *standing[kind.value])
            for kind in DiscrepancyKind
            if kind.value in standing
        ),
    ]
    bridge = Bridge(sums.ledger_closing, sums.closing, tuple(items))
    counts = Counts(
        lines=lines,
        matched_lines=matched,
        proposed_lines=of_proposals,
        unmatched_entries=free_entries,
        confirmed_matches=confirmed,
        proposed_matches=proposed,
        open_discrepancies=by_status.get("open", 0),
        accepted_discrepancies=by_status.get("accepted", 0),
        resolved_discrepancies=by_status.get("resolved", 0),
    )
    await work.do(
        _WRITE_STATE,
        last_line=work.subject.last_line,
        ledger_balance=bridge.ledger_balance,
        statement_balance=bridge.statement_balance,
        items=Jsonb(
            [
                {"kind": i.kind.value, "count": i.count, "amount": str(i.amount)}
                for i in bridge.items
            ]
        ),
        counts=Jsonb(asdict(counts)),
    )


def _item(kind: BridgeItemKind, count: int, amount: int) -> Sequence[BridgeItem]:
    return [BridgeItem(kind, count, amount)] if amount else []
