"""Reading: every object by every name it has, and balances at every pair of times."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ledger.accounts.state import Mode
from app.store.identity import Permission
from tests.api_client import SETTLE, VOID, Api, Json, open_api

NODE = """
query ($id: ID!) {
  node(id: $id) {
    __typename id
    ... on Ledger { name } ... on Account { name }
    ... on Transaction { sequence } ... on Entry { sequence amount }
  }
}
"""
FAMILY = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"
TODAY = datetime.now(UTC)


@dataclass
class Books:
    """A ledger with cash, a wallet, one posted transaction and one hold."""

    api: Api
    ledger: str
    cash: str
    wallet: str
    posted: Json
    held: Json


@pytest_asyncio.fixture
async def books(api: Api) -> Books:
    """Small books with one of everything."""
    ledger = await api.ledger("Main")
    cash = await api.account(ledger, name="Cash", normalBalance="DEBIT", externalId="cash")
    wallet = await api.account(ledger, name="Wallet", externalId="wallet", metadata={"tier": 1})
    posted = await api.post(
        ledger, cash, wallet, 1000, externalId="first", description="A sale", metadata={"n": 1}
    )
    held = await api.post(ledger, wallet, cash, 400, status="PENDING", idempotencyKey="hold")
    return Books(api, ledger, cash, wallet, posted["transaction"], held["transaction"])


async def test_node_finds_each_type(books: Books) -> None:
    """An id of any type finds its object, and `nodes` finds them in the order asked for."""
    entry = books.posted["entries"][1]["id"]
    expected = {
        books.ledger: {"__typename": "Ledger", "name": "Main"},
        books.wallet: {"__typename": "Account", "name": "Wallet"},
        books.posted["id"]: {"__typename": "Transaction", "sequence": "1"},
        entry: {"__typename": "Entry", "sequence": "1", "amount": "1000"},
    }
    for id_, shown in expected.items():
        assert await books.api.run(NODE, {"id": id_}) == {"node": {"id": id_, **shown}}
    ids = [entry, books.ledger, entry, books.posted["id"], books.wallet]
    found = (await books.api.run(FAMILY, {"ids": ids}))["nodes"]
    assert [node["id"] for node in found] == ids


@pytest.mark.parametrize("prefix", ["ldgr", "acct", "txn", "ent"])
async def test_unknown_and_malformed_ids_are_null(books: Books, prefix: str) -> None:
    """Ids that are unknown, of another type, or no ids at all find null, never an error."""
    unknown = f"{prefix}_{uuid4().hex}" + ("_1" if prefix == "ent" else "")
    known = books.posted["entries"][0]["id"] if prefix == "ent" else books.wallet
    malformed = [
        "", prefix, f"{prefix}_", unknown.upper(), f" {unknown}", f"{unknown}\n", f"{unknown}_0",
        unknown[:-1], f"{unknown}x", f"{prefix}_{uuid4()}", known + "_99", "x" * 10_000,
        f"ent_{uuid4().hex}", f"ent_{uuid4().hex}_01", f"ent_{uuid4().hex}_{2**63}", "¤", "%s", "1",
        f"ent_{uuid4().hex}_{2**63 - 1}",
    ]  # fmt: skip
    asked = [unknown, *malformed]
    assert await books.api.run(FAMILY, {"ids": asked}) == {"nodes": [None] * len(asked)}
    for id_ in asked:
        assert await books.api.run(
            "query ($id: ID!) { node(id: $id) { id } ledger(id: $id) { id }"
            " account(id: $id) { id } transaction(id: $id) { id } }",
            {"id": id_},
        ) == {"node": None, "ledger": None, "account": None, "transaction": None}


async def test_ids_of_another_type_are_null(books: Books) -> None:
    """The fields that find one type find no object of another."""
    query = (
        "query ($l: ID!, $a: ID!, $t: ID!) { ledger(id: $a) { id } account(id: $t) { id }"
        " transaction(id: $l) { id } byL: ledger(id: $l) { id } byA: account(id: $a) { id }"
        " byT: transaction(id: $t) { id } }"
    )
    names = {"l": books.ledger, "a": books.wallet, "t": books.posted["id"]}
    assert await books.api.run(query, names) == {
        "ledger": None,
        "account": None,
        "transaction": None,
        "byL": {"id": books.ledger},
        "byA": {"id": books.wallet},
        "byT": {"id": books.posted["id"]},
    }


async def test_nodes_has_a_limit(books: Books) -> None:
    """A hundred ids are found at once; one more is BAD_USER_INPUT."""
    found = await books.api.run(FAMILY, {"ids": [books.wallet] * 100})
    assert found["nodes"] == [{"__typename": "Account", "id": books.wallet}] * 100
    response = await books.api.send(FAMILY, {"ids": [books.wallet] * 101})
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_names_of_the_client(books: Books) -> None:
    """External ids and idempotency keys find their objects, within their ledger only."""
    query = """
    query ($l: ID!, $account: String!, $transaction: String!, $key: String!) {
      accountByExternalId(ledgerId: $l, externalId: $account) { id }
      transactionByExternalId(ledgerId: $l, externalId: $transaction) { id }
      transactionByIdempotencyKey(ledgerId: $l, idempotencyKey: $key) { id }
    }
    """
    names = {"account": "wallet", "transaction": "first", "key": "hold"}
    assert await books.api.run(query, {"l": books.ledger, **names}) == {
        "accountByExternalId": {"id": books.wallet},
        "transactionByExternalId": {"id": books.posted["id"]},
        "transactionByIdempotencyKey": {"id": books.held["id"]},
    }
    nothing = {
        "accountByExternalId": None,
        "transactionByExternalId": None,
        "transactionByIdempotencyKey": None,
    }
    other = await books.api.ledger("Other")
    for ledger in (other, f"ldgr_{uuid4().hex}", books.wallet, "", "x"):
        assert await books.api.run(query, {"l": ledger, **names}) == nothing
    for text in ("", "Wallet", "wallet ", "x" * 10_000, "%", "\ud7ff"):
        asked = {"account": text, "transaction": text, "key": text}
        assert await books.api.run(query, {"l": books.ledger, **asked}) == nothing


async def test_every_key_of_a_transaction_finds_it(books: Books) -> None:
    """The keys that created, settled and voided a transaction all find it; its own is the first."""
    query = """
    query ($l: ID!, $key: String!) {
      transactionByIdempotencyKey(ledgerId: $l, idempotencyKey: $key) {
        id idempotencyKey status history { kind idempotencyKey description }
      }
    }
    """
    part = [
        {"accountId": books.wallet, "direction": "DEBIT", "amount": "150"},
        {"accountId": books.cash, "direction": "CREDIT", "amount": "150"},
    ]
    hold = {"transactionId": books.held["id"]}
    await books.api.answer(SETTLE, **hold, idempotencyKey="part", entries=part, final=False)
    await books.api.answer(VOID, **hold, idempotencyKey="rest", description="Not\nneeded")
    for key in ("hold", "part", "rest"):
        assert await books.api.run(query, {"l": books.ledger, "key": key}) == {
            "transactionByIdempotencyKey": {
                "id": books.held["id"],
                "idempotencyKey": "hold",
                "status": "POSTED",
                "history": [
                    {"kind": "HELD", "idempotencyKey": "hold", "description": None},
                    {"kind": "SETTLED", "idempotencyKey": "part", "description": None},
                    {"kind": "VOIDED", "idempotencyKey": "rest", "description": "Not\nneeded"},
                ],
            }
        }


async def test_viewer(books: Books) -> None:
    """The viewer is the key in use: its organization, name, mode, scopes, end and ledgers."""
    query = """{ viewer { organization keyName keyHint mode scopes expiresAt ledgers { id } } }"""
    api = books.api
    assert (await api.run(query))["viewer"] == {
        "organization": "Testers",
        "keyName": "all",
        "keyHint": f"{api.token[:12]}…{api.token[-4:]}",
        "mode": "TEST",
        "scopes": ["READ", "WRITE", "ADMIN"],
        "expiresAt": None,
        "ledgers": None,
    }
    ends = datetime(2100, 1, 1, tzinfo=UTC)
    live = await api.with_key(Permission.WRITE, mode=Mode.LIVE, expires_at=ends)
    assert (await live.run(query))["viewer"] == {
        "organization": "Testers",
        "keyName": "another",
        "keyHint": f"{live.token[:12]}…{live.token[-4:]}",
        "mode": "LIVE",
        "scopes": ["READ", "WRITE"],
        "expiresAt": "2100-01-01T00:00:00.000000Z",
        "ledgers": None,
    }


async def test_the_graph_goes_both_ways(books: Books) -> None:
    """Ledger, account, entry and transaction lead to each other and agree wherever one starts."""
    query = """
    query ($id: ID!) {
      account(id: $id) {
        ledger { id accounts { nodes { id ledger { id } } } }
        entries { nodes {
          id account { id name }
          transaction { id ledger { id } entries { id account { id } transaction { id } } }
        } }
        holds { nodes { id entries { account { id } } } }
      }
    }
    """
    account = (await books.api.run(query, {"id": books.wallet}))["account"]
    assert account["ledger"] == {
        "id": books.ledger,
        "accounts": {
            "nodes": [
                {"id": books.cash, "ledger": {"id": books.ledger}},
                {"id": books.wallet, "ledger": {"id": books.ledger}},
            ]
        },
    }
    for node, transaction in zip(
        account["entries"]["nodes"], (books.posted, books.held), strict=True
    ):
        mine = next(e for e in transaction["entries"] if e["account"]["id"] == books.wallet)
        assert node == {
            "id": mine["id"],
            "account": {"id": books.wallet, "name": "Wallet"},
            "transaction": {
                "id": transaction["id"],
                "ledger": {"id": books.ledger},
                "entries": [
                    {
                        "id": e["id"],
                        "account": e["account"],
                        "transaction": {"id": transaction["id"]},
                    }
                    for e in transaction["entries"]
                ],
            },
        }
    assert account["holds"]["nodes"] == [
        {
            "id": books.held["id"],
            "entries": [{"account": e["account"]} for e in books.held["entries"]],
        }
    ]


async def test_holds_are_those_in_flight(books: Books) -> None:
    """An account's holds are its pending transactions: settled in part they stay, then they go."""
    query = "query ($id: ID!) { account(id: $id) { holds { nodes { id status } } } }"
    other = await books.api.account(books.ledger)

    async def holds(account: str) -> list[str]:
        found = await books.api.run(query, {"id": account})
        nodes = found["account"]["holds"]["nodes"]
        assert {node["status"] for node in nodes} <= {"PENDING"}
        return [node["id"] for node in nodes]

    second = await books.api.post(books.ledger, books.cash, other, 5, status="PENDING")
    first, second_id = books.held["id"], second["transaction"]["id"]
    assert await holds(books.cash) == [first, second_id]
    assert (await holds(books.wallet), await holds(other)) == ([first], [second_id])
    part = [
        {"accountId": books.wallet, "direction": "DEBIT", "amount": "399"},
        {"accountId": books.cash, "direction": "CREDIT", "amount": "399"},
    ]
    await books.api.answer(
        SETTLE, transactionId=first, idempotencyKey="s1", entries=part, final=False
    )
    assert await holds(books.cash) == [first, second_id]
    await books.api.answer(SETTLE, transactionId=first, idempotencyKey="s2")
    await books.api.answer(VOID, transactionId=second_id, idempotencyKey="v")
    assert [await holds(a) for a in (books.cash, books.wallet, other)] == [[], [], []]


