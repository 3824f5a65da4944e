"""Ledgers and accounts being opened, changed, frozen, closed and archived; and every refusal."""

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from app.ledger.accounts.administration import MAX_ACCOUNTS, MAX_EXPONENT
from app.ledger.transactions.commands import (
    MAX_DESCRIPTION_LENGTH,
    MAX_METADATA_BYTES,
    MAX_NAME_LENGTH,
)
from app.store.audit.verify import verify
from tests.api_client import SETTLE, VOID, Api, Json

LEDGER = "id name description mode metadata createdAt archivedAt"
ACCOUNT = (
    "id name description externalId normalBalance currency { code exponent } status"
    " availableFloor metadata version createdAt ledger { id }"
)
ERROR = "... on UserError { code message path retryable }"
LARGEST = 10**36


def _mutation(name: str, success: str, errors: str = "") -> str:
    kind = name[0].upper() + name[1:]
    return (
        f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ __typename"
        f" ... on {kind}Success {{ {success} }} {ERROR} {errors} }} }}"
    )


CREATE_LEDGER = _mutation("createLedger", f"ledger {{ {LEDGER} }}")
UPDATE_LEDGER = _mutation("updateLedger", f"ledger {{ {LEDGER} }}")
ARCHIVE = _mutation(
    "archiveLedger",
    f"ledger {{ {LEDGER} }}",
    "... on PendingTransactionsRemain { pendingTransactions } ... on LotsRemain { openLots }",
)
CREATE = _mutation(
    "createAccount", f"account {{ {ACCOUNT} }}", "... on ExternalIdTaken { externalId }"
)
CREATE_MANY = _mutation(
    "createAccounts", f"accounts {{ {ACCOUNT} }}", "... on ExternalIdTaken { externalId }"
)
UPDATE = _mutation(
    "updateAccount",
    f"account {{ {ACCOUNT} }}",
    "... on InsufficientFunds { available required account { id } }",
)
_NOT_OPEN = "... on AccountNotOpen { accountStatus account { id status } }"
FREEZE = _mutation("freezeAccount", f"account {{ {ACCOUNT} }}", _NOT_OPEN)
UNFREEZE = _mutation("unfreezeAccount", f"account {{ {ACCOUNT} }}", _NOT_OPEN)
CLOSE = _mutation(
    "closeAccount",
    f"account {{ {ACCOUNT} }}",
    "... on AccountNotEmpty { account { id status } } ... on LotsRemain { openLots }",
)
EVERYTHING = f"""{{
  ledgers(first: 20) {{ nodes {{ {LEDGER}
    accounts {{ nodes {{ {ACCOUNT} balances {{ posted {{ amount }} pending {{ amount }} }} }} }}
    transactions(first: 50) {{ nodes {{ id status }} }}
  }} }}
}}"""


@pytest_asyncio.fixture
async def ledger(api: Api) -> str:
    """An empty ledger."""
    return await api.ledger()


async def _contents(api: Api) -> Json:
    """All that a key sees."""
    return await api.run(EVERYTHING)


async def _refused(api: Api, mutation: str, *path: str, code: str, **fields: Any) -> Json:
    """Run a mutation that must be refused, and assert that it changed nothing."""
    before = await _contents(api)
    result = await api.answer(mutation, **fields)
    assert (result.get("code"), result.get("path")) == (code, ["input", *path]), result
    assert result["retryable"] is False
    assert await _contents(api) == before
    return result


def _new(ledger: str, **fields: Any) -> Json:
    return {
        "ledgerId": ledger,
        "name": "Wallet",
        "normalBalance": "CREDIT",
        "currency": "USD",
        **fields,
    }


# ---- ledgers -------------------------------------------------------------------------------------


