"""Documents are read once, held to every limit before it costs anything, and priced."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    get_introspection_query,
    parse,
)
from graphql.language import Visitor, visit

from app.api.engine import documents as module
from app.api.engine.documents import NEWCOMERS, Document, Documents, Limits, Shelf, Walk
from app.api.errors import RequestErrors

from .small_schema import GRAPHQL_SCHEMA, LIMITS


def limits(**changed: int) -> Limits:
    return dataclasses.replace(LIMITS, **changed)


def load(text: str, **changed: int) -> Document:
    return Documents(GRAPHQL_SCHEMA, limits(**changed)).load(text)


def extensions(document: Document) -> list[Mapping[str, Any] | None]:
    return [error.extensions for error in document.errors]


def codes(errors: object) -> list[str]:
    assert isinstance(errors, list | tuple)
    return [error.extensions["code"] for error in errors]


def cost(text: str, variables: dict[str, Any] | None = None) -> int:
    operation = load(text).select(None)
    executor = operation.executor(variables or {})
    return operation.cost(executor.variable_values.coerced)


def walk(text: str) -> Walk:
    """A walk over all operations of the text, done."""
    ast = parse(text)
    done = Walk(GRAPHQL_SCHEMA, ast, 50)
    for definition in ast.definitions:
        if isinstance(definition, OperationDefinitionNode):
            done.operation(definition)
    return done


def selections(text: str) -> int:
    """How many selections the text has, each counted where it stands."""

    class Count(Visitor):
        total = 0

        def enter(self, node: object, *_: object) -> None:
            if isinstance(node, FieldNode | FragmentSpreadNode | InlineFragmentNode):
                self.total += 1

    count = Count()
    visit(parse(text), count)
    return count.total


def fragment_bomb(length: int) -> str:
    spreads = " ".join(
        f"fragment F{number} on Query {{ ...F{number + 1} ...F{number + 1} }}"
        for number in range(length)
    )
    return f"{{ ...F0 }} {spreads} fragment F{length} on Query {{ hello }}"


def composite_bomb(length: int) -> str:
    spreads = " ".join(
        f"fragment F{number} on Account {{ accounts(first: 1) {{ nodes {{ ...F{number + 1} }} }}"
        f" more: accounts(first: 1) {{ nodes {{ ...F{number + 1} }} }} }}"
        for number in range(length)
    )
    return f'{{ account(id: "a1") {{ ...F0 }} }} {spreads} fragment F{length} on Account {{ id }}'


# Keeping ----------------------------------------------------------------------------------------


def test_a_document_is_read_once() -> None:
    """The same text gives the same document, from the newcomers and from the regulars."""
    documents = Documents(GRAPHQL_SCHEMA, LIMITS)
    first, second, third = (documents.load("{ hello }") for _ in range(3))
    assert first is second is third
    assert "{ hello }" in documents.regulars
    assert "{ hello }" not in documents.newcomers


def test_errors_are_read_once() -> None:
    """A text that failed fails again without being parsed, and never becomes a regular."""
    documents = Documents(GRAPHQL_SCHEMA, LIMITS)
    first, second, third = (documents.load("{ nope }") for _ in range(3))
    assert first is second is third
    assert "{ nope }" not in documents.regulars


@pytest.mark.parametrize("junk", ["{{ nope{} }}", "{{ a{}: hello }}"], ids=["failing", "valid"])
def test_junk_does_not_evict_regulars(junk: str) -> None:
    """However many texts that are seen once arrive, those seen twice stay."""
    documents = Documents(GRAPHQL_SCHEMA, LIMITS)
    documents.load("{ hello }")
    regular = documents.load("{ hello }")
    for number in range(NEWCOMERS + 50):
        documents.load(junk.format(number))
    assert documents.load("{ hello }") is regular
    assert len(documents.newcomers) == NEWCOMERS
    assert len(documents.regulars) == 1


def test_a_text_too_large_is_not_kept() -> None:
    """Texts past the limit of bytes take no place on a shelf."""
    documents = Documents(GRAPHQL_SCHEMA, LIMITS)
    documents.load("#" * (LIMITS.max_query_bytes + 1))
    assert len(documents.newcomers) == 0


def test_a_shelf_is_bounded_by_count_and_by_weight() -> None:
    """The least recently used leave first, and their weight with them."""
    shelf = Shelf(max_count=3, max_weight=100)
    for name in "abc":
        shelf.put(name, Document(weight=10))
    shelf.get("a")
    shelf.put("d", Document(weight=10))
    assert [name in shelf for name in "abcd"] == [True, False, True, True]
    shelf.put("e", Document(weight=85))
    assert [name in shelf for name in "acde"] == [False, False, True, True]
    assert shelf.weight == 95


def test_weight_grows_with_the_tokens() -> None:
    """What a document holds in memory is its tree, so its weight counts tokens beside text."""
    assert load("{ hello }").weight == 2 * 9 + 3 * module.TOKEN_BYTES


# Choosing an operation --------------------------------------------------------------------------


def test_the_only_operation_needs_no_name() -> None:
    """One operation is found with its name and without."""
    document = load("query Greeting { hello }")
    operation = document.select(None)
    assert operation is document.select("Greeting")
    assert operation.name == "Greeting"
    assert operation.type is OperationType.QUERY


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("query A { hello } query B { hello }", None),
        ("query A { hello } query B { hello }", "C"),
        ("query A { hello }", "B"),
        ("{ hello }", "A"),
    ],
)
def test_an_operation_that_is_not_determined_is_an_error(text: str, name: str | None) -> None:
    """Several operations and no name, or a name that none has: a request error, none is run."""
    with pytest.raises(RequestErrors) as failure:
        load(text).select(name)
    assert codes(failure.value.errors) == ["OPERATION_RESOLUTION_FAILURE"]


def test_a_name_chooses_among_several() -> None:
    """With several operations the name says which."""
    document = load("query A { hello } mutation B { append(value: 1, turns: 0) }")
    assert document.select("A").type is OperationType.QUERY
    assert document.select("B").type is OperationType.MUTATION


# Limits -----------------------------------------------------------------------------------------


def refusal(limit: str, maximum: int, actual: int, code: str = "QUERY_TOO_COMPLEX") -> object:
    return [{"code": code, "limit": limit, "max": maximum, "actual": actual}]


def test_bytes_are_those_of_utf8() -> None:
    """A text is measured in bytes of UTF-8: one at the limit passes, one above does not."""
    text = '{ text(value: "€€€") }'
    size = len(text) + 6
    assert load(text, max_query_bytes=size).errors == ()
    refused = load(text, max_query_bytes=size - 1)
    assert extensions(refused) == refusal("bytes", size - 1, size, "QUERY_TOO_LARGE")


@pytest.mark.parametrize("padding", [" hello", "\n#"], ids=["fields", "comments"])
def test_tokens_are_counted_while_parsing(padding: str) -> None:
    """The parser stops at the first token too many, comments among them."""
    assert load("{ hello" + padding * 7 + "\n}", max_tokens=10).errors == ()
    refused = load("{ hello" + padding * 8 + "\n}", max_tokens=10)
    assert extensions(refused) == refusal("tokens", 10, 11, "QUERY_TOO_LARGE")


DEEP = '{ account(id: "a1") { accounts { nodes { ...Rest } } } } fragment Rest on Account { id }'


def test_depth_goes_through_fragments() -> None:
    """A field counts at the level where it comes out, wherever it is written."""
    assert load(DEEP, max_depth=4).errors == ()
    assert extensions(load(DEEP, max_depth=3)) == refusal("depth", 3, 4)


def test_aliases_count_as_often_as_they_are_spread() -> None:
    """A fragment's aliases count for each spread, and those within introspection too."""
    text = (
        "{ x: hello ...F ... { ...F } __schema { t: types { name } } }"
        " fragment F on Query { y: hello }"
    )
    assert load(text, max_aliases=4).errors == ()
    assert extensions(load(text, max_aliases=3)) == refusal("aliases", 3, 4)


