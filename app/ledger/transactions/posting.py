"""Deciding: what a command does to the books, or why it is refused.

`decide` looks at a book and returns what would be recorded, changing nothing; `record` carries the
book forward so that the next command of the batch is decided against it. A refused command simply
never reaches `record`, which is why one refusal cannot touch its neighbours.

Order of the checks (the order of `refusals.PRECEDENCE`, after the checks of the input alone):

1. Is the ledger, or the transaction, there for this key?
2. Was the idempotency key used? With the same content the first result is the answer, even if the
   ledger has been archived or an account frozen since; with another content it is a conflict.
3. Does the ledger take writes, and at that effective time; are the accounts in it; has the hold not
   expired, and is it still pending; can the transaction be reversed?
4. Do debits equal credits in each currency; is there as much to settle, or to reverse; is the
   external id free?
5. Are the accounts open, at the version that the client saw?
6. Entry by entry, in the order given: is it within the account's entry maximum? Does an entry
   against the normal side leave available at the account's floor or above? (An entry that raises
   available is never refused for the floor.) Is the account below its ceiling, and do its velocity
   limits have room? (`accounts/limits.py`; settlements and voids are refused for none of these.)
7. Do the client's own conditions hold after their entries?

Floors, conditions and versions look at recorded order, not at effective time: money that was
available when we learned of it stays spent, whatever is backdated later. So `balances(asOf:)` may
show less than the floor at a moment of the past, where the money came later than what it paid for.

A hold ends at its time whoever gets to it first: a settlement from `expires_at` on is refused,
whether the server has released the hold by then or not. What the server does when a hold falls due
(`RunDue`) is decided by the same rules as a client's command, under the same lock, from the hold as
it then stands; so it happens once however often it is tried. It is effective when it was due, not
when the server came round to it, unless that period has been closed meanwhile. What a rule refuses
then is put off, for longer each time, and is effective when it goes through. So with credit lots
(`ExpireLot`; their rules are in `lots.py`).

A hold that is to post and, later, to expire is tried to post first even if both times have passed:
which of them happens is decided by the times and the rules, not by when the server comes. It has
that one try; a hold that was refused before its expiry expires.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.ledger.accounts.balances import Balances, Direction, Effect
from app.ledger.accounts.limits import counted, refuse_above_ceiling, refuse_too_large
from app.ledger.accounts.periods import is_closed, refuse_closed
from app.ledger.accounts.state import Account, AccountStatus, Ledger, Scope
from app.ledger.refusals import (
    AccountNotFound,
    AccountNotOpen,
    ConditionFailed,
    EntriesUnbalanced,
    ExternalIdTaken,
    HoldExpired,
    IdempotencyConflict,
    InsufficientFunds,
    LedgerArchived,
    LedgerNotFound,
    LotNotPossible,
    Path,
    Refusal,
    RefusedAttempt,
    ReversalExceedsTransaction,
    SettlementExceedsHold,
    TransactionNotFound,
    TransactionNotPending,
    TransactionNotReversible,
    VersionConflict,
)
from app.ledger.times import written
from app.ledger.transactions.book import Book
from app.ledger.transactions.commands import (
    BalanceCondition,
    Change,
    EntryDraft,
    ExpireLot,
    LotDraft,
    Metadata,
    PostTransaction,
    ReverseTransaction,
    RunDue,
    SettleLine,
    SettleTransaction,
    Task,
    UpdateTransaction,
    VoidTransaction,
)
from app.ledger.transactions.lots import Lot, Movement, free
from app.ledger.transactions.record import (
    Entry,
    Event,
    EventKind,
    Hold,
    PastLine,
    Side,
    Transaction,
    TransactionStatus,
    Used,
    remaining,
    reversible,
)
from app.ledger.transactions.stored_value import Kept, keep
from app.ledger.values import immutable

FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)

_NOTHING: Metadata = {}


@immutable
class Recorded:
    """A command was accepted: the transaction as it now stands and all that has to be written.

    `lots` are those that it opened or changed, `movements` what it took from them.
    """

    transaction: Transaction
    event: Event
    entries: tuple[Entry, ...]
    ledger: Ledger
    accounts: tuple[Account, ...]
    past_lines: tuple[PastLine, ...] = ()
    lots: tuple[Lot, ...] = ()
    movements: tuple[Movement, ...] = ()


@immutable
class Replayed:
    """The command had been accepted before, or nothing is due; nothing is written again."""

    transaction_id: UUID


@immutable
class Postponed:
    """A rule refused what was due: the transaction as it was, with the refusal and a later time."""

    transaction: Transaction

    @property
    def transaction_id(self) -> UUID:
        return self.transaction.transaction_id

    @property
    def refused(self) -> RefusedAttempt | None:
        return self.transaction.refused


@immutable
class Deferred:
    """A due credit lot does not expire now: a rule refused it, or holds reserve all that is left.

    No transaction of the id is made; the account has the lot as it is to be kept.
    """

    transaction_id: UUID
    account: Account
    lot: Lot

    @property
    def refused(self) -> RefusedAttempt | None:
        return self.lot.refused


Decision = Recorded | Replayed | Postponed | Deferred
"""Only what was due is put off; a client's command is recorded, replayed or refused."""


