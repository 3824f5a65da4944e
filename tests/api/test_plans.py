"""Plans against graphql-core: never another answer by the fast road than by the slow one.

Hypothesis draws operations over the real schema, right and subtly wrong, with variables that fit
and that do not; each is answered by an endpoint that plans and by one that does not, and the two
answers are compared byte for byte.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

import httpx
import pytest
import pytest_asyncio
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
    GraphQLUnionType,
    Undefined,
    get_named_type,
    is_leaf_type,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.api import context as contexts
from app.api.loading import Loader
from app.api.schema import schema
from app.seed import seed
from app.server import Server
from app.settings import Settings
from tests.api_client import POST, Api, Json, open_api
from tests.conftest import MakeDatabase

SCHEMA = schema._schema  # noqa: SLF001  strawberry offers no other way
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
Draw = Any


class Stopped(datetime):
    """A clock that stands still, so that `asOf` of present balances is the same on both roads."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Stopped":
        del tz
        return cls(NOW.year, NOW.month, NOW.day, NOW.hour, tzinfo=UTC)


@dataclass
class Roads:
    """One server behind an endpoint that plans and one that does not."""

    planned: httpx.AsyncClient
    unplanned: httpx.AsyncClient
    token: str
    ids: dict[str, list[str]] = field(default_factory=dict)

    async def ask(self, client: httpx.AsyncClient, query: str, variables: Json) -> tuple[int, str]:
        response = await client.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.token}", "X-Request-Id": "the-same"},
        )
        return response.status_code, response.text

    async def both(self, query: str, variables: Json) -> list[tuple[int, str]]:
        return [
            await self.ask(client, query, variables) for client in (self.planned, self.unplanned)
        ]


async def open_roads(stack: AsyncExitStack, url: str, monkeypatch: pytest.MonkeyPatch) -> Roads:
    monkeypatch.setattr(contexts, "datetime", Stopped)
    server = Server(Settings(), url)
    await stack.enter_async_context(server.running())
    demo = await seed(server.database, server.writer)
    planned = server.application()
    with pytest.MonkeyPatch.context() as unplanned_only:
        unplanned_only.setattr("app.server.Planner", lambda *_: None)
        unplanned = server.application()
    clients = [
        await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ledgers.test")
        )
        for app in (planned, unplanned)
    ]
    roads = Roads(clients[0], clients[1], demo.token)
    _, text = await roads.ask(
        clients[1],
        "{ ledgers { nodes { id accounts { nodes { id entries(first: 2) { nodes { id } } } }"
        " transactions(first: 5) { nodes { id } } } } }",
        {},
    )
    for prefix in ("ldgr", "acct", "txn", "ent"):
        roads.ids[prefix] = sorted(set(re.findall(rf'"({prefix}_[0-9a-f_]+)"', text)))
    return roads


# ---- operations at random ------------------------------------------------------------------------


