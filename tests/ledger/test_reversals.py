"""Deciding on reversals and corrections: the precedence of their refusals."""

from dataclasses import replace
from itertools import combinations
from uuid import UUID

import pytest

from app.ledger.accounts.balances import Direction
from app.ledger.accounts.state import AccountStatus
from app.ledger.refusals import PRECEDENCE, Refusal
from app.ledger.transactions.book import Book
from app.ledger.transactions.commands import (
    EntryDraft,
    PostTransaction,
    ReverseTransaction,
    SettleLine,
    UpdateTransaction,
)
from app.ledger.transactions.posting import Recorded, Replayed, decide, decide_together, record
from app.ledger.transactions.record import Used
from tests.ledger.test_holds import (
    CASH,
    LEDGER,
    NOW,
    ORGANIZATION,
    SCOPE,
    SHOP,
    WALLET,
    books,
    snapshot,
)

DEBIT, CREDIT = Direction.DEBIT, Direction.CREDIT
SALE, REVERSAL = UUID(int=9), UUID(int=10)
ORDER = [refusal.code for refusal in PRECEDENCE]
RULES = (
    "TRANSACTION_NOT_FOUND",
    "IDEMPOTENCY_CONFLICT",
    "LEDGER_ARCHIVED",
    "ACCOUNT_NOT_FOUND",
    "TRANSACTION_NOT_REVERSIBLE",
    "ENTRIES_UNBALANCED",
    "REVERSAL_EXCEEDS_TRANSACTION",
    "ACCOUNT_NOT_OPEN",
    "INSUFFICIENT_FUNDS",
)


def with_sale() -> Book:
    """Cash of 40 went into the wallet, whose floor is 0."""
    book = books()
    drafts = (EntryDraft(CASH, DEBIT, 40), EntryDraft(WALLET, CREDIT, 40))
    record(book, decide(book, PostTransaction(SCOPE, SALE, LEDGER, "sale", drafts), NOW))
    book.used_keys[ORGANIZATION, LEDGER, "used"] = Used(b"other", UUID(int=77))
    return book


def break_rules(codes: tuple[str, ...], book: Book) -> ReverseTransaction:
    """A reversal that breaks just these rules."""
    lines = [SettleLine(CASH, DEBIT, 30), SettleLine(WALLET, CREDIT, 30)]
    if "REVERSAL_EXCEEDS_TRANSACTION" in codes:
        lines = [replace(line, amount=41) for line in lines]
    if "ENTRIES_UNBALANCED" in codes:
        lines.append(SettleLine(CASH, CREDIT, 1))
    if "ACCOUNT_NOT_FOUND" in codes:
        lines.append(SettleLine(SHOP, CREDIT, 1))
    if "ACCOUNT_NOT_OPEN" in codes:
        cash = book.accounts[ORGANIZATION, CASH]
        book.accounts[ORGANIZATION, CASH] = replace(cash, status=AccountStatus.FROZEN)
    if "INSUFFICIENT_FUNDS" in codes:
        wallet = book.accounts[ORGANIZATION, WALLET]
        book.accounts[ORGANIZATION, WALLET] = replace(wallet, available_floor=40)
    if "TRANSACTION_NOT_REVERSIBLE" in codes:
        sale = book.holds[ORGANIZATION, SALE]
        reversal = replace(sale.transaction, reverses_sequence=7)
        book.holds[ORGANIZATION, SALE] = replace(sale, transaction=reversal)
    if "LEDGER_ARCHIVED" in codes:
        ledger = book.ledgers[ORGANIZATION, LEDGER]
        book.ledgers[ORGANIZATION, LEDGER] = replace(ledger, archived=True)
    key = "used" if "IDEMPOTENCY_CONFLICT" in codes else "key"
    identity = UUID(int=11) if "TRANSACTION_NOT_FOUND" in codes else SALE
    return ReverseTransaction(SCOPE, identity, REVERSAL, key, tuple(lines))


@pytest.mark.parametrize(
    "codes",
    [codes for count in (1, 2, 3, len(RULES)) for codes in combinations(RULES, count)],
)
def test_precedence(codes: tuple[str, ...]) -> None:
    """Of all rules that a reversal breaks, the first of the documented order is named."""
    book = with_sale()
    command = break_rules(codes, book)
    before = snapshot(book)
    with pytest.raises(Refusal) as caught:
        decide(book, command, NOW)
    assert caught.value.code == min(codes, key=ORDER.index)
    assert snapshot(book) == before


def test_no_rule_broken() -> None:
    """The reversal that breaks none of the rules is accepted."""
    book = with_sale()
    assert isinstance(decide(book, break_rules((), book), NOW), Recorded)


def test_within_a_group() -> None:
    """What one reversal of a group has taken, the next one does not have; all or none."""
    book = with_sale()
    lines = (SettleLine(CASH, DEBIT, 25), SettleLine(WALLET, CREDIT, 25))
    one = ReverseTransaction(SCOPE, SALE, REVERSAL, "one", lines)
    two = replace(one, reversal_id=UUID(int=12), idempotency_key="two")
    before = snapshot(book)
    with pytest.raises(Refusal) as caught:
        decide_together(book, [one, two], NOW)
    assert caught.value.code == "REVERSAL_EXCEEDS_TRANSACTION"
    assert snapshot(book) == before
    rest = replace(two, lines=None)
    decisions = decide_together(book, [one, rest], NOW)
    amounts = [[e.amount for e in d.entries] for d in decisions if isinstance(d, Recorded)]
    assert amounts == [[25, 25], [15, 15]]


def test_corrections_change_no_money() -> None:
    """A correction has no entries, leaves every account alone, and is replayed."""
    book = with_sale()
    accounts = dict(book.accounts)
    command = UpdateTransaction(SCOPE, SALE, "key", {"description": "x", "metadata": {}})
    decision = decide(book, command, NOW)
    assert isinstance(decision, Recorded)
    record(book, decision)
    assert (decision.entries, decision.accounts, book.accounts) == ((), (), accounts)
    assert decision.event.changes == {"description": {"before": None, "after": "x"}}
    assert decide(book, command, NOW) == Replayed(SALE)
