"""Payouts with holds: what a seller has earned, what is reserved, disputed, and ready."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.scenarios.partner import (
    POST,
    REFUSAL,
    SETTLE,
    VOID,
    Json,
    Partner,
    lines,
    refusal,
)

UPDATE_ACCOUNT = f"""
mutation ($input: UpdateAccountInput!) {{
  updateAccount(input: $input) {{
    {REFUSAL} ... on UpdateAccountSuccess {{ account {{ availableFloor }} }}
  }}
}}
"""

FREEZE = f"""
mutation ($input: FreezeAccountInput!) {{
  freezeAccount(input: $input) {{
    {REFUSAL} ... on FreezeAccountSuccess {{ account {{ status }} }}
  }}
}}
"""

UNFREEZE = f"""
mutation ($input: UnfreezeAccountInput!) {{
  unfreezeAccount(input: $input) {{
    {REFUSAL} ... on UnfreezeAccountSuccess {{ account {{ status }} }}
  }}
}}
"""

LIMIT = f"""
mutation ($input: SetVelocityLimitInput!) {{
  setVelocityLimit(input: $input) {{
    {REFUSAL}
    ... on SetVelocityLimitSuccess {{ account {{ velocityLimits {{ usedAmount usedCount }} }} }}
  }}
}}
"""


def soon(seconds: float) -> str:
    """A moment that many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def hold(partner: Partner, key: str, debit: str, credit: str, amount: int, **more: Any) -> Json:
    """Hold an amount, under a key that is its external id too."""
    return partner.post(
        key, partner.move(debit, credit, amount), status="PENDING", externalId=key, **more
    )


def kinds(transaction: Json) -> list[str]:
    return [event["kind"] for event in transaction["history"]]


def ended(partner: Partner, external_id: str) -> Json:
    """Wait until a hold has ended by itself."""

    def done() -> Json | None:
        shown = partner.transaction(external_id)
        return None if shown["status"] == "PENDING" else shown

    transaction: Json = partner.until(done)
    return transaction


def open_books(partner: Partner) -> None:
    """Sales come into clearing and clear to Ada; she is paid out through a transit account."""
    partner.open_ledger("Payouts")
    partner.open_accounts(
        {"externalId": "bank", "normalBalance": "DEBIT"},
        {"externalId": "clearing", "normalBalance": "CREDIT"},
        {"externalId": "reserve", "normalBalance": "CREDIT"},
        {"externalId": "disputes", "normalBalance": "CREDIT"},
        {"externalId": "ada", "normalBalance": "CREDIT", "availableFloor": "0"},
    )


def earn(partner: Partner, key: str, amount: int, **more: Any) -> None:
    """A sale is in the bank at once; Ada's share of it clears later."""
    sale = partner.post(f"{key}/sale", partner.move("bank", "clearing", amount))
    assert sale["transaction"]["status"] == "POSTED"
    earned = hold(partner, key, "clearing", "ada", amount, **more)
    assert earned["transaction"]["status"] == "PENDING"


