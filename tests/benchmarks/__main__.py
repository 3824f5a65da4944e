"""Run the benchmarks named, or all of them; see the package's own text."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.benchmarks import (
    bulk_measures,
    front_measures,
    growth_measures,
    memory_measures,
    nested_measures,
    posting_measures,
    reconciliation_measures,
    time_measures,
)
from tests.benchmarks.measuring import Group, NotMeasured, Ratio, console
from tests.benchmarks.stage import (
    Stage,
    running_postgres,
    running_stage,
    set_up_lines,
    verify_books,
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How many rounds to run, and for how many seconds each variant in each of them."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """Groups of measures: how to set them up, and how long to run them; `quick` may be never."""

    names: Sequence[str]
    open: Callable[[Stage], AbstractContextManager[Sequence[Group]]]
    quick: Effort | None
    full: Effort


def _of(ratios: Sequence[Ratio]) -> list[str]:
    return [ratio.name for ratio in ratios]


PARTS = (
    Part(_of(posting_measures.RATIOS), posting_measures.posting_groups, Effort(3, 2), Effort(7, 5)),
    Part(_of(front_measures.RATIOS), front_measures.front_groups, Effort(3, 2), Effort(7, 4)),
    Part(_of(bulk_measures.RATIOS), bulk_measures.bulk_groups, Effort(3, 2.5), Effort(7, 5)),
    Part(_of(nested_measures.RATIOS), nested_measures.nested_groups, Effort(3, 2), Effort(7, 5)),
    Part(memory_measures.NAMES, memory_measures.memory_groups, None, Effort(1, 10)),
    Part(_of(growth_measures.RATIOS), growth_measures.growth_groups, None, Effort(5, 4)),
    Part(_of(time_measures.RATIOS), time_measures.time_groups, None, Effort(5, 4)),
    Part(
        _of(reconciliation_measures.RATIOS),
        reconciliation_measures.reconciliation_groups,
        None,
        Effort(3, 1),
    ),
)
QUICK = (
    "hot_vs_pgbench_1",
    "hot_vs_pgbench_32",
    "random_vs_pgbench_32",
    "single_vs_plpgsql",
    "tail_p99_p50",
    "noop_vs_starlette",
    "bulk_vs_copy",
    "nested_vs_postgraphile",
    "growth_10m",
)
"""What --quick looks at, or says that it does not, within four minutes."""


def main() -> int:
    """Measure and show; 1 where an answer was wrong or the books do not hold."""
    known = [name for part in PARTS for name in part.names]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--quick", action="store_true", help="fewer measures, rounds and seconds")
    parser.add_argument(
        "names",
        nargs="*",
        help=f"of {', '.join(known)}; all if none is given, or those that matter most with --quick",
    )
    options = parser.parse_args()
    names = options.names or (QUICK if options.quick else known)
    if unknown := set(names) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")

    started = time.monotonic()
    faults: list[str] = []
    lines: list[str] = []
    with running_postgres() as postgres:
        for line in set_up_lines(postgres):
            console.print(line)
        with running_stage(postgres, "benchmark") as stage:
            for part in PARTS:
                wanted = [name for name in part.names if name in names]
                if wanted:
                    found = _measure(part, wanted, stage, quick=options.quick)
                    faults += found[0]
                    lines += found[1]
            faults += _check_books(stage)
    console.print(f"{time.monotonic() - started:.0f} s")
    for fault in faults:
        console.print(f"WRONG: {fault}")
    for line in lines:
        console.print(line)
    return 1 if faults else 0


def _measure(
    part: Part, names: Sequence[str], stage: Stage, *, quick: bool
) -> tuple[list[str], list[str]]:
    """Run and show one part; what was wrong in it, and a line for each of its ratios."""
    effort = part.quick if quick else part.full
    if effort is None:
        return [], [f"{name} not measured: it takes longer than --quick has" for name in names]
    faults: list[str] = []
    lines: list[str] = []
    try:
        with part.open(stage) as groups:
            for group in (group.only(names) for group in groups):
                group.measure(rounds=effort.rounds, seconds=effort.seconds)
                group.show()
                faults += group.faults() + group.after()
                lines += group.lines()
    except NotMeasured as reason:
        return faults, [f"{name} not measured: {reason}" for name in names]
    return faults, lines


def _check_books(stage: Stage) -> list[str]:
    """Check that the books hold what was acknowledged, and keep every promise."""
    faults = []
    committed = stage.count_transactions()
    console.print(
        f"\nbooks: {committed:,} transactions committed, {stage.acknowledged:,} acknowledged,"
        f" {stage.unanswered:,} never answered"
    )
    if not stage.acknowledged <= committed <= stage.acknowledged + stage.unanswered:
        faults.append("the transactions committed are not those acknowledged")
    return faults + verify_books(stage.database_url)


if __name__ == "__main__":
    sys.exit(main())