def decide(book: Book, command: Task, now: datetime) -> Decision:
    """Decide one command at the time `now` (UTC); raises the Refusal of first precedence."""
    if isinstance(command, PostTransaction):
        return _post(book, command, now)
    if isinstance(command, SettleTransaction):
        return _settle(book, command, now)
    if isinstance(command, VoidTransaction):
        return _void(book, command, now)
    if isinstance(command, ReverseTransaction):
        return _reverse(book, command, now)
    if isinstance(command, UpdateTransaction):
        return _update(book, command, now)
    return _do_due(book, command, now)


def record(book: Book, decision: Decision) -> None:
    """Carry the book forward by one decision."""
    if isinstance(decision, Replayed):
        return
    if isinstance(decision, Deferred):
        account = decision.account
        book.accounts[account.organization_id, account.account_id] = account
        return
    transaction = decision.transaction
    organization_id, ledger_id = transaction.organization_id, transaction.ledger_id
    if isinstance(decision, Postponed):
        hold = book.holds[organization_id, transaction.transaction_id]
        book.holds[organization_id, transaction.transaction_id] = replace(
            hold, transaction=transaction
        )
        return
    book.ledgers[organization_id, ledger_id] = decision.ledger
    for account in decision.accounts:
        book.accounts[organization_id, account.account_id] = account
    book.holds[organization_id, transaction.transaction_id] = Hold(
        transaction,
        decision.event.number,
        decision.past_lines + tuple(map(_past, decision.entries)),
    )
    event = decision.event
    if event.idempotency_key is not None and event.fingerprint is not None:
        book.used_keys[organization_id, ledger_id, event.idempotency_key] = Used(
            event.fingerprint, transaction.transaction_id
        )
    if transaction.reverses_sequence is not None:
        reversal = (organization_id, ledger_id, transaction.reverses_sequence)
        undone = dict(book.reversed.get(reversal, {}))
        for entry in decision.entries:
            side = (entry.account_id, entry.direction.opposite)
            undone[side] = undone.get(side, 0) + entry.amount
        book.reversed[reversal] = undone
    if transaction.external_id is not None:
        book.external_ids[organization_id, ledger_id, transaction.external_id] = (
            transaction.transaction_id
        )


def decide_together(book: Book, commands: Sequence[Task], now: datetime) -> list[Decision]:
    """Decide all or none, each command against what those before it left.

    Raises the refusal of the first command that is refused, with the command's place in its path;
    the book is then as it was.
    """
    branch = book.branch()
    decisions: list[Decision] = []
    for index, command in enumerate(commands):
        try:
            decision = decide(branch, command, now)
        except Refusal as refusal:
            raise refusal.under("transactions", str(index)) from None
        record(branch, decision)
        decisions.append(decision)
    book.merge(branch)
    return decisions


