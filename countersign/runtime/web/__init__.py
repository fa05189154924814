"""The HTTP server of a service: sites, connections, deadlines."""
