"""Test ledgers beside live ones: the same code under two keys, and nothing crosses."""

import json
from typing import Any

from tests.scenarios.conftest import Operator
from tests.scenarios.partner import (
    CLOSE_PERIOD,
    CREATE_ACCOUNTS,
    CREATE_LEDGER,
    POST,
    REFUSAL,
    REVERSE,
    SETTLE,
    TRANSACTION_BY_EXTERNAL_ID,
    TRANSACTION_BY_KEY,
    UPDATE_TRANSACTION,
    VOID,
    Partner,
    refusal,
)

VIEWER = "{ viewer { organization mode scopes ledgers { id } } }"

LEDGERS = "{ ledgers { nodes { id name mode } } }"

NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"

SEEN = """
query ($ledger: ID!, $account: ID!, $transaction: ID!) {
  ledger(id: $ledger) { name }
  account(id: $account) { name }
  accountByExternalId(ledgerId: $ledger, externalId: "wallet") { name }
  transaction(id: $transaction) { status }
}
"""

BATCH = f"""
mutation ($input: PostTransactionsInput!) {{
  postTransactions(input: $input) {{
    {REFUSAL}
    ... on PostTransactionsSuccess {{
      results {{ {REFUSAL} ... on PostTransactionSuccess {{ transaction {{ sequence }} }} }}
    }}
  }}
}}
"""

UPDATE_ACCOUNT = f"""
mutation ($input: UpdateAccountInput!) {{
  updateAccount(input: $input) {{
    {REFUSAL} ... on UpdateAccountSuccess {{ account {{ availableFloor }} }}
  }}
}}
"""

TRANSFER = f"mutation ($input: TransferInput!) {{ transfer(input: $input) {{ {REFUSAL} }} }}"


def run_the_shop(partner: Partner) -> dict[str, str]:
    """What the partner's program does, the same in both modes; the ids of its transactions."""
    partner.open_ledger("Shop")
    partner.open_accounts(
        {"externalId": "cash", "normalBalance": "DEBIT"},
        {"externalId": "wallet", "normalBalance": "CREDIT", "availableFloor": "0"},
        {"externalId": "shop", "normalBalance": "CREDIT"},
    )
    top_up = partner.post("top-up", partner.move("cash", "wallet", 1000), externalId="top-up")
    hold = partner.post(
        "hold", partner.move("wallet", "shop", 300), externalId="hold", status="PENDING"
    )
    assert (top_up["replayed"], hold["replayed"]) == (False, False)
    assert partner.balances("wallet") == (1000, -300, 700)
    return {"posted": top_up["transaction"]["id"], "pending": hold["transaction"]["id"]}


def state(partner: Partner) -> Any:
    return [partner.balances(name) for name in ("cash", "wallet", "shop")], partner.trial_balance()


def top_level(partner: Partner, document: str, **variables: Any) -> list[str]:
    """The codes of the errors with which a request as a whole is refused."""
    answer = partner.http.post("/graphql", json={"query": document, "variables": variables})
    return [error["extensions"]["code"] for error in answer.json().get("errors", [])]


