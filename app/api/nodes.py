"""What has an id, and what a refused mutation answers with."""

import strawberry

from app.api.enums import ErrorCode


@strawberry.interface(description="An object with an id that is unique throughout.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="Opaque. Keep it as it is; `node(id:)` finds the object again."
    )


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
