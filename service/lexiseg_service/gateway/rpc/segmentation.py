"""The public gRPC servicer: thin, each method hands over to the use case. `grpc_frame` tells the errors it raises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import grpc
from google.protobuf.json_format import ParseDict

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationServicer
from lexiseg_service.gateway.parsing import Parsing
from lexiseg_service.gateway.rpc.asking import CALLER, counted, refuse_burden
from lexiseg_service.gateway.rpc.question import read
from lexiseg_service.gateway.use_case import Caller, UseCase
from lexiseg_service.settings import Limits
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.wire.answer import encode_answer
from lexiseg_service.wire.enums import REFINEMENTS, TASKS

if TYPE_CHECKING:  # generic for the type checker alone
    Context = grpc.aio.ServicerContext[Any, Any]


class Video(Protocol):
    """Answers streams."""

    def stream(
        self, messages: AsyncIterator[pb.SegmentVideoRequest], caller: Caller, accepted: Callable[[], Awaitable[object]]
    ) -> AsyncGenerator[pb.SegmentVideoResponse, None]:
        """One answer for each frame; `accepted` is awaited when the first config has been found good.

        Raises:
            ServiceError: the stream as a whole failed.
        """
        ...

    def leave(self) -> None:
        """Lets every stream end with what it has: the process goes down."""
        ...


class Servicer(SegmentationServicer):
    """`lexiseg.v1.Segmentation`."""

    def __init__(self, use_case: UseCase, limits: Limits, metrics: Metrics, video: Video, parsing: Parsing) -> None:
        self._use_case = use_case
        self._limits = limits
        self._metrics = metrics
        self._video = video
        self._parsing = parsing

    async def Segment(self, request: pb.SegmentRequest, context: Context) -> pb.SegmentResponse:
        """Masks for one image."""
        async with counted(context, self._metrics) as caller:
            asked = await read(request, self._limits, self._parsing)
            del request  # with its own copy of the image
            answer = await self._use_case.segment(asked, caller)
            encode = partial(encode_answer, answer, caller.request_id)
            message = await self._parsing.run(answer.bytes_of_masks, encode)
            refuse_burden(message, self._limits)
        return message

    async def SegmentVideo(
        self, request_iterator: AsyncIterator[pb.SegmentVideoRequest], context: Context
    ) -> AsyncIterator[pb.SegmentVideoResponse]:
        """Masks for the frames of a video."""
        # A client that waits for the initial metadata before its first frame hears of a bad config for certain. One
        # that is writing when the call ends may be told by its transport that the write failed, and nothing else.
        accepted = partial(context.send_initial_metadata, ())
        async with aclosing(self._video.stream(request_iterator, CALLER.get(), accepted)) as answers:
            async for answer in answers:
                yield answer

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Cards of the models served here."""
        return pb.ListModelsResponse(models=[model_message(described) for described in self._use_case.models()])


def model_message(described: dict[str, Any]) -> pb.Model:
    """A card as `GET /models/{name}` shows it, as a message; what the message has no field for is left out."""
    fields = {name: value for name, value in described.items() if value is not None}
    fields["tasks"] = [TASKS[task] for task in described["tasks"]]
    fields["refine"] = REFINEMENTS[described["refine"]]
    fields["refinements"] = [REFINEMENTS[word] for word in described["refinements"]]
    return ParseDict(fields, pb.Model(), ignore_unknown_fields=True)
