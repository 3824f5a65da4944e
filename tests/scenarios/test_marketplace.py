"""A marketplace keeps one account for each seller, beside its bank, its fees and the taxes."""

from typing import Any

from tests.scenarios.partner import (
    CLOSE_PERIOD,
    REFUSAL,
    REVERSE,
    TRANSACTION,
    UPDATE_TRANSACTION,
    Json,
    Partner,
    lines,
    refusal,
)

CREATE_TEMPLATE = f"""
mutation ($input: CreateTransactionTemplateInput!) {{
  createTransactionTemplate(input: $input) {{
    {REFUSAL}
    ... on CreateTransactionTemplateSuccess {{ template {{ code version }} }}
  }}
}}
"""

ORDER = f"""
mutation ($input: PostTemplateInput!) {{
  postTemplate(input: $input) {{
    {REFUSAL}
    ... on PostTemplateSuccess {{
      replayed transaction {{ {TRANSACTION} template {{ version }} templateParams }}
    }}
    ... on PeriodClosed {{ closedThrough }}
    ... on IdempotencyConflict {{ transaction {{ externalId }} }}
    ... on AccountNotOpen {{ account {{ name }} accountStatus }}
  }}
}}
"""

CARTS = f"""
mutation ($input: PostTransactionsInput!) {{
  postTransactions(input: $input) {{
    {REFUSAL}
    ... on PostTransactionsSuccess {{
      results {{ {REFUSAL} ... on PostTransactionSuccess {{ transaction {{ externalId }} }} }}
    }}
  }}
}}
"""

