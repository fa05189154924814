-- The partition of a row that was given back: a sweeper leaves it while that partition is in trouble, and takes the rows
-- of the topic's other partitions. NULL: not known.
ALTER TABLE outbox ADD COLUMN partition integer;
