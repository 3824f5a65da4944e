"""What a posting may demand of the books: conditions, versions; and several currencies in one."""

import asyncio

import pytest
import pytest_asyncio

from tests.api.market import Market
from tests.api_client import Api, Json


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


async def refused(market: Market, entries: list[Json], **fields: object) -> Json:
    """Post what must be refused; nothing changes and the key stays free."""
    before = await market.state()
    answer = await market.post("fresh", "cash", "cash", 0, entries=entries, **fields)
    assert "code" in answer, answer
    assert await market.state() == before
    return answer


async def accepted(market: Market, entries: list[Json], **fields: object) -> Json:
    answer = await market.post("fresh", "cash", "cash", 0, entries=entries, **fields)
    assert answer["__typename"] == "PostTransactionSuccess", answer
    return answer


# ---- conditions ----------------------------------------------------------------------------------


async def test_conditions_look_at_their_own_entry(market: Market) -> None:
    """A condition is about the balances right after its entry, not at the transaction's end."""
    entries = [*market.move("wallet", "cash", 60), *market.move("cash", "wallet", 10)]
    entries[0]["condition"] = {"available": {"eq": "40"}, "posted": {"gte": "40", "lte": "40"}}
    entries[3]["condition"] = {"available": {"gt": "49", "lt": "51"}}
    entries[1]["condition"] = {"posted": {"eq": "50"}}
    answer = await refused(market, entries)
    assert answer == {
        "__typename": "ConditionFailed",
        "code": "CONDITION_FAILED",
        "message": answer["message"],
        "path": ["input", "entries", "1", "condition", "posted"],
        "retryable": False,
        "balance": "posted",
        "expected": "= 50",
        "actual": "40",
        "account": {"name": "cash"},
    }
    entries[1]["condition"] = {"posted": {"eq": "40"}}
    await accepted(market, entries)
    assert await market.balances("wallet") == (50, 0, 50, 50)


async def test_conditions_on_pending(market: Market) -> None:
    """Conditions on pending and available see what is held, by this entry and by others."""
    await market.hold("hold", "wallet", "shop", 30)
    entries = market.move("wallet", "shop", 20)
    entries[0]["condition"] = {"pending": {"gte": "-49"}}
    answer = await refused(market, entries, status="PENDING")
    assert (answer["balance"], answer["expected"], answer["actual"]) == ("pending", ">= -49", "-50")
    entries[0]["condition"] = {
        "posted": {"eq": "100"},
        "pending": {"eq": "-50"},
        "available": {"eq": "50"},
    }
    entries[1]["condition"] = {"pending": {"eq": "50"}, "available": {"eq": "0"}}
    await accepted(market, entries, status="PENDING")


async def test_conditions_come_after_floors(market: Market) -> None:
    """A floor is looked at before any condition, though the condition stands on an earlier line."""
    entries = market.move("cash", "wallet", 1)
    entries[0]["condition"] = {"posted": {"eq": "0"}}
    entries += market.move("wallet", "cash", 102)
    assert (await refused(market, entries))["code"] == "INSUFFICIENT_FUNDS"
    entries[2]["amount"] = entries[3]["amount"] = "101"
    assert (await refused(market, entries))["code"] == "CONDITION_FAILED"


async def test_empty_conditions_bind_nothing(market: Market) -> None:
    """A condition without bounds holds of every balance."""
    entries = market.move("wallet", "cash", 100)
    entries[0]["condition"] = {"posted": {}, "pending": None}
    entries[1]["condition"] = {}
    await accepted(market, entries)


# ---- versions ------------------------------------------------------------------------------------


async def test_version_is_that_before_the_transaction(market: Market) -> None:
    """All lines of an account name the version it had before the transaction's first line."""
    entries = [*market.move("wallet", "cash", 1), *market.move("wallet", "cash", 1)]
    entries[0]["accountVersion"], entries[2]["accountVersion"] = "1", "2"
    answer = await refused(market, entries)
    assert answer == {
        "__typename": "VersionConflict",
        "code": "VERSION_CONFLICT",
        "message": "The account is at version 1.",
        "path": ["input", "entries", "2", "accountVersion"],
        "retryable": False,
        "expectedVersion": "2",
        "actualVersion": "1",
        "account": {"name": "wallet"},
    }
    entries[2]["accountVersion"] = "1"
    answer = await accepted(market, entries)
    versions = [entry["balancesAfter"]["version"] for entry in answer["transaction"]["entries"]]
    assert versions == ["2", "2", "3", "3"]


async def test_version_of_a_new_account(market: Market) -> None:
    """A new account is at version 0; holds, settlements and voids raise it by their entries."""
    entries = market.move("cash", "shop", 10)
    entries[1]["accountVersion"] = "0"
    answer = await accepted(market, entries, status="PENDING")
    part = market.move("cash", "shop", 4)
    await market.settle(answer["transaction"]["id"], "settle", entries=part)
    entries[1]["accountVersion"] = "2"
    assert (await market.post("x", "cash", "shop", 1, entries=entries))["actualVersion"] == "3"
    entries[1]["accountVersion"] = "3"
    assert "transaction" in await market.post("x", "cash", "shop", 1, entries=entries)