TRANSFER = f"""
mutation ($input: TransferInput!) {{
  transfer(input: $input) {{
    {REFUSAL}
    ... on TransferSuccess {{ replayed transaction {{ {TRANSACTION} }} }}
    ... on InsufficientFunds {{ available required account {{ name }} }}
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

SELLERS = """
query ($ledger: ID!, $after: String) {
  ledger(id: $ledger) {
    accounts(first: 2, after: $after, filter: {metadata: {kind: "seller"}}) {
      nodes { externalId balances { available { decimal } } }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""


def order(partner: Partner, key: str, amount: int, seller: str, **more: Any) -> Json:
    """Post an order by the template."""
    return partner.mutate(
        ORDER,
        ledgerId=partner.ledger,
        code="order",
        params={"amount": str(amount), "sellerId": seller},
        idempotencyKey=key,
        externalId=key,
        **more,
    )


def define_order(partner: Partner, fee_rate: int) -> Json:
    """An order of an amount with 19 % of tax in it, and the platform's fee on the rest."""
    return partner.mutate(
        CREATE_TEMPLATE,
        ledgerId=partner.ledger,
        code="order",
        parameters=[
            {"name": "amount", "kind": "AMOUNT", "minimum": "1", "maximum": "10000000"},
            {"name": "sellerId", "kind": "TEXT"},
            {"name": "feeRate", "kind": "INTEGER", "default": str(fee_rate), "maximum": "10000"},
        ],
        values=[
            {"name": "tax", "amount": "share(amount, 19, 119)"},
            {"name": "fee", "amount": "share(amount - tax, feeRate, 10000)"},
        ],
        entries=[
            {"direction": "DEBIT", "amount": "amount", "accountExternalId": "bank"},
            {"direction": "CREDIT", "amount": "tax", "accountExternalId": "taxes"},
            {"direction": "CREDIT", "amount": "fee", "accountExternalId": "fees"},
            {
                "direction": "CREDIT",
                "amount": "amount - tax - fee",
                "accountExternalId": "seller:{sellerId}",
            },
        ],
    )


def test_marketplace(partner: Partner) -> None:
    """Orders split by a template, carts over sellers, transfers, refunds, and the month's end."""
    partner.open_ledger("Marktplatz Käse & Söhne")
    seller = {"normalBalance": "CREDIT", "availableFloor": "0", "metadata": {"kind": "seller"}}
    partner.open_accounts(
        {"externalId": "bank", "normalBalance": "DEBIT"},
        {"externalId": "fees", "normalBalance": "CREDIT"},
        {"externalId": "taxes", "normalBalance": "CREDIT"},
        {"externalId": "seller:ada", **seller},
        {"externalId": "seller:josé", **seller},
        {"externalId": "seller:mallory", **seller},
    )

    # How an order is split is said once. Looked at before it is used, it comes to its whole.
    assert define_order(partner, fee_rate=250)["template"] == {"code": "order", "version": 1}
    preview = order(partner, "order-1", 10000, "ada", dryRun=True)
    assert lines(preview) == [
        ("DEBIT", "bank", 10000),
        ("CREDIT", "taxes", 1597),
        ("CREDIT", "fees", 210),
        ("CREDIT", "seller:ada", 8193),
    ]
    assert partner.balances("seller:ada") == (0, 0, 0)

    # The client dies before the answer, comes back, and sends the same: it is there once.
    sent = {
        "ledgerId": partner.ledger,
        "code": "order",
        "params": {"amount": "10000", "sellerId": "ada"},
        "idempotencyKey": "order-1",
        "externalId": "order-1",
    }
    partner.lose(ORDER, **sent)
    assert order(partner, "order-1", 10000, "ada")["replayed"] is True
    assert partner.balances("seller:ada") == (8193, 0, 8193)
    assert refusal(order(partner, "order-1", 10001, "ada")) == (
        "IDEMPOTENCY_CONFLICT",
        "input.idempotencyKey",
    )

    # A new fee is the next version. Orders sent before are still the first ones.
    assert define_order(partner, fee_rate=300)["template"] == {"code": "order", "version": 2}
    assert define_order(partner, fee_rate=300)["template"] == {"code": "order", "version": 2}
    again = order(partner, "order-1", 10000, "ada")["transaction"]
    assert (again["template"], again["templateParams"]["feeRate"]) == ({"version": 1}, "250")
    assert lines(order(partner, "order-2", 2999, "josé")) == [
        ("DEBIT", "bank", 2999),
        ("CREDIT", "taxes", 479),
        ("CREDIT", "fees", 76),
        ("CREDIT", "seller:josé", 2444),
    ]
    # An order of a cent has neither tax nor fee: entries of nothing are left out.
    assert lines(order(partner, "order-3", 1, "josé")) == [
        ("DEBIT", "bank", 1),
        ("CREDIT", "seller:josé", 1),
    ]
    for amount, who, expected in (
        (100, "nobody", ("ACCOUNT_NOT_FOUND", "input.params.sellerId")),
        (0, "ada", ("VALIDATION_FAILED", "input.params.amount")),
        (10_000_001, "ada", ("VALIDATION_FAILED", "input.params.amount")),
    ):
        assert refusal(order(partner, "order-4", amount, who)) == expected

    # A cart over two sellers is paid at once or not at all.
    cart: list[Json] = [
        {
            "ledgerId": partner.ledger,
            "idempotencyKey": f"cart-1/{who}",
            "externalId": f"cart-1/{who}",
            "entries": partner.move("bank", f"seller:{who}", amount),
        }
        for who, amount in (("ada", 700), ("josé", 300))
    ]
    uneven = {**cart[1], "entries": [cart[1]["entries"][0], cart[0]["entries"][1]]}
    refused = partner.mutate(CARTS, mode="ATOMIC", transactions=[cart[0], uneven])
    assert refusal(refused) == ("ENTRIES_UNBALANCED", "input.transactions.1.entries")
    assert partner.balances("seller:ada") == (8193, 0, 8193)
    paid = partner.mutate(CARTS, mode="ATOMIC", transactions=cart)
    assert [result["transaction"]["externalId"] for result in paid["results"]] == [
        "cart-1/ada",
        "cart-1/josé",
    ]
    assert partner.balances("seller:ada") == (8893, 0, 8893)
    assert partner.balances("seller:josé") == (2745, 0, 2745)

    # Ada pays José for his stand. She cannot pay what she has not.
    moved = {"ledgerId": partner.ledger, "from": partner.ids["seller:ada"]}
    to_jose = {**moved, "to": partner.ids["seller:josé"], "amount": "893"}
    assert lines(partner.mutate(TRANSFER, **to_jose, idempotencyKey="stand-1")) == [
        ("DEBIT", "seller:ada", 893),
        ("CREDIT", "seller:josé", 893),
    ]
    short = partner.mutate(TRANSFER, **{**to_jose, "amount": "8001"}, idempotencyKey="stand-2")
    assert (refusal(short), short["available"], short["required"]) == (
        ("INSUFFICIENT_FUNDS", "input.amount"),
        "8000",
        "8001",
    )
    out = {**moved, "to": partner.ids["bank"], "amount": "1", "idempotencyKey": "out"}
    assert refusal(partner.mutate(TRANSFER, **out)) == ("NORMAL_BALANCES_DIFFER", "input.to")

    # A customer gets half of order 1 back, of each share; then the rest, and no more.
    first = partner.transaction("order-1")["id"]
    half = [
        partner.entry("DEBIT", "bank", 5000),
        partner.entry("CREDIT", "taxes", 798),
        partner.entry("CREDIT", "fees", 105),
        partner.entry("CREDIT", "seller:ada", 4097),
    ]
    refund = partner.mutate(REVERSE, transactionId=first, idempotencyKey="refund-1", entries=half)
    assert refund["transaction"]["reverses"] == {"externalId": "order-1"}
    assert partner.balances("seller:ada") == (3903, 0, 3903)
    beyond = partner.mutate(REVERSE, transactionId=first, idempotencyKey="refund-2", entries=half)
    assert (refusal(beyond), beyond["remaining"]) == (
        ("REVERSAL_EXCEEDS_TRANSACTION", "input.entries.3.amount"),
        "4096",
    )
    # Ada has spent what the rest of the refund would take: the platform advances it.
    spent = partner.mutate(TRANSFER, **{**to_jose, "amount": "3903"}, idempotencyKey="stand-3")
    assert spent["transaction"]["status"] == "POSTED"
    short = partner.mutate(REVERSE, transactionId=first, idempotencyKey="refund-2")
    assert (short["code"], short["available"], short["required"]) == (
        "INSUFFICIENT_FUNDS",
        "0",
        "4096",
    )
    advance = partner.post("advance-1", partner.move("fees", "seller:ada", 4096))
    assert advance["transaction"]["status"] == "POSTED"
    rest = partner.mutate(REVERSE, transactionId=first, idempotencyKey="refund-2")
    assert lines(rest) == [
        ("CREDIT", "bank", 5000),
        ("DEBIT", "taxes", 799),
        ("DEBIT", "fees", 105),
        ("DEBIT", "seller:ada", 4096),
    ]
    over = partner.mutate(REVERSE, transactionId=first, idempotencyKey="refund-3")
    assert (over["code"], over["reason"]) == ("TRANSACTION_NOT_REVERSIBLE", "FULLY_REVERSED")
    of_reversal = partner.mutate(
        REVERSE, transactionId=rest["transaction"]["id"], idempotencyKey="refund-3"
    )
    assert (of_reversal["code"], of_reversal["reason"]) == (
        "TRANSACTION_NOT_REVERSIBLE",
        "IS_REVERSAL",
    )

    # Mallory is looked into: nothing goes in or out meanwhile.
    frozen = partner.mutate(FREEZE, accountId=partner.ids["seller:mallory"])
    assert frozen["account"] == {"status": "FROZEN"}
    assert order(partner, "order-5", 100, "mallory")["accountStatus"] == "FROZEN"

    # A typing error in the labels is corrected, and stays in the history.
    corrected = partner.mutate(
        UPDATE_TRANSACTION,
        transactionId=partner.transaction("order-2")["id"],
        idempotencyKey="order-2/label",
        description="Käse, 200 g 🧀",
        metadata={"shelf": "B"},
    )["transaction"]
    assert corrected["history"][-1] == {
        "kind": "UPDATED",
        "changes": {
            "description": {"before": None, "after": "Käse, 200 g 🧀"},
            "metadata": {"before": {}, "after": {"shelf": "B"}},
        },
    }

    # December is late but still open; once it is closed it stays as it was.
    late = order(partner, "order-6", 1190, "ada", effectiveAt="2025-12-31T23:30:00+01:00")
    assert late["transaction"]["effectiveAt"] == "2025-12-31T22:30:00.000000Z"
    year_end = "2025-12-31T23:59:59.999999+01:00"
    closed = partner.mutate(CLOSE_PERIOD, ledgerId=partner.ledger, through=year_end)
    assert closed["ledger"] == {"closedThrough": "2025-12-31T22:59:59.999999Z"}
    too_late = order(partner, "order-7", 1190, "ada", effectiveAt="2025-12-31T23:59:59+01:00")
    assert (refusal(too_late), too_late["closedThrough"]) == (
        ("PERIOD_CLOSED", "input.effectiveAt"),
        "2025-12-31T22:59:59.999999Z",
    )
    # It is replayed all the same: what was accepted stays accepted.
    assert order(partner, "order-6", 1190, "ada", effectiveAt="2025-12-31T23:30:00+01:00")[
        "replayed"
    ]
    assert partner.balances("seller:ada", asOf=year_end) == (970, 0, 970)

    # What is owed to whom, page by page, and all of it together.
    owed: dict[str, str] = {}
    after = None
    while True:
        page = partner.query(SELLERS, ledger=partner.ledger, after=after)["ledger"]["accounts"]
        owed |= {
            row["externalId"]: row["balances"]["available"]["decimal"] for row in page["nodes"]
        }
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert owed == {"seller:ada": "9.70", "seller:josé": "75.41", "seller:mallory": "0.00"}
    assert partner.balances("bank") == (5190, 0, 5190)
    assert partner.balances("taxes") == (669, 0, 669)
    assert partner.balances("fees") == (-3990, 0, -3990)
    (total,) = partner.trial_balance()
    assert total["debits"] == total["credits"]
