"""What the gateway is told."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Self

from pydantic import Field, HttpUrl, SecretStr, model_validator

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
    """Only the local stack sets this: the page that shows its phones, and "act as another computer"."""

    sns_url: HttpUrl
    computers: tuple[str, ...] = ("203.0.113.7", "203.0.113.8", "198.51.100.23", "2001:db8:17::5")


class GatewaySettings(ServiceSettings):
    """`public_url` and `console_url` are what people type; cookies and the check of Origin follow them.

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
    local: LocalSettings | None = None

    @model_validator(mode="after")
    def _encrypted_or_on_this_machine(self) -> Self:
        for url in (self.public_url, self.console_url):
            if url.scheme != "https" and not _on_this_machine(url.host or ""):
                raise ValueError("public_url and console_url: https, unless the host is this machine (loopback)")
        return self


def _on_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def origin_of(url: HttpUrl) -> str:
    """Return scheme, host and port as browsers write them in Origin (RFC 6454, section 6.1)."""
    default = {"http": 80, "https": 443}[url.scheme]
    port = "" if url.port in {None, default} else f":{url.port}"
    return f"{url.scheme}://{url.host}{port}"
