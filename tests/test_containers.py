"""The container files hold what they promise, as far as reading them can tell."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import InsufficientPrivilege

from app.settings import Settings
from app.store.audit.verify import verify
from app.store.embedded.system import Binaries
from tests.api_client import open_api

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [SERVICES["migrate"], SERVICES["server"]]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
PASSWORDS = {name: f"${{{name}:?set {name}}}" for name in ("POSTGRES_PASSWORD", "LEDGERS_PASSWORD")}


def instructions(name: str) -> list[str]:
    """What the last stage of the Dockerfile gives to an instruction, each time it has it."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    return re.findall(rf"^{name} (.+)$", last, re.MULTILINE)


def test_order_of_start() -> None:
    """Migration, login and server follow each other once the database takes connections."""
    assert sorted(SERVICES) == ["login", "migrate", "postgres", "server"]
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["login"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"}
    }
    assert SERVICES["server"]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "login": {"condition": "service_completed_successfully"},
    }
    assert SERVICES["postgres"]["healthcheck"]["test"][:4] == [
        *("CMD", "pg_isready", "--host", "127.0.0.1"),
    ]
    assert "healthcheck" not in SERVICES["server"]
    assert DOCKERFILE.count("\nHEALTHCHECK ") == 1


def test_commands() -> None:
    """One image serves unless told otherwise; migrating is done once, serving goes on."""
    assert [json.loads(text) for text in instructions("ENTRYPOINT")] == [["ledgers"]]
    assert [json.loads(text) for text in instructions("CMD")] == [["serve"]]
    assert (SERVICES["migrate"]["command"], SERVICES["migrate"]["restart"]) == (["migrate"], "no")
    assert (SERVICES["server"]["command"], SERVICES["server"]["restart"]) == (
        ["serve"],
        "unless-stopped",
    )


def test_secrets_come_from_the_environment() -> None:
    """There is no password in the files, and none by default."""
    owner, server = PASSWORDS["POSTGRES_PASSWORD"], PASSWORDS["LEDGERS_PASSWORD"]
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"] == owner
    assert SERVICES["migrate"]["environment"] == {
        "DATABASE_URL": "postgresql://postgres@postgres/ledgers",
        "PGPASSWORD": owner,
    }
    login = SERVICES["login"]["environment"]
    assert (login["PGPASSWORD"], login["LEDGERS_PASSWORD"]) == (owner, server)
    assert SERVICES["server"]["environment"] == {
        "DATABASE_URL": "postgresql://ledgers@postgres/ledgers",
        "PGPASSWORD": server,
    }
    assert "PASSWORD" not in DOCKERFILE


async def test_the_login_serves_and_owns_nothing(database_url: str) -> None:
    """What makes the server's login can be run again, and the login serves but cannot migrate."""
    address = conninfo_to_dict(database_url)
    psql = Binaries.find(None, None).directory
    environment = {
        "PATH": f"{psql}:{os.defpath}",
        "LEDGERS_PASSWORD": "it's a \\ secret",
        **{f"PG{name.removesuffix('name').upper()}": str(value) for name, value in address.items()},
        "PGDATABASE": str(address["dbname"]),
    }
    with psycopg.connect(database_url, autocommit=True) as owner:
        try:
            for _ in range(2):
                run_as_the_login_service(environment)
            rights = owner.execute(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolcanlogin,"
                " rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'ledgers'"
            ).fetchall()
            assert rights == [(False, False, False, False, True, True)]
            url = make_conninfo(
                database_url, user="ledgers", password=environment["LEDGERS_PASSWORD"]
            )
            async with open_api(url) as api:
                ledger = await api.ledger()
                cash, wallet = await api.account(ledger), await api.account(ledger)
                await api.post(ledger, cash, wallet, 5)
            with psycopg.connect(url) as login, pytest.raises(InsufficientPrivilege):
                login.execute("UPDATE entries SET amount = 1")
            with psycopg.connect(url) as login, pytest.raises(InsufficientPrivilege):
                login.execute("CREATE TABLE public.more ()")
            assert verify(database_url).violations == ()
        finally:
            owner.execute("DROP ROLE IF EXISTS ledgers")


def run_as_the_login_service(environment: dict[str, str]) -> None:
    subprocess.run(SERVICES["login"]["command"], env=environment, check=True)


def test_least_privilege() -> None:
    """The server is an ordinary user's, without capabilities, on a file system it cannot write."""
    assert instructions("USER") == ["ledgers"]
    for service in OURS:
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108  the container's own
        assert service["cap_drop"] == ["ALL"]
    for service in SERVICES.values():
        assert service["security_opt"] == ["no-new-privileges:true"]
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:8000:8000"]


def test_time_to_drain() -> None:
    """The server has longer to end than it takes to drain."""
    grace = int(SERVICES["server"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_seconds"].default + 5


def test_data_outlive_their_container() -> None:
    """PostgreSQL's data are on a volume, and no embedded database is made inside a container."""
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert set(COMPOSE["volumes"]) == {"postgres"}
    (environment,) = instructions("ENV")
    assert "LEDGERS_DATA_DIRECTORY=/data" in environment.split()
    assert instructions("VOLUME") == []


def test_locked_installation() -> None:
    """The image installs by hash from the lock file, and takes no more than it needs."""
    assert "--require-hashes --requirement requirements.lock" in re.sub(" +", " ", DOCKERFILE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert " ".join(copied).split() == [
        *("requirements.lock", "pyproject.toml", "README.md", "LICENSE", "app"),
    ]
    assert all((ROOT / name).exists() for name in " ".join(copied).split())


def test_compose_reads_it() -> None:
    """`docker compose` itself takes the file, and only with a password."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False).returncode:
        pytest.skip("docker compose is not installed")
    config = [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    given = dict.fromkeys(PASSWORDS, "x")
    assert subprocess.run(config, env=given, check=False).returncode == 0
    for name in PASSWORDS:
        lacking = given | {name: ""}
        refused = subprocess.run(config, env=lacking, capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        assert f"set {name}" in refused.stderr
