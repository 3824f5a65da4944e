"""Amounts as expressions: whole numbers, a few operations, nothing else.

    amount - fee                       sums, differences, products, parentheses
    floor(a, b) ceil(a, b) round(a, b) a divided by b, rounded down, up, or to the nearest
    min(a, b, …) max(a, b, …)
    share(whole, part, of)             whole · part / of, rounded to the nearest
    split(whole, k, w1, w2, …)         the k-th part of whole, split by the weights w1, w2, …

The nearest of two is the even one where both are as near (half to even). The parts of a split are
never apart from their whole: the first k of them come to whole · (w1 + … + wk) / (w1 + … + wn),
rounded to the nearest, so all of them come to the whole, each is within one of its exact share, and
which part has the odd unit depends on nothing but the weights. What is left of an amount beside
some shares is a difference, which is exact by itself. There is no `/`: a division says how it
rounds.

Cost is bounded by the text: at most 500 characters, 30 levels, each step once, no loops, no names
but those given, and no number beyond 10^36 at any step (within `share` and `split` products are
exact). A text is compiled to steps in postfix order, so evaluation does not recurse.

Why a grammar of our own and not a kept library: Common Expression Language, the nearest, has
integers of 64 bits by specification (amounts here go to 10^36), divides by truncation without
saying so, and brings texts, lists, regular expressions and macros, whose cost would need bounding
from outside. Its pure Python implementation depends on a parser generator, a regular expression
engine and four more packages; the native ones are young bindings. What is needed of it fits below.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from app.ledger.amounts import MAX_AMOUNT
from app.ledger.values import immutable

MAX_LENGTH = 500
MAX_LEVELS = 30
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)

_TOKEN = re.compile(r"[ \t\r\n]*(?:([0-9]+)|([A-Za-z_][A-Za-z0-9_]*)|([^ \t\r\n]))", re.ASCII)
_SIGN_POWER = 3


class ExpressionFault(Exception):
    """An expression cannot be read, or has no value; `position` counts characters from 1."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"At character {position}: {message}.")
        self.position = position


@immutable
class Number:
    """A number is put on the stack."""

    position: int
    value: int


@immutable
class Name:
    """What the name stands for is put on the stack."""

    position: int
    text: str


@immutable
class Apply:
    """The topmost numbers are replaced by what an operation makes of them."""

    position: int
    operation: Callable[..., int]
    operands: int


Steps = tuple[Number | Name | Apply, ...]
"""A compiled expression, in postfix order."""


@lru_cache(maxsize=4096)
def compiled(text: str) -> Steps:
    """Read an expression. Raises ExpressionFault."""
    if len(text) > MAX_LENGTH:
        raise ExpressionFault(f"an expression has at most {MAX_LENGTH} characters", MAX_LENGTH + 1)
    reader = _Reader(text)
    reader.expression(0, 1)
    if reader.kind != "end":
        raise reader.unexpected()
    return tuple(reader.steps)


def evaluate(steps: Steps, values: Mapping[str, int]) -> int:
    """The value of a compiled expression; `values` has all its names. Raises ExpressionFault."""
    stack: list[int] = []
    for step in steps:
        match step:
            case Number(_, value):
                stack.append(value)
            case Name(_, name):
                stack.append(values[name])
            case Apply(position, operation, operands):
                given = stack[-operands:]
                del stack[-operands:]
                try:
                    result = operation(*given)
                except ArithmeticError as fault:
                    raise ExpressionFault(str(fault), position) from None
                if abs(result) > MAX_AMOUNT:
                    raise ExpressionFault("the result passes 10^36", position)
                stack.append(result)
    (result,) = stack
    return result


def _add(a: int, b: int) -> int:
    return a + b


def _subtract(a: int, b: int) -> int:
    return a - b


def _multiply(a: int, b: int) -> int:
    return a * b


def _negate(a: int) -> int:
    return -a


def _floor(a: int, b: int) -> int:
    _refuse_zero(b)
    return a // b


