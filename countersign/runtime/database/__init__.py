"""Connections to PostgreSQL, migrations and leases."""
