"""Which exponent a currency has: ISO 4217's for its codes, the client's for units of its own."""

from collections.abc import Mapping
from types import MappingProxyType

import iso4217

from app.ledger.accounts.administration import check_currency
from app.ledger.refusals import ValidationFailed

ISO_EXPONENTS: Mapping[str, int] = MappingProxyType(
    {
        currency.code: currency.exponent
        for currency in iso4217.Currency
        if currency.exponent is not None
    }
)

ISO_CODES = frozenset(currency.code for currency in iso4217.Currency)
"""Also those without an exponent, as of gold (XAU)."""


def exponent_of(code: str, given: int | None) -> int:
    """The exponent to count a currency with. Raises ValidationFailed.

    A code outside ISO 4217 needs an explicit exponent, so that a slip ("USF") is not taken for a
    new unit.
    """
    standard = ISO_EXPONENTS.get(code)
    exponent = given if standard is None else standard
    if exponent is None:
        check_currency(code, 0)
        known = "has no exponent in" if code in ISO_CODES else "is not in"
        raise ValidationFailed(
            message=f"{code} {known} ISO 4217: give an exponent to use it as a unit of its own.",
            path=("input", "exponent"),
        )
    if given is not None and given != exponent:
        raise ValidationFailed(
            message=f"ISO 4217 counts {code} with exponent {standard}.",
            path=("input", "exponent"),
        )
    check_currency(code, exponent)
    return exponent
