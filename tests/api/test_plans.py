"""Plans against graphql-core: never another answer by the fast road than by the slow one.

Hypothesis draws operations over the schemas, right and subtly wrong, with variables that fit and
that do not, several requests an operation, for reading it costs most; each is answered by an
endpoint that plans and by one that does not, and the two answers are compared byte for byte.
Mutations run on two copies of one database, with ids that are counted instead of drawn, so that the
books can be compared too. Readers fail, and plans give up, at places that are drawn as well.

`--hypothesis-profile=long` (see conftest.py) draws ten times as many, and others each time.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    get_named_type,
    is_leaf_type,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from strawberry.extensions import FieldExtension
from strawberry.permission import BasePermission
from structlog.testing import capture_logs

from app.api.accounts import mutations as account_mutations
from app.api.engine import context as contexts
from app.api.engine.context import Loaders
from app.api.engine.documents import Documents, Limits
from app.api.engine.loading import Load, Loader
from app.api.engine.plans import Plan, Planner, Plans, Run, Unplanned
from app.api.errors import Code, CodedError
from app.api.http.graphql import GraphQLEndpoint
from app.api.ids import encode
from app.api.ledgers import mutations as ledger_mutations
from app.api.nodes import row_of
from app.api.schema import schema
from app.api.transactions import mutations as transaction_mutations
from app.ledger.accounts.state import Mode
from app.logs import log_request
from app.seed import seed
from app.server import Server
from app.settings import Settings
from app.store import rows
from app.store.audit.sealing import seal, unsealed
from app.store.database import Snapshot
from app.store.identity import Permission, create_key, list_organizations
from app.store.reading import Listing, Lookup
from app.store.transactions.writer import Writer
from tests.api import small_schema
from tests.api_client import POST, Api, Json
from tests.conftest import MakeDatabase

SCHEMA = schema._schema  # noqa: SLF001  strawberry offers no other way
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FIRST_ID = UUID("01990000-0000-7000-8000-000000000000").int
LONG = settings().max_examples > 100
MORE = 4
REPEATED = 3
Draw = Any
Answered = tuple[int, str]


def examples(number: int) -> settings:
    """Settings of a differential test: the same examples every time, unless there are many."""
    return settings(
        max_examples=number * 10 if LONG else number,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=not LONG,
        database=None,
    )


class Stopped(datetime):
    """A clock that stands still, so that `asOf` of present balances is the same on both roads."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Stopped":
        del tz
        return cls(NOW.year, NOW.month, NOW.day, NOW.hour, tzinfo=UTC)


# ---- two roads -----------------------------------------------------------------------------------


@dataclass
class Road:
    """An endpoint, and what the next id is that its mutations give."""

    client: httpx.AsyncClient
    ids: Iterator[int]


@dataclass
class Roads:
    """The way with plans and the one without, over one database or over two equal ones."""

    planned: Road
    unplanned: Road
    tokens: Sequence[str]
    faults: "Faults"
    urls: Sequence[str] = ()
    ids: dict[str, list[str]] = field(default_factory=dict)
    taken: Counter[str | None] = field(default_factory=Counter)

    async def both(self, asked: "Asked") -> tuple[Any, Any]:
        with capture_logs() as logs:
            planned = await self._ask(self.planned, asked)
            road = next(line["road"] for line in logs if line["event"] == "request")
        self.taken[road] += 1
        with pytest.MonkeyPatch.context() as unplanned_only, capture_logs():
            unplanned_only.setattr(Plans, "coerce", lambda *_: None)
            return planned, await self._ask(self.unplanned, asked)

    async def _ask(self, road: Road, asked: "Asked") -> Any:
        self.faults.begin(road, asked)
        response = await road.client.post(
            "/graphql",
            json={"query": asked.query, "variables": asked.variables, **asked.more},
            headers={
                "Authorization": f"Bearer {self.tokens[asked.key]}",
                "X-Request-Id": "the-same",
                "Accept": "application/graphql-response+json",
            },
        )
        writes = self.faults.writes
        self.faults.end()
        return response.status_code, response.text, writes

    def books(self) -> Sequence[Sequence[str]]:
        """All rows of both databases but for when they were written."""
        return [_rows(url) for url in self.urls]


@dataclass(frozen=True)
class Asked:
    """A request, and what goes wrong: a reader or the writer, and where a plan gives up."""

    query: str
    variables: Json
    key: int = 0
    fault: tuple[str, str] | None = None
    give_up: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


READERS = {
    reader: name for name, reader in vars(rows).items() if isinstance(reader, Lookup | Listing)
}
PLACES = [*READERS.values(), "past_balances", "trial_balance", "balance_history"]
WRONG: Mapping[str, Any] = {
    "null": None,
    "text": "text",
    "number": 7,
    "empty": [],
    "tuple": (),
    "returned": ValueError("returned"),
}
KINDS = ["raise", "coded", "abort", "missing", "spoilt", *WRONG]
SPOILT = {
    "name": 7,
    "amount": ValueError("kept"),
    "metadata": ValueError("kept"),
    "currency": None,
    "status": "open",
    "direction": "nowhere",
    "version": None,
    "sequence": True,
    "account_id": 7,
    "recorded_at": None,
    "effect": "none",
    "nodes": (),
    "description": 1.5,
    "created_at": "yesterday",
}
"""Attributes of what is read that take another type than declared."""


