"""Credit lots: what is spent first, what a hold reserves, what expires when; and a naive model."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ledger.accounts.balances import Balances, Direction
from app.ledger.accounts.state import Account, AccountStatus, Ledger, Limits, Mode, Scope
from app.ledger.accounts.velocities import Velocity, Window
from app.ledger.refusals import (
    AccountNotFound,
    AccountNotOpen,
    EntryTooLarge,
    LotNotPossible,
    Refusal,
    VelocityExceeded,
)
from app.ledger.transactions.book import Book
from app.ledger.transactions.commands import (
    EntryDraft,
    ExpireLot,
    LotDraft,
    PostTransaction,
    ReverseTransaction,
    SettleLine,
    SettleTransaction,
    Task,
    VoidTransaction,
)
from app.ledger.transactions.lots import Lot, MovementKind
from app.ledger.transactions.posting import Decision, Deferred, Recorded, Replayed, decide, record
from app.ledger.transactions.record import EventKind

NOW = datetime(2026, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ORGANIZATION, LEDGER = UUID(int=1), UUID(int=2)
WALLET, CASH, SHOP, BREAKAGE, EUROS = (UUID(int=number) for number in range(3, 8))
SCOPE = Scope(ORGANIZATION, Mode.LIVE)
DEBIT, CREDIT = Direction.DEBIT, Direction.CREDIT


def named(name: str) -> UUID:
    return uuid5(LEDGER, name)


@dataclass
class Books:
    """Books with a wallet, and a short way to write into them."""

    floor: int | None = 0
    book: Book = field(default_factory=Book)
    now: datetime = NOW
    movements: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book.ledgers[ORGANIZATION, LEDGER] = Ledger(
            ORGANIZATION, LEDGER, Mode.LIVE, False, 0, NOW
        )
        for account_id, normal, currency, floor in (
            (WALLET, CREDIT, "USD", self.floor),
            (CASH, DEBIT, "USD", None),
            (SHOP, CREDIT, "USD", None),
            (BREAKAGE, CREDIT, "USD", None),
            (EUROS, CREDIT, "EUR", None),
        ):
            self.book.accounts[ORGANIZATION, account_id] = Account(
                *(ORGANIZATION, account_id, LEDGER, currency, 2, normal),
                *(AccountStatus.OPEN, floor, 0, Balances()),
            )

    @property
    def wallet(self) -> Account:
        return self.book.accounts[ORGANIZATION, WALLET]

    @property
    def left(self) -> dict[str, int]:
        """What is left of the open lots, by code."""
        return {str(lot.code): lot.remaining for lot in self.wallet.lots}

    def lot(self, code: str) -> Lot:
        (lot,) = (lot for lot in self.wallet.lots if lot.code == code)
        return lot

    def set(self, account_id: UUID, status: AccountStatus) -> None:
        account = self.book.accounts[ORGANIZATION, account_id]
        self.book.accounts[ORGANIZATION, account_id] = replace(account, status=status)

    def run(self, task: Task) -> Decision:
        decision = decide(self.book, task, self.now)
        record(self.book, decision)
        if isinstance(decision, Recorded):
            self.movements += decision.movements
        return decision

    def post(self, name: str, *entries: EntryDraft, pending: bool = False) -> Decision:
        return self.run(PostTransaction(SCOPE, named(name), LEDGER, name, entries, pending))

    def top_up(self, name: str, amount: int, days: int | None = None) -> Decision:
        lot = None
        if days is not None:
            lot = LotDraft(named(f"lot {name}"), self.now + days * DAY, BREAKAGE, name)
        return self.post(
            name, EntryDraft(CASH, DEBIT, amount), EntryDraft(WALLET, CREDIT, amount, lot=lot)
        )

    def spend(self, name: str, amount: int, *, pending: bool = False) -> Decision:
        entries = EntryDraft(WALLET, DEBIT, amount), EntryDraft(SHOP, CREDIT, amount)
        return self.post(name, *entries, pending=pending)

    def settle(self, name: str, key: str, amount: int, *, final: bool) -> Decision:
        lines = SettleLine(WALLET, DEBIT, amount), SettleLine(SHOP, CREDIT, amount)
        return self.run(SettleTransaction(SCOPE, named(name), key, lines, final))

    def void(self, name: str, key: str) -> Decision:
        return self.run(VoidTransaction(SCOPE, named(name), key))

    def expire(self, name: str, transaction: str = "expiry") -> Decision:
        return self.run(
            ExpireLot(SCOPE, named(transaction), LEDGER, WALLET, named(f"lot {name}"), BREAKAGE)
        )

    @property
    def breakage(self) -> int:
        account = self.book.accounts[ORGANIZATION, BREAKAGE]
        return account.balances.posted(account.normal_balance).amount


def test_what_expires_first_is_spent_first() -> None:
    """Spending goes through the lots by time of expiry, then through what is in no lot."""
    books = Books()
    books.top_up("gift", 100, 30)
    books.top_up("promotion", 50, 10)
    books.top_up("money", 25)
    books.top_up("second promotion", 5, 10)
    books.spend("one", 60)
    assert books.left == {"gift": 95}
    assert [(m.lot_id, m.kind, m.amount) for m in books.movements] == [
        (named("lot promotion"), MovementKind.SPENT, 50),
        (named("lot second promotion"), MovementKind.SPENT, 5),
        (named("lot gift"), MovementKind.SPENT, 5),
    ]
    books.spend("two", 110)
    assert (books.left, books.wallet.available) == ({}, 10)


def test_a_hold_reserves_and_takes_nothing() -> None:
    """The example at the head of lots.py: 100 to January, 50 to March, a hold of 70."""
    books = Books()
    books.top_up("January", 100, 30)
    books.top_up("March", 50, 90)
    books.spend("hold", 70, pending=True)
    assert books.left == {"January": 100, "March": 50}

    books.now += 30 * DAY
    expiry = books.expire("January")
    assert isinstance(expiry, Recorded)
    assert (expiry.transaction.effective_at, expiry.event.kind) == (
        books.now,
        EventKind.LOT_EXPIRED,
    )
    assert (books.left, books.breakage) == ({"January": 70, "March": 50}, 30)
    assert (books.lot("January").due_at, books.lot("January").expired) == (None, 30)
    assert books.wallet.available == 50

    books.now += DAY
    books.settle("hold", "settle", 60, final=True)
    assert books.left == {"January": 10, "March": 50}
    assert books.lot("January").due_at == books.now
    assert isinstance(books.expire("January", "rest"), Recorded)
    assert (books.left, books.breakage, books.wallet.available) == ({"March": 50}, 40, 50)


def test_holds_reserve_from_lot_to_lot() -> None:
    """What a hold does not find in the first lot it reserves of the next; late is not too late."""
    books = Books()
    for name, days in (("first", 1), ("second", 2), ("third", 3)):
        books.top_up(name, 10, days)
    books.spend("hold", 14, pending=True)
    books.now += 9 * DAY
    assert isinstance(books.expire("first"), Deferred)
    for name, days in (("second", 2), ("third", 3)):
        expiry = books.expire(name, name)
        assert isinstance(expiry, Recorded)
        assert expiry.transaction.effective_at == NOW + days * DAY
        assert expiry.event.recorded_at == books.now
    assert (books.left, books.breakage) == ({"first": 10, "second": 4}, 16)


def test_nothing_to_expire_while_all_is_reserved() -> None:
    """A lot that holds reserve in full stays, and is due no more until one gives something back."""
    books = Books()
    books.top_up("gift", 40, 1)
    books.spend("hold", 40, pending=True)
    books.now += DAY
    assert isinstance(books.expire("gift"), Deferred)
    assert isinstance(books.expire("gift"), Replayed)
    books.void("hold", "void")
    assert isinstance(books.expire("gift"), Recorded)
    assert (books.left, books.breakage) == ({}, 40)


@pytest.mark.parametrize("early", [timedelta(microseconds=1), DAY])
def test_not_before_its_time(early: timedelta) -> None:
    """A lot that is not due does not expire; one that has expired does not again."""
    books = Books()
    books.top_up("gift", 40, 5)
    books.now += 5 * DAY - early
    assert isinstance(books.expire("gift"), Replayed)
    books.now += early
    assert isinstance(books.expire("gift"), Recorded)
    assert isinstance(books.expire("gift", "again"), Replayed)
    assert books.breakage == 40


@pytest.mark.parametrize("account_id", [WALLET, BREAKAGE])
def test_refused_and_tried_again(account_id: UUID) -> None:
    """What a rule refuses is put off, and is effective when it goes through."""
    books = Books()
    books.top_up("gift", 40, 5)
    books.now += 5 * DAY
    books.set(account_id, AccountStatus.FROZEN)
    assert isinstance(books.expire("gift"), Deferred)
    lot = books.lot("gift")
    assert lot.refused is not None
    assert (lot.refused.code, lot.refused.attempts) == ("ACCOUNT_NOT_OPEN", 1)
    assert lot.due_at == books.now + timedelta(minutes=1)
    books.set(account_id, AccountStatus.OPEN)
    assert isinstance(books.expire("gift"), Replayed)
    books.now = lot.due_at
    expiry = books.expire("gift")
    assert isinstance(expiry, Recorded)
    assert expiry.transaction.effective_at == books.now


def test_a_floor_above_zero_is_kept() -> None:
    """An expiry that would take available below the floor is put off."""
    books = Books(floor=10)
    books.top_up("gift", 40, 5)
    books.now += 5 * DAY
    assert isinstance(books.expire("gift"), Deferred)
    books.top_up("money", 10)
    books.now += DAY
    assert isinstance(books.expire("gift"), Recorded)
    assert books.wallet.available == 10


def test_limits_on_spending_refuse_no_expiry() -> None:
    """The entry maximum and velocity limits let the server's own entry pass; usage has it."""
    books = Books()
    books.top_up("gift", 100, days=10)
    used_up = Velocity("daily", Window(86_400, None, None), 10, 1, NOW, 1, 10, 1)
    for account_id in (WALLET, BREAKAGE):
        account = books.book.accounts[ORGANIZATION, account_id]
        books.book.accounts[ORGANIZATION, account_id] = replace(
            account, limits=Limits(entry_maximum=1, velocities=(used_up,))
        )
    books.now += 10 * DAY
    with pytest.raises(EntryTooLarge):
        books.spend("much", 2)
    with pytest.raises(VelocityExceeded):
        books.spend("little", 1)

    decision = books.expire("gift")

    assert isinstance(decision, Recorded)
    assert books.left == {}
    assert books.wallet.limits == Limits(
        entry_maximum=1, velocities=(replace(used_up, used_amount=110, used_count=2),)
    )


