"""The reference measured: PostgreSQL's own pgbench on the functions of reference.sql."""

import os
import re
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.benchmarks.measuring import Sample
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.stage import Postgres

POST = """
SELECT transaction FROM reference.post(1, :key::text, 'Benchmark',
    ARRAY[:debited::int8, :credited::int8], ARRAY[-(:amount::int8), :amount::int8]);
"""

POST_PAIR = """
SELECT transaction FROM reference.post_pair(:key::text, :debited, :credited, :amount, 'Benchmark');
"""

_KEY_AND_AMOUNT = r"""
\set key random(1, 9000000000000000000)
\set amount random(1, 100000)
"""

HOT = rf"""{_KEY_AND_AMOUNT}
\set debited 1
\set credited 2
"""

RANDOM = rf"""{_KEY_AND_AMOUNT}
\set debited random(1, :accounts)
\set credited 1 + (:debited + random(0, :accounts - 2)) % :accounts
"""

_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
_PROCESSED = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


def run_pgbench(
    postgres: Postgres, url: str, script: str, *, clients: int, accounts: int, seconds: float
) -> Sample:
    """Run a script for whole seconds: prepared protocol, no pause, one commit a transaction."""
    where = conninfo_to_dict(url)
    path = postgres.directory / "pgbench.sql"
    path.write_text(script)
    threads = min(clients, os.cpu_count() or 1)
    before = cpu_seconds(postgres.pid)
    finished = subprocess.run(
        [
            str(Path(postgres.embedded.bin_directory) / "pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--file={path}"),
            *(f"--client={clients}", f"--jobs={threads}", f"--time={max(1, round(seconds))}"),
            *(
                f"--define=accounts={accounts}",
                f"--host={where['host']}",
                f"--port={where['port']}",
            ),
            *(f"--username={where['user']}", str(where["dbname"])),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    after = cpu_seconds(postgres.pid)
    failed = _FAILED.search(finished.stdout)
    return Sample(
        rate=float(_found(_TPS, finished.stdout)),
        work=int(_found(_PROCESSED, finished.stdout)),
        failed=int(failed[1]) if failed else 0,
        postgres_cpu=None if before is None or after is None else after - before,
    )


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    assert match is not None, text
    return match[1]
