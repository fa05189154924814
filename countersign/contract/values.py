"""The kinds of value that events are made of."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from countersign.runtime.cloudevents import Text, rfc3339

if TYPE_CHECKING:
    from pydantic.config import JsonDict


def _from_text(value: object) -> object:
    return rfc3339(value) if isinstance(value, str) else value


@lru_cache(1024)
def address_of(text: str) -> IPv4Address | IPv6Address:
    """Return the address. Raises ValueError.

    One text is read several times on its way through a batch: as the event's, as its place, as the assessment's.
    """
    return ip_address(text)


def _network(value: str) -> str:
    try:
        address, _, prefix = value.partition("/")
        if prefix != "32" or address_of(address).version == 6:  # noqa: PLR2004 - one IPv4 address has no host bits
            ip_network(value)
    except ValueError:
        raise ValueError("expected a network, such as 203.0.113.7/32") from None
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_from_text)]
Action = Literal["login", "export", "confirm_number", "change_number", "manage_member", "manager_act"]
Outcome = Literal["allow", "challenge", "deny"]
Role = Literal["owner", "managed", "account_manager"]
Reason = Literal[
    "request.stale",
    "request.future",
    "member.unknown",
    "two_factor.off",
    "ip.known",
    "ip.new",
    "ip.absent",
    "export.always",
    "action.always",
    "number.missing",
    "number.unknown",
    "number.recent",
]
DenialReason = Literal[
    "request.stale",
    "request.future",
    "member.unknown",
    "number.missing",
    "number.unknown",
    "number.replaced",
    "number.recent",
    "code.expired",
    "code.exhausted",
    "sms.refused",
    "sms.suppressed",
    "cancelled",
    "locked",
]
# base64url of a SHA-256, without padding: 43 characters (RFC 4648, section 5).
Digest = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]
ShortText = Annotated[Text, StringConstraints(max_length=60)]
Locale = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
Country = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}|001)$")]
# A place is a network: the address cut by the policy, as text (`203.0.113.7/32`, `2001:db8:1:2::/64`).
Place = Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]{2,45}/[0-9]{1,3}$"), AfterValidator(_network)]
Version = Annotated[int, Field(ge=1, le=2**62)]
Send = Annotated[int, Field(ge=1, le=100)]


_IP_FORMATS: JsonDict = {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", use_attribute_docstrings=True)


class Client(_Part):
    """Where a request came from, as far as the gateway can vouch for it."""

    ip: Annotated[str, StringConstraints(max_length=45), Field(json_schema_extra=_IP_FORMATS)] | None = None
    """An IPv4 or IPv6 address without a zone; null: the gateway cannot vouch for one."""
    locale: Locale | None = None
    """The language the claimant reads, as a BCP 47 tag."""

    @field_validator("ip")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None:
            address: IPv4Address | IPv6Address = _address(value)
            if isinstance(address, IPv6Address) and address.scope_id is not None:
                raise ValueError("expected an IP address without a zone")
        return value


class Summary(_Part):
    """What the text must show, each at most 60 characters."""

    what: ShortText | None = None
    """The name of the thing: a list, a member, a number's last digits."""
    rows: Annotated[int, Field(ge=0, le=10**12)] | None = None
    """How many contacts leave."""
    format: ShortText | None = None
    """As what: csv, jsonl."""


class Actor(_Part):
    """Who changed a setting."""

    kind: Literal["user", "account_manager", "system"]
    """`system`: a rule of ours, without anybody's doing."""
    id: ShortText | None = None
    """The user's or account manager's id."""


def _address(value: str) -> IPv4Address | IPv6Address:
    try:
        return address_of(value)
    except ValueError:
        raise ValueError("expected an IP address") from None
