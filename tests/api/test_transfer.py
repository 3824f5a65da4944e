"""Transfers: money leaves one account and arrives at another, on whichever sides that takes."""

from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.ledger.accounts.state import Mode
from app.store.audit.verify import verify
from app.store.identity import Permission
from tests.api.market import ERROR, TRANSACTION, Market
from tests.api_client import Api, Json

TRANSFER = f"""
mutation ($input: TransferInput!) {{
  transfer(input: $input) {{
    __typename
    ... on TransferSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    {
    ERROR.replace(
        "... on VersionConflict { expectedVersion actualVersion account { name } }", ""
    ).replace("... on ConditionFailed { balance expected actual account { name } }", "")
}
  }}
}}
"""

CLOSED = "2026-01-31T23:59:59.999999Z"
CLOSE = f"""mutation ($ledger: ID!) {{
  closePeriod(input: {{ledgerId: $ledger, through: "{CLOSED}"}}) {{ __typename }}
}}"""


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    market = await Market.open(api)
    await market.account("bank", normalBalance="DEBIT")
    return market


def moving(market: Market, from_: str, to: str, amount: int, /, **more: Any) -> Json:
    return {
        "ledgerId": market.ledger,
        "from": market[from_],
        "to": market[to],
        "amount": str(amount),
        "idempotencyKey": "transfer",
        **more,
    }


async def transfer(market: Market, from_: str, to: str, amount: int, /, **more: Any) -> Json:
    return await market.api.answer(TRANSFER, **moving(market, from_, to, amount, **more))


async def refused(market: Market, from_: str, to: str, amount: int, /, **more: Any) -> Json:
    """Send what must be refused; the books stay, and the key can be used again."""
    before = await market.state()
    answer = await transfer(market, from_, to, amount, **more)
    assert answer["__typename"] != "TransferSuccess"
    assert await market.state() == before
    return answer


@pytest.mark.parametrize(
    ("from_", "to", "sides"),
    [
        ("wallet", "shop", [("wallet", "DEBIT"), ("shop", "CREDIT")]),
        ("cash", "bank", [("cash", "CREDIT"), ("bank", "DEBIT")]),
    ],
)
async def test_it_leaves_from_and_arrives_at_to(
    market: Market, from_: str, to: str, sides: list[tuple[str, str]]
) -> None:
    """The balance of `from` falls and that of `to` rises, on credit- and debit-normal accounts."""
    answer = await transfer(market, from_, to, 30, description="Rent", externalId="x")
    assert (answer["__typename"], answer["replayed"]) == ("TransferSuccess", False)
    transaction = answer["transaction"]
    assert [(e["account"]["name"], e["direction"]) for e in transaction["entries"]] == sides
    assert {e["amount"] for e in transaction["entries"]} == {"30"}
    assert (transaction["description"], transaction["externalId"]) == ("Rent", "x")
    assert (await market.balances(from_), await market.balances(to)) == (
        (70, 0, 70, 70),
        (30, 0, 30, 30),
    )


async def test_it_can_be_held_and_backdated(market: Market) -> None:
    """With status PENDING it is a hold, settled as any other; effectiveAt and metadata are kept."""
    answer = await transfer(
        market,
        *("wallet", "shop", 30),
        status="PENDING",
        effectiveAt="2026-01-01T00:00:00Z",
        metadata={"a": 1},
    )
    transaction = answer["transaction"]
    assert (transaction["status"], transaction["metadata"]) == ("PENDING", {"a": 1})
    assert transaction["effectiveAt"] == "2026-01-01T00:00:00.000000Z"
    assert await market.balances("wallet") == (100, -30, 70, 70)
    await market.settle(transaction["id"], "settle")
    assert await market.balances("shop") == (30, 0, 30, 30)


async def test_a_dry_run_records_nothing(market: Market) -> None:
    """A dry run shows the entries and keeps neither them nor the key."""
    before = await market.state()
    answer = await transfer(market, "wallet", "shop", 30, dryRun=True)
    after = [e["balancesAfter"]["posted"]["amount"] for e in answer["transaction"]["entries"]]
    assert after == ["70", "30"]
    assert await market.state() == before
    assert (await transfer(market, "wallet", "shop", 31))["replayed"] is False


async def test_sent_again_it_is_done_once(market: Market) -> None:
    """The same input again gives the first result, whatever happened since; another conflicts."""
    first = await transfer(market, "cash", "bank", 30)
    await market.set("cash", "freeze")
    again = await transfer(market, "cash", "bank", 30)
    assert (again["replayed"], again["transaction"]) == (True, first["transaction"])
    await market.set("cash", "unfreeze")
    for change in ({"amount": "31"}, {"description": "x"}, {"to": market["wallet"]}):
        answer = await refused(market, "cash", "bank", 30, **change)
        assert answer["code"] == "IDEMPOTENCY_CONFLICT"
        assert answer["transaction"]["sequence"] == first["transaction"]["sequence"]
    assert (await refused(market, "bank", "cash", 30))["code"] == "IDEMPOTENCY_CONFLICT"
    assert await market.balances("bank") == (30, 0, 30, 30)