def test_a_ceiling_of_the_breakage_account_is_kept() -> None:
    books = Books()
    books.top_up("gift", 100, days=10)
    breakage = books.book.accounts[ORGANIZATION, BREAKAGE]
    books.book.accounts[ORGANIZATION, BREAKAGE] = replace(
        breakage, limits=Limits(balance_ceiling=99)
    )
    books.now += 10 * DAY

    decision = books.expire("gift")

    assert isinstance(decision, Deferred)
    assert decision.refused is not None
    assert decision.refused.code == "BALANCE_CEILING_EXCEEDED"
    assert books.left == {"gift": 100}


def test_an_expiry_due_in_a_closed_period() -> None:
    """It is not put off, but effective when it is done, after the closed period."""
    books = Books()
    books.top_up("gift", 100, days=10)
    due_at = books.lot("gift").due_at
    books.now += 11 * DAY
    ledger = books.book.ledgers[ORGANIZATION, LEDGER]
    books.book.ledgers[ORGANIZATION, LEDGER] = replace(ledger, closed_through=due_at)

    decision = books.expire("gift")

    assert isinstance(decision, Recorded)
    assert decision.transaction.effective_at == books.now
    assert books.left == {}


def test_a_lot_pays_what_was_overdrawn() -> None:
    """What comes to an account below zero covers that first; only the rest can expire."""
    books = Books(floor=None)
    books.spend("debt", 30)
    books.top_up("gift", 100, 5)
    assert books.left == {"gift": 70}
    books.top_up("tiny", 10, 9)
    books.spend("all and more", 100)
    books.top_up("too small", 15, 5)
    assert (books.left, books.wallet.available) == ({}, -5)