def _post(book: Book, command: PostTransaction, now: datetime) -> Decision:
    ledger = _visible_ledger(book, command.scope, command.ledger_id)
    if ledger is None:
        raise LedgerNotFound
    fingerprint = command.fingerprint()
    used = _used(book, ledger, command.idempotency_key, fingerprint)
    if used is not None:
        return used
    if ledger.archived:
        raise LedgerArchived
    recorded_at = max(now, ledger.last_recorded_at)
    effective_at = command.effective_at or recorded_at
    refuse_closed(ledger, effective_at)
    accounts = _accounts_of(book, ledger, command.entries)
    command = command.resolved(accounts)
    _refuse_impossible_lots(book, command, accounts, max(effective_at, recorded_at))
    drafts = [(accounts[entry.account_id], entry) for entry in command.entries]
    _refuse_unbalanced((account, entry.direction, entry.amount) for account, entry in drafts)
    _refuse_taken(book, ledger, command.external_id)
    for index, (account, entry) in enumerate(drafts):
        _refuse_not_open(account, "entries", index, "accountId")
        if entry.lot is not None:
            breakage = book.accounts[ledger.organization_id, entry.lot.breakage_account_id]
            _refuse_not_open(breakage, "entries", index, "lot", "breakageAccountId")
    for index, (account, entry) in enumerate(drafts):
        _refuse_other_version(account, entry, index)

    effect = Effect.HOLD if command.pending else Effect.POST
    lines = [
        (entry.account_id, entry.direction, effect, entry.amount, entry.metadata)
        for entry in command.entries
    ]
    entries, changed = _carry(accounts, lines, 1, (), effective_at, recorded_at)
    _refuse_broken_conditions(command.entries, entries, accounts)
    opened = {
        index: _lot(draft.lot, entry, ledger.last_sequence + 1)
        for index, (draft, entry) in enumerate(zip(command.entries, entries, strict=True))
        if draft.lot is not None
    }
    kept = keep(changed, entries, opened, recorded_at)

    event = Event(
        number=1,
        kind=EventKind.HELD if command.pending else EventKind.POSTED,
        idempotency_key=command.idempotency_key,
        fingerprint=fingerprint,
        description=None,
        recorded_at=recorded_at,
    )
    after = ledger.after(recorded_at, transactions=1)
    transaction = Transaction(
        organization_id=ledger.organization_id,
        ledger_id=ledger.ledger_id,
        transaction_id=command.transaction_id,
        sequence=after.last_sequence,
        status=TransactionStatus.PENDING if command.pending else TransactionStatus.POSTED,
        description=command.description,
        external_id=command.external_id,
        metadata=command.metadata,
        effective_at=effective_at,
        created_at=recorded_at,
        posted_at=None if command.pending else recorded_at,
        voided_at=None,
        idempotency_key=command.idempotency_key,
        reason=command.reason,
        posts_at=command.posts_at,
        expires_at=command.expires_at,
        due_at=_earlier(command.posts_at, command.expires_at) if command.pending else None,
    )
    return _recorded(transaction, event, entries, after, kept)


def _settle(book: Book, command: SettleTransaction, now: datetime) -> Decision:
    found = _find(book, command)
    if isinstance(found, Replayed):
        return found
    _refuse_beside(command.lines or (), found.accounts)
    _refuse_expired(found.hold.transaction, max(now, found.ledger.last_recorded_at))
    _refuse_not_pending(found.hold)
    left = remaining(found.hold.lines)
    settled = left
    if command.lines is not None:
        settled = _part(command.lines, found.accounts, left, SettlementExceedsHold)
    for account_id, _ in settled:
        _refuse_not_open(found.accounts[account_id], "transactionId")
    rest = {side: amount - settled.get(side, 0) for side, amount in left.items()}
    released = {side: amount for side, amount in rest.items() if amount} if command.final else {}
    event = found.event(EventKind.SETTLED, now, command.idempotency_key)
    return _change_hold(found, event, settled, released)


def _void(book: Book, command: VoidTransaction, now: datetime) -> Decision:
    found = _find(book, command)
    if isinstance(found, Replayed):
        return found
    _refuse_not_pending(found.hold)
    event = found.event(
        EventKind.VOIDED, now, command.idempotency_key, description=command.description
    )
    return _change_hold(found, event, {}, remaining(found.hold.lines))


def _reverse(book: Book, command: ReverseTransaction, now: datetime) -> Decision:
    found = _find(book, command)
    if isinstance(found, Replayed):
        return found
    original, ledger = found.hold.transaction, found.ledger
    _refuse_beside(command.lines or (), found.accounts)
    number = (ledger.organization_id, ledger.ledger_id, original.sequence)
    left = reversible(found.hold.lines, book.reversed.get(number, {}))
    _refuse_not_reversible(original, left)
    if (ledger.organization_id, original.transaction_id) in book.payouts:
        _refuse_part_of_payout(original, command.lines, left)
    whole = command.lines is None
    part = [
        SettleLine(account_id, direction, amount)
        for (account_id, direction), amount in left.items()
    ]
    if command.lines is not None:
        _part(command.lines, found.accounts, left, ReversalExceedsTransaction)
        part = list(command.lines)
    for index, line in enumerate(part):
        place = ("transactionId",) if whole else ("entries", index, "accountId")
        _refuse_not_open(found.accounts[line.account_id], *place)

    recorded_at = max(now, ledger.last_recorded_at)
    effective_at = command.effective_at or recorded_at
    refuse_closed(ledger, effective_at)
    lines = [
        (line.account_id, line.direction.opposite, Effect.POST, line.amount, _NOTHING)
        for line in part
    ]
    try:
        entries, changed = _carry(found.accounts, lines, 1, (), effective_at, recorded_at)
    except Refusal as refusal:
        if whole:
            refusal.path = ("input", "transactionId")
        raise
    kept = keep(changed, entries, {}, recorded_at, undone=original.sequence)
    after = ledger.after(recorded_at, transactions=1)
    transaction = Transaction(
        organization_id=ledger.organization_id,
        ledger_id=ledger.ledger_id,
        transaction_id=command.reversal_id,
        sequence=after.last_sequence,
        status=TransactionStatus.POSTED,
        description=command.description,
        external_id=None,
        metadata=command.metadata,
        effective_at=effective_at,
        created_at=recorded_at,
        posted_at=recorded_at,
        voided_at=None,
        idempotency_key=command.idempotency_key,
        reverses_sequence=original.sequence,
    )
    event = Event(
        number=1,
        kind=EventKind.POSTED,
        idempotency_key=command.idempotency_key,
        fingerprint=found.fingerprint,
        description=None,
        recorded_at=recorded_at,
    )
    return _recorded(transaction, event, entries, after, kept)