# ---- balances at two times -----------------------------------------------------------------------

ENTRIES = """
query ($id: ID!) {
  ledger(id: $id) {
    accounts { nodes {
      id normalBalance
      entries(first: 100) { nodes {
        sequence direction amount status effectiveAt createdAt transaction { history { kind } }
      } }
    } }
  }
}
"""
BALANCES = (
    "{ version posted { amount debits credits } pending { amount debits credits }"
    " available { amount debits credits } projected { amount debits credits } }"
)


@dataclass(frozen=True)
class Step:
    """One command of a random history."""

    kind: str
    amount: int
    backwards: bool
    days: int
    hold: int


STEPS = st.builds(
    Step,
    st.sampled_from(["post", "post", "hold", "hold", "settle", "void"]),
    st.integers(1, 1000),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(0, 3),
)


def _fold(entries: Iterable[Json], normal: str, as_of: str | None, known_at: str | None) -> Json:
    """What the balances are, added up entry by entry."""
    totals = {("posted", "DEBIT"): 0, ("posted", "CREDIT"): 0}
    totals |= {("pending", "DEBIT"): 0, ("pending", "CREDIT"): 0}
    version = 0
    for entry in entries:
        if (as_of or "9") < entry["effectiveAt"] or (known_at or "9") < entry["createdAt"]:
            continue
        version = max(version, int(entry["sequence"]))
        side, amount = entry["direction"], int(entry["amount"])
        held = entry["transaction"]["history"][0]["kind"] == "HELD"
        if entry["status"] == "POSTED":
            totals["posted", side] += amount
        if held:
            totals["pending", side] += amount if entry["status"] == "PENDING" else -amount
    posted = {side: totals["posted", side] for side in ("DEBIT", "CREDIT")}
    pending = {side: totals["pending", side] for side in ("DEBIT", "CREDIT")}
    out = "DEBIT" if normal == "CREDIT" else "CREDIT"
    available = {side: posted[side] + (pending[side] if side == out else 0) for side in posted}
    projected = {side: posted[side] + pending[side] for side in posted}
    sides = {
        "posted": posted, "pending": pending, "available": available, "projected": projected
    }  # fmt: skip
    return {"version": str(version)} | {
        name: {
            "amount": str(side[normal] - side["DEBIT" if normal == "CREDIT" else "CREDIT"]),
            "debits": str(side["DEBIT"]),
            "credits": str(side["CREDIT"]),
        }
        for name, side in sides.items()
    }


