"""What a run makes of lines and entries: matches, discrepancies, a bridge that ends in nothing."""

from collections.abc import AsyncIterator

import pytest_asyncio

from app.ledger.reconciliation.comparison import EntryField, LineField, Rule, RuleKind, Tolerance
from app.store.audit.verify import verify

from .desk import Desk, Line, Row, open_desk


@pytest_asyncio.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """A desk; whatever was done at it, every invariant holds in the end."""
    async with open_desk(database_url) as opened:
        yield opened
    assert verify(database_url).violations == ()


REFERENCE = Rule("reference", RuleKind.REFERENCE, LineField.REFERENCE, EntryField.EXTERNAL_ID)
ORDER = Rule(
    "order", RuleKind.REFERENCE, LineField.END_TO_END_ID, EntryField.METADATA, ("order", "id")
)
BY_DATE = Rule("date", RuleKind.AMOUNT_AND_DATE, days_before=2, days_after=1)


async def test_one_reference_and_amount_is_certain(desk: Desk) -> None:
    """A line and an entry alone in their reference and amount are matched at once, for good."""
    await desk.post(Row(100, 3, "A"), Row(-40, 4, "B"))
    await desk.state([Line(100, 5, "A"), Line(-40, 4, "B")], days=(1, 31), opening=0, closing=60)
    march = await desk.open(REFERENCE)
    await march.run()
    assert await march.matches() == [
        ("reference", "confirmed", 1000, [1], [1]),
        ("reference", "confirmed", 1000, [2], [2]),
    ]
    assert await march.discrepancies() == []
    assert await march.bridge() == (60, 60, {}, 0)


async def test_what_is_missing_is_told(desk: Desk) -> None:
    """What has no partner is missing on the other side, and an item of the bridge."""
    await desk.post(Row(100, 3, "A"), Row(-40, 4, "B"))
    await desk.state([Line(100, 5, "A"), Line(7, 6, "C")], days=(1, 31), opening=0, closing=107)
    march = await desk.open(REFERENCE)
    await march.run()
    assert await march.discrepancies() == [
        ("missing_in_ledger", 7, 2, None),
        ("missing_in_statement", 40, None, 2),
    ]
    assert await march.bridge() == (
        60,
        107,
        {"missing_in_ledger": 7, "missing_in_statement": 40},
        0,
    )


async def test_several_that_would_do_are_proposed(desk: Desk) -> None:
    """Of two entries with a line's reference none is certain; the first is proposed."""
    metadata = {"order": {"id": "7"}}
    await desk.post(Row(100, 3, metadata=metadata), Row(100, 4, metadata=metadata))
    await desk.state([Line(100, 5, end_to_end_id="7")], days=(1, 31), opening=0, closing=100)
    march = await desk.open(ORDER)
    await march.run()
    assert await march.matches() == [("order", "proposed", 900, [1], [1])]
    assert await march.discrepancies() == [("duplicate_entry", -100, None, 2)]
    assert await march.bridge() == (200, 100, {"duplicate_entry": -100}, 0)


async def test_another_amount_is_proposed_and_told(desk: Desk) -> None:
    """A reference with another amount is a proposal, and its difference a discrepancy."""
    await desk.post(Row(100, 3, "A"))
    await desk.state([Line(97, 20, "A")], days=(1, 31), opening=0, closing=97)
    march = await desk.open(REFERENCE)
    await march.run()
    assert await march.matches() == [("reference", "proposed", 800, [1], [1])]
    assert await march.discrepancies() == [
        ("amount_mismatch", -3, None, None),
        ("date_mismatch", 0, None, None),
    ]
    assert await march.bridge() == (100, 97, {"amount_mismatch": -3, "date_mismatch": 0}, 0)


