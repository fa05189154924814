"""What the routes of setting up work with, made once in wiring."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from countersign.contract import Summary
from countersign.contract.number import NumberRefusedError, parse_number
from countersign.runtime.web.http import ProblemError
from services.enrolment.setup import decide
from services.enrolment.setup.model import Opening

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.client import AccessRequests, Grants
    from countersign.contract import Client, Role
    from countersign.contract.number import PhoneNumber
    from countersign.runtime.database.postgres import Pool
    from countersign.runtime.keys import Key, KeyRing
    from countersign.runtime.publishing.publisher import Publisher
    from services.enrolment.setup.model import SealedNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The parts. `hold` is how long exports are held after a change; `countries` None: texts go everywhere."""

    pool: Pool
    publisher: Publisher
    requests: AccessRequests
    grants: Grants
    ring: KeyRing
    fingerprint_key: bytes = field(repr=False)
    hold: timedelta
    countries: tuple[str, ...] | None
    members_need: Literal["given", "confirmed"]

    def sealing_key(self, now: datetime) -> Key:
        """Return the key that numbers are sealed with, also one that was installed since. Raises KeyUnknownError."""
        self.ring.refresh()
        return self.ring.current(now)

    def parse(self, entered: str, region: str | None) -> PhoneNumber:
        """Return the number that somebody entered. Raises ProblemError 422, in words for that person."""
        try:
            number = parse_number(entered, region)
        except NumberRefusedError as refused:
            raise ProblemError(422, "number_refused", refused.words, reason=refused.reason) from None
        if self.countries is not None and number.country not in self.countries:
            words = "We do not send texts to numbers of this country."
            raise ProblemError(422, "number_refused", words, reason="country_unserved")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A member as an owner approves them: new, or with a number that the owner entered."""

    account_id: UUID
    user_id: UUID
    role: Role
    name: str


def to_approve(
    request_id: UUID, approver_id: UUID, member: Membership, client: Client, new: SealedNumber | None
) -> Opening:
    """Return the request whose code goes to the approver's number in force; the text names the member."""
    fingerprint = None if new is None else new.fingerprint
    return Opening(
        request_id=request_id,
        account_id=member.account_id,
        user_id=approver_id,
        action="manage_member",
        authorised=decide.member_authorised(
            request_id, member.account_id, member.user_id, role=member.role, name=member.name, fingerprint=fingerprint
        ),
        summary=Summary(what=member.name),
        client=client,
        member_id=member.user_id,
        member_fingerprint=fingerprint,
        new=new,
    )