def _update(book: Book, command: UpdateTransaction, now: datetime) -> Decision:
    found = _find(book, command)
    if isinstance(found, Replayed):
        return found
    transaction = found.hold.transaction
    changes = {
        name: {"before": before, "after": after}
        for name, after in command.changes.items()
        if (before := getattr(transaction, name)) != after
    }
    event = found.event(EventKind.UPDATED, now, command.idempotency_key, changes=changes)
    return Recorded(
        replace(transaction, **command.changes),
        event,
        (),
        found.ledger.after(event.recorded_at),
        (),
        found.hold.lines,
    )


def _do_due(book: Book, command: RunDue | ExpireLot, now: datetime) -> Decision:
    if isinstance(command, RunDue):
        return _run_due(book, command, now)
    return _expire_lot(book, command, now)


def _run_due(book: Book, command: RunDue, now: datetime) -> Decision:
    organization_id = command.scope.organization_id
    hold = book.holds.get((organization_id, command.transaction_id))
    if hold is None:
        return Replayed(command.transaction_id)
    found = _found(book, hold, None)
    transaction, moment = hold.transaction, max(now, found.ledger.last_recorded_at)
    if transaction.due_at is None or transaction.due_at > moment:
        return Replayed(command.transaction_id)
    try:
        if found.ledger.archived:
            raise LedgerArchived
        return _end_by_itself(found, moment)
    except Refusal as refusal:
        return Postponed(_put_off(transaction, refusal, moment))


def _put_off(transaction: Transaction, refusal: Refusal, now: datetime) -> Transaction:
    """Try again later, but look at it when it expires."""
    refused, due_at = _again(transaction.refused, refusal, now)
    if transaction.expires_at is not None and transaction.expires_at > now:
        due_at = min(due_at, transaction.expires_at)
    return replace(transaction, due_at=due_at, refused=refused)


def _again(
    before: RefusedAttempt | None, refusal: Refusal, now: datetime
) -> tuple[RefusedAttempt, datetime]:
    """Try again in a minute, and after twice as long each time."""
    attempts = 1 if before is None else before.attempts + 1
    due_at = now + min(FIRST_PAUSE * 2 ** min(attempts - 1, 10), LONGEST_PAUSE)
    return RefusedAttempt(refusal.code, refusal.message, now, attempts), due_at


