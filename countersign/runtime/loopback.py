"""Which addresses only this machine reaches, and which settings send plain text beyond it."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from aiokafka.conn import collect_hosts
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from countersign.runtime.broker.kafka import KafkaConnection

_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})  # libpq's sslmode; the others fall back to plain text


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach what listens there, or be reached there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def urls_of(part: BaseModel, prefix: str = "") -> Iterator[tuple[str, SplitResult]]:
    """Yield name and value of each setting that is a URL: of each setting whose name ends in url or endpoint."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from urls_of(value, f"{prefix}{name}.")
        elif name.endswith(("url", "endpoint")) and value is not None:
            yield f"{prefix}{name}", urlsplit(str(value))


def plain_urls(settings: BaseModel) -> list[str]:
    """Return the names of settings that are http:// URLs of another machine."""
    urls = urls_of(settings)
    return sorted(name for name, url in urls if url.scheme != "https" and not is_loopback(url.hostname or ""))


def plain_brokers(kafka: KafkaConnection) -> list[str]:
    """Return the host names of brokers on other machines that would be spoken to without TLS."""
    if kafka.encrypted:
        return []
    return sorted({host for host, _, _ in collect_hosts(kafka.bootstrap_servers) if not is_loopback(host)})


def is_plain_dsn(dsn: str) -> bool:
    """Return True if a connection of that address to another machine may be in plain text.

    A Unix socket is on this machine. What the address leaves out asyncpg takes from PGHOST and PGSSLMODE, as libpq.
    """
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(query.get("host", ())) or os.environ.get("PGHOST", "")
    mode = query.get("sslmode", [os.environ.get("PGSSLMODE", "")])[-1]
    elsewhere = [host for host in unquote(hosts).split(",") if host and not host.startswith("/") and not _is_here(host)]
    return bool(elsewhere) and mode not in _ENCRYPTED


def _is_here(host_and_port: str) -> bool:
    return is_loopback(urlsplit(f"//{host_and_port}").hostname or "")