def test_a_reversal_of_a_top_up_takes_its_own_lot() -> None:
    """What is taken back is what was brought, though another lot expires earlier."""
    books = Books()
    books.top_up("promotion", 50, 5)
    books.top_up("gift", 100, 30)
    books.spend("one", 10)
    books.run(ReverseTransaction(SCOPE, named("gift"), named("undone"), "undone"))
    assert books.left == {"promotion": 40}


def test_a_refund_does_not_expire() -> None:
    """What a reversal puts back is in no lot, and stays when the lot's time comes."""
    books = Books()
    books.top_up("promotion", 50, 5)
    books.spend("one", 30)
    books.run(ReverseTransaction(SCOPE, named("one"), named("refund"), "refund"))
    assert (books.left, books.wallet.available) == ({"promotion": 20}, 50)
    books.now += 5 * DAY
    books.expire("promotion")
    assert (books.left, books.wallet.available, books.breakage) == ({}, 30, 20)


def draft(**changes: Any) -> PostTransaction:
    """A top-up with a lot, changed in one way."""
    lot = LotDraft(named("lot"), changes.pop("expires_at", NOW + DAY), changes.pop("to", BREAKAGE))
    entry = EntryDraft(changes.pop("account", WALLET), changes.pop("side", CREDIT), 5, lot=lot)
    other = EntryDraft(CASH, entry.direction.opposite, 5)
    return PostTransaction(SCOPE, named("x"), LEDGER, "x", (other, entry), **changes)


