"""Print the three segments of a handshake, and the peer's response time.

Run it: sudo .venv/bin/python examples/sniff_a_handshake.py eth0 10.111.111.129 80

The capture starts before the connection, so no segment is missed.
"""

from __future__ import annotations

import sys

import netkat


def main(interface: str, host: str, port: int) -> None:
    """Print a line per segment, then the time between the first two."""
    wanted = f"tcp and host {host} and port {port}"
    with netkat.sniff(wanted, interface=interface, count=3) as packets:
        netkat.create_connection((host, port), timeout=3).close()
        seen = list(packets)
    for packet in seen:
        print(packet.summary())
    print(f"the peer answered after {(seen[1].time_ns - seen[0].time_ns) / 1e6:.3f} ms")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
