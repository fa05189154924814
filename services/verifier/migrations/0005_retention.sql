-- used_at: of the last challenge that is counted here, to the day. A counter without failures is deleted once it is old,
-- and made anew with the user's next challenge.
ALTER TABLE counter ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX counter_of_nothing ON counter (used_at) WHERE failures = 0;
