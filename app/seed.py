"""The demo: an organization with an API key, and a small marketplace with some weeks of business.

It goes through the same store and the same writer as any client's postings, so it is history like
any other: a hundred orders of ten sellers, fees, payouts, a few holds still in flight.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from app.ledger.accounts.administration import CreateAccount, CreateLedger
from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Mode, Scope
from app.ledger.transactions.commands import (
    EntryDraft,
    PostTransaction,
    SettleTransaction,
    VoidTransaction,
)
from app.ledger.transactions.posting import Recorded
from app.store.accounts.administration import create_accounts, create_ledger
from app.store.database import Database
from app.store.identity import Permission, create_key, create_organization, list_organizations
from app.store.transactions.writer import Writer

ORGANIZATION = "Demo"
LEDGER = "Demo marketplace"
SELLERS = [
    "Ada's Antiques",
    "Bruno's Bikes",
    "Chiara Ceramics",
    "Dov's Delicatessen",
    "Elif Electronics",
    "Fumiko Fabrics",
    "Goran's Games",
    "Hana Handmade",
    "Ines Interiors",
    "Jonas Jewellery",
]
ORDERS = 100
DAYS = 28
FEE_PERCENT = 8


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made: the token is shown once and kept nowhere."""

    organization: str
    token: str
    transactions: int


async def is_empty(database: Database) -> bool:
    """Say whether the database has no organization yet."""
    async with database.writing() as connection:
        return not await list_organizations(connection)


async def seed(
    database: Database,
    writer: Writer,
    *,
    show_token: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Seeded:
    """Make the demo organization, its key, and the marketplace.

    The token is shown as soon as it is good: whoever interrupts the trade has it nonetheless.
    """
    async with database.writing() as connection:
        organization = await create_organization(connection, ORGANIZATION)
        scope = Scope(organization.organization_id, Mode.TEST)
        _, token = await create_key(
            connection,
            organization.organization_id,
            name="demo",
            mode=Mode.TEST,
            permissions=list(Permission),
        )
        ledger = await create_ledger(
            connection,
            CreateLedger(
                scope, uuid7(), LEDGER, "One account a seller; amounts in cents of a US dollar."
            ),
        )
        accounts = await create_accounts(connection, _accounts(scope, ledger.ledger_id))
    if show_token is not None:
        show_token(token)
    by_name = {account.external_id or "": account.account_id for account in accounts}
    market = _Market(scope, ledger.ledger_id, by_name, writer)
    total = await market.trade(progress or (lambda _done, _of: None))
    return Seeded(organization.name, token, total)


def _accounts(scope: Scope, ledger_id: UUID) -> list[CreateAccount]:
    def account(
        external_id: str, name: str, normal: Direction, floor: int | None = None
    ) -> CreateAccount:
        return CreateAccount(
            scope,
            uuid7(),
            ledger_id,
            name,
            normal,
            "USD",
            2,
            external_id=external_id,
            available_floor=floor,
            metadata={"kind": external_id.partition(":")[0]},
        )

    return [
        account("platform:cash", "Cash at bank", Direction.DEBIT),
        account("platform:fees", "Fees earned", Direction.CREDIT),
        *(
            account(f"seller:{number}", name, Direction.CREDIT, floor=0)
            for number, name in enumerate(SELLERS, 1)
        ),
    ]


class _Market:
    """Trades on behalf of the sellers, in order of time."""

    def __init__(
        self, scope: Scope, ledger_id: UUID, accounts: dict[str, UUID], writer: Writer
    ) -> None:
        self.scope = scope
        self.ledger_id = ledger_id
        self.accounts = accounts
        self.writer = writer
        self.posted = 0
        self.chance = random.Random(1605)  # noqa: S311  the demo is the same every time

    async def trade(self, progress: Callable[[int, int], None]) -> int:
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
        for order in range(1, ORDERS + 1):
            at = start + timedelta(days=DAYS) * (order / (ORDERS + 1))
            await self._order(order, at)
            if order % 10 == 0:
                await self._payout(order // 10, at + timedelta(hours=1))
            progress(order, ORDERS)
        return self.posted

    async def _order(self, number: int, at: datetime) -> None:
        seller = f"seller:{self.chance.randint(1, len(SELLERS))}"
        amount = self.chance.randint(900, 25_000)
        fee = amount * FEE_PERCENT // 100
        await self._post(
            f"order:{number}",
            f"Order {number}",
            [
                ("platform:cash", Direction.DEBIT, amount),
                (seller, Direction.CREDIT, amount - fee),
                ("platform:fees", Direction.CREDIT, fee),
            ],
            at,
            pending=number > ORDERS - 4,
        )

    async def _payout(self, number: int, at: datetime) -> None:
        """Hold a seller's payout; most are settled, one failed, the last are on their way."""
        seller, amount = f"seller:{number}", 1_500 + 100 * number
        await self._post(
            f"top-up:{number}",
            f"Advance to {SELLERS[number - 1]}",
            [("platform:cash", Direction.DEBIT, 5_000), (seller, Direction.CREDIT, 5_000)],
            at - timedelta(minutes=30),
        )
        held = await self._post(
            f"payout:{number}",
            f"Payout to {SELLERS[number - 1]}",
            [(seller, Direction.DEBIT, amount), ("platform:cash", Direction.CREDIT, amount)],
            at,
            pending=True,
        )
        transaction_id = held.transaction.transaction_id
        if number == 5:
            await self.writer.write(
                VoidTransaction(
                    self.scope, transaction_id, "payout:5:failed", "The bank returned it."
                )
            )
        elif number < 9:
            await self.writer.write(
                SettleTransaction(self.scope, transaction_id, f"payout:{number}:paid")
            )

    async def _post(
        self,
        key: str,
        description: str,
        lines: list[tuple[str, Direction, int]],
        at: datetime,
        *,
        pending: bool = False,
    ) -> Recorded:
        decision = await self.writer.write(
            PostTransaction(
                self.scope,
                uuid7(),
                self.ledger_id,
                key,
                tuple(
                    EntryDraft(self.accounts[name], direction, amount)
                    for name, direction, amount in lines
                ),
                pending=pending,
                description=description,
                external_id=key,
                effective_at=at,
            )
        )
        assert isinstance(decision, Recorded)
        self.posted += 1
        return decision
