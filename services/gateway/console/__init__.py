"""The account managers' console: finding an account, acting on it with a code for each act, and what was done."""
