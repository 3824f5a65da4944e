"""Posting through the API."""

from tests.api_client import SETTLE, VOID, Api


async def test_worked_example(api: Api) -> None:
    """The worked example of the design gives its balances at every step."""
    ledger = await api.ledger()
    cash = await api.account(ledger, normalBalance="DEBIT")
    wallet = await api.account(ledger, availableFloor="0")
    await api.post(ledger, cash, wallet, 1000)
    assert await api.balances(wallet) == (1000, 0, 1000, 1000)
    hold = await api.post(ledger, wallet, cash, 400, status="PENDING")
    assert await api.balances(wallet) == (1000, -400, 600, 600)
    incoming = await api.post(ledger, cash, wallet, 50, status="PENDING")
    assert await api.balances(wallet) == (1000, -350, 600, 650)

    def part(amount: int) -> list[dict[str, str]]:
        return [
            {"accountId": wallet, "direction": "DEBIT", "amount": str(amount)},
            {"accountId": cash, "direction": "CREDIT", "amount": str(amount)},
        ]

    transaction = hold["transaction"]["id"]
    await api.answer(
        SETTLE, transactionId=transaction, idempotencyKey="s1", entries=part(150), final=False
    )
    assert await api.balances(wallet) == (850, -200, 600, 650)
    await api.answer(SETTLE, transactionId=transaction, idempotencyKey="s2", entries=part(100))
    assert await api.balances(wallet) == (750, 50, 750, 800)
    await api.answer(SETTLE, transactionId=incoming["transaction"]["id"], idempotencyKey="s3")
    assert await api.balances(wallet) == (800, 0, 800, 800)
    again = await api.answer(VOID, transactionId=transaction, idempotencyKey="v")
    assert (again["__typename"], again["code"]) == (
        "TransactionNotPending",
        "TRANSACTION_NOT_PENDING",
    )
