"""Accounts."""

from collections.abc import Sequence as Items
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from app.api.accounts.availability import Availability
from app.api.accounts.balances import BalancePoint, Balances, Currency, balances_of
from app.api.accounts.velocity_limits import VelocityLimit
from app.api.connections import After, Before, Connection, First, Last, connect, listed
from app.api.engine.context import Context, Info
from app.api.enums import (
    DIRECTIONS,
    AccountStatus,
    CreditLotState,
    Direction,
    Interval,
    OrderDirection,
    by_word,
)
from app.api.errors import Code, CodedError
from app.api.filters import EntryFilter, EntryOrder, any_of
from app.api.ids import ACCOUNT, encode
from app.api.nodes import OPAQUE, Node, of_row, reads
from app.api.scalars import JSON, Amount, DateTime, Sequence
from app.ledger.accounts import balances as domain
from app.ledger.statements.statements import net
from app.ledger.times import zone_named
from app.store import rows
from app.store.accounts.history import PastBalances
from app.store.statements.settlements import UnsettledTotals

if TYPE_CHECKING:
    from app.api.accounts.lots import CreditLot
    from app.api.ledgers.types import Ledger
    from app.api.reconciliation.outside import ExternalAccount
    from app.api.reconciliation.types import UnreconciledEntries
    from app.api.statements.settlements import Settlement, Unsettled
    from app.api.statements.types import Statement
    from app.api.transactions.entries import Entry
    from app.api.transactions.types import Transaction

MAX_POINTS = 400

_STATUS = by_word(AccountStatus)


