"""Hostile clients: overload, incomplete requests, responses that are not read, silent streams, bad API keys.

Those that keep thousands of requests open come from an address of their own, through the edge.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc

from lexiseg_client.rpc.connections import WRITE_FAILED
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from loadtests import http2
from loadtests.chaos.deployment import Edge
from loadtests.chaos.judge import BUSY, Judge
from loadtests.hostile import Pictures, chunk_bombs
from loadtests.plain_client import GONE, Connection, Response, posted

if TYPE_CHECKING:  # known to the type checker alone
    from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationAsyncStub

SLOW = frozenset({"too-slow", "malformed-request", "too-large"}) | BUSY
SILENCE = 20.0  # seconds for which a client with an incomplete request waits
MAX_SECONDS = 120.0
STREAMS, HALVES, CROWD = 24, 12, 24
ELSEWHERE = "127.0.0.2"  # the address of clients that would take all places of theirs
N_CONNECTIONS = 10  # of HTTP/2, for each way in
HELD_SECONDS = 8.0  # before they are closed and opened anew
UNREADABLE = frozenset({"undecodable-image", "unsupported-image"}) | SLOW  # what bombs may be answered
MAX_IN_FLIGHT = 200  # below the limit of connections from one address
TOO_EXPENSIVE = frozenset({"too-large"}) | BUSY  # errors of requests that exceed the deadline even alone


class Hostile:
    """Clients with two API keys, and some with bad ones."""

    def __init__(self, url: str, target: str, keys: Sequence[str], judge: Judge, seed: int) -> None:
        self._url, self._target, self._keys, self._judge = url, target, keys, judge
        self._pictures = Pictures()
        self._chance = random.Random(seed)

    async def overload(self, until: float) -> None:
        """Closed loops of CROWD clients: images of every size, new to every cache, soon sent again after a refusal."""

        async def one(key: str) -> None:
            kinds = itertools.cycle(self._kinds())
            async with Connection(self._url) as connection:
                while self._time() < until:
                    answer = await self._ask(connection, self._pictures.request(*next(kinds), key), "crowd")
                    if answer.status != 200:
                        await asyncio.sleep(0.5)

        await asyncio.gather(*(one(key) for key, _ in zip(itertools.cycle(self._keys), range(CROWD))))

    async def flood(self, times: float, per_second: float, until: float) -> None:
        """An open loop of such requests, at `times` x `per_second` requests a second."""
        who, idle, asking = f"{times:g}x overload", list[Connection](), set[asyncio.Task[None]]()
        mixed = zip(itertools.cycle(self._kinds()), itertools.cycle(self._keys))

        async def one(request: bytes) -> None:
            connection = idle.pop() if idle else Connection(self._url)
            await self._ask(connection, request, who)
            idle.append(connection)

        for kind, key in mixed:
            if self._time() >= until:
                break
            if len(asking) < MAX_IN_FLIGHT:
                asking.add(task := asyncio.create_task(one(self._pictures.request(*kind, key))))
                task.add_done_callback(asking.discard)
            await asyncio.sleep(1 / (times * per_second))
        await asyncio.gather(*asking)
        for connection in idle:
            connection.close()

    def _kinds(self) -> list[tuple[bytes, int]]:
        """Images of every size, each with a number of classes."""
        pictures = self._pictures
        return [(pictures.photograph, 20), (pictures.large, 150), (pictures.thumbnail, 5)]

    async def long_lists(self, until: float) -> None:
        """Send requests with the largest number of new words."""
        async with Connection(self._url) as connection:
            for key in itertools.cycle(self._keys):
                if self._time() >= until:
                    return
                await self._ask(connection, self._pictures.long_list(key), "long lists")
                await asyncio.sleep(1.0)

    async def halves(self, until: float) -> None:
        """Send half a head, half a body, the start of a body, or read no response; then stay silent."""
        request = self._pictures.request(self._pictures.large, 20, self._keys[0])
        head = request.index(b"\r\n\r\n")

        async def one(number: int) -> None:
            cut = (head // 2, head + 4 + len(request) // 2, head + 40, len(request))[number % 4]
            while self._time() < until:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await self._half(request[:cut], whole=cut == len(request))

        await asyncio.gather(*(one(number) for number in range(HALVES)))

    async def _half(self, sent: bytes, *, whole: bool) -> None:
        parts = urlsplit(self._url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
        try:
            writer.write(sent)
            if whole:  # does not read the response
                await asyncio.sleep(self._chance.uniform(1, SILENCE))
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE):
                    line = await reader.readuntil(b"\r\n\r\n")
                    length = int(line.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    body = await reader.readexactly(length)
                    self._judge.rest("halves", Response(int(line.split()[1]), body), may=SLOW)
                    return
            self._judge.count("halves", "left")
        finally:
            writer.transport.abort()

    async def unfinished(self, edge: Edge, until: float, *, tls: bool) -> None:
        """Keep a thousand requests and a thousand calls open over HTTP/2, of which half has come or nothing."""
        key = {"x-api-key": self._keys[0]}
        rest = {"content-type": "image/jpeg", "content-length": "40960", **key}
        calls = {"content-type": "application/grpc", "te": "trailers", **key}
        segment = "/lexiseg.v1.Segmentation/Segment"
        half = bytes([0, 0, 0, 0x40, 0]) + bytes(1_000)  # of a message of 16 KiB
        n = http2.MAX_STREAMS
        attacks = [
            (edge.http, http2.unfinished(n, "/segment?classes=sky", rest, bytes(20_480))),
            (edge.grpc, http2.unfinished(n, segment, calls)),
            (edge.grpc, http2.unfinished(n, segment, calls, half)),
        ]
        while self._time() < until:
            held = [self._held(port, sent, tls=tls) for port, sent in attacks for _ in range(N_CONNECTIONS)]
            await asyncio.gather(*held)

    async def _held(self, port: int, sent: bytes, *, tls: bool) -> None:
        """A connection on which this is sent, and all that comes is read, for HELD_SECONDS."""
        context = ssl._create_unverified_context() if tls else None
        if context is not None:
            context.set_alpn_protocols(["h2"])
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(ELSEWHERE, 0))
        except OSError:  # too many connections of this address
            self._judge.count("unfinished", "no connection")
            await asyncio.sleep(1.0)
            return
        self._judge.count("unfinished", "TLS" if tls else "plain")
        try:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(HELD_SECONDS):
                    writer.write(sent)
                    while await reader.read(2**16):
                        pass
        finally:
            writer.transport.abort()

    async def bombs(self, until: float) -> None:
        """Send images of very many parts, small ones in a request's limits, which take long to walk through."""
        requests = [posted(image, {"classes": ["sky"]}, self._keys[1]) for image in chunk_bombs(self._pictures)]
        async with Connection(self._url) as connection:
            for request in itertools.cycle(requests):
                if self._time() >= until:
                    return
                try:
                    async with asyncio.timeout(MAX_SECONDS):
                        answer = await connection.ask(request)
                except TimeoutError:
                    connection.close()
                    self._judge.surprise("bombs", f"no answer within {MAX_SECONDS:g} seconds")
                    continue
                self._judge.rest("bombs", answer, may=UNREADABLE)
                await asyncio.sleep(0.2)

    async def streams(self, until: float) -> None:
        """Open video streams that send nothing, or a config alone."""

        async def one(key: str, configures: bool) -> None:
            async with grpc.aio.insecure_channel(self._target) as channel:
                stub: SegmentationAsyncStub = SegmentationStub(channel)
                while self._time() < until:
                    call = stub.SegmentVideo(metadata=(("x-api-key", key),))
                    try:
                        if configures:
                            config = pb.StreamConfig(classes=[pb.Class(name="sky")])
                            await call.write(pb.SegmentVideoRequest(config=config))
                        async with asyncio.timeout(SILENCE):
                            await call.read()
                        self._judge.surprise("silent streams", "an answer without a frame")
                    except TimeoutError:
                        self._judge.count("silent streams", "left")
                        call.cancel()
                    except grpc.aio.AioRpcError as failure:
                        if failure.details() == WRITE_FAILED:  # as below, said by grpc.aio itself
                            self._judge.count("silent streams", "ended")
                        else:
                            self._judge.call("silent streams", failure)
                        await asyncio.sleep(0.5)
                    except asyncio.InvalidStateError:  # the stream ended during the write
                        self._judge.count("silent streams", "ended")

        streams = zip(itertools.cycle(self._keys), range(STREAMS))
        await asyncio.gather(*(one(key, number % 2 == 0) for key, number in streams))

    async def keys(self, until: float) -> None:
        """Send no key, an unknown key, or two keys; each must get its own error."""
        image, question = self._pictures.thumbnail, {"classes": ["sky"]}
        none, wrong = posted(image, question), posted(image, question, "lexiseg_unknown")
        doubled = posted(image, question, self._keys[0]).replace(b"Host:", b"Authorization: Bearer x\r\nHost:", 1)
        requests = [(none, {"unauthorized"}), (wrong, {"unauthorized"}), (doubled, {"malformed-request"})]
        async with Connection(self._url) as connection:
            for request, expected in itertools.cycle(requests):
                if self._time() >= until:
                    return
                answer = await connection.ask(request)
                if self._judge.rest("bad keys", answer, may=frozenset(expected) | BUSY) == "right":
                    self._judge.surprise("bad keys", "a bad key was accepted")
                await asyncio.sleep(0.2)

    async def _ask(self, connection: Connection, request: bytes, who: str) -> Response:
        try:
            async with asyncio.timeout(MAX_SECONDS):
                answer = await connection.ask(request)
        except TimeoutError:
            connection.close()
            self._judge.surprise(who, f"no answer within {MAX_SECONDS:g} seconds")
            return Response(GONE)
        self._judge.rest(who, answer, may=TOO_EXPENSIVE)
        return answer

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()
