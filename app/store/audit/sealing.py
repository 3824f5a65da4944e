"""Sealing: leaves of what was recorded, cut into blocks behind the writer's back.

A ledger's events have one order for ever: time of recording, then transaction, then number. What
is recorded later comes later in it, for whoever records holds the ledger's lock from before reading
the clock until commit, and the clock is kept ahead of the ledger's latest record; so a snapshot
shows a beginning of that order, and nothing will ever come before its end. The same goes for
revisions by their number. So a block takes the next of both, and that is all that there is to agree
on. No posting does anything for it: what made transactions is found by their sequence, what
happened to them later by an index that plain postings are not in.

PostgreSQL makes the leaves and hashes them; here only the hashes are put together. (Made here from
plain rows they would cost a quarter less in all, but four times as much in the process that answers
requests.) What never changes goes in, and of labels that were corrected their first values, for the
corrections are there too. What follows from it is left out, and `verify` compares it: the status of
a transaction and its times, the totals of accounts, what is left of a lot, kept totals. Rows that
describe or limit (REVISED) do change; triggers keep each as it was by a revision, and the last one
must be as the row is. Left out as well is what only says what is to be done next: when something is
due, why it was refused, since when a velocity limit counts. So are the records of others
(statements and lines).

One process seals at a time, by an advisory lock that guards no promise: of two that sealed the same
block the second would meet a key that is taken, and begin anew.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from app.ledger.accounts.balances import Direction, Effect
from app.ledger.proofs import (
    FORMAT,
    HASH_BYTES,
    MAX_LEAVES,
    Header,
    Place,
    header_hash,
    microseconds,
    root_of,
    skip_of,
)
from app.ledger.transactions.lots import MovementKind
from app.ledger.transactions.record import EventKind
from app.store.accounts.totals import TOTALS
from app.store.database import Connection, Database, all_rows
from app.store.shifts import Lock, Shift

REVISED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ledgers": (
        ("ledger_id",),
        ("name", "description", "mode", "metadata", "created_at", "archived_at"),
    ),
    "currencies": (("ledger_id", "code"), ("exponent",)),
    "accounts": (
        ("account_id",),
        (
            *("ledger_id", "name", "description", "external_id", "normal_balance", "currency"),
            *("exponent", "status", "available_floor", "floor_version", "metadata", "created_at"),
            *("balance_ceiling", "ceiling_version", "entry_maximum", "maximum_version"),
        ),
    ),
    "velocity_limits": (
        ("account_id", "name"),
        ("maximum_amount", "maximum_count", "window_seconds", "period", "time_zone"),
    ),
    "transaction_templates": (
        ("template_id", "version"),
        (
            *("ledger_id", "code", "description", "definition", "created_at", "superseded_at"),
            "archived_at",
        ),
    ),
    "period_events": (
        ("ledger_id", "number"),
        ("kind", "closed_through", "reason", "api_key_id", "recorded_at"),
    ),
    "external_accounts": (
        ("external_account_id",),
        (
            *("ledger_id", "account_id", "name", "kind", "identification", "inverted", "metadata"),
            "created_at",
        ),
    ),
    "import_profiles": (("ledger_id", "name"), ("definition", "created_at", "updated_at")),
}
"""Tables whose rows are kept by revision: the columns of their keys, and those that are kept.

