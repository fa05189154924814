"""Which addresses only this machine reaches, and which URLs send plain text beyond it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

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


def urls_of(part: BaseModel, prefix: str = "") -> Iterator[tuple[str, SplitResult]]:
    """Yield name and value of each setting that is a URL: of each setting whose name ends in url."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from urls_of(value, f"{prefix}{name}.")
        elif name.endswith("url") and value is not None:
            yield f"{prefix}{name}", urlsplit(str(value))


def plain_urls(settings: BaseModel) -> list[str]:
    """Return the names of settings that are http:// URLs of another machine."""
    urls = urls_of(settings)
    return sorted(name for name, url in urls if url.scheme != "https" and not is_loopback(url.hostname or ""))
