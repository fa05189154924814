-- req: base64url of the SHA-256 of the request record's value, as the assessment says; every grant carries it. Null in
-- rows from before it was carried.
ALTER TABLE request ADD COLUMN req text;
ALTER TABLE challenge ADD COLUMN req text;
