"""A month of ten thousand payments against the bank's statements, with 25 discrepancies planted.

Every one is found under its kind, and nothing else is; then they are dealt with, one way or the
other, and the month is closed with both balances the same but for what was accepted.
"""

import http.client
import json
from collections import Counter
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from tests.scenarios.partner import REFUSAL, Json, Partner, refusal

MARCH = date(2026, 3, 1)
PAYMENTS = 10_000
AT_A_TIME = 1000
WEEKS = ((1, 8), (9, 16), (17, 24), (25, 31))

POST_MANY = f"""
mutation ($input: PostTransactionsInput!) {{
  postTransactions(input: $input) {{
    {REFUSAL}
    ... on PostTransactionsSuccess {{ results {{ __typename }} }}
  }}
}}
"""
CREATE_EXTERNAL_ACCOUNT = f"""
mutation ($input: CreateExternalAccountInput!) {{
  createExternalAccount(input: $input) {{
    {REFUSAL} ... on CreateExternalAccountSuccess {{ externalAccount {{ id }} }}
  }}
}}
"""
IMPORT = f"""
mutation ($input: ImportStatementInput!) {{
  importStatement(input: $input) {{
    {REFUSAL} ... on ImportStatementSuccess {{ recognised statement {{ id lineCount balanced }} }}
  }}
}}
"""
CREATE = f"""
mutation ($input: CreateReconciliationInput!) {{
  createReconciliation(input: $input) {{
    {REFUSAL} ... on CreateReconciliationSuccess {{ reconciliation {{ id summary {{ lines }} }} }}
  }}
}}
"""
RUN = f"""
mutation ($input: RunReconciliationInput!) {{
  runReconciliation(input: $input) {{
    {REFUSAL} ... on RunReconciliationSuccess {{ run {{ id status }} }}
  }}
}}
"""
RUN_STATUS = """
query ($id: ID!) {
  node(id: $id) {
    ... on ReconciliationRun { status confirmed proposed withdrawn appeared vanished failure }
  }
}
"""
SHOW = """
query ($id: ID!) {
  reconciliation(id: $id) {
    status from through
    summary {
      lines matchedLines proposedLines unmatchedEntries confirmedMatches proposedMatches
      openDiscrepancies acceptedDiscrepancies resolvedDiscrepancies
    }
    bridge { ledgerBalance statementBalance difference items { kind count amount } }
    discrepancies(first: 100) {
      nodes {
        id kind status amount day
        line { endToEndId amount }
        otherLine { endToEndId }
        entry { amount transaction { externalId } }
        statement { number }
        match { rule status lines { endToEndId } entries { transaction { externalId } } }
        resolution { kind reason by transaction { externalId } }
      }
    }
  }
}
"""
PROPOSED = """
query ($id: ID!) {
  reconciliation(id: $id) { matches(status: [PROPOSED], first: 100) { nodes { id rule score } } }
}
"""
CONFIRM = f"""
mutation ($input: ConfirmMatchesInput!) {{
  confirmMatches(input: $input) {{
    {REFUSAL}
    ... on ConfirmMatchesSuccess {{ reconciliation {{ summary {{ proposedMatches }} }} }}
  }}
}}
"""
RESOLVE = f"""
mutation ($input: ResolveDiscrepancyInput!) {{
  resolveDiscrepancy(input: $input) {{
    {REFUSAL}
    ... on ResolveDiscrepancySuccess {{
      replayed discrepancy {{ id status resolution {{ transaction {{ id externalId }} }} }}
    }}
  }}
}}
"""
CLOSE = f"""
mutation ($input: CloseReconciliationInput!) {{
  closeReconciliation(input: $input) {{
    {REFUSAL}
    ... on CloseReconciliationSuccess {{ reconciliation {{ status closedAt }} }}
    ... on ReconciliationIncomplete {{ proposedMatches openDiscrepancies }}
  }}
}}
"""
PAYMENT = """
query ($ledger: ID!, $externalId: String!, $account: String!, $asOf: DateTime) {
  transactionByExternalId(ledgerId: $ledger, externalId: $externalId) {
    entries { account { externalId } reconciledBy { rule lines { endToEndId } } }
  }
  accountByExternalId(ledgerId: $ledger, externalId: $account) {
    unreconciled(asOf: $asOf) { count amount entries(first: 5) { nodes { amount } } }
  }
}
"""
RULES = [
    {"name": "id", "kind": "REFERENCE", "lineField": "END_TO_END_ID", "entryField": "EXTERNAL_ID"},
    {
        "name": "order",
        "kind": "REFERENCE",
        "lineField": "END_TO_END_ID",
        "entryField": "METADATA",
        "metadataPath": ["order"],
    },
    {"name": "amount", "kind": "AMOUNT_AND_DATE", "daysBefore": 3, "daysAfter": 3},
]