def _expire_lot(book: Book, command: ExpireLot, now: datetime) -> Decision:
    organization_id = command.scope.organization_id
    ledger = book.ledgers[organization_id, command.ledger_id]
    account = book.accounts[organization_id, command.account_id]
    breakage = book.accounts[organization_id, command.breakage_account_id]
    lot = next((lot for lot in account.lots if lot.lot_id == command.lot_id), None)
    recorded_at = max(now, ledger.last_recorded_at)
    if lot is None or lot.due_at is None or lot.due_at > recorded_at:
        return Replayed(command.transaction_id)
    amount = free(account.lots, account.pending_outgoing)[lot.lot_id]
    if amount == 0:
        return _deferred(command, account, replace(lot, due_at=None, refused=None))
    effective_at = lot.due_at if lot.refused is None else recorded_at
    if is_closed(ledger, effective_at):
        effective_at = recorded_at
    lines = [
        (account.account_id, account.normal_balance.opposite, Effect.POST, amount, _NOTHING),
        (breakage.account_id, account.normal_balance, Effect.POST, amount, _NOTHING),
    ]
    accounts = {one.account_id: one for one in (account, breakage)}
    try:
        if ledger.archived:
            raise LedgerArchived
        for one in accounts.values():
            _refuse_not_open(one, "accountId")
        entries, changed = _carry(accounts, lines, 1, (), effective_at, recorded_at, spending=False)
    except Refusal as refusal:
        refused, due_at = _again(lot.refused, refusal, recorded_at)
        return _deferred(command, account, replace(lot, due_at=due_at, refused=refused))
    done = replace(lot, due_at=None, refused=None)
    account = replace(
        next(one for one in changed if one.account_id == account.account_id),
        lots=tuple(done if one is lot else one for one in account.lots),
    )
    kept = keep(
        (account, *(one for one in changed if one.account_id != account.account_id)),
        entries,
        {},
        recorded_at,
        expiring=done,
    )
    after = ledger.after(recorded_at, transactions=1)
    transaction = Transaction(
        organization_id=organization_id,
        ledger_id=ledger.ledger_id,
        transaction_id=command.transaction_id,
        sequence=after.last_sequence,
        status=TransactionStatus.POSTED,
        description="Expired credit" if lot.code is None else f"Expired credit {lot.code}",
        external_id=None,
        metadata=_NOTHING,
        effective_at=effective_at,
        created_at=recorded_at,
        posted_at=recorded_at,
        voided_at=None,
        idempotency_key=None,
    )
    event = Event(1, EventKind.LOT_EXPIRED, None, None, None, recorded_at)
    return _recorded(transaction, event, entries, after, kept)


def _deferred(command: ExpireLot, account: Account, lot: Lot) -> Deferred:
    lots = tuple(lot if one.lot_id == lot.lot_id else one for one in account.lots)
    return Deferred(command.transaction_id, replace(account, lots=lots), lot)


@immutable
class _Found:
    """A transaction with everything around it that a change of it needs."""

    hold: Hold
    ledger: Ledger
    accounts: Mapping[UUID, Account]
    fingerprint: bytes | None

    def event(
        self,
        kind: EventKind,
        now: datetime,
        idempotency_key: str | None = None,
        *,
        description: str | None = None,
        changes: Metadata | None = None,
    ) -> Event:
        """The transaction's next event."""
        return Event(
            number=self.hold.events + 1,
            kind=kind,
            idempotency_key=idempotency_key,
            fingerprint=self.fingerprint,
            description=description,
            recorded_at=max(now, self.ledger.last_recorded_at),
            changes=changes,
        )


def _found(book: Book, hold: Hold, fingerprint: bytes | None) -> _Found:
    organization_id, ledger_id = hold.transaction.organization_id, hold.transaction.ledger_id
    accounts = {
        line.account_id: book.accounts[organization_id, line.account_id] for line in hold.lines
    }
    return _Found(hold, book.ledgers[organization_id, ledger_id], accounts, fingerprint)


def _find(book: Book, command: Change) -> _Found | Replayed:
    organization_id = command.scope.organization_id
    hold = book.holds.get((organization_id, command.transaction_id))
    if hold is None:
        raise TransactionNotFound
    ledger = _visible_ledger(book, command.scope, hold.transaction.ledger_id)
    if ledger is None:
        raise TransactionNotFound
    fingerprint = command.fingerprint()
    used = _used(book, ledger, command.idempotency_key, fingerprint)
    if used is not None:
        return used
    if ledger.archived:
        raise LedgerArchived(path=("input", "transactionId"))
    return _found(book, hold, fingerprint)


def _refuse_beside(lines: Sequence[SettleLine], accounts: Mapping[UUID, Account]) -> None:
    for index, line in enumerate(lines):
        if line.account_id not in accounts:
            raise AccountNotFound(
                message="The transaction has no entry on this account.",
                path=_entry_path(index, "accountId"),
            )


def _refuse_expired(transaction: Transaction, now: datetime) -> None:
    """From its time on a hold is not settled, whether it was released by then or not.

    So the answer does not depend on when the server came round to it, nor on whether it then posted
    what had been due to post before.
    """
    ended_at = transaction.posted_at or transaction.voided_at or now
    if transaction.expires_at is not None and ended_at >= transaction.expires_at:
        raise HoldExpired(
            message=f"The hold expired at {written(transaction.expires_at)}.",
            transaction_id=transaction.transaction_id,
            expires_at=transaction.expires_at,
        )


def _refuse_not_reversible(transaction: Transaction, left: Mapping[Side, int]) -> None:
    status = transaction.status
    if status is not TransactionStatus.POSTED:
        reason, message = "not_posted", f"It is {status.value}; only what is posted is reversed."
    elif transaction.reverses_sequence is not None:
        reason, message = "is_reversal", "It is itself a reversal; post what you mean instead."
    elif not left:
        reason, message = "fully_reversed", "All of it has been reversed."
    else:
        return
    raise TransactionNotReversible(
        message=message,
        transaction_id=transaction.transaction_id,
        transaction_status=status.value,
        reason=reason,
    )


