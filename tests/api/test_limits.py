"""Limits of accounts beyond the floor: ceiling, entry maximum, velocity; and what refuses them."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from app.store.audit.verify import verify
from app.store.database import Snapshot
from app.store.identity import Permission
from tests.api.market import Market
from tests.api_client import POST, Api, Json, open_api

LIMITS = """
    name balanceCeiling entryMaximum velocityLimits {
      name maximumAmount maximumCount windowSeconds period timeZone usedAmount usedCount startsAt
      resetsAt
    }
"""
ERROR = """
    ... on UserError { code message path retryable }
    ... on CeilingExceeded { ceiling before after account { name } }
"""
SHOW = f"query ($id: ID!) {{ account(id: $id) {{ {LIMITS} }} }}"


def mutation(name: str) -> str:
    kind = name[0].upper() + name[1:]
    return (
        f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ __typename"
        f" ... on {kind}Success {{ account {{ {LIMITS} }} }}"
        f" {ERROR if name == 'updateAccount' else '... on UserError { code message path }'} }} }}"
    )


CREATE, UPDATE = mutation("createAccount"), mutation("updateAccount")
SET, REMOVE = mutation("setVelocityLimit"), mutation("removeVelocityLimit")

BATCH = """
mutation ($input: PostTransactionsInput!) {
  postTransactions(input: $input) {
    __typename
    ... on PostTransactionsSuccess { results { __typename ... on UserError { code path } } }
    ... on UserError { code path }
    ... on VelocityExceeded { limitName usedAmount requestedAmount }
  }
}
"""


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    return await Market.open(api)


async def change(market: Market, account: str, **fields: Any) -> Json:
    answer = await market.api.answer(UPDATE, accountId=market[account], **fields)
    assert answer["__typename"] == "UpdateAccountSuccess", answer
    changed: Json = answer["account"]
    return changed


async def limit(market: Market, name: str, limit_name: str = "limit", **fields: Any) -> list[Json]:
    """Set a limit and return all of the account's."""
    answer = await market.api.answer(
        SET, accountId=market[name], name=limit_name, **({"windowSeconds": 86_400} | fields)
    )
    assert answer["__typename"] == "SetVelocityLimitSuccess", answer
    limits: list[Json] = answer["account"]["velocityLimits"]
    return limits


async def used(market: Market, name: str) -> list[tuple[str, str]]:
    account = (await market.api.run(SHOW, {"id": market[name]}))["account"]
    return [(one["usedAmount"], one["usedCount"]) for one in account["velocityLimits"]]


async def refused(market: Market, debit: str, credit: str, amount: int, **more: Any) -> Json:
    """Post what must be refused; nothing changes."""
    before = await market.state(), await used(market, debit)
    answer = await market.post("refused", debit, credit, amount, **more)
    assert "code" in answer, answer
    assert (await market.state(), await used(market, debit)) == before
    return answer


async def accepted(market: Market, debit: str, credit: str, amount: int, **more: Any) -> str:
    market.posted = getattr(market, "posted", 0) + 1  # type: ignore[attr-defined]
    key = f"accepted {market.posted}"  # type: ignore[attr-defined]
    answer = await market.post(key, debit, credit, amount, **more)
    assert answer["__typename"] == "PostTransactionSuccess", answer
    return str(answer["transaction"]["id"])


# ---- ceilings ------------------------------------------------------------------------------------


async def test_a_ceiling_to_the_unit(market: Market) -> None:
    """A ceiling bounds posted with all that is on its way in, and no unit of it gets through."""
    account = await change(market, "wallet", balanceCeiling="150")
    assert (account["balanceCeiling"], account["entryMaximum"]) == ("150", None)
    await market.hold("incoming", "cash", "wallet", 30)
    answer = await refused(market, "cash", "wallet", 21)
    assert answer == {
        "__typename": "CeilingExceeded",
        "code": "BALANCE_CEILING_EXCEEDED",
        "message": "The account could come to 151, above its ceiling of 150.",
        "path": ["input", "entries", "1", "amount"],
        "retryable": False,
        "ceiling": "150",
        "before": "130",
        "after": "151",
        "account": {"name": "wallet"},
    }
    await refused(market, "cash", "wallet", 21, dryRun=True)
    await accepted(market, "cash", "wallet", 20)
    assert await market.balances("wallet") == (120, 30, 120, 150)


