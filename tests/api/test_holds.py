"""Holds: settled in full, in parts, for good; voided; too late; frozen; all at once."""

import asyncio

import pytest
import pytest_asyncio

from app.ledger.accounts.state import Mode
from tests.api.market import Market
from tests.api_client import Api, Json


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


def shown(answer: Json) -> tuple[str, list[str], list[tuple[str, str, str]]]:
    """A transaction's status, its events, and its lines: account, status, amount."""
    transaction = answer["transaction"]
    return (
        transaction["status"],
        [event["kind"] for event in transaction["history"]],
        [(e["account"]["name"], e["status"], e["amount"]) for e in transaction["entries"]],
    )


HELD = [("wallet", "PENDING", "40"), ("shop", "PENDING", "40")]


async def test_settled_in_full(market: Market) -> None:
    """Without entries all that is held is posted, on the same accounts and sides."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    assert await market.balances("wallet") == (100, -40, 60, 60)
    assert await market.balances("shop") == (0, 40, 0, 40)
    answer = await market.settle(hold, "settle")
    assert answer["replayed"] is False
    assert shown(answer) == (
        "POSTED",
        ["HELD", "SETTLED"],
        [*HELD, ("wallet", "POSTED", "40"), ("shop", "POSTED", "40")],
    )
    transaction = answer["transaction"]
    assert transaction["postedAt"] == transaction["history"][1]["createdAt"]
    assert transaction["voidedAt"] is None
    assert [event["idempotencyKey"] for event in transaction["history"]] == ["hold", "settle"]
    assert transaction["idempotencyKey"] == "hold"
    assert await market.balances("wallet") == (60, 0, 60, 60)
    assert await market.balances("shop") == (40, 0, 40, 40)


async def test_settled_in_parts(market: Market) -> None:
    """Parts that are not final leave the rest held; the last one that uses it up ends it."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    states = []
    for number, part in enumerate((15, 5, 20)):
        entries = market.move("wallet", "shop", part)
        answer = await market.settle(hold, f"s{number}", entries=entries, final=False)
        states.append((answer["transaction"]["status"], await market.balances("wallet")))
    assert states == [
        ("PENDING", (85, -25, 60, 60)),
        ("PENDING", (80, -20, 60, 60)),
        ("POSTED", (60, 0, 60, 60)),
    ]
    assert await market.balances("shop") == (40, 0, 40, 40)


async def test_settled_for_good(market: Market) -> None:
    """A final part is posted and the rest released; money that was held can be used again."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    refused = await market.post("more", "wallet", "cash", 61)
    assert refused["code"] == "INSUFFICIENT_FUNDS"
    answer = await market.settle(hold, "settle", entries=market.move("wallet", "shop", 15))
    assert shown(answer) == (
        "POSTED",
        ["HELD", "SETTLED"],
        [
            *HELD,
            ("wallet", "POSTED", "15"),
            ("shop", "POSTED", "15"),
            ("wallet", "VOIDED", "25"),
            ("shop", "VOIDED", "25"),
        ],
    )
    assert await market.balances("wallet") == (85, 0, 85, 85)
    assert await market.balances("shop") == (15, 0, 15, 15)
    assert "transaction" in await market.post("more", "wallet", "cash", 85)


async def test_voided(market: Market) -> None:
    """A void releases all that is held and says why."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    answer = await market.void(hold, "void", description="changed their mind")
    assert shown(answer) == (
        "VOIDED",
        ["HELD", "VOIDED"],
        [*HELD, ("wallet", "VOIDED", "40"), ("shop", "VOIDED", "40")],
    )
    transaction = answer["transaction"]
    assert transaction["history"][1]["description"] == "changed their mind"
    assert transaction["voidedAt"] == transaction["history"][1]["createdAt"]
    assert transaction["postedAt"] is None
    assert await market.balances("wallet") == (100, 0, 100, 100)
    assert await market.balances("shop") == (0, 0, 0, 0)


