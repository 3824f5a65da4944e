"""Run the benchmarks named, or all of them; see the package's own text."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from app.store.verify import verify
from tests.benchmarks import bulk_measures, front_measures, posting_measures, time_measures
from tests.benchmarks.measuring import Group, Ratio, console
from tests.benchmarks.stage import Stage, running_postgres, running_stage, set_up_lines


@dataclass(frozen=True, slots=True)
class Part:
    """One group of measures: how to set it up, and how long to run it."""

    ratios: Sequence[Ratio]
    open: Callable[[Stage], AbstractContextManager[Group]]
    quick_rounds: int
    quick_seconds: float
    rounds: int
    seconds: float
    quick: bool = True  # whether it is among those that `--quick` runs unless named


PARTS = (
    Part(posting_measures.RATIOS, posting_measures.posting_group, 3, 2, 7, 5),
    Part(front_measures.RATIOS, front_measures.front_group, 3, 2, 7, 4),
    Part(bulk_measures.RATIOS, bulk_measures.bulk_group, 3, 3, 7, 5),
    Part(time_measures.RATIOS, time_measures.time_group, 3, 2, 5, 4, quick=False),
)


def main() -> int:
    """Measure and show; 1 where an answer was wrong or the books do not hold."""
    known = [ratio.name for part in PARTS for ratio in part.ratios]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)}; all if none is given")
    options = parser.parse_args()
    names = options.names or [
        ratio.name for part in PARTS for ratio in part.ratios if part.quick or not options.quick
    ]
    if unknown := set(names) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")

    started = time.monotonic()
    faults: list[str] = []
    groups: list[Group] = []
    with running_postgres() as postgres:
        for line in set_up_lines(postgres):
            console.print(line)
        with running_stage(postgres, "benchmark") as stage:
            for part in PARTS:
                if not any(ratio.name in names for ratio in part.ratios):
                    continue
                with part.open(stage) as whole:
                    group = whole.only(names)
                    group.measure(
                        rounds=part.quick_rounds if options.quick else part.rounds,
                        seconds=part.quick_seconds if options.quick else part.seconds,
                    )
                group.show()
                groups.append(group)
            faults += _faults(stage, groups)
    for fault in faults:
        console.print(f"WRONG: {fault}")
    console.print(f"{time.monotonic() - started:.0f} s")
    return 1 if faults else 0


def _faults(stage: Stage, groups: Sequence[Group]) -> list[str]:
    """Check that every answer was right, and that the books hold what was acknowledged."""
    faults = []
    for group in groups:
        for name, samples in group.samples.items():
            failed = sum(sample.failed for sample in samples)
            if failed:
                example = next(sample.example for sample in samples if sample.failed)
                faults.append(f"{name}: {failed} requests failed, such as {example!r}")
    committed = stage.count_transactions()
    console.print(
        f"\nbooks: {committed:,} transactions committed, {stage.acknowledged:,} acknowledged,"
        f" {stage.unanswered:,} never answered"
    )
    if not stage.acknowledged <= committed <= stage.acknowledged + stage.unanswered:
        faults.append("the transactions committed are not those acknowledged")
    report = verify(stage.database_url)
    console.print(
        f"verify: {report.transactions:,} transactions, {report.entries:,} entries,"
        f" {len(report.violations)} violations"
    )
    faults += [f"{violation.name}: {violation.detail}" for violation in report.violations]
    return faults


if __name__ == "__main__":
    sys.exit(main())
