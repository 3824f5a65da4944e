"""Reversals: whole, in parts until used up, of what was held, refused, and all at once."""

import asyncio

import pytest
import pytest_asyncio

from app.store.audit.verify import verify
from tests.api.market import Market
from tests.api_client import Api, Json


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


async def sale(market: Market, amount: int = 40) -> str:
    answer = await market.post("sale", "wallet", "shop", amount)
    return str(answer["transaction"]["id"])


async def refused(market: Market, transaction: str, **more: object) -> Json:
    """Reverse what must be refused; the books stay."""
    before = await market.state()
    answer = await market.reverse(transaction, "refused", **more)
    assert "code" in answer, answer
    assert await market.state() == before
    return answer


async def test_whole(market: Market) -> None:
    """All of a transaction is undone by one with the directions turned, linked both ways."""
    identity = await sale(market)
    answer = await market.reverse(
        identity,
        "refund",
        description="Refund",
        metadata={"why": "broken"},
        effectiveAt="2026-02-03T00:00:00Z",
    )
    assert (answer["__typename"], answer["replayed"]) == ("ReverseTransactionSuccess", False)
    reversal = answer["transaction"]
    assert {name: reversal[name] for name in ("status", "description", "metadata")} == {
        "status": "POSTED",
        "description": "Refund",
        "metadata": {"why": "broken"},
    }
    assert [
        (e["account"]["name"], e["direction"], e["amount"], e["status"], e["effectiveAt"])
        for e in reversal["entries"]
    ] == [
        ("wallet", "CREDIT", "40", "POSTED", "2026-02-03T00:00:00.000000Z"),
        ("shop", "DEBIT", "40", "POSTED", "2026-02-03T00:00:00.000000Z"),
    ]
    assert reversal["reverses"] == {"id": identity}
    assert reversal["reversedBy"] == []
    assert await market.shown(reversal["id"]) == reversal
    original = await market.shown(identity)
    assert (original["reverses"], original["reversedBy"]) == (None, [{"id": reversal["id"]}])
    assert (original["status"], len(original["history"])) == ("POSTED", 1)
    assert await market.balances("wallet") == (100, 0, 100, 100)
    query = """query ($id: ID!, $reversal: Boolean) { ledger(id: $id) {
      transactions(filter: {reversal: $reversal}) { nodes { sequence } } } }"""
    for asked, found in ((True, ["3"]), (False, ["1", "2"])):
        data = await market.api.run(query, {"id": market.ledger, "reversal": asked})
        assert [t["sequence"] for t in data["ledger"]["transactions"]["nodes"]] == found


async def test_again(market: Market) -> None:
    """The same key gives the same reversal; with another content it is a conflict."""
    identity = await sale(market)
    first = await market.reverse(identity, "refund")
    again = await market.reverse(identity, "refund")
    assert again == {**first, "replayed": True}
    for change in (
        {"description": "x"},
        {"metadata": {"x": 1}},
        {"effectiveAt": "2026-01-01T00:00:00Z"},
        {"entries": market.move("wallet", "shop", 40)},
    ):
        answer = await market.reverse(identity, "refund", **change)
        assert answer["code"] == "IDEMPOTENCY_CONFLICT"
    assert (await market.settle(identity, "refund"))["code"] == "IDEMPOTENCY_CONFLICT"


async def test_in_parts(market: Market) -> None:
    """Parts name the entries as they are, and add up to all of it; then nothing is left."""
    identity = await sale(market)
    for number, part in enumerate((15, 5)):
        entries = market.move("wallet", "shop", part)
        answer = await market.reverse(identity, f"r{number}", entries=entries)
        assert answer["__typename"] == "ReverseTransactionSuccess"
    assert await market.balances("shop") == (20, 0, 20, 20)
    assert await refused(market, identity, entries=market.move("wallet", "shop", 21)) == {
        "__typename": "ReversalExceedsTransaction",
        "code": "REVERSAL_EXCEEDS_TRANSACTION",
        "message": "Only 20 is left on this side of the account.",
        "path": ["input", "entries", "0", "amount"],
        "retryable": False,
        "direction": "DEBIT",
        "remaining": "20",
        "requested": "21",
        "account": {"name": "wallet"},
    }
    rest = await market.reverse(identity, "rest")
    assert [e["amount"] for e in rest["transaction"]["entries"]] == ["20", "20"]
    shown = await market.shown(identity)
    assert len(shown["reversedBy"]) == 3
    for more in ({}, {"entries": market.move("wallet", "shop", 1)}):
        answer = await refused(market, identity, **more)
        assert (answer["code"], answer["reason"], answer["transactionStatus"]) == (
            "TRANSACTION_NOT_REVERSIBLE",
            "FULLY_REVERSED",
            "POSTED",
        )
    assert await market.balances("wallet") == (100, 0, 100, 100)


async def test_directions_are_those_of_the_transaction(market: Market) -> None:
    """The turned side is not one that the transaction has."""
    identity = await sale(market)
    answer = await refused(market, identity, entries=market.move("shop", "wallet", 1))
    assert (answer["code"], answer["remaining"]) == ("REVERSAL_EXCEEDS_TRANSACTION", "0")


