"""Packets as lines of text, in tcpdump's words.

Every function of this package that prints a protocol takes (printer, data, at,
end, …): the whole packet, where the protocol's header begins, and where its
bytes end by what the layer below says. ``end`` may lie beyond what was captured
(a short snapshot, a lying header) or before it (padding); nothing is read at or
behind either.

The fixed headers are read by struct here and by dpkt where their parts can be
of any number and shape (DNS); docs/sniff.md has the measurements behind that.
"""