async def test_create_ledger(api: Api) -> None:
    """A ledger is opened as it was asked for, in the key's mode, and read back the same."""
    full = {"name": "Main", "description": "All\nof it", "metadata": {"region": "EU"}}
    created = (await api.answer(CREATE_LEDGER, **full))["ledger"]
    assert {name: created[name] for name in full} == full
    assert (created["mode"], created["archivedAt"]) == ("TEST", None)
    bare = (await api.answer(CREATE_LEDGER, name="Bare"))["ledger"]
    assert (bare["description"], bare["metadata"]) == (None, {})
    nulls = await api.answer(CREATE_LEDGER, name="Nulls", description=None, metadata=None)
    assert (nulls["ledger"]["description"], nulls["ledger"]["metadata"]) == (None, {})
    found = (await api.run(f"{{ ledgers {{ nodes {{ {LEDGER} }} }} }}"))["ledgers"]["nodes"]
    assert found == [created, bare, nulls["ledger"]]


BAD_LABELS: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", " \t"),
    ("name", "a\nb"),
    ("name", "\x1b[31m"),
    ("name", "x" * (MAX_NAME_LENGTH + 1)),
    ("description", "x" * (MAX_DESCRIPTION_LENGTH + 1)),
    ("description", "bell \x07"),
    ("metadata", {"a": "x" * MAX_METADATA_BYTES}),
    ("metadata", {"a": 2**63}),
]


async def test_labels_that_are_refused(api: Api, ledger: str) -> None:
    """Bad names, descriptions and metadata are ValidationFailed in each mutation that takes any."""
    account = await api.account(ledger)
    for field, value in BAD_LABELS:
        labels = {"name": "x", field: value}
        for mutation, ids in (
            (CREATE_LEDGER, {}),
            (UPDATE_LEDGER, {"ledgerId": ledger}),
            (UPDATE, {"accountId": account}),
            (CREATE, _new(ledger)),
        ):
            given = {**ids, **labels}
            await _refused(api, mutation, field, code="VALIDATION_FAILED", **given)
        many = [_new(ledger), _new(ledger, **labels)]
        place = ("accounts", "1", field)
        await _refused(api, CREATE_MANY, *place, code="VALIDATION_FAILED", accounts=many)


async def test_labels_at_their_longest(api: Api) -> None:
    """Names of 255 and descriptions of 2,000 characters are taken; blank descriptions too."""
    for description in ("é" * MAX_DESCRIPTION_LENGTH, "", "\t\n"):
        given = {"name": "é" * MAX_NAME_LENGTH, "description": description}
        created = (await api.answer(CREATE_LEDGER, **given))["ledger"]
        assert {name: created[name] for name in given} == given


async def test_update_ledger(api: Api) -> None:
    """Fields left out stay, null clears a description, metadata is replaced as a whole."""
    first = {"name": "Main", "description": "Text", "metadata": {"a": 1, "b": 2}}
    ledger = (await api.answer(CREATE_LEDGER, **first))["ledger"]
    for change in (
        {},
        {"name": "Other"},
        {"metadata": {"c": 3}},
        {"description": None},
        {"description": "New", "metadata": {}},
    ):
        ledger |= change
        result = await api.answer(UPDATE_LEDGER, ledgerId=ledger["id"], **change)
        assert result["ledger"] == ledger
        read = f"query ($id: ID!) {{ ledger(id: $id) {{ {LEDGER} }} }}"
        assert (await api.run(read, {"id": ledger["id"]}))["ledger"] == ledger


async def test_null_where_there_must_be_something(api: Api, ledger: str) -> None:
    """Names and metadata cannot be null: that is refused, not taken for left out."""
    account = await api.account(ledger, metadata={"a": 1})
    for field in ("name", "metadata"):
        given: Json = {field: None}
        await _refused(
            api, UPDATE_LEDGER, field, code="VALIDATION_FAILED", ledgerId=ledger, **given
        )
        await _refused(api, UPDATE, field, code="VALIDATION_FAILED", accountId=account, **given)