class Faults:
    """What goes wrong in the requests that are under way, in the same places on both roads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = Asked("", {})
        self.writes = 0
        self.completions = 0
        self.numbers: Iterator[int] = count()
        for module in (account_mutations, ledger_mutations, transaction_mutations):
            monkeypatch.setattr(module, "uuid7", self.next_id)
        monkeypatch.setattr(contexts, "datetime", Stopped)
        self._fail_readers(monkeypatch)
        self._fail_writer(monkeypatch)
        complete = Run._complete  # noqa: SLF001  where plans come by, level by level

        def completing(run: Run, *arguments: Any) -> None:
            if self.asked.give_up == self.completions:
                raise Unplanned
            self.completions += 1
            complete(run, *arguments)

        monkeypatch.setattr(Run, "_complete", completing)

    def next_id(self) -> UUID:
        return UUID(int=FIRST_ID + next(self.numbers))

    def begin(self, road: Road, asked: Asked) -> None:
        self.asked, self.numbers = asked, road.ids
        self.writes = self.completions = 0

    def end(self) -> None:
        self.asked = Asked("", {})

    def _fail_readers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make = Loaders._made  # noqa: SLF001  where every reader comes by

        def made(loaders: Loaders, name: Any, fetch: Any) -> Loader[Any, Any]:
            place, kind = self.asked.fault or (None, "")
            if place not in (READERS.get(name, name), "all"):
                return make(loaders, name, fetch)
            loader = Loader[Any, Any](lambda keys: failing(loaders, kind, fetch, keys))
            kept: dict[Any, Any] = loaders._loaders  # noqa: SLF001  as above
            return kept.setdefault(name, Failing(loader, kind))  # type: ignore[no-any-return]

        async def failing(loaders: Loaders, kind: str, fetch: Any, keys: Any) -> Any:
            if kind == "raise":
                raise RuntimeError("injected")
            if kind == "coded":
                raise CodedError(Code.FORBIDDEN, "Injected.", detail=1)
            if kind == "abort":
                statement = "SELECT 1 / 0 WHERE %(organization)s::uuid IS NOT NULL"
                await loaders.snapshot.rows(statement, {})
            if kind == "missing":
                return [()] * len(keys)
            return await fetch(keys)

        monkeypatch.setattr(Loaders, "_made", made)
        prepare = Load.__init__

        def prepared(load: Load[Any], loader: Any, key: Any, build: Any) -> None:
            if isinstance(loader, Failing):
                build = loader.building(build, key)
                loader = loader.loader
            prepare(load, loader, key, build)

        monkeypatch.setattr(Load, "__init__", prepared)

    def _fail_writer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write = Writer.write

        async def writing(writer: Writer, command: Any) -> Any:
            self.writes += 1
            place, kind = self.asked.fault or (None, "")
            if place == "writer" and kind == "coded":
                raise CodedError(Code.FORBIDDEN, "Injected.")
            decision = await write(writer, command)
            if place == "writer":
                raise RuntimeError("injected")
            return decision

        monkeypatch.setattr(Writer, "write", writing)


@dataclass
class Failing:
    """A loader whose loads build something else than they should."""

    loader: Loader[Any, Any]
    kind: str

    def building(self, build: Any, key: Any) -> Any:
        if self.kind in WRONG:
            return lambda _: WRONG[self.kind]
        if self.kind != "spoilt":
            return build

        def spoiling(found: Any) -> Any:
            built = build(found)
            items = built if isinstance(built, list) else [built, *_nodes(built)]
            for number, item in enumerate(items, sum(map(ord, str(key)))):
                name = _chosen(item, number)
                if name in vars(item):
                    setattr(item, name, SPOILT[name])
                elif name in _columns(item):  # or else a plan does not even read it
                    item.row = item.row._replace(**{name: SPOILT[name]})
            return built

        return spoiling


def _chosen(item: Any, number: int) -> str:
    """One attribute of every object in two, the same one on both roads; of the others none."""
    row = row_of(type(item))
    columns = vars(row) if row else ()
    names = [name for name in SPOILT if name in columns or name in vars(item)]
    return names[number // 2 % len(names)] if names and number % 2 == 0 else ""


def _nodes(item: Any) -> Sequence[Any]:
    return getattr(item, "nodes", ())


def _columns(item: Any) -> Sequence[str]:
    return item.row._fields if hasattr(item, "row") else ()


def _rows(url: str) -> Sequence[str]:
    found = []
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f'SELECT to_jsonb(t)::text FROM "{table}" t'):
                moments = r"20\d\d-\d\d-\d\d[T ][0-9:.]+(Z|\+00(:00)?)"
                found.append(f"{table} {re.sub(moments, 'TIME', row)}")
    return sorted(found)


def timeless(answer: tuple[int, str, int]) -> tuple[int, str, int]:
    """Without the times of new rows, and cursors, which hold them."""
    status, text, writes = answer
    text = re.sub(r"20\d\d-\d\d-\d\dT[0-9:.]+Z", "TIME", text)
    return status, re.sub(r'"WyI[\w-]+"', '"CURSOR"', text), writes


@asynccontextmanager
async def seeded(url: str) -> AsyncIterator[tuple[Server, Sequence[str]]]:
    """A server with demo data, and keys: all-powerful, one that reads, and one of a ledger only."""
    server = Server(Settings(due_work=False), url)
    async with server.running():
        demo = await seed(server.database, server.writer)
        async with server.database.writing() as connection:
            (organization,) = await list_organizations(connection)
            found = await connection.execute("SELECT ledger_id FROM ledgers")
            ledger_ids = [row[0] for row in await found.fetchall()]
            tokens = [demo.token]
            for permissions, only in [([Permission.READ], []), (list(Permission), ledger_ids)]:
                _, token = await create_key(
                    connection,
                    organization.organization_id,
                    name="another",
                    mode=Mode.TEST,
                    permissions=permissions,
                    ledger_ids=only,
                )
                tokens.append(token)
        async with await server.database.connect() as sealing:
            for ledger in await unsealed(sealing):
                await seal(sealing, *ledger)
        yield server, tokens


def road_to(server: Server, stack: AsyncExitStack) -> Road:
    application = server.application()
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="http://ledgers.test", timeout=60
    )
    stack.push_async_callback(client.aclose)
    return Road(client, count())


async def with_ids(roads: Roads) -> Roads:
    response = await roads.unplanned.client.post(
        "/graphql",
        json={
            "query": "{ ledgers { nodes { id accounts { nodes { id entries(first: 2)"
            " { nodes { id } } } } transactions(first: 5) { nodes { id } } } } }"
        },
        headers={"Authorization": f"Bearer {roads.tokens[0]}"},
    )
    for prefix in ("ldgr", "acct", "txn", "ent"):
        roads.ids[prefix] = sorted(set(re.findall(rf'"({prefix}_[0-9a-f_]+)"', response.text)))
    return roads


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """For Hypothesis, whose tests are not coroutines."""
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture
def roads(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner
) -> Iterator[Roads]:
    """Two roads to one database."""

    async def open_roads() -> Roads:
        server, tokens = await stack.enter_async_context(seeded(make_database(None)))
        planned = road_to(server, stack)
        unplanned = Road(planned.client, count())  # which documents are read once for both
        return await with_ids(Roads(planned, unplanned, tokens, Faults(monkeypatch)))

    stack = AsyncExitStack()
    yield runner.run(open_roads())
    runner.run(stack.aclose())


@pytest.fixture
def parted_roads(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, runner: asyncio.Runner
) -> Iterator[Roads]:
    """Two roads, each to a database of its own; both hold the same."""

    async def open_roads() -> Roads:
        source = make_database(None)
        async with seeded(source) as (_, tokens):
            pass
        urls = [make_database(source) for _ in range(2)]
        found: list[Road] = []
        for url in urls:
            server = Server(Settings(due_work=False), url)
            await stack.enter_async_context(server.running())
            found.append(road_to(server, stack))
        planned, unplanned = found
        return await with_ids(Roads(planned, unplanned, tokens, Faults(monkeypatch), urls))

    stack = AsyncExitStack()
    yield runner.run(open_roads())
    runner.run(stack.aclose())


# ---- operations at random ------------------------------------------------------------------------


@dataclass
class Writing:
    """A document being drawn: its variables so far, with their values, and its fragments."""

    draw: Draw
    schema: GraphQLSchema
    samples: Mapping[str, Sequence[Any]]
    declared: dict[str, str] = field(default_factory=dict)
    values: Json = field(default_factory=dict)
    others: dict[str, Callable[[], Any]] = field(default_factory=dict)
    fragments: dict[str, tuple[str, str]] = field(default_factory=dict)
    careful: bool = False
    aliases: int = 0
    left_out: frozenset[str] = frozenset({"stuck"})

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(1, 100)) <= percent)

    def pick(self, options: Iterable[Any]) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def selection(self, type_: GraphQLNamedType, depth: int) -> str:
        parts = []
        if isinstance(type_, GraphQLUnionType | GraphQLInterfaceType):
            parts += ["__typename", *self.members(type_, depth)]
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            parts += self.fields(type_, depth)
        parts = [part for part in parts if part]
        return " ".join(self.draw(st.permutations(parts))) or "__typename"

    def members(self, type_: GraphQLUnionType | GraphQLInterfaceType, depth: int) -> Iterator[str]:
        for member in self.schema.get_possible_types(type_):
            if self.chance(85 if member.name.endswith("Success") else 35):
                inner = self.selection(member, depth)
                yield f"... on {member.name}{self.directive()} {{ {inner} }}"
        shared = self.schema.get_type("UserError") or self.schema.get_type("Failure")
        if isinstance(type_, GraphQLUnionType) and shared is not None and self.chance(50):
            yield f"... on {shared.name} {{ {self.selection(shared, 0)} }}"

    def fields(self, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> Iterator[str]:
        names = [name for name in type_.fields if name not in self.left_out]
        lists = st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=self.chance(80))
        for name in self.draw(lists):
            yield self.field(name, type_.fields[name], depth)
        if self.chance(15):
            yield "__typename"
        if self.chance(10):
            condition = f" on {type_.name}" if self.chance(50) else ""
            inner = self.field(names[0], type_.fields[names[0]], depth) or "__typename"
            yield f"...{condition}{self.directive()} {{ {inner} }}"
        if self.chance(10):
            yield self.fragment(type_, depth)

    def fragment(self, type_: GraphQLNamedType, depth: int) -> str:
        known = [name for name, (on, _) in self.fragments.items() if on == type_.name]
        if known and self.chance(50):
            return f"...{self.pick(known)}"
        inner = self.selection(type_, max(0, depth - 1))
        name = f"F{len(self.fragments)}"
        self.fragments[name] = (type_.name, inner)
        return f"...{name}{self.directive()}"

    def field(self, name: str, field_: GraphQLField, depth: int) -> str:
        named = get_named_type(field_.type)
        composite = not is_leaf_type(named)
        if composite and depth == 0:
            return ""
        arguments = []
        for argument, declared in field_.args.items():
            required = isinstance(declared.type, GraphQLNonNull)
            if self.chance((100 if self.careful else 97) if required else 25):
                arguments.append(f"{argument}: {self.value(declared.type)}")
        shown = f"({', '.join(arguments)})" if arguments else ""
        alias = self.alias(needed=bool(arguments))
        inner = f" {{ {self.selection(named, depth - 1)} }}" if composite else ""
        written = f"{alias}{name}{shown}{self.directive()}{inner}"
        if composite and self.chance(8):  # again, to be merged
            written += f" {alias}{name}{shown} {{ {self.selection(named, depth - 1)} }}"
        return written

    def alias(self, *, needed: bool) -> str:
        """One of its own where care is taken that fields can be merged, else one of three."""
        if self.chance(50 if needed and self.careful else 8):
            self.aliases += 1
            return (
                f"{self.pick('xyz')}{self.aliases}: " if self.careful else f"{self.pick('abc')}: "
            )
        return ""

    def directive(self) -> str:
        if not self.chance(8):
            return ""
        condition = self.pick(["true", "false", "$flag", "$flag", "$sign"])
        if condition == "$flag":
            wrong = [] if self.careful else [None, "yes", 1]
            self.declare("flag", "Boolean!", lambda: self.pick([True, False, True, False, *wrong]))
        elif condition == "$sign":
            declared = self.pick(["Boolean = true", "Boolean! = false"])
            given = [True, False, Undefined, Undefined, True, None]
            self.declare("sign", declared, lambda: self.pick(given))
        return f" @{self.pick(['skip', 'include'])}(if: {condition})"

    def declare(self, name: str, type_: str, draw_value: Callable[[], Any]) -> None:
        if name not in self.declared:
            self.declared[name] = type_
            self.others[name] = draw_value
            self.give(name)

    def give(self, name: str) -> None:
        self.values.pop(name, None)
        value = self.others[name]()
        if value is not Undefined:
            self.values[name] = value

    def requests(self, asked: "Asked", more: int) -> list["Asked"]:
        """This one, and some of the same operation with other values in its variables."""
        requests = [replace(asked, variables=dict(self.values))]
        for _ in range(more if self.declared else 0):
            self.give(self.pick(self.declared))
            requests.append(replace(asked, variables=dict(self.values)))
        return requests

    def value(self, type_: GraphQLInputType) -> str:
        fitting = {str(type_), f"{type_}!"}
        known = [name for name, kind in self.declared.items() if kind.split(" =")[0] in fitting]
        if known and self.chance(15):
            return f"${self.pick(known)}"
        if not self.chance(40):
            return self.literal(self.raw(type_), type_)
        name = f"v{len(self.declared)}"
        declared = str(type_)
        if isinstance(type_, GraphQLNonNull) and self.chance(15):
            declared = str(type_.of_type) + " = " + self.literal(self.raw(type_), type_)
        elif self.chance(20):
            declared += " = " + self.literal(self.raw(type_), type_)
        wrong = [] if self.careful and isinstance(type_, GraphQLNonNull) else [Undefined, None]
        self.declare(name, declared, lambda: self.pick([self.raw(type_)] * 6 + wrong))
        return f"${name}"

    def raw(self, type_: GraphQLInputType) -> Any:
        """A value, mostly fit for the type."""
        if isinstance(type_, GraphQLNonNull):
            return self.raw(type_.of_type)
        if not self.careful and self.chance(4):
            return self.pick([None, 7, "seven", True, [], {}, 1.5, [[]], [None]])
        if isinstance(type_, GraphQLList):
            items = [self.raw(type_.of_type) for _ in range(self.draw(st.integers(0, 2)))]
            return items[0] if len(items) == 1 and self.chance(30) else items
        if isinstance(type_, GraphQLEnumType):
            return self.pick(type_.values)
        if isinstance(type_, GraphQLInputObjectType):
            return {
                name: self.raw(part.type)
                for name, part in type_.fields.items()
                if self.chance(95 if isinstance(part.type, GraphQLNonNull) else 25)
            }
        known = self.samples[get_named_type(type_).name]
        return self.pick(known[: (len(known) + 1) // 2] if self.careful else known)

    def literal(self, raw: Any, type_: GraphQLInputType) -> str:  # noqa: PLR0911
        if isinstance(type_, GraphQLNonNull):
            return self.literal(raw, type_.of_type)
        if raw is None:
            return "null"
        if isinstance(raw, bool):
            return str(raw).lower()
        if isinstance(raw, list):
            item = type_.of_type if isinstance(type_, GraphQLList) else type_
            return "[" + ", ".join(self.part(element, item) for element in raw) + "]"
        if isinstance(raw, dict):
            parts = type_.fields if isinstance(type_, GraphQLInputObjectType) else {}
            shown = []
            for name, value in raw.items():
                inner = parts[name].type if name in parts else type_
                shown.append(f"{name}: {self.part(value, inner)}")
            return "{" + ", ".join(shown) + "}"
        if isinstance(get_named_type(type_), GraphQLEnumType) and isinstance(raw, str):
            return raw
        return f'"{raw}"' if isinstance(raw, str) else str(raw)

    def part(self, raw: Any, type_: GraphQLInputType) -> str:
        """What stands in an object or a list: mostly this value, or else any, or a variable."""
        return self.value(type_) if self.chance(10) else self.literal(raw, type_)

    def document(self, operation: str, body: str) -> str:
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.declared.items())
        fragments = (
            f" fragment {name} on {on} {{ {inner} }}"
            for name, (on, inner) in self.fragments.items()
        )
        shown = f"({declared})" if declared else ""
        return f"{operation} Q{shown} {{ {body} }}" + "".join(fragments)


def samples(ids: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[Any]]:
    everything = [identity for known in ids.values() for identity in known[:6]]
    return {
        "ID": [*everything, *everything, "acct_0", "", 5, 5.0],
        "Int": [1, 2, 3, 0, 100, 101, -1, 2.0, 2**31],
        "String": ["seller:1", "order:1", "platform:cash", "USD", "Europe/Paris", "nothing"],
        "Boolean": [True, False],
        "Amount": ["0", "1500", "-3", "10000000", "1.5", "01", 5],
        "Sequence": ["0", "1", "12", "-1", 3],
        "DateTime": [
            "2026-11-01T00:00:00Z",
            "2026-11-20T12:00:00+02:00",
            "2026-11-20",
            "2026-02-30T00:00:00Z",
        ],
        "Date": ["2026-11-01", "2026-02-30", "2026-11-01T00:00:00Z"],
        "JSON": [{}, {"kind": "seller"}, {"a": [1, "x", None]}, []],
    }


@st.composite
def queries(draw: Draw, ids: Mapping[str, Sequence[str]], faulty: bool = False) -> list[Asked]:
    writing = Writing(draw, SCHEMA, samples(ids), careful=faulty or draw(st.booleans()))
    root = SCHEMA.query_type
    assert root is not None
    body = writing.selection(root, draw(st.integers(2 if faulty else 1, 6)))
    query = writing.document("query", body)
    asked = Asked(query, {}, draw(st.integers(0, 2)))
    if not faulty:
        return writing.requests(asked, MORE)
    return [
        replace(
            request,
            fault=(writing.pick(["all", "all", *PLACES]), writing.pick(KINDS)),
            give_up=writing.pick([None] * 9 + [1]),
        )
        for _ in range(MORE)
        for request in writing.requests(asked, 0)
    ]


ORDINARY = (
    *("postTransactions", "createLedger", "updateLedger", "archiveLedger"),
    *("createAccount", "createAccounts", "updateAccount"),
    *("freezeAccount", "unfreezeAccount", "closeAccount", "reverseTransaction", "transfer"),
)
"""Mutations that `drawn_input` mostly gets right, and some that are refused as a rule."""


@st.composite
def mutations(draw: Draw, ids: Mapping[str, Sequence[str]]) -> list[Asked]:
    """Mutations of every kind, most of them right, on what is there or was made before.

    Each is sent again, which is mostly a replay, or too late.
    """
    writing = Writing(draw, SCHEMA, samples(ids), careful=draw(st.integers(1, 100)) <= 80)
    root = SCHEMA.mutation_type
    assert root is not None
    posting = ["postTransaction"] * 5 + ["settleTransaction", "voidTransaction"] * 3
    fields = []
    for number in range(draw(st.integers(1, 3))):
        name = writing.pick([*posting, *(ORDINARY if writing.chance(85) else root.fields)])
        kind = root.fields[name].args["input"].type
        raw = drawn_input(writing, name, ids) if writing.chance(90) else writing.raw(kind)
        if writing.chance(50):
            writing.declare(f"input{number}", str(kind), partial(lambda value: value, raw))
            shown = f"$input{number}"
        else:
            shown = writing.literal(raw, kind)
        union = get_named_type(root.fields[name].type)
        inner = writing.selection(union, draw(st.integers(1, 4)))
        fields.append(f"m{number}: {name}(input: {shown}){writing.directive()} {{ {inner} }}")
    document = writing.document("mutation", " ".join(fields))
    requests = []
    for _ in range(REPEATED):
        fault = give_up = None
        if writing.chance(30):
            fault = (writing.pick(["all", "writer", writing.pick(PLACES)]), writing.pick(KINDS))
        if writing.chance(40):
            give_up = draw(st.integers(0, 4))
        key = writing.pick([0] * 8 + [1, 2])
        requests.append(Asked(document, dict(writing.values), key, fault, give_up))
    return requests


def drawn_input(writing: Writing, name: str, ids: Mapping[str, Sequence[str]]) -> Json:
    """An input that is mostly accepted, for a mutation of that name."""

    def made(prefix: str) -> str:
        return encode(prefix, UUID(int=FIRST_ID + writing.draw(st.integers(0, 60))))

    def posting() -> Json:
        wrong = [] if writing.careful else ["0", "x", 5]
        amount = writing.pick(["5", "5", "17", "70000000", *wrong])
        raw: Json = {
            "ledgerId": ids["ldgr"][0],
            "idempotencyKey": writing.pick([*map(str, range(40)), "order:1", ""]),
            "entries": [
                {"accountId": account, "direction": side, "amount": amount}
                for account, side in zip(accounts(), ("DEBIT", "CREDIT"), strict=True)
            ],
        }
        options: Mapping[str, Sequence[Any]] = {
            "metadata": [{"a": 1}, {"a": {"b": [1.5]}}, None],
            "status": ["PENDING", "PENDING", "POSTED" if writing.careful else "VOIDED"],
            "dryRun": [True, False],
            "effectiveAt": ["2026-11-01T00:00:00Z"],
        }
        for option, values in options.items():
            if writing.chance(30):
                raw[option] = writing.pick(values)
        return raw

    def accounts() -> Sequence[str]:
        return [writing.pick(ids["acct"][:6]) for _ in range(2)]

    account: Json = {
        "ledgerId": writing.pick([ids["ldgr"][0], made("ldgr")]),
        "name": "New",
        "normalBalance": "CREDIT",
        "currency": "USD",
    }
    change: Json = {
        "transactionId": writing.pick([made("txn")] * 3 + [ids["txn"][0]]),
        "idempotencyKey": str(writing.draw(st.integers(0, 99))),
    }
    batch: Json = {"mode": writing.pick(["ATOMIC", "INDEPENDENT"])}
    if name == "postTransactions":
        batch["transactions"] = [posting() for _ in range(writing.draw(st.integers(1, 2)))]
    labels = {option: "new" for option in ("name", "description") if writing.chance(50)}
    target = writing.pick([made("acct"), *accounts()])
    inputs: Mapping[str, Json] = {
        "postTransactions": batch,
        "settleTransaction": change,
        "voidTransaction": change,
        "createLedger": {"name": writing.pick(["New", ""])},
        "updateLedger": {"ledgerId": ids["ldgr"][0], **labels},
        "archiveLedger": {"ledgerId": made("ldgr")},
        "createAccount": account,
        "createAccounts": {"accounts": [account, account]},
        "updateAccount": {"accountId": target, **labels},
    }
    return posting() if name == "postTransaction" else inputs.get(name, {"accountId": target})


def test_queries(roads: Roads, runner: asyncio.Runner) -> None:
    """Whatever is queried, the endpoint that plans answers as the one that does not."""

    @examples(300)
    @given(queries(roads.ids))
    def compare(requests: list[Asked]) -> None:
        for asked in requests:
            planned, unplanned = runner.run(roads.both(asked))
            assert planned == unplanned, asked

    compare()
    # The comparison is worth something only where plans did answer, and some did decline.
    assert roads.taken.total() > 700
    assert roads.taken["plan"] > 100
    assert roads.taken["declined"] > 4


def test_queries_with_faults(roads: Roads, runner: asyncio.Runner) -> None:
    """Readers that fail, or find what they should not, are told of alike on both roads."""

    @examples(250)
    @given(queries(roads.ids, faulty=True))
    def compare(requests: list[Asked]) -> None:
        for asked in requests:
            planned, unplanned = runner.run(roads.both(asked))
            assert planned == unplanned, asked

    compare()
    assert roads.taken.total() >= 1000
    assert roads.taken["plan"] > 100
    assert roads.taken["declined"] > 100


def test_mutations(parted_roads: Roads, runner: asyncio.Runner) -> None:
    """Mutations answer alike and leave equal books, wherever readers fail or plans give up."""
    roads = parted_roads

    @settings(examples(200), phases=[Phase.generate])
    @given(mutations(roads.ids))
    def compare(requests: list[Asked]) -> None:
        for asked in requests:
            planned, unplanned = runner.run(roads.both(asked))
            assert timeless(planned) == timeless(unplanned), asked

    compare()
    assert roads.taken.total() >= 600
    assert roads.taken["plan"] > 100
    assert roads.taken["declined"] > 25
    planned_books, unplanned_books = roads.books()
    assert len(planned_books) > 100
    assert planned_books == unplanned_books


# ---- the small schema, which has what ours has not -----------------------------------------------

SMALL = small_schema.GRAPHQL_SCHEMA
SMALL_SAMPLES: Mapping[str, Sequence[Any]] = {
    "ID": ["a0", "a1", "a7", "nobody", 5],
    "Int": [1, 2, 0, 3, 1.0, 2**31],
    "String": ["text", "another", "", "ä"],
    "Boolean": [True, False],
    "Amount": ["0", "15", "-3", "x", 5],
}


def endpoint(
    graphql_schema: Any,
    planner: Planner | None,
    opened: small_schema.Contexts | None = None,
    execution_seconds: float = 30.0,
    limits: Limits = small_schema.LIMITS,
) -> GraphQLEndpoint:
    return GraphQLEndpoint(
        Documents(graphql_schema, limits, planner),
        authenticate=small_schema.authenticate,
        open_context=(opened or small_schema.Contexts()).open,
        log_request=log_request,
        max_body_bytes=100_000,
        execution_seconds=execution_seconds,
    )


async def post(served: GraphQLEndpoint, asked: Asked) -> tuple[Answered, str | None]:
    """The answer of an endpoint of the small kind, and by which road it came."""
    transport = httpx.ASGITransport(served)
    with capture_logs() as logs:
        async with httpx.AsyncClient(transport=transport, base_url="http://small.test") as client:
            response = await client.post(
                "/",
                json={"query": asked.query, "variables": asked.variables, **asked.more},
                headers={"Authorization": small_schema.KEY, "X-Request-Id": "the-same"},
            )
    (road,) = (line["road"] for line in logs if line["event"] == "request")
    return (response.status_code, response.text), road


@st.composite
def small_operations(draw: Draw) -> list[Asked]:
    writing = Writing(draw, SMALL, SMALL_SAMPLES, careful=draw(st.booleans()))
    operation = writing.pick(["query", "query", "mutation"])
    root = SMALL.query_type if operation == "query" else SMALL.mutation_type
    assert root is not None
    body = writing.selection(root, draw(st.integers(1, 5)))
    return writing.requests(Asked(writing.document(operation, body), {}), MORE)


def test_small_schema(runner: asyncio.Runner) -> None:
    """Coroutines, futures, inputs of one field and resolvers that fail: alike on both roads."""
    planner = Planner(SMALL, small_schema.SCHEMA.config.name_converter)
    planned, unplanned = endpoint(SMALL, planner), endpoint(SMALL, None)
    taken: Counter[str | None] = Counter()

    @examples(300)
    @given(small_operations())
    def compare(requests: list[Asked]) -> None:
        for asked in requests:
            answer, road = runner.run(post(planned, asked))
            taken[road] += 1
            assert answer == runner.run(post(unplanned, asked))[0], asked

    compare()
    assert taken.total() > 1000
    assert taken["plan"] > 100
    assert taken["declined"] > 100


# ---- suspicions ----------------------------------------------------------------------------------

SUSPICIONS: Mapping[str, tuple[str, Json]] = {
    "id as an integer": ("query ($id: ID!) { account(id: $id) { id } }", {"id": 5}),
    "id as a float": ("query ($id: ID!) { account(id: $id) { id } }", {"id": 5.0}),
    "integer as a float": ("query ($n: Int) { ledgers(first: $n) { nodes { name } } }", {"n": 1.0}),
    "integer as a boolean": (
        "query ($n: Int) { ledgers(first: $n) { nodes { name } } }",
        {"n": True},
    ),
    "integer as a string": (
        "query ($n: Int) { ledgers(first: $n) { nodes { name } } }",
        {"n": "1"},
    ),
    "integer past 32 bits": (
        "query ($n: Int) { ledgers(first: $n) { nodes { name } } }",
        {"n": 2**31},
    ),
    "string as a number": (
        "query ($s: [String!]) { ledgers(filter: {name: $s}) { nodes { name } } }",
        {"s": [1]},
    ),
    "boolean as a string": (
        "query ($b: Boolean) { ledgers(filter: {archived: $b}) { nodes { name } } }",
        {"b": "true"},
    ),
    "boolean as a number": (
        "query ($b: Boolean) { ledgers(filter: {archived: $b}) { nodes { name } } }",
        {"b": 1},
    ),
    "one value for a list": (
        "query ($s: [String!]) { ledgers(filter: {name: $s}) { nodes { name } } }",
        {"s": "Marketplace"},
    ),
    "variable in a list": (
        'query ($a: ID!, $b: ID = "x") { nodes(ids: [$a, $b, $a]) { id } }',
        {"a": "acct_0"},
    ),
    "null in a list": (
        'query ($a: ID = "x") { nodes(ids: [$a]) { id } }',
        {"a": None},
    ),
    "the same id twice": ("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["x", "x"]}),
    "null for a default": (
        "query ($n: Int = 1) { ledgers(first: $n) { nodes { name } } }",
        {"n": None},
    ),
    "absent for a default": ("query ($n: Int = 1) { ledgers(first: $n) { nodes { name } } }", {}),
    "null default": ("query ($n: Int = null) { ledgers(first: $n) { nodes { name } } }", {}),
    "null for what has a default in an input": (
        (
            "query ($d: OrderDirection! = DESC) { ledgers { nodes { accounts(first: 2, orderBy:"
            " {field: NAME, direction: $d}) { nodes { name } } } } }"
        ),
        {"d": None},
    ),
    "absent field of an input": (
        (
            "query ($f: AccountOrder) { ledgers { nodes { accounts(first: 2, orderBy: $f)"
            " { nodes { name } } } } }"
        ),
        {"f": {"field": "NAME"}},
    ),
    "null field of an input": (
        (
            "query ($f: AccountOrder) { ledgers { nodes { accounts(first: 2, orderBy: $f)"
            " { nodes { name } } } } }"
        ),
        {"f": {"field": None}},
    ),
    "unknown field of an input": (
        (
            "query ($f: AccountOrder) { ledgers { nodes { accounts(first: 2, orderBy: $f)"
            " { nodes { name } } } } }"
        ),
        {"f": {"felid": "NAME"}},
    ),
    "list for an input": (
        (
            "query ($f: AccountOrder) { ledgers { nodes { accounts(first: 2, orderBy: $f)"
            " { nodes { name } } } } }"
        ),
        {"f": [{"field": "NAME"}]},
    ),
    "enum as a list": (
        (
            "query ($d: Direction) { ledgers { nodes { accounts(first: 2, filter:"
            " {normalBalance: $d}) { nodes { name } } } } }"
        ),
        {"d": ["DEBIT"]},
    ),
    "enum by its word in the store": (
        (
            "query ($d: Direction) { ledgers { nodes { accounts(first: 2, filter:"
            " {normalBalance: $d}) { nodes { name } } } } }"
        ),
        {"d": "debit"},
    ),
    "enum literal as a string": (
        '{ ledgers { nodes { accounts(filter: {normalBalance: "DEBIT"}) { nodes { name } } } } }',
        {},
    ),
    "variable in JSON": (
        (
            "query ($v: String) { ledgers { nodes { accounts(first: 2, filter: {metadata:"
            " {kind: $v}}) { nodes { name metadata } } } } }"
        ),
        {"v": "seller"},
    ),
    "variable for JSON": (
        "query ($v: JSON) { ledgers(filter: {metadata: $v}) { nodes { metadata } } }",
        {"v": {"a": {"b": [None, 1.5]}}},
    ),
    "directive without its variable": (
        "query ($b: Boolean!) { viewer { mode @skip(if: $b) } }",
        {},
    ),
    "directive with null": (
        "query ($b: Boolean = true) { viewer { mode @include(if: $b) } }",
        {"b": None},
    ),
    "directive with a string": (
        "query ($b: Boolean!) { viewer { mode @include(if: $b) } }",
        {"b": "no"},
    ),
    "variable in a directive and an argument": (
        (
            "query ($b: Boolean!) { viewer { mode @skip(if: $b) } ledgers(filter: {archived: $b})"
            " { nodes { name } } }"
        ),
        {"b": False},
    ),
    "nothing selected": ("{ viewer @skip(if: true) { mode } }", {}),
    "undeclared values": ("{ viewer { mode } }", {"n": {"a": 1}}),
    "price refused": (
        (
            "query ($n: Int) { ledgers(first: $n) { nodes { accounts(first: $n) { nodes"
            " { entries(first: $n) { nodes { id } } } } } } }"
        ),
        {"n": 100},
    ),
    "page refused": ("query ($n: Int) { ledgers(first: $n) { nodes { name } } }", {"n": -1}),
    "merged fields": (
        (
            "{ viewer { mode } ...F viewer { ...on Viewer { keyName mode } } }"
            " fragment F on Query { ledgers { pageInfo { endCursor } } viewer { scopes } }"
        ),
        {},
    ),
    "interface and its members": (
        (
            "query ($ids: [ID!]!) { nodes(ids: $ids) { ...on Node { id } ...on Entry { account {"
            " name } } __typename ...on Account { name } id } }"
        ),
        {"ids": ["acct_0"]},
    ),
}


def test_suspicions(roads: Roads, runner: asyncio.Runner) -> None:
    """What values may be mistaken for is mistaken on neither road."""
    for name, (query, variables) in SUSPICIONS.items():
        for ids in (["acct_0"], roads.ids["acct"][:2]):
            known = {key: ids for key in variables if key == "ids"}
            planned, unplanned = runner.run(roads.both(Asked(query, {**variables, **known})))
            assert (name, planned) == (name, unplanned)


async def test_operation_names() -> None:
    """Of many operations each has its own plans, and its own variables."""
    planner = Planner(SMALL, small_schema.SCHEMA.config.name_converter)
    served, plain = endpoint(SMALL, planner), endpoint(SMALL, None)
    query = (
        "query A($x: Boolean!) { hello @include(if: $x) ...F } query B { later ...G }"
        " fragment F on Query { caller @skip(if: $x) } fragment G on Query { caller }"
    )
    for name in ("A", "B", "C", None):
        for variables in ({"x": True}, {"x": False}, {}):
            asked = Asked(query, variables, more={"operationName": name})
            assert (await post(served, asked))[0] == (await post(plain, asked))[0]


# ---- which road ----------------------------------------------------------------------------------

ROADS: Sequence[tuple[str, str, Json]] = [
    ("plan", "{ viewer { organization mode scopes expiresAt ledgers { id } } }", {}),
    ("plan", "query ($id: ID!) { node(id: $id) { __typename id } }", {"id": "wallet"}),
    ("plan", "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ["wallet", "cash"]}),
    ("plan", "query ($id: ID!) { account(id: $id) { name balances { asOf } } }", {"id": "cash"}),
    (
        "plan",
        (
            "query ($id: ID!, $at: DateTime) { account(id: $id) { balances(asOf: $at)"
            " { posted { amount decimal } } } }"
        ),
        {"id": "cash", "at": "2026-01-01T00:00:00Z"},
    ),
    (
        "plan",
        (
            'query ($id: ID!) { account(id: $id) { balanceHistory(from: "2026-01-01T00:00:00Z",'
            ' to: "2026-01-02T00:00:00Z", interval: HOUR) { startsAt balances { version } } } }'
        ),
        {"id": "cash"},
    ),
    (
        "plan",
        (
            "query ($id: ID!, $f: AccountFilter, $o: AccountOrder) { ledger(id: $id) { accounts("
            "first: 10, filter: $f, orderBy: $o) { edges { cursor node { id } } } } }"
        ),
        {"id": "ledger", "f": {"status": ["OPEN"]}, "o": {"field": "NAME"}},
    ),
    ("plan", "query ($id: ID!) { ledger(id: $id) { trialBalance { debits } } }", {"id": "ledger"}),
    (
        "plan",
        (
            "query ($n: Int = 5, $with: Boolean!) { ledgers(first: $n) { edges { cursor node { id"
            " accounts { pageInfo { hasNextPage } nodes { balances { posted { amount } }"
            " entries(last: 3) { nodes { id transaction { ... on Node { id } entries { account"
            " { name } } history { kind } } } } ledger @include(if: $with) { trialBalance"
            " { debits } } } } } } } }"
        ),
        {"with": True, "n": 1},
    ),
    ("plan", POST, {"input": "posting"}),
    (
        "plan",
        "mutation ($input: CreateAccountInput!) { createAccount(input: $input) { __typename } }",
        {"input": {"ledgerId": "x", "name": "x", "normalBalance": "DEBIT", "currency": "USD"}},
    ),
    (
        "plan",
        (
            "mutation ($id: ID!) { a: freezeAccount(input: {accountId: $id}) { __typename }"
            " b: unfreezeAccount(input: {accountId: $id}) { ... on UserError { code } } }"
        ),
        {"id": "wallet"},
    ),
    ("declined", "{ ledgers(first: 101) { nodes { id } } }", {}),
    ("declined", "query ($c: String) { ledgers(after: $c) { nodes { id } } }", {"c": "nonsense"}),
    ("graphql-core", "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": "one"}),
    ("graphql-core", "query ($n: Int) { ledgers(first: $n) { nodes { id } } }", {"n": 1.0}),
    ("graphql-core", "{ __schema { queryType { name } } }", {}),
    ("None", "query ($n: Int) { ledgers(first: $n) { nodes { id } } }", {"n": "one"}),
    ("None", POST, {"input": {"entries": [{}]}}),
]


async def test_golden_roads(api: Api) -> None:
    """Ordinary operations are planned; introspection, odd values, and what fails are not."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger), await api.account(ledger)
    known: Json = {"ledger": ledger, "cash": cash, "wallet": wallet}
    known["posting"] = posting(ledger, "key", cash, wallet)
    for expected, query, variables in ROADS:
        given_ = {
            name: [known.get(item, item) for item in value]
            if isinstance(value, list)
            else known.get(value, value)
            if isinstance(value, str)
            else value
            for name, value in variables.items()
        }
        with capture_logs() as logs:
            await api.send(query, given_)
        assert (str(logs[-1]["road"]), query) == (expected, query)


