"""Connections to Kafka and what its refusals mean."""
