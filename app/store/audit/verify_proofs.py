"""Is everything as it was sealed? All leaves made anew, every block, every link, every revision.

Without a checkpoint this finds every change that left the blocks as they were. Whoever changes the
blocks as well, all of them from there on, is found by a checkpoint that was kept elsewhere.

Blocks are taken one by one, in order, so memory is that of one block however long the ledger is.
Leaves are looked up by index, as when they were sealed; that nothing stands in the tables beside
them is for the other checks (`verify`), for a transaction without events, an entry without its
event or a gap in a sequence is no leaf at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from app.ledger.proofs import MAX_LEAVES, Header, header_hash, root_of, skip_of
from app.store.audit.sealing import HASHED, HEADER, REVISED, REVISION_LEAF, event_leaves, hashes_of
from app.store.audit.sealing import header_of as read_header
from app.store.audit.verify import WHOLE_TABLES, Violation, reading
from app.store.database import KEYED_PLANS

INVARIANT = 7
LOOK_UPS: dict[str, str | int] = {
    **dict.fromkeys(("enable_indexscan", "enable_indexonlyscan", "enable_nestloop"), "on"),
    **KEYED_PLANS,
}
"""What takes the place of the settings for whole tables."""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A block's hash as it was published."""

    ledger_id: UUID
    block: int
    hash: bytes


@dataclass(slots=True)
class ProofReport:
    """What was looked at and what was found; `complete` unless more was found than is listed."""

    ledgers: int = 0
    blocks: int = 0
    leaves: int = 0
    violations: list[Violation] = field(default_factory=list)
    complete: bool = True


def verify_proofs(
    url: str,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    progress: Callable[[int, int], None] | None = None,
    limit: int = 100,
) -> ProofReport:
    """Check all blocks of the database at a PostgreSQL URL; `limit` violations of a name at most.

    `progress` is told how many blocks of how many are done.
    """
    with reading(url, WHOLE_TABLES) as connection:
        return check_proofs(connection, checkpoints, progress=progress, limit=limit)


def check_proofs(
    connection: Connection,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    only: tuple[UUID, UUID] | None = None,
    progress: Callable[[int, int], None] | None = None,
    limit: int = 100,
) -> ProofReport:
    """The same in a transaction that is open; `only` of one ledger, after its organization."""
    return _Check(connection, checkpoints, only, progress, limit).run()