async def _live(api: Api, steps: Iterable[Step]) -> str:
    """Live through a history in a new ledger and return its id."""
    ledger = await api.ledger()
    cash = await api.account(ledger, normalBalance="DEBIT")
    wallet = await api.account(ledger)
    holds: list[str] = []
    for number, step in enumerate(steps):
        debit, credit = (wallet, cash) if step.backwards else (cash, wallet)
        if step.kind in ("post", "hold"):
            result = await api.post(
                ledger,
                debit,
                credit,
                step.amount,
                status="POSTED" if step.kind == "post" else "PENDING",
                effectiveAt=(TODAY + timedelta(days=step.days)).isoformat(),
            )
            if step.kind == "hold":
                holds.append(result["transaction"]["id"])
        elif holds:
            change = {
                "transactionId": holds[step.hold % len(holds)], "idempotencyKey": f"change {number}"
            }  # fmt: skip
            await api.answer(SETTLE if step.kind == "settle" else VOID, **change)
    return ledger


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=1, max_size=10), data=st.data())
async def test_balances_at_any_two_times(api: Api, steps: list[Step], data: Any) -> None:
    """Balances as of one time and as known at another are the fold of the entries by both."""
    ledger = await _live(api, steps)
    accounts = (await api.run(ENTRIES, {"id": ledger}))["ledger"]["accounts"]["nodes"]
    every = [entry for account in accounts for entry in account["entries"]["nodes"]]
    effective = [None, *sorted({_around(e["effectiveAt"], n) for e in every for n in (-1, 0)})]
    recorded = [None, *sorted({_around(e["createdAt"], n) for e in every for n in (-1, 0)})]
    pairs = data.draw(
        st.lists(
            st.tuples(st.sampled_from(effective), st.sampled_from(recorded)),
            min_size=1,
            max_size=6,
            unique=True,
        )
    )
    asked = " ".join(
        f"b{number}: balances({_arguments(as_of, known_at)}) {BALANCES}"
        for number, (as_of, known_at) in enumerate(pairs)
    )
    found = await api.run(
        f"query ($id: ID!) {{ ledger(id: $id) {{ accounts {{ nodes {{ {asked} }} }} }} }}",
        {"id": ledger},
    )
    trials = " ".join(
        f"t{number}: trialBalance({_arguments(as_of, known_at)})"
        " { currency { code exponent } accounts debits credits pendingDebits pendingCredits }"
        for number, (as_of, known_at) in enumerate(pairs)
    )
    lines = await api.run(f"query ($id: ID!) {{ ledger(id: $id) {{ {trials} }} }}", {"id": ledger})
    for number, (as_of, known_at) in enumerate(pairs):
        folds = [
            _fold(a["entries"]["nodes"], a["normalBalance"], as_of, known_at) for a in accounts
        ]
        assert [node[f"b{number}"] for node in found["ledger"]["accounts"]["nodes"]] == folds
        (line,) = lines["ledger"][f"t{number}"]
        assert line == {
            "currency": {"code": "USD", "exponent": 2},
            "accounts": 2,
            "debits": _sum(folds, "posted", "debits"),
            "credits": _sum(folds, "posted", "credits"),
            "pendingDebits": _sum(folds, "pending", "debits"),
            "pendingCredits": _sum(folds, "pending", "credits"),
        }
        assert line["debits"] == line["credits"]
        assert line["pendingDebits"] == line["pendingCredits"]


