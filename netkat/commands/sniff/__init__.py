"""``netkat sniff``: watch interfaces or read a capture file, and show, count or write packets."""