async def test_versions_race(market: Market) -> None:
    """Of many postings that lock the same version exactly one is made."""

    def locked() -> list[Json]:
        entries = market.move("cash", "shop", 1)
        entries[1]["accountVersion"] = "0"
        return entries

    answers = await asyncio.gather(
        *(market.post(f"k{n}", "cash", "shop", 1, entries=locked()) for n in range(20))
    )
    names = sorted(answer["__typename"] for answer in answers)
    assert names == ["PostTransactionSuccess"] + ["VersionConflict"] * 19
    assert await market.balances("shop") == (1, 0, 1, 1)


# ---- floors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("floor", "spent", "refused_at"), [("-50", 150, 151), ("0", 100, 101), ("40", 60, 61)]
)
async def test_floors_to_the_unit(market: Market, floor: str, spent: int, refused_at: int) -> None:
    """Available may fall to the floor and no unit below it, be the floor negative or positive."""
    answer = await market.api.run(
        "mutation ($input: UpdateAccountInput!) { updateAccount(input: $input) { __typename } }",
        {"input": {"accountId": market["wallet"], "availableFloor": floor}},
    )
    assert answer["updateAccount"]["__typename"] == "UpdateAccountSuccess"
    refusal = await refused(market, market.move("wallet", "cash", refused_at))
    assert (refusal["available"], refusal["required"]) == ("100", str(refused_at + int(floor)))
    await accepted(market, market.move("wallet", "cash", spent))
    assert (await market.balances("wallet"))[2] == int(floor)


async def test_floor_of_a_debit_account(market: Market) -> None:
    """A debit-normal account with a floor is guarded against credits."""
    await market.account("till", normalBalance="DEBIT", availableFloor="0")
    await market.post("fill", "till", "shop", 10)
    assert (await refused(market, market.move("shop", "till", 11)))["available"] == "10"
    await accepted(market, market.move("shop", "till", 10))


# ---- currencies ----------------------------------------------------------------------------------


async def test_currencies_in_one_transaction(market: Market) -> None:
    """A transaction may move several currencies, each balanced by itself: an exchange."""
    await market.post("fill", "euros", "purse", 50)
    entries = [*market.move("wallet", "cash", 10), *market.move("euros", "purse", 9)]
    answer = await accepted(market, entries)
    assert len(answer["transaction"]["entries"]) == 4
    assert await market.balances("wallet") == (90, 0, 90, 90)
    assert await market.balances("purse") == (59, 0, 59, 59)


async def test_equal_sums_of_different_currencies(market: Market) -> None:
    """Dollars do not balance euros, though the sums be equal."""
    answer = await refused(market, market.move("wallet", "purse", 10))
    assert (answer["code"], answer["currency"], answer["debits"], answer["credits"]) == (
        "ENTRIES_UNBALANCED",
        {"code": "USD", "exponent": 2},
        "10",
        "0",
    )


async def test_units_of_ones_own(market: Market) -> None:
    """Points, shares and tokens of any exponent are kept to the last unit, beside money."""
    for name, code, exponent in (("points", "POINTS", 0), ("coin", "COIN", 18), ("tiny", "T", 36)):
        unit = {"currency": code, "exponent": exponent}
        await market.account(name, **unit)
        await market.account(f"{name} source", normalBalance="DEBIT", **unit)
    entries = [
        *market.move("points source", "points", 7),
        *market.move("coin source", "coin", 10**18 + 1),
        *market.move("tiny source", "tiny", 10**36),
        *market.move("wallet", "cash", 1),
    ]
    await accepted(market, entries)
    shown = {}
    for name in ("points", "coin", "tiny"):
        data = await market.api.run(
            "query ($id: ID!) { account(id: $id) { balances { posted { amount decimal } } } }",
            {"id": market[name]},
        )
        posted = data["account"]["balances"]["posted"]
        shown[name] = (posted["amount"], posted["decimal"])
    assert shown == {
        "points": ("7", "7"),
        "coin": (str(10**18 + 1), "1." + "0" * 17 + "1"),
        "tiny": (str(10**36), "1." + "0" * 36),
    }


async def test_sums_beyond_the_largest_amount(market: Market) -> None:
    """Totals of hundreds of the largest amounts are exact to the unit."""
    largest = 10**36
    entries = market.move("cash", "shop", largest) * 400
    answer = await accepted(market, entries)
    assert answer["transaction"]["entries"][-1]["balancesAfter"]["posted"]["amount"] == str(
        400 * largest
    )
    await market.post("one more", "cash", "shop", 1)
    total = 400 * largest + 1
    assert await market.balances("shop") == (total, 0, total, total)
    entries[0] = {**entries[0], "amount": str(largest - 1)}
    answer = await market.post("off by one", "cash", "shop", 1, entries=entries)
    assert (answer["debits"], answer["credits"]) == (str(400 * largest - 1), str(400 * largest))
