"""Documents of GraphQL: read once, held to every limit, priced, and kept for the next request.

Reading a document (parse, measure, validate) costs ten to a hundred times what executing it does,
and all of it happens on the event loop, so it is done once for a text, and no step is taken before
the last one has bounded it:

1. *bytes* and *tokens* bound the text, before and while it is parsed;
2. one walk measures *depth*, *aliases*, *root mutations* and *introspection*. It visits each
   selection of the text once: what a fragment measures does not depend on where it is spread, so
   a spread is a look-up, and `fragment F0 on T {...F1 ...F1}` repeated n times costs n, not 2^n;
3. validation follows only for documents within those limits. It is quadratic in places
   (whether fields that overlap can be merged; each operation against each fragment it uses), so
   the limit on tokens is what bounds it, and besides it has a budget of comparisons;
4. *cost* depends on page sizes, which may be variables: it is priced by the same walk once the
   variables are coerced (their defaults and conversions included, so that what is priced is what
   will run), and remembered for each tuple of page sizes.

Price: an object or a connection 1, all below a field with `first`, `last` or `ids` times that many
(the default page where no size is given), a scalar 0, but 1 under an alias, a root field of a
mutation 10 besides what it returns. Sums saturate at 10^9.

What is kept must not be evictable by junk. A new text enters the shelf of newcomers, and so does
one that failed; a valid document moves to the regulars when it is asked for again. Unique texts,
valid or not, only ever push out each other.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    MiddlewareManager,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    TokenKind,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_introspection_type,
    is_list_type,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import Path
from graphql.validation import OverlappingFieldsCanBeMergedRule, ValidationContext
from graphql.validation.validate import ValidationAbortedError
from strawberry.execution import optimized_is_awaitable

from app.api.engine.plans import Plan, Planner, Plans, Progress
from app.api.errors import Code, CodedError, RequestErrors, settled
from app.store.database import Unavailable

MAX_ERRORS = 5
MAX_NESTING = 200
MAX_INTROSPECTION = 5000
INTROSPECTED_LIST = 5
MAX_FIELD_COMPARISONS = 50_000
MUTATION_PRICE = 10
SATURATED = 10**9

PAGE_ARGUMENTS = frozenset({"first", "last"})
SIZE_ARGUMENTS = PAGE_ARGUMENTS | {"ids"}

REGULARS = 1000
NEWCOMERS = 200
REGULAR_BYTES = 64 * 1024 * 1024
NEWCOMER_BYTES = 16 * 1024 * 1024
TOKEN_BYTES = 600
COSTS_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may ask for; `default_page_size` is priced where it names no size."""

    max_query_bytes: int
    max_tokens: int
    max_depth: int
    max_aliases: int
    max_root_mutations: int
    max_cost: int
    default_page_size: int = 50


