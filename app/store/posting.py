"""One batch of commands as one database transaction: lock, read, decide, write.

Round trips: two, whatever the size of the batch. The first sends BEGIN, the locks and the reads in
one pipeline; then Python decides; the second sends the writes and COMMIT.

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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg import AsyncCursor

from app.ledger.accounts import Account, AccountStatus, Ledger, Mode
from app.ledger.balances import Balances, Direction, Effect
from app.ledger.book import Book
from app.ledger.commands import Command, PostTransaction
from app.ledger.posting import Decision, Recorded, decide, decide_together, record
from app.ledger.refusals import Refusal
from app.ledger.transactions import Hold, PastLine, Transaction, TransactionStatus, Used
from app.store.arrays import array, arrays, binary, json, moment, number, text, uuid, word
from app.store.database import Connection

Answer = list[Decision] | Refusal
"""What became of one group of commands: a decision each, or the refusal that stopped it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Commands that are accepted all or none; a single command is a group of one."""

    commands: tuple[Command, ...]

    @property
    def entries(self) -> int:
        """How many entries it comes to; two are reckoned for a change of a hold."""
        return sum(
            len(command.entries) if isinstance(command, PostTransaction) else 2
            for command in self.commands
        )

    @property
    def dry_run(self) -> bool:
        return all(isinstance(c, PostTransaction) and c.dry_run for c in self.commands)


async def post(connection: Connection, groups: Sequence[Group]) -> list[Answer]:
    """Run one batch; answers come after commit, in order of the groups.

    Raises psycopg.Error with nothing written, or with the connection lost at commit, in doubt: then
    the same groups may be run again, for their idempotency keys tell what was written.
    """
    commands = [command for group in groups for command in group.commands]
    async with connection.pipeline():
        await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        reading = await _send_reads(connection, commands)
        book, now = await _receive(reading)
        answers = [_decide(book, group, now) for group in groups]
        written = [
            decision
            for group, answer in zip(groups, answers, strict=True)
            if not isinstance(answer, Refusal) and not group.dry_run
            for decision in answer
            if isinstance(decision, Recorded)
        ]
        if written:
            await _send_writes(connection, book, written)
            await connection.execute("COMMIT")
        else:
            await connection.execute("ROLLBACK")
    return answers


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


# ---- lock and read -------------------------------------------------------------------------------

WANTED_LEDGERS = "SELECT * FROM unnest(%(ledger_organizations)s::uuid[], %(ledger_ids)s::uuid[])"

LEDGERS_OF_HOLDS = """
    UNION SELECT t.organization_id, t.ledger_id
    FROM unnest(%(hold_organizations)s::uuid[], %(hold_ids)s::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
"""

WANTED_ACCOUNTS = "SELECT * FROM unnest(%(account_organizations)s::uuid[], %(account_ids)s::uuid[])"

ACCOUNTS_OF_HOLDS = """
    UNION SELECT e.organization_id, e.account_id
    FROM unnest(%(hold_organizations)s::uuid[], %(hold_ids)s::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
    JOIN entries e ON e.organization_id = t.organization_id AND e.ledger_id = t.ledger_id
        AND e.transaction_sequence = t.sequence
"""

LOCK_LEDGERS = """
    SELECT l.organization_id, l.ledger_id, l.mode, l.archived_at IS NOT NULL, l.last_sequence,
        l.last_recorded_at
    FROM ({wanted}) AS wanted (organization_id, ledger_id)
    JOIN ledgers l USING (organization_id, ledger_id)
    ORDER BY l.organization_id, l.ledger_id
    FOR NO KEY UPDATE OF l
"""

LOCK_ACCOUNTS = """
    SELECT a.organization_id, a.account_id, a.ledger_id, a.currency, a.exponent, a.normal_balance,
        a.status, a.available_floor, a.version,
        a.posted_debits, a.posted_credits, a.pending_debits, a.pending_credits
    FROM ({wanted}) AS wanted (organization_id, account_id)
    JOIN accounts a USING (organization_id, account_id)
    ORDER BY a.organization_id, a.account_id
    FOR NO KEY UPDATE OF a
"""

LOCKS: dict[bool, tuple[LiteralString, LiteralString]] = {
    False: (
        LOCK_LEDGERS.format(wanted=WANTED_LEDGERS),
        LOCK_ACCOUNTS.format(wanted=WANTED_ACCOUNTS),
    ),
    True: (
        LOCK_LEDGERS.format(wanted=WANTED_LEDGERS + LEDGERS_OF_HOLDS),
        LOCK_ACCOUNTS.format(wanted=WANTED_ACCOUNTS + ACCOUNTS_OF_HOLDS),
    ),
}
"""Whether the batch settles or voids holds: the two locking statements, in order."""

READ_KEYS = """
    SELECT e.organization_id, e.ledger_id, e.idempotency_key, e.fingerprint, t.transaction_id
    FROM ({wanted}) AS wanted (organization_id, ledger_id, idempotency_key)
    JOIN transaction_events e ON e.organization_id = wanted.organization_id
        AND e.idempotency_key = wanted.idempotency_key
        AND e.ledger_id IS NOT DISTINCT FROM wanted.ledger_id
    JOIN transactions t ON t.organization_id = e.organization_id AND t.ledger_id = e.ledger_id
        AND t.sequence = e.transaction_sequence
"""

WANTED_KEYS = """
    SELECT * FROM unnest(%(key_organizations)s::uuid[], %(key_ledgers)s::uuid[], %(keys)s::text[])
"""

KEYS_OF_HOLDS = """
    UNION SELECT t.organization_id, t.ledger_id, h.key
    FROM unnest(%(hold_organizations)s::uuid[], %(hold_ids)s::uuid[], %(hold_keys)s::text[])
        AS h (organization_id, id, key)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
"""

READ_KEYS_OF: dict[bool, LiteralString] = {
    False: READ_KEYS.format(wanted=WANTED_KEYS),
    True: READ_KEYS.format(wanted=WANTED_KEYS + KEYS_OF_HOLDS),
}

READ_EXTERNAL_IDS = """
    SELECT t.organization_id, t.ledger_id, t.external_id, t.transaction_id
    FROM unnest(%(organizations)s::uuid[], %(ledgers)s::uuid[], %(external_ids)s::text[])
        AS wanted (organization_id, ledger_id, external_id)
    JOIN transactions t ON t.organization_id = wanted.organization_id
        AND t.external_id = wanted.external_id
        AND t.ledger_id IS NOT DISTINCT FROM wanted.ledger_id
"""

READ_HOLDS = """
    SELECT DISTINCT t.organization_id, t.ledger_id, t.transaction_id, t.sequence, t.status,
        t.description, t.external_id, t.metadata, t.effective_at, t.created_at, t.posted_at,
        t.voided_at, first.idempotency_key,
        (SELECT max(number) FROM transaction_events v WHERE v.organization_id = t.organization_id
            AND v.ledger_id = t.ledger_id AND v.transaction_sequence = t.sequence)
    FROM unnest(%(hold_organizations)s::uuid[], %(hold_ids)s::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
    JOIN transaction_events first ON first.organization_id = t.organization_id
        AND first.ledger_id = t.ledger_id AND first.transaction_sequence = t.sequence
        AND first.number = 1
"""

READ_LINES = """
    SELECT DISTINCT t.organization_id, t.transaction_id, e.line, e.account_id, e.direction,
        e.effect, e.amount
    FROM unnest(%(hold_organizations)s::uuid[], %(hold_ids)s::uuid[]) AS h (organization_id, id)
    JOIN transactions t ON t.organization_id = h.organization_id AND t.transaction_id = h.id
    JOIN entries e ON e.organization_id = t.organization_id AND e.ledger_id = t.ledger_id
        AND e.transaction_sequence = t.sequence
    ORDER BY t.organization_id, t.transaction_id, e.line
"""


@dataclass(slots=True)
class _Reading:
    """Cursors whose results are on their way."""

    ledgers: AsyncCursor[Any]
    accounts: AsyncCursor[Any]
    keys: AsyncCursor[Any]
    clock: AsyncCursor[Any]
    external_ids: AsyncCursor[Any] | None = None
    holds: AsyncCursor[Any] | None = None
    lines: AsyncCursor[Any] | None = None


async def _send_reads(connection: Connection, commands: Sequence[Command]) -> _Reading:
    posts = [command for command in commands if isinstance(command, PostTransaction)]
    changes = [command for command in commands if not isinstance(command, PostTransaction)]
    ledgers = sorted({(c.scope.organization_id, c.ledger_id) for c in posts})
    accounts = sorted({(c.scope.organization_id, e.account_id) for c in posts for e in c.entries})
    parameters = {
        "ledger_organizations": array(uuid, (organization_id for organization_id, _ in ledgers)),
        "ledger_ids": array(uuid, (ledger_id for _, ledger_id in ledgers)),
        "account_organizations": array(uuid, (organization_id for organization_id, _ in accounts)),
        "account_ids": array(uuid, (account_id for _, account_id in accounts)),
        "key_organizations": array(uuid, (c.scope.organization_id for c in posts)),
        "key_ledgers": array(uuid, (c.ledger_id for c in posts)),
        "keys": array(text, (c.idempotency_key for c in posts)),
        "hold_organizations": array(uuid, (c.scope.organization_id for c in changes)),
        "hold_ids": array(uuid, (c.transaction_id for c in changes)),
        "hold_keys": array(text, (c.idempotency_key for c in changes)),
    }
    lock_ledgers, lock_accounts = LOCKS[bool(changes)]
    reading = _Reading(
        ledgers=await connection.execute(lock_ledgers, parameters),
        accounts=await connection.execute(lock_accounts, parameters),
        keys=await connection.execute(READ_KEYS_OF[bool(changes)], parameters),
        clock=await connection.execute("SELECT clock_timestamp()"),
    )
    named = [(c.scope.organization_id, c.ledger_id, c.external_id) for c in posts if c.external_id]
    if named:
        reading.external_ids = await connection.execute(
            READ_EXTERNAL_IDS,
            {
                "organizations": array(uuid, (organization_id for organization_id, _, _ in named)),
                "ledgers": array(uuid, (ledger_id for _, ledger_id, _ in named)),
                "external_ids": array(text, (external_id for _, _, external_id in named)),
            },
        )
    if changes:
        reading.holds = await connection.execute(READ_HOLDS, parameters)
        reading.lines = await connection.execute(READ_LINES, parameters)
    return reading


async def _receive(reading: _Reading) -> tuple[Book, datetime]:
    book = Book()
    for (
        organization_id,
        ledger_id,
        mode,
        archived,
        sequence,
        recorded_at,
    ) in await reading.ledgers.fetchall():
        book.ledgers[organization_id, ledger_id] = Ledger(
            organization_id, ledger_id, Mode(mode), archived, sequence, recorded_at
        )
    for row in await reading.accounts.fetchall():
        organization_id, account_id, ledger_id, currency, exponent, normal, status, *rest = row
        floor, version, *totals = rest
        book.accounts[organization_id, account_id] = Account(
            organization_id,
            account_id,
            ledger_id,
            currency,
            exponent,
            Direction(normal),
            AccountStatus(status),
            floor,
            version,
            Balances(*totals),
        )
    for (
        organization_id,
        ledger_id,
        key,
        fingerprint,
        transaction_id,
    ) in await reading.keys.fetchall():
        book.used_keys[organization_id, ledger_id, key] = Used(fingerprint, transaction_id)
    if reading.external_ids is not None:
        for (
            organization_id,
            ledger_id,
            external_id,
            transaction_id,
        ) in await reading.external_ids.fetchall():
            book.external_ids[organization_id, ledger_id, external_id] = transaction_id
    if reading.holds is not None and reading.lines is not None:
        lines: dict[tuple[UUID, UUID], list[PastLine]] = {}
        for (
            organization_id,
            transaction_id,
            _,
            account_id,
            direction,
            effect,
            amount,
        ) in await reading.lines.fetchall():
            lines.setdefault((organization_id, transaction_id), []).append(
                PastLine(account_id, Direction(direction), Effect(effect), amount)
            )
        for *columns, events in await reading.holds.fetchall():
            transaction = Transaction(*columns)
            transaction = replace(transaction, status=TransactionStatus(transaction.status))
            key = (transaction.organization_id, transaction.transaction_id)
            book.holds[key] = Hold(transaction, events, tuple(lines[key]))
    clock = (await reading.clock.fetchall())[0][0]
    latest = max((ledger.last_recorded_at for ledger in book.ledgers.values()), default=clock)
    return book, max(clock, latest + timedelta(microseconds=1))


# ---- write ---------------------------------------------------------------------------------------

INSERT_TRANSACTIONS = """
    INSERT INTO transactions (organization_id, transaction_id, ledger_id, sequence, status,
        description, external_id, metadata, effective_at, created_at, posted_at, voided_at)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::int8[], %s::text[],
        %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[], %s::timestamptz[],
        %s::timestamptz[], %s::timestamptz[])
"""

UPDATE_TRANSACTIONS = """
    UPDATE transactions t SET status = c.status, posted_at = c.posted_at, voided_at = c.voided_at
    FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[], %s::timestamptz[])
        AS c (organization_id, transaction_id, status, posted_at, voided_at)
    WHERE t.organization_id = c.organization_id AND t.transaction_id = c.transaction_id
"""

INSERT_EVENTS = """
    INSERT INTO transaction_events (organization_id, ledger_id, transaction_sequence, number, kind,
        idempotency_key, fingerprint, description, recorded_at)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::int8[], %s::int4[], %s::text[], %s::text[],
        %s::bytea[], %s::text[], %s::timestamptz[])
