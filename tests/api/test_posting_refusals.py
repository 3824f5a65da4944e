"""Each refusal of a posting, as a client sees it, and that it changes nothing."""

from typing import Any

import pytest
import pytest_asyncio

from app.api.ids import LEDGER, decode_as
from app.ledger.accounts.state import Mode
from tests.api.market import POSTING, STATE, Market
from tests.api_client import SETTLE, VOID, Api, Json

DETAILED = """
mutation ($input: PostTransactionInput!) {
  postTransaction(input: $input) {
    __typename
    ... on UserError { code message path retryable }
    ... on EntriesUnbalanced { currency { code exponent } debits credits }
    ... on AccountNotOpen { accountStatus account { name } }
    ... on InsufficientFunds { available required account { name } }
    ... on VersionConflict { expectedVersion actualVersion account { name } }
    ... on ConditionFailed { balance expected actual account { name } }
    ... on IdempotencyConflict { transaction { sequence } }
    ... on ExternalIdTaken { externalId }
  }
}
"""


class Shop:
    """Cash, a wallet of 100 with the floor 0, a frozen account, and points."""

    api: Api
    ledger: str
    cash: str
    wallet: str
    frozen: str
    points: str

    @classmethod
    async def open(cls, api: Api) -> "Shop":
        shop = cls()
        shop.api, shop.ledger = api, await api.ledger()
        shop.cash = await api.account(shop.ledger, name="cash", normalBalance="DEBIT")
        shop.wallet = await api.account(shop.ledger, name="wallet", availableFloor="0")
        shop.frozen = await api.account(shop.ledger, name="frozen")
        shop.points = await api.account(shop.ledger, name="points", currency="POINTS", exponent=0)
        await api.post(
            shop.ledger, shop.cash, shop.wallet, 100, idempotencyKey="used", externalId="order"
        )
        await api.run(
            f'mutation {{ freezeAccount(input: {{accountId: "{shop.frozen}"}}) {{ __typename }} }}'
        )
        return shop

    def entry(self, account: str, direction: str, amount: int, **more: Any) -> Json:
        identity = getattr(self, account, account)
        return {"accountId": identity, "direction": direction, "amount": str(amount), **more}

    def spend(self, amount: int, **more: Any) -> list[Json]:
        return [
            self.entry("wallet", "DEBIT", amount, **more),
            self.entry("cash", "CREDIT", amount),
        ]

    async def state(self) -> Json:
        """Every balance, version, sequence and status of the ledger."""
        return await self.api.run(STATE, {"id": self.ledger})


@pytest_asyncio.fixture
async def shop(api: Api) -> Shop:
    return await Shop.open(api)


async def refused(shop: Shop, **fields: Any) -> Json:
    """Post what must be refused; the books stay, and the key can be used again."""
    before = await shop.state()
    posting = {"ledgerId": shop.ledger, "idempotencyKey": "fresh", **fields}
    answer = await shop.api.answer(DETAILED, **posting)
    assert "code" in answer, answer
    assert await shop.state() == before
    if posting["idempotencyKey"] == "fresh" and posting["ledgerId"] == shop.ledger:
        query = (
            "query ($id: ID!) { transactionByIdempotencyKey(ledgerId: $id,"
            ' idempotencyKey: "fresh") { id } }'
        )
        assert await shop.api.run(query, {"id": shop.ledger}) == {
            "transactionByIdempotencyKey": None
        }
    return answer


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"idempotencyKey": ""}, ["input", "idempotencyKey"]),
        ({"idempotencyKey": "x" * 256}, ["input", "idempotencyKey"]),
        ({"idempotencyKey": "tab\there"}, ["input", "idempotencyKey"]),
        ({"externalId": " "}, ["input", "externalId"]),
        ({"description": "x" * 2001}, ["input", "description"]),
        ({"metadata": {"text": "x" * 17_000}}, ["input", "metadata"]),
        ({"metadata": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}}},
         ["input", "metadata"]),
        ({"ledgerId": "ldgr_1"}, ["input", "ledgerId"]),
    ],
)  # fmt: skip
async def test_malformed(shop: Shop, fields: Json, path: list[str]) -> None:
    """What is wrong in itself is named by its field."""
    answer = await refused(shop, entries=shop.spend(1), **fields)
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", path)


