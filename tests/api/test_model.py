"""The server against a model: random histories, compared after every step.

The model knows nothing of the code under test. It keeps, for each account, a list of (posted,
pending) changes by side, and works balances out anew from them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from app.api.ids import TRANSACTION, decode_as
from app.ledger.accounts.state import Mode, Scope
from app.ledger.transactions.commands import RunDue
from app.store.audit.verify import verify
from tests.api.market import REVERSING
from tests.api_client import POST, SETTLE, VOID, Api, Json, open_api
from tests.conftest import MakeDatabase

T = TypeVar("T")

HISTORY = """
query ($id: ID!) {
  account(id: $id) {
    version
    balances { posted { amount } pending { amount } available { amount } projected { amount } }
    entries(first: 100) {
      nodes { sequence direction status amount balancesAfter {
        posted { debits credits } pending { debits credits } available { amount }
      } }
    }
  }
}
"""

SIGNS = {"POSTED": (1, 0), "PENDING": (0, 1), "SETTLED": (1, -1), "VOIDED": (0, -1)}


@dataclass
class ModelAccount:
    """An account as a list of lines: (what, side, amount)."""

    normal: str
    floor: int | None
    lines: list[tuple[str, str, int]] = field(default_factory=list)

    def totals(self, upto: int | None = None) -> dict[tuple[str, str], int]:
        totals: dict[tuple[str, str], int] = defaultdict(int)
        for what, side, amount in self.lines[:upto]:
            posted, pending = SIGNS[what]
            totals["posted", side] += posted * amount
            totals["pending", side] += pending * amount
        return totals

    def net(self, totals: dict[tuple[str, str], int], balance: str) -> int:
        sign = 1 if self.normal == "CREDIT" else -1
        return sign * (totals[balance, "CREDIT"] - totals[balance, "DEBIT"])

    def available(self, upto: int | None = None) -> int:
        totals = self.totals(upto)
        against = "DEBIT" if self.normal == "CREDIT" else "CREDIT"
        return self.net(totals, "posted") - totals["pending", against]


@dataclass
class ModelHold:
    """A hold between two accounts: how much is left, and how much was settled."""

    debit: int
    credit: int
    left: int
    transaction_id: str
    settled: int = 0
    reversed: int = 0
    due: str | None = None


class Books(RuleBasedStateMachine):
    """Commands at random, over HTTP, in a ledger of its own."""

    runner: asyncio.Runner
    api: Api

    holds = Bundle("holds")
    sent = Bundle("sent")
    amounts = st.integers(1, 300)

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.run(self.api.ledger())
        self.ids: list[str] = []
        self.model: list[ModelAccount] = []
        self.keys = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    @initialize()
    def open_accounts(self) -> None:
        for normal, floor in (("DEBIT", None), ("CREDIT", 0), ("CREDIT", -50), ("CREDIT", None)):
            identity = self.run(
                self.api.account(
                    self.ledger,
                    normalBalance=normal,
                    availableFloor=None if floor is None else str(floor),
                )
            )
            self.ids.append(identity)
            self.model.append(ModelAccount(normal, floor))

    @rule(
        target=sent,
        debit=st.integers(0, 3),
        credit=st.integers(0, 3),
        amount=amounts,
    )
    def post(self, debit: int, credit: int, amount: int) -> Any:
        command = self.command(debit, credit, amount, "POSTED")
        if self.expect(command, debit, credit, amount, "POSTED") is None:
            return multiple()
        return command

    @rule(
        target=holds,
        debit=st.integers(0, 3),
        credit=st.integers(0, 3),
        amount=amounts,
        due=st.sampled_from([None, "postsAt", "expiresAt"]),
    )
    def hold(self, debit: int, credit: int, amount: int, due: str | None) -> Any:
        command = self.command(debit, credit, amount, "PENDING")
        if due is not None:
            command[due] = "2026-01-01T00:00:00Z"
        answer = self.expect(command, debit, credit, amount, "PENDING")
        if answer is None:
            return multiple()
        return ModelHold(debit, credit, amount, answer["transaction"]["id"], due=due)

    @rule(command=sent)
    def replay(self, command: Json) -> None:
        answer = self.run(self.api.answer(POST, **command))
        assert (answer["__typename"], answer["replayed"]) == ("PostTransactionSuccess", True)

    @rule(command=sent)
    def replay_with_another_amount(self, command: Json) -> None:
        entries = [{**entry, "amount": "999999"} for entry in command["entries"]]
        answer = self.run(self.api.answer(POST, **{**command, "entries": entries}))
        assert answer["code"] == "IDEMPOTENCY_CONFLICT"

    @rule(hold=holds, part=amounts, final=st.booleans())
    def settle(self, hold: ModelHold, part: int, final: bool) -> None:
        sides = ((hold.debit, "DEBIT"), (hold.credit, "CREDIT"))
        entries = [
            {"accountId": self.ids[account], "direction": side, "amount": str(part)}
            for account, side in sides
        ]
        answer = self.run(
            self.api.answer(
                SETTLE,
                transactionId=hold.transaction_id,
                idempotencyKey=self.key(),
                entries=entries,
                final=final,
            )
        )
        if hold.due == "expiresAt":
            assert answer["code"] == "HOLD_EXPIRED"
            return
        if hold.left == 0:
            assert answer["code"] == "TRANSACTION_NOT_PENDING"
            return
        if part > hold.left:
            assert answer["code"] == "SETTLEMENT_EXCEEDS_HOLD"
            return
        self.change(sides, "SETTLED", part)
        hold.left -= part
        hold.settled += part
        if final and hold.left:
            self.change(sides, "VOIDED", hold.left)
            hold.left = 0
        assert answer["transaction"]["status"] == ("PENDING" if hold.left else "POSTED")

    @rule(hold=holds)
    def run_due(self, hold: ModelHold) -> None:
        """What the server's task does when it comes round."""
        uuid = decode_as(TRANSACTION, hold.transaction_id)
        assert uuid is not None
        scope = Scope(self.api.organization_id, Mode.TEST)
        self.run(self.write(RunDue(scope, uuid)))
        if hold.due is not None and hold.left:
            sides = ((hold.debit, "DEBIT"), (hold.credit, "CREDIT"))
            self.change(sides, "SETTLED" if hold.due == "postsAt" else "VOIDED", hold.left)
            hold.settled += hold.left if hold.due == "postsAt" else 0
            hold.left = 0

    async def write(self, command: RunDue) -> None:
        await self.api.server.writer.submit([command])

    @rule(hold=holds, part=amounts)
    def reverse(self, hold: ModelHold, part: int) -> None:
        entries = [
            {"accountId": self.ids[account], "direction": side, "amount": str(part)}
            for account, side in ((hold.debit, "DEBIT"), (hold.credit, "CREDIT"))
        ]
        answer = self.run(
            self.api.answer(
                REVERSING,
                transactionId=hold.transaction_id,
                idempotencyKey=self.key(),
                entries=entries,
            )
        )
        if hold.left or hold.settled in {0, hold.reversed}:
            assert answer["code"] == "TRANSACTION_NOT_REVERSIBLE"
            return
        if part > hold.settled - hold.reversed:
            assert answer["code"] == "REVERSAL_EXCEEDS_TRANSACTION"
            return
        turned = ((hold.debit, "CREDIT"), (hold.credit, "DEBIT"))
        if self.accepts(turned, "POSTED", part):
            assert answer["transaction"]["reverses"] == {"id": hold.transaction_id}
            hold.reversed += part
        else:
            assert answer["code"] == "INSUFFICIENT_FUNDS"

    @rule(hold=consumes(holds))
    def void(self, hold: ModelHold) -> None:
        answer = self.run(
            self.api.answer(VOID, transactionId=hold.transaction_id, idempotencyKey=self.key())
        )
        if hold.left == 0:
            assert answer["code"] == "TRANSACTION_NOT_PENDING"
            return
        self.change(((hold.debit, "DEBIT"), (hold.credit, "CREDIT")), "VOIDED", hold.left)
        assert answer["transaction"]["status"] == ("POSTED" if hold.settled else "VOIDED")

    @invariant()
    def books_agree(self) -> None:
        for identity, account in zip(self.ids, self.model, strict=True):
            shown = self.run(self.api.run(HISTORY, {"id": identity}))["account"]
            totals = account.totals()
            posted, pending = account.net(totals, "posted"), account.net(totals, "pending")
            assert {
                name: int(balance["amount"]) for name, balance in shown["balances"].items()
            } == {
                "posted": posted,
                "pending": pending,
                "available": account.available(),
                "projected": posted + pending,
            }
            assert shown["version"] == str(len(account.lines))
            assert [
                (e["sequence"], e["status"], e["direction"], e["amount"])
                for e in shown["entries"]["nodes"]
            ] == [
                (str(number), "POSTED" if what == "SETTLED" else what, side, str(amount))
                for number, (what, side, amount) in enumerate(account.lines[:100], 1)
            ]
            for number, entry in enumerate(shown["entries"]["nodes"], 1):
                after, expected = entry["balancesAfter"], account.totals(number)
                assert int(after["available"]["amount"]) == account.available(number)
                for balance in ("posted", "pending"):
                    assert int(after[balance]["debits"]) == expected[balance, "DEBIT"]
                    assert int(after[balance]["credits"]) == expected[balance, "CREDIT"]

    def command(self, debit: int, credit: int, amount: int, status: str) -> Json:
        return {
            "ledgerId": self.ledger,
            "idempotencyKey": self.key(),
            "status": status,
            "entries": [
                {"accountId": self.ids[debit], "direction": "DEBIT", "amount": str(amount)},
                {"accountId": self.ids[credit], "direction": "CREDIT", "amount": str(amount)},
            ],
        }

    def expect(
        self, command: Json, debit: int, credit: int, amount: int, status: str
    ) -> Json | None:
        """Send, and compare with what the model says; None if it says that it is refused."""
        answer = self.run(self.api.answer(POST, **command))
        if not self.accepts(((debit, "DEBIT"), (credit, "CREDIT")), status, amount):
            assert answer["code"] == "INSUFFICIENT_FUNDS"
            return None
        assert answer["__typename"] == "PostTransactionSuccess", answer
        assert answer["replayed"] is False
        return answer

    def accepts(self, sides: tuple[tuple[int, str], ...], status: str, amount: int) -> bool:
        """Record lines in the model, unless a floor is in the way of one."""
        kept = [len(account.lines) for account in self.model]
        for index, side in sides:
            account = self.model[index]
            before = account.available()
            account.lines.append((status, side, amount))
            after = account.available()
            if account.floor is not None and after < before and after < account.floor:
                for other, length in zip(self.model, kept, strict=True):
                    del other.lines[length:]
                return False
        return True

    def change(self, sides: tuple[tuple[int, str], ...], what: str, amount: int) -> None:
        for index, side in sides:
            self.model[index].lines.append((what, side, amount))


def test_random_histories(make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Balances, histories and refusals equal the model's at every step of random histories."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        url = make_database(None)
        api = runner.run(stack.enter_async_context(open_api(url, due_work=False)))
        monkeypatch.setattr(Books, "runner", runner, raising=False)
        monkeypatch.setattr(Books, "api", api, raising=False)
        try:
            run = Books.TestCase
            run.settings = settings(
                max_examples=30,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            run("runTest").runTest()
        finally:
            runner.run(stack.aclose())
    assert verify(url).violations == ()