def _ceil(a: int, b: int) -> int:
    _refuse_zero(b)
    return -(-a // b)


def _round(a: int, b: int) -> int:
    """Divide, to the nearest; half to even."""
    _refuse_zero(b)
    if b < 0:
        a, b = -a, -b
    quotient, rest = divmod(a, b)
    return quotient + (2 * rest > b or (2 * rest == b and quotient % 2 == 1))


def _share(whole: int, part: int, of: int) -> int:
    return _round(whole * part, of)


def _split(whole: int, number: int, *weights: int) -> int:
    if not 1 <= number <= len(weights):
        raise ArithmeticError(f"this split has the parts 1 to {len(weights)}, and none {number}")
    if min(weights) < 0:
        raise ArithmeticError("a weight is below zero")
    total, through = sum(weights), sum(weights[:number])
    return _round(whole * through, total) - _round(whole * (through - weights[number - 1]), total)


def _refuse_zero(divisor: int) -> None:
    if divisor == 0:
        raise ArithmeticError("division by zero")


FUNCTIONS: Mapping[str, tuple[Callable[..., int], int, int | None]] = MappingProxyType(
    {
        "floor": (_floor, 2, 2),
        "ceil": (_ceil, 2, 2),
        "round": (_round, 2, 2),
        "min": (min, 2, None),
        "max": (max, 2, None),
        "share": (_share, 3, 3),
        "split": (_split, 4, None),
    }
)
"""By name: what it does, and how many operands it takes, at least and at most."""

_OPERATORS: Mapping[str, tuple[Callable[..., int], int]] = MappingProxyType(
    {"+": (_add, 1), "-": (_subtract, 1), "*": (_multiply, 2)}
)
"""Signs between two operands: what they do, and how strongly they bind. All group to the left."""


class _Reader:
    """Looks one word ahead (`kind`, `word`, `position`); writes steps as operands complete."""

    def __init__(self, text: str) -> None:
        self.steps: list[Number | Name | Apply] = []
        self._text = text
        self._end = 0
        self.advance()

    def advance(self) -> None:
        match = _TOKEN.match(self._text, self._end)
        if match is None:
            self.kind, self.word, self.position = "end", "", len(self._text) + 1
            return
        self.kind = ("number", "name", "sign")[(match.lastindex or 0) - 1]
        self.word = match[match.lastindex or 0]
        self._end = match.end()
        self.position = self._end - len(self.word) + 1

    def expression(self, power: int, level: int) -> None:
        """Read an operand and all that binds to it more strongly than `power`."""
        if level > MAX_LEVELS:
            raise ExpressionFault(f"at most {MAX_LEVELS} levels", self.position)
        self._operand(level)
        while self.kind == "sign" and self.word in _OPERATORS:
            operation, strength = _OPERATORS[self.word]
            if strength <= power:
                return
            position = self.position
            self.advance()
            self.expression(strength, level + 1)
            self.steps.append(Apply(position, operation, 2))

    def _operand(self, level: int) -> None:
        kind, word, position = self.kind, self.word, self.position
        if kind == "number":
            self.advance()
            self.steps.append(Number(position, _number(word, position)))
        elif kind == "name":
            self.advance()
            if (self.kind, self.word) == ("sign", "("):
                self._call(word, position, level)
            else:
                self.steps.append(Name(position, word))
        elif word == "-":
            self.advance()
            self.expression(_SIGN_POWER, level + 1)
            self.steps.append(Apply(position, _negate, 1))
        elif word == "(":
            self.advance()
            self.expression(0, level + 1)
            self._expect(")")
        else:
            raise self.unexpected()

    def _call(self, name: str, position: int, level: int) -> None:
        if name not in FUNCTIONS:
            raise ExpressionFault(
                f"there is no function {name[:64]}, only {', '.join(FUNCTIONS)}", position
            )
        operation, least, most = FUNCTIONS[name]
        operands = 0
        while operands == 0 or (self.kind, self.word) == ("sign", ","):
            self.advance()
            self.expression(0, level + 1)
            operands += 1
        self._expect(")")
        if operands < least or (most is not None and operands > most):
            wanted = str(least) if most is not None else f"at least {least}"
            raise ExpressionFault(f"{name} takes {wanted} operands, not {operands}", position)
        self.steps.append(Apply(position, operation, operands))

    def _expect(self, sign: str) -> None:
        if (self.kind, self.word) != ("sign", sign):
            raise self.unexpected()
        self.advance()

    def unexpected(self) -> ExpressionFault:
        if self.kind == "end":
            return ExpressionFault("the expression ends too early", self.position)
        if self.word == "/":
            return ExpressionFault(
                "a division says how it rounds: floor(a, b), ceil(a, b) or round(a, b)",
                self.position,
            )
        return ExpressionFault(f"{self.word[:64]!r} is out of place", self.position)


def _number(digits: str, position: int) -> int:
    if len(digits) > 1 and digits.startswith("0"):
        raise ExpressionFault("a number has no leading zero", position)
    number = int(digits)
    if number > MAX_AMOUNT:
        raise ExpressionFault("a number is at most 10^36", position)
    return number
