"""`ledgers import` against a server of its own: everything once, whoever is killed."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from app import bulk_import, cli
from app.api.http.bulk import PATH
from tests.test_serve import (
    LEDGERS,
    PATIENCE_SECONDS,
    Running,
    Serve,
    clean_environment,
    directory,
    ledgers,
    serve,
    until,
)

__all__ = ["directory", "serve"]

TOKEN = "ldg_test_03538K58SnQqiY7zTNe6pt1f1O8NayGSyK0CLeWuSxW9QTPhWl1TPjV3eTp5h"
POSTED = "query ($id: ID!) { account(id: $id) { balances { posted { amount } } } }"


class Books:
    """The demo's ledger on a running server, and files of postings for it."""

    def __init__(self, running: Running, directory: Path, token: str | None = None) -> None:
        self.running, self.directory = running, directory
        self.token = token or running.token()
        posting = running.posting(self.token, "")
        self.ledger = str(posting.pop("ledgerId"))
        self.entries: list[dict[str, str]] = posting["entries"]

    def posting(self, key: str, amount: int = 1) -> dict[str, Any]:
        entries = [{**entry, "amount": str(amount)} for entry in self.entries]
        return {"idempotencyKey": key, "entries": entries}

    def write(self, *lines: dict[str, Any] | str) -> Path:
        file = self.directory / "postings.jsonl"
        with file.open("w") as written:
            for line in lines:
                written.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        return file

    def many(self, count: int) -> Path:
        return self.write(*(self.posting(f"many-{number}") for number in range(count)))

    def command(self, file: Path | str, *arguments: str) -> list[str]:
        where = ["--url", self.running.url, "--ledger", self.ledger]
        return ["import", str(file), *where, *arguments]

    def run(self, file: Path | str, *arguments: str, **more: str) -> Any:
        return ledgers(
            self.directory, *self.command(file, *arguments), LEDGERS_API_KEY=self.token, **more
        )

    def start(self, file: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*LEDGERS, *self.command(file)],
            env=clean_environment(self.directory) | {"LEDGERS_API_KEY": self.token},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def stream(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Send lines in one request, reading the answers meanwhile."""
        host, _, port = self.running.url.removeprefix("http://").partition(":")
        head = (
            f"POST {PATH}?ledgerId={self.ledger} HTTP/1.1\r\nHost: ledgers\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/jsonl\r\n"
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:

            def send() -> None:
                connection.sendall(head.encode())
                for line in lines:
                    connection.sendall(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))
                connection.sendall(b"0\r\n\r\n")

            sender = threading.Thread(target=send)
            sender.start()
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            while text := response.readline():
                yield json.loads(text)
            sender.join()

    def cash(self) -> int:
        """What is on the account that every posting debits."""
        variables = {"id": self.entries[0]["accountId"]}
        answer = self.running.graphql(self.token, POSTED, variables)
        return int(answer["account"]["balances"]["posted"]["amount"])


@pytest.fixture
def books(serve: Serve, directory: Path) -> Books:
    return Books(serve(), directory)


def test_import(books: Books) -> None:
    """A file is posted, by name or from standard input; again, it is replayed."""
    file = books.many(2500)
    before = books.cash()
    first = books.run(file)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "2500 lines: 2500 posted, 0 replayed, 0 refused.\n"
    with file.open() as opened:
        again = subprocess.run(
            [*LEDGERS, *books.command("-", "--key", books.token)],
            env=clean_environment(books.directory),
            capture_output=True,
            text=True,
            stdin=opened,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert again.stdout == "2500 lines: 0 posted, 2500 replayed, 0 refused.\n"
    assert (again.returncode, again.stderr) == (0, "")
    assert books.cash() == before + 2500


def test_two_imports_of_one_file_at_once(books: Books) -> None:
    """Both end well, and every line is posted by one of them."""
    file = books.many(2500)
    before = books.cash()
    tallies = []
    for importing in [books.start(file), books.start(file)]:
        out, err = importing.communicate(timeout=PATIENCE_SECONDS)
        assert (importing.returncode, err) == (0, "")
        tallies.append([int(word) for word in out.split() if word.isdigit()])
    assert [sum(numbers) for numbers in zip(*tallies, strict=True)] == [5000, 2500, 2500, 0]
    assert books.cash() == before + 2500


def test_refused_lines(books: Books) -> None:
    """Refused lines are told by number, or kept with their text; the others are posted."""
    bad = json.dumps(books.posting("bad") | {"colour": "red"})
    file = books.write(books.posting("a"), "{", "", bad, "x" * 3_800_000, books.posting("b"))
    before = books.cash()
    told = books.run(file)
    assert told.returncode == 1
    assert told.stdout == "6 lines: 2 posted, 0 replayed, 3 refused.\n"
    assert sorted(line.split(": ", 2)[:2] for line in told.stderr.splitlines()) == [
        ["line 2", "BAD_REQUEST"],
        ["line 4", "BAD_USER_INPUT"],
        ["line 5", "PAYLOAD_TOO_LARGE"],
    ]
    refused = books.directory / "refused.jsonl"
    kept = books.run(file, "--refused", str(refused))
    assert (kept.returncode, kept.stderr) == (1, "")
    assert kept.stdout == "6 lines: 0 posted, 2 replayed, 3 refused.\n"
    lines = {line["line"]: line for line in map(json.loads, refused.read_text().splitlines())}
    assert lines[2] == {
        "line": 2,
        "error": {
            "code": "BAD_REQUEST",
            "message": "This is not JSON.",
            "path": ["input"],
            "retryable": False,
        },
        "text": "{",
    }
    assert lines[4]["text"] == bad
    assert sorted(lines[5]) == ["error", "line"]
    assert books.cash() == before + 2


def test_refused_lines_that_are_no_text(books: Books) -> None:
    """A line that is not UTF-8 is kept byte by byte."""
    file, refused = books.write(), books.directory / "refused.jsonl"
    file.write_bytes(b'{"description":"caf\xe9"}\n')
    assert books.run(file, "--refused", str(refused)).returncode == 1
    (line,) = map(json.loads, refused.read_text().splitlines())
    assert (line["line"], line["error"]["code"], "text" in line) == (1, "BAD_REQUEST", False)
    assert b64decode(line["base64"]) + b"\n" == file.read_bytes()


def test_killed_imports_are_resumed(books: Books) -> None:
    """An import that was killed midway is run again: every line is posted once."""
    file = books.many(20_000)
    before = books.cash()
    killed = books.start(file)
    until(lambda: books.cash() > before)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.communicate()
    between = books.cash() - before
    assert 0 < between < 20_000
    resumed = books.run(file)
    assert resumed.returncode == 0
    counted = [int(word) for word in resumed.stdout.split() if word.isdigit()]
    lines, posted, replayed, refused = counted
    assert (lines, posted + replayed, refused) == (20_000, 20_000, 0)
    assert replayed >= between
    assert books.cash() == before + 20_000
    assert "Every invariant holds." in ledgers(books.directory, "verify").stdout


def test_killed_servers_are_waited_for(serve: Serve, directory: Path) -> None:
    """An import outlives its server: when there is one again it goes on, each line once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    first = serve("--port", port)
    books = Books(first, directory)
    file = books.many(20_000)
    before = books.cash()
    importing = books.start(file)
    until(lambda: books.cash() > before)
    first.process.kill()
    first.process.wait()
    books.running = serve("--port", port)
    out, err = importing.communicate(timeout=PATIENCE_SECONDS)
    assert (importing.returncode, err) == (0, "")
    lines, posted, replayed, refused = [int(word) for word in out.split() if word.isdigit()]
    assert (lines, posted + replayed, refused) == (20_000, 20_000, 0)
    assert books.cash() == before + 20_000


def test_memory_is_constant(books: Books) -> None:
    """A server that is sent forty thousand lines in one request hardly grows by it."""
    lines = [json.dumps(books.posting(f"long-{number}")).encode() for number in range(40_000)]
    assert books.run(books.many(3000)).returncode == 0
    before = books.running.peak_kilobytes()
    *_, summary = books.stream(lines)
    assert summary == {"lines": 40_000, "posted": 40_000, "replayed": 0, "refused": 0}
    assert books.running.peak_kilobytes() - before < 16_384


def test_imports_that_cannot_be(books: Books) -> None:
    """What is wrong with the whole import is said in a sentence, without the key."""
    file = books.many(1)
    before = books.cash()
    other = books.token[:-1] + ("0" if books.token[-1] != "0" else "1")
    for arguments, status, sentence in (
        (["--key", "secret"], 2, "An API key looks like ldg_"),
        (["--key", other], 2, "An API key looks like ldg_"),
        (["--url", "nowhere"], 2, "An address is like https://ledgers.example."),
        (["--url", "http://me:secret@nowhere"], 2, "An address is like"),
        (["--ledger", "books"], 2, "A ledger's id looks like ldgr_"),
        (["--ledger", f"ldgr_{'0' * 32}"], 1, "LEDGER_NOT_FOUND: No ledger with this id"),
        (["--refused", str(file)], 2, "This is the file to import."),
        (["--url", f"{books.running.url}/elsewhere"], 1, "404 Not Found"),
    ):
        ended = books.run(file, *arguments)
        assert (ended.returncode, ended.stdout) == (status, "")
        assert sentence in ended.stderr
        assert books.token not in ended.stderr
        assert "secret" not in ended.stderr
    missing = ledgers(books.directory, *books.command(file))
    assert (missing.returncode, "An API key looks like" in missing.stderr) == (2, True)
    no_file = books.run(books.directory / "nothing.jsonl")
    assert (no_file.returncode, no_file.stdout) == (2, "")
    assert "Invalid value for source: There is no " in " ".join(no_file.stderr.split())
    assert books.cash() == before


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """The address of a server that answers whatever it is sent with this."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class Ended:
    """How an import in this process ended: its status and what it printed."""

    status: object
    out: str
    err: str


ImportFile = Callable[[str, bytes], Ended]


@pytest.fixture
def import_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> ImportFile:
    """Runs an import of some lines, which gives up soon."""
    monkeypatch.setattr(bulk_import, "ATTEMPTS", 3)
    monkeypatch.setattr(cli, "configure_logs", lambda _form, _level: None)

    def run(url: str, lines: bytes) -> Ended:
        file = tmp_path / "postings.jsonl"
        file.write_bytes(lines)
        where = ["--url", url, "--ledger", f"ldgr_{'0' * 32}"]
        monkeypatch.setattr(sys, "argv", ["ledgers", "import", str(file), *where, "--key", TOKEN])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return Ended(end.value.code, printed.out, printed.err)

    return run


POSTED_LINE = b'{"line":%d,"transaction":{},"replayed":false}\n'
REFUSED_LINE = b'{"line":%d,"error":{"code":"NO","message":"No.","path":[],"retryable":false}}\n'
SUMMARY = b'{"lines":%d,"posted":%d,"replayed":%d,"refused":%d}\n'
OTHER_LINES = "the server answers other lines than were sent"
OTHER_SUMMARY = "the server's summary is not that of what was sent"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"5\n", bulk_import.NOT_LEDGERS),
        (b"[]\n", bulk_import.NOT_LEDGERS),
        (b"null\n", bulk_import.NOT_LEDGERS),
        (b"<html>\n", bulk_import.NOT_LEDGERS),
        (b"{}\n", bulk_import.NOT_LEDGERS),
        (b'{"status":"ok"}\n', bulk_import.NOT_LEDGERS),
        (b'{"error":"no"}\n', bulk_import.NOT_LEDGERS),
        (b'{"line":1}\n', bulk_import.NOT_LEDGERS),
        (b'{"line":1,"replayed":null}\n', bulk_import.NOT_LEDGERS),
        (b'{"line":1,"error":null}\n', bulk_import.NOT_LEDGERS),
        (b'{"line":1.0,"replayed":false}\n', bulk_import.NOT_LEDGERS),
        (b'{"line":"1","replayed":false}\n', OTHER_LINES),
        (POSTED_LINE % 0, OTHER_LINES),
        (POSTED_LINE % 2, OTHER_LINES),
        (POSTED_LINE % 3, OTHER_LINES),
        (POSTED_LINE % 1 + POSTED_LINE % 1, OTHER_LINES),
        (POSTED_LINE % 1 + POSTED_LINE % 2, OTHER_LINES),
        (POSTED_LINE % 1 + POSTED_LINE % 3 + POSTED_LINE % 4, OTHER_LINES),
        (SUMMARY % (3, 0, 0, 0), OTHER_SUMMARY),
        (SUMMARY % (3, 2, 0, 0), OTHER_SUMMARY),
        (POSTED_LINE % 1 + SUMMARY % (3, 1, 0, 0), OTHER_SUMMARY),
        (POSTED_LINE % 1 + POSTED_LINE % 3 + SUMMARY % (2, 2, 0, 0), OTHER_SUMMARY),
        (POSTED_LINE % 1 + POSTED_LINE % 3 + SUMMARY % (3, 1, 1, 0), OTHER_SUMMARY),
        (POSTED_LINE % 1 + REFUSED_LINE % 3 + SUMMARY % (3, 2, 0, 0), OTHER_SUMMARY),
        (POSTED_LINE % 1 + POSTED_LINE % 3 + b'{"lines":3}\n', OTHER_SUMMARY),
        (POSTED_LINE % 1 + POSTED_LINE % 3 + SUMMARY % (3, 2, 0, 0) * 2,
         "the server goes on after its summary"),
        (SUMMARY % (3, 0, 0, 0) + POSTED_LINE % 1, OTHER_SUMMARY),
        (b"", "the server's answer was cut short"),
    ],
)  # fmt: skip
def test_answers_that_do_not_fit(import_file: ImportFile, answer: bytes, sentence: str) -> None:
    """Whatever is not an answer to each line, and the summary of those, is no success."""
    with answering(answer) as url:
        ended = import_file(url, b"{}\n\n{}\n")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[-1] == f"ledgers: {sentence}"


def test_servers_that_are_away_for_long(import_file: ImportFile) -> None:
    """After a bounded number of attempts the import ends with a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ended = import_file(f"http://127.0.0.1:{port}", b"{}\n")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("ledgers: the server cannot be reached: ")