@dataclass
class Writing:
    """A document being drawn: its variables so far, with their values."""

    draw: Draw
    ids: dict[str, list[str]]
    declared: dict[str, str] = field(default_factory=dict)
    values: Json = field(default_factory=dict)

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(1, 100)) <= percent)

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def selection(self, type_: GraphQLNamedType, depth: int) -> str:
        parts = []
        if isinstance(type_, GraphQLUnionType | GraphQLInterfaceType):
            parts.append("__typename")
            for member in SCHEMA.get_possible_types(type_):
                if self.chance(50):
                    inner = self.selection(member, depth)
                    parts.append(f"... on {member.name}{self.directive()} {{ {inner} }}")
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            names = list(type_.fields)
            chosen = self.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
            parts.extend(self.field(name, type_.fields[name], depth) for name in chosen)
            if self.chance(15):
                parts.append("__typename")
            if self.chance(10):
                parts.append(f"... {{ {self.field(names[0], type_.fields[names[0]], depth)} }}")
        return " ".join(part for part in parts if part) or "__typename"

    def field(self, name: str, field_: GraphQLField, depth: int) -> str:
        named = get_named_type(field_.type)
        composite = not is_leaf_type(named)
        if composite and depth == 0:
            return ""
        alias = f"{self.pick('abc')}: " if self.chance(8) else ""
        arguments = []
        for argument, declared in field_.args.items():
            required = isinstance(declared.type, GraphQLNonNull)
            if self.chance(97 if required else 35):
                arguments.append(f"{argument}: {self.value(declared.type)}")
        shown = f"({', '.join(arguments)})" if arguments else ""
        inner = f" {{ {self.selection(named, depth - 1)} }}" if composite else ""
        return f"{alias}{name}{shown}{self.directive()}{inner}"

    def directive(self) -> str:
        if not self.chance(8):
            return ""
        condition = self.pick(["true", "false", "$flag"])
        if condition == "$flag":
            self.declare("flag", "Boolean!", self.pick([True, False, True, False, None, "yes", 1]))
        return f" @{self.pick(['skip', 'include'])}(if: {condition})"

    def declare(self, name: str, type_: str, value: Any) -> None:
        if name not in self.declared:
            self.declared[name] = type_
            if value is not Undefined:
                self.values[name] = value

    def value(self, type_: GraphQLInputType) -> str:
        raw = self.raw(type_)
        if not self.chance(40):
            return self.literal(raw, type_)
        name = f"v{len(self.declared)}"
        declared = str(type_)
        if self.chance(20) and not isinstance(type_, GraphQLNonNull):
            declared += " = " + self.literal(self.raw(type_), type_)
        given = self.draw(st.sampled_from([raw] * 6 + [Undefined, None]))
        self.declare(name, declared, given)
        return f"${name}"

    def raw(self, type_: GraphQLInputType) -> Any:
        """A value, mostly fit for the type."""
        if isinstance(type_, GraphQLNonNull):
            return self.raw(type_.of_type)
        if self.chance(4):
            return self.pick([None, 7, "seven", True, [], {}, 1.5])
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
        return self.pick(self.samples(get_named_type(type_).name))

    def samples(self, name: str) -> list[Any]:
        everything = [identity for ids in self.ids.values() for identity in ids[:6]]
        samples: dict[str, list[Any]] = {
            "ID": [*everything, "acct_0", "", 5],
            "Int": [0, 1, 2, 3, 100, 101, -1, 2.0, 2**31],
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
            "JSON": [{}, {"kind": "seller"}, {"a": [1, "x", None]}, []],
        }
        return samples[name]

    def literal(self, raw: Any, type_: GraphQLInputType) -> str:  # noqa: PLR0911
        if isinstance(type_, GraphQLNonNull):
            return self.literal(raw, type_.of_type)
        if raw is None:
            return "null"
        if isinstance(raw, bool):
            return str(raw).lower()
        if isinstance(raw, list):
            item = type_.of_type if isinstance(type_, GraphQLList) else type_
            return "[" + ", ".join(self.literal(element, item) for element in raw) + "]"
        if isinstance(raw, dict):
            parts = type_.fields if isinstance(type_, GraphQLInputObjectType) else {}
            shown = []
            for name, value in raw.items():
                inner = parts[name].type if name in parts else type_
                if name in parts and self.chance(15):
                    shown.append(f"{name}: {self.value(inner)}")
                else:
                    shown.append(f"{name}: {self.literal(value, inner)}")
            return "{" + ", ".join(shown) + "}"
        if isinstance(get_named_type(type_), GraphQLEnumType) and isinstance(raw, str):
            return raw
        return f'"{raw}"' if isinstance(raw, str) else str(raw)

    def document(self, operation: str, body: str) -> str:
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.declared.items())
        return f"{operation} Q{f'({declared})' if declared else ''} {{ {body} }}"


@st.composite
def queries(draw: Draw, ids: dict[str, list[str]]) -> tuple[str, Json]:
    writing = Writing(draw, ids)
    root = SCHEMA.query_type
    assert root is not None
    body = writing.selection(root, draw(st.integers(1, 5)))
    return writing.document("query", body), writing.values


@st.composite
def mutations(draw: Draw, ids: dict[str, list[str]]) -> tuple[str, Json]:
    """Mutations that leave the books as they are: dry runs, and what is refused."""
    writing = Writing(draw, ids)
    root = SCHEMA.mutation_type
    assert root is not None
    fields = []
    for number in range(draw(st.integers(1, 3))):
        name = writing.pick(["postTransaction", "settleTransaction", "voidTransaction"])
        union = get_named_type(root.fields[name].type)
        raw: Json
        if name == "postTransaction":
            accounts = [writing.pick(ids["acct"]) for _ in range(2)]
            amount = writing.pick(["5", "5", "70000000", "0", "x", 5])
            raw = {
                "ledgerId": ids["ldgr"][0],
                "idempotencyKey": writing.pick(["fresh", "order:1", ""]),
                "entries": [
                    {"accountId": account, "direction": side, "amount": amount}
                    for account, side in zip(accounts, ("DEBIT", "CREDIT"), strict=True)
                ],
                "dryRun": True,
            }
            if writing.chance(30):
                raw["metadata"] = writing.pick([{"a": 1}, {"a": {"b": [1.5]}}, None])
            if writing.chance(30):
                raw["status"] = writing.pick(["PENDING", "POSTED", "VOIDED"])
        else:
            raw = {
                "transactionId": writing.pick(["txn_" + "0" * 32, "acct_1", ids["txn"][0]]),
                "idempotencyKey": "fresh",
            }
        kind = SCHEMA.get_type(name[0].upper() + name[1:] + "Input")
        assert isinstance(kind, GraphQLInputObjectType)
        if writing.chance(50):
            writing.declare(f"input{number}", f"{kind.name}!", raw)
            shown = f"$input{number}"
        else:
            shown = writing.literal(raw, kind)
        inner = writing.selection(union, draw(st.integers(1, 3)))
        fields.append(f"m{number}: {name}(input: {shown}) {{ {inner} }}")
    return writing.document("mutation", " ".join(fields)), writing.values