def amount(n: int) -> int:
    """Of payment n; no two are the same."""
    return 1000 + 7 * n


def happened(n: int) -> date:
    return MARCH + timedelta(days=n % 28)


class Bank:
    """What the bank states: lines by payment, and what is planted among them."""

    def __init__(self) -> None:
        self.planted: list[tuple[str, str, int]] = []
        self.more: list[Json] = []
        self.lines = {n: self.line(n) for n in range(PAYMENTS)}
        for n in (11, 2011, 4011, 9011):
            del self.lines[n]
            self.plant("MISSING_IN_STATEMENT", f"pay-{n}", -amount(n))
        for n in range(4):
            self.more.append({**self.line(n), "amount": str(500 + n), "endToEndId": f"bank-{n}"})
            self.plant("MISSING_IN_LEDGER", f"bank-{n}", 500 + n)
        for n, less in ((22, 3), (2022, 40), (4022, -5), (9022, 1)):
            self.lines[n]["amount"] = str(amount(n) - less)
            self.plant("AMOUNT_MISMATCH", f"pay-{n}", -less)
        for n in (33, 2033, 4033):
            self.lines[n]["bookedOn"] = str(happened(n) + timedelta(days=12))
            self.plant("DATE_MISMATCH", f"pay-{n}", 0)
        for n in (44, 2044, 4044):
            self.more.append({**self.lines[n], "reference": f"again-{n}"})
            self.plant("DUPLICATE_LINE", f"pay-{n}", amount(n))
        for n in (55, 2055, 4055):
            self.plant("DUPLICATE_ENTRY", f"twice-{n}", -amount(n))
        for n in (66, 2066):
            self.lines[n]["currency"] = "USD"
            self.plant("CURRENCY_MISMATCH", f"pay-{n}", -amount(n))
        self.plant("BALANCE_MISMATCH", "2", 13)
        self.plant("BALANCE_MISMATCH", "3", -20)

    def plant(self, kind: str, about: str, effect: int) -> None:
        self.planted.append((kind, about, effect))

    def line(self, n: int) -> Json:
        booked = happened(n) + timedelta(days=n % 3 if n % 28 < 25 else 0)
        return {
            "bookedOn": str(booked),
            "amount": str(amount(n)),
            "reference": f"B{n}",
            "endToEndId": f"pay-{n}",
            "description": f"Payment {n}",
        }

    def statements(self) -> list[Json]:
        """Four weeks, of which the second does not come to its end, nor the third begin there."""
        balance, told = 0, []
        for number, (first, last) in enumerate(WEEKS, 1):
            days = str(MARCH + timedelta(days=first - 1)), str(MARCH + timedelta(days=last - 1))
            lines = [
                line
                for line in (*self.lines.values(), *self.more)
                if days[0] <= line["bookedOn"] <= days[1]
            ]
            opening = balance - 20 if number == 3 else balance
            balance = opening + sum(int(line["amount"]) for line in lines if "currency" not in line)
            balance += 13 if number == 2 else 0
            told.append(
                {
                    "from": days[0],
                    "through": days[1],
                    "openingBalance": str(opening),
                    "closingBalance": str(balance),
                    "lines": lines,
                }
            )
        return told


