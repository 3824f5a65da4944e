"""Deciding what is due: what happens by itself at which moment, and what is put off."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.ledger.accounts.balances import Balances, Direction
from app.ledger.accounts.state import AccountStatus
from app.ledger.refusals import HoldExpired, RefusedAttempt
from app.ledger.transactions.book import Book
from app.ledger.transactions.commands import EntryDraft, PostTransaction, RunDue, SettleTransaction
from app.ledger.transactions.posting import Deferred, Postponed, Recorded, Replayed, decide, record
from app.ledger.transactions.record import EventKind, TransactionStatus
from tests.ledger.test_holds import HOLD, LEDGER, NOW, ORGANIZATION, SCOPE, SHOP, WALLET, books

DUE = RunDue(SCOPE, HOLD)
MINUTE = timedelta(minutes=1)


def with_terms(posts_at: datetime | None = None, expires_at: datetime | None = None) -> Book:
    """Books with a hold of 40 out of the wallet."""
    book = books()
    wallet = book.accounts[ORGANIZATION, WALLET]
    book.accounts[ORGANIZATION, WALLET] = replace(wallet, balances=Balances(posted_credits=100))
    drafts = (EntryDraft(WALLET, Direction.DEBIT, 40), EntryDraft(SHOP, Direction.CREDIT, 40))
    hold = PostTransaction(
        *(SCOPE, HOLD, LEDGER, "hold", drafts),
        pending=True,
        posts_at=posts_at,
        expires_at=expires_at,
    )
    record(book, decide(book, hold, NOW))
    return book


def freeze(book: Book) -> None:
    shop = book.accounts[ORGANIZATION, SHOP]
    book.accounts[ORGANIZATION, SHOP] = replace(shop, status=AccountStatus.FROZEN)


def run(book: Book, now: datetime) -> Recorded | Replayed | Postponed:
    decision = decide(book, DUE, now)
    assert not isinstance(decision, Deferred)
    record(book, decision)
    return decision


@pytest.mark.parametrize(
    ("posts", "expires", "minute", "kind"),
    [
        (5, None, 5, EventKind.MATURED),
        (5, None, 9, EventKind.MATURED),
        (5, 9, 8, EventKind.MATURED),
        (5, 9, 9, EventKind.MATURED),
        (5, 9, 99, EventKind.MATURED),
        (None, 5, 5, EventKind.EXPIRED),
    ],
)
def test_what_happens(posts: int | None, expires: int | None, minute: int, kind: EventKind) -> None:
    """The hold settles from its time on however late it is looked at; effective when due."""
    moments = [None if m is None else NOW + m * MINUTE for m in (posts, expires)]
    decision = run(with_terms(*moments), NOW + minute * MINUTE)
    assert isinstance(decision, Recorded)
    event, transaction = decision.event, decision.transaction
    assert (event.kind, event.idempotency_key, event.fingerprint) == (kind, None, None)
    assert event.recorded_at == NOW + minute * MINUTE
    due = moments[kind is EventKind.EXPIRED]
    assert {entry.effective_at for entry in decision.entries} == {due}
    assert transaction.due_at is None
    assert transaction.status is (
        TransactionStatus.POSTED if kind is EventKind.MATURED else TransactionStatus.VOIDED
    )


@pytest.mark.parametrize(
    ("book", "minute"),
    [
        (with_terms(), 99),
        (with_terms(posts_at=NOW + 5 * MINUTE), 4),
        (with_terms(expires_at=NOW + 5 * MINUTE), 4),
        (books(), 0),
    ],
    ids=["no terms", "not yet to post", "not yet to expire", "no such hold"],
)
def test_nothing_is_due(book: Book, minute: int) -> None:
    """Before its time, and where there is nothing to do, nothing happens."""
    assert decide(book, DUE, NOW + minute * MINUTE) == Replayed(HOLD)


def test_once() -> None:
    """What was done is not done again."""
    book = with_terms(posts_at=NOW)
    assert isinstance(run(book, NOW), Recorded)
    assert run(book, NOW + 99 * MINUTE) == Replayed(HOLD)


def test_put_off() -> None:
    """A refused settlement is tried after a minute, then after twice as long, at most an hour."""
    book = with_terms(posts_at=NOW)
    freeze(book)
    before, now, pauses = dict(book.accounts), NOW, []
    for attempts in range(1, 10):
        decision = run(book, now)
        assert isinstance(decision, Postponed)
        transaction = decision.transaction
        assert transaction.refused == RefusedAttempt(
            "ACCOUNT_NOT_OPEN", "The account is frozen.", now, attempts
        )
        assert transaction.due_at is not None
        assert run(book, transaction.due_at - timedelta(microseconds=1)) == Replayed(HOLD)
        pauses.append((transaction.due_at - now) // MINUTE)
        now = transaction.due_at
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert book.accounts == before
    shop = book.accounts[ORGANIZATION, SHOP]
    book.accounts[ORGANIZATION, SHOP] = replace(shop, status=AccountStatus.OPEN)
    decision = run(book, now)
    assert isinstance(decision, Recorded)
    assert {entry.effective_at for entry in decision.entries} == {now}


def test_put_off_until_it_expires() -> None:
    """However often it was refused, it expires at its time, effective then."""
    expires_at = NOW + timedelta(seconds=90)
    book = with_terms(NOW, expires_at)
    freeze(book)
    for due_at in (NOW + MINUTE, expires_at):
        decision = run(book, book.holds[ORGANIZATION, HOLD].transaction.due_at or NOW)
        assert isinstance(decision, Postponed)
        assert decision.transaction.due_at == due_at
    decision = run(book, expires_at + MINUTE)
    assert isinstance(decision, Recorded)
    assert decision.event.kind is EventKind.EXPIRED
    assert {entry.effective_at for entry in decision.entries} == {expires_at}


def test_expires_where_it_could_not_post() -> None:
    """If both times have passed and it cannot post, it expires, effective then, and says why."""
    book = with_terms(NOW + MINUTE, NOW + 2 * MINUTE)
    freeze(book)
    decision = run(book, NOW + 9 * MINUTE)
    assert isinstance(decision, Recorded)
    assert (decision.event.kind, decision.transaction.due_at) == (EventKind.EXPIRED, None)
    assert {entry.effective_at for entry in decision.entries} == {NOW + 2 * MINUTE}
    assert decision.transaction.refused == RefusedAttempt(
        "ACCOUNT_NOT_OPEN", "The account is frozen.", NOW + 9 * MINUTE, 1
    )


@pytest.mark.parametrize("swept", [False, True])
def test_not_settled_once_expired_though_it_posts(swept: bool) -> None:
    """A client's settlement comes too late, whether the server has posted the hold or not."""
    book = with_terms(NOW + MINUTE, NOW + 2 * MINUTE)
    if swept:
        assert isinstance(run(book, NOW + 2 * MINUTE), Recorded)
    with pytest.raises(HoldExpired):
        decide(book, SettleTransaction(SCOPE, HOLD, "settle"), NOW + 2 * MINUTE)


