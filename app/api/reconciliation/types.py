"""Reconciliations: lines beside entries, what matches, and what does not agree."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from app.api.accounts.types import Account, find_account
from app.api.connections import After, Before, Connection, First, Last, connect, listed
from app.api.engine.context import Context, Info
from app.api.enums import (
    BridgeItemKind,
    DiscrepancyKind,
    DiscrepancyStatus,
    EntryField,
    LineField,
    LineState,
    MatchOrigin,
    MatchStatus,
    ReconciliationEventKind,
    ReconciliationRunStatus,
    ReconciliationStatus,
    ResolutionKind,
    RuleKind,
    by_word,
)
from app.api.filters import any_of
from app.api.ids import DISCREPANCY, MATCH, RECONCILIATION, RUN, encode
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.reconciliation.outside import (
    ExternalAccount,
    ExternalStatement,
    StatementLine,
    find_external_account,
)
from app.api.scalars import JSON, Amount, Date, DateTime
from app.api.transactions.entries import Entry
from app.store import rows
from app.store.reading import Condition
from app.store.rows import reconciliation as own

if TYPE_CHECKING:
    from app.api.transactions.types import Transaction

_STATUS = by_word(ReconciliationStatus)
_RUN_STATUS = by_word(ReconciliationRunStatus)
_MATCH_STATUS = by_word(MatchStatus)
_ORIGIN = by_word(MatchOrigin)
_KIND = by_word(DiscrepancyKind)
_ITEM_KIND = by_word(BridgeItemKind)
_DISCREPANCY_STATUS = by_word(DiscrepancyStatus)
_EVENT_KIND = by_word(ReconciliationEventKind)
_RULE_KIND = by_word(RuleKind)
_LINE_FIELD = by_word(LineField)
_ENTRY_FIELD = by_word(EntryField)


@strawberry.type(description="How far two amounts may be apart.")
class Tolerance:
    amount: Amount = strawberry.field(description="In minor units.")
    basis_points: int = strawberry.field(
        description="Beyond that, so many 1/10,000 of the line's amount."
    )


@strawberry.type(description="One way to find matches; rules are tried in order.")
class ReconciliationRule:
    stored: strawberry.Private[Mapping[str, Any]]

    @strawberry.field(description="Its name; matches tell it.")
    def name(self) -> str:
        return str(self.stored["name"])

    @strawberry.field(description="How it looks for matches.")
    def kind(self) -> RuleKind:
        return _RULE_KIND[self.stored["kind"]]

    @strawberry.field(description="The line's reference that it goes by.")
    def line_field(self) -> LineField | None:
        word = self.stored["lineField"]
        return None if word is None else _LINE_FIELD[word]

    @strawberry.field(description="The entry's reference that it goes by.")
    def entry_field(self) -> EntryField | None:
        word = self.stored["entryField"]
        return None if word is None else _ENTRY_FIELD[word]

    @strawberry.field(description="Where in the metadata that reference is, if it is there.")
    def metadata_path(self) -> list[str]:
        return list(self.stored["metadataPath"])

    @strawberry.field(description="How many days before its line an entry may take effect.")
    def days_before(self) -> int:
        return int(self.stored["daysBefore"])

    @strawberry.field(description="How many days after its line an entry may take effect.")
    def days_after(self) -> int:
        return int(self.stored["daysAfter"])

    @strawberry.field(
        description=(
            "How far amounts may be apart. Null: by reference they may differ, else they are equal."
        )
    )
    def tolerance(self) -> Tolerance | None:
        stored = self.stored["tolerance"]
        if stored is None:
            return None
        return Tolerance(
            amount=Amount(int(stored["amount"])), basis_points=int(stored["basisPoints"])
        )

    @strawberry.field(description="How alike texts must be, from 0 to 1000.")
    def minimum_score(self) -> int:
        return int(self.stored["minimumScore"])


@strawberry.type(description="How a reconciliation stands, in numbers.")
class ReconciliationSummary:
    lines: int = strawberry.field(description="Statement lines in its days.")
    matched_lines: int = strawberry.field(description="Those that a confirmed match has.")
    proposed_lines: int = strawberry.field(description="Those that a proposed match has.")
    unmatched_entries: int = strawberry.field(description="Entries in its days without a match.")
    confirmed_matches: int = strawberry.field(description="Matches that hold.")
    proposed_matches: int = strawberry.field(description="Matches that wait for confirmation.")
    open_discrepancies: int = strawberry.field(description="Discrepancies not dealt with.")
    accepted_discrepancies: int = strawberry.field(description="Those accepted as they are.")
    resolved_discrepancies: int = strawberry.field(description="Those that a transaction resolved.")


@strawberry.type(
    description=(
        "Lines and entries that stand for the same. Lines alone or entries alone undo one another."
    )
)
class ReconciliationMatch(Node):
    row: strawberry.Private[own.MatchRow]

    id: strawberry.ID = of_row(lambda row: encode(MATCH, row.match_id), OPAQUE)
    status: MatchStatus = of_row(lambda row: _MATCH_STATUS[row.status], "Whether it holds.")
    origin: MatchOrigin = of_row(lambda row: _ORIGIN[row.origin], "What brought it about.")
    rule: str | None = of_row("rule", "The name of the rule that found it.")
    score: int = of_row("score", "How sure it is: 1000 is certain.")
    difference: Amount = of_row(
        "difference",
        "What its lines are more than its entries, in minor units on the account's normal side.",
    )
    days: int = of_row("days", "How many days after its line its entry took effect.")
    reason: str | None = of_row("reason", "Why it was made or confirmed.")
    decided_by: str | None = of_row(
        "api_key_name", "The name of the API key that made or confirmed it; null: its rule."
    )
    decided_at: DateTime | None = of_row(
        "decided_at", "When it was confirmed; null while it waits."
    )

    @classmethod
    def of(cls, row: own.MatchRow) -> "ReconciliationMatch":
        return cls(row=row)

    @strawberry.field(description="The reconciliation.")
    @reads("reconciliation_id")
    def reconciliation(self, info: Info) -> "Reconciliation":
        return find_reconciliation(info.context, self.row.reconciliation_id)

    @strawberry.field(description="Its lines.")
    @reads("match_id")
    def lines(self, info: Info) -> list[StatementLine]:
        return info.context.load.all(own.lines_by_match, self.row.match_id, build=StatementLine.of)

    @strawberry.field(description="Its entries.")
    @reads("match_id")
    def entries(self, info: Info) -> list[Entry]:
        return info.context.load.all(own.entries_by_match, self.row.match_id, build=Entry.of)


@strawberry.type(description="What was done about a discrepancy.")
class DiscrepancyResolution:
    row: strawberry.Private[own.DiscrepancyRow]

    @strawberry.field(description="How it was dealt with.")
    def kind(self) -> ResolutionKind:
        return ResolutionKind(self.row.resolution)

    @strawberry.field(description="Why.")
    def reason(self) -> str | None:
        return self.row.reason

    @strawberry.field(description="The name of the API key that did it.")
    def by(self) -> str:
        return self.row.api_key_name or ""

    @strawberry.field(description="When.")
    def at(self) -> DateTime | None:
        return None if self.row.resolved_at is None else DateTime(self.row.resolved_at)

    @strawberry.field(description="The transaction that resolved it.")
    def transaction(
        self, info: Info
    ) -> Annotated["Transaction", strawberry.lazy("app.api.transactions.types")] | None:
        from app.api.transactions.types import Transaction

        if self.row.transaction_sequence is None:
            return None
        return info.context.load.one(
            rows.transactions_by_sequence,
            self.row.ledger_id,
            self.row.transaction_sequence,
            build=Transaction.of,
        )

    @strawberry.field(description="The match that has it since.")
    def match(self, info: Info) -> ReconciliationMatch | None:
        if self.row.resolved_match_id is None:
            return None
        return info.context.load.one(
            own.matches_by_id, self.row.resolved_match_id, build=ReconciliationMatch.of
        )


@strawberry.type(
    description=(
        "Something that does not agree. It goes when its cause does, and keeps its id as long as it"
        " says the same."
    )
)
class Discrepancy(Node):
    row: strawberry.Private[own.DiscrepancyRow]

    id: strawberry.ID = of_row(lambda row: encode(DISCREPANCY, row.discrepancy_id), OPAQUE)
    kind: DiscrepancyKind = of_row(lambda row: _KIND[row.kind], "What does not agree.")
    status: DiscrepancyStatus = of_row(
        lambda row: _DISCREPANCY_STATUS[row.status], "Where it stands."
    )
    day: Date = of_row("day", "The day of its line, or else of its entry; or the last day.")
    amount: Amount = of_row(
        "amount",
        "What it adds to the ledger's balance on the way to the statement's, in minor units on the"
        " account's normal side.",
    )

    @classmethod
    def of(cls, row: own.DiscrepancyRow) -> "Discrepancy":
        return cls(row=row)

    @strawberry.field(description="The reconciliation.")
    @reads("reconciliation_id")
    def reconciliation(self, info: Info) -> "Reconciliation":
        return find_reconciliation(info.context, self.row.reconciliation_id)

    @strawberry.field(description="The line that it is about.")
    @reads("external_account_id", "line_number")
    def line(self, info: Info) -> StatementLine | None:
        return self._line(info, self.row.line_number)

    @strawberry.field(
        description="The line that its line says again, or that its entry names and has not got."
    )
    @reads("external_account_id", "other_line")
    def other_line(self, info: Info) -> StatementLine | None:
        return self._line(info, self.row.other_line)

    @strawberry.field(description="The entry that it is about.")
    @reads("account_id", "entry_sequence")
    def entry(self, info: Info) -> Entry | None:
        if self.row.entry_sequence is None:
            return None
        return info.context.load.one(
            rows.entries_by_id, self.row.account_id, self.row.entry_sequence, build=Entry.of
        )

    @strawberry.field(description="The match that it is about.")
    @reads("match_id")
    def match(self, info: Info) -> ReconciliationMatch | None:
        if self.row.match_id is None:
            return None
        return info.context.load.one(
            own.matches_by_id, self.row.match_id, build=ReconciliationMatch.of
        )

    @strawberry.field(description="The statement whose balances it is about.")
    @reads("external_statement_id")
    def statement(self, info: Info) -> ExternalStatement | None:
        if self.row.external_statement_id is None:
            return None
        return info.context.load.one(
            rows.external_statements_by_id,
            self.row.external_statement_id,
            build=ExternalStatement.of,
        )

    @strawberry.field(description="What was done about it; null while it is open.")
    def resolution(self) -> DiscrepancyResolution | None:
        return None if self.row.resolution is None else DiscrepancyResolution(row=self.row)

    def _line(self, info: Info, number: int | None) -> Any:
        if number is None:
            return None
        return info.context.load.one(
            rows.statement_lines_by_id,
            self.row.external_account_id,
            number,
            build=StatementLine.of,
        )


@strawberry.type(description="A step of the bridge.")
class BridgeItem:
    row: strawberry.Private[own.ReconciliationRow]
    kind: BridgeItemKind = strawberry.field(description="What it is.")
    count: int = strawberry.field(description="How many discrepancies or matches it is made of.")
    amount: Amount = strawberry.field(description="What they come to.")

    @strawberry.field(description="The discrepancies that it is made of, if it is made of any.")
    def discrepancies(
        self, info: Info, first: First = None, after: After = None
    ) -> Connection[Discrepancy]:
        conditions = (
            Condition("kind", "any", (str(self.kind.value),)),
            Condition("status", "any", ("open", "accepted")),
        )
        return _discrepancies(info, self.row, conditions, first, after)


@strawberry.type(
    description=(
        "The way from the ledger's balance to the statement's at the end of the last day, as of the"
        " latest run or act: ledgerBalance plus all items is statementBalance, exactly."
    )
)
class ReconciliationBridge:
    ledger_balance: Amount = strawberry.field(
        description="What was posted with effect by then, on the account's normal side."
    )
    statement_balance: Amount | None = strawberry.field(
        description=(
            "What the outside says of the same, stated or by its lines; null if it never stated a"
            " balance."
        )
    )
    items: list[BridgeItem] = strawberry.field(description="Every difference there is.")
    difference: Amount | None = strawberry.field(
        description="What the items leave unexplained: 0; null without a statementBalance."
    )
    examined_at: DateTime = strawberry.field(description="When all this was so.")


@strawberry.type(description="One request to look for matches, and what became of it.")
class ReconciliationRun(Node):
    row: strawberry.Private[own.RunRow]

    id: strawberry.ID = of_row(lambda row: encode(RUN, row.run_id), OPAQUE)
    status: ReconciliationRunStatus = of_row(
        lambda row: _RUN_STATUS[row.status], "How far it has come."
    )
    requested_at: DateTime = of_row("requested_at", "When it was asked for.")
    requested_by: str = of_row("api_key_name", "The name of the API key that asked for it.")
    started_at: DateTime | None = of_row("started_at", "When it was last begun.")
    finished_at: DateTime | None = of_row("finished_at", "When it ended.")
    failure: str | None = of_row("failure", "Why it failed, for those who run the server.")
    confirmed: int = of_row("confirmed", "How many matches it found that are certain.")
    proposed: int = of_row("proposed", "How many matches it newly proposes.")
    withdrawn: int = of_row("withdrawn", "How many proposals it no longer makes.")
    appeared: int = of_row("appeared", "How many discrepancies are new.")
    vanished: int = of_row("vanished", "How many discrepancies are gone with their cause.")

    @classmethod
    def of(cls, row: own.RunRow) -> "ReconciliationRun":
        return cls(row=row)

    @strawberry.field(description="The reconciliation.")
    @reads("reconciliation_id")
    def reconciliation(self, info: Info) -> "Reconciliation":
        return find_reconciliation(info.context, self.row.reconciliation_id)


@strawberry.type(description="Something that was done to a reconciliation.")
class ReconciliationEvent:
    row: strawberry.Private[own.ReconciliationEventRow]

    number: int = of_row("number", "1, 2, 3 … in the reconciliation.")
    kind: ReconciliationEventKind = of_row(lambda row: _EVENT_KIND[row.kind], "What.")
    by: str = of_row("api_key_name", "The name of the API key that did it, or asked for it.")
    reason: str | None = of_row("reason", "Why.")
    details: JSON = of_row("details", "What it was about, and what came of it.")
    created_at: DateTime = of_row("recorded_at", "When.")

    @classmethod
    def of(cls, row: own.ReconciliationEventRow) -> "ReconciliationEvent":
        return cls(row=row)


@strawberry.type(
    description=(
        "The lines of an external account beside the posted entries of its account, over some days."
        " Its amounts are the account's, in minor units on its normal side."
    )
)
class Reconciliation(Node):
    row: strawberry.Private[own.ReconciliationRow]

    id: strawberry.ID = of_row(lambda row: encode(RECONCILIATION, row.reconciliation_id), OPAQUE)
    name: str = of_row("name", "For people.")
    status: ReconciliationStatus = of_row(
        lambda row: _STATUS[row.status], "Whether it can be worked on."
    )
    from_: Date = strawberry.field(
        name="from",
        resolver=reads("from_date")(lambda self: self.row.from_date),
        description="The first day.",
    )
    through: Date = of_row("through_date", "The last day.")
    time_zone: str = of_row("time_zone", "Where the day of an entry begins.")
    margin_days: int = of_row(
        "margin_days", "How many days around those partners are sought, across their edges."
    )
    rules: list[ReconciliationRule] = of_row(
        lambda row: [ReconciliationRule(stored=one) for one in row.rules],
        "What it goes by, in order.",
    )
    created_at: DateTime = of_row("created_at", "When it was opened.")
    closed_at: DateTime | None = of_row("closed_at", "When it was closed.")

    @classmethod
    def of(cls, row: own.ReconciliationRow) -> "Reconciliation":
        return cls(row=row)

    @strawberry.field(description="The external account.")
    @reads("external_account_id")
    def external_account(self, info: Info) -> ExternalAccount:
        return find_external_account(info.context, self.row.external_account_id)

    @strawberry.field(description="The account.")
    @reads("account_id")
    def account(self, info: Info) -> Account:
        return find_account(info.context, self.row.account_id)

    @strawberry.field(description="How it stands; null before its first run.")
    @reads("counts")
    def summary(self) -> ReconciliationSummary | None:
        return None if self.row.counts is None else ReconciliationSummary(**self.row.counts)

    @strawberry.field(description="From balance to balance; null before its first run.")
    def bridge(self) -> ReconciliationBridge | None:
        row = self.row
        if row.items is None or row.ledger_balance is None or row.examined_at is None:
            return None
        items = [
            BridgeItem(
                row=row,
                kind=_ITEM_KIND[item["kind"]],
                count=item["count"],
                amount=Amount(int(item["amount"])),
            )
            for item in row.items
        ]
        stated = row.statement_balance
        rest = (
            None if stated is None else stated - row.ledger_balance - sum(i.amount for i in items)
        )
        return ReconciliationBridge(
            ledger_balance=Amount(row.ledger_balance),
            statement_balance=None if stated is None else Amount(stated),
            items=items,
            difference=None if rest is None else Amount(rest),
            examined_at=DateTime(row.examined_at),
        )

    @strawberry.field(description="The statement lines of its days.")
    @reads("reconciliation_id")
    def statement_lines(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        state: Annotated[
            list[LineState] | None,
            strawberry.argument(description="Those in one of these states; all if absent."),
        ] = None,
    ) -> Connection[StatementLine]:
        return connect(
            info.context,
            own.lines_of_reconciliation,
            self.row.reconciliation_id,
            StatementLine.of,
            order="booked_on",
            conditions=any_of("state", state),
            first=first,
            after=after,
            last=last,
            before=before,
        )

    unmatched_entries = listed(
        Connection[Entry],
        own.unmatched_entries_of_reconciliation,
        "reconciliation_id",
        "The entries of its days that no match has.",
        order="sequence",
    )

    @strawberry.field(description="Its matches.")
    @reads("reconciliation_id")
    def matches(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        status: Annotated[
            list[MatchStatus] | None,
            strawberry.argument(description="Those in one of these states; all if absent."),
        ] = None,
    ) -> Connection[ReconciliationMatch]:
        return connect(
            info.context,
            own.matches_of_reconciliation,
            self.row.reconciliation_id,
            ReconciliationMatch.of,
            order="id",
            conditions=any_of("status", status),
            first=first,
            after=after,
        )

    @strawberry.field(description="What does not agree, by day.")
    @reads("reconciliation_id")
    def discrepancies(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        kind: Annotated[
            list[DiscrepancyKind] | None,
            strawberry.argument(description="Those of one of these kinds; all if absent."),
        ] = None,
        status: Annotated[
            list[DiscrepancyStatus] | None,
            strawberry.argument(description="Those in one of these states; all if absent."),
        ] = None,
    ) -> Connection[Discrepancy]:
        conditions = (*any_of("kind", kind), *any_of("status", status))
        return _discrepancies(info, self.row, conditions, first, after)

    runs = listed(
        Connection[ReconciliationRun],
        own.runs_of_reconciliation,
        "reconciliation_id",
        "Its runs, the latest first.",
        order="requested_at",
        descending=True,
    )

    history = listed(
        Connection[ReconciliationEvent],
        own.events_of_reconciliation,
        "reconciliation_id",
        "What was done to it, by whom and why, in order.",
        order="number",
    )


@strawberry.type(description="What of an account no closed reconciliation covers.")
class UnreconciledEntries:
    found: strawberry.Private[own.Unreconciled]
    account_id: strawberry.Private[UUID]
    as_of: strawberry.Private[datetime | None]

    @strawberry.field(description="How many posted entries there are.")
    def count(self) -> int:
        return self.found.entries

    @strawberry.field(description="What they come to, in minor units on the normal side.")
    def amount(self) -> Amount:
        return Amount(self.found.amount)

    @strawberry.field(description="The entries, by effective time.")
    def entries(self, info: Info, first: First = None, after: After = None) -> Connection[Entry]:
        conditions = () if self.as_of is None else (Condition("effective_at", "lte", self.as_of),)
        return connect(
            info.context,
            own.unreconciled_entries_of_account,
            self.account_id,
            Entry.of,
            order="effective_at",
            conditions=conditions,
            first=first,
            after=after,
        )


def find_reconciliation(context: Context, reconciliation_id: Any) -> Any:
    """Load the reconciliation of that id."""
    return context.load.one(own.reconciliations_by_id, reconciliation_id, build=Reconciliation.of)


def _discrepancies(
    info: Info,
    row: own.ReconciliationRow,
    conditions: tuple[Condition, ...],
    first: int | None,
    after: str | None,
) -> Any:
    return connect(
        info.context,
        own.discrepancies_of_reconciliation,
        row.reconciliation_id,
        Discrepancy.of,
        order="day",
        conditions=conditions,
        first=first,
        after=after,
    )
