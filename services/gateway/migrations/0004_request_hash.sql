-- req: base64url of the SHA-256 of the login request's record value; the grant that opens the session must carry the same.
ALTER TABLE session ADD COLUMN req text;