def test_test_and_live(operator: Operator) -> None:
    """Both modes take the same ids and keys; neither sees, names or moves what the other has."""
    acme = operator.organization("Acme")
    with (
        operator.key(acme, "test", "admin") as test,
        operator.key(acme, "live", "admin") as live,
        operator.key(operator.organization("Rival"), "live", "admin") as rival,
    ):
        # The same program runs in both: external ids and idempotency keys do not meet.
        in_test, in_live = run_the_shop(test), run_the_shop(live)
        assert test.ledger != live.ledger
        for one, mode in ((test, "TEST"), (live, "LIVE")):
            assert one.query(VIEWER)["viewer"] == {
                "organization": "Acme",
                "mode": mode,
                "scopes": ["READ", "WRITE", "ADMIN"],
                "ledgers": None,
            }
            assert one.query(LEDGERS)["ledgers"]["nodes"] == [
                {"id": one.ledger, "name": "Shop", "mode": mode}
            ]
        assert rival.query(LEDGERS)["ledgers"]["nodes"] == []

        # Whoever has the wrong key sees nothing of the other's, by whatever id.
        before = state(test), state(live)
        for stranger, owner, theirs in (
            (live, test, in_test),
            (test, live, in_live),
            (rival, live, in_live),
            (rival, test, in_test),
        ):
            cannot_see(stranger, owner, theirs)
            cannot_change(stranger, owner, theirs)
        assert (state(test), state(live)) == before

        # No entry goes from play money to real money, whichever key and ledger are named.
        for one, other in ((test, live), (live, test)):
            mixed = [one.entry("DEBIT", "cash", 5), other.entry("CREDIT", "wallet", 5)]
            assert refusal(one.post("mixed", mixed)) == (
                "ACCOUNT_NOT_FOUND",
                "input.entries.1.accountId",
            )
            across = one.mutate(
                TRANSFER,
                ledgerId=one.ledger,
                **{"from": one.ids["wallet"], "to": other.ids["wallet"]},
                amount="5",
                idempotencyKey="across",
            )
            assert refusal(across) == ("ACCOUNT_NOT_FOUND", "input.to")
        batch = [
            {
                "ledgerId": partner.ledger,
                "idempotencyKey": "in a batch",
                "entries": partner.move("cash", "wallet", 1),
            }
            for partner in (test, live)
        ]
        answered = test.mutate(BATCH, mode="INDEPENDENT", transactions=batch)
        mine, other_mode = answered["results"]
        assert mine["transaction"] == {"sequence": "3"}
        assert refusal(other_mode) == ("LEDGER_NOT_FOUND", "input.transactions.1.ledgerId")
        whole = test.mutate(BATCH, mode="ATOMIC", transactions=batch)
        assert refusal(whole) == ("LEDGER_NOT_FOUND", "input.transactions.1.ledgerId")
        assert live.balances("wallet") == (1000, -300, 700)

        # What one settles, the other still holds.
        settled = live.mutate(SETTLE, transactionId=in_live["pending"], idempotencyKey="settle")
        assert settled["transaction"]["status"] == "POSTED"
        assert live.balances("wallet") == (700, 0, 700)
        assert test.balances("wallet") == (1001, -300, 701)
        # A month that is closed in the test is open in earnest.
        for one, through in ((test, "2025-12-31T23:59:59Z"), (live, "2025-01-31T23:59:59Z")):
            closed = one.mutate(CLOSE_PERIOD, ledgerId=one.ledger, through=through)
            assert closed["__typename"] == "ClosePeriodSuccess"
        july = {"effectiveAt": "2025-07-01T00:00:00Z"}
        assert refusal(test.post("july", test.move("cash", "wallet", 1), **july)) == (
            "PERIOD_CLOSED",
            "input.effectiveAt",
        )
        assert live.post("july", live.move("cash", "wallet", 1), **july)["replayed"] is False


def cannot_see(stranger: Partner, owner: Partner, theirs: dict[str, str]) -> None:
    """What a key cannot see does not exist for it."""
    assert stranger.query(
        SEEN,
        ledger=owner.ledger,
        account=owner.ids["wallet"],
        transaction=theirs["posted"],
    ) == {"ledger": None, "account": None, "accountByExternalId": None, "transaction": None}
    ids = [owner.ledger, *owner.ids.values(), *theirs.values()]
    assert stranger.query(NODES, ids=ids)["nodes"] == [None] * len(ids)
    by_id = stranger.query(TRANSACTION_BY_EXTERNAL_ID, ledger=owner.ledger, externalId="top-up")
    by_key = stranger.query(TRANSACTION_BY_KEY, ledger=owner.ledger, key="top-up")
    assert (by_id, by_key) == (
        {"transactionByExternalId": None},
        {"transactionByIdempotencyKey": None},
    )


