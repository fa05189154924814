"""Fields that decide nothing, and the address: read as people and proxies write them, and never a reason to refuse.

A request whose hint is odd still comes from somebody with the right password. Each function returns a value that the
contract's strict form takes, and reports in words what was done to what came; the words quote nothing of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from pydantic import BeforeValidator

from countersign.runtime.messages.cloudevents import is_fit, made_fit
from countersign.runtime.messages.repairs import report_repair

if TYPE_CHECKING:
    from pydantic import ValidationInfo

SHOWN_CHARACTERS_MAX = 200  # ours: account.member_set takes names of that length, and a text cuts them further
ROWS_MAX = 10**12
NO_NAME = "(no name)"
LOCALE_PATTERN = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"
_LOCALE = re.compile(LOCALE_PATTERN.removesuffix("$") + r"\Z")
_LANGUAGE, _SUBTAG = re.compile(r"[A-Za-z]{2,3}"), re.compile(r"[A-Za-z0-9]{2,8}")
_WEIGHT = re.compile(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", re.ASCII | re.IGNORECASE)
_WHOLE_NUMBER = re.compile(r"\d{1,13}", re.ASCII)
_HINT_CHARACTERS_MAX = 500  # ours: no more of an odd locale or address is looked at


@lru_cache(1024)
def address_of(text: str) -> IPv4Address | IPv6Address:
    """Return the address. Raises ValueError.

    One text is read several times on its way through a batch: as the event's, as its place, as the assessment's.
    """
    return ip_address(text)


def read_ip(value: object, info: ValidationInfo) -> str | None:
    """Return the address without a port, brackets, a zone, quotes and spaces; None where it is none."""
    if value is None:
        return None
    if type(value) is str:
        address, dropped = _spelled(value[:_HINT_CHARACTERS_MAX])
        if address is not None:
            if dropped:
                report_repair(info, "client.ip", f"{' and '.join(dropped)} dropped")
            return address
    report_repair(info, "client.ip", "it was no IP address, and counts as absent")
    return None


def _spelled(text: str) -> tuple[str | None, list[str]]:
    """Return the address as it stands in the text, and what was around it."""
    dropped = []
    bare = text.strip().strip('"').strip()  # RFC 7239, section 4, quotes an address with a port
    if bare != text:
        dropped.append("what stood around it was")
    host, port = host_and_port(bare)
    if port:
        dropped.append("the port was")
    elif host != bare:
        dropped.append("the brackets were")
    plain, zone, _ = host.partition("%")
    if zone:
        dropped.append("the zone was")
    try:
        address_of(plain)
    except ValueError:
        return None, []
    return plain, dropped


def host_and_port(text: str) -> tuple[str, str]:
    """Return host and port of `a.b.c.d:port`, `[v6]:port`, `[v6]` and of an address alone."""
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        return (host, port) if closed and (not port or (port[0] == ":" and port[1:].isdigit())) else (text, "")
    host, colon, port = text.rpartition(":")
    return (host, port) if colon and port.isdigit() and ":" not in host else (text, "")


def locale_hint(field: str) -> BeforeValidator:
    """Return the validator of a language: the nearest BCP 47 tag of ours to whatever came, or None."""

    def read(value: object, info: ValidationInfo) -> str | None:
        if value is None or (type(value) is str and _LOCALE.match(value)):
            return value
        nearest = nearest_locale(value[:_HINT_CHARACTERS_MAX]) if isinstance(value, str) else None
        report_repair(info, field, f"it was no language tag, {'the nearest' if nearest else 'none'} was taken")
        return nearest

    return BeforeValidator(read)


def nearest_locale(text: str) -> str | None:
    """Return the language of highest weight: of Accept-Language (RFC 9110, 12.5.4), POSIX names and longer tags."""
    best: tuple[float, str] | None = None
    for each in text.split(","):
        name, _, parameters = each.partition(";")
        found = _WEIGHT.fullmatch(parameters)
        weight = float(found[1]) if found else 1.0
        tag = _tag(name.strip())
        if tag is not None and weight > (best[0] if best else 0.0):
            best = (weight, tag)
    return best[1] if best else None


def _tag(name: str) -> str | None:
    """Return the leading subtags that fit: `en-AU` of `en_AU.UTF-8@euro`, `en-US` of `en-US-u-hc-h12`."""
    first, *others = re.split("[.@]", name)[0].replace("_", "-").split("-")
    if not _LANGUAGE.fullmatch(first):
        return None
    kept = [first]
    for other in others[:3]:
        if not _SUBTAG.fullmatch(other):
            break
        kept.append(other)
    return "-".join(kept)


def read_shown(value: object, info: ValidationInfo) -> str | None:
    """Return the part of a summary as it can be shown; None where there is nothing to show."""
    return None if value is None else _shown(value, info, f"summary.{info.field_name}")


def read_name(value: object, info: ValidationInfo) -> str:
    """Return a member's name as it can be shown; a member without one is a member all the same."""
    shown = _shown(value, info, "name")
    if not shown:
        report_repair(info, "name", f"it was empty, {NO_NAME} is shown")
    return shown or NO_NAME


def _shown(value: object, info: ValidationInfo, field: str) -> str | None:
    if type(value) is str and len(value) <= SHOWN_CHARACTERS_MAX and is_fit(value):
        return value
    if type(value) is int and abs(value) <= ROWS_MAX:
        report_repair(info, field, "the number was read as text")
        return str(value)
    if not isinstance(value, str):
        report_repair(info, field, "it was no text, and was left out")
        return None
    fit = value if is_fit(value) else made_fit(value)
    if fit != value:
        report_repair(info, field, "control characters were dropped")
    if len(fit) > SHOWN_CHARACTERS_MAX:
        report_repair(info, field, f"it was cut to {SHOWN_CHARACTERS_MAX} characters")
        fit = fit[: SHOWN_CHARACTERS_MAX - 1] + "…"
    return fit or None


def read_rows(value: object, info: ValidationInfo) -> int | None:
    """Return the number of rows; None where it is none that can be shown."""
    if value is None or (type(value) is int and 0 <= value <= ROWS_MAX):
        return value
    number = _whole(value)
    if number is not None and number <= ROWS_MAX:
        report_repair(info, "summary.rows", "it was read as a whole number")
        return number
    report_repair(info, "summary.rows", f"it was no whole number from 0 to {ROWS_MAX}, and was left out")
    return None


def _whole(value: object) -> int | None:
    """Return the number of `"412"` and `412.0`."""
    if isinstance(value, str):
        return int(value) if _WHOLE_NUMBER.fullmatch(value.strip()) else None
    return int(value) if isinstance(value, float) and value.is_integer() and value >= 0 else None
