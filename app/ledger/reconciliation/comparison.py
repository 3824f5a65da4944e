"""Reconciliation: an outside record of an account beside ours, and all that does not agree.

A reconciliation compares the lines of an external account with the posted entries of the account
that it mirrors, over some days of one time zone. All its amounts are the account's: signed on the
normal side, so that a line and the entry that it stands for have the same amount, whichever way the
outside counts.

Rules are tried in order. First those that look for references decide, all of them, over and over,
what is certain: a line and an entry (or the entries of one reference together) of one reference and
one amount, with no other line or entry that would do. That is confirmed at once. Then each rule in
turn proposes matches of what is left, and a proposal waits until somebody confirms it. What was
certain stays certain and what is proposed depends on nothing but what is left, so a run that finds
no news changes nothing.

    the same reference and amount, alone in that       confirmed, score 1000
    the same, but several would do                      900: first with first, by day and number
    the same reference, another amount                  800 (another currency: 700)
    entries that a reversal undid                       850
    the same amount, days apart                         600, 10 less a day, 100 less if several do
    amounts within a tolerance                          up to 200 less, by how far apart
    alike in text                                       eight tenths of the likeness

What no match explains is a discrepancy, and so is what a match does not explain. The bridge leads
from the ledger's balance to the statement's over all of them and ends in no difference: whatever is
not understood is an item of it by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import date, datetime
from enum import Enum
from typing import Any, Self
from uuid import UUID

from app.ledger.accounts.state import Scope
from app.ledger.amounts import MAX_AMOUNT
from app.ledger.refusals import ValidationFailed
from app.ledger.times import zone_named
from app.ledger.transactions.commands import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH, check_text
from app.ledger.values import immutable

MAX_RULES = 20
MAX_DAYS = 366
MAX_MARGIN = 93
MAX_PATH = 8
MAX_MEMBERS = 1000
BASIS = 10_000


class ReconciliationStatus(Enum):
    """OPEN takes runs, matches and resolutions; CLOSED is frozen."""

    OPEN = "open"
    CLOSED = "closed"


class RunStatus(Enum):
    """How far a run has come."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class MatchStatus(Enum):
    """A proposal waits for somebody's word."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"


class MatchOrigin(Enum):
    """What brought a match about; a RESOLUTION is of a discrepancy and ends with it."""

    RULE = "rule"
    MANUAL = "manual"
    RESOLUTION = "resolution"


class LineState(Enum):
    """Where a statement line stands."""

    MATCHED = "matched"
    PROPOSED = "proposed"
    UNMATCHED = "unmatched"


class DiscrepancyKind(Enum):
    """What is wrong."""

    MISSING_IN_LEDGER = "missing_in_ledger"
    MISSING_IN_STATEMENT = "missing_in_statement"
    AMOUNT_MISMATCH = "amount_mismatch"
    DATE_MISMATCH = "date_mismatch"
    DUPLICATE_LINE = "duplicate_line"
    DUPLICATE_ENTRY = "duplicate_entry"
    CURRENCY_MISMATCH = "currency_mismatch"
    BALANCE_MISMATCH = "balance_mismatch"


class BridgeItemKind(Enum):
    """The kinds of discrepancies, and the two differences that are none.

    TIMING_DIFFERENCE is of matches across an edge of the days, whose one side is not in them;
    BROUGHT_FORWARD is what the closed reconciliation before this one ended with.
    """

    BROUGHT_FORWARD = "brought_forward"
    TIMING_DIFFERENCE = "timing_difference"
    MISSING_IN_LEDGER = "missing_in_ledger"
    MISSING_IN_STATEMENT = "missing_in_statement"
    AMOUNT_MISMATCH = "amount_mismatch"
    DATE_MISMATCH = "date_mismatch"
    DUPLICATE_LINE = "duplicate_line"
    DUPLICATE_ENTRY = "duplicate_entry"
    CURRENCY_MISMATCH = "currency_mismatch"
    BALANCE_MISMATCH = "balance_mismatch"


class DiscrepancyStatus(Enum):
    """RESOLVED by a transaction, or ACCEPTED as it is."""

    OPEN = "open"
    ACCEPTED = "accepted"
    RESOLVED = "resolved"


class ResolutionKind(Enum):
    """How a discrepancy was dealt with."""

    ACCEPTED = "accepted"
    ADJUSTED = "adjusted"
    WRITTEN_OFF = "written_off"


class ReconciliationEventKind(Enum):
    """What happened to a reconciliation."""

    CREATED = "created"
    RUN = "run"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    MATCHED = "matched"
    UNMATCHED = "unmatched"
    RESOLVED = "resolved"
    RESOLUTION_UNDONE = "resolution_undone"
    CLOSED = "closed"
    REOPENED = "reopened"


class RuleKind(Enum):
    """How a rule looks for matches."""

    REFERENCE = "reference"
    AMOUNT_AND_DATE = "amount_and_date"
    AMOUNT_AND_TEXT = "amount_and_text"
    ONE_LINE_TO_MANY_ENTRIES = "one_line_to_many_entries"
    MANY_LINES_TO_ONE_ENTRY = "many_lines_to_one_entry"
    REVERSED_ENTRIES = "reversed_entries"


class LineField(Enum):
    """A reference that a statement line has; DESCRIPTION_WORD is any word of its description."""

    REFERENCE = "reference"
    END_TO_END_ID = "end_to_end_id"
    DESCRIPTION_WORD = "description_word"


class EntryField(Enum):
    """A reference that an entry has, of itself (METADATA) or by its transaction."""

    EXTERNAL_ID = "external_id"
    IDEMPOTENCY_KEY = "idempotency_key"
    METADATA = "metadata"


@immutable
class Tolerance:
    """How far two amounts may be apart: minor units, plus so many 1/10,000 of the line's."""

    amount: int = 0
    basis_points: int = 0

    @property
    def makes_sense(self) -> bool:
        return 0 <= self.amount <= MAX_AMOUNT and 0 <= self.basis_points <= BASIS


