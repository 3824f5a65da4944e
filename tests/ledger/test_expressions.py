"""Expressions are Python's own integer arithmetic, within bounds, and tell where they are wrong."""

import re
from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.amounts import MAX_AMOUNT
from app.ledger.templates.expressions import MAX_LENGTH, ExpressionFault, compiled, evaluate

VALUES = {"amount": 10_000, "rate": 250, "none": 0, "debt": -7}
numbers = st.one_of(
    st.integers(-20, 20), st.integers(-(10**12), 10**12), st.integers(-MAX_AMOUNT, MAX_AMOUNT)
)


def value(text: str, **values: int) -> int:
    return evaluate(compiled(text), values or VALUES)


def attempt(text: str, values: Mapping[str, int]) -> int | ExpressionFault:
    try:
        return evaluate(compiled(text), values)
    except ExpressionFault as fault:
        return fault


def arithmetic() -> st.SearchStrategy[str]:
    """Texts that mean the same here and in Python, but for the bound on numbers."""
    leaves = st.one_of(st.integers(0, 10**15).map(str), st.sampled_from(sorted(VALUES)))

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", " + ", " - "]), inner).map("".join),
            inner.map("({})".format),
            inner.map("-{}".format),
            pair.map(lambda two: f"min({two[0]}, {two[1]})"),
            pair.map(lambda two: f"max({two[0]},{two[1]}, 1)"),
        )

    return st.recursive(leaves, larger, max_leaves=12)


@given(arithmetic())
def test_it_is_pythons_arithmetic(text: str) -> None:
    """Sums, products, signs, parentheses, min and max mean what they mean in Python, exactly."""
    names = {**VALUES, "min": min, "max": max, "__builtins__": {}}
    expected = eval(text, names)  # noqa: S307  texts of our own making
    found = attempt(text, VALUES)
    if isinstance(found, ExpressionFault):
        assert "10^36" in str(found) or "levels" in str(found)
    else:
        assert found == expected


@given(numbers, numbers)
def test_divisions_round_as_they_say(a: int, b: int) -> None:
    """floor, ceil and round are the exact quotient rounded down, up, and half to even."""
    if b == 0:
        for name in ("floor", "ceil", "round"):
            with pytest.raises(ExpressionFault, match="At character 1: division by zero"):
                value(f"{name}(a, b)", a=a, b=b)
        return
    exact = Fraction(a, b)
    assert value("floor(a, b)", a=a, b=b) == floor(exact)
    assert value("ceil(a, b)", a=a, b=b) == ceil(exact)
    assert value("round(a, b)", a=a, b=b) == round(exact)


@given(st.integers(0, MAX_AMOUNT), st.integers(0, 10_000))
def test_a_share_and_the_rest_are_the_whole(amount: int, rate: int) -> None:
    """A share is the exact one rounded half to even, and what is left completes it."""
    share = value("share(amount, rate, 10000)", amount=amount, rate=rate)
    assert share == round(Fraction(amount * rate, 10_000))
    rest = value("amount - share(amount, rate, 10000)", amount=amount, rate=rate)
    assert (share + rest, rest >= 0) == (amount, True)