@dataclass(slots=True)
class _Check:
    connection: Connection
    checkpoints: Sequence[Checkpoint]
    only: tuple[UUID, UUID] | None
    progress: Callable[[int, int], None] | None
    limit: int
    report: ProofReport = field(default_factory=ProofReport)
    _found: dict[str, int] = field(default_factory=dict)
    _met: set[Checkpoint] = field(default_factory=set)

    def run(self) -> ProofReport:
        own = "true" if self.only is None else "organization_id = %s AND ledger_id = %s"
        for subject in REVISED:
            for organization_id, ledger_id, key, detail in self.connection.execute(
                _not_as_revised(subject, own), (self.only or ()) * 2
            ):
                told = " ".join(str(value) for value in key.values())
                name = "ROW_NOT_AS_REVISED"
                self._tell(name, organization_id, ledger_id, f"{subject} {told}", detail)
        for organization_id, ledger_id, last, revised in self.connection.execute(
            _REVISION_NUMBERS.format(own=own), self.only
        ):
            detail = f"there are {revised}, the last is {last}"
            self._tell("REVISIONS_BROKEN", organization_id, ledger_id, "revisions", detail)
        for name, value in LOOK_UPS.items():
            self.connection.execute(f"SET LOCAL {name} = {value}")
        ledgers = self.connection.execute(_LEDGERS.format(own=own), self.only).fetchall()
        total = sum(count for _, _, count in ledgers)
        for organization_id, ledger_id, _ in ledgers:
            self.report.ledgers += 1
            self._check_ledger(organization_id, ledger_id, total)
        for checkpoint in self.checkpoints:
            if checkpoint not in self._met:
                self._tell(
                    "CHECKPOINT_MISSING",
                    UUID(int=0),
                    checkpoint.ledger_id,
                    f"block {checkpoint.block}",
                    "there is no such block",
                )
        return self.report

    def _check_ledger(self, organization_id: UUID, ledger_id: UUID, total: int) -> None:
        this = {"organization": organization_id, "ledger": ledger_id}
        hashes: dict[int, bytes] = {}
        number, first_leaf, revisions = 0, 0, 0
        for columns, kept_hash, leaf_hashes in self._blocks(this):
            header, sealed = read_header(ledger_id, columns), hashes_of(leaf_hashes)
            wrong = _faults(header, kept_hash, sealed)
            if header.number != number + 1:
                wrong.append(("BLOCK_NUMBERS_BROKEN", f"it follows {number}"))
            number = header.number
            if header.first_leaf != first_leaf:
                wrong.append(("BLOCK_COUNT_WRONG", f"there are {first_leaf} leaves before it"))
            for link, target in (("previous", number - 1), ("skip", skip_of(number))):
                if getattr(header, link) != hashes.get(target):
                    detail = f"its {link} hash is not that of block {target}"
                    wrong.append(("BLOCK_LINK_WRONG", detail))
            for name, detail in wrong:
                self._tell(name, organization_id, ledger_id, f"block {number}", detail)
            self._check_leaves(this, number, sealed, is_revised=header.revisions != revisions)
            self._check_checkpoints(organization_id, ledger_id, number, kept_hash)
            first_leaf, revisions = first_leaf + len(sealed), header.revisions
            hashes = {n: h for n, h in hashes.items() if n in _ancestors(number)}
            hashes[number] = kept_hash
            self.report.blocks += 1
            self.report.leaves += len(sealed)
            if self.progress is not None:
                self.progress(self.report.blocks, total)

    def _check_leaves(
        self, this: Mapping[str, UUID], number: int, sealed: Sequence[bytes], *, is_revised: bool
    ) -> None:
        missing = set(sealed)
        strange: list[tuple[str, str]] = []
        parameters = {**this, "number": number, "most": 2 * MAX_LEAVES}
        if is_revised:
            for revision, found in self.connection.execute(_REVISIONS_OF_BLOCK, parameters):
                if found in missing:
                    missing.remove(found)
                else:
                    strange.append(("REVISION_NOT_AS_SEALED", f"revision {revision}"))
        for sequence, event, found in self.connection.execute(_EVENTS_OF_BLOCK, parameters):
            if found in missing:
                missing.remove(found)
            else:
                strange.append(("EVENT_NOT_AS_SEALED", f"event {sequence}/{event}"))
        place = (this["organization"], this["ledger"])
        for name, subject in strange:
            self._tell(name, *place, subject, f"block {number} has no such leaf")
        if missing:
            detail = f"{len(missing)} of its leaves are in no table"
            self._tell("LEAVES_MISSING", *place, f"block {number}", detail)

    def _check_checkpoints(
        self, organization_id: UUID, ledger_id: UUID, number: int, kept_hash: bytes
    ) -> None:
        for checkpoint in self.checkpoints:
            if (checkpoint.ledger_id, checkpoint.block) == (ledger_id, number):
                self._met.add(checkpoint)
                if checkpoint.hash != kept_hash:
                    detail = f"its hash is {kept_hash.hex()}, published was {checkpoint.hash.hex()}"
                    subject = f"block {number}"
                    self._tell("CHECKPOINT_WRONG", organization_id, ledger_id, subject, detail)

    def _blocks(self, this: Mapping[str, UUID]) -> Iterator[tuple[Sequence[Any], bytes, bytes]]:
        with self.connection.cursor(name="blocks") as cursor:
            cursor.itersize = 100
            for *columns, kept_hash, leaf_hashes in cursor.execute(_BLOCKS, this):
                yield columns, kept_hash, leaf_hashes

    def _tell(
        self, name: str, organization_id: UUID, ledger_id: UUID, subject: str, detail: str
    ) -> None:
        self._found[name] = self._found.get(name, 0) + 1
        if self._found[name] > self.limit:
            self.report.complete = False
            return
        self.report.violations.append(
            Violation(INVARIANT, name, organization_id, ledger_id, subject, detail)
        )


def _faults(header: Header, kept_hash: bytes, sealed: Sequence[bytes]) -> list[tuple[str, str]]:
    """What is wrong with a block by itself: names and details."""
    wrong = []
    hash_now = header_hash(header.text())
    if hash_now != kept_hash:
        wrong.append(("BLOCK_HASH_WRONG", f"its header has the hash {hash_now.hex()}"))
    if len(sealed) != header.leaves or not 0 < len(sealed) <= MAX_LEAVES:
        detail = f"it has {len(sealed)} leaves and says {header.leaves}"
        wrong.append(("BLOCK_COUNT_WRONG", detail))
    elif root_of(sealed) != header.root:
        wrong.append(("BLOCK_ROOT_WRONG", f"its leaves have the root {root_of(sealed).hex()}"))
    return wrong


def _ancestors(number: int) -> set[int]:
    """The blocks up to this one that a later block may name."""
    found = set()
    while number:
        found.add(number)
        number = skip_of(number)
    return found


