"""The load: requests over HTTP on a fixed number of connections, each waiting for its answer.

`send` runs this module as a process of its own, whose CPU is reported, for a client that competes
for the cores would else be taken for a slow server. Requests are rendered before the clock starts;
sending one costs a replacement of its idempotency key, and reading the answer a search for its end.

An answer counts as acknowledged only if its status is 200 and it holds the text that tells success
as often as expected: errors of GraphQL come with status 200 too.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import cycle
from pathlib import Path
from typing import Any, cast

KEY = "@key@"
"""What stands in a body for a text that is new in each request."""

CONNECT_SECONDS = 30
DRAIN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, what they are, and how an answer shows that all went well."""

    port: int
    path: str
    bodies: Path
    success: str
    successes: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run.

    Those answered and their times are of answers within `seconds`; the rest is of the whole run.
    """

    seconds: float
    answered: int
    waited_seconds: float
    p50_ms: float
    p99_ms: float
    client_cpu_seconds: float
    acknowledged: int
    failed: int
    unanswered: int
    example_of_failure: str


def write_bodies(path: Path, bodies: Sequence[object]) -> Path:
    """Keep bodies for a target: JSON values, each with KEY where its requests differ."""
    path.write_text(json.dumps([json.dumps(body) for body in bodies]))
    return path


def send(
    target: Target, *, connections: int, seconds: float, warm_seconds: float, keys: str
) -> Outcome:
    """Load the target and wait for all answers; `keys` makes this run's keys its own."""
    job = {
        **asdict(target),
        "bodies": str(target.bodies),
        "connections": connections,
        "seconds": seconds,
        "warm_seconds": warm_seconds,
        "keys": keys,
    }
    finished = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load"],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=warm_seconds + seconds + CONNECT_SECONDS + DRAIN_SECONDS + 30,
    )
    return Outcome(**json.loads(finished.stdout))


class Load:
    """All connections of one run, and what came of their requests."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.success: bytes = job["success"].encode()
        self.successes: int = job["successes"]
        self.requests = cycle(_rendered(job))
        self.sent = 0
        self.waiting = 0
        self.acknowledged = 0
        self.failed = 0
        self.unanswered = 0
        self.example = ""
        self.measuring = False
        self.stopping = False
        self.times: list[float] = []
        self.drained = asyncio.Event()

    def next_request(self) -> bytes:
        self.sent += 1
        key = _key(f"{self.job['keys']}-{self.sent}")
        return next(self.requests).replace(KEY.encode(), key)

    def answer(self, response: bytes, seconds: float) -> None:
        good = response.startswith(b"HTTP/1.1 200 ")
        if good and response.count(self.success) == self.successes:
            self.acknowledged += 1
            if self.measuring:
                self.times.append(seconds)
        else:
            self.failed += 1
            self.example = self.example or response[:1000].decode(errors="replace")

    async def run(self) -> Outcome:
        job = self.job
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            for _ in range(job["connections"]):
                await loop.create_connection(lambda: Connection(self), "127.0.0.1", job["port"])
        await asyncio.sleep(job["warm_seconds"])
        cpu, started = _cpu_seconds(), time.perf_counter()
        self.measuring = True
        await asyncio.sleep(job["seconds"])
        self.measuring = False
        elapsed, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
        self.stopping = True
        if self.waiting:
            try:
                await asyncio.wait_for(self.drained.wait(), DRAIN_SECONDS)
            except TimeoutError:
                self.unanswered += self.waiting
        times = sorted(self.times)
        return Outcome(
            seconds=elapsed,
            answered=len(times),
            waited_seconds=sum(times),
            p50_ms=_percentile(times, 0.50) * 1000,
            p99_ms=_percentile(times, 0.99) * 1000,
            client_cpu_seconds=cpu,
            acknowledged=self.acknowledged,
            failed=self.failed,
            unanswered=self.unanswered,
            example_of_failure=self.example,
        )


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._length = 0
        self._started = 0.0
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self._length:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._length = end + 4 + _content_length(self._received[:end])
        if len(self._received) < self._length:
            return
        response, self._received, self._length = self._received, b"", 0
        self._load.answer(response, time.perf_counter() - self._started)
        self._stop_waiting()
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if self._waiting:
            self._load.unanswered += 1
            self._stop_waiting()

    def _send(self) -> None:
        if self._load.stopping:
            self._transport.close()
            return
        self._waiting = True
        self._load.waiting += 1
        request = self._load.next_request()
        self._started = time.perf_counter()
        self._transport.write(request)

    def _stop_waiting(self) -> None:
        self._waiting = False
        self._load.waiting -= 1
        if self._load.stopping and not self._load.waiting:
            self._load.drained.set()


def _rendered(job: dict[str, Any]) -> list[bytes]:
    key_length = len(_key(""))
    headers = "".join(f"{name}: {value}\r\n" for name, value in job["headers"].items())
    requests = []
    for body in json.loads(Path(job["bodies"]).read_text()):
        length = len(body.encode()) + body.count(KEY) * (key_length - len(KEY))
        head = (
            f"POST {job['path']} HTTP/1.1\r\nHost: 127.0.0.1:{job['port']}\r\n"
            f"Content-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
        )
        requests.append((head + body).encode())
    return requests


def _key(text: str) -> bytes:
    """Like the UUIDs that clients use, and pgbench's random numbers: all over an index."""
    return blake2b(text.encode(), digest_size=16).hexdigest().encode()


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0])


def _percentile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run the job on standard input and write its outcome to standard output."""
    job = json.loads(sys.stdin.read())
    if sys.platform == "win32":
        outcome = asyncio.run(_run(job))
    else:
        import uvloop  # noqa: PLC0415  not on every platform

        outcome = uvloop.run(_run(job))
    sys.stdout.write(json.dumps(asdict(outcome)))


async def _run(job: dict[str, Any]) -> Outcome:
    return await Load(job).run()


if __name__ == "__main__":
    main()
