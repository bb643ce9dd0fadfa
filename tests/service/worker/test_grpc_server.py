"""The worker's gRPC server over a real engine."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_client.stubs.worker_pb2_grpc import WorkerStub
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_service.question.backend import Backend
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.errors import read_error
from lexiseg_service.wire.messages import encode_request
from lexiseg_service.wire.server import GrpcServer
from lexiseg_service.worker.grpc_server import worker_server
from tests import pictures
from tests.service.engine_backend import EngineBackend
from tests.service.gateway.known_backend import KnownBackend
from tests.service.worker.gated_colours import GatedColours
from tests.waiting import soon

IMAGE = pictures.encoded(pictures.small())


@dataclass
class Asked:
    """A worker's server, and a gateway's end of it."""

    stub: Any
    server: GrpcServer


@asynccontextmanager
async def asking(backend: Backend, metrics: Metrics | None = None) -> AsyncIterator[Asked]:
    server = worker_server(backend, Settings(worker_port=0, drain_seconds=5), metrics or Metrics())
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            yield Asked(WorkerStub(channel), server)
    finally:
        await server.close()


@asynccontextmanager
async def held_engine() -> AsyncIterator[tuple[GatedColours, EngineBackend, Metrics]]:
    segmenter, metrics = GatedColours(), Metrics()
    segmenter.gate.clear()
    backend = EngineBackend(segmenter, metrics)
    try:
        yield segmenter, backend, metrics
    finally:
        segmenter.gate.set()
        await asyncio.to_thread(backend.engine.close, 5)


def request(image: bytes = IMAGE) -> pb.WorkerSegmentRequest:
    return encode_request(WorkerRequest(image, Vocabulary((ClassEntry("red"),)), "colours"))


async def test_a_request_that_is_cancelled_in_the_queue_costs_no_image_pass() -> None:
    async with held_engine() as (segmenter, backend, metrics), asking(backend, metrics) as worker:
        first = worker.stub.Segment(request())
        await soon(lambda: segmenter.batches)
        second = worker.stub.Segment(request(pictures.encoded(pictures.small("flower"))))
        await soon(lambda: metrics.registry.get_sample_value("lexiseg_queue_depth") == 1)
        second.cancel()
        await soon(lambda: metrics.registry.get_sample_value("lexiseg_inflight") == 1)
        segmenter.gate.set()
        await first

    assert segmenter.batches == [1]


async def test_the_deadline_of_a_call_is_that_of_its_request() -> None:
    backend = KnownBackend()
    async with asking(backend) as worker:
        began = time.monotonic()
        await worker.stub.Segment(request(), timeout=7)
        between = time.monotonic()
        await worker.stub.Segment(request())
        ended = time.monotonic()

    with_deadline, without = backend.asked
    own = Settings().deadline_seconds
    # However long a call took, its deadline lies so many seconds after a moment in which it was under way. It travels
    # in whole milliseconds.
    assert began + 7 - 0.1 <= with_deadline.deadline <= between + 7 + 0.1
    assert between + own - 0.1 <= without.deadline <= ended + own + 0.1


async def test_an_unexpected_error_shows_no_internals() -> None:
    with capture_logs() as logs:
        async with asking(KnownBackend(failure=RuntimeError("secret"))) as worker:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await worker.stub.Segment(request())

    error = read_error(failed.value)
    assert error is not None
    assert (error.type, "secret" in str(failed.value)) == ("internal-error", False)
    assert any(line["event"] == "unexpected error" for line in logs)


async def test_watchers_get_the_status_at_once_regularly_and_at_the_end() -> None:
    async with held_engine() as (_, backend, metrics), asking(backend, metrics) as worker:
        watching = worker.stub.WatchStatus(pb.WatchStatusRequest())
        first, second = await watching.read(), await watching.read()
        working = worker.stub.Segment(request())
        while not (third := await watching.read()).in_flight:
            pass
        working.cancel()
        worker.server.leave()
        heard = [status async for status in _rest(watching)]

    assert first == second
    assert (first.ready, first.draining, first.queue_limit) == (True, False, Settings().queue_limit)
    assert [model.digest for model in first.models] == ["colours"]
    assert (third.in_flight, third.instance) == (1, first.instance)
    assert heard[-1].draining


async def _rest(call: Any) -> AsyncIterator[pb.WatchStatusResponse]:
    while (status := await asyncio.wait_for(call.read(), 10)) is not grpc.aio.EOF:
        yield status
