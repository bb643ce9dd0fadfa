"""What is arriving on a connection: real ones, whose bytes are known."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lexiseg_service.errors import QueueFull
from lexiseg_service.wire import arriving
from lexiseg_service.wire.arriving import Arriving
from tests.service.wire.lines import Caller, Line

LARGEST = 400_000
MOST = 1_000_000

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not tell what was received")


@pytest.fixture
def line() -> Iterator[Line]:
    with ExitStack() as opened:
        yield Line(opened)


class Bench:
    """Streams of real connections, and looks at them when a test says so."""

    def __init__(self) -> None:
        self.waiting = self.cuts = 0
        self.arriving = Arriving(MOST, LARGEST, lambda: self.waiting, self._cut)
        self._streams: list[asyncio.Task[None]] = []

    def _cut(self) -> None:
        self.cuts += 1

    async def stream(self, caller: Caller, n_bytes: int, *before: int) -> asyncio.Task[None]:
        """One whose next message has come as far as that; messages of those lengths came before."""
        peer, is_reading = f"ipv4:127.0.0.1:{caller.port}", asyncio.Event()

        async def read() -> None:
            async with self.arriving.stream(peer) as patience:
                for length in before:
                    with self.arriving.reading(peer, patience) as told:
                        caller.send(length)
                        told(length)
                with self.arriving.reading(peer, patience):
                    caller.send(n_bytes)
                    is_reading.set()
                    await asyncio.Event().wait()

        stream = asyncio.create_task(read())
        self._streams.append(stream)
        await is_reading.wait()
        return stream

    async def ended(self, *streams: asyncio.Task[None]) -> list[bool]:
        """Which of them a look ends."""
        self.arriving.look()
        for stream in self._streams:
            if stream not in streams:
                stream.cancel()
        for _ in range(20):  # rounds of the event loop, of which an end takes three
            await asyncio.sleep(0)
        failed = [stream.done() and isinstance(stream.exception(), QueueFull) for stream in streams]
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        return failed


@pytest.fixture(autouse=True)
def no_looks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "CALM_SECONDS", 1e6)
    monkeypatch.setattr(arriving, "LOOK_SECONDS", 1e6)


async def test_where_too_much_arrives_streams_of_the_connection_with_most_are_ended(line: Line) -> None:
    bench = Bench()
    streams = [await bench.stream(line.connect(), n_bytes) for n_bytes in (350_000, 380_000, 340_000)]

    assert await bench.ended(*streams) == [False, True, False]


async def test_frames_that_wait_for_room_leave_less_for_those_that_arrive(line: Line) -> None:
    bench = Bench()
    streams = [await bench.stream(line.connect(), n_bytes) for n_bytes in (350_000, 300_000, 0, 0)]
    bench.waiting = 500_000

    assert await bench.ended(*streams) == [True, False, False, False]


async def test_a_message_that_is_read_is_arriving_no_more(line: Line) -> None:
    bench = Bench()
    streams = [await bench.stream(line.connect(), 30_000, *[350_000] * 4) for _ in range(4)]

    assert await bench.ended(*streams) == [False] * 4


async def test_a_message_with_room_is_not_counted(line: Line) -> None:
    bench = Bench()
    callers = [line.connect() for _ in range(4)]
    streams = [await bench.stream(caller, 1000) for caller in callers]
    with ExitStack() as calls:
        for caller in callers:
            calls.enter_context(bench.arriving.reading(f"ipv4:127.0.0.1:{caller.port}", None))
            caller.send(LARGEST - 1000)

        assert await bench.ended(*streams) == [False] * 4


async def test_who_sends_little_is_not_ended_for_others(line: Line) -> None:
    bench = Bench()
    streams = [await bench.stream(line.connect(), n_bytes) for n_bytes in (200_000, 390_000, 0, 0)]
    bench.waiting = MOST

    assert await bench.ended(*streams) == [False, True, False, False]
    assert bench.cuts == 0


async def test_where_far_too_much_arrives_the_connection_is_ended(line: Line) -> None:
    bench = Bench()
    callers = [line.connect() for _ in range(4)]
    for caller, n_bytes in zip(callers, (390_000, 10_000, 0, 0), strict=True):
        await bench.stream(caller, n_bytes)
    bench.waiting = 2 * MOST

    bench.arriving.look()
    bench.arriving.look()

    assert [caller.is_cut_off for caller in callers] == [True, False, False, False]
    assert bench.cuts == 1
    await bench.ended()


async def test_all_streams_of_one_connection_are_watched_until_the_last_ends(line: Line) -> None:
    bench, caller = Bench(), line.connect()
    first = await bench.stream(caller, 10_000)
    second = await bench.stream(caller, 390_000)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    bench.waiting = MOST

    assert await bench.ended(second) == [False]


async def test_a_stream_that_ends_is_not_ended_again(line: Line) -> None:
    bench, caller = Bench(), line.connect()
    for _ in range(3):
        await bench.stream(line.connect(), 0)
    bench.waiting = MOST
    peer, opened = f"ipv4:127.0.0.1:{caller.port}", asyncio.get_running_loop().create_future()

    async def hold() -> None:
        async with bench.arriving.stream(peer) as patience:
            opened.set_result(patience)
            await asyncio.Event().wait()

    held = asyncio.create_task(hold())
    patience = await opened
    with bench.arriving.reading(peer, patience):  # in a task of its own, as that of a session is
        caller.send(390_000)
        bench.arriving.look()
        await asyncio.sleep(0)
        is_ending = patience.expired()
        bench.arriving.look()

    assert is_ending
    with pytest.raises(QueueFull):
        await held
    await bench.ended()


async def test_a_message_may_be_long_where_much_came_or_nobody_knows(line: Line) -> None:
    bench, caller = Bench(), line.connect()
    peer = f"ipv4:127.0.0.1:{caller.port}"
    unknown = bench.arriving.may_be_long(peer)
    async with bench.arriving.stream(peer) as patience:
        with bench.arriving.reading(peer, patience) as told:
            caller.send(arriving.LONG)
            short = bench.arriving.may_be_long(peer)
            caller.send(1)
            long = bench.arriving.may_be_long(peer)
            told(arriving.LONG)
            read = bench.arriving.may_be_long(peer)

    assert (unknown, short, long, read) == (True, False, True, False)
