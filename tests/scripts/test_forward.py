"""The store's door: bytes go through both ways, whole, and nobody's end is another's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import forward
import pytest
from servers import HOST

LARGE = bytes(range(256)) * 2**14  # 4 MiB
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def door(target: Path, handler: Handler | None) -> AsyncGenerator[int, None]:
    """The port of a door before a server; None for one that does not run."""
    inner = await asyncio.start_unix_server(handler, str(target)) if handler else None
    async with await forward.serve(0, str(target), host=HOST) as server:
        yield server.sockets[0].getsockname()[1]
    if inner:
        inner.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what came, once the other side has ended: it is asked for both halves."""
    writer.write(await reader.read())
    await writer.drain()
    writer.close()


async def said(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(sent)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("sent", [b"", b"x", LARGE], ids=["nothing", "a byte", "much"])
def test_what_is_sent_comes_through_whole_and_the_answer_back(tmp_path: Path, sent: bytes) -> None:
    async def run() -> None:
        async with door(tmp_path / "s", echo) as port:
            assert await said(port, sent) == sent

    asyncio.run(run())


def test_many_at_a_time_get_their_own_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "MOST", 4)  # the others wait

    async def run() -> None:
        async with door(tmp_path / "s", echo) as port:
            sent = [f"{number}".encode() * 1000 for number in range(20)]
            assert await asyncio.gather(*(said(port, each) for each in sent)) == sent

    asyncio.run(run())


def test_a_server_that_is_away_ends_the_connection_and_not_the_door(tmp_path: Path) -> None:
    async def run() -> None:
        async with door(tmp_path / "s", None) as port:
            with contextlib.suppress(ConnectionError):  # it depends on who is faster
                assert await said(port, b"x") == b""
            server = await asyncio.start_unix_server(echo, str(tmp_path / "s"))
            assert await said(port, b"x") == b"x"
            server.close()

    asyncio.run(run())


@pytest.mark.parametrize("leaves", ["client", "server"])
def test_if_one_side_breaks_off_the_other_is_let_go(tmp_path: Path, leaves: str) -> None:
    gone = asyncio.Event()

    async def talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if leaves == "server":
            writer.transport.abort()
            return
        try:
            while await reader.read(1000):
                pass
        except OSError:
            pass
        gone.set()

    async def run() -> None:
        async with door(tmp_path / "s", talks) as port:
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"x")
            if leaves == "client":
                writer.transport.abort()
                await asyncio.wait_for(gone.wait(), 30)
            else:
                assert await asyncio.wait_for(reader.read(), 30) == b""

    asyncio.run(run())
