"""Transactions and their events."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import strawberry

from app.api.engine.context import Info
from app.api.enums import (
    REASONS,
    ErrorCode,
    HoldReason,
    TransactionEventKind,
    TransactionStatus,
    by_word,
)
from app.api.ids import TRANSACTION, encode
from app.api.ledgers.proofs import TransactionProof
from app.api.nodes import OPAQUE, Node, ScheduledRefusal, of_row, reads
from app.api.scalars import JSON, DateTime, Sequence
from app.api.templates.types import TransactionTemplate
from app.api.transactions.entries import Entry
from app.store import rows

if TYPE_CHECKING:
    from app.api.ledgers.types import Ledger

_STATUS = by_word(TransactionStatus)


@strawberry.type(description="One accepted command and what it did to its transaction.")
class TransactionEvent:
    kind: TransactionEventKind = strawberry.field(description="What happened.")
    idempotency_key: str | None = strawberry.field(
        description="The key of the command; null where it happened by itself, at its time."
    )
    description: str | None = strawberry.field(description="What the command said of it.")
    created_at: DateTime = strawberry.field(description="When it was recorded.")
    changes: JSON | None = strawberry.field(
        description=(
            'Of a correction: each field that was changed, as {"description": {"before": …,'
            ' "after": …}}; else null.'
        )
    )

    @classmethod
    def of(cls, row: rows.EventRow) -> "TransactionEvent":
        return cls(
            kind=TransactionEventKind(row.kind),
            idempotency_key=row.idempotency_key,
            description=row.description,
            created_at=DateTime(row.recorded_at),
            changes=None if row.changes is None else JSON(row.changes),
        )


@strawberry.type(
    description="A movement of money between accounts of one ledger, balanced in each currency."
)
class Transaction(Node):
    row: strawberry.Private[rows.TransactionRow]
    known_entries: strawberry.Private[Callable[["Transaction"], list[Entry]] | None] = None
    known_key: strawberry.Private[str | None] = None
    known_history: strawberry.Private[Callable[[], list[TransactionEvent]] | None] = None
    known_template: strawberry.Private[rows.TemplateUseRow | None] = None

    id: strawberry.ID = of_row(lambda row: encode(TRANSACTION, row.transaction_id), OPAQUE)
    sequence: Sequence = of_row(
        "sequence", "1, 2, 3 … in its ledger, without a gap, in commit order."
    )
    status: TransactionStatus = of_row(lambda row: _STATUS[row.status], "Where it stands.")
    description: str | None = of_row("description", "For people.")
    external_id: str | None = of_row(
        "external_id", "The client's own id for it, unique among the transactions of the ledger."
    )
    metadata: JSON = of_row("metadata", "The client's own data.")
    effective_at: DateTime = of_row("effective_at", "When it happened in the world.")
    created_at: DateTime = of_row("created_at", "When it was recorded.")
    posted_at: DateTime | None = of_row("posted_at", "When it became POSTED.")
    voided_at: DateTime | None = of_row("voided_at", "When it became VOIDED.")
    reason: HoldReason | None = of_row(
        lambda row: REASONS[row.reason],
        "What the hold is for; null if nobody said, or if it never was one.",
    )
    posts_at: DateTime | None = of_row(
        "posts_at", "When what is left of the hold posts by itself; null if never."
    )
    expires_at: DateTime | None = of_row(
        "expires_at",
        "When what is left of the hold is released by itself; null if never. From then on it cannot"
        " be settled.",
    )

    @classmethod
    def of(cls, row: rows.TransactionRow, known_key: str | None = None) -> "Transaction":
        return cls(row=row, known_key=known_key)

    @strawberry.field(description="The ledger it is in.")
    @reads("ledger_id")
    def ledger(self, info: Info) -> Annotated["Ledger", strawberry.lazy("app.api.ledgers.types")]:
        from app.api.ledgers.types import Ledger

        return info.context.load.one(rows.ledgers_by_id, self.row.ledger_id, build=Ledger.of)

    @strawberry.field(description="All its lines, those of settlements and voids last.")
    @reads("ledger_id", "sequence")
    def entries(self, info: Info) -> list[Entry]:
        if self.known_entries is not None:
            return self.known_entries(self)
        return info.context.load.all(rows.entries_by_transaction, *self._place, build=Entry.of)

    @strawberry.field(description="The transaction that this one reverses; null if it does not.")
    def reverses(self, info: Info) -> "Transaction | None":
        number = self.row.reverses_sequence
        if number is None:
            return None
        return info.context.load.one(
            rows.transactions_by_sequence, self.row.ledger_id, number, build=Transaction.of
        )

    @strawberry.field(description="The transactions that reverse it, or parts of it, oldest first.")
    def reversed_by(self, info: Info) -> "list[Transaction]":
        return info.context.load.all(
            rows.reversals_by_transaction, *self._place, build=Transaction.of
        )

    @strawberry.field(
        description="Why it did not post by itself when it was last tried; null if it never failed."
    )
    def last_refusal(self) -> ScheduledRefusal | None:
        row = self.row
        if row.refusal_code is None or row.refusal_message is None or row.refused_at is None:
            return None
        return ScheduledRefusal(
            code=ErrorCode[row.refusal_code],
            message=row.refusal_message,
            refused_at=DateTime(row.refused_at),
            attempts=row.due_attempts or 0,
            next_attempt_at=(
                None if row.due_at in (None, row.expires_at) else DateTime(row.due_at)
            ),
        )

    @strawberry.field(
        description=(
            "The idempotency key under which it was created; null where the server made it by"
            " itself, as a credit lot expired."
        )
    )
    @reads("ledger_id", "sequence")
    def idempotency_key(self, info: Info) -> str | None:
        if self.known_key is not None:
            return self.known_key
        return info.context.load.one(
            rows.events_by_transaction, *self._place, build=lambda event: event.idempotency_key
        )

    @strawberry.field(description="Every state that it went through, oldest first.")
    @reads("ledger_id", "sequence")
    def history(self, info: Info) -> list[TransactionEvent]:
        if self.known_history is not None:
            return self.known_history()
        return info.context.load.all(
            rows.events_by_transaction, *self._place, build=TransactionEvent.of
        )

    @strawberry.field(
        description="The template that it was made from, in the version used; or null."
    )
    def template(self, info: Info) -> TransactionTemplate | None:
        if self.known_template is not None:
            return TransactionTemplate.of_use(self.known_template)
        return info.context.load.one(
            rows.template_uses_by_transaction, *self._place, build=TransactionTemplate.of_use
        )

    @strawberry.field(
        description=(
            "The parameters that its template was used with, all of them, each as a text; null"
            " without a template."
        )
    )
    def template_params(self, info: Info) -> JSON | None:
        if self.known_template is not None:
            return JSON(self.known_template.params)
        return info.context.load.one(
            rows.template_uses_by_transaction, *self._place, build=lambda use: JSON(use.params)
        )

    @strawberry.field(
        description=(
            "Proofs of its events, oldest first, against the newest checkpoint of the ledger; null"
            " while nothing of it is sealed, which takes seconds."
        )
    )
    @reads("ledger_id", "sequence")
    def proof(
        self,
        info: Info,
        checkpoint: Annotated[
            Sequence | None,
            strawberry.argument(
                description="Against this block instead; what came after it is left out."
            ),
        ] = None,
    ) -> list[TransactionProof] | None:
        return info.context.load.proofs(
            self.row.ledger_id,
            self.row.sequence,
            checkpoint,
            lambda proofs: [TransactionProof.of(proof) for proof in proofs] or None,
        )

    @property
    def _place(self) -> tuple[object, int]:
        return self.row.ledger_id, self.row.sequence
