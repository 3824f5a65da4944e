"""Samples in interleaved rounds, and the ratios of their medians.

A machine is never as fast in one minute as in the next, and other work on it does not ask first. So
what is compared runs in turn, round by round, each round in another order; a ratio is that of two
medians over the same rounds. The least and the greatest figure are shown beside the median.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

from rich.console import Console

console = Console(highlight=False, soft_wrap=True, markup=False)


class NotMeasured(Exception):
    """Something that a measure needs is not to be had here; the message says what."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one variant. CPU is in seconds, for all `work` done; None is not known."""

    rate: float
    work: int
    failed: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    client_share: float | None = None
    server_cpu: float | None = None
    postgres_cpu: float | None = None
    example: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """Something that can be run for a number of seconds."""

    name: str
    run: Callable[[float], Sample]
    unit: str = "req/s"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measure: the median of one variant's figure over that of another, beside its bar.

    The figure is the rate; or its inverse, `cost`; or, with `tail`, p99 over p50 of `of` alone. Of
    the last two less is better. Without a bar it is shown for comparison only.
    """

    name: str
    bar: float | None
    of: str
    to: str
    figure: Literal["rate", "cost", "tail"] = "rate"


@dataclass(slots=True)
class Group:
    """Variants that run in the same rounds, and what is read from them.

    `after` runs when all is measured; it may print, and returns what is wrong.
    """

    title: str
    variants: Sequence[Variant]
    ratios: Sequence[Ratio]
    note: str = ""
    after: Callable[[], list[str]] = list
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def only(self, names: Iterable[str]) -> "Group":
        """This group with the ratios of these names, and the variants that they need.

        All of it where it has all its ratios, or none.
        """
        chosen = set(names)
        ratios = [ratio for ratio in self.ratios if ratio.name in chosen]
        if len(ratios) == len(self.ratios):
            return self
        needed = {name for ratio in ratios for name in (ratio.of, ratio.to)}
        variants = [variant for variant in self.variants if variant.name in needed]
        return replace(self, variants=variants, ratios=ratios)

    def measure(self, *, rounds: int, seconds: float) -> None:
        """Run every variant once a round, each round beginning with another."""
        self.samples = {variant.name: [] for variant in self.variants}
        for number in range(rounds):
            first = number % len(self.variants)
            for variant in (*self.variants[first:], *self.variants[:first]):
                sample = variant.run(seconds)
                self.samples[variant.name].append(sample)
                what = f"{variant.name}: {sample.rate:,.0f} {variant.unit}"
                console.print(f"  round {number + 1} of {rounds}  {what}")

    def show(self) -> None:
        """Print the table, and each ratio round by round."""
        console.print(f"\n{self.title}")
        console.print(f"  {self.note}")
        console.print(
            "| run | median (least to greatest) | n | p50 ms | p99 ms | CPU ms: server + PostgreSQL"
            " | client's CPU | failed |\n|---|---|---|---|---|---|---|---|"
        )
        for variant in self.variants:
            console.print(self._row(variant))
        for ratio in self.ratios:
            console.print(
                f"  {ratio.name} {self.value(ratio):.2f}; by round: {self._rounds(ratio)}"
            )

    def lines(self) -> list[str]:
        """One line a ratio that has a bar: RATIO, its name, its value, its bar."""
        return [
            f"RATIO {ratio.name} {self.value(ratio):.2f} {ratio.bar:g}"
            for ratio in self.ratios
            if ratio.bar is not None
        ]

    def value(self, ratio: Ratio) -> float:
        of, to = self.samples[ratio.of], self.samples[ratio.to]
        if ratio.figure == "tail":
            return _median(s.p99_ms for s in of) / _median(s.p50_ms for s in of)
        quotient = _median(s.rate for s in of) / _median(s.rate for s in to)
        return quotient if ratio.figure == "rate" else 1 / quotient

    def faults(self) -> list[str]:
        """What was not answered as it should have been."""
        faults = []
        for name, samples in self.samples.items():
            if failed := sum(sample.failed for sample in samples):
                example = next(sample.example for sample in samples if sample.failed)
                faults.append(f"{name}: {failed} requests failed, such as {example!r}")
        return faults

    def _rounds(self, ratio: Ratio) -> str:
        values = []
        for of, to in zip(self.samples[ratio.of], self.samples[ratio.to], strict=True):
            if ratio.figure == "tail":
                values.append((of.p99_ms or 0) / (of.p50_ms or 1))
            else:
                values.append(of.rate / to.rate if ratio.figure == "rate" else to.rate / of.rate)
        return ", ".join(f"{value:.2f}" for value in values)

    def _row(self, variant: Variant) -> str:
        samples = self.samples[variant.name]
        rates = [sample.rate for sample in samples]
        share = _shown(s.client_share and s.client_share * 100 for s in samples)
        return (
            f"| {variant.name} | {median(rates):,.0f} {variant.unit}"
            f" ({min(rates):,.0f} to {max(rates):,.0f}) | {len(samples)}"
            f" | {_shown(s.p50_ms for s in samples)} | {_shown(s.p99_ms for s in samples)}"
            f" | {_shown(_each(s.server_cpu, s.work) for s in samples)}"
            f" + {_shown(_each(s.postgres_cpu, s.work) for s in samples)}"
            f" | {share}{'' if share == '-' else ' % of a core'}"
            f" | {sum(sample.failed for sample in samples)} |"
        )


def _each(cpu_seconds: float | None, work: int) -> float | None:
    return cpu_seconds * 1000 / work if cpu_seconds is not None and work else None


def _median(values: Iterable[float | None]) -> float:
    return median(value for value in values if value is not None)


def _shown(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.3g}" if known else "-"