def test_root_mutations_go_through_fragments() -> None:
    """Root fields of a mutation are counted in fragments as well; those of a query are not."""
    fields = "append(value: 1, turns: 0)"
    text = f"mutation {{ {fields} ...F ... {{ {fields} }} }} fragment F on Mutation {{ {fields} }}"
    assert load(text, max_root_mutations=3).errors == ()
    assert extensions(load(text, max_root_mutations=2)) == refusal("rootMutations", 2, 3)
    assert load("{ hello later caller }", max_root_mutations=1).errors == ()


def test_cost_is_refused_where_it_is_known() -> None:
    """Cost is checked when the variables are there: the document itself is fine."""
    text = "query ($n: Int) { accounts(first: $n) { nodes { id } } }"
    operation = load(text, max_cost=101).select(None)
    operation.prepare({"n": 100})
    with pytest.raises(RequestErrors) as failure:
        operation.prepare({"n": 101})
    assert [error.extensions for error in failure.value.errors] == refusal("cost", 101, 102)


@pytest.mark.parametrize("variables", [{}, {"n": 101.0}], ids=["default", "converted"])
def test_what_will_run_is_priced(variables: dict[str, Any]) -> None:
    """Variables are priced as coerced: with their defaults, and 101.0 as the Int it becomes."""
    text = "query ($n: Int = 101) { accounts(first: $n) { nodes { id } } }"
    with pytest.raises(RequestErrors) as failure:
        load(text, max_cost=101).select(None).prepare(variables)
    assert [error.extensions for error in failure.value.errors] == refusal("cost", 101, 102)


