"""A server in a process of its own, and the keys that its operator gives to partners."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import copied_database
from tests.scenarios.partner import PATIENCE_SECONDS, Partner
from tests.test_cli import TOKEN, Ledgers, ledgers
from tests.test_serve import LEDGERS, Running, until

__all__ = ["ledgers"]


@dataclass(frozen=True)
class Operator:
    """Who runs the server, by the command `ledgers`."""

    url: str
    ledgers: Ledgers

    def run(self, *arguments: str) -> str:
        """Run a command that succeeds, and return what it prints."""
        ended = self.ledgers(*arguments)
        assert ended.status == 0, ended
        return ended.out

    def organization(self, name: str) -> str:
        """A new tenant's id."""
        return self.run("organizations", "create", name).strip()

    def key(self, organization: str, mode: str, scope: str, *more: str) -> Partner:
        """A new key of an organization, in a partner's hand."""
        of = ["--organization", organization, "--name", f"{mode} {scope}"]
        printed = self.run("keys", "create", *of, "--mode", mode, "--scope", scope, *more)
        assert TOKEN.fullmatch(printed.strip())
        return Partner(self.url, printed.strip())


@pytest.fixture(scope="package")
def served(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The addresses of a running `ledgers serve` and of its database."""
    with copied_database(server_url, template) as database_url:
        own = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
        environment = own | {
            "DATABASE_URL": database_url,
            "LEDGERS_DUE_POLL_SECONDS": "0.05",
            "LEDGERS_PRINCIPAL_CACHE_SECONDS": "0.1",
        }
        running = _start(tmp_path_factory.mktemp("serve"), environment)
        try:
            until(running.has_begun, running.output)
            yield running.url, database_url
            running.process.terminate()
            assert running.process.wait(PATIENCE_SECONDS) == 0, running.output()
        finally:
            running.process.kill()
            running.process.wait()


@pytest.fixture
def operator(
    served: tuple[str, str], ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Operator]:
    """The operator of the server; when a scenario ends, every invariant holds."""
    url, database_url = served
    monkeypatch.setenv("DATABASE_URL", database_url)
    operator = Operator(url, ledgers)
    yield operator
    assert "Every invariant holds." in operator.run("verify")


@pytest.fixture
def partner(operator: Operator, request: pytest.FixtureRequest) -> Iterator[Partner]:
    """A new organization with an administrator's test key."""
    with operator.key(operator.organization(request.node.name), "test", "admin") as partner:
        yield partner


def _start(directory: Path, environment: dict[str, str]) -> Running:
    stdout, stderr = directory / "out", directory / "err"
    with stdout.open("w") as out, stderr.open("w") as err:
        process = subprocess.Popen(
            [*LEDGERS, "serve", "--port", "0"],
            env=environment,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    return Running(process, stdout, stderr)