@immutable
class Rule:
    """One way to find matches.

    `days_before` and `days_after` say how long before and after its line an entry may take effect;
    for rules by reference that is no bar, and what lies farther apart is a DATE_MISMATCH. Without a
    tolerance, references match whatever the amounts, and all else only equal amounts.

    Of the rules that put several together, ONE_LINE_TO_MANY_ENTRIES adds up the entries with one
    value of `entry_field`, or without one those of a day; with `line_field` the line must have that
    value too. MANY_LINES_TO_ONE_ENTRY is the same the other way round.
    """

    name: str
    kind: RuleKind
    line_field: LineField | None = None
    entry_field: EntryField | None = None
    metadata_path: tuple[str, ...] = ()
    days_before: int = 5
    days_after: int = 5
    tolerance: Tolerance | None = None
    minimum_score: int = 500

    @property
    def by_reference(self) -> bool:
        """Whether a line and an entry must have the same reference."""
        return self.line_field is not None and self.entry_field is not None

    def check(self, *path: str) -> None:
        """Raise ValidationFailed where the rule makes no sense."""
        fault = self._fault()
        if fault is not None:
            raise ValidationFailed(message=fault, path=("input", *path))

    def _fault(self) -> str | None:
        given = self.line_field is not None, self.entry_field is not None
        grouped = self.kind is RuleKind.MANY_LINES_TO_ONE_ENTRY
        faults = (
            (
                self.kind is RuleKind.REFERENCE and not self.by_reference,
                "A rule of the kind REFERENCE has a lineField and an entryField.",
            ),
            (
                self.kind in _BARE and any(given),
                f"A rule of the kind {self.kind.name} has neither lineField nor entryField.",
            ),
            (
                self.kind is RuleKind.ONE_LINE_TO_MANY_ENTRIES and given == (True, False),
                "To one line, entries are put together by an entryField.",
            ),
            (
                grouped and given == (False, True),
                "To one entry, lines are put together by a lineField.",
            ),
            (
                grouped and self.line_field is LineField.DESCRIPTION_WORD,
                "Lines cannot be put together by words of their descriptions.",
            ),
            (
                (self.entry_field is EntryField.METADATA) != bool(self.metadata_path),
                "A metadataPath belongs to the entryField METADATA, and only to it.",
            ),
            (
                len(self.metadata_path) > MAX_PATH,
                f"A metadataPath has at most {MAX_PATH} steps.",
            ),
            (
                not (0 <= self.days_before <= MAX_MARGIN and 0 <= self.days_after <= MAX_MARGIN),
                f"daysBefore and daysAfter are from 0 to {MAX_MARGIN}.",
            ),
            (not 0 <= self.minimum_score <= 1000, "minimumScore is from 0 to 1000."),
            (
                self.tolerance is not None and not self.tolerance.makes_sense,
                f"A tolerance has an amount from 0 on, and from 0 to {BASIS} basis points.",
            ),
        )
        return next((message for is_broken, message in faults if is_broken), None)

    def to_json(self) -> dict[str, Any]:
        """The rule as it is stored; amounts are texts."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "lineField": self.line_field and self.line_field.value,
            "entryField": self.entry_field and self.entry_field.value,
            "metadataPath": list(self.metadata_path),
            "daysBefore": self.days_before,
            "daysAfter": self.days_after,
            "tolerance": self.tolerance
            and {
                "amount": str(self.tolerance.amount),
                "basisPoints": self.tolerance.basis_points,
            },
            "minimumScore": self.minimum_score,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read a rule as it is stored."""
        tolerance = stored["tolerance"]
        return cls(
            name=stored["name"],
            kind=RuleKind(stored["kind"]),
            line_field=stored["lineField"] and LineField(stored["lineField"]),
            entry_field=stored["entryField"] and EntryField(stored["entryField"]),
            metadata_path=tuple(stored["metadataPath"]),
            days_before=stored["daysBefore"],
            days_after=stored["daysAfter"],
            tolerance=tolerance and Tolerance(int(tolerance["amount"]), tolerance["basisPoints"]),
            minimum_score=stored["minimumScore"],
        )


