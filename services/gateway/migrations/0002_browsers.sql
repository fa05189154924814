-- `form` is the SHA-256 of the hidden id of the login form that the session came from: the same form sent again is led
-- to the same session. `held`: a browser has shown the session's secret. Until then the pending secret that it came
-- from still fetches it, because the answer that carried it may have been lost.
ALTER TABLE session
    ADD COLUMN form bytea CHECK (octet_length(form) = 32),
    ADD COLUMN held boolean NOT NULL DEFAULT true;

-- Whether the hash is of the password in NFKC. A hash from before is of the text as it was typed; the next right
-- password replaces it.
ALTER TABLE person ADD COLUMN password_nfkc boolean NOT NULL DEFAULT false;
