"""Proofs and checkpoints as they are read: what was sealed, and the way from there to a checkpoint.

A leaf is made anew from the tables and looked for among the hashes of its block, so a proof is only
given of what is still as it was sealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from app.ledger.proofs import Header, leaf_hash, siblings_of, way_back
from app.store.audit.sealing import HEADER, event_leaves, hashes_of, header_of
from app.store.database import Row, Snapshot

Through = int | None
"""The number of the block that is the checkpoint; None is the newest."""


class NotAsSealed(Exception):
    """An event is not as its block sealed it: somebody changed the books."""


class SealedBlock(NamedTuple):
    """A block without its leaves; `hash` is that of its header."""

    header: Header
    hash: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """That one event is in a block, and the block before a checkpoint.

    `index` is the leaf's place in its block; `siblings` lead from it to the root, `headers` from
    the block to the checkpoint, both included.
    """

    leaf: str
    index: int
    siblings: Sequence[bytes]
    headers: Sequence[str]
    block: SealedBlock
    checkpoint: SealedBlock


async def checkpoints(
    snapshot: Snapshot, keys: Sequence[tuple[UUID, Through]]
) -> Sequence[SealedBlock | None]:
    """The newest block of each ledger, or that of a number; None where there is none."""
    found: list[SealedBlock | None] = [None] * len(keys)
    parameters = {
        "books": [ledger_id for ledger_id, _ in keys],
        "numbers": [number for _, number in keys],
    }
    for place, ledger_id, kept_hash, *columns in await snapshot.rows(_CHECKPOINTS, parameters):
        found[place - 1] = SealedBlock(header_of(ledger_id, columns), kept_hash)
    return found


async def proofs_by_transaction(
    snapshot: Snapshot, keys: Sequence[tuple[UUID, int, Through]]
) -> Sequence[Sequence[Proof]]:
    """The proofs of each transaction's events that its checkpoint covers, oldest first.

    Raises NotAsSealed.
    """
    leaves = await snapshot.rows(
        _LEAVES,
        {
            "books": [ledger_id for ledger_id, _, _ in keys],
            "sequences": [sequence for _, sequence, _ in keys],
            "throughs": [through for _, _, through in keys],
        },
    )
    proofs: list[list[Proof]] = [[] for _ in keys]
    if leaves:
        blocks, hashes = await _read_blocks(snapshot, leaves)
        for place, ledger_id, leaf, number, checkpoint in leaves:
            sealed = hashes[ledger_id, number]
            index = _index(sealed, leaf, number)
            proof = Proof(
                leaf,
                index,
                siblings_of(sealed, index),
                [blocks[ledger_id, n].header.text() for n in way_back(checkpoint, number)],
                blocks[ledger_id, number],
                blocks[ledger_id, checkpoint],
            )
            proofs[place - 1].append(proof)
    return proofs


def _index(sealed: Sequence[bytes], leaf: str, number: int) -> int:
    try:
        return sealed.index(leaf_hash(leaf))
    except ValueError:
        raise NotAsSealed(f"block {number} has no such leaf") from None


async def _read_blocks(
    snapshot: Snapshot, leaves: Sequence[Row]
) -> tuple[dict[tuple[UUID, int], SealedBlock], dict[tuple[UUID, int], list[bytes]]]:
    """The blocks that leaves are in and the ways from there, and what the former seal."""
    sealing = {(ledger_id, number) for _, ledger_id, _, number, _ in leaves}
    wanted = {
        (ledger_id, step)
        for _, ledger_id, _, number, checkpoint in leaves
        for step in way_back(checkpoint, number)
    }
    rows = await snapshot.rows(
        _BLOCKS,
        {
            "books": [ledger_id for ledger_id, _ in wanted],
            "numbers": [number for _, number in wanted],
            "sealing": [key in sealing for key in wanted],
        },
    )
    blocks: dict[tuple[UUID, int], SealedBlock] = {}
    hashes: dict[tuple[UUID, int], list[bytes]] = {}
    for ledger_id, kept_hash, leaf_hashes, *columns in rows:
        header = header_of(ledger_id, columns)
        blocks[ledger_id, header.number] = SealedBlock(header, kept_hash)
        if leaf_hashes is not None:
            hashes[ledger_id, header.number] = hashes_of(leaf_hashes)
    return blocks, hashes


_CHECKPOINTS = f"""
    SELECT wanted.place, b.ledger_id, b.hash, {HEADER}
    FROM unnest(%(books)s::uuid[], %(numbers)s::int8[]) WITH ORDINALITY
        AS wanted (ledger_id, number, place)
    JOIN LATERAL (
        SELECT * FROM blocks
        WHERE organization_id = %(organization)s AND ledger_id = wanted.ledger_id
            AND number <= coalesce(wanted.number, 9223372036854775807)
        ORDER BY number DESC LIMIT 1
    ) b ON b.number = coalesce(wanted.number, b.number)
"""  # noqa: S608  all of it is ours

_OF_TRANSACTIONS = """
    SELECT e.*
    FROM (
        SELECT DISTINCT * FROM unnest(%(books)s::uuid[], %(sequences)s::int8[])
    ) k (ledger_id, sequence)
    JOIN transaction_events e ON e.organization_id = %(organization)s
        AND e.ledger_id = k.ledger_id AND e.transaction_sequence = k.sequence
"""

_LEAVES = f"""
    SELECT wanted.place, found.ledger_id, found.leaf, b.number, checkpoint.number
    FROM unnest(%(books)s::uuid[], %(sequences)s::int8[], %(throughs)s::int8[]) WITH ORDINALITY
        AS wanted (ledger_id, sequence, through, place)
    JOIN ({event_leaves(_OF_TRANSACTIONS)}) found
        ON found.ledger_id = wanted.ledger_id AND found.transaction_sequence = wanted.sequence
    JOIN LATERAL (
        SELECT number FROM blocks
        WHERE organization_id = %(organization)s AND ledger_id = found.ledger_id
            AND (last_recorded_at, last_sequence, last_number)
                >= (found.recorded_at, found.transaction_sequence, found.number)
        ORDER BY last_recorded_at, last_sequence, last_number, number LIMIT 1
    ) b ON true
    JOIN LATERAL (
        SELECT number FROM blocks
        WHERE organization_id = %(organization)s AND ledger_id = found.ledger_id
            AND number <= coalesce(wanted.through, 9223372036854775807)
        ORDER BY number DESC LIMIT 1
    ) checkpoint ON checkpoint.number = coalesce(wanted.through, checkpoint.number)
        AND checkpoint.number >= b.number
    ORDER BY wanted.place, found.number
"""  # noqa: S608

_BLOCKS = f"""
    SELECT b.ledger_id, b.hash, CASE WHEN wanted.sealing THEN b.leaf_hashes END, {HEADER}
    FROM unnest(%(books)s::uuid[], %(numbers)s::int8[], %(sealing)s::bool[])
        AS wanted (ledger_id, number, sealing)
    JOIN blocks b ON b.organization_id = %(organization)s AND b.ledger_id = wanted.ledger_id
        AND b.number = wanted.number
"""  # noqa: S608
