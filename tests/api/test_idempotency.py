"""Sent again is done once."""

import asyncio
from dataclasses import replace

import pytest

from app.store.audit.verify import verify
from tests.api_client import POST, SETTLE, VOID, Api, Json, open_api


async def books(api: Api) -> tuple[str, str, str]:
    ledger = await api.ledger()
    return ledger, await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)


def without_replayed(answer: Json) -> Json:
    return {name: value for name, value in answer.items() if name != "replayed"}


async def test_the_first_result_again(api: Api) -> None:
    """A replay is answered with the first result, word for word, marked as replayed."""
    ledger, cash, wallet = await books(api)
    first = await api.post(ledger, cash, wallet, 5, idempotencyKey="key", metadata={"a": [1]})
    again = await api.post(ledger, cash, wallet, 5, idempotencyKey="key", metadata={"a": [1]})
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert without_replayed(first) == without_replayed(again)
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_whatever_has_happened_since(api: Api) -> None:
    """A replay is answered though accounts were frozen and the ledger archived meanwhile."""
    ledger, cash, wallet = await books(api)
    first = await api.post(ledger, cash, wallet, 5, idempotencyKey="key")
    await api.run(f'mutation {{ freezeAccount(input: {{accountId: "{cash}"}}) {{ __typename }} }}')
    await api.run(f'mutation {{ archiveLedger(input: {{ledgerId: "{ledger}"}}) {{ __typename }} }}')
    again = await api.post(ledger, cash, wallet, 5, idempotencyKey="key")
    assert again["replayed"] is True
    assert without_replayed(first) == without_replayed(again)


async def test_settlements_and_voids_again(api: Api) -> None:
    """A settlement and a void sent again are answered with the transaction, and done once."""
    ledger, cash, wallet = await books(api)
    for key, mutation, status in (("s", SETTLE, "POSTED"), ("v", VOID, "VOIDED")):
        hold = await api.post(ledger, cash, wallet, 5, status="PENDING")
        identity = hold["transaction"]["id"]
        answers = [
            await api.answer(mutation, transactionId=identity, idempotencyKey=key) for _ in range(2)
        ]
        assert [answer["replayed"] for answer in answers] == [False, True]
        assert {answer["transaction"]["status"] for answer in answers} == {status}
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_one_key_for_one_command(api: Api) -> None:
    """A key that posted cannot settle or void, nor the other way round."""
    ledger, cash, wallet = await books(api)
    hold = await api.post(ledger, cash, wallet, 5, status="PENDING", idempotencyKey="hold")
    identity = hold["transaction"]["id"]
    for mutation in (SETTLE, VOID):
        answer = await api.answer(mutation, transactionId=identity, idempotencyKey="hold")
        assert answer["code"] == "IDEMPOTENCY_CONFLICT"
    assert await api.balances(wallet) == (0, 5, 0, 5)
    await api.answer(SETTLE, transactionId=identity, idempotencyKey="settle")
    answer = await api.post(ledger, cash, wallet, 5, idempotencyKey="settle")
    assert answer["code"] == "IDEMPOTENCY_CONFLICT"
    answer = await api.answer(VOID, transactionId=identity, idempotencyKey="settle")
    assert answer["code"] == "IDEMPOTENCY_CONFLICT"
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_a_refusal_keeps_no_key(api: Api) -> None:
    """The corrected command may use the key of the refused one."""
    ledger, cash, _ = await books(api)
    wallet = await api.account(ledger, availableFloor="0")
    refused = await api.post(ledger, wallet, cash, 5, idempotencyKey="key")
    assert refused["code"] == "INSUFFICIENT_FUNDS"
    assert await api.balances(wallet) == (0, 0, 0, 0)
    corrected = await api.post(ledger, cash, wallet, 5, idempotencyKey="key")
    assert corrected["replayed"] is False
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_every_part_of_the_content_counts(api: Api) -> None:
    """Each field of a posting makes it another content; defaults spelled out do not."""
    ledger, cash, wallet = await books(api)
    await api.post(ledger, cash, wallet, 5, idempotencyKey="key")
    for change in (
        {"description": "x"},
        {"externalId": "x"},
        {"metadata": {"x": 1}},
        {"effectiveAt": "2026-01-01T00:00:00Z"},
        {"status": "PENDING"},
    ):
        answer = await api.post(ledger, cash, wallet, 5, idempotencyKey="key", **change)
        assert answer["code"] == "IDEMPOTENCY_CONFLICT", change
    same = await api.post(
        ledger, cash, wallet, 5, idempotencyKey="key", status="POSTED", metadata={}, dryRun=False
    )
    assert same["replayed"] is True
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_keys_belong_to_a_ledger(api: Api) -> None:
    """The same key serves once in each ledger."""
    for _ in range(2):
        ledger, cash, wallet = await books(api)
        answer = await api.post(ledger, cash, wallet, 5, idempotencyKey="key")
        assert answer["replayed"] is False


