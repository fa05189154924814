"""What exports is told."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from countersign.runtime.program.limits import retention_limits
from countersign.runtime.settings import HttpSettings, Limit, Part, ServiceSettings
from countersign.runtime.web import streaming
from services.exports import retention


class PageSettings(Part):
    """How many contacts can be read on pages, which ask for no code."""

    rows_max: int = Field(50, ge=1, le=50, description="chosen: a page to read, not a way to copy a list")
    hourly_max: int = Field(20, ge=1, le=20, description="chosen: 1,000 contacts an hour a user at most")


class FileSettings(Part):
    """How large a file may be, and how long it and its export live."""

    rows_max: int = Field(100_000, ge=1, le=1_000_000, description="chosen: a file is written in memory")
    decided_within: timedelta = Field(
        timedelta(minutes=10),
        gt=timedelta(minutes=5),
        le=timedelta(hours=1),
        description="chosen: by then every challenge has ended; bound: the life of a code",
    )
    written_within: timedelta = Field(
        timedelta(minutes=10),
        ge=timedelta(minutes=1),
        le=timedelta(hours=1),
        description="chosen: a file that fails to be written is tried again until then",
    )
    offered: timedelta = Field(
        timedelta(minutes=15),
        ge=timedelta(minutes=1),
        le=timedelta(hours=1),
        description="chosen: time to fetch a file, to that user only",
    )
    waiting_max: int = Field(
        20, ge=1, le=100, description="chosen: frozen contacts are copies, and a user needs few at a time"
    )


class ExportsSettings(ServiceSettings):
    """`jwks_url` is where the verifier publishes the keys of its grants."""

    http: HttpSettings = HttpSettings()
    jwks_url: str
    issuer: str = "countersign"
    audience: str = "countersign"
    pages: PageSettings = PageSettings()
    files: FileSettings = FileSettings()


def limits(settings: ExportsSettings) -> list[Limit]:
    """Return each limit with its value and source."""
    parts = {"pages": settings.pages, "files": settings.files}
    own = [
        Limit(f"{prefix}.{name}", str(getattr(part, name)), field.description or "")
        for prefix, part in parts.items()
        for name, field in type(part).model_fields.items()
    ]
    return [*own, *(Limit(*limit) for limit in streaming.LIMITS), *retention_limits(retention.RULES)]