def _refuse_part_of_payout(
    payout: Transaction, lines: Sequence[SettleLine] | None, left: Mapping[Side, int]
) -> None:
    asked: dict[Side, int] = {}
    for line in lines or ():
        side = (line.account_id, line.direction)
        asked[side] = asked.get(side, 0) + line.amount
    if lines is not None and asked != left:
        raise TransactionNotReversible(
            message="It is the payout of a settlement, which is reversed as a whole.",
            transaction_id=payout.transaction_id,
            transaction_status=payout.status.value,
            reason="part_of_settlement",
        )


def _refuse_not_pending(hold: Hold) -> None:
    status = hold.transaction.status
    if status is not TransactionStatus.PENDING:
        raise TransactionNotPending(
            message=f"The transaction is {status.value}; only a pending one can be settled or"
            " voided.",
            transaction_id=hold.transaction.transaction_id,
            transaction_status=status.value,
        )


def _part(
    lines: Sequence[SettleLine],
    accounts: Mapping[UUID, Account],
    left: Mapping[Side, int],
    beyond: type[SettlementExceedsHold | ReversalExceedsTransaction],
) -> Mapping[Side, int]:
    """The amounts asked for by side of account, none beyond what is left there."""
    _refuse_unbalanced((accounts[line.account_id], line.direction, line.amount) for line in lines)
    asked: dict[Side, int] = {}
    for index, line in enumerate(lines):
        side = (line.account_id, line.direction)
        asked[side] = asked.get(side, 0) + line.amount
        if asked[side] > left.get(side, 0):
            raise beyond(
                message=f"Only {left.get(side, 0)} is left on this side of the account.",
                path=_entry_path(index, "amount"),
                account_id=line.account_id,
                direction=line.direction,
                remaining=left.get(side, 0),
                requested=asked[side],
            )
    return asked


def _end_by_itself(found: _Found, now: datetime) -> Recorded:
    transaction = found.hold.transaction
    if transaction.expires_at is None or transaction.expires_at > now:
        return _mature(found, now)
    if transaction.posts_at is None or transaction.refused is not None:
        return _expire(found, now)
    try:
        return _mature(found, now)
    except Refusal as refusal:
        expired = _expire(found, now)
        refused, _ = _again(None, refusal, now)
        return replace(expired, transaction=replace(expired.transaction, refused=refused))


def _mature(found: _Found, now: datetime) -> Recorded:
    settled = remaining(found.hold.lines)
    for account_id, _ in settled:
        _refuse_not_open(found.accounts[account_id], "transactionId")
    event = found.event(EventKind.MATURED, now)
    return _change_hold(found, event, settled, {}, found.hold.transaction.posts_at)


def _expire(found: _Found, now: datetime) -> Recorded:
    event = found.event(EventKind.EXPIRED, now)
    released = remaining(found.hold.lines)
    return _change_hold(found, event, {}, released, found.hold.transaction.expires_at)


def _change_hold(
    found: _Found,
    event: Event,
    settled: Mapping[Side, int],
    released: Mapping[Side, int],
    due_at: datetime | None = None,
) -> Recorded:
    """Settle and release parts of a hold; with nothing left it is POSTED, or else VOIDED.

    `due_at` is when this was to happen by itself.
    """
    hold, recorded_at = found.hold, event.recorded_at
    lines = [
        (account_id, direction, effect, amount, _NOTHING)
        for effect, part in ((Effect.SETTLE, settled), (Effect.RELEASE, released))
        for (account_id, direction), amount in part.items()
    ]
    refused = hold.transaction.refused
    is_late = refused is not None and due_at is not None and refused.refused_at >= due_at
    effective_at = recorded_at if due_at is None or is_late else due_at
    # What undoes a hold cannot have happened before the hold itself did. Nor does it meet a closed
    # period: those are over, and recorded time does not run backwards.
    effective_at = max(effective_at, hold.transaction.effective_at)
    if is_closed(found.ledger, effective_at):
        effective_at = recorded_at
    created_at = hold.transaction.created_at
    entries, changed = _carry(
        found.accounts, lines, event.number, hold.lines, effective_at, created_at
    )
    return _recorded(
        _after_change(hold, entries, recorded_at),
        event,
        entries,
        found.ledger.after(recorded_at),
        keep(changed, entries, {}, recorded_at),
        hold.lines,
    )


