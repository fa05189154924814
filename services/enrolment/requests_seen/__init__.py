"""What became of an account's requests, as an account manager may see it: read from every service's view `timeline`."""
