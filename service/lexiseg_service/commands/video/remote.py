"""A video through a running server, over gRPC. No model and no torch here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc

from lexiseg_service.commands.remote import PRINTABLE, ServerFailure
from lexiseg_service.commands.video.question import FRAMES_IN_FLIGHT, Ask, VideoQuestion
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.stream_messages import FrameAnswer, VideoFrame
from lexiseg_service.settings import Settings
from lexiseg_service.stubs import segmentation_pb2 as pb
from lexiseg_service.stubs.segmentation_pb2_grpc import SegmentationStub
from lexiseg_service.wire.channels import Options, client_options
from lexiseg_service.wire.enums import DROP_POLICIES, TASKS
from lexiseg_service.wire.errors import read_error
from lexiseg_service.wire.stream import decode_frame_answer

if TYPE_CHECKING:  # known to the type checker alone
    from lexiseg_service.stubs.segmentation_pb2_grpc import SegmentationAsyncStub

    Call = grpc.aio.StreamStreamCall[pb.SegmentVideoRequest, pb.SegmentVideoResponse]

ADDRESS = re.compile(r"(?P<scheme>https?://)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]@]+):(?P<port>[0-9]{1,5})/?")
SECONDS_TO_CONNECT = 10.0
Metadata = tuple[tuple[str, str], ...]


def opened(asked: VideoQuestion, settings: Settings, server: str) -> Ask:
    """How to ask a server at HOST:PORT, with https:// before it by TLS.

    Raises:
        InvalidValue: the address, the key or a value cannot be one.
    """
    found = ADDRESS.fullmatch(server)
    if found is None:
        raise InvalidValue.of("--server", server, "HOST:PORT of the server's gRPC, as localhost:50051")
    address, by_tls = f"{found['host']}:{found['port']}", found["scheme"] == "https://"
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    if key is not None and not PRINTABLE.fullmatch(key):
        raise InvalidValue.of("--api-key / LEXISEG_API_KEY", "***", "printable characters without blanks")
    config = _config(asked, settings)
    options = client_options(settings.limits.max_grpc_bytes)

    async def send(call: Call, frames: AsyncIterator[VideoFrame]) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it is over: whoever reads hears why
            await call.write(pb.SegmentVideoRequest(config=config))
            # The server's word that the config is good. A write at the moment of a refusal would hide its reason.
            await call.initial_metadata()
            if call.done():
                return
            async for frame in frames:
                message = pb.Frame(image=frame.image, id=frame.id, timestamp_us=frame.timestamp_us)
                await call.write(pb.SegmentVideoRequest(frame=message))
            await call.done_writing()

    async def ask(frames: AsyncIterator[VideoFrame]) -> AsyncGenerator[FrameAnswer, None]:
        metadata: Metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        async with _channel(address, by_tls, options) as channel:
            try:
                stub: SegmentationAsyncStub = SegmentationStub(channel)
                await _check(stub, metadata, address)
                call = stub.SegmentVideo(metadata=metadata)
                # Not handed over as an iterator: whoever gave us the frames must know when nobody takes them any more.
                sending = asyncio.create_task(send(call, frames))
                try:
                    while isinstance(answer := await call.read(), pb.SegmentVideoResponse):
                        yield decode_frame_answer(answer)
                    if sending.done():
                        sending.result()
                finally:
                    sending.cancel()
                    await asyncio.wait([sending])
                    call.cancel()
            except grpc.aio.AioRpcError as failure:
                raise _meaning(failure, address) from None

    return ask


def _config(asked: VideoQuestion, settings: Settings) -> pb.StreamConfig:
    question = asked.question
    question.validated()
    config = pb.StreamConfig(
        classes=[pb.Class(name=name) for name in question.classes],
        vocabulary=question.vocabulary,
        task=TASKS[question.task],
        # Unless somebody names a model, the server's own default answers.
        model=settings.default_model,
        threshold=question.threshold,
        max_side=question.max_side,
        smoothing=asked.smoothing,
        tracking=asked.tracking,
        drop_policy=DROP_POLICIES[asked.drop_policy],
        frames_in_flight=FRAMES_IN_FLIGHT,
    )
    if question.background is not None:
        config.background.enabled = question.background
    return config


def _channel(address: str, by_tls: bool, options: Options) -> grpc.aio.Channel:
    if by_tls:
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(), options=options)
    return grpc.aio.insecure_channel(address, options=options)


async def _check(stub: SegmentationAsyncStub, metadata: Metadata, address: str) -> None:
    """Makes sure of the server and of our key, before any frame is sent."""
    try:
        await stub.ListModels(
            pb.ListModelsRequest(), metadata=metadata, timeout=SECONDS_TO_CONNECT, wait_for_ready=True
        )
    except grpc.aio.AioRpcError as failure:
        if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise ServerFailure(f"no gRPC server answers at {address}; is it running?") from None
        raise


def _meaning(failure: grpc.aio.AioRpcError, address: str) -> ServerFailure:
    error = read_error(failure)
    detail = f"{address} answered {failure.code().name} {failure.details() or ''}" if error is None else error.detail
    if failure.code() is grpc.StatusCode.UNAUTHENTICATED:
        detail = f"the server lets only its API keys in; give one by LEXISEG_API_KEY or --api-key ({detail})"
    return ServerFailure(detail)