@pytest.mark.parametrize(
    ("changes", "refused", "reason", "field"),
    [
        ({"to": UUID(int=99)}, AccountNotFound, None, "lot.breakageAccountId"),
        ({"side": DEBIT}, LotNotPossible, "not_on_normal_side", "direction"),
        ({"to": WALLET}, LotNotPossible, "breakage_is_same_account", "lot.breakageAccountId"),
        ({"to": EUROS}, LotNotPossible, "breakage_in_other_currency", "lot.breakageAccountId"),
        ({"expires_at": NOW}, LotNotPossible, "expires_too_early", "lot.expiresAt"),
        ({"effective_at": NOW + DAY}, LotNotPossible, "expires_too_early", "lot.expiresAt"),
    ],
)
def test_lots_that_are_refused(
    changes: dict[str, Any], refused: type[Refusal], reason: str | None, field: str
) -> None:
    """A lot that cannot be opened is refused with the reason and the field, and nothing changes."""
    books = Books()
    before = dict(books.book.accounts)
    with pytest.raises(refused) as refusal:
        books.run(draft(**changes))
    assert getattr(refusal.value, "reason", None) == reason
    assert refusal.value.path == ("input", "entries", "1", *field.split("."))
    assert dict(books.book.accounts) == before


def test_the_breakage_account_is_open() -> None:
    """A lot is not opened towards an account that takes nothing."""
    books = Books()
    books.set(BREAKAGE, AccountStatus.CLOSED)
    with pytest.raises(AccountNotOpen) as refusal:
        books.run(draft())
    assert refusal.value.path == ("input", "entries", "1", "lot", "breakageAccountId")


# ---- a naive model -------------------------------------------------------------------------------

AMOUNT = st.integers(1, 12)
STEPS = st.one_of(
    st.tuples(st.just("top up"), AMOUNT, st.none() | st.integers(1, 6)),
    st.tuples(st.just("spend"), AMOUNT),
    st.tuples(st.just("hold"), AMOUNT),
    st.tuples(st.just("settle"), st.integers(0, 5), AMOUNT, st.booleans()),
    st.tuples(st.just("void"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 4)),
)


