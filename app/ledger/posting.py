"""Deciding: what a command does to the books, or why it is refused.

`decide` looks at a book and returns what would be recorded, changing nothing; `record` carries the
book forward so that the next command of the batch is decided against it. A refused command simply
never reaches `record`, which is why one refusal cannot touch its neighbours.

Order of the checks (the order of `refusals.PRECEDENCE`, after the checks of the input alone):

1. Is the ledger, or the transaction, there for this key?
2. Was the idempotency key used? With the same content the first result is the answer, even if the
   ledger has been archived or an account frozen since; with another content it is a conflict.
3. Does the ledger take writes, and at that effective time; are the accounts in it; is the
   transaction still pending?
4. Do debits equal credits in each currency; is the hold large enough; is the external id free?
5. Are the accounts open, at the version that the client saw?
6. Entry by entry, in the order given: is it within the account's entry maximum? Does an entry
   against the normal side leave available at the account's floor or above? (An entry that raises
   available is never refused for the floor.) Is the account below its ceiling, and do its velocity
   limits have room? (See `limits.py`; settlements and voids are refused for none of these.)
7. Do the client's own conditions hold after their entries?

Floors, conditions and versions look at recorded order, not at effective time: money that was
available when we learned of it stays spent, whatever is backdated later. So `balances(asOf:)` may
show less than the floor at a moment of the past, where the money came later than what it paid for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from app.ledger.accounts import Account, AccountStatus, Ledger, Scope
from app.ledger.balances import Balances, Direction, Effect
from app.ledger.book import Book
from app.ledger.commands import (
    BalanceCondition,
    Command,
    EntryDraft,
    Metadata,
    PostTransaction,
    SettleLine,
    SettleTransaction,
    VoidTransaction,
)
from app.ledger.limits import counted, refuse_above_ceiling, refuse_too_large
from app.ledger.periods import refuse_closed
from app.ledger.refusals import (
    AccountNotFound,
    AccountNotOpen,
    ConditionFailed,
    EntriesUnbalanced,
    ExternalIdTaken,
    IdempotencyConflict,
    InsufficientFunds,
    LedgerArchived,
    LedgerNotFound,
    Path,
    Refusal,
    SettlementExceedsHold,
    TransactionNotFound,
    TransactionNotPending,
    VersionConflict,
)
from app.ledger.transactions import (
    Entry,
    Event,
    EventKind,
    Hold,
    PastLine,
    Transaction,
    TransactionStatus,
    Used,
    remaining,
)

_NOTHING: Metadata = {}
_Side = tuple[UUID, Direction]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A command was accepted: the transaction as it now stands and all that has to be written."""

    transaction: Transaction
    event: Event
    entries: tuple[Entry, ...]
    ledger: Ledger
    accounts: tuple[Account, ...]
    past_lines: tuple[PastLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """The command had been accepted before; nothing is written again."""

    transaction_id: UUID


Decision = Recorded | Replayed


def decide(book: Book, command: Command, now: datetime) -> Decision:
    """Decide one command at the time `now` (UTC); raises the Refusal of first precedence."""
    if isinstance(command, PostTransaction):
        return _post(book, command, now)
    if isinstance(command, SettleTransaction):
        return _settle(book, command, now)
    return _void(book, command, now)


def record(book: Book, decision: Decision) -> None:
    """Carry the book forward by one decision."""
    if isinstance(decision, Replayed):
        return
    transaction = decision.transaction
    organization_id, ledger_id = transaction.organization_id, transaction.ledger_id
    book.ledgers[organization_id, ledger_id] = decision.ledger
    for account in decision.accounts:
        book.accounts[organization_id, account.account_id] = account
    book.holds[organization_id, transaction.transaction_id] = Hold(
        transaction,
        decision.event.number,
        decision.past_lines + tuple(map(_past, decision.entries)),
    )
    book.used_keys[organization_id, ledger_id, decision.event.idempotency_key] = Used(
        decision.event.fingerprint, transaction.transaction_id
    )
    if transaction.external_id is not None:
        book.external_ids[organization_id, ledger_id, transaction.external_id] = (
            transaction.transaction_id
        )


def decide_together(book: Book, commands: Sequence[Command], now: datetime) -> list[Decision]:
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
    _refuse_unbalanced((accounts[e.account_id], e.direction, e.amount) for e in command.entries)
    _refuse_taken(book, ledger, command.external_id)
    for index, entry in enumerate(command.entries):
        _refuse_not_open(accounts[entry.account_id], _entry_path(index, "accountId"))
    for index, entry in enumerate(command.entries):
        _refuse_other_version(accounts[entry.account_id], entry, index)

    effect = Effect.HOLD if command.pending else Effect.POST
    lines = [
        (entry.account_id, entry.direction, effect, entry.amount, entry.metadata)
        for entry in command.entries
    ]
    entries, changed = _carry(accounts, lines, 1, (), effective_at, recorded_at)
    _refuse_broken_conditions(command.entries, entries, accounts)

    event = Event(
        number=1,
        kind=EventKind.HELD if command.pending else EventKind.POSTED,
        idempotency_key=command.idempotency_key,
        fingerprint=fingerprint,
        description=None,
        recorded_at=recorded_at,
    )
    after = replace(ledger, last_sequence=ledger.last_sequence + 1, last_recorded_at=recorded_at)
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
    )
    return Recorded(transaction, event, entries, after, changed)


