"""Posting, settling and voiding: the mutations that go down to the writer."""

import asyncio
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import strawberry
from uuid_utils.compat import uuid7

from app.api.engine.context import Info
from app.api.enums import BatchMode, Direction, HoldReason, PostingStatus, by_word
from app.api.filters import AmountRange
from app.api.ids import ACCOUNT, LEDGER, TRANSACTION
from app.api.ledgers.mutations import given
from app.api.nodes import UserError
from app.api.refusals import (
    AccountNotFound,
    AccountNotOpen,
    CeilingExceeded,
    ConditionFailed,
    EntriesUnbalanced,
    EntryTooLarge,
    ExternalIdTaken,
    HoldExpired,
    IdempotencyConflict,
    InsufficientFunds,
    LedgerArchived,
    LotNotPossible,
    NewEntriesRefused,
    Overloaded,
    PeriodClosed,
    ReversalExceedsTransaction,
    SettlementExceedsHold,
    TransactionNotFound,
    TransactionNotPending,
    TransactionNotReversible,
    ValidationFailed,
    VelocityExceeded,
    VersionConflict,
    answering,
    find_transaction,
    render,
    required_id,
)
from app.api.scalars import JSON, Amount, DateTime, Sequence
from app.api.transactions.entries import Entry
from app.api.transactions.types import Transaction, TransactionEvent
from app.ledger import refusals
from app.ledger.accounts import balances as domain
from app.ledger.accounts.state import Scope
from app.ledger.transactions import commands
from app.ledger.transactions.posting import Decision, Recorded
from app.store import rows
from app.store.identity import Permission
from app.store.transactions.posting import Answer

MAX_TRANSACTIONS = 1000
_DIRECTIONS = by_word(domain.Direction)


@strawberry.input(
    description="What must hold of the account's balances right after the entry, in minor units."
)
class BalanceCondition:
    posted: AmountRange | None = strawberry.field(description="Of posted.", default=None)
    pending: AmountRange | None = strawberry.field(description="Of pending.", default=None)
    available: AmountRange | None = strawberry.field(description="Of available.", default=None)
    projected: AmountRange | None = strawberry.field(description="Of projected.", default=None)


@strawberry.input(
    description=(
        "Makes the entry's amount a credit lot: stored value that expires, such as a gift card or"
        " promotional credit."
    )
)
class CreditLotInput:
    expires_at: DateTime = strawberry.field(
        description="When what is left of it expires; in the future."
    )
    breakage_account_id: strawberry.ID = strawberry.field(
        description="The account that it goes to then, of the same ledger and currency."
    )
    code: str | None = strawberry.field(
        description="The client's own word for it, up to 255 characters.", default=None
    )


@strawberry.input(description="A line of a new transaction.")
class EntryInput:
    account_id: strawberry.ID = strawberry.field(description="The account, of the same ledger.")
    direction: Direction = strawberry.field(description="Its side.")
    amount: Amount = strawberry.field(description="In minor units, above zero.")
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)
    condition: BalanceCondition | None = strawberry.field(
        description="What must hold after the entry, or else nothing is posted.", default=None
    )
    account_version: Sequence | None = strawberry.field(
        description="The version that the account must be at before the transaction.", default=None
    )
    lot: CreditLotInput | None = strawberry.field(
        description=(
            "The credit lot that the entry opens; only with POSTED, and on the account's normal"
            " side."
        ),
        default=None,
    )


