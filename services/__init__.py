"""The six processes. A service imports `countersign`, never another service."""
