-- What the sweep looks for.
CREATE INDEX pause_ended ON pause (ended_at) WHERE ended_at IS NOT NULL;