async def test_archive_ledger(api: Api, ledger: str) -> None:
    """An archived ledger is read as before and takes no write; archiving twice is nothing."""
    cash, wallet = await api.account(ledger), await api.account(ledger)
    hold = (await api.post(ledger, cash, wallet, 5, status="PENDING"))["transaction"]["id"]
    await api.post(ledger, cash, wallet, 7, status="PENDING", idempotencyKey="second")
    refused = await _refused(
        api, ARCHIVE, "ledgerId", code="PENDING_TRANSACTIONS_REMAIN", ledgerId=ledger
    )
    assert refused["pendingTransactions"] == 2
    await api.answer(SETTLE, transactionId=hold, idempotencyKey="settle")
    other = await api.run(
        'query ($l: ID!) { transactionByIdempotencyKey(ledgerId: $l, idempotencyKey: "second")'
        " { id } }",
        {"l": ledger},
    )
    second = other["transactionByIdempotencyKey"]["id"]
    await api.answer(VOID, transactionId=second, idempotencyKey="void")
    archived = (await api.answer(ARCHIVE, ledgerId=ledger))["ledger"]
    assert archived["archivedAt"] is not None
    assert (await api.answer(ARCHIVE, ledgerId=ledger))["ledger"] == archived

    code = "LEDGER_ARCHIVED"
    await _refused(api, UPDATE_LEDGER, "ledgerId", code=code, ledgerId=ledger, name="x")
    await _refused(api, UPDATE_LEDGER, "ledgerId", code=code, ledgerId=ledger)
    await _refused(api, CREATE, "ledgerId", code=code, **_new(ledger))
    await _refused(
        api, CREATE_MANY, "accounts", "0", "ledgerId", code=code, accounts=[_new(ledger)]
    )
    for mutation in (UPDATE, FREEZE, UNFREEZE, CLOSE):
        await _refused(api, mutation, "accountId", code=code, accountId=cash)
    before = await _contents(api)
    posting = await api.post(ledger, cash, wallet, 1)
    settling = await api.answer(SETTLE, transactionId=hold, idempotencyKey="late")
    voiding = await api.answer(VOID, transactionId=hold, idempotencyKey="later")
    assert [answer["code"] for answer in (posting, settling, voiding)] == [code] * 3
    again = await api.answer(SETTLE, transactionId=hold, idempotencyKey="settle")
    assert again["replayed"] is True
    assert await _contents(api) == before


async def test_ids_that_are_wrong(api: Api, ledger: str) -> None:
    """An id of no kind or another kind is ValidationFailed, an unknown one is not found."""
    account = await api.account(ledger)
    for id_ in ("", "x", account, ledger.upper(), ledger + "0", f"ent_{uuid4().hex}_1"):
        code = "VALIDATION_FAILED"
        for mutation in (UPDATE_LEDGER, ARCHIVE):
            await _refused(api, mutation, "ledgerId", code=code, ledgerId=id_)
        await _refused(api, CREATE, "ledgerId", code=code, **_new(id_))
    for id_ in ("", "x", ledger, account.upper(), account + "0"):
        for mutation in (UPDATE, FREEZE, UNFREEZE, CLOSE):
            await _refused(api, mutation, "accountId", code="VALIDATION_FAILED", accountId=id_)
    unknown = uuid4().hex
    for mutation in (UPDATE_LEDGER, ARCHIVE):
        await _refused(
            api, mutation, "ledgerId", code="LEDGER_NOT_FOUND", ledgerId=f"ldgr_{unknown}"
        )
    await _refused(api, CREATE, "ledgerId", code="LEDGER_NOT_FOUND", **_new(f"ldgr_{unknown}"))
    for mutation in (UPDATE, FREEZE, UNFREEZE, CLOSE):
        await _refused(
            api, mutation, "accountId", code="ACCOUNT_NOT_FOUND", accountId=f"acct_{unknown}"
        )


# ---- opening accounts ----------------------------------------------------------------------------


