"""What the routes of setting up are sent."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from countersign.contract import Client, Role
from countersign.contract.hints import SHOWN_CHARACTERS_MAX
from countersign.contract.values import Place
from countersign.runtime.messages.cloudevents import Text

_GRANT = StringConstraints(max_length=4096)
_ENTERED = StringConstraints(max_length=1_000)  # what is too long for a number is refused in words, not as a field
_REGION = StringConstraints(pattern=r"^[A-Z]{2}$")
_PLACES_MAX = 10_000


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    actor: UUID
    """The signed-in member who does this."""
    client: Client


class NumberBody(_Body):
    """A number that somebody entered, or the grant of the code that it needed. `region` is where it is dialled from."""

    number: Annotated[str, _ENTERED] | None = Field(None, repr=False)
    region: Annotated[str, _REGION] | None = None
    grant: Annotated[str, _GRANT] | None = Field(None, repr=False)
    request_id: UUID | None = None


class ConfirmationBody(_Body):
    """Asking for a code to the number given earlier."""

    request_id: UUID | None = None


class SwitchBody(_Body):
    """Turning two-factor on. `grant` confirms the actor's own number; `keep_places` None: all stay known."""

    enabled: bool
    grant: Annotated[str, _GRANT] | None = Field(None, repr=False)
    keep_places: Annotated[list[Place], Field(max_length=_PLACES_MAX)] | None = None


class MemberBody(_Body):
    """A member that the platform is about to set, with the number that becomes theirs."""

    user_id: UUID
    role: Role
    name: Annotated[Text, StringConstraints(min_length=1, max_length=SHOWN_CHARACTERS_MAX)]
    number: Annotated[str, _ENTERED] | None = Field(None, repr=False)
    region: Annotated[str, _REGION] | None = None
    request_id: UUID | None = None