class Measure(NamedTuple):
    """Of one selection set and all below it; `fields` counts those of its own level."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    introspection: int = 0
    cost: int = 0


NOTHING = Measure()
NO_VARIABLES: Mapping[str, object] = MappingProxyType({})


class Walk:
    """Measures the operations of one document, given the page sizes in its variables.

    It runs before validation, so it takes unknown names and cycles of fragments as nothing and
    leaves them to be reported. Introspection is exempt from depth and cost, for the standard query
    is deep; it has a measure of its own: fields to resolve for each type of the schema, where
    the lists of a type are reckoned at five. The standard query comes to some 2,500.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        ast: DocumentNode,
        default_page_size: int,
        variables: Mapping[str, object] = NO_VARIABLES,
    ) -> None:
        self.visits = 0
        self.page_variables: dict[str, None] = {}
        self._schema = schema
        self._default_page_size = default_page_size
        self._variables = variables
        self._fragments = {
            definition.name.value: definition
            for definition in ast.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self._measured: dict[str, Measure] = {}
        self._open: set[str] = set()
        self._level = 0

    def operation(self, definition: OperationDefinitionNode) -> Measure:
        root = self._schema.get_root_type(definition.operation)
        measure = self._selection_set(definition.selection_set, root)
        if definition.operation is OperationType.MUTATION:
            cost = min(measure.cost + MUTATION_PRICE * measure.fields, SATURATED)
            return measure._replace(cost=cost)
        return measure

    def _selection_set(
        self, selection_set: SelectionSetNode, parent: GraphQLNamedType | None
    ) -> Measure:
        self._level += 1
        if self._level > MAX_NESTING:
            raise RequestErrors(_too_complex("nesting", MAX_NESTING, self._level))
        depth = aliases = fields = introspection = cost = 0
        for selection in selection_set.selections:
            self.visits += 1
            if isinstance(selection, FieldNode):
                part = self._field(selection, parent)
            elif isinstance(selection, FragmentSpreadNode):
                part = self._fragment(selection.name.value)
            else:
                assert isinstance(selection, InlineFragmentNode)
                condition = selection.type_condition
                narrowed = self._schema.get_type(condition.name.value) if condition else parent
                part = self._selection_set(selection.selection_set, narrowed)
            depth = max(depth, part.depth)
            aliases += part.aliases
            fields += part.fields
            introspection += part.introspection
            cost += part.cost
        self._level -= 1
        return Measure(
            depth,
            min(aliases, SATURATED),
            min(fields, SATURATED),
            min(introspection, SATURATED),
            min(cost, SATURATED),
        )

    def _fragment(self, name: str) -> Measure:
        measure = self._measured.get(name)
        if measure is not None:
            return measure
        fragment = self._fragments.get(name)
        if fragment is None or name in self._open:
            return NOTHING
        self._open.add(name)
        condition = self._schema.get_type(fragment.type_condition.name.value)
        measure = self._measured[name] = self._selection_set(fragment.selection_set, condition)
        self._open.discard(name)
        return measure

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Measure:
        name = node.name.value
        aliases = 1 if node.alias else 0
        if node.selection_set is None:
            introspection = 1 if parent and is_introspection_type(parent) else 0
            return Measure(1, aliases, 1, introspection, aliases)
        definition = self._schema.get_field(parent, name) if is_composite_type(parent) else None
        named = get_named_type(definition.type) if definition else None
        below = self._selection_set(node.selection_set, named)
        aliases += below.aliases
        if definition is None or named is None:
            return Measure(below.depth + 1, aliases, 1, below.introspection, below.cost)
        if is_introspection_type(named):
            listed = is_list_type(get_nullable_type(definition.type)) and name != "types"
            times = INTROSPECTED_LIST if listed else 1
            return Measure(1, aliases, 1, 1 + below.introspection * times)
        cost = 1 + below.cost * self._page_size(definition, node)
        return Measure(below.depth + 1, aliases, 1, below.introspection, cost)

    def _page_size(self, definition: GraphQLField, node: FieldNode) -> int:
        declared = SIZE_ARGUMENTS & definition.args.keys()
        if not declared:
            return 1
        sizes = [
            size
            for argument in node.arguments or ()
            if argument.name.value in declared and (size := self._size(argument.value)) is not None
        ]
        if sizes:
            return max(1, *sizes)
        return self._default_page_size if PAGE_ARGUMENTS & declared else 1

    def _size(self, value: ValueNode) -> int | None:
        if isinstance(value, IntValueNode):
            return int(value.value) if len(value.value) < len(str(SATURATED)) else SATURATED
        if isinstance(value, ListValueNode):
            return len(value.values)
        if isinstance(value, VariableNode):
            name = value.name.value
            self.page_variables[name] = None
            return _size_of(self._variables.get(name))
        return None


class Operation:
    """One operation of a valid document, ready to be priced and executed."""

    __slots__ = (
        "_ast",
        "_costs",
        "_limits",
        "_page_variables",
        "_plans",
        "_schema",
        "definition",
        "name",
    )

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        ast: DocumentNode,
        definition: OperationDefinitionNode,
        page_variables: tuple[str, ...],
        plans: Plans | None,
    ) -> None:
        self.definition = definition
        self._plans = plans
        self.name = definition.name.value if definition.name else None
        self._schema = schema
        self._limits = limits
        self._ast = ast
        self._page_variables = page_variables
        self._costs: dict[tuple[int | None, ...], int] = {}

    @property
    def type(self) -> OperationType:
        return self.definition.operation

    def cost(self, variables: Mapping[str, object]) -> int:
        """The price under these variables, which are coerced ones, their defaults included."""
        sizes = tuple(_size_of(variables.get(name)) for name in self._page_variables)
        cost = self._costs.get(sizes)
        if cost is None:
            walk = Walk(self._schema, self._ast, self._limits.default_page_size, variables)
            if len(self._costs) >= COSTS_REMEMBERED:
                self._costs.clear()
            cost = self._costs[sizes] = walk.operation(self.definition).cost
        return cost

    def prepare(self, variables: dict[str, Any]) -> "Prepared":
        """The operation with these variables, coerced and priced: by a plan, or else an executor.

        Raises RequestErrors.
        """
        if self._plans is not None:
            values = self._plans.coerce(variables)
            if values is not None:
                self._charge(values)
                plan = self._plans.get(variables)
                if plan is not None:
                    return Prepared(self, variables, plan, values)
        return Prepared(self, variables, None, {}, self.executor(variables))

    def executor(
        self, variables: dict[str, Any], progress: Progress | None = None
    ) -> Executor[Any]:
        """An executor with these variables, which awaits its `context_value`.

        It goes on from the progress of a plan, if there was one. Raises RequestErrors.
        """
        executor = Resuming.build(
            self._schema,
            self._ast,
            raw_variable_values=variables,
            operation_name=self.name,
            max_coercion_errors=MAX_ERRORS,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]
            middleware=None if progress is None else _keep(progress),
        )
        if isinstance(executor, list):
            raise RequestErrors(
                *(settled(error, Code.BAD_USER_INPUT) for error in executor[:MAX_ERRORS])
            )
        if progress is not None:
            assert isinstance(executor, Resuming)
            executor.answers = progress.answers
        self._charge(executor.variable_values.coerced)
        return executor

    def _charge(self, variables: Mapping[str, object]) -> None:
        cost = self.cost(variables)
        if cost > self._limits.max_cost:
            raise RequestErrors(_too_complex("cost", self._limits.max_cost, cost))