def normalised(answer: tuple[int, str]) -> tuple[int, str]:
    """Without what is new in every dry run: ids of transactions, and times."""
    status, text = answer
    seen: dict[str, str] = {}
    text = re.sub(
        r"txn_[0-9a-f]{32}", lambda match: seen.setdefault(match[0], f"txn_{len(seen)}"), text
    )
    return status, re.sub(r"2026-\d\d-\d\dT[0-9:.]+Z", "TIME", text)


@pytest.fixture
def roads(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[asyncio.Runner, Roads]]:
    """For Hypothesis, whose tests are not coroutines: two roads, and what runs them."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        opened = runner.run(open_roads(stack, make_database(None), monkeypatch))
        yield runner, opened
        runner.run(stack.aclose())


@pytest.mark.parametrize("draw_operation", [queries, mutations], ids=["queries", "mutations"])
def test_the_two_roads_agree(roads: tuple[asyncio.Runner, Roads], draw_operation: Any) -> None:
    """Whatever is asked, the endpoint that plans answers as the one that does not."""
    runner, opened = roads
    taken: dict[str | None, int] = {}

    @settings(
        max_examples=500,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(draw_operation(opened.ids))
    def compare(operation: tuple[str, Json]) -> None:
        with capture_logs() as logs:
            planned, unplanned = runner.run(opened.both(*operation))
        road = logs[0].get("road")
        taken[road] = taken.get(road, 0) + 1
        if draw_operation is mutations:
            planned, unplanned = normalised(planned), normalised(unplanned)
        assert planned == unplanned

    compare()
    # The comparison is worth something only where plans did answer; queries also made some decline.
    assert taken["plan"] > 30
    if draw_operation is queries:
        assert taken["declined"] > 5


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as opened:
        yield opened


async def road_of(api: Api, query: str, variables: Json | None = None) -> str | None:
    with capture_logs() as logs:
        await api.send(query, variables)
    return str(logs[-1]["road"])


async def test_roads(api: Api) -> None:
    """Ordinary operations are planned; introspection, nodes by list, and faults are not."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger), await api.account(ledger)
    posting = {
        "ledgerId": ledger,
        "idempotencyKey": "key",
        "entries": [
            {"accountId": cash, "direction": "DEBIT", "amount": "5"},
            {"accountId": wallet, "direction": "CREDIT", "amount": "5"},
        ],
    }
    assert await road_of(api, POST, {"input": posting}) == "plan"
    assert await road_of(api, POST, {"input": {**posting, "idempotencyKey": ""}}) == "plan"
    assert await road_of(api, POST, {"input": {**posting, "entries": [{}]}}) == "None"
    nested = """query ($n: Int = 5, $with: Boolean!) {
        ledgers(first: $n) { edges { cursor node { id accounts { pageInfo { hasNextPage } nodes {
            balances { posted { amount } } entries(last: 3) { nodes { id transaction {
                ... on Node { id } entries { account { name } } history { kind } } } }
            ledger @include(if: $with) { trialBalance { debits } } } } } } } }"""
    assert await road_of(api, nested, {"with": True}) == "plan"
    assert await road_of(api, nested, {"with": False, "n": 1}) == "plan"
    assert await road_of(api, "query ($id: ID!) { node(id: $id) { __typename id } }",
                         {"id": wallet}) == "plan"  # fmt: skip
    assert await road_of(api, "{ ledgers(first: 101) { nodes { id } } }") == "declined"
    assert await road_of(api, "{ __schema { queryType { name } } }") == "graphql-core"


async def test_a_mutation_is_not_run_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where reading below a mutation fails, its write stands, once, and the error is told."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger), await api.account(ledger)
    fetch = Loader.fetch
    faults = 0

    async def failing(loader: Loader[Any, Any], keys: Any) -> Any:
        nonlocal faults
        faults += 1
        if faults <= 2:
            raise RuntimeError("injected")
        return await fetch(loader, keys)

    monkeypatch.setattr(Loader, "fetch", failing)
    query = """mutation ($a: PostTransactionInput!, $b: PostTransactionInput!) {
        a: postTransaction(input: $a) { ... on PostTransactionSuccess { replayed } }
        b: postTransaction(input: $b) { ... on PostTransactionSuccess { replayed transaction {
            entries { account { name } } } } } }"""
    inputs = {
        name: {
            "ledgerId": ledger,
            "idempotencyKey": name,
            "entries": [
                {"accountId": cash, "direction": "DEBIT", "amount": "5"},
                {"accountId": wallet, "direction": "CREDIT", "amount": "5"},
            ],
        }
        for name in ("a", "b")
    }
    with capture_logs() as logs:
        body = (await api.send(query, inputs)).json()
    assert logs[-1]["road"] == "declined"
    assert {error["extensions"]["code"] for error in body["errors"]} == {"INTERNAL_SERVER_ERROR"}
    assert body["data"] is None
    monkeypatch.undo()
    assert await api.balances(wallet) == (10, 0, 10, 10)
    answer = (await api.run(query, inputs))["b"]
    assert answer["replayed"] is True
