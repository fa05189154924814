"""Records and the events in them: reading, writing, repairing, and what is wrong in words."""
