"""`ledgers import`: a file of postings, sent to a server piece by piece until all are answered.

A piece is never more than the server takes before anything of its answer is read, so neither side
waits for the other. After a fault only what was not answered is sent again; whatever of it had been
posted is replayed. For the same reason a run that was killed is resumed by running it again.

http.client is all that this needs: one connection, one request at a time, an answer read by line.
"""

import http.client
import io
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlencode

import orjson

from app.api.http.bulk import MEDIA, PATH, WINDOW_BYTES, WINDOW_LINES
from app.api.http.json_lines import Lines

READ_BYTES = 512 * 1024
MAX_LINE_BYTES = WINDOW_BYTES - READ_BYTES
"""A piece has the rest of a line and what one read gave: a window at most."""

TIMEOUT_SECONDS = 120.0
ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
PASSING_STATUSES = (429, 502, 503, 504)
NOT_LEDGERS = "what answers at this address is not Ledgers"

Json = dict[str, Any]


class ImportStopped(Exception):
    """The server would not go on, or could not be reached for too long."""


class Line(NamedTuple):
    """A line of the file, by number; without text if it is too long to be sent."""

    number: int
    text: bytes | None


class Refused(NamedTuple):
    """A line that was not posted, and why: `error` has a code, a message, a path."""

    line: Line
    error: Json


@dataclass(slots=True)
class Tally:
    """What became of the lines so far."""

    lines: int = 0
    posted: int = 0
    replayed: int = 0
    refused: int = 0


TOO_LONG: Json = {
    "code": "PAYLOAD_TOO_LARGE",
    "message": f"A line may have {MAX_LINE_BYTES} bytes at most.",
    "path": [],
    "retryable": False,
}


class _Fault(Exception):
    """What may pass: the same is sent again."""


@dataclass(slots=True)
class Import:
    """One run over one file. `show` is called as it gets on, `refuse` for each refused line."""

    url: SplitResult
    ledger: str
    token: str
    refuse: Callable[[Refused], None]
    show: Callable[[Tally], None]
    tally: Tally = field(default_factory=Tally)
    _connection: http.client.HTTPConnection | None = None

    def run(self, file: io.BufferedReader) -> Tally:
        """Send the whole file. Raises ImportStopped; what was answered until then stands."""
        try:
            for piece in _pieces(file):
                for line in piece:
                    if line.text is None:
                        self._count_refused(line, TOO_LONG)
                self._post(piece)
        finally:
            self._disconnect()
        return self.tally

    def _post(self, piece: Sequence[Line]) -> None:
        """Send lines until each is answered, pausing after faults, in vain a bounded time."""
        attempt = 0
        while piece:
            done = 0
            try:
                for number in self._exchange(piece):
                    done = number
                done = len(piece)
            except _Fault as fault:
                self._disconnect()
                attempt = 1 if done else attempt + 1
                if attempt == ATTEMPTS:
                    raise ImportStopped(str(fault)) from fault
                pause = min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS)
                time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            piece = piece[done:]
            self.tally.lines += done
            self.show(self.tally)

    def _exchange(self, piece: Sequence[Line]) -> Iterator[int]:
        """Send lines and count the answers; give the number of each line that was answered.

        Only an answer to every line that is not blank, in order, and then a summary that agrees
        with them is taken for success. Raises _Fault or ImportStopped.
        """
        before, is_complete = replace(self.tally), False
        awaited = (number for number, line in enumerate(piece, 1) if (line.text or b"").strip())
        for answer in self._answers(piece):
            match answer:
                case _ if is_complete:
                    raise ImportStopped("the server goes on after its summary")
                case {"line": number} if number != next(awaited, None):
                    raise ImportStopped("the server answers other lines than were sent")
                case {"line": int(number), "error": {"code": str(), "message": str()} as error}:
                    self._count_refused(piece[number - 1], error)
                    yield number
                case {"line": int(number), "replayed": bool(is_replayed)}:
                    self.tally.replayed += is_replayed
                    self.tally.posted += not is_replayed
                    yield number
                case {"error": {"code": str(), "message": str(), "retryable": bool()} as error}:
                    raise _stopping(error)
                case {"lines": _}:
                    if next(awaited, None) or not self._is_summary(answer, len(piece), before):
                        raise ImportStopped("the server's summary is not that of what was sent")
                    is_complete = True
                case _:
                    raise ImportStopped(NOT_LEDGERS)
        if not is_complete:
            raise _Fault("the server's answer was cut short")

    def _is_summary(self, answer: Json, lines: int, before: Tally) -> bool:
        counted = {
            "lines": lines,
            "posted": self.tally.posted - before.posted,
            "replayed": self.tally.replayed - before.replayed,
            "refused": self.tally.refused - before.refused,
        }
        return counted.items() <= answer.items()

    def _count_refused(self, line: Line, error: Json) -> None:
        self.tally.refused += 1
        self.refuse(Refused(line, error))

    def _answers(self, piece: Sequence[Line]) -> Iterator[Any]:
        """What the server says, line by line. Raises _Fault or ImportStopped."""
        try:
            response = self._send(b"".join((line.text or b"") + b"\n" for line in piece))
            if response.status != 200:
                raise _not_begun(response)
            while (text := response.readline()).endswith(b"\n"):
                yield orjson.loads(text)
            response.read()
        except orjson.JSONDecodeError as fault:
            raise ImportStopped(NOT_LEDGERS) from fault
        except (OSError, http.client.HTTPException) as fault:
            raise _Fault(
                f"the server cannot be reached: {fault or type(fault).__name__}"
            ) from fault

    def _send(self, body: bytes) -> http.client.HTTPResponse:
        if self._connection is None:
            kind = {
                "http": http.client.HTTPConnection,
                "https": http.client.HTTPSConnection,
            }[self.url.scheme]
            assert self.url.hostname is not None
            self._connection = kind(self.url.hostname, self.url.port, timeout=TIMEOUT_SECONDS)
        self._connection.request(
            "POST",
            f"{self.url.path.rstrip('/')}{PATH}?{urlencode({'ledgerId': self.ledger})}",
            body,
            {"Authorization": f"Bearer {self.token}", "Content-Type": MEDIA},
        )
        return self._connection.getresponse()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _pieces(file: io.BufferedReader) -> Iterator[Sequence[Line]]:
    lines, numbers = Lines(MAX_LINE_BYTES), itertools.count(1)
    while chunk := file.read1(READ_BYTES):
        yield from _cut(lines.feed(chunk), numbers)
    yield from _cut(lines.end(), numbers)


def _cut(texts: Iterator[bytes | None], numbers: Iterator[int]) -> Iterator[Sequence[Line]]:
    lines = [Line(number, text) for text, number in zip(texts, numbers, strict=False)]
    for start in range(0, len(lines), WINDOW_LINES):
        yield lines[start : start + WINDOW_LINES]


def _not_begun(response: http.client.HTTPResponse) -> Exception:
    """What a status other than 200 means: from the server, or from what stands before it."""
    try:
        return _stopping(orjson.loads(response.read())["error"])
    except (ValueError, KeyError, TypeError):
        sentence = f"{response.status} {response.reason}"
        return _Fault(sentence) if response.status in PASSING_STATUSES else ImportStopped(sentence)


def _stopping(error: Json) -> Exception:
    sentence = f"{error['code']}: {error['message']}"
    return _Fault(sentence) if error["retryable"] else ImportStopped(sentence)
