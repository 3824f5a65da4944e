"""Closed periods: nothing takes effect in them any more, whoever tries and whenever."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from app.store.audit.verify import verify
from app.store.identity import Permission
from tests.api.market import Market
from tests.api_client import Api, Json

CLOSE = """
mutation ($input: ClosePeriodInput!) {
  closePeriod(input: $input) {
    __typename
    ... on ClosePeriodSuccess { ledger { closedThrough } }
    ... on UserError { code path retryable }
  }
}
"""
REOPEN = """
mutation ($input: ReopenPeriodInput!) {
  reopenPeriod(input: $input) {
    __typename
    ... on ReopenPeriodSuccess { ledger { closedThrough } }
    ... on UserError { code path retryable }
  }
}
"""
PERIODS = """
query ($id: ID!) {
  ledger(id: $id) {
    closedThrough
    periods { nodes { kind closedThrough reason apiKeyName createdAt } }
  }
}
"""
YEAR_END = "2025-12-31T23:59:59.999999Z"
NEW_YEAR = "2026-01-01T00:00:00.000000Z"
MID_YEAR = "2025-06-30T00:00:00.000000Z"


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


async def close(market: Market, through: str | None = YEAR_END, **more: Any) -> Json:
    return await market.api.answer(CLOSE, ledgerId=market.ledger, through=through, **more)


async def reopen(market: Market, through: str | None, **more: Any) -> Json:
    return await market.api.answer(REOPEN, ledgerId=market.ledger, through=through, **more)


async def periods(market: Market) -> tuple[str | None, list[tuple[Any, ...]]]:
    ledger = (await market.api.run(PERIODS, {"id": market.ledger}))["ledger"]
    return ledger["closedThrough"], [
        (p["kind"], p["closedThrough"], p["reason"], p["apiKeyName"])
        for p in ledger["periods"]["nodes"]
    ]


async def test_nothing_takes_effect_in_a_closed_period(market: Market) -> None:
    """At its last moment neither, held or posted; from the next moment on everything is taken."""
    assert await close(market) == {
        "__typename": "ClosePeriodSuccess",
        "ledger": {"closedThrough": YEAR_END},
    }
    before = await market.state()
    kinds: list[Json] = [{}, {"status": "PENDING"}, {"dryRun": True}]
    for number, more in enumerate(kinds):
        for at in (YEAR_END, MID_YEAR, "1900-01-01T00:00:00Z"):
            answer = await market.post(f"{number}", "cash", "wallet", 5, effectiveAt=at, **more)
            assert answer == {
                "__typename": "PeriodClosed",
                "code": "PERIOD_CLOSED",
                "message": "The ledger is closed through 2025-12-31T23:59:59.999999Z;"
                " nothing takes effect by then any more.",
                "path": ["input", "effectiveAt"],
                "retryable": False,
                "closedThrough": YEAR_END,
            }
    assert await market.state() == before
    for open_at in (NEW_YEAR, None, "2100-01-01T00:00:00Z"):
        answer = await market.post(f"at {open_at}", "cash", "wallet", 5, effectiveAt=open_at)
        assert answer["__typename"] == "PostTransactionSuccess"


async def test_what_was_posted_is_still_replayed(market: Market) -> None:
    """The same again, after the closing, gives the first result."""
    given = {"effectiveAt": MID_YEAR}
    await market.post("early", "cash", "wallet", 5, **given)
    await close(market)
    assert (await market.post("early", "cash", "wallet", 5, **given))["replayed"]


async def test_holds_of_a_closed_period_end_after_it(market: Market) -> None:
    """Settling and voiding take effect when they are done, so a closing never locks money up."""
    first = await market.hold("one", "wallet", "shop", 10, effectiveAt=MID_YEAR)
    second = await market.hold("two", "wallet", "shop", 10, effectiveAt=MID_YEAR)
    await close(market)
    settled = await market.settle(first, "settle")
    voided = await market.void(second, "void")
    for answer, name in ((settled, "Settle"), (voided, "Void")):
        assert answer["__typename"] == f"{name}TransactionSuccess"
        assert all(e["effectiveAt"] > YEAR_END for e in answer["transaction"]["entries"][2:])


async def test_history_of_closings(market: Market) -> None:
    """Every change is kept, with who and why; what changes nothing is not."""
    assert await periods(market) == (None, [])
    await close(market, MID_YEAR, reason="half-year")
    await close(market, YEAR_END)
    await close(market, MID_YEAR, reason="is closed already")
    await close(market, YEAR_END)
    controller = await market.api.with_key(Permission.ADMIN)
    await controller.answer(REOPEN, ledgerId=market.ledger, through=MID_YEAR, reason="late invoice")
    await reopen(market, YEAR_END)
    assert (await market.post("late", "cash", "wallet", 5, effectiveAt=YEAR_END))["transaction"]
    await reopen(market, None, reason="all of it")
    await reopen(market, None)
    assert (await market.post("early", "cash", "wallet", 5, effectiveAt=MID_YEAR))["transaction"]
    assert await periods(market) == (
        None,
        [
            ("CLOSED", MID_YEAR, "half-year", "all"),
            ("CLOSED", YEAR_END, None, "all"),
            ("REOPENED", MID_YEAR, "late invoice", "another"),
            ("REOPENED", None, "all of it", "all"),
        ],
    )
    assert verify(market.api.server.url).violations == ()


async def test_only_what_is_over_can_be_closed(market: Market) -> None:
    """The present and the future are refused, and so is a reason that cannot be stored."""
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    refused = {"__typename": "ValidationFailed", "code": "VALIDATION_FAILED", "retryable": False}
    assert await close(market, soon) == {**refused, "path": ["input", "through"]}
    assert await close(market, reason="\a") == {**refused, "path": ["input", "reason"]}
    assert await reopen(market, None, reason="x" * 2001) == {**refused, "path": ["input", "reason"]}
    missing = await market.api.answer(REOPEN, ledgerId=market.ledger)
    assert missing == {**refused, "path": ["input", "through"]}
    assert await periods(market) == (None, [])


async def test_who_may_close(market: Market) -> None:
    """Scope admin, of the same organization and mode; an archived ledger is past it."""
    writer = await market.api.with_key(Permission.WRITE)
    response = await writer.send(CLOSE, {"input": {"ledgerId": market.ledger, "through": YEAR_END}})
    assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    stranger = await market.api.stranger()
    for mutation in (CLOSE, REOPEN):
        answer = await stranger.answer(mutation, ledgerId=market.ledger, through=YEAR_END)
        assert answer["code"] == "LEDGER_NOT_FOUND"
    await market.archive()
    assert (await close(market))["code"] == "LEDGER_ARCHIVED"
    assert (await reopen(market, None))["code"] == "LEDGER_ARCHIVED"
    assert await periods(market) == (None, [])


@pytest.mark.parametrize("holds", [False, True])
async def test_closing_while_others_post(market: Market, holds: bool) -> None:
    """Each posting is either recorded before the closing or refused; none slips in behind it."""

    async def post(number: int) -> Json:
        more = {"status": "PENDING"} if holds else {}
        return await market.post(f"{number}", "cash", "wallet", 1, effectiveAt=MID_YEAR, **more)

    first = [asyncio.create_task(post(number)) for number in range(40)]
    closing = asyncio.create_task(close(market))
    rest = [asyncio.create_task(post(number)) for number in range(40, 80)]
    answers = await asyncio.gather(*first, *rest)
    assert (await closing)["ledger"] == {"closedThrough": YEAR_END}
    kinds = {answer["__typename"] for answer in answers}
    assert kinds <= {"PostTransactionSuccess", "PeriodClosed"}
    (closed,) = (await market.api.run(PERIODS, {"id": market.ledger}))["ledger"]["periods"]["nodes"]
    for answer in answers:
        if answer["__typename"] == "PostTransactionSuccess":
            assert answer["transaction"]["createdAt"] < closed["createdAt"]
    assert (await post(99))["__typename"] == "PeriodClosed"
    assert verify(market.api.server.url).violations == ()