def _recorded(
    transaction: Transaction,
    event: Event,
    entries: tuple[Entry, ...],
    ledger: Ledger,
    kept: Kept,
    past_lines: tuple[PastLine, ...] = (),
) -> Recorded:
    return Recorded(
        transaction, event, entries, ledger, kept.accounts, past_lines, kept.lots, kept.movements
    )


def _after_change(hold: Hold, entries: Iterable[Entry], recorded_at: datetime) -> Transaction:
    lines = [*hold.lines, *map(_past, entries)]
    if remaining(lines):
        return hold.transaction
    ended = replace(hold.transaction, due_at=None)
    if any(line.effect is Effect.SETTLE for line in lines):
        return replace(ended, status=TransactionStatus.POSTED, posted_at=recorded_at)
    return replace(ended, status=TransactionStatus.VOIDED, voided_at=recorded_at)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


def _visible_ledger(book: Book, scope: Scope, ledger_id: UUID) -> Ledger | None:
    ledger = book.ledgers.get((scope.organization_id, ledger_id))
    return ledger if ledger is not None and scope.sees(ledger_id, ledger.mode) else None


def _used(book: Book, ledger: Ledger, key: str, fingerprint: bytes) -> Replayed | None:
    used = book.used_keys.get((ledger.organization_id, ledger.ledger_id, key))
    if used is None:
        return None
    if used.fingerprint != fingerprint:
        raise IdempotencyConflict(transaction_id=used.transaction_id)
    return Replayed(used.transaction_id)


def _accounts_of(
    book: Book, ledger: Ledger, drafts: Sequence[EntryDraft]
) -> Mapping[UUID, Account]:
    accounts: dict[UUID, Account] = {}
    for index, draft in enumerate(drafts):
        account = book.accounts.get((ledger.organization_id, draft.account_id))
        if account is None or account.ledger_id != ledger.ledger_id:
            raise AccountNotFound(path=_entry_path(index, "accountId"))
        accounts[draft.account_id] = account
    return accounts


def _refuse_impossible_lots(
    book: Book, command: PostTransaction, accounts: Mapping[UUID, Account], now: datetime
) -> None:
    """`now` is when the entries are recorded, or effective if that is later."""
    lots = [
        (index, entry, entry.lot)
        for index, entry in enumerate(command.entries)
        if entry.lot is not None
    ]
    breakages: list[Account] = []
    for index, entry, lot in lots:
        found = book.accounts.get((command.scope.organization_id, lot.breakage_account_id))
        if found is None or found.ledger_id != accounts[entry.account_id].ledger_id:
            raise AccountNotFound(path=_entry_path(index, "lot", "breakageAccountId"))
        breakages.append(found)
    for (index, entry, lot), breakage in zip(lots, breakages, strict=True):
        account = accounts[entry.account_id]
        path = _entry_path(index, "lot", "breakageAccountId")
        if entry.direction is not account.normal_balance:
            reason, message = (
                "not_on_normal_side",
                "Only an entry on the normal side brings credit.",
            )
            path = _entry_path(index, "direction")
        elif breakage.account_id == account.account_id:
            reason, message = "breakage_is_same_account", "What expires leaves the account."
        elif (breakage.currency, breakage.exponent) != (account.currency, account.exponent):
            reason = "breakage_in_other_currency"
            message = f"The breakage account is in {breakage.currency}, not {account.currency}."
        elif lot.expires_at <= now:
            reason, message = (
                "expires_too_early",
                "Credit expires after it is there, in the future.",
            )
            path = _entry_path(index, "lot", "expiresAt")
        else:
            continue
        raise LotNotPossible(
            message=message, path=path, account_id=account.account_id, reason=reason
        )


def _lot(draft: LotDraft, entry: Entry, transaction_sequence: int) -> Lot:
    return Lot(
        lot_id=draft.lot_id,
        account_id=entry.account_id,
        number=entry.sequence,
        transaction_sequence=transaction_sequence,
        code=draft.code,
        amount=entry.amount,
        remaining=entry.amount,
        expired=0,
        expires_at=draft.expires_at,
        breakage_account_id=draft.breakage_account_id,
        due_at=draft.expires_at,
    )


def _refuse_unbalanced(lines: Iterable[tuple[Account, Direction, int]]) -> None:
    totals: dict[tuple[str, int], list[int]] = {}
    for account, direction, amount in lines:
        sides = totals.setdefault((account.currency, account.exponent), [0, 0])
        sides[direction is Direction.CREDIT] += amount
    for (currency, exponent), (debits, credits_) in totals.items():
        if debits != credits_:
            told = f"In {currency} debits are {debits} and credits {credits_} minor units."
            if not (debits and credits_) and len(totals) > 1:
                told += " Each currency balances by itself: take accounts of the same one."
            raise EntriesUnbalanced(
                message=told,
                currency=currency,
                exponent=exponent,
                debits=debits,
                credits=credits_,
            )