async def test_the_rest_is_voided(market: Market) -> None:
    """A hold of which a part was settled is POSTED when the rest is voided."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    await market.settle(hold, "s", entries=market.move("wallet", "shop", 1), final=False)
    answer = await market.void(hold, "void")
    assert shown(answer)[:2] == ("POSTED", ["HELD", "SETTLED", "VOIDED"])
    assert await market.balances("wallet") == (99, 0, 99, 99)


@pytest.mark.parametrize("end", ["settle", "void"])
@pytest.mark.parametrize("late", ["settle", "part", "void"])
async def test_too_late(market: Market, end: str, late: str) -> None:
    """What was settled or voided to the end is neither settled nor voided again."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    await (market.settle if end == "settle" else market.void)(hold, "end")
    before = await market.state()
    if late == "void":
        answer = await market.void(hold, "late")
    elif late == "part":
        answer = await market.settle(hold, "late", entries=market.move("wallet", "shop", 1))
    else:
        answer = await market.settle(hold, "late")
    status = "POSTED" if end == "settle" else "VOIDED"
    assert answer == {
        "__typename": "TransactionNotPending",
        "code": "TRANSACTION_NOT_PENDING",
        "message": f"The transaction is {status.lower()}; only a pending one can be settled or"
        " voided.",
        "path": ["input", "transactionId"],
        "retryable": False,
        "transactionStatus": status,
        "transaction": {"id": hold, "status": status},
    }
    assert await market.state() == before


async def test_posted_at_once_is_no_hold(market: Market) -> None:
    """A transaction that was posted at once can be neither settled nor voided."""
    posted = (await market.post("post", "wallet", "shop", 1))["transaction"]["id"]
    before = await market.state()
    for answer in (await market.settle(posted, "s"), await market.void(posted, "v")):
        assert (answer["code"], answer["transactionStatus"]) == (
            "TRANSACTION_NOT_PENDING",
            "POSTED",
        )
    assert await market.state() == before


async def test_refused_parts(market: Market) -> None:
    """Each refusal of a part has its fields, and leaves hold, balances and key as they were."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    await market.settle(hold, "first", entries=market.move("wallet", "shop", 10), final=False)
    before = await market.state()
    twice = [*market.move("wallet", "shop", 20), *market.move("wallet", "shop", 11)]
    answer = await market.settle(hold, "key", entries=twice)
    assert answer == {
        "__typename": "SettlementExceedsHold",
        "code": "SETTLEMENT_EXCEEDS_HOLD",
        "message": answer["message"],
        "path": ["input", "entries", "2", "amount"],
        "retryable": False,
        "direction": "DEBIT",
        "remaining": "30",
        "requested": "31",
        "account": {"name": "wallet"},
    }
    answer = await market.settle(hold, "key", entries=market.move("shop", "wallet", 1))
    assert (answer["code"], answer["remaining"], answer["requested"], answer["path"]) == (
        "SETTLEMENT_EXCEEDS_HOLD",
        "0",
        "1",
        ["input", "entries", "0", "amount"],
    )
    uneven = market.lines(("wallet", "DEBIT", 4), ("shop", "CREDIT", 3))
    answer = await market.settle(hold, "key", entries=uneven)
    assert (answer["code"], answer["path"], answer["debits"], answer["credits"]) == (
        "ENTRIES_UNBALANCED",
        ["input", "entries"],
        "4",
        "3",
    )
    assert answer["currency"] == {"code": "USD", "exponent": 2}
    answer = await market.settle(hold, "key", entries=market.move("wallet", "cash", 1))
    assert (answer["code"], answer["path"]) == (
        "ACCOUNT_NOT_FOUND",
        ["input", "entries", "1", "accountId"],
    )
    for wrong, path in (
        (market.move("wallet", "shop", 0), ["input", "entries", "0", "amount"]),
        (market.lines(("wallet", "DEBIT", 1)), ["input", "entries"]),
        ([], ["input", "entries"]),
    ):
        answer = await market.settle(hold, "key", entries=wrong)
        assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", path)
    assert await market.state() == before
    assert (await market.settle(hold, "key"))["replayed"] is False
    assert await market.balances("wallet") == (60, 0, 60, 60)


async def test_no_such_hold(market: Market) -> None:
    """A hold of a stranger, of another mode, or of nobody is not found; a wrong id is malformed."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    before = await market.state()
    api = market.api
    for other, identity in (
        (api, "txn_" + hold.removeprefix("txn_")[::-1]),
        (await api.stranger(), hold),
        (await api.with_key(mode=Mode.LIVE), hold),
    ):
        market.api = other
        for answer in (await market.settle(identity, "k"), await market.void(identity, "k")):
            assert (answer["__typename"], answer["code"], answer["path"]) == (
                "TransactionNotFound",
                "TRANSACTION_NOT_FOUND",
                ["input", "transactionId"],
            )
    market.api = api
    for answer in (await market.settle("hold", "k"), await market.void(market.ledger, "k")):
        assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", "transactionId"])
    assert await market.state() == before


