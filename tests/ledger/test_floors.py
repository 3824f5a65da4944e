"""Floors, to the unit, and what they leave alone."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import Balances, Direction
from app.ledger.accounts.state import Account, AccountStatus, Ledger, Mode, Scope
from app.ledger.refusals import InsufficientFunds
from app.ledger.transactions.book import Book
from app.ledger.transactions.commands import (
    Command,
    EntryDraft,
    PostTransaction,
    SettleTransaction,
    VoidTransaction,
)
from app.ledger.transactions.posting import Recorded, decide, record

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ORGANIZATION, LEDGER, FREE, FLOORED, HOLD = (UUID(int=number) for number in range(1, 6))
SCOPE = Scope(ORGANIZATION, Mode.TEST)


def books(available: int, floor: int | None, normal: Direction = Direction.CREDIT) -> Book:
    """A ledger with an account that has so much available, whatever its floor."""
    book = Book()
    book.ledgers[ORGANIZATION, LEDGER] = Ledger(ORGANIZATION, LEDGER, Mode.TEST, False, 0, NOW)
    totals = [1000, 1000 + available]
    if normal is Direction.DEBIT:
        totals.reverse()
    for account_id, balances, its_floor in (
        (FREE, Balances(), None),
        (FLOORED, Balances(*totals), floor),
    ):
        book.accounts[ORGANIZATION, account_id] = Account(
            ORGANIZATION, account_id, LEDGER, "USD", 2, normal, AccountStatus.OPEN,
            its_floor, 1, balances,
        )  # fmt: skip
    return book


def move(side: Direction, amount: int, *, pending: bool = False) -> PostTransaction:
    """A posting with that line on the account that has the floor."""
    drafts = (EntryDraft(FREE, side.opposite, amount), EntryDraft(FLOORED, side, amount))
    return PostTransaction(SCOPE, HOLD, LEDGER, "key", drafts, pending=pending)


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("normal", Direction)
@pytest.mark.parametrize("floor", [-7, 0, 7])
def test_to_the_unit(floor: int, normal: Direction, pending: bool) -> None:
    """Available may be spent or held down to the floor, and not one unit further."""
    book = books(50, floor, normal)
    decision = decide(book, move(normal.opposite, 50 - floor, pending=pending), NOW)
    assert isinstance(decision, Recorded)
    assert decision.accounts[1].available == floor
    with pytest.raises(InsufficientFunds) as caught:
        decide(book, move(normal.opposite, 51 - floor, pending=pending), NOW)
    refusal = caught.value
    assert (refusal.account_id, refusal.available, refusal.required) == (FLOORED, 50, 51)
    assert refusal.path == ("input", "entries", "1", "amount")


@pytest.mark.parametrize("pending", [False, True])
def test_what_raises_available_is_taken_below_the_floor(pending: bool) -> None:
    """An account below its floor takes what comes in, were it too little, and nothing goes out."""
    book = books(-50, 0)
    decision = decide(book, move(Direction.CREDIT, 1, pending=pending), NOW)
    assert isinstance(decision, Recorded)
    assert decision.accounts[1].available == (-50 if pending else -49)
    with pytest.raises(InsufficientFunds):
        decide(book, move(Direction.DEBIT, 1, pending=pending), NOW)


@pytest.mark.parametrize("end", [SettleTransaction, VoidTransaction])
@pytest.mark.parametrize("side", Direction)
def test_holds_end_below_the_floor(
    side: Direction, end: type[SettleTransaction | VoidTransaction]
) -> None:
    """A hold is settled or voided whatever the floor: what it takes was taken when it was made."""
    book = books(-50, None)
    record(book, decide(book, move(side, 20, pending=True), NOW))
    account = book.accounts[ORGANIZATION, FLOORED]
    book.accounts[ORGANIZATION, FLOORED] = Account(
        ORGANIZATION, FLOORED, LEDGER, "USD", 2, account.normal_balance, AccountStatus.OPEN,
        0, account.version, account.balances,
    )  # fmt: skip
    command: Command = end(SCOPE, HOLD, "end")
    assert isinstance(decide(book, command, NOW), Recorded)


@given(st.integers(-5, 5), st.none() | st.integers(-5, 5), st.lists(st.integers(-3, 3), min_size=1))
def test_every_entry(available: int, floor: int | None, changes: list[int]) -> None:
    """A posting is refused at the first entry that lowers available to below the floor."""
    drafts = [
        EntryDraft(FLOORED, Direction.CREDIT if change > 0 else Direction.DEBIT, abs(change))
        for change in changes
        if change
    ]
    total = sum(changes)
    if total or not drafts:
        side = Direction.DEBIT if total > 0 else Direction.CREDIT
        drafts.append(EntryDraft(FREE, side, abs(total) or 1))
    if total == 0 and len(drafts) == 1:
        drafts.append(EntryDraft(FREE, Direction.DEBIT, 1))
    left, refused_at = available, None
    for place, change in enumerate(change for change in changes if change):
        left += change
        if floor is not None and change < 0 and left < floor:
            refused_at = place
            break
    command = PostTransaction(SCOPE, HOLD, LEDGER, "key", tuple(drafts))
    if refused_at is None:
        assert isinstance(decide(books(available, floor), command, NOW), Recorded)
        return
    with pytest.raises(InsufficientFunds) as caught:
        decide(books(available, floor), command, NOW)
    assert caught.value.path == ("input", "entries", str(refused_at), "amount")
