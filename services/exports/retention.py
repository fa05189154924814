"""How long exports' rows stay."""

from __future__ import annotations

from datetime import timedelta

from countersign.runtime.retention import KEYS_KEPT, Rule, stays

# An export that something can still become of has an `expires_at`.
EXPORTS = """
DELETE FROM export WHERE export_id IN (
       SELECT export_id FROM export
        WHERE asked_at < now() - $1::interval AND expires_at IS NULL
        ORDER BY asked_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
GRANTS = """
DELETE FROM spent_grant WHERE request_id IN (
       SELECT request_id FROM spent_grant
        WHERE spent_at < now() - $1::interval ORDER BY spent_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
PAGES = """
DELETE FROM page_read WHERE ctid = ANY(ARRAY(
       SELECT ctid FROM page_read
        WHERE read_at < now() - $1::interval ORDER BY read_at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""

RULES = (
    Rule(
        table="export",
        kept=KEYS_KEPT,
        statement=EXPORTS,
        why="longer than any topic could bring a decision back; one that is not over stays",
    ),
    Rule(table="spent_grant", kept=KEYS_KEPT, statement=GRANTS, why="longer than any topic could bring a grant back"),
    Rule(table="page_read", kept=timedelta(hours=1), statement=PAGES, why="pages are counted by the hour"),
    stays("frozen_contact", "deleted when its file is written or its export ends"),
    stays("file", "deleted when its export expires"),
    stays("contact_list", "the customers' own lists"),
    stays("contact", "the customers' own contacts"),
)