def _not_as_revised(subject: str, own: str) -> str:
    """SQL for the rows of a table that are not as their last revision says; `own` says whose."""
    keys, kept = REVISED[subject]
    is_homeless = "ledger_id" not in (*keys, *kept)
    return f"""
        SELECT coalesce(l.organization_id, r.organization_id), coalesce(l.ledger_id, r.ledger_id),
            coalesce(l.key, r.key), CASE
                WHEN l.content IS NULL THEN 'it has no revision'
                WHEN r.content IS NULL THEN 'it is gone'
                WHEN r.copies > 1 THEN concat('it is there ', r.copies, ' times')
                ELSE concat('changed since its last revision: ', (
                    SELECT string_agg(name, ', ' ORDER BY name)
                    FROM unnest(ARRAY[{", ".join(f"'{name}'" for name in kept)}]) AS name
                    WHERE coalesce((l.content -> name)::text, 'null') <> (r.content -> name)::text
                ))
            END
        FROM (
            SELECT DISTINCT ON (organization_id, ledger_id, key)
                organization_id, ledger_id, key, content
            FROM revisions WHERE subject = '{subject}' AND {own}
            ORDER BY organization_id, ledger_id, key, number DESC
        ) l
        FULL JOIN (
            SELECT *, count(*) OVER (PARTITION BY organization_id, ledger_id, key) AS copies
            FROM (SELECT t.organization_id, {"a" if is_homeless else "t"}.ledger_id,
                jsonb_build_object({", ".join(f"'{name}', t.{name}" for name in keys)}) AS key,
                jsonb_build_object({", ".join(f"'{name}', t.{name}" for name in kept)}) AS content
            FROM {subject} t
            {"JOIN accounts a USING (organization_id, account_id)" if is_homeless else ""}) t
            WHERE {own}
        ) r ON r.organization_id = l.organization_id AND r.ledger_id = l.ledger_id AND r.key = l.key
        WHERE (l.content IS NULL) <> (r.content IS NULL) OR r.copies > 1 OR EXISTS (
            SELECT FROM unnest(ARRAY[{", ".join(f"'{name}'" for name in kept)}]) AS name
            WHERE coalesce((l.content -> name)::text, 'null') <> (r.content -> name)::text
        )
        ORDER BY 1, 2, coalesce(l.key, r.key)::text
        LIMIT 10000
    """  # noqa: S608  all of it is ours


_REVISION_NUMBERS = """
    SELECT organization_id, ledger_id, max(number), count(*) FROM revisions
    WHERE {own} GROUP BY organization_id, ledger_id
    HAVING max(number) <> count(*) OR min(number) <> 1
"""

_LEDGERS = """
    SELECT organization_id, ledger_id, count(b.number)
    FROM (
        SELECT organization_id, ledger_id FROM ledgers
        UNION SELECT organization_id, ledger_id FROM blocks
    ) l LEFT JOIN blocks b USING (organization_id, ledger_id)
    WHERE {own} GROUP BY organization_id, ledger_id ORDER BY organization_id, ledger_id
"""

_BLOCKS = f"""
    SELECT {HEADER}, b.hash, b.leaf_hashes FROM blocks b
    WHERE b.organization_id = %(organization)s AND b.ledger_id = %(ledger)s
    ORDER BY b.number
"""  # noqa: S608

_THIS = (
    "organization_id = %(organization)s AND ledger_id = %(ledger)s AND number = %(number)s::int8"
)

_REVISIONS_OF_BLOCK = f"""
    SELECT number, {HASHED} FROM (
        {REVISION_LEAF}
            AND r.number > coalesce((SELECT max(revisions) FROM blocks WHERE {_THIS} - 1), 0)
            AND r.number <= (SELECT max(revisions) FROM blocks WHERE {_THIS})
        ORDER BY r.number LIMIT %(most)s
    ) found
"""  # noqa: S608

_RANGE = "last_recorded_at, last_sequence, last_number"
_EVENTS_OF_BLOCK = f"""
    SELECT transaction_sequence, number, {HASHED} FROM ({
    event_leaves(
        f'''
            (SELECT * FROM transaction_events
            WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s AND number = 1
                AND transaction_sequence
                    > coalesce((SELECT max(transactions) FROM blocks WHERE {_THIS} - 1), 0)
                AND transaction_sequence <= (SELECT max(transactions) FROM blocks WHERE {_THIS})
            ORDER BY transaction_sequence LIMIT %(most)s)
            UNION ALL
            (SELECT * FROM transaction_events
            WHERE organization_id = %(organization)s AND ledger_id = %(ledger)s AND number > 1
                AND recorded_at <= (SELECT max(last_recorded_at) FROM blocks WHERE {_THIS})
                AND (recorded_at, transaction_sequence, number)
                    <= (SELECT {_RANGE} FROM blocks WHERE {_THIS} LIMIT 1)
                AND recorded_at >= coalesce(
                    (SELECT max(last_recorded_at) FROM blocks WHERE {_THIS} - 1), '-infinity'
                )
                AND coalesce((recorded_at, transaction_sequence, number)
                    > (SELECT {_RANGE} FROM blocks WHERE {_THIS} - 1 LIMIT 1), true)
            ORDER BY recorded_at, transaction_sequence, number LIMIT %(most)s)
        '''
    )
}) found ORDER BY transaction_sequence, number
"""  # noqa: S608