async def test_keys_belong_to_an_organization(api: Api) -> None:
    """The same key serves once for each organization, and tells neither of the other."""
    for tenant in (api, await api.stranger()):
        ledger, cash, wallet = await books(tenant)
        answer = await tenant.post(ledger, cash, wallet, 5, idempotencyKey="key")
        assert (answer["replayed"], answer["transaction"]["sequence"]) == (False, "1")


async def test_a_hold_again(api: Api) -> None:
    """A hold that was settled or voided since is replayed as it stands now, and held only once."""
    ledger, cash, wallet = await books(api)
    for mutation, status in ((SETTLE, "POSTED"), (VOID, "VOIDED")):
        first = await api.post(ledger, cash, wallet, 5, status="PENDING", idempotencyKey=status)
        await api.answer(
            mutation, transactionId=first["transaction"]["id"], idempotencyKey=f"{status} end"
        )
        again = await api.post(ledger, cash, wallet, 5, status="PENDING", idempotencyKey=status)
        assert again["replayed"] is True
        assert again["transaction"]["id"] == first["transaction"]["id"]
        assert again["transaction"]["status"] == status
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_a_change_of_a_hold_counts_wholly(api: Api) -> None:
    """Each field of a settlement or void makes it another content; defaults do not."""
    ledger, cash, wallet = await books(api)
    hold = (await api.post(ledger, cash, wallet, 5, status="PENDING"))["transaction"]["id"]
    other = (await api.post(ledger, cash, wallet, 5, status="PENDING"))["transaction"]["id"]

    def part(amount: int) -> list[Json]:
        return [
            {"accountId": cash, "direction": "DEBIT", "amount": str(amount)},
            {"accountId": wallet, "direction": "CREDIT", "amount": str(amount)},
        ]

    first: Json = {"transactionId": hold, "entries": part(2), "final": False}
    await api.answer(SETTLE, **first, idempotencyKey="s")
    for change in (
        {"transactionId": other},
        {"entries": part(1)},
        {"entries": part(2)[::-1]},
        {"entries": None},
        {"final": True},
    ):
        answer = await api.answer(SETTLE, **{**first, **change}, idempotencyKey="s")
        assert answer["code"] == "IDEMPOTENCY_CONFLICT", change
    await api.answer(VOID, transactionId=hold, idempotencyKey="v")
    for change in ({"transactionId": other}, {"description": "x"}):
        answer = await api.answer(VOID, **{"transactionId": hold, **change}, idempotencyKey="v")
        assert answer["code"] == "IDEMPOTENCY_CONFLICT", change
    for mutation, fields in ((SETTLE, first), (VOID, {"transactionId": hold, "description": None})):
        key = "s" if mutation is SETTLE else "v"
        answer = await api.answer(mutation, **fields, idempotencyKey=key)
        assert answer["replayed"] is True
    assert await api.balances(wallet) == (2, 5, 2, 7)


async def test_dry_run(api: Api) -> None:
    """A dry run decides as a posting would, keeps nothing, and leaves its key free."""
    ledger, cash, wallet = await books(api)
    tried = await api.post(ledger, cash, wallet, 5, idempotencyKey="key", dryRun=True)
    assert tried["transaction"]["sequence"] == "1"
    assert tried["transaction"]["entries"][1]["sequence"] == "1"
    assert await api.balances(wallet) == (0, 0, 0, 0)
    posted = await api.post(ledger, cash, wallet, 6, idempotencyKey="key")
    assert (posted["replayed"], posted["transaction"]["sequence"]) == (False, "1")
    poor = await api.account(ledger, availableFloor="0")
    refused = await api.post(ledger, poor, cash, 1, dryRun=True)
    assert refused["code"] == "INSUFFICIENT_FUNDS"
    replayed = await api.post(ledger, cash, wallet, 6, idempotencyKey="key", dryRun=True)
    assert replayed["replayed"] is True