def _around(text: str, microseconds: int) -> str:
    moment = datetime.fromisoformat(text) + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _arguments(as_of: str | None, known_at: str | None) -> str:
    return f"asOf: {_literal(as_of)}, knownAt: {_literal(known_at)}"


def _literal(time: str | None) -> str:
    return "null" if time is None else f'"{time}"'


def _sum(folds: Iterable[Json], balance: str, side: str) -> str:
    return str(sum(int(fold[balance][side]) for fold in folds))


async def test_balances_tell_for_when_they_hold(books: Books) -> None:
    """`asOf` of a balance is the time asked for, else now; `decimal` follows the exponent."""
    query = """
    query ($id: ID!, $t: DateTime!) {
      account(id: $id) {
        then: balances(asOf: $t) { asOf version posted { decimal currency { code exponent } } }
        known: balances(knownAt: $t) { asOf version }
        now: balances { asOf version posted { decimal } pending { decimal } }
      }
    }
    """
    before = datetime.now(UTC)
    account = (await books.api.run(query, {"id": books.wallet, "t": "2000-01-01T00:00:00Z"}))[
        "account"
    ]
    assert account["then"] == {
        "asOf": "2000-01-01T00:00:00.000000Z",
        "version": "0",
        "posted": {"decimal": "0.00", "currency": {"code": "USD", "exponent": 2}},
    }
    assert account["known"] == {"asOf": "2000-01-01T00:00:00.000000Z", "version": "0"}
    assert before <= datetime.fromisoformat(account["now"].pop("asOf")) <= datetime.now(UTC)
    assert account["now"] == {
        "version": "2",
        "posted": {"decimal": "10.00"},
        "pending": {"decimal": "-4.00"},
    }


