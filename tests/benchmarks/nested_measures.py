"""A dashboard in one query, beside PostGraphile on the same tables of the same database."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.benchmarks.filling import fill
from tests.benchmarks.load import Target, write_bodies
from tests.benchmarks.measuring import Group, NotMeasured, Ratio, Sample, Variant
from tests.benchmarks.processes import DidNotStart, ServerProcess
from tests.benchmarks.stage import Stage, drive, running_stage, serving

ENTRIES = 1_000_000
ACCOUNTS = 50
ENTRIES_EACH = 10
CONNECTIONS = 16
INSTALL_SECONDS = 180

OURS = """
query Dashboard($ledger: ID!) {
  ledger(id: $ledger) {
    name
    accounts(first: 50) {
      nodes {
        id name version
        balances { posted { amount } pending { amount } available { amount } }
        entries(last: 10) {
          nodes {
            sequence direction amount createdAt
            transaction { id sequence status description effectiveAt }
          }
        }
      }
    }
  }
}
"""

THEIRS = """
query Dashboard($organization: UUID!, $ledger: UUID!) {
  ledger: ledgerByOrganizationIdAndLedgerId(organizationId: $organization, ledgerId: $ledger) {
    name
  }
  accounts: allAccounts(
    condition: {organizationId: $organization, ledgerId: $ledger}
    orderBy: PRIMARY_KEY_ASC
    first: 50
  ) {
    nodes {
      accountId name version postedDebits postedCredits pendingDebits pendingCredits
      entries: entriesByOrganizationIdAndLedgerIdAndAccountId(
        orderBy: PRIMARY_KEY_DESC
        first: 10
      ) {
        nodes {
          sequence direction amount recordedAt
          transaction: transactionByOrganizationIdAndLedgerIdAndTransactionSequence {
            transactionId sequence status description effectiveAt
          }
        }
      }
    }
  }
}
"""

PACKAGE = Path(__file__).with_name("postgraphile")

RATIOS = (Ratio("nested_vs_postgraphile", 1.0, "ours nested c16", "PostGraphile nested c16"),)


@contextmanager
def nested_groups(stage: Stage) -> Iterator[list[Group]]:
    """Our server and PostGraphile on a ledger of a million entries; their answers are compared."""
    installed = _install()
    with running_stage(stage.postgres, "dashboard") as dashboard:
        with psycopg.connect(dashboard.database_url) as connection:
            ((organization_id, ledger_id),) = connection.execute(
                "SELECT organization_id, ledger_id FROM ledgers"
            )
        postings = ENTRIES // 2
        fill(dashboard.database_url, organization_id, ledger_id, upto=postings, total=postings)
        with _postgraphile(dashboard, installed) as postgraphile:
            yield [_group(dashboard, postgraphile, str(organization_id), str(ledger_id))]


def _group(
    dashboard: Stage, postgraphile: ServerProcess, organization_id: str, ledger_id: str
) -> Group:
    directory = dashboard.postgres.directory
    success, successes = '"effectiveAt"', ACCOUNTS * ENTRIES_EACH
    our_body: dict[str, Any] = {"query": OURS, "variables": {"ledger": dashboard.ledger_id}}
    their_body: dict[str, Any] = {
        "query": THEIRS,
        "variables": {"organization": organization_id, "ledger": ledger_id},
    }
    ours = dashboard.target(write_bodies(directory / "ours.json", [our_body]), success, successes)
    theirs = Target(
        postgraphile.port,
        "/graphql",
        write_bodies(directory / "theirs.json", [their_body]),
        success,
        successes,
        {"Accept": dashboard.headers["Accept"]},
    )
    our_answer, their_answer = _ask(ours, our_body), _ask(theirs, their_body)
    assert _from_ours(our_answer) == _from_theirs(their_answer), "the answers differ"
    runs = count()

    def load(server: ServerProcess, target: Target, seconds: float) -> Sample:
        sample = drive(
            dashboard.postgres, server, target, CONNECTIONS, seconds, f"nested-{next(runs)}"
        )[1]
        # What counts is a whole answer, not each of the entries by which it is known to be whole.
        return replace(sample, rate=sample.rate / successes, work=sample.work // successes)

    return Group(
        title="Nested read: 50 accounts, 3 balances and the 10 newest entries of each with their"
        " transaction",
        note=(
            f"{ENTRIES:,} entries on {len(dashboard.account_ids):,} accounts, 1 in 20 on one of"
            " them; the answers hold the same"
            f" ({len(our_answer.content):,} bytes ours, {len(their_answer.content):,} theirs)."
            " Ours authenticates each request and sees one tenant; PostGraphile 5 is as its"
            " documents advise, without authentication, as the reader's role, pool as it comes"
        ),
        variants=[
            Variant(
                "ours nested c16",
                lambda seconds: load(dashboard.server, ours, seconds),
                "answers/s",
            ),
            Variant(
                "PostGraphile nested c16",
                lambda seconds: load(postgraphile, theirs, seconds),
                "answers/s",
            ),
        ],
        ratios=RATIOS,
    )


def _ask(target: Target, body: dict[str, Any]) -> httpx.Response:
    answer = httpx.post(
        f"http://127.0.0.1:{target.port}{target.path}",
        json=body,
        headers=target.headers,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text[:1000]
    assert "errors" not in answer.json(), answer.text[:1000]
    return answer


def _from_ours(answer: httpx.Response) -> object:
    ledger = answer.json()["data"]["ledger"]
    return ledger["name"], [
        (
            account["id"],
            account["name"],
            account["version"],
            {name: balance["amount"] for name, balance in account["balances"].items()},
            [
                {
                    **entry,
                    "createdAt": datetime.fromisoformat(entry["createdAt"]),
                    "transaction": {
                        **entry["transaction"],
                        "effectiveAt": datetime.fromisoformat(entry["transaction"]["effectiveAt"]),
                    },
                }
                for entry in account["entries"]["nodes"]
            ],
        )
        for account in ledger["accounts"]["nodes"]
    ]


def _from_theirs(answer: httpx.Response) -> object:
    data = answer.json()["data"]
    return data["ledger"]["name"], [_account(account) for account in data["accounts"]["nodes"]]


def _account(account: dict[str, Any]) -> object:
    """Bring one of their accounts, whose normal balance is CREDIT, into our form."""
    posted = int(account["postedCredits"]) - int(account["postedDebits"])
    pending = int(account["pendingCredits"]) - int(account["pendingDebits"])
    return (
        f"acct_{account['accountId'].replace('-', '')}",
        account["name"],
        account["version"],
        {
            "posted": str(posted),
            "pending": str(pending),
            "available": str(posted - int(account["pendingDebits"])),
        },
        [
            {
                "sequence": entry["sequence"],
                "direction": entry["direction"].upper(),
                "amount": entry["amount"],
                "createdAt": datetime.fromisoformat(entry["recordedAt"]),
                "transaction": {
                    "id": f"txn_{entry['transaction']['transactionId'].replace('-', '')}",
                    "sequence": entry["transaction"]["sequence"],
                    "status": entry["transaction"]["status"].upper(),
                    "description": entry["transaction"]["description"],
                    "effectiveAt": datetime.fromisoformat(entry["transaction"]["effectiveAt"]),
                },
            }
            for entry in reversed(account["entries"]["nodes"])
        ],
    )


# ---- PostGraphile --------------------------------------------------------------------------------


@contextmanager
def _postgraphile(dashboard: Stage, installed: Path) -> Iterator[ServerProcess]:
    modules = installed / "node_modules"
    command = [
        str(modules / ".bin" / "node"),
        str(modules / "postgraphile" / "dist" / "cli-run.js"),
        f"--config={installed / 'graphile.config.mjs'}",
        "--host=127.0.0.1",
    ]
    url = f"{dashboard.database_url}&options=-c%20role%3Dledgers_reader"
    environment = {"NODE_ENV": "production", "GRAPHILE_ENV": "production"}
    try:
        with serving(dashboard.postgres, url, command, environment) as server:
            yield server
    except DidNotStart as fault:
        raise NotMeasured(f"PostGraphile did not start: {fault}") from fault


def _install() -> Path:
    """Install what package-lock.json names into the user's cache, once; return where."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotMeasured("there is no npm to install PostGraphile with")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "ledgers-benchmarks" / "postgraphile"
    directory.mkdir(parents=True, exist_ok=True)
    lock, installed = PACKAGE / "package-lock.json", directory / "installed.json"
    shutil.copytree(PACKAGE, directory, dirs_exist_ok=True)
    if installed.exists() and installed.read_text() == lock.read_text():
        return directory
    try:
        subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=INSTALL_SECONDS,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as fault:
        said = json.dumps(str(fault.stderr or fault)[-300:])
        raise NotMeasured(f"npm could not install PostGraphile: {said}") from fault
    installed.write_text(lock.read_text())
    return directory
