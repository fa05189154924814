"""Compares an account's audit table with what the topic was told of it. Pure.

The chain alone detects who changes a row, but not who then computes every later head anew. The topic does: it holds the
heads as they were, and nothing there can be changed.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from services.enrolment.audit.model import Finding, Told
from services.enrolment.chain import broken_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from services.enrolment.audit.model import Account, Topic
    from services.enrolment.chain import Link


def told_by(link: Link) -> Told:
    """Return what the event of a row would tell."""
    change = link.change
    fields = {
        "kind": change.kind,
        "user_id": change.user_id,
        "actor_kind": change.actor.kind,
        "actor_id": change.actor.id,
        "reason": change.reason,
        "ticket": change.ticket,
        "number_id": change.number_id,
        "old_number_id": change.old_number_id,
        "place": change.place,
        "at": link.at.astimezone(UTC).isoformat(timespec="microseconds"),
    }
    return Told({name: None if value is None else str(value) for name, value in fields.items()}, link.head)


def compare(account: Account, topic: Topic) -> list[Finding]:
    """Return what is wrong with an account's audit table, by version; nothing if all is as it was told."""
    rows = {link.version: link for link in account.links}
    found = [*_missing(account, rows, topic), *_differing(rows, topic), *_unheard_of(account, rows, topic)]
    named = {one.version for one in found}
    broken = broken_at(account.links)
    if broken is not None and broken not in named and not any(version < broken for version in named):
        found.append(_broken(broken, rows))
    last = account.links[-1] if account.links else None
    if last is not None and not named and (account.version, account.head) != (last.version, last.head):
        words = f"the account names version {account.version} as its last one, the table ends with {last.version}"
        found.append(Finding(0, "removed" if account.version > last.version else "forged", words))
    if last is None and account.version > 0 and not named:
        found.append(Finding(0, "removed", f"the account names version {account.version}, the table has no row of it"))
    return sorted(found)


def _broken(version: int, rows: Mapping[int, Link]) -> Finding:
    if version in rows:
        return Finding(version, "changed", "the row is not what its chain head covers")
    return Finding(version, "removed", "the row is missing from the chain")


def _missing(account: Account, rows: Mapping[int, Link], topic: Topic) -> Iterator[Finding]:
    for version in sorted(topic.told.keys() - rows.keys()):
        yield Finding(version, "removed", "the topic tells of it, the table has no such row")
    for version, told in sorted(topic.told.items()):
        if len(told) > 1:
            yield Finding(version, "forged", f"the topic tells of it in {len(told)} different ways")
    del account


def _differing(rows: Mapping[int, Link], topic: Topic) -> Iterator[Finding]:
    """Yield rows that are not what was told; of heads alone only where the difference begins."""
    heads_differ = False
    for version, told in sorted(topic.told.items()):
        if version not in rows or len(told) > 1:
            continue
        row, was = told_by(rows[version]), told[0]
        if row.fields != was.fields:
            yield _as_another(version, row, was, topic.told)
        elif row.head != was.head and not heads_differ:
            before = topic.told.get(version - 1)
            known = before is not None and version - 1 in rows and rows[version - 1].head == before[0].head
            words = "the chain head is not the one that was told"
            if known or version == 1:
                yield Finding(
                    version, "changed", f"{words}: something differs that the event does not hold, as the address"
                )
            else:
                yield Finding(version, "forged", f"{words}: it was computed anew, as after a change of an earlier row")
        heads_differ = row.head != was.head


def _as_another(version: int, row: Told, was: Told, told: Mapping[int, Sequence[Told]]) -> Finding:
    for other, events in sorted(told.items()):
        if other != version and any(event.fields == row.fields for event in events):
            return Finding(version, "swapped", f"the row holds what version {other} was told to be")
    names = ", ".join(name for name, value in was.fields.items() if row.fields[name] != value)
    return Finding(version, "changed", f"not as it was told: {names}")


def _unheard_of(account: Account, rows: Mapping[int, Link], topic: Topic) -> Iterator[Finding]:
    first = min(topic.told, default=None)
    for version, link in sorted(rows.items()):
        must_be_told = link.at >= topic.since or (first is not None and version > first)
        if must_be_told and version not in topic.told and version not in account.waiting:
            yield Finding(version, "forged", "no event on the topic tells of it")
