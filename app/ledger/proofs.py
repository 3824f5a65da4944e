"""Proofs: what makes a change of the past show, to whoever kept one line of text.

All that a ledger records is cut into leaves, texts of which each tells one thing that happened, and
leaves are sealed by the block:

    leaf     one event of a transaction with its entries, or one revision of a descriptive row
    block    up to 1,024 leaves under one hash, in the order in which they were recorded: the
             revisions first, then the events
    header   what a block says: where its leaves begin and end, their root, the blocks before it
    hash     of a header: a checkpoint. With it all leaves up to there are fixed

The root of a block is the Merkle tree of RFC 6962 over its leaves; a block's hash is made in the
same manner, with a prefix of its own, so that nothing is taken for something else:

    SHA-256(00 | leaf)    SHA-256(01 | left | right)    SHA-256(02 | header)

A header names the hash of the block before it and of one further back (`skip_of`), so the way from
a checkpoint back to any block is short: some twenty headers among thousands of blocks.

Leaves and headers are canonical JSON in UTF-8: the keys of an object in order of length, then of
bytes; one space behind each comma and colon, none elsewhere; in texts nothing escaped but quotes,
backslashes and control characters. That is how PostgreSQL writes jsonb. Amounts are decimal
numbers in texts, counters integers, times the microseconds since 1970 in UTC, ids UUIDs, hashes in
hexadecimal. Nothing in them names the organization, so a ledger has the same proofs wherever it is
restored. Both say which format they are in; this is format 1.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from app.ledger.values import immutable

FORMAT = 1
MAX_LEAVES = 1024
HASH_BYTES = 32

LEAF, NODE, BLOCK = b"\0", b"\1", b"\2"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Hash = bytes


@immutable
class Place:
    """Where an event stands in the order in which a ledger recorded its events.

    `recorded_at` in microseconds since 1970.
    """

    recorded_at: int | None
    sequence: int
    number: int


@immutable
class Header:
    """What a block says.

    `first_leaf` counts all leaves before it. Revisions and transactions are sealed through these
    numbers, events through `last`, which is None while there was none. `sealed_at` in microseconds
    since 1970.
    """

    ledger_id: UUID
    number: int
    first_leaf: int
    leaves: int
    revisions: int
    transactions: int
    last: Place | None
    root: Hash
    previous: Hash | None
    skip: Hash | None
    sealed_at: int | None

    def text(self) -> str:
        """The header in canonical JSON."""
        last = self.last
        return canonical(
            {
                "format": FORMAT,
                "ledger": str(self.ledger_id),
                "number": self.number,
                "first_leaf": self.first_leaf,
                "leaves": self.leaves,
                "revisions": self.revisions,
                "transactions": self.transactions,
                "last_event": None
                if last is None
                else [last.recorded_at, last.sequence, last.number],
                "root": self.root.hex(),
                "previous": None if self.previous is None else self.previous.hex(),
                "skip": None if self.skip is None else self.skip.hex(),
                "sealed_at": self.sealed_at,
            }
        )


def canonical(value: Mapping[str, Any]) -> str:
    """A value as PostgreSQL writes it as jsonb; of numbers integers only."""
    return json.dumps(_in_order(value), ensure_ascii=False)


def microseconds(moment: datetime) -> int:
    """Since the beginning of 1970, in UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def leaf_hash(leaf: str) -> Hash:
    return sha256(LEAF + leaf.encode()).digest()


def header_hash(header: str) -> Hash:
    return sha256(BLOCK + header.encode()).digest()


def root_of(hashes: Sequence[Hash]) -> Hash:
    """The root over one hash or more."""
    *_, (top,) = _levels(hashes)
    return top


def siblings_of(hashes: Sequence[Hash], index: int) -> list[Hash]:
    """What is hashed together with a leaf, and then with the outcome, on the way to the root."""
    path = []
    for level in _levels(hashes):
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        index >>= 1
    return path


def skip_of(number: int) -> int:
    """The block that a block names beside the one before it; 0 is none: 12 → 8, 8 → 0, 7 → 6."""
    return number & (number - 1)


def way_back(checkpoint: int, number: int) -> list[int]:
    """The numbers of the blocks that lead from a checkpoint to a block, that block first."""
    way = [checkpoint]
    while way[-1] > number:
        skip = skip_of(way[-1])
        way.append(skip if skip >= number else way[-1] - 1)
    return way[::-1]


def _levels(hashes: Sequence[Hash]) -> Iterator[Sequence[Hash]]:
    """A tree from the leaves up; what has nothing beside it goes up as it is."""
    level = hashes
    yield level
    while len(level) > 1:
        pairs = [
            sha256(NODE + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
        yield level


def _in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: _in_order(value[key]) for key in keys}
    return value
