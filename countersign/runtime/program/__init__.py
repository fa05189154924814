"""One command line, one start and one end for every service."""
