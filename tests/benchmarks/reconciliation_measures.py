"""Reconciling a month: a thousand to a hundred thousand lines with ten times as many entries.

The books are filled by reconciling.sql, which says what they are like; the runs are those of the
server, asked for through the API, and timed by its own account. What a run made is deleted before
the next one, so that each finds all anew.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg

from app.api.ids import decode
from tests.api_client import CREATE_ACCOUNT, CREATE_LEDGER
from tests.benchmarks.measuring import Group, Ratio, Sample, Variant, console
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.stage import Stage

FUNCTIONS = Path(__file__).with_name("reconciling.sql")
SIZES = (10_000, 100_000, 1_000_000)
"""Entries, ten a line."""

CREATE_EXTERNAL_ACCOUNT = """
mutation ($input: CreateExternalAccountInput!) {
  createExternalAccount(input: $input) {
    __typename ... on CreateExternalAccountSuccess { externalAccount { id } }
  }
}
"""
CREATE = """
mutation ($input: CreateReconciliationInput!) {
  createReconciliation(input: $input) {
    __typename ... on CreateReconciliationSuccess { reconciliation { id } }
  }
}
"""
RUN = """
mutation ($input: RunReconciliationInput!) {
  runReconciliation(input: $input) {
    __typename ... on RunReconciliationSuccess { run { id } }
  }
}
"""
SHOW = """
query ($run: ID!) {
  node(id: $run) {
    ... on ReconciliationRun {
      status startedAt finishedAt confirmed proposed failure
      reconciliation { bridge { difference } }
    }
  }
}
"""
RULES = [
    {
        "name": "reference",
        "kind": "REFERENCE",
        "lineField": "REFERENCE",
        "entryField": "EXTERNAL_ID",
    },
    {
        "name": "batch",
        "kind": "ONE_LINE_TO_MANY_ENTRIES",
        "lineField": "REFERENCE",
        "entryField": "METADATA",
        "metadataPath": ["batch"],
    },
    {"name": "text", "kind": "AMOUNT_AND_TEXT"},
    {"name": "date", "kind": "AMOUNT_AND_DATE", "daysBefore": 3, "daysAfter": 3},
]
FORGET = """
    DELETE FROM reconciliation_match_lines;
    DELETE FROM reconciliation_match_entries;
    DELETE FROM reconciliation_matches;
    DELETE FROM reconciliation_discrepancies
"""

RATIOS = (
    Ratio("reconcile_10k", 1.5, "10,000 lines", "1,000 lines", "cost"),
    Ratio("reconcile_100k", 1.5, "100,000 lines", "1,000 lines", "cost"),
)


@dataclass(frozen=True, slots=True)
class Month:
    """An external account of so many lines, and an API to reconcile it by."""

    stage: Stage
    http: httpx.Client
    external: str
    lines: int

    def run(self, _: float) -> Sample:
        """Reconcile it once."""
        stage = self.stage
        before = cpu_seconds(stage.server.pid), cpu_seconds(stage.postgres.pid)
        reconciliation = _answer(
            self.http,
            CREATE,
            {
                "externalAccountId": self.external,
                "name": "March",
                "from": "2026-03-01",
                "through": "2026-03-31",
                "rules": RULES,
            },
        )["reconciliation"]["id"]
        asked = _answer(self.http, RUN, {"reconciliationId": reconciliation})
        run = self._finished(asked["run"]["id"])
        after = cpu_seconds(stage.server.pid), cpu_seconds(stage.postgres.pid)
        wrong = run["status"] != "COMPLETED" or (
            run["reconciliation"]["bridge"]["difference"] != "0"
        )
        began, ended = (datetime.fromisoformat(run[name]) for name in ("startedAt", "finishedAt"))
        seconds = (ended - began).total_seconds()
        console.print(
            f"  {self.lines:,} lines in {seconds:.2f} s: {run['confirmed']:,} matches confirmed,"
            f" {run['proposed']:,} proposed"
        )
        with psycopg.connect(stage.database_url, autocommit=True) as connection:
            for statement in FORGET.split(";"):
                connection.execute(statement)
            connection.execute("VACUUM (ANALYZE)")
        return Sample(
            rate=self.lines / seconds,
            work=self.lines,
            failed=int(wrong),
            server_cpu=None if before[0] is None or after[0] is None else after[0] - before[0],
            postgres_cpu=None if before[1] is None or after[1] is None else after[1] - before[1],
            example=str(run) if wrong else "",
        )

    def _finished(self, run_id: str) -> Any:
        while True:
            body = self.http.post(
                "/graphql", json={"query": SHOW, "variables": {"run": run_id}}
            ).json()
            run = body["data"]["node"]
            if run["finishedAt"] is not None:
                return run
            time.sleep(0.1)


@contextmanager
def reconciliation_groups(stage: Stage) -> Iterator[list[Group]]:
    """Fill a ledger of each size, then reconcile them in turn."""
    base = f"http://127.0.0.1:{stage.server.port}"
    with httpx.Client(base_url=base, headers=stage.headers, timeout=60) as http:
        months = [_fill(stage, http, entries) for entries in SIZES]
        yield [
            Group(
                title="Reconciling a month of lines with ten times as many entries",
                note=(
                    "half by reference, three tenths by amount and text, two tenths payouts of 46"
                    " entries each; a run that finds all anew, by the server's task"
                ),
                variants=[
                    Variant(f"{month.lines:,} lines", month.run, "lines/s") for month in months
                ],
                ratios=RATIOS,
            )
        ]


def _fill(stage: Stage, http: httpx.Client, entries: int) -> Month:
    started = time.monotonic()
    ledger = _answer(http, CREATE_LEDGER, {"name": f"Month of {entries}"})["ledger"]["id"]
    bank, counter = (
        _answer(
            http,
            CREATE_ACCOUNT,
            {"ledgerId": ledger, "name": name, "normalBalance": side, "currency": "USD"},
        )["account"]["id"]
        for name, side in (("Bank", "DEBIT"), ("Sales", "CREDIT"))
    )
    made = _answer(
        http, CREATE_EXTERNAL_ACCOUNT, {"accountId": bank, "name": "Bank", "kind": "BANK"}
    )
    external = made["externalAccount"]["id"]
    ids = [decode(text) for text in (ledger, bank, counter, external)]
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        connection.execute(FUNCTIONS.read_bytes())
        ((organization, api_key),) = connection.execute(
            "SELECT organization_id, api_key_id FROM api_keys"
        )
        # Needs a superuser, which the owner of the embedded server is.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET work_mem = '256MB'")
        connection.execute(
            "SELECT pg_temp.add_month(%s, %s, %s, %s, %s, %s, %s)",
            [organization, *(one and one.uuid for one in ids), api_key, entries],
        )
        connection.execute("VACUUM (ANALYZE)")
    stage.acknowledged += entries
    console.print(f"  {entries:,} entries filled in {time.monotonic() - started:.0f} s")
    return Month(stage, http, external, entries // 10)


def _answer(http: httpx.Client, query: str, fields: dict[str, Any]) -> Any:
    body = http.post("/graphql", json={"query": query, "variables": {"input": fields}}).json()
    assert "errors" not in body, body
    (result,) = body["data"].values()
    assert str(result["__typename"]).endswith("Success"), result
    return result
