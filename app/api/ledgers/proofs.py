"""Proofs that nothing recorded was changed (see app/ledger/proofs.py)."""

from datetime import UTC, datetime, timedelta

import strawberry

from app.api.ids import LEDGER, encode
from app.api.scalars import DateTime, Sequence
from app.store.audit.proofs import Proof, SealedBlock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@strawberry.type(
    description=(
        "A sealed block, and with it all that the ledger recorded by then. Keep its `line` where"
        " nobody can change it, outside: then nothing that it covers can be changed unnoticed."
    )
)
class Checkpoint:
    block: Sequence = strawberry.field(description="1, 2, 3 … in its ledger.")
    leaves: Sequence = strawberry.field(
        description="How many events and revisions are sealed by it and all blocks before it."
    )
    transactions: Sequence = strawberry.field(
        description="Transactions up to this sequence are sealed; 0 for none."
    )
    root: str = strawberry.field(description="The root over the block's own leaves.")
    hash: str = strawberry.field(description="SHA-256 of its header, in hexadecimal.")
    previous_hash: str | None = strawberry.field(
        description="The hash of the block before it; null in the first."
    )
    sealed_at: DateTime = strawberry.field(description="When it was sealed.")
    line: str = strawberry.field(
        description="Ledger, block and hash in one line, as `ledgers verify --checkpoint` takes it."
    )

    @classmethod
    def of(cls, block: SealedBlock) -> "Checkpoint":
        header = block.header
        return cls(
            block=Sequence(header.number),
            leaves=Sequence(header.first_leaf + header.leaves),
            transactions=Sequence(header.transactions),
            root=header.root.hex(),
            hash=block.hash.hex(),
            previous_hash=None if header.previous is None else header.previous.hex(),
            sealed_at=DateTime(_EPOCH + timedelta(microseconds=header.sealed_at or 0)),
            line=f"{encode(LEDGER, header.ledger_id)} {header.number} {block.hash.hex()}",
        )


@strawberry.type(
    description=(
        "Proves one event of a transaction, with its entries, against a checkpoint. `ledgers"
        " verifier` prints a short program that checks it and needs nothing but Python."
    )
)
class TransactionProof:
    leaf: str = strawberry.field(description="What was sealed, to the byte: canonical JSON.")
    leaf_index: int = strawberry.field(description="The place of the leaf in its block, from 0.")
    siblings: list[str] = strawberry.field(
        description="Hashes that lead from the leaf to the root of its block, from below."
    )
    headers: list[str] = strawberry.field(
        description="Headers that lead from its block to the checkpoint, both included."
    )
    block: Checkpoint = strawberry.field(description="The block that it is in.")
    checkpoint: Checkpoint = strawberry.field(description="What it is proven against.")

    @classmethod
    def of(cls, proof: Proof) -> "TransactionProof":
        return cls(
            leaf=proof.leaf,
            leaf_index=proof.index,
            siblings=[sibling.hex() for sibling in proof.siblings],
            headers=list(proof.headers),
            block=Checkpoint.of(proof.block),
            checkpoint=Checkpoint.of(proof.checkpoint),
        )