async def test_frozen_accounts(market: Market) -> None:
    """A frozen account takes no settlement, but what is held on it can be released."""
    lines = [*market.move("wallet", "shop", 40), *market.move("euros", "purse", 7)]
    first = await market.hold("first", "wallet", "shop", 40, entries=lines)
    second = await market.hold("second", "wallet", "shop", 10)
    third = await market.hold("third", "euros", "purse", 5)
    await market.set("shop", "freeze")
    before = await market.state()
    for entries in (None, market.move("wallet", "shop", 1)):
        answer = await market.settle(second, "s", entries=entries)
        assert (answer["code"], answer["accountStatus"], answer["account"], answer["path"]) == (
            "ACCOUNT_NOT_OPEN",
            "FROZEN",
            {"name": "shop"},
            ["input", "transactionId"],
        )
        assert await market.state() == before
    assert (await market.void(second, "v"))["transaction"]["status"] == "VOIDED"
    # The euros are settled, and what is held on the frozen account is released with the rest.
    answer = await market.settle(first, "s1", entries=market.move("euros", "purse", 7))
    assert answer["transaction"]["status"] == "POSTED"
    assert (await market.settle(third, "s2"))["transaction"]["status"] == "POSTED"
    assert await market.balances("shop") == (0, 0, 0, 0)
    assert await market.balances("wallet") == (100, 0, 100, 100)
    assert await market.balances("purse") == (12, 0, 12, 12)
    answer = await market.post("hold again", "wallet", "shop", 1, status="PENDING")
    assert answer["code"] == "ACCOUNT_NOT_OPEN"


async def test_archived_ledger(market: Market) -> None:
    """In an archived ledger nothing is settled or voided, whatever else is wrong with it."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    await market.settle(hold, "settle")
    await market.archive()
    before = await market.state()
    for answer in (
        await market.settle(hold, "k", entries=market.move("wallet", "cash", 99)),
        await market.void(hold, "k"),
    ):
        assert (answer["code"], answer["path"]) == ("LEDGER_ARCHIVED", ["input", "transactionId"])
    for answer in (await market.settle(hold, "settle"), await market.settle(hold, "settle")):
        assert (answer["replayed"], answer["transaction"]["id"]) == (True, hold)
    assert await market.state() == before


async def test_first_refusal_of_a_settlement(market: Market) -> None:
    """A settlement that breaks several rules is refused for the first in order of precedence."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    wrong = market.lines(("wallet", "DEBIT", 50), ("cash", "CREDIT", 49))
    uneven = market.lines(("wallet", "DEBIT", 50), ("shop", "CREDIT", 49))
    await market.set("shop", "freeze")

    async def code(key: str, entries: list[Json]) -> str:
        return str((await market.settle(hold, key, entries=entries))["code"])

    assert await code("hold", wrong) == "IDEMPOTENCY_CONFLICT"
    assert await code("k", wrong) == "ACCOUNT_NOT_FOUND"
    assert await code("k", uneven) == "ENTRIES_UNBALANCED"
    assert await code("k", market.move("wallet", "shop", 50)) == "SETTLEMENT_EXCEEDS_HOLD"
    assert await code("k", market.move("wallet", "shop", 1)) == "ACCOUNT_NOT_OPEN"
    await market.void(hold, "void")
    assert await code("k", wrong) == "ACCOUNT_NOT_FOUND"
    assert await code("k", uneven) == "TRANSACTION_NOT_PENDING"


