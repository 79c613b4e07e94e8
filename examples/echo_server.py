"""An echo server that bypasses this host's rules: no kernel socket serves its port.

Run it: sudo .venv/bin/python examples/echo_server.py 7000

It uses asyncio's streams, and echoes each client's data.
"""

from __future__ import annotations

import asyncio
import sys

import netkat


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client until EOF."""
    print("client", *writer.get_extra_info("peername")[:2], flush=True)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main(port: int, host: str | None) -> None:
    """Serve until SIGINT."""
    async with await netkat.start_server(echo, host, port) as server:
        print("listening on", *server.sockets[0].getsockname()[:2], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
    except KeyboardInterrupt:
        pass
