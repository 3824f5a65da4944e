"""A partner's client of the API: one key, plain GraphQL documents, real HTTP."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any, Self

import httpx

Json = dict[str, Any]

PATIENCE_SECONDS = 60

REFUSAL = "__typename ... on UserError { code message path retryable }"
"""What every mutation is asked for beside its success."""

TRANSACTION = """
  id sequence status description externalId reason effectiveAt postsAt expiresAt
  entries { account { name } direction amount status }
  history { kind idempotencyKey }
"""

CREATE_LEDGER = f"""
mutation ($input: CreateLedgerInput!) {{
  createLedger(input: $input) {{ {REFUSAL} ... on CreateLedgerSuccess {{ ledger {{ id mode }} }} }}
}}
"""

CREATE_ACCOUNTS = f"""
mutation ($input: CreateAccountsInput!) {{
  createAccounts(input: $input) {{
    {REFUSAL}
    ... on CreateAccountsSuccess {{ accounts {{ id name externalId }} }}
  }}
}}
"""

POST = f"""
mutation ($input: PostTransactionInput!) {{
  postTransaction(input: $input) {{
    {REFUSAL}
    ... on PostTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    ... on InsufficientFunds {{ available required account {{ name }} }}
    ... on AccountNotOpen {{ accountStatus account {{ name }} }}
    ... on CeilingExceeded {{ ceiling before after }}
    ... on VelocityExceeded {{ limitName usedAmount requestedAmount maximumAmount retryAt }}
    ... on PeriodClosed {{ closedThrough }}
    ... on IdempotencyConflict {{ transaction {{ externalId }} }}
  }}
}}
"""

SETTLE = f"""
mutation ($input: SettleTransactionInput!) {{
  settleTransaction(input: $input) {{
    {REFUSAL}
    ... on SettleTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    ... on SettlementExceedsHold {{ remaining requested }}
    ... on TransactionNotPending {{ transactionStatus }}
    ... on HoldExpired {{ expiresAt }}
  }}
}}
"""

VOID = f"""
mutation ($input: VoidTransactionInput!) {{
  voidTransaction(input: $input) {{
    {REFUSAL}
    ... on VoidTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    ... on TransactionNotPending {{ transactionStatus }}
  }}
}}
"""

REVERSE = f"""
mutation ($input: ReverseTransactionInput!) {{
  reverseTransaction(input: $input) {{
    {REFUSAL}
    ... on ReverseTransactionSuccess {{
      replayed transaction {{ {TRANSACTION} reverses {{ externalId }} }}
    }}
    ... on ReversalExceedsTransaction {{ remaining requested account {{ name }} }}
    ... on TransactionNotReversible {{ reason }}
    ... on InsufficientFunds {{ available required account {{ name }} }}
    ... on PeriodClosed {{ closedThrough }}
  }}
}}
"""

UPDATE_TRANSACTION = f"""
mutation ($input: UpdateTransactionInput!) {{
  updateTransaction(input: $input) {{
    {REFUSAL}
    ... on UpdateTransactionSuccess {{
      replayed transaction {{ description metadata history {{ kind changes }} }}
    }}
  }}
}}
"""

CLOSE_PERIOD = f"""
mutation ($input: ClosePeriodInput!) {{
  closePeriod(input: $input) {{
    {REFUSAL} ... on ClosePeriodSuccess {{ ledger {{ closedThrough }} }}
  }}
}}
"""

BALANCES = """
query ($ledger: ID!, $account: String!, $asOf: DateTime, $knownAt: DateTime) {
  accountByExternalId(ledgerId: $ledger, externalId: $account) {
    balances(asOf: $asOf, knownAt: $knownAt) {
      posted { amount } pending { amount } available { amount }
    }
  }
}
"""

AVAILABILITY = """
query ($ledger: ID!, $account: String!) {
  accountByExternalId(ledgerId: $ledger, externalId: $account) {
    availability {
      posted pendingOutgoing floor available
      holds { reason amount postsAt expiresAt transaction { externalId } }
    }
  }
}
"""

TRANSACTION_BY_EXTERNAL_ID = f"""
query ($ledger: ID!, $externalId: String!) {{
  transactionByExternalId(ledgerId: $ledger, externalId: $externalId) {{
    {TRANSACTION}
    lastRefusal {{ code message attempts nextAttemptAt }}
  }}
}}
"""

TRANSACTION_BY_KEY = """
query ($ledger: ID!, $key: String!) {
  transactionByIdempotencyKey(ledgerId: $ledger, idempotencyKey: $key) { id }
}
"""

TRIAL_BALANCE = """
query ($ledger: ID!, $asOf: DateTime) {
  ledger(id: $ledger) {
    trialBalance(asOf: $asOf) { currency { code } debits credits pendingDebits pendingCredits }
  }
}
"""


class Partner:
    """One API key of one organization, and the ledger that it works on."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.http = httpx.Client(
            base_url=url,
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/graphql-response+json",
            },
            timeout=PATIENCE_SECONDS,
        )
        self.ledger = ""
        self.ids: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def query(self, document: str, **variables: Any) -> Json:
        """Run an operation that has no errors, and return its data."""
        body = self.http.post("/graphql", json={"query": document, "variables": variables}).json()
        assert "errors" not in body, body
        data: Json = body["data"]
        return data

    def mutate(self, document: str, **fields: Any) -> Json:
        """Run a mutation with these fields of its input, and return what became of it."""
        (result,) = self.query(document, input=fields).values()
        answered: Json = result
        return answered

    def lose(self, document: str, **fields: Any) -> None:
        """Send a mutation and hang up, as a client that dies before the answer."""
        body = json.dumps({"query": document, "variables": {"input": fields}}).encode()
        head = (
            "POST /graphql HTTP/1.1\r\nHost: ledgers\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        host, _, port = self.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as connection:
            connection.sendall(head.encode() + body)
        self.until(
            lambda: self.query(
                TRANSACTION_BY_KEY, ledger=self.ledger, key=fields["idempotencyKey"]
            )["transactionByIdempotencyKey"]
        )

    def until(self, reached: Callable[[], Any]) -> Any:
        """Ask again until the answer is yes, a bounded time."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not (answer := reached()):
            assert time.monotonic() < end
            time.sleep(0.02)
        return answer

    def open_ledger(self, name: str) -> None:
        """Open the ledger that all else is about."""
        self.ledger = self.mutate(CREATE_LEDGER, name=name)["ledger"]["id"]

    def open_accounts(self, *accounts: Json) -> None:
        """Open accounts, in US dollars unless told otherwise, each by its external id."""
        given = [
            {"ledgerId": self.ledger, "name": account["externalId"], "currency": "USD", **account}
            for account in accounts
        ]
        created = self.mutate(CREATE_ACCOUNTS, accounts=given)
        assert created["__typename"] == "CreateAccountsSuccess", created
        self.ids |= {account["externalId"]: account["id"] for account in created["accounts"]}

    def entry(self, direction: str, account: str, amount: int, **more: Any) -> Json:
        return {
            "accountId": self.ids[account],
            "direction": direction,
            "amount": str(amount),
            **more,
        }

    def move(self, debit: str, credit: str, amount: int) -> list[Json]:
        """Two entries: a debit of one account, a credit of another."""
        return [self.entry("DEBIT", debit, amount), self.entry("CREDIT", credit, amount)]

    def post(self, key: str, entries: list[Json], **more: Any) -> Json:
        return self.mutate(POST, ledgerId=self.ledger, idempotencyKey=key, entries=entries, **more)

    def transaction(self, external_id: str) -> Json:
        found: Json = self.query(
            TRANSACTION_BY_EXTERNAL_ID, ledger=self.ledger, externalId=external_id
        )["transactionByExternalId"]
        return found

    def balances(self, account: str, **at: str) -> tuple[int, int, int]:
        """Posted, pending and available, net on the account's normal side, in minor units."""
        found = self.query(BALANCES, ledger=self.ledger, account=account, **at)
        balances = found["accountByExternalId"]["balances"]
        posted, pending, available = (
            int(balances[name]["amount"]) for name in ("posted", "pending", "available")
        )
        return posted, pending, available

    def availability(self, account: str) -> Json:
        """Why the account has available what it has."""
        found: Json = self.query(AVAILABILITY, ledger=self.ledger, account=account)
        answered: Json = found["accountByExternalId"]["availability"]
        return answered

    def trial_balance(self, **at: str) -> list[Json]:
        lines: list[Json] = self.query(TRIAL_BALANCE, ledger=self.ledger, **at)["ledger"][
            "trialBalance"
        ]
        return lines


def lines(answer: Json) -> list[tuple[str, str, int]]:
    """The entries of an answered transaction."""
    assert "transaction" in answer, answer
    return [
        (entry["direction"], entry["account"]["name"], int(entry["amount"]))
        for entry in answer["transaction"]["entries"]
    ]


def refusal(answer: Json) -> tuple[str, str]:
    """The code of a refusal, and the input field at fault."""
    assert "code" in answer, answer
    return answer["code"], ".".join(answer["path"])
