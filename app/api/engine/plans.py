"""Plans: an operation compiled once, to be run many times.

graphql-core interprets an operation anew for every request: it collects fields, builds an info for
each, converts arguments through several layers, makes tasks for what is awaited. A plan does that
once. What remains for a request is to turn its variables into Python values, call the resolvers,
and build the answer, level by level, with one fetch a loader and level (`loading.py`).

A plan answers only what is free of errors. It has no error handling at all: whatever it cannot do,
and whatever goes wrong (a variable that does not fit, a resolver that raises, a null where none may
be), is left to graphql-core. Nothing has been done when variables do not fit, and a query that
failed midway is run again from the start. A mutation is not: `Progress` keeps the answers to its
root fields, and the value of the one that could not be completed, and graphql-core goes on from
there. So the fast road cannot give another answer than the slow one; it can only decline to.

A query reads only the columns that its fields are made of (see `nodes.reads`). A row lacks the
others, so a resolver that reads more than it declares raises, and graphql-core reads whole rows.

What resolvers may not do: change what is in their arguments (two fields that take one variable take
one object), or ask their info for more than the context.

Objects are what there are most of, so the fields of one are read by a function written for them
(see `_write`): for each field a shortcut for the type that is expected, and else `_place`, which is
right for every value. What a shortcut answers must be what `_place` would.

Fields are collected by graphql-core's own functions, at compile time. Directives whose variables
decide on fields (@skip, @include) are settled by having a plan for each of their values. Plans
follow fragments wherever they are spread, which may be far more than a document's text, so nothing
is compiled before it is known what the operation costs, and at most MAX_FIELDS of one operation.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import FunctionType, MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

from graphql import (
    BooleanValueNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_nullable_type,
    is_abstract_type,
    is_input_type,
    is_interface_type,
    specified_scalar_types,
    type_from_ast,
)
from graphql.execution.collect_fields import (
    FieldDetails,
    FragmentDetails,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues
from graphql.utilities import coerce_input_literal
from strawberry.types.base import StrawberryMaybe
from strawberry.types.field import StrawberryField

from app.api.engine.loading import Load
from app.api.nodes import row_of
from app.api.scalars import serialize_date_time

MAX_VARIANTS = 8
MAX_FIELDS = 1000
MAX_INT = 2**31
ABSENT: Any = Undefined

Complete = Callable[[Any, "Run"], Any]
Coerce = Callable[[Any], Any]
Evaluate = Callable[[Mapping[str, Any]], Any]
Coercers = Mapping[str, tuple[Coerce, Evaluate | None, bool]]
"""For each variable how to coerce it, its default, and whether it must be given."""
Columns = Mapping[type, frozenset[str] | None]
"""For each kind of row which columns are read; None is all."""


class Shortcut(NamedTuple):
    """For a value that meets the condition, the expression that is its answer."""

    condition: str
    answer: str
    names: Mapping[str, Any] = MappingProxyType({})


_TEXT = Shortcut("type(value) is str", "value")


class Unplanned(Exception):
    """The operation, or this request of it, is not for a plan."""


@dataclass(slots=True)
class Progress:
    """How far a mutation came, by keys of its root fields.

    `answers` are complete; `outcomes` are what resolvers returned, or raised, without an answer.
    """

    answers: dict[str | int, Any] = field(default_factory=dict)
    outcomes: dict[str | int, Any] = field(default_factory=dict)


Deferred = tuple[Any, dict[str, Any], str, Complete]
"""What is awaited, the object of the answer that it belongs to, under what key, and how."""


@dataclass(slots=True)
class Run:
    """One request on its way through a plan."""

    info: Any
    variables: Mapping[str, Any]
    loads: list[Deferred] = field(default_factory=list)
    awaitables: list[Deferred] = field(default_factory=list)

    async def finish(self) -> None:
        """Fetch and complete level by level until nothing is on its way."""
        while self.loads or self.awaitables:
            loads, self.loads = self.loads, []
            awaitables, self.awaitables = self.awaitables, []
            if awaitables:
                values = await asyncio.gather(*(awaited for awaited, *_ in awaitables))
                self._complete(awaitables, values)
            by_loader: dict[Any, list[Deferred]] = {}
            for deferred in loads:
                by_loader.setdefault(deferred[0].loader, []).append(deferred)
            for loader, together in by_loader.items():
                found = await loader.fetch([load.key for load, *_ in together])
                built = (
                    deferred[0].build(value)
                    for deferred, value in zip(together, found, strict=True)
                )
                self._complete(together, built)

    def _complete(self, deferred: Sequence[Deferred], values: Iterable[Any]) -> None:
        for (_, into, key, complete), value in zip(deferred, values, strict=True):
            into[key] = complete(value, self)

    def abandon(self) -> None:
        """Close the coroutines that nobody will await."""
        for awaited, *_ in self.awaitables:
            if inspect.iscoroutine(awaited):
                awaited.close()


class PlannedField(NamedTuple):
    """A field of an object: under what key, how it is resolved, how its value is completed.

    `written` is the expression that `resolve` amounts to, `shortcut` what completion does to a
    value of the expected type; names in braces stand for `names`.
    """

    key: str
    resolve: Callable[[Any, Run], Any]
    complete: Complete
    written: str = "{resolve}(source, run)"
    shortcut: Shortcut | None = None
    nullable: bool = False
    names: Mapping[str, Any] = MappingProxyType({})


class Plan:
    """One operation, for one set of values of the variables in its @skip and @include."""

    def __init__(self, fields: Sequence[PlannedField], serial: bool, columns: Columns) -> None:
        self._fields = fields
        self._columns = columns
        self._fill = None if serial else _write(fields)

    async def run(
        self, context: Any, variables: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any]:
        """The operation's data. Raises whatever goes wrong, as it is.

        `progress` receives what the root fields of a mutation came to.
        """
        # Resolvers get an info that knows the context and nothing else; one that asks it for more
        # raises, and so leaves the operation to graphql-core.
        run = Run(SimpleNamespace(context=context), variables)
        data: dict[str, Any] = {}
        try:
            if self._fill is None:
                await self._run_serially(run, data, progress)
            else:
                if self._columns:
                    context.narrow(self._columns)
                data = self._fill(None, run)
                await run.finish()
        except BaseException:
            run.abandon()
            raise
        return data

    async def _run_serially(self, run: Run, data: dict[str, Any], progress: Progress) -> None:
        for planned in self._fields:
            key = planned.key
            try:
                value = planned.resolve(None, run)
                if hasattr(value, "__await__"):
                    value = await value
            except Unplanned:
                raise  # by the arguments: the resolver has not been called
            except Exception as fault:
                progress.outcomes[key] = fault
                raise
            progress.outcomes[key] = value
            data[key] = planned.complete(value, run)
            await run.finish()
            progress.answers[key] = data[key]


class Plans:
    """The plans of one operation: one for each set of values of the variables that pick fields."""

    def __init__(
        self,
        planner: "Planner",
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
    ) -> None:
        self._planner = planner
        self._operation = operation
        self._fragments = fragments
        self._picking = tuple(_picking_variables(operation, fragments))
        self._defaults = {
            definition.variable.name.value: definition.default_value.value
            for definition in operation.variable_definitions or ()
            if isinstance(definition.default_value, BooleanValueNode)
        }
        self._coercers: Coercers | None = None
        self._plans: dict[tuple[Any, ...], Plan | None] = {}
        self._fields_left = MAX_FIELDS

    def coerce(self, raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Python values of the variables; None where one does not fit, or is not for plans.

        Those left out and without default are absent.
        """
        values = {}
        try:
            if self._coercers is None:
                self._coercers = self._planner.coercers(self._operation)
            for name, (coerce, default, needed) in self._coercers.items():
                value = raw.get(name, ABSENT)
                if value is not ABSENT:
                    values[name] = coerce(value)
                elif default is not None:
                    values[name] = default({})
                elif needed:
                    return None
        except Exception:  # noqa: BLE001 (graphql-core says what does not fit)
            return None
        return values

    def get(self, raw: Mapping[str, Any]) -> Plan | None:
        """The plan for a request with these variables; None where there is none."""
        picks = tuple(raw.get(name, self._defaults.get(name)) for name in self._picking)
        if not all(type(pick) is bool for pick in picks):
            return None
        if picks not in self._plans:
            if len(self._plans) >= MAX_VARIANTS:
                return None
            self._plans[picks] = self._compile(picks)
        return self._plans[picks]

    def _compile(self, picks: tuple[bool, ...]) -> Plan | None:
        conditions = dict(zip(self._picking, picks, strict=True))
        try:
            plan, size = self._planner.plan(
                self._operation, self._fragments, conditions, self._fields_left
            )
        except Exception:  # noqa: BLE001 (graphql-core executes whatever is valid)
            return None
        self._fields_left -= size
        return plan


