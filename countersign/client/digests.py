"""What a digest is made of: both ends build it here, from their own records, so that they cannot disagree."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from countersign.clock import id_of
from countersign.contract import Summary, base64url, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

ManagerActKind = Literal["two_factor.off", "exports.release", "number.reset", "user.unlock"]

# Where each act is called, and what the text to the account manager says of it.
_MANAGER_ACTS: dict[ManagerActKind, tuple[str, str]] = {
    "two_factor.off": ("/v1/manager/accounts/{}/two-factor/off", "turn two-factor off, account {}"),
    "exports.release": ("/v1/manager/accounts/{}/exports/release", "release exports, account {}"),
    "number.reset": ("/v1/manager/users/{}/number/reset", "reset number, user {}"),
    "user.unlock": ("/v1/manager/users/{}/unlock", "unlock, user {}"),
}
_ANYWHERE = ("?anywhere=true", "reset number from anywhere, user {}")
_SHOWN_OF_ID = 8  # the last characters: ids of version 7 begin alike


def authorised_digest(authorised: Mapping[str, Any], summary: Summary) -> str:
    """Return the digest of what is to be authorised together with what the text shows of it.

    `authorised` holds strings, integers, booleans, null, and arrays and objects of them; the summary goes in under
    `summary`, without its empty fields. Raises ValueError for floats, and for an `authorised` with its own `summary`.
    """
    if "summary" in authorised:
        raise ValueError("summary: it is given beside what is authorised, not in it")
    return digest_of({**authorised, "summary": summary.model_dump(exclude_none=True)})


def login_authorised(request_id: UUID | str, user_id: UUID | str, session_secret: str) -> dict[str, Any]:
    """Return what a login authorises: one session of one browser.

    `session_secret` is the secret of the session before the login; only its SHA-256 goes in.
    """
    return {
        "request_id": str(id_of(request_id, "request_id")),
        "user_id": str(id_of(user_id, "user_id")),
        "session": session_digest(session_secret),
    }


def session_digest(session_secret: str) -> str:
    """Return base64url of the SHA-256 of a browser session's secret: what may be sent and kept in its place."""
    return base64url(hashlib.sha256(session_secret.encode()).digest())


def login_digest(request_id: UUID | str, user_id: UUID | str, session_secret: str) -> str:
    """Return the digest of a login, whose text shows nothing but the action and the place."""
    return authorised_digest(login_authorised(request_id, user_id, session_secret), Summary())


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTerms:
    """An export as it is approved: any change of it is another export.

    `contacts` is `contacts_digest(...)`. `session` is the SHA-256 (32 bytes) of the secret of the browser session that
    asked: the file is handed to that session alone.
    """

    export_id: UUID
    account_id: UUID
    user_id: UUID
    list_id: UUID
    format: str
    rows: int
    contacts: bytes
    session: bytes = field(repr=False)

    def authorised(self) -> dict[str, Any]:
        """Return what an export authorises, ready for `AccessRequests.build`."""
        return {
            "export_id": str(self.export_id),
            "account_id": str(self.account_id),
            "user_id": str(self.user_id),
            "list_id": str(self.list_id),
            "format": self.format,
            "rows": self.rows,
            "contacts": base64url(self.contacts),
            "session": base64url(self.session),
        }


def export_digest(terms: ExportTerms, summary: Summary) -> str:
    """Return the digest of an export. `summary` is what the text shows: the list's name, rows, format."""
    return authorised_digest(terms.authorised(), summary)


def contacts_digest(contact_ids: Iterable[UUID]) -> bytes:
    """Return the SHA-256 over the 16 bytes of each frozen contact's id, in the order of the file."""
    seen = hashlib.sha256()
    for contact_id in contact_ids:
        seen.update(contact_id.bytes)
    return seen.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerAct:
    """What an account manager does to an account or a user (`target`), as its grant authorises it.

    `anywhere` is for `number.reset` alone: the user may enter a new number from a place that they have not used.
    """

    request_id: UUID
    kind: ManagerActKind
    target: UUID
    reason: str
    ticket: str
    anywhere: bool = False

    @property
    def route(self) -> str:
        """The path with its query, exactly as it is called."""
        return _MANAGER_ACTS[self.kind][0].format(self.target) + (_ANYWHERE[0] if self.anywhere else "")

    @property
    def summary(self) -> Summary:
        """What the text says beside the code; whoever acts computes it again, so another text fits no grant."""
        what = _ANYWHERE[1] if self.anywhere else _MANAGER_ACTS[self.kind][1]
        return Summary(what=what.format(str(self.target)[-_SHOWN_OF_ID:]))

    def authorised(self) -> dict[str, Any]:
        """Return what the act authorises, ready for `AccessRequests.build`."""
        return {
            "request_id": str(self.request_id),
            "route": self.route,
            "target": str(self.target),
            "reason": self.reason,
            "ticket": self.ticket,
        }


def manager_act_digest(act: ManagerAct) -> str:
    """Return the digest of an account manager's act."""
    return authorised_digest(act.authorised(), act.summary)
