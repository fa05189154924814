"""Whether a ring of keys is in order at a moment: one in use, none too old, none that is over still listed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.runtime.checkup import Finding, fine, warning, wrong
from countersign.runtime.keys import RETIRED_KEPT, WAITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from countersign.runtime.keys import KeySettings

AGE_MAX = timedelta(days=730)  # NIST SP 800-57 part 1 rev. 5, table 1: at most two years for keys that seal or sign
EARLY_MAX = timedelta(days=30)  # chosen: a key is installed days before it is used; more is a mistake in the year
MAKE_A_NEW_ONE = "install a new key everywhere it is held, with active_from some days ahead"


def key_findings(subject: str, ring: str, keys: Sequence[KeySettings], now: datetime) -> list[Finding]:
    """Return what is to be said of one ring of one service: at least one finding, all about key ids, never a secret."""
    current = [key for key in keys if key.active_from <= now and (key.retired_at is None or now < key.retired_at)]
    found: list[Finding] = []
    if not current:
        found.append(wrong(subject, f"{ring} has no key that is active now", _todo_without_a_key(keys, now)))
    for key in keys:
        found += _of_key(subject, ring, key, now)
    if current:
        newest = max(current, key=lambda key: (key.active_from, key.key_id))
        age = now - newest.active_from
        if age > AGE_MAX:
            told = f"{ring}: {newest.key_id}, which is in use, is {age.days} days old; at most {AGE_MAX.days}"
            found.append(warning(subject, told, MAKE_A_NEW_ONE))
        elif not found:
            found.append(fine(subject, f"{ring}: {newest.key_id} is in use, {age.days} days old"))
    return found


def _of_key(subject: str, ring: str, key: KeySettings, now: datetime) -> list[Finding]:
    if key.retired_at is not None and key.retired_at + RETIRED_KEPT < now:
        since = (now - key.retired_at).days
        told = f"{ring}: {key.key_id} is still listed though it was retired {since} days ago"
        check = "make sure with `python -m services.enrolment rekey` that no number lies under it, then "
        return [warning(subject, told, f"{check if ring == 'number_keys' else ''}take it out of the file")]
    if key.active_from == WAITS:
        return [fine(subject, f"{ring}: {key.key_id} is installed and waits for `countersign keys rotate`")]
    if key.active_from > now + EARLY_MAX:
        ahead = (key.active_from - now).days
        told = f"{ring}: {key.key_id} is not active before {key.active_from:%Y-%m-%d}, in {ahead} days"
        return [warning(subject, told, "correct its active_from if that is a mistake")]
    if key.active_from > now:
        return [
            fine(
                subject, f"{ring}: {key.key_id} is installed and becomes active at {key.active_from:%Y-%m-%d %H:%M %Z}"
            )
        ]
    return []


def _todo_without_a_key(keys: Sequence[KeySettings], now: datetime) -> str:
    coming = min((key for key in keys if key.active_from > now), key=lambda key: key.active_from, default=None)
    if coming is None:
        return "install a key that is active now: until then nothing is sealed or signed"
    return (
        f"{coming.key_id} becomes active at {coming.active_from:%Y-%m-%d %H:%M %Z}: set it earlier, or install another"
    )