@pytest.mark.parametrize(
    ("exponent", "amount", "decimal"),
    [
        (0, "1234", "1234"),
        (1, "5", "0.5"),
        (8, "1", "0.00000001"),
        (36, str(10**36), "1." + "0" * 36),
    ],
)
async def test_decimals(api: Api, exponent: int, amount: str, decimal: str) -> None:
    """A balance in units of its currency has as many digits as the exponent says, both signs."""
    ledger = await api.ledger()
    unit = {"currency": "XTS.UNIT", "exponent": exponent}
    one, other = await api.account(ledger, **unit), await api.account(ledger, **unit)
    await api.post(ledger, one, other, amount)
    query = "query ($id: ID!) { account(id: $id) { balances { posted { decimal } } } }"
    shown = [
        (await api.run(query, {"id": id_}))["account"]["balances"]["posted"]["decimal"]
        for id_ in (one, other)
    ]
    assert shown == [f"-{decimal}", decimal]


async def test_trial_balance_has_a_line_a_currency(api: Api) -> None:
    """Each currency of the ledger has its line, with and without times, used or not."""
    ledger = await api.ledger()
    one, other = await api.account(ledger), await api.account(ledger)
    yen = [await api.account(ledger, currency="JPY") for _ in range(3)]
    await api.account(ledger, currency="POINTS", exponent=0)
    await api.post(ledger, one, other, 100)
    await api.post(ledger, yen[0], yen[1], 7, status="PENDING")
    await (await api.stranger()).ledger()
    line = "{ currency { code exponent } accounts debits credits pendingDebits pendingCredits }"
    query = (
        "query ($id: ID!, $t: DateTime) { ledger(id: $id) {"
        f" now: trialBalance {line} dated: trialBalance(asOf: $t) {line}"
        f" known: trialBalance(knownAt: $t) {line} }} }}"
    )

    def lines(usd: str, jpy: str) -> list[Json]:
        return [
            {
                "currency": {"code": code, "exponent": exponent},
                "accounts": count,
                "debits": posted,
                "credits": posted,
                "pendingDebits": pending,
                "pendingCredits": pending,
            }
            for code, exponent, count, posted, pending in (
                ("JPY", 0, 3, "0", jpy), ("POINTS", 0, 1, "0", "0"), ("USD", 2, 2, usd, "0")
            )
        ]  # fmt: skip

    full, empty = lines("100", "7"), lines("0", "0")
    later = await api.run(query, {"id": ledger, "t": "2150-01-01T00:00:00Z"})
    assert later["ledger"] == {"now": full, "dated": full, "known": full}
    sooner = await api.run(query, {"id": ledger, "t": "2000-01-01T00:00:00Z"})
    assert sooner["ledger"] == {"now": full, "dated": empty, "known": empty}
    bare = await api.ledger("Without accounts")
    nothing: list[Json] = []
    assert (await api.run(query, {"id": bare}))["ledger"] == dict.fromkeys(
        ("now", "dated", "known"), nothing
    )


