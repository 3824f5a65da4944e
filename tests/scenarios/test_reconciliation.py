"""The bank's statement against the ledger: every discrepancy is surfaced, then explained or mended.

The partner compares by the references that it put on its transactions, with filters, pages and
balances at a moment; what it finds is mended by the rules: nothing posted is ever changed.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.scenarios.partner import (
    CLOSE_PERIOD,
    REVERSE,
    UPDATE_TRANSACTION,
    VOID,
    Partner,
    refusal,
)

BANK_ENTRIES = """
query ($ledger: ID!, $from: DateTime!, $until: DateTime!, $after: String) {
  accountByExternalId(ledgerId: $ledger, externalId: "bank") {
    entries(
      first: 3, after: $after, orderBy: {field: EFFECTIVE_AT}
      filter: {status: [POSTED], effectiveAt: {gte: $from, lt: $until}}
    ) {
      nodes {
        direction amount effectiveAt
        transaction { id externalId metadata reverses { id } reversedBy { id } }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

PENDING = """
query ($ledger: ID!) {
  accountByExternalId(ledgerId: $ledger, externalId: "bank") {
    holds(first: 100) { nodes { id externalId metadata } }
  }
}
"""

NEWEST = """
query ($ledger: ID!) {
  ledger(id: $ledger) {
    transactions(first: 1, orderBy: {field: SEQUENCE, direction: DESC}) { nodes { createdAt } }
  }
}
"""

MARKED = """
query ($ledger: ID!, $metadata: JSON!) {
  ledger(id: $ledger) {
    transactions(first: 100, filter: {metadata: $metadata}) { nodes { externalId } }
  }
}
"""

BERLIN = ZoneInfo("Europe/Berlin")
MARCH = datetime(2025, 3, 1, tzinfo=BERLIN)
APRIL = datetime(2025, 4, 1, tzinfo=BERLIN)
LAST_OF_MARCH = "2025-03-31T23:59:59.999999+02:00"


class Line(NamedTuple):
    """A line of the statement: the bank's reference, minor units into the account, and the day."""

    reference: str
    amount: int
    day: str


STATEMENT = [
    Line("B-001", 50000, "2025-03-03"),
    Line("B-002", -12000, "2025-03-05"),
    Line("B-003", 7050, "2025-03-10"),
    Line("B-004", 2500, "2025-03-12"),
    Line("B-005", -300, "2025-03-15"),
    Line("B-006", -8000, "2025-03-30"),
    Line("B-007", 999, "2025-03-31"),
    Line("B-008", 4000, "2025-03-31"),
]
CLOSING = sum(line.amount for line in STATEMENT)


class Booked(NamedTuple):
    """The same, as the ledger has it."""

    transaction: str
    amount: int
    day: str


def booked(partner: Partner) -> dict[str, list[Booked]]:
    """What the ledger has in March, read page by page, by the bank's reference; "" for none."""
    found: dict[str, list[Booked]] = defaultdict(list)
    after = None
    while True:
        page = partner.query(
            BANK_ENTRIES,
            ledger=partner.ledger,
            after=after,
            **{"from": MARCH.isoformat(), "until": APRIL.isoformat()},
        )["accountByExternalId"]["entries"]
        for entry in page["nodes"]:
            transaction = entry["transaction"]
            if transaction["reverses"] or transaction["reversedBy"]:
                continue
            sign = 1 if entry["direction"] == "DEBIT" else -1
            local = datetime.fromisoformat(entry["effectiveAt"]).astimezone(BERLIN)
            found[transaction["metadata"].get("bank", "")].append(
                Booked(transaction["externalId"], sign * int(entry["amount"]), f"{local:%Y-%m-%d}")
            )
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def discrepancies(partner: Partner) -> list[tuple[str, str, Any]]:
    """Every difference between the statement and the ledger: its kind, where, and what."""
    found: list[tuple[str, str, Any]] = []
    ours = booked(partner)
    held = {
        hold["metadata"].get("bank"): hold["externalId"]
        for hold in partner.query(PENDING, ledger=partner.ledger)["accountByExternalId"]["holds"][
            "nodes"
        ]
    }
    for line in STATEMENT:
        if line.reference not in ours:
            pending = held.get(line.reference)
            kind, what = ("pending here", pending) if pending else ("missing here", line.amount)
            found.append((kind, line.reference, what))
            continue
        first, *more = ours.pop(line.reference)
        found += [("booked twice", line.reference, twin.transaction) for twin in more]
        if first.amount != line.amount:
            found.append(("amount", line.reference, (first.amount, line.amount)))
        if first.day != line.day:
            found.append(("day", line.reference, (first.day, line.day)))
    found += [
        ("missing at the bank", reference, one.transaction)
        for reference, many in ours.items()
        for one in many
    ]
    balance, _, _ = partner.balances("bank", asOf=LAST_OF_MARCH)
    if balance != CLOSING:
        found.append(("balance", "closing", (balance, CLOSING)))
    return found


def test_reconciliation(partner: Partner) -> None:
    """Seven planted differences are found, each is mended its own way, and March is closed."""
    partner.open_ledger("Buchhaltung")
    partner.open_accounts(
        {"externalId": "bank", "normalBalance": "DEBIT"},
        {"externalId": "customers", "normalBalance": "CREDIT"},
        {"externalId": "bank fees", "normalBalance": "DEBIT"},
    )

    def book(key: str, amount: int, at: str, bank: str | None, **more: Any) -> None:
        """Money into the bank account, or out of it, with the bank's reference if it is known."""
        sides = ("bank", "customers") if amount > 0 else ("customers", "bank")
        answer = partner.post(
            key,
            partner.move(*sides, abs(amount)),
            externalId=key,
            effectiveAt=at,
            metadata={"statement": "open", **({"bank": bank} if bank else {})},
            **more,
        )
        assert answer["__typename"] == "PostTransactionSuccess", answer

    book("deposit-1", 50000, "2025-03-03T10:00:00+01:00", "B-001")
    book("payout-1", -12000, "2025-03-05T10:00:00+01:00", "B-002")
    book("deposit-2", 7500, "2025-03-10T10:00:00+01:00", "B-003")  # two digits changed places
    book("deposit-3", 2500, "2025-03-12T10:00:00+01:00", "B-004")
    book("deposit-3b", 2500, "2025-03-12T10:00:01+01:00", "B-004")  # by two clerks
    # B-005, a fee of the bank's, is not known here.
    book("payout-2", -8000, "2025-03-30T12:00:00+02:00", "B-006", status="PENDING")
    book("deposit-4", 999, "2025-03-31T22:30:00Z", "B-007")  # April in Berlin
    book("deposit-5", 4000, "2025-03-31T21:30:00Z", "B-008")
    book("deposit-6", 1234, "2025-03-20T10:00:00+01:00", None)  # a cheque that bounced

    # The same external id under another key is the one twin that the ledger itself refuses.
    twin = partner.post(
        "deposit-3c", partner.move("bank", "customers", 2500), externalId="deposit-3"
    )
    assert refusal(twin) == ("EXTERNAL_ID_TAKEN", "input.externalId")

    assert discrepancies(partner) == [
        ("amount", "B-003", (7500, 7050)),
        ("booked twice", "B-004", "deposit-3b"),
        ("missing here", "B-005", -300),
        ("pending here", "B-006", "payout-2"),
        ("missing here", "B-007", 999),
        ("missing at the bank", "", "deposit-6"),
        ("balance", "closing", (55734, 44249)),
    ]
    newest = partner.query(NEWEST, ledger=partner.ledger)["ledger"]["transactions"]["nodes"]
    known_at = newest[0]["createdAt"]

    # What was booked wrongly is reversed at its own time, and booked as it should be.
    def reverse(external_id: str, at: str) -> None:
        answer = partner.mutate(
            REVERSE,
            transactionId=partner.transaction(external_id)["id"],
            idempotencyKey=f"{external_id}/reversed",
            effectiveAt=at,
            description="Reconciliation of March",
        )
        assert answer["transaction"]["reverses"] == {"externalId": external_id}

    reverse("deposit-2", "2025-03-10T10:00:00+01:00")
    book("deposit-2/2", 7050, "2025-03-10T10:00:00+01:00", "B-003")
    reverse("deposit-3b", "2025-03-12T10:00:01+01:00")
    reverse("deposit-4", "2025-03-31T22:30:00Z")
    book("deposit-4/2", 999, "2025-03-31T12:00:00+02:00", "B-007")
    reverse("deposit-6", "2025-03-20T10:00:00+01:00")
    fee = partner.post(
        "fee-1",
        partner.move("bank fees", "bank", 300),
        externalId="fee-1",
        effectiveAt="2025-03-15T12:00:00+01:00",
        metadata={"statement": "open", "bank": "B-005"},
    )
    assert fee["transaction"]["effectiveAt"] == "2025-03-15T11:00:00.000000Z"
    assert discrepancies(partner) == [
        ("pending here", "B-006", "payout-2"),
        ("balance", "closing", (52249, 44249)),
    ]
    # A hold settles when it is settled. Paid in March but told in another month, it is let go and
    # booked at the bank's day.
    released = partner.mutate(
        VOID,
        transactionId=partner.transaction("payout-2")["id"],
        idempotencyKey="payout-2/released",
    )
    assert released["transaction"]["status"] == "VOIDED"
    book("payout-2/2", -8000, "2025-03-30T12:00:00+02:00", "B-006")
    assert discrepancies(partner) == []

    # Before and after: March's end as it was known then, and as it is known now.
    assert partner.balances("bank", asOf=LAST_OF_MARCH, knownAt=known_at)[0] == 55734
    assert partner.balances("bank", asOf=LAST_OF_MARCH)[0] == CLOSING == 44249

    # What is matched is marked; the mark is not money, so it may still change.
    # New metadata replace what was there, so the reference is given again.
    for reference, (one,) in booked(partner).items():
        matched = {"statement": "2025-03", "bank": reference}
        answer = partner.mutate(
            UPDATE_TRANSACTION,
            transactionId=partner.transaction(one.transaction)["id"],
            idempotencyKey=f"{one.transaction}/matched",
            metadata=matched,
        )
        assert answer["transaction"]["metadata"] == matched

    def marked_as(statement: str) -> list[str]:
        found = partner.query(MARKED, ledger=partner.ledger, metadata={"statement": statement})
        return [node["externalId"] for node in found["ledger"]["transactions"]["nodes"]]

    assert marked_as("2025-03") == [
        *("deposit-1", "payout-1", "deposit-3", "deposit-5"),
        *("deposit-2/2", "deposit-4/2", "fee-1", "payout-2/2"),
    ]
    assert marked_as("open") == ["deposit-2", "deposit-3b", "payout-2", "deposit-4", "deposit-6"]

    # March is closed. A late entry into it is refused, also if it reverses.
    closed = partner.mutate(CLOSE_PERIOD, ledgerId=partner.ledger, through=LAST_OF_MARCH)
    assert closed["ledger"] == {"closedThrough": "2025-03-31T21:59:59.999999Z"}
    late = partner.post(
        "late", partner.move("bank", "customers", 1), effectiveAt="2025-03-31T23:59:59+02:00"
    )
    assert refusal(late) == ("PERIOD_CLOSED", "input.effectiveAt")
    answer = partner.mutate(
        REVERSE,
        transactionId=partner.transaction("deposit-1")["id"],
        idempotencyKey="deposit-1/reversed",
        effectiveAt="2025-03-31T23:59:59+02:00",
    )
    assert refusal(answer) == ("PERIOD_CLOSED", "input.effectiveAt")
    (march,) = partner.trial_balance(asOf=LAST_OF_MARCH)
    assert march["debits"] == march["credits"]
    assert discrepancies(partner) == []
