"""What the acts of account managers are decided by, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.client import ManagerActKind
    from services.enrolment.model import Member

ActOutcome = Literal["done", "recorded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known under the locks of the staff account and of the account that is acted on.

    `target` is the user who is acted on; None for an act on the account. `wait`: how long until this manager may act
    again; None: now. `recorded`: another manager has recorded this very reset of an owner, with the same ticket.
    """

    manager: Member | None
    staff_account_id: UUID
    account_id: UUID
    two_factor: bool
    exports_held: bool
    target: Member | None = None
    wait: timedelta | None = None
    recorded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """An act as its grant authorises it. `user_id` None: on the whole account; `ip`: where the manager was."""

    request_id: UUID
    kind: ManagerActKind
    manager_id: UUID
    account_id: UUID
    user_id: UUID | None
    anywhere: bool
    reason: str
    ticket: str
    ip: str | None
    at: datetime