# ---- balance history -----------------------------------------------------------------------------

HISTORY = """
query ($id: ID!, $from: DateTime!, $to: DateTime!, $interval: Interval!, $zone: String) {
  account(id: $id) {
    balanceHistory(from: $from, to: $to, interval: $interval, timeZone: $zone) {
      startsAt endsAt balances { asOf version posted { amount } }
    }
  }
}
"""


async def _history(
    api: Api, account: str, interval: str, span: str, zone: str | None
) -> list[Json]:
    start, end = (f"{text}Z" for text in span.split(" "))
    found = await api.run(
        HISTORY, {"id": account, "from": start, "to": end, "interval": interval, "zone": zone}
    )
    points: list[Json] = found["account"]["balanceHistory"]
    return points


def _steps(points: Iterable[Json]) -> list[str]:
    """The edges of the steps without their seconds, after asserting that no gap lies between."""
    points = list(points)
    assert all(a["endsAt"] == b["startsAt"] for a, b in pairwise(points))
    edges = [points[0]["startsAt"], *(point["endsAt"] for point in points)]
    assert all(edge.endswith(":00.000000Z") for edge in edges)
    return [edge.removesuffix(":00.000000Z") for edge in edges]


@pytest.mark.parametrize(
    ("interval", "span", "zone", "edges"),
    [
        ("HOUR", "2026-03-01T10:30:00 2026-03-01T12:00:00", None,
         ["2026-03-01T10:00", "2026-03-01T11:00", "2026-03-01T12:00", "2026-03-01T13:00"]),
        ("HOUR", "2026-03-01T10:31:00 2026-03-01T10:31:00", "Asia/Kolkata",
         ["2026-03-01T10:30", "2026-03-01T11:30"]),
        # Paris leaves out the hour from two, at one o'clock UTC …
        ("HOUR", "2026-03-29T00:10:00 2026-03-29T01:30:00", "Europe/Paris",
         ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"]),
        ("DAY", "2026-03-28T12:00:00 2026-03-29T12:00:00", "Europe/Paris",
         ["2026-03-27T23:00", "2026-03-28T23:00", "2026-03-29T22:00"]),
        # … and has it twice in autumn: two hours and a day of 25.
        ("HOUR", "2026-10-25T00:30:00 2026-10-25T02:30:00", "Europe/Paris",
         ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00", "2026-10-25T03:00"]),
        ("HOUR", "2026-10-25T01:30:00 2026-10-25T01:31:00", "Europe/Paris",
         ["2026-10-25T01:00", "2026-10-25T02:00"]),
        ("DAY", "2026-10-25T12:00:00 2026-10-25T12:00:00", "Europe/Paris",
         ["2026-10-24T22:00", "2026-10-25T23:00"]),
        # Havana has its midnight twice; a day begins with the first.
        ("DAY", "2026-10-31T12:00:00 2026-11-01T12:00:00", "America/Havana",
         ["2026-10-31T04:00", "2026-11-01T04:00", "2026-11-02T05:00"]),
        # São Paulo once had no midnight; the day began at one.
        ("DAY", "2018-11-03T12:00:00 2018-11-04T12:00:00", "America/Sao_Paulo",
         ["2018-11-03T03:00", "2018-11-04T03:00", "2018-11-05T02:00"]),
        # Lord Howe turns its clocks by half an hour.
        ("HOUR", "2026-04-04T14:00:00 2026-04-04T15:31:00", "Australia/Lord_Howe",
         ["2026-04-04T14:00", "2026-04-04T15:30", "2026-04-04T16:30"]),
        # Samoa had no 30 December 2011.
        ("DAY", "2011-12-30T00:00:00 2011-12-30T12:00:00", "Pacific/Apia",
         ["2011-12-29T10:00", "2011-12-30T10:00", "2011-12-31T10:00"]),
        ("WEEK", "2026-01-01T00:00:00 2026-01-05T00:00:00", None,
         ["2025-12-29T00:00", "2026-01-05T00:00", "2026-01-12T00:00"]),
        ("MONTH", "2024-01-31T00:00:00 2024-03-01T00:00:00", None,
         ["2024-01-01T00:00", "2024-02-01T00:00", "2024-03-01T00:00", "2024-04-01T00:00"]),
        ("MONTH", "2025-12-31T23:30:00 2025-12-31T23:30:00", "Europe/Paris",
         ["2025-12-31T23:00", "2026-01-31T23:00"]),
    ],
)  # fmt: skip
async def test_steps_of_a_history(
    books: Books, interval: str, span: str, zone: str | None, edges: list[str]
) -> None:
    """Steps are those of local clocks: short, long, missing and double hours and days included."""
    assert _steps(await _history(books.api, books.wallet, interval, span, zone)) == edges


async def test_history_adds_up(api: Api) -> None:
    """A point holds what was effective before its end: an entry at an edge is in the next step."""
    ledger = await api.ledger()
    cash, wallet = await api.account(ledger, normalBalance="DEBIT"), await api.account(ledger)
    for amount, time in (
        (1, "2026-02-28T23:59:59.999999Z"), (10, "2026-03-01T00:00:00Z"),
        (100, "2026-03-02T00:00:00Z"), (1000, "2026-03-02T23:59:59.999999Z"),
        (10_000, "2026-03-03T00:00:00Z"), (100_000, "2025-01-01T00:00:00Z"),
    ):  # fmt: skip
        await api.post(ledger, cash, wallet, amount, effectiveAt=time)
    span = "2026-02-28T12:00:00 2026-03-03T00:00:00"
    points = await _history(api, wallet, "DAY", span, "UTC")
    assert [(p["balances"]["posted"]["amount"], p["balances"]["version"]) for p in points] == [
        ("100001", "6"), ("100011", "6"), ("101111", "6"), ("111111", "6"),
    ]  # fmt: skip
    query = """query ($id: ID!, $asOf: DateTime) { account(id: $id) {
        balances(asOf: $asOf) { asOf version posted { amount } } } }"""
    for point, edge in zip(points, ("02-28", "03-01", "03-02", "03-03"), strict=True):
        assert point["balances"]["asOf"] == f"2026-{edge}T23:59:59.999999Z" < point["endsAt"]
        found = await api.run(query, {"id": wallet, "asOf": point["balances"]["asOf"]})
        assert found["account"]["balances"] == point["balances"]
    early = await _history(api, wallet, "DAY", "2020-01-01T00:00:00 2020-01-02T00:00:00", None)
    assert [(p["balances"]["posted"]["amount"], p["balances"]["version"]) for p in early] == [
        ("0", "0")
    ] * 2
    empty = await api.account(ledger)
    none = await _history(api, empty, "DAY", span, None)
    assert [p["balances"]["posted"]["amount"] for p in none] == ["0"] * 4


@pytest.mark.parametrize(
    ("span", "interval", "zone"),
    [
        ("2026-03-02T00:00:00 2026-03-01T23:59:59", "DAY", None),
        ("2026-01-01T00:00:00 2027-02-05T00:00:00", "DAY", None),
        ("1900-01-01T00:00:00 2199-12-31T00:00:00", "HOUR", None),
        ("1900-01-01T00:00:00 2199-12-31T00:00:00", "MONTH", None),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "Mars/Olympus"),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "Europe/Paris "),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "../../etc/passwd"),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "/etc/passwd"),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "Europe"),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "localtime"),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "right/Europe/Paris"),
        ("2026-03-01T00:00:00 2026-03-02T00:00:00", "DAY", "é" * 300),
    ],
)
async def test_histories_that_are_refused(
    books: Books, span: str, interval: str, zone: str | None
) -> None:
    """A span backwards or over 400 steps and an unknown time zone are BAD_USER_INPUT."""
    start, end = (f"{text}Z" for text in span.split(" "))
    response = await books.api.send(
        HISTORY,
        {"id": books.wallet, "from": start, "to": end, "interval": interval, "zone": zone},
    )
    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert response.json()["data"] == {"account": None}


