"""What the resolvers of one operation share: who asks, a snapshot to read from, and loaders.

Loaders gather what the fields of one level ask for and read it with one statement. They live as
long as their snapshot: a mutation field renews both after its write, so that what is selected below
it shows the books as they are then, and so does the next mutation field of the operation.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import strawberry

from app.api.engine.loading import Fetch, Load, Loader
from app.api.errors import Code, CodedError
from app.ledger.accounts.state import Scope
from app.ledger.accounts.velocities import Velocity
from app.store.accounts.history import (
    CurrencyTotals,
    PastBalances,
    balances_at_each,
    past_balances_by_account,
    totals_by_currency,
)
from app.store.accounts.velocities import velocities_by_account
from app.store.audit.proofs import Proof, SealedBlock, Through, checkpoints, proofs_by_transaction
from app.store.database import Database, Snapshot
from app.store.identity import Permission, Principal
from app.store.reading import Listing, Lookup, Names, Page
from app.store.rows.reconciliation import Unreconciled, unreconciled_by_account
from app.store.statements.settlements import UnsettledTotals, unsettled_by_account
from app.store.transactions.writer import Writer

R = TypeVar("R", bound=tuple[Any, ...])
T = TypeVar("T")

Times = tuple[datetime | None, datetime | None]
"""As of, and known at; None is now."""


class Loaders:
    """One loader for each way to read, over one snapshot, made when it is first asked for.

    Its methods return a Load of what `build` makes; resolvers hand it on as if it were that.
    """

    def __init__(self, snapshot: Snapshot, names: Mapping[type, Names]) -> None:
        self.snapshot = snapshot
        self._names = names
        self._loaders: dict[Any, Loader[Any, Any]] = {}

    def one(self, lookup: Lookup[R], *key: Any, build: Callable[[R], T]) -> Any:
        """What is built of the row of that key; None where there is none."""
        return Load(self._by_key(lookup), key, lambda rows: build(rows[0]) if rows else None)

    def all(self, lookup: Lookup[R], *key: Any, build: Callable[[R], T]) -> Any:
        """What is built of each row of that key."""
        return Load(self._by_key(lookup), key, lambda rows: [build(row) for row in rows])

    def page(
        self, listing: Listing[R], parent: UUID, page: Page, build: Callable[[Sequence[R]], T]
    ) -> Any:
        """What is built of one page of a listing; pages of one shape are read together."""
        loader = self._made(listing, lambda keys: self._read_pages(listing, keys))
        return Load(loader, (parent, page), build)

    def past_balances(
        self,
        account_id: UUID,
        as_of: datetime | None,
        known_at: datetime | None,
        build: Callable[[PastBalances | None], T],
    ) -> Any:
        """What is built of an account's totals at other times than now."""
        loader = self._made("past_balances", self._read_past_balances)
        return Load(loader, (account_id, (as_of, known_at)), build)

    def trial_balance(
        self,
        ledger_id: UUID,
        as_of: datetime | None,
        known_at: datetime | None,
        build: Callable[[Sequence[CurrencyTotals]], T],
    ) -> Any:
        """What is built of a ledger's totals by currency."""
        loader = self._made("trial_balance", self._read_trial_balances)
        return Load(loader, (ledger_id, (as_of, known_at)), build)

    def balance_history(
        self,
        account_id: UUID,
        moments: tuple[datetime, ...],
        build: Callable[[Sequence[PastBalances]], T],
    ) -> Any:
        """What is built of an account's totals at each of the moments; of none if it has none."""
        loader = self._made("balance_history", self._read_balance_histories)
        return Load(loader, (account_id, moments), build)

    def velocities(
        self, account_id: UUID, now: datetime, build: Callable[[Sequence[Velocity]], T]
    ) -> Any:
        """What is built of an account's velocity limits with their usage at `now`."""
        loader = self._made("velocities", self._read_velocities)
        return Load(loader, (account_id, now), build)

    def unreconciled(
        self,
        account_id: UUID,
        as_of: datetime | None,
        build: Callable[[Unreconciled], T],
    ) -> Any:
        """What is built of how much of an account no closed reconciliation covers."""
        loader = self._made("unreconciled", self._read_unreconciled)
        return Load(loader, (account_id, as_of), build)

    def unsettled(self, account_id: UUID, build: Callable[[UnsettledTotals | None], T]) -> Any:
        """What is built of what an account's unsettled entries come to."""
        return Load(self._made("unsettled", self._read_unsettled), account_id, build)

    def checkpoint(
        self, ledger_id: UUID, number: Through, build: Callable[[SealedBlock | None], T]
    ) -> Any:
        """What is built of a ledger's newest sealed block, or of that of a number."""
        loader = self._made("checkpoint", partial(checkpoints, self.snapshot))
        return Load(loader, (ledger_id, number), build)

    def proofs(
        self,
        ledger_id: UUID,
        sequence: int,
        through: Through,
        build: Callable[[Sequence[Proof]], T],
    ) -> Any:
        """What is built of the proofs of a transaction's events."""
        loader = self._made("proofs", partial(proofs_by_transaction, self.snapshot))
        return Load(loader, (ledger_id, sequence, through), build)

    def forget(self) -> None:
        """Let go of the loaders, which know this: their rows need no collector of garbage then."""
        self._loaders.clear()

    def _by_key(self, lookup: Lookup[Any]) -> Loader[Any, Any]:
        loader = self._loaders.get(lookup)
        if loader is not None:
            return loader
        names = self._names.get(lookup.row)
        return self._made(lookup, lambda keys: lookup.fetch(self.snapshot, keys, names))

    def _made(self, name: Any, fetch: Fetch[Any, Any]) -> Loader[Any, Any]:
        loader = self._loaders.get(name)
        if loader is None:
            loader = self._loaders[name] = Loader(fetch)
        return loader

    async def _read_pages(
        self, listing: Listing[R], keys: Sequence[tuple[UUID, Page]]
    ) -> Sequence[Sequence[R]]:
        names = self._names.get(listing.row)
        return await _by_rest(
            keys, lambda parents, page: listing.fetch(self.snapshot, parents, page, names)
        )

    async def _read_past_balances(
        self, keys: Sequence[tuple[UUID, Times]]
    ) -> Sequence[PastBalances | None]:
        async def read(ids: Sequence[UUID], times: Times) -> Sequence[PastBalances | None]:
            found = await past_balances_by_account(self.snapshot, ids, *times)
            return [found.get(account_id) for account_id in ids]

        return await _by_rest(keys, read)

    async def _read_unsettled(self, ids: Sequence[UUID]) -> Sequence[UnsettledTotals | None]:
        found = await unsettled_by_account(self.snapshot, ids)
        return [found.get(account_id) for account_id in ids]

    async def _read_velocities(
        self, keys: Sequence[tuple[UUID, datetime]]
    ) -> Sequence[Sequence[Velocity]]:
        async def read(ids: Sequence[UUID], now: datetime) -> Sequence[Sequence[Velocity]]:
            found = await velocities_by_account(self.snapshot, ids, now)
            return [found.get(account_id, ()) for account_id in ids]

        return await _by_rest(keys, read)

    async def _read_unreconciled(
        self, keys: Sequence[tuple[UUID, datetime | None]]
    ) -> Sequence[Unreconciled]:
        async def read(ids: Sequence[UUID], as_of: datetime | None) -> Sequence[Unreconciled]:
            found = await unreconciled_by_account(self.snapshot, ids, as_of)
            return [found.get(account_id, Unreconciled(0, 0)) for account_id in ids]

        return await _by_rest(keys, read)

    async def _read_trial_balances(
        self, keys: Sequence[tuple[UUID, Times]]
    ) -> Sequence[Sequence[CurrencyTotals]]:
        async def read(ids: Sequence[UUID], times: Times) -> Sequence[Sequence[CurrencyTotals]]:
            found = await totals_by_currency(self.snapshot, ids, *times)
            return [found.get(ledger_id, ()) for ledger_id in ids]

        return await _by_rest(keys, read)

    async def _read_balance_histories(
        self, keys: Sequence[tuple[UUID, tuple[datetime, ...]]]
    ) -> Sequence[Sequence[PastBalances]]:
        async def read(
            ids: Sequence[UUID], moments: Sequence[datetime]
        ) -> Sequence[Sequence[PastBalances]]:
            found = await balances_at_each(self.snapshot, ids, moments)
            return [found.get(account_id, ()) for account_id in ids]

        return await _by_rest(keys, read)


