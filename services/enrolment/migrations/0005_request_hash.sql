-- req: base64url of the SHA-256 of the request record's value; a grant that is acted on must carry the same.
ALTER TABLE request ADD COLUMN req text;
