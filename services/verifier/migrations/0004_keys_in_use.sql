-- What still needs a key, for people on call who take an old one out. No code, no digest, no grant.
-- Texts of open challenges: each was sealed at issued_at, with the key of codes that was in use then.
CREATE VIEW open_text AS
SELECT c.challenge_id, s.send, s.issued_at, c.expires_at
  FROM challenge c JOIN send s USING (challenge_id)
 WHERE c.closed_at IS NULL AND c.expires_at > now();

-- Grants that are still good, by the key that signed them (the header's kid; RFC 7515, base64url without padding).
-- A request is decided within the life of a challenge, and a grant lives for 10 minutes at most: an hour holds them all.
CREATE VIEW live_grant AS
SELECT convert_from(decode(rpad(translate(h.header, '-_', '+/'), (length(h.header) + 3) / 4 * 4, '='), 'base64'),
                    'UTF8')::jsonb ->> 'kid' AS key_id,
       d.grant_expires_at
  FROM request r
  JOIN decision d USING (request_id)
  CROSS JOIN LATERAL (SELECT split_part(d.grant_jws, '.', 1) AS header) h
 WHERE r.taken_at > now() - interval '1 hour' AND d.grant_expires_at > now();

GRANT SELECT ON open_text, live_grant TO operator;