BATCH = """
mutation ($input: PostTransactionsInput!) {
  postTransactions(input: $input) {
    __typename
    ... on PostTransactionsSuccess {
      results {
        __typename
        ... on PostTransactionSuccess { replayed transaction { sequence } }
        ... on UserError { code path }
      }
    }
    ... on UserError { code path }
  }
}
"""


def posting(ledger: str, debit: str, credit: str, key: str, amount: int = 1) -> Json:
    return {
        "ledgerId": ledger,
        "idempotencyKey": key,
        "entries": [
            {"accountId": debit, "direction": "DEBIT", "amount": str(amount)},
            {"accountId": credit, "direction": "CREDIT", "amount": str(amount)},
        ],
    }


async def test_independent_batch(api: Api) -> None:
    """In an independent batch refusals stand among successes, each with its place."""
    ledger, cash, wallet = await books(api)
    poor = await api.account(ledger, availableFloor="0")
    answer = await api.answer(
        BATCH,
        mode="INDEPENDENT",
        transactions=[
            posting(ledger, cash, wallet, "a"),
            posting(ledger, poor, cash, "b"),
            posting(ledger, cash, wallet, "a"),
            posting(ledger, cash, wallet, ""),
            posting(ledger, cash, poor, "c"),
            posting(ledger, poor, cash, "b"),
        ],
    )
    assert answer["results"] == [
        {
            "__typename": "PostTransactionSuccess",
            "replayed": False,
            "transaction": {"sequence": "1"},
        },
        {
            "__typename": "InsufficientFunds",
            "code": "INSUFFICIENT_FUNDS",
            "path": ["input", "transactions", "1", "entries", "0", "amount"],
        },
        {
            "__typename": "PostTransactionSuccess",
            "replayed": True,
            "transaction": {"sequence": "1"},
        },
        {
            "__typename": "ValidationFailed",
            "code": "VALIDATION_FAILED",
            "path": ["input", "transactions", "3", "idempotencyKey"],
        },
        {
            "__typename": "PostTransactionSuccess",
            "replayed": False,
            "transaction": {"sequence": "2"},
        },
        {
            "__typename": "PostTransactionSuccess",
            "replayed": False,
            "transaction": {"sequence": "3"},
        },
    ]
    assert await api.balances(wallet) == (1, 0, 1, 1)


async def test_atomic_batch(api: Api) -> None:
    """An atomic batch is recorded wholly, or refused for its first refusal and not at all."""
    ledger, cash, wallet = await books(api)
    poor = await api.account(ledger, availableFloor="0")
    good = [posting(ledger, cash, poor, "a", 2), posting(ledger, poor, wallet, "b", 2)]
    bad = [*good, posting(ledger, poor, cash, "c"), posting(ledger, poor, cash, "d")]
    answer = await api.answer(BATCH, mode="ATOMIC", transactions=bad)
    assert answer == {
        "__typename": "InsufficientFunds",
        "code": "INSUFFICIENT_FUNDS",
        "path": ["input", "transactions", "2", "entries", "0", "amount"],
    }
    assert await api.balances(wallet) == (0, 0, 0, 0)
    answer = await api.answer(BATCH, mode="ATOMIC", transactions=good)
    assert [result["transaction"]["sequence"] for result in answer["results"]] == ["1", "2"]
    answer = await api.answer(BATCH, mode="ATOMIC", transactions=good)
    assert [result["replayed"] for result in answer["results"]] == [True, True]
    mixed = [{**good[0], "dryRun": True}, good[1]]
    answer = await api.answer(BATCH, mode="ATOMIC", transactions=mixed)
    assert answer["code"] == "VALIDATION_FAILED"
    tried = [{**posting(ledger, cash, wallet, key), "dryRun": True} for key in ("x", "y")]
    answer = await api.answer(BATCH, mode="ATOMIC", transactions=tried)
    assert [result["transaction"]["sequence"] for result in answer["results"]] == ["3", "4"]
    assert await api.balances(wallet) == (2, 0, 2, 2)


