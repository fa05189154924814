-- Every request that was taken in, whatever became of it: kept 40 days, longer than a topic could bring it back.
CREATE TABLE request (
    request_id  uuid PRIMARY KEY,
    account_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    action      text NOT NULL,
    digest      text NOT NULL,
    place       text,
    taken_at    timestamptz NOT NULL
);
CREATE INDEX request_of_account ON request (account_id, taken_at);
CREATE INDEX request_age ON request (taken_at);

-- What a decision and a further text repeat is kept here, so that no answer needs the topic. No code and no number:
-- `number_hint` is the masked form.
CREATE TABLE challenge (
    challenge_id uuid PRIMARY KEY,
    request_id   uuid NOT NULL UNIQUE REFERENCES request ON DELETE CASCADE,
    account_id   uuid NOT NULL,
    user_id      uuid NOT NULL,
    action       text NOT NULL,
    digest       text NOT NULL,
    reasons      text[] NOT NULL,
    client       text NOT NULL,
    summary      text NOT NULL,
    traceparent  text,
    place        text,
    place_known  boolean NOT NULL,
    number_id    uuid NOT NULL,
    number_hint  text NOT NULL,
    attempts     smallint NOT NULL DEFAULT 0 CHECK (attempts >= 0 AND attempts <= attempts_max),
    attempts_max smallint NOT NULL CHECK (attempts_max BETWEEN 1 AND 10),
    issued_at    timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL CHECK (expires_at > issued_at),
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    closed_at    timestamptz
);
CREATE INDEX challenge_open_of_user ON challenge (user_id) WHERE closed_at IS NULL;
CREATE INDEX challenge_to_expire ON challenge (expires_at) WHERE closed_at IS NULL;

-- A text of a challenge: the code as HMAC-SHA-256 with the pepper, and what became of the text.
CREATE TABLE send (
    challenge_id uuid NOT NULL REFERENCES challenge ON DELETE CASCADE,
    send         smallint NOT NULL CHECK (send BETWEEN 1 AND 100),
    code_digest  bytea NOT NULL CHECK (length(code_digest) = 32),
    issued_at    timestamptz NOT NULL,
    state        text NOT NULL DEFAULT 'sending'
                 CHECK (state IN ('sending', 'accepted', 'unknown', 'refused', 'suppressed')),
    reason       text,
    retry_at     timestamptz,
    PRIMARY KEY (challenge_id, send)
);

-- Judged answers, so that a repeated POST gets the same reply. Never the code.
CREATE TABLE answer (
    challenge_id uuid NOT NULL REFERENCES challenge ON DELETE CASCADE,
    answer_id    uuid NOT NULL,
    accepted     boolean NOT NULL,
    tries_left   smallint NOT NULL,
    judged_at    timestamptz NOT NULL,
    PRIMARY KEY (challenge_id, answer_id)
);

-- Consecutive failures of a user, for known and for new places. Rows stay: a new code, a new challenge and a removal
-- reset nothing.
CREATE TABLE counter (
    user_id        uuid NOT NULL,
    place_known    boolean NOT NULL,
    failures       integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    last_failed_at timestamptz,
    PRIMARY KEY (user_id, place_known)
);

-- At most one a request, by its key.
CREATE TABLE decision (
    request_id       uuid PRIMARY KEY REFERENCES request ON DELETE CASCADE,
    outcome          text NOT NULL CHECK (outcome IN ('granted', 'denied')),
    reason           text,
    retry_at         timestamptz,
    grant_jws        text,
    grant_expires_at timestamptz,
    decided_at       timestamptz NOT NULL,
    CHECK ((outcome = 'granted') = (grant_jws IS NOT NULL)),
    CHECK ((outcome = 'denied') = (reason IS NOT NULL))
);

-- `outcome`: challenged, granted, or the reason for which it was denied.
CREATE VIEW activity AS
SELECT r.account_id, r.user_id, coalesce(d.decided_at, r.taken_at) AS at, r.place, r.action,
       coalesce(d.reason, d.outcome, 'challenged') AS outcome, c.challenge_id
  FROM request r
  LEFT JOIN decision d ON d.request_id = r.request_id
  LEFT JOIN challenge c ON c.request_id = r.request_id;

GRANT USAGE ON SCHEMA verifier TO gateway;
GRANT SELECT ON activity TO gateway;