def cannot_change(stranger: Partner, owner: Partner, theirs: dict[str, str]) -> None:
    """Nor can it be written to, not even by sending what was accepted there."""
    sent = {
        "ledgerId": owner.ledger,
        "idempotencyKey": "top-up",
        "externalId": "top-up",
        "entries": owner.move("cash", "wallet", 1000),
    }
    account = {"ledgerId": owner.ledger, "name": "x", "currency": "USD", "normalBalance": "CREDIT"}
    hold = {"transactionId": theirs["pending"], "idempotencyKey": "stranger"}
    done = {**hold, "transactionId": theirs["posted"]}
    for document, given, code in (
        (POST, sent, "LEDGER_NOT_FOUND"),
        (CREATE_ACCOUNTS, {"accounts": [account]}, "LEDGER_NOT_FOUND"),
        (
            CLOSE_PERIOD,
            {"ledgerId": owner.ledger, "through": "2025-01-01T00:00:00Z"},
            "LEDGER_NOT_FOUND",
        ),
        (SETTLE, hold, "TRANSACTION_NOT_FOUND"),
        (VOID, hold, "TRANSACTION_NOT_FOUND"),
        (REVERSE, done, "TRANSACTION_NOT_FOUND"),
        (UPDATE_TRANSACTION, {**done, "description": "x"}, "TRANSACTION_NOT_FOUND"),
        (
            UPDATE_ACCOUNT,
            {"accountId": owner.ids["wallet"], "availableFloor": None},
            "ACCOUNT_NOT_FOUND",
        ),
    ):
        assert stranger.mutate(document, **given)["code"] == code
    line = {name: sent[name] for name in ("idempotencyKey", "externalId", "entries")}
    loaded = stranger.http.post(
        f"/bulk/postings?ledgerId={owner.ledger}",
        content=json.dumps(line) + "\n",
        headers={"Content-Type": "application/jsonl"},
    )
    assert "LEDGER_NOT_FOUND" in loaded.text


def test_keys_for_less(operator: Operator) -> None:
    """A key that reads does not write; a key of one ledger sees no other; a revoked one is out."""
    acme = operator.organization("Acme")
    with operator.key(acme, "live", "admin") as admin:
        run_the_shop(admin)
        only = admin.ledger
        other = admin.mutate(CREATE_LEDGER, name="Payroll")["ledger"]["id"]
        with (
            operator.key(acme, "live", "read") as reader,
            operator.key(acme, "live", "write", "--ledger", only) as writer,
        ):
            for partner in (reader, writer):
                partner.ledger, partner.ids = only, admin.ids
                assert partner.balances("wallet") == (1000, -300, 700)
            posting = {
                "ledgerId": only,
                "idempotencyKey": "first",
                "entries": admin.move("cash", "wallet", 5),
            }
            assert top_level(reader, POST, input=posting) == ["FORBIDDEN"]
            assert writer.mutate(POST, **posting)["replayed"] is False
            closing = {"ledgerId": only, "through": "2025-01-31T23:59:59Z"}
            assert top_level(writer, CLOSE_PERIOD, input=closing) == ["FORBIDDEN"]
            names = [row["name"] for row in reader.query(LEDGERS)["ledgers"]["nodes"]]
            assert names == ["Shop", "Payroll"]
            assert writer.query(LEDGERS)["ledgers"]["nodes"] == [
                {"id": only, "name": "Shop", "mode": "LIVE"}
            ]
            assert refusal(writer.mutate(POST, **{**posting, "ledgerId": other})) == (
                "LEDGER_NOT_FOUND",
                "input.ledgerId",
            )
            # A secret that leaked is revoked; within seconds it opens nothing.
            listed = operator.run("keys", "list", "--organization", acme).splitlines()
            (key,) = (line.split("\t")[0] for line in listed if "\tlive write\t" in line)
            operator.run("keys", "revoke", key, "--organization", acme)
            writer.until(lambda: top_level(writer, VIEWER) == ["UNAUTHENTICATED"])
            assert top_level(writer, POST, input=posting) == ["UNAUTHENTICATED"]
            assert admin.balances("wallet") == (1005, -300, 705)
