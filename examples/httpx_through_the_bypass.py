"""Send one GET request as an external client does, and print the error if it fails.

Run it: sudo .venv/bin/python examples/httpx_through_the_bypass.py http://10.111.111.129/

Requires the extra ``httpx`` (``pip install '.[httpx]'`` in a clone). It bypasses kube-proxy's rules
for the node's own traffic, so the response is what a client outside the cluster gets.
"""

from __future__ import annotations

import sys

import httpx

import netkat.httpx
from netkat.errors import NetkatError


def get(url: str) -> int:
    """Print the response or the error. Return the exit status."""
    with httpx.Client(transport=netkat.httpx.Transport(), timeout=5) as client:
        try:
            answer = client.get(url)
        except httpx.TransportError as error:
            print(f"{url}: {error}")
            if isinstance(error.__cause__, NetkatError) and error.__cause__.hint:
                print(f"next: {error.__cause__.hint}")
            return 1
    print(f"{answer.http_version} {answer.status_code}, {len(answer.content)} bytes")
    print(answer.text[:200])
    return 0


if __name__ == "__main__":
    sys.exit(get(sys.argv[1]))
