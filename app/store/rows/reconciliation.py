"""Reconciliations: what they matched, and what does not agree.

What is counted and passed over row by row (whether a line or an entry is matched) is looked up by
full key, as written, for the reason that `reading.py` gives.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, case, literal_column, or_, select, true

from app.store.database import Snapshot
from app.store.reading import AS_WRITTEN, Link, Listing, Lookup, of_organization, parents
from app.store.rows.columns import above_zero, alike, columns, with_api_key
from app.store.rows.entries import EntryRow, entries_by_id
from app.store.rows.outside import StatementLineRow, statement_lines_by_id
from app.store.tables import (
    entries,
    reconciliation_discrepancies,
    reconciliation_events,
    reconciliation_match_entries,
    reconciliation_match_lines,
    reconciliation_matches,
    reconciliation_runs,
    reconciliations,
    statement_lines,
)


class ReconciliationRow(NamedTuple):
    """A reconciliation, with its balances and counts as of its latest change."""

    reconciliation_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    account_id: UUID
    name: str
    from_date: date
    through_date: date
    time_zone: str
    margin_days: int
    rules: list[dict[str, Any]]
    created_at: datetime
    status: str
    closed_at: datetime | None
    examined_at: datetime | None
    ledger_balance: int | None
    statement_balance: int | None
    items: list[dict[str, Any]] | None
    counts: dict[str, int] | None


class RunRow(NamedTuple):
    """A run of a reconciliation, and the name of the API key that asked for it."""

    run_id: UUID
    reconciliation_id: UUID
    status: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    failure: str | None
    confirmed: int
    proposed: int
    withdrawn: int
    appeared: int
    vanished: int
    api_key_name: str


class MatchRow(NamedTuple):
    """A match, and the name of the API key that made or confirmed it."""

    match_id: UUID
    reconciliation_id: UUID
    status: str
    origin: str
    rule: str | None
    score: int
    difference: int
    days: int
    reason: str | None
    decided_at: datetime | None
    api_key_name: str | None


class DiscrepancyRow(NamedTuple):
    """A discrepancy, and the name of the API key that dealt with it."""

    discrepancy_id: UUID
    reconciliation_id: UUID
    ledger_id: UUID
    external_account_id: UUID
    account_id: UUID
    kind: str
    day: date
    amount: int
    match_id: UUID | None
    line_number: int | None
    entry_sequence: int | None
    other_line: int | None
    external_statement_id: UUID | None
    status: str
    resolution: str | None
    reason: str | None
    resolved_at: datetime | None
    transaction_sequence: int | None
    resolved_match_id: UUID | None
    api_key_name: str | None


class ReconciliationEventRow(NamedTuple):
    """Something that was done to a reconciliation, and the name of the API key that did it."""

    number: int
    kind: str
    reason: str | None
    details: dict[str, Any]
    recorded_at: datetime
    api_key_name: str


class Unreconciled(NamedTuple):
    """How many entries of an account no closed reconciliation covers, and what they come to."""

    entries: int
    amount: int


_reconciliation = columns(ReconciliationRow, reconciliations)
_run = with_api_key(RunRow, reconciliation_runs)
_match = with_api_key(MatchRow, reconciliation_matches, optional=True)
_discrepancy = with_api_key(DiscrepancyRow, reconciliation_discrepancies, optional=True)
_event = with_api_key(ReconciliationEventRow, reconciliation_events)


def _closed(table: Any) -> ColumnElement[bool]:
    """Whether the reconciliation of a row is closed."""
    found = select(reconciliations.c.reconciliation_id).where(
        alike(reconciliations, table, "reconciliation_id"),
        reconciliations.c.status == literal_column("'closed'"),
    )
    return found.offset(AS_WRITTEN).correlate(table).exists()


reconciliations_by_id = Lookup(
    ReconciliationRow, _reconciliation, reconciliations, (reconciliations.c.reconciliation_id,)
)
runs_by_id = Lookup(RunRow, _run, reconciliation_runs, (reconciliation_runs.c.run_id,))
matches_by_id = Lookup(
    MatchRow, _match, reconciliation_matches, (reconciliation_matches.c.match_id,)
)
matches_by_line = replace(
    matches_by_id,
    order=matches_by_id.key,
    link=Link(
        (reconciliation_match_lines.c.external_account_id, reconciliation_match_lines.c.number),
        (reconciliation_match_lines.c.match_id,),
    ),
)
closed_matches_by_entry = replace(
    matches_by_id,
    select=_match.where(_closed(reconciliation_matches)),
    link=Link(
        (reconciliation_match_entries.c.account_id, reconciliation_match_entries.c.sequence),
        (reconciliation_match_entries.c.match_id,),
        reconciliation_match_entries.c.confirmed,
    ),
)
lines_by_match = replace(
    statement_lines_by_id,
    order=(statement_lines.c.number,),
    link=Link(
        (reconciliation_match_lines.c.match_id,),
        (reconciliation_match_lines.c.external_account_id, reconciliation_match_lines.c.number),
    ),
)
entries_by_match = replace(
    entries_by_id,
    order=(entries.c.sequence,),
    link=Link(
        (reconciliation_match_entries.c.match_id,),
        (reconciliation_match_entries.c.account_id, reconciliation_match_entries.c.sequence),
    ),
)
discrepancies_by_id = Lookup(
    DiscrepancyRow,
    _discrepancy,
    reconciliation_discrepancies,
    (reconciliation_discrepancies.c.discrepancy_id,),
)


def _has_match(*, confirmed: bool) -> ColumnElement[bool]:
    members = reconciliation_match_lines
    own = (
        members.c.confirmed
        if confirmed
        else and_(~members.c.confirmed, members.c.reconciliation_id == parents.c.id)
    )
    found = select(members.c.match_id).where(
        alike(members, statement_lines, "external_account_id", "number"), own
    )
    return found.offset(AS_WRITTEN).correlate(statement_lines, parents).exists()


_line_state = case(
    (_has_match(confirmed=True), literal_column("'matched'")),
    (_has_match(confirmed=False), literal_column("'proposed'")),
    else_=literal_column("'unmatched'"),
).cast(Text)
reconciliations_of_external_account = Listing(
    ReconciliationRow,
    _reconciliation,
    lambda external_account_id: and_(
        of_organization(reconciliations),
        reconciliations.c.external_account_id == external_account_id,
        above_zero(reconciliations.c.last_event),
    ),
    {"status": reconciliations.c.status},
    {"created_at": ("reconciliation_id",)},
)


def _in_days_of(reconciliation_id: ColumnElement[UUID]) -> ColumnElement[bool]:
    """Which lines. Values of one reconciliation, not a join: so lines are read in their order."""

    def told(column: Any) -> Any:
        this = and_(
            of_organization(reconciliations),
            reconciliations.c.reconciliation_id == reconciliation_id,
        )
        return select(column).where(this).correlate(parents).scalar_subquery()

    return and_(
        of_organization(statement_lines),
        statement_lines.c.external_account_id == told(reconciliations.c.external_account_id),
        above_zero(statement_lines.c.number),
        statement_lines.c.booked_on >= told(reconciliations.c.from_date),
        statement_lines.c.booked_on <= told(reconciliations.c.through_date),
    )


lines_of_reconciliation = Listing(
    StatementLineRow,
    statement_lines_by_id.select,
    _in_days_of,
    {"state": _line_state},
    {"booked_on": ("booked_on", "number")},
)

# By their numbers first: of those that a page does not give, the entries themselves are not read.
_missing = (
    select(reconciliation_discrepancies.c.account_id, reconciliation_discrepancies.c.entry_sequence)
    .where(
        of_organization(reconciliation_discrepancies),
        reconciliation_discrepancies.c.reconciliation_id == parents.c.id,
        reconciliation_discrepancies.c.kind != literal_column("''"),
        reconciliation_discrepancies.c.status != literal_column("'resolved'"),
        reconciliation_discrepancies.c.entry_sequence.is_not(None),
    )
    .order_by(reconciliation_discrepancies.c.entry_sequence)
    .offset(AS_WRITTEN)
    .correlate(parents)
    .lateral("missing")
)
_missing_entry = (
    entries_by_id.select.where(
        of_organization(entries),
        entries.c.account_id == _missing.c.account_id,
        entries.c.sequence == _missing.c.entry_sequence,
    )
    .offset(AS_WRITTEN)
    .correlate(_missing)
    .lateral("entry")
)
unmatched_entries_of_reconciliation = Listing(
    EntryRow,
    select(
        *(
            _missing.c.entry_sequence.label("sequence") if column.key == "sequence" else column
            for column in _missing_entry.c
        )
    ).select_from(_missing.join(_missing_entry, true())),
    lambda _: true(),
    {},
    {"sequence": ("sequence",)},
)
matches_of_reconciliation = Listing(
    MatchRow,
    _match,
    lambda reconciliation_id: and_(
        of_organization(reconciliation_matches),
        reconciliation_matches.c.reconciliation_id == reconciliation_id,
        reconciliation_matches.c.score >= literal_column("0"),
    ),
    {"status": reconciliation_matches.c.status, "rule": reconciliation_matches.c.rule},
    {"id": ("match_id",)},
)
discrepancies_of_reconciliation = Listing(
    DiscrepancyRow,
    _discrepancy,
    lambda reconciliation_id: and_(
        of_organization(reconciliation_discrepancies),
        reconciliation_discrepancies.c.reconciliation_id == reconciliation_id,
        reconciliation_discrepancies.c.kind != literal_column("''"),
    ),
    {
        "kind": reconciliation_discrepancies.c.kind,
        "status": reconciliation_discrepancies.c.status,
        "match_id": reconciliation_discrepancies.c.match_id,
    },
    {"day": ("day", "discrepancy_id")},
)
runs_of_reconciliation = Listing(
    RunRow,
    _run,
    lambda reconciliation_id: and_(
        of_organization(reconciliation_runs),
        reconciliation_runs.c.reconciliation_id == reconciliation_id,
        reconciliation_runs.c.confirmed >= literal_column("0"),
    ),
    {},
    {"requested_at": ("run_id",)},
)
events_of_reconciliation = Listing(
    ReconciliationEventRow,
    _event,
    lambda reconciliation_id: and_(
        of_organization(reconciliation_events),
        reconciliation_events.c.reconciliation_id == reconciliation_id,
    ),
    {},
    {"number": ("number",)},
)

_covered = (
    select(reconciliation_match_entries.c.match_id)
    .where(
        alike(reconciliation_match_entries, entries, "account_id", "sequence"),
        reconciliation_match_entries.c.confirmed,
        _closed(reconciliation_match_entries),
    )
    .offset(AS_WRITTEN)
    .correlate(entries)
    .exists()
)
unreconciled_entries_of_account = Listing(
    EntryRow,
    entries_by_id.select,
    lambda account_id: and_(
        of_organization(entries),
        entries.c.account_id == account_id,
        above_zero(entries.c.amount),
        or_(
            entries.c.effect == literal_column("'post'"),
            entries.c.effect == literal_column("'settle'"),
        ),
        ~_covered,
    ),
    {"effective_at": entries.c.effective_at},
    {"effective_at": ("effective_at", "sequence")},
)

# A full join is made by hashes or in order, whatever the planner takes the tables for; and what is
# IN something and compared again is looked for in a table of hashes, made once.
UNRECONCILED = """
    SELECT a.account_id, found.entries, found.amount
    FROM accounts a
    CROSS JOIN LATERAL (
        SELECT count(*) AS entries,
            sum(CASE WHEN e.direction = a.normal_balance THEN e.amount ELSE -e.amount END) AS amount
        FROM (
            SELECT e.sequence, e.direction, e.amount, m.sequence AS covered
            FROM (
                SELECT e.sequence, e.direction, e.amount FROM entries e
                WHERE e.organization_id = %(organization)s AND e.account_id = a.account_id
                    AND e.amount > 0 AND e.effect IN ('post', 'settle')
                    AND e.effective_at <= coalesce(%(as_of)s::timestamptz, 'infinity')
            ) e
            FULL JOIN (
                SELECT m.sequence FROM reconciliation_match_entries m
                WHERE m.organization_id = %(organization)s AND m.account_id = a.account_id
                    AND m.confirmed AND (m.reconciliation_id IN (
                        SELECT r.reconciliation_id FROM reconciliations r
                        WHERE r.organization_id = %(organization)s AND r.status = 'closed'
                    )) IS TRUE
            ) m ON m.sequence = e.sequence
            OFFSET 0
        ) e
        WHERE e.sequence IS NOT NULL AND e.covered IS NULL
    ) found
    WHERE a.organization_id = %(organization)s AND a.account_id = ANY(%(ids)s::uuid[])
        AND found.entries > 0
"""


async def unreconciled_by_account(
    snapshot: Snapshot, account_ids: Iterable[UUID], as_of: datetime | None
) -> Mapping[UUID, Unreconciled]:
    """What no closed reconciliation covers of each account, of entries effective by `as_of` (UTC).

    It reads all those entries. An account without any is absent.
    """
    rows = await snapshot.rows(UNRECONCILED, {"ids": list(account_ids), "as_of": as_of})
    return {account_id: Unreconciled(count, amount) for account_id, count, amount in rows}
