"""Transfers are decided by the normal balances of their accounts."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import Balances, Direction
from app.ledger.accounts.state import Account, AccountStatus, Ledger, Mode, Scope
from app.ledger.refusals import NormalBalancesDiffer, Refusal
from app.ledger.transactions.book import Book
from app.ledger.transactions.posting import Recorded, Replayed, decide, record
from app.ledger.transactions.transfers import Transfer

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ORGANIZATION, LEDGER = UUID(int=1), UUID(int=2)
SCOPE = Scope(ORGANIZATION, Mode.TEST)
FROM, TO = UUID(int=3), UUID(int=4)
GOLDEN = "9613c3400f9d67761f3f5dbe7429dd37f11e66a796adba0786665268128c265f"


def books(from_: Direction, to: Direction) -> Book:
    book = Book()
    book.ledgers[ORGANIZATION, LEDGER] = Ledger(ORGANIZATION, LEDGER, Mode.TEST, False, 0, NOW)
    for account_id, normal in ((FROM, from_), (TO, to)):
        book.accounts[ORGANIZATION, account_id] = Account(
            ORGANIZATION,
            account_id,
            LEDGER,
            *("USD", 2, normal, AccountStatus.OPEN, None, 0, Balances()),
        )
    return book


def transfer(amount: int = 5, key: str = "key", from_: UUID = FROM, to: UUID = TO) -> Transfer:
    return Transfer.of(SCOPE, UUID(int=9), LEDGER, key, (from_, to), amount)


@given(st.sampled_from(Direction), st.integers(1, 10**36))
def test_from_falls_and_to_rises(normal: Direction, amount: int) -> None:
    """Whatever the side on which both grow, `from` has the amount less and `to` more."""
    decision = decide(books(normal, normal), transfer(amount), NOW)
    assert isinstance(decision, Recorded)
    after = {a.account_id: a.balances.posted(normal).amount for a in decision.accounts}
    assert after == {FROM: -amount, TO: amount}


@pytest.mark.parametrize(("from_", "to"), list(product(Direction, Direction)))
def test_no_pair_of_entries_does_it_between_different_sides(
    from_: Direction, to: Direction
) -> None:
    """A pair that balances, lowers `from` and raises `to` exists only if the sides are the same."""
    possible = [
        (out, into)
        for out, into in product(Direction, Direction)
        if out is not into and out is not from_ and into is to
    ]
    assert bool(possible) == (from_ is to)
    if not possible:
        with pytest.raises(NormalBalancesDiffer):
            decide(books(from_, to), transfer(), NOW)
        return
    decision = decide(books(from_, to), transfer(), NOW)
    assert isinstance(decision, Recorded)
    assert [tuple(e.direction for e in decision.entries)] == possible


def test_a_replay_is_known_by_what_was_sent() -> None:
    """The recorded fingerprint is the transfer's own, on whichever sides its entries went."""
    for normal in Direction:
        book = books(normal, normal)
        record(book, decide(book, transfer(), NOW))
        assert isinstance(decide(book, transfer(), NOW), Replayed)
        for other in (transfer(6), transfer(from_=TO, to=FROM)):
            with pytest.raises(Refusal, match="already used"):
                decide(book, other, NOW)


def test_refusals_that_come_before() -> None:
    """A used key, an archived ledger and an unknown account are told before differing sides."""
    book = books(Direction.DEBIT, Direction.CREDIT)
    with pytest.raises(Refusal) as caught:
        decide(book, transfer(to=UUID(int=8)), NOW)
    assert caught.value.code == "ACCOUNT_NOT_FOUND"
    book.ledgers[ORGANIZATION, LEDGER] = replace(book.ledgers[ORGANIZATION, LEDGER], archived=True)
    with pytest.raises(Refusal) as caught:
        decide(book, transfer(), NOW)
    assert caught.value.code == "LEDGER_ARCHIVED"


def test_the_fingerprint_never_changes() -> None:
    """It is kept with the idempotency key for ever."""
    assert transfer().fingerprint().hex() == GOLDEN