"""

INSERT_ENTRIES = """
    INSERT INTO entries (organization_id, account_id, sequence, ledger_id, transaction_sequence,
        effective_at, recorded_at, line, event, direction, effect, amount, posted_debits,
        posted_credits, pending_debits, pending_credits, metadata)
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::int8[], %s::uuid[], %s::int8[],
        %s::timestamptz[], %s::timestamptz[], %s::int4[], %s::int4[], %s::text[], %s::text[],
        %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::jsonb[])
"""

UPDATE_ACCOUNTS = """
    UPDATE accounts a SET version = c.version, posted_debits = c.posted_debits,
        posted_credits = c.posted_credits, pending_debits = c.pending_debits,
        pending_credits = c.pending_credits
    FROM unnest(%s::uuid[], %s::uuid[], %s::int8[], %s::numeric[], %s::numeric[], %s::numeric[],
        %s::numeric[])
        AS c (organization_id, account_id, version, posted_debits, posted_credits, pending_debits,
            pending_credits)
    WHERE a.organization_id = c.organization_id AND a.account_id = c.account_id
"""

UPDATE_LEDGERS = """
    UPDATE ledgers l SET last_sequence = c.last_sequence, last_recorded_at = c.last_recorded_at
    FROM unnest(%s::uuid[], %s::uuid[], %s::int8[], %s::timestamptz[])
        AS c (organization_id, ledger_id, last_sequence, last_recorded_at)
    WHERE l.organization_id = c.organization_id AND l.ledger_id = c.ledger_id
