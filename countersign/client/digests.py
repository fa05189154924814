"""What a digest is made of: both ends build it here, from their own records, so that they cannot disagree."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from countersign.client.clock import id_of
from countersign.contract import Summary, base64url, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID


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