async def test_a_ceiling_never_stands_in_the_way_of_a_hold(market: Market) -> None:
    """Held money on its way out makes no room, so that voiding it can never break the ceiling."""
    await change(market, "wallet", balanceCeiling="100")
    outgoing = await market.hold("outgoing", "wallet", "shop", 40)
    assert (await refused(market, "cash", "wallet", 1))["before"] == "100"
    assert (await market.void(outgoing, "void"))["__typename"] == "VoidTransactionSuccess"
    outgoing = await market.hold("again", "wallet", "shop", 40)
    await market.settle(outgoing, "settle")
    incoming = await market.hold("incoming", "cash", "wallet", 40)
    assert (await refused(market, "cash", "wallet", 1))["before"] == "100"
    await market.settle(incoming, "settle incoming")
    assert await market.balances("wallet") == (100, 0, 100, 100)


async def test_a_ceiling_at_every_entry(market: Market) -> None:
    """A ceiling holds between the entries of a transaction, not only at its end."""
    await change(market, "wallet", balanceCeiling="100")
    up, down = market.move("cash", "wallet", 5), market.move("wallet", "cash", 5)
    answer = await market.post("up first", "cash", "wallet", 0, entries=[*up, *down])
    assert (answer["code"], answer["path"][2]) == ("BALANCE_CEILING_EXCEEDED", "1")
    answer = await market.post("down first", "cash", "wallet", 0, entries=[*down, *up])
    assert answer["__typename"] == "PostTransactionSuccess"


async def test_a_ceiling_of_a_debit_account(market: Market) -> None:
    """A debit-normal account rises by debits."""
    await change(market, "cash", balanceCeiling="100")
    assert (await refused(market, "cash", "shop", 1))["account"] == {"name": "cash"}
    await accepted(market, "wallet", "cash", 1)
    await accepted(market, "cash", "shop", 1)


async def test_ceilings_are_set_where_they_hold(market: Market) -> None:
    """A ceiling is not set below what the account can come to, and is lifted by null."""
    await market.hold("incoming", "cash", "wallet", 30)
    answer = await market.api.answer(UPDATE, accountId=market["wallet"], balanceCeiling="129")
    assert answer == {
        "__typename": "CeilingExceeded",
        "code": "BALANCE_CEILING_EXCEEDED",
        "message": "The account can come to 130, above the new ceiling of 129.",
        "path": ["input", "balanceCeiling"],
        "retryable": False,
        "ceiling": "129",
        "before": "130",
        "after": "130",
        "account": {"name": "wallet"},
    }
    await change(market, "wallet", balanceCeiling="130")
    await refused(market, "cash", "wallet", 1)
    await change(market, "wallet", name="Other")
    await refused(market, "cash", "wallet", 1)
    assert (await change(market, "wallet", balanceCeiling=None))["balanceCeiling"] is None
    await accepted(market, "cash", "wallet", 1)


# ---- entry maximum -------------------------------------------------------------------------------


async def test_an_entry_maximum(market: Market) -> None:
    """An entry maximum binds each new entry, either way, and not the sum of several."""
    await change(market, "wallet", entryMaximum="40")
    for debit, credit, index in (("wallet", "cash", "0"), ("cash", "wallet", "1")):
        answer = await refused(market, debit, credit, 41)
        assert answer == {
            "__typename": "EntryTooLarge",
            "code": "ENTRY_MAXIMUM_EXCEEDED",
            "message": "An entry on this account is at most 40 minor units.",
            "path": ["input", "entries", index, "amount"],
            "retryable": False,
            "requested": "41",
            "maximum": "40",
            "account": {"name": "wallet"},
        }
        await accepted(market, debit, credit, 40)
    await refused(market, "wallet", "cash", 41, status="PENDING")
    twice = [*market.move("wallet", "cash", 40)] * 2
    await accepted(market, "wallet", "cash", 0, entries=twice)


