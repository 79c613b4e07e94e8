"""Copy data between standard input and output and a connection."""
