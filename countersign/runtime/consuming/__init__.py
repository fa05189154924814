"""Reading topics as a member of a group, and noticing when that makes no progress."""