async def test_a_posting_is_no_transfer(market: Market) -> None:
    """A transfer and a posting of the same entries are two contents."""
    await transfer(market, "wallet", "shop", 30)
    answer = await market.post("transfer", "wallet", "shop", 30)
    assert answer["code"] == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(("from_", "to"), [("cash", "wallet"), ("wallet", "cash")])
async def test_between_different_sides_there_is_none(market: Market, from_: str, to: str) -> None:
    """No balanced pair lowers a debit-normal and raises a credit-normal account, or vice versa."""
    assert await refused(market, from_, to, 5) == {
        "__typename": "NormalBalancesDiffer",
        "code": "NORMAL_BALANCES_DIFFER",
        "message": (
            "The accounts grow on different sides: a balanced pair of entries raises both or lowers"
            " both. Post the entries with postTransaction."
        ),
        "path": ["input", "to"],
        "retryable": False,
    }


async def test_refusals_name_the_fields_of_a_transfer(market: Market) -> None:
    """What a posting refuses a transfer refuses too, in terms of from, to and amount."""
    nobody = f"acct_{uuid4().hex}"
    for fields, code, path in (
        ({"amount": "0"}, "VALIDATION_FAILED", ["input", "amount"]),
        ({"amount": "-5"}, "VALIDATION_FAILED", ["input", "amount"]),
        ({"to": market["wallet"]}, "VALIDATION_FAILED", ["input", "to"]),
        ({"from": "nothing"}, "VALIDATION_FAILED", ["input", "from"]),
        ({"to": market.ledger}, "VALIDATION_FAILED", ["input", "to"]),
        ({"ledgerId": f"ldgr_{uuid4().hex}"}, "LEDGER_NOT_FOUND", ["input", "ledgerId"]),
        ({"from": nobody}, "ACCOUNT_NOT_FOUND", ["input", "from"]),
        ({"to": nobody}, "ACCOUNT_NOT_FOUND", ["input", "to"]),
        ({"to": market["purse"]}, "ENTRIES_UNBALANCED", ["input", "to"]),
        ({"amount": "101"}, "INSUFFICIENT_FUNDS", ["input", "amount"]),
        ({"idempotencyKey": "open"}, "IDEMPOTENCY_CONFLICT", ["input", "idempotencyKey"]),
    ):
        answer = await refused(market, "wallet", "shop", 30, **fields)
        assert (answer["code"], answer["path"]) == (code, path)
        if code == "ENTRIES_UNBALANCED":
            assert answer["message"] == (
                "A transfer is in one currency, and these accounts are in USD and EUR."
            )
    await market.set("shop", "freeze")
    answer = await refused(market, "wallet", "shop", 30)
    assert (answer["code"], answer["path"]) == ("ACCOUNT_NOT_OPEN", ["input", "to"])
    await market.archive()
    answer = await refused(market, "wallet", "cash", 30)  # of the reasons the first
    assert (answer["code"], answer["path"]) == ("LEDGER_ARCHIVED", ["input", "ledgerId"])


async def test_keys_that_may_not(market: Market, database_url: str) -> None:
    """Without the scope write it is forbidden; who cannot see the ledger learns nothing."""
    reader = await market.api.with_key(Permission.READ)
    response = await reader.send(TRANSFER, {"input": moving(market, "wallet", "shop", 5)})
    assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    own = UUID((await market.api.ledger("own")).removeprefix("ldgr_"))
    for outsider in (
        await market.api.stranger(),
        await market.api.with_key(mode=Mode.LIVE),
        await market.api.with_key(ledger_ids=[own]),
    ):
        answer = await outsider.answer(TRANSFER, **moving(market, "wallet", "shop", 5))
        assert (answer["code"], answer["path"]) == ("LEDGER_NOT_FOUND", ["input", "ledgerId"])
    assert await market.balances("wallet") == (100, 0, 100, 100)
    assert verify(database_url).violations == ()


async def test_a_closed_period(market: Market) -> None:
    """A transfer is not dated into a closed period either."""
    await market.api.run(CLOSE, {"ledger": market.ledger})
    answer = await refused(market, "wallet", "shop", 5, effectiveAt=CLOSED)
    assert (answer["code"], answer["path"]) == ("PERIOD_CLOSED", ["input", "effectiveAt"])
    assert (await transfer(market, "wallet", "shop", 5))["__typename"] == "TransferSuccess"
