"""Logs in both forms: a line an event, whoever logs it, and no message of an exception."""

import json
import subprocess
import sys

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
