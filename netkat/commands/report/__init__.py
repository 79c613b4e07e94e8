"""What a command prints about its connections: status lines, JSON, files, packets."""