async def test_a_thousand_at_once(api: Api) -> None:
    """One mutation records a thousand transactions, in order; one more is refused."""
    ledger, cash, wallet = await books(api)
    many = [posting(ledger, cash, wallet, f"key-{number}") for number in range(1000)]
    answer = await api.answer(BATCH, mode="INDEPENDENT", transactions=many)
    sequences = [result["transaction"]["sequence"] for result in answer["results"]]
    assert sequences == [str(number) for number in range(1, 1001)]
    assert await api.balances(wallet) == (1000, 0, 1000, 1000)
    too_many = [*many, posting(ledger, cash, wallet, "one more")]
    answer = await api.answer(BATCH, mode="ATOMIC", transactions=too_many)
    assert (answer["code"], answer["path"]) == ("VALIDATION_FAILED", ["input", "transactions"])


async def test_exact_to_the_last_unit(api: Api) -> None:
    """The largest amounts, and units of 36 digits, are kept exactly."""
    ledger = await api.ledger()
    unit = {"currency": "TOKEN", "exponent": 36}
    cash, wallet = await api.account(ledger, **unit), await api.account(ledger, **unit)
    largest = 10**36
    for number in range(3):
        answer = await api.post(ledger, cash, wallet, largest, idempotencyKey=f"key-{number}")
        assert answer["transaction"]["entries"][0]["amount"] == str(largest)
    await api.post(ledger, cash, wallet, 1)
    assert await api.balances(wallet) == (3 * largest + 1, 0, 3 * largest + 1, 3 * largest + 1)
    data = await api.run(
        "query ($id: ID!) { account(id: $id) { balances { posted { decimal } } } }",
        {"id": wallet},
    )
    assert data["account"]["balances"]["posted"]["decimal"] == "3." + "0" * 35 + "1"
    body = (
        await api.send(POST, {"input": posting(ledger, cash, wallet, "too much", largest + 1)})
    ).json()
    assert {error["extensions"]["code"] for error in body["errors"]} == {"BAD_USER_INPUT"}


async def test_a_dry_run_shows_all_of_itself(api: Api) -> None:
    """What a dry run would record is shown whole, though none of it can be read anywhere."""
    ledger, cash, wallet = await books(api)
    query = """mutation ($input: PostTransactionInput!) { postTransaction(input: $input) {
        ... on PostTransactionSuccess { transaction { status history { kind idempotencyKey }
            ledger { id } entries { account { id } transaction { status sequence } } } } } }"""
    answer = await api.answer(query, **posting(ledger, cash, wallet, "key"), dryRun=True)
    assert answer["transaction"] == {
        "status": "POSTED",
        "history": [{"kind": "POSTED", "idempotencyKey": "key"}],
        "ledger": {"id": ledger},
        "entries": [
            {"account": {"id": account}, "transaction": {"status": "POSTED", "sequence": "1"}}
            for account in (cash, wallet)
        ],
    }


async def test_what_undoes_a_hold_is_not_before_it(api: Api) -> None:
    """A hold of the future that is settled now is posted when it was to happen, not before."""
    ledger, cash, wallet = await books(api)
    hold = await api.post(
        ledger, cash, wallet, 5, status="PENDING", effectiveAt="2150-01-01T00:00:00Z"
    )
    await api.answer(SETTLE, transactionId=hold["transaction"]["id"], idempotencyKey="settle")
    query = """query ($id: ID!) { account(id: $id) {
        before: balances(asOf: "2149-12-31T00:00:00Z") { posted { amount } pending { credits } }
        after: balances(asOf: "2150-01-01T00:00:00Z") { posted { amount } pending { credits } }
    } }"""
    account = (await api.run(query, {"id": wallet}))["account"]
    assert account["before"] == {"posted": {"amount": "0"}, "pending": {"credits": "0"}}
    assert account["after"] == {"posted": {"amount": "5"}, "pending": {"credits": "0"}}


