"""Reconciliations over the API: what others see of them, and accounts that count the other way."""

import asyncio
from typing import Any

from app.store.identity import Permission
from tests.api_client import Api, Json
from tests.scenarios.test_matching import (
    CLOSE,
    CREATE,
    CREATE_EXTERNAL_ACCOUNT,
    IMPORT,
    PROPOSED,
    RESOLVE,
    RUN,
    SHOW,
)

NODE = "query ($id: ID!) { node(id: $id) { __typename id } reconciliation(id: $id) { name } }"
HISTORY = """
query ($id: ID!) {
  reconciliation(id: $id) {
    name timeZone marginDays rules { name kind lineField entryField tolerance { basisPoints } }
    account { name } externalAccount { name reconciliations { nodes { name } } }
    statementLines(state: [UNMATCHED]) { nodes { amount matches { id } } }
    unmatchedEntries { nodes { amount } }
    runs { nodes { status requestedBy reconciliation { name } } }
    history { nodes { number kind by reason } }
  }
}
"""
MANUAL = """
mutation ($input: MatchManuallyInput!) {
  matchManually(input: $input) {
    ... on UserError { code path }
    ... on MatchManuallySuccess {
      match {
        status origin difference reason decidedBy
        lines { endToEndId } entries { amount } reconciliation { summary { confirmedMatches } }
      }
    }
  }
}
"""
LINES = """
query ($id: ID!) {
  reconciliation(id: $id) {
    statementLines { nodes { id } } unmatchedEntries { nodes { id } }
  }
}
"""
UNMATCH = """
mutation ($input: UnmatchInput!) { unmatch(input: $input) { ... on UserError { code path } } }
"""


async def reconciled(api: Api, *, inverted: bool = False) -> Json:
    """A card account of which the acquirer states two payments, one of them unknown to us."""
    ledger = await api.ledger()
    side = "CREDIT" if inverted else "DEBIT"
    cards = await api.account(ledger, name="Cards", normalBalance=side)
    other = await api.account(ledger, name="Other", normalBalance="CREDIT")
    debit, credit = (other, cards) if inverted else (cards, other)
    await api.post(ledger, debit, credit, 100, externalId="p1", effectiveAt="2026-03-02T12:00:00Z")
    made = await api.answer(
        CREATE_EXTERNAL_ACCOUNT,
        accountId=cards,
        name="Acquirer",
        kind="ACQUIRER",
        inverted=inverted,
    )
    external = made["externalAccount"]["id"]
    sign = -1 if inverted else 1
    answer = await api.answer(
        IMPORT,
        externalAccountId=external,
        **{"from": "2026-03-01", "through": "2026-03-31"},
        openingBalance="0",
        closingBalance=str(sign * 107),
        lines=[
            {"bookedOn": "2026-03-02", "amount": str(sign * 100), "endToEndId": "p1"},
            {"bookedOn": "2026-03-05", "amount": str(sign * 7), "endToEndId": "p2"},
        ],
    )
    created = await api.answer(
        CREATE,
        externalAccountId=external,
        name="March",
        statementId=answer["statement"]["id"],
        timeZone="Europe/Paris",
    )
    march = created["reconciliation"]["id"]
    await api.answer(RUN, reconciliationId=march)
    async with asyncio.timeout(60):
        while (shown := await show(api, march))["summary"] is None:
            await asyncio.sleep(0.05)
    return {"id": march, "ledger": ledger, "cards": cards, "other": other, **shown}


async def show(api: Api, march: str) -> Json:
    shown: Json = (await api.run(SHOW, {"id": march}))["reconciliation"]
    return shown


async def test_an_inverted_account_reads_the_same(api: Api) -> None:
    """What comes in there and lowers ours is turned: amounts are the account's in either case."""
    for inverted in (False, True):
        march = await reconciled(api, inverted=inverted)
        assert march["bridge"] == {
            "ledgerBalance": "100",
            "statementBalance": "107",
            "difference": "0",
            "items": [{"kind": "MISSING_IN_LEDGER", "count": 1, "amount": "7"}],
        }
        assert march["summary"]["confirmedMatches"] == 1


