-- One row a text: from the challenge that asks for it to what became of it.

CREATE TABLE dispatch (
    challenge_id        uuid NOT NULL,
    send                smallint NOT NULL,
    fingerprint         bytea NOT NULL,      -- SHA-256 of the event: the same key with another is a conflict
    account_id          uuid NOT NULL,
    user_id             uuid NOT NULL,
    number_id           uuid NOT NULL,
    expires_at          timestamptz NOT NULL,
    event               bytea,               -- the challenge as it came, its code sealed; forgotten at the end
    traceparent         text,
    state               text NOT NULL CHECK (state IN ('due', 'claimed', 'accepted', 'refused', 'suppressed', 'unknown')),
    due_at              timestamptz,
    claims              integer NOT NULL DEFAULT 0,
    claimed_at          timestamptz,
    counted_at          timestamptz,         -- when it left, or may have: what the text limits count
    number_fingerprint  bytea,
    country             text,
    segments            smallint NOT NULL DEFAULT 0,
    provider_message_id text,
    reason              text,                -- of a text that is still due: why it did not leave so far
    retry_at            timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    settled_at          timestamptz,
    PRIMARY KEY (challenge_id, send),
    CHECK ((state IN ('due', 'claimed')) = (event IS NOT NULL)),
    CHECK ((state IN ('due', 'claimed')) = (settled_at IS NULL)),
    CHECK ((state = 'due') = (due_at IS NOT NULL)),
    CHECK ((state = 'claimed') <= (claimed_at IS NOT NULL))
) WITH (fillfactor = 70);

CREATE INDEX dispatch_due ON dispatch (due_at) WHERE state = 'due';
CREATE INDEX dispatch_claimed ON dispatch (claimed_at) WHERE state = 'claimed';
CREATE INDEX dispatch_number ON dispatch (number_fingerprint, counted_at DESC) WHERE counted_at IS NOT NULL;
CREATE INDEX dispatch_account ON dispatch (account_id, counted_at DESC) WHERE counted_at IS NOT NULL;
CREATE INDEX dispatch_age ON dispatch (created_at);
