"""Video streams that are as expensive as they can be: attacks of `loadtests.fairness`."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from loadtests.hostile import N_CLASSES, N_SYNONYMS, TEXT_LENGTH
from loadtests.plain_client import GONE, Answered
from loadtests.scenes import MARK_BYTES, SIZE

if TYPE_CHECKING:  # known to the type checker alone
    from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationAsyncStub

# instances  all that can be asked of a photograph, painted, tracked and refined
# followed   16 objects in 20 megapixels, begun anew every few frames
# questions  2,048 new words with 8 synonyms each before every frame
KINDS = ("instances", "followed", "questions")
MAX_IN_FLIGHT = 16
OBJECTS, FRAMES_OF_OBJECTS = 16, 50  # as many as a stream follows
PAUSE = 0.3  # seconds until a stream that was ended is opened again
# A connection each, as many clients have.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))
HTTP = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.UNAVAILABLE: 503,
}


@dataclass(frozen=True)
class HostileStream:
    """A stream of one of KINDS, opened again whenever it ends."""

    server: str
    key: str
    kind: str
    photograph: bytes
    large: bytes

    def messages(self) -> Iterator[pb.SegmentVideoRequest]:
        """A config and frames without an end, each of a picture that is new to every cache."""
        picture = self.large if self.kind == "followed" else self.photograph
        yield pb.SegmentVideoRequest(config=self._config())
        for number in itertools.count():
            frame = pb.Frame(image=picture + secrets.token_bytes(MARK_BYTES))
            if self.kind == "followed" and number % FRAMES_OF_OBJECTS == 0:
                frame.follow.extend(_objects())
            yield pb.SegmentVideoRequest(frame=frame)
            if self.kind == "questions":
                yield pb.SegmentVideoRequest(config=self._config())

    def _config(self) -> pb.StreamConfig:
        if self.kind == "questions":
            return pb.StreamConfig(classes=_new_words())
        if self.kind == "followed":
            return pb.StreamConfig(
                vocabulary="coco-object",
                task=pb.TASK_PROMPT,
                frames_in_flight=MAX_IN_FLIGHT,
                mask=pb.MASK_FORMAT_POLYGON,
            )
        return pb.StreamConfig(
            vocabulary="coco-object",
            task=pb.TASK_INSTANCE,
            mask=pb.MASK_FORMAT_POLYGON,
            overlay=True,
            confidence=True,
            refine=pb.REFINE_PAMR,
            tracking=True,
            smoothing=0.8,
            frames_in_flight=MAX_IN_FLIGHT,
        )


async def hold(stream: HostileStream, until: float, note: Callable[[Answered], None]) -> None:
    """Keeps a stream open and fed until then; tells what it ended with, and of each frame that is answered."""
    while time.perf_counter() < until:
        async with grpc.aio.insecure_channel(stream.server, options=OWN_CONNECTION) as channel:
            stub: SegmentationAsyncStub = SegmentationStub(channel)
            call = stub.SegmentVideo(metadata=(("x-api-key", stream.key),))
            sending = asyncio.create_task(_send(call, stream, until))
            try:
                async with asyncio.timeout(until - time.perf_counter()):
                    while isinstance(answer := await call.read(), pb.SegmentVideoResponse):
                        note(Answered(answer.error.status or 200, 0.0))
                    note(Answered(HTTP.get(await call.code(), GONE), 0.0))
            except (grpc.RpcError, TimeoutError):
                pass
            finally:
                sending.cancel()
                await asyncio.wait([sending])
        await asyncio.sleep(min(PAUSE, max(0.0, until - time.perf_counter())))


async def _send(call: Any, stream: HostileStream, until: float) -> None:
    # A stream that was ended takes nothing more; who reads it hears why.
    with suppress(grpc.RpcError, asyncio.InvalidStateError):
        for message in stream.messages():
            if time.perf_counter() >= until:
                break
            await call.write(message)
        await call.done_writing()


def _new_words() -> list[pb.Class]:
    words = iter(lambda: f"{random.getrandbits(48):0{TEXT_LENGTH}x}", "")
    return [pb.Class(name=next(words), synonyms=itertools.islice(words, N_SYNONYMS)) for _ in range(N_CLASSES)]


def _objects() -> list[pb.Follow]:
    """Small boxes all over the picture."""
    width, height = SIZE
    boxes = []
    for number in range(OBJECTS):
        x, y = random.uniform(0, 0.9 * width), random.uniform(0, 0.9 * height)
        box = pb.Box(x0=x, y0=y, x1=x + 0.1 * width, y1=y + 0.1 * height)
        boxes.append(pb.Follow(track_id=number + 1, prompt=pb.Prompt(box=box)))
    return boxes
