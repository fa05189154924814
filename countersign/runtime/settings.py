"""What a process is told: from the environment first, then from its secrets file, then the default.

Names are upper case with the prefix `COUNTERSIGN_` and `__` between levels: `COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS`.
The secrets file is JSON, named by `COUNTERSIGN_SECRETS_FILE`, readable by its service alone (mode 0600).
"""

from __future__ import annotations

import os
import re
import socket
import stat
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, FilePath, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, JsonConfigSettingsSource, SettingsConfigDict

from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.loopback import is_plain_dsn, plain_brokers, plain_urls

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

SECRETS_FILE = "COUNTERSIGN_SECRETS_FILE"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


def instance_of(host_name: str) -> str:
    """Return the name of a process that was given none: its host's, of a long one the end, which differs by replica."""
    return re.sub(r"[^a-z0-9-]", "-", host_name.lower())[-40:] or "0"


class SecretsReadableError(Exception):
    """Others than the service can read its secrets; the text says which file, and what to do."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of the running configuration, and where its value comes from."""

    name: str
    value: str
    source: str


class Part(BaseModel):
    """A part of the settings: frozen, and a name that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PostgresSettings(Part):
    """Where the service's schema is; the DSN carries the password of the service's role."""

    dsn: SecretStr


class KafkaSettings(KafkaConnection):
    """The brokers and the log-in, and how long a member may be silent before its partitions go to another."""

    session_timeout_ms: int = Field(10_000, ge=2_000, le=60_000)
    batch_records_max: int = Field(500, ge=1, le=2_000)


class ConnectionSettings(Part):
    """How many connections a listener has. A file descriptor is needed for each."""

    all_max: int = Field(
        12_000, ge=16, le=100_000, description="chosen: more than may wait for a decision, at about 20 KB each"
    )
    address_max: int = Field(
        6_000, ge=8, le=100_000, description="chosen: more than one calling service may have waiting, half of all"
    )


class HealthConnectionSettings(ConnectionSettings):
    """Of the health port: a scraper, a supervisor and a few people; always room for one more."""

    all_max: int = Field(128, ge=16, le=1_000, description="chosen: scrapers and supervisors are few")
    address_max: int = Field(64, ge=8, le=1_000, description="chosen: half of all, so that no machine takes all")


class PageConnectionSettings(ConnectionSettings):
    """Of sites that browsers open."""

    all_max: int = Field(
        4_000, ge=16, le=100_000, description="chosen: 600 browsers of six connections, at about 20 KB each"
    )
    address_max: int = Field(
        200, ge=8, le=100_000, description="chosen: an office of 30 behind one address; a browser opens six to a host"
    )


class LeaseSettings(Part):
    """How long leased work is left alone. Less repeats slow work, which readers recognise; more delays a dead one's."""

    outbox: timedelta = Field(
        timedelta(seconds=15),
        ge=timedelta(seconds=2),
        le=timedelta(seconds=60),
        description="chosen: a record is published within 10 s; bound: a crash delays it by a minute at most",
    )
    due: timedelta = Field(
        timedelta(seconds=30),
        ge=timedelta(seconds=2),
        le=timedelta(minutes=2),
        description="chosen: due work takes seconds, and a process that died is replaced by then",
    )


class HealthSettings(Part):
    """The port of /livez, /readyz and /metrics: its own, so that it needs no bearer and is not published."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65_535)
    connections: HealthConnectionSettings = HealthConnectionSettings()


class TraceSettings(Part):
    """The collector that takes spans as OTLP over HTTP. Without an address no span is made, and nothing is loaded."""

    endpoint: HttpUrl | None = Field(
        None, description="http://collector:4318; /v1/traces is added where the address has no path"
    )
    headers: dict[str, SecretStr] = Field({}, description="what the collector asks for, in the secrets file")
    ca_file: FilePath | None = None
    queue_spans_max: int = Field(
        8_192, ge=512, le=100_000, description="chosen: some seconds of a busy service, about 2 KB a span"
    )

    @field_validator("endpoint")
    @classmethod
    def _without_secrets(cls, value: HttpUrl | None) -> HttpUrl | None:
        if value is not None and (value.username or value.password or value.query or value.fragment):
            raise ValueError("expected an address alone; what is secret goes into traces.headers of the secrets file")
        return value

    @field_validator("headers")
    @classmethod
    def _as_http_writes_them(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in value.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(secret.get_secret_value()):
                raise ValueError("expected names and values that HTTP allows for headers (RFC 9110, section 5.5)")
        return value

    @property
    def url(self) -> str | None:
        """Return where spans are posted to."""
        if self.endpoint is None:
            return None
        text = str(self.endpoint)
        return f"{text.rstrip('/')}/v1/traces" if self.endpoint.path in {None, "", "/"} else text


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
    connections: ConnectionSettings = ConnectionSettings()


class ServiceSettings(BaseSettings):
    """The settings that every service has."""

    model_config = SettingsConfigDict(
        env_prefix="COUNTERSIGN_", env_nested_delimiter="__", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    postgres: PostgresSettings
    kafka: KafkaSettings
    leases: LeaseSettings = LeaseSettings()
    health: HealthSettings = HealthSettings()
    traces: TraceSettings = TraceSettings()
    plain_text_in_a_network_of_our_own: bool = Field(
        False,
        description="permits plain text to other machines, for a demonstration in containers: whoever is on that "
        "network reads bearers, passwords and texts, and can answer in the place of the verifier",
    )
    instance: str = Field(
        default_factory=lambda: instance_of(socket.gethostname()),
        pattern=r"^[a-z0-9-]{1,40}$",
        description="the name of this process among those of its service; two with one name throw each other out",
    )
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _encrypted_beyond_this_machine(self) -> Self:
        found = [f"{name}: https, unless the host is this machine (loopback)" for name in plain_urls(self)]
        if brokers := plain_brokers(self.kafka):
            found.append(
                f"kafka.security_protocol: SASL_SSL or SSL, as {', '.join(brokers)} is not this machine (loopback)"
            )
        if is_plain_dsn(self.postgres.dsn.get_secret_value()):
            found.append(
                "postgres.dsn: ?sslmode=verify-full (or verify-ca, require), as its host is not this machine "
                "(a loopback address or a Unix socket)"
            )
        if found and not self.plain_text_in_a_network_of_our_own:
            raise ValueError(
                f"{'; '.join(found)}; in a network of containers that nobody else is on, "
                "plain_text_in_a_network_of_our_own permits plain text"
            )
        return self

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
    return _path(named) if named else None


# Every batch looks whether the file was changed: to make the path each time costs as much as to look.
_path = lru_cache(4)(Path)


def refuse_open_secrets() -> None:
    """Raise SecretsReadableError if others than the service can read its secrets file. Called at the start only.

    A mode that changes later must not stop work that people wait for.
    """
    path = secrets_file()
    if path is not None and path.exists() and (mode := open_mode(path)) is not None:
        raise SecretsReadableError(
            f"{path} is open to its group or to others (mode {mode:04o}): "
            f"chmod 600 {path}, and draw new secrets if somebody else may have read them"
        )


def open_mode(path: Path) -> int | None:
    """Return the mode of a file that its group or others can use, None of one that is its owner's alone."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return mode if mode & (stat.S_IRWXG | stat.S_IRWXO) else None