def test_twenty_five_discrepancies_among_ten_thousand_payments(partner: Partner) -> None:
    """All that is planted is found, and no other; resolved and accepted, the month is closed."""
    bank = Bank()
    assert len(bank.planted) == 25
    assert len({kind for kind, *_ in bank.planted}) == 8
    external = record(partner)
    for statement in bank.statements():
        answer = partner.mutate(IMPORT, externalAccountId=external, **statement)
        assert answer["statement"]["lineCount"] == str(len(statement["lines"])), answer
    created = partner.mutate(
        CREATE,
        externalAccountId=external,
        name="March",
        **{"from": "2026-03-01", "through": "2026-03-31"},
        rules=RULES,
    )
    march = created["reconciliation"]["id"]

    ran = run(partner, march)
    # 3 of 13 doubtful lines name an entry that another line names too, 4 another amount, 2 dollars.
    assert ran == {
        "status": "COMPLETED",
        "confirmed": PAYMENTS - 4 - 4 - 3 - 2,
        "proposed": 9,
        "withdrawn": 0,
        "appeared": 25,
        "vanished": 0,
        "failure": None,
    }
    shown = show(partner, march)
    assert Counter(map(told, shown["discrepancies"]["nodes"])) == Counter(bank.planted)
    bridge = shown["bridge"]
    assert bridge["difference"] == "0"
    assert int(bridge["statementBalance"]) - int(bridge["ledgerBalance"]) == sum(
        effect for *_, effect in bank.planted
    )
    assert run(partner, march)["appeared"] == 0
    assert show(partner, march) == shown

    deal_with_all(partner, march, shown["discrepancies"]["nodes"])
    settled = show(partner, march)
    assert settled["bridge"]["difference"] == "0"
    assert {item["kind"] for item in settled["bridge"]["items"]} == {
        "DATE_MISMATCH",
        "BALANCE_MISMATCH",
        "DUPLICATE_LINE",
    }
    assert settled["summary"] == {
        "lines": PAYMENTS - 4 + 4 + 3,
        "matchedLines": PAYMENTS - 4 + 4,
        "proposedLines": 0,
        "unmatchedEntries": 0,
        "confirmedMatches": PAYMENTS + 4 + 3,
        "proposedMatches": 0,
        "openDiscrepancies": 0,
        "acceptedDiscrepancies": 8,
        "resolvedDiscrepancies": 17,
    }
    closed = partner.mutate(CLOSE, reconciliationId=march)
    assert closed["reconciliation"]["status"] == "CLOSED"
    asked: dict[str, Any] = {"ledger": partner.ledger, "account": "bank"}
    found = partner.query(PAYMENT, externalId="pay-7", **asked)
    covered = {
        entry["account"]["externalId"]: entry["reconciledBy"]
        for entry in found["transactionByExternalId"]["entries"]
    }
    assert covered == {
        "bank": {"rule": "id", "lines": [{"endToEndId": "pay-7"}]},
        "sales": None,
    }
    nothing = {"count": 0, "amount": "0", "entries": {"nodes": []}}
    assert found["accountByExternalId"]["unreconciled"] == nothing
    refused = partner.mutate(
        RESOLVE, discrepancyId=shown["discrepancies"]["nodes"][0]["id"], accept={"reason": "late"}
    )
    assert refusal(refused)[0] in ("RECONCILIATION_CLOSED", "DISCREPANCY_NOT_FOUND")


def test_a_refused_file_is_told_to_who_listens_last(partner: Partner) -> None:
    """A client that sends all of its file before it listens, and then hangs up, learns why."""
    partner.open_ledger("Shop")
    partner.open_accounts({"externalId": "bank", "normalBalance": "DEBIT", "currency": "EUR"})
    asked = {"externalAccountId": tie(partner), "format": "OFX"}
    connection = http.client.HTTPConnection(partner.url.removeprefix("http://"))
    connection.request(
        "POST",
        f"/statements/import?{urlencode(asked)}",
        b"This is no statement.\n" * 2_000_000,
        {"Authorization": f"Bearer {partner.token}", "Connection": "close"},
    )
    answer = connection.getresponse()
    told = json.loads(answer.read())["import"]["failure"]
    connection.close()
    assert (answer.status, told["code"], told["line"]) == (422, "MALFORMED", 1)


