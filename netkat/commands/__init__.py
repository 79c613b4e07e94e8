"""What netkat does with a connection: relay it to stdin and stdout, probe it, show it."""