async def test_another_currency_is_told(desk: Desk) -> None:
    """A line of another currency counts as nothing, and takes the entry that it names."""
    await desk.post(Row(100, 3, "A"))
    await desk.state(
        [Line(100, 3, "A", currency="USD"), Line(5, 3, "B", currency="USD")],
        days=(1, 31),
        opening=0,
        closing=0,
    )
    march = await desk.open(REFERENCE)
    await march.run()
    assert await march.matches() == [("reference", "proposed", 700, [1], [1])]
    assert await march.discrepancies() == [
        ("currency_mismatch", 0, 2, None),
        ("currency_mismatch", -100, None, None),
    ]
    assert await march.bridge() == (100, 0, {"currency_mismatch": -100}, 0)


async def test_amounts_near_in_time_are_proposed(desk: Desk) -> None:
    """Without references, equal amounts match within the days of the rule, nearest first."""
    await desk.post(Row(10, 1), Row(10, 3), Row(10, 4), Row(10, 9))
    await desk.state([Line(10, 3), Line(10, 3), Line(10, 8), Line(10, 12)])
    march = await desk.open(BY_DATE)
    await march.run()
    assert await march.matches() == [
        ("date", "proposed", 500, [1], [2]),
        ("date", "proposed", 590, [2], [3]),
        ("date", "proposed", 590, [3], [4]),
    ]


async def test_texts_tell_equal_amounts_apart(desk: Desk) -> None:
    """Of equal amounts the one with the likest text is proposed, and none that is not alike."""
    await desk.post(
        Row(10, 1, description="Invoice 12 Miller"), Row(10, 1, description="Invoice 13 Baker")
    )
    await desk.state(
        [
            Line(10, 2, description="SEPA CREDIT BAKER, INVOICE 13"),
            Line(10, 2, description="Cash"),
        ]
    )
    march = await desk.open(Rule("text", RuleKind.AMOUNT_AND_TEXT))
    await march.run()
    assert await march.matches() == [("text", "proposed", 800, [1], [2])]


async def test_fees_are_tolerated(desk: Desk) -> None:
    """Within a tolerance amounts may differ; what they differ by is told."""
    fee = Rule("fee", RuleKind.AMOUNT_AND_DATE, tolerance=Tolerance(5, 100))
    await desk.post(Row(1000, 3), Row(500, 3), Row(-200, 3))
    await desk.state([Line(985, 3), Line(480, 4), Line(-203, 2)])
    march = await desk.open(fee)
    await march.run()
    assert [match[3:] for match in await march.matches()] == [([3], [3])]
    wider = await desk.open(
        Rule("fee", RuleKind.AMOUNT_AND_DATE, tolerance=Tolerance(5, 200)), BY_DATE
    )
    await wider.run()
    assert [match[3:] for match in await wider.matches()] == [([1], [1]), ([3], [3])]
    assert ("amount_mismatch", -15, None, None) in await wider.discrepancies()


async def test_a_payout_of_many_entries(desk: Desk) -> None:
    """A line matches all entries of its batch together, for certain if the sum is its amount."""
    batch = Rule(
        "batch",
        RuleKind.ONE_LINE_TO_MANY_ENTRIES,
        LineField.REFERENCE,
        EntryField.METADATA,
        ("batch",),
    )
    await desk.post(
        *(Row(10 * n, n, metadata={"batch": "B1"}) for n in (1, 2, 3)),
        *(Row(5, n, metadata={"batch": "B2"}) for n in (1, 2)),
    )
    await desk.state([Line(60, 4, "B1"), Line(11, 4, "B2")])
    march = await desk.open(batch)
    await march.run()
    assert await march.matches() == [
        ("batch", "confirmed", 1000, [1], [1, 2, 3]),
        ("batch", "proposed", 800, [2], [4, 5]),
    ]


async def test_a_day_of_entries(desk: Desk) -> None:
    """Without any reference, a line may be the sum of a day."""
    await desk.post(Row(10, 1), Row(20, 1), Row(7, 2), Row(8, 2))
    await desk.state([Line(30, 2), Line(15, 3)])
    march = await desk.open(Rule("day", RuleKind.ONE_LINE_TO_MANY_ENTRIES, days_before=1))
    await march.run()
    assert [match[3:] for match in await march.matches()] == [([1], [1, 2]), ([2], [3, 4])]


