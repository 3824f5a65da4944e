"""Deciding, without a database: precedence of refusals, floors, folds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import STEPS, Balances, Direction, Effect
from app.ledger.accounts.state import Account, AccountStatus, Ledger, Limits, Mode, Scope
from app.ledger.accounts.velocities import Period, Velocity, Window
from app.ledger.refusals import PRECEDENCE, CeilingExceeded, InsufficientFunds, Refusal
from app.ledger.transactions.book import Book
from app.ledger.transactions.commands import (
    AmountRange,
    BalanceCondition,
    EntryDraft,
    PostTransaction,
    SettleLine,
    SettleTransaction,
    VoidTransaction,
)
from app.ledger.transactions.posting import Recorded, Replayed, decide, decide_together, record
from app.ledger.transactions.record import TransactionStatus, Used, remaining

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ORGANIZATION, LEDGER = UUID(int=1), UUID(int=2)
SCOPE = Scope(ORGANIZATION, Mode.TEST)
CASH, WALLET, POINTS = UUID(int=3), UUID(int=4), UUID(int=5)


def books() -> Book:
    """A ledger with cash (debit), a wallet of 100 with the floor 0, and points."""
    book = Book()
    book.ledgers[ORGANIZATION, LEDGER] = Ledger(ORGANIZATION, LEDGER, Mode.TEST, False, 7, NOW)
    for account_id, currency, normal, floor, balances in (
        (CASH, "USD", Direction.DEBIT, None, Balances(posted_debits=100)),
        (WALLET, "USD", Direction.CREDIT, 0, Balances(posted_credits=100)),
        (POINTS, "POINTS", Direction.CREDIT, None, Balances()),
    ):
        book.accounts[ORGANIZATION, account_id] = Account(
            ORGANIZATION,
            account_id,
            LEDGER,
            currency,
            2,
            normal,
            AccountStatus.OPEN,
            floor,
            1,
            balances,
        )
    book.used_keys[ORGANIZATION, LEDGER, "used"] = Used(b"other", uuid4())
    book.external_ids[ORGANIZATION, LEDGER, "taken"] = uuid4()
    return book


def posting(*lines: tuple[UUID, Direction, int], key: str = "key") -> PostTransaction:
    drafts = tuple(EntryDraft(*line) for line in lines)
    return PostTransaction(SCOPE, uuid4(), LEDGER, key, drafts)


def spend(amount: int, key: str = "key") -> PostTransaction:
    return posting((WALLET, Direction.DEBIT, amount), (CASH, Direction.CREDIT, amount), key=key)


def snapshot(book: Book) -> list[Any]:
    return [
        dict(book.ledgers),
        dict(book.accounts),
        dict(book.holds),
        dict(book.used_keys),
        dict(book.external_ids),
    ]


# ---- precedence: each fault breaks one rule of a posting that is otherwise right -----------------


def hidden(_: Book, command: PostTransaction) -> PostTransaction:
    return replace(command, ledger_id=uuid4())


def used(_: Book, command: PostTransaction) -> PostTransaction:
    return replace(command, idempotency_key="used")


def archived(book: Book, command: PostTransaction) -> PostTransaction:
    book.ledgers[ORGANIZATION, LEDGER] = replace(book.ledgers[ORGANIZATION, LEDGER], archived=True)
    return command


def backdated(book: Book, command: PostTransaction) -> PostTransaction:
    ledger = book.ledgers[ORGANIZATION, LEDGER]
    book.ledgers[ORGANIZATION, LEDGER] = replace(ledger, closed_through=NOW - timedelta(days=1))
    return replace(command, effective_at=NOW - timedelta(days=1))


def unknown(_: Book, command: PostTransaction) -> PostTransaction:
    extra = EntryDraft(uuid4(), Direction.DEBIT, 5)
    return replace(command, entries=(*command.entries, extra))


def unbalanced(_: Book, command: PostTransaction) -> PostTransaction:
    extra = EntryDraft(POINTS, Direction.DEBIT, 5)
    return replace(command, entries=(*command.entries, extra))


def taken(_: Book, command: PostTransaction) -> PostTransaction:
    return replace(command, external_id="taken")


def frozen(book: Book, command: PostTransaction) -> PostTransaction:
    cash = book.accounts[ORGANIZATION, CASH]
    book.accounts[ORGANIZATION, CASH] = replace(cash, status=AccountStatus.FROZEN)
    return command


def changed(command: PostTransaction, entry: EntryDraft, place: int) -> PostTransaction:
    entries = list(command.entries)
    entries[place] = entry
    return replace(command, entries=tuple(entries))


def outdated(_: Book, command: PostTransaction) -> PostTransaction:
    return changed(command, replace(command.entries[1], account_version=9), 1)


def overdrawn(book: Book, command: PostTransaction) -> PostTransaction:
    wallet = book.accounts[ORGANIZATION, WALLET]
    book.accounts[ORGANIZATION, WALLET] = replace(wallet, available_floor=99)
    return command


def too_large(book: Book, command: PostTransaction) -> PostTransaction:
    cash = book.accounts[ORGANIZATION, CASH]
    book.accounts[ORGANIZATION, CASH] = replace(
        cash, limits=replace(cash.limits or Limits(), entry_maximum=4)
    )
    return command


def too_high(book: Book, command: PostTransaction) -> PostTransaction:
    """Points go around, after everything else; on their way they are above their ceiling."""
    points = book.accounts[ORGANIZATION, POINTS]
    book.accounts[ORGANIZATION, POINTS] = replace(points, limits=Limits(balance_ceiling=4))
    around = (
        EntryDraft(POINTS, Direction.CREDIT, 5),
        EntryDraft(POINTS, Direction.DEBIT, 5),
    )
    return replace(command, entries=(*command.entries, *around))


def too_fast(book: Book, command: PostTransaction) -> PostTransaction:
    limit = Velocity("daily", Window(period=Period.DAY, time_zone="UTC"), 4, None, NOW, 0)
    cash = book.accounts[ORGANIZATION, CASH]
    book.accounts[ORGANIZATION, CASH] = replace(
        cash, limits=replace(cash.limits or Limits(), velocities=(limit,))
    )
    return command


def conditioned(_: Book, command: PostTransaction) -> PostTransaction:
    condition = BalanceCondition(posted=AmountRange(eq=1))
    return changed(command, replace(command.entries[0], condition=condition), 0)


FAULTS = {
    "LEDGER_NOT_FOUND": hidden,
    "IDEMPOTENCY_CONFLICT": used,
    "LEDGER_ARCHIVED": archived,
    "PERIOD_CLOSED": backdated,
    "ACCOUNT_NOT_FOUND": unknown,
    "ENTRIES_UNBALANCED": unbalanced,
    "EXTERNAL_ID_TAKEN": taken,
    "ACCOUNT_NOT_OPEN": frozen,
    "VERSION_CONFLICT": outdated,
    "ENTRY_MAXIMUM_EXCEEDED": too_large,
    "INSUFFICIENT_FUNDS": overdrawn,
    "BALANCE_CEILING_EXCEEDED": too_high,
    "VELOCITY_EXCEEDED": too_fast,
    "CONDITION_FAILED": conditioned,
}
ORDER = [refusal.code for refusal in PRECEDENCE]


@pytest.mark.parametrize(
    "codes",
    [(code,) for code in FAULTS] + list(combinations(FAULTS, 2)) + [tuple(FAULTS)],
    ids="+".join,
)
def test_precedence(codes: tuple[str, ...]) -> None:
    """Of all rules that a posting breaks, the first of the documented order is named."""
    book, command = books(), spend(5)
    for code in codes:
        command = FAULTS[code](book, command)
    before = snapshot(book)
    with pytest.raises(Refusal) as caught:
        decide(book, command, NOW)
    assert caught.value.code == min(codes, key=ORDER.index)
    assert snapshot(book) == before


# ---- what is decided -----------------------------------------------------------------------------

directions = st.sampled_from(Direction)
amounts = st.integers(1, 10**36)


@given(st.lists(st.tuples(directions, st.integers(1, 60)), min_size=1, max_size=6))
def test_floor_holds_at_every_entry(steps: list[tuple[Direction, int]]) -> None:
    """A posting is accepted only if available stays at the floor or above at every entry."""
    lines = []
    for direction, amount in steps:
        lines += [(WALLET, direction, amount), (CASH, direction.opposite, amount)]
    available, kept = 100, True
    for direction, amount in steps:
        available += amount if direction is Direction.CREDIT else -amount
        kept = kept and available >= 0
    book = books()
    if not kept:
        with pytest.raises(InsufficientFunds):
            decide(book, posting(*lines), NOW)
        return
    decision = decide(book, posting(*lines), NOW)
    assert isinstance(decision, Recorded)
    for entry in decision.entries:
        if entry.account_id == WALLET:
            assert entry.balances_after.available(Direction.CREDIT).amount >= 0


@given(
    st.lists(st.tuples(directions, st.integers(1, 60)), min_size=1, max_size=6),
    st.sampled_from(Direction),
    st.booleans(),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_ceiling_mirrors_the_floor(
    steps: list[tuple[Direction, int]], normal: Direction, pending: bool, limit: int, held: int
) -> None:
    """What a ceiling lets through is what a floor lets through with all signs and sides turned."""

    def kept(mirrored: bool) -> list[tuple[Direction, int]] | None:
        book, side = books(), normal.opposite if mirrored else normal
        holding = {f"pending_{normal.opposite.value}s": held}
        book.accounts[ORGANIZATION, WALLET] = replace(
            book.accounts[ORGANIZATION, WALLET],
            normal_balance=side,
            available_floor=None if mirrored else -limit,
            limits=Limits(balance_ceiling=limit) if mirrored else None,
            balances=Balances(**holding),
        )
        lines = []
        for direction, amount in steps:
            lines += [(WALLET, direction, amount), (CASH, direction.opposite, amount)]
        try:
            decision = decide(book, replace(posting(*lines), pending=pending), NOW)
        except (InsufficientFunds, CeilingExceeded) as refusal:
            return [(normal, int(refusal.path[2]))]
        assert isinstance(decision, Recorded)
        return None

    assert kept(mirrored=True) == kept(mirrored=False)


@given(st.lists(st.tuples(st.sampled_from(Effect), directions, amounts), max_size=8))
def test_balances_are_the_fold_of_their_steps(
    steps: list[tuple[Effect, Direction, int]],
) -> None:
    """Totals are sums of amounts by side; available, pending and projected follow from them."""
    balances = Balances()
    for effect, direction, amount in steps:
        balances = balances.after(effect, direction, amount)
    sums = {
        (side, place): sum(
            STEPS[effect][place] * amount
            for effect, direction, amount in steps
            if direction is side
        )
        for side in Direction
        for place in (0, 1)
    }
    for normal in Direction:
        for place, balance in ((0, balances.posted(normal)), (1, balances.pending(normal))):
            assert balance.debits == sums[Direction.DEBIT, place]
            assert balance.credits == sums[Direction.CREDIT, place]
            assert balance.amount == sums[normal, place] - sums[normal.opposite, place]
        against = sums[normal.opposite, 1]
        assert balances.available(normal).amount == balances.posted(normal).amount - against
        assert balances.projected(normal).amount == (
            balances.posted(normal).amount + balances.pending(normal).amount
        )


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=5), st.booleans())
def test_a_hold_is_never_settled_beyond_its_amount(
    parts: list[tuple[int, bool]], voided: bool
) -> None:
    """Whatever parts are settled, posted and released come to what was held."""
    book = books()
    hold = replace(spend(100, key="hold"), pending=True)
    record(book, decide(book, hold, NOW))
    left, settled = 100, 0
    for number, (part, final) in enumerate(parts):
        lines = (
            SettleLine(WALLET, Direction.DEBIT, part),
            SettleLine(CASH, Direction.CREDIT, part),
        )
        command = SettleTransaction(
            SCOPE, hold.transaction_id, f"part-{number}", lines, final=final
        )
        if left == 0 or part > left:
            with pytest.raises(Refusal):
                decide(book, command, NOW)
            continue
        record(book, decide(book, command, NOW))
        settled += part
        left = 0 if final else left - part
    held = book.holds[ORGANIZATION, hold.transaction_id]
    assert sum(remaining(held.lines).values()) == 2 * left
    assert (held.transaction.status is TransactionStatus.PENDING) is (left > 0)
    wallet = book.accounts[ORGANIZATION, WALLET].balances
    assert (wallet.posted_debits, wallet.pending_debits) == (settled, left)
    if left and voided:
        record(book, decide(book, VoidTransaction(SCOPE, hold.transaction_id, "void"), NOW))
        held = book.holds[ORGANIZATION, hold.transaction_id]
        assert held.transaction.status is (
            TransactionStatus.POSTED if settled else TransactionStatus.VOIDED
        )
        assert book.accounts[ORGANIZATION, WALLET].balances.pending_debits == 0


def test_all_or_none() -> None:
    """Commands that are decided together see one another, and leave no trace if one is refused."""
    book = books()
    before = snapshot(book)
    with pytest.raises(InsufficientFunds) as caught:
        decide_together(book, [spend(60, "a"), spend(60, "b")], NOW)
    assert caught.value.path == ("input", "transactions", "1", "entries", "0", "amount")
    assert snapshot(book) == before
    decisions = decide_together(book, [spend(60, "a"), spend(40, "b"), spend(40, "b")], NOW)
    assert [type(decision) for decision in decisions] == [Recorded, Recorded, Replayed]
    assert book.ledgers[ORGANIZATION, LEDGER].last_sequence == 9


def test_recorded_time_never_goes_back() -> None:
    """A clock behind the ledger's latest record is put forward to it."""
    book = books()
    decision = decide(book, spend(1), NOW - timedelta(days=1))
    assert isinstance(decision, Recorded)
    assert decision.transaction.created_at == NOW
