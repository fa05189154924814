"""What the notifier is told at its start."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal  # noqa: TC003 - pydantic reads the annotations
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from countersign.runtime.keys import KeySettings
from countersign.runtime.settings import Part, ServiceSettings
from services.notifier.compose import BRAND_CHARACTERS_MAX, HOST_CHARACTERS_MAX, quoted
from services.notifier.gsm7 import septets

# All of one publish to SNS. With the time between claim and send it ends before the claim is in doubt.
PUBLISH_SECONDS_MAX = 9.0
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
    """`host` is the site that codes are good on: the last line of each text names it. `brand` begins each text."""

    host: Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=HOST_CHARACTERS_MAX)]
    brand: Annotated[str, StringConstraints(min_length=2, max_length=BRAND_CHARACTERS_MAX, strip_whitespace=True)] = (
        "Countersign"
    )
    default_locale: str = Field("en", pattern=r"^[a-z]{2}$")

    @field_validator("brand")
    @classmethod
    def _as_it_is_sent(cls, brand: str) -> str:
        """Refuse a brand that a text would have to spell in another way, or that a phone would make a link of."""
        if quoted(brand) != brand or septets(brand) != len(brand):
            raise ValueError("brand: letters and digits of the SMS alphabet, none of ./:@# or double quotes")
        return brand


class ClaimSettings(Part):
    """A text is claimed, sent and settled, or it is in doubt for ever (decision 8)."""

    good_for: timedelta = Field(
        timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=timedelta(seconds=10),
        description="chosen: with sns.publish_max it ends well before the doubt",
    )
    settled_within: timedelta = Field(
        timedelta(seconds=30),
        ge=timedelta(seconds=11),
        le=timedelta(seconds=60),
        description="chosen: an unsettled claim is unknown from then on, for ever",
    )

    @model_validator(mode="after")
    def _sent_before_the_doubt(self) -> Self:
        """Refuse a doubt that could begin while the text is still on its way to SNS."""
        if self.settled_within < self.good_for + timedelta(seconds=PUBLISH_SECONDS_MAX + 1):
            raise ValueError(f"settled_within: at least {PUBLISH_SECONDS_MAX + 1:.0f} s longer than good_for")
        return self


class NotifierSettings(ServiceSettings):
    """The rings come from the secrets file."""

    policy_file: Path
    sns: SnsSettings = SnsSettings()
    text: TextSettings
    claim: ClaimSettings = ClaimSettings()
    code_keys: list[KeySettings] = Field(min_length=1)
    number_keys: list[KeySettings] = Field(min_length=1)