def test_from_sale_to_payout(partner: Partner) -> None:
    """Earned, cleared by itself, reserved, disputed, ready, paid out; and a payout that failed."""
    open_books(partner)

    # Earned: on its way in, so not yet hers to spend.
    posts_at = soon(3)
    earn(partner, "sale-1", 10000, postsAt=posts_at)
    assert partner.balances("ada") == (0, 10000, 0)
    early = hold(partner, "payout-1", "ada", "bank", 1, reason="PAYOUT")
    assert (refusal(early), early["available"], early["required"]) == (
        ("INSUFFICIENT_FUNDS", "input.entries.0.amount"),
        "0",
        "1",
    )
    # What brings money in is no reason why it cannot be spent.
    assert partner.availability("ada") == {
        "posted": "0",
        "pendingOutgoing": "0",
        "floor": "0",
        "available": "0",
        "holds": [],
    }

    # A sale that is cancelled before it clears was never hers.
    earn(partner, "sale-2", 3000, postsAt="2100-01-01T00:00:00Z")
    assert partner.balances("ada") == (0, 13000, 0)
    cancelled = partner.mutate(
        VOID,
        transactionId=partner.transaction("sale-2")["id"],
        idempotencyKey="sale-2/cancelled",
        description="Customer changed their mind",
    )
    assert cancelled["transaction"]["status"] == "VOIDED"

    # At its time it clears by itself, effective then.
    cleared = ended(partner, "sale-1")
    assert (cleared["status"], kinds(cleared)) == ("POSTED", ["HELD", "MATURED"])
    assert partner.balances("ada") == (10000, 0, 10000)
    before = (datetime.fromisoformat(posts_at) - timedelta(microseconds=1)).isoformat()
    assert partner.balances("ada", asOf=before)[0] == 0
    assert partner.balances("ada", asOf=posts_at)[0] == 10000

    # Ten percent are kept as a security, and a customer disputes a sale.
    hold(
        *(partner, "reserve-1", "ada", "reserve", 1000),
        reason="RESERVE",
        expiresAt="2100-01-01T00:00:00Z",
    )
    hold(partner, "dispute-1", "ada", "disputes", 2500, reason="CHARGEBACK")
    assert partner.balances("ada") == (10000, -3500, 6500)

    # Ready is what is left. Why not more? Every term has the transaction behind it.
    too_much = hold(partner, "payout-1", "ada", "bank", 6501, reason="PAYOUT")
    assert (too_much["code"], too_much["available"]) == ("INSUFFICIENT_FUNDS", "6500")
    payout = hold(partner, "payout-1", "ada", "bank", 4000, reason="PAYOUT")
    assert payout["transaction"]["status"] == "PENDING"
    assert partner.availability("ada") == {
        "posted": "10000",
        "pendingOutgoing": "7500",
        "floor": "0",
        "available": "2500",
        "holds": [
            {
                "reason": "RESERVE",
                "amount": "1000",
                "postsAt": None,
                "expiresAt": "2100-01-01T00:00:00.000000Z",
                "transaction": {"externalId": "reserve-1"},
            },
            {
                "reason": "CHARGEBACK",
                "amount": "2500",
                "postsAt": None,
                "expiresAt": None,
                "transaction": {"externalId": "dispute-1"},
            },
            {
                "reason": "PAYOUT",
                "amount": "4000",
                "postsAt": None,
                "expiresAt": None,
                "transaction": {"externalId": "payout-1"},
            },
        ],
    }
    assert partner.balances("bank") == (13000, -4000, 9000)

    # The bank has paid; we hear of it, die, and hear of it again.
    paid = {"transactionId": payout["transaction"]["id"], "idempotencyKey": "payout-1/paid"}
    partner.lose(SETTLE, **paid)
    again = partner.mutate(SETTLE, **paid)
    assert (again["replayed"], again["transaction"]["status"]) == (True, "POSTED")
    assert partner.balances("ada") == (6000, -3500, 2500)
    assert partner.balances("bank") == (9000, 0, 9000)
    undone = partner.mutate(
        VOID, transactionId=payout["transaction"]["id"], idempotencyKey="payout-1/failed"
    )
    assert (undone["code"], undone["transactionStatus"]) == ("TRANSACTION_NOT_PENDING", "POSTED")

    # The next payout fails at the bank: the money is hers again.
    failing = hold(partner, "payout-2", "ada", "bank", 2500, reason="PAYOUT")
    assert partner.balances("ada") == (6000, -6000, 0)
    failed = partner.mutate(
        VOID,
        transactionId=failing["transaction"]["id"],
        idempotencyKey="payout-2/failed",
        description="Account closed at the bank",
    )
    assert (failed["transaction"]["status"], kinds(failed["transaction"])) == (
        "VOIDED",
        ["HELD", "VOIDED"],
    )
    assert partner.balances("ada") == (6000, -3500, 2500)

    # The dispute is lost for 1500 of 2500; the rest is released.
    dispute = partner.transaction("dispute-1")["id"]
    beyond = partner.mutate(
        SETTLE,
        transactionId=dispute,
        idempotencyKey="dispute-1/lost",
        entries=partner.move("ada", "disputes", 2501),
    )
    assert (beyond["code"], beyond["remaining"]) == ("SETTLEMENT_EXCEEDS_HOLD", "2500")
    lost = partner.mutate(
        SETTLE,
        transactionId=dispute,
        idempotencyKey="dispute-1/lost",
        entries=partner.move("ada", "disputes", 1500),
    )
    assert lost["transaction"]["status"] == "POSTED"
    assert partner.balances("ada") == (4500, -1000, 3500)
    assert partner.balances("disputes") == (1500, 0, 1500)
    assert partner.balances("clearing") == (3000, 0, 3000)