"""


TRANSACTION = (
    *(uuid, uuid, uuid, number, word, text, text, json),
    *(moment, moment, moment, moment),
)
CHANGED_TRANSACTION = (uuid, uuid, word, moment, moment)
EVENT = (uuid, uuid, number, number, word, text, binary, text, moment)
ENTRY = (
    *(uuid, uuid, number, uuid, number, moment, moment, number, number, word, word),
    *(number, number, number, number, number, json),
)
ACCOUNT = (uuid, uuid, number, number, number, number, number)
LEDGER = (uuid, uuid, number, moment)


async def _send_writes(connection: Connection, book: Book, written: Sequence[Recorded]) -> None:
    created = [r.transaction for r in written if r.event.number == 1]
    changed = {
        (t.organization_id, t.transaction_id): t
        for t in (r.transaction for r in written if r.event.number > 1)
    }
    accounts = {
        key: book.accounts[key]
        for key in ((a.organization_id, a.account_id) for r in written for a in r.accounts)
    }
    ledgers = {
        key: book.ledgers[key]
        for key in ((r.ledger.organization_id, r.ledger.ledger_id) for r in written)
    }
    entries = [row for r in written for row in _entry_rows(r)]
    if created:
        await connection.execute(
            INSERT_TRANSACTIONS, arrays(TRANSACTION, map(_transaction_row, created))
        )
    if changed:
        await connection.execute(
            UPDATE_TRANSACTIONS,
            arrays(CHANGED_TRANSACTION, map(_changed_transaction_row, changed.values())),
        )
    await connection.execute(INSERT_EVENTS, arrays(EVENT, map(_event_row, written)))
    await connection.execute(INSERT_ENTRIES, arrays(ENTRY, entries))
    await connection.execute(UPDATE_ACCOUNTS, arrays(ACCOUNT, map(_account_row, accounts.values())))
    await connection.execute(UPDATE_LEDGERS, arrays(LEDGER, map(_ledger_row, ledgers.values())))


def _transaction_row(t: Transaction) -> tuple[Any, ...]:
    return (
        t.organization_id,
        t.transaction_id,
        t.ledger_id,
        t.sequence,
        t.status.value,
        t.description,
        t.external_id,
        t.metadata,
        t.effective_at,
        t.created_at,
        t.posted_at,
        t.voided_at,
    )


def _changed_transaction_row(t: Transaction) -> tuple[Any, ...]:
    return (t.organization_id, t.transaction_id, t.status.value, t.posted_at, t.voided_at)


def _event_row(recorded: Recorded) -> tuple[Any, ...]:
    t, event = recorded.transaction, recorded.event
    return (
        t.organization_id,
        t.ledger_id,
        t.sequence,
        event.number,
        event.kind.value,
        event.idempotency_key,
        event.fingerprint,
        event.description,
        event.recorded_at,
    )


def _entry_rows(recorded: Recorded) -> Iterable[tuple[Any, ...]]:
    t, recorded_at = recorded.transaction, recorded.event.recorded_at
    for entry in recorded.entries:
        after = entry.balances_after
        yield (
            t.organization_id,
            entry.account_id,
            entry.sequence,
            t.ledger_id,
            t.sequence,
            entry.effective_at,
            recorded_at,
            entry.line,
            entry.event,
            entry.direction.value,
            entry.effect.value,
            entry.amount,
            after.posted_debits,
            after.posted_credits,
            after.pending_debits,
            after.pending_credits,
            entry.metadata or None,
        )


def _account_row(account: Account) -> tuple[Any, ...]:
    totals = account.balances
    return (
        account.organization_id,
        account.account_id,
        account.version,
        totals.posted_debits,
        totals.posted_credits,
        totals.pending_debits,
        totals.pending_credits,
    )


def _ledger_row(ledger: Ledger) -> tuple[Any, ...]:
    return (
        ledger.organization_id,
        ledger.ledger_id,
        ledger.last_sequence,
        ledger.last_recorded_at,
    )
