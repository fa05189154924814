-- req: base64url of the SHA-256 of the request record's value that asks for the export; its grant must carry the same.
ALTER TABLE export ADD COLUMN req text;
