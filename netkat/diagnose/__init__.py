"""What keeps netkat from working here, and what to do about it."""
