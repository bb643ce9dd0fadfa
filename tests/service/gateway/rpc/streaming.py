"""Video streams of a test's own, over an engine of gated colours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests.model.stand_in import ColourSegmenter
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.rpc.calling import Gateway, calling
from tests.service.worker.gated_colours import GatedColours, halves
from tests.waiting import SOON

PICTURE = halves("r", "b")
Call = grpc.aio.StreamStreamCall[pb.SegmentVideoRequest, pb.SegmentVideoResponse]


@asynccontextmanager
async def over_colours(
    segmenter: Segmenter | None = None, **settings: Any
) -> AsyncIterator[tuple[Gateway, EngineBackend]]:
    """A gateway over an engine, of gated colours by default."""
    values = {"deadline_seconds": SOON, **settings}
    backend = EngineBackend(segmenter or GatedColours(), Metrics(), settings=Settings(**values))
    try:
        async with asyncio.timeout(3 * SOON), calling(backend=backend, **values) as gateway:
            yield gateway, backend
    finally:
        if segmenter is None:
            gate(backend).gate.set()
        backend.engine.close(SOON)


@asynccontextmanager
async def following(**settings: Any) -> AsyncIterator[Gateway]:
    """A gateway over an engine of colours, which take prompts."""
    async with over_colours(ColourSegmenter(tasks=("semantic", "prompt")), **settings) as (gateway, _):
        yield gateway


def gate(backend: EngineBackend) -> GatedColours:
    segmenter = backend.engine.models.acquire("colours").result().segmenter
    assert isinstance(segmenter, GatedColours)
    return segmenter


def config(*classes: str, **fields: Any) -> pb.SegmentVideoRequest:
    """About red and blue unless said otherwise, and nothing else in the picture."""
    listed = [pb.Class(name=name) for name in classes or ("red", "blue")]
    return pb.SegmentVideoRequest(config=pb.StreamConfig(**{"classes": listed, **fields}))


def frame(image: bytes = PICTURE, **fields: Any) -> pb.SegmentVideoRequest:
    return pb.SegmentVideoRequest(frame=pb.Frame(image=image, **fields))


async def opened(gateway: Gateway, *messages: pb.SegmentVideoRequest) -> Call:
    call = gateway.stub.SegmentVideo()
    for message in messages:
        await call.write(message)
    return call


async def read(call: Call, n: int) -> list[pb.SegmentVideoResponse]:
    answers = []
    for _ in range(n):
        answer = await call.read()
        assert isinstance(answer, pb.SegmentVideoResponse), "the stream ended"
        answers.append(answer)
    return answers


async def rest(call: Call) -> list[pb.SegmentVideoResponse]:
    await call.done_writing()
    answers = []
    while isinstance(answer := await call.read(), pb.SegmentVideoResponse):
        answers.append(answer)
    return answers
