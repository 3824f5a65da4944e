"""Counts of requests for operators, as Prometheus reads them.

Labels are few and fixed, and none names a tenant: the operation's type ("bulk" for a load,
"import" for a statement file, "download" for one of ours, or "none"), what answered
it (the road, see `http.Exchange`, or "none" where nothing was executed), and the HTTP status.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, str, int]


class RequestCounts:
    """How many requests there were of each kind since the start, and how long they took."""

    def __init__(self) -> None:
        self._seen: defaultdict[Labels, list[float]] = defaultdict(lambda: [0, 0.0])

    def add(self, operation: str | None, road: str | None, status: int, seconds: float) -> None:
        seen = self._seen[operation or "none", road or "none", status]
        seen[0] += 1
        seen[1] += seconds

    def samples(self) -> Iterator[tuple[str, float, float]]:
        """Labels as they are shown, the number of requests, and seconds in all."""
        for (operation, road, status), (number, seconds) in sorted(self._seen.items()):
            labels = f'{{operation="{operation}",road="{road}",status="{status}"}}'
            yield labels, number, seconds


def exposition(counts: RequestCounts, others: Mapping[str, tuple[str, float]]) -> str:
    """All counts as text; `others` are counters of their own, with what they count."""
    lines = [
        "# HELP ledgers_request_seconds Requests and loads, and the time that they took.",
        "# TYPE ledgers_request_seconds summary",
    ]
    for labels, number, seconds in counts.samples():
        lines += [
            f"ledgers_request_seconds_count{labels} {number:.0f}",
            f"ledgers_request_seconds_sum{labels} {seconds:.6f}",
        ]
    for name, (meaning, value) in others.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} counter", f"{name} {value}"]
    return "\n".join([*lines, ""])
