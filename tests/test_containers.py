"""The container files hold what they promise, as far as reading them can tell."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_order_of_start() -> None:
    """The server starts after the migration, and that once the database is healthy."""
    services = COMPOSE["services"]
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["server"]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }
    assert "pg_isready" in services["postgres"]["healthcheck"]["test"][1]
    assert "HEALTHCHECK" in DOCKERFILE


def test_secrets_come_from_the_environment() -> None:
    """There is no password in the files, and none by default."""
    required = "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
    services = COMPOSE["services"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == required
    for name in ("migrate", "server"):
        assert required in services[name]["environment"]["DATABASE_URL"]
    assert "PASSWORD" not in DOCKERFILE


def test_least_privilege() -> None:
    """The server runs as an ordinary user, on a read-only file system, without capabilities."""
    assert "\nUSER ledgers\n" in DOCKERFILE
    for name in ("migrate", "server"):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_locked_installation() -> None:
    """The image installs by hash from the lock file."""
    assert "--require-hashes --requirement requirements.lock" in DOCKERFILE
