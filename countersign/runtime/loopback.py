"""Which addresses only this machine reaches, and which URLs send plain text beyond it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach what listens there, or be reached there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def plain_urls(part: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield the names of settings that are http:// URLs of another machine: each setting whose name ends in url."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from plain_urls(value, f"{prefix}{name}.")
        elif name.endswith("url") and value is not None:
            url = urlsplit(str(value))
            if url.scheme != "https" and not is_loopback(url.hostname or ""):
                yield f"{prefix}{name}"
