"""The worker's gRPC server, for gateways. Cancelling a call cancels its work; its deadline is the request's.

It takes no API key; who may connect is the concern of `wire.trust`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import Gauge

from lexiseg_client.stubs import worker_pb2 as pb
from lexiseg_client.stubs.worker_pb2_grpc import WorkerServicer, add_WorkerServicer_to_server
from lexiseg_model.model_name import ModelName
from lexiseg_service.errors import ServiceError, unexpected
from lexiseg_service.question.backend import Backend
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.errors import end_with
from lexiseg_service.wire.messages import (
    decode_request,
    decode_step,
    encode_answer,
    encode_exemplified,
    encode_frame_answer,
    encode_taught,
)
from lexiseg_service.wire.server import Context, GrpcServer, worker_options
from lexiseg_service.wire.trust import Trust

logger = structlog.get_logger("lexiseg.worker")
STATUS_SECONDS = 0.5  # between two reports to a gateway
# Between reporting that the worker goes down and refusing calls: calls on their way from gateways are still answered.
LINGER_SECONDS = 0.3
REFUSAL_SECONDS = 0.1  # for messages on their way to a stream that ends


def worker_server(backend: Backend, settings: Settings, metrics: Metrics, socket: Path | None = None) -> GrpcServer:
    """`lexiseg.v1.Worker` on the port of the settings, or on a Unix socket."""
    trust = Trust.from_settings(settings)
    servicer = Servicer(backend, settings, metrics)
    host, port = (settings.host, settings.worker_port) if socket is None else (f"unix:{socket}", 0)
    return GrpcServer(
        add=partial(add_WorkerServicer_to_server, servicer),
        health=lambda: {"": backend.health().ready},
        on_leave=servicer.leave,
        options=worker_options(),
        host=host,
        port=port,
        option="--worker-port",
        drain=settings.drain_seconds,
        health_interval=STATUS_SECONDS,
        linger=LINGER_SECONDS,
        interceptors=trust.interceptors,
        credentials=trust.server_credentials,
    )


class Servicer(WorkerServicer):
    def __init__(self, backend: Backend, settings: Settings, metrics: Metrics) -> None:
        self._n_calls = 0
        self._backend = backend
        self._settings = settings
        self._metrics = metrics
        self._instance = uuid.uuid4().hex
        self._draining = False
        self._changed = asyncio.Event()

    def leave(self) -> None:
        """Report to every gateway that the worker goes down."""
        self._draining = True
        self._changed.set()

    async def Segment(self, request: pb.WorkerSegmentRequest, context: Context) -> pb.WorkerSegmentResponse:
        async with self._answering(context, request.origin.request_id):
            decoded = decode_request(request, self._deadline(context))
            return pb.WorkerSegmentResponse(answer=encode_answer(await self._backend.segment(decoded)))
        return pb.WorkerSegmentResponse()  # not sent with an error's status

    async def Exemplify(self, request: pb.ExemplifyRequest, context: Context) -> pb.ExemplifyResponse:
        async with self._answering(context, request.origin.request_id):
            return encode_exemplified(await self._backend.exemplify(decode_request(request, self._deadline(context))))
        return pb.ExemplifyResponse()

    async def Teach(self, request: pb.TeachRequest, context: Context) -> pb.TeachResponse:
        async with self._answering(context, request.origin.request_id):
            return encode_taught(await self._backend.teach(decode_request(request, self._deadline(context))))
        return pb.TeachResponse()

    async def SegmentVideo(  # type: ignore[override]  # typed only for generators
        self, messages: AsyncIterator[pb.WorkerSegmentVideoRequest], context: Context
    ) -> None:
        """The frames of a video. Writes instead of yielding: when a gateway is lost, everything is closed at once."""
        async with (
            self._answering(context, ""),
            aclosing(decode_step(message) async for message in messages) as steps,
            aclosing(self._backend.stream(steps)) as answers,
        ):
            async for answer in answers:
                message = encode_frame_answer(answer)
                await context.write(pb.WorkerSegmentVideoResponse(answer=message))
        with suppress(TimeoutError):  # a message that came after a refusal would be an error of its own to the gateway
            async with asyncio.timeout(REFUSAL_SECONDS):
                async for _ in messages:
                    pass

    async def WatchStatus(self, request: pb.WatchStatusRequest, context: Context) -> None:  # type: ignore[override]
        """The worker's status: at once, on a change, and twice a second."""
        while True:
            status = self._status()
            await context.write(status)
            if status.draining:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), STATUS_SECONDS)

    def _deadline(self, context: Context) -> float:
        left = context.time_remaining()
        return time.monotonic() + min(self._settings.deadline_seconds if left is None else left, 1e6)

    @asynccontextmanager
    async def _answering(self, context: Context, request_id: str) -> AsyncGenerator[None, None]:
        """Count a call; an error becomes its rich status."""
        self._n_calls += 1
        try:
            yield
        except ServiceError as error:
            end_with(context, error, request_id)
        except Exception as error:
            logger.error("unexpected error", request_id=request_id, error=type(error).__name__, exc_info=error)
            end_with(context, unexpected(), request_id)
        finally:
            self._n_calls -= 1

    def _status(self) -> pb.WatchStatusResponse:
        health = self._backend.health()
        return pb.WatchStatusResponse(
            instance=self._instance,
            alive=health.alive,
            ready=health.ready,
            draining=self._draining,
            detail=health.detail,
            degraded=health.degraded,
            models=[
                pb.ServedModel(
                    card=card.model_dump_json(), digest=self._backend.digest(name) or "", awaited=name in health.awaited
                )
                for name, card in ((str(ModelName.from_card(card)), card) for card in self._backend.cards())
            ],
            in_flight=max(self._n_calls, round(_value(self._metrics.in_flight))),
            queue_limit=self._settings.queue_limit,
            queue_depth=round(_value(self._metrics.queue_depth)),
        )


def _value(gauge: Gauge) -> float:
    return next(iter(gauge.collect())).samples[0].value
