"""The facts that a batch decides on: read under lock, then carried forward decision by decision."""

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from app.ledger.accounts import Account, Ledger
from app.ledger.transactions import Hold, Side, Used

K = TypeVar("K")
V = TypeVar("V")

OfOrganization = tuple[UUID, UUID]
"""(organization id, the object's id): nothing is ever looked up without its organization."""

InLedger = tuple[UUID, UUID, str]
"""(organization id, ledger id, a text that is unique within the ledger)."""


Numbered = tuple[UUID, UUID, int]
"""(organization id, ledger id, the sequence of a transaction)."""


@dataclass(slots=True)
class Book:
    """What is known, by key. Values are frozen; a decision replaces them.

    `reversed` has, of a transaction, what reversals have undone on each side of each account.
    """

    ledgers: MutableMapping[OfOrganization, Ledger] = field(default_factory=dict)
    accounts: MutableMapping[OfOrganization, Account] = field(default_factory=dict)
    holds: MutableMapping[OfOrganization, Hold] = field(default_factory=dict)
    used_keys: MutableMapping[InLedger, Used] = field(default_factory=dict)
    external_ids: MutableMapping[InLedger, UUID] = field(default_factory=dict)
    reversed: MutableMapping[Numbered, Mapping[Side, int]] = field(default_factory=dict)

    def branch(self) -> "Book":
        """A book that sees this one and keeps its own changes apart, to be merged or dropped."""
        return Book(
            _branch(self.ledgers),
            _branch(self.accounts),
            _branch(self.holds),
            _branch(self.used_keys),
            _branch(self.external_ids),
            _branch(self.reversed),
        )

    def merge(self, branch: "Book") -> None:
        """Take over what a branch has changed."""
        _merge(self.ledgers, branch.ledgers)
        _merge(self.accounts, branch.accounts)
        _merge(self.holds, branch.holds)
        _merge(self.used_keys, branch.used_keys)
        _merge(self.external_ids, branch.external_ids)
        _merge(self.reversed, branch.reversed)


def _branch(mapping: MutableMapping[K, V]) -> MutableMapping[K, V]:
    return ChainMap({}, mapping)


def _merge(into: MutableMapping[K, V], branch: MutableMapping[K, V]) -> None:
    assert isinstance(branch, ChainMap)
    into.update(branch.maps[0])