def test_several_limits_are_named_together() -> None:
    """A document past several limits learns of all of them at once."""
    text = '{ a: account(id: "a1") { accounts { nodes { id } } } }'
    refused = load(text, max_depth=2, max_aliases=0)
    assert [error.extensions["limit"] for error in refused.errors if error.extensions] == [
        "depth",
        "aliases",
    ]


def test_limits_come_before_validation() -> None:
    """What is past a limit is not validated: unknown fields within it are not reported."""
    text = "{ nope { nope { nope } } }"
    assert extensions(load(text, max_depth=2)) == refusal("depth", 2, 3)
    assert codes(load(text, max_depth=3).errors) == ["GRAPHQL_VALIDATION_FAILED"]


# Bounded work -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [20, 100])
def test_a_fragment_bomb_is_walked_once(length: int) -> None:
    """Fragments that spread each other twice are visited once each, and the document is valid."""
    text = fragment_bomb(length)
    assert walk(text).visits == selections(text) == 2 * length + 2
    assert load(text).errors == ()


def test_a_composite_bomb_is_priced_at_what_it_would_cost() -> None:
    """Doubling below each level is refused by its price, found in as many visits as selections."""
    text = composite_bomb(6)
    assert walk(text).visits == selections(text)
    document = load(text, max_aliases=100)
    operation = document.select(None)
    assert operation.cost({}) == 1 + 4 * (2**6 - 1)
    with pytest.raises(RequestErrors):
        load(text, max_aliases=100, max_cost=252).select(None).prepare({})


def test_sums_saturate() -> None:
    """Sixty doublings do not make a number of 20 digits: sums stop at a thousand million."""
    text = composite_bomb(60)
    ast = parse(text)
    definition = ast.definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    measure = Walk(GRAPHQL_SCHEMA, ast, 50).operation(definition)
    assert measure.cost == measure.aliases == 10**9
    refused = extensions(load(text, max_tokens=5000))
    assert [error["limit"] for error in refused if error] == ["depth", "aliases"]


def test_operations_share_the_measure_of_a_fragment() -> None:
    """Many operations that use one large fragment cost their own selections and it once."""
    fields = " ".join(["hello"] * 100)
    text = " ".join(f"query Q{number} {{ ...F }}" for number in range(50))
    text += f" fragment F on Query {{ {fields} }}"
    assert walk(text).visits == selections(text) == 150


