-- Recorded events that are folded again on purpose: which, how far, and what came of it. The few rows are kept for ever,
-- as the operations that they belong to. Progress commits with the effects of its batch.
CREATE TABLE replay (
    replay_id    uuid PRIMARY KEY,
    plan_hash    text NOT NULL UNIQUE,
    plan         jsonb NOT NULL,
    topic        text NOT NULL,
    rate         double precision NOT NULL,
    state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'stopped', 'done', 'aborted')),
    cause        text,
    effects      jsonb NOT NULL DEFAULT '{}',
    operation_id uuid NOT NULL REFERENCES operation,
    began_at     timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now()
);

-- Two plans of one topic at once would share their allowances.
CREATE UNIQUE INDEX replay_one_of_a_topic ON replay (topic) WHERE state = 'running';

CREATE TABLE replay_partition (
    replay_id    uuid NOT NULL REFERENCES replay,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL,
    end_offset   bigint NOT NULL,
    records      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (replay_id, partition),
    CHECK (next_offset <= end_offset)
);

-- The operator begins replays and ends them; how far one has come is the service's to say.
GRANT SELECT, INSERT ON replay, replay_partition TO operator;
GRANT UPDATE (state, cause, operation_id, changed_at) ON replay TO operator;