async def test_history_of_400_steps(books: Books) -> None:
    """Four hundred steps are served, at either end of time."""
    for first in (datetime(1900, 1, 1, tzinfo=UTC), datetime(2198, 11, 27, tzinfo=UTC)):
        last = first + timedelta(days=399)
        span = f"{first:%Y-%m-%dT%H:%M:%S} {last:%Y-%m-%dT%H:%M:%S}"
        for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Niue"):
            points = await _history(books.api, books.wallet, "DAY", span, zone)
            assert len(points) == 400
            assert datetime.fromisoformat(points[0]["startsAt"]) <= first
            assert datetime.fromisoformat(points[-1]["endsAt"]) > last


async def test_what_outlives_its_operation_keeps_no_connection(database_url: str) -> None:
    """Fields that still run when another's error has ended the operation read nothing more."""
    async with open_api(database_url, pool_size=1) as api:
        ledger = await api.ledger()
        for query in (
            '{ ledger(id: "%s") { name } ledgers(first: 999) { nodes { id } } }',
            (
                '{ nodes(ids: ["%s"]) { id } node(id: "%s") { id }'
                ' ledgers(after: "x") { nodes { id } } }'
            ),
        ) * 3:
            body = (await api.send(query.replace("%s", ledger))).json()
            assert "errors" in body
        assert (await api.run("{ ledgers { nodes { id } } }"))["ledgers"]["nodes"] == [
            {"id": ledger}
        ]