The triggers of the migrations have the same lists. A column that is added to one is null in the
revisions before.
"""

SHARE = 50
"""Looking for ledgers with something to seal takes one part in so many of the time."""


Written = Callable[[str], tuple[str, str]]
"""How a value is written in a leaf, which must be cheap: as arguments of concat, each of which has
its price, whatever it is. Given the text before it, it says the arguments and the text behind it
that is still to be written."""


def micros(moment: str) -> str:
    """SQL for a time in a leaf: exact microseconds."""
    return f"trim_scale(extract(epoch FROM {moment}) * 1000000)"


def micros_once(moment: str, other: str, written: str) -> str:
    """The same of a time that most often is another one, which has been written before."""
    return f"CASE {moment} WHEN {other} THEN {written} ELSE {micros(moment)}::text END"


def plain(value: str) -> Written:
    """What is JSON as its SQL gives it, and never NULL."""
    return lambda before: (f"'{before}', {value}", "")


def quoted(value: str) -> str:
    """SQL for the JSON of a text."""
    return f"to_json({value})"


def marked(value: str) -> Written:
    """What is written in quotes and has nothing to escape in it, ids and numbers; never NULL."""
    return lambda before: (f"'{before}\"', {value}", '"')


def known(column: str, values: type[Enum]) -> Written:
    """A text that is one of a few."""

    def written(before: str) -> tuple[str, str]:
        cases = " ".join(f"WHEN '{v.value}' THEN '{before}\"{v.value}\"'" for v in values)
        return f"CASE {column} {cases} ELSE '{before}' || {quoted(column)}::text END", ""

    return written


def or_null(value: str) -> Written:
    """What is JSON as its SQL gives it, or null."""
    return lambda before: (f"coalesce('{before}' || ({value})::text, '{before}null')", "")


def json_object(fields: Mapping[str, Written]) -> str:
    """SQL for the text of a JSON object, canonical: as that of jsonb, which would cost twice."""
    arguments, before = [], "{"
    for name in sorted(fields, key=lambda name: (len(name), name)):
        argument, behind = fields[name](f'{before}"{name}": ')
        arguments.append(argument)
        before = f"{behind}, "
    return f"concat({', '.join(arguments)}, '{before[:-2]}}}')"


def json_array(element: str, rows: str) -> str:
    """SQL for the text of a JSON array of an element for each of some rows; NULL for none."""
    elements = f"SELECT {element} AS element {rows}"
    return f"(SELECT '[' || string_agg(element, ', ') || ']' FROM ({elements}) elements)"  # noqa: S608


def where_used(rows: str, value: str) -> str:
    """SQL for a value where the organization has such rows, in an index's order; else NULL.

    That is asked once a statement: a look-up for each leaf, in vain, would cost as much as all the
    rest. The order lets no planner believe that reading the table would soon meet one. (And EXISTS
    would overlook it, as it may read a whole table into a hash instead of looking up a row.)
    """
    return f"CASE WHEN (SELECT true {rows} LIMIT 1) THEN {value} END"


_LOT = json_object(
    {
        "id": marked("c.lot_id"),
        "ledger": marked("c.ledger_id"),
        "sequence": plain("c.transaction_sequence"),
        "code": or_null(quoted("c.code")),
        "amount": marked("c.amount"),
        "expires_at": plain(micros("c.expires_at")),
        "breakage_account": marked("c.breakage_account_id"),
    }
)
_LOTS = """
    FROM credit_lots c WHERE c.organization_id = e.organization_id
        AND c.account_id = e.account_id AND c.number = e.sequence
"""
_ANY_LOTS = """
    FROM credit_lots WHERE organization_id = %(organization)s
    ORDER BY account_id, number
"""
_MOVEMENT = json_object(
    {
        "lot": marked("m.lot_id"),
        "kind": known("m.kind", MovementKind),
        "amount": marked("m.amount"),
    }
)
_MOVEMENTS = """
    FROM (
        SELECT m.* FROM lot_movements m WHERE m.organization_id = e.organization_id
            AND m.account_id = e.account_id AND m.sequence = e.sequence
        OFFSET 0
    ) m ORDER BY m.lot_id
"""
_ANY_MOVEMENTS = """
    FROM lot_movements WHERE organization_id = %(organization)s
    ORDER BY account_id, sequence
"""
_LINE = json_object(
    {
        "line": plain("e.line"),
        "direction": known("e.direction", Direction),
        "effect": known("e.effect", Effect),
        "amount": marked("e.amount"),
        "account": marked("e.account_id"),
        "currency": plain(quoted("a.currency")),
        "exponent": plain("a.exponent"),
        "normal_balance": known("a.normal_balance", Direction),
        "sequence": plain("e.sequence"),
        "effective_at": plain(micros_once("e.effective_at", "t.effective_at", "t.effective")),
        "recorded_at": plain(micros_once("e.recorded_at", "v.recorded_at", "v.recorded")),
        "metadata": or_null("e.metadata"),
        **{total: marked(f"e.{total}") for total in TOTALS},
        "lots": or_null(where_used(_ANY_LOTS, json_array(_LOT, _LOTS))),
        "movements": or_null(where_used(_ANY_MOVEMENTS, json_array(_MOVEMENT, _MOVEMENTS))),
    }
)
_LINES = """
    FROM entries e
    LEFT JOIN accounts a ON a.organization_id = e.organization_id
        AND a.account_id = e.account_id AND a.ledger_id = e.ledger_id
    WHERE e.organization_id = v.organization_id AND e.ledger_id = v.ledger_id
        AND e.transaction_sequence = v.transaction_sequence AND e.event = v.number
    ORDER BY e.line
