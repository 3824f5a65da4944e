"""Amounts as texts: what is read, what is refused, how minor units are written as decimals."""

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.amounts import MAX_AMOUNT, decimal_text, parse_amount

EXACT = Context(prec=80)


@given(st.integers(-MAX_AMOUNT, MAX_AMOUNT))
def test_amounts_are_read_as_they_are_written(amount: int) -> None:
    """Every amount up to 10^36 has one spelling, which is read back exactly."""
    assert parse_amount(str(amount)) == amount


def test_the_largest_amounts() -> None:
    """10^36 is an amount either way, and so is the unit beside it."""
    for amount in (MAX_AMOUNT, MAX_AMOUNT - 1, 1 - MAX_AMOUNT, -MAX_AMOUNT):
        assert parse_amount(str(amount)) == amount
    assert MAX_AMOUNT == 1_000_000_000_000_000_000_000_000_000_000_000_000


@pytest.mark.parametrize("amount", [MAX_AMOUNT + 1, -MAX_AMOUNT - 1, 9 * 10**36])
def test_amounts_beyond_the_largest(amount: int) -> None:
    """A number that is written well but too large is told the bound, not the spelling."""
    with pytest.raises(ValueError, match=r"^an amount is at most 10\^36 minor units$"):
        parse_amount(str(amount))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1 ", " 1", "1\n", "+1", "-", "--1", "-0", "00", "01", "-01", "1.0", "1.", ".1",
        "1,000", "1e3", "1_000", "0x1", "NaN", "Infinity", "\u0661", "\u00b2", "\uff11", "\u22121",
        "1" + "0" * 37, "9" * 5000,
    ],
)  # fmt: skip
def test_other_spellings_are_refused(text: str) -> None:
    """Nothing but the one spelling of a whole number is an amount."""
    with pytest.raises(ValueError, match=r"^an amount is a whole number of minor units"):
        parse_amount(text)


@given(st.text(alphabet="0123456789+-._e \n\u0661", max_size=40))
def test_what_is_read_was_written_so(text: str) -> None:
    """A text that is read is the spelling of the number that it is read as."""
    try:
        amount = parse_amount(text)
    except ValueError:
        return
    assert str(amount) == text
    assert abs(amount) <= MAX_AMOUNT


@pytest.mark.parametrize(
    ("amount", "exponent", "text"),
    [
        (1234, 2, "12.34"),
        (-5, 2, "-0.05"),
        (-100, 2, "-1.00"),
        (0, 2, "0.00"),
        (7, 0, "7"),
        (-7, 0, "-7"),
        (1, 3, "0.001"),
        (10**36, 36, "1." + "0" * 36),
        (1, 36, "0." + "0" * 35 + "1"),
        (10**36 - 1, 36, "0." + "9" * 36),
    ],
)
def test_decimals(amount: int, exponent: int, text: str) -> None:
    """Minor units are written with the exponent's digits behind the point."""
    assert decimal_text(amount, exponent) == text


@given(st.integers(-(10**40), 10**40), st.integers(0, 36))
def test_decimals_are_exact(amount: int, exponent: int) -> None:
    """A decimal is the amount over its power of ten, to the last digit, totals included."""
    text = decimal_text(amount, exponent)
    assert EXACT.scaleb(Decimal(text), exponent) == amount
    assert len(text.partition(".")[2]) == exponent