class Resuming(Executor[Any]):
    """graphql-core's execution, but for the root fields that a plan has answered already."""

    answers: Mapping[str | int, Any] = MappingProxyType({})

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: list[FieldDetails],
        path: Path,
        position_context: Any,
    ) -> Any:
        if path.prev is None and path.key in self.answers:
            return self.answers[path.key]
        return super().execute_field(
            parent_type, source, field_details_list, path, position_context
        )


def _keep(progress: Progress) -> MiddlewareManager:
    """Give the values, or raise the exceptions, that root fields came to before."""

    def resolve(
        following: Any, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any
    ) -> Any:
        if info.path.prev is not None or info.path.key not in progress.outcomes:
            return following(source, info, **arguments)
        outcome = progress.outcomes[info.path.key]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return MiddlewareManager(resolve)


class Prepared:
    """An operation ready to run: by its plan if it has one, and what that declines by graphql-core.

    The two take a context each, for a failed statement leaves a snapshot unusable.
    """

    __slots__ = ("_executor", "_operation", "_plan", "_progress", "_values", "_variables")

    def __init__(
        self,
        operation: Operation,
        variables: dict[str, Any],
        plan: Plan | None,
        values: Mapping[str, Any],
        executor: Executor[Any] | None = None,
    ) -> None:
        self._operation = operation
        self._variables = variables
        self._plan = plan
        self._values = values
        self._executor = executor
        self._progress = Progress()

    @property
    def planned(self) -> bool:
        return self._plan is not None

    async def run_plan(self, context: object) -> ExecutionResult | None:
        """The result; None where the plan declines.

        It is free of errors unless the store was unavailable. Then the store is not asked again:
        graphql-core puts into words, in the same context, what that has and what it lacks.
        """
        assert self._plan is not None
        try:
            data = await self._plan.run(context, self._values, self._progress)
        except Unavailable:
            return await self.run(context)
        except Exception:  # noqa: BLE001 (graphql-core will come to it again, and report it)
            return None
        return ExecutionResult(data, None)

    async def run(self, context: object) -> ExecutionResult:
        """The result by graphql-core; a fault of its own becomes an error like a resolver's."""
        executor = self._executor or self._operation.executor(self._variables, self._progress)
        executor.context_value = context
        try:
            outcome = executor.execute_operation()
            if isinstance(outcome, Awaitable):
                outcome = await outcome
        except Exception as fault:  # noqa: BLE001 (masked and reported with the others)
            return ExecutionResult(None, [GraphQLError("", original_error=fault)])
        assert isinstance(outcome, ExecutionResult)
        return outcome


