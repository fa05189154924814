"""The one-command stack: real Kafka, PostgreSQL and a local SNS, and the six services, as plain processes."""