class Planner:
    """Compiles operations of one schema."""

    def __init__(self, schema: GraphQLSchema, converter: Any) -> None:
        self._schema = schema
        self._converter = converter
        self._objects = {
            definition.origin: type_
            for type_ in schema.type_map.values()
            if isinstance(type_, GraphQLObjectType)
            and (definition := type_.extensions.get("strawberry-definition")) is not None
        }

    def coercers(self, operation: OperationDefinitionNode) -> Coercers:
        """How to read the operation's variables. Raises Unplanned for what plans do not read."""
        compiler = self._compiler(operation, {}, {}, 0)
        return {
            definition.variable.name.value: compiler.variable(definition)
            for definition in operation.variable_definitions or ()
        }

    def plan(
        self,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        conditions: Mapping[str, bool],
        max_fields: int,
    ) -> tuple[Plan, int]:
        """Compile; say also how many fields it has. Raises Unplanned for what plans do not do."""
        root = self._schema.get_root_type(operation.operation)
        if root is None or operation.operation is OperationType.SUBSCRIPTION:
            raise Unplanned
        compiler = self._compiler(operation, fragments, conditions, max_fields)
        collected = collect_fields(
            self._schema, compiler.fragments, compiler.conditions, root, operation
        )
        fields = compiler.fields(root, collected.grouped_field_set)
        plan = Plan(fields, operation.operation is OperationType.MUTATION, compiler.columns)
        return plan, max_fields - compiler.fields_left

    def _compiler(
        self,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        conditions: Mapping[str, bool],
        max_fields: int,
    ) -> "_Compiler":
        return _Compiler(
            self._schema,
            self._converter,
            self._objects,
            operation,
            {name: FragmentDetails(node) for name, node in fragments.items()},
            VariableValues(sources={}, coerced=dict(conditions)),
            max_fields,
        )


