-- The session that asked for an export, by the SHA-256 under which it is kept: the start page lists its own exports, as no
-- other session may open them. The rows of before belong to none (and go within the hour).
ALTER TABLE export_asked ADD COLUMN session bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
    CHECK (octet_length(session) = 32);
CREATE INDEX export_asked_of_session ON export_asked (session, asked_at);
DROP INDEX export_asked_of_user;