_BARE = (RuleKind.AMOUNT_AND_DATE, RuleKind.AMOUNT_AND_TEXT, RuleKind.REVERSED_ENTRIES)

DEFAULT_RULES = (
    Rule("reference", RuleKind.REFERENCE, LineField.REFERENCE, EntryField.EXTERNAL_ID),
    Rule("end-to-end id", RuleKind.REFERENCE, LineField.END_TO_END_ID, EntryField.EXTERNAL_ID),
    Rule("key", RuleKind.REFERENCE, LineField.END_TO_END_ID, EntryField.IDEMPOTENCY_KEY),
    Rule("described", RuleKind.REFERENCE, LineField.DESCRIPTION_WORD, EntryField.EXTERNAL_ID),
    Rule(
        "lines of a transaction",
        RuleKind.ONE_LINE_TO_MANY_ENTRIES,
        LineField.END_TO_END_ID,
        EntryField.EXTERNAL_ID,
    ),
    Rule("amount and text", RuleKind.AMOUNT_AND_TEXT),
    Rule("amount and date", RuleKind.AMOUNT_AND_DATE, days_before=3, days_after=3),
    Rule("reversed", RuleKind.REVERSED_ENTRIES),
)
"""What a reconciliation goes by if it is told nothing else."""


@immutable
class CreateReconciliation:
    """Compare an external account with its account over some days, both included."""

    scope: Scope
    reconciliation_id: UUID
    external_account_id: UUID
    name: str
    from_date: date
    through_date: date
    api_key_id: UUID
    time_zone: str = "UTC"
    margin_days: int = 30
    rules: tuple[Rule, ...] = DEFAULT_RULES

    def check(self) -> None:
        """Raise ValidationFailed where the input alone is wrong."""
        check_text("name", self.name, MAX_NAME_LENGTH)
        if not 0 <= (self.through_date - self.from_date).days < MAX_DAYS:
            raise ValidationFailed(
                message=f"A reconciliation is of 1 to {MAX_DAYS} days.", path=("input", "through")
            )
        if not date(1, 4, 10) <= self.from_date <= self.through_date <= date(9999, 9, 1):
            raise ValidationFailed(
                message="No calendar has room around these days.", path=("input", "from")
            )
        if not 0 <= self.margin_days <= MAX_MARGIN:
            raise ValidationFailed(
                message=f"marginDays is from 0 to {MAX_MARGIN}.", path=("input", "marginDays")
            )
        try:
            zone_named(self.time_zone)
        except ValueError:
            raise ValidationFailed(
                message="There is no such time zone.", path=("input", "timeZone")
            ) from None
        if not 1 <= len(self.rules) <= MAX_RULES:
            raise ValidationFailed(
                message=f"There are 1 to {MAX_RULES} rules.", path=("input", "rules")
            )
        names = [rule.name for rule in self.rules]
        for place, rule in enumerate(self.rules):
            try:
                check_text("name", rule.name, MAX_NAME_LENGTH)
            except ValidationFailed as refusal:
                refusal.path = ("input", "rules", str(place), "name")
                raise
            if rule.name in names[:place]:
                raise ValidationFailed(
                    message="Another rule has this name.",
                    path=("input", "rules", str(place), "name"),
                )
            rule.check("rules", str(place))


def check_reason(reason: str | None) -> None:
    """A reason is required, and for people."""
    check_text("reason", reason, MAX_DESCRIPTION_LENGTH)


# ---- balances ------------------------------------------------------------------------------------