def _settle(book: Book, command: SettleTransaction, now: datetime) -> Decision:
    found = _find_hold(book, command)
    if isinstance(found, Replayed):
        return found
    _refuse_beside_hold(command.lines or (), found.accounts)
    _refuse_not_pending(found.hold)
    left = remaining(found.hold.lines)
    settled = left if command.lines is None else _settled_part(command.lines, found.accounts, left)
    for account_id, _ in settled:
        _refuse_not_open(found.accounts[account_id], ("input", "transactionId"))
    rest = {side: amount - settled.get(side, 0) for side, amount in left.items()}
    released = {side: amount for side, amount in rest.items() if amount} if command.final else {}
    return _change_hold(
        found, EventKind.SETTLED, command.idempotency_key, None, settled, released, now
    )


def _void(book: Book, command: VoidTransaction, now: datetime) -> Decision:
    found = _find_hold(book, command)
    if isinstance(found, Replayed):
        return found
    _refuse_not_pending(found.hold)
    return _change_hold(
        found,
        EventKind.VOIDED,
        command.idempotency_key,
        command.description,
        {},
        remaining(found.hold.lines),
        now,
    )


@dataclass(frozen=True, slots=True)
class _FoundHold:
    """A transaction with everything around it that a change of it needs."""

    hold: Hold
    ledger: Ledger
    accounts: Mapping[UUID, Account]
    fingerprint: bytes


def _find_hold(book: Book, command: SettleTransaction | VoidTransaction) -> _FoundHold | Replayed:
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
    accounts = {
        line.account_id: book.accounts[organization_id, line.account_id] for line in hold.lines
    }
    return _FoundHold(hold, ledger, accounts, fingerprint)


