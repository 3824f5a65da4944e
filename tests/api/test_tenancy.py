"""What a key cannot see is answered exactly as what does not exist."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app.ledger.accounts.state import Mode
from tests.api_client import Api, Json


@dataclass
class Books:
    """Ids and names that somebody else's books hold."""

    ledger: str
    account: str
    other: str
    hold: str
    external: str
    key: str

    @classmethod
    async def of(cls, api: Api) -> "Books":
        ledger = await api.ledger()
        account = await api.account(ledger, externalId="wallet")
        other = await api.account(ledger)
        hold = await api.post(
            ledger, account, other, 5, status="PENDING", externalId="wallet", idempotencyKey="key"
        )
        return cls(ledger, account, other, hold["transaction"]["id"], "wallet", "key")

    @classmethod
    def nowhere(cls) -> "Books":
        return cls(
            f"ldgr_{uuid4().hex}",
            f"acct_{uuid4().hex}",
            f"acct_{uuid4().hex}",
            f"txn_{uuid4().hex}",
            "nothing",
            "never",
        )


def questions(books: Books) -> list[tuple[str, Json]]:
    """Every query and mutation that takes an id or a name of somebody's."""
    error = "{ __typename ... on UserError { code message path retryable } }"
    asked: list[tuple[str, Json]] = [
        (f"query ($id: ID!) {{ {field}(id: $id) {{ id }} }}", {"id": identity})
        for field, identity in (
            ("ledger", books.ledger),
            ("account", books.account),
            ("transaction", books.hold),
            ("node", books.ledger),
            ("node", books.account),
            ("node", books.hold),
            ("node", f"ent_{books.account.removeprefix('acct_')}_1"),
        )
    ]
    asked.append(
        (
            "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            {"ids": [books.ledger, books.account, books.hold]},
        )
    )
    names = {
        "accountByExternalId": ("externalId", books.external),
        "transactionByExternalId": ("externalId", books.external),
        "transactionByIdempotencyKey": ("idempotencyKey", books.key),
    }
    for field, (argument, text) in names.items():
        query = (
            f"query ($ledger: ID!, $text: String!)"
            f" {{ {field}(ledgerId: $ledger, {argument}: $text) {{ id }} }}"
        )
        asked.append((query, {"ledger": books.ledger, "text": text}))
    entries = [
        {"accountId": books.account, "direction": "DEBIT", "amount": "1"},
        {"accountId": books.other, "direction": "CREDIT", "amount": "1"},
    ]
    posting = {"ledgerId": books.ledger, "idempotencyKey": "fresh", "entries": entries}
    inputs: dict[str, Json] = {
        "updateLedger": {"ledgerId": books.ledger, "name": "Mine"},
        "archiveLedger": {"ledgerId": books.ledger},
        "createAccount": {
            "ledgerId": books.ledger,
            "name": "Mine",
            "normalBalance": "CREDIT",
            "currency": "USD",
        },
        "updateAccount": {"accountId": books.account, "name": "Mine"},
        "setVelocityLimit": {
            "accountId": books.account,
            "name": "daily",
            "maximumCount": "1",
            "windowSeconds": 60,
        },
        "removeVelocityLimit": {"accountId": books.account, "name": "daily"},
        "freezeAccount": {"accountId": books.account},
        "unfreezeAccount": {"accountId": books.account},
        "closeAccount": {"accountId": books.account},
        "postTransaction": posting,
        "transfer": {
            "ledgerId": books.ledger,
            "idempotencyKey": "fresh",
            "from": books.account,
            "to": books.other,
            "amount": "1",
        },
        "createTransactionTemplate": {
            "ledgerId": books.ledger,
            "code": "mine",
            "parameters": [],
            "entries": [
                {"direction": "DEBIT", "amount": "1", "accountId": books.account},
                {"direction": "CREDIT", "amount": "1", "accountId": books.other},
            ],
        },
        "archiveTransactionTemplate": {"ledgerId": books.ledger, "code": "mine"},
        "postTemplate": {"ledgerId": books.ledger, "code": "mine", "idempotencyKey": "fresh"},
        "settleTransaction": {"transactionId": books.hold, "idempotencyKey": "fresh"},
        "voidTransaction": {"transactionId": books.hold, "idempotencyKey": "fresh"},
    }
    for name, fields in inputs.items():
        kind = name[0].upper() + name[1:]
        query = f"mutation ($input: {kind}Input!) {{ {name}(input: $input) {error} }}"
        asked.append((query, {"input": fields}))
    batch = "mutation ($input: PostTransactionsInput!) { postTransactions(input: $input) " + error
    asked.append((batch + " }", {"input": {"mode": "ATOMIC", "transactions": [posting]}}))
    return asked


async def answers(api: Api, books: Books) -> list[Any]:
    found = []
    for query, variables in questions(books):
        response = await api.send(query, variables)
        found.append((response.status_code, response.json()))
    return found


async def contents(api: Api, books: Books) -> str:
    query = """query ($id: ID!) { ledger(id: $id) { name archivedAt
        accounts { nodes { name status version balances { pending { amount } } } }
        transactions { nodes { status } } } }"""
    return json.dumps(await api.run(query, {"id": books.ledger}))


async def test_others_books_are_as_good_as_none(api: Api) -> None:
    """Ids and names of another organization, mode or ledger tell a key no more than random ones."""
    books = await Books.of(api)
    before = await contents(api, books)
    own = UUID((await api.ledger("own")).removeprefix("ldgr_"))
    outsiders = [
        await api.stranger(),
        await api.with_key(mode=Mode.LIVE),
        await api.with_key(ledger_ids=[own]),
    ]
    for outsider in outsiders:
        assert await answers(outsider, books) == await answers(outsider, Books.nowhere())
    assert await contents(api, books) == before
    insider = await answers(api, books)
    assert all(insider[place] != (200, {"data": {"ledger": None}}) for place in range(8))


async def test_an_account_of_another_organization_in_ones_own_posting(api: Api) -> None:
    """Another's account in a posting of one's own ledger is an account that is not there."""
    theirs = await Books.of(await api.stranger())
    ledger = await api.ledger()
    mine = await api.account(ledger)
    answer = await api.post(ledger, mine, theirs.account, 1)
    assert answer == {
        "__typename": "AccountNotFound",
        "code": "ACCOUNT_NOT_FOUND",
        "message": "The ledger has no account with this id.",
        "path": ["input", "entries", "1", "accountId"],
        "retryable": False,
    }
    assert await api.balances(mine) == (0, 0, 0, 0)


async def test_keys_and_names_are_free_in_each_organization(api: Api) -> None:
    """The same idempotency keys and external ids serve every organization and every ledger."""
    first, second = await Books.of(api), await Books.of(await api.stranger())
    third = await Books.of(api)
    assert len({first.hold, second.hold, third.hold}) == 3
