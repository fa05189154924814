"""The policy: every limit that people may want to choose, in one YAML file that they review and version.

Each field's description is the source of its default and its bound; `make limits` prints them.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from countersign.contract import CODE_LIFE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

Network = IPv4Network | IPv6Network
Country = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}|001)$")]


class PolicyUnfitError(ValueError):
    """The policy file cannot be used; the text says where and why. Nobody is let in on a guess."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestLimits(_Part):
    """When an access request is too old or too early to be acted on."""

    age_max: timedelta = Field(
        timedelta(minutes=2),
        gt=timedelta(0),
        le=CODE_LIFE_MAX,
        description="chosen: a replayed request opens nothing; bound: the life of a code, 10 minutes "
        "(NIST SP 800-63B-4, 3.1.3.2)",
    )
    future_max: timedelta = Field(
        timedelta(seconds=30),
        ge=timedelta(0),
        le=timedelta(minutes=2),
        description="chosen: clocks kept by NTP differ by far less; bound: the age that is accepted",
    )


# What the registries of special-purpose addresses (RFC 6890, kept by IANA) and RFC 5771/4291 (multicast) set aside:
# no two people are told apart by such an address.
_UNUSABLE_V4 = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
"""
_UNUSABLE_V6 = """
    ::/96 64:ff9b:1::/48 100::/63 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10
    ff00::/8
"""


class PlaceRules(_Part):
    """What makes two addresses the same place, who shares places, and for how long."""

    prefix_v4: int = Field(
        32, ge=8, le=32, description="the origin: 'a computer (IP address)'; shorter prefixes join neighbours"
    )
    prefix_v6: int = Field(
        64,
        ge=32,
        le=64,
        description="RFC 4291, 2.5.4: a subnet is a /64, and hosts change the rest (RFC 8981)",
    )
    unusable: tuple[Network, ...] = Field(
        tuple(IPv4Network(text) for text in _UNUSABLE_V4.split())
        + tuple(IPv6Network(text) for text in _UNUSABLE_V6.split()),
        description="IANA special-purpose address registries (RFC 6890), multicast (RFC 5771, RFC 4291): no place",
    )
    scope: Literal["account", "user"] = Field(
        "account",
        description="the origin: 'a computer (IP address) that has not used the account before'",
    )
    forget_after: timedelta = Field(
        timedelta(days=90),
        ge=timedelta(0),
        le=timedelta(days=400),
        description="chosen: an address is somebody else's by then; 0 = never; bound: longer than a year means nothing",
    )
    life_max: timedelta = Field(
        timedelta(0),
        ge=timedelta(0),
        le=timedelta(days=400),
        description="chosen: how long a place counts in all, however often it is used; 0 = no end, as the origin has",
    )


_COUNTRIES = "AT AU BE CA CH DE DK ES FI FR GB IE IT LU NL NO NZ PT SE US"


class TextLimits(_Part):
    """How many texts leave, whoever asks for them (OWASP ASVS 5.0, 6.6.3: rate limits on out-of-band codes)."""

    gap: timedelta = Field(
        timedelta(seconds=20),
        ge=timedelta(0),
        le=timedelta(minutes=2),
        description="chosen: within it the next text to a number waits (OWASP ASVS 5.0, 6.6.3: rate limits)",
    )
    number_hourly_max: int = Field(
        6, ge=1, le=10_000, description="OWASP ASVS 5.0, 6.6.3; one challenge has at most 4 texts"
    )
    number_daily_max: int = Field(15, ge=1, le=10_000, description="OWASP ASVS 5.0, 6.6.3: no phone is bombed")
    reserve_hourly: int = Field(
        4,
        ge=0,
        le=10_000,
        description="chosen: on top of the hour's texts to a number, for known places and account managers alone, so "
        "that a stolen password cannot use up the owner's texts; one challenge has at most 4",
    )
    reserve_daily: int = Field(
        8, ge=0, le=10_000, description="chosen: the same on top of the day's texts to a number; two challenges"
    )
    account_hourly_base: int = Field(
        30, ge=1, le=100_000, description="chosen: a budget an account, so that none spends everybody's"
    )
    account_hourly_per_member: int = Field(
        3, ge=0, le=1_000, description="chosen: added to the account's budget for each member"
    )
    account_reserve_base: int = Field(
        10,
        ge=0,
        le=100_000,
        description="chosen: on top of the account's budget of an hour, for known places and account managers alone",
    )
    account_reserve_per_member: int = Field(
        1, ge=0, le=1_000, description="chosen: added to the account's reserve for each member"
    )
    notices_daily_max: int = Field(
        10,
        ge=0,
        le=10_000,
        description="chosen: notices to a number in a day, beside its texts with codes (OWASP ASVS 5.0, 6.3.7 asks for "
        "them); two busy days of new computers",
    )
    countries: tuple[Country, ...] | None = Field(
        tuple(_COUNTRIES.split()),
        description="chosen: pumping pays in countries that nobody is in; null = all",
    )


class SwitchRules(_Part):
    """Turning two-factor on."""

    members_need: Literal["given", "confirmed"] = Field(
        "given", description="the origin: managed users each need a number; 'confirmed' asks for more than it does"
    )


class ExportRules(_Part):
    """Holding exports back after a number or the setting changed."""

    hold: timedelta = Field(
        timedelta(hours=24),
        ge=timedelta(0),
        le=timedelta(hours=72),
        description="OWASP ASVS 5.0, 6.3.7: time for the notice of a change to be read; bound: three days",
    )


class Policy(_Part):
    """The whole policy. Unknown names are refused: a limit with a typing error would be no limit."""

    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] = Field(
        description="named in every assessment"
    )
    requests: RequestLimits = RequestLimits()
    places: PlaceRules = PlaceRules()
    texts: TextLimits = TextLimits()
    switch: SwitchRules = SwitchRules()
    exports: ExportRules = ExportRules()

    @property
    def stamp(self) -> str:
        """Return the version with a digest of the values: an edit that forgot to raise the version shows."""
        return f"{self.version}+{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"

    def limits(self) -> list[tuple[str, str, str]]:
        """Return each limit as name, value and source."""
        return list(_limits("policy", self))


def load(path: Path) -> Policy:
    """Read the policy file. Raises PolicyUnfitError."""
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Policy.model_validate(written)
    except OSError as error:
        raise PolicyUnfitError(f"{path}: {error.strerror}") from error
    except RecursionError:
        raise PolicyUnfitError(f"{path} is nested too deep") from None
    except UnicodeDecodeError as error:
        raise PolicyUnfitError(f"{path} is not UTF-8") from error
    except yaml.YAMLError as error:
        raise PolicyUnfitError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        findings = "; ".join(
            f"{'.'.join(str(part) for part in finding['loc']) or 'file'}: {finding['msg']}"
            for finding in error.errors(include_url=False)
        )
        raise PolicyUnfitError(f"{path}: {findings}") from error


def _usable(path: Path) -> Path:
    load(path)
    return path


# A setting that names a policy file: one that cannot be used is told at the start, in the words of `PolicyUnfitError`.
PolicyFile = Annotated[Path, AfterValidator(_usable)]


def _limits(prefix: str, part: BaseModel) -> Iterator[tuple[str, str, str]]:
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _limits(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", _shown(value), field.description or ""


def _shown(value: object) -> str:
    match value:
        case None:
            return "all"
        case tuple():
            return " ".join(str(part) for part in value) or "none"
        case timedelta():
            return f"{value.total_seconds():.0f} s"
        case _:
            return str(value)
