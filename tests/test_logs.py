"""Logs in both forms: a line an event, whoever logs it, and no message of an exception."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys, structlog
from app.logs import configure_logs
configure_logs(sys.argv[1], "info")
ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
ours.info("settled", count=2, name="a\\nb")
theirs.info("connected")
theirs.warning("took %s", "long\\nly")
ours.debug("detail")
try:
    int("secret")
except ValueError:
    theirs.exception("failed")
    ours.exception("failed too")
"""


def logged(form: str) -> list[str]:
    """What the program logs, to standard error and nowhere else."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def test_json() -> None:
    """For machines each event is an object; libraries are heard from warnings on."""
    events = [json.loads(line) for line in logged("json")]
    for event in events:
        assert event.pop("timestamp").endswith("Z")
    fault = {"level": "error", "exception": "builtins.ValueError", "at": ["<string>:11"]}
    assert events == [
        {"event": "settled", "level": "info", "count": 2, "name": "a\nb"},
        {"event": "took long\nly", "level": "warning"},
        {"event": "failed", **fault},
        {"event": "failed too", **fault},
    ]


@pytest.mark.parametrize("form", ["console", "json"])
def test_lines_without_secrets(form: str) -> None:
    """Each event is one line, and an exception is told by type and place alone."""
    lines = logged(form)
    assert len(lines) == 4
    assert "secret" not in "".join(lines)
    assert "builtins.ValueError" in lines[2]


REQUESTS = """
import asyncio, logging, sys, structlog
from app.logs import configure_logs, log_request
configure_logs(sys.argv[1], sys.argv[2], worker=7)
ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
lines = [
    ("a-b.c_1", "mutation", "Post", 200, "plan", (), 12.3),
    ("2", None, None, 400, None, ("BAD_REQUEST", "B"), 0.0),
    ("3", "mutation", "Post", 200, "plan", (), 0.04),
]
names = ("request_id", "operation", "name", "status", "road", "errors", "duration_ms")

async def log() -> None:
    for line in lines:
        log_request(*line)
        named = dict(zip(names, line))
        ours.info("request", **{**named, "errors": list(named["errors"])})
    theirs.warning("between")
    ours.info("last")

asyncio.run(log())
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_lines_of_requests(form: str) -> None:
    """The quick way to a request's line writes what any logger would, in order with the others."""
    command = [sys.executable, "-c", REQUESTS, form]
    ended = subprocess.run([*command, "info"], capture_output=True, text=True, check=True)
    time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
    lines = [time.sub("NOW", line, count=1) for line in ended.stderr.splitlines()]
    assert all("NOW" in line for line in lines)
    assert lines[0:6:2] == lines[1:6:2]
    assert ["a-b.c_1" in lines[0], "BAD_REQUEST" in lines[2], "between" in lines[6]] == [True] * 3
    assert ("last" in lines[7], len(lines)) == (True, 8)
    quiet = subprocess.run([*command, "warning"], capture_output=True, text=True, check=True)
    assert [("between" in line) for line in quiet.stderr.splitlines()] == [True]


GOING_ON = """
import logging, sys, structlog
from app.logs import configure_logs
configure_logs(sys.argv[1], "info")
ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
ours.info("begun")
sys.stdin.readline()
for _ in range(1000):
    ours.info("settled")
    theirs.warning("slow")
print("went on")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_lines_that_nobody_reads(form: str) -> None:
    """When the reader of standard error is gone, lines are dropped and the program goes on."""
    with subprocess.Popen(
        [sys.executable, "-c", GOING_ON, form],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stderr
        assert "begun" in program.stderr.readline()
        program.stderr.close()
        said, _ = program.communicate("\n")
    assert (program.returncode, said) == (0, "went on\n")


@pytest.mark.parametrize("form", ["console", "json"])
def test_lines_on_a_full_disk(form: str) -> None:
    """Where there is no room for a line it is dropped, too."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", GOING_ON, form],
            input="\n",
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )
    assert ended.stdout == "went on\n"