@given(
    st.integers(0, MAX_AMOUNT),
    st.lists(st.integers(0, 10**30), min_size=2, max_size=8).filter(any),
)
def test_the_parts_of_a_split_are_the_whole(amount: int, weights: list[int]) -> None:
    """All parts come to the whole; each is within one of its exact share, and none below zero."""
    listed = ", ".join(map(str, weights))
    parts = [
        value(f"split(amount, {number}, {listed})", amount=amount)
        for number in range(1, len(weights) + 1)
    ]
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert part >= 0
        assert abs(part - Fraction(amount * weight, sum(weights))) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 - 2 - 3", -4),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("-2 * -3", 6),
        ("- - 5", 5),
        ("\tamount\n", 10_000),
        ("share(amount, rate, 10000)", 250),
        ("round(5, 2)", 2),
        ("round(7, 2)", 4),
        ("round(-5, 2)", -2),
        ("split(100, 1, 1, 1, 1)", 33),
        ("split(100, 2, 1, 1, 1)", 34),
        ("split(100, 3, 1, 1, 1)", 33),
        ("min(3, amount, 2)", 2),
        (str(MAX_AMOUNT), MAX_AMOUNT),
    ],
)
def test_values(text: str, expected: int) -> None:
    """A few by hand."""
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "At character 1: the expression ends too early."),
        ("   ", "At character 4: the expression ends too early."),
        ("1 +", "At character 4: the expression ends too early."),
        ("(1", "At character 3: the expression ends too early."),
        ("1 2", "At character 3: '2' is out of place."),
        ("1)", "At character 2: ')' is out of place."),
        ("+ 1", "At character 1: '+' is out of place."),
        ("1.5", "At character 2: '.' is out of place."),
        ("2 ** 3", "At character 4: '*' is out of place."),
        ("a.b", "At character 2: '.' is out of place."),
        ("'x'", 'At character 1: "\'" is out of place.'),
        ("٣", "At character 1: '٣' is out of place."),
        ("1 % 2", "At character 3: '%' is out of place."),
        ("a = 1", "At character 3: '=' is out of place."),
        ("min(1, 2", "At character 9: the expression ends too early."),
        ("min()", "At character 5: ')' is out of place."),
        ("min(1)", "At character 1: min takes at least 2 operands, not 1."),
        ("1 + share(1, 2)", "At character 5: share takes 3 operands, not 2."),
        ("007", "At character 1: a number has no leading zero."),
        (f"1 + {MAX_AMOUNT + 1}", "At character 5: a number is at most 10^36."),
        ("(" * 40 + "1" + ")" * 40, "At character 31: at most 30 levels."),
        ("-" * 400 + "1", "At character 31: at most 30 levels."),
        ("1" * (MAX_LENGTH + 1), "At character 501: an expression has at most 500 characters."),
        (
            "eval(1)",
            (
                "At character 1: there is no function eval, only floor, ceil, round, min, max,"
                " share, split."
            ),
        ),
        (
            "amount / 2",
            (
                "At character 8: a division says how it rounds: floor(a, b), ceil(a, b) or"
                " round(a, b)."
            ),
        ),
    ],
)
def test_what_cannot_be_read(text: str, message: str) -> None:
    """What is no expression is refused, with the place."""
    with pytest.raises(ExpressionFault) as caught:
        compiled(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 + floor(amount, none)", "At character 5: division by zero."),
        ("share(1, 1, none)", "At character 1: division by zero."),
        ("split(1, 1, 0, 0)", "At character 1: division by zero."),
        ("split(1, 3, 1, 1)", "At character 1: this split has the parts 1 to 2, and none 3."),
        ("split(1, 1, debt, 9)", "At character 1: a weight is below zero."),
        (f"{MAX_AMOUNT} + 1", f"At character {len(str(MAX_AMOUNT)) + 2}: the result passes 10^36."),
        (f"{MAX_AMOUNT} * 2 - {MAX_AMOUNT}", "At character 39: the result passes 10^36."),
        (f"share({MAX_AMOUNT}, 2, 1)", "At character 1: the result passes 10^36."),
    ],
)
def test_what_has_no_value(text: str, message: str) -> None:
    """A number that passes 10^36 at any step, and a division by zero, are faults with a place."""
    with pytest.raises(ExpressionFault) as caught:
        value(text)
    assert str(caught.value) == message


def test_the_longest_texts_are_cheap() -> None:
    """A text of full length neither recurses deeply nor takes more steps than characters."""
    text = "1" + "+1" * 249
    steps = compiled(text)
    assert (len(steps), value(text)) == (499, 250)
    product = "*".join(["9"] * 250)
    with pytest.raises(ExpressionFault, match="passes"):
        value(product)


@given(st.text(alphabet="01+-*(), aminsharesplitround/._\n", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, it has a value or a fault with a place within it or at its end."""
    names = dict.fromkeys(re.findall("[A-Za-z0-9_]+", text), 3)
    found = attempt(text, names)
    if isinstance(found, ExpressionFault):
        assert 1 <= found.position <= len(text) + 1
    else:
        assert abs(found) <= MAX_AMOUNT
