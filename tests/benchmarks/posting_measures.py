"""Posting over HTTP beside pgbench, and our writer beside a database function per request."""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from tests.benchmarks import pgbench
from tests.benchmarks.load import KEY, write_bodies
from tests.benchmarks.measuring import Group, Ratio, Sample, Variant
from tests.benchmarks.stage import SERVE, Stage, apply_reference, drive, serving

POST = """
mutation Post($input: PostTransactionInput!) {
  postTransaction(input: $input) {
    __typename
    ... on PostTransactionSuccess { replayed transaction { id sequence status createdAt } }
    ... on UserError { code message path retryable }
  }
}
"""
SUCCESS = '"PostTransactionSuccess"'
RANDOM_PAIRS = 10_000
SEED = 1

Run = Callable[[float], Sample]

RATIOS = (
    Ratio("hot_vs_pgbench_1", 1.5, "ours hot c128", "pgbench hot c1"),
    Ratio("hot_32_connections", 1.0, "ours hot c32", "pgbench hot c1"),
    Ratio("hot_32_connections_vs_pgbench_32", 3.0, "ours hot c32", "pgbench hot c32"),
    Ratio("hot_vs_pgbench_32", 3.0, "ours hot c128", "pgbench hot c32"),
    Ratio("random_vs_pgbench_32", 0.5, "ours random c128", "pgbench random c32"),
    Ratio("single_vs_plpgsql", 0.8, "ours hot c1", "plpgsql a request hot c1"),
    Ratio("workers_2_vs_1", 1.0, "ours hot c128 workers 2", "ours hot c128"),
    Ratio("workers_2_vs_1_random", 1.0, "ours random c128 workers 2", "ours random c128"),
    Ratio("hot_vs_lean_1", None, "ours hot c128", "pgbench lean hot c1"),
    Ratio("hot_vs_lean_32", None, "ours hot c128", "pgbench lean hot c32"),
    Ratio("random_vs_lean_32", None, "ours random c128", "pgbench lean random c32"),
    Ratio("tail_p99_p50", 4.0, "ours hot c128", "ours hot c128", "tail"),
)


def posting(ledger_id: str, debited: str, credited: str, key: str = KEY) -> dict[str, object]:
    """The input of one posting, as small as it can be."""
    return {
        "ledgerId": ledger_id,
        "idempotencyKey": key,
        "description": "Benchmark",
        "entries": [
            {"accountId": debited, "direction": "DEBIT", "amount": "1250"},
            {"accountId": credited, "direction": "CREDIT", "amount": "1250"},
        ],
    }


def random_pairs(account_ids: Sequence[str], number: int) -> list[tuple[str, str]]:
    """Pairs of different accounts, all equally likely; the same ones in each run."""
    chosen = random.Random(SEED)
    return [(a, b) for a, b in (chosen.sample(account_ids, 2) for _ in range(number))]


@contextmanager
def posting_groups(stage: Stage) -> Iterator[list[Group]]:
    """The variants of posting; the one with a function per request runs in its own server."""
    postgres, url = stage.postgres, stage.database_url
    accounts = len(stage.account_ids)
    apply_reference(url, accounts)
    hot_bodies = _bodies(stage, "hot", [(stage.account_ids[0], stage.account_ids[1])])
    spread_bodies = _bodies(stage, "random", random_pairs(stage.account_ids, RANDOM_PAIRS))
    hot, spread = (stage.target(bodies, SUCCESS) for bodies in (hot_bodies, spread_bodies))
    command = [sys.executable, "-m", "tests.benchmarks.fronts", "plpgsql"]
    with (
        serving(postgres, url, command) as plpgsql,
        serving(postgres, url, [*SERVE, "--workers", "2"]) as workers,
    ):

        def by_workers(bodies: Path) -> Run:
            target = stage.target(bodies, SUCCESS, server=workers)
            return lambda seconds: stage.post(target, 128, seconds, server=workers)

        def function_per_request(seconds: float) -> Sample:
            target = replace(hot, port=plpgsql.port)
            keys = f"plpgsql-{next(runs)}"
            return drive(postgres, plpgsql, target, 1, seconds, keys)[1]

        def reference(script: str, clients: int) -> Run:
            return lambda seconds: pgbench.run_pgbench(
                postgres, url, script, clients=clients, accounts=accounts, seconds=seconds
            )

        runs = count()
        hot_script, random_script = (draw + pgbench.POST for draw in (pgbench.HOT, pgbench.RANDOM))
        lean_hot, lean_random = (draw + pgbench.POST_PAIR for draw in (pgbench.HOT, pgbench.RANDOM))
        yield [
            Group(
                title="Posting: one postTransaction a request, beside one plpgsql call a commit",
                note=(
                    f"{accounts:,} accounts; hot: one pair of them takes all; random: pairs drawn"
                    " evenly; c: connections (pgbench: clients)"
                    f"; our operation: {' '.join(POST.split())}"
                ),
                variants=[
                    Variant("ours hot c128", lambda seconds: stage.post(hot, 128, seconds)),
                    Variant("pgbench hot c1", reference(hot_script, 1), "tps"),
                    Variant("ours hot c128 workers 2", by_workers(hot_bodies)),
                    Variant("ours hot c32", lambda seconds: stage.post(hot, 32, seconds)),
                    Variant("pgbench hot c32", reference(hot_script, 32), "tps"),
                    Variant("ours random c128", lambda seconds: stage.post(spread, 128, seconds)),
                    Variant("ours random c128 workers 2", by_workers(spread_bodies)),
                    Variant("pgbench random c32", reference(random_script, 32), "tps"),
                    Variant("pgbench lean hot c1", reference(lean_hot, 1), "tps"),
                    Variant("pgbench lean hot c32", reference(lean_hot, 32), "tps"),
                    Variant("pgbench lean random c32", reference(lean_random, 32), "tps"),
                    Variant("ours hot c1", lambda seconds: stage.post(hot, 1, seconds)),
                    Variant("plpgsql a request hot c1", function_per_request),
                ],
                ratios=RATIOS,
            )
        ]


def _bodies(stage: Stage, name: str, pairs: Sequence[tuple[str, str]]) -> Path:
    return write_bodies(
        stage.postgres.directory / f"{name}.json",
        [
            {"query": POST, "variables": {"input": posting(stage.ledger_id, debited, credited)}}
            for debited, credited in pairs
        ],
    )