async def test_malformed_entries(shop: Shop) -> None:
    """Entries that are too few, worth nothing or negative, or on no account's id are named."""
    one = [shop.entry("wallet", "DEBIT", 1)]
    assert (await refused(shop, entries=one))["path"] == ["input", "entries"]
    for amount in (0, -1):
        entries = [shop.entry("wallet", "DEBIT", 1), shop.entry("cash", "CREDIT", amount)]
        answer = await refused(shop, entries=entries)
        assert answer["path"] == ["input", "entries", "1", "amount"]
    entries = [shop.entry("wallet", "DEBIT", 1), shop.entry(shop.ledger, "CREDIT", 1)]
    answer = await refused(shop, entries=entries)
    assert answer["path"] == ["input", "entries", "1", "accountId"]


async def test_unbalanced(shop: Shop) -> None:
    """Debits and credits are compared in each currency by itself."""
    entries = [
        *shop.spend(5),
        shop.entry("points", "DEBIT", 7),
        shop.entry("points", "CREDIT", 6),
    ]
    assert await refused(shop, entries=entries) == {
        "__typename": "EntriesUnbalanced",
        "code": "ENTRIES_UNBALANCED",
        "message": "In POINTS debits are 7 and credits 6 minor units.",
        "path": ["input", "entries"],
        "retryable": False,
        "currency": {"code": "POINTS", "exponent": 0},
        "debits": "7",
        "credits": "6",
    }


async def test_not_open(shop: Shop) -> None:
    """A frozen account takes no entry."""
    entries = [shop.entry("frozen", "DEBIT", 1), shop.entry("wallet", "CREDIT", 1)]
    answer = await refused(shop, entries=entries)
    assert (answer["code"], answer["accountStatus"]) == ("ACCOUNT_NOT_OPEN", "FROZEN")
    assert (answer["path"], answer["account"]) == (
        ["input", "entries", "0", "accountId"],
        {"name": "frozen"},
    )


async def test_floor_at_every_entry(shop: Shop) -> None:
    """A floor holds between the entries of a transaction, not only at its end."""
    entries = [
        shop.entry("wallet", "DEBIT", 101),
        shop.entry("wallet", "CREDIT", 101),
    ]
    answer = await refused(shop, entries=entries)
    assert (answer["code"], answer["available"], answer["required"]) == (
        "INSUFFICIENT_FUNDS",
        "100",
        "101",
    )
    turned = await shop.api.answer(
        DETAILED, ledgerId=shop.ledger, idempotencyKey="turned", entries=entries[::-1]
    )
    assert turned == {"__typename": "PostTransactionSuccess"}


async def test_version(shop: Shop) -> None:
    """An account that has had another entry than the client saw is a conflict."""
    answer = await refused(shop, entries=shop.spend(1, accountVersion="0"))
    assert (
        answer["code"],
        answer["expectedVersion"],
        answer["actualVersion"],
        answer["path"],
    ) == (
        "VERSION_CONFLICT",
        "0",
        "1",
        ["input", "entries", "0", "accountVersion"],
    )
    kept = await shop.api.answer(
        DETAILED,
        ledgerId=shop.ledger,
        idempotencyKey="kept",
        entries=shop.spend(1, accountVersion="1"),
    )
    assert kept == {"__typename": "PostTransactionSuccess"}


@pytest.mark.parametrize(
    ("condition", "balance", "expected", "actual"),
    [
        ({"available": {"gte": "96"}}, "available", ">= 96", "95"),
        ({"posted": {"lt": "95"}}, "posted", "< 95", "95"),
        ({"pending": {"eq": "1"}}, "pending", "= 1", "0"),
        ({"posted": {"gt": "95"}, "available": {"lte": "0"}}, "posted", "> 95", "95"),
        ({"available": {"lte": "94"}}, "available", "<= 94", "95"),
    ],
)
async def test_conditions(
    shop: Shop, condition: Json, balance: str, expected: str, actual: str
) -> None:
    """A condition that does not hold after its entry is named with what was seen and wanted."""
    answer = await refused(shop, entries=shop.spend(5, condition=condition))
    assert (answer["code"], answer["balance"], answer["expected"], answer["actual"]) == (
        "CONDITION_FAILED",
        balance,
        expected,
        actual,
    )
    assert answer["path"] == ["input", "entries", "0", "condition", balance]