async def test_an_entry_maximum_leaves_earlier_holds_alone(market: Market) -> None:
    """What was held before there was a maximum is settled and released in one."""
    first = await market.hold("first", "wallet", "cash", 50)
    second = await market.hold("second", "wallet", "cash", 50)
    await change(market, "wallet", entryMaximum="1")
    assert (await market.settle(first, "settle"))["__typename"] == "SettleTransactionSuccess"
    assert (await market.void(second, "void"))["__typename"] == "VoidTransactionSuccess"
    await change(market, "wallet", entryMaximum=None)
    await accepted(market, "wallet", "cash", 50)


@pytest.mark.parametrize(
    ("field", "amount"),
    [
        ("balanceCeiling", "-1"),
        ("balanceCeiling", str(10**36) + "1"),
        ("entryMaximum", "0"),
        ("entryMaximum", "-1"),
    ],
)
async def test_limits_that_are_none(market: Market, field: str, amount: str) -> None:
    """A new account's ceiling is at least 0, an entry maximum above 0, both within amounts."""
    fields = {"ledgerId": market.ledger, "name": "new", "normalBalance": "CREDIT"}
    query = {"input": {**fields, "currency": "USD", field: amount}}
    body = (await market.api.send(CREATE, query)).json()
    if "errors" in body:
        assert body["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    else:
        answer = body["data"]["createAccount"]
        assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", field])


async def test_new_accounts_with_limits(market: Market) -> None:
    """An account is opened with its limits, and they hold from its first entry."""
    await market.account("small", balanceCeiling="10", entryMaximum="6")
    assert (await refused(market, "cash", "small", 7))["code"] == "ENTRY_MAXIMUM_EXCEEDED"
    await accepted(market, "cash", "small", 6)
    assert (await refused(market, "cash", "small", 5))["code"] == "BALANCE_CEILING_EXCEEDED"
    await accepted(market, "cash", "small", 4)


# ---- velocity limits -----------------------------------------------------------------------------


async def test_a_limit_is_shown_with_its_usage(market: Market) -> None:
    """What went out in the window before the limit was set already counts."""
    await accepted(market, "wallet", "cash", 30)
    await market.hold("held", "wallet", "cash", 20)
    await accepted(market, "cash", "wallet", 500)
    before = datetime.now(UTC)
    limits = await limit(market, "wallet", "hourly", windowSeconds=3600, maximumAmount="60")
    limits = await limit(
        market, "wallet", "daily", windowSeconds=None, period="DAY",
        timeZone="Asia/Kathmandu", maximumCount="3",
    )  # fmt: skip
    daily, hourly = limits
    assert {name: hourly[name] for name in hourly if not name.endswith("At")} == {
        "name": "hourly",
        "maximumAmount": "60",
        "maximumCount": None,
        "windowSeconds": 3600,
        "period": None,
        "timeZone": None,
        "usedAmount": "50",
        "usedCount": "2",
    }
    assert datetime.fromisoformat(hourly["startsAt"]) < before
    assert datetime.fromisoformat(hourly["resetsAt"]) - timedelta(hours=1) > before
    assert (daily["period"], daily["timeZone"], daily["usedCount"]) == (
        "DAY",
        "Asia/Kathmandu",
        "2",
    )
    assert daily["startsAt"].endswith("T18:15:00.000000Z")
    assert await used(market, "wallet") == [("50", "2")] * 2
    assert await used(market, "cash") == []


async def test_limits_are_read_together(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement reads the limits of all accounts of an answer."""
    for name in ("wallet", "shop", "euros", "purse"):
        await limit(market, name, "a", maximumCount="1")
        await limit(market, name, "b", maximumCount="2")
    statements: list[str] = []
    run = Snapshot.rows

    async def noted(self: Snapshot, statement: str, parameters: Any) -> Any:
        statements.append(statement)
        return await run(self, statement, parameters)

    monkeypatch.setattr(Snapshot, "rows", noted)
    query = (
        "query ($id: ID!) { ledger(id: $id) { accounts { nodes { velocityLimits { name } } } } }"
    )
    accounts = (await market.api.run(query, {"id": market.ledger}))["ledger"]["accounts"]["nodes"]
    shown = [[one["name"] for one in account["velocityLimits"]] for account in accounts]
    assert sorted(shown) == [[]] + [["a", "b"]] * 4
    assert len(statements) == 3


async def test_a_limit_to_the_unit(market: Market) -> None:
    """Outgoing money is let through up to the limit; incoming money neither counts nor frees."""
    await limit(market, "wallet", maximumAmount="60")
    await accepted(market, "wallet", "cash", 25)
    await accepted(market, "cash", "wallet", 1_000)
    answer = await refused(market, "wallet", "cash", 36)
    retry_at = datetime.fromisoformat(answer.pop("retryAt"))
    assert retry_at > datetime.now(UTC) + timedelta(hours=23)
    assert answer == {
        "__typename": "VelocityExceeded",
        "code": "VELOCITY_EXCEEDED",
        "message": 'The limit "limit" has no room for this now.',
        "path": ["input", "entries", "0", "amount"],
        "retryable": True,
        "limitName": "limit",
        "usedAmount": "25",
        "usedCount": "1",
        "requestedAmount": "36",
        "maximumAmount": "60",
        "maximumCount": None,
        "windowSeconds": 86_400,
        "period": None,
        "timeZone": None,
        "account": {"name": "wallet"},
    }
    never = await refused(market, "wallet", "cash", 61)
    assert (never["retryAt"], never["retryable"], never["message"]) == (
        None,
        False,
        'The limit "limit" never has room for this.',
    )
    await accepted(market, "wallet", "cash", 35)
    assert await used(market, "wallet") == [("60", "2")]


async def test_a_dry_run_counts_nothing(market: Market) -> None:
    """A dry run is decided by the limit and uses nothing of it."""
    await limit(market, "wallet", maximumAmount="60", maximumCount="1")
    await accepted(market, "wallet", "cash", 60, dryRun=True)
    assert await used(market, "wallet") == [("0", "0")]
    assert (await refused(market, "wallet", "cash", 61, dryRun=True))["usedAmount"] == "0"
    await accepted(market, "wallet", "cash", 60)
    assert await used(market, "wallet") == [("60", "1")]


async def test_holds_count_until_they_are_released(market: Market) -> None:
    """A hold counts when it is made; settling changes nothing; what is released is given back."""
    await limit(market, "wallet", maximumAmount="60", maximumCount="2")
    first = await market.hold("first", "wallet", "cash", 30)
    second = await market.hold("second", "wallet", "cash", 30)
    assert (await refused(market, "wallet", "cash", 1))["code"] == "VELOCITY_EXCEEDED"
    part = market.move("wallet", "cash", 10)
    await market.settle(first, "a part", entries=part, final=False)
    assert await used(market, "wallet") == [("60", "2")]
    await market.settle(first, "another part", entries=part)
    assert await used(market, "wallet") == [("50", "2")]
    await market.void(second, "void")
    assert await used(market, "wallet") == [("20", "1")]
    await accepted(market, "wallet", "cash", 40)
    assert await used(market, "wallet") == [("60", "2")]


async def test_a_limit_below_its_usage(market: Market) -> None:
    """A limit may be set below what went out already; then nothing goes out, and all is settled."""
    hold = await market.hold("hold", "wallet", "cash", 30)
    limits = await limit(market, "wallet", maximumAmount="10")
    assert limits[0]["usedAmount"] == "30"
    await refused(market, "wallet", "cash", 1)
    await accepted(market, "cash", "wallet", 1)
    await market.settle(hold, "settle")
    assert await used(market, "wallet") == [("30", "1")]


async def test_replacing_and_removing_limits(market: Market) -> None:
    """A limit of the same name is replaced, with the usage of its new window; removing is final."""
    await limit(market, "wallet", "a", maximumAmount="10")
    await accepted(market, "wallet", "cash", 10)
    await refused(market, "wallet", "cash", 1)
    limits = await limit(market, "wallet", "a", maximumAmount="11", windowSeconds=100_000)
    assert [(one["name"], one["windowSeconds"], one["usedAmount"]) for one in limits] == [
        ("a", 100_000, "10")
    ]
    await accepted(market, "wallet", "cash", 1)
    await limit(market, "wallet", "b", maximumCount="0")
    for name, left in (("a", ["b"]), ("a", ["b"]), ("b", []), ("b", [])):
        answer = await market.api.answer(REMOVE, accountId=market["wallet"], name=name)
        assert [one["name"] for one in answer["account"]["velocityLimits"]] == left
    await accepted(market, "wallet", "cash", 50)


async def test_limits_that_cannot_be_set(market: Market) -> None:
    """What is no limit is refused, and so is an eleventh; nothing is kept of it."""
    for fields, path in (
        ({"maximumAmount": "1"}, []),
        ({"windowSeconds": 60}, []),
        ({"windowSeconds": 60, "maximumAmount": "-1"}, ["maximumAmount"]),
        ({"windowSeconds": 60, "maximumAmount": "1", "name": " "}, ["name"]),
        ({"windowSeconds": 0, "maximumAmount": "1"}, ["windowSeconds"]),
        ({"period": "DAY", "maximumAmount": "1"}, ["timeZone"]),
        ({"period": "DAY", "timeZone": "Nowhere", "maximumAmount": "1"}, ["timeZone"]),
        ({"period": "DAY", "timeZone": "UTC", "windowSeconds": 60, "maximumAmount": "1"}, []),
    ):
        answer = await market.api.answer(
            SET, **{"accountId": market["wallet"], "name": "limit", **fields}
        )
        assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", *path])
    assert await used(market, "wallet") == []
    for number in range(10):
        await limit(market, "wallet", f"limit {number}", maximumCount="5")
    answer = await market.api.answer(
        SET, accountId=market["wallet"], name="limit 10", windowSeconds=60, maximumCount="5"
    )
    assert answer["code"] == "VALIDATION_FAILED"
    assert len(await limit(market, "wallet", "limit 9", maximumCount="6")) == 10


async def test_several_limits(market: Market) -> None:
    """Every limit must have room; the refusal names the first that has none."""
    await limit(market, "wallet", "by amount", maximumAmount="50")
    await limit(market, "wallet", "by count", maximumCount="2")
    await accepted(market, "wallet", "cash", 1)
    assert (await refused(market, "wallet", "cash", 50))["limitName"] == "by amount"
    await accepted(market, "wallet", "cash", 1)
    assert (await refused(market, "wallet", "cash", 1))["limitName"] == "by count"


async def test_entries_of_one_transaction_count_together(market: Market) -> None:
    """A transaction counts once, by the sum of its outgoing entries; those coming in take nothing
    off.
    """
    await limit(market, "wallet", maximumAmount="50", maximumCount="1")
    entries = [*market.move("wallet", "cash", 25), *market.move("cash", "wallet", 10)]
    answer = await refused(
        market, "wallet", "cash", 0, entries=[*entries, *market.move("wallet", "cash", 26)]
    )
    assert (answer["path"][2], answer["requestedAmount"]) == ("4", "51")
    await accepted(
        market, "wallet", "cash", 0, entries=[*entries, *market.move("wallet", "cash", 25)]
    )
    assert await used(market, "wallet") == [("50", "1")]


async def test_batches(market: Market) -> None:
    """Decisions earlier in a batch count: all or none, or exactly as many as fit."""
    await limit(market, "wallet", maximumAmount="30")
    postings = [market.posting(f"key {n}", "wallet", "cash", 10) for n in range(5)]
    answer = await market.api.answer(BATCH, mode="ATOMIC", transactions=postings)
    assert answer == {
        "__typename": "VelocityExceeded",
        "code": "VELOCITY_EXCEEDED",
        "path": ["input", "transactions", "3", "entries", "0", "amount"],
        "limitName": "limit",
        "usedAmount": "30",
        "requestedAmount": "10",
    }
    assert await used(market, "wallet") == [("0", "0")]
    answer = await market.api.answer(BATCH, mode="INDEPENDENT", transactions=postings)
    names = [result["__typename"] for result in answer["results"]]
    assert names == ["PostTransactionSuccess"] * 3 + ["VelocityExceeded"] * 2
    assert await used(market, "wallet") == [("30", "3")]


async def test_limits_under_concurrency(database_url: str) -> None:
    """Of many parallel postings through several servers exactly as many are accepted as fit."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(open_api(database_url))
        other = await stack.enter_async_context(open_api(database_url))
        clients = [first, replace(first, http=other.http)]
        market = await Market.open(first, money=10_000)
        await market.account("small", balanceCeiling="100")
        await limit(market, "wallet", "amount", maximumAmount="123")
        month = {"windowSeconds": None, "period": "MONTH", "timeZone": "America/New_York"}
        await limit(market, "cash", "count", maximumCount="21", **month)
        moves = ("wallet", "shop"), ("shop", "cash"), ("shop", "small")

        async def post(number: int) -> str:
            debit, credit = moves[number % 3]
            status = ("POSTED", "PENDING")[number // 6 % 2]
            posting = market.posting(f"key {number}", debit, credit, 3, status=status)
            answer = await clients[number // 3 % 2].answer(POST, **posting)
            return f"{credit} {answer.get('code')}"

        answers = await asyncio.gather(*(post(number) for number in range(240)))
        assert {name: answers.count(name) for name in set(answers)} == {
            "shop None": 41,
            "shop VELOCITY_EXCEEDED": 39,
            "cash None": 21,
            "cash VELOCITY_EXCEEDED": 59,
            "small None": 33,
            "small BALANCE_CEILING_EXCEEDED": 47,
        }
        assert await used(market, "wallet") == [("123", "41")]
        assert await used(market, "cash") == [("63", "21")]
    assert verify(database_url).violations == ()


async def test_setting_a_limit_against_postings(market: Market, database_url: str) -> None:
    """A limit that is set while postings run counts each of them once."""
    await market.account("source")
    posting = (
        market.post(f"key {number}", "source", "cash", 7, status=("POSTED", "PENDING")[number % 2])
        for number in range(60)
    )
    setting = (limit(market, "source", maximumAmount="280") for _ in range(4))
    answers, _ = await asyncio.gather(asyncio.gather(*posting), asyncio.gather(*setting))
    accepted = sum(answer["__typename"] == "PostTransactionSuccess" for answer in answers)
    assert accepted >= 40
    assert await used(market, "source") == [(str(7 * accepted), str(accepted))]
    assert verify(database_url).violations == ()


async def test_who_may_limit(market: Market) -> None:
    """Setting and removing a limit needs the scope write."""
    reader = await market.api.with_key(Permission.READ)
    for query, fields in (
        (SET, {"name": "limit", "windowSeconds": 60, "maximumCount": "1"}),
        (REMOVE, {"name": "limit"}),
    ):
        body = (
            await reader.send(query, {"input": {"accountId": market["wallet"], **fields}})
        ).json()
        assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    writer = await market.api.with_key(Permission.WRITE)
    assert "account" in await writer.answer(
        SET, accountId=market["wallet"], name="limit", windowSeconds=60, maximumCount="1"
    )
    assert (await reader.run(SHOW, {"id": market["wallet"]}))["account"]["velocityLimits"] != []


async def test_an_archived_ledger_keeps_its_limits(market: Market) -> None:
    """Limits of an archived ledger neither come nor go."""
    await limit(market, "wallet", maximumCount="1")
    await market.archive()
    for query, fields in ((SET, {"windowSeconds": 60, "maximumCount": "2"}), (REMOVE, {})):
        answer = await market.api.answer(query, accountId=market["wallet"], name="limit", **fields)
        assert answer["code"] == "LEDGER_ARCHIVED"
    assert await used(market, "wallet") == [("0", "0")]


async def test_condition_on_projected(market: Market) -> None:
    """A condition on projected sees all that is pending; the refusal says what was and must be."""
    await market.hold("out", "wallet", "cash", 30)
    await market.hold("in", "cash", "wallet", 5)
    entries = market.move("wallet", "cash", 10)
    entries[0]["condition"] = {"projected": {"gte": "66"}}
    answer = await refused(market, "wallet", "cash", 0, entries=entries)
    assert (answer["code"], answer["path"][-1]) == ("CONDITION_FAILED", "projected")
    assert (answer["balance"], answer["expected"], answer["actual"]) == ("projected", ">= 66", "65")
    entries[0]["condition"] = {"projected": {"eq": "65"}}
    await accepted(market, "wallet", "cash", 0, entries=entries)