async def test_several_currencies(market: Market) -> None:
    """Parts balance in each currency by itself; one currency can be settled without the other."""
    lines = [*market.move("wallet", "shop", 40), *market.move("euros", "purse", 7)]
    hold = await market.hold("hold", "wallet", "shop", 40, entries=lines)
    crossed = market.lines(("wallet", "DEBIT", 5), ("purse", "CREDIT", 5))
    answer = await market.settle(hold, "k", entries=crossed)
    assert (answer["code"], answer["currency"]["code"]) == ("ENTRIES_UNBALANCED", "USD")
    answer = await market.settle(hold, "k", entries=market.move("euros", "purse", 7), final=False)
    assert answer["transaction"]["status"] == "PENDING"
    assert await market.balances("purse") == (7, 0, 7, 7)
    assert await market.balances("euros") == (7, 0, 7, 7)
    assert await market.balances("wallet") == (100, -40, 60, 60)
    assert (await market.settle(hold, "rest"))["transaction"]["status"] == "POSTED"
    assert await market.balances("wallet") == (60, 0, 60, 60)


async def test_one_account_on_both_sides(market: Market) -> None:
    """A hold may have several lines on one account; each side is settled by itself."""
    lines = [
        *market.move("wallet", "shop", 10),
        *market.move("wallet", "shop", 20),
        *market.move("shop", "cash", 5),
    ]
    hold = await market.hold("hold", "wallet", "shop", 0, entries=lines)
    answer = await market.settle(hold, "s", entries=market.move("wallet", "shop", 25), final=False)
    assert answer["transaction"]["status"] == "PENDING"
    assert await market.balances("shop") == (25, 0, 20, 25)
    answer = await market.settle(hold, "rest")
    assert [(e["account"]["name"], e["amount"]) for e in answer["transaction"]["entries"][-4:]] == [
        ("wallet", "5"),
        ("shop", "5"),
        ("shop", "5"),
        ("cash", "5"),
    ]
    assert await market.balances("shop") == (25, 0, 25, 25)
    assert await market.balances("wallet") == (70, 0, 70, 70)


@pytest.mark.parametrize(("code", "exponent"), [("USD", 2), ("WEI", 18), ("T", 36), ("POINTS", 0)])
async def test_held_to_the_last_unit(market: Market, code: str, exponent: int) -> None:
    """The largest amount in any unit is held, settled but for one unit, and released exactly."""
    unit = {"currency": code} if code == "USD" else {"currency": code, "exponent": exponent}
    await market.account("source", normalBalance="DEBIT", **unit)
    await market.account("vault", availableFloor="0", **unit)
    largest = 10**36
    await market.post("fill", "source", "vault", largest)
    hold = await market.hold("hold", "vault", "source", largest)
    assert await market.balances("vault") == (largest, -largest, 0, 0)
    refused = await market.post("more", "vault", "source", 1)
    assert (refused["code"], refused["available"], refused["required"]) == (
        "INSUFFICIENT_FUNDS",
        "0",
        "1",
    )
    part = market.move("vault", "source", largest - 1)
    answer = await market.settle(hold, "part", entries=part, final=False)
    assert answer["transaction"]["status"] == "PENDING"
    assert await market.balances("vault") == (1, -1, 0, 0)
    before = await market.state()
    answer = await market.settle(hold, "two", entries=market.move("vault", "source", 2))
    assert (answer["code"], answer["remaining"], answer["requested"]) == (
        "SETTLEMENT_EXCEEDS_HOLD",
        "1",
        "2",
    )
    assert await market.state() == before
    answer = await market.void(hold, "void")
    assert [entry["amount"] for entry in answer["transaction"]["entries"]] == [
        str(amount) for amount in (largest, largest, largest - 1, largest - 1, 1, 1)
    ]
    assert answer["transaction"]["status"] == "POSTED"
    assert await market.balances("vault") == (1, 0, 1, 1)
    assert await market.balances("source") == (1, 0, 1, 1)