def posting(ledger: str, key: str, debit: str, credit: str) -> Json:
    return {
        "ledgerId": ledger,
        "idempotencyKey": key,
        "entries": [
            {"accountId": debit, "direction": "DEBIT", "amount": "5"},
            {"accountId": credit, "direction": "CREDIT", "amount": "5"},
        ],
    }


def test_resolvers_ask_their_info_for_the_context_only() -> None:
    """A plan's info has nothing else, and a mutation must not learn that after it has written."""
    asked = {
        match
        for path in Path("app/api").rglob("*.py")
        for match in re.findall(r"\binfo\.(?!context\b)(\w+)", path.read_text())
        if path.name not in ("documents.py", "plans.py", "graphql.py")
    }
    assert asked == set()


# ---- mutations that stop half-way ----------------------------------------------------------------

TWO = """mutation ($a: PostTransactionInput!, $b: PostTransactionInput!) {
  a: postTransaction(input: $a) { ... on PostTransactionSuccess { replayed transaction {
    entries { account { version balances { posted { amount } } } } } } }
  b: postTransaction(input: $b) { ... on PostTransactionSuccess { replayed transaction {
    entries { account { version } } } } }
}"""


@pytest.fixture
async def two_postings(api: Api) -> Json:
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger), await api.account(ledger)
    return {name: posting(ledger, name, cash, wallet) for name in ("a", "b")}


