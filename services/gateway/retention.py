"""How long the gateway's rows stay."""

from __future__ import annotations

from datetime import timedelta

from countersign.runtime.retention import Rule, stays
from services.gateway.decide import IDLE_MAX, LIFE_MAX
from services.gateway.store import KEPT_EXPORTS

# A grant opens a session within its 10 minutes, an event ends sessions for 13 hours: what is older is void by itself,
# so these natural keys need not stay as long as a topic.
KEYS_KEPT = timedelta(days=1)

IDLE_SESSIONS = """
DELETE FROM session WHERE id IN (
       SELECT id FROM session WHERE used_at < now() - $1::interval ORDER BY used_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
OLD_SESSIONS = """
DELETE FROM session WHERE id IN (
       SELECT id FROM session WHERE begun_at < now() - $1::interval ORDER BY begun_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
TRIES = """
DELETE FROM password_try WHERE key IN (
       SELECT key FROM password_try
        WHERE full_until < now() - $1::interval ORDER BY full_until LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
GRANTS = """
DELETE FROM spent_grant WHERE jti IN (
       SELECT jti FROM spent_grant
        WHERE spent_at < now() - $1::interval ORDER BY spent_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
ENDINGS = """
DELETE FROM ending WHERE event_key IN (
       SELECT event_key FROM ending
        WHERE folded_at < now() - $1::interval ORDER BY folded_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
EXPORTS = """
DELETE FROM export_asked WHERE export_id IN (
       SELECT export_id FROM export_asked
        WHERE asked_at < now() - $1::interval ORDER BY asked_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

_WITH_SESSION = "goes with its session"

RULES = (
    Rule(table="session", name="session.idle", kept=IDLE_MAX, statement=IDLE_SESSIONS, why="NIST SP 800-63B-3, 4.2.3"),
    Rule(table="session", kept=LIFE_MAX, statement=OLD_SESSIONS, why="NIST SP 800-63B-3, 4.2.3: 12 hours in all"),
    Rule(table="password_try", kept=timedelta(0), statement=TRIES, why="after its bucket is empty: it counts nothing"),
    Rule(
        table="spent_grant",
        kept=KEYS_KEPT,
        statement=GRANTS,
        why="longer than a grant that opens a session lives (10 minutes)",
    ),
    Rule(table="ending", kept=KEYS_KEPT, statement=ENDINGS, why="longer than an event ends sessions (13 hours)"),
    Rule(
        table="export_asked",
        kept=KEPT_EXPORTS,
        statement=EXPORTS,
        why="longer than an export waits and its file is offered",
    ),
    stays("settings_draft", _WITH_SESSION),
    stays("settings_message", _WITH_SESSION),
    stays("manager_draft", _WITH_SESSION),
    stays("person", "the platform's people: a row each, for as long as the platform has them"),
)