"""
_USE = json_object(
    {
        "code": plain(quoted("u.code")),
        "version": plain("u.version"),
        "params": plain("u.params"),
    }
)
_USES = """
    FROM template_uses u
    WHERE u.organization_id = v.organization_id AND u.ledger_id = v.ledger_id
        AND u.transaction_sequence = v.transaction_sequence
"""
_ANY_USES = """
    FROM template_uses WHERE organization_id = %(organization)s
    ORDER BY ledger_id, transaction_sequence
"""
_CORRECTED = """(
    SELECT true FROM transaction_events d
    WHERE d.organization_id = v.organization_id AND d.ledger_id = v.ledger_id
        AND d.transaction_sequence = v.transaction_sequence AND d.changes IS NOT NULL
    LIMIT 1
)"""
_ANY_LATER = """
    FROM transaction_events WHERE organization_id = %(organization)s AND number > 1
    ORDER BY ledger_id, recorded_at, transaction_sequence, number
"""


def _first(label: str, present: str) -> Written:
    """What a label was at first: before its first correction, else as it is."""
    before = f"""(
        SELECT d.changes -> '{label}' -> 'before' FROM transaction_events d
        WHERE d.organization_id = v.organization_id AND d.ledger_id = v.ledger_id
            AND d.transaction_sequence = v.transaction_sequence AND d.changes ? '{label}'
        ORDER BY d.number LIMIT 1
    )"""  # noqa: S608  all of it is ours
    return or_null(f"coalesce((CASE WHEN v.corrected THEN {before} END)::text, ({present})::text)")


_MADE = json_object(
    {
        "external_id": or_null(quoted("t.external_id")),
        "description": _first("description", quoted("t.description")),
        "metadata": _first("metadata", "t.metadata"),
        "effective_at": plain("t.effective"),
        "created_at": plain(micros_once("t.created_at", "v.recorded_at", "v.recorded")),
        "reason": or_null(quoted("t.reason")),
        "posts_at": or_null(micros("t.posts_at")),
        "expires_at": or_null(micros("t.expires_at")),
        "reverses": or_null("t.reverses_sequence"),
        "template": or_null(where_used(_ANY_USES, json_array(_USE, _USES))),
    }
)
_EVENT = json_object(
    {
        "number": plain("v.number"),
        "kind": known("v.kind", EventKind),
        "idempotency_key": or_null(quoted("v.idempotency_key")),
        "fingerprint": or_null("'\"' || encode(v.fingerprint, 'hex') || '\"'"),
        "description": or_null(quoted("v.description")),
        "recorded_at": plain("v.recorded"),
        "changes": or_null("v.changes"),
    }
)
_LEAF = json_object(
    {
        "format": plain(str(FORMAT)),
        "ledger": marked("v.ledger_id"),
        "sequence": plain("v.transaction_sequence"),
        "transaction": marked("t.transaction_id"),
        "event": plain(_EVENT),
        "made": or_null(f"CASE WHEN v.number = 1 THEN {_MADE} END"),
        "entries": or_null(json_array(_LINE, _LINES)),
    }
)


def event_leaves(events: str) -> str:
    """SQL for the leaves of some events; `events` is SQL for the organization's rows of them."""
    return f"""
        SELECT v.ledger_id, v.recorded_at, v.transaction_sequence, v.number, {_LEAF} AS leaf
        FROM (
            SELECT v.*, {micros("v.recorded_at")}::text AS recorded,
                {where_used(_ANY_LATER, _CORRECTED)} AS corrected
            FROM ({events}) v
            OFFSET 0
        ) v
        LEFT JOIN LATERAL (
            SELECT t.*, {micros_once("t.effective_at", "v.recorded_at", "v.recorded")} AS effective
            FROM transactions t
            WHERE t.organization_id = v.organization_id AND t.ledger_id = v.ledger_id
                AND t.sequence = v.transaction_sequence
            OFFSET 0
        ) t ON true
    """  # noqa: S608


