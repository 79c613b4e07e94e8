"""nftables by netlink: an owned table, rule traces, and single objects read by key or handle.

The rule set is never read as a whole. On a node with 5,000 Services ``nft list ruleset`` takes
8.5 s and 175 MB; one rule by its handle takes 0.1 ms and some hundred bytes.
"""
