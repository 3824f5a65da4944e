"""Every setting of the server, read from the environment here and nowhere else."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Names in the environment are those below in capitals with the prefix `LEDGERS_`.

    The two database addresses are also known by their customary names without the prefix.
    """

    model_config = SettingsConfigDict(env_prefix="LEDGERS_", extra="ignore")

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "LEDGERS_DATABASE_URL"),
        description="PostgreSQL 15 or newer; without it the embedded server is used.",
    )
    owner_database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("OWNER_DATABASE_URL", "LEDGERS_OWNER_DATABASE_URL"),
        description="Login that owns the tables and runs migrations; DATABASE_URL by default.",
    )
    data_directory: Path = Field(
        default=Path(".data"), description="Where the embedded PostgreSQL keeps its files."
    )
    postgres_bin: Path | None = Field(
        default=None, description="Directory of the embedded server's binaries; found if absent."
    )
    postgres_user: str | None = Field(
        default=None,
        description="Whom the embedded server runs as if root starts it; postgres or nobody.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that serve, on one port.")
    pool_size: int = Field(default=8, ge=1, le=200, description="Reading connections of a process.")
    allow_unsafe_durability: bool = Field(
        default=False,
        description="Start even where fsync, synchronous_commit or full_page_writes is off.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="For people (console) or for machines (json)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important events that are logged."
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token, of 16 characters or more, to read /metrics; without it none.",
    )

    api_key: SecretStr | None = Field(
        default=None, description="The API key that `ledgers import` sends."
    )

    principal_cache_seconds: float = Field(
        default=2.0,
        ge=0,
        le=60,
        description="Seconds for which a revoked API key may still be accepted.",
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, description="Seconds for requests to finish on SIGTERM."
    )

    lock_seconds: float = Field(
        default=2.0,
        ge=0.1,
        le=60,
        description="How long the writes of all tenants wait for one locked ledger or account.",
    )
    due_work: bool = Field(
        default=True,
        description="Do what falls due and seal blocks; else run `ledgers worker` for it.",
    )
    due_poll_seconds: float = Field(
        default=1.0, gt=0, le=60, description="Seconds within which new due work is noticed."
    )
    seal_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="Seconds between blocks of what was recorded."
    )

    max_batch_entries: int = Field(
        default=4000, ge=2, description="Entries in one commit, if they come from several requests."
    )
    max_waiting_entries: int = Field(
        default=50_000,
        ge=2,
        description="Entries that may wait to be written; what is beyond is refused as OVERLOADED.",
    )
    max_body_bytes: int = Field(default=1_048_576, ge=1024, description="Body of one request.")
    max_import_bytes: int = Field(
        default=1_073_741_824, ge=1024, description="A statement file, unpacked if compressed."
    )
    max_query_bytes: int = Field(default=65_536, ge=256, description="Text of one document.")
    max_tokens: int = Field(default=2000, ge=10, description="Words and signs of one document.")
    max_depth: int = Field(default=15, ge=2, description="Levels of one operation.")
    max_aliases: int = Field(default=50, ge=0, description="Aliases in one operation.")
    max_root_mutations: int = Field(default=10, ge=1, description="Mutation fields an operation.")
    max_cost: int = Field(
        default=20_000, ge=10, description="Price of one operation: 1 an object, times page sizes."
    )
    execution_seconds: float = Field(
        default=15.0, gt=0, description="Time limit of a request, in seconds."
    )