async def test_what_was_posted_of_a_hold(market: Market) -> None:
    """Of a hold that was settled in part, that part can be reversed, once the hold is done with."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    part = market.move("wallet", "shop", 15)
    await market.settle(hold, "part", entries=part, final=False)
    answer = await refused(market, hold)
    assert (answer["code"], answer["reason"], answer["transactionStatus"]) == (
        "TRANSACTION_NOT_REVERSIBLE",
        "NOT_POSTED",
        "PENDING",
    )
    await market.void(hold, "void")
    answer = await market.reverse(hold, "refund")
    assert [e["amount"] for e in answer["transaction"]["entries"]] == ["15", "15"]
    assert await market.balances("wallet") == (100, 0, 100, 100)


async def test_what_cannot_be_reversed(market: Market) -> None:
    """A void posted nothing, and a reversal is not undone by another one."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    await market.void(hold, "void")
    answer = await refused(market, hold)
    assert (answer["reason"], answer["transactionStatus"]) == ("NOT_POSTED", "VOIDED")
    reversal = (await market.reverse(await sale(market), "refund"))["transaction"]["id"]
    answer = await refused(market, reversal)
    assert (answer["reason"], answer["transaction"]) == (
        "IS_REVERSAL",
        {"id": reversal, "status": "POSTED"},
    )
    answer = await refused(market, "txn_" + "0" * 32)
    assert (answer["code"], answer["path"]) == (
        "TRANSACTION_NOT_FOUND",
        ["input", "transactionId"],
    )


async def test_rules_of_any_posting(market: Market) -> None:
    """Balance, accounts, their status and floors are asked as of any posting."""
    identity = await sale(market)
    unbalanced = market.lines(("wallet", "DEBIT", 2), ("shop", "CREDIT", 1))
    assert (await refused(market, identity, entries=unbalanced))["code"] == "ENTRIES_UNBALANCED"
    beside = [*market.move("wallet", "shop", 1), *market.move("cash", "cash", 1)]
    answer = await refused(market, identity, entries=beside)
    assert (answer["code"], answer["path"]) == (
        "ACCOUNT_NOT_FOUND",
        ["input", "entries", "2", "accountId"],
    )
    few = market.lines(("wallet", "DEBIT", 1))
    assert (await refused(market, identity, entries=few))["path"] == ["input", "entries"]

    (income,) = (
        t["id"]
        for t in (await market.state())["ledger"]["transactions"]["nodes"]
        if t["sequence"] == "1"
    )
    answer = await refused(market, income)
    assert (answer["code"], answer["path"], answer["available"], answer["required"]) == (
        "INSUFFICIENT_FUNDS",
        ["input", "transactionId"],
        "60",
        "100",
    )
    entries = market.lines(("cash", "DEBIT", 61), ("wallet", "CREDIT", 61))
    answer = await refused(market, income, entries=entries)
    assert answer["path"] == ["input", "entries", "1", "amount"]

    await market.set("shop", "freeze")
    answer = await refused(market, identity)
    assert (answer["code"], answer["account"], answer["path"]) == (
        "ACCOUNT_NOT_OPEN",
        {"name": "shop"},
        ["input", "transactionId"],
    )
    await market.set("shop", "unfreeze")
    await market.archive()
    answer = await refused(market, identity)
    assert (answer["code"], answer["path"]) == ("LEDGER_ARCHIVED", ["input", "transactionId"])


async def test_both_sides_of_one_account(market: Market) -> None:
    """A transaction with both sides of an account is reversed side by side."""
    entries = [*market.move("wallet", "shop", 30), *market.move("shop", "wallet", 10)]
    answer = await market.api.answer(
        "mutation ($input: PostTransactionInput!) { postTransaction(input: $input) {"
        " ... on PostTransactionSuccess { transaction { id } } } }",
        ledgerId=market.ledger,
        idempotencyKey="both",
        entries=entries,
    )
    identity = answer["transaction"]["id"]
    part = await market.reverse(identity, "part", entries=market.move("wallet", "shop", 30))
    assert part["__typename"] == "ReverseTransactionSuccess"
    rest = await market.reverse(identity, "rest")
    assert [
        (e["account"]["name"], e["direction"], e["amount"]) for e in rest["transaction"]["entries"]
    ] == [("shop", "CREDIT", "10"), ("wallet", "DEBIT", "10")]
    assert await market.balances("wallet") == (100, 0, 100, 100)


@pytest.mark.parametrize("sizes", [(1,) * 30, (7,) * 10, (40, 40), (3, 9, 27, 40)])
async def test_at_once(market: Market, database_url: str, sizes: tuple[int, ...]) -> None:
    """Whatever comes at once, no more is reversed than there is, and all that fits is accepted."""
    identity = await sale(market)

    async def reverse(number: int, size: int) -> int:
        entries = market.move("wallet", "shop", size)
        answer = await market.reverse(identity, f"r{number % len(sizes)}", entries=entries)
        if "code" in answer:
            assert answer["code"] in {"REVERSAL_EXCEEDS_TRANSACTION", "TRANSACTION_NOT_REVERSIBLE"}
            return 0
        return 0 if answer["replayed"] else size

    # Each is sent twice, as by a client that lost the first answer.
    undone = sum(await asyncio.gather(*(reverse(*item) for item in enumerate(sizes * 2))))
    assert undone <= 40
    assert undone >= 40 - max(sizes) + 1 or undone == sum(sizes)
    assert (await market.balances("shop"))[0] == 40 - undone
    assert verify(database_url).violations == ()


async def test_tenants_are_apart(market: Market) -> None:
    """To another organization's key the transaction does not exist."""
    identity = await sale(market)
    stranger = await Market.open(await market.api.stranger())
    assert (await stranger.reverse(identity, "refund"))["code"] == "TRANSACTION_NOT_FOUND"
    assert (await stranger.update(identity, "x", description="x"))["code"] == (
        "TRANSACTION_NOT_FOUND"
    )
