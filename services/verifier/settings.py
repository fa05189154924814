"""What the verifier is told, with bounds. Each field's description is the source of its default and its bound."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from countersign.contract import CODE_LIFE_MAX, GRANT_LIFE_MAX
from countersign.policy import PolicyFile
from countersign.runtime.keys import Base64Secret, KeySettings
from countersign.runtime.settings import HttpSettings, Part, ServiceSettings


class CodeSettings(Part):
    """Codes, and the challenges that ask for them."""

    lifetime: timedelta = Field(
        timedelta(minutes=5),
        ge=timedelta(minutes=2),
        le=CODE_LIFE_MAX,
        description="chosen; bound: NIST SP 800-63B-4, 3.1.3.2 and OWASP ASVS 5.0, 6.5.5: at most 10 minutes",
    )
    attempts_max: int = Field(
        5, ge=1, le=10, description="PSD2 RTS, Article 4: five failures; over all texts of a challenge"
    )
    digits: int = Field(
        6, ge=6, le=8, description="NIST SP 800-63B-4, 3.1.3.2: at least six; OWASP ASVS 5.0, 6.5.4: 20 bits"
    )


class GrantSettings(Part):
    """Whose grants these are, for whom, and for how long."""

    issuer: str = Field("countersign", min_length=1, max_length=200)
    audience: str = Field("countersign", min_length=1, max_length=200)
    lifetime: timedelta = Field(
        timedelta(minutes=5),
        ge=timedelta(minutes=1),
        le=GRANT_LIFE_MAX,
        description="chosen: as long as a code; bound: the life of a code (NIST SP 800-63B-4, 3.1.3.2)",
    )


class VerifierSettings(ServiceSettings):
    """`pepper` and `grant_keys` are this service's alone; `grant_keys` are 32-byte Ed25519 seeds.

    `policy_file` is the risk-evaluator's: how old a request may be is judged again here by the same limits.
    """

    http: HttpSettings
    policy_file: PolicyFile
    code: CodeSettings = CodeSettings()
    grant: GrantSettings = GrantSettings()
    pepper: Annotated[Base64Secret, Field(min_length=32, max_length=64)]
    assessment_keys: Annotated[list[KeySettings], Field(min_length=1)]
    code_keys: Annotated[list[KeySettings], Field(min_length=1)]
    grant_keys: Annotated[list[KeySettings], Field(min_length=1)]
