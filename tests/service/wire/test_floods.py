"""Who sends megabytes beside calls is cut off, and nobody who asks; real connections, whose clock is set by hand."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import grpc
import pytest

from lexiseg_service.niceness import NICEST, niceness, show_name
from lexiseg_service.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.wire import floods
from lexiseg_service.wire.arriving import Arriving
from lexiseg_service.wire.floods import (
    BURST,
    BURST_AGAIN,
    FRAMED,
    GIVEN_UP,
    HEAD,
    LEFT,
    LEFT_RATE,
    MOMENT,
    PAUSE,
    PAUSE_AGAIN,
    RATE,
    RATE_AGAIN,
    THREADS,
    Floods,
    Said,
    accounted,
)
from loadtests.frames import PREFACE
from tests.service.gateway.rpc.calling import calling, request
from tests.service.wire.lines import PATIENCE, Line

LARGEST = 24 * 2**20
FRAMED_LARGEST = round(FRAMED * LARGEST)
SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty frame of them

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not tell what was received")


@pytest.fixture
def line() -> Iterator[Line]:
    with ExitStack() as opened:
        yield Line(opened)


class Bench:
    """Floods with a clock that is set by hand; who is cut off is so at the second look."""

    def __init__(self, let_in: float = 1.0) -> None:
        self.now = 0.0
        self.cuts = 0
        self.said = Said(LARGEST)
        self.floods = Floods(self.said, self._cut, lambda: self.now, let_in)

    def _cut(self) -> None:
        self.cuts += 1

    def look(self, line: Line) -> None:
        for _ in range(2):
            self.floods.look(line.port)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class Call:
    """A call's context, whose messages are known."""

    def __init__(self, port: int, *messages: bytes | Exception) -> None:
        self._port = port
        self._messages: list[Any] = [*messages, grpc.aio.EOF]

    def peer(self) -> str:
        return f"ipv4:127.0.0.1:{self._port}"

    async def read(self) -> Any:
        message = self._messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message


def test_who_sends_megabytes_beside_calls_is_cut_off_and_no_other(line: Line, bench: Bench) -> None:
    loud, quiet = line.connect(), line.connect()
    bench.look(line)
    loud.send(BURST + 1)
    quiet.send(BURST)

    bench.look(line)

    assert (loud.is_cut_off, quiet.is_cut_off, bench.cuts) == (True, False, 1)


def test_a_look_that_was_kept_waiting_is_followed_as_soon_as_any(line: Line) -> None:
    times = itertools.count(0.0, 100.0)
    slow = Floods(Said(LARGEST), int, lambda: next(times))
    line.connect()

    slow.look(line.port)

    assert slow.pause < 1.0


def test_some_bytes_in_each_second_are_nobodys_business(line: Line, bench: Bench) -> None:
    caller = line.connect()
    bench.look(line)
    bench.now += 10.0
    caller.send(BURST + 9 * RATE)
    bench.look(line)
    in_time = caller.is_cut_off

    caller.send(2 * RATE)
    bench.look(line)

    assert (in_time, caller.is_cut_off) == (False, True)


def test_what_has_just_come_may_be_of_a_call_that_is_not_known_yet(line: Line, bench: Bench) -> None:
    caller = line.connect()
    caller.send(BURST + LARGEST)
    bench.floods.look(line.port)
    doubtful = bench.floods.pause
    bench.said.call(caller.port)
    bench.floods.look(line.port)

    assert (caller.is_cut_off, bench.cuts) == (False, 0)
    assert (doubtful, bench.floods.pause) == (PAUSE_AGAIN, PAUSE)


def test_messages_that_were_read_and_heads_of_calls_are_accounted_for(line: Line, bench: Bench) -> None:
    caller = line.connect()
    caller.send(BURST + LARGEST + HEAD)
    bench.said.call(caller.port)
    bench.said.message(caller.port, LARGEST)
    bench.said.over(caller.port)

    bench.look(line)

    assert not caller.is_cut_off


