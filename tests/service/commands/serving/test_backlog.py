"""Who has knocked before a port is closed, and who knocks after."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from lexiseg_service.commands.serving import backlog

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no such filter elsewhere")
AT_THE_DOOR = 20
SOON = 20.0


def knock(address: tuple[str, int], seconds: float = SOON) -> socket.socket:
    """A connection, perhaps still in the line, with a question."""
    client = socket.create_connection(address, seconds)
    client.sendall(b"?")
    return client


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(1) + b"!")
    await writer.drain()
    writer.close()


async def test_all_who_stand_in_the_line_are_answered_though_the_port_is_closed() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = [knock(address) for _ in range(AT_THE_DOOR)]  # the loop has not run since: nobody is accepted

    await backlog.empty([each.fileno() for each in server.sockets], SOON)
    server.close()

    answers = await asyncio.gather(*(asyncio.to_thread(client.recv, 2) for client in clients))
    for client in clients:
        client.close()
    assert answers == [b"?!"] * AT_THE_DOOR


async def test_whoever_knocks_while_the_line_is_emptied_is_not_let_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # which nobody accepts from
        before = knock(listening.getsockname())
        await backlog.empty([listening.fileno()], 0.0)

        with pytest.raises(TimeoutError):
            knock(listening.getsockname(), 0.2)
        accepted, _ = listening.accept()
        accepted.settimeout(SOON)
        before.sendall(b"!")
        heard = b"".join(accepted.recv(1) for _ in range(2))
        before.close()
        accepted.close()

    assert heard == b"?!"
