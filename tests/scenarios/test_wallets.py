"""Wallets and gift cards: topped up, spent, refunded, and a statement at the month's end."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.scenarios.partner import (
    CLOSE_PERIOD,
    POST,
    REFUSAL,
    REVERSE,
    SETTLE,
    Json,
    Partner,
    lines,
    refusal,
)

TRANSFER = f"""
mutation ($input: TransferInput!) {{
  transfer(input: $input) {{
    {REFUSAL}
    ... on TransferSuccess {{ replayed transaction {{ status }} }}
    ... on CeilingExceeded {{ ceiling before after account {{ name }} }}
    ... on EntryTooLarge {{ requested maximum }}
    ... on InsufficientFunds {{ available required }}
  }}
}}
"""

CLOSE_ACCOUNT = f"""
mutation ($input: CloseAccountInput!) {{
  closeAccount(input: $input) {{ {REFUSAL} ... on CloseAccountSuccess {{ account {{ status }} }} }}
}}
"""

STATEMENT = """
query (
  $ledger: ID!, $account: String!, $from: DateTime!, $until: DateTime!, $before: DateTime!
  $last: DateTime!, $after: String
) {
  accountByExternalId(ledgerId: $ledger, externalId: $account) {
    opening: balances(asOf: $before) { posted { amount decimal } }
    closing: balances(asOf: $last) { posted { amount decimal } }
    entries(
      first: 2, after: $after, orderBy: {field: EFFECTIVE_AT}
      filter: {status: [POSTED], effectiveAt: {gte: $from, lt: $until}}
    ) {
      nodes { effectiveAt direction amount transaction { description } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

HISTORY = """
query ($ledger: ID!, $account: String!) {
  accountByExternalId(ledgerId: $ledger, externalId: $account) {
    balanceHistory(
      from: "2025-04-15T00:00:00+02:00", to: "2025-06-15T00:00:00+02:00"
      interval: MONTH, timeZone: "Europe/Paris"
    ) { startsAt balances { posted { amount } } }
  }
}
"""


def statement(partner: Partner, account: str) -> tuple[str, list[tuple[str, str]], str]:
    """May in Paris: what there was, what came and went, and what there is, in euros."""
    month = {
        "from": "2025-05-01T00:00:00+02:00",
        "until": "2025-06-01T00:00:00+02:00",
        "before": "2025-04-30T23:59:59.999999+02:00",
        "last": "2025-05-31T23:59:59.999999+02:00",
    }
    moves: list[tuple[str, str]] = []
    total, after = 0, None
    while True:
        shown = partner.query(
            STATEMENT, ledger=partner.ledger, account=account, after=after, **month
        )["accountByExternalId"]
        for entry in shown["entries"]["nodes"]:
            sign = 1 if entry["direction"] == "CREDIT" else -1
            total += sign * int(entry["amount"])
            moves.append((entry["transaction"]["description"], f"{sign * int(entry['amount']):+}"))
        if not shown["entries"]["pageInfo"]["hasNextPage"]:
            break
        after = shown["entries"]["pageInfo"]["endCursor"]
    opening, closing = (shown[name]["posted"] for name in ("opening", "closing"))
    assert int(opening["amount"]) + total == int(closing["amount"])
    return opening["decimal"], moves, closing["decimal"]


def test_wallets(partner: Partner) -> None:
    """Top-up, spending, a gift card, refunds, loyalty points, limits, and May's statement."""
    partner.open_ledger("Portefeuilles")
    euros = {"currency": "EUR", "normalBalance": "CREDIT"}
    partner.open_accounts(
        {"externalId": "bank", **euros, "normalBalance": "DEBIT"},
        {"externalId": "shop", **euros},
        {"externalId": "zoë", **euros, "availableFloor": "0", "balanceCeiling": "15000"},
        {"externalId": "tom", **euros, "availableFloor": "0", "entryMaximum": "5000"},
        {"externalId": "card 42", **euros, "availableFloor": "0", "balanceCeiling": "2500"},
        {
            "externalId": "points issued",
            "currency": "POINTS",
            "exponent": 0,
            "normalBalance": "DEBIT",
        },
        {
            "externalId": "zoë's points",
            "currency": "POINTS",
            "exponent": 0,
            "normalBalance": "CREDIT",
            "availableFloor": "0",
        },
    )

    def book(key: str, debit: str, credit: str, amount: int, at: str, **more: Any) -> Json:
        return partner.post(
            key,
            partner.move(debit, credit, amount),
            effectiveAt=at,
            **{"externalId": key, "description": key, **more},
        )

    # Top-ups, up to what the wallet may hold.
    assert lines(book("top-up 1", "bank", "zoë", 10000, "2025-04-28T09:00:00+02:00")) == [
        ("DEBIT", "bank", 10000),
        ("CREDIT", "zoë", 10000),
    ]
    full = book("top-up 2", "bank", "zoë", 5001, "2025-05-02T09:00:00+02:00")
    assert (full["code"], full["ceiling"], full["before"], full["after"]) == (
        "BALANCE_CEILING_EXCEEDED",
        "15000",
        "10000",
        "15001",
    )
    # The key is free for what is asked instead.
    book("top-up 2", "bank", "zoë", 5000, "2025-05-02T09:00:00+02:00")
    assert partner.balances("zoë") == (15000, 0, 15000)

    # Spending, with points for it in the same transaction; the answer was lost on the way.
    purchase = {
        "ledgerId": partner.ledger,
        "idempotencyKey": "purchase 1",
        "externalId": "purchase 1",
        "description": "purchase 1",
        "effectiveAt": "2025-05-03T12:00:00+02:00",
        "entries": [
            *partner.move("zoë", "shop", 4200),
            *partner.move("points issued", "zoë's points", 42),
        ],
    }
    partner.lose(POST, **purchase)
    assert partner.mutate(POST, **purchase)["replayed"] is True
    assert partner.balances("zoë") == (10800, 0, 10800)
    assert partner.balances("zoë's points") == (42, 0, 42)

    # At the till and on the phone at once: the last euros are spent once.
    with ThreadPoolExecutor(4) as clients:

        def spend(number: int) -> str:
            at = "2025-05-04T12:00:00+02:00"
            answer = book(f"till {number}", "zoë", "shop", 6000, at, description="the last euros")
            return str(answer.get("code", "spent"))

        assert sorted(clients.map(spend, range(4))) == ["INSUFFICIENT_FUNDS"] * 3 + ["spent"]
    assert partner.balances("zoë") == (4800, 0, 4800)

    # A hotel holds more than it takes; nothing of it can be spent meanwhile.
    deposit = book(
        *("hotel", "zoë", "shop", 4000, "2025-05-05T12:00:00+02:00"),
        status="PENDING",
        reason="AUTHORIZATION",
    )["transaction"]["id"]
    assert partner.balances("zoë") == (4800, -4000, 800)
    (why,) = partner.availability("zoë")["holds"]
    assert (why["reason"], why["amount"], why["transaction"]) == (
        "AUTHORIZATION",
        "4000",
        {"externalId": "hotel"},
    )
    night = partner.mutate(
        SETTLE,
        transactionId=deposit,
        idempotencyKey="hotel/1",
        entries=partner.move("zoë", "shop", 1500),
        final=False,
    )
    assert night["transaction"]["status"] == "PENDING"
    # While it is held, what was taken of it cannot be given back.
    early = partner.mutate(REVERSE, transactionId=deposit, idempotencyKey="hotel/refund")
    assert (early["code"], early["reason"]) == ("TRANSACTION_NOT_REVERSIBLE", "NOT_POSTED")
    bar = partner.mutate(
        SETTLE,
        transactionId=deposit,
        idempotencyKey="hotel/2",
        entries=partner.move("zoë", "shop", 300),
    )
    assert bar["transaction"]["status"] == "POSTED"
    assert partner.balances("zoë") == (3000, 0, 3000)
    # Afterwards all that was taken can be, and no more than that.
    refunded = partner.mutate(REVERSE, transactionId=deposit, idempotencyKey="hotel/refund")
    assert lines(refunded) == [("CREDIT", "zoë", 1800), ("DEBIT", "shop", 1800)]
    assert partner.balances("zoë") == (4800, 0, 4800)

    # A refund of half a purchase, dated in May; the points for it go back too.
    half = {
        "transactionId": partner.transaction("purchase 1")["id"],
        "idempotencyKey": "purchase 1/refund",
        "description": "refund 1",
        "effectiveAt": "2025-05-20T12:00:00+02:00",
        "entries": [
            *partner.move("zoë", "shop", 2100),
            *partner.move("points issued", "zoë's points", 21),
        ],
    }
    assert partner.mutate(REVERSE, **half)["replayed"] is False
    assert partner.mutate(REVERSE, **half)["replayed"] is True
    unbalanced = {**half, "idempotencyKey": "uneven", "entries": half["entries"][:3]}
    assert refusal(partner.mutate(REVERSE, **unbalanced)) == ("ENTRIES_UNBALANCED", "input.entries")
    assert partner.balances("zoë") == (6900, 0, 6900)
    assert partner.balances("zoë's points") == (21, 0, 21)

    # A gift card is a wallet of its own: sold, used up to its last cent, closed.
    sold = book("card 42 sold", "zoë", "card 42", 2500, "2025-05-21T12:00:00+02:00")
    assert sold["transaction"]["status"] == "POSTED"
    move = {"ledgerId": partner.ledger, "from": partner.ids["card 42"]}
    to_tom = {**move, "to": partner.ids["tom"], "effectiveAt": "2025-05-22T12:00:00+02:00"}
    over = partner.mutate(TRANSFER, **to_tom, amount="2501", idempotencyKey="redeem")
    assert (refusal(over), over["available"]) == (("INSUFFICIENT_FUNDS", "input.amount"), "2500")
    assert refusal(partner.mutate(CLOSE_ACCOUNT, accountId=partner.ids["card 42"])) == (
        "ACCOUNT_NOT_EMPTY",
        "input.accountId",
    )
    redeemed = partner.mutate(TRANSFER, **to_tom, amount="2500", idempotencyKey="redeem")
    assert redeemed["transaction"] == {"status": "POSTED"}
    closed = partner.mutate(CLOSE_ACCOUNT, accountId=partner.ids["card 42"])
    assert closed["account"] == {"status": "CLOSED"}
    assert book("card 42 again", "zoë", "card 42", 1, "2025-05-23T12:00:00+02:00")[
        "accountStatus"
    ] == ("CLOSED")

    # Euros are no points, and Tom takes no more than 50 at a time.
    mixed = partner.post("mixed", partner.move("zoë", "zoë's points", 5))
    assert mixed["code"] == "ENTRIES_UNBALANCED"
    big = partner.mutate(
        TRANSFER,
        ledgerId=partner.ledger,
        **{"from": partner.ids["shop"], "to": partner.ids["tom"]},
        amount="5001",
        idempotencyKey="big",
    )
    assert (refusal(big), big["requested"], big["maximum"]) == (
        ("ENTRY_MAXIMUM_EXCEEDED", "input.amount"),
        "5001",
        "5000",
    )

    # A purchase of the last second of May in Paris was reported in June; it is May's.
    book("purchase 2", "zoë", "shop", 99, "2025-05-31T21:59:59.999999Z")
    book("purchase 3", "zoë", "shop", 1, "2025-05-31T22:00:00Z")
    assert statement(partner, "zoë") == (
        "100.00",
        [
            ("top-up 2", "+5000"),
            ("purchase 1", "-4200"),
            ("the last euros", "-6000"),
            ("refund 1", "+2100"),
            ("card 42 sold", "-2500"),
            ("purchase 2", "-99"),
        ],
        "43.01",
    )
    assert partner.balances("zoë") == (4300, 0, 4300)
    history = partner.query(HISTORY, ledger=partner.ledger, account="zoë")["accountByExternalId"]
    assert [
        (step["startsAt"], step["balances"]["posted"]["amount"])
        for step in history["balanceHistory"]
    ] == [
        ("2025-03-31T22:00:00.000000Z", "10000"),
        ("2025-04-30T22:00:00.000000Z", "4301"),
        ("2025-05-31T22:00:00.000000Z", "4300"),
    ]

    # The statement is sent, so May is closed: it reads the same for ever.
    may = partner.mutate(
        CLOSE_PERIOD,
        ledgerId=partner.ledger,
        through="2025-05-31T23:59:59.999999+02:00",
        reason="Statements sent",
    )
    assert may["ledger"] == {"closedThrough": "2025-05-31T21:59:59.999999Z"}
    for key, at, expected in (
        ("forgotten", "2025-05-31T23:59:59.999999+02:00", "PERIOD_CLOSED"),
        ("in time", "2025-06-01T00:00:00+02:00", "posted"),
    ):
        assert book(key, "zoë", "shop", 100, at).get("code", "posted") == expected
    transferred = partner.mutate(
        TRANSFER,
        ledgerId=partner.ledger,
        **{"from": partner.ids["zoë"], "to": partner.ids["tom"]},
        amount="100",
        idempotencyKey="gift",
        effectiveAt="2025-05-31T12:00:00+02:00",
    )
    assert refusal(transferred) == ("PERIOD_CLOSED", "input.effectiveAt")
    opening, moves, closing = statement(partner, "zoë")
    assert (opening, len(moves), closing) == ("100.00", 6, "43.01")
    assert partner.balances("zoë") == (4200, 0, 4200)
    assert partner.balances("tom") == (2500, 0, 2500)
    euro, points = partner.trial_balance()
    assert (euro["debits"], points["debits"]) == (euro["credits"], points["credits"])