async def test_what_comes_before_it_is_asked_for_may_be_as_long_as_any_message(line: Line, bench: Bench) -> None:
    caller = line.connect()
    call = Call(caller.port, b"12345")
    with accounted(call, bench.said) as messages:  # type: ignore[arg-type]  # as much of one as is looked at
        caller.send(BURST + LARGEST + HEAD)
        bench.look(line)
        waiting = caller.is_cut_off
        await messages.read()
        bench.look(line)
        at_work = caller.is_cut_off
        await messages.read()
    bench.look(line)

    assert (waiting, at_work, caller.is_cut_off) == (False, False, True)


async def test_of_a_message_that_was_given_up_anything_may_have_come(line: Line, bench: Bench) -> None:
    caller = line.connect()
    call = Call(caller.port, TimeoutError())
    with suppress(TimeoutError), accounted(call, bench.said) as messages:  # type: ignore[arg-type]
        caller.send(BURST + LARGEST)
        await messages.read()

    bench.look(line)

    assert not caller.is_cut_off


async def test_of_a_call_that_was_given_up_unread_anything_may_have_come(line: Line, bench: Bench) -> None:
    caller = line.connect()
    with suppress(asyncio.CancelledError), accounted(Call(caller.port), bench.said):  # type: ignore[arg-type]
        caller.send(BURST + LARGEST)
        raise asyncio.CancelledError

    bench.look(line)
    once = caller.is_cut_off
    caller.send(LARGEST)
    bench.look(line)

    assert (once, caller.is_cut_off) == (False, True)


async def test_who_begins_calls_and_gives_them_up_at_once_is_cut_off(line: Line, bench: Bench) -> None:
    caller = line.connect()

    async def give_up(count: int) -> bool:
        for number in range(count):
            with suppress(asyncio.CancelledError), accounted(Call(caller.port), bench.said) as messages:  # type: ignore[arg-type]
                if number % 2:
                    raise asyncio.CancelledError
                await messages.read()  # there is none
        bench.look(line)
        return caller.is_cut_off

    assert (await give_up(GIVEN_UP), await give_up(1)) == (False, True)


def test_who_comes_back_may_send_little_for_a_while(line: Line, bench: Bench) -> None:
    usual = bench.floods.pause
    first = line.connect()
    first.send(BURST + 1)
    bench.look(line)
    alert = bench.floods.pause

    again, steady = line.connect(), line.connect()
    again.send(BURST_AGAIN + 1)
    steady.send(BURST_AGAIN)
    bench.look(line)
    bench.now += 2.0
    steady.send(2 * RATE_AGAIN)
    bench.look(line)
    bearable = not steady.is_cut_off
    steady.send(1)
    bench.look(line)
    bench.now += 2 * MOMENT
    later = line.connect()
    later.send(BURST_AGAIN + 1)
    bench.look(line)

    assert (again.is_cut_off, bearable, steady.is_cut_off, later.is_cut_off) == (True, True, True, False)
    assert (usual, alert) == (PAUSE, PAUSE_AGAIN)


@pytest.mark.parametrize("come_to_nothing", [True, False])
def test_an_address_whose_connections_come_and_go_without_a_message_is_slowed_down(
    line: Line, bench: Bench, come_to_nothing: bool
) -> None:
    def come_and_go(count: int) -> float:
        callers = [line.connect() for _ in range(count)]
        for caller in callers:
            bench.said.call(caller.port)
            if not come_to_nothing:
                bench.said.message(caller.port, 5)
            bench.said.over(caller.port)
        bench.floods.look(line.port)
        for caller in callers:
            caller.leave()
        bench.floods.look(line.port)
        return bench.floods.pause

    many = come_and_go(LEFT)
    bench.now += 3.0
    as_many_as_are_forgiven = come_and_go(3 * LEFT_RATE)
    one_too_many = come_and_go(1)

    assert (many, as_many_as_are_forgiven) == (PAUSE, PAUSE)
    assert one_too_many == (PAUSE_AGAIN if come_to_nothing else PAUSE)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system has no such filters")
