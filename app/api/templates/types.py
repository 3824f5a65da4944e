"""Transaction templates."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import strawberry

from app.api.accounts.types import Account, find_account
from app.api.connections import Connection, listed
from app.api.engine.context import Info
from app.api.enums import Direction, TemplateParameterKind
from app.api.ids import encode_template
from app.api.nodes import OPAQUE, Node, of_row
from app.api.scalars import JSON, Amount, DateTime
from app.store import rows

if TYPE_CHECKING:
    from app.api.ledgers.types import Ledger

T = TypeVar("T")


@strawberry.type(description="What a template wants to be told.")
class TemplateParameter:
    name: str = strawberry.field(description="Its name in expressions and external ids.")
    kind: TemplateParameterKind = strawberry.field(description="What its values are.")
    description: str | None = strawberry.field(description="For people.")
    default: str | None = strawberry.field(
        description="The value if none is given; null if one must be given."
    )
    minimum: Amount | None = strawberry.field(description="The smallest number allowed.")
    maximum: Amount | None = strawberry.field(description="The largest number allowed.")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "TemplateParameter":
        return cls(
            name=stored["name"],
            kind=TemplateParameterKind(stored["kind"]),
            description=stored.get("description"),
            default=stored.get("default"),
            minimum=_amount(stored.get("minimum")),
            maximum=_amount(stored.get("maximum")),
        )


@strawberry.type(description="A name for an expression.")
class TemplateValue:
    name: str = strawberry.field(description="The name.")
    amount: str = strawberry.field(description="The expression.")


@strawberry.type(description="An entry to be; one of the three ways says on which account.")
class TemplateEntry:
    direction: Direction = strawberry.field(description="Its side.")
    amount: str = strawberry.field(description="The expression that its amount comes of.")
    account_external_id: str | None = strawberry.field(
        description="The account's external id, with parameters in braces."
    )
    account_parameter: str | None = strawberry.field(
        description="The parameter that is the account's id."
    )
    metadata: JSON = strawberry.field(description="The metadata of the entry.")
    account_id: strawberry.Private[UUID | None]

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "TemplateEntry":
        account_id = stored.get("account_id")
        return cls(
            direction=Direction(stored["direction"]),
            amount=stored["amount"],
            account_external_id=stored.get("external_id"),
            account_parameter=stored.get("parameter"),
            metadata=JSON(stored.get("metadata", {})),
            account_id=None if account_id is None else UUID(account_id),
        )

    @strawberry.field(description="The account, if it is always the same.")
    def account(self, info: Info) -> Account | None:
        return None if self.account_id is None else find_account(info.context, self.account_id)


@strawberry.type(
    description=(
        "Which entries a business event makes. A version never changes; another definition under"
        " the same code is its next version."
    )
)
class TransactionTemplate(Node):
    row: strawberry.Private[rows.TemplateRow]

    id: strawberry.ID = of_row(lambda row: encode_template(row.template_id, row.version), OPAQUE)
    code: str = of_row("code", "The name to use it by, unique in the ledger.")
    version: int = of_row("version", "1, 2, 3 … of its code.")
    description: str | None = of_row("description", "For people.")
    parameters: list[TemplateParameter] = of_row(
        lambda row: [TemplateParameter.of(one) for one in row.definition["parameters"]],
        "What it wants to be told.",
    )
    values: list[TemplateValue] = of_row(
        lambda row: [TemplateValue(**one) for one in row.definition["values"]],
        "Names for expressions, each for use in those after it and in entries.",
    )
    entries: list[TemplateEntry] = of_row(
        lambda row: [TemplateEntry.of(one) for one in row.definition["entries"]],
        "The entries that it makes.",
    )
    created_at: DateTime = of_row("created_at", "When this version was made.")
    archived_at: DateTime | None = of_row(
        "archived_at", "Since when this version is not to be used; null while it is."
    )

    @classmethod
    def of(cls, row: rows.TemplateRow) -> "TransactionTemplate":
        return cls(row=row)

    @classmethod
    def of_use(cls, row: rows.TemplateUseRow) -> "TransactionTemplate":
        return cls.of(rows.TemplateRow._make(row[:-1]))

    @strawberry.field(description="The ledger it is in.")
    def ledger(self, info: Info) -> Annotated["Ledger", strawberry.lazy("app.api.ledgers.types")]:
        from app.api.ledgers.types import Ledger

        return info.context.load.one(rows.ledgers_by_id, self.row.ledger_id, build=Ledger.of)

    versions = listed(
        Connection[Annotated["TransactionTemplate", strawberry.lazy("app.api.templates.types")]],
        rows.versions_of_template,
        "template_id",
        "All versions of its code, the newest first.",
        order="version",
        descending=True,
    )


def find_template(
    info: Info,
    ledger_id: UUID,
    code: str,
    version: int | None,
    build: Callable[[rows.TemplateRow], T],
) -> Any:
    """Load a version of a template, the newest if none is named; None where there is none."""
    if version is None:
        return info.context.load.one(rows.newest_templates_by_code, ledger_id, code, build=build)
    return info.context.load.one(rows.templates_by_version, ledger_id, code, version, build=build)


def _amount(text: str | None) -> Amount | None:
    return None if text is None else Amount(int(text))
