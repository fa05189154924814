"""What enrolment is told."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from countersign.policy import PolicyFile
from countersign.runtime.keys import Base64Secret, KeySettings
from countersign.runtime.settings import HttpSettings, ServiceSettings


class EnrolmentSettings(ServiceSettings):
    """`number_keys` are shared with the notifier; `fingerprint_key` is 32 bytes in base64, this service's alone.

    `staff_account_id` names the account whose members are the account managers; without it any account may have some.
    """

    http: HttpSettings = HttpSettings()
    policy_file: PolicyFile
    jwks_url: str
    issuer: str = "countersign"
    audience: str = "countersign"
    number_keys: list[KeySettings] = Field(min_length=1, repr=False)
    fingerprint_key: Annotated[Base64Secret, Field(min_length=32, max_length=32, repr=False)]
    staff_account_id: UUID | None = None
