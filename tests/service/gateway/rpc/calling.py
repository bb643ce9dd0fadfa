"""The real application with settings of a test's own, asked over gRPC on a real port and over REST without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.errors import ServiceError
from lexiseg_service.gateway.app import create_app
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.wire.errors import read_error
from lexiseg_service.wire.server import GrpcServer
from tests import pictures
from tests.service.gateway.known_backend import KnownBackend

if TYPE_CHECKING:  # known to the type checker alone
    from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationAsyncStub

IMAGE = pb.Image(content=pictures.encoded(pictures.small()))


@dataclass
class Gateway:
    """Both ways to one gateway."""

    stub: SegmentationAsyncStub
    channel: grpc.aio.Channel
    rest: httpx.AsyncClient
    server: GrpcServer
    metrics: Metrics

    def counted(self, name: str, **labels: str) -> float:
        """One value of the metrics; 0 where there is none yet."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def calling(
    *, backend: Backend | None = None, tracing: Tracing | None = None, **settings: Any
) -> AsyncIterator[Gateway]:
    """A gateway of its own."""
    metrics = Metrics()
    values = {"model": "colours", "grpc_port": 0, "drain_seconds": 5.0, **settings}
    app = create_app(Settings(**values), backend or KnownBackend(), metrics, tracing=tracing)
    server: GrpcServer = app.state.grpc
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with app.router.lifespan_context(app):
        await server.start()
        try:
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel,
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as rest,
            ):
                yield Gateway(SegmentationStub(channel), channel, rest, server, metrics)
        finally:  # also of a test that fails: a server that nobody stops makes the next one fail too
            await server.close()


async def failure(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


def error_in(failure: grpc.aio.AioRpcError) -> ServiceError:
    error = read_error(failure)
    assert error is not None, failure
    return error


def request(*classes: str | pb.Class, **fields: Any) -> pb.SegmentRequest:
    """A question about a small image."""
    listed = [pb.Class(name=entry) if isinstance(entry, str) else entry for entry in classes]
    return pb.SegmentRequest(**{"image": IMAGE, "classes": listed, **fields})