def test_cycles_are_left_to_validation() -> None:
    """Fragments that spread each other in a circle end the walk, and are reported."""
    text = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    assert walk(text).visits == 3
    assert codes(load(text).errors) == ["GRAPHQL_VALIDATION_FAILED"]


def test_long_chains_of_fragments_are_refused() -> None:
    """Nesting through fragments stops before the interpreter's stack does."""
    chain = " ".join(f"fragment F{i} on Query {{ ...F{i + 1} }}" for i in range(240))
    text = f"{{ ...F0 }} {chain} fragment F240 on Query {{ hello }}"
    assert extensions(load(text)) == refusal("nesting", 200, 201)


@pytest.mark.parametrize(
    "text",
    [
        "{" + 'account(id: "a1") { id } ' * 220 + "}",
        "{" + "accounts { nodes { id } } " * 280 + "}",
        "{" + "... { accounts { nodes { id } } } " * 190 + "}",
        "{"
        + " ".join(f"...F{number}" for number in range(110))
        + "}"
        + " ".join(
            f"fragment F{number} on Query {{ accounts {{ nodes {{ id }} }} }}"
            for number in range(110)
        ),
    ],
    ids=["arguments", "objects", "inline fragments", "fragments"],
)
def test_quadratic_validation_has_a_budget(text: str) -> None:
    """Fields repeated within the limit of tokens exhaust a budget of comparisons and are refused.

    Without it the second takes 0.7 s of the event loop's time.
    """
    assert extensions(load(text)) == [{"code": "QUERY_TOO_COMPLEX", "limit": "validation"}]


def test_moderate_repetition_is_within_the_budget() -> None:
    """Forty components that each bring the same fragments and fields are a client's right."""
    text = "{" + " ".join(f"...F{number}" for number in range(40)) + "}"
    text += " ".join(
        f"fragment F{number} on Query {{ hello accounts {{ nodes {{ id name }} }} }}"
        for number in range(40)
    )
    assert load(text).errors == ()


def test_the_standard_introspection_is_allowed() -> None:
    """The query of graphql-js tools, with all its options, passes the limits."""
    text = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=True,
        one_of=True,
    )
    document = load(text)
    assert document.errors == ()
    assert document.select(None).cost({}) == 0


def test_introspection_cannot_be_multiplied() -> None:
    """Types of fields of types, asked for in detail, are past a measure of introspection's own."""
    details = "name kind " + "ofType { name kind " * 9 + "}" * 9
    fields = f"fields {{ args {{ type {{ {details} }} }} type {{ {details} %s }} }}"
    once = f"{{ __schema {{ types {{ {fields % ''} }} }} }}"
    twice = f"{{ __schema {{ types {{ {fields % (fields % '')} }} }} }}"
    assert load(once).errors == ()
    (refused,) = extensions(load(twice))
    assert refused == {
        "code": "QUERY_TOO_COMPLEX",
        "limit": "introspection",
        "max": 5000,
        "actual": 5438,
    }


