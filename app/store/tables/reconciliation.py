"""Reconciliations: what they matched, and what does not agree."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Index,
    Integer,
    SmallInteger,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from app.ledger.reconciliation.comparison import (
    DiscrepancyKind,
    DiscrepancyStatus,
    MatchOrigin,
    MatchStatus,
    ReconciliationEventKind,
    ReconciliationStatus,
    ResolutionKind,
    RunStatus,
)
from app.store.tables.columns import Moment, Total, foreign_key, one_of


class Reconciliation(SQLModel, table=True):
    """The lines of an external account beside the entries of its account, over some days.

    Whoever changes its matches or discrepancies holds the external account's lock until commit, and
    then this row's. What `examined_at` stands before is as of the last such change: of lines up to
    `examined_line`, of the account's entries up to `examined_version`.
    """

    __tablename__: ClassVar[str] = "reconciliations"
    __table_args__ = (
        foreign_key(
            "reconciliations_external_account",
            "external_accounts",
            "ledger_id",
            "external_account_id",
        ),
        foreign_key("reconciliations_account", "accounts", "ledger_id", "account_id"),
        foreign_key("reconciliations_api_key", "api_keys", "api_key_id"),
        # Those of an external account. The condition holds for all (see accounts_name).
        Index(
            "reconciliations_external_account",
            "organization_id",
            "external_account_id",
            "reconciliation_id",
            postgresql_where=text("last_event > 0"),
        ),
        one_of("status", ReconciliationStatus),
        CheckConstraint("from_date <= through_date", name="days"),
        CheckConstraint("(closed_at IS NOT NULL) = (status = 'closed')", name="closed"),
        CheckConstraint("last_event >= 1", name="last_event"),
        CheckConstraint(
            "num_nulls(examined_at, examined_version, examined_line, ledger_balance, items, counts)"
            " IN (0, 6)",
            name="examined",
        ),
        {"postgresql_with": {"fillfactor": 50}},
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    external_account_id: UUID = Field(sa_type=Uuid)
    account_id: UUID = Field(sa_type=Uuid)
    name: str = Field(sa_type=Text)
    from_date: date = Field(sa_type=Date)
    through_date: date = Field(sa_type=Date)
    time_zone: str = Field(sa_type=Text)  # where an entry's day begins
    margin_days: int = Field(sa_type=SmallInteger)  # how far around the days partners are sought
    rules: list[dict[str, Any]] = Field(sa_type=JSONB)
    api_key_id: UUID = Field(sa_type=Uuid)
    created_at: datetime = Field(sa_type=Moment)
    status: str = Field(sa_type=Text)
    closed_at: datetime | None = Field(sa_type=Moment)
    last_event: int = Field(sa_type=Integer)
    examined_at: datetime | None = Field(sa_type=Moment)
    examined_version: int | None = Field(sa_type=BigInteger)
    examined_line: int | None = Field(sa_type=BigInteger)
    ledger_balance: int | None = Field(sa_type=Total)
    statement_balance: int | None = Field(sa_type=Total)
    items: list[dict[str, Any]] | None = Field(sa_type=JSONB)  # of the bridge; amounts are texts
    counts: dict[str, int] | None = Field(sa_type=JSONB)


class ReconciliationRun(SQLModel, table=True):
    """One request to look for matches, and what became of it. Unfinished runs are work to be done.

    All that a run writes is one transaction, which finishes it; a run whose process died is begun
    anew.
    """

    __tablename__: ClassVar[str] = "reconciliation_runs"
    __table_args__ = (
        foreign_key("reconciliation_runs_reconciliation", "reconciliations", "reconciliation_id"),
        foreign_key("reconciliation_runs_api_key", "api_keys", "api_key_id"),
        # One waits at most, besides one that is under way.
        Index(
            "reconciliation_runs_waiting",
            "organization_id",
            "reconciliation_id",
            unique=True,
            postgresql_where=text("status = 'waiting'"),
        ),
        # Those of a reconciliation, in order. The condition holds for all (see accounts_name).
        Index(
            "reconciliation_runs_reconciliation",
            "organization_id",
            "reconciliation_id",
            "run_id",
            postgresql_where=text("confirmed >= 0"),
        ),
        # What is to be done, of all organizations (as with transactions_due).
        Index(
            "reconciliation_runs_unfinished",
            "requested_at",
            postgresql_where=text("finished_at IS NULL"),
        ),
        one_of("status", RunStatus),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('completed', 'failed'))", name="finished"
        ),
        CheckConstraint("(failure IS NOT NULL) = (status = 'failed')", name="failure"),
        CheckConstraint(
            "least(confirmed, proposed, withdrawn, appeared, vanished) >= 0", name="counts"
        ),
        {"postgresql_with": {"fillfactor": 50}},
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    run_id: UUID = Field(sa_type=Uuid, primary_key=True)
    ledger_id: UUID = Field(sa_type=Uuid)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    api_key_id: UUID = Field(sa_type=Uuid)
    status: str = Field(sa_type=Text)
    requested_at: datetime = Field(sa_type=Moment)
    started_at: datetime | None = Field(sa_type=Moment)
    finished_at: datetime | None = Field(sa_type=Moment)
    failure: str | None = Field(sa_type=Text)
    confirmed: int = Field(sa_type=BigInteger)  # matches that are new
    proposed: int = Field(sa_type=BigInteger)
    withdrawn: int = Field(sa_type=BigInteger)  # proposals that were there before
    appeared: int = Field(sa_type=BigInteger)  # discrepancies
    vanished: int = Field(sa_type=BigInteger)


class ReconciliationMatch(SQLModel, table=True):
    """Lines and entries that stand for the same; its id is a digest of which they were at first.

    An adjusting entry may join it later. A proposal goes when a run no longer makes it. All that a
    closed reconciliation has stays.
    """

    __tablename__: ClassVar[str] = "reconciliation_matches"
    __table_args__ = (
        foreign_key(
            "reconciliation_matches_reconciliation", "reconciliations", "reconciliation_id"
        ),
        foreign_key("reconciliation_matches_api_key", "api_keys", "api_key_id"),
        # Those of a reconciliation. The condition holds for all (see accounts_name).
        Index(
            "reconciliation_matches_reconciliation",
            "organization_id",
            "reconciliation_id",
            "match_id",
            postgresql_where=text("score >= 0"),
        ),
        # Those that reach into other days.
        Index(
            "reconciliation_matches_crossing",
            "organization_id",
            "ledger_id",
            postgresql_where=text("NOT whole"),
        ),
        one_of("status", MatchStatus),
        one_of("origin", MatchOrigin),
        CheckConstraint("(rule IS NOT NULL) = (origin = 'rule')", name="rule"),
        CheckConstraint("origin = 'rule' OR status = 'confirmed'", name="origin_status"),
        CheckConstraint("score BETWEEN 0 AND 1000", name="score"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    match_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    ledger_id: UUID = Field(sa_type=Uuid)
    status: str = Field(sa_type=Text)
    origin: str = Field(sa_type=Text)
    rule: str | None = Field(sa_type=Text)  # the name of the rule that found it
    score: int = Field(sa_type=SmallInteger)
    difference: int = Field(sa_type=Total)  # of its lines less its entries
    reach: int = Field(sa_type=Total)  # the same of those before the days
    days: int = Field(sa_type=Integer)  # from its line to its entry
    whole: bool  # whether all of it lies in the days of the reconciliation
    late: bool  # whether that is more than its rule's
    foreign_currency: bool  # whether a line counts in another currency, and hence as nothing
    reason: str | None = Field(sa_type=Text)
    api_key_id: UUID | None = Field(sa_type=Uuid)  # who confirmed or made it; None is the rule
    decided_at: datetime | None = Field(sa_type=Moment)


class ReconciliationMatchLine(SQLModel, table=True):
    """A line of a match."""

    __tablename__: ClassVar[str] = "reconciliation_match_lines"
    __table_args__ = (
        foreign_key("reconciliation_match_lines_match", "reconciliation_matches", "match_id"),
        foreign_key(
            "reconciliation_match_lines_line", "statement_lines", "external_account_id", "number"
        ),
        # The matches of a line.
        Index(
            "reconciliation_match_lines_line",
            "organization_id",
            "external_account_id",
            "number",
            "match_id",
            unique=True,
        ),
        # A line is accounted for once, in whichever reconciliation.
        Index(
            "reconciliation_match_lines_once",
            "organization_id",
            "external_account_id",
            "number",
            unique=True,
            postgresql_where=text("confirmed"),
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    match_id: UUID = Field(sa_type=Uuid, primary_key=True)
    external_account_id: UUID = Field(sa_type=Uuid)
    number: int = Field(sa_type=BigInteger, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    confirmed: bool


class ReconciliationMatchEntry(SQLModel, table=True):
    """An entry of a match. No foreign key leads to it, as with credit lots."""

    __tablename__: ClassVar[str] = "reconciliation_match_entries"
    __table_args__ = (
        foreign_key("reconciliation_match_entries_match", "reconciliation_matches", "match_id"),
        # The matches of an entry.
        Index(
            "reconciliation_match_entries_entry",
            "organization_id",
            "account_id",
            "sequence",
            "match_id",
            unique=True,
        ),
        # An entry is accounted for once, in whichever reconciliation.
        Index(
            "reconciliation_match_entries_once",
            "organization_id",
            "account_id",
            "sequence",
            unique=True,
            postgresql_where=text("confirmed"),
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    match_id: UUID = Field(sa_type=Uuid, primary_key=True)
    account_id: UUID = Field(sa_type=Uuid)
    sequence: int = Field(sa_type=BigInteger, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    confirmed: bool


class ReconciliationRejection(SQLModel, table=True):
    """A line and an entry that are never again to be matched by a rule. Append-only.

    A pair of two entries, where a match had no line, has its first entry in the place of the line,
    as a number below zero.
    """

    __tablename__: ClassVar[str] = "reconciliation_rejections"
    __table_args__ = (
        foreign_key(
            "reconciliation_rejections_reconciliation", "reconciliations", "reconciliation_id"
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)  # of the line
    sequence: int = Field(sa_type=BigInteger, primary_key=True)


class ReconciliationDiscrepancy(SQLModel, table=True):
    """Something that does not agree; its id is a digest of what it is, its amount included.

    `amount` is what it adds to the ledger's balance on the way to the statement's. It goes when its
    cause does; one that a transaction resolved stays, and counts no more.
    """

    __tablename__: ClassVar[str] = "reconciliation_discrepancies"
    __table_args__ = (
        foreign_key(
            "reconciliation_discrepancies_reconciliation", "reconciliations", "reconciliation_id"
        ),
        foreign_key("reconciliation_discrepancies_api_key", "api_keys", "api_key_id"),
        # Those of a reconciliation, in order of what they are about. The condition holds for all.
        Index(
            "reconciliation_discrepancies_reconciliation",
            "organization_id",
            "reconciliation_id",
            "day",
            "discrepancy_id",
            postgresql_where=text("kind <> ''"),
        ),
        one_of("kind", DiscrepancyKind),
        one_of("status", DiscrepancyStatus),
        one_of("resolution", ResolutionKind),
        CheckConstraint(
            "num_nulls(resolution, api_key_id, resolved_at)"
            " = CASE status WHEN 'open' THEN 3 ELSE 0 END",
            name="resolved",
        ),
        CheckConstraint(
            "(status = 'resolved') = (transaction_sequence IS NOT NULL)"
            " AND (status = 'resolved') = (resolved_match_id IS NOT NULL)"
            " AND (status = 'accepted') = coalesce(resolution = 'accepted', false)",
            name="transaction",
        ),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    discrepancy_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid)
    ledger_id: UUID = Field(sa_type=Uuid)
    external_account_id: UUID = Field(sa_type=Uuid)
    account_id: UUID = Field(sa_type=Uuid)
    kind: str = Field(sa_type=Text)
    day: date = Field(sa_type=Date)  # of its line, else of its entry, else of its statement's end
    amount: int = Field(sa_type=Total)
    match_id: UUID | None = Field(sa_type=Uuid)
    line_number: int | None = Field(sa_type=BigInteger)
    entry_sequence: int | None = Field(sa_type=BigInteger)
    other_line: int | None = Field(sa_type=BigInteger)  # the one that it doubles
    external_statement_id: UUID | None = Field(sa_type=Uuid)
    status: str = Field(sa_type=Text)
    resolution: str | None = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    api_key_id: UUID | None = Field(sa_type=Uuid)
    resolved_at: datetime | None = Field(sa_type=Moment)
    transaction_sequence: int | None = Field(sa_type=BigInteger)  # that resolved it
    resolved_match_id: UUID | None = Field(sa_type=Uuid)


class ReconciliationEvent(SQLModel, table=True):
    """Something that was done to a reconciliation, by whom and why. Append-only."""

    __tablename__: ClassVar[str] = "reconciliation_events"
    __table_args__ = (
        foreign_key("reconciliation_events_reconciliation", "reconciliations", "reconciliation_id"),
        foreign_key("reconciliation_events_api_key", "api_keys", "api_key_id"),
        one_of("kind", ReconciliationEventKind),
        CheckConstraint("number >= 1", name="number"),
    )

    organization_id: UUID = Field(sa_type=Uuid, primary_key=True)
    reconciliation_id: UUID = Field(sa_type=Uuid, primary_key=True)
    number: int = Field(sa_type=Integer, primary_key=True)  # 1, 2, 3 … in the reconciliation
    kind: str = Field(sa_type=Text)
    reason: str | None = Field(sa_type=Text)
    details: dict[str, Any] = Field(sa_type=JSONB)  # what it was about, and what came of it
    api_key_id: UUID = Field(sa_type=Uuid)
    recorded_at: datetime = Field(sa_type=Moment)