async def test_the_graph_of_a_reconciliation(api: Api) -> None:
    """Rules, lines, entries, runs and history hang together."""
    march = await reconciled(api)
    shown = (await api.run(HISTORY, {"id": march["id"]}))["reconciliation"]
    assert shown["rules"][0] == {
        "name": "reference",
        "kind": "REFERENCE",
        "lineField": "REFERENCE",
        "entryField": "EXTERNAL_ID",
        "tolerance": None,
    }
    assert (shown["timeZone"], shown["marginDays"]) == ("Europe/Paris", 30)
    assert shown["externalAccount"] == {
        "name": "Acquirer",
        "reconciliations": {"nodes": [{"name": "March"}]},
    }
    assert shown["statementLines"] == {"nodes": [{"amount": "7", "matches": []}]}
    assert shown["unmatchedEntries"] == {"nodes": []}
    assert shown["runs"]["nodes"] == [
        {"status": "COMPLETED", "requestedBy": "all", "reconciliation": {"name": "March"}}
    ]
    assert shown["history"]["nodes"] == [
        {"number": 1, "kind": "CREATED", "by": "all", "reason": None},
        {"number": 2, "kind": "RUN", "by": "all", "reason": None},
    ]


async def test_a_match_by_hand_names_its_author(api: Api) -> None:
    """The clerk's key, reason and difference are told."""
    march = await reconciled(api)
    clerk = await api.with_key(Permission.WRITE)
    await clerk.post(
        march["ledger"], march["cards"], march["other"], 9, effectiveAt="2026-03-09T12:00:00Z"
    )
    await clerk.answer(RUN, reconciliationId=march["id"])
    async with asyncio.timeout(60):
        while (await show(api, march["id"]))["summary"]["unmatchedEntries"] == 0:
            await asyncio.sleep(0.05)
    found = (await api.run(LINES, {"id": march["id"]}))["reconciliation"]
    lines, entries = found["statementLines"]["nodes"], found["unmatchedEntries"]["nodes"]
    made = await clerk.answer(
        MANUAL,
        reconciliationId=march["id"],
        lineIds=[lines[1]["id"]],
        entryIds=[entries[0]["id"]],
        reason="short by two",
    )
    assert made["match"] == {
        "status": "CONFIRMED",
        "origin": "MANUAL",
        "difference": "-2",
        "reason": "short by two",
        "decidedBy": "another",
        "lines": [{"endToEndId": "p2"}],
        "entries": [{"amount": "9"}],
        "reconciliation": {"summary": {"confirmedMatches": 2}},
    }


async def test_another_tenant_sees_nothing_of_it(api: Api) -> None:
    """To a stranger ids of reconciliations are as good as random ones, read or written."""
    march = await reconciled(api)
    discrepancy = march["discrepancies"]["nodes"][0]["id"]
    stranger = await api.stranger()
    for identity in (march["id"], discrepancy):
        assert await stranger.run(NODE, {"id": identity}) == {"node": None, "reconciliation": None}
    assert (await stranger.run(PROPOSED, {"id": march["id"]}))["reconciliation"] is None
    attempts: list[tuple[str, Json, str]] = [
        (RUN, {"reconciliationId": march["id"]}, "RECONCILIATION_NOT_FOUND"),
        (CLOSE, {"reconciliationId": march["id"]}, "RECONCILIATION_NOT_FOUND"),
        (
            RESOLVE,
            {"discrepancyId": discrepancy, "accept": {"reason": "mine"}},
            "DISCREPANCY_NOT_FOUND",
        ),
        (
            UNMATCH,
            {"matchId": discrepancy.replace("disc", "mtch"), "reason": "x"},
            "MATCH_NOT_FOUND",
        ),
    ]
    for mutation, fields, code in attempts:
        answered: Any = await stranger.answer(mutation, **fields)
        assert answered["code"] == code
    assert await show(api, march["id"]) == {
        name: value
        for name, value in march.items()
        if name not in ("id", "ledger", "cards", "other")
    }
