"""HTTP clients over netkat: what netkat.httpx, netkat.httpx2 and netkat.requests share."""
