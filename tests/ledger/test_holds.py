"""Deciding on holds: precedence of refusals, and whole histories of random commands."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import Balances, Direction, Effect
from app.ledger.accounts.state import Account, AccountStatus, Ledger, Mode, Scope
from app.ledger.refusals import PRECEDENCE, Refusal
from app.ledger.transactions.book import Book
from app.ledger.transactions.commands import (
    Command,
    EntryDraft,
    PostTransaction,
    ReverseTransaction,
    RunDue,
    SettleLine,
    SettleTransaction,
    Task,
    UpdateTransaction,
    VoidTransaction,
)
from app.ledger.transactions.posting import Recorded, Replayed, decide, record
from app.ledger.transactions.record import (
    Entry,
    EventKind,
    PastLine,
    TransactionStatus,
    Used,
    remaining,
    reversible,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ORGANIZATION, LEDGER, HOLD = UUID(int=1), UUID(int=2), UUID(int=9)
SCOPE = Scope(ORGANIZATION, Mode.TEST)
ACCOUNTS = [UUID(int=number) for number in (3, 4, 5)]
CASH, WALLET, SHOP = ACCOUNTS
FLOORS = {CASH: None, WALLET: 0, SHOP: -20}
ORDER = [refusal.code for refusal in PRECEDENCE]
DEBIT, CREDIT = Direction.DEBIT, Direction.CREDIT


def books() -> Book:
    """A ledger of three accounts, one without a floor, with a hold of 40 in it."""
    book = Book()
    book.ledgers[ORGANIZATION, LEDGER] = Ledger(ORGANIZATION, LEDGER, Mode.TEST, False, 0, NOW)
    for account_id in ACCOUNTS:
        normal = DEBIT if account_id == CASH else CREDIT
        book.accounts[ORGANIZATION, account_id] = Account(
            ORGANIZATION, account_id, LEDGER, "USD", 2, normal, AccountStatus.OPEN,
            FLOORS[account_id], 0, Balances(),
        )  # fmt: skip
    return book


def snapshot(book: Book) -> list[Any]:
    return [
        dict(part)
        for part in (
            *(book.ledgers, book.accounts, book.holds, book.used_keys, book.external_ids),
            book.reversed,
        )
    ]


# ---- precedence ----------------------------------------------------------------------------------


def with_hold() -> Book:
    book = books()
    drafts = (EntryDraft(CASH, DEBIT, 40), EntryDraft(SHOP, CREDIT, 40))
    hold = PostTransaction(SCOPE, HOLD, LEDGER, "hold", drafts, pending=True)
    record(book, decide(book, hold, NOW))
    book.used_keys[ORGANIZATION, LEDGER, "used"] = Used(b"other", UUID(int=77))
    return book


def break_rules(codes: tuple[str, ...], book: Book, settle: bool) -> Command:
    """A command on the hold that breaks just these rules."""
    lines = [SettleLine(CASH, DEBIT, 30), SettleLine(SHOP, CREDIT, 30)]
    if "SETTLEMENT_EXCEEDS_HOLD" in codes:
        lines = [replace(line, amount=41) for line in lines]
    if "ENTRIES_UNBALANCED" in codes:
        lines.append(SettleLine(CASH, CREDIT, 1))
    if "ACCOUNT_NOT_FOUND" in codes:
        lines.append(SettleLine(WALLET, CREDIT, 1))
    if "ACCOUNT_NOT_OPEN" in codes:
        shop = book.accounts[ORGANIZATION, SHOP]
        book.accounts[ORGANIZATION, SHOP] = replace(shop, status=AccountStatus.FROZEN)
    if "HOLD_EXPIRED" in codes:
        hold = book.holds[ORGANIZATION, HOLD]
        expired = replace(hold.transaction, expires_at=NOW)
        book.holds[ORGANIZATION, HOLD] = replace(hold, transaction=expired)
    if "TRANSACTION_NOT_PENDING" in codes:
        hold = book.holds[ORGANIZATION, HOLD]
        voided = replace(hold.transaction, status=TransactionStatus.VOIDED, voided_at=NOW)
        book.holds[ORGANIZATION, HOLD] = replace(hold, transaction=voided)
    if "LEDGER_ARCHIVED" in codes:
        ledger = book.ledgers[ORGANIZATION, LEDGER]
        book.ledgers[ORGANIZATION, LEDGER] = replace(ledger, archived=True)
    key = "used" if "IDEMPOTENCY_CONFLICT" in codes else "key"
    identity = UUID(int=10) if "TRANSACTION_NOT_FOUND" in codes else HOLD
    if settle:
        return SettleTransaction(SCOPE, identity, key, tuple(lines))
    return VoidTransaction(SCOPE, identity, key)


OF_VOIDS = (
    "TRANSACTION_NOT_FOUND",
    "IDEMPOTENCY_CONFLICT",
    "LEDGER_ARCHIVED",
    "TRANSACTION_NOT_PENDING",
)
OF_SETTLEMENTS = (
    *OF_VOIDS,
    "ACCOUNT_NOT_FOUND",
    "HOLD_EXPIRED",
    "ENTRIES_UNBALANCED",
    "SETTLEMENT_EXCEEDS_HOLD",
    "ACCOUNT_NOT_OPEN",
)


@pytest.mark.parametrize(
    ("settle", "codes"),
    [
        (settle, codes)
        for settle, rules in ((True, OF_SETTLEMENTS), (False, OF_VOIDS))
        for count in (1, 2, 3, len(rules))
        for codes in combinations(rules, count)
    ],
)
def test_precedence(settle: bool, codes: tuple[str, ...]) -> None:
    """Of all rules that a settlement or void breaks, the first of the documented order is named."""
    book = with_hold()
    command = break_rules(codes, book, settle)
    before = snapshot(book)
    with pytest.raises(Refusal) as caught:
        decide(book, command, NOW)
    assert caught.value.code == min(codes, key=ORDER.index)
    assert snapshot(book) == before


@pytest.mark.parametrize("settle", [True, False])
def test_no_rule_broken(settle: bool) -> None:
    """The command that breaks none of the rules is accepted."""
    book = with_hold()
    assert isinstance(decide(book, break_rules((), book, settle), NOW), Recorded)


@pytest.mark.parametrize("command", [SettleTransaction, VoidTransaction])
def test_whose_hold(command: type[SettleTransaction | VoidTransaction]) -> None:
    """A hold is there only for keys of its organization and mode that see its ledger."""
    for scope in (
        Scope(UUID(int=8), Mode.TEST),
        Scope(ORGANIZATION, Mode.LIVE),
        Scope(ORGANIZATION, Mode.TEST, frozenset({UUID(int=7)})),
    ):
        with pytest.raises(Refusal) as caught:
            decide(with_hold(), command(scope, HOLD, "key"), NOW)
        assert caught.value.code == "TRANSACTION_NOT_FOUND"
    only = Scope(ORGANIZATION, Mode.TEST, frozenset({LEDGER}))
    assert isinstance(decide(with_hold(), command(only, HOLD, "key"), NOW), Recorded)


@pytest.mark.parametrize("command", [SettleTransaction, VoidTransaction])
def test_replayed_whatever_happens(command: type[SettleTransaction | VoidTransaction]) -> None:
    """What was done to a hold is replayed though it is done with, frozen and archived."""
    book = with_hold()
    record(book, decide(book, command(SCOPE, HOLD, "end"), NOW))
    everything = ("LEDGER_ARCHIVED", "ACCOUNT_NOT_OPEN", "TRANSACTION_NOT_PENDING")
    break_rules(everything, book, settle=True)
    assert decide(book, command(SCOPE, HOLD, "end"), NOW) == Replayed(HOLD)


# ---- what remains --------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(Direction), st.integers(1, 9)))
)
def test_remaining(held: list[tuple[UUID, Direction, int]]) -> None:
    """What remains of each side is what was held less what was settled or released, if any."""
    lines = [PastLine(account, side, Effect.HOLD, amount) for account, side, amount in held]
    sums: dict[tuple[UUID, Direction], int] = {}
    for account, side, amount in held:
        sums[account, side] = sums.get((account, side), 0) + amount
    assert remaining(lines) == sums
    assert list(remaining(lines)) == list(sums)
    some = [
        PastLine(account, side, Effect.SETTLE if amount % 2 else Effect.RELEASE, amount)
        for (account, side), amount in list(sums.items())[::2]
    ]
    assert remaining([*lines, *some]) == dict(list(sums.items())[1::2])


# ---- histories -----------------------------------------------------------------------------------

sides = st.sampled_from(Direction)
moves = st.lists(
    st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from(ACCOUNTS), st.integers(1, 40)),
    min_size=1,
    max_size=3,
)
times = st.one_of(st.none(), st.integers(0, 30))
steps = st.one_of(
    st.tuples(st.just("post"), moves, st.booleans(), times, times),
    st.tuples(st.just("settle"), st.integers(0, 9), st.integers(1, 40), st.booleans()),
    st.tuples(st.just("settle all"), st.integers(0, 9)),
    st.tuples(st.just("void"), st.integers(0, 9)),
    st.tuples(st.just("due"), st.integers(0, 9)),
    st.tuples(st.just("reverse"), st.integers(0, 9), st.integers(1, 40)),
    st.tuples(st.just("reverse all"), st.integers(0, 9)),
    st.tuples(st.just("update"), st.integers(0, 9)),
)


def command_of(  # noqa: PLR0911  one a kind of step
    step: tuple[Any, ...], number: int, book: Book
) -> Task | None:
    """The command of a random step; None where it is about a hold and there is none."""
    key = f"key-{number}"
    if step[0] == "post":
        drafts = tuple(
            EntryDraft(account, side, amount)
            for debit, credit, amount in step[1]
            for account, side in ((debit, DEBIT), (credit, CREDIT))
        )
        identity = UUID(int=100 + number)
        posts_at, expires_at = (
            None if minute is None or not step[2] else NOW + timedelta(minutes=minute)
            for minute in step[3:]
        )
        return PostTransaction(
            *(SCOPE, identity, LEDGER, key, drafts),
            pending=step[2],
            posts_at=posts_at,
            expires_at=expires_at,
        )
    holds = list(book.holds.values())
    if not holds:
        return None
    hold = holds[step[1] % len(holds)]
    identity = hold.transaction.transaction_id
    if step[0] == "void":
        return VoidTransaction(SCOPE, identity, key)
    if step[0] == "settle all":
        return SettleTransaction(SCOPE, identity, key)
    if step[0] == "due":
        return RunDue(SCOPE, identity)
    if step[0] == "update":
        return UpdateTransaction(SCOPE, identity, key, {"description": key})
    if step[0] == "reverse all":
        return ReverseTransaction(SCOPE, identity, UUID(int=200 + number), key)
    held = [line for line in hold.lines if line.effect in {Effect.HOLD, Effect.POST}]
    lines = tuple(
        SettleLine(line.account_id, line.direction, min(step[2], line.amount)) for line in held[:2]
    )
    if step[0] == "reverse":
        return ReverseTransaction(SCOPE, identity, UUID(int=200 + number), key, lines)
    return SettleTransaction(SCOPE, identity, key, lines, final=step[3])


@given(st.lists(steps, max_size=25))
def test_histories(history: list[tuple[Any, ...]]) -> None:  # noqa: C901  a list of claims
    """Through any history balances fold, floors hold at every entry, and holds are not exceeded."""
    book = books()
    entries: dict[UUID, list[Entry]] = {account: [] for account in ACCOUNTS}
    for number, step in enumerate(history):
        command = command_of(step, number, book)
        if command is None:
            continue
        before = snapshot(book)
        now = NOW + timedelta(minutes=number)
        try:
            decision = decide(book, command, now)
        except Refusal:
            assert snapshot(book) == before
            continue
        assert snapshot(book) == before, "only record changes the book"
        if isinstance(command, RunDue) and decision == Replayed(command.transaction_id):
            continue
        assert isinstance(decision, Recorded)
        record(book, decision)
        assert decide(book, command, now) == Replayed(decision.transaction.transaction_id)
        kind, expires_at = decision.event.kind, decision.transaction.expires_at
        if kind in {EventKind.SETTLED, EventKind.MATURED} and expires_at is not None:
            assert decision.event.recorded_at < expires_at
        for entry in decision.entries:
            entries[entry.account_id].append(entry)

    for account_id in ACCOUNTS:
        account = book.accounts[ORGANIZATION, account_id]
        floor = FLOORS[account_id]
        balances = Balances()
        for place, entry in enumerate(entries[account_id], 1):
            assert entry.sequence == place
            balances = balances.after(entry.effect, entry.direction, entry.amount)
            assert entry.balances_after == balances
            assert floor is None or balances.available(account.normal_balance).amount >= floor
        assert (account.version, account.balances) == (len(entries[account_id]), balances)

    every = [entry for of_account in entries.values() for entry in of_account]
    for effect in Effect:
        sums = {
            side: sum(e.amount for e in every if (e.effect, e.direction) == (effect, side))
            for side in Direction
        }
        assert sums[DEBIT] == sums[CREDIT]

    sequences = [hold.transaction.sequence for hold in book.holds.values()]
    assert sorted(sequences) == list(range(1, book.ledgers[ORGANIZATION, LEDGER].last_sequence + 1))
    for hold in book.holds.values():
        if hold.transaction.reverses_sequence is None:
            undone = book.reversed.get((ORGANIZATION, LEDGER, hold.transaction.sequence), {})
            assert all(amount > 0 for amount in reversible(hold.lines, undone).values())
        assert hold.transaction.due_at is None or remaining(hold.lines)
        if hold.lines[0].effect is Effect.POST:
            assert hold.transaction.status is TransactionStatus.POSTED
            continue
        left = remaining(hold.lines)
        assert all(amount > 0 for amount in left.values())
        settled = any(line.effect is Effect.SETTLE for line in hold.lines)
        assert hold.transaction.status is (
            TransactionStatus.PENDING
            if left
            else TransactionStatus.POSTED
            if settled
            else TransactionStatus.VOIDED
        )
