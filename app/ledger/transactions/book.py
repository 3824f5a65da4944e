"""The facts that a batch decides on: read under lock, then carried forward decision by decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from app.ledger.accounts.state import Account, Ledger
from app.ledger.transactions.record import Hold, Side, Used

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

    `reversed` has, of a transaction, what reversals have undone on each side of each account;
    `payouts` those transactions by which entries are settled.
    """

    ledgers: dict[OfOrganization, Ledger] = field(default_factory=dict)
    accounts: dict[OfOrganization, Account] = field(default_factory=dict)
    holds: dict[OfOrganization, Hold] = field(default_factory=dict)
    used_keys: dict[InLedger, Used] = field(default_factory=dict)
    external_ids: dict[InLedger, UUID] = field(default_factory=dict)
    reversed: dict[Numbered, Mapping[Side, int]] = field(default_factory=dict)
    payouts: set[OfOrganization] = field(default_factory=set)

    def branch(self) -> "Book":
        """A book that sees this one and keeps its own changes apart, to be merged or dropped."""
        return Book(
            _Branch(self.ledgers),
            _Branch(self.accounts),
            _Branch(self.holds),
            _Branch(self.used_keys),
            _Branch(self.external_ids),
            _Branch(self.reversed),
            self.payouts,
        )

    def merge(self, branch: "Book") -> None:
        """Take over what a branch has changed."""
        self.ledgers.update(branch.ledgers)
        self.accounts.update(branch.accounts)
        self.holds.update(branch.holds)
        self.used_keys.update(branch.used_keys)
        self.external_ids.update(branch.external_ids)
        self.reversed.update(branch.reversed)


class _Branch(dict[K, V]):
    """A dictionary's changes, over the dictionary. (`ChainMap` is slow, and this is the hot path.)

    Only what a decision does with a book is defined: look up and set, by key.
    """

    __slots__ = ("_below",)

    def __init__(self, below: dict[K, V]) -> None:
        self._below = below

    def __missing__(self, key: K) -> V:
        return self._below[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._below

    def get(self, key: K, default: Any = None) -> Any:
        value = super().get(key)
        return self._below.get(key, default) if value is None else value
