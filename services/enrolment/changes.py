"""Changes of an account's settings: versioned, chained, and told on account.settings.v1, all in one transaction."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from countersign import contract
from countersign.contract import base64url
from countersign.runtime.messages import cloudevents
from countersign.runtime.publishing import outbox
from services.enrolment.chain import Link, chained
from services.enrolment.model import Change

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.outbox import Kept
    from services.enrolment.model import Confirmed

SOURCE = "enrolment"

SettingEvent = (
    contract.TwoFactorEnabled
    | contract.TwoFactorDisabled
    | contract.NumberProvided
    | contract.NumberConfirmed
    | contract.NumberReplaced
    | contract.NumberReset
    | contract.NumberResetRecorded
    | contract.UserUnlocked
    | contract.PlacesForgotten
    | contract.ExportsReleased
)
TYPES: dict[str, type[SettingEvent]] = {
    "two_factor.enabled": contract.TwoFactorEnabled,
    "two_factor.disabled": contract.TwoFactorDisabled,
    "number.provided": contract.NumberProvided,
    "number.confirmed": contract.NumberConfirmed,
    "number.replaced": contract.NumberReplaced,
    "number.reset": contract.NumberReset,
    "number.reset_recorded": contract.NumberResetRecorded,
    "user.unlocked": contract.UserUnlocked,
    "places.forgotten": contract.PlacesForgotten,
    "exports.released": contract.ExportsReleased,
}

HEADS = """
SELECT account_id, version, chain_head FROM account
 WHERE account_id = ANY($1::uuid[])
 ORDER BY account_id
   FOR NO KEY UPDATE
"""

KEEP = """
INSERT INTO setting_change (account_id, version, kind, user_id, actor_kind, actor_id, reason, ticket, number_id,
                            old_number_id, place, ip, at, chain_head)
SELECT account_id, version, kind, user_id, actor_kind, actor_id, reason, ticket, number_id, old_number_id, place, ip,
       $14, chain_head
  FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::bytea[])
    AS c (account_id, version, kind, user_id, actor_kind, actor_id, reason, ticket, number_id, old_number_id, place, ip,
          chain_head)
"""

MOVE_HEADS = """
UPDATE account a SET version = h.version, chain_head = h.chain_head
  FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS h (account_id, version, chain_head)
 WHERE a.account_id = h.account_id
"""

CHAIN = """
SELECT account_id, version, kind, user_id, actor_kind, actor_id, reason, ticket, number_id, old_number_id, place, ip,
       at, chain_head
  FROM setting_change WHERE account_id = $1
 ORDER BY version
"""


async def keep(db: Connection, changes: Sequence[Change], now: datetime) -> Kept:
    """Keep changes of known accounts in the given order, and their events. `now` is the database's."""
    if not changes:
        return outbox.NOTHING
    heads = {row["account_id"]: row for row in await db.fetch(HEADS, sorted({one.account_id for one in changes}))}
    links: list[Link] = []
    for account_id, group in groupby(sorted(changes, key=_account), key=_account):  # a stable sort: the order stays
        links += chained(heads[account_id]["chain_head"], heads[account_id]["version"], group, now)
    await _store(db, links, now)
    return await outbox.append(db, [event_of(link) for link in links])


async def links_of(db: Connection, account_id: UUID) -> list[Link]:
    """Return the audit chain of an account as it is stored, oldest first."""
    return [_link(row) for row in await db.fetch(CHAIN, account_id)]


def of_confirmed(one: Confirmed) -> Change:
    """Return the change that a confirmed number is, done by its user."""
    return Change(
        kind="number.confirmed" if one.replaces is None else "number.replaced",
        account_id=one.account_id,
        actor=contract.Actor(kind="user", id=str(one.user_id)),
        user_id=one.user_id,
        number_id=one.number_id,
        old_number_id=one.replaces,
        ip=one.ip,
    )


def event_of(link: Link) -> Outgoing:
    """Return the record of a change."""
    change = link.change
    event = TYPES[change.kind](
        account_id=change.account_id,
        user_id=change.user_id,
        version=link.version,
        actor=change.actor,
        reason=change.reason,
        ticket=change.ticket,
        number_id=change.number_id,
        old_number_id=change.old_number_id,
        place=change.place,
        chain_head=base64url(link.head),
    )
    return cloudevents.write(event, source=SOURCE, time=link.at)


def event_id_of(link: Link) -> UUID | None:
    """Return the id of a change's event; None for a kind that no event has."""
    kind = TYPES.get(link.change.kind)
    change = link.change
    if kind is None:
        return None
    named = kind.model_construct(
        account_id=change.account_id, version=link.version, actor=change.actor, chain_head=base64url(link.head)
    )
    return named.event_id()


async def _store(db: Connection, links: Sequence[Link], now: datetime) -> None:
    changes = [link.change for link in links]
    await db.execute(
        KEEP,
        [change.account_id for change in changes],
        [link.version for link in links],
        [change.kind for change in changes],
        [change.user_id for change in changes],
        [change.actor.kind for change in changes],
        [change.actor.id for change in changes],
        [change.reason for change in changes],
        [change.ticket for change in changes],
        [change.number_id for change in changes],
        [change.old_number_id for change in changes],
        [change.place for change in changes],
        [change.ip for change in changes],
        [link.head for link in links],
        now,
    )
    last = {link.change.account_id: link for link in links}
    await db.execute(
        MOVE_HEADS, list(last), [link.version for link in last.values()], [link.head for link in last.values()]
    )


def _account(change: Change) -> UUID:
    return change.account_id


def _link(row: asyncpg.Record) -> Link:
    change = Change(
        kind=row["kind"],
        account_id=row["account_id"],
        actor=contract.Actor.model_construct(kind=row["actor_kind"], id=row["actor_id"]),  # judged by its chain head
        user_id=row["user_id"],
        reason=row["reason"],
        ticket=row["ticket"],
        number_id=row["number_id"],
        old_number_id=row["old_number_id"],
        place=row["place"],
        ip=row["ip"],
    )
    return Link(change, row["version"], row["at"], row["chain_head"])
