"""The machinery under every worker: fold, outbox, due work, dead letters, brake. It knows no word of the domain."""