async def test_create_account(api: Api, ledger: str) -> None:
    """An account is opened as asked for, empty and open, and found by its names."""
    full = {
        "name": "Wallet 7",
        "normalBalance": "CREDIT",
        "externalId": "user:7/€",
        "description": "Of user 7",
        "availableFloor": "-500",
        "metadata": {"user": 7},
    }
    created = (await api.answer(CREATE, **_new(ledger, **full)))["account"]
    assert {name: created[name] for name in full} == full
    assert created["currency"] == {"code": "USD", "exponent": 2}
    assert (created["status"], created["version"]) == ("OPEN", "0")
    assert created["ledger"] == {"id": ledger}
    found = await api.run(
        f"query ($l: ID!, $x: String!) {{ accountByExternalId(ledgerId: $l, externalId: $x)"
        f" {{ {ACCOUNT} }} }}",
        {"l": ledger, "x": "user:7/€"},
    )
    assert found["accountByExternalId"] == created
    bare = (await api.answer(CREATE, **_new(ledger, metadata=None, availableFloor=None)))["account"]
    assert [bare[n] for n in ("externalId", "description", "availableFloor", "metadata")] == [
        None,
        None,
        None,
        {},
    ]


CURRENCIES: list[tuple[str, int | None, int | None]] = [
    ("USD", None, 2), ("USD", 2, 2), ("USD", 3, None), ("USD", 0, None), ("JPY", None, 0),
    ("JPY", 0, 0), ("JPY", 2, None), ("BHD", None, 3), ("CLF", None, 4), ("POINTS", None, None),
    ("POINTS", 0, 0), ("BTC", 8, 8), ("ETH", 18, 18), ("WEI", MAX_EXPONENT, MAX_EXPONENT),
    ("WEI", MAX_EXPONENT + 1, None), ("WEI", -1, None), ("WEI", 2**31 - 1, None),
    ("XAU", None, None), ("XAU", 4, 4), ("A", 1, 1), ("A" * 24, 1, 1), ("A" * 25, 1, None),
    ("usd", None, None), ("usd", 2, None), ("Usd", 2, None), ("", 2, None), ("US D", 2, None),
    ("US$", 2, None), ("1INCH", 2, None), ("_A", 2, None), ("USD ", 2, None), ("USD\n", 2, None),
    ("ÜSD", 2, None), ("A_B.C-D9", 2, 2), ("USD" * 5_000, 2, None),
]  # fmt: skip


async def test_currencies(api: Api) -> None:
    """ISO 4217 sets the exponent of its codes; other units need one, from 0 to 36."""
    for code, given, expected in CURRENCIES:
        ledger = await api.ledger()
        result = await api.answer(CREATE, **_new(ledger, currency=code, exponent=given))
        shown = result.get("account", {}).get("currency", {}).get("exponent")
        assert shown == expected, (code, given, result)
        if expected is None:
            assert result["code"] == "VALIDATION_FAILED"
            assert result["path"] in (["input", "currency"], ["input", "exponent"])
            lines = await api.run(
                "query ($id: ID!) { ledger(id: $id) { trialBalance { accounts } } }",
                {"id": ledger},
            )
            assert lines["ledger"]["trialBalance"] == []


@pytest.mark.parametrize(("code", "why"), [("XAU", "has no exponent in"), ("USF", "is not in")])
async def test_currencies_without_an_exponent(api: Api, ledger: str, code: str, why: str) -> None:
    """Gold is in ISO 4217, without an exponent; the refusal does not say that it is not there."""
    refused = await _refused(
        api, CREATE, "exponent", code="VALIDATION_FAILED", **_new(ledger, currency=code)
    )
    assert refused["message"].startswith(f"{code} {why} ISO 4217")


async def test_one_exponent_a_ledger(api: Api, ledger: str) -> None:
    """A ledger counts a unit with one exponent for ever; another ledger may choose another."""
    await api.account(ledger, currency="POINTS", exponent=2)
    await api.account(ledger, currency="POINTS", exponent=2)
    await _refused(
        api,
        CREATE,
        "exponent",
        code="VALIDATION_FAILED",
        **_new(ledger, currency="POINTS", exponent=3),
    )
    mixed = [_new(ledger, currency="MILES", exponent=n) for n in (0, 1)]
    await _refused(
        api, CREATE_MANY, "accounts", "1", "exponent", code="VALIDATION_FAILED", accounts=mixed
    )
    other = await api.ledger()
    await api.account(other, currency="POINTS", exponent=3)


