"""One batch of commands as one database transaction: lock, read, decide, write.

Round trips: two, whatever the size of the batch. The first sends BEGIN, the locks and the reads in
one pipeline; then Python decides; the second sends the writes and COMMIT. Where an account of the
batch has velocity limits or open credit lots, a third between them reads those, at the time of the
decision; lots whose time has come expire before anything else of the batch is decided. A settlement
is a batch of its own, so that all it collects is read at once with the locks.

Locks: the ledgers' rows, then the accounts, each in order of key. Everybody who moves balances
locks in this order, so two batches may wait for each other but never in a circle. `FOR NO KEY
UPDATE`, because the stronger `FOR UPDATE` would stall the foreign-key checks of other sessions.

Reads come after the locks. In READ COMMITTED each statement sees what was committed when it
started, so what is read under a lock is what the lock protects: keys, external ids and holds are
all of a locked ledger and cannot change until we commit. This is why a unique violation here is a
fault and not a race.

Time: the database's clock, read after the locks and kept ahead of the latest record of every ledger
in the batch, so recorded time does not decrease along a ledger's sequence, whichever machine wrote,
and two batches of a ledger never share a moment: what was known at one stays so.

Writes are set-based: one INSERT a table from arrays, one UPDATE each of accounts and ledgers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product, starmap
from operator import attrgetter, itemgetter
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from app.ledger.accounts.balances import Balances, Direction, Effect
from app.ledger.accounts.state import Account, AccountStatus, Ledger, Limits, Mode, Scope
from app.ledger.refusals import Refusal, RefusedAttempt
from app.ledger.statements.settlements import CreateSettlement
from app.ledger.templates.templates import PostFromTemplate
from app.ledger.transactions.book import Book, OfOrganization
from app.ledger.transactions.commands import (
    ExpireLot,
    HoldReason,
    PostTransaction,
    ReverseTransaction,
    RunDue,
    Task,
)
from app.ledger.transactions.posting import (
    Decision,
    Deferred,
    Postponed,
    Recorded,
    Replayed,
    decide,
    decide_together,
    record,
)
from app.ledger.transactions.record import (
    EventKind,
    Hold,
    PastLine,
    Side,
    Transaction,
    TransactionStatus,
    Used,
)
from app.store.accounts import velocities
from app.store.arrays import (
    BYTES,
    INT4S,
    INT8S,
    JSONS,
    MOMENTS,
    NULL,
    NUMBERS,
    TEXTS,
    UUIDS,
    array,
    arrays,
    binary,
    given,
    int4,
    int8,
    json,
    moment,
    number,
    text,
    uuid,
    word,
)
from app.store.database import Row
from app.store.pipeline import Pipeline, Statement, numbered
from app.store.statements import settlements
from app.store.templates import uses
from app.store.transactions import lots

Answer = list[Decision] | Refusal
"""What became of one group of commands: a decision each, or the refusal that stopped it."""


@dataclass(slots=True)
class Group:
    """Commands that are accepted all or none; a single command is a group of one.

    entries  how many it comes to; two are reckoned where it is not known
    alone    whether it is to be a batch by itself
    dry_run  whether it is only tried
    """

    commands: tuple[Task, ...]
    entries: int = field(init=False)
    alone: bool = field(init=False)
    dry_run: bool = field(init=False)

    def __post_init__(self) -> None:
        posts = [command for command in self.commands if isinstance(command, PostTransaction)]
        others = len(self.commands) - len(posts)
        self.entries = 2 * others + sum([max(2, len(command.entries)) for command in posts])
        self.alone = CreateSettlement in map(type, posts)
        self.dry_run = not others and all(map(attrgetter("dry_run"), posts))


async def post(pipeline: Pipeline, groups: Sequence[Group]) -> list[Answer]:
    """Run one batch; answers come after commit, in order of the groups.

    Raises psycopg.Error with nothing written, or with the connection lost at commit, in doubt: then
    the same groups may be run again, for their idempotency keys tell what was written.
    """
    reads = _reads([command for group in groups for command in group.commands])
    _, *found = await pipeline.run(BEGIN, *reads.values())
    facts = dict(zip(reads, found, strict=True))
    book, now, velocity_limited, with_lots = _book(facts)
    if "unsettled" in facts:
        groups = [_collecting(group, facts["unsettled"]) for group in groups]
    due: list[Group] = []
    if velocity_limited or with_lots:
        await _read_flagged(pipeline, book, velocity_limited, with_lots, now)
        due = _due(book, with_lots, groups, now)
    decided = [*due, *groups]
    answers = [_decide(book, group, now) for group in decided]
    written = [
        decision
        for group, answer in zip(decided, answers, strict=True)
        if not isinstance(answer, Refusal) and not group.dry_run
        for decision in answer
        if not isinstance(decision, Replayed)
    ]
    answers = answers[len(due) :]
    if written:
        made = _made(groups, answers)
        await pipeline.run(*_write(book, written), *uses(made), *settlements.writing(made), COMMIT)
    else:
        await pipeline.run(ROLLBACK)
    return answers


def _collecting(group: Group, unsettled: Sequence[Row]) -> Group:
    return Group(
        tuple(
            settlements.collecting(command, unsettled)
            if isinstance(command, CreateSettlement)
            else command
            for command in group.commands
        )
    )


def _made(
    groups: Sequence[Group], answers: Sequence[Answer]
) -> list[tuple[PostFromTemplate | CreateSettlement, Transaction]]:
    """What is new and made from a template, or of unsettled entries."""
    return [
        (command, decision.transaction)
        for group, answer in zip(groups, answers, strict=True)
        if not isinstance(answer, Refusal) and not group.dry_run
        for command, decision in zip(group.commands, answer, strict=True)
        if isinstance(command, PostFromTemplate | CreateSettlement)
        and isinstance(decision, Recorded)
    ]


def _decide(book: Book, group: Group, now: datetime) -> Answer:
    try:
        if len(group.commands) > 1:
            return decide_together(book.branch() if group.dry_run else book, group.commands, now)
        decision = decide(book, group.commands[0], now)
    except Refusal as refusal:
        return refusal
    if not group.dry_run:
        record(book, decision)
    return [decision]


def _due(
    book: Book, with_lots: Iterable[OfOrganization], groups: Sequence[Group], now: datetime
) -> list[Group]:
    """The expiry of each due lot of those accounts that is not asked for anyway."""
    asked = {c.lot_id for group in groups for c in group.commands if isinstance(c, ExpireLot)}
    due: list[tuple[datetime, ExpireLot]] = []
    for organization_id, account_id in with_lots:
        account = book.accounts[organization_id, account_id]
        scope = Scope(organization_id, book.ledgers[organization_id, account.ledger_id].mode)
        for lot in account.lots:
            if lot.due_at is not None and lot.due_at <= now and lot.lot_id not in asked:
                command = ExpireLot(
                    scope,
                    uuid7(),
                    account.ledger_id,
                    account_id,
                    lot.lot_id,
                    lot.breakage_account_id,
                )
                due.append((lot.due_at, command))
    return [Group((command,)) for _, command in sorted(due, key=itemgetter(0))]


# ---- lock and read -------------------------------------------------------------------------------

BEGIN: Statement = ("BEGIN ISOLATION LEVEL READ COMMITTED", ())
COMMIT: Statement = ("COMMIT", ())
ROLLBACK: Statement = ("ROLLBACK", ())

WANTED = "SELECT * FROM unnest($1::uuid[], $2::uuid[])"

LEDGERS_OF_HOLDS = """
    UNION SELECT t.organization_id, t.ledger_id
    FROM unnest($3::uuid[], $4::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
"""

ACCOUNTS_OF_HOLDS = """
    UNION SELECT e.organization_id, e.account_id
    FROM unnest($3::uuid[], $4::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
    JOIN entries e ON e.organization_id = t.organization_id AND e.ledger_id = t.ledger_id
        AND e.transaction_sequence = t.sequence
"""

LOCK_LEDGERS = """
    SELECT l.organization_id, l.ledger_id, l.mode, l.archived_at IS NOT NULL, l.last_sequence,
        l.last_recorded_at, l.closed_through
    FROM ({wanted}) AS wanted (organization_id, ledger_id)
    JOIN ledgers l USING (organization_id, ledger_id)
    ORDER BY l.organization_id, l.ledger_id
    FOR NO KEY UPDATE OF l
"""

LOCK_ACCOUNTS = """
    SELECT a.organization_id, a.account_id, a.ledger_id, a.currency, a.exponent, a.normal_balance,
        a.status, a.available_floor, a.version,
        a.posted_debits, a.posted_credits, a.pending_debits, a.pending_credits,
        a.balance_ceiling, a.entry_maximum, a.velocity_limited, a.has_lots
    FROM ({wanted}) AS wanted (organization_id, account_id)
    JOIN accounts a USING (organization_id, account_id)
    ORDER BY a.organization_id, a.account_id
    FOR NO KEY UPDATE OF a
"""

LOCKS: dict[bool, tuple[str, str]] = {
    False: (
        LOCK_LEDGERS.format(wanted=WANTED),
        LOCK_ACCOUNTS.format(wanted=WANTED),
    ),
    True: (
        LOCK_LEDGERS.format(wanted=WANTED + LEDGERS_OF_HOLDS),
        LOCK_ACCOUNTS.format(wanted=WANTED + ACCOUNTS_OF_HOLDS),
    ),
}
"""Whether the batch changes transactions that are there: the two locking statements, in order."""

LOCK_BREAKAGES = LOCK_ACCOUNTS.format(wanted=lots.BREAKAGES_OF_DUE)

READ_CLOCK_AND_KEYS = """
    SELECT clock_timestamp(), used.* FROM (SELECT) AS always LEFT JOIN (
        SELECT e.organization_id, e.ledger_id, e.idempotency_key, e.fingerprint, t.transaction_id
        FROM ({wanted}) AS wanted (organization_id, ledger_id, idempotency_key)
        JOIN transaction_events e ON e.organization_id = wanted.organization_id
            AND e.idempotency_key = wanted.idempotency_key
            AND e.ledger_id IS NOT DISTINCT FROM wanted.ledger_id
        JOIN transactions t ON t.organization_id = e.organization_id AND t.ledger_id = e.ledger_id
            AND t.sequence = e.transaction_sequence
    ) AS used ON true
"""

WANTED_KEYS = """
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[])
"""

KEYS_OF_HOLDS = """
    UNION SELECT t.organization_id, t.ledger_id, h.key
    FROM unnest($4::uuid[], $5::uuid[], $6::text[])
        AS h (organization_id, id, key)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
"""

KEYS: dict[bool, str] = {
    False: READ_CLOCK_AND_KEYS.format(wanted=WANTED_KEYS),
    True: READ_CLOCK_AND_KEYS.format(wanted=WANTED_KEYS + KEYS_OF_HOLDS),
}

READ_EXTERNAL_IDS = """
    SELECT t.organization_id, t.ledger_id, t.external_id, t.transaction_id
    FROM unnest($1::uuid[], $2::uuid[], $3::text[])
        AS wanted (organization_id, ledger_id, external_id)
    JOIN transactions t ON t.organization_id = wanted.organization_id
        AND t.external_id = wanted.external_id
        AND t.ledger_id IS NOT DISTINCT FROM wanted.ledger_id
"""

READ_HOLDS = """
    SELECT DISTINCT t.organization_id, t.ledger_id, t.transaction_id, t.sequence, t.status,
        t.description, t.external_id, t.metadata, t.effective_at, t.created_at, t.posted_at,
        t.voided_at, first.idempotency_key, t.reason, t.posts_at, t.expires_at, t.due_at,
        t.reverses_sequence, t.refusal_code, t.refusal_message, t.refused_at, t.due_attempts,
        (SELECT max(number) FROM transaction_events v WHERE v.organization_id = t.organization_id
            AND v.ledger_id = t.ledger_id AND v.transaction_sequence = t.sequence)
    FROM unnest($1::uuid[], $2::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
    JOIN transaction_events first ON first.organization_id = t.organization_id
        AND first.ledger_id = t.ledger_id AND first.transaction_sequence = t.sequence
        AND first.number = 1
"""

READ_LINES = """
    SELECT DISTINCT t.organization_id, t.transaction_id, e.line, e.account_id, e.direction,
        e.effect, e.amount
    FROM unnest($1::uuid[], $2::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
    JOIN entries e ON e.organization_id = t.organization_id AND e.ledger_id = t.ledger_id
        AND e.transaction_sequence = t.sequence
    ORDER BY t.organization_id, t.transaction_id, e.line
"""

READ_REVERSED = """
    SELECT t.organization_id, t.ledger_id, t.sequence, e.account_id, e.direction, sum(e.amount)
    FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[])) AS wanted (organization_id, id)
    JOIN transactions t ON t.organization_id = wanted.organization_id
        AND t.transaction_id = wanted.id
    JOIN transactions r ON r.organization_id = t.organization_id AND r.ledger_id = t.ledger_id
        AND r.reverses_sequence = t.sequence
    CROSS JOIN LATERAL (
        SELECT account_id, direction, amount FROM entries
        WHERE organization_id = r.organization_id AND ledger_id = r.ledger_id
            AND transaction_sequence = r.sequence
        OFFSET 0
    ) e
    GROUP BY t.organization_id, t.ledger_id, t.sequence, e.account_id, e.direction
"""
"""OFFSET 0 keeps the look-up of entries by itself; joined, it reads the ledger while young."""


def _reads(commands: Sequence[Task]) -> dict[str, Statement]:
    """The statements that lock and read, in order, by what they find."""
    posts = [command for command in commands if isinstance(command, PostTransaction)]
    expiries = [command for command in commands if isinstance(command, ExpireLot)]
    changes = [
        command for command in commands if not isinstance(command, PostTransaction | ExpireLot)
    ]
    named_ledgers = {(uuid(c.scope.organization_id), uuid(c.ledger_id)) for c in posts}
    named_ledgers |= {(uuid(c.scope.organization_id), uuid(c.ledger_id)) for c in expiries}
    ledgers = arrays((UUIDS, UUIDS), named_ledgers)
    touched = {
        (uuid(c.scope.organization_id), uuid(e.account_id)) for c in posts for e in c.entries
    }
    touched |= {
        (uuid(c.scope.organization_id), uuid(e.lot.breakage_account_id))
        for c in posts
        for e in c.entries
        if e.lot is not None
    }
    touched |= {
        (uuid(c.scope.organization_id), uuid(account_id))
        for c in expiries
        for account_id in (c.account_id, c.breakage_account_id)
    }
    accounts = arrays((UUIDS, UUIDS), touched)
    keys = arrays(
        (UUIDS, UUIDS, TEXTS),
        [
            (uuid(c.scope.organization_id), uuid(c.ledger_id), text(c.idempotency_key))
            for c in posts
        ],
    )
    reads: dict[str, Statement] = {}
    if changes:
        holds = arrays(
            (UUIDS, UUIDS),
            [(uuid(c.scope.organization_id), uuid(c.transaction_id)) for c in changes],
        )
        reads["holds"] = (READ_HOLDS, holds)
        reads["lines"] = (READ_LINES, holds)
        ledgers += holds
        accounts += holds
        of_changes = [NULL if isinstance(c, RunDue) else text(c.idempotency_key) for c in changes]
        keys += [*holds, array(TEXTS, of_changes)]
    reversals = [
        (uuid(c.scope.organization_id), uuid(c.transaction_id))
        for c in changes
        if isinstance(c, ReverseTransaction)
    ]
    if reversals:
        reads["reversed"] = (READ_REVERSED, arrays((UUIDS, UUIDS), reversals))
        reads["payouts"] = (settlements.READ_PAYOUTS, arrays((UUIDS, UUIDS), reversals))
    for command in posts:
        if isinstance(command, CreateSettlement):
            reads["unsettled"] = settlements.reading(command)
    named = [
        (uuid(c.scope.organization_id), uuid(c.ledger_id), text(c.external_id))
        for c in posts
        if c.external_id
    ]
    if named:
        reads["external_ids"] = (READ_EXTERNAL_IDS, arrays((UUIDS, UUIDS, TEXTS), named))
    lock_ledgers, lock_accounts = LOCKS[bool(changes)]
    return {
        "ledgers": (lock_ledgers, ledgers),
        "accounts": (lock_accounts, accounts),
        "clock_and_keys": (KEYS[bool(changes)], keys),
        **reads,
    }


_DIRECTIONS = {direction.value: direction for direction in Direction}
_STATUSES = {status.value: status for status in AccountStatus}


def _book(
    found: Mapping[str, Sequence[Row]],
) -> tuple[Book, datetime, Sequence[OfOrganization], Sequence[OfOrganization]]:
    """What was found, when it is decided upon, and what `_accounts` says is still to be read."""
    book = Book()
    for organization_id, ledger_id, mode, *state in found["ledgers"]:
        book.ledgers[organization_id, ledger_id] = Ledger(
            organization_id, ledger_id, Mode(mode), *state
        )
    velocity_limited, with_lots = _accounts(book, found["accounts"])
    for _, organization_id, ledger_id, key, fingerprint, transaction_id in found["clock_and_keys"]:
        if key is not None:
            book.used_keys[organization_id, ledger_id, key] = Used(fingerprint, transaction_id)
    for organization_id, ledger_id, external_id, transaction_id in found.get("external_ids", ()):
        book.external_ids[organization_id, ledger_id, external_id] = transaction_id
    lines: dict[tuple[UUID, UUID], list[PastLine]] = {}
    for organization_id, transaction_id, _, *line in found.get("lines", ()):
        account_id, direction, effect, amount = line
        lines.setdefault((organization_id, transaction_id), []).append(
            PastLine(account_id, Direction(direction), Effect(effect), amount)
        )
    for *columns, events in found.get("holds", ()):
        transaction = _transaction(*columns)
        identity = (transaction.organization_id, transaction.transaction_id)
        book.holds[identity] = Hold(transaction, events, tuple(lines[identity]))
    undone: dict[tuple[UUID, UUID, int], dict[Side, int]] = {}
    for organization_id, ledger_id, sequence, account_id, direction, amount in found.get(
        "reversed", ()
    ):
        side = (account_id, Direction(direction).opposite)
        undone.setdefault((organization_id, ledger_id, sequence), {})[side] = amount
    book.reversed.update(undone)
    book.payouts.update((row[0], row[1]) for row in found.get("payouts", ()))
    clock = found["clock_and_keys"][0][0]
    latest = max((ledger.last_recorded_at for ledger in book.ledgers.values()), default=clock)
    return book, max(clock, latest + timedelta(microseconds=1)), velocity_limited, with_lots


def _accounts(
    book: Book, found: Iterable[Row]
) -> tuple[Sequence[OfOrganization], Sequence[OfOrganization]]:
    """Put locked accounts into the book; return those with velocity limits, those with open lots.

    An account of another ledger than those of the batch was named in vain, and is left alone.
    """
    velocity_limited: list[OfOrganization] = []
    with_lots: list[OfOrganization] = []
    for row in found:
        organization_id, account_id, ledger_id, currency, exponent, normal, status, *rest = row
        floor, version, debits, credits_, pending_debits, pending_credits, *limits = rest
        ceiling, maximum, of_velocity, has_lots = limits
        book.accounts[organization_id, account_id] = Account(
            organization_id,
            account_id,
            ledger_id,
            currency,
            exponent,
            _DIRECTIONS[normal],
            _STATUSES[status],
            floor,
            version,
            Balances(debits, credits_, pending_debits, pending_credits),
            None if ceiling is maximum is None else Limits(ceiling, maximum),
        )
        if (of_velocity or has_lots) and (organization_id, ledger_id) in book.ledgers:
            if of_velocity:
                velocity_limited.append((organization_id, account_id))
            if has_lots:
                with_lots.append((organization_id, account_id))
    return velocity_limited, with_lots


async def _read_flagged(
    pipeline: Pipeline,
    book: Book,
    velocity_limited: Sequence[OfOrganization],
    with_lots: Sequence[OfOrganization],
    now: datetime,
) -> None:
    """Put velocity limits and open lots into the book.

    Where lots are due, also the accounts that those expire to, which are locked for that.
    """
    if with_lots:
        keys = dict.fromkeys((*velocity_limited, *with_lots))
        reading = lots.reading(keys, now)
        breakages, open_lots, limits = await pipeline.run(
            (LOCK_BREAKAGES, reading),
            (lots.READ, reading),
            (velocities.READ_WITH_BREAKAGES, reading),
        )
        _accounts(book, breakages)
        for key, of_account in lots.found(open_lots).items():
            book.accounts[key] = replace(book.accounts[key], lots=of_account)
    else:
        (limits,) = await pipeline.run(velocities.reading(velocity_limited, now))
    for key, usage in velocities.found(limits, now).items():
        account = book.accounts[key]
        book.accounts[key] = replace(
            account, limits=replace(account.limits or Limits(), velocities=usage)
        )


def _transaction(*columns: Any) -> Transaction:
    """A row of READ_HOLDS as a transaction."""
    first, (reason, posts_at, expires_at, due_at, reverses_sequence) = columns[:13], columns[13:18]
    code, message, refused_at, attempts = columns[18:]
    transaction = Transaction(*first)
    return replace(
        transaction,
        status=TransactionStatus(transaction.status),
        reason=None if reason is None else HoldReason(reason),
        posts_at=posts_at,
        expires_at=expires_at,
        due_at=due_at,
        refused=None if code is None else RefusedAttempt(code, message, refused_at, attempts),
        reverses_sequence=reverses_sequence,
    )


# ---- write ---------------------------------------------------------------------------------------

TRANSACTION = (
    *(UUIDS, UUIDS, UUIDS, INT8S, TEXTS, TEXTS, TEXTS, JSONS),
    *(MOMENTS, MOMENTS, MOMENTS, MOMENTS),
)
TERMS = (TEXTS, MOMENTS, MOMENTS, MOMENTS, INT8S)
CHANGED_TRANSACTION = (UUIDS, UUIDS, TEXTS, MOMENTS, MOMENTS, MOMENTS)
REVISION = (TEXTS, JSONS, INT4S, TEXTS, TEXTS, MOMENTS)
EVENT = (UUIDS, UUIDS, INT8S, INT4S, TEXTS, TEXTS, BYTES, TEXTS, MOMENTS)
ENTRY = (
    *(UUIDS, UUIDS, INT8S, UUIDS, INT8S, MOMENTS, MOMENTS, INT4S, INT4S, TEXTS, TEXTS),
    *(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, JSONS),
)
ACCOUNT = (UUIDS, UUIDS, INT8S, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
LEDGER = (UUIDS, UUIDS, INT8S, MOMENTS)

WRITE = """
    WITH created AS (
        INSERT INTO transactions (organization_id, transaction_id, ledger_id, sequence, status,
            description, external_id, metadata, effective_at, created_at, posted_at, voided_at
            {terms})
        {transactions}
    ), {changed} events AS (
        INSERT INTO transaction_events (organization_id, ledger_id, transaction_sequence, number,
            kind, idempotency_key, fingerprint, description, recorded_at {changes})
        {events}
    ), lines AS (
        INSERT INTO entries (organization_id, account_id, sequence, ledger_id, transaction_sequence,
            effective_at, recorded_at, line, event, direction, effect, amount, posted_debits,
            posted_credits, pending_debits, pending_credits, metadata)
        {entries}
    ), balances AS (
        UPDATE accounts a SET version = c.version, posted_debits = c.posted_debits,
            posted_credits = c.posted_credits, pending_debits = c.pending_debits,
            pending_credits = c.pending_credits
        FROM ({accounts})
            AS c (organization_id, account_id, version, posted_debits, posted_credits,
                pending_debits, pending_credits)
        WHERE a.organization_id = c.organization_id AND a.account_id = c.account_id
    )
    UPDATE ledgers l SET last_sequence = c.last_sequence, last_recorded_at = c.last_recorded_at
    FROM ({ledgers}) AS c (organization_id, ledger_id, last_sequence, last_recorded_at)
    WHERE l.organization_id = c.organization_id AND l.ledger_id = c.ledger_id
"""

CHANGE_TRANSACTIONS = """
    changed AS (
        UPDATE transactions t
        SET status = c.status, posted_at = c.posted_at, voided_at = c.voided_at, due_at = c.due_at
        FROM ({rows})
            AS c (organization_id, transaction_id, status, posted_at, voided_at, due_at)
        WHERE t.organization_id = c.organization_id AND t.transaction_id = c.transaction_id
    ),
"""

REVISE_TRANSACTIONS = """
    changed AS (
        UPDATE transactions t
        SET status = c.status, posted_at = c.posted_at, voided_at = c.voided_at, due_at = c.due_at,
            description = c.description, metadata = c.metadata, due_attempts = c.due_attempts,
            refusal_code = c.refusal_code, refusal_message = c.refusal_message,
            refused_at = c.refused_at
        FROM ({rows})
            AS c (organization_id, transaction_id, status, posted_at, voided_at, due_at,
                description, metadata, due_attempts, refusal_code, refusal_message, refused_at)
        WHERE t.organization_id = c.organization_id AND t.transaction_id = c.transaction_id
    ),
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a batch has beside plain postings; plain ones should not pay for the rest.

    terms    reasons and times of new holds, or reversals
    changed  transactions of earlier batches that are settled, released or revised
    revised  corrections of labels, or refusals of what was due (an expiry may tell one)
    """

    terms: bool
    changed: bool
    revised: bool

    def statement(self) -> str:
        """The one statement that writes it all."""
        changed = CHANGE_TRANSACTIONS.format(rows=given(CHANGED_TRANSACTION))
        if self.revised:
            changed = REVISE_TRANSACTIONS.format(rows=given(CHANGED_TRANSACTION + REVISION))
        return numbered(
            WRITE.format(
                terms=", reason, posts_at, expires_at, due_at, reverses_sequence"
                if self.terms
                else "",
                transactions=given(TRANSACTION + TERMS if self.terms else TRANSACTION),
                changed=changed if self.changed else "",
                changes=", changes" if self.revised else "",
                events=given((*EVENT, JSONS) if self.revised else EVENT),
                entries=given(ENTRY),
                accounts=given(ACCOUNT),
                ledgers=given(LEDGER),
            )
        )


WRITES: dict[Shape, str] = {
    shape: shape.statement() for shape in starmap(Shape, product((False, True), repeat=3))
}
"""A transaction made in this batch is inserted as it ends."""


def _write(book: Book, written: Sequence[Recorded | Postponed | Deferred]) -> list[Statement]:
    kept = [decision for decision in written if not isinstance(decision, Deferred)]
    transactions = {
        (d.transaction.organization_id, d.transaction.transaction_id): d.transaction for d in kept
    }
    recorded = [decision for decision in written if isinstance(decision, Recorded)]
    new = {
        (r.transaction.organization_id, r.transaction.transaction_id)
        for r in recorded
        if r.event.number == 1
    }
    created = [t for key, t in transactions.items() if key in new]
    changed = [t for key, t in transactions.items() if key not in new]
    keys = {(a.organization_id, a.account_id) for r in recorded for a in r.accounts}
    accounts = [book.accounts[key] for key in keys]
    ledgers = {(r.ledger.organization_id, r.ledger.ledger_id) for r in recorded}
    shape = Shape(
        terms=any(t.reason or t.posts_at or t.expires_at or t.reverses_sequence for t in created),
        changed=bool(changed),
        revised=len(recorded) < len(kept)
        or any(r.event.kind in (EventKind.UPDATED, EventKind.EXPIRED) for r in recorded),
    )
    parameters = arrays(TRANSACTION, map(_transaction_row, created))
    if shape.terms:
        parameters += arrays(TERMS, map(_terms_row, created))
    if shape.changed:
        parameters += arrays(CHANGED_TRANSACTION, map(_changed_transaction_row, changed))
        if shape.revised:
            parameters += arrays(REVISION, map(_revision_row, changed))
    parameters += arrays(EVENT, map(_event_row, recorded))
    if shape.revised:
        parameters.append(array(JSONS, [json(r.event.changes) for r in recorded]))
    parameters += arrays(ENTRY, (row for r in recorded for row in _entry_rows(r)))
    parameters += arrays(ACCOUNT, map(_account_row, accounts))
    parameters += arrays(LEDGER, (_ledger_row(book.ledgers[key]) for key in ledgers))
    return [
        (WRITES[shape], parameters),
        *velocities.writing(accounts),
        *lots.writing(book, written),
        *settlements.releasing(book, written),
    ]


# Rows take `_value_` of enumerations, because `value` is a property that is written in Python.


def _transaction_row(t: Transaction) -> tuple[bytes, ...]:
    return (
        uuid(t.organization_id),
        uuid(t.transaction_id),
        uuid(t.ledger_id),
        int8(t.sequence),
        word(t.status._value_),
        text(t.description),
        text(t.external_id),
        json(t.metadata),
        moment(t.effective_at),
        moment(t.created_at),
        moment(t.posted_at),
        moment(t.voided_at),
    )


def _changed_transaction_row(t: Transaction) -> tuple[bytes, ...]:
    return (
        uuid(t.organization_id),
        uuid(t.transaction_id),
        word(t.status._value_),
        moment(t.posted_at),
        moment(t.voided_at),
        moment(t.due_at),
    )


def _terms_row(t: Transaction) -> tuple[bytes, ...]:
    return (
        NULL if t.reason is None else word(t.reason._value_),
        moment(t.posts_at),
        moment(t.expires_at),
        moment(t.due_at),
        NULL if t.reverses_sequence is None else int8(t.reverses_sequence),
    )


def _revision_row(t: Transaction) -> tuple[bytes, ...]:
    refused = t.refused
    labels = (text(t.description), json(t.metadata))
    if refused is None:
        return (*labels, NULL, NULL, NULL, NULL)
    return (
        *labels,
        int4(refused.attempts),
        word(refused.code),
        text(refused.message),
        moment(refused.refused_at),
    )


def _event_row(recorded: Recorded) -> tuple[bytes, ...]:
    t, event = recorded.transaction, recorded.event
    return (
        uuid(t.organization_id),
        uuid(t.ledger_id),
        int8(t.sequence),
        int4(event.number),
        word(event.kind._value_),
        text(event.idempotency_key),
        binary(event.fingerprint),
        text(event.description),
        moment(event.recorded_at),
    )


def _entry_rows(recorded: Recorded) -> Iterable[tuple[bytes, ...]]:
    t = recorded.transaction
    organization_id, ledger_id = uuid(t.organization_id), uuid(t.ledger_id)
    transaction_sequence, recorded_at = int8(t.sequence), moment(recorded.event.recorded_at)
    for entry in recorded.entries:
        after = entry.balances_after
        yield (
            organization_id,
            uuid(entry.account_id),
            int8(entry.sequence),
            ledger_id,
            transaction_sequence,
            moment(entry.effective_at),
            recorded_at,
            int4(entry.line),
            int4(entry.event),
            word(entry.direction._value_),
            word(entry.effect._value_),
            number(entry.amount),
            number(after.posted_debits),
            number(after.posted_credits),
            number(after.pending_debits),
            number(after.pending_credits),
            json(entry.metadata or None),
        )


def _account_row(account: Account) -> tuple[bytes, ...]:
    totals = account.balances
    return (
        uuid(account.organization_id),
        uuid(account.account_id),
        int8(account.version),
        number(totals.posted_debits),
        number(totals.posted_credits),
        number(totals.pending_debits),
        number(totals.pending_credits),
    )


def _ledger_row(ledger: Ledger) -> tuple[bytes, ...]:
    return (
        uuid(ledger.organization_id),
        uuid(ledger.ledger_id),
        int8(ledger.last_sequence),
        moment(ledger.last_recorded_at),
    )