# Price ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("{ hello later }", {}, 0),
        ("{ __typename }", {}, 0),
        ('{ account(id: "a1") { id } }', {}, 1),
        ("{ accounts { nodes { id } } }", {}, 1 + 50),
        ("{ accounts(first: 10) { nodes { id } } }", {}, 1 + 10),
        ("{ accounts(first: 10) { __typename } }", {}, 1),
        ("{ accounts(last: 10) { nodes { id } } }", {}, 1 + 10),
        ("{ accounts(first: 3, last: 10) { nodes { id } } }", {}, 1 + 10),
        ("{ accounts(first: null) { nodes { id } } }", {}, 1 + 50),
        ("{ accounts(first: 0) { nodes { id } } }", {}, 1 + 1),
        ("{ accounts(first: -5) { nodes { id } } }", {}, 1 + 1),
        (
            "{ accounts(first: 10) { nodes { accounts(first: 20) { nodes { id } } } } }",
            {},
            1 + 10 * (1 + 1 + 20),
        ),
        ("{ accounts(first: 9) { ...C } } fragment C on AccountConnection {nodes { id }}", {}, 10),
        ('{ node(id: "a1") { ... on Account { accounts(first: 5) { nodes { id } } } } }', {}, 7),
        ('{ nodes(ids: ["a1", "a2", "a3"]) { ... on Account { accounts { nodes { id } } } } }', {},
         1 + 3 * (1 + 50)),
        ("query ($n: Int) { accounts(first: $n) { nodes { id } } }", {"n": 7}, 1 + 7),
        ("query ($n: Int) { accounts(first: $n) { nodes { id } } }", {"n": 7.0}, 1 + 7),
        ("query ($n: Int) { accounts(first: $n) { nodes { id } } }", {"n": None}, 1 + 50),
        ("query ($n: Int) { accounts(first: $n) { nodes { id } } }", {}, 1 + 50),
        ("query ($n: Int = 9) { accounts(first: $n) { nodes { id } } }", {}, 1 + 9),
        ("query ($n: Int = 9) { ...Q } fragment Q on Query { accounts(last: $n) { nodes { id } } }",
         {"n": 8}, 1 + 8),
        ("query ($i: [ID!]!) { nodes(ids: $i) { ... on Account { accounts { nodes { id } } } } }",
         {"i": ["a1", "a2"]}, 1 + 2 * 51),
        ("mutation { append(value: 1, turns: 0) }", {}, 10),
        ('mutation { post(input: {accountId: "a1", amount: "1"}) { __typename } }', {}, 11),
        (
            "mutation { a: append(value: 1, turns: 0) ... { b: append(value: 1, turns: 0) } }",
            {},
            22,
        ),
    ],
)  # fmt: skip
def test_price(text: str, variables: dict[str, Any], expected: int) -> None:
    """Objects cost 1 times the page sizes above them, scalars nothing, root mutations 10."""
    assert cost(text, variables) == expected


def test_a_literal_of_many_digits_is_priced_as_the_most() -> None:
    """A page size that no Int can hold is not converted, however long it is."""
    ast = parse("{ accounts(first: 1" + "0" * 5000 + ") { nodes { id } } }")
    definition = ast.definitions[0]
    assert isinstance(definition, OperationDefinitionNode)
    assert Walk(GRAPHQL_SCHEMA, ast, 50).operation(definition).cost == 10**9


