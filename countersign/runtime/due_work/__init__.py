"""Work that becomes due by a time: lease, act, settle."""
