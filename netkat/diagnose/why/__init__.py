"""``netkat why``: what this host's rules do to a connection, and which rule it is."""
