"""Work on a reconciliation: confirming, rejecting, resolving, undoing, closing, and what stays."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from app.ledger.accounts.balances import Direction
from app.ledger.reconciliation.comparison import Adjustment, EntryField, LineField, Rule, RuleKind
from app.ledger.refusals import (
    AlreadyMatched,
    DiscrepancyStanding,
    IdempotencyConflict,
    InsufficientFunds,
    MatchConfirmed,
    MatchNotFound,
    ReconciliationClosed,
    ReconciliationIncomplete,
    Refusal,
    ValidationFailed,
)
from app.ledger.transactions.commands import ReverseTransaction, SettleLine
from app.store.audit.verify import verify
from app.store.reconciliation import decisions, opening, resolutions, runs
from app.store.reconciliation.runs import Runner

from .desk import Desk, Line, Reconciling, Row, open_desk

REFERENCE = Rule("reference", RuleKind.REFERENCE, LineField.REFERENCE, EntryField.EXTERNAL_ID)
BY_DATE = Rule("date", RuleKind.AMOUNT_AND_DATE)


@pytest_asyncio.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """A desk; whatever was done at it, every invariant holds in the end."""
    async with open_desk(database_url) as opened:
        yield opened
    assert verify(database_url).violations == ()


async def ids(march: Reconciling, kind: str) -> list[UUID]:
    """The ids of its matches or discrepancies, in a fixed order."""
    found = await march.rows(
        {
            "matches": "SELECT match_id FROM reconciliation_matches m WHERE reconciliation_id ="
            " %(r)s ORDER BY (SELECT min(number) FROM reconciliation_match_lines l WHERE l.match_id"
            " = m.match_id)",
            "discrepancies": "SELECT discrepancy_id FROM reconciliation_discrepancies WHERE"
            " reconciliation_id = %(r)s ORDER BY kind, line_number, entry_sequence",
        }[kind]
    )
    return [identity for (identity,) in found]


async def refused(march: Reconciling, kind: type[Refusal], act: Any, *arguments: Any) -> Refusal:
    """The refusal of an act, which changed nothing."""
    before = await march.all()
    with pytest.raises(kind) as refusal:
        await march.do(act, *arguments)
    assert await march.all() == before
    return refusal.value


async def events(march: Reconciling) -> list[tuple[int, str, str | None]]:
    found = await march.rows(
        "SELECT number, kind, reason FROM reconciliation_events WHERE reconciliation_id = %(r)s"
        " ORDER BY number"
    )
    return [tuple(row) for row in found]


async def test_a_confirmed_proposal_stays(desk: Desk) -> None:
    """What somebody confirmed is kept by later runs, and told with author and reason."""
    await desk.post(Row(10, 4), Row(10, 4))
    await desk.state([Line(10, 4)], days=(1, 31), opening=0, closing=10)
    march = await desk.open(BY_DATE)
    await march.run()
    (match,) = await ids(march, "matches")
    await march.do(decisions.confirm, [match], "looked at it")
    assert await march.matches() == [("date", "confirmed", 500, [1], [1])]
    before = await march.all()
    await march.run()
    assert await march.all() == before
    assert await events(march) == [
        (1, "created", None),
        (2, "run", None),
        (3, "confirmed", "looked at it"),
        (4, "run", None),
    ]


async def test_a_rejected_pair_is_not_proposed_again(desk: Desk) -> None:
    """After a rejection the next best is proposed, and never the same pair."""
    await desk.post(Row(10, 4), Row(10, 4))
    await desk.state([Line(10, 4)], days=(1, 31), opening=0, closing=10)
    march = await desk.open(BY_DATE)
    await march.run()
    await march.do(decisions.reject, await ids(march, "matches"), None)
    assert await march.matches() == []
    assert await march.bridge() == (
        20,
        10,
        {"missing_in_ledger": 10, "missing_in_statement": -20},
        0,
    )
    await march.run()
    assert [match[3:] for match in await march.matches()] == [([1], [2])]
    await march.do(decisions.reject, await ids(march, "matches"), "no")
    await march.run()
    assert await march.matches() == []


async def test_what_was_certain_and_undone_is_not_made_again(desk: Desk) -> None:
    """Unmatching a certain match keeps runs from making it anew; by hand it can be."""
    await desk.post(Row(10, 4, "A"))
    await desk.state([Line(10, 4, "A")])
    march = await desk.open(REFERENCE, BY_DATE)
    await march.run()
    (match,) = await ids(march, "matches")
    await refused(march, MatchConfirmed, decisions.reject, [match], None)
    await refused(march, ValidationFailed, decisions.unmatch, match, " ")
    await march.do(decisions.unmatch, match, "another customer's")
    await march.run()
    assert await march.matches() == []
    await march.do(decisions.match_manually, march.id, [1], [1], "it was right")
    assert await march.matches() == [("manual", "confirmed", 1000, [1], [1])]


async def test_each_line_and_entry_counts_once(desk: Desk) -> None:
    """What is confirmed in one reconciliation is neither matched nor confirmed in another."""
    await desk.post(Row(10, 4), Row(10, 4))
    await desk.state([Line(10, 4), Line(-5, 5)])
    march, again = await desk.open(BY_DATE), await desk.open(BY_DATE)
    await march.run()
    await again.run()
    (ours,), (theirs,) = await ids(march, "matches"), await ids(again, "matches")
    await march.do(decisions.confirm, [ours], None)
    refusal = await refused(again, AlreadyMatched, decisions.confirm, [theirs], None)
    assert refusal.match_id == ours  # type: ignore[attr-defined]
    await refused(again, AlreadyMatched, decisions.match_manually, again.id, [1, 2], [2], "x")
    found = await again.run()
    assert (found.withdrawn, await again.matches()) == (1, [])
    gone = await refused(again, MatchNotFound, decisions.confirm, [theirs], None)
    assert gone.path == ("input", "matchIds", "0")
    assert gone.message.endswith("read the matches of the reconciliation again.")


async def test_by_hand_anything_that_is_there_can_be_matched(desk: Desk) -> None:
    """Only lines and entries of the account that posted something, two of them at least."""
    await desk.post(Row(100, 4), Row(-3, 4), Row(50, 5))
    await desk.state([Line(97, 4), Line(60, 6)])
    march = await desk.open(BY_DATE)
    await march.run()
    for lines, entries in (([1], []), ([1], [9]), ([7], [1]), ([], [])):
        await refused(
            march, ValidationFailed, decisions.match_manually, march.id, lines, entries, "why"
        )
    await march.do(decisions.match_manually, march.id, [1], [1, 2], "fee apart")
    await march.do(decisions.match_manually, march.id, [2], [3], "they paid more")
    assert await march.discrepancies() == [("amount_mismatch", 10, None, None)]


ADJUSTMENTS = {
    "missing in the ledger": ([], [Line(-7, 9, "F")], [], -7),
    "missing in the statement": ([Row(30, 9)], [Line(1, 9, "A")], [Row(1, 9, "A")], -30),
    "another amount": ([Row(100, 9, "X")], [Line(97, 9, "X")], [], -3),
    "another currency": ([Row(100, 9, "X")], [Line(90, 9, "X", currency="USD")], [], -100),
}


@pytest.mark.parametrize(("rows", "lines", "more", "amount"), ADJUSTMENTS.values(), ids=ADJUSTMENTS)
async def test_an_adjustment_mends_and_is_undone(
    rows: list[Row], lines: list[Line], more: list[Row], amount: int, desk: Desk
) -> None:
    """The posting takes the discrepancy out of the bridge at once; undoing brings it back."""
    await desk.post(*rows, *more)
    stated = sum(line.amount for line in lines if line.currency == "EUR")
    await desk.state(lines, days=(1, 31), opening=0, closing=stated)
    march = await desk.open(REFERENCE)
    await march.run()
    before = await march.bridge()
    ((_, found, _, _),) = await march.discrepancies()
    assert found == amount
    (discrepancy,) = await ids(march, "discrepancies")
    adjustment = Adjustment(desk.other, "adjust 1", "bank fee", written_off=True)
    resolved = await march.do_posting(resolutions.adjust, discrepancy, adjustment)
    assert not resolved.replayed
    assert await march.discrepancies() == []
    assert await march.bridge() == (before[0] + amount, stated, {}, 0)
    again = await march.do_posting(resolutions.adjust, discrepancy, adjustment)
    assert again == resolved._replace(replayed=True)
    await march.run()
    assert await march.bridge() == (before[0] + amount, stated, {}, 0)

    match = (
        await march.rows(
            "SELECT resolved_match_id FROM reconciliation_discrepancies"
            " WHERE reconciliation_id = %(r)s AND status = 'resolved'"
        )
    )[0][0]
    await refused(march, MatchConfirmed, decisions.unmatch, match, "no")
    other = Adjustment(desk.other, "adjust 2")
    with pytest.raises(DiscrepancyStanding):
        await march.do_posting(resolutions.adjust, discrepancy, other)

    await march.do_posting(
        resolutions.undo_resolution,
        discrepancy,
        reason="not ours",
        idempotency_key="undo 1",
        effective_at=None,
    )
    assert await march.bridge() == before
    assert await ids(march, "discrepancies") == [discrepancy]
    with pytest.raises(IdempotencyConflict):
        await march.do_posting(resolutions.adjust, discrepancy, adjustment)
    await march.run()
    assert await march.bridge() == before


async def test_what_was_reversed_otherwise_is_undone_too(desk: Desk) -> None:
    """An adjustment that somebody has reversed by itself, in parts, is undone all the same."""
    await desk.post(Row(100, 9, "X"))
    await desk.state([Line(90, 9, "X")], days=(1, 31), opening=0, closing=90)
    march = await desk.open(REFERENCE)
    await march.run()
    (discrepancy,) = await ids(march, "discrepancies")
    adjustment = Adjustment(desk.other, "adjust", "bank fee", written_off=True)
    resolved = await march.do_posting(resolutions.adjust, discrepancy, adjustment)
    scope, bank, other = desk.author.scope, desk.bank, desk.other
    lines = (SettleLine(bank, Direction.CREDIT, 4), SettleLine(other, Direction.DEBIT, 4))
    for key, part in (("part", lines), ("rest", None)):
        command = ReverseTransaction(scope, resolved.transaction_id, uuid7(), key, part)
        await desk.writer.write(command)
    await march.run()
    await march.do_posting(
        resolutions.undo_resolution,
        discrepancy,
        reason="not ours",
        idempotency_key="undo",
        effective_at=None,
    )
    assert discrepancy in await ids(march, "discrepancies")
    assert (await march.bridge())[3] == 0


async def test_a_crash_after_the_posting_loses_nothing(desk: Desk) -> None:
    """The same request again links the transaction that the first posted, and posts no other."""
    await desk.state([Line(-7, 9, "F")])
    march = await desk.open(REFERENCE)
    await march.run()
    (discrepancy,) = await ids(march, "discrepancies")
    adjustment = Adjustment(desk.other, "adjust 1", "fee")
    with pytest.raises(_Killed):
        await march.do_posting(_adjust_and_die, discrepancy, adjustment)
    assert await march.discrepancies() == [("missing_in_ledger", -7, 1, None)]
    await march.do_posting(resolutions.adjust, discrepancy, adjustment)
    assert await march.discrepancies() == []
    ((transactions,),) = await march.rows(
        "SELECT count(*) FROM transactions WHERE %(r)s IS NOT NULL"
    )
    assert transactions == 1


async def test_what_is_accepted_counts_and_stays(desk: Desk) -> None:
    """An accepted discrepancy is an item of the bridge, keeps its word over runs, can be undone."""
    await desk.state([Line(-7, 9, "F")], days=(1, 31), opening=0, closing=-7)
    march = await desk.open(REFERENCE)
    await march.run()
    (discrepancy,) = await ids(march, "discrepancies")
    await march.do(resolutions.accept, discrepancy, "known")
    before = await march.all()
    await march.run()
    await march.do(resolutions.accept, discrepancy, "again")
    assert await march.all() == before
    assert await march.bridge() == (0, -7, {"missing_in_ledger": -7}, 0)
    await march.do_posting(
        resolutions.undo_resolution,
        discrepancy,
        reason="hm",
        idempotency_key=None,
        effective_at=None,
    )
    ((status,),) = await march.rows(
        "SELECT status FROM reconciliation_discrepancies WHERE reconciliation_id = %(r)s"
    )
    assert status == "open"


async def test_a_refused_adjustment_changes_nothing(desk: Desk) -> None:
    """When the writer refuses the posting, the discrepancy is as it was."""
    await desk.state([Line(7, 9, "F")])
    march = await desk.open(REFERENCE)
    await march.run()
    (discrepancy,) = await ids(march, "discrepancies")
    before = await march.all()
    adjustment = Adjustment(uuid7(), "adjust 1")
    with pytest.raises(Refusal) as refusal:
        await march.do_posting(resolutions.adjust, discrepancy, adjustment)
    assert refusal.value.code == "ACCOUNT_NOT_FOUND"
    assert not isinstance(refusal.value, InsufficientFunds)
    assert await march.all() == before


async def test_an_adjustment_moves_something(desk: Desk) -> None:
    """Against the reconciled account itself it would mend nothing, and is refused."""
    await desk.post(Row(100, 9, "X"))
    await desk.state([Line(97, 9, "X")], days=(1, 31), opening=0, closing=97)
    march = await desk.open(REFERENCE)
    await march.run()
    (discrepancy,) = await ids(march, "discrepancies")
    before = await march.all()
    with pytest.raises(ValidationFailed) as refusal:
        await march.do_posting(resolutions.adjust, discrepancy, Adjustment(desk.bank, "adjust"))
    assert refusal.value.path == ("input", "entries", "1")
    assert await march.all() == before


async def test_closing_freezes(desk: Desk) -> None:
    """Closed, nothing of it changes: not by acts, not by runs, not by SQL; reopened it does."""
    await desk.post(Row(10, 4, "A"), Row(20, 5))
    await desk.state(
        [Line(10, 4, "A"), Line(20, 6), Line(3, 7)], days=(1, 31), opening=0, closing=33
    )
    march = await desk.open(REFERENCE, BY_DATE)
    await refused(march, ReconciliationIncomplete, _close, march.id)
    await march.run()
    refusal = await refused(march, ReconciliationIncomplete, _close, march.id)
    assert (refusal.proposed_matches, refusal.open_discrepancies) == (1, 1)  # type: ignore[attr-defined]
    await refused(march, ValidationFailed, _close_all, march.id, None)
    await march.do(_close_all, march.id, "year's end")
    assert await march.matches() == [("reference", "confirmed", 1000, [1], [1])]
    assert await march.bridge() == (
        30,
        33,
        {"missing_in_ledger": 23, "missing_in_statement": -20},
        0,
    )
    (match,) = await ids(march, "matches")
    await refused(march, ReconciliationClosed, decisions.unmatch, match, "no")
    await refused(march, ReconciliationClosed, runs.request_run, march.id)
    await refused(march, ReconciliationClosed, decisions.match_manually, march.id, [2], [2], "no")
    for table in (
        "reconciliation_matches",
        "reconciliation_match_lines",
        "reconciliation_match_entries",
        "reconciliation_discrepancies",
    ):
        with pytest.raises(psycopg.Error) as frozen:
            async with desk.database.writing() as connection:
                await connection.execute(f"DELETE FROM {table}")
        assert frozen.value.diag.constraint_name in (
            f"{table}_frozen",
            "reconciliation_match_lines_match",
            "reconciliation_match_entries_match",
        )
    before = await march.all()
    await march.do(_close, march.id)
    assert await march.all() == before
    await march.do(opening.reopen, march.id, "one more")
    await march.run()
    assert [match[1] for match in await march.matches()] == ["confirmed", "proposed"]


async def test_what_was_open_at_the_end_is_brought_forward(desk: Desk) -> None:
    """The next days begin with what the closed ones ended with, less what was matched since."""
    await desk.post(Row(100, 9, "A"), Row(30, 12, "B"), Row(5, 8))
    await desk.state([Line(100, 11, "A"), Line(30, 12, "B")], days=(1, 20), opening=0, closing=130)
    first = await desk.open(REFERENCE, days=(1, 10), margin_days=0)
    await first.run()
    assert await first.bridge() == (105, 0, {"missing_in_statement": -105}, 0)
    await first.do(_close_all, first.id, "in flight")
    second = await desk.open(REFERENCE, days=(11, 20))
    await second.run()
    assert await second.bridge() == (135, 130, {"brought_forward": -5}, 0)
    assert await second.discrepancies() == []
    await second.do(_close, second.id)
    await first.do(opening.reopen, first.id, "one more")
    await desk.post(Row(1, 7))
    await first.run()
    assert await first.bridge() == (
        106,
        0,
        {"missing_in_statement": -6, "timing_difference": -100},
        0,
    )


async def test_two_runs_at_once_come_to_the_same(desk: Desk) -> None:
    """Of two reconciliations that want the same lines one has them; nothing is left half done."""
    await desk.post(*(Row(n, 4, f"R{n}") for n in range(1, 41)))
    await desk.state([Line(n, 4, f"R{n}") for n in range(1, 41)])
    march, again = await desk.open(REFERENCE), await desk.open(REFERENCE)
    one, two = await asyncio.gather(march.run(), again.run())
    assert sorted([one.confirmed, two.confirmed]) == [0, 40]
    assert [await march.discrepancies(), await again.discrepancies()] == [[], []]


async def test_the_task_runs_what_was_asked_for(desk: Desk) -> None:
    """A run waits until some process has the time, and is done once; what died is begun anew."""
    await desk.post(Row(10, 4, "A"))
    await desk.state([Line(10, 4, "A")])
    march = await desk.open(REFERENCE)
    asked = [march.do(runs.request_run, march.id) for _ in range(12)]
    (run,) = set(await asyncio.gather(*asked))
    assert await march.do(runs.request_run, march.id) == run
    await march.rows(
        "UPDATE reconciliation_runs SET status = 'running', started_at = now()"
        " WHERE reconciliation_id = %(r)s RETURNING 1"
    )
    runner = Runner(desk.database, 0.02).shift()
    runner.start()
    try:
        async with asyncio.timeout(60):
            while not await march.matches():
                await asyncio.sleep(0.02)
    finally:
        await runner.stop()
    assert await march.rows(
        "SELECT status, confirmed FROM reconciliation_runs WHERE reconciliation_id = %(r)s"
    ) == [("completed", 1)]


class _Killed(Exception):
    """The process ends before it commits."""


async def _adjust_and_die(*arguments: Any) -> None:
    await resolutions.adjust(*arguments)
    raise _Killed


async def _close(connection: Any, author: Any, reconciliation_id: UUID) -> None:
    await opening.close(connection, author, reconciliation_id, accept_remaining=False, reason=None)


async def _close_all(
    connection: Any, author: Any, reconciliation_id: UUID, reason: str | None
) -> None:
    await opening.close(connection, author, reconciliation_id, accept_remaining=True, reason=reason)
