"""Hosts and origins, compared by meaning: case, a trailing dot and the scheme's own port make no other host."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import HttpUrl

_PORTS = {"http": 80, "https": 443}  # RFC 9110, 4.2.1 and 4.2.2
_HOST = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+)(?::([0-9]{0,5}))?$")


def origin_of(url: HttpUrl) -> str:
    """Return scheme, host and port as browsers write them in Origin (RFC 6454, section 6.1)."""
    port = "" if url.port in {None, _PORTS[url.scheme]} else f":{url.port}"
    return f"{url.scheme}://{url.host}{port}"


def is_same_host(written: str, origin: str) -> bool:
    """Return True if a Host header names the host and port of `origin`."""
    scheme, _, own = origin.partition("://")
    named = _named(written, scheme)
    return named is not None and named == _named(own, scheme)


def is_same_origin(written: str, origin: str) -> bool:
    """Return True if an Origin header names `origin`."""
    scheme, _, host = written.partition("://")
    return scheme.lower() == origin.partition("://")[0] and is_same_host(host, origin)


def _named(written: str, scheme: str) -> tuple[str, int] | None:
    """Return host and port, or None for text that names no host."""
    found = _HOST.match(written)
    if found is None:
        return None
    host, port = found[1].lower().removesuffix("."), int(found[2] or _PORTS[scheme])
    try:
        return str(ip_address(host.strip("[]"))), port
    except ValueError:
        return host, port
