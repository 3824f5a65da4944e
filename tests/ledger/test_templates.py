"""Templates come to entries: exact, bounded, and the same for ever."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import Ledger, Mode, Scope
from app.ledger.refusals import Refusal, TemplateNotFound, ValidationFailed
from app.ledger.templates.templates import (
    Definition,
    Parameter,
    ParameterKind,
    PostFromTemplate,
    TemplateEntry,
    TemplateUse,
    Value,
)
from app.ledger.transactions.book import Book
from app.ledger.transactions.posting import Replayed, decide
from app.ledger.transactions.record import Used

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ORGANIZATION, LEDGER, CASH = UUID(int=1), UUID(int=2), UUID(int=3)
GOLDEN = "1be7eb31b3fe9e2ffd81500e78a275f08a00a895439c00b73885d95a6c945fa1"
ORDER = Definition(
    (
        Parameter("amount", ParameterKind.AMOUNT, minimum=1),
        Parameter("sellerId", ParameterKind.TEXT),
        Parameter("feeRate", ParameterKind.INTEGER, "Of 10,000.", "250", 0, 10_000),
    ),
    (
        Value("tax", "share(amount, 19, 119)"),
        Value("fee", "share(amount - tax, feeRate, 10000)"),
    ),
    (
        TemplateEntry(Direction.DEBIT, "amount", account_id=CASH, metadata={"a": 1}),
        TemplateEntry(Direction.CREDIT, "tax", external_id="tax"),
        TemplateEntry(Direction.CREDIT, "fee", external_id="fees"),
        TemplateEntry(Direction.CREDIT, "amount - tax - fee", external_id="seller:{sellerId}"),
    ),
)


def nobody(_: str) -> UUID | None:
    return None


def use(**changes: Any) -> PostFromTemplate:
    command = PostFromTemplate(
        scope=Scope(ORGANIZATION, Mode.TEST),
        transaction_id=UUID(int=9),
        ledger_id=LEDGER,
        idempotency_key="key",
        entries=(),
        code="order",
        version=None,
        params={"amount": "5", "sellerId": "ada"},
    )
    return replace(command, **changes)


@given(st.integers(1, 10**36), st.integers(0, 10_000))
def test_an_order_always_balances(amount: int, rate: int) -> None:
    """Whatever the amount and the rate, the shares and the rest come to the whole."""
    ORDER.check(nobody)
    given = {"amount": str(amount), "sellerId": "ada", "feeRate": rate}
    expansion = ORDER.expand(given, nobody)
    sides = dict.fromkeys(Direction, 0)
    for entry in expansion.entries:
        assert entry.amount > 0
        sides[entry.direction] += entry.amount
    assert sides == {Direction.DEBIT: amount, Direction.CREDIT: amount}
    assert expansion.params == {"amount": str(amount), "sellerId": "ada", "feeRate": str(rate)}


def test_a_definition_is_stored_and_read_back() -> None:
    """What is stored of a definition is all of it."""
    assert Definition.of_json(ORDER.as_json()) == ORDER


def test_parameters_stand_for_themselves_in_an_external_id() -> None:
    """Braces in a parameter's value name no other parameter."""
    expansion = ORDER.expand({"amount": "100", "sellerId": "{amount}"}, nobody)
    assert expansion.entries[-1].account == "seller:{amount}"
    assert expansion.entries[-1].place == ("input", "params", "sellerId")


@given(st.dictionaries(st.text(max_size=9), st.none() | st.booleans() | st.integers() | st.text()))
def test_any_parameters_are_taken_or_refused(given: dict[str, Any]) -> None:
    """Whatever is sent, a use has entries or is a refusal under params."""
    try:
        use(params=given).check()
        entries = ORDER.expand({"amount": "7", "sellerId": "ada", **given}, nobody).entries
    except ValidationFailed as refusal:
        assert refusal.path[:2] == ("input", "params")  # noqa: PT017
    else:
        assert sum(entry.amount for entry in entries) % 2 == 0


def test_what_was_sent_is_what_counts() -> None:
    """The version used and the entries made are no part of the fingerprint; all sent is."""
    sent = use().fingerprint()
    assert use(use=TemplateUse(7, {}), refusal=TemplateNotFound()).fingerprint() == sent
    for change in (
        {"code": "other"},
        {"version": 1},
        {"params": {"amount": "5", "sellerId": "bob"}},
        {"pending": True},
        {"description": "x"},
        {"external_id": "x"},
        {"metadata": {"x": 1}},
        {"effective_at": NOW},
    ):
        assert use(**change).fingerprint() != sent


def test_the_fingerprint_never_changes() -> None:
    """It is kept with the idempotency key for ever."""
    assert use().fingerprint().hex() == GOLDEN


def test_a_refusal_waits_for_its_turn() -> None:
    """The template's refusal comes after those of the ledger, the key and the archive."""
    book, command = Book(), use(refusal=TemplateNotFound())
    codes = []

    def told() -> None:
        with pytest.raises(Refusal) as caught:
            decide(book, command, NOW)
        codes.append(caught.value.code)

    told()
    ledger = Ledger(ORGANIZATION, LEDGER, Mode.TEST, True, 0, NOW)
    book.ledgers[ORGANIZATION, LEDGER] = ledger
    told()
    book.ledgers[ORGANIZATION, LEDGER] = replace(ledger, archived=False)
    told()
    book.used_keys[ORGANIZATION, LEDGER, "key"] = Used(b"another", UUID(int=7))
    told()
    assert codes == [
        "LEDGER_NOT_FOUND",
        "LEDGER_ARCHIVED",
        "TEMPLATE_NOT_FOUND",
        "IDEMPOTENCY_CONFLICT",
    ]
    book.used_keys[ORGANIZATION, LEDGER, "key"] = Used(command.fingerprint(), UUID(int=7))
    assert decide(book, command, NOW) == Replayed(UUID(int=7))
