"""``netkat listen``."""