@strawberry.type(description="Where amounts of one currency are kept; it grows on its normal side.")
class Account(Node):
    row: strawberry.Private[rows.AccountRow]

    id: strawberry.ID = of_row(lambda row: encode(ACCOUNT, row.account_id), OPAQUE)
    name: str = of_row("name", "For people.")
    description: str | None = of_row("description", "For people.")
    external_id: str | None = of_row(
        "external_id", "The client's own id for it, unique among the accounts of the ledger."
    )
    normal_balance: Direction = of_row(
        lambda row: DIRECTIONS[row.normal_balance],
        "The side on which it grows: CREDIT for wallets and income, DEBIT for cash.",
    )
    currency: Currency = of_row(
        lambda row: Currency(code=row.currency, exponent=row.exponent),
        "The unit of all its amounts.",
    )
    status: AccountStatus = of_row(lambda row: _STATUS[row.status], "Whether it takes entries.")
    available_floor: Amount | None = of_row(
        "available_floor",
        "Below this no entry may take available, in minor units; null if it may fall without"
        " limit. Floors look at recorded order, not at effective time: what was available when it"
        " was recorded may show below the floor in `balances(asOf:)` of an earlier moment.",
    )
    balance_ceiling: Amount | None = of_row(
        "balance_ceiling",
        "Above this no entry may take what the account could come to: posted plus what is pending"
        " on the normal side, in minor units; null if it may rise without limit.",
    )
    entry_maximum: Amount | None = of_row(
        "entry_maximum",
        "The largest new entry that it takes, either way, in minor units; null if any. Settling"
        " what was held before is not bound by it.",
    )
    metadata: JSON = of_row("metadata", "The client's own data.")
    version: Sequence = of_row("version", "The sequence of its latest entry, or 0.")
    created_at: DateTime = of_row("created_at", "When it was opened.")

    @classmethod
    def of(cls, row: rows.AccountRow) -> "Account":
        return cls(row=row)

    @strawberry.field(description="The ledger it is in.")
    @reads("ledger_id")
    def ledger(self, info: Info) -> Annotated["Ledger", strawberry.lazy("app.api.ledgers.types")]:
        from app.api.ledgers.types import Ledger

        return info.context.load.one(rows.ledgers_by_id, self.row.ledger_id, build=Ledger.of)

    @strawberry.field(
        description="Its balances now, or as of an effective time, or as known at a recorded time."
    )
    def balances(
        self,
        info: Info,
        as_of: Annotated[
            DateTime | None,
            strawberry.argument(description="From entries effective by then; all if absent."),
        ] = None,
        known_at: Annotated[
            DateTime | None,
            strawberry.argument(description="From entries recorded by then; all if absent."),
        ] = None,
    ) -> Balances:
        row = self.row
        if as_of is None and known_at is None:
            totals = domain.Balances(
                row.posted_debits, row.posted_credits, row.pending_debits, row.pending_credits
            )
            return self._balances(PastBalances(totals, row.version), info.context.now)
        moment = as_of or known_at or info.context.now
        return info.context.load.past_balances(
            row.account_id, as_of, known_at, lambda past: self._balances(past or _NOTHING, moment)
        )

    @strawberry.field(description="Why it has available what it has, hold by hold.")
    def availability(self) -> Availability:
        return Availability.of(self.row)

    @strawberry.field(
        description=(
            "Its entries, in order of sequence unless told otherwise. `first` with `after` reads"
            " from the start of the order, `last` with `before` from its end; either way a page is"
            " in that order."
        )
    )
    @reads("account_id")
    def entries(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[
            EntryFilter | None, strawberry.argument(description="Which entries; all if absent.")
        ] = None,
        order_by: Annotated[
            EntryOrder | None, strawberry.argument(description="In what order.")
        ] = None,
    ) -> Connection[Annotated["Entry", strawberry.lazy("app.api.transactions.entries")]]:
        from app.api.transactions.entries import Entry

        order = order_by or EntryOrder()
        return connect(
            info.context,
            rows.entries_of_account,
            self.row.account_id,
            Entry.of,
            order=order.field.value,
            descending=order.direction is OrderDirection.DESC,
            conditions=filter.conditions() if filter else (),
            first=first,
            after=after,
            last=last,
            before=before,
        )

    external_accounts = listed(
        Connection[Annotated["ExternalAccount", strawberry.lazy("app.api.reconciliation.outside")]],
        rows.external_accounts_of_account,
        "account_id",
        "The external accounts that tell of it, as they were made.",
        order="created_at",
    )

    @strawberry.field(description="Its credit lots, those that expire first at the beginning.")
    @reads("account_id")
    def lots(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        state: Annotated[
            list[CreditLotState] | None,
            strawberry.argument(description="Those in one of these states; all if absent."),
        ] = None,
    ) -> Connection[Annotated["CreditLot", strawberry.lazy("app.api.accounts.lots")]]:
        from app.api.accounts.lots import CreditLot

        return connect(
            info.context,
            rows.lots_of_account,
            self.row.account_id,
            CreditLot.of,
            order="expires_at",
            conditions=any_of("state", state),
            first=first,
            after=after,
        )

    @strawberry.field(
        description=(
            "What no closed reconciliation covers of it. It reads all its entries, so it takes its"
            " time where there are many."
        )
    )
    @reads("account_id")
    def unreconciled(
        self,
        info: Info,
        as_of: Annotated[
            DateTime | None,
            strawberry.argument(description="Of entries effective by then; all if absent."),
        ] = None,
    ) -> Annotated["UnreconciledEntries", strawberry.lazy("app.api.reconciliation.types")]:
        from app.api.reconciliation.types import UnreconciledEntries

        account_id = self.row.account_id
        return info.context.load.unreconciled(
            account_id,
            as_of,
            lambda found: UnreconciledEntries(found=found, account_id=account_id, as_of=as_of),
        )

    statements = listed(
        Connection[Annotated["Statement", strawberry.lazy("app.api.statements.types")]],
        rows.statements_of_account,
        "account_id",
        "Its statements, in order of number.",
        order="number",
        from_end=True,
    )

    settlements = listed(
        Connection[Annotated["Settlement", strawberry.lazy("app.api.statements.settlements")]],
        rows.settlements_of_account,
        "account_id",
        "Its settlements, in order of number.",
        order="number",
        from_end=True,
    )

    @strawberry.field(
        description=(
            "What no settlement has collected yet of its posted entries, leaving out payouts and"
            " their reversals. All entries since its last settlement are added up for it."
        )
    )
    @reads("account_id", "normal_balance")
    def unsettled(
        self, info: Info
    ) -> Annotated["Unsettled", strawberry.lazy("app.api.statements.settlements")]:
        from app.api.statements.settlements import Unsettled

        def build(found: UnsettledTotals | None) -> Unsettled:
            totals = found or UnsettledTotals(0, 0, 0)
            amount = net(self.row.normal_balance, totals.debits, totals.credits)
            return Unsettled(amount=Amount(amount), count=Sequence(totals.entries))

        return info.context.load.unsettled(self.row.account_id, build)

    holds = listed(
        Connection[Annotated["Transaction", strawberry.lazy("app.api.transactions.types")]],
        rows.holds_of_account,
        "account_id",
        "Pending transactions with an entry on it, in commit order.",
        order="sequence",
    )

    @strawberry.field(
        description="Its limits on what goes out in a window of time, with their usage now."
    )
    def velocity_limits(self, info: Info) -> list[VelocityLimit]:
        if not self.row.velocity_limited:
            return []
        now = info.context.now
        return info.context.load.velocities(
            self.row.account_id,
            now,
            lambda limits: [VelocityLimit.of(limit, now) for limit in limits],
        )

    @strawberry.field(
        description=(
            "Its balances at the end of each step of a span of effective time, for charts. A span"
            f" has up to {MAX_POINTS} steps."
        )
    )
    def balance_history(
        self,
        info: Info,
        from_: Annotated[
            DateTime,
            strawberry.argument(name="from", description="In the first step."),
        ],
        to: Annotated[DateTime, strawberry.argument(description="In the last step.")],
        interval: Annotated[Interval, strawberry.argument(description="The length of a step.")],
        time_zone: Annotated[
            str | None,
            strawberry.argument(description='Where days begin, such as "Europe/Paris"; UTC.'),
        ] = None,
    ) -> list[BalancePoint]:
        edges = _edges(from_, to, interval, time_zone or "UTC")
        ends = tuple(edges[1:])

        def points(past: Items[PastBalances]) -> list[BalancePoint]:
            return [
                BalancePoint(
                    starts_at=DateTime(start),
                    ends_at=DateTime(end),
                    balances=self._balances(point, end - timedelta(microseconds=1)),
                )
                for start, end, point in zip(edges, ends, past or repeat(_NOTHING), strict=False)
            ]

        return info.context.load.balance_history(self.row.account_id, ends, points)

    def _balances(self, past: PastBalances, as_of: datetime) -> Balances:
        return balances_of(
            past.balances,
            past.version,
            normal_balance=self.row.normal_balance,
            currency=self.row.currency,
            exponent=self.row.exponent,
            as_of=as_of,
        )


