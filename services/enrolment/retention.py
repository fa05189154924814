"""How long enrolment's rows stay, and what of them is erased before."""

from __future__ import annotations

from datetime import timedelta

from countersign.runtime.retention import KEYS_KEPT, Rule, stays

# Chosen: a year of what was done, to look back on; the audit chain has it for good. And somebody who works for a season
# every year comes back with their number.
YEAR = timedelta(days=400)

ENDED_NUMBERS = """
UPDATE phone_number SET sealed = NULL, fingerprint = NULL
 WHERE number_id IN (
       SELECT number_id FROM phone_number
        WHERE sealed IS NOT NULL AND ended_at < now() - $1::interval
        ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

OLD_NUMBERS = """
DELETE FROM phone_number
 WHERE number_id IN (
       SELECT number_id FROM phone_number
        WHERE ended_at < now() - $1::interval
        ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

# Numbers survive a removal, but not for ever. Nobody who is added again after that finds one in force. A member whose
# numbers are erased is not looked at again until the next removal.
NUMBERS_OF_REMOVED = """
WITH gone AS (
    SELECT user_id FROM member
     WHERE removed_at < now() - $1::interval AND (numbers_erased_at IS NULL OR numbers_erased_at < removed_at)
     ORDER BY removed_at LIMIT $2 FOR UPDATE SKIP LOCKED
), erased AS (
    DELETE FROM phone_number WHERE user_id IN (SELECT user_id FROM gone))
UPDATE member SET numbers_erased_at = now() WHERE user_id IN (SELECT user_id FROM gone)
"""

GRANTS = """
DELETE FROM spent_grant
 WHERE request_id IN (
       SELECT request_id FROM spent_grant
        WHERE spent_at < now() - $1::interval ORDER BY spent_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

CLOSED_REQUESTS = """
DELETE FROM request
 WHERE request_id IN (
       SELECT request_id FROM request
        WHERE closed_at < now() - $1::interval ORDER BY closed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

# Its decision never came, and no topic can bring it any more.
OPEN_REQUESTS = """
DELETE FROM request
 WHERE request_id IN (
       SELECT request_id FROM request
        WHERE closed_at IS NULL AND opened_at < now() - $1::interval
        ORDER BY opened_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

# A number that no code has let in is nobody's: the grant of its request is over after minutes.
NEW_NUMBERS = """
UPDATE request SET new_sealed = NULL, new_fingerprint = NULL
 WHERE request_id IN (
       SELECT request_id FROM request
        WHERE new_sealed IS NOT NULL AND opened_at < now() - $1::interval
        ORDER BY opened_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

ACTS = """
DELETE FROM manager_act
 WHERE request_id IN (
       SELECT request_id FROM manager_act
        WHERE at < now() - $1::interval ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

RESETS = """
DELETE FROM number_reset
 WHERE user_id IN (
       SELECT user_id FROM number_reset
        WHERE until < now() - $1::interval ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

RULES = (
    Rule(
        table="phone_number",
        name="phone_number.sealed",
        kept=timedelta(days=2),
        statement=ENDED_NUMBERS,
        why="after its end: the notice to a replaced number leaves within minutes",
    ),
    Rule(table="phone_number", kept=YEAR, statement=OLD_NUMBERS, why="chosen: after its end, that there was one"),
    Rule(
        table="phone_number",
        name="phone_number.of_removed",
        kept=YEAR,
        statement=NUMBERS_OF_REMOVED,
        why="chosen: after its user was removed, for whoever comes back",
    ),
    Rule(
        table="request",
        name="request.new_number",
        kept=timedelta(days=1),
        statement=NEW_NUMBERS,
        why="chosen: far longer than the grant that would let the number in",
    ),
    Rule(table="request", kept=KEYS_KEPT, statement=CLOSED_REQUESTS, why="after its end"),
    Rule(
        table="request",
        name="request.open",
        kept=KEYS_KEPT,
        statement=OPEN_REQUESTS,
        why="after it was opened: no topic can bring its decision any more",
    ),
    Rule(table="spent_grant", kept=KEYS_KEPT, statement=GRANTS, why="longer than any topic could bring a grant back"),
    Rule(table="manager_act", kept=YEAR, statement=ACTS, why="chosen: a year to look back on"),
    Rule(
        table="number_reset",
        kept=timedelta(days=1),
        statement=RESETS,
        why="after its end: a reset that is over says nothing any more",
    ),
    stays("account", "a row for each account, with its version and the head of its audit chain"),
    stays(
        "member",
        "a row for each user; of a removed one ids and version alone, so that no older member_set brings anybody back",
    ),
    stays("setting_change", "the audit chain: who changed what, for good"),
)