def test_cost_is_walked_once_for_a_tuple_of_page_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk is repeated for other page sizes only, not for other variables."""
    operation = load(
        'query ($n: Int, $t: String = "") { text(value: $t) accounts(first: $n) { nodes { id } } }'
    ).select(None)
    walks = []

    class CountedWalk(Walk):
        def operation(self, definition: OperationDefinitionNode) -> module.Measure:
            walks.append(definition)
            return super().operation(definition)

    monkeypatch.setattr(module, "Walk", CountedWalk)
    assert [operation.cost({"n": n, "t": t}) for n in (5, 6) for t in "abc"] == [6] * 3 + [7] * 3
    assert len(walks) == 2


def test_remembered_costs_are_bounded() -> None:
    """A client that varies its page size does not fill our memory with prices."""
    operation = load("query ($n: Int) { accounts(first: $n) { nodes { id } } }").select(None)
    assert [operation.cost({"n": n}) for n in range(1, 500)] == list(range(2, 501))
    assert len(operation._costs) <= module.COSTS_REMEMBERED  # noqa: SLF001


# Errors -----------------------------------------------------------------------------------------


def test_a_syntax_error_has_code_and_place() -> None:
    """A document that does not parse says where."""
    (error,) = load("{\n  hello(\n}").errors
    assert error.formatted == {
        "message": "Syntax Error: Expected Name, found '}'.",
        "locations": [{"line": 3, "column": 1}],
        "extensions": {"code": "GRAPHQL_PARSE_FAILED"},
    }


def test_at_most_five_validation_errors() -> None:
    """Of many mistakes the first five are told, and no sixth entry says that there are more."""
    errors = load("{ n1 n2 n3 n4 n5 n6 n7 n8 }").errors
    assert [error.message for error in errors] == [
        f"Cannot query field 'n{number}' on type 'Query'." for number in range(1, 6)
    ]
    assert codes(errors) == ["GRAPHQL_VALIDATION_FAILED"] * 5


def test_suggestions_are_given() -> None:
    """Callers are known, so a mistyped field gets a hint."""
    (error,) = load("{ helo }").errors
    assert error.message == "Cannot query field 'helo' on type 'Query'. Did you mean 'hello'?"


def test_a_long_name_is_not_echoed_whole() -> None:
    """Messages are clipped: an answer is not as long as its question."""
    (error,) = load("{ " + "x" * 50_000 + " }").errors
    assert len(error.message) == 1001


def test_kept_errors_hold_nothing() -> None:
    """An error that is kept holds neither the tree, nor the source, nor a traceback."""
    for text in ("{", "{ nope }", '{ echo(amount: "x") }'):
        (error,) = load(text).errors
        assert isinstance(error, GraphQLError)
        assert (error.nodes, error.source, error.original_error) == (None, None, None)
        assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{ echo(amount: "x") }', "BAD_USER_INPUT"),
        ("{ echo(amount: 5) }", "BAD_USER_INPUT"),
        ("{ hello(name: 5) }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ echo }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
def test_literals_that_a_custom_scalar_refuses(text: str, code: str) -> None:
    """What a custom scalar refuses is bad input, as a literal and as a variable alike."""
    assert codes(load(text).errors) == [code]


@pytest.mark.parametrize(
    "literal", ['"\\u0000"', '"\\u{0}"', '"""a\0b"""', '"a\0b"'], ids=["u", "u{}", "block", "raw"]
)
def test_nul_in_a_literal_is_refused(literal: str) -> None:
    """PostgreSQL cannot store U+0000, so no way of writing it passes."""
    errors = load(f"{{ text(value: {literal}) }}").errors
    assert codes(errors) in (["BAD_USER_INPUT"], ["GRAPHQL_PARSE_FAILED"])
    assert load('{ text(value: "\\\\u0000") }').errors == ()


@pytest.mark.parametrize("literal", ['"\\ud800"', '"\\u{d800}"', '"\ud800"'])
def test_lone_surrogates_in_a_literal_are_refused(literal: str) -> None:
    """Half a character is no text, however it is written."""
    assert codes(load(f"{{ text(value: {literal}) }}").errors) == ["GRAPHQL_PARSE_FAILED"]


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("query ($a: Amount!) { echo(amount: $a) }", {}),
        ("query ($a: Amount!) { echo(amount: $a) }", {"a": None}),
        ("query ($a: Amount!) { echo(amount: $a) }", {"a": "x"}),
        ("query ($n: String!) { hello(name: $n) }", {"n": ["a", "b"]}),
        ("query ($i: PostInput!) { __typename @skip(if: true) }", {"i": {}}),
        ("query ($s: Selector!) { pick(by: $s) }", {"s": {"id": "1", "name": "x"}}),
    ],
)
def test_variables_that_do_not_fit(text: str, variables: dict[str, Any]) -> None:
    """Variables of another type are a request error: nothing is executed."""
    if "PostInput" in text:
        text = "mutation ($i: PostInput!) { post(input: $i) { __typename } }"
    with pytest.raises(RequestErrors) as failure:
        load(text).select(None).prepare(variables)
    assert set(codes(failure.value.errors)) == {"BAD_USER_INPUT"}


def test_at_most_five_errors_of_variables() -> None:
    """Many wrong variables give the first five errors."""
    operation = load("query ($i: [ID!]!) { nodes(ids: $i) { id } }").select(None)
    with pytest.raises(RequestErrors) as failure:
        operation.prepare({"i": [{}] * 50})
    assert codes(failure.value.errors) == ["BAD_USER_INPUT"] * 5