async def test_used_key_and_used_name(shop: Shop) -> None:
    """A key with another content, and an external id that is taken, are refused."""
    answer = await refused(shop, entries=shop.spend(5), idempotencyKey="used")
    assert (answer["code"], answer["transaction"]) == ("IDEMPOTENCY_CONFLICT", {"sequence": "1"})
    answer = await refused(shop, entries=shop.spend(5), externalId="order")
    assert (answer["code"], answer["externalId"]) == ("EXTERNAL_ID_TAKEN", "order")


async def test_archived(shop: Shop) -> None:
    """An archived ledger takes nothing more."""
    await shop.api.run(
        f'mutation {{ archiveLedger(input: {{ledgerId: "{shop.ledger}"}}) {{ __typename }} }}'
    )
    assert (await refused(shop, entries=shop.spend(1)))["code"] == "LEDGER_ARCHIVED"


async def test_no_such_ledger(shop: Shop) -> None:
    """A ledger of nobody, of a stranger, and of the other mode are not found alike."""
    unknown = "ldgr_" + shop.ledger.removeprefix("ldgr_")[::-1]
    theirs = await (await shop.api.stranger()).ledger()
    live = await (await shop.api.with_key(mode=Mode.LIVE)).ledger()
    answers = [
        await refused(shop, ledgerId=ledger, entries=shop.spend(1))
        for ledger in (unknown, theirs, live)
    ]
    assert (
        answers
        == [
            {
                "__typename": "LedgerNotFound",
                "code": "LEDGER_NOT_FOUND",
                "message": "No ledger with this id is visible to the API key.",
                "path": ["input", "ledgerId"],
                "retryable": False,
            }
        ]
        * 3
    )


async def test_first_of_several(shop: Shop) -> None:
    """A posting that breaks more and more rules is refused for the first of them each time."""
    entries = shop.spend(101, condition={"posted": {"gte": "0"}})
    fields: Json = {"entries": entries}
    codes = [(await refused(shop, **fields))["code"]]
    entries[1]["accountVersion"] = "7"
    codes.append((await refused(shop, **fields))["code"])
    entries += [shop.entry("frozen", "DEBIT", 1), shop.entry("cash", "CREDIT", 1)]
    codes.append((await refused(shop, **fields))["code"])
    fields["externalId"] = "order"
    codes.append((await refused(shop, **fields))["code"])
    entries.append(shop.entry("points", "DEBIT", 1))
    codes.append((await refused(shop, **fields))["code"])
    entries.append(shop.entry("acct_" + "0" * 32, "DEBIT", 1))
    codes.append((await refused(shop, **fields))["code"])
    codes.append((await refused(shop, **fields, idempotencyKey="used"))["code"])
    nowhere = {"ledgerId": "ldgr_" + shop.ledger.removeprefix("ldgr_")[::-1]}
    codes.append((await refused(shop, **fields, **nowhere))["code"])
    codes.append((await refused(shop, **fields, **nowhere, description="\1"))["code"])
    assert codes == [
        "INSUFFICIENT_FUNDS",
        "VERSION_CONFLICT",
        "ACCOUNT_NOT_OPEN",
        "EXTERNAL_ID_TAKEN",
        "ENTRIES_UNBALANCED",
        "ACCOUNT_NOT_FOUND",
        "IDEMPOTENCY_CONFLICT",
        "LEDGER_NOT_FOUND",
        "VALIDATION_FAILED",
    ]


async def test_account_of_another_ledger(shop: Shop) -> None:
    """Accounts transact only with accounts of their own ledger."""
    elsewhere = await shop.api.account(await shop.api.ledger())
    entries = [shop.entry("cash", "DEBIT", 1), shop.entry(elsewhere, "CREDIT", 1)]
    answer = await refused(shop, entries=entries)
    assert (answer["code"], answer["path"]) == (
        "ACCOUNT_NOT_FOUND",
        ["input", "entries", "1", "accountId"],
    )


