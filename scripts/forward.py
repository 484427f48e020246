"""Forwards every connection on a TCP port to a Unix socket.

```
python scripts/forward.py PORT SOCKET
```

The service `s3` of docker-compose.yaml runs this. The S3 server behind it has no network at all: it
opens many ports, and only the one of S3 must be reachable.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

CHUNK = 1 << 18
MOST = 512  # connections at a time; more of them wait


async def serve(port: int, target: str, *, host: str = "0.0.0.0") -> asyncio.Server:
    """Returns a server that forwards connections to `port` on `host` to the socket `target`."""
    places = asyncio.Semaphore(MOST)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with places:
            with contextlib.suppress(OSError):  # either side may go away at any time
                await _join(reader, writer, target)
            writer.close()

    return await asyncio.start_server(connected, host, port, limit=CHUNK)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
    """Passes bytes in both directions until both sides have ended, or one has broken off."""
    inner_reader, inner_writer = await asyncio.open_unix_connection(target, limit=CHUNK)
    ways = [
        asyncio.create_task(_pass(reader, inner_writer)),
        asyncio.create_task(_pass(inner_reader, writer)),
    ]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        inner_writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while received := await reader.read(CHUNK):
        writer.write(received)
        await writer.drain()
    writer.write_eof()


async def _main(port: int, target: str) -> None:
    async with await serve(port, target) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
