"""``netkat connect``."""
