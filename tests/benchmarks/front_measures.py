"""The price of GraphQL: a mutation that does nothing, beside Starlette answering the same JSON."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tests.benchmarks.load import Target, write_bodies
from tests.benchmarks.measuring import Group, Ratio, Sample, Variant
from tests.benchmarks.posting_measures import posting
from tests.benchmarks.processes import ServerProcess
from tests.benchmarks.stage import ACCEPT, Stage, drive, serving

DO_NOTHING = """
mutation Nothing($input: NothingInput!) {
  doNothing(input: $input) { id description entries { accountId direction amount } }
}
"""
CONNECTIONS = 16

RATIOS = (Ratio("noop_vs_starlette", 0.5, "GraphQL no-op c16", "Starlette JSON c16"),)


@contextmanager
def front_groups(stage: Stage) -> Iterator[list[Group]]:
    postgres, url = stage.postgres, stage.database_url
    given = posting(stage.ledger_id, stage.account_ids[0], stage.account_ids[1])
    bodies = write_bodies(
        postgres.directory / "nothing.json", [{"query": DO_NOTHING, "variables": {"input": given}}]
    )
    runs = count()

    def load(server: ServerProcess, seconds: float) -> Sample:
        target = Target(
            server.port, "/graphql", bodies, '{"data":{"doNothing":{"id":', 1, {"Accept": ACCEPT}
        )
        return drive(postgres, server, target, CONNECTIONS, seconds, f"n-{next(runs)}")[1]

    command = [sys.executable, "-m", "tests.benchmarks.fronts"]
    with (
        serving(postgres, url, [*command, "noop"]) as noop,
        serving(postgres, url, [*command, "starlette"]) as starlette,
    ):
        yield [
            Group(
                title="GraphQL: a mutation that does nothing, beside Starlette with the same JSON",
                note=(
                    "the same endpoint, documents and log as the server's, on a small schema; the"
                    " input is that of a posting, the answer repeats it"
                ),
                variants=[
                    Variant("GraphQL no-op c16", lambda seconds: load(noop, seconds)),
                    Variant("Starlette JSON c16", lambda seconds: load(starlette, seconds)),
                ],
                ratios=RATIOS,
            )
        ]