async def test_rules_are_not_asked_again(api: Api) -> None:
    """A replay is answered though version, condition, floor and external id would refuse it now."""
    ledger, cash, _ = await books(api)
    wallet = await api.account(ledger, availableFloor="0")
    await api.post(ledger, cash, wallet, 5)
    spending: Json = {
        "ledgerId": ledger,
        "idempotencyKey": "key",
        "externalId": "order",
        "entries": [
            {
                "accountId": wallet,
                "direction": "DEBIT",
                "amount": "5",
                "accountVersion": "1",
                "condition": {"posted": {"eq": "0"}},
            },
            {"accountId": cash, "direction": "CREDIT", "amount": "5"},
        ],
    }
    first = await api.answer(POST, **spending)
    assert first["replayed"] is False
    afresh = await api.answer(POST, **{**spending, "idempotencyKey": "another"})
    assert afresh["code"] == "EXTERNAL_ID_TAKEN"
    again = await api.answer(POST, **spending)
    assert again["replayed"] is True
    assert without_replayed(first) == without_replayed(again)
    assert await api.balances(wallet) == (0, 0, 0, 0)


async def test_a_key_refused_to_one_command_serves_another(api: Api) -> None:
    """A key that a settlement, void and posting were refused with is free for any of them."""
    ledger, cash, wallet = await books(api)
    hold = await api.post(ledger, cash, wallet, 5, status="PENDING")
    identity = hold["transaction"]["id"]
    poor = await api.account(ledger, availableFloor="0")
    too_much = [
        {"accountId": cash, "direction": "DEBIT", "amount": "6"},
        {"accountId": wallet, "direction": "CREDIT", "amount": "6"},
    ]
    codes = [
        (await api.answer(SETTLE, transactionId=identity, idempotencyKey="k", entries=too_much)),
        (await api.answer(VOID, transactionId=ledger, idempotencyKey="k")),
        (await api.post(ledger, poor, cash, 1, idempotencyKey="k")),
    ]
    assert [answer["code"] for answer in codes] == [
        "SETTLEMENT_EXCEEDS_HOLD",
        "VALIDATION_FAILED",
        "INSUFFICIENT_FUNDS",
    ]
    assert await api.balances(wallet) == (0, 5, 0, 5)
    voided = await api.answer(VOID, transactionId=identity, idempotencyKey="k")
    assert (voided["replayed"], voided["transaction"]["status"]) == (False, "VOIDED")
    assert await api.balances(wallet) == (0, 0, 0, 0)


@pytest.mark.parametrize("verb", ["post", "hold", "settle", "void"])
async def test_one_key_at_two_servers(database_url: str, verb: str) -> None:
    """Fifty clients of two servers send one command at once: done once, and 49 are told of it."""
    async with open_api(database_url) as api, open_api(database_url) as second:
        ledger, cash, wallet = await books(api)
        hold = await api.post(ledger, cash, wallet, 5, status="PENDING")
        mutation, fields, after = {
            "post": (POST, posting(ledger, cash, wallet, "key", 7), (7, 5, 7, 12)),
            "hold": (
                POST,
                {**posting(ledger, cash, wallet, "key", 7), "status": "PENDING"},
                (0, 12, 0, 12),
            ),
            "settle": (SETTLE, {"transactionId": hold["transaction"]["id"]}, (5, 0, 5, 5)),
            "void": (VOID, {"transactionId": hold["transaction"]["id"]}, (0, 0, 0, 0)),
        }[verb]
        servers = [api, replace(api, server=second.server, http=second.http)]
        answers = await asyncio.gather(
            *(
                servers[number % 2].answer(mutation, **{**fields, "idempotencyKey": "key"})
                for number in range(50)
            )
        )
        assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 49
        assert len({answer["transaction"]["id"] for answer in answers}) == 1
        assert len({answer["transaction"]["status"] for answer in answers}) == 1
        assert await api.balances(wallet) == after
        other = await api.post(ledger, cash, wallet, 1, idempotencyKey="key")
        assert other["code"] == "IDEMPOTENCY_CONFLICT"
        assert await api.balances(wallet) == after
    assert verify(database_url).violations == ()