def test_payouts_at_once(partner: Partner) -> None:
    """However many ask at once, no more is paid out than there is; one ending wins each hold."""
    open_books(partner)
    sale = partner.post("sale-1", partner.move("bank", "ada", 6500))
    assert sale["transaction"]["status"] == "POSTED"
    with ThreadPoolExecutor(6) as clients:

        def ask(number: int) -> Json:
            return hold(partner, f"payout-{number}", "ada", "bank", 2000, reason="PAYOUT")

        answers = list(clients.map(ask, range(6)))
        held = [answer["transaction"]["id"] for answer in answers if "transaction" in answer]
        assert len(held) == 3
        assert [answer["code"] for answer in answers if "code" in answer] == (
            ["INSUFFICIENT_FUNDS"] * 3
        )
        assert partner.balances("ada") == (6500, -6000, 500)

        # Two webhooks of the bank come at once: paid, and failed. The first one stands.
        def end(call: tuple[str, str, str]) -> Json:
            document, transaction, key = call
            return partner.mutate(document, transactionId=transaction, idempotencyKey=key)

        calls = [
            (document, transaction, f"{transaction}/{name}")
            for transaction in held
            for document, name in ((SETTLE, "paid"), (VOID, "failed"))
        ]
        ends = list(clients.map(end, calls))
    for paid, failed in zip(ends[::2], ends[1::2], strict=True):
        assert sorted(end.get("code", "done") for end in (paid, failed)) == [
            "TRANSACTION_NOT_PENDING",
            "done",
        ]
    left = 6500 - 2000 * sum("code" not in paid for paid in ends[::2])
    assert partner.balances("ada") == (left, 0, left)


