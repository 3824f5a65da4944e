"""A client of the API for tests: real HTTP messages to the real application, in this process."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import httpx

from app.ledger.accounts.state import Mode
from app.server import Server
from app.settings import Settings
from app.store.identity import Permission, create_key, create_organization

CREATE_LEDGER = """
mutation ($input: CreateLedgerInput!) {
  createLedger(input: $input) {
    __typename
    ... on CreateLedgerSuccess { ledger { id name mode } }
    ... on UserError { code message path retryable }
  }
}
"""

CREATE_ACCOUNT = """
mutation ($input: CreateAccountInput!) {
  createAccount(input: $input) {
    __typename
    ... on CreateAccountSuccess { account { id name version currency { code exponent } } }
    ... on UserError { code message path retryable }
  }
}
"""

POST = """
mutation ($input: PostTransactionInput!) {
  postTransaction(input: $input) {
    __typename
    ... on PostTransactionSuccess {
      replayed
      transaction {
        id sequence status idempotencyKey
        entries { id sequence direction amount status account { id } }
      }
    }
    ... on UserError { code message path retryable }
  }
}
"""

SETTLE = """
mutation ($input: SettleTransactionInput!) {
  settleTransaction(input: $input) {
    __typename
    ... on SettleTransactionSuccess { replayed transaction { id status } }
    ... on UserError { code message path retryable }
  }
}
"""

VOID = """
mutation ($input: VoidTransactionInput!) {
  voidTransaction(input: $input) {
    __typename
    ... on VoidTransactionSuccess { replayed transaction { id status } }
    ... on UserError { code message path retryable }
  }
}
"""

BALANCES = """
query ($id: ID!) {
  account(id: $id) {
    version
    balances {
      posted { amount } pending { amount } available { amount } projected { amount }
    }
  }
}
"""

Json = dict[str, Any]


@dataclass
class Api:
    """One API key's view of a running server."""

    server: Server
    http: httpx.AsyncClient
    organization_id: UUID
    token: str
    _numbers: Iterator[int]

    async def send(self, query: str, variables: Mapping[str, Any] | None = None) -> httpx.Response:
        """Send one operation and return the whole response."""
        return await self.http.post(
            "/graphql",
            json={"query": query, "variables": variables or {}},
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/graphql-response+json",
            },
        )

    async def run(self, query: str, variables: Mapping[str, Any] | None = None) -> Json:
        """Send one operation that must have no errors, and return its data."""
        body = (await self.send(query, variables)).json()
        assert "errors" not in body, body
        data: Json = body["data"]
        return data

    async def answer(self, mutation: str, **fields: Any) -> Json:
        """Run a mutation of one field with these fields of its input, and return its result."""
        data = await self.run(mutation, {"input": fields})
        (result,) = data.values()
        answered: Json = result
        return answered

    async def ledger(self, name: str = "Books") -> str:
        """Open a ledger and return its id."""
        result = await self.answer(CREATE_LEDGER, name=name)
        return str(result["ledger"]["id"])

    async def account(self, ledger_id: str, **fields: Any) -> str:
        """Open an account (credit-normal, USD, unless told otherwise) and return its id."""
        result = await self.answer(
            CREATE_ACCOUNT,
            **{
                "ledgerId": ledger_id,
                "name": "Account",
                "normalBalance": "CREDIT",
                "currency": "USD",
                **fields,
            },
        )
        assert "account" in result, result
        return str(result["account"]["id"])

    async def post(
        self, ledger_id: str, debit: str, credit: str, amount: int | str, **fields: Any
    ) -> Json:
        """Post from one account to another and return the result."""
        return await self.answer(
            POST,
            **{
                "ledgerId": ledger_id,
                "idempotencyKey": f"key-{next(self._numbers)}",
                "entries": [
                    {"accountId": debit, "direction": "DEBIT", "amount": str(amount)},
                    {"accountId": credit, "direction": "CREDIT", "amount": str(amount)},
                ],
                **fields,
            },
        )

    async def balances(self, account_id: str) -> tuple[int, int, int, int]:
        """Posted, pending, available and projected, net on the normal side."""
        balances = (await self.run(BALANCES, {"id": account_id}))["account"]["balances"]
        posted, pending, available, projected = (
            int(balances[name]["amount"])
            for name in ("posted", "pending", "available", "projected")
        )
        return posted, pending, available, projected

    async def with_key(
        self, *permissions: Permission, mode: Mode = Mode.TEST, **more: Any
    ) -> "Api":
        """The same server and organization through another key."""
        async with self.server.database.writing() as connection:
            _, token = await create_key(
                connection,
                self.organization_id,
                name="another",
                mode=mode,
                permissions=permissions or tuple(Permission),
                **more,
            )
        return Api(self.server, self.http, self.organization_id, token, self._numbers)

    async def stranger(self) -> "Api":
        """The same server through a key of another organization."""
        return await _new_tenant(self.server, self.http, "Strangers")


@asynccontextmanager
async def open_api(database_url: str, **settings: Any) -> AsyncIterator[Api]:
    """Run the server in this process on a migrated database, with a new organization.

    Blocks are sealed by whoever tests them, unless the settings say otherwise.
    """
    server = Server(Settings(**{"seal_seconds": 3600, **settings}), database_url)
    transport = httpx.ASGITransport(server.application())
    async with (
        server.running(),
        httpx.AsyncClient(transport=transport, base_url="http://ledgers.test", timeout=60) as http,
    ):
        yield await _new_tenant(server, http, "Testers")


async def _new_tenant(server: Server, http: httpx.AsyncClient, name: str) -> Api:
    async with server.database.writing() as connection:
        organization = await create_organization(connection, name)
        _, token = await create_key(
            connection,
            organization.organization_id,
            name="all",
            mode=Mode.TEST,
            permissions=tuple(Permission),
        )
    return Api(server, http, organization.organization_id, token, count(1))
