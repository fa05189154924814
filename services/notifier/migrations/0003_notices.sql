-- Notices: texts without a code that tell people what changed or happened. One row an event and number, claimed once.

CREATE TABLE notice (
    event_id            uuid NOT NULL,       -- derived from the event's type and natural key: the same whenever it is read
    number_id           uuid NOT NULL,
    kind                text NOT NULL,
    account_id          uuid NOT NULL,
    user_id             uuid NOT NULL,       -- whose number it is
    ip                  text,                -- of a log-in: from where, if that is known
    void_at             timestamptz NOT NULL,
    state               text NOT NULL DEFAULT 'due'
                        CHECK (state IN ('due', 'claimed', 'accepted', 'refused', 'suppressed', 'unknown')),
    due_at              timestamptz NOT NULL DEFAULT now(),
    claims              integer NOT NULL DEFAULT 0,
    claimed_at          timestamptz,         -- the last time; kept, as the lane's rate is counted by it
    counted_at          timestamptz,         -- when it left, or may have: what the limit of a number counts
    number_fingerprint  bytea,
    country             text,
    segments            smallint NOT NULL DEFAULT 0,
    provider_message_id text,
    reason              text,                -- of one that is still due: why it did not leave so far
    created_at          timestamptz NOT NULL DEFAULT now(),
    settled_at          timestamptz,
    PRIMARY KEY (event_id, number_id),
    CHECK ((state IN ('due', 'claimed')) = (settled_at IS NULL)),
    CHECK ((state = 'claimed') <= (claimed_at IS NOT NULL))
) WITH (fillfactor = 70);

CREATE INDEX notice_due ON notice (due_at) WHERE state = 'due';
CREATE INDEX notice_unsettled ON notice (claimed_at) WHERE state = 'claimed';
CREATE INDEX notice_claimed ON notice (claimed_at) WHERE claimed_at IS NOT NULL;
CREATE INDEX notice_number ON notice (number_fingerprint, counted_at) WHERE counted_at IS NOT NULL;
CREATE INDEX notice_age ON notice (created_at);

-- Where a code was asked from, for the notice of the log-in that it opens.
ALTER TABLE dispatch ADD COLUMN ip text;
