"""Balances as of random effective times, of accounts with a short and with a long history.

Entries are recorded by the server itself, dated anywhere within three years, in no order: every
chunk of them falls into as many spans as it can.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import psycopg

from tests.benchmarks.bulk_measures import POST_MANY
from tests.benchmarks.load import write_bodies
from tests.benchmarks.measuring import Group, Ratio, Sample, Variant, console
from tests.benchmarks.posting_measures import SEED
from tests.benchmarks.stage import Stage, drive

SIZES = {"10 thousand": 10_000, "100 thousand": 100_000, "1 million": 1_000_000}
LINES = 100
TRANSACTIONS = 50
BODIES = 500
CONNECTIONS = 4
BEGINNING = datetime(2023, 1, 1, tzinfo=UTC)
DAYS = 3 * 365
SUCCESS = '"version":"'

BALANCES = """
query Balances($id: ID!, $asOf: DateTime, $knownAt: DateTime) {
  account(id: $id) {
    balances(asOf: $asOf, knownAt: $knownAt) { version posted { amount } available { amount } }
  }
}
"""

RATIOS = (
    Ratio("as_of_100k", 1.5, "as of, 100 thousand entries", "as of, 10 thousand entries", "cost"),
    Ratio("as_of_1m", 1.5, "as of, 1 million entries", "as of, 10 thousand entries", "cost"),
    Ratio(
        "as_of_known_at_1m",
        1.5,
        "as of and known at, 1 million entries",
        "as of and known at, 10 thousand entries",
        "cost",
    ),
    Ratio(
        "known_at_1m", 1.5, "known at, 1 million entries", "known at, 10 thousand entries", "cost"
    ),
)


@contextmanager
def time_groups(stage: Stage) -> Iterator[list[Group]]:
    chosen = random.Random(SEED)
    accounts = dict(zip(SIZES, stage.account_ids, strict=False))
    counter = stage.account_ids[len(SIZES)]
    began = datetime.now(UTC)
    for name, account_id in accounts.items():
        _fill(stage, chosen, account_id, counter, SIZES[name])
    recorded = datetime.now(UTC) - began
    _wait_for_totals(stage)

    def reading(name: str, *, as_of: bool, known_at: bool) -> Variant:
        what = " and ".join(["as of"] * as_of + ["known at"] * known_at)
        bodies = write_bodies(
            stage.postgres.directory / f"{what}, {name}.json",
            [
                {
                    "query": BALANCES,
                    "variables": {
                        "id": accounts[name],
                        "asOf": _moment(chosen) if as_of else None,
                        "knownAt": _text(began + chosen.random() * recorded) if known_at else None,
                    },
                }
                for _ in range(BODIES)
            ],
        )
        target = stage.target(bodies, SUCCESS)

        def run(seconds: float) -> Sample:
            return drive(stage.postgres, stage.server, target, CONNECTIONS, seconds, name)[1]

        return Variant(f"{what}, {name} entries", run)

    yield [
        Group(
            title="Balances as of an effective time: accounts with few and with many entries",
            note=f"{CONNECTIONS} connections; moments drawn anew; our operation:"
            f" {' '.join(BALANCES.split())}",
            variants=[
                reading(name, as_of=as_of, known_at=known_at)
                for as_of, known_at in ((True, False), (True, True), (False, True))
                for name in SIZES
            ],
            ratios=RATIOS,
        )
    ]


def _fill(stage: Stage, chosen: random.Random, account_id: str, counter: str, entries: int) -> None:
    """Record so many entries of the account, in transactions of a hundred."""
    started = datetime.now(UTC)
    base = f"http://127.0.0.1:{stage.server.port}"
    with httpx.Client(base_url=base, headers=stage.headers, timeout=60) as http:
        for request in range(entries // LINES // TRANSACTIONS):
            transactions = [
                {
                    "ledgerId": stage.ledger_id,
                    "idempotencyKey": f"{account_id} {request} {number}",
                    "effectiveAt": _moment(chosen),
                    "entries": [
                        *({"accountId": account_id, "direction": "DEBIT", "amount": "5"},) * LINES,
                        {"accountId": counter, "direction": "CREDIT", "amount": f"{5 * LINES}"},
                    ],
                }
                for number in range(TRANSACTIONS)
            ]
            variables = {"input": {"mode": "INDEPENDENT", "transactions": transactions}}
            body = http.post("/graphql", json={"query": POST_MANY, "variables": variables})
            assert body.text.count('"PostTransactionSuccess"') == TRANSACTIONS, body.text[:1000]
            stage.acknowledged += TRANSACTIONS
    seconds = (datetime.now(UTC) - started).total_seconds()
    console.print(f"  {entries:,} entries recorded in {seconds:.0f} s")


def _wait_for_totals(stage: Stage) -> None:
    """Wait until all full chunks are kept, and tell how many rows that took."""
    started = datetime.now(UTC)
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        while connection.execute(_LAGGING).fetchall():
            connection.execute("SELECT pg_sleep(0.05)")
        ((rows, size),) = connection.execute(_SIZE)
        connection.execute("ANALYZE")
    waited = (datetime.now(UTC) - started).total_seconds()
    console.print(f"  totals: kept {waited:.1f} s after the last entry; {rows:,} rows, {size}")


_LAGGING = """
    SELECT account_id FROM accounts a
    WHERE version >= 1000 AND version - version % 1000 > (
        SELECT coalesce(max(sequence), 0) FROM account_totals t
        WHERE t.organization_id = a.organization_id AND t.account_id = a.account_id AND level = 15
    )
"""
_SIZE = """
    SELECT count(*), pg_size_pretty(pg_total_relation_size('account_totals')) FROM account_totals
"""


def _moment(chosen: random.Random) -> str:
    return _text(BEGINNING + timedelta(days=chosen.random() * DAYS))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