REVISION_LEAF = f"""
    SELECT r.number, jsonb_build_object(
        'format', {FORMAT}, 'ledger', r.ledger_id, 'revision', r.number, 'subject', r.subject,
        'key', r.key, 'content', r.content, 'recorded_at', {micros("r.recorded_at")}
    )::text AS leaf
    FROM revisions r
    WHERE r.organization_id = %(organization)s AND r.ledger_id = %(ledger)s
"""  # noqa: S608
"""The leaves of a ledger's revisions."""

HASHED = "sha256('\\x00'::bytea || convert_to(leaf, 'UTF8'))"
"""SQL for the hash of a leaf."""


def _finite(moment: str) -> str:
    return f"CASE WHEN isfinite({moment}) THEN (extract(epoch FROM {moment}) * 1000000)::int8 END"


HEADER = (
    "b.number, b.first_leaf, b.leaves, b.revisions, b.transactions, b.root, b.previous, b.skip,"
    f" {_finite('b.sealed_at')}, {_finite('b.last_recorded_at')}, b.last_sequence, b.last_number"
)
"""SQL for the columns of blocks `b` that `header_of` takes."""


def header_of(ledger_id: UUID, columns: Sequence[Any]) -> Header:
    """The header that a row of blocks makes, whatever hash is stored beside it."""
    number, first_leaf, leaves, revisions, transactions, root, previous, skip, at, *last = columns
    return Header(
        ledger_id,
        number,
        first_leaf,
        leaves,
        revisions,
        transactions,
        None if last[1] is None else Place(*last),
        root,
        previous,
        skip,
        at,
    )


def hashes_of(leaf_hashes: bytes) -> list[bytes]:
    """The hashes of a block's leaves, one by one."""
    return [
        leaf_hashes[start : start + HASH_BYTES] for start in range(0, len(leaf_hashes), HASH_BYTES)
    ]


_NEXT_REVISIONS = f"""
    SELECT number, {HASHED} FROM (
        {REVISION_LEAF} AND r.number > %(revisions)s ORDER BY r.number LIMIT %(limit)s
    ) found ORDER BY number
"""  # noqa: S608  all of it is ours

_NEXT_EVENTS = f"""
    SELECT recorded_at, transaction_sequence, number, {HASHED} FROM ({
    event_leaves(
        '''
            SELECT * FROM (
                (SELECT * FROM transaction_events
                WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
                    AND transaction_sequence > %(transactions)s AND number = 1
                ORDER BY transaction_sequence LIMIT %(limit)s)
                UNION ALL
                (SELECT * FROM transaction_events
                WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
                    AND number > 1 AND (recorded_at, transaction_sequence, number)
                        > (%(last_recorded_at)s, %(last_sequence)s, %(last_number)s)
                ORDER BY recorded_at, transaction_sequence, number LIMIT %(limit)s)
            ) either
            ORDER BY recorded_at, transaction_sequence, number LIMIT %(limit)s
        '''
    )
}) found ORDER BY recorded_at, transaction_sequence, number
"""  # noqa: S608

_UNSEALED = """
    SELECT l.organization_id, l.ledger_id
    FROM ledgers l
    LEFT JOIN LATERAL (
        SELECT b.last_recorded_at, b.revisions FROM blocks b
        WHERE b.organization_id = l.organization_id AND b.ledger_id = l.ledger_id
        ORDER BY b.number DESC LIMIT 1
    ) b ON true
    LEFT JOIN LATERAL (
        SELECT r.number FROM revisions r
        WHERE r.organization_id = l.organization_id AND r.ledger_id = l.ledger_id
        ORDER BY r.number DESC LIMIT 1
    ) r ON true
    WHERE (l.last_sequence > 0 AND l.last_recorded_at > coalesce(b.last_recorded_at, '-infinity'))
        OR r.number > coalesce(b.revisions, 0)
"""

_LAST = """
    SELECT number, first_leaf + leaves, revisions, transactions, last_recorded_at, last_sequence,
        last_number, hash
    FROM blocks WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
    ORDER BY number DESC LIMIT 1
"""

_NEWEST = """
    SELECT DISTINCT ON (organization_id, ledger_id) ledger_id, number, hash FROM blocks
    ORDER BY organization_id, ledger_id, number DESC
"""

_HASH = """
    SELECT hash FROM blocks WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s
        AND number = %(number)s
"""

_COLUMNS = (
    *("number", "first_leaf", "leaves", "revisions", "transactions", "last_recorded_at"),
    *("last_sequence", "last_number", "root", "previous", "skip", "sealed_at", "hash"),
    "leaf_hashes",
)