def test_a_refused_expiry_is_put_off() -> None:
    """Where not even the release is taken, it is tried again later and not at once for ever."""
    book = with_terms(expires_at=NOW)
    ledger = book.ledgers[ORGANIZATION, LEDGER]
    book.ledgers[ORGANIZATION, LEDGER] = replace(ledger, archived=True)
    decision = run(book, NOW)
    assert isinstance(decision, Postponed)
    assert decision.transaction.due_at == NOW + MINUTE
    book.ledgers[ORGANIZATION, LEDGER] = ledger
    decision = run(book, NOW + MINUTE)
    assert isinstance(decision, Recorded)
    assert {entry.effective_at for entry in decision.entries} == {NOW + MINUTE}


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("late", [timedelta(0), MINUTE])
def test_not_settled_once_expired(swept: bool, late: timedelta) -> None:
    """From its moment on a settlement is refused for the expiry, swept or not; not before it."""
    book = with_terms(expires_at=NOW + MINUTE)
    settle = SettleTransaction(SCOPE, HOLD, "settle")
    assert isinstance(decide(book, settle, NOW + MINUTE - timedelta(microseconds=1)), Recorded)
    if swept:
        run(book, NOW + MINUTE + late)
    with pytest.raises(HoldExpired) as refused:
        decide(book, settle, NOW + MINUTE + late)
    assert refused.value.expires_at == NOW + MINUTE


def test_time_does_not_run_back() -> None:
    """A clock behind the ledger's last record counts as that record's time."""
    book = with_terms(expires_at=NOW)
    assert isinstance(decide(book, DUE, datetime(2020, 1, 1, tzinfo=UTC)), Recorded)


def test_whose_hold() -> None:
    """Only a hold of the organization is done."""
    book = with_terms(expires_at=NOW)
    other = replace(SCOPE, organization_id=UUID(int=8))
    assert decide(book, RunDue(other, HOLD), NOW) == Replayed(HOLD)