async def test_many_lines_of_one_entry(desk: Desk) -> None:
    """Lines of one reference together match the entry of that reference."""
    parts = Rule(
        "parts",
        RuleKind.MANY_LINES_TO_ONE_ENTRY,
        LineField.END_TO_END_ID,
        EntryField.EXTERNAL_ID,
    )
    await desk.post(Row(-100, 1, "P"))
    await desk.state([Line(-60, 2, "x", "P"), Line(-40, 3, "y", "P")])
    march = await desk.open(parts)
    await march.run()
    assert await march.matches() == [("parts", "confirmed", 1000, [1, 2], [1])]


async def test_a_run_again_changes_nothing(desk: Desk) -> None:
    """Matches, discrepancies, ids and the bridge are the same to the letter."""
    await desk.post(Row(100, 3, "A"), Row(10, 4), Row(10, 4), Row(33, 5, "C"), Row(9, 9))
    await desk.state(
        [Line(100, 3, "A"), Line(10, 5), Line(30, 5, "C"), Line(4, 4)],
        days=(1, 31),
        opening=0,
        closing=150,
    )
    march = await desk.open(REFERENCE, BY_DATE)
    first = await march.run()
    assert (first.confirmed, first.proposed, first.withdrawn, first.vanished) == (1, 2, 0, 0)
    before = await march.all()
    again = await march.run()
    assert (again.confirmed, again.proposed, again.withdrawn) == (0, 0, 0)
    assert (again.appeared, again.vanished) == (0, 0)
    assert await march.all() == before


async def test_a_doubled_line_is_told(desk: Desk) -> None:
    """A second line of one reference, or with all the same in it, doubles the one that matches."""
    await desk.post(Row(100, 3, "A"), Row(5, 3, "E"))
    await desk.state(
        [
            Line(100, 3, "A"),
            Line(100, 3, "A"),
            Line(5, 3, "r1", "E", "Coffee"),
            Line(5, 4, "r2", "E", "Coffee"),
            Line(3, 4, description="Tea"),
            Line(3, 4, description="Tea"),
        ]
    )
    end = Rule("end", RuleKind.REFERENCE, LineField.END_TO_END_ID, EntryField.EXTERNAL_ID)
    march = await desk.open(REFERENCE, end)
    await march.run()
    assert await march.discrepancies() == [
        ("duplicate_line", 100, 2, None),
        ("duplicate_line", 5, 4, None),
        ("missing_in_ledger", 3, 5, None),
        ("missing_in_ledger", 3, 6, None),
    ]


async def test_statements_that_disagree_with_themselves(desk: Desk) -> None:
    """Balances that lines do not explain are told by statement, and the bridge still ends well."""
    await desk.post(Row(100, 3, "A"), Row(50, 20, "B"))
    await desk.state([Line(100, 3, "A")], days=(1, 15), opening=0, closing=104)
    await desk.state([Line(50, 20, "B")], days=(16, 31), opening=110, closing=160)
    march = await desk.open(REFERENCE)
    await march.run()
    assert await march.discrepancies() == [
        ("balance_mismatch", 4, None, None),
        ("balance_mismatch", 6, None, None),
    ]
    assert await march.bridge() == (150, 160, {"balance_mismatch": 10}, 0)


async def test_a_match_across_the_end_is_timing(desk: Desk) -> None:
    """What the bank books in the next days is a difference of these, and carried into those."""
    await desk.post(Row(100, 9, "A"), Row(30, 12, "B"))
    await desk.state([Line(100, 11, "A"), Line(30, 12, "B")], days=(1, 20), opening=0, closing=130)
    first = await desk.open(REFERENCE, days=(1, 10))
    await first.run()
    assert await first.discrepancies() == []
    assert await first.bridge() == (100, 0, {"timing_difference": -100}, 0)
    second = await desk.open(REFERENCE, days=(11, 20))
    await second.run()
    # Nothing is known of the first reconciliation's difference before that is closed.
    assert await second.bridge() == (
        130,
        130,
        {"timing_difference": 100, "balance_mismatch": -100},
        0,
    )
