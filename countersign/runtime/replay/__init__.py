"""Recorded events folded again on purpose: planned without effect, then run within what was planned, and no further."""
