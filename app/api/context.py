"""What the resolvers of one operation share: who asks, a snapshot to read from, and loaders.

Loaders gather what the fields of one level ask for and read it with one statement. They live as
long as their snapshot: a mutation field renews both after its write, so that what is selected below
it shows the books as they are then, and so does the next mutation field of the operation.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import strawberry
from strawberry.dataloader import DataLoader

from app.api.errors import Code, CodedError
from app.ledger.accounts import Scope
from app.store import rows
from app.store.database import Database, Snapshot
from app.store.history import (
    CurrencyTotals,
    PastBalances,
    balances_at_each,
    past_balances_by_account,
    totals_by_currency,
)
from app.store.identity import Permission, Principal
from app.store.reading import Listing, Lookup, Page
from app.store.writer import Writer

R = TypeVar("R", bound=tuple[Any, ...])


class Loaders:
    """One loader for each way to read, over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._pages: dict[int, DataLoader[tuple[UUID, Page], Sequence[Any]]] = {}
        self.ledgers_by_id = self._one(rows.ledgers_by_id)
        self.accounts_by_id = self._one(rows.accounts_by_id)
        self.accounts_by_external_id = self._one(rows.accounts_by_external_id)
        self.transactions_by_id = self._one(rows.transactions_by_id)
        self.transactions_by_sequence = self._one(rows.transactions_by_sequence)
        self.transactions_by_external_id = self._one(rows.transactions_by_external_id)
        self.transactions_by_idempotency_key = self._one(rows.transactions_by_idempotency_key)
        self.entries_by_id = self._one(rows.entries_by_id)
        self.entries_by_transaction = self._many(rows.entries_by_transaction)
        self.events_by_transaction = self._many(rows.events_by_transaction)
        self.past_balances: DataLoader[
            tuple[UUID, datetime | None, datetime | None], PastBalances | None
        ] = DataLoader(self._past_balances)
        self.trial_balances: DataLoader[
            tuple[UUID, datetime | None, datetime | None], Sequence[CurrencyTotals]
        ] = DataLoader(self._trial_balances)
        self.balance_histories: DataLoader[
            tuple[UUID, tuple[datetime, ...]], Sequence[PastBalances]
        ] = DataLoader(self._balance_histories)

    def page(self, listing: Listing[R], parent: UUID, page: Page) -> Awaitable[Sequence[R]]:
        """One page of a listing; pages of the same shape are read together."""
        loader = self._pages.get(id(listing))
        if loader is None:
            loader = self._pages[id(listing)] = DataLoader(self._read_pages(listing))
        return loader.load((parent, page))

    def _one(self, lookup: Lookup[R]) -> DataLoader[tuple[Any, ...], R | None]:
        async def load(keys: list[tuple[Any, ...]]) -> list[R | None]:
            found = await lookup.fetch(self.snapshot, keys)
            return [found[key][0] if key in found else None for key in keys]

        return DataLoader(load)

    def _many(self, lookup: Lookup[R]) -> DataLoader[tuple[Any, ...], Sequence[R]]:
        async def load(keys: list[tuple[Any, ...]]) -> list[Sequence[R]]:
            found = await lookup.fetch(self.snapshot, keys)
            return [found.get(key, ()) for key in keys]

        return DataLoader(load)

    def _read_pages(
        self, listing: Listing[R]
    ) -> Callable[[list[tuple[UUID, Page]]], Awaitable[list[Sequence[R]]]]:
        async def load(keys: list[tuple[UUID, Page]]) -> list[Sequence[R]]:
            found: dict[tuple[UUID, Page], Sequence[R]] = {}
            for page, parents in _by_rest(keys).items():
                pages = await listing.fetch(self.snapshot, parents, page)
                found |= {(parent, page): pages.get(parent, ()) for parent in parents}
            return [found[key] for key in keys]

        return load

    async def _past_balances(
        self, keys: list[tuple[UUID, datetime | None, datetime | None]]
    ) -> list[PastBalances | None]:
        found: dict[Any, PastBalances] = {}
        for times, ids in _by_times(keys).items():
            balances = await past_balances_by_account(self.snapshot, ids, *times)
            found |= {(account_id, *times): past for account_id, past in balances.items()}
        return [found.get(key) for key in keys]

    async def _trial_balances(
        self, keys: list[tuple[UUID, datetime | None, datetime | None]]
    ) -> list[Sequence[CurrencyTotals]]:
        found: dict[Any, Sequence[CurrencyTotals]] = {}
        for times, ids in _by_times(keys).items():
            totals = await totals_by_currency(self.snapshot, ids, *times)
            found |= {(ledger_id, *times): lines for ledger_id, lines in totals.items()}
        return [found.get(key, ()) for key in keys]

    async def _balance_histories(
        self, keys: list[tuple[UUID, tuple[datetime, ...]]]
    ) -> list[Sequence[PastBalances]]:
        found: dict[Any, Sequence[PastBalances]] = {}
        for moments, ids in _by_rest(keys).items():
            points = await balances_at_each(self.snapshot, ids, moments)
            found |= {(account_id, moments): past for account_id, past in points.items()}
        return [found.get(key, ()) for key in keys]


@dataclass(slots=True)
class Context:
    """The `info.context` of one operation."""

    principal: Principal
    request_id: str
    database: Database
    writer: Writer
    statements: int = 0
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _load: Loaders | None = None

    @property
    def scope(self) -> Scope:
        return self.principal.scope

    @property
    def load(self) -> Loaders:
        """The loaders of the present snapshot."""
        if self._load is None:
            self._load = Loaders(self.database.snapshot(self.scope))
        return self._load

    async def renew(self) -> None:
        """Let go of the snapshot; what is loaded next is read from a new one."""
        loaders, self._load = self._load, None
        if loaders is not None:
            await loaders.snapshot.close()
            self.statements += loaders.snapshot.statements

    def require(self, permission: Permission) -> None:
        """Refuse with FORBIDDEN unless the key has the permission."""
        if not self.principal.permits(permission):
            raise CodedError(
                Code.FORBIDDEN, f"This needs an API key with the scope {permission.value!r}."
            )


Info = strawberry.Info[Context, None]

_K = TypeVar("_K", bound=Hashable)


def _by_rest(keys: list[tuple[UUID, _K]]) -> dict[_K, list[UUID]]:
    groups: dict[_K, list[UUID]] = {}
    for identity, rest in keys:
        groups.setdefault(rest, []).append(identity)
    return groups


def _by_times(
    keys: list[tuple[UUID, datetime | None, datetime | None]],
) -> dict[tuple[datetime | None, datetime | None], list[UUID]]:
    return _by_rest([(identity, (as_of, known_at)) for identity, as_of, known_at in keys])
