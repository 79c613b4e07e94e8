"""An echo server that the host knows nothing of: nobody serves its port in the kernel.

Run it: sudo .venv/bin/python examples/echo_server.py 7000

asyncio's own streams do the talking; every client sees its bytes again.
"""

from __future__ import annotations

import asyncio
import sys

import netkat


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client, until it ends its side."""
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