# ---- all at once ---------------------------------------------------------------------------------


async def test_settling_against_voiding(market: Market) -> None:
    """Of settlements and voids that race for a hold exactly one is done, the others come late."""
    for number in range(5):
        hold = await market.hold(f"hold-{number}", "cash", "shop", 10)
        before = (await market.balances("shop"))[0]
        answers = await asyncio.gather(
            *(
                change(hold, f"{number}-{attempt}-{name}")
                for attempt in range(5)
                for name, change in (("settle", market.settle), ("void", market.void))
            )
        )
        done = [answer for answer in answers if "transaction" in answer and "code" not in answer]
        assert len(done) == 1
        status = done[0]["transaction"]["status"]
        late = [answer for answer in answers if answer is not done[0]]
        assert [(a["code"], a["transactionStatus"]) for a in late] == [
            ("TRANSACTION_NOT_PENDING", status)
        ] * 9
        posted = before + (10 if status == "POSTED" else 0)
        assert await market.balances("shop") == (posted, 0, posted, posted)


async def test_racing_parts(market: Market) -> None:
    """Parts that race for a hold never come to more than it."""
    hold = await market.hold("hold", "wallet", "shop", 100)
    answers = await asyncio.gather(
        *(
            market.settle(hold, f"s{n}", entries=market.move("wallet", "shop", 30), final=False)
            for n in range(10)
        )
    )
    names = sorted(answer["__typename"] for answer in answers)
    assert names == ["SettleTransactionSuccess"] * 3 + ["SettlementExceedsHold"] * 7
    assert await market.balances("wallet") == (10, -10, 0, 0)
    assert await market.balances("shop") == (90, 10, 90, 100)


async def test_holds_race_for_the_same_money(market: Market) -> None:
    """Holds reserve: of many that race for the same money only as many as it covers are made."""
    answers = await asyncio.gather(
        *(market.post(f"h{n}", "wallet", "shop", 30, status="PENDING") for n in range(10))
    )
    names = sorted(answer["__typename"] for answer in answers)
    assert names == ["InsufficientFunds"] * 7 + ["PostTransactionSuccess"] * 3
    assert await market.balances("wallet") == (100, -90, 10, 10)


async def test_one_key_for_everything_at_once(market: Market) -> None:
    """Of a posting, settlements and voids that race under one key exactly one is done."""
    hold = await market.hold("hold", "cash", "shop", 10)
    answers = await asyncio.gather(
        market.post("same", "cash", "shop", 7),
        market.settle(hold, "same"),
        market.settle(hold, "same", entries=market.move("cash", "shop", 3), final=False),
        market.void(hold, "same"),
        market.void(hold, "same", description="other words"),
    )
    done = [answer for answer in answers if "code" not in answer]
    assert len(done) == 1
    assert done[0]["replayed"] is False
    others = [answer for answer in answers if answer is not done[0]]
    assert [answer["code"] for answer in others] == ["IDEMPOTENCY_CONFLICT"] * 4
    assert {answer["transaction"]["sequence"] for answer in others} == {
        done[0]["transaction"]["sequence"]
    }
