"""Names of DNS codes as tcpdump prints them; dnspython names the other types."""

from __future__ import annotations

OPCODES = {
    0: "", 1: " inv_q", 2: " stat", 4: " notify", 5: " update", 9: " updateA", 10: " updateD",
    11: " updateDA", 12: " updateM", 13: " updateMA", 14: " zoneInit", 15: " zoneRef",
}  # fmt: skip

RCODES = {
    0: "", 1: " FormErr", 2: " ServFail", 3: " NXDomain", 4: " NotImp", 5: " Refused",
    6: " YXDomain", 7: " YXRRSet", 8: " NXRRSet", 9: " NotAuth", 10: " NotZone", 16: " BadVers",
    17: " BadKey", 18: " BadTime", 19: " BadMode", 20: " BadName", 21: " BadAlg", 22: " BadTrunc",
    23: " BadCookie",
}  # fmt: skip
"""Codes above 15 are extended ones (RFC 6891)."""

TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT",
    28: "AAAA", 33: "SRV", 65: "HTTPS", 255: "ANY",
}  # fmt: skip

CLASSES = {1: "", 3: " CHAOS", 4: " HS", 255: " (ANY)"}

EDNS_OPTIONS = {
    1: "LLQ", 2: "UL", 3: "NSID", 5: "DAU", 6: "DHU", 7: "N3U", 8: "ECS", 9: "EXPIRE",
    10: "COOKIE", 11: "KEEPALIVE", 12: "PADDING", 13: "CHAIN", 14: "KEY-TAG", 16: "CLIENT-TAG",
    17: "SERVER-TAG",
}  # fmt: skip
