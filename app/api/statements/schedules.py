"""Schedules of statements."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from app.api.engine.context import Info
from app.api.ids import ACCOUNT, STATEMENT_SCHEDULE, encode
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.scalars import JSON, DateTime
from app.store import rows

if TYPE_CHECKING:
    from app.api.ledgers.types import Ledger


@strawberry.type(
    description=(
        "Statements of every month of some accounts of a ledger, made as soon as the month is over:"
        " of the accounts named, of those whose external id begins so, of those whose metadata"
        " contain this, or else of all. Each account gets one statement a month."
    )
)
class StatementSchedule(Node):
    row: strawberry.Private[rows.StatementScheduleRow]

    id: strawberry.ID = of_row(lambda row: encode(STATEMENT_SCHEDULE, row.schedule_id), OPAQUE)
    time_zone: str = of_row("time_zone", 'Where months begin and end, such as "Europe/Paris".')
    account_ids: list[strawberry.ID] | None = of_row(
        lambda row: row.account_ids and [encode(ACCOUNT, one) for one in row.account_ids],
        "The accounts, if they were named.",
    )
    external_id_prefix: str | None = of_row(
        "external_id_prefix", "How the external ids of its accounts begin, if that was given."
    )
    metadata: JSON | None = of_row(
        "account_metadata", "What the metadata of its accounts contain, if that was given."
    )
    starting_from: str = of_row(
        lambda row: row.starting_from.isoformat()[:7], 'Its first month, such as "2026-01".'
    )
    next_month: str = of_row(
        lambda row: row.next_month.isoformat()[:7], "The month that is stated next."
    )
    created_at: DateTime = of_row("created_at", "When it was made.")
    deleted_at: DateTime | None = of_row(
        "deleted_at", "When it was deleted: it states nothing any more; null while it does."
    )

    @classmethod
    def of(cls, row: rows.StatementScheduleRow) -> "StatementSchedule":
        return cls(row=row)

    @strawberry.field(description="The ledger.")
    @reads("ledger_id")
    def ledger(self, info: Info) -> Annotated["Ledger", strawberry.lazy("app.api.ledgers.types")]:
        from app.api.ledgers.types import Ledger

        return info.context.load.one(rows.ledgers_by_id, self.row.ledger_id, build=Ledger.of)
