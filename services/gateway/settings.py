"""What the gateway is told."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Self

from pydantic import Field, HttpUrl, SecretStr, model_validator

from countersign.runtime.keys import Base64Secret
from countersign.runtime.loopback import is_loopback, urls_of
from countersign.runtime.settings import PageConnectionSettings, Part, ServiceSettings


class PasswordSettings(Part):
    """What a check of a password costs, and how many wait for one.

    OWASP Password Storage Cheat Sheet: Argon2id with at least 19 MiB, two passes and one lane.
    """

    memory_kib: int = Field(19_456, ge=19_456, le=262_144)
    passes: int = Field(2, ge=2, le=10)
    threads: int = Field(2, ge=1, le=16)
    waiting_max: int = Field(32, ge=1, le=1_000)


class UpstreamSettings(Part):
    """Where the other services answer. `token` is this gateway's bearer at each of them."""

    verifier_url: HttpUrl
    enrolment_url: HttpUrl
    exports_url: HttpUrl
    token: SecretStr = Field(min_length=32)


class LocalSettings(Part):
    """Only the local stack sets this: the page that shows its phones, and "act as another computer".

    Whoever reaches the pages then reads everybody's codes, so every address has to be loopback. In containers the
    services find each other by name and listen to the outside of their container, which
    `shows_codes_to_anybody_who_can_connect` permits; `public_url` and `console_url` are loopback even then.
    `seed_file` holds the demonstration's people: the page shows whose phones these are, and how they log in.
    """

    sns_url: HttpUrl
    seed_file: Path | None = None
    shows_codes_to_anybody_who_can_connect: bool = False
    computers: tuple[str, ...] = ("203.0.113.7", "203.0.113.8", "198.51.100.23", "2001:db8:17::5")


class AccountManagerSettings(Part):
    """Whom the pages send people to, for what only an account manager can do."""

    name: str = Field(min_length=1, max_length=100)
    email: str = Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")


class GatewaySettings(ServiceSettings):
    """`public_url` and `console_url` are what people type; cookies and the check of Origin follow them.

    `browser_key` is 32 bytes in base64, this service's alone: it derives session secrets and signs device cookies.
    `account_manager` is shown wherever a page sends somebody there; without it the page only says so.
    `connections` counts for each of the two sites.
    """

    public_url: HttpUrl
    console_url: HttpUrl
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)
    console_port: int = Field(8090, ge=0, le=65_535)
    connections: PageConnectionSettings = PageConnectionSettings()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    services: UpstreamSettings
    jwks_url: HttpUrl
    issuer: str = "countersign"
    audience: str = "countersign"
    password: PasswordSettings = PasswordSettings()
    browser_key: Annotated[Base64Secret, Field(min_length=32, max_length=32, repr=False)]
    account_manager: AccountManagerSettings | None = None
    local: LocalSettings | None = None

    @model_validator(mode="after")
    def _encrypted_or_on_this_machine(self) -> Self:
        for url in (self.public_url, self.console_url):
            if url.scheme != "https" and not is_loopback(url.host or ""):
                raise ValueError("public_url and console_url: https, unless the host is this machine (loopback)")
        return self

    @model_validator(mode="after")
    def _local_stack_on_this_machine(self) -> Self:
        """Refuse the page that shows everybody's codes where anybody else could reach it."""
        if self.local is None:
            return self
        hosts = {name: url.hostname or "" for name, url in urls_of(self)}
        if self.local.shows_codes_to_anybody_who_can_connect:
            hosts = {name: hosts[name] for name in ("public_url", "console_url")}
        else:
            hosts |= {"host": self.host, "health.host": self.health.host}
        beyond = sorted(name for name, host in hosts.items() if not is_loopback(host))
        if beyond:
            raise ValueError(
                f"local is set, so /phone shows everybody's codes, but this is not a loopback address: "
                f"{', '.join(beyond)}. Unset local. Only for containers that nobody else can reach: set "
                "local.shows_codes_to_anybody_who_can_connect; public_url and console_url stay loopback even then."
            )
        return self