def _picking_variables(
    operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> Iterable[str]:
    """The variables in @skip and @include."""
    found: dict[str, None] = {}
    waiting: list[Any] = [operation, *fragments.values()]
    while waiting:
        node = waiting.pop()
        for directive in node.directives or ():
            for argument in directive.arguments or ():
                if isinstance(argument.value, VariableNode):
                    found[argument.value.name.value] = None
        selection_set = getattr(node, "selection_set", None)
        if selection_set is not None:
            waiting.extend(selection_set.selections)
    return found


def _place(into: dict[str, Any], value: Any, key: str, complete: Complete, run: Run) -> None:
    """Put the answer that a value makes into an object, or note that it is awaited."""
    if hasattr(value, "__await__"):
        into[key] = None
        run.awaitables.append((value, into, key, complete))
    else:
        into[key] = complete(value, run)


def _write(fields: Sequence[PlannedField], origin: type | None = None) -> Complete:
    """A function that answers with these fields of an object; of that type, if one is given.

    Keys are names of GraphQL and attributes names of Python; all else is bound, never written.
    """
    bound: dict[str, Any] = {
        "place": _place,
        "Load": Load,
        "Unplanned": Unplanned,
        "origin": origin,
    }
    lines = ["def written(source, run):"]
    if origin is not None:
        lines += ["    if type(source) is not origin:", "        raise Unplanned"]
    lines += ["    info = run.info", "    loads = run.loads", "    answer = {}"]
    for number, planned in enumerate(fields):
        shortcut = planned.shortcut
        names = {"resolve": planned.resolve, "complete": planned.complete, **planned.names}
        if shortcut is not None:
            names |= shortcut.names
        bound |= {f"{name}{number}": value for name, value in names.items()}
        spelled = {name: f"{name}{number}" for name in names}
        slot = f"answer[{planned.key!r}]"
        lines.append(f"    value = {planned.written.format(**spelled)}")
        word = "if"
        if shortcut is not None:
            lines += [
                f"    if {shortcut.condition.format(**spelled)}:",
                f"        {slot} = {shortcut.answer.format(**spelled)}",
            ]
            word = "elif"
        if planned.nullable:
            lines += [f"    {word} value is None:", f"        {slot} = None"]
            word = "elif"
        arguments = f"{planned.key!r}, {spelled['complete']}"
        lines += [
            f"    {word} type(value) is Load:",
            f"        {slot} = None",
            f"        loads.append((value, answer, {arguments}))",
            "    else:",
            f"        place(answer, value, {arguments}, run)",
        ]
    lines.append("    return answer")
    exec(compile("\n".join(lines), "<plan>", "exec"), bound)  # noqa: S102  our own text
    written: Complete = bound["written"]
    return written


class _Compiler:
    """Compiles one operation; see the module's head for what it leaves out."""

    def __init__(
        self,
        schema: GraphQLSchema,
        converter: Any,
        objects: Mapping[type, GraphQLObjectType],
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDetails],
        conditions: VariableValues,
        max_fields: int,
    ) -> None:
        self.schema = schema
        self.converter = converter
        self.objects = objects
        self.operation = operation
        self.fragments = fragments
        self.conditions = conditions
        self.fields_left = max_fields
        self.columns: dict[type, frozenset[str] | None] = {}

    # ---- output ----------------------------------------------------------------------------------

    def fields(
        self, parent: GraphQLObjectType, grouped: Mapping[str, list[FieldDetails]]
    ) -> Sequence[PlannedField]:
        return [self._field(parent, key, details) for key, details in grouped.items()]

    def _field(
        self, parent: GraphQLObjectType, key: str, details: list[FieldDetails]
    ) -> PlannedField:
        self.fields_left -= 1
        if self.fields_left < 0:
            raise Unplanned(key)
        node = details[0].node
        name = node.name.value
        if name == "__typename":
            type_name = parent.name
            return PlannedField(
                key, lambda _source, _run: type_name, _as_it_is, repr(type_name), _TEXT
            )
        definition = parent.fields.get(name)
        own = definition and definition.extensions.get("strawberry-definition")
        if definition is None or type(own) is not StrawberryField:
            raise Unplanned(name)
        if own.extensions or own.permission_classes or own.default_resolver is not getattr:
            raise Unplanned(name)
        complete = self._complete(definition.type, details)
        resolve, written, names = self._resolver(own, definition, node)
        self._note_columns(parent, own)
        nullable = not isinstance(definition.type, GraphQLNonNull)
        shortcut = _shortcut(get_nullable_type(definition.type))
        return PlannedField(key, resolve, complete, written, shortcut, nullable, names)

    def _note_columns(self, parent: GraphQLObjectType, own: StrawberryField) -> None:
        row = row_of(parent.extensions["strawberry-definition"].origin)
        if row is None:
            return
        known: frozenset[str] | None = self.columns.get(row, frozenset())
        read = getattr(own.base_resolver and own.base_resolver.wrapped_func, "reads", None)
        self.columns[row] = None if known is None or read is None else known | read

    def _resolver(
        self, own: StrawberryField, definition: GraphQLField, node: FieldNode
    ) -> tuple[Callable[[Any, Run], Any], str, Mapping[str, Any]]:
        """As a function, and as what can be written for it, with the names therein."""
        if own.base_resolver is None:
            attribute = own.python_name
            return lambda source, _: getattr(source, attribute), f"source.{attribute}", {}
        resolver = own.base_resolver
        assert resolver is not None
        call = resolver.wrapped_func
        reserved = {known.name for known in resolver.reserved_parameters.values() if known}
        if not isinstance(call, FunctionType) or not {"self"} <= reserved <= {"self", "info"}:
            raise Unplanned(own.python_name)
        arguments = self._arguments(own, definition, node)
        with_info = "info" in reserved
        if not arguments and with_info:
            written = "{call}(source, info=info)"
            return lambda source, run: call(source, info=run.info), written, {"call": call}
        if not arguments:
            return lambda source, _: call(source), *_written_call(call)

        def resolve(source: Any, run: Run) -> Any:
            given = {}
            try:
                for name, evaluate in arguments:
                    value = evaluate(run.variables)
                    if value is not ABSENT:
                        given[name] = value
            except Exception as fault:
                raise Unplanned from fault
            if with_info:
                given["info"] = run.info
            return call(source, **given)

        return resolve, "{resolve}(source, run)", {}

    def _complete(self, type_: GraphQLOutputType, details: list[FieldDetails]) -> Complete:
        if isinstance(type_, GraphQLNonNull):
            return self._complete_present(type_.of_type, details)
        inner = self._complete_present(type_, details)
        return lambda value, run: None if value is None else inner(value, run)

    def _complete_present(self, type_: Any, details: list[FieldDetails]) -> Complete:
        """For a value that may not be null."""
        if isinstance(type_, GraphQLList):
            return self._complete_list(type_.of_type, details)
        if isinstance(type_, GraphQLObjectType):
            return self._complete_object(type_, details)
        if is_abstract_type(type_):
            return self._complete_abstract(type_, details)
        return _complete_leaf(type_)

    def _complete_list(self, item: GraphQLOutputType, details: list[FieldDetails]) -> Complete:
        complete = self._complete(item, details)

        def items(value: Any, run: Run) -> list[Any]:
            if type(value) is not list:
                raise Unplanned
            return [complete(element, run) for element in value]

        return items

    def _complete_object(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> Complete:
        collected = collect_subfields(
            self.schema, self.fragments, self.conditions, self.operation, type_, details
        )
        definition = type_.extensions.get("strawberry-definition")
        if definition is None or definition.is_type_of is not None:
            raise Unplanned(type_.name)
        generic = definition.concrete_of
        origin = definition.origin if generic is None else generic.origin
        return _write(self.fields(type_, collected.grouped_field_set), origin)

    def _complete_abstract(
        self, type_: GraphQLAbstractType, details: list[FieldDetails]
    ) -> Complete:
        definition = type_.extensions.get("strawberry-definition")
        if getattr(definition, "resolve_type", None) is not None and is_interface_type(type_):
            raise Unplanned(type_.name)
        possible = set(self.schema.get_possible_types(type_))
        members = {
            origin: self._complete_object(member, details)
            for origin, member in self.objects.items()
            if member in possible
        }
        if len(members) != len(possible):
            raise Unplanned(type_.name)

        def abstract(value: Any, run: Run) -> Any:
            complete = members.get(type(value))
            if complete is None:
                raise Unplanned
            return complete(value, run)

        return abstract

    # ---- input -----------------------------------------------------------------------------------

    def variable(self, definition: VariableDefinitionNode) -> tuple[Coerce, Evaluate | None, bool]:
        type_ = type_from_ast(self.schema, definition.type)
        if type_ is None or not is_input_type(type_):
            raise Unplanned
        coerce, default = self._coerce(type_), definition.default_value
        if default is not None:
            return coerce, self._literal(default, type_), False
        return coerce, None, isinstance(type_, GraphQLNonNull)

    def _arguments(
        self, own: StrawberryField, definition: GraphQLField, node: FieldNode
    ) -> Sequence[tuple[str, Evaluate]]:
        """Python names and values; where a value is absent, Python has the default."""
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        found = []
        for argument in own.arguments:
            name = self.converter.get_graphql_name(argument)
            declared = definition.args[name]
            if name in given:
                evaluate = self._literal(given[name], declared.type, needed=_is_needed(declared))
                found.append((argument.python_name, evaluate))
            elif _is_needed(declared):
                raise Unplanned(name)
        return found

    def _coerce(self, type_: GraphQLInputType, *, nullable: bool = True) -> Coerce:
        if isinstance(type_, GraphQLNonNull):
            return self._coerce(type_.of_type, nullable=False)
        if isinstance(type_, GraphQLList):
            item = self._coerce(type_.of_type)

            def items(value: Any) -> Any:
                if type(value) is list:
                    return [item(element) for element in value]
                return _null(value, nullable)

            return items
        if isinstance(type_, GraphQLInputObjectType):
            return self._coerce_object(type_, nullable)
        return _coerce_leaf(type_, nullable)

    def _coerce_object(self, type_: GraphQLInputObjectType, nullable: bool) -> Coerce:
        build = _input_class(type_)
        parts = {
            name: (_python_name(part), self._coerce(part.type))
            for name, part in type_.fields.items()
        }
        needed = {name for name, part in type_.fields.items() if _is_needed(part)}

        def object_(value: Any) -> Any:
            if type(value) is not dict:
                return _null(value, nullable)
            if not needed <= value.keys():
                raise Unplanned
            given = {}
            for name, raw in value.items():
                python_name, coerce = parts[name]  # or else KeyError
                given[python_name] = coerce(raw)
            return build(**given)

        return object_

    def _literal(
        self, node: ValueNode, type_: GraphQLInputType, *, needed: bool = True
    ) -> Evaluate:
        """A value in the document, given the variables; ABSENT for one that is left out."""
        if isinstance(node, VariableNode):
            nullable = not isinstance(type_, GraphQLNonNull)
            return _variable(node.name.value, nullable=nullable, needed=needed)
        if isinstance(type_, GraphQLNonNull):
            return self._literal(node, type_.of_type)
        if isinstance(node, NullValueNode):
            return lambda _: None
        if isinstance(type_, GraphQLList):
            return self._list_literal(node, type_)
        if isinstance(type_, GraphQLInputObjectType):
            return self._object_literal(node, type_)
        return _constant(node, type_)

    def _list_literal(self, node: ValueNode, type_: GraphQLList[Any]) -> Evaluate:
        nodes = node.values if isinstance(node, ListValueNode) else [node]
        items = [self._literal(item, type_.of_type) for item in nodes]

        return lambda variables: [item(variables) for item in items]

    def _object_literal(self, node: ValueNode, type_: GraphQLInputObjectType) -> Evaluate:
        if not isinstance(node, ObjectValueNode):
            raise Unplanned
        build = _input_class(type_)
        parts = []
        for given_field in node.fields:
            part = type_.fields[given_field.name.value]
            evaluate = self._literal(given_field.value, part.type, needed=_is_needed(part))
            parts.append((_python_name(part), evaluate))

        def evaluate_object(variables: Mapping[str, Any]) -> Any:
            given = {}
            for name, evaluate in parts:
                value = evaluate(variables)
                if value is not ABSENT:
                    given[name] = value
            return build(**given)

        return evaluate_object


_EXACT: Mapping[str, type] = {"String": str, "ID": str, "Boolean": bool, "Int": int}
"""Python's own types of the scalars that pass as they are; others are for graphql-core."""


def _as_it_is(value: Any, _: Run) -> Any:
    return value


def _complete_leaf(type_: GraphQLLeafType) -> Complete:
    if isinstance(type_, GraphQLEnumType):
        names = {member: name for name, member in _members(type_).items()}
        return lambda value, _: names[value]
    exact = _EXACT.get(type_.name)
    if exact is int:
        return _small_integer
    if exact is None:
        return _complete_scalar(type_)

    def same(value: Any, _: Run) -> Any:
        if type(value) is not exact:
            raise Unplanned
        return value

    return same


def _complete_scalar(type_: GraphQLScalarType) -> Complete:
    if type_.name in specified_scalar_types:
        raise Unplanned(type_.name)
    serialize = type_.coerce_output_value

    def scalar(value: Any, _: Run) -> Any:
        if value is None or isinstance(value, Exception):
            raise Unplanned
        answer = serialize(value)
        if answer is None or answer is Undefined:
            raise Unplanned
        return answer

    return scalar


_PLAIN = frozenset({str, int, bool, dict, datetime})
"""Types of which nothing is awaitable, nor an exception."""


def _written_call(call: FunctionType) -> tuple[str, Mapping[str, Any]]:
    """A resolver without arguments, or what it does itself (see `nodes.of_row`)."""
    read = getattr(call, "of_row", None)
    if isinstance(read, str):
        return f"source.row.{read}", {}
    if read is not None:
        return "{read}(source.row)", {"read": read}
    return "{call}(source)", {"call": call}


def _shortcut(type_: GraphQLOutputType) -> Shortcut | None:
    """For values of the type that is expected, if there is one."""
    if isinstance(type_, GraphQLList):
        return Shortcut("type(value) is list", "{complete}(value, run)")
    if isinstance(type_, GraphQLEnumType):
        members = _members(type_)
        names: Mapping[str, Any] = {
            "kind": type(next(iter(members.values()))),
            "names": {member.name: name for name, member in members.items()},
        }
        condition = "type(value) is {kind} and value._name_ in {names}"
        return Shortcut(condition, "{names}[value._name_]", names)
    return _scalar_shortcut(type_) if isinstance(type_, GraphQLScalarType) else None


def _scalar_shortcut(type_: GraphQLScalarType) -> Shortcut:
    exact = _EXACT.get(type_.name)
    if exact is int:
        return Shortcut(f"type(value) is int and {-MAX_INT} <= value < {MAX_INT}", "value")
    if exact is not None:
        return Shortcut(f"type(value) is {exact.__name__}", "value")
    serialize = type_.coerce_output_value
    if serialize is str:
        return Shortcut("type(value) is int", "str(value)")
    if serialize is serialize_date_time:
        # The encoder of the whole answer writes it just so, but for whole seconds.
        condition = "type(value) is {moment} and value.microsecond and value.tzinfo is {utc}"
        return Shortcut(condition, "value", {"moment": datetime, "utc": UTC})
    condition = (
        "type(value) in {plain} and (text := {serialize}(value)) is not None"
        " and text is not {absent}"
    )
    return Shortcut(condition, "text", {"plain": _PLAIN, "serialize": serialize, "absent": ABSENT})


def _null(value: Any, nullable: bool) -> None:
    """For what is of no other use than as a null."""
    if value is not None or not nullable:
        raise Unplanned


def _coerce_leaf(type_: GraphQLInputType, nullable: bool) -> Coerce:
    if isinstance(type_, GraphQLEnumType):
        nulls: dict[Any, Any] = {None: None} if nullable else {}
        members = nulls | dict(_members(type_))
        return lambda value: members[value]
    assert isinstance(type_, GraphQLScalarType)
    exact = _EXACT.get(type_.name)
    if exact is int:
        return lambda value: (
            _null(value, nullable) if value is None else _small_integer(value, None)
        )
    if exact is not None:

        def same(value: Any) -> Any:
            return value if type(value) is exact else _null(value, nullable)

        return same
    if type_.name in specified_scalar_types:
        raise Unplanned(type_.name)
    parse = type_.coerce_input_value

    def custom(value: Any) -> Any:
        if value is None:
            return _null(value, nullable)
        parsed = parse(value)
        if parsed is None or parsed is Undefined:
            raise Unplanned
        return parsed

    return custom


def _small_integer(value: Any, _: object) -> Any:
    if type(value) is not int or not -MAX_INT <= value < MAX_INT:
        raise Unplanned
    return value


def _variable(name: str, *, nullable: bool, needed: bool) -> Evaluate:
    def variable(variables: Mapping[str, Any]) -> Any:
        value = variables.get(name, ABSENT)
        if (value is None and not nullable) or (value is ABSENT and needed):
            raise Unplanned
        return value

    return variable


def _constant(node: ValueNode, type_: GraphQLLeafType) -> Evaluate:
    if _holds_variable(node):
        raise Unplanned
    value = coerce_input_literal(node, type_)
    if value is Undefined:
        raise Unplanned
    if isinstance(value, dict | list):
        return lambda _: coerce_input_literal(node, type_)  # each request has its own
    return lambda _: value


def _members(type_: GraphQLEnumType) -> Mapping[str, Any]:
    own = type_.extensions["strawberry-definition"].wrapped_cls
    return {name: own(declared.value) for name, declared in type_.values.items()}


def _input_class(type_: GraphQLInputObjectType) -> Callable[..., Any]:
    """What is built of an input, where nothing but its fields says how."""
    definition = type_.extensions["strawberry-definition"]
    if definition.is_one_of or definition.from_input is not None:
        raise Unplanned(type_.name)
    if any(isinstance(part.type, StrawberryMaybe) for part in definition.fields):
        raise Unplanned(type_.name)
    build: Callable[..., Any] = definition.origin
    return build


def _python_name(part: GraphQLInputField) -> str:
    name: str = part.extensions["strawberry-definition"].python_name
    return name


def _is_needed(part: GraphQLArgument | GraphQLInputField) -> bool:
    return isinstance(part.type, GraphQLNonNull) and part.default_value is Undefined


def _holds_variable(node: ValueNode) -> bool:
    if isinstance(node, ObjectValueNode):
        return any(_holds_variable(item.value) for item in node.fields)
    if isinstance(node, ListValueNode):
        return any(map(_holds_variable, node.values))
    return isinstance(node, VariableNode)