async def test_settlements(shop: Shop) -> None:
    """Settling is refused beyond the hold, unbalanced, on other accounts, frozen, or too late."""
    hold = await shop.api.post(shop.ledger, shop.wallet, shop.cash, 40, status="PENDING")
    identity = hold["transaction"]["id"]
    held = await shop.state()

    async def settle(*entries: Json) -> Json:
        return await shop.api.answer(
            SETTLE, transactionId=identity, idempotencyKey="settle", entries=list(entries)
        )

    for entries, code in (
        (shop.spend(41), "SETTLEMENT_EXCEEDS_HOLD"),
        (
            [shop.entry("wallet", "DEBIT", 4), shop.entry("cash", "CREDIT", 3)],
            "ENTRIES_UNBALANCED",
        ),
        (
            [shop.entry("wallet", "DEBIT", 4), shop.entry("frozen", "CREDIT", 4)],
            "ACCOUNT_NOT_FOUND",
        ),
        ([shop.entry("wallet", "DEBIT", 4)], "VALIDATION_FAILED"),
        (
            [shop.entry("wallet", "CREDIT", 4), shop.entry("cash", "DEBIT", 4)],
            "SETTLEMENT_EXCEEDS_HOLD",
        ),
    ):
        assert (await settle(*entries))["code"] == code
        assert await shop.state() == held
    freeze = f'mutation {{ freezeAccount(input: {{accountId: "{shop.wallet}"}}) {{ __typename }} }}'
    await shop.api.run(freeze)
    assert (await settle(*shop.spend(4)))["code"] == "ACCOUNT_NOT_OPEN"
    voided = await shop.api.answer(VOID, transactionId=identity, idempotencyKey="void")
    assert voided["transaction"]["status"] == "VOIDED"
    again = await shop.api.answer(VOID, transactionId=identity, idempotencyKey="again")
    assert (again["code"], again["path"]) == (
        "TRANSACTION_NOT_PENDING",
        ["input", "transactionId"],
    )


# ---- every refusal whole -------------------------------------------------------------------------


@pytest_asyncio.fixture
async def market(api: Api) -> Market:
    """A market with a closed account and a posting named "order"."""
    market = await Market.open(api)
    await market.account("closed")
    await market.set("closed", "close")
    await market.post("used", "cash", "shop", 1, externalId="order")
    return market


def entry_path(place: int, *rest: str) -> list[str]:
    return ["input", "entries", str(place), *rest]


@pytest.mark.parametrize("status", ["POSTED", "PENDING"])
@pytest.mark.parametrize(
    ("move", "first_line", "fields", "expected"),
    [
        (
            ("wallet", "cash", 1), {}, {"idempotencyKey": " "},
            ("ValidationFailed", "VALIDATION_FAILED", ["input", "idempotencyKey"], {}),
        ),
        (
            ("wallet", "cash", 1), {}, {"ledgerId": "ldgr_" + "0" * 32},
            ("LedgerNotFound", "LEDGER_NOT_FOUND", ["input", "ledgerId"], {}),
        ),
        (
            ("wallet", "cash", 1), {"accountId": "acct_" + "0" * 32}, {},
            ("AccountNotFound", "ACCOUNT_NOT_FOUND", entry_path(0, "accountId"), {}),
        ),
        (
            ("wallet", "cash", 1), {}, {"idempotencyKey": "used"},
            ("IdempotencyConflict", "IDEMPOTENCY_CONFLICT", ["input", "idempotencyKey"],
             {"transaction": {"sequence": "2"}}),
        ),
        (
            ("wallet", "cash", 2), {"amount": "3"}, {},
            ("EntriesUnbalanced", "ENTRIES_UNBALANCED", ["input", "entries"],
             {"currency": {"code": "USD", "exponent": 2}, "debits": "3", "credits": "2"}),
        ),
        (
            ("wallet", "cash", 1), {}, {"externalId": "order"},
            ("ExternalIdTaken", "EXTERNAL_ID_TAKEN", ["input", "externalId"],
             {"externalId": "order"}),
        ),
        (
            ("wallet", "closed", 1), {}, {},
            ("AccountNotOpen", "ACCOUNT_NOT_OPEN", entry_path(1, "accountId"),
             {"accountStatus": "CLOSED", "account": {"name": "closed"}}),
        ),
        (
            ("wallet", "cash", 1), {"accountVersion": "2"}, {},
            ("VersionConflict", "VERSION_CONFLICT", entry_path(0, "accountVersion"),
             {"expectedVersion": "2", "actualVersion": "1", "account": {"name": "wallet"}}),
        ),
        (
            ("wallet", "cash", 101), {}, {},
            ("InsufficientFunds", "INSUFFICIENT_FUNDS", entry_path(0, "amount"),
             {"available": "100", "required": "101", "account": {"name": "wallet"}}),
        ),
        (
            ("wallet", "cash", 1), {"condition": {"available": {"gt": "99"}}}, {},
            ("ConditionFailed", "CONDITION_FAILED", entry_path(0, "condition", "available"),
             {"balance": "available", "expected": "> 99", "actual": "99",
              "account": {"name": "wallet"}}),
        ),
    ],
)  # fmt: skip
async def test_whole_refusals_of_a_posting(
    market: Market,
    move: tuple[str, str, int],
    first_line: Json,
    fields: Json,
    expected: tuple[str, str, list[str], Json],
    status: str,
) -> None:
    """Posted or held, each refusal is its own type with just its fields, and changes nothing."""
    posting = {**market.posting("fresh", *move, status=status), **fields}
    posting["entries"][0] |= first_line
    before = await market.state()
    answer = await market.api.answer(POSTING, **posting)
    assert await market.state() == before
    name, code, path, own = expected
    assert answer.pop("message").strip() != ""
    assert answer == {"__typename": name, "code": code, "path": path, "retryable": False, **own}
    assert (await market.post("fresh", "cash", "shop", 1))["replayed"] is False