@strawberry.input(description="A transaction to record.")
class PostTransactionInput:
    ledger_id: strawberry.ID = strawberry.field(description="The ledger.")
    idempotency_key: str = strawberry.field(
        description=(
            "1 to 255 characters, unique in the ledger for ever. The same key with the same input"
            " gives the first result; with another input it is a conflict."
        )
    )
    entries: list[EntryInput] = strawberry.field(
        description="From 2 to 1,000 lines; debits equal credits in each currency."
    )
    status: PostingStatus = strawberry.field(
        description="Posted at once, or pending as a hold.", default=PostingStatus.POSTED
    )
    description: str | None = strawberry.field(
        description="For people; up to 2,000 characters.", default=None
    )
    external_id: str | None = strawberry.field(
        description="The client's own id, unique among the transactions of the ledger.",
        default=None,
    )
    metadata: JSON | None = strawberry.field(description="The client's own data.", default=None)
    effective_at: DateTime | None = strawberry.field(
        description=(
            "When it happened in the world, past or future; now if absent. Not in a closed period."
            " Floors and conditions look at the order in which things are recorded instead."
        ),
        default=None,
    )
    dry_run: bool = strawberry.field(
        description=(
            "Decide and answer, but record nothing: ids and sequences of the answer are not kept."
        ),
        default=False,
    )
    reason: HoldReason | None = strawberry.field(
        description="What the hold is for; only with PENDING.", default=None
    )
    posts_at: DateTime | None = strawberry.field(
        description=(
            "When the hold posts by itself; only with PENDING. A time that has passed is due at"
            " once."
        ),
        default=None,
    )
    expires_at: DateTime | None = strawberry.field(
        description=(
            "When the hold is released by itself and can no more be settled; after postsAt, and"
            " only with PENDING."
        ),
        default=None,
    )


@strawberry.input(description="Transactions to record.")
class PostTransactionsInput:
    mode: BatchMode = strawberry.field(description="All or none, or each by itself.")
    transactions: list[PostTransactionInput] = strawberry.field(
        description=(
            f"From 1 to {MAX_TRANSACTIONS}, decided in this order. With ATOMIC, dryRun is the same"
            " in all."
        )
    )


@strawberry.input(description="How much of a hold to settle on one side of one account.")
class SettleEntryInput:
    account_id: strawberry.ID = strawberry.field(description="An account of the transaction.")
    direction: Direction = strawberry.field(description="The side of the held entry.")
    amount: Amount = strawberry.field(description="In minor units, above zero.")


@strawberry.input(description="A hold to settle.")
class SettleTransactionInput:
    transaction_id: strawberry.ID = strawberry.field(description="The pending transaction.")
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    entries: list[SettleEntryInput] | None = strawberry.field(
        description="The part to settle, balanced in each currency; all that is left if absent.",
        default=None,
    )
    final: bool = strawberry.field(
        description="Whether to release what remains afterwards.", default=True
    )


@strawberry.input(description="A hold to void.")
class VoidTransactionInput:
    transaction_id: strawberry.ID = strawberry.field(description="The pending transaction.")
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    description: str | None = strawberry.field(
        description="Why; kept in the transaction's history.", default=None
    )


@strawberry.input(description="A posted transaction to reverse.")
class ReverseTransactionInput:
    transaction_id: strawberry.ID = strawberry.field(description="The transaction.")
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    entries: list[SettleEntryInput] | None = strawberry.field(
        description=(
            "The part to reverse, balanced in each currency: entries as the transaction has them,"
            " by account and direction. All that is left if absent."
        ),
        default=None,
    )
    effective_at: DateTime | None = strawberry.field(
        description="When the reversal happened in the world; now if absent.", default=None
    )
    description: str | None = strawberry.field(
        description="For people; of the reversal.", default=None
    )
    metadata: JSON | None = strawberry.field(
        description="The client's own data; of the reversal.", default=None
    )


@strawberry.input(description="Corrected labels of a transaction; what is left out stays.")
class UpdateTransactionInput:
    transaction_id: strawberry.ID = strawberry.field(description="The transaction.")
    idempotency_key: str = strawberry.field(
        description="1 to 255 characters, unique in the ledger for ever."
    )
    description: str | None = strawberry.field(
        description="For people; null clears it.", default=strawberry.UNSET
    )
    metadata: JSON | None = strawberry.field(
        description="The client's own data; replaces what is there.", default=strawberry.UNSET
    )


@strawberry.type(description="The transaction is recorded.")
class PostTransactionSuccess:
    transaction: Transaction = strawberry.field(description="The transaction as it now stands.")
    replayed: bool = strawberry.field(
        description="Whether the key had been used before, so that this is the first result."
    )


@strawberry.type(description="The batch was decided.")
class PostTransactionsSuccess:
    results: list[
        Annotated["PostTransactionResult", strawberry.lazy("app.api.transactions.mutations")]
    ] = strawberry.field(
        description="In input order. With INDEPENDENT some may be refusals; ATOMIC has none."
    )