@pytest.mark.parametrize("floor", ["1", str(LARGEST)])
async def test_floors_of_new_accounts(api: Api, ledger: str, floor: str) -> None:
    """A new account has nothing available, so its floor is at most 0."""
    await _refused(
        api,
        CREATE,
        "availableFloor",
        code="VALIDATION_FAILED",
        **_new(ledger, availableFloor=floor),
    )
    for taken in ("0", "-1", str(-LARGEST)):
        result = await api.answer(CREATE, **_new(ledger, availableFloor=taken))
        assert result["account"]["availableFloor"] == taken


async def test_a_thousand_accounts_at_once(api: Api, ledger: str) -> None:
    """A thousand accounts are opened in input order and in one go; one more is refused."""
    wanted = [
        {
            "ledgerId": ledger,
            "name": f"Wallet {number}",
            "normalBalance": "CREDIT",
            "currency": ("USD", "EUR", "JPY")[number % 3],
            "externalId": f"wallet-{number}",
        }
        for number in range(MAX_ACCOUNTS)
    ]
    many = _mutation("createAccounts", "accounts { id externalId currency { code } }")
    result = await api.answer(many, accounts=wanted)
    assert [a["externalId"] for a in result["accounts"]] == [w["externalId"] for w in wanted]
    assert [a["currency"]["code"] for a in result["accounts"]] == [w["currency"] for w in wanted]
    ids = [account["id"] for account in result["accounts"]]
    assert ids == sorted(set(ids))
    counts = await api.run(
        "query ($id: ID!) { ledger(id: $id) { trialBalance { currency { code } accounts } } }",
        {"id": ledger},
    )
    assert {
        line["currency"]["code"]: line["accounts"] for line in counts["ledger"]["trialBalance"]
    } == {"EUR": 333, "JPY": 333, "USD": 334}
    small = {"ledgerId": ledger, "name": "x", "normalBalance": "DEBIT", "currency": "USD"}
    for accounts in ([], [small] * (MAX_ACCOUNTS + 1)):
        refused = await api.answer(many, accounts=accounts)
        assert refused["__typename"] == "ValidationFailed"
    after = await api.run(
        'query ($id: ID!) { ledger(id: $id) { accounts(filter: {name: "x"}) { nodes { id } } } }',
        {"id": ledger},
    )
    assert after["ledger"]["accounts"]["nodes"] == []


async def test_many_accounts_are_all_or_none(api: Api, ledger: str) -> None:
    """One refused account leaves none open, and the path tells which it was; first comes first."""
    await api.account(ledger, externalId="taken")
    elsewhere, nowhere = await api.ledger(), f"ldgr_{uuid4().hex}"
    good = _new(ledger, externalId="fresh")
    for bad, field, code in (
        (_new(ledger, externalId="taken"), "externalId", "EXTERNAL_ID_TAKEN"),
        (_new(ledger, externalId="fresh"), "externalId", "EXTERNAL_ID_TAKEN"),
        (_new(nowhere), "ledgerId", "LEDGER_NOT_FOUND"),
        (_new(ledger, externalId=""), "externalId", "VALIDATION_FAILED"),
        (_new(ledger, currency="USF"), "exponent", "VALIDATION_FAILED"),
    ):
        accounts = [good, bad, _new(nowhere)]
        await _refused(api, CREATE_MANY, "accounts", "1", field, code=code, accounts=accounts)
    spread = [good, _new(elsewhere, externalId="taken"), _new(elsewhere, externalId="fresh")]
    result = await api.answer(CREATE_MANY, accounts=spread)
    assert [a["ledger"]["id"] for a in result["accounts"]] == [ledger, elsewhere, elsewhere]