class Document:
    """A text that was read: either its operations by name, or the errors that all requests get."""

    __slots__ = ("errors", "operations", "weight")

    def __init__(
        self,
        weight: int,
        operations: Mapping[str | None, Operation] = MappingProxyType({}),
        errors: tuple[GraphQLError, ...] = (),
    ) -> None:
        self.weight = weight
        self.operations = operations
        self.errors = errors

    def select(self, operation_name: str | None) -> Operation:
        """The operation of that name, or the only one; `RequestErrors` where there is none."""
        if self.errors:
            raise RequestErrors(*self.errors)
        if operation_name is not None:
            operation = self.operations.get(operation_name)
            if operation is None:
                raise _unresolved("The document has no operation of the name given.")
            return operation
        if len(self.operations) != 1:
            raise _unresolved("operationName must say which of the document's operations to run.")
        return next(iter(self.operations.values()))


class Shelf:
    """Documents by text, as many and as heavy as bounded, least recently used leaving first."""

    def __init__(self, max_count: int, max_weight: int) -> None:
        self.weight = 0
        self._max_count = max_count
        self._max_weight = max_weight
        self._documents: OrderedDict[str, Document] = OrderedDict()

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, text: str) -> bool:
        return text in self._documents

    def get(self, text: str) -> Document | None:
        document = self._documents.get(text)
        if document is not None:
            self._documents.move_to_end(text)
        return document

    def put(self, text: str, document: Document) -> None:
        self.discard(text)
        self._documents[text] = document
        self.weight += document.weight
        while len(self._documents) > self._max_count or self.weight > self._max_weight:
            _, evicted = self._documents.popitem(last=False)
            self.weight -= evicted.weight

    def discard(self, text: str) -> None:
        document = self._documents.pop(text, None)
        if document is not None:
            self.weight -= document.weight


