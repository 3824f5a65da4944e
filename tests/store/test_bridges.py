"""Random histories: whatever happens to a reconciliation, nothing counts twice and nothing is lost.

An oracle in plain Python, over lists, says what is certain, and what the bridge must be made of.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.ledger.reconciliation.comparison import (
    Adjustment,
    EntryField,
    LineField,
    Rule,
    RuleKind,
    Tolerance,
)
from app.ledger.refusals import Refusal
from app.store.audit.verify import verify
from app.store.reconciliation import decisions, opening, resolutions

from .books import writing
from .desk import Desk, Line, Reconciling, Row, make_desk

Key = Callable[[Any], str | None]

EXAMPLES = 8
STEPS = 6
RULES = (
    Rule("reference", RuleKind.REFERENCE, LineField.REFERENCE, EntryField.EXTERNAL_ID),
    Rule("batch", RuleKind.REFERENCE, LineField.END_TO_END_ID, EntryField.METADATA, ("b",)),
    Rule(
        "batches",
        RuleKind.ONE_LINE_TO_MANY_ENTRIES,
        LineField.END_TO_END_ID,
        EntryField.METADATA,
        ("b",),
    ),
    Rule("halves", RuleKind.MANY_LINES_TO_ONE_ENTRY, LineField.REFERENCE, EntryField.EXTERNAL_ID),
    Rule("text", RuleKind.AMOUNT_AND_TEXT),
    Rule("date", RuleKind.AMOUNT_AND_DATE, days_before=2, days_after=1),
    Rule("fee", RuleKind.AMOUNT_AND_DATE, tolerance=Tolerance(2, 100)),
    Rule("day", RuleKind.ONE_LINE_TO_MANY_ENTRIES, days_before=1, days_after=0),
    Rule("reversed", RuleKind.REVERSED_ENTRIES),
)

MEMBERS = """
    SELECT m.reconciliation_id = %(r)s, m.status, 'line', i.number,
        l.booked_on BETWEEN r.from_date AND r.through_date, l.booked_on > r.through_date,
        CASE WHEN l.currency = 'EUR' THEN l.amount ELSE 0 END
    FROM reconciliations r
    JOIN reconciliation_matches m USING (organization_id)
    JOIN reconciliation_match_lines i USING (organization_id, match_id)
    JOIN statement_lines l ON l.organization_id = i.organization_id
        AND l.external_account_id = i.external_account_id AND l.number = i.number
    WHERE r.reconciliation_id = %(r)s
    UNION ALL
    SELECT m.reconciliation_id = %(r)s, m.status, 'entry', i.sequence,
        (e.effective_at AT TIME ZONE 'UTC')::date BETWEEN r.from_date AND r.through_date,
        (e.effective_at AT TIME ZONE 'UTC')::date > r.through_date,
        CASE e.direction WHEN 'debit' THEN -e.amount ELSE e.amount END
    FROM reconciliations r
    JOIN reconciliation_matches m USING (organization_id)
    JOIN reconciliation_match_entries i USING (organization_id, match_id)
    JOIN entries e ON e.organization_id = i.organization_id AND e.account_id = i.account_id
        AND e.sequence = i.sequence
    WHERE r.reconciliation_id = %(r)s
"""
LEDGER = """
    SELECT coalesce(sum(CASE e.direction WHEN 'debit' THEN e.amount ELSE -e.amount END), 0)
    FROM reconciliations r
    JOIN entries e ON e.organization_id = r.organization_id AND e.account_id = r.account_id
    WHERE r.reconciliation_id = %(r)s
        AND (e.effective_at AT TIME ZONE 'UTC')::date <= r.through_date
"""
LEFT = """
    SELECT count(*) FROM reconciliations r
    JOIN statement_lines l ON l.organization_id = r.organization_id
        AND l.external_account_id = r.external_account_id
    WHERE r.reconciliation_id = %(r)s AND l.booked_on BETWEEN r.from_date AND r.through_date
