"""After a reset of the number: the next right password leads to entering and confirming another, and no further."""