def find_account(context: Context, account_id: UUID) -> Any:
    """Load the account of that id."""
    return context.load.one(rows.accounts_by_id, account_id, build=Account.of)


_NOTHING = PastBalances(domain.Balances(), 0)


def _edges(start: datetime, end: datetime, interval: Interval, time_zone: str) -> list[datetime]:
    """The edges of the local steps that cover the span: one more than there are steps."""
    if end < start:
        raise CodedError(Code.BAD_USER_INPUT, "balanceHistory: `to` comes before `from`.")
    try:
        zone = zone_named(time_zone)
    except ValueError:
        raise CodedError(
            Code.BAD_USER_INPUT, "balanceHistory: there is no such time zone."
        ) from None
    local = _beginning(start.astimezone(zone), interval)
    edges = [local.astimezone(UTC)]
    while edges[-1] <= end:
        if len(edges) > MAX_POINTS:
            raise CodedError(
                Code.BAD_USER_INPUT,
                f"balanceHistory: more than {MAX_POINTS} steps.",
                max=MAX_POINTS,
            )
        local = _following(local, interval)
        edge = local.astimezone(UTC)
        # Where clocks go forward a local hour is missing, and its edge is the next one's.
        if edge > edges[-1]:
            edges.append(edge)
    return edges


def _beginning(local: datetime, interval: Interval) -> datetime:
    if interval is Interval.HOUR:
        return local.replace(minute=0, second=0, microsecond=0)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if interval is Interval.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval is Interval.MONTH else day


def _following(local: datetime, interval: Interval) -> datetime:
    """The next edge in local time, where an hour that clocks repeat comes twice (`fold`)."""
    if interval is Interval.HOUR:
        again = local.replace(fold=1)
        if again.utcoffset() < local.utcoffset():  # type: ignore[operator]
            return again
        return (local + timedelta(hours=1)).replace(fold=0)
    if interval is Interval.DAY:
        return local + timedelta(days=1)
    if interval is Interval.WEEK:
        return local + timedelta(days=7)
    return (local + timedelta(days=32)).replace(day=1)
