"""A ledger with a few accounts to post over, and all that can be seen of it at once."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.api_client import Api, Json

ERROR = """
    ... on UserError { code message path retryable }
    ... on LedgerNotFound { __typename }
    ... on PeriodClosed { closedThrough }
    ... on EntriesUnbalanced { currency { code exponent } debits credits }
    ... on AccountNotOpen { accountStatus account { name } }
    ... on InsufficientFunds { available required account { name } }
    ... on VersionConflict { expectedVersion actualVersion account { name } }
    ... on EntryTooLarge { requested maximum account { name } }
    ... on CeilingExceeded { ceiling before after account { name } }
    ... on VelocityExceeded {
      limitName usedAmount usedCount requestedAmount maximumAmount maximumCount windowSeconds period
      timeZone retryAt account { name }
    }
    ... on ConditionFailed { balance expected actual account { name } }
    ... on IdempotencyConflict { transaction { sequence } }
    ... on ExternalIdTaken { externalId }
"""
"""Every field of every refusal of a posting."""

CHANGE_ERROR = """
    ... on UserError { code message path retryable }
    ... on TransactionNotPending { transactionStatus transaction { id status } }
    ... on IdempotencyConflict { transaction { id sequence } }
"""

TRANSACTION = """
    id sequence status description externalId metadata effectiveAt createdAt postedAt voidedAt
    reason postsAt expiresAt lastRefusal { code message refusedAt attempts nextAttemptAt }
    idempotencyKey ledger { id } history { kind idempotencyKey description createdAt changes }
    reverses { id } reversedBy { id }
    entries {
      id sequence direction amount status metadata effectiveAt createdAt account { name }
      balancesAfter { version posted { amount } pending { amount } available { amount } }
    }
