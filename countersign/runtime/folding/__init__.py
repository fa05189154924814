"""One record at a time: load, decide, save, and what is done with a record that cannot be folded."""
