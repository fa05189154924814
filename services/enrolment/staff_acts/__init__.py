"""What account managers do to an account: each act is a grant of its own, with its reason and ticket."""