class Documents:
    """All documents of one schema. Not for threads: it lives on one event loop."""

    def __init__(
        self, schema: GraphQLSchema, limits: Limits, planner: Planner | None = None
    ) -> None:
        self.limits = limits
        self._planner = planner
        self.regulars = Shelf(REGULARS, REGULAR_BYTES)
        self.newcomers = Shelf(NEWCOMERS, NEWCOMER_BYTES)
        self._schema = schema

    def load(self, text: str) -> Document:
        document = self.regulars.get(text)
        if document is not None:
            return document
        document = self.newcomers.get(text)
        if document is None:
            if oversize := self._oversize(text):
                return Document(weight=0, errors=(oversize,))
            document = self._read(text)
            self.newcomers.put(text, document)
        elif not document.errors:
            self.newcomers.discard(text)
            self.regulars.put(text, document)
        return document

    def _read(self, text: str) -> Document:
        try:
            ast = self._parse(text)
            operations = self._operations(ast)
            self._validate(ast)
        except RequestErrors as failure:
            errors = tuple(failure.errors)
            return Document(weight=2 * len(text) + TOKEN_BYTES * len(errors), errors=errors)
        weight = 2 * len(text) + TOKEN_BYTES * _tokens_of(ast)
        return Document(weight, {operation.name: operation for operation in operations})

    def _oversize(self, text: str) -> GraphQLError | None:
        size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
        if size > self.limits.max_query_bytes:
            return _too_large("bytes", self.limits.max_query_bytes, size)
        return None

    def _parse(self, text: str) -> DocumentNode:
        limit = self.limits.max_tokens
        try:
            ast = parse(text, max_tokens=limit)
        except GraphQLSyntaxError as error:
            # The parser tells this from other errors by its words only, and stops counting there.
            if f"more than {limit} tokens" in error.message:
                raise RequestErrors(_too_large("tokens", limit, limit + 1)) from None
            raise RequestErrors(settled(error, Code.GRAPHQL_PARSE_FAILED)) from None
        if ("\\u" in text or "\0" in text) and _holds_nul(ast):
            raise RequestErrors(
                CodedError(Code.BAD_USER_INPUT, "Text must not hold the character U+0000.")
            )
        return ast

    def _operations(self, ast: DocumentNode) -> list[Operation]:
        definitions = [
            definition
            for definition in ast.definitions
            if isinstance(definition, OperationDefinitionNode)
        ]
        walk = Walk(self._schema, ast, self.limits.default_page_size)
        refusals: list[GraphQLError] = []
        for definition in definitions:
            refusals.extend(self._refusals(definition, walk.operation(definition)))
            if len(refusals) >= MAX_ERRORS:
                break
        if refusals:
            raise RequestErrors(*refusals[:MAX_ERRORS])
        page_variables = tuple(walk.page_variables)
        fragments = {
            definition.name.value: definition
            for definition in ast.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        return [
            Operation(
                self._schema,
                self.limits,
                ast,
                definition,
                page_variables,
                None if self._planner is None else Plans(self._planner, definition, fragments),
            )
            for definition in definitions
        ]

    def _refusals(
        self, definition: OperationDefinitionNode, measure: Measure
    ) -> Iterator[GraphQLError]:
        if measure.depth > self.limits.max_depth:
            yield _too_complex("depth", self.limits.max_depth, measure.depth)
        if measure.aliases > self.limits.max_aliases:
            yield _too_complex("aliases", self.limits.max_aliases, measure.aliases)
        if (
            definition.operation is OperationType.MUTATION
            and measure.fields > self.limits.max_root_mutations
        ):
            yield _too_complex("rootMutations", self.limits.max_root_mutations, measure.fields)
        if measure.introspection > MAX_INTROSPECTION:
            yield _too_complex("introspection", MAX_INTROSPECTION, measure.introspection)

    def _validate(self, ast: DocumentNode) -> None:
        errors = validate(self._schema, ast, RULES, max_errors=MAX_ERRORS)
        if not errors:
            return
        if len(errors) <= MAX_ERRORS and isinstance(errors[-1], ValidationAbortedError):
            raise RequestErrors(
                CodedError(
                    Code.QUERY_TOO_COMPLEX,
                    "The query is too complex to be validated.",
                    limit="validation",
                )
            )
        raise RequestErrors(
            *(settled(error, _validation_code(error)) for error in errors[:MAX_ERRORS])
        )


class OverlappingFieldsRule(OverlappingFieldsCanBeMergedRule):
    """The quadratic rule, with a tenth of the work that graphql-core would grant it."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = MAX_FIELD_COMPARISONS


RULES = tuple(
    OverlappingFieldsRule if rule is OverlappingFieldsCanBeMergedRule else rule
    for rule in specified_rules
)


def _validation_code(error: GraphQLError) -> Code:
    """A literal that a custom scalar refuses gets the code that it gets as a variable.

    Exceptions of scalars are kept as the original; a `GraphQLError` of theirs is passed on as it
    is, and unlike those of the rules points at no node.
    """
    if error.original_error is not None or not error.nodes:
        return Code.BAD_USER_INPUT
    return Code.GRAPHQL_VALIDATION_FAILED


def _too_complex(limit: str, maximum: int, actual: int) -> CodedError:
    return CodedError(
        Code.QUERY_TOO_COMPLEX,
        f"Query limit exceeded: {limit} {actual}, maximum {maximum}.",
        limit=limit,
        max=maximum,
        actual=actual,
    )


def _too_large(limit: str, maximum: int, actual: int) -> CodedError:
    return CodedError(
        Code.QUERY_TOO_LARGE,
        f"Query limit exceeded: {limit} {actual}, maximum {maximum}.",
        limit=limit,
        max=maximum,
        actual=actual,
    )


def _unresolved(message: str) -> RequestErrors:
    return RequestErrors(CodedError(Code.OPERATION_RESOLUTION_FAILURE, message))


def _size_of(value: object) -> int | None:
    if isinstance(value, int):
        return min(value, SATURATED)
    if isinstance(value, list):
        return len(value)
    return None


def _tokens_of(ast: DocumentNode) -> int:
    return getattr(ast, "token_count", 0)


def _holds_nul(ast: DocumentNode) -> bool:
    token = ast.loc.start_token if ast.loc else None
    while token is not None:
        if token.kind in (TokenKind.STRING, TokenKind.BLOCK_STRING) and "\0" in (token.value or ""):
            return True
        token = token.next
    return False
