"""One model per event, and the topics they live on. `schemas/` is generated from here."""

from countersign.contract.access import AccessAssessed, AccessDenied, AccessGranted, AccessRequested
from countersign.contract.accounts import (
    MemberRemoved,
    MemberSet,
    NumberConfirmed,
    NumberProvided,
    NumberReplaced,
    NumberReset,
    PlacesForgotten,
    TwoFactorDisabled,
    TwoFactorEnabled,
    UserUnlocked,
)
from countersign.contract.canonical import base64url, canonical, digest_of, from_base64url, req_of
from countersign.contract.challenges import (
    ChallengeIssued,
    SmsAccepted,
    SmsRefused,
    SmsSuppressed,
    SmsUnknown,
    challenge_id_of,
)
from countersign.contract.topics import EVENTS, TYPES_OF, reader
from countersign.contract.values import (
    Action,
    Actor,
    Client,
    DenialReason,
    Outcome,
    Reason,
    Role,
    Summary,
)

__all__ = [
    "EVENTS",
    "TYPES_OF",
    "AccessAssessed",
    "AccessDenied",
    "AccessGranted",
    "AccessRequested",
    "Action",
    "Actor",
    "ChallengeIssued",
    "Client",
    "DenialReason",
    "MemberRemoved",
    "MemberSet",
    "NumberConfirmed",
    "NumberProvided",
    "NumberReplaced",
    "NumberReset",
    "Outcome",
    "PlacesForgotten",
    "Reason",
    "Role",
    "SmsAccepted",
    "SmsRefused",
    "SmsSuppressed",
    "SmsUnknown",
    "Summary",
    "TwoFactorDisabled",
    "TwoFactorEnabled",
    "UserUnlocked",
    "base64url",
    "canonical",
    "challenge_id_of",
    "digest_of",
    "from_base64url",
    "reader",
    "req_of",
]
