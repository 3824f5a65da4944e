"""The audits of npm graphql-http, against a real server of the small schema."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import small_schema

PACKAGES = ["graphql-http@1.23.1", "graphql@16"]
PROJECT = Path(__file__).parents[2]
UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET"
    r"|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT"
)
AUDITS = """
const { serverAudits } = require('graphql-http');
const [url, key] = process.argv.slice(2);
const fetchFn = (address, { headers, ...rest } = {}) =>
  fetch(address, { ...rest, headers: { ...headers, authorization: key } });
(async () => {
  const results = [];
  for (const { fn } of serverAudits({ url, fetchFn })) {
    const { id, name, status, reason } = await fn();
    results.push({ id, name, status, reason });
  }
  console.log(JSON.stringify(results));
})();
"""


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that runs the audits, beside the packages it needs."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    directory = tmp_path_factory.mktemp("audits")
    install = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(
            [*install, "--fetch-retries=0", *PACKAGES],
            cwd=directory,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry did not answer within two minutes")
    if done.returncode and (reason := UNREACHABLE.search(done.stderr)):
        pytest.skip(f"the npm registry cannot be reached: {reason.group()}")
    assert done.returncode == 0, done.stderr
    script = directory / "audits.cjs"
    script.write_text(AUDITS)
    return script


@pytest.fixture
def url() -> Iterator[str]:
    """Where a uvicorn process of its own serves the small schema."""
    program = [sys.executable, "-m", small_schema.__name__]
    paths = os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])
    with subprocess.Popen(
        program,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/"
        finally:
            server.terminate()


def test_all_audits_pass(audits: Path, url: str) -> None:
    """Sixty-one of sixty-one audits are ok: no error, no warning, no notice."""
    done = subprocess.run(
        ["node", audits, url, small_schema.KEY],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    results = json.loads(done.stdout)
    assert [result for result in results if result["status"] != "ok"] == []
    assert Counter(result["status"] for result in results) == {"ok": 61}