async def test_external_ids_are_taken_once_a_ledger(api: Api, ledger: str) -> None:
    """The second account of one external id is refused, byte for byte, and named."""
    await api.account(ledger, externalId="x")
    refused = await _refused(
        api, CREATE, "externalId", code="EXTERNAL_ID_TAKEN", **_new(ledger, externalId="x")
    )
    assert refused["externalId"] == "x"
    for other in ("X", "x ", "х", "x\u200b"):  # noqa: RUF001  a Cyrillic x is another letter
        await api.account(ledger, externalId=other)


async def test_creations_that_race(api: Api, ledger: str) -> None:
    """Of twenty creations of one external id one wins; all others are ExternalIdTaken."""
    results = await asyncio.gather(
        *(api.answer(CREATE, **_new(ledger, externalId="x", name=str(n))) for n in range(10)),
        *(api.answer(CREATE_MANY, accounts=[_new(ledger, externalId="x")]) for _ in range(10)),
    )
    kinds = sorted(result["__typename"] for result in results)
    assert kinds.count("ExternalIdTaken") == 19
    assert len([k for k in kinds if k in {"CreateAccountSuccess", "CreateAccountsSuccess"}]) == 1
    found = await api.run(
        "query ($id: ID!) { ledger(id: $id) { accounts { nodes { externalId } } } }", {"id": ledger}
    )
    assert found["ledger"]["accounts"]["nodes"] == [{"externalId": "x"}]


async def test_exponents_that_race(api: Api, ledger: str) -> None:
    """Of creations that count one new unit in different ways those of one way win."""
    results = await asyncio.gather(
        *(api.answer(CREATE, **_new(ledger, currency="POINTS", exponent=n % 2)) for n in range(12))
    )
    won = {r["account"]["currency"]["exponent"] for r in results if "account" in r}
    assert len(won) == 1
    assert [r.get("code") for r in results].count("VALIDATION_FAILED") == 6


# ---- changing accounts ---------------------------------------------------------------------------


async def test_update_account(api: Api, ledger: str) -> None:
    """Fields left out stay, null clears description and floor, metadata is replaced."""
    first = {"description": "Text", "availableFloor": "-5", "metadata": {"a": 1}, "externalId": "x"}
    account = (await api.answer(CREATE, **_new(ledger, **first)))["account"]
    changes: list[Json] = [
        {},
        {"name": "Other"},
        {"metadata": {"b": {"c": []}}},
        {"description": None},
        {"availableFloor": None},
        {"availableFloor": "0", "description": "New", "metadata": {}},
    ]
    for change in changes:
        account |= change
        result = await api.answer(UPDATE, accountId=account["id"], **change)
        assert result["account"] == account
        read = f"query ($id: ID!) {{ account(id: $id) {{ {ACCOUNT} }} }}"
        assert (await api.run(read, {"id": account["id"]}))["account"] == account


async def test_floors(api: Api, ledger: str, database_url: str) -> None:
    """A floor may rise to what is available and no further; from then on it holds."""
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    await api.post(ledger, cash, wallet, 100)
    hold = await api.post(ledger, wallet, cash, 30, status="PENDING")
    refused = await _refused(
        api, UPDATE, "availableFloor", code="INSUFFICIENT_FUNDS", accountId=wallet,
        availableFloor="71",
    )  # fmt: skip
    assert (refused["available"], refused["required"]) == ("70", "71")
    assert refused["account"] == {"id": wallet}
    raised = await api.answer(UPDATE, accountId=wallet, availableFloor="70")
    assert raised["account"]["availableFloor"] == "70"
    below = await api.post(ledger, wallet, cash, 1)
    assert below["code"] == "INSUFFICIENT_FUNDS"
    await api.answer(VOID, transactionId=hold["transaction"]["id"], idempotencyKey="void")
    assert "transaction" in await api.post(ledger, wallet, cash, 30)
    await api.answer(UPDATE, accountId=wallet, availableFloor=None)
    assert "transaction" in await api.post(ledger, wallet, cash, 10_000)
    await _refused(
        api, UPDATE, "availableFloor", code="INSUFFICIENT_FUNDS", accountId=wallet,
        availableFloor="0",
    )  # fmt: skip
    await api.answer(UPDATE, accountId=wallet, availableFloor="-20000")
    with psycopg.connect(database_url) as connection:
        floors = connection.execute(
            "SELECT available_floor::text, floor_version, version FROM accounts"
            " WHERE available_floor IS NOT NULL"
        ).fetchall()
    assert floors == [("-20000", 5, 5)]


