"""Outbox rows and the producer that publishes them."""
