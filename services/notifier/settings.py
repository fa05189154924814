"""What the notifier is told at its start."""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - pydantic reads the annotations
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints

from countersign.runtime.keys import KeySettings
from countersign.runtime.settings import Part, ServiceSettings
from services.notifier.compose import HOST_CHARACTERS_MAX

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


class SnsSettings(Part):
    """Amazon SNS, or what stands in for it at `endpoint_url`. Without keys the SDK looks for a role."""

    endpoint_url: str | None = None
    region: str = Field("eu-central-1", pattern=r"^[a-z0-9-]{3,30}$")
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    sender_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{3,11}$")] | None = Field(
        None, description="SNS developer guide, SenderID: 3 to 11 letters and digits"
    )
    origination_number: Annotated[str, StringConstraints(pattern=r"^\+?[0-9]{3,15}$")] | None = None
    price_usd_max: Decimal | None = Field(
        None, gt=0, le=1, description="SNS developer guide, MaxPrice: a text that costs more is not delivered"
    )
    parallel_max: int = Field(64, ge=1, le=256, description="chosen: texts in flight at once, a process")


class TextSettings(Part):
    """`host` is the site that codes are good on: the last line of each text names it."""

    host: Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=HOST_CHARACTERS_MAX)]
    default_locale: str = Field("en", pattern=r"^[a-z]{2}$")


class NotifierSettings(ServiceSettings):
    """The rings come from the secrets file."""

    policy_file: Path
    sns: SnsSettings = SnsSettings()
    text: TextSettings
    code_keys: list[KeySettings] = Field(min_length=1)
    number_keys: list[KeySettings] = Field(min_length=1)