@dataclass
class Naive:
    """The wallet coin by coin: those in lots, by time of expiry and age; and the rest as a sum."""

    coins: list[tuple[datetime, int]] = field(default_factory=list)
    rest: int = 0
    holds: dict[str, int] = field(default_factory=dict)
    gone: int = 0

    @property
    def reserved(self) -> int:
        return sum(self.holds.values())

    @property
    def available(self) -> int:
        return len(self.coins) + self.rest - self.reserved

    def take(self, amount: int) -> None:
        from_lots = min(amount, len(self.coins))
        del self.coins[:from_lots]
        self.rest -= amount - from_lots

    def bring(self, amount: int, coin: tuple[datetime, int] | None) -> None:
        owed = min(amount, max(0, -self.rest))
        if coin is None:
            owed = amount
        self.rest += owed
        self.coins = sorted([*self.coins, *[coin] * (amount - owed)])  # type: ignore[list-item]

    def expire(self, now: datetime) -> None:
        kept = [
            coin for place, coin in enumerate(self.coins) if coin[0] > now or place < self.reserved
        ]
        self.gone += len(self.coins) - len(kept)
        self.coins = kept


@given(st.lists(STEPS, min_size=8, max_size=40), st.sampled_from([0, None]))
def test_histories(  # noqa: C901, PLR0912  one branch a kind of step
    steps: list[tuple[Any, ...]], floor: int | None
) -> None:
    """Whatever happens in whatever order, the lots are as the coins say, and the sums hold."""
    books, naive = Books(floor), Naive()
    for number, (kind, *details) in enumerate(steps):
        name = str(number)
        if kind == "top up":
            amount, days = details
            books.top_up(name, amount, days)
            expires_at = books.now + (days or 0) * DAY
            naive.bring(amount, None if days is None else (expires_at, number))
        elif kind in ("spend", "hold"):
            if floor is None or naive.available >= details[0]:
                books.spend(name, details[0], pending=kind == "hold")
                if kind == "spend":
                    naive.take(details[0])
                else:
                    naive.holds[name] = details[0]
        elif kind in ("settle", "void"):
            if not naive.holds:
                continue
            hold = sorted(naive.holds)[details[0] % len(naive.holds)]
            if kind == "void":
                books.void(hold, name)
                del naive.holds[hold]
            else:
                amount = min(details[1], naive.holds[hold])
                books.settle(hold, name, amount, final=details[2])
                naive.take(amount)
                naive.holds[hold] -= amount
                if details[2] or not naive.holds[hold]:
                    del naive.holds[hold]
        else:
            books.now += details[0] * DAY
        for lot in sorted(books.wallet.lots, key=lambda lot: lot.lot_id):
            decision = books.expire(str(lot.code), f"{number} {lot.code}")
            if isinstance(decision, Recorded):
                assert decision.transaction.effective_at <= books.now
        naive.expire(books.now)

        assert books.left == {
            code: count
            for code in {str(coin[1]) for coin in naive.coins}
            if (count := sum(str(coin[1]) == code for coin in naive.coins))
        }
        assert (books.breakage, books.wallet.available) == (naive.gone, naive.available)
        assert floor is None or books.wallet.available >= floor
        for lot in books.wallet.lots:
            taken = sum(m.amount for m in books.movements if m.lot_id == lot.lot_id)
            assert 0 < lot.remaining == lot.amount - taken
            assert lot.due_at is not None or lot.expires_at <= books.now
    spent = {m.lot_id for m in books.movements}
    assert sum(m.amount for m in books.movements if m.kind is MovementKind.EXPIRED) == naive.gone
    assert len({(m.lot_id, m.sequence) for m in books.movements}) == len(books.movements)
    assert spent <= {named(f"lot {number}") for number in range(len(steps))}
