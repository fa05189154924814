-- What the sweep looks for.
CREATE INDEX session_used ON session (used_at);
CREATE INDEX export_asked_age ON export_asked (asked_at);