@immutable
class Statement:
    """A statement's own sums, in the account's terms; days and balances may not be stated."""

    statement_id: UUID
    number: int
    from_date: date | None
    through_date: date | None
    opening: int | None
    closing: int | None
    line_total: int


@immutable
class BalanceFault:
    """By how much a statement disagrees with itself, or with the one before it."""

    statement_id: UUID | None
    amount: int
    cause: str


def faults_of(
    statements: Iterable[Statement], from_date: date, through_date: date
) -> Sequence[BalanceFault]:
    """What is wrong with the sums of statements in these days, in order of day and number."""
    dated = sorted(
        (one for one in statements if one.from_date is not None and one.through_date is not None),
        key=lambda one: (one.from_date, one.through_date, one.number),
    )
    faults: list[BalanceFault] = []
    before: Statement | None = None
    for one in dated:
        assert one.from_date is not None
        assert one.through_date is not None
        if one.from_date >= from_date and one.through_date <= through_date:
            if one.opening is not None and one.closing is not None:
                gap = one.closing - one.opening - one.line_total
                if gap:
                    faults.append(BalanceFault(one.statement_id, gap, "lines"))
            if (
                before is not None
                and before.through_date is not None
                and from_date <= before.through_date < one.from_date
                and before.closing is not None
                and one.opening is not None
                and one.opening != before.closing
            ):
                gap = one.opening - before.closing
                faults.append(BalanceFault(one.statement_id, gap, "opening"))
        if before is None or before.through_date is None or one.through_date >= before.through_date:
            before = one
    return faults


@immutable
class BridgeItem:
    """So many differences of one kind, and what they come to."""

    kind: BridgeItemKind
    count: int
    amount: int


@immutable
class Bridge:
    """The way from the ledger's balance to the statement's, on the account's normal side."""

    ledger_balance: int
    statement_balance: int | None
    items: tuple[BridgeItem, ...] = ()

    @property
    def difference(self) -> int | None:
        """What the items leave unexplained: nothing, ever; None where no balance was stated."""
        if self.statement_balance is None:
            return None
        return (
            self.statement_balance - self.ledger_balance - sum(item.amount for item in self.items)
        )


@immutable
class Sums:
    """What a bridge is computed from, in minor units on the account's normal side.

    Balances are posted, or as stated; lines and entries are those of the days. `differences` is
    what the matches' lines are more than their entries, `reach` the same of those members that come
    before the days.
    """

    ledger_opening: int
    ledger_closing: int
    statement_opening: int | None
    statement_closing: int | None
    lines: int
    free_lines: int
    free_entries: int
    differences: int
    reach: int
    brought_forward: int | None = None

    @property
    def opening(self) -> int | None:
        """What the statement began with; where it does not say, what it must have been."""
        if self.statement_opening is None and self.statement_closing is not None:
            return self.statement_closing - self.lines
        return self.statement_opening

    @property
    def closing(self) -> int | None:
        """What the statement ended with; where it does not say, what it must have come to."""
        if self.statement_closing is None and self.statement_opening is not None:
            return self.statement_opening + self.lines
        return self.statement_closing

    @property
    def carried(self) -> int:
        """What is left of the difference that the days began with, as it is known from before."""
        return 0 if self.brought_forward is None else self.brought_forward - self.reach

    @property
    def opening_fault(self) -> int:
        """What of the difference that the days began with nothing is known of."""
        if self.opening is None:
            return 0
        return self.opening - self.ledger_opening - self.reach - self.carried

    @property
    def unstated(self) -> int:
        """By how much the statement's balance moved without lines."""
        if self.opening is None or self.closing is None:
            return 0
        return self.closing - self.opening - self.lines

    @property
    def timing(self) -> int:
        """What matches leave open because only one of their sides is in the days."""
        entries = self.ledger_closing - self.ledger_opening
        matched = (self.lines - self.free_lines) - (entries - self.free_entries)
        return matched - self.differences + self.reach


@immutable
class Counts:
    """How a reconciliation stands, in numbers."""

    lines: int = 0
    matched_lines: int = 0
    proposed_lines: int = 0
    unmatched_entries: int = 0
    confirmed_matches: int = 0
    proposed_matches: int = 0
    open_discrepancies: int = 0
    accepted_discrepancies: int = 0
    resolved_discrepancies: int = 0


@immutable
class Adjustment:
    """A transaction that takes a discrepancy out of the books: its counter account, its labels."""

    counter_account_id: UUID
    idempotency_key: str
    reason: str | None = None
    description: str | None = None
    external_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    effective_at: datetime | None = None
    written_off: bool = False