"""


@pytest.mark.parametrize("seed", range(EXAMPLES))
async def test_bridges_end_in_nothing(seed: int, database_url: str) -> None:
    """After every act each member counts once, and the items are the whole difference."""
    chosen = random.Random(seed)
    async with writing(database_url) as (database, writer):
        async with database.writing() as connection:
            desk = await make_desk(connection, database, writer)
        await desk.post(*_rows(chosen, 12, "first"))
        lines = _lines(chosen, 12)
        total = sum(line.amount for line in lines if line.currency == "EUR")
        await desk.state(
            lines,
            days=(1, 20),
            opening=chosen.choice((None, 0, 5)),
            closing=chosen.choice((None, total, total + 3)),
        )
        halves = [
            await desk.open(*RULES, days=days, margin_days=chosen.choice((0, 4, 30)))
            for days in ((1, 10), (11, 20))
        ]
        for number in range(STEPS):
            for half in halves:
                await _act(chosen, desk, half, number)
                await _look(half)
            if number == STEPS // 2:
                assert verify(database_url).violations == ()
                await desk.post(*_rows(chosen, 3, "later"))
        for half in halves:
            await half.do(_close)
            await _look(half)
    assert verify(database_url).violations == ()


@pytest.mark.parametrize("seed", range(EXAMPLES))
async def test_what_is_certain_is_what_the_oracle_says(seed: int, database_url: str) -> None:
    """Of references and amounts those are confirmed that are alone; no other, no fewer."""
    chosen = random.Random(seed)
    async with writing(database_url) as (database, writer):
        async with database.writing() as connection:
            desk = await make_desk(connection, database, writer)
        rows, lines = _rows(chosen, 15, "x"), _lines(chosen, 15)
        await desk.post(*rows)
        await desk.state(lines)
        march = await desk.open(*RULES[:2])
        await march.run()
        certain = sorted(
            (numbers[0], sequences[0])
            for _, status, _, numbers, sequences in await march.matches()
            if status == "confirmed"
        )
        assert certain == _certain(lines, rows)


def _certain(lines: Sequence[Line], rows: Sequence[Row]) -> list[tuple[int, int]]:
    """The oracle: over and over, pairs of one reference and amount with no other such."""
    keys: tuple[tuple[Key, Key], ...] = (
        (lambda line: line.reference, lambda row: row.external_id),
        (lambda line: line.end_to_end_id, lambda row: row.metadata.get("b")),
    )
    free_lines = {n: line for n, line in enumerate(lines, 1) if line.currency == "EUR"}
    free_rows = dict(enumerate(rows, 1))
    pairs: list[tuple[int, int]] = []
    while True:
        before = len(pairs)
        for of_line, of_row in keys:
            found = [
                (n, s)
                for n, line in free_lines.items()
                for s, row in free_rows.items()
                if of_line(line) is not None
                and of_line(line) == of_row(row)
                and line.amount == row.amount
            ]
            for n, s in found:
                if [n for n, _ in found].count(n) == 1 and [s for _, s in found].count(s) == 1:
                    pairs.append((n, s))
                    del free_lines[n], free_rows[s]
        if len(pairs) == before:
            return sorted(pairs)


def _rows(chosen: random.Random, many: int, name: str) -> list[Row]:
    return [
        Row(
            chosen.choice((5, 10, 10, 20, 33, -7)),
            chosen.randint(1, 20),
            f"R{n}" if name != "later" and chosen.random() < 0.6 else None,
            chosen.choice((None, "invoice seven", "rent")),
            {"b": chosen.choice("PQ")} if chosen.random() < 0.5 else {},
        )
        for n in range(many)
    ]


def _lines(chosen: random.Random, many: int) -> list[Line]:
    return [
        Line(
            chosen.choice((5, 10, 10, 20, 32, -7, 40)),
            chosen.randint(1, 20),
            f"R{chosen.randint(0, many)}" if chosen.random() < 0.6 else None,
            chosen.choice((None, None, "P", "Q")),
            chosen.choice((None, "your invoice seven", "rent of March")),
            chosen.choice(("EUR",) * 9 + ("USD",)),
        )
        for _ in range(many)
    ]


async def _act(chosen: random.Random, desk: Desk, half: Reconciling, number: int) -> None:
    """Do something to it; a refusal is as good as any."""
    if number == 0:
        await half.run()
        return
    proposed = [row[0] for row in await half.rows(_OF.format("match", "matches", "proposed"))]
    confirmed = [row[0] for row in await half.rows(_OF.format("match", "matches", "confirmed"))]
    wrong = [row[0] for row in await half.rows(_OF.format("discrepancy", "discrepancies", "open"))]
    mended = [
        row[0] for row in await half.rows(_OF.format("discrepancy", "discrepancies", "resolved"))
    ]
    adjustment = Adjustment(desk.other, f"{half.id} {number} adjust", "because")
    acts: list[Any] = [half.run]
    if proposed:
        one = chosen.choice(proposed)
        acts += [
            lambda: half.do(decisions.confirm, [one], None),
            lambda: half.do(decisions.reject, [one], None),
        ]
    if confirmed:
        gone = chosen.choice(confirmed)
        acts.append(lambda: half.do(decisions.unmatch, gone, "because"))
    if wrong:
        it = chosen.choice(wrong)
        acts += [
            lambda: half.do(resolutions.accept, it, "because"),
            lambda: half.do_posting(resolutions.adjust, it, adjustment),
        ]
    if mended:
        again = chosen.choice(mended)
        acts.append(
            lambda: half.do_posting(
                resolutions.undo_resolution,
                again,
                reason="because",
                idempotency_key=f"{half.id} {number} undo",
                effective_at=None,
            )
        )
    members = [chosen.randint(1, 12)], [chosen.randint(1, 12)]
    acts.append(lambda: half.do(decisions.match_manually, half.id, *members, "because"))
    try:
        await chosen.choice(acts)()
    except Refusal:
        await half.run()


async def _look(half: Reconciling) -> None:
    """Hold the reconciliation against what its members say, added up in Python."""
    ledger, statement, items, rest = await half.bridge()
    assert rest in (0, None)
    assert (rest is None) == (statement is None)
    assert ledger == (await half.rows(LEDGER))[0][0]
    members = await half.rows(MEMBERS)
    taken = [(kind, number) for _, status, kind, number, *_ in members if status == "confirmed"]
    assert len(taken) == len(set(taken))
    own = [row for row in members if row[0]]
    others = [row for row in members if not row[0] and row[1] == "confirmed"]
    timing = -sum(row[-1] for row in own if row[-2]) + sum(row[-1] for row in others if row[-3])
    assert items.get("timing_difference", 0) == timing
    inside = {row[3] for row in [*own, *others] if row[2] == "line" and row[4]}
    missing = {line for _, _, line, _ in await half.discrepancies() if line is not None}
    assert inside & missing == set()
    assert len(inside) + len(missing) == (await half.rows(LEFT))[0][0]


async def _close(connection: Any, author: Any) -> None:
    """Close the one of the two that is open."""
    cursor = await connection.execute(
        "SELECT reconciliation_id FROM reconciliations WHERE status = 'open' ORDER BY from_date"
    )
    ((reconciliation_id,), *_) = await cursor.fetchall()
    await opening.close(
        connection, author, reconciliation_id, accept_remaining=True, reason="enough"
    )


_OF = (
    "SELECT {0}_id FROM reconciliation_{1} WHERE reconciliation_id = %(r)s AND status = '{2}'"
    " ORDER BY 1"
)