def record(partner: Partner) -> str:
    """Post the payments, three of them twice, and return the bank's external account."""
    partner.open_ledger("Shop")
    partner.open_accounts(
        {"externalId": "bank", "normalBalance": "DEBIT", "currency": "EUR"},
        {"externalId": "sales", "normalBalance": "CREDIT", "currency": "EUR"},
    )
    payments = [(f"pay-{n}", n) for n in range(PAYMENTS)]
    payments += [(f"twice-{n}", n) for n in (55, 2055, 4055)]
    for start in range(0, len(payments), AT_A_TIME):
        answer = partner.mutate(
            POST_MANY,
            mode="ATOMIC",
            transactions=[
                {
                    "ledgerId": partner.ledger,
                    "idempotencyKey": name,
                    "externalId": name,
                    "metadata": {"order": f"pay-{n}"},
                    "effectiveAt": f"{happened(n)}T10:00:00Z",
                    "entries": partner.move("bank", "sales", amount(n)),
                }
                for name, n in payments[start : start + AT_A_TIME]
            ],
        )
        assert answer["__typename"] == "PostTransactionsSuccess", answer
    return tie(partner)


def tie(partner: Partner) -> str:
    """An external account of the account `bank`."""
    made = partner.mutate(
        CREATE_EXTERNAL_ACCOUNT, accountId=partner.ids["bank"], name="House bank", kind="BANK"
    )
    return str(made["externalAccount"]["id"])


def run(partner: Partner, reconciliation: str) -> Json:
    """Run it, and wait for what comes of it."""
    asked = partner.mutate(RUN, reconciliationId=reconciliation)
    run_id = asked["run"]["id"]
    done: Json = partner.until(
        lambda: (
            found
            if (found := partner.query(RUN_STATUS, id=run_id)["node"])["status"]
            in ("COMPLETED", "FAILED")
            else None
        )
    )
    return done


def show(partner: Partner, reconciliation: str) -> Json:
    shown: Json = partner.query(SHOW, id=reconciliation)["reconciliation"]
    return shown


def told(discrepancy: Json) -> tuple[str, str, int]:
    """Kind, what it is about, and its effect."""
    kind, effect = discrepancy["kind"], int(discrepancy["amount"])
    if kind == "BALANCE_MISMATCH":
        return kind, discrepancy["statement"]["number"], effect
    if discrepancy["match"] is not None:
        return kind, discrepancy["match"]["lines"][0]["endToEndId"], effect
    if discrepancy["line"] is not None:
        return kind, discrepancy["line"]["endToEndId"], effect
    return kind, discrepancy["entry"]["transaction"]["externalId"], effect


def deal_with_all(partner: Partner, march: str, discrepancies: list[Json]) -> None:
    """Confirm what is proposed; accept what no posting mends; post the rest."""
    proposed = partner.query(PROPOSED, id=march)["reconciliation"]["matches"]["nodes"]
    confirmed = partner.mutate(CONFIRM, matchIds=[match["id"] for match in proposed])
    assert confirmed["reconciliation"]["summary"]["proposedMatches"] == 0
    refused = partner.mutate(CLOSE, reconciliationId=march)
    assert refusal(refused) == ("RECONCILIATION_INCOMPLETE", "input.reconciliationId")
    assert (refused["proposedMatches"], refused["openDiscrepancies"]) == (0, 25)
    for number, discrepancy in enumerate(discrepancies):
        if discrepancy["kind"] in ("DATE_MISMATCH", "BALANCE_MISMATCH", "DUPLICATE_LINE"):
            how: Json = {"accept": {"reason": "the bank will mend it"}}
        elif discrepancy["kind"] == "AMOUNT_MISMATCH":
            how = {
                "writeOff": {
                    "accountId": partner.ids["sales"],
                    "reason": "a fee",
                    "idempotencyKey": f"off-{number}",
                }
            }
        else:
            how = {
                "adjustment": {
                    "counterAccountId": partner.ids["sales"],
                    "idempotencyKey": f"adjust-{number}",
                    "externalId": f"adjustment {number}",
                }
            }
        answer = partner.mutate(RESOLVE, discrepancyId=discrepancy["id"], **how)
        assert answer["__typename"] == "ResolveDiscrepancySuccess", answer
        resolution = answer["discrepancy"]["resolution"]
        assert (resolution["transaction"] is None) == ("accept" in how)