@dataclass(slots=True)
class Context:
    """The `info.context` of one operation, and its life as a context manager."""

    principal: Principal
    request_id: str
    database: Database
    writer: Writer
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _names: Mapping[type, Names] = field(default_factory=dict)
    _load: Loaders | None = None
    _over: bool = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def scope(self) -> Scope:
        return self.principal.scope

    @property
    def load(self) -> Loaders:
        """The loaders of the present snapshot."""
        if self._over:
            raise RuntimeError("The operation is over.")
        if self._load is None:
            self._load = Loaders(self.database.snapshot(self.scope), self._names)
        return self._load

    def narrow(self, names: Mapping[type, Names]) -> None:
        """Read no more columns of rows than these, by kind of row; of other kinds all."""
        self._names = names

    async def renew(self) -> None:
        """Let go of the snapshot; what is loaded next is read from a new one."""
        loaders, self._load = self._load, None
        if loaders is not None:
            loaders.forget()
            await loaders.snapshot.close()

    async def close(self) -> None:
        """The operation is over: what still runs of it loads nothing more."""
        self._over = True
        await self.renew()

    def require(self, permission: Permission) -> None:
        """Refuse with FORBIDDEN unless the key has the permission."""
        require(self.principal, permission)


def require(principal: Principal, permission: Permission) -> None:
    """Refuse with FORBIDDEN unless the key has the permission."""
    if not principal.permits(permission):
        raise CodedError(
            Code.FORBIDDEN, f"This needs an API key with the scope {permission.value!r}."
        )


Info = strawberry.Info[Context, None]

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


async def _by_rest(
    keys: Sequence[tuple[UUID, _K]],
    read: Callable[[Sequence[UUID], _K], Awaitable[Sequence[_V]]],
) -> Sequence[_V]:
    """What is read of each key, all keys with one rest together."""
    groups: dict[_K, list[int]] = {}
    for place, (_, rest) in enumerate(keys):
        groups.setdefault(rest, []).append(place)
    found: dict[int, _V] = {}
    for rest, places in groups.items():
        found.update(zip(places, await read([keys[p][0] for p in places], rest), strict=True))
    return [found[place] for place in range(len(keys))]