async def test_a_mutation_is_not_run_again(
    api: Api, two_postings: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where reading below a mutation fails, its write stands, once, and the error is told."""
    written = []
    write = Writer.write

    async def writing(writer: Writer, command: Any) -> Any:
        written.append(command.idempotency_key)
        return await write(writer, command)

    async def failing(_: Loader[Any, Any], __: Any) -> Any:
        raise RuntimeError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(Loader, "fetch", failing)
        patched.setattr(Writer, "write", writing)
        with capture_logs() as logs:
            body = (await api.send(TWO, two_postings)).json()
    assert logs[-1]["road"] == "declined"
    assert {error["extensions"]["code"] for error in body["errors"]} == {"INTERNAL_SERVER_ERROR"}
    assert body["data"] is None
    assert written == ["a"]  # b comes after what failed, so it is not run by graphql-core either
    wallet = two_postings["a"]["entries"][1]["accountId"]
    assert await api.balances(wallet) == (5, 0, 5, 5)


async def test_an_answered_field_keeps_its_moment(
    api: Api, two_postings: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan has answered is not read again after the writes that came later."""
    complete, levels = Run._complete, count()  # noqa: SLF001  as above

    def giving_up(run: Run, *arguments: Any) -> None:
        if next(levels) == 1:
            raise Unplanned
        complete(run, *arguments)

    monkeypatch.setattr(Run, "_complete", giving_up)
    with capture_logs() as logs:
        data = await api.run(TWO, two_postings)
    assert logs[-1]["road"] == "declined"
    versions = {
        key: [entry["account"]["version"] for entry in data[key]["transaction"]["entries"]]
        for key in ("a", "b")
    }
    assert versions == {"a": ["1", "1"], "b": ["2", "2"]}


# ---- columns -------------------------------------------------------------------------------------

SPANS = {
    "balanceHistory": '(from: "2026-01-01T00:00:00Z", to: "2026-01-02T00:00:00Z", interval: DAY)'
}


async def test_fields_declare_what_they_read(
    api: Api, two_postings: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each field alone, of a row that has only its columns, is answered by its plan, and alike."""
    await api.run(TWO, two_postings)
    wallet = two_postings["a"]["entries"][1]["accountId"]
    below = "{ account(id: $id) { entries { nodes { id transaction { id } } } } }"
    data = await api.run(f"query ($id: ID!) {below}", {"id": wallet})
    entry = data["account"]["entries"]["nodes"][0]
    ids = {
        "Ledger": two_postings["a"]["ledgerId"],
        "Account": wallet,
        "Transaction": entry["transaction"]["id"],
        "Entry": entry["id"],
    }
    for kind, identity in ids.items():
        type_ = SCHEMA.type_map[kind]
        assert isinstance(type_, GraphQLObjectType)
        for name, declared in type_.fields.items():
            selection = "" if is_leaf_type(get_named_type(declared.type)) else "{ __typename }"
            query = (
                f'{{ node(id: "{identity}")'
                f" {{ ... on {kind} {{ {name}{SPANS.get(name, '')} {selection} }} }} }}"
            )
            with capture_logs() as logs:
                answer = await api.run(query, {})
            assert (name, logs[-1]["road"]) == (name, "plan")
            with monkeypatch.context() as patched:
                patched.setattr(Plans, "coerce", lambda *_: None)
                assert answer == await api.run(query, {})


async def test_no_other_columns_are_read(
    api: Api, two_postings: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns of rows are those of the fields, and those by which a page is ordered."""
    read = []
    rows_of = Snapshot.rows

    async def reading(snapshot: Snapshot, statement: str, parameters: Any) -> Any:
        found = await rows_of(snapshot, statement, parameters)
        read.append((statement.split("\n", maxsplit=1)[0], len(found[0])))
        return found

    await api.run(TWO, two_postings)
    monkeypatch.setattr(Snapshot, "rows", reading)
    await api.run(
        "query ($id: ID!) { account(id: $id) { name"
        " entries { nodes { amount transaction { status } } } } }",
        {"id": two_postings["a"]["entries"][1]["accountId"]},
    )
    assert read == [
        ("SELECT found.account_id, found.name, wanted.place ", 3),
        (
            (
                "SELECT page.sequence, page.ledger_id, page.transaction_sequence, page.amount,"
                " parents.place "
            ),
            5,
        ),
        ("SELECT found.status, wanted.place ", 2),
    ]


# ---- what plans leave alone ----------------------------------------------------------------------


class Doubling(FieldExtension):
    def resolve(self, next_: Any, source: Any, info: Any, **arguments: Any) -> Any:
        return 2 * next_(source, info, **arguments)


class Never(BasePermission):
    message = "Never."

    def has_permission(self, source: Any, info: Any, **_: Any) -> bool:
        del source, info
        return False


@strawberry.input
class Loose:
    number: int | None
    items: list[int] = strawberry.field(default_factory=lambda: [1])


def without_self() -> str:
    return "without self"


@strawberry.type
class Odd:
    doubled: int = strawberry.field(extensions=[Doubling()], default=1)
    hidden: str | None = strawberry.field(permission_classes=[Never], default="secret")
    loose: str = strawberry.field(resolver=without_self)

    @strawberry.field
    def named(self, my_info: strawberry.Info) -> str:
        return str(my_info.context.principal)

    @strawberry.field
    def given(self, value: Loose) -> list[int]:
        value.items.append(2)
        return [*value.items, -1 if value.number is None else value.number]

    @strawberry.field
    def large(self) -> int:
        return 2**31

    @strawberry.field
    def told(self, value: Loose) -> str:
        return repr(value)

    @strawberry.field
    def pick(self, by: small_schema.Selector) -> str:
        return repr(by)

    @strawberry.field
    def path(self, info: strawberry.Info) -> str:
        return str(info.path.key)


@strawberry.type
class OddQuery:
    @strawberry.field
    def odd(self) -> Odd:
        return Odd()


@strawberry.type
class OddMutation:
    @strawberry.mutation
    def give(self, value: Loose) -> list[int]:
        return [*value.items, -1 if value.number is None else value.number]


ODD = [
    ("{ odd { doubled } }", {}),
    ("{ odd { hidden } }", {}),
    ("{ odd { loose } }", {}),
    ("{ odd { named } }", {}),
    ("{ odd { given(value: {}) } }", {}),
    ("{ odd { given(value: {items: [7]}) } }", {}),
    ("query ($v: Loose!) { odd { given(value: $v) } }", {"v": {}}),
    ("query ($v: Loose! = {number: 3, items: [4]}) { odd { given(value: $v) } }", {}),
    ("query ($v: Selector!) { odd { pick(by: $v) } }", {"v": {"id": "a", "name": "b"}}),
    ("query ($v: Selector!) { odd { pick(by: $v) } }", {"v": {"name": None}}),
    ("query ($v: Selector!) { odd { pick(by: $v) } }", {"v": {"name": "b"}}),
    ("{ odd { path } }", {}),
    ("{ odd { large } }", {}),
    ("query ($v: Loose!) { odd { told(value: $v) } }", {"v": {"items": [None], "number": 1}}),
    ("query ($v: Loose!) { odd { told(value: $v) } }", {"v": {"items": None, "number": 1}}),
    ("query ($v: Loose!) { odd { told(value: $v) } }", {"v": {"items": [1], "number": None}}),
    ("mutation { give(value: {}) }", {}),
    ("mutation ($n: Int) { a: give(value: {number: $n}) b: give(value: {number: 1}) }", {}),
]


@pytest.mark.parametrize(("query", "variables"), ODD)
async def test_strawberry_that_plans_do_not_know(query: str, variables: Json) -> None:
    """Extensions, permissions, and inputs built in other ways are graphql-core's and strawberry's.

    Each is asked thrice: what one request does to its arguments must not show in the next.
    """
    odd = strawberry.Schema(query=OddQuery, mutation=OddMutation)
    graphql_schema = odd._schema  # noqa: SLF001  as above
    served = endpoint(graphql_schema, Planner(graphql_schema, odd.config.name_converter))
    plain = endpoint(graphql_schema, None)
    for _ in range(3):
        asked = Asked(query, variables)
        assert (await post(served, asked))[0] == (await post(plain, asked))[0]


class Counting(Planner):
    """Counts the plans it compiles."""

    compiled = 0

    def plan(self, *arguments: Any) -> tuple[Plan, int]:
        self.compiled += 1
        return super().plan(*arguments)


async def test_too_dear_is_refused_before_it_is_compiled() -> None:
    """Fragments make much of few words: the price is asked first, and nothing is opened for it."""
    opened = small_schema.Contexts()
    planner = Counting(SMALL, small_schema.SCHEMA.config.name_converter)
    served = endpoint(SMALL, planner, opened)
    query = (
        "query ($n: Int = 100) { accounts(first: $n) { nodes { accounts(first: $n)"
        " { nodes { accounts(first: $n) { nodes { name } } } } } } }"
    )
    (status, text), road = await post(served, Asked(query, {}))
    assert (status, road) == (200, None)
    assert "QUERY_TOO_COMPLEX" in text
    assert (planner.compiled, opened.opened) == (0, [])
    _, road = await post(served, Asked(query, {"n": 1}))
    assert (planner.compiled, road) == (1, "plan")


async def test_plans_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make too large a plan, and more variants than are kept, go to graphql-core."""
    planner = Planner(SMALL, small_schema.SCHEMA.config.name_converter)
    query = "query ($a: Boolean!, $b: Boolean!) { hello @skip(if: $a) later @skip(if: $b) caller }"
    picks = [(a, b) for a in (True, False) for b in (True, False)]
    for bound, value, expected in [
        ("MAX_FIELDS", 4, ["plan", "plan", "graphql-core", "graphql-core"]),
        ("MAX_VARIANTS", 1, ["plan", "graphql-core", "graphql-core", "graphql-core"]),
    ]:
        with monkeypatch.context() as bounded:
            bounded.setattr(f"app.api.engine.plans.{bound}", value)
            served = endpoint(SMALL, planner)
            taken = [(await post(served, Asked(query, {"a": a, "b": b})))[1] for a, b in picks]
        assert taken == expected


async def test_a_fault_in_compiling_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a compiler stumbles over, a valid operation is answered."""

    def stumble(*_: object) -> None:
        raise KeyError("injected")

    monkeypatch.setattr(Planner, "plan", stumble)
    planner = Planner(SMALL, small_schema.SCHEMA.config.name_converter)
    (_, text), road = await post(endpoint(SMALL, planner), Asked("{ hello }", {}))
    assert (text, road) == ('{"data":{"hello":"Hello, world!"}}', "graphql-core")


async def test_closing_after_a_plan_gave_up_may_fail() -> None:
    """A context that cannot be closed takes no answer away, whichever road was left."""
    answers = []
    for planner in (Planner(SMALL, small_schema.SCHEMA.config.name_converter), None):
        opened = small_schema.Contexts()
        opened.fault_at_close = RuntimeError("injected")
        answers.append(
            (await post(endpoint(SMALL, planner, opened), Asked("{ forbidden }", {})))[0]
        )
    assert answers[0] == answers[1]
    assert "FORBIDDEN" in answers[0][1]


async def test_time_runs_out_in_a_plan() -> None:
    """A plan that takes too long is told of like any operation, and leaves nothing open."""
    answers = []
    for planner in (Planner(SMALL, small_schema.SCHEMA.config.name_converter), None):
        opened = small_schema.Contexts()
        served = endpoint(SMALL, planner, opened, execution_seconds=0.1)
        asked = Asked('{ later stuck account(id: "a1") { balance } }', {})
        answers.append((await post(served, asked))[0])
        assert len(opened.opened) == len(opened.closed) == 1
    assert answers[0] == answers[1]
    assert "EXECUTION_TIMEOUT" in answers[0][1]


async def test_a_plan_that_gives_up_closes_its_coroutines() -> None:
    """Where one field fails, those that were to be awaited are not left behind unawaited."""
    planner = Planner(SMALL, small_schema.SCHEMA.config.name_converter)
    _, road = await post(endpoint(SMALL, planner), Asked("{ later fails b: later }", {}))
    assert road == "declined"


CHAIN = """
query ($id: ID!) {
  ledger(id: $id) { accounts { nodes { entries { nodes { transaction { history { kind } } } } } } }
}
"""
SIDE_BY_SIDE = """
query ($id: ID!) {
  viewer { organization }
  ledger(id: $id) { name accounts { nodes { id entries { nodes { amount } } } } }
  ledgers { nodes { trialBalance { debits } transactions(first: 2) { nodes { entries { id } } } } }
}
"""


@pytest.mark.parametrize("query", [CHAIN, SIDE_BY_SIDE], ids=["chain", "side by side"])
async def test_an_outage_is_asked_once(
    api: Api, two_postings: Json, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Whichever statement of a query fails, it is the last, and told of as by graphql-core.

    Of several errors that make null of one object, graphql-core tells of those that come before it
    knows: that depends on time, so only one of them is compared.
    """
    await api.run(TWO, two_postings)
    variables = {"id": two_postings["a"]["ledgerId"]}
    execute: Any = psycopg.AsyncConnection.execute
    read: list[str] = []
    failing = 0

    async def executing(connection: Any, statement: str, *arguments: Any, **options: Any) -> Any:
        if "%(organization)s" in statement:
            read.append(statement)
            if len(read) == failing:
                raise psycopg.errors.QueryCanceled("injected")
        return await execute(connection, statement, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", executing)
    whole = await api.run(query, variables)
    statements = len(read)
    assert statements >= 5
    for failing in range(1, statements + 1):
        answers = []
        for planned in (True, False):
            read.clear()
            with monkeypatch.context() as patched, capture_logs() as logs:
                if not planned:
                    patched.setattr(Plans, "get", lambda *_: None)
                answers.append((await api.send(query, variables)).json())
            assert logs[-1]["road"] == ("declined" if planned else "graphql-core")
            assert len(read) == failing
        fast, slow = answers
        assert fast["data"] == slow["data"]
        assert fast["errors"][0]["extensions"] == {"code": "UNAVAILABLE", "retryable": True}
        if query is CHAIN:
            assert fast == slow
        else:
            assert [error for error in slow["errors"] if error in fast["errors"]]
    failing = 0
    assert await api.run(query, variables) == whole
