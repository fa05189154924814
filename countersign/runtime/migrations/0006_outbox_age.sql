-- Since when a row is owed to Kafka: the age of the oldest one is a metric.
ALTER TABLE outbox ADD COLUMN owed_at timestamptz NOT NULL DEFAULT now();
