-- One assessment a request. The first five columns are what a repeated event is compared with; place is what a grant
-- of it teaches. Kept 40 days, longer than any topic could bring the request or its grant back.
CREATE TABLE assessment (
    request_id     uuid PRIMARY KEY,
    account_id     uuid NOT NULL,
    user_id        uuid NOT NULL,
    action         text NOT NULL,
    digest         text NOT NULL,
    place          text,
    place_known    boolean NOT NULL,
    outcome        text NOT NULL CHECK (outcome IN ('allow', 'challenge', 'deny')),
    reasons        text[] NOT NULL,
    policy_version text NOT NULL,
    requested_at   timestamptz NOT NULL,
    assessed_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX assessment_age ON assessment USING brin (assessed_at);

-- Where users of an account logged in from, a row for each who taught it. last_used_at is written at most hourly.
CREATE TABLE place (
    account_id    uuid NOT NULL,
    place         text NOT NULL,
    taught_by     uuid NOT NULL,
    first_used_at timestamptz NOT NULL,
    last_used_at  timestamptz NOT NULL CHECK (last_used_at >= first_used_at),
    PRIMARY KEY (account_id, place, taught_by)
);
CREATE INDEX place_idle ON place (last_used_at);

-- Grants up to forgotten_at teach nothing any more, so that no replay brings a place back. Rows stay.
-- user_id null: of all users; place null: all places.
CREATE TABLE forgotten (
    account_id   uuid NOT NULL,
    user_id      uuid,
    place        text,
    forgotten_at timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (account_id, user_id, place)
);

CREATE VIEW known_place AS
SELECT account_id, place, taught_by, first_used_at, last_used_at FROM place;

GRANT USAGE ON SCHEMA risk_evaluator TO gateway;
GRANT SELECT ON known_place TO gateway;
