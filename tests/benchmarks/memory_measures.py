"""Whether a server's memory stays where it is: the requests of an hour, at full speed."""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import linear_regression

from tests.benchmarks.load import write_bodies
from tests.benchmarks.measuring import Group, NotMeasured, Sample, Variant, console
from tests.benchmarks.posting_measures import posting, random_pairs
from tests.benchmarks.processes import resident_megabytes
from tests.benchmarks.stage import Stage, drive, running_stage, verify_books

NAMES = ("memory",)
ACCOUNTS = 1000
REQUESTS = 360_000
WARM_REQUESTS = REQUESTS // 10
CONNECTIONS = 32
POSTINGS_A_QUERY = 3

POST = """
mutation Post($input: PostTransactionInput!) {
  postTransaction(input: $input) {
    ... on PostTransactionSuccess { done: transaction { id sequence status createdAt } }
    ... on UserError { code message path retryable }
  }
}
"""
READ = """
query Read($account: ID!) {
  account(id: $account) {
    name version balances { posted { amount } available { amount } }
    done: entries(last: 20) {
      nodes { sequence direction amount balancesAfter { posted { amount } } transaction { id } }
    }
  }
}
"""
SUCCESS = '"done":{'


@contextmanager
def memory_groups(stage: Stage) -> Iterator[list[Group]]:
    """One long run on a fresh server, in slices between which its memory is read."""
    with running_stage(stage.postgres, "memory", ACCOUNTS) as own:
        target = own.target(
            write_bodies(own.postgres.directory / "memory.json", _bodies(own)), SUCCESS
        )
        readings: list[tuple[int, float]] = []

        def read_memory(requests: int) -> None:
            megabytes = resident_megabytes(own.server.pid)
            if megabytes is None:
                raise NotMeasured("there is no /proc to read a process's memory from")
            readings.append((requests, megabytes))

        def load(seconds: float) -> Sample:
            read_memory(0)
            done = 0
            while done < REQUESTS:
                keys = f"memory-{len(readings)}"
                sample = drive(own.postgres, own.server, target, CONNECTIONS, seconds, keys)[1]
                done += sample.work
                if sample.failed:
                    return sample
                read_memory(done)
            return sample

        def after() -> list[str]:
            _show(readings)
            return verify_books(own.database_url)

        yield [
            Group(
                title=f"Memory: {REQUESTS:,} requests, an hour of 100 a second, at full speed",
                note=(
                    f"{POSTINGS_A_QUERY} postings to 1 query (20 entries with balances), random"
                    f" accounts of {ACCOUNTS:,}, {CONNECTIONS} connections; rates are of the last"
                    " slice"
                ),
                variants=[Variant("postings and queries c32", load)],
                ratios=(),
                after=after,
            )
        ]


def _bodies(own: Stage) -> list[object]:
    bodies: list[object] = []
    for number, (debited, credited) in enumerate(random_pairs(own.account_ids, 4000)):
        if number % (POSTINGS_A_QUERY + 1):
            given = posting(own.ledger_id, debited, credited)
            bodies.append({"query": POST, "variables": {"input": given}})
        else:
            bodies.append({"query": READ, "variables": {"account": debited}})
    return bodies


def _show(readings: list[tuple[int, float]]) -> None:
    warm = [reading for reading in readings if reading[0] >= WARM_REQUESTS]
    slope, _ = linear_regression(*zip(*warm, strict=True))
    console.print(
        f"  resident: {readings[0][1]:.1f} MB at the start, {warm[0][1]:.1f} MB after"
        f" {warm[0][0]:,} requests, {warm[-1][1]:.1f} MB after {warm[-1][0]:,};"
        f" slope {slope * 100_000:+.2f} MB per 100,000 requests"
    )
    console.print(f"  readings: {', '.join(f'{megabytes:.1f}' for _, megabytes in readings)}")
