-- req: base64url of the SHA-256 of the request record's value; null in rows from before it was stored.
-- disputed_at: when another request came under the same id; a grant of a disputed login teaches no place.
ALTER TABLE assessment ADD COLUMN req text, ADD COLUMN disputed_at timestamptz;
