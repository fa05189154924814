-- What people on call did to this service's records, each with a row before and its outcome after. Kept for ever.
CREATE TABLE operation (
    operation_id uuid PRIMARY KEY,
    command      text NOT NULL,
    who          text NOT NULL,
    reason       text NOT NULL,
    planned      jsonb NOT NULL,
    began_at     timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    outcome      jsonb,
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

-- How often somebody redrove the letter. After three times it is parked until somebody says that the cause is mended.
ALTER TABLE dead_letter ADD COLUMN tries integer NOT NULL DEFAULT 0;

-- The command line's own role: it reads what was refused and sets states; the service does the rest. It never sees what
-- waits to be published.
DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO operator', current_schema());
END
$$;
GRANT SELECT ON dead_letter, brake, operation TO operator;
GRANT UPDATE (state, tries, changed_at, next_try_at) ON dead_letter TO operator;
GRANT UPDATE (released_at) ON brake TO operator;
GRANT SELECT (event_id, topic, leased_until, parked_reason), UPDATE (leased_until, parked_reason) ON outbox TO operator;
GRANT INSERT ON operation TO operator;
GRANT UPDATE (ended_at, outcome) ON operation TO operator;