def _refuse_taken(book: Book, ledger: Ledger, external_id: str | None) -> None:
    if external_id is None:
        return
    if (ledger.organization_id, ledger.ledger_id, external_id) in book.external_ids:
        raise ExternalIdTaken(
            message="Another transaction of this ledger has this external id.",
            external_id=external_id,
        )


def _refuse_not_open(account: Account, *place: str | int) -> None:
    """`place` is where in the input the account was named."""
    if account.status is not AccountStatus.OPEN:
        raise AccountNotOpen(
            message=f"The account is {account.status.value}.",
            path=("input", *map(str, place)),
            account_id=account.account_id,
            account_status=account.status.value,
        )


def _refuse_other_version(account: Account, draft: EntryDraft, index: int) -> None:
    if draft.account_version is not None and draft.account_version != account.version:
        raise VersionConflict(
            message=f"The account is at version {account.version}.",
            path=_entry_path(index, "accountVersion"),
            account_id=account.account_id,
            expected_version=draft.account_version,
            actual_version=account.version,
        )


def _carry(
    accounts: Mapping[UUID, Account],
    lines: Sequence[tuple[UUID, Direction, Effect, int, Metadata]],
    event: int,
    past: Sequence[PastLine],
    effective_at: datetime,
    created_at: datetime,
    *,
    spending: bool = True,
) -> tuple[tuple[Entry, ...], tuple[Account, ...]]:
    """Apply lines one by one, each against the balances that those before it left.

    `past` are those that the transaction has already; it was made at `created_at`. Without
    `spending` neither entry maxima nor velocity limits refuse it (`accounts/limits.py`).
    """
    limited = [account for account in accounts.values() if account.limits is not None]
    if limited and spending:
        refuse_too_large(accounts, lines)
    current: dict[UUID, Account] = {}
    entries: list[Entry] = []
    for index, (account_id, direction, effect, amount, metadata) in enumerate(lines):
        account = current.get(account_id) or accounts[account_id]
        balances = account.balances.after(effect, direction, amount)
        _refuse_overdraft(account, balances, index)
        account = account.after(balances)
        current[account_id] = account
        entries.append(
            Entry(
                account_id,
                account.version,
                len(past) + index + 1,
                event,
                direction,
                effect,
                amount,
                balances,
                effective_at,
                metadata,
            )
        )
    if limited:
        refuse_above_ceiling(accounts, entries)
        return tuple(entries), counted(
            current.values(), past, entries, created_at, spending=spending
        )
    return tuple(entries), tuple(current.values())


def _refuse_overdraft(account: Account, balances: Balances, index: int) -> None:
    floor = account.available_floor
    if floor is None:
        return
    before, after = account.available, balances.available(account.normal_balance).amount
    if after < before and after < floor:
        raise InsufficientFunds(
            message=f"Available would be {after}, below the account's floor of {floor}.",
            path=_entry_path(index, "amount"),
            account_id=account.account_id,
            available=before,
            required=before - after + floor,
        )


def _refuse_broken_conditions(
    drafts: Sequence[EntryDraft], entries: Sequence[Entry], accounts: Mapping[UUID, Account]
) -> None:
    for index, (draft, entry) in enumerate(zip(drafts, entries, strict=True)):
        if draft.condition is not None:
            _refuse_broken_condition(
                draft.condition, accounts[draft.account_id], entry.balances_after, index
            )


def _refuse_broken_condition(
    condition: BalanceCondition, account: Account, balances: Balances, index: int
) -> None:
    for name, bounds, balance in (
        ("posted", condition.posted, balances.posted),
        ("pending", condition.pending, balances.pending),
        ("available", condition.available, balances.available),
        ("projected", condition.projected, balances.projected),
    ):
        actual = balance(account.normal_balance).amount
        broken = bounds and bounds.broken_by(actual)
        if broken:
            raise ConditionFailed(
                message=f"After the entry {name} is {actual}; the condition wants {broken}.",
                path=_entry_path(index, "condition", name),
                account_id=account.account_id,
                balance=name,
                expected=broken,
                actual=actual,
            )


def _past(entry: Entry) -> PastLine:
    return PastLine(entry.account_id, entry.direction, entry.effect, entry.amount)


def _entry_path(index: int, *rest: str) -> Path:
    return ("input", "entries", str(index), *rest)
