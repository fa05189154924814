"""The kinds of value that events are made of."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from countersign.contract.hints import (
    LOCALE_PATTERN,
    ROWS_MAX,
    SHOWN_CHARACTERS_MAX,
    address_of,
    locale_hint,
    read_ip,
    read_rows,
    read_shown,
)
from countersign.runtime.messages.cloudevents import Text
from countersign.runtime.messages.repairs import report_repair
from countersign.runtime.messages.times import rfc3339

if TYPE_CHECKING:
    from pydantic import ValidationInfo
    from pydantic.config import JsonDict


def _from_text(value: object) -> object:
    return rfc3339(value) if isinstance(value, str) else value


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
Shown = Annotated[Text, StringConstraints(max_length=SHOWN_CHARACTERS_MAX)]
Locale = Annotated[str, StringConstraints(pattern=LOCALE_PATTERN)]
Country = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}|001)$")]
# A place is a network: the address cut by the policy, as text (`203.0.113.7/32`, `2001:db8:1:2::/64`).
Place = Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]{2,45}/[0-9]{1,3}$"), AfterValidator(_network)]
Version = Annotated[int, Field(ge=1, le=2**62)]
Send = Annotated[int, Field(ge=1, le=100)]


_IP_FORMATS: JsonDict = {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", use_attribute_docstrings=True)


class Client(_Part):
    """Where a request came from, as far as the gateway can vouch for it. What is odd in it is repaired."""

    ip: Annotated[
        Annotated[str, StringConstraints(max_length=45), Field(json_schema_extra=_IP_FORMATS)] | None,
        BeforeValidator(read_ip),
    ] = None
    """An IPv4 or IPv6 address without a zone; null: the gateway cannot vouch for one."""
    locale: Annotated[Locale | None, locale_hint("client.locale")] = None
    """The language the claimant reads, as a BCP 47 tag."""


class Summary(_Part):
    """What the text must show, each at most 200 characters; a text shows about 60 of them. What is odd is repaired."""

    what: Annotated[Shown | None, BeforeValidator(read_shown)] = None
    """The name of the thing: a list, a member, a number's last digits."""
    rows: Annotated[Annotated[int, Field(ge=0, le=ROWS_MAX)] | None, BeforeValidator(read_rows)] = None
    """How many contacts leave."""
    format: Annotated[Shown | None, BeforeValidator(read_shown)] = None
    """As what: csv, jsonl."""


def _client(value: object, info: ValidationInfo) -> object:
    return value if isinstance(value, dict | Client) else _empty(Client(), "client", info)


def _summary(value: object, info: ValidationInfo) -> object:
    return value if isinstance(value, dict | Summary) else _empty(Summary(), "summary", info)


def _empty(part: _Part, field: str, info: ValidationInfo) -> _Part:
    report_repair(info, field, "it was no object, an empty one was taken")
    return part


# As others send them. Where our own services send them on, they are objects already.
ClientHint = Annotated[Client, BeforeValidator(_client)]
SummaryHint = Annotated[Summary, BeforeValidator(_summary)]


class Actor(_Part):
    """Who changed a setting."""

    kind: Literal["user", "account_manager", "system"]
    """`system`: a rule of ours, without anybody's doing."""
    id: ShortText | None = None
    """The user's or account manager's id."""
