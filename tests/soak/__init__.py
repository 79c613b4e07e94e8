"""A soak test: everything at once, while the network changes, for minutes or for an hour."""