_INSERT = f"""
    INSERT INTO blocks (organization_id, ledger_id, {", ".join(_COLUMNS)})
    VALUES (%(organization)s, %(ledger)s, {", ".join(f"%({name})s" for name in _COLUMNS)})
"""  # noqa: S608


class _Last(NamedTuple):
    """Where a ledger's newest block ends."""

    number: int = 0
    leaves: int = 0
    revisions: int = 0
    transactions: int = 0
    recorded_at: datetime | None = None
    sequence: int | None = None
    event: int | None = None
    hash: bytes | None = None


async def seal(connection: Connection, organization_id: UUID, ledger_id: UUID) -> int:
    """Seal all that a ledger has recorded; return how many leaves that were.

    Raises psycopg.Error; blocks that were sealed before stay.
    """
    leaves = 0
    while True:
        async with connection.transaction():
            sealed = await _seal_block(connection, organization_id, ledger_id)
        leaves += sealed
        if sealed < MAX_LEAVES:
            return leaves


async def _seal_block(connection: Connection, organization_id: UUID, ledger_id: UUID) -> int:
    this = {"organization": organization_id, "ledger": ledger_id}
    found = await all_rows(connection, _LAST, this)
    before = _Last(*found[0]) if found else _Last()
    revisions = await all_rows(
        connection, _NEXT_REVISIONS, {**this, "revisions": before.revisions, "limit": MAX_LEAVES}
    )
    events = await all_rows(
        connection,
        _NEXT_EVENTS,
        {
            **this,
            "transactions": before.transactions,
            "last_recorded_at": before.recorded_at or "-infinity",
            "last_sequence": before.sequence or 0,
            "last_number": before.event or 0,
            "limit": MAX_LEAVES - len(revisions),
        },
        binary=True,
    )
    hashes = [row[-1] for row in (*revisions, *events)]
    if not hashes:
        return 0
    number = before.number + 1
    skip = None
    if skip_of(number):
        ((skip,),) = await all_rows(connection, _HASH, {**this, "number": skip_of(number)})
    ((now,),) = await all_rows(connection, "SELECT clock_timestamp()")
    last = events[-1][:3] if events else (before.recorded_at, before.sequence, before.event)
    header = Header(
        ledger_id=ledger_id,
        number=number,
        first_leaf=before.leaves,
        leaves=len(hashes),
        revisions=revisions[-1][0] if revisions else before.revisions,
        transactions=next((row[1] for row in reversed(events) if row[2] == 1), before.transactions),
        last=None if last[0] is None else Place(microseconds(last[0]), *last[1:]),
        root=root_of(hashes),
        previous=before.hash,
        skip=skip,
        sealed_at=microseconds(now),
    )
    block = {
        **{name: getattr(header, name) for name in _COLUMNS if hasattr(header, name)},
        **dict(zip(("last_recorded_at", "last_sequence", "last_number"), last, strict=True)),
        "sealed_at": now,
        "hash": header_hash(header.text()),
        "leaf_hashes": b"".join(hashes),
    }
    await connection.execute(_INSERT, {**this, **block})
    return len(hashes)


async def unsealed(connection: Connection) -> Sequence[tuple[UUID, UUID]]:
    """The ledgers, each after its organization, that have recorded something since their block.

    One may be among them for nothing, after a change that leaves no leaf.
    """
    rows: Sequence[tuple[UUID, UUID]] = await all_rows(connection, _UNSEALED)
    return rows


async def newest_checkpoints(connection: Connection) -> Sequence[tuple[UUID, int, bytes]]:
    """Ledger, number and hash of the newest block of every ledger that has one."""
    rows: Sequence[tuple[UUID, int, bytes]] = await all_rows(connection, _NEWEST)
    return rows


@dataclass(slots=True)
class Sealer:
    """Seals what was recorded, on a shift."""

    database: Database
    pause_seconds: float

    def shift(self) -> Shift:
        return Shift(Lock.SEALING, self.database, self.work, self.pause_seconds)

    async def work(self, connection: Connection) -> float:
        """Seal every ledger; return for how long to rest after what it took to look for them."""
        begun = time.monotonic()
        found = await unsealed(connection)
        taken = time.monotonic() - begun
        for organization_id, ledger_id in found:
            await seal(connection, organization_id, ledger_id)
        return max(self.pause_seconds, SHARE * taken)