def test_what_comes_in_between(partner: Partner) -> None:
    """A frozen account, an expired reserve, a chargeback after the payout, and a daily limit."""
    open_books(partner)
    ada = partner.ids["ada"]

    # Her earnings were to clear while she was frozen: they wait, and say why.
    earn(partner, "sale-1", 5000, postsAt=soon(3))
    assert partner.mutate(FREEZE, accountId=ada)["account"] == {"status": "FROZEN"}
    waiting = partner.until(
        lambda: partner.transaction("sale-1")["lastRefusal"] and partner.transaction("sale-1")
    )
    assert (
        waiting["status"],
        waiting["lastRefusal"]["code"],
        waiting["lastRefusal"]["attempts"],
    ) == (
        "PENDING",
        "ACCOUNT_NOT_OPEN",
        1,
    )
    assert partner.balances("ada") == (0, 5000, 0)
    # Unfrozen, it is tried again within the minute; who cannot wait settles it.
    assert partner.mutate(UNFREEZE, accountId=ada)["account"] == {"status": "OPEN"}
    by_hand = partner.mutate(
        SETTLE, transactionId=waiting["id"], idempotencyKey="sale-1/cleared by hand"
    )
    assert kinds(by_hand["transaction"]) == ["HELD", "SETTLED"]
    assert partner.balances("ada") == (5000, 0, 5000)

    # A part of the reserve is used; what is left is released at its time, and not used after it.
    expires_at = soon(3)
    reserve = hold(
        partner, "reserve-1", "ada", "reserve", 500, reason="RESERVE", expiresAt=expires_at
    )["transaction"]["id"]
    part = partner.move("ada", "reserve", 200)
    used = {"transactionId": reserve, "entries": part, "final": False}
    assert partner.mutate(SETTLE, **used, idempotencyKey="reserve-1/used")["transaction"][
        "status"
    ] == ("PENDING")
    assert partner.balances("ada") == (4800, -300, 4500)
    released = ended(partner, "reserve-1")
    assert (released["status"], kinds(released)) == ("POSTED", ["HELD", "SETTLED", "EXPIRED"])
    assert partner.balances("ada") == (4800, 0, 4800)
    late = partner.mutate(SETTLE, **used, idempotencyKey="reserve-1/late")
    assert late["code"] == "HOLD_EXPIRED"
    assert datetime.fromisoformat(late["expiresAt"]) == datetime.fromisoformat(expires_at)
    # The part that was used before is replayed, as ever.
    assert partner.mutate(SETTLE, **used, idempotencyKey="reserve-1/used")["replayed"] is True

    # 4,000 a day may leave, by Ada's calendar. What has left today already counts.
    limited = partner.mutate(
        LIMIT,
        accountId=ada,
        name="a day",
        maximumAmount="4000",
        period="DAY",
        timeZone="America/New_York",
    )
    assert limited["account"]["velocityLimits"] == [{"usedAmount": "200", "usedCount": "1"}]
    beyond = hold(partner, "payout-1", "ada", "bank", 3801, reason="PAYOUT")
    assert (refusal(beyond), beyond["retryable"], beyond["usedAmount"]) == (
        ("VELOCITY_EXCEEDED", "input.entries.0.amount"),
        True,
        "200",
    )
    assert datetime.fromisoformat(beyond["retryAt"]) > datetime.now(UTC)
    paid = hold(partner, "payout-1", "ada", "bank", 3800, reason="PAYOUT")["transaction"]["id"]
    partner.mutate(SETTLE, transactionId=paid, idempotencyKey="payout-1/paid")
    assert partner.balances("ada") == (1000, 0, 1000)

    # A chargeback comes when most is paid out. Only the platform may let her owe the rest.
    lifted = partner.mutate(
        LIMIT, accountId=ada, name="a day", maximumCount="100", windowSeconds=60
    )
    assert lifted["account"]["velocityLimits"] == [{"usedAmount": "4000", "usedCount": "2"}]
    dispute: Json = {"reason": "CHARGEBACK"}
    short = hold(partner, "dispute-1", "ada", "disputes", 2500, **dispute)
    assert (short["code"], short["available"], short["required"]) == (
        "INSUFFICIENT_FUNDS",
        "1000",
        "2500",
    )
    floor = partner.mutate(UPDATE_ACCOUNT, accountId=ada, availableFloor="-2000")
    assert floor["account"] == {"availableFloor": "-2000"}
    held = hold(partner, "dispute-1", "ada", "disputes", 2500, **dispute)
    assert lines(held) == [("DEBIT", "ada", 2500), ("CREDIT", "disputes", 2500)]
    assert partner.balances("ada") == (1000, -2500, -1500)
    # Back to zero it goes only once she is out of it.
    assert refusal(partner.mutate(UPDATE_ACCOUNT, accountId=ada, availableFloor="0")) == (
        "INSUFFICIENT_FUNDS",
        "input.availableFloor",
    )
    earn(partner, "sale-2", 2000, postsAt="2025-01-01T00:00:00Z")
    assert kinds(ended(partner, "sale-2")) == ["HELD", "MATURED"]
    assert partner.balances("ada") == (3000, -2500, 500)
    restored = partner.mutate(UPDATE_ACCOUNT, accountId=ada, availableFloor="0")
    assert restored["account"] == {"availableFloor": "0"}

    # Terms are content: the same key with another time is another hold, and refused.
    again = partner.mutate(
        POST,
        ledgerId=partner.ledger,
        idempotencyKey="dispute-1",
        externalId="dispute-1",
        entries=partner.move("ada", "disputes", 2500),
        status="PENDING",
        reason="CHARGEBACK",
        expiresAt="2100-01-01T00:00:00Z",
    )
    assert (again["code"], again["transaction"]) == (
        "IDEMPOTENCY_CONFLICT",
        {"externalId": "dispute-1"},
    )
