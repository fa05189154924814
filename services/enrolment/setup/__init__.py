"""Setting two-factor up: numbers, members that the owner approves, and turning it on."""