@strawberry.type(description="The hold is settled, in whole or in part.")
class SettleTransactionSuccess:
    transaction: Transaction = strawberry.field(description="The transaction as it now stands.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


@strawberry.type(description="What was left of the hold is released.")
class VoidTransactionSuccess:
    transaction: Transaction = strawberry.field(description="The transaction as it now stands.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


@strawberry.type(description="The transaction is reversed, in whole or in part.")
class ReverseTransactionSuccess:
    transaction: Transaction = strawberry.field(description="The new, reversing transaction.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


@strawberry.type(description="The labels are corrected.")
class UpdateTransactionSuccess:
    transaction: Transaction = strawberry.field(description="The transaction as it now stands.")
    replayed: bool = strawberry.field(description="Whether the key had been used before.")


PostingRefused = (
    ValidationFailed
    | EntriesUnbalanced
    | LotNotPossible
    | AccountNotFound
    | NewEntriesRefused
    | ConditionFailed
    | VersionConflict
    | IdempotencyConflict
    | ExternalIdTaken
    | Overloaded
)
PostTransactionResult = Annotated[
    PostTransactionSuccess | PostingRefused,
    strawberry.union("PostTransactionResult", description="What became of postTransaction."),
]
PostTransactionsResult = Annotated[
    PostTransactionsSuccess | PostingRefused,
    strawberry.union(
        "PostTransactionsResult",
        description="What became of postTransactions; a refusal is that of the first one refused.",
    ),
]
SettleTransactionResult = Annotated[
    SettleTransactionSuccess
    | ValidationFailed
    | TransactionNotFound
    | HoldExpired
    | TransactionNotPending
    | AccountNotFound
    | EntriesUnbalanced
    | SettlementExceedsHold
    | AccountNotOpen
    | LedgerArchived
    | IdempotencyConflict
    | Overloaded,
    strawberry.union("SettleTransactionResult", description="What became of settleTransaction."),
]
VoidTransactionResult = Annotated[
    VoidTransactionSuccess
    | ValidationFailed
    | TransactionNotFound
    | TransactionNotPending
    | LedgerArchived
    | IdempotencyConflict
    | Overloaded,
    strawberry.union("VoidTransactionResult", description="What became of voidTransaction."),
]
ReverseTransactionResult = Annotated[
    ReverseTransactionSuccess
    | ValidationFailed
    | TransactionNotFound
    | TransactionNotReversible
    | AccountNotFound
    | EntriesUnbalanced
    | ReversalExceedsTransaction
    | AccountNotOpen
    | EntryTooLarge
    | InsufficientFunds
    | CeilingExceeded
    | VelocityExceeded
    | LedgerArchived
    | PeriodClosed
    | IdempotencyConflict
    | Overloaded,
    strawberry.union("ReverseTransactionResult", description="What became of reverseTransaction."),
]
UpdateTransactionResult = Annotated[
    UpdateTransactionSuccess
    | ValidationFailed
    | TransactionNotFound
    | LedgerArchived
    | IdempotencyConflict
    | Overloaded,
    strawberry.union("UpdateTransactionResult", description="What became of updateTransaction."),
]


@strawberry.type
class TransactionMutations:
    @strawberry.mutation(
        description=(
            "Record a transaction. Once answered it is durable; sent again with the same key it is"
            " recorded once. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def post_transaction(
        self,
        info: Info,
        input: Annotated[PostTransactionInput, strawberry.argument(description="What to record.")],
    ) -> PostTransactionResult:
        command = posting(info.context.scope, input)
        decision = await info.context.writer.write(command)
        await info.context.renew()
        return await posted(info, decision)

    @strawberry.mutation(
        description=(
            "Record many transactions, all or none (ATOMIC) or each by itself (INDEPENDENT), each"
            " with its own idempotency key. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def post_transactions(
        self,
        info: Info,
        input: Annotated[PostTransactionsInput, strawberry.argument(description="What to record.")],
    ) -> PostTransactionsResult:
        if not 1 <= len(input.transactions) <= MAX_TRANSACTIONS:
            raise refusals.ValidationFailed(
                message=f"From 1 to {MAX_TRANSACTIONS} transactions are recorded at once.",
                path=("input", "transactions"),
            )
        if input.mode is BatchMode.ATOMIC:
            return await _post_together(info, input.transactions)
        return PostTransactionsSuccess(results=await _post_apart(info, input.transactions))

    @strawberry.mutation(
        description=(
            "Post a hold: all that is left of it, or a part; many times until it is used up. Needs"
            " the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def settle_transaction(
        self,
        info: Info,
        input: Annotated[
            SettleTransactionInput, strawberry.argument(description="What to settle.")
        ],
    ) -> SettleTransactionResult:
        command = commands.SettleTransaction(
            scope=info.context.scope,
            transaction_id=required_id(TRANSACTION, input.transaction_id, "transactionId"),
            idempotency_key=input.idempotency_key,
            lines=_lines(input.entries),
            final=input.final,
        )
        transaction, replayed = await _change(info, command)
        return SettleTransactionSuccess(transaction=transaction, replayed=replayed)

    @strawberry.mutation(description="Release all that is left of a hold. Needs the scope write.")
    @answering(Permission.WRITE)
    async def void_transaction(
        self,
        info: Info,
        input: Annotated[VoidTransactionInput, strawberry.argument(description="What to void.")],
    ) -> VoidTransactionResult:
        command = commands.VoidTransaction(
            scope=info.context.scope,
            transaction_id=required_id(TRANSACTION, input.transaction_id, "transactionId"),
            idempotency_key=input.idempotency_key,
            description=input.description,
        )
        transaction, replayed = await _change(info, command)
        return VoidTransactionSuccess(transaction=transaction, replayed=replayed)

    @strawberry.mutation(
        description=(
            "Undo a posted transaction, all that is left of it or a part, by a new one with the"
            " directions turned; many times until it is used up. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def reverse_transaction(
        self,
        info: Info,
        input: Annotated[
            ReverseTransactionInput, strawberry.argument(description="What to reverse.")
        ],
    ) -> ReverseTransactionResult:
        command = commands.ReverseTransaction(
            scope=info.context.scope,
            transaction_id=required_id(TRANSACTION, input.transaction_id, "transactionId"),
            reversal_id=uuid7(),
            idempotency_key=input.idempotency_key,
            lines=_lines(input.entries),
            effective_at=input.effective_at,
            description=input.description,
            metadata=input.metadata or {},
        )
        transaction, replayed = await _change(info, command)
        return ReverseTransactionSuccess(transaction=transaction, replayed=replayed)

    @strawberry.mutation(
        description=(
            "Correct the description or the metadata of a transaction; its history keeps what they"
            " were. Money is corrected by reversal only. Needs the scope write."
        )
    )
    @answering(Permission.WRITE)
    async def update_transaction(
        self,
        info: Info,
        input: Annotated[
            UpdateTransactionInput, strawberry.argument(description="The correction.")
        ],
    ) -> UpdateTransactionResult:
        command = commands.UpdateTransaction(
            scope=info.context.scope,
            transaction_id=required_id(TRANSACTION, input.transaction_id, "transactionId"),
            idempotency_key=input.idempotency_key,
            changes=given(description=input.description, metadata=input.metadata),
        )
        transaction, replayed = await _change(info, command)
        return UpdateTransactionSuccess(transaction=transaction, replayed=replayed)


async def _post_together(info: Info, items: list[PostTransactionInput]) -> PostTransactionsSuccess:
    if len({item.dry_run for item in items}) > 1:
        raise refusals.ValidationFailed(
            message="With ATOMIC, dryRun is the same in all transactions.",
            path=("input", "transactions"),
        )
    scope = info.context.scope
    postings = []
    for index, item in enumerate(items):
        try:
            postings.append(posting(scope, item))
        except refusals.Refusal as refusal:
            raise refusal.under("transactions", str(index)) from None
    commands.check_together(postings)
    try:
        decisions = await info.context.writer.write_together(postings)
    except refusals.Refusal as refusal:
        if len(postings) > 1:  # or else it was decided as a posting by itself
            raise
        raise refusal.under("transactions", "0") from None
    await info.context.renew()
    before: dict[UUID, Transaction] = {}
    shown = await asyncio.gather(*(posted(info, decision, before) for decision in decisions))
    return PostTransactionsSuccess(results=list(shown))


async def _post_apart(info: Info, items: list[PostTransactionInput]) -> list[Any]:
    """Post each by itself, in order, as room comes for it.

    A request that fills what its organization may have waiting is not overloaded by others: it
    waits for its own. Or else it could never succeed, for a replay takes the same room.
    """
    writer, turn = info.context.writer, asyncio.Lock()
    submitted: list[asyncio.Future[Answer]] = []

    async def submit(command: commands.PostTransaction) -> asyncio.Future[Answer]:
        async with turn:
            while True:
                try:
                    submitted.append(writer.submit((command,)))
                except refusals.Overloaded:
                    undecided = [answer for answer in submitted if not answer.done()]
                    if not undecided:
                        raise
                    await asyncio.wait(undecided, return_when=asyncio.FIRST_COMPLETED)
                else:
                    return submitted[-1]

    async def post(index: int, item: PostTransactionInput) -> Decision | UserError:
        try:
            answer = await (await submit(posting(info.context.scope, item)))
        except refusals.Refusal as refusal:
            answer = refusal
        if isinstance(answer, refusals.Refusal):
            return render(answer.under("transactions", str(index)))
        (decision,) = answer
        return decision

    async def show(answer: Decision | UserError) -> PostTransactionSuccess | UserError:
        return answer if isinstance(answer, UserError) else await posted(info, answer)

    answers = await asyncio.gather(*(post(index, item) for index, item in enumerate(items)))
    await info.context.renew()
    return list(await asyncio.gather(*map(show, answers)))


async def derive(info: Info, command: commands.PostTransaction) -> PostTransactionSuccess:
    """Record a posting that was made of another input. Raises its refusals in terms of that."""
    try:
        decision = await info.context.writer.write(command)
    except refusals.Refusal as refusal:
        refusal.path = command.placed(refusal.path)
        raise
    await info.context.renew()
    return await posted(info, decision)


async def posted(
    info: Info, decision: Decision, before: dict[UUID, Transaction] | None = None
) -> PostTransactionSuccess:
    """Show what was decided, when nothing of the operation is left to be decided.

    What a replay repeats is read from a snapshot made after that, or else taken from `before`: in a
    group that is only tried, it is kept nowhere else.
    """
    before = {} if before is None else before
    if not isinstance(decision, Recorded):
        transaction = before.get(decision.transaction_id)
        if transaction is None:
            transaction = await find_transaction(info, decision.transaction_id)
        return PostTransactionSuccess(transaction=transaction, replayed=True)
    transaction = before[decision.transaction.transaction_id] = _transaction(decision)
    return PostTransactionSuccess(transaction=transaction, replayed=False)


async def _change(info: Info, command: commands.Change) -> tuple[Transaction, bool]:
    command.check()
    decision = await info.context.writer.write(command)
    if not isinstance(decision, Recorded):
        await info.context.renew()
        return await find_transaction(info, decision.transaction_id), True
    recorded = decision.transaction
    return Transaction.of(_row(decision), known_key=recorded.idempotency_key), False


def posting(scope: Scope, item: PostTransactionInput) -> commands.PostTransaction:
    """The command of an input. Raises ValidationFailed where the input alone is wrong."""
    command = commands.PostTransaction(
        scope=scope,
        transaction_id=uuid7(),
        ledger_id=required_id(LEDGER, item.ledger_id, "ledgerId"),
        idempotency_key=item.idempotency_key,
        entries=tuple(_draft(index, entry) for index, entry in enumerate(item.entries)),
        pending=item.status is PostingStatus.PENDING,
        description=item.description,
        external_id=item.external_id,
        metadata=item.metadata or {},
        effective_at=item.effective_at,
        dry_run=item.dry_run,
        reason=None if item.reason is None else commands.HoldReason(item.reason.value),
        posts_at=item.posts_at,
        expires_at=item.expires_at,
    )
    command.check()
    return command


def _draft(index: int, entry: EntryInput) -> commands.EntryDraft:
    return commands.EntryDraft(
        account_id=required_id(ACCOUNT, entry.account_id, "entries", str(index), "accountId"),
        direction=_DIRECTIONS[entry.direction.value],
        amount=entry.amount,
        metadata=entry.metadata or {},
        condition=_condition(entry.condition),
        account_version=entry.account_version,
        lot=_lot(index, entry.lot),
    )


def _lot(index: int, lot: CreditLotInput | None) -> commands.LotDraft | None:
    if lot is None:
        return None
    return commands.LotDraft(
        lot_id=uuid7(),
        expires_at=lot.expires_at,
        breakage_account_id=required_id(
            ACCOUNT, lot.breakage_account_id, "entries", str(index), "lot", "breakageAccountId"
        ),
        code=lot.code,
    )


def _condition(condition: BalanceCondition | None) -> commands.BalanceCondition | None:
    if condition is None:
        return None
    return commands.BalanceCondition(
        _range(condition.posted),
        _range(condition.pending),
        _range(condition.available),
        _range(condition.projected),
    )


def _range(bounds: AmountRange | None) -> commands.AmountRange | None:
    if bounds is None:
        return None
    return commands.AmountRange(bounds.gte, bounds.gt, bounds.lte, bounds.lt, bounds.eq)


def _lines(entries: list[SettleEntryInput] | None) -> tuple[commands.SettleLine, ...] | None:
    if entries is None:
        return None
    return tuple(
        commands.SettleLine(
            account_id=required_id(ACCOUNT, entry.account_id, "entries", str(index), "accountId"),
            direction=domain.Direction(entry.direction.value),
            amount=entry.amount,
        )
        for index, entry in enumerate(entries)
    )


def _transaction(recorded: Recorded) -> Transaction:
    """The transaction as it was just recorded, without reading it back."""
    transaction = Transaction.of(_row(recorded), known_key=recorded.event.idempotency_key)
    transaction.known_entries = partial(_entries, recorded)
    transaction.known_history = partial(_history, recorded)
    return transaction


def _history(recorded: Recorded) -> list[TransactionEvent]:
    event = recorded.event
    return [
        TransactionEvent.of(
            rows.EventRow(
                number=event.number,
                kind=event.kind.value,
                idempotency_key=event.idempotency_key,
                description=event.description,
                recorded_at=event.recorded_at,
                changes=None,
            )
        )
    ]


def _entries(recorded: Recorded, transaction: Transaction) -> list[Entry]:
    accounts = {account.account_id: account for account in recorded.accounts}
    entries = []
    for entry in recorded.entries:
        account, after = accounts[entry.account_id], entry.balances_after
        entries.append(
            Entry.of(
                rows.EntryRow(
                    account_id=entry.account_id,
                    sequence=entry.sequence,
                    ledger_id=account.ledger_id,
                    transaction_sequence=recorded.transaction.sequence,
                    line=entry.line,
                    direction=entry.direction.value,
                    effect=entry.effect.value,
                    amount=entry.amount,
                    posted_debits=after.posted_debits,
                    posted_credits=after.posted_credits,
                    pending_debits=after.pending_debits,
                    pending_credits=after.pending_credits,
                    effective_at=entry.effective_at,
                    recorded_at=recorded.event.recorded_at,
                    metadata=dict(entry.metadata),
                    normal_balance=account.normal_balance.value,
                    currency=account.currency,
                    exponent=account.exponent,
                ),
                transaction,
            )
        )
    return entries


def _row(recorded: Recorded) -> rows.TransactionRow:
    transaction, refused = recorded.transaction, recorded.transaction.refused
    return rows.TransactionRow(
        transaction_id=transaction.transaction_id,
        ledger_id=transaction.ledger_id,
        sequence=transaction.sequence,
        status=transaction.status.value,
        description=transaction.description,
        external_id=transaction.external_id,
        metadata=dict(transaction.metadata),
        effective_at=transaction.effective_at,
        created_at=transaction.created_at,
        posted_at=transaction.posted_at,
        voided_at=transaction.voided_at,
        reason=None if transaction.reason is None else transaction.reason.value,
        posts_at=transaction.posts_at,
        expires_at=transaction.expires_at,
        due_at=transaction.due_at,
        due_attempts=None if refused is None else refused.attempts,
        refusal_code=None if refused is None else refused.code,
        refusal_message=None if refused is None else refused.message,
        refused_at=None if refused is None else refused.refused_at,
        reverses_sequence=transaction.reverses_sequence,
    )