async def test_the_version_of_a_floor(api: Api, ledger: str, database_url: str) -> None:
    """A floor remembers the version at which it was set; labels leave that alone."""
    cash, wallet = await api.account(ledger), await api.account(ledger, availableFloor="0")

    def floor_version() -> int:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(
                "SELECT floor_version FROM accounts WHERE available_floor IS NOT NULL"
            ).fetchone()
        assert row is not None
        return int(row[0])

    assert floor_version() == 0
    for _ in range(3):
        await api.post(ledger, cash, wallet, 1)
    await api.answer(UPDATE, accountId=wallet, name="Other")
    assert floor_version() == 0
    await api.answer(UPDATE, accountId=wallet, availableFloor="3")
    assert floor_version() == 3


async def test_freeze_and_unfreeze(api: Api, ledger: str) -> None:
    """A frozen account takes no entries and no settlements, only voids, until unfrozen."""
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    holds = [
        (await api.post(ledger, cash, wallet, 5, status="PENDING"))["transaction"]["id"]
        for _ in range(2)
    ]
    for _ in range(2):
        assert (await api.answer(FREEZE, accountId=wallet))["account"]["status"] == "FROZEN"
    before = await _contents(api)
    for status in ("POSTED", "PENDING"):
        posting = await api.post(ledger, cash, wallet, 1, status=status)
        assert (posting["code"], posting["path"]) == (
            "ACCOUNT_NOT_OPEN",
            ["input", "entries", "1", "accountId"],
        )
    settling = await api.answer(SETTLE, transactionId=holds[0], idempotencyKey="s")
    assert settling["code"] == "ACCOUNT_NOT_OPEN"
    assert await _contents(api) == before
    voiding = await api.answer(VOID, transactionId=holds[1], idempotencyKey="v")
    assert voiding["transaction"]["status"] == "VOIDED"
    renamed = await api.answer(UPDATE, accountId=wallet, name="Cold")
    assert (renamed["account"]["name"], renamed["account"]["status"]) == ("Cold", "FROZEN")
    for _ in range(2):
        assert (await api.answer(UNFREEZE, accountId=wallet))["account"]["status"] == "OPEN"
    assert "transaction" in await api.answer(SETTLE, transactionId=holds[0], idempotencyKey="s")
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_close(api: Api, ledger: str) -> None:
    """Only an empty account is closed, for good: neither frozen, opened nor posted to again."""
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    await api.post(ledger, cash, wallet, 5)
    hold = await api.post(ledger, wallet, cash, 5, status="PENDING")
    refused = await _refused(api, CLOSE, "accountId", code="ACCOUNT_NOT_EMPTY", accountId=wallet)
    assert refused["account"] == {"id": wallet, "status": "OPEN"}
    await api.answer(SETTLE, transactionId=hold["transaction"]["id"], idempotencyKey="s")
    assert await api.balances(wallet) == (0, 0, 0, 0)
    incoming = await api.post(ledger, cash, wallet, 5, status="PENDING")
    outgoing = await api.post(ledger, wallet, cash, 5, status="PENDING")
    # Nothing net is pending, and yet the holds are there.
    await _refused(api, CLOSE, "accountId", code="ACCOUNT_NOT_EMPTY", accountId=wallet)
    for number, result in enumerate((incoming, outgoing)):
        given = {"transactionId": result["transaction"]["id"], "idempotencyKey": f"v{number}"}
        await api.answer(VOID, **given)
    await api.answer(FREEZE, accountId=wallet)
    for _ in range(2):
        assert (await api.answer(CLOSE, accountId=wallet))["account"]["status"] == "CLOSED"
    for mutation in (FREEZE, UNFREEZE):
        refused = await _refused(
            api, mutation, "accountId", code="ACCOUNT_NOT_OPEN", accountId=wallet
        )
        assert refused["accountStatus"] == "CLOSED"
        assert refused["account"] == {"id": wallet, "status": "CLOSED"}
    posting = await api.post(ledger, cash, wallet, 1)
    assert (posting["code"], await api.balances(wallet)) == ("ACCOUNT_NOT_OPEN", (0, 0, 0, 0))