def _refuse_beside_hold(lines: Sequence[SettleLine], accounts: Mapping[UUID, Account]) -> None:
    for index, line in enumerate(lines):
        if line.account_id not in accounts:
            raise AccountNotFound(
                message="The transaction has no entry on this account.",
                path=_entry_path(index, "accountId"),
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


def _settled_part(
    lines: Sequence[SettleLine],
    accounts: Mapping[UUID, Account],
    left: Mapping[_Side, int],
) -> Mapping[_Side, int]:
    """The amounts asked for by side of account, none beyond what is left of the hold there."""
    _refuse_unbalanced((accounts[line.account_id], line.direction, line.amount) for line in lines)
    settled: dict[_Side, int] = {}
    for index, line in enumerate(lines):
        side = (line.account_id, line.direction)
        settled[side] = settled.get(side, 0) + line.amount
        if settled[side] > left.get(side, 0):
            raise SettlementExceedsHold(
                message="The hold has less left on this side of the account.",
                path=_entry_path(index, "amount"),
                account_id=line.account_id,
                direction=line.direction,
                remaining=left.get(side, 0),
                requested=settled[side],
            )
    return settled


def _change_hold(
    found: _FoundHold,
    kind: EventKind,
    idempotency_key: str,
    description: str | None,
    settled: Mapping[_Side, int],
    released: Mapping[_Side, int],
    now: datetime,
) -> Recorded:
    """Settle and release parts of a hold; with nothing left it is POSTED, or else VOIDED."""
    hold, ledger = found.hold, found.ledger
    recorded_at = max(now, ledger.last_recorded_at)
    event = Event(
        number=hold.events + 1,
        kind=kind,
        idempotency_key=idempotency_key,
        fingerprint=found.fingerprint,
        description=description,
        recorded_at=recorded_at,
    )
    lines = [
        (account_id, direction, effect, amount, _NOTHING)
        for effect, part in ((Effect.SETTLE, settled), (Effect.RELEASE, released))
        for (account_id, direction), amount in part.items()
    ]
    # What undoes a hold cannot have happened before the hold itself did. Nor can it meet a closed
    # period, for those are over when they are closed, and recorded time does not run backwards.
    effective_at = max(recorded_at, hold.transaction.effective_at)
    created_at = hold.transaction.created_at
    entries, changed = _carry(
        found.accounts, lines, event.number, hold.lines, effective_at, created_at
    )
    return Recorded(
        _after_change(hold, entries, recorded_at),
        event,
        entries,
        replace(ledger, last_recorded_at=recorded_at),
        changed,
        hold.lines,
    )


def _after_change(hold: Hold, entries: Iterable[Entry], recorded_at: datetime) -> Transaction:
    lines = [*hold.lines, *map(_past, entries)]
    if remaining(lines):
        return hold.transaction
    if any(line.effect is Effect.SETTLE for line in lines):
        return replace(hold.transaction, status=TransactionStatus.POSTED, posted_at=recorded_at)
    return replace(hold.transaction, status=TransactionStatus.VOIDED, voided_at=recorded_at)


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


def _refuse_unbalanced(lines: Iterable[tuple[Account, Direction, int]]) -> None:
    totals: dict[tuple[str, int], list[int]] = {}
    for account, direction, amount in lines:
        sides = totals.setdefault((account.currency, account.exponent), [0, 0])
        sides[direction is Direction.CREDIT] += amount
    for (currency, exponent), (debits, credits_) in totals.items():
        if debits != credits_:
            raise EntriesUnbalanced(
                message=f"In {currency} debits are {debits} and credits {credits_} minor units.",
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


def _refuse_not_open(account: Account, path: Path) -> None:
    if account.status is not AccountStatus.OPEN:
        raise AccountNotOpen(
            message=f"The account is {account.status.value}.",
            path=path,
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
) -> tuple[tuple[Entry, ...], tuple[Account, ...]]:
    """Apply lines one by one, each against the balances that those before it left.

    `past` are those that the transaction has already; it was made at `created_at`.
    """
    limited = [account for account in accounts.values() if account.limits is not None]
    if limited:
        refuse_too_large(accounts, lines)
    current: dict[UUID, Account] = {}
    entries: list[Entry] = []
    for index, (account_id, direction, effect, amount, metadata) in enumerate(lines):
        account = current.get(account_id) or accounts[account_id]
        balances = account.balances.after(effect, direction, amount)
        _refuse_overdraft(account, balances, index)
        account = replace(account, version=account.version + 1, balances=balances)
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
        return tuple(entries), counted(current.values(), past, entries, created_at)
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
