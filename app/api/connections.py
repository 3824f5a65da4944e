"""Lists by page: Relay connections over keyset cursors.

A cursor is the place of a row in its order, with a digest of that and of the list, the order and
the filter under which it was given out; with any other it is refused rather than misread.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from typing import Annotated, Any, Generic, TypeVar, get_args
from uuid import UUID

import orjson
import strawberry

from app.api.engine.context import Context, Info
from app.api.errors import Code, CodedError
from app.api.nodes import reads
from app.store.reading import Condition, Listing, Page

DEFAULT_PAGE, MAX_PAGE = 50, 100

N = TypeVar("N")
R = TypeVar("R", bound=tuple[Any, ...])


First = Annotated[int | None, strawberry.argument(description="Page size: 0 to 100; else 50.")]
After = Annotated[str | None, strawberry.argument(description="Start behind this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="Page size, from the end: 0 to 100.")]
Before = Annotated[str | None, strawberry.argument(description="End before this cursor.")]


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether rows follow the page.")
    has_previous_page: bool = strawberry.field(
        description="Whether rows come before the page, as far as the request tells."
    )
    start_cursor: str | None = strawberry.field(description="The cursor of the first row.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last row.")


@strawberry.type(description="A row of a page with its cursor.")
class Edge(Generic[N]):
    node: N = strawberry.field(description="The row.")
    cursor: str = strawberry.field(description="Its place in this order and filter; opaque.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[N]):
    nodes: list[N] = strawberry.field(description="The rows alone.")
    has_next_page: strawberry.Private[bool]
    has_previous_page: strawberry.Private[bool]
    cursor_of: strawberry.Private[Callable[[int], str]]

    @strawberry.field(description="The rows with their cursors.")
    def edges(self) -> list[Edge[N]]:
        return [
            Edge(node=node, cursor=self.cursor_of(number)) for number, node in enumerate(self.nodes)
        ]

    @strawberry.field(description="Where the page lies in the list.")
    def page_info(self) -> PageInfo:
        return PageInfo(
            has_next_page=self.has_next_page,
            has_previous_page=self.has_previous_page,
            start_cursor=self.cursor_of(0) if self.nodes else None,
            end_cursor=self.cursor_of(len(self.nodes) - 1) if self.nodes else None,
        )


def connect(
    context: Context,
    listing: Listing[R],
    parent: UUID,
    build: Callable[[R], N],
    *,
    order: str,
    descending: bool = False,
    conditions: Sequence[Condition] = (),
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    shown: Callable[[Connection[N]], Any] = lambda page: page,
) -> Any:
    """Load one page of a parent's list, a Connection or what `shown` makes of it.

    Raises CodedError (BAD_USER_INPUT, INVALID_CURSOR) for arguments that make no page.
    """
    backwards = last is not None or before is not None
    if backwards and (first is not None or after is not None):
        raise CodedError(Code.BAD_USER_INPUT, "Page with first and after, or with last and before.")
    size = _page_size("last" if backwards else "first", last if backwards else first)
    cursor = before if backwards else after
    place = [listing.row.__name__, parent.hex, order, descending, _shown(conditions)]
    page = Page(
        order,
        descending != backwards,
        size + 1,
        None if cursor is None else _decode(cursor, place, listing.key_types(order)),
        tuple(conditions),
    )

    def connection(found: Sequence[R]) -> Any:
        chosen = list(found[:size])
        if backwards:
            chosen.reverse()
        more = len(found) > size
        page = Connection(
            nodes=[build(row) for row in chosen],
            has_next_page=cursor is not None if backwards else more,
            has_previous_page=more if backwards else cursor is not None,
            cursor_of=lambda number: _encode(place, listing.key_of(order, chosen[number])),
        )
        return shown(page)

    return context.load.page(listing, parent, page, connection)


def listed(
    kind: Any,
    listing: Listing[Any],
    parent: str,
    description: str,
    *,
    order: str,
    descending: bool = False,
    from_end: bool = False,
) -> Any:
    """A field of an object with a `row`: all of a list, in one order.

    `kind` is the Connection; `parent` names the column of the row whose list it is. Pages count
    from the start, and where `from_end` is given from the end, too.
    """

    @cache
    def build() -> Callable[[Any], Any]:
        return _node_of(kind).of

    def page(
        self: Any,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Any:
        return connect(
            info.context,
            listing,
            getattr(self.row, parent),
            build(),
            order=order,
            descending=descending,
            first=first,
            after=after,
            last=last,
            before=before,
        )

    def page_from_start(self: Any, info: Info, first: First = None, after: After = None) -> Any:
        return page(self, info, first, after)

    resolver = reads(parent)(page if from_end else page_from_start)
    return strawberry.field(resolver=resolver, graphql_type=kind, description=description)


def _node_of(kind: Any) -> Any:
    """The type of a connection's nodes, of which a lazy reference is followed."""
    (node,) = get_args(kind)
    if isinstance(node, type):
        return node
    name, home = get_args(node)
    return home.resolve_forward_ref(name).resolve_type()


def _page_size(name: str, size: int | None) -> int:
    if size is None:
        return DEFAULT_PAGE
    if not 0 <= size <= MAX_PAGE:
        raise CodedError(
            Code.BAD_USER_INPUT, f"{name} is from 0 to {MAX_PAGE}; it was {size}.", maximum=MAX_PAGE
        )
    return size


def _shown(conditions: Sequence[Condition]) -> list[list[str]]:
    return [[c.field, c.operator, str(c.value)] for c in conditions]


def _digest(place: Sequence[Any], key: Sequence[str]) -> str:
    return blake2b(orjson.dumps([*place, *key]), digest_size=6).hexdigest()


def _encode(place: Sequence[Any], key: Sequence[Any]) -> str:
    texts = [_plain(value) for value in key]
    return (
        base64.urlsafe_b64encode(orjson.dumps([_digest(place, texts), *texts])).decode().rstrip("=")
    )


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _decode(cursor: str, place: Sequence[Any], types: Sequence[type]) -> tuple[Any, ...]:
    try:
        return _parse(cursor, place, types)
    except (ValueError, TypeError):
        raise CodedError(
            Code.INVALID_CURSOR,
            "This is not a cursor of this list, in this order, under this filter.",
        ) from None


def _parse(cursor: str, place: Sequence[Any], types: Sequence[type]) -> tuple[Any, ...]:
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    digest, *texts = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    if digest != _digest(place, texts):
        raise ValueError(digest)
    return tuple(_read(kind, text) for kind, text in zip(types, texts, strict=True))


def _read(kind: type, text: object) -> Any:
    if not isinstance(text, str):
        raise TypeError(text)
    if kind is UUID:
        return UUID(text)
    if kind is datetime:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return moment
    if kind is date:
        return date.fromisoformat(text)
    if kind in (int, Decimal):
        number = int(text)
        if abs(number) >= (2**63 if kind is int else 10**60):
            raise ValueError(text)
        return number
    if "\0" in text:
        raise ValueError(text)
    return text
