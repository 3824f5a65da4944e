"""Amounts: whole numbers of a currency's minor unit, exact up to 10^36."""

import re

MAX_AMOUNT = 10**36
"""The largest amount of one entry, floor or condition, in minor units."""

_SIGNED = re.compile(r"(?:0|-?[1-9][0-9]{0,36})", re.ASCII)


def parse_amount(text: str) -> int:
    """Read a canonical decimal string such as "1250" or "-300" (minor units).

    One number has one spelling: no plus sign, no leading zero, no "-0", no space, no exponent, no
    fraction, ASCII digits only. Raises ValueError with a message fit for a client.
    """
    if _SIGNED.fullmatch(text) is None:
        raise ValueError('an amount is a whole number of minor units in a string, such as "1250"')
    amount = int(text)
    if abs(amount) > MAX_AMOUNT:
        raise ValueError("an amount is at most 10^36 minor units")
    return amount


def decimal_text(amount: int, exponent: int) -> str:
    """Write minor units as a decimal: 1234 with exponent 2 is "12.34"."""
    if exponent == 0:
        return str(amount)
    sign = "-" if amount < 0 else ""
    digits = str(abs(amount)).rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"
