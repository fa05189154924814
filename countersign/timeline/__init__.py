"""What happened to a request over all services, and what became of it: read from each service's view `timeline`."""
