"""GraphiQL's examples are documents for this very API."""

import json

import pytest
from graphql import OperationDefinitionNode, parse, validate
from graphql.execution.values import get_variable_values

from app.api.graphiql import Example, examples
from app.api.schema import schema

GRAPHQL_SCHEMA = schema._schema  # noqa: SLF001 (strawberry has no public name for it)


def operation_of(example: Example) -> OperationDefinitionNode:
    [operation] = [
        definition
        for definition in parse(example.query).definitions
        if isinstance(definition, OperationDefinitionNode)
    ]
    return operation


def name_of(example: Example) -> str:
    name = operation_of(example).name
    return name.value if name else "unnamed"


@pytest.mark.parametrize("example", examples(), ids=name_of)
def test_examples_are_valid(example: Example) -> None:
    """Every example is a valid document of one named operation, from which its tab has its name."""
    assert validate(GRAPHQL_SCHEMA, parse(example.query)) == []
    assert operation_of(example).name is not None


@pytest.mark.parametrize("example", examples(), ids=name_of)
def test_variables_of_the_examples_are_valid(example: Example) -> None:
    """The variables of every example are what its operation wants."""
    variables = json.loads(example.variables or "{}")
    definitions = operation_of(example).variable_definitions or ()

    assert sorted(variables) == sorted(definition.variable.name.value for definition in definitions)
    assert not isinstance(get_variable_values(GRAPHQL_SCHEMA, definitions, variables), list)
