-- The SHA-256 of the secret of the browser session that asked: the file is handed to that session alone, and the grant's
-- digest covers it. The default is a session that nobody has; it is only for processes that are replaced by this release.
ALTER TABLE export ADD COLUMN session bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
    CHECK (length(session) = 32);

-- Exports that were asked for before belong to no session: they end now, and are asked for again.
UPDATE export SET expires_at = now() WHERE expires_at > now();
