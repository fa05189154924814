-- Each service has its own outbox, dead letters and brakes, in its own schema.
-- Headers are JSON, [[name, value], ...], a value's bytes as the first 256 code points.

CREATE TABLE outbox (
    event_id      uuid PRIMARY KEY,
    topic         text NOT NULL,
    key           bytea NOT NULL,
    value         bytea NOT NULL,
    headers       text NOT NULL,
    leased_until  timestamptz NOT NULL,
    parked_reason text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX outbox_left_over ON outbox (leased_until) WHERE parked_reason IS NULL;

CREATE TABLE dead_letter (
    topic         text NOT NULL,
    partition     integer NOT NULL,
    "offset"      bigint NOT NULL,
    record_key    bytea,
    value         bytea,
    value_bytes   integer NOT NULL,
    value_sha256  bytea NOT NULL,
    headers       text NOT NULL,
    appended_at   timestamptz NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('off_contract', 'key_unknown', 'bug')),
    cause         text NOT NULL,
    state         text NOT NULL CHECK (state IN ('new', 'redrive', 'done', 'discarded')),
    kept_at       timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),
    next_try_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, "offset")
);

CREATE INDEX dead_letter_redrive ON dead_letter (next_try_at) WHERE state = 'redrive';

CREATE TABLE brake (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    reason      text NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    PRIMARY KEY (topic, partition)
);
