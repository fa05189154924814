"""Plain values: an export in each of its states, and what a decision makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from countersign.client.digests import ExportTerms, export_digest
from countersign.contract import Summary
from countersign.runtime.messages.cloudevents import made_fit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from countersign.client.grant import PublishedKey, Realm

Format = Literal["csv", "jsonl"]
State = Literal["waiting", "granted", "ready", "denied", "expired"]

# What the text says in place of the format's short name.
FORMAT_NAMES: Mapping[Format, str] = {"csv": "CSV", "jsonl": "JSON Lines"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export. `expires_at` ends the state by itself.

    `contacts` is the SHA-256 of its frozen contacts' ids, `session` that of the secret of the browser session that
    asked. `req` is the hash of the request that was published for it; None before there is one.
    """

    export_id: UUID
    account_id: UUID
    user_id: UUID
    list_id: UUID
    list_name: str
    format: Format
    rows: int
    contacts: bytes
    session: bytes = field(repr=False)
    asked_at: datetime
    state: State
    reason: str | None
    retry_at: datetime | None
    expires_at: datetime | None
    req: str | None = None

    def terms(self) -> ExportTerms:
        """Return what is to be authorised."""
        return ExportTerms(
            export_id=self.export_id,
            account_id=self.account_id,
            user_id=self.user_id,
            list_id=self.list_id,
            format=self.format,
            rows=self.rows,
            contacts=self.contacts,
            session=self.session,
        )

    def summary(self) -> Summary:
        """Return what the text shows: of the list's name what an event's text takes, as far as a text has room."""
        what = made_fit(self.list_name)[:60].strip()
        return Summary(what=what or None, rows=self.rows, format=FORMAT_NAMES[self.format])

    def digest(self) -> str:
        """Return the digest that the grant must carry, from this row and nothing else."""
        return export_digest(self.terms(), self.summary())


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact as it is shown, frozen and written. `attributes` is whatever else the list holds of it, as text."""

    contact_id: UUID
    email: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Held:
    """What the fold decides with: the exports that the batch names, and the keys that grants are checked with."""

    exports: Mapping[UUID, Export]
    keys: Mapping[str, PublishedKey]
    realm: Realm


@dataclass(frozen=True, slots=True)
class Granted:
    """The export may be written: its grant is right, and is to be spent."""

    export: Export


@dataclass(frozen=True, slots=True)
class Denied:
    """The export ends, with the verifier's reason."""

    export: Export
    reason: str
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Late:
    """The grant was right, and its time was over before it could be acted on."""

    export: Export


Outcome: TypeAlias = Granted | Denied | Late
