"""The schema as a contract: committed, described, and holding what the sketch promised."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    is_leaf_type,
    parse,
    validate,
)

from app.api import refusals as rendering
from app.api.enums import ErrorCode
from app.api.nodes import UserError
from app.api.schema import schema, schema_text
from app.ledger import refusals
from app.ledger.accounts.balances import Direction
from app.ledger.refusals import Refusal

ROOT = Path(__file__).parent.parent.parent
SCHEMA: GraphQLSchema = schema._schema  # noqa: SLF001  strawberry offers no other way
SKETCH = build_schema((Path(__file__).parent / "sketch.graphql").read_text())
BUILT_IN = {"Boolean", "Float", "ID", "Int", "String"}


def _types(of: GraphQLSchema) -> dict[str, GraphQLNamedType]:
    return {
        name: kind
        for name, kind in of.type_map.items()
        if not name.startswith("__") and name not in BUILT_IN
    }


def test_committed_schema_is_current() -> None:
    """schema.graphql is what the code makes; `ledgers schema -o schema.graphql` renews it."""
    assert (ROOT / "schema.graphql").read_text() == schema_text()


def _described() -> Iterator[tuple[str, str | None]]:
    for name, kind in _types(SCHEMA).items():
        yield name, kind.description
        if isinstance(kind, GraphQLEnumType):
            for value, definition in kind.values.items():
                yield f"{name}.{value}", definition.description
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field, member in kind.fields.items():
                yield f"{name}.{field}", member.description
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field, output in kind.fields.items():
                for argument, input_ in output.args.items():
                    yield f"{name}.{field}({argument}:)", input_.description


def test_everything_is_described() -> None:
    """Each type, field, argument, input field and enumeration value tells what it is."""
    assert [place for place, description in _described() if not (description or "").strip()] == []


def _members(kind: GraphQLNamedType) -> dict[str, str]:
    """What a type holds, by name: the type of it, with its default where the sketch gives one."""
    if isinstance(kind, GraphQLEnumType):
        return dict.fromkeys(kind.values, "")
    if isinstance(kind, GraphQLUnionType):
        return dict.fromkeys((member.name for member in kind.types), "")
    if isinstance(kind, GraphQLInputObjectType):
        return {name: str(field.type) for name, field in kind.fields.items()}
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        members = {name: str(field.type) for name, field in kind.fields.items()}
        for name, field in kind.fields.items():
            members |= {f"{name}({argument}:)": str(a.type) for argument, a in field.args.items()}
        return members
    return {}


@pytest.mark.parametrize("name", sorted(_types(SKETCH)))
def test_sketch_is_kept(name: str) -> None:
    """Each name of the sketch exists, with the shape that it has there."""
    promised, kind = SKETCH.type_map[name], SCHEMA.type_map.get(name)
    assert isinstance(kind, type(promised))
    shape, present = _members(promised), _members(kind)
    assert {member: present.get(member) for member in shape} == shape
    if isinstance(promised, GraphQLObjectType | GraphQLInterfaceType):
        assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
        assert {i.name for i in promised.interfaces} == {i.name for i in kind.interfaces}


@pytest.mark.parametrize(
    ("kind", "field", "default"),
    [
        ("PostTransactionInput", "status", "POSTED"),
        ("PostTransactionInput", "dryRun", "false"),
        ("SettleTransactionInput", "final", "true"),
        ("AccountOrder", "direction", "ASC"),
        ("TransactionOrder", "direction", "ASC"),
    ],
)
def test_defaults(kind: str, field: str, default: str) -> None:
    """Inputs that need not be given say what they are then."""
    text = (ROOT / "schema.graphql").read_text()
    body = text.split(f"input {kind} {{")[1].split("\n}")[0]
    (line,) = (line.strip() for line in body.splitlines() if line.strip().startswith(f"{field}:"))
    assert line.split(" = ")[1] == default


def test_mutations_have_one_shape() -> None:
    """A mutation takes one input of its name and answers a union of its success and refusals."""
    mutations = SCHEMA.mutation_type
    assert mutations is not None
    for name, field in mutations.fields.items():
        title = name[0].upper() + name[1:]
        assert {arg: str(a.type) for arg, a in field.args.items()} == {"input": f"{title}Input!"}
        assert str(field.type) == f"{title}Result!"
        union = get_named_type(field.type)
        assert isinstance(union, GraphQLUnionType)
        success, *errors = union.types
        assert success.name == f"{title}Success"
        assert "ValidationFailed" in {error.name for error in errors}
        assert all([i.name for i in error.interfaces] == ["UserError"] for error in errors)


def test_what_can_be_dated_can_meet_a_closed_period() -> None:
    """A mutation that takes effectiveAt, itself or in its parts, may be refused for its period."""
    mutations = SCHEMA.mutation_type
    assert mutations is not None
    dated = set()
    for name, field in mutations.fields.items():
        given = get_named_type(field.args["input"].type)
        assert isinstance(given, GraphQLInputObjectType)
        parts = [given, *(get_named_type(part.type) for part in given.fields.values())]
        if any(isinstance(t, GraphQLInputObjectType) and "effectiveAt" in t.fields for t in parts):
            union = get_named_type(field.type)
            assert isinstance(union, GraphQLUnionType)
            assert "PeriodClosed" in {kind.name for kind in union.types}, name
            dated.add(name)
    assert dated == {
        *("postTransaction", "postTransactions", "reverseTransaction", "transfer", "postTemplate"),
        *("resolveDiscrepancy", "undoResolution"),
    }


def test_error_codes_are_the_precedence() -> None:
    """ErrorCode lists the codes of all refusals in the order in which they are looked for."""
    codes = [kind.code for kind in refusals.PRECEDENCE]
    shown = SCHEMA.type_map["ErrorCode"]
    assert isinstance(shown, GraphQLEnumType)
    assert [code.name for code in ErrorCode] == codes
    assert sorted(shown.values) == sorted(codes)


def test_every_refusal_is_in_the_precedence() -> None:
    """No refusal is defined and then left out of the list."""
    assert set(Refusal.__subclasses__()) == set(refusals.PRECEDENCE)


SAMPLES: dict[str, Any] = {
    "message": "A reason.",
    "path": ("input", "entries", "0"),
    "account_id": uuid4(),
    "transaction_id": uuid4(),
    "statement_id": uuid4(),
    "unsettled_amount": -5,
    "unsettled_count": 2,
    "pending_transactions": 3,
    "open_lots": 2,
    "currency": "USD",
    "exponent": 2,
    "debits": 10,
    "credits": 11,
    "direction": Direction.DEBIT,
    "remaining": 5,
    "requested": 6,
    "external_id": "mine",
    "transaction_status": "posted",
    "closed_through": datetime(2026, 1, 1, tzinfo=UTC),
    "account_status": "frozen",
    "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
    "reason": "not_posted",
    "expected_version": 3,
    "actual_version": 4,
    "expected": 7,
    "actual": 8,
    "available": 1,
    "required": 2,
    "balance": "posted",
    "maximum": 5,
    "ceiling": 6,
    "before": 5,
    "after": 7,
    "limit_name": "daily",
    "used_amount": 8,
    "used_count": 2,
    "requested_amount": 3,
    "maximum_amount": 10,
    "maximum_count": 4,
    "window_seconds": None,
    "period": "day",
    "time_zone": "UTC",
    "retry_at": datetime(2030, 1, 1, tzinfo=UTC),
    "proposed_matches": 2,
    "open_discrepancies": 3,
    "match_id": uuid4(),
    "discrepancy_id": uuid4(),
    "discrepancy_status": "accepted",
}


@pytest.mark.parametrize("kind", refusals.PRECEDENCE, ids=lambda kind: kind.__name__)
def test_every_refusal_renders(kind: type[Refusal]) -> None:
    """Each refusal becomes the type of its name, with its code, message, path and fields."""
    given = {field.name: SAMPLES[field.name] for field in fields(kind)}
    if kind is refusals.LotNotPossible:
        given["reason"] = "expires_too_early"
    if kind is refusals.SettlementNotPossible:
        given["reason"] = "nothing_to_pay"
    refusal = kind(**given)
    error = rendering.render(refusal)
    assert isinstance(error, UserError)
    assert type(error).__name__ == kind.__name__
    assert (error.code.value, error.message, error.path, error.retryable) == (
        kind.code,
        "A reason.",
        ["input", "entries", "0"],
        refusal.retryable,
    )
    shown = {name for name in vars(error) if name not in {"code", "message", "path", "retryable"}}
    expected = set(given) - {"message", "path", "exponent"}
    assert shown == expected


def test_every_user_error_is_a_refusal() -> None:
    """The types that implement UserError are the refusals, no more and no fewer."""
    interface = SCHEMA.type_map["UserError"]
    assert isinstance(interface, GraphQLInterfaceType)
    implementing = {kind.name for kind in SCHEMA.get_possible_types(interface)}
    assert implementing == {kind.__name__ for kind in refusals.PRECEDENCE}


def test_types_of_the_graph_refer_to_each_other() -> None:
    """A query may go both ways: ledger, account, entry, transaction and back."""
    document = parse(
        "{ ledgers { nodes { accounts { nodes { ledger { id } entries { nodes {"
        " account { id } transaction { ledger { id } entries { transaction { id } } } } } } } } } }"
    )
    assert validate(SCHEMA, document) == []


def test_sketch_arguments_are_optional_where_they_were() -> None:
    """No argument or input field beyond the sketch is required, so that its requests stay valid."""
    required = [
        f"{name}.{field}"
        for name, promised in _types(SKETCH).items()
        for field, member in _inputs(SCHEMA.type_map[name])
        if str(member.type).endswith("!")
        and member.ast_node is None
        and member.default_value is None
        and field not in dict(_inputs(promised))
    ]
    assert required == []


def _inputs(
    kind: GraphQLNamedType,
) -> Iterator[tuple[str, GraphQLInputField | GraphQLArgument]]:
    if isinstance(kind, GraphQLInputObjectType):
        yield from kind.fields.items()
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in kind.fields.items():
            yield from ((f"{name}({argument}:)", a) for argument, a in field.args.items())


def test_all_members_of_a_union_can_be_asked_for_at_once() -> None:
    """No two members of a result have a field of one name and different types."""
    mutation = SCHEMA.mutation_type
    assert mutation is not None
    for name, field in mutation.fields.items():
        union = get_named_type(field.type)
        assert isinstance(union, GraphQLUnionType)
        kind = name[0].upper() + name[1:]
        members = " ".join(
            f"... on {member.name} {{ {selection(member)} }}" for member in union.types
        )
        document = f"mutation ($i: {kind}Input!) {{ {name}(input: $i) {{ {members} }} }}"
        assert validate(SCHEMA, parse(document)) == []


def selection(type_: GraphQLObjectType) -> str:
    """Every field of a type, with __typename of those that are objects."""
    return " ".join(
        name if is_leaf_type(get_named_type(field.type)) else f"{name} {{ __typename }}"
        for name, field in type_.fields.items()
        if not any(isinstance(a.type, GraphQLNonNull) for a in field.args.values())
    )
