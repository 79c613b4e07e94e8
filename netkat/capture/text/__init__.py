"""Packets as lines of text, in tcpdump's format.

``dispatch`` has one row for each protocol; each protocol has its own file. ``context`` has what
all of them are given, ``printer`` makes lines. Fixed headers are read by struct, DNS messages by
dnspython; docs/sniff.md has the measurements.
"""