def test_who_was_cut_off_is_let_in_again_one_time_in_some(line: Line) -> None:
    bench = Bench(let_in=0.0)  # never
    line.connect().send(BURST + 1)
    bench.look(line)

    with pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", line.port), 0.3)
    bench.now += 2 * MOMENT
    bench.look(line)
    line.connect()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere threads do not differ in niceness")
def test_threads_of_grpc_step_aside_while_somebody_is_doubtful(line: Line, bench: Bench) -> None:
    told, over = threading.Event(), threading.Event()
    niceness_of: dict[str, int] = {}

    def begin(name: str) -> threading.Thread:
        def run() -> None:
            show_name()
            told.set()
            over.wait(PATIENCE)
            niceness_of[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        thread = threading.Thread(target=run, name=name)
        thread.start()
        told.wait(PATIENCE)
        told.clear()
        return thread

    theirs = [begin(name) for name in sorted(THREADS)]
    other = begin("other")
    line.connect().send(BURST + 1)
    bench.floods.look(line.port)
    over.set()
    for thread in (*theirs, other):
        thread.join(PATIENCE)

    assert niceness_of == {**dict.fromkeys(THREADS, min(19, niceness(NICEST))), "other": niceness(0)}


def test_what_is_gone_is_forgotten_and_what_came_after_a_look_is_not() -> None:
    said = Said(LARGEST)
    said.call(1)
    said.keep(set())
    new = said.of(1)
    said.keep(set())
    said.call(2)
    said.message(1, 5)
    said.over(1)

    assert (new, said.of(1), said.of(2)) == (HEAD + FRAMED_LARGEST, 0, HEAD + FRAMED_LARGEST)


async def test_messages_are_accounted_for_as_long_as_they_are() -> None:
    said = Said(LARGEST)
    content = b"12345" * 1000
    with accounted(Call(4711, content), said) as messages:  # type: ignore[arg-type]  # as much of one as is looked at
        read = [await messages.read() for _ in range(2)]

    assert read == [content, grpc.aio.EOF]
    assert said.of(4711) == HEAD + 5050


async def test_a_call_that_is_over_is_asked_nothing_when_a_message_of_it_is_there() -> None:
    class GivenUp(Call):
        is_over = False

        def peer(self) -> str:
            assert not self.is_over  # gRPC would end the process
            return super().peer()

        async def read(self) -> Any:
            await there
            return await super().read()

    there, turns = asyncio.get_running_loop().create_future(), 0

    async def turn() -> None:
        nonlocal turns
        turns += 1

    call = GivenUp(4711, b"12345")
    with accounted(call, Said(LARGEST), Arriving(LARGEST, LARGEST, int)) as messages:  # type: ignore[arg-type]
        messages.turn = turn
        reading = asyncio.create_task(messages.read())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    call.is_over = True
    there.set_result(None)
    async with asyncio.timeout(PATIENCE):
        while not turns:
            await asyncio.sleep(0)

    assert turns == 1


async def test_a_flood_of_frames_is_cut_off_beside_calls_that_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floods, "PAUSE", 0.01)
    own = [("grpc.use_local_subchannel_pool", 1)]
    large = request("sky")
    large.image.content += bytes(2 * BURST)
    async with calling() as gateway, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
        writer.write(PREFACE)

        async def flood() -> None:
            while True:
                writer.write(SETTINGS * 4000)
                await writer.drain()

        async def take() -> None:
            while await reader.read(2**16):
                pass

        taking = asyncio.ensure_future(take())
        with pytest.raises(ConnectionError):
            await flood()
        await asyncio.gather(taking, return_exceptions=True)
        writer.close()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.server.port}", own) as other:
            # More than the flood has sent, in calls.
            answers = [await SegmentationStub(other).Segment(large) for _ in range(3)]

        assert [len(each.segments) for each in answers] == [1] * 3
        assert gateway.counted("lexiseg_connections_ended_total", reason="flood") == 1
