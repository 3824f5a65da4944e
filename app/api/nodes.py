"""What has an id and a row, and what a refused mutation answers with."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, get_args

import strawberry

from app.api.enums import ErrorCode
from app.api.scalars import DateTime

F = TypeVar("F", bound=Callable[..., Any])

OPAQUE = "Opaque. Keep it as it is; `node(id:)` finds the object again."


@strawberry.interface(description="An object with an id that is unique throughout.")
class Node:
    id: strawberry.ID = strawberry.field(description=OPAQUE)


def of_row(read: str | Callable[[Any], Any], description: str, name: str | None = None) -> Any:
    """A field that is a column of the object's `row`, or what a function makes of the row.

    Nothing is made of a row before it is asked for, and plans read it without calling a resolver.
    The function names the columns in its own body, where plans look for what it reads.
    """
    take = attrgetter(read) if isinstance(read, str) else read

    def resolve(self: Any) -> Any:
        return take(self.row)

    resolve.of_row = read  # type: ignore[attr-defined]
    columns = (read,) if isinstance(read, str) else read.__code__.co_names
    return strawberry.field(resolver=reads(*columns)(resolve), description=description, name=name)


def reads(*columns: str) -> Callable[[F], F]:
    """Say which columns of `row` a resolver reads; of one that does not say it may be all."""

    def declare(resolver: F) -> F:
        resolver.reads = frozenset(columns)  # type: ignore[attr-defined]
        return resolver

    return declare


def row_of(kind: type) -> type | None:
    """What kind of row objects of this type are made of, if of one."""
    row: type | None = next(iter(get_args(kind.__annotations__.get("row"))), None)
    return row


@strawberry.interface(
    description=(
        "Why a mutation was refused. Nothing has changed, and the idempotency key is free for the"
        " corrected input. Spread `... on UserError` to be safe against members added later."
    )
)
class UserError:
    code: ErrorCode = strawberry.field(description="The reason, stable for programs.")
    message: str = strawberry.field(description="The reason, for people.")
    path: list[str] = strawberry.field(
        description='The input field at fault, such as ["input", "entries", "0", "amount"].'
    )
    retryable: bool = strawberry.field(
        description="Whether the very same input may be accepted later without anybody changing it."
    )


@strawberry.type(
    description=(
        "Why something did not happen by itself when it was due: a hold that was to post, a credit"
        " lot that was to expire. It is tried again until it does."
    )
)
class ScheduledRefusal:
    code: ErrorCode = strawberry.field(description="The rule, as a mutation would name it.")
    message: str = strawberry.field(description="The reason, for people.")
    refused_at: DateTime = strawberry.field(description="When it was last tried.")
    attempts: int = strawberry.field(description="How often it was tried in vain.")
    next_attempt_at: DateTime | None = strawberry.field(
        description=(
            "When it is tried again; null if it is not, as where the hold expires before it would."
        )
    )
