"""The container files hold what they promise, as far as reading them can tell."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [SERVICES["migrate"], SERVICES["server"]]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
PASSWORD = "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"


def instructions(name: str) -> list[str]:
    """What the last stage of the Dockerfile gives to an instruction, each time it has it."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    return re.findall(rf"^{name} (.+)$", last, re.MULTILINE)


def test_order_of_start() -> None:
    """The server starts after the migration, and that once the database takes connections."""
    assert sorted(SERVICES) == ["migrate", "postgres", "server"]
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["server"]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
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
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"] == PASSWORD
    for service in OURS:
        assert service["environment"] == {
            "DATABASE_URL": "postgresql://postgres@postgres/ledgers",
            "PGPASSWORD": PASSWORD,
        }
    assert "PASSWORD" not in DOCKERFILE


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
    assert subprocess.run(config, env={"POSTGRES_PASSWORD": "x"}, check=False).returncode == 0
    refused = subprocess.run(config, env={}, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "set POSTGRES_PASSWORD" in refused.stderr
