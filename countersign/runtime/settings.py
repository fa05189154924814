"""What a process is told: from the environment first, then from its secrets file, then the default.

Names are upper case with the prefix `COUNTERSIGN_` and `__` between levels: `COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS`.
The secrets file is JSON, named by `COUNTERSIGN_SECRETS_FILE`, readable by its service alone (mode 0600).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, JsonConfigSettingsSource, SettingsConfigDict

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

SECRETS_FILE = "COUNTERSIGN_SECRETS_FILE"


class SecretsReadableError(Exception):
    """Others than the service can read its secrets; the text says which file, and what to do."""


class Part(BaseModel):
    """A part of the settings: frozen, and a name that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PostgresSettings(Part):
    """Where the service's schema is; the DSN carries the password of the service's role."""

    dsn: SecretStr


class KafkaSettings(Part):
    """The brokers, and how long a member may be silent before its partitions go to another."""

    bootstrap_servers: str
    session_timeout_ms: int = Field(10_000, ge=2_000, le=60_000)
    batch_records_max: int = Field(500, ge=1, le=2_000)


class HealthSettings(Part):
    """The port of /livez, /readyz and /metrics: its own, so that it needs no bearer and is not published."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65_535)


class Caller(Part):
    """A calling service: its bearer and the names of the routes it may call."""

    name: str
    token: SecretStr = Field(min_length=32)
    routes: list[str]


class HttpSettings(Part):
    """The port of the service's routes."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65_535)
    callers: list[Caller] = []


class ServiceSettings(BaseSettings):
    """The settings that every service has."""

    model_config = SettingsConfigDict(
        env_prefix="COUNTERSIGN_", env_nested_delimiter="__", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    postgres: PostgresSettings
    kafka: KafkaSettings
    health: HealthSettings = HealthSettings()
    instance: str = Field("0", pattern=r"^[a-z0-9-]{1,40}$")
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the secrets file, and leave the other sources out."""
        del dotenv_settings, file_secret_settings
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        path = secrets_file()
        if path is not None:
            sources += (JsonConfigSettingsSource(settings_cls, json_file=path),)
        return sources


def secrets_file() -> Path | None:
    """Return the path of the secrets file, if the environment names one."""
    named = os.environ.get(SECRETS_FILE)
    return Path(named) if named else None


def refuse_open_secrets() -> None:
    """Raise SecretsReadableError if others than the service can read its secrets file. Called at the start only.

    A mode that changes later must not stop work that people wait for.
    """
    path = secrets_file()
    if path is not None and path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretsReadableError(
            f"{path} is open to its group or to others (mode {stat.S_IMODE(path.stat().st_mode):04o}): "
            f"chmod 600 {path}, and draw new secrets if somebody else may have read them"
        )
