"""The gateway's gRPC server: the servicer, health of every model, reflection; it drains with the HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from lexiseg_client.rpc.fields import name_of
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationServicer, add_SegmentationServicer_to_server
from lexiseg_service.errors import InvalidValue, MalformedRequest, TooLarge
from lexiseg_service.gateway.admission.access import AccessControl, Caller
from lexiseg_service.gateway.rpc.interceptor import CALLER, CallInterceptor
from lexiseg_service.gateway.rpc.parse import read_config, read_followed, read_segment
from lexiseg_service.gateway.use_case import UseCase
from lexiseg_service.gateway.video import Step, VideoService
from lexiseg_service.question.streams import VideoFrame
from lexiseg_service.question.validation import off_event_loop
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.watch.metrics import Metrics, failure_reason
from lexiseg_service.watch.tracing import Tracing
from lexiseg_service.wire.messages import encode_answer, encode_frame_answer
from lexiseg_service.wire.server import Context, GrpcServer, public_options

SERVICE = pb.DESCRIPTOR.services_by_name["Segmentation"].full_name
HEALTH_SECONDS = 0.25  # between two checks of the backend


class Servicer(SegmentationServicer):
    """`lexiseg.v1.Segmentation`; the interceptor reports the errors that its methods raise."""

    def __init__(self, use_case: UseCase, limits: Limits, metrics: Metrics, video: VideoService) -> None:
        self._use_case = use_case
        self._limits = limits
        self._metrics = metrics
        self._video = video

    async def Segment(self, request: pb.SegmentRequest, context: Context) -> pb.SegmentResponse:
        async with counted(context, self._metrics) as caller:
            question, image = await read_segment(request, self._limits)
            answer = await self._use_case.segment(question, image, caller)
            encode = partial(encode_answer, answer, caller.request_id)
            message = await off_event_loop(answer.nbytes, encode)
            if (n_bytes := message.ByteSize()) > (limit := self._limits.grpc_bytes):  # the transport would not say why
                raise TooLarge(
                    f"the answer has {n_bytes:,} bytes, a gRPC message at most {limit:,}; "
                    "ask for less at a time, for another mask format, or by REST"
                )
        return message

    async def SegmentVideo(
        self, request_iterator: AsyncIterator[pb.SegmentVideoRequest], context: Context
    ) -> AsyncIterator[pb.SegmentVideoResponse]:
        caller = CALLER.get()
        # A client that waits for the initial metadata before its first frame always sees the error of a bad config. One
        # that is writing when the call ends may only see that the write failed.
        accepted = partial(context.send_initial_metadata, ())
        async with (
            aclosing(self._steps(request_iterator)) as steps,
            aclosing(self._video.stream(steps, caller, accepted)) as answers,
        ):
            async for answer in answers:
                yield encode_frame_answer(answer, caller.request_id)

    async def _steps(self, messages: AsyncIterator[pb.SegmentVideoRequest]) -> AsyncGenerator[Step, None]:
        async for message in messages:
            if message.HasField("config"):
                reading = partial(read_config, message.config, self._limits)
                yield await off_event_loop(message.config.ByteSize(), reading)
            elif message.HasField("frame"):
                yield self._frame(message.frame)
            else:
                raise MalformedRequest("a message without config and frame")
            del message  # a silent client would keep its image in memory

    def _frame(self, frame: pb.Frame) -> VideoFrame:
        n_ended, limit = len(frame.unfollow), self._limits.max_prompts
        if n_ended > limit:
            raise InvalidValue.of("frame.unfollow", f"{n_ended} objects", f"at most {limit}")
        followed = read_followed(frame, self._limits) if frame.follow else ()
        return VideoFrame(frame.image, frame.id, frame.timestamp_us, followed, tuple(frame.unfollow))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[model_message(card) for card in self._use_case.models()])


@asynccontextmanager
async def counted(context: Context, metrics: Metrics) -> AsyncIterator[Caller]:
    """Count a question and its failure; gives the caller."""
    metrics.questions.labels("grpc").inc()
    try:
        yield CALLER.get()
    except asyncio.CancelledError:
        left = context.time_remaining()
        metrics.failures.labels("timeout" if left is not None and left <= 0 else "canceled").inc()
        raise
    except Exception as error:
        metrics.failures.labels(failure_reason(error)).inc()
        raise


def model_message(card: dict[str, Any]) -> pb.Model:
    """A card of `GET /models/{name}` as a message; fields that the message does not have are left out."""
    fields = {name: value for name, value in card.items() if value is not None}
    fields["tasks"] = [name_of(pb.Task.DESCRIPTOR, task) for task in card["tasks"]]
    fields["refine"] = name_of(pb.Refine.DESCRIPTOR, card["refine"])
    fields["refinements"] = [name_of(pb.Refine.DESCRIPTOR, word) for word in card["refinements"]]
    return ParseDict(fields, pb.Model(), ignore_unknown_fields=True)


def gateway_server(
    settings: Settings,
    use_case: UseCase,
    video: VideoService,
    metrics: Metrics,
    access: AccessControl,
    tracing: Tracing | None = None,
) -> GrpcServer:
    """`lexiseg.v1.Segmentation` on its own port, whose shutdown begins the gateway's."""
    servicer = Servicer(use_case, settings.limits, metrics, video)

    def add(server: grpc.aio.Server) -> None:
        add_SegmentationServicer_to_server(servicer, server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    def health_by_name() -> dict[str, bool]:
        now = use_case.health()
        models = {card.name: now.ready and card.name not in now.away for card in use_case.backend.cards()}
        return {**models, "": now.ready, SERVICE: now.ready}

    interceptor = CallInterceptor(access, settings, metrics, tracing)
    return GrpcServer(
        add=add,
        health=health_by_name,
        on_leave=use_case.shutdown.begin,
        options=public_options(settings),
        host=settings.host,
        port=settings.grpc_port,
        option="--grpc-port",
        drain=settings.drain_seconds,
        health_interval=HEALTH_SECONDS,
        interceptors=(interceptor,),
    )