@pytest.mark.parametrize("verb", ["settle", "void"])
async def test_whole_refusals_of_a_change(market: Market, verb: str) -> None:
    """What settlements and voids are refused for alike is of one type with the same fields."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    other = await market.hold("other", "wallet", "shop", 10)
    await market.void(other, "void other")
    change = market.settle if verb == "settle" else market.void

    async def refusal(transaction: str, key: str) -> Json:
        before = await market.state()
        answer = await change(transaction, key)
        assert await market.state() == before
        assert (answer["retryable"], answer.pop("message").strip() != "") == (False, True)
        answer.pop("retryable")
        return answer

    assert await refusal(hold, "") == {
        "__typename": "ValidationFailed",
        "code": "VALIDATION_FAILED",
        "path": ["input", "idempotencyKey"],
    }
    assert await refusal("txn_" + "0" * 32, "k") == {
        "__typename": "TransactionNotFound",
        "code": "TRANSACTION_NOT_FOUND",
        "path": ["input", "transactionId"],
    }
    assert await refusal(hold, "hold") == {
        "__typename": "IdempotencyConflict",
        "code": "IDEMPOTENCY_CONFLICT",
        "path": ["input", "idempotencyKey"],
        "transaction": {"id": hold, "sequence": "3"},
    }
    assert await refusal(hold, "used") | {"transaction": None} == {
        "__typename": "IdempotencyConflict",
        "code": "IDEMPOTENCY_CONFLICT",
        "path": ["input", "idempotencyKey"],
        "transaction": None,
    }
    assert await refusal(other, "k") == {
        "__typename": "TransactionNotPending",
        "code": "TRANSACTION_NOT_PENDING",
        "path": ["input", "transactionId"],
        "transactionStatus": "VOIDED",
        "transaction": {"id": other, "status": "VOIDED"},
    }
    assert (await change(hold, "k"))["replayed"] is False
    await market.archive()
    assert await refusal(hold, "late") == {
        "__typename": "LedgerArchived",
        "code": "LEDGER_ARCHIVED",
        "path": ["input", "transactionId"],
    }


@pytest.mark.parametrize("verb", ["settle", "void"])
async def test_whose_hold(market: Market, verb: str) -> None:
    """A key of another organization, mode or ledger has no hold to settle or void."""
    hold = await market.hold("hold", "wallet", "shop", 40)
    before = await market.state()
    owner = market.api
    elsewhere = decode_as(LEDGER, await owner.ledger())
    for other in (
        await owner.stranger(),
        await owner.with_key(mode=Mode.LIVE),
        await owner.with_key(ledger_ids=[elsewhere]),
    ):
        market.api = other
        answer = await (market.settle if verb == "settle" else market.void)(hold, "k")
        assert answer == {
            "__typename": "TransactionNotFound",
            "code": "TRANSACTION_NOT_FOUND",
            "message": "No transaction with this id is visible to the API key.",
            "path": ["input", "transactionId"],
            "retryable": False,
        }
    market.api = owner
    assert await market.state() == before