async def test_freezing_races_with_postings(api: Api, ledger: str, database_url: str) -> None:
    """Once freezing is answered nothing more is posted, and what was answered before is there."""
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    frozen_at: list[int] = []
    frozen = asyncio.Event()
    posted: list[Json] = []

    async def post(number: int) -> None:
        await asyncio.sleep(number * 0.002)
        if number >= 50:
            await frozen.wait()
        result = await api.post(ledger, cash, wallet, 1, idempotencyKey=f"k{number}")
        posted.append(result)

    async def freeze() -> None:
        await asyncio.sleep(0.02)
        frozen_at.append(int((await api.answer(FREEZE, accountId=wallet))["account"]["version"]))
        frozen.set()

    await asyncio.gather(freeze(), *(post(number) for number in range(60)))
    taken = [result for result in posted if "transaction" in result]
    assert {result.get("code", "ACCOUNT_NOT_OPEN") for result in posted} == {"ACCOUNT_NOT_OPEN"}
    assert await api.balances(wallet) == (len(taken),) + (0,) + (len(taken),) * 2
    assert frozen_at == [len(taken)]
    assert len(taken) <= 50
    assert verify(database_url).violations == ()


async def test_floors_race_with_postings(api: Api, ledger: str, database_url: str) -> None:
    """Floors that rise while money is spent are never above what is left at that moment."""
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    await api.post(ledger, cash, wallet, 40)

    async def spend(number: int) -> str:
        await asyncio.sleep(number * 0.004)
        result = await api.post(ledger, wallet, cash, 1, idempotencyKey=f"k{number}")
        return str(result["__typename"])

    async def raise_floor(floor: int) -> str:
        result = await api.answer(UPDATE, accountId=wallet, availableFloor=str(floor))
        return str(result["__typename"])

    kinds = await asyncio.gather(*(raise_floor(20) if n % 4 == 0 else spend(n) for n in range(60)))
    spent = kinds.count("PostTransactionSuccess")
    assert set(kinds) <= {"PostTransactionSuccess", "InsufficientFunds", "UpdateAccountSuccess"}
    # Either the floor came in time, and then held to the last unit, or it came too late for ever.
    assert spent == (20 if "UpdateAccountSuccess" in kinds else 45)
    assert await api.balances(wallet) == (40 - spent, 0, 40 - spent, 40 - spent)
    assert verify(database_url).violations == ()


async def test_archiving_races_with_postings(api: Api, ledger: str, database_url: str) -> None:
    """Once archiving is answered nothing more is posted, and no hold is left behind."""
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)

    async def post(number: int) -> Json:
        await asyncio.sleep(number * 0.002)
        return await api.post(ledger, cash, wallet, 1, idempotencyKey=f"k{number}")

    async def archive() -> Json:
        await asyncio.sleep(0.02)
        return await api.answer(ARCHIVE, ledgerId=ledger)

    archived, *results = await asyncio.gather(archive(), *(post(number) for number in range(40)))
    assert archived["__typename"] == "ArchiveLedgerSuccess"
    taken = [result for result in results if "transaction" in result]
    assert {result.get("code", "LEDGER_ARCHIVED") for result in results} == {"LEDGER_ARCHIVED"}
    assert (await api.balances(wallet))[0] == len(taken)
    assert verify(database_url).violations == ()