"""
"""Every field of a transaction."""

POSTING = f"""
mutation ($input: PostTransactionInput!) {{
  postTransaction(input: $input) {{
    __typename
    ... on PostTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    {ERROR}
  }}
}}
"""

SETTLING = f"""
mutation ($input: SettleTransactionInput!) {{
  settleTransaction(input: $input) {{
    __typename
    ... on SettleTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    {CHANGE_ERROR}
    ... on AccountNotOpen {{ accountStatus account {{ name }} }}
    ... on EntriesUnbalanced {{ currency {{ code exponent }} debits credits }}
    ... on SettlementExceedsHold {{ direction remaining requested account {{ name }} }}
    ... on HoldExpired {{ expiresAt transaction {{ id status }} }}
  }}
}}
"""

VOIDING = f"""
mutation ($input: VoidTransactionInput!) {{
  voidTransaction(input: $input) {{
    __typename
    ... on VoidTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    {CHANGE_ERROR}
  }}
}}
"""

REVERSING = f"""
mutation ($input: ReverseTransactionInput!) {{
  reverseTransaction(input: $input) {{
    __typename
    ... on ReverseTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    ... on UserError {{ code message path retryable }}
    ... on TransactionNotReversible {{ transactionStatus reason transaction {{ id status }} }}
    ... on ReversalExceedsTransaction {{ direction remaining requested account {{ name }} }}
    ... on InsufficientFunds {{ available required account {{ name }} }}
    ... on AccountNotOpen {{ accountStatus account {{ name }} }}
    ... on EntriesUnbalanced {{ currency {{ code exponent }} debits credits }}
    ... on IdempotencyConflict {{ transaction {{ id sequence }} }}
  }}
}}
"""

UPDATING = f"""
mutation ($input: UpdateTransactionInput!) {{
  updateTransaction(input: $input) {{
    __typename
    ... on UpdateTransactionSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    ... on UserError {{ code message path retryable }}
    ... on IdempotencyConflict {{ transaction {{ id sequence }} }}
  }}
}}
"""

SHOWING = f"query ($id: ID!) {{ transaction(id: $id) {{ {TRANSACTION} }} }}"

STATE = """
query ($id: ID!) {
  ledger(id: $id) {
    archivedAt
    accounts(first: 100) {
      nodes {
        name status version
        balances {
          posted { amount debits credits } pending { amount debits credits }
          available { amount } projected { amount }
        }
      }
    }
    transactions(first: 100) { nodes { id sequence status history { kind } } }
  }
}
"""


class Market:
    """Cash (debit-normal), a wallet of 100 with the floor 0, a shop, and two of euros."""

    api: Api
    ledger: str
    accounts: dict[str, str]

    @classmethod
    async def open(cls, api: Api, money: int = 100) -> "Market":
        market = cls()
        market.api, market.ledger, market.accounts = api, await api.ledger(), {}
        await market.account("cash", normalBalance="DEBIT")
        await market.account("wallet", availableFloor="0")
        await market.account("shop")
        await market.account("euros", currency="EUR", normalBalance="DEBIT")
        await market.account("purse", currency="EUR")
        await api.post(
            market.ledger, market["cash"], market["wallet"], money, idempotencyKey="open"
        )
        return market

    def __getitem__(self, name: str) -> str:
        return self.accounts[name]

    async def account(self, name: str, **fields: Any) -> None:
        self.accounts[name] = await self.api.account(self.ledger, name=name, **fields)

    def lines(self, *lines: tuple[str, str, int]) -> list[Json]:
        return [
            {"accountId": self[name], "direction": direction, "amount": str(amount)}
            for name, direction, amount in lines
        ]

    def move(self, debit: str, credit: str, amount: int) -> list[Json]:
        return self.lines((debit, "DEBIT", amount), (credit, "CREDIT", amount))

    def posting(self, key: str, debit: str, credit: str, amount: int, **more: Any) -> Json:
        """The input of a posting from one account to another."""
        entries = self.move(debit, credit, amount)
        return {"ledgerId": self.ledger, "idempotencyKey": key, "entries": entries, **more}

    async def post(self, key: str, debit: str, credit: str, amount: int, **more: Any) -> Json:
        return await self.api.answer(POSTING, **self.posting(key, debit, credit, amount, **more))

    async def hold(self, key: str, debit: str, credit: str, amount: int, **more: Any) -> str:
        """Hold an amount and return the transaction's id."""
        answer = await self.post(key, debit, credit, amount, status="PENDING", **more)
        assert answer["__typename"] == "PostTransactionSuccess", answer
        return str(answer["transaction"]["id"])

    async def settle(self, transaction: str, key: str, **more: Any) -> Json:
        return await self.api.answer(
            SETTLING, transactionId=transaction, idempotencyKey=key, **more
        )

    async def void(self, transaction: str, key: str, **more: Any) -> Json:
        return await self.api.answer(VOIDING, transactionId=transaction, idempotencyKey=key, **more)

    async def reverse(self, transaction: str, key: str, **more: Any) -> Json:
        return await self.api.answer(
            REVERSING, transactionId=transaction, idempotencyKey=key, **more
        )

    async def update(self, transaction: str, key: str, **more: Any) -> Json:
        return await self.api.answer(
            UPDATING, transactionId=transaction, idempotencyKey=key, **more
        )

    async def shown(self, transaction: str) -> Json:
        """A transaction with all its fields."""
        shown: Json = (await self.api.run(SHOWING, {"id": transaction}))["transaction"]
        return shown

    async def until(self, transaction: str, reached: Callable[[Json], bool]) -> Json:
        """Wait until the server has done by itself what makes this hold of a transaction."""
        async with asyncio.timeout(60):
            while not reached(shown := await self.shown(transaction)):
                await asyncio.sleep(0.02)
        return shown

    async def set(self, name: str, verb: str) -> None:
        """Freeze, unfreeze or close an account."""
        answer = await self.api.run(
            f'mutation {{ {verb}Account(input: {{accountId: "{self[name]}"}}) {{ __typename }} }}'
        )
        assert answer[f"{verb}Account"]["__typename"].endswith("Success")

    async def archive(self) -> None:
        answer = await self.api.run(
            f'mutation {{ archiveLedger(input: {{ledgerId: "{self.ledger}"}}) {{ __typename }} }}'
        )
        assert answer["archiveLedger"]["__typename"] == "ArchiveLedgerSuccess"

    async def state(self) -> Json:
        """Every balance, version, sequence and status of the ledger."""
        return await self.api.run(STATE, {"id": self.ledger})

    async def balances(self, name: str) -> tuple[int, int, int, int]:
        return await self.api.balances(self[name])
