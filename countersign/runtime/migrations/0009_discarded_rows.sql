-- A parked row that somebody discarded: nobody publishes it, it is no alarm any more, and it is deleted after 40 days.
ALTER TABLE outbox ADD COLUMN discarded_at timestamptz;
CREATE INDEX outbox_discarded ON outbox (discarded_at) WHERE discarded_at IS NOT NULL;
GRANT SELECT (owed_at, discarded_at), UPDATE (discarded_at) ON outbox TO operator;
